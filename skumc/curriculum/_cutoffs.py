"""Number of samples to select from each cluster."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import validate_parameter_constraints

from skumc.curriculum._bounds import SHARE

_SMALL_CLUSTER = 5
_FLOOR_GUARD = 1e-9


def floor_share(size: int, share: float) -> int:
    """Return floor(size * share) as if the product were exact."""
    # 0.29 * 100 is 28.999999999999996 in floating point, but 29 on paper.
    return math.floor(size * share + _FLOOR_GUARD)


def cluster_cutoff(size: int, n_samples: int, n_clusters: int, threshold: float) -> int:
    """Return the number of samples to select from one cluster.

    Parameters
    ----------
    size : int
        Number of samples in this cluster, s.
    n_samples : int
        Number of samples in all clusters, N.
    n_clusters : int
        Number of non-empty clusters, K.
    threshold : float
        Share of the cluster to select, within [0, 1].

    Returns
    -------
    cutoff : int
        Between 1 and ``size``.

    Notes
    -----
    All s samples if s <= 5; otherwise max(floor(s threshold), min(N_min, s)) with
    N_min = max(5, floor(0.1 N / K)). UMC methodology, section 3.5.8.3.
    """
    if size <= _SMALL_CLUSTER:
        return size
    # Integers: in floating point, 0.1 * N / K can fall just below an integer.
    n_min = max(_SMALL_CLUSTER, n_samples // (10 * n_clusters))
    return max(floor_share(size, threshold), min(n_min, size))


def selection_mask(
    labels: NDArray,
    threshold: float,
    pick: Callable[[NDArray, int], NDArray],
) -> NDArray[np.bool_]:
    """Select in each cluster the rows that ``pick`` returns.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Cluster of each sample; any integers.
    threshold : float
        Share of each cluster to select, within [0, 1].
    pick : callable
        Function of the rows of one cluster, ascending, and a cutoff below their number. It returns
        the positions of the selected rows among these rows. It is not called for clusters that are
        selected whole.

    Returns
    -------
    mask : ndarray of bool, shape (n_samples,)
        True for the selected samples.
    """
    validate_parameter_constraints(
        {"threshold": SHARE}, {"threshold": threshold}, caller_name="select"
    )
    threshold = float(threshold)
    mask = np.zeros(len(labels), dtype=bool)
    if not len(labels):
        return mask
    _, sizes = np.unique(labels, return_counts=True)
    by_cluster = np.argsort(labels, kind="stable")
    for rows in np.split(by_cluster, np.cumsum(sizes)[:-1]):
        cutoff = cluster_cutoff(len(rows), len(labels), len(sizes), threshold)
        mask[rows if cutoff == len(rows) else rows[pick(rows, cutoff)]] = True
    return mask
