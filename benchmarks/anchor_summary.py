"""Which summary of the anchor serves best: the measurement behind the default.

Handwritten digits as in the quickstart, with the pixels (one frame) and with the rows (eight
frames) as the anchor; the mean of NMI, ARI, ACC and FMI of the training samples' clusters in
percent, of the untrained encoder and after training, mean and standard deviation over seeds.

Run with ``python benchmarks/anchor_summary.py``; takes about ten minutes on two cores.
"""

import sys
from pathlib import Path

import numpy as np

from skumc import UMCClusterer
from skumc.encoders import UMCEncoder
from skumc.metrics import clustering_scores

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from quickstart import N_CLUSTERS, load_views

SEEDS = (0, 1, 2)


def mean_score(X, digit, anchor, summary, seed, **parameters):
    """Mean of the four metrics, in percent, on the samples that were fitted."""
    labels = UMCClusterer(
        N_CLUSTERS,
        anchor=anchor,
        encoder=UMCEncoder(anchor_summary=summary),
        random_state=seed,
        **parameters,
    ).fit_predict(X)
    return 100 * np.mean(list(clustering_scores(digit, labels).values()))


def main():
    """Print a line for each anchor and summary."""
    X, _, digit, train, _ = load_views()
    X, digit = X[train], digit[train]
    print(f"{'anchor':8}{'summary':10}{'untrained':>14}{'trained':>14}")
    for anchor in ("pixels", "rows"):
        for summary in ("mean", "cls", "enhanced"):
            untrained, trained = (
                [mean_score(X, digit, anchor, summary, seed, **parameters) for seed in SEEDS]
                for parameters in ({"pretrain_epochs": 0, "max_epochs": 0}, {})
            )
            cells = "".join(f"{np.mean(v):8.1f} ± {np.std(v):3.1f}" for v in (untrained, trained))
            print(f"{anchor:8}{summary:10}{cells}", flush=True)


if __name__ == "__main__":
    main()
