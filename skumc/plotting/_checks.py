"""Checks of the arrays that displays are made of."""

from __future__ import annotations

from typing import Any

import numpy as np


def cluster_labels(labels: Any, n_samples: int | None = None) -> np.ndarray:
    """Return labels as integers of at least -1.

    Examples
    --------
    >>> cluster_labels([0, 1, -1]).tolist()
    [0, 1, -1]
    """
    values = np.asarray(labels)
    if values.ndim != 1 or values.dtype.kind not in "iu" or (len(values) and values.min() < -1):
        raise ValueError(
            f"Got labels of shape {values.shape} and type {values.dtype}, expected whole numbers "
            "of at least -1, one per sample."
        )
    if n_samples is not None and len(values) != n_samples:
        raise ValueError(f"Got {len(values)} labels for {n_samples} samples. Pass one per sample.")
    return values.astype(np.int64)


def number_of_clusters(labels: np.ndarray, n_clusters: int | None) -> int:
    """Return ``n_clusters``, at least one more than the largest label.

    Examples
    --------
    >>> number_of_clusters(np.array([0, 2]), None), number_of_clusters(np.array([0, 2]), 5)
    (3, 5)
    """
    smallest = int(labels.max(initial=-1)) + 1
    if n_clusters is not None and n_clusters < smallest:
        raise ValueError(
            f"Got n_clusters={n_clusters} for labels up to {smallest - 1}. Pass at least "
            f"{smallest}."
        )
    return smallest if n_clusters is None else int(n_clusters)


def matrix(name: str, values: Any, n_rows: int | None = None) -> np.ndarray:
    """Return a 2-D array of floats.

    Examples
    --------
    >>> matrix("gates", [[1, 2]]).shape
    (1, 2)
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or (n_rows is not None and len(array) != n_rows):
        expected = "rows" if n_rows is None else f"{n_rows} rows"
        raise ValueError(f"Got {name} of shape {array.shape}, expected a matrix of {expected}.")
    return array
