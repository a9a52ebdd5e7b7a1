"""Test whether gates identify a useless modality, for four ways of training.

Synthetic samples of three modalities, at most one of them useless: drawn like the others, but
around centers that are independent of the groups. Prints the mean gate of each modality over
samples and seeds, and the number of fits where the useless one has the lowest gate. Equal gates are
0.33.

Run with ``python benchmarks/gates.py``; takes about ten minutes on one core.
"""

import numpy as np
from _printed import printed_encoder

from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.losses import ContrastiveLoss, InfoNCELoss, SupConLoss, WeightedLosses
from skumc.training import Optimization

SEEDS = range(5)


def with_attention(pairs, anchor_summary):
    """Parameters of a clusterer with the source's encoder and the source's way of training."""
    return {
        "encoder": printed_encoder(anchor_summary=anchor_summary),
        "losses": WeightedLosses(
            infonce=InfoNCELoss(0.2), contrastive=ContrastiveLoss(1.0), supcon=SupConLoss(1.4)
        ),
        "pairs": pairs,
        "neighbors": "none",
        "monitor": "silhouette",
        "pseudo_labels": "selected",
        "supervised_views": "leave_one_out",
        "pretrain_epochs": 20,
        "max_epochs": 5,
        "learning_rate": 3e-4,
        "pretrain_learning_rate": 3e-4,
        "optimization": Optimization("adam", weight_decay=0.01, schedule="cosine"),
    }


WAYS = {
    "defaults": {},
    "attention, disjoint views, enhanced anchor": with_attention("disjoint", "enhanced"),
    "attention, disjoint views, anchor's mean": with_attention("disjoint", "mean"),
    "attention, views with the anchor, enhanced anchor": with_attention("views", "enhanced"),
}


def mean_gates(useless, parameters, seed):
    """Mean gate of each modality over the samples, (3,)."""
    X, _ = make_multimodal_blobs(300, 4, lengths=(1, 5), uninformative=useless, random_state=seed)
    clusterer = UMCClusterer(4, random_state=seed, **parameters)
    return X.names, clusterer.fit(X).modality_weights(X).mean(axis=0)


def main():
    """Print a block of lines per way of training."""
    for title, parameters in WAYS.items():
        print(title)
        for useless in (None, "text", "audio", "video"):
            fits = [mean_gates(useless, parameters, seed) for seed in SEEDS]
            gates = np.mean([gates for _, gates in fits], axis=0)
            shown = "  ".join(f"{name} {g:.2f}" for name, g in zip(fits[0][0], gates, strict=True))
            if useless is None:
                verdict = f"smallest of all {min(gates.min() for _, gates in fits):.2f}"
            else:
                n_right = sum(names[gates.argmin()] == useless for names, gates in fits)
                verdict = f"lowest in {n_right} of {len(fits)}"
            print(f"  useless: {useless or 'none':7}{shown}   {verdict}", flush=True)


if __name__ == "__main__":
    main()
