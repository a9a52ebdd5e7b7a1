"""Clusters in the space of the embedding."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator
from sklearn.metrics import pairwise_distances_argmin, silhouette_score

from skumc._parts import clone_part


def assign_labels(embedding: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Number of the nearest centre of each sample, (n_samples,).

    Examples
    --------
    >>> import numpy as np
    >>> assign_labels(np.array([[0.1], [4.0], [3.0]]), np.array([[0.0], [5.0]])).tolist()
    [0, 1, 1]
    """
    return pairwise_distances_argmin(embedding, centers).astype(np.int32)


def cluster_embedding(
    kmeans: Any,
    embedding: np.ndarray,
    n_clusters: int,
    start: np.ndarray | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Cluster an embedding, from given centres where there are some.

    Parameters
    ----------
    kmeans : estimator
        Copied; takes ``n_clusters``, ``init`` and ``n_init``, gives ``cluster_centers_``.
    embedding : ndarray of shape (n_samples, n_components)
    n_clusters : int
    start : ndarray of shape (n_clusters, n_components) or None
        Centers to start from, in the space of this embedding. None lets the part choose its own
        (k-means++).
    seed : int
        Used where the part has no ``random_state`` of its own.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
    centers : ndarray of shape (n_clusters, n_components)

    Notes
    -----
    K-means takes turns: :math:`y_i = \arg\min_k \|h_i - c_k\|` for the embedding :math:`h_i` of
    each sample, and :math:`c_k` = mean of the :math:`h_i` with :math:`y_i = k`. K-means++ draws
    its first centres: one sample uniformly, each further one with a probability that is
    proportional to :math:`D_i^2`, where :math:`D_i` is the distance to the nearest centre so far.
    Sections 3.5.7 and 3.5.9.1 of the UMC methodology.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.cluster import KMeans
    >>> embedding = np.array([[0.0], [0.1], [1.0]])
    >>> labels, centers = cluster_embedding(KMeans(), embedding, 2, np.array([[0.0], [1.0]]), 0)
    >>> labels.tolist(), centers.round(2).tolist()
    ([0, 0, 1], [[0.05], [1.0]])
    """
    kmeans = clone_part(kmeans).set_params(n_clusters=n_clusters)
    if "random_state" in kmeans.get_params() and kmeans.get_params()["random_state"] is None:
        kmeans.set_params(random_state=seed)
    if start is not None:
        kmeans.set_params(init=start, n_init=1)
    try:
        kmeans.fit(embedding)
    except (TypeError, ValueError) as error:
        origin = "" if start is None else " from given centers"
        raise ValueError(
            f"kmeans={type(kmeans).__name__} cannot be fitted{origin}: {error} Pass an estimator "
            "like KMeans, whose init takes an array, or None."
        ) from error
    centers = kmeans.cluster_centers_.astype(embedding.dtype, copy=False)
    return assign_labels(embedding, centers), centers


def label_means(
    values: np.ndarray, labels: np.ndarray, n_clusters: int, without: np.ndarray | None = None
) -> np.ndarray:
    """Mean of the rows of each label, (n_clusters, width).

    A label without rows has its row of ``without``, or the mean of all where that is None.
    """
    rows = np.arange(len(labels))
    members = csr_matrix((np.ones(len(labels)), (labels, rows)), shape=(n_clusters, len(labels)))
    sums = members @ values.astype(np.float64)
    counts = np.bincount(labels, minlength=n_clusters)[:, None]
    without = values.mean(axis=0) if without is None else without
    return np.where(counts, sums / np.maximum(counts, 1), without).astype(values.dtype)


def clustering_objective(
    embedding: np.ndarray, labels: np.ndarray, centers: np.ndarray
) -> dict[str, float]:
    r"""The joint objective of section 3.1.2 of the UMC methodology, and its two parts.

    Parameters
    ----------
    embedding : ndarray of shape (n_samples, n_components)
    labels : ndarray of int, shape (n_samples,)
    centers : ndarray of shape (n_clusters, n_components)

    Returns
    -------
    dict of str to float
        ``within``: sum of squared distances to the centres; ``separation``: smallest squared
        distance between two centres (0 for one centre); ``objective``: their difference.

    Notes
    -----
    .. math:: \sum_{k=1}^{K} \sum_{i \in C_k} \|h_i - c_k\|^2
       - \lambda \min_{k \ne l} \|c_k - c_l\|^2

    for embeddings :math:`h_i`, clusters :math:`C_k` with centres :math:`c_k`, and
    :math:`\lambda = 1`, which the source leaves open.

    Examples
    --------
    >>> import numpy as np
    >>> h, centers = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [3.0]])
    >>> clustering_objective(h, np.array([0, 0, 1]), centers)
    {'within': 0.5, 'separation': 6.25, 'objective': -5.75}
    """
    within = float(np.sum(np.square(embedding - centers[labels]), dtype=np.float64))
    separation = 0.0
    if len(centers) > 1:
        squared = np.square(centers[:, None] - centers[None]).sum(axis=-1, dtype=np.float64)
        separation = float(squared[np.triu_indices(len(centers), 1)].min())
    return {"within": within, "separation": separation, "objective": within - separation}


class SilhouetteMonitor(BaseEstimator):
    """Judge an epoch without labels: mean silhouette of the pseudo-labels.

    Parameters
    ----------
    sample_size : int, default=1000
        Samples looked at; always the same ones for a given number of samples.
    random_state : int, default=0
        Chooses those samples.

    Notes
    -----
    Euclidean silhouette (Rousseeuw, 1987) in the space of the embedding, larger is better. Fewer
    than two labels among the samples looked at, or a label for each of them, give 0.0.

    Examples
    --------
    >>> import numpy as np
    >>> embedding = np.repeat(np.eye(2), 5, axis=0)
    >>> SilhouetteMonitor()(embedding, np.repeat([0, 1], 5))
    1.0
    >>> SilhouetteMonitor()(embedding, np.zeros(10, dtype=int))
    0.0
    """

    def __init__(self, sample_size: int = 1000, random_state: int = 0) -> None:
        self.sample_size = sample_size
        self.random_state = random_state

    def __call__(self, embedding: np.ndarray, labels: np.ndarray) -> float:
        """Judge.

        Parameters
        ----------
        embedding : ndarray of shape (n_samples, n_components)
        labels : ndarray of shape (n_samples,)

        Returns
        -------
        float
        """
        if not isinstance(self.sample_size, Integral) or self.sample_size < 2:
            raise ValueError(
                f"Got sample_size={self.sample_size!r}, expected a whole number of at least 2."
            )
        if len(embedding) > self.sample_size:
            rng = np.random.RandomState(self.random_state)
            rows = rng.choice(len(embedding), self.sample_size, replace=False)
            embedding, labels = embedding[rows], labels[rows]
        if not 1 < len(np.unique(labels)) < len(labels):
            return 0.0
        points = torch.from_numpy(np.asarray(embedding))
        apart = torch.cdist(points, points).fill_diagonal_(0).numpy()
        return float(silhouette_score(apart, labels, metric="precomputed"))
