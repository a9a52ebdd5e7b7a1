"""Real numbers from nested lists, arrays of arrays and objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from skumc.data._missing import is_missing_value


class NotNumbersError(ValueError):
    """Error for values that are not real numbers; its text names their type."""


def is_number(value: Any) -> bool:
    """Whether a value is one real number: no date, duration, complex number or string.

    Examples
    --------
    >>> from datetime import date
    >>> [is_number(v) for v in (1, True, Decimal("0.5"), np.timedelta64(1, "s"), 1j, date.today())]
    [True, True, True, False, False, False]
    """
    return isinstance(value, (Real, Decimal, np.bool_)) and not isinstance(value, np.timedelta64)


def plain_array(values: Any) -> np.ndarray:
    """Convert to an array with masked values as NaN; a memory map stays one."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "buif":
        return np.ma.filled(values.astype(np.result_type(values.dtype, np.float32)), np.nan)
    if isinstance(values, np.memmap):
        return values
    if hasattr(values, "detach"):  # a tensor, which may be on a GPU or of a type of torch's own
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
    return np.asarray(values)


def _is_nested(cell: Any) -> bool:
    return hasattr(cell, "__len__") and not isinstance(cell, (str, bytes, bytearray, Mapping))


def _to_float(value: Any) -> float:
    if is_missing_value(value):
        return math.nan
    if not is_number(value):
        raise NotNumbersError(type(value).__name__)
    try:
        return float(value)
    except OverflowError:  # an int beyond float64
        return math.inf


def real_numbers(values: Any) -> np.ndarray:
    """Convert nested lists, tuples, buffers and arrays of arrays to one array of numbers.

    Raises
    ------
    NotNumbersError
        If a value is not a real number.
    ValueError
        If the shapes of the parts differ.

    Examples
    --------
    >>> rows = np.empty(2, dtype=object)  # as Parquet returns nested lists
    >>> rows[:] = [np.array([1.0, 2.0]), np.array([3.0, 4.0])]
    >>> real_numbers(rows).tolist(), real_numbers([1, None, Decimal("0.5")]).tolist()
    ([[1.0, 2.0], [3.0, 4.0]], [1.0, nan, 0.5])
    """
    if isinstance(values, (bytes, bytearray)):
        raise NotNumbersError(type(values).__name__)
    array = plain_array(values)
    if array.dtype.kind in "buif":
        return array
    if array.dtype != object:
        raise NotNumbersError(f"{type(values).__name__} of type {array.dtype}")
    if array.ndim == 0:
        return np.array(_to_float(array.item()))
    cells = array.ravel()
    if not any(map(_is_nested, cells)):
        return np.array([_to_float(cell) for cell in cells]).reshape(array.shape)
    parts = [real_numbers(cell) for cell in cells]
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"parts of the shapes {', '.join(map(str, sorted(shapes)[:3]))}")
    return np.stack(parts).reshape(array.shape + parts[0].shape)
