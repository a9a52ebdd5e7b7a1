"""Row numbers: from index keys, through a container's index, and in messages."""

from __future__ import annotations

from typing import Any

import numpy as np


def name_rows(rows: np.ndarray, limit: int = 5) -> str:
    """List the first row numbers of many for a message.

    Examples
    --------
    >>> name_rows(np.arange(3, 10))
    'rows 3, 4, 5, 6, 7 and 2 more'
    """
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:limit].tolist()))}{more}"


def strip_ellipsis(key: Any) -> Any:
    """Reduce the keys ``X[rows, ...]`` and ``X[rows, :]`` to ``rows``, as scikit-learn needs."""
    if not isinstance(key, tuple):
        return key
    if len(key) == 2 and (
        key[1] is Ellipsis or (isinstance(key[1], slice) and key[1] == slice(None))
    ):
        return key[0]
    raise IndexError(
        f"Got the index {key!r}, expected row numbers, a boolean mask or a slice: X[rows]. Choose "
        "modalities with X.select(names)."
    )


def resolve_rows(key: Any, n_samples: int) -> np.ndarray:
    """Convert an index key to row numbers that are not negative."""
    if isinstance(key, slice):
        return np.arange(n_samples)[key]
    key = np.asarray(key)
    if key.size == 0 and key.dtype.kind == "f":
        key = key.astype(np.int64)
    if key.ndim != 1 or key.dtype.kind not in "biu":
        raise IndexError(
            f"Got an index of shape {key.shape} and type {key.dtype}, expected row numbers, a "
            "boolean mask or a slice: X[rows]."
        )
    if key.dtype.kind == "b":
        if len(key) != n_samples:
            raise IndexError(
                f"Got a mask of length {len(key)}, expected one entry per sample, {n_samples}."
            )
        return np.flatnonzero(key)
    rows = key.astype(np.int64)
    if len(rows) and (rows.min() < -n_samples or rows.max() >= n_samples):
        raise IndexError(
            f"Got row numbers from {rows.min()} to {rows.max()}, expected them in "
            f"[{-n_samples}, {n_samples - 1}] for {n_samples} samples."
        )
    return np.where(rows < 0, rows + n_samples, rows)


def take_index(index: Any, rows: np.ndarray) -> Any:
    """Select the entries of a container's index; None stays None."""
    if index is None:
        return None
    return index.take(rows) if hasattr(index, "take") else [index[row] for row in rows]
