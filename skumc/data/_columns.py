"""Frames and columns of pandas, polars and pyarrow, read alike without importing any of them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skumc.data._missing import is_missing_value
from skumc.data._numbers import is_number, real_numbers

_ARROW_NUMBERS = re.compile(r"u?int\d+|halffloat|float|double|bool")
_LAZY = {"polars": "collect", "dask": "compute"}  # the method that brings a frame into memory


def _is_from(library: str, value: Any) -> bool:
    """Whether a value's class, or a base class of it, belongs to a library."""
    return any(base.__module__.partition(".")[0] == library for base in type(value).__mro__)


def refuse_lazy(X: Any) -> None:
    """Raise ValueError for a frame that is not in memory."""
    for library, method in _LAZY.items():
        if _is_from(library, X) and hasattr(X, method):
            raise ValueError(
                f"Got a {type(X).__name__} of {library}, expected a frame in memory. Pass "
                f"X.{method}()."
            )


def is_data_frame(X: Any) -> bool:
    """Whether X is a DataFrame of pandas or polars, or a table of pyarrow."""
    if _is_from("polars", X):
        return hasattr(X, "get_columns")
    if _is_from("pyarrow", X):
        return hasattr(X, "column_names")
    return hasattr(X, "iloc") and hasattr(X, "columns")


def is_column(X: Any) -> bool:
    """Whether X is a Series of pandas or polars, or an array of pandas or pyarrow.

    Examples
    --------
    >>> is_column([1.0, 2.0]), is_column(np.ones(2))
    (False, False)
    """
    if isinstance(X, (np.ndarray, list, type(None), str)):
        return False
    if _is_from("polars", X):
        return hasattr(X, "to_list") and hasattr(X, "dtype")
    if _is_from("pyarrow", X):
        return hasattr(X, "to_pylist") and not is_data_frame(X)
    return getattr(X, "ndim", None) == 1 and hasattr(X, "to_numpy")


def column_index(X: Any) -> Any:
    """Return the row names of a pandas object; None if X has none."""
    return X.index if hasattr(X, "iloc") else None


def is_categorical(column: Any) -> bool:
    """Whether the type of a column says that it holds categories."""
    name = str(getattr(column, "dtype", getattr(column, "type", "")))
    return is_column(column) and name.lower().startswith(
        ("category", "categorical", "enum", "dict")
    )


def is_numeric(column: Any) -> bool:
    """Whether the type of a column says that it holds numbers."""
    if _is_from("polars", column):
        kind = column.dtype
        return str(kind) == "Boolean" or (kind.is_numeric() and not kind.is_decimal())
    if _is_from("pyarrow", column):
        return _ARROW_NUMBERS.fullmatch(str(column.type)) is not None
    return getattr(column.dtype, "kind", "O") in "buif"


def plain_cell(cell: Any) -> Any:
    """Return the value of a cell of polars or pyarrow in NumPy's or Python's own types."""
    if is_column(cell):
        return plain_column(cell)
    if hasattr(cell, "as_py"):
        values = getattr(cell, "values", None)  # of a list, which keeps its type of number
        return plain_column(values) if is_column(values) else cell.as_py()
    return cell


def plain_column(column: Any) -> np.ndarray | list[Any]:
    """Return numbers as an array, with NaN where one is missing, and other cells as a list."""
    if not is_numeric(column):
        return [plain_cell(cell) for cell in column]
    if isinstance(getattr(column, "dtype", None), np.dtype):
        return column.to_numpy()
    if hasattr(column, "iloc") or _is_from("pandas", column):
        dense = np.asarray(column) if hasattr(column, "sparse") else None
        return column.to_numpy(np.float64, na_value=np.nan) if dense is None else dense
    array = np.asarray(column)  # whole numbers with a missing one become floats
    return array if array.dtype != object else array.astype(np.float64)


@dataclass(frozen=True)
class Frame:
    """Columns of a frame by position.

    Attributes
    ----------
    names : list
        Column names, which may be repeated.
    columns : list of Series or arrays
    index : Index or None
        Row names of pandas; None for other libraries.
    """

    names: list[Hashable]
    columns: list[Any]
    index: Any

    @classmethod
    def read(cls, X: Any) -> Frame:
        """Take apart a frame for which :func:`is_data_frame` is true."""
        if _is_from("polars", X):
            return cls(list(X.columns), X.get_columns(), None)
        if _is_from("pyarrow", X):
            return cls(list(X.column_names), list(X.columns), None)
        return cls(list(X.columns), [X.iloc[:, i] for i in range(X.shape[1])], X.index)

    def numbers(self, position: int) -> np.ndarray:
        """Return one column of numbers, with NaN where one is missing.

        Raises
        ------
        ValueError
            If a cell is not a real number.
        """
        values = plain_column(self.columns[position])
        if isinstance(values, np.ndarray) and values.dtype != object:
            return values
        for row, cell in enumerate(values):
            if not (is_missing_value(cell) or is_number(cell)):
                raise ValueError(
                    f"Column {self.names[position]!r} holds {type(cell).__name__} in row {row}, "
                    "expected real numbers. Convert the column to numbers, or leave it out."
                )
        return real_numbers(list(values))

    def matrix(self, positions: Iterable[int]) -> np.ndarray:
        """Return columns of numbers side by side."""
        return np.column_stack([self.numbers(position) for position in positions])

    def by_name(self) -> dict[Hashable, Any]:
        """Return the columns by name; raise ValueError if a name is repeated."""
        if len(set(self.names)) != len(self.names):
            raise ValueError(
                f"Got a DataFrame with repeated column names: {self.names}. Rename or drop columns."
            )
        return dict(zip(self.names, self.columns, strict=True))
