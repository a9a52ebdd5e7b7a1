"""The contract of pseudo-labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix


class PseudoLabels(NamedTuple):
    """The result of one epoch's labeling.

    Attributes
    ----------
    labels : ndarray of int, shape (n_samples,)
        Pseudo-label of each sample, the number of a cluster.
    taught : ndarray of bool, shape (n_samples,)
        Samples of the supervised step; all others are trained by the contrastive loss.
    centers : ndarray of shape (n_clusters, n_components)
        Cluster centers, which ``predict`` uses if this epoch is kept.

    Examples
    --------
    >>> import numpy as np
    >>> PseudoLabels(np.array([0, 1]), np.array([True, False]), np.eye(2)).taught.tolist()
    [True, False]
    """

    labels: np.ndarray
    taught: np.ndarray
    centers: np.ndarray


def label_means(
    values: np.ndarray, labels: np.ndarray, n_clusters: int, fallback: np.ndarray | None = None
) -> np.ndarray:
    """Mean of the rows of each label.

    Parameters
    ----------
    values : ndarray of shape (n_samples, width)
    labels : ndarray of int, shape (n_samples,)
    n_clusters : int
    fallback : ndarray of shape (n_clusters, width), default=None
        Rows for labels without samples; None takes the mean of all samples.

    Returns
    -------
    ndarray of shape (n_clusters, width)

    Raises
    ------
    ValueError
        If there is not one label in [0, n_clusters) per value.

    Examples
    --------
    >>> import numpy as np
    >>> label_means(np.array([[0.0], [2.0], [5.0]]), np.array([0, 0, 1]), 2).tolist()
    [[1.0], [5.0]]
    """
    values, labels = np.asarray(values), np.asarray(labels)
    is_known = 0 <= labels.min(initial=0) and labels.max(initial=0) < n_clusters
    if len(labels) != len(values) or not is_known:
        raise ValueError(
            f"Got {len(values)} values and {len(labels)} labels from {labels.min(initial=0)} to "
            f"{labels.max(initial=0)}, expected a label in [0, {n_clusters}) for each."
        )
    rows = np.arange(len(labels))
    members = csr_matrix((np.ones(len(labels)), (labels, rows)), shape=(n_clusters, len(labels)))
    sums = members @ values.astype(np.float64)
    counts = np.bincount(labels, minlength=n_clusters)[:, None]
    fallback = values.mean(axis=0) if fallback is None else fallback
    return np.where(counts, sums / np.maximum(counts, 1), fallback).astype(values.dtype)
