"""Map of an embedding."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import check_random_state

from skumc._parts import unknown_name_message
from skumc.plotting._checks import cluster_labels, matrix
from skumc.plotting._style import point_style, single_axis
from skumc.report._clustered_samples import read_clustering

_METHODS = ("tsne", "umap", "pca")


def _project(embedding: np.ndarray, method: str, random_state: Any) -> np.ndarray:
    """Reduce an embedding to two dimensions."""
    if method not in _METHODS:
        raise ValueError(unknown_name_message("method", method, _METHODS))
    n_samples, width = embedding.shape
    if n_samples == 0 or np.ptp(embedding, axis=0).max(initial=0) == 0:
        return np.zeros((n_samples, 2))
    if n_samples < 4 or method == "pca":
        n_components = min(2, n_samples, width)
        points = PCA(n_components, random_state=random_state).fit_transform(embedding)
        return np.pad(points, [(0, 0), (0, 2 - n_components)])
    if method == "umap":
        try:
            umap = importlib.import_module("umap")
        except ImportError as error:
            raise ImportError(
                'method="umap" needs umap-learn: pip install umap-learn. Or use method="tsne".'
            ) from error
        n_neighbors = min(15, n_samples - 1)
        reducer = umap.UMAP(n_neighbors=n_neighbors, random_state=random_state)
        return np.asarray(reducer.fit_transform(embedding))
    start = "pca" if width > 1 else "random"
    tsne = TSNE(perplexity=min(30.0, (n_samples - 1) / 3), init=start, random_state=random_state)
    return tsne.fit_transform(embedding)


class EmbeddingDisplay:
    """Map of an embedding in two dimensions, with a color, a marker and a number per cluster.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`. Distances between groups on
    such a map, and their sizes, mean little.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        Positions on the map.
    labels : ndarray of int, shape (n_points,)
        Cluster of each point; -1 for none.
    rows : ndarray of int, shape (n_points,)
        Rows of X that are shown.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    number_texts_ : dict of int to matplotlib Text
        Number of each cluster, above the point nearest to the median of its points.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc.plotting import EmbeddingDisplay
    >>> embedding = np.random.default_rng(0).normal(size=(20, 4))
    >>> display = EmbeddingDisplay.from_predictions(embedding, np.arange(20) % 2, method="pca")
    >>> sorted(display.number_texts_)
    [0, 1]
    """

    def __init__(self, points: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> None:
        self.points = points
        self.labels = labels
        self.rows = rows

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        labels: Any = None,
        method: str = "tsne",
        max_samples: int = 3000,
        random_state: Any = 0,
        ax: Any = None,
    ) -> EmbeddingDisplay:
        """Draw the embedding of samples.

        Parameters
        ----------
        estimator : object
            Fitted clusterer, see :func:`~skumc.report.cluster_report`.
        X : array, DataFrame, MultimodalData, list of dicts or dict
        labels : array-like of int, shape (n_samples,), default=None
            Labels in place of the predicted ones.
        method : {"tsne", "umap", "pca"}, default="tsne"
            "umap" needs the package umap-learn.
        max_samples : int, default=3000
            Maximum number of samples, drawn at random.
        random_state : int, RandomState instance or None, default=0
        ax : matplotlib Axes, default=None

        Returns
        -------
        EmbeddingDisplay
        """
        found = read_clustering(estimator, X, labels)
        rows = np.flatnonzero(~np.isnan(found.embedding).any(axis=1))
        settings = {"method": method, "max_samples": max_samples, "random_state": random_state}
        return cls._draw(found.embedding, found.labels, rows, settings, ax)

    @classmethod
    def from_predictions(
        cls,
        embedding: Any,
        labels: Any,
        *,
        method: str = "tsne",
        max_samples: int = 3000,
        random_state: Any = 0,
        ax: Any = None,
    ) -> EmbeddingDisplay:
        """Draw an embedding.

        Parameters
        ----------
        embedding : array-like of shape (n_samples, n_components)
        labels : array-like of int, shape (n_samples,)
            -1 for samples without a cluster.
        method : {"tsne", "umap", "pca"}, default="tsne"
        max_samples : int, default=3000
        random_state : int, RandomState instance or None, default=0
        ax : matplotlib Axes, default=None

        Returns
        -------
        EmbeddingDisplay
        """
        embedding = matrix("embedding", embedding)
        labels = cluster_labels(labels, len(embedding))
        settings = {"method": method, "max_samples": max_samples, "random_state": random_state}
        return cls._draw(embedding, labels, np.arange(len(embedding)), settings, ax)

    @classmethod
    def _draw(
        cls, embedding: np.ndarray, labels: np.ndarray, rows: np.ndarray, settings: Any, ax: Any
    ) -> EmbeddingDisplay:
        rng = check_random_state(settings["random_state"])
        if len(rows) > settings["max_samples"]:
            rows = np.sort(rng.choice(rows, settings["max_samples"], replace=False))
        points = _project(embedding[rows], settings["method"], rng)
        return cls(points, labels[rows], rows).plot(ax=ax)

    def plot(self, ax: Any = None) -> EmbeddingDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.

        Returns
        -------
        EmbeddingDisplay
        """
        self.figure_, self.ax_ = single_axis(ax, (7, 6))
        from matplotlib.patheffects import withStroke

        self.number_texts_ = {}
        size = float(np.clip(4000 / max(len(self.points), 1), 6, 30))
        outside = self.labels < 0
        if outside.any():
            self.ax_.scatter(*self.points[outside].T, s=size, c="0.6", marker="x", linewidths=0.7)
        clusters = np.unique(self.labels[~outside])
        for cluster in clusters:
            points = self.points[self.labels == cluster]
            style = point_style(int(cluster))
            self.ax_.scatter(*points.T, s=size, edgecolors="0.25", linewidths=0.25, **style)
        for cluster in clusters:  # above all points
            points = self.points[self.labels == cluster]
            middle = np.square(points - np.median(points, axis=0)).sum(axis=1).argmin()
            self.number_texts_[int(cluster)] = self.ax_.annotate(
                str(cluster),
                points[middle],
                xytext=(0, 4),  # points above, so that a small cluster stays visible
                textcoords="offset points",
                ha="center",
                weight="bold",
                fontsize=11 if len(clusters) <= 12 else 8,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
                zorder=5,
            )
        self.ax_.set(xticks=[], yticks=[], aspect="equal")
        self.ax_.margins(0.05)
        self.ax_.set_adjustable("datalim")
        return self
