"""Do gates tell a useless modality from useful ones, and after which training?

Made-up samples of three modalities, of which none or one is useless: drawn as the others are, but
around centres that have nothing to do with the groups. For three ways of training, the mean gate of
the useless modality and of the others, mean over seeds, and in how many fits the useless one has
the lowest gate. An even share is 0.33.

Run with ``python benchmarks/gates.py``; takes about ten minutes on two cores.
"""

import numpy as np

from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.encoders import UMCEncoder

SEEDS = range(5)
WAYS = {
    "disjoint views, enhanced anchor": ("disjoint", "enhanced"),
    "disjoint views, anchor's mean": ("disjoint", "mean"),
    "views with the anchor, enhanced anchor": ("views", "enhanced"),
}


def mean_gates(useless, augmentation, anchor_summary, seed):
    """Mean gate of each modality over the samples, (3,)."""
    X, _ = make_multimodal_blobs(300, 4, lengths=(1, 5), uninformative=useless, random_state=seed)
    encoder = UMCEncoder(anchor_summary=anchor_summary)
    clusterer = UMCClusterer(
        4,
        encoder=encoder,
        augmentation=augmentation,
        pretrain_epochs=20,
        pretrain_learning_rate=3e-4,
        max_epochs=5,
        random_state=seed,
    )
    return X.names, clusterer.fit(X).modality_weights(X).mean(axis=0)


def main():
    """Print a block of lines for each way of training."""
    for title, way in WAYS.items():
        print(title)
        for useless in (None, "text", "audio", "video"):
            fits = [mean_gates(useless, *way, seed) for seed in SEEDS]
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
