"""Embedding, labels, centers and gates of samples, read once from a fitted estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from skumc._assembly import read_samples
from skumc._clusterer import UMCClusterer
from skumc.data import MultimodalData
from skumc.data._columns import column_index
from skumc.data._forms import common_index
from skumc.model_selection._inner import fitted_clusterer
from skumc.training._clustering import assign_labels


class Clustering(NamedTuple):
    """Samples in the space that is clustered.

    Attributes
    ----------
    embedding : ndarray of shape (n_samples, n_components)
        NaN in the rows of samples without any modality.
    labels : ndarray of int, shape (n_samples,)
        -1 for samples without a cluster.
    centers : ndarray of shape (n_clusters, n_components)
    gates : dict of str to ndarray of shape (n_samples,)
        Share of each modality in the embedding; empty for estimators without gates.
    index : sequence or None
        Names of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[0.0], [1.0], [9.0]])
    >>> found = Clustering(rows, np.array([0, 0, 1]), np.array([[0.5], [9.0]]), {}, None)
    >>> found.sizes.tolist()
    [2, 1]
    """

    embedding: np.ndarray
    labels: np.ndarray
    centers: np.ndarray
    gates: dict[str, np.ndarray]
    index: Any

    @property
    def sizes(self) -> np.ndarray:
        """Number of samples of each cluster, (n_clusters,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.centers))

    def name(self, row: int) -> Any:
        """Return the index label of a row; its number where there is no index."""
        return row if self.index is None else self.index[row]


class Doubt(NamedTuple):
    """Distances of samples to centers.

    Attributes
    ----------
    own : ndarray of shape (n_samples,)
        Distance to the center of the sample's own cluster; NaN without a cluster.
    doubt : ndarray of shape (n_samples,)
        ``own`` divided by the distance to the nearest other center: 0 at the own center, 1 on the
        border; NaN without a cluster, 0 if there is only one.
    other : ndarray of int, shape (n_samples,)
        Cluster of the nearest other center; -1 if there is none.
    """

    own: np.ndarray
    doubt: np.ndarray
    other: np.ndarray


def measure_doubt(clustering: Clustering) -> Doubt:
    """Compare the distance to the own center with that to the nearest other center.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[0.0], [4.0], [10.0]])
    >>> found = Clustering(rows, np.array([0, 0, 1]), np.array([[0.0], [10.0]]), {}, None)
    >>> measure_doubt(found).doubt.round(2).tolist()
    [0.0, 0.67, 0.0]
    """
    labels, n_samples = clustering.labels, len(clustering.labels)
    own, doubt = np.full(n_samples, np.nan), np.full(n_samples, np.nan)
    other = np.full(n_samples, -1)
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        return Doubt(own, doubt, other)
    distances = euclidean_distances(
        clustering.embedding[rows].astype(np.float64), clustering.centers.astype(np.float64)
    )
    at = np.arange(len(rows)), labels[rows]
    own[rows], doubt[rows] = distances[at], 0.0
    if len(clustering.centers) > 1:
        distances[at] = np.inf
        other[rows] = distances.argmin(axis=1)
        nearest = distances.min(axis=1)
        # two equal centers: the sample is on the border of both
        doubt[rows] = np.divide(own[rows], nearest, out=np.ones(len(rows)), where=nearest > 0)
    return Doubt(own, doubt, other)


def _read_umc(clusterer: UMCClusterer, X: Any) -> tuple[Any, ...]:
    """Embed the samples that have a modality; the others get the label -1."""
    data = read_samples(clusterer, X, "label -1")
    present = data.present.any(axis=1)
    if not present.any():
        raise ValueError("No sample of X has any modality. Pass at least one that has.")
    found = clusterer._embed(data if present.all() else data[present])
    embedding = np.full((len(data), found.embedding.shape[1]), np.nan, dtype=np.float32)
    gates = np.zeros((len(data), found.gates.shape[1]), dtype=np.float32)
    labels = np.full(len(data), -1, dtype=np.int32)
    embedding[present], gates[present] = found.embedding, found.gates
    labels[present] = assign_labels(found.embedding, clusterer.cluster_centers_)
    names = list(clusterer.modality_widths_)
    columns = dict(zip(names, gates.T, strict=True)) if gates.shape[1] == len(names) else {}
    return embedding, labels, clusterer.cluster_centers_, columns


def _read_other(estimator: Any, X: Any) -> tuple[Any, ...]:
    """Read X itself as the space of an estimator with ``predict`` and ``cluster_centers_``."""
    if isinstance(estimator, Pipeline):
        X = estimator[:-1].transform(X) if len(estimator) > 1 else X
        estimator = estimator[-1]
    if not (hasattr(estimator, "cluster_centers_") and hasattr(estimator, "predict")):
        raise TypeError(
            f"Got {type(estimator).__name__}, expected a fitted clusterer with predict and "
            "cluster_centers_, such as UMCClusterer or KMeans, or a pipeline or search with one."
        )
    labels = np.asarray(estimator.predict(X))
    return check_array(X, dtype=np.float64), labels, np.asarray(estimator.cluster_centers_), {}


def _checked_labels(labels: Any, n_samples: int, n_clusters: int) -> np.ndarray:
    """Return labels of the caller as integers from -1 to n_clusters - 1."""
    values = np.asarray(labels)
    if values.shape != (n_samples,) or values.dtype.kind not in "iu":
        raise ValueError(
            f"Got labels= of shape {values.shape} and type {values.dtype}, expected {n_samples} "
            "whole numbers, one per sample of X."
        )
    values = values.astype(np.int64)
    if len(values) and not (-1 <= values.min() and values.max() < n_clusters):
        raise ValueError(
            f"Got labels= from {values.min()} to {values.max()}, expected the estimator's "
            f"clusters 0 to {n_clusters - 1}, and -1 for samples without a cluster."
        )
    return values


def read_clustering(estimator: Any, X: Any, labels: Any = None) -> Clustering:
    """Embed samples and assign them to clusters.

    Parameters
    ----------
    estimator : object
        Fitted ``UMCClusterer`` or another clusterer with ``predict`` and ``cluster_centers_``; or
        a pipeline or search with one.
    X : array, DataFrame, MultimodalData, list of dicts or dict
        Samples without any modality have the label -1.
    labels : array-like of int, shape (n_samples,), default=None
        Labels to use in place of the predicted ones.

    Returns
    -------
    Clustering

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> X = [[0.0], [1.0], [9.0]]
    >>> kmeans = KMeans(2, init=[[0.0], [9.0]], n_init=1).fit(X)
    >>> read_clustering(kmeans, X, labels=[0, -1, 1]).sizes.tolist()
    [1, 1]
    """
    clusterer, prepared = fitted_clusterer(estimator, X)
    read = _read_umc if isinstance(clusterer, UMCClusterer) else _read_other
    embedding, predicted, centers, gates = read(clusterer, prepared)
    if labels is not None:
        has_row = ~np.isnan(embedding).any(axis=1)
        given = _checked_labels(labels, len(predicted), len(centers))
        predicted = np.where(has_row, given, -1)
    if isinstance(X, MultimodalData):
        index = X.index
    else:
        index = common_index(X, None) if isinstance(X, Mapping) else column_index(X)
    return Clustering(embedding, predicted, centers, gates, index)
