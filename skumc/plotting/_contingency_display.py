"""Contingency of classes and clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from skumc.metrics import clustering_accuracy
from skumc.plotting._checks import cluster_labels
from skumc.plotting._style import HEATMAP, annotate_cells, label_size, single_axis
from skumc.report._clustered_samples import read_clustering

_MAX_ANNOTATED = 15  # classes or clusters, beyond which cells are too small for numbers


class ContingencyDisplay:
    """Heat map of classes by clusters, ordered so that matched pairs are on the diagonal.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`. Classes are matched one to one
    to clusters such that the number of samples in matched pairs is largest (Hungarian method).

    Parameters
    ----------
    counts : ndarray of int, shape (n_classes, n_clusters)
        Number of samples, in the order of the display.
    classes : list
        Classes, from top to bottom: larger matched pairs first, unmatched classes last.
    clusters : list of int
        Clusters, from left to right: matched ones in the order of their classes, then unmatched
        ones, then -1 if there are samples without a cluster.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    im_ : matplotlib AxesImage

    Examples
    --------
    >>> from skumc.plotting import ContingencyDisplay
    >>> display = ContingencyDisplay.from_predictions(["a", "a", "b", "b", "b"], [1, 1, 0, 0, 1])
    >>> display.classes, display.clusters, display.counts.tolist()
    (['a', 'b'], [1, 0], [[2, 0], [1, 2]])
    """

    def __init__(self, counts: np.ndarray, classes: list[Any], clusters: list[int]) -> None:
        self.counts = counts
        self.classes = classes
        self.clusters = clusters

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, labels: Any = None, ax: Any = None
    ) -> ContingencyDisplay:
        """Draw the contingency of classes and predicted clusters.

        Parameters
        ----------
        estimator : object
            Fitted clusterer, see :func:`~skumc.report.cluster_report`.
        X : array, DataFrame, MultimodalData, list of dicts or dict
        y : array-like of shape (n_samples,)
            Classes.
        labels : array-like of int, shape (n_samples,), default=None
            Labels in place of the predicted ones.
        ax : matplotlib Axes, default=None

        Returns
        -------
        ContingencyDisplay
        """
        return cls.from_predictions(y, read_clustering(estimator, X, labels).labels, ax=ax)

    @classmethod
    def from_predictions(cls, y_true: Any, y_pred: Any, *, ax: Any = None) -> ContingencyDisplay:
        """Draw the contingency of classes and clusters.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Classes: whole numbers or strings.
        y_pred : array-like of int, shape (n_samples,)
            Clusters, -1 for none.
        ax : matplotlib Axes, default=None

        Returns
        -------
        ContingencyDisplay
        """
        y_pred = cluster_labels(y_pred)
        clustering_accuracy(y_true, y_pred)  # checks lengths and missing classes
        classes, rows = np.unique(np.asarray(y_true).ravel(), return_inverse=True)
        clusters, columns = np.unique(y_pred, return_inverse=True)
        counts = np.zeros((len(classes), len(clusters)), dtype=np.int64)
        np.add.at(counts, (rows, columns), 1)
        is_cluster = np.flatnonzero(clusters >= 0)
        matched_rows, matched = linear_sum_assignment(counts[:, is_cluster], maximize=True)
        matched_columns = is_cluster[matched]
        order = np.argsort(-counts[matched_rows, matched_columns], kind="stable")
        matched_rows, matched_columns = matched_rows[order], matched_columns[order]
        row_order = [*matched_rows, *np.setdiff1d(np.arange(len(classes)), matched_rows)]
        column_order = [*matched_columns, *np.setdiff1d(is_cluster, matched_columns)]
        column_order += list(np.flatnonzero(clusters < 0))
        display = cls(
            counts[np.ix_(row_order, column_order)],
            classes[row_order].tolist(),
            clusters[column_order].tolist(),
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> ContingencyDisplay:
        """Draw the heat map; colors are shares of a class, numbers are samples.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.

        Returns
        -------
        ContingencyDisplay
        """
        n_classes, n_clusters = self.counts.shape
        figsize = (2.5 + max(2.0, 0.2 * n_clusters), 1.5 + max(2.0, 0.2 * n_classes))
        self.figure_, self.ax_ = single_axis(ax, figsize)
        shares = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        from matplotlib.colors import PowerNorm

        scale = PowerNorm(0.5, 0, 1)  # small shares off the diagonal are visible
        self.im_ = self.ax_.imshow(shares, aspect="auto", cmap=HEATMAP, norm=scale)
        font = label_size(max(n_classes, n_clusters))
        if max(n_classes, n_clusters) <= _MAX_ANNOTATED:
            texts = [[str(count) if count else "" for count in row] for row in self.counts]
            annotate_cells(self.ax_, shares, texts, 0.3, font)
        names = [str(name).replace("$", r"\$") for name in self.classes]
        clusters = ["none" if cluster < 0 else str(cluster) for cluster in self.clusters]
        rotation = 90 if n_clusters > 10 else 0
        self.ax_.set_yticks(range(n_classes), names, fontsize=font)
        self.ax_.set_xticks(range(n_clusters), clusters, fontsize=font, rotation=rotation)
        self.ax_.set(xlabel="cluster", ylabel="class")
        self.figure_.colorbar(self.im_, ax=self.ax_, label="share of the class")
        return self
