"""Sizes and doubt by cluster."""

from __future__ import annotations

from typing import Any

import numpy as np

from skumc.plotting._checks import cluster_labels, number_of_clusters
from skumc.plotting._style import COLORS, label_size, two_axes
from skumc.report._clustered_samples import measure_doubt, read_clustering


class ClusterSizesDisplay:
    """Bars of cluster sizes, largest first, with the quartiles of doubt of each cluster.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`. Doubt is the distance to the
    own center divided by that to the nearest other center: 1 is on the border.

    Parameters
    ----------
    sizes : ndarray of int, shape (n_clusters,)
    doubt_quartiles : ndarray of shape (n_clusters, 3) or None
        Lower quartile, median and upper quartile; NaN for empty clusters.
    n_unassigned : int, default=0
        Number of samples without a cluster.

    Attributes
    ----------
    order : ndarray of int, shape (n_clusters,)
        Clusters from top to bottom.
    ax_ : list of two matplotlib Axes
        Sizes, doubt.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skumc.plotting import ClusterSizesDisplay
    >>> display = ClusterSizesDisplay.from_predictions([0, 1, 1, -1], [0.2, 0.4, 0.6, float("nan")])
    >>> display.sizes.tolist(), display.order.tolist(), display.n_unassigned
    ([1, 2], [1, 0], 1)
    >>> display.doubt_quartiles[1].round(2).tolist()
    [0.45, 0.5, 0.55]
    """

    def __init__(
        self, sizes: np.ndarray, doubt_quartiles: np.ndarray | None, n_unassigned: int = 0
    ) -> None:
        self.sizes = sizes
        self.doubt_quartiles = doubt_quartiles
        self.n_unassigned = n_unassigned
        self.order = np.argsort(-sizes, kind="stable")

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, labels: Any = None, ax: Any = None
    ) -> ClusterSizesDisplay:
        """Draw sizes and doubt of samples.

        Parameters
        ----------
        estimator : object
            Fitted clusterer, see :func:`~skumc.report.cluster_report`.
        X : array, DataFrame, MultimodalData, list of dicts or dict
        labels : array-like of int, shape (n_samples,), default=None
            Labels in place of the predicted ones.
        ax : matplotlib Axes, default=None

        Returns
        -------
        ClusterSizesDisplay
        """
        found = read_clustering(estimator, X, labels)
        doubt, n_clusters = measure_doubt(found).doubt, len(found.centers)
        return cls.from_predictions(found.labels, doubt, n_clusters=n_clusters, ax=ax)

    @classmethod
    def from_predictions(
        cls, labels: Any, doubt: Any = None, *, n_clusters: int | None = None, ax: Any = None
    ) -> ClusterSizesDisplay:
        """Draw sizes, and doubt if it is given.

        Parameters
        ----------
        labels : array-like of int, shape (n_samples,)
            -1 for samples without a cluster.
        doubt : array-like of shape (n_samples,), default=None
            Such as ``doubt`` of :class:`~skumc.report.ClusterReport`, or another measure.
        n_clusters : int, default=None
            None is the largest label plus one.
        ax : matplotlib Axes, default=None

        Returns
        -------
        ClusterSizesDisplay
        """
        labels = cluster_labels(labels)
        n_clusters = number_of_clusters(labels, n_clusters)
        sizes = np.bincount(labels[labels >= 0], minlength=n_clusters)
        quartiles = None
        if doubt is not None:
            doubt = np.asarray(doubt, dtype=np.float64)
            if doubt.shape != labels.shape:
                raise ValueError(
                    f"Got doubt of shape {doubt.shape} for {len(labels)} labels. Pass one value "
                    "per sample."
                )
            quartiles = np.full((n_clusters, 3), np.nan)
            for cluster in np.flatnonzero(sizes):
                quartiles[cluster] = np.quantile(doubt[labels == cluster], [0.25, 0.5, 0.75])
        return cls(sizes, quartiles, int((labels < 0).sum())).plot(ax=ax)

    def plot(self, ax: Any = None) -> ClusterSizesDisplay:
        """Draw the bars and the quartiles.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes that are divided in two. None makes a new figure.

        Returns
        -------
        ClusterSizesDisplay
        """
        n_clusters, order = len(self.sizes), self.order
        figsize = (7, 1.2 + max(1.5, 0.2 * n_clusters))
        self.figure_, left, right = two_axes(ax, figsize, side_by_side=True)
        self.ax_ = [left, right]
        places, sizes = np.arange(n_clusters), self.sizes[order]
        left.barh(places, sizes, color=COLORS[3], edgecolor="0.2", linewidth=0.5)
        font = label_size(n_clusters)
        for place, size in zip(places, sizes, strict=True):
            left.annotate(
                f"{size:,}", (size, place), xytext=(3, 0), textcoords="offset points",
                va="center", fontsize=font,
            )  # fmt: skip
        left.set_xlim(0, 1.15 * max(sizes.max(initial=0), 1))
        left.set_yticks(places, order, fontsize=font)
        left.set_ylim(n_clusters - 0.4, -0.6)
        extra = f" ({self.n_unassigned:,} without a cluster)" if self.n_unassigned else ""
        left.set(xlabel=f"samples{extra}", ylabel="cluster")
        for text in right.get_yticklabels():  # the left axes have the same
            text.set_visible(False)
        if self.doubt_quartiles is None:
            right.set_axis_off()
            return self
        low, middle, high = self.doubt_quartiles[order].T
        right.hlines(places, low, high, color="0.35", linewidth=2)
        right.plot(middle, places, "o", color=COLORS[4], markeredgecolor="black", markersize=5)
        right.set_xlim(0, 1.05 * max(1.0, float(np.nanmax(high, initial=0))))
        right.axvline(1, color="0.5", linestyle=":")
        right.grid(axis="y", color="0.9")
        right.set_axisbelow(True)
        right.set_xlabel("doubt (median, quartiles)")
        return self
