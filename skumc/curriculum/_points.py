"""Checks of the embedding and labels passed to selectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_points(X: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return X as a 2-D array of finite numbers and labels as one integer per row."""
    X, labels = np.asarray(X), np.asarray(labels)
    if X.ndim != 2 or X.dtype.kind not in "fiub":
        raise ValueError(
            f"Got X with shape {X.shape} and dtype {X.dtype}, expected real numbers of shape "
            "(n_samples, width). Pass one row per sample."
        )
    if labels.shape != (len(X),):
        raise ValueError(
            f"Got labels with shape {labels.shape}, expected ({len(X)},) as X has {len(X)} rows. "
            "Pass one label per row of X."
        )
    if labels.dtype.kind not in "iu" and labels.size:
        raise ValueError(
            f"Got labels of dtype {labels.dtype}, expected integers. "
            "Encode other labels with sklearn.preprocessing.LabelEncoder."
        )
    broken = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if broken.size:
        raise ValueError(
            f"Got X with NaN or infinity in {broken.size} rows (the first is row {broken[0]}), "
            "expected finite numbers. Fix these rows; if they are the output of training, lower "
            "its learning rate."
        )
    return X, labels
