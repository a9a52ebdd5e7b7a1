"""Compare the summaries of the anchor in UMCEncoder, to choose its default.

Handwritten digits as in the quickstart, with the pixels (one frame) or the rows (eight frames) as
the anchor. Prints the mean of NMI, ARI, ACC and FMI of the clusters of the training samples, in
percent, as mean and standard deviation over seeds: of the untrained encoder for both anchors, and
for the pixels also after training like the source's encoder, which takes most of the time.

Run with ``python benchmarks/anchor_summary.py``; takes about six minutes on two cores.
"""

import sys
from pathlib import Path

import numpy as np
from _printed import printed_encoder

from skumc import UMCClusterer
from skumc.losses import ContrastiveLoss, InfoNCELoss, SupConLoss, WeightedLosses
from skumc.metrics import clustering_scores
from skumc.training import Optimization

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from quickstart import N_CLUSTERS, load_views

SEEDS = (0, 1, 2)
TRAINED = {
    "losses": WeightedLosses(
        infonce=InfoNCELoss(0.2), contrastive=ContrastiveLoss(1.0), supcon=SupConLoss(1.4)
    ),
    "pairs": "views",
    "neighbors": "none",
    "monitor": "silhouette",
    "pseudo_labels": "selected",
    "supervised_views": "leave_one_out",
    "pretrain_epochs": 5,
    "max_epochs": 15,
    "learning_rate": 3e-4,
    "pretrain_learning_rate": 2e-5,
    "optimization": Optimization("adam", weight_decay=0.01, schedule="cosine"),
}


def mean_score(X, digit, anchor, summary, seed, **parameters):
    """Mean of the four metrics on the training samples, in percent."""
    labels = UMCClusterer(
        N_CLUSTERS,
        anchor=anchor,
        encoder=printed_encoder(anchor_summary=summary),
        random_state=seed,
        **parameters,
    ).fit_predict(X)
    return 100 * np.mean(list(clustering_scores(digit, labels).values()))


def main():
    """Print a line per anchor and summary."""
    X, _, digit, train, _ = load_views()
    X, digit = X[train], digit[train]
    runs = {"untrained": {"pretrain_epochs": 0, "max_epochs": 0}, "trained": TRAINED}
    for state, anchor in (("untrained", "pixels"), ("untrained", "rows"), ("trained", "pixels")):
        for summary in ("mean", "cls", "enhanced"):
            scores = [mean_score(X, digit, anchor, summary, s, **runs[state]) for s in SEEDS]
            mean, deviation = np.mean(scores), np.std(scores)
            print(f"{state:11}{anchor:8}{summary:10}{mean:6.1f} ± {deviation:3.1f}", flush=True)


if __name__ == "__main__":
    main()
