"""Blank cells: what stands for a missing modality in one sample."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_missing_value(cell: Any) -> bool:
    """Whether a cell is a missing-value marker: None, NaN, or pandas' NA or NaT.

    Such a cell says nothing about the type of its column, unlike an empty string or list.

    Examples
    --------
    >>> is_missing_value(float("nan")), is_missing_value("")
    (True, False)
    """
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):  # pandas is not imported
        return True
    return isinstance(cell, (float, np.floating)) and bool(np.isnan(cell))


def is_blank(cell: Any) -> bool:
    """Whether a cell is empty: a missing-value marker, white space, or a container of length 0.

    The values of an array are not inspected: an array of NaN is not blank.

    Examples
    --------
    >>> [is_blank(cell) for cell in (None, " ", [], np.zeros((4, 0)), 0, "0", [0])]
    [True, True, True, True, False, False, False]
    """
    if is_missing_value(cell):
        return True
    if isinstance(cell, str):
        return not cell.strip()
    shape = getattr(cell, "shape", None)
    if isinstance(shape, tuple):
        return 0 in shape  # len() fails on an array without dimensions
    return hasattr(cell, "__len__") and len(cell) == 0
