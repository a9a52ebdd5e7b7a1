"""Clustering in the space of the embedding."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skumc._parts import clone_part

_ROWS = 4096  # samples per block of the distance matrix


def center_offsets(embedding: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Compute squared distances to the centers, less the squared norm of each sample.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_clusters)

    Examples
    --------
    >>> import numpy as np
    >>> center_offsets(np.array([[1.0], [4.0]]), np.array([[0.0], [5.0]])).tolist()
    [[0.0, 15.0], [0.0, -15.0]]
    """
    wide = centers.astype(np.float64)
    return np.square(wide).sum(axis=1) - 2 * (embedding.astype(np.float64) @ wide.T)


def assign_labels(embedding: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Assign each sample to its nearest center, (n_samples,); of equal ones to the first.

    Examples
    --------
    >>> import numpy as np
    >>> assign_labels(np.array([[0.1], [4.0], [3.0]]), np.array([[0.0], [5.0]])).tolist()
    [0, 1, 1]
    """
    # scikit-learn's function sets the thread count of the process, which threads may not share
    labels = np.empty(len(embedding), dtype=np.int32)
    for start in range(0, len(embedding), _ROWS):
        rows = slice(start, start + _ROWS)
        labels[rows] = center_offsets(embedding[rows], centers).argmin(axis=1)
    return labels


def cluster_embedding(
    kmeans: Any,
    embedding: np.ndarray,
    n_clusters: int,
    start: np.ndarray | None,
    seed: int,
    rate: Callable[[np.ndarray, float], float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Cluster an embedding, from given centers where there are some.

    Parameters
    ----------
    kmeans : estimator
        Is copied; has the parameters ``n_clusters``, ``init`` and ``n_init`` and the attribute
        ``cluster_centers_``.
    embedding : ndarray of shape (n_samples, n_components)
    n_clusters : int
    start : ndarray of shape (n_clusters, n_components) or None
        Centers to start from, in the space of this embedding. None lets the part choose its own
        (k-means++).
    seed : int
        Seed where the part has no ``random_state`` of its own.
    rate : callable or None, default=None
        Called with labels and inertia; the one of the part's ``n_init`` clusterings with the
        highest value is kept, instead of that with the smallest inertia.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
    centers : ndarray of shape (n_clusters, n_components)

    Notes
    -----
    K-means alternates between :math:`y_i = \arg\min_k \|h_i - c_k\|` for the embedding :math:`h_i`
    of each sample, and :math:`c_k` = mean of the :math:`h_i` with :math:`y_i = k`. K-means++ draws
    its first centers: one sample uniformly, each further one with a probability that is
    proportional to :math:`D_i^2`, where :math:`D_i` is the distance to the nearest center so far.
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
        kmeans = _fitted(kmeans, embedding, None if start is not None else rate)
    except (TypeError, ValueError) as error:
        origin = "" if start is None else " from given centers"
        raise ValueError(
            f"kmeans={type(kmeans).__name__} cannot be fitted{origin}: {error} Pass an estimator "
            "like KMeans that can start from an array, init=centers, or None."
        ) from error
    centers = kmeans.cluster_centers_.astype(embedding.dtype, copy=False)
    return assign_labels(embedding, centers), centers


def _fitted(
    kmeans: Any, embedding: np.ndarray, rate: Callable[[np.ndarray, float], float] | None
) -> Any:
    """Fit k-means once, or from ``n_init`` starts of which the one rated highest is kept."""
    parameters = kmeans.get_params()
    n_starts = parameters["n_init"]
    if rate is None or not isinstance(n_starts, Integral) or "random_state" not in parameters:
        return kmeans.fit(embedding)
    rng = check_random_state(parameters["random_state"])
    best, highest = None, -math.inf
    for _ in range(int(n_starts)):
        single = clone_part(kmeans).set_params(n_init=1, random_state=rng.randint(2**31 - 1))
        centers = single.fit(embedding).cluster_centers_
        labels = assign_labels(embedding, centers)
        value = rate(labels, float(np.square(embedding - centers[labels]).sum()))
        if best is None or value > highest:
            best, highest = single, value
    return best


def clustering_objective(
    embedding: np.ndarray, labels: np.ndarray, centers: np.ndarray
) -> dict[str, float]:
    r"""Compute the joint objective of section 3.1.2 of the UMC methodology, and its two parts.

    Parameters
    ----------
    embedding : ndarray of shape (n_samples, n_components)
    labels : ndarray of int, shape (n_samples,)
    centers : ndarray of shape (n_clusters, n_components)

    Returns
    -------
    dict of str to float
        ``within``: sum of squared distances to the centers; ``separation``: smallest squared
        distance between two centers (0 for one center); ``objective``: their difference.

    Notes
    -----
    .. math:: \sum_{k=1}^{K} \sum_{i \in C_k} \|h_i - c_k\|^2
       - \lambda \min_{k \ne l} \|c_k - c_l\|^2

    for embeddings :math:`h_i`, clusters :math:`C_k` with centers :math:`c_k`, and
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
