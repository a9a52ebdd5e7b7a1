"""Checks of what users pass to thresholds and selectors."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_fraction(name: str, value: float) -> float:
    """Give ``value`` as a float if it is a number within [0, 1]."""
    if not isinstance(value, Real) or not 0.0 <= value <= 1.0:
        raise ValueError(
            f"Got {name}={value!r}, expected a number within [0, 1]. "
            "It is the share of a cluster to select: write 30 percent as 0.3."
        )
    return float(value)


def check_order(low_name: str, low: float, high_name: str, high: float) -> None:
    """Raise ValueError unless ``low <= high``."""
    if low > high:
        raise ValueError(
            f"Got {low_name}={low!r} and {high_name}={high!r}, expected {low_name} <= {high_name}. "
            f"Lower {low_name} or raise {high_name}."
        )


def check_epoch(epoch: int, n_epochs: int) -> None:
    """Raise ValueError unless both are integers with ``epoch >= 0`` and ``n_epochs >= 1``."""
    if not isinstance(epoch, Integral) or epoch < 0:
        raise ValueError(
            f"Got epoch={epoch!r}, expected an integer >= 0. Count epochs from 0; "
            "epoch 0 starts a new run."
        )
    if not isinstance(n_epochs, Integral) or n_epochs < 1:
        raise ValueError(
            f"Got n_epochs={n_epochs!r}, expected an integer >= 1. "
            "Pass the planned number of epochs."
        )


def known_value(name: str, value: float | None) -> float | None:
    """Give ``value`` as a float, or None where it is missing or not finite."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as e:
        raise ValueError(
            f"Got {name}={value!r}, expected a number or None. Pass None while it is not known."
        ) from e
    return number if math.isfinite(number) else None


def check_points(X: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    """Give X as a 2-D array of finite numbers and labels as one integer for each row."""
    X, labels = np.asarray(X), np.asarray(labels)
    if X.ndim != 2 or X.dtype.kind not in "fiub":
        raise ValueError(
            f"Got X with shape {X.shape} and dtype {X.dtype}, expected real numbers of shape "
            "(n_samples, width). Pass one row for each sample."
        )
    if labels.shape != (len(X),):
        raise ValueError(
            f"Got labels with shape {labels.shape}, expected ({len(X)},) as X has {len(X)} rows. "
            "Pass one label for each row of X."
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
            "expected finite numbers. Repair these rows; if training made them, lower its "
            "learning rate."
        )
    return X, labels
