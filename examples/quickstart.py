"""Cluster handwritten digits with three modalities, and compare with k-means.

Each digit has three modalities: all its pixels, its rows from top to bottom as a sequence of
frames, and the magnitudes of its Fourier transform. Both methods are fitted without labels on the
same training samples and scored on held-out ones, with the same seeds.

Run with ``python examples/quickstart.py``; ``--output FOLDER`` is the folder for the plots.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skumc import MultimodalData, UMCClusterer
from skumc.metrics import clustering_scores

SEEDS = (0, 1, 2)
N_CLUSTERS = 10


def load_views():
    """Digits as MultimodalData and as one matrix, their classes, and a fixed split."""
    pixels, digit = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 8, 8)
    fourier = np.abs(np.fft.fft2(images))[:, :, :5].reshape(len(images), -1)
    X = MultimodalData({"pixels": pixels, "rows": images, "fourier": fourier})
    table = np.hstack([pixels, images.reshape(len(images), -1), fourier])
    train, test = train_test_split(np.arange(len(digit)), test_size=0.25, random_state=0)
    return X, table, digit, train, test


def fit_umc(X, seed, **parameters):
    """Fit the clusterer of this example."""
    return UMCClusterer(N_CLUSTERS, random_state=seed, **parameters).fit(X)


def compare(X, table, digit, train, test):
    """Held-out scores of every seed, and the first fitted clusterer.

    "untrained" is UMCClusterer without any training: the initial state of its encoder.
    """
    scores = {"KMeans": [], "UMCClusterer": [], "untrained": []}
    first = None
    for seed in SEEDS:
        kmeans = make_pipeline(
            StandardScaler(), KMeans(N_CLUSTERS, n_init=10, random_state=seed)
        ).fit(table[train])
        umc = fit_umc(X[train], seed)
        untrained = fit_umc(X[train], seed, pretrain_epochs=0, max_epochs=0)
        first = umc if first is None else first
        predicted = {
            "KMeans": kmeans.predict(table[test]),
            "UMCClusterer": umc.predict(X[test]),
            "untrained": untrained.predict(X[test]),
        }
        for method, labels in predicted.items():
            scores[method].append(clustering_scores(digit[test], labels))
        print(
            f"seed {seed} done: {umc.n_iter_} epochs, NMI {scores['UMCClusterer'][-1]['NMI']:.3f}"
        )
    return scores, first


def print_table(scores):
    """Print mean and standard deviation over the seeds, in percent."""
    names = list(next(iter(scores.values()))[0])
    print(f"\nheld-out samples, percent, mean ± std over seeds {', '.join(map(str, SEEDS))}")
    print(f"{'':14}" + "".join(f"{name:>14}" for name in names))
    for method, runs in scores.items():
        values = 100 * np.array([[run[name] for name in names] for run in runs])
        cells = zip(values.mean(axis=0), values.std(axis=0), strict=True)
        print(f"{method:14}" + "".join(f"{mean:8.1f} ± {std:3.1f}" for mean, std in cells))


def plot_embedding(umc, X, digit, path):
    """Plot a t-SNE of held-out samples, colored by digit and by cluster."""
    import matplotlib.pyplot as plt
    from scipy.optimize import linear_sum_assignment
    from sklearn.manifold import TSNE
    from sklearn.metrics import confusion_matrix

    plane = TSNE(random_state=0, init="pca", perplexity=30).fit_transform(umc.transform(X))
    # each cluster gets the color and number of a digit, by the best one-to-one matching
    cluster = umc.predict(X)
    _, matched = linear_sum_assignment(-confusion_matrix(cluster, digit, labels=range(N_CLUSTERS)))
    panels = {
        "true digit (not used in fit)": digit,
        "cluster found (named after its digit)": matched[cluster],
    }
    figure, axes = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
    for axis, (title, color) in zip(axes, panels.items(), strict=True):
        axis.scatter(*plane.T, c=color, cmap="tab10", s=14)
        axis.set(title=title, xticks=[], yticks=[])
        for value in np.unique(color):
            place = np.median(plane[color == value], axis=0)
            axis.annotate(
                str(value),
                place,
                ha="center",
                va="center",
                bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": "0.6", "alpha": 0.85},
            )
    figure.suptitle(f"Embedding of {len(X)} held-out digits (t-SNE)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_curves(umc, path):
    """Plot monitor, curriculum and losses by epoch."""
    import matplotlib.pyplot as plt

    history = umc.history_.phase("main")
    epochs = history[:, "epoch"]
    kept = [record["epoch"] for record in history if record["restored"]]  # none: untrained
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    axes[0].plot(epochs, history[:, "monitor"])
    axes[0].set(title="monitor: the last within 0.005 is kept")
    axes[1].plot(epochs, history[:, "threshold"], label="threshold")
    axes[1].plot(epochs, history[:, "selected_share"], label="share of samples selected")
    axes[1].plot(epochs, history[:, "taught_share"], label="share taught by pseudo-labels")
    axes[1].set(title="curriculum", ylim=(0, None))
    axes[1].legend()
    for name in ("supcon", "contrastive", "compactness", "separation"):
        values = np.array(history[:-1, f"loss_{name}"], dtype=float)
        axes[2].plot(epochs[:-1], values / max(np.nanmax(values), 1e-12), label=name)
    axes[2].set(title="losses (share of each one's maximum)", ylim=(0, None))
    axes[2].legend()
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
        for epoch in kept:
            axis.axvline(epoch, color="0.5", linestyle=":")
        axis.set_xlabel("epoch (dotted: the one kept)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Compare the methods, print the table, and draw the plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("quickstart_output"))
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)

    X, table, digit, train, test = load_views()
    scores, umc = compare(X, table, digit, train, test)
    print_table(scores)
    plot_embedding(umc, X[test], digit[test], output / "embedding.png")
    plot_curves(umc, output / "training.png")
    print(f"\nplots: {output / 'embedding.png'}, {output / 'training.png'}")


if __name__ == "__main__":
    main()
