"""Bounds that thresholds and selectors share."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, validate_parameter_constraints

# Constraints of a share of a cluster.
SHARE: list[Any] = [Interval(Real, 0, 1, closed="both")]

_EPOCH_CONSTRAINTS: dict[str, list[Any]] = {
    "epoch": [Interval(Integral, 0, None, closed="left")],
    "n_epochs": [Interval(Integral, 1, None, closed="left")],
}


def check_epoch(epoch: int, n_epochs: int) -> None:
    """Raise ValueError unless both are integers with ``epoch >= 0`` and ``n_epochs >= 1``."""
    values = {"epoch": epoch, "n_epochs": n_epochs}
    validate_parameter_constraints(_EPOCH_CONSTRAINTS, values, caller_name="update")


def check_order(low_name: str, low: float, high_name: str, high: float) -> None:
    """Raise ValueError unless ``low <= high``."""
    if low > high:
        raise ValueError(
            f"Got {low_name}={low!r} and {high_name}={high!r}, expected {low_name} <= {high_name}. "
            f"Lower {low_name} or raise {high_name}."
        )
