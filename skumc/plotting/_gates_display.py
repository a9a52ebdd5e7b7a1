"""Mean gates by cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skumc.plotting._checks import cluster_labels, matrix, number_of_clusters
from skumc.plotting._style import HEATMAP, annotate_cells, label_size, single_axis
from skumc.report._clustered_samples import read_clustering


class GatesDisplay:
    """Heat map of the mean gate of each modality by cluster.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    mean_gates : ndarray of shape (n_clusters, n_modalities)
        NaN for clusters without samples.
    names : sequence of str
        Names of the modalities.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    im_ : matplotlib AxesImage

    Examples
    --------
    >>> from skumc.plotting import GatesDisplay
    >>> gates = [[0.9, 0.1], [0.7, 0.3], [0.5, 0.5]]
    >>> GatesDisplay.from_predictions(gates, [0, 0, 1], ["text", "audio"]).mean_gates.tolist()
    [[0.8, 0.2], [0.5, 0.5]]
    """

    def __init__(self, mean_gates: np.ndarray, names: Sequence[str]) -> None:
        self.mean_gates = mean_gates
        self.names = names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, labels: Any = None, ax: Any = None
    ) -> GatesDisplay:
        """Draw the mean gates of samples.

        Parameters
        ----------
        estimator : UMCClusterer, or a pipeline or search with one
        X : array, DataFrame, MultimodalData, list of dicts or dict
        labels : array-like of int, shape (n_samples,), default=None
            Labels in place of the predicted ones.
        ax : matplotlib Axes, default=None

        Returns
        -------
        GatesDisplay
        """
        found = read_clustering(estimator, X, labels)
        if not found.gates:
            raise TypeError(f"{type(estimator).__name__} has no gates, expected a UMCClusterer.")
        gates = np.stack(list(found.gates.values()), axis=1)
        names, n_clusters = list(found.gates), len(found.centers)
        return cls.from_predictions(gates, found.labels, names, n_clusters=n_clusters, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        gates: Any,
        labels: Any,
        names: Sequence[str] | None = None,
        *,
        n_clusters: int | None = None,
        ax: Any = None,
    ) -> GatesDisplay:
        """Draw the means of gates.

        Parameters
        ----------
        gates : array-like of shape (n_samples, n_modalities)
            As ``modality_weights`` returns them.
        labels : array-like of int, shape (n_samples,)
            Samples with -1 are left out.
        names : sequence of str, default=None
        n_clusters : int, default=None
            None is the largest label plus one.
        ax : matplotlib Axes, default=None

        Returns
        -------
        GatesDisplay
        """
        gates = matrix("gates", gates)
        labels = cluster_labels(labels, len(gates))
        means = np.full((number_of_clusters(labels, n_clusters), gates.shape[1]), np.nan)
        for cluster in np.unique(labels[labels >= 0]):
            means[cluster] = gates[labels == cluster].mean(axis=0)
        names = [f"modality {i}" for i in range(gates.shape[1])] if names is None else list(names)
        if len(names) != gates.shape[1]:
            raise ValueError(
                f"Got {len(names)} names for {gates.shape[1]} modalities. Pass one per column of "
                "gates."
            )
        return cls(means, names).plot(ax=ax)

    def plot(self, ax: Any = None) -> GatesDisplay:
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.

        Returns
        -------
        GatesDisplay
        """
        n_clusters, n_modalities = self.mean_gates.shape
        figsize = (1.8 + 1.1 * n_modalities, 1.2 + max(1.5, 0.22 * n_clusters))
        self.figure_, self.ax_ = single_axis(ax, figsize)
        highest = np.nanmax(self.mean_gates, initial=0) or 1.0
        self.im_ = self.ax_.imshow(
            self.mean_gates, aspect="auto", cmap=HEATMAP, vmin=0, vmax=highest
        )
        texts = [["" if np.isnan(v) else f"{v:.2f}" for v in row] for row in self.mean_gates]
        size = label_size(n_clusters)
        annotate_cells(self.ax_, self.mean_gates, texts, 0.55 * highest, size + 1)
        self.ax_.set_yticks(range(n_clusters), range(n_clusters), fontsize=size)
        self.ax_.set_xticks(range(n_modalities), self.names)
        self.ax_.set_ylabel("cluster")
        self.figure_.colorbar(self.im_, ax=self.ax_, label="mean gate")
        return self
