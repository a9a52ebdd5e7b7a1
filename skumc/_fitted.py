"""Fitted attributes, all of them or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Restore the attributes of an estimator if its ``fit`` fails or is interrupted.

    Examples
    --------
    >>> class Estimator:
    ...     scale_ = 1
    >>> estimator = Estimator()
    >>> try:
    ...     with all_or_nothing(estimator):
    ...         estimator.scale_, estimator.mean_ = 2, 3
    ...         raise KeyboardInterrupt
    ... except KeyboardInterrupt:
    ...     estimator.scale_, hasattr(estimator, "mean_")
    (1, False)
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
