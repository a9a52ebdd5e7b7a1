"""Columns of a table, given by name or by number, as positions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from skumc._parts import unknown_name_message


class _Position(int):
    """A position among the columns, never a name."""


def _is_integer(column: Any) -> bool:
    return isinstance(column, Integral) and not isinstance(column, (bool, np.bool_))


def _entries(name: str, wanted: Any, n_columns: int, names: Sequence[Any]) -> list[Any] | slice:
    """List the columns of one modality as given: names, numbers or positions of a mask."""
    argument = f"modalities[{name!r}]"
    if isinstance(wanted, slice):
        bounds = (wanted.start, wanted.stop, wanted.step)
        if not all(bound is None or _is_integer(bound) for bound in bounds):
            raise ValueError(
                f"Got {argument}={wanted!r}, expected a slice of column positions. List the names."
            )
        return wanted
    is_name = isinstance(wanted, Hashable) and wanted in names
    wanted = [wanted] if is_name or isinstance(wanted, (str, Integral)) else wanted
    if not isinstance(wanted, Iterable):
        raise ValueError(
            f"Got {argument}={wanted!r}, expected columns: names, numbers, a range or a slice."
        )
    wanted = list(wanted)
    if any(isinstance(column, (bool, np.bool_)) for column in wanted):
        if len(wanted) != n_columns:
            raise ValueError(
                f"Got {argument} with a mask of length {len(wanted)} for {n_columns} columns, "
                "expected one entry per column."
            )
        selected = np.flatnonzero(wanted)  # a slice would need regular steps
        return [_Position(position) for position in selected.tolist()]
    return wanted


def _column_number(
    argument: str, column: Any, n_columns: int, names: Sequence[Any], by_position: bool
) -> int:
    """Resolve one column, given by name or number, to its position."""
    if isinstance(column, _Position):
        return int(column)
    if _is_integer(column) and by_position:
        if not -n_columns <= int(column) < n_columns:
            raise ValueError(
                f"Got {argument} with column {column!r}, expected names or numbers in "
                f"[0, {n_columns - 1}]."
            )
        return int(column) % n_columns
    if isinstance(column, str) and not len(names):
        raise ValueError(
            f"Got {argument}={column!r}, but X has no column names. Use column numbers, or pass a "
            "DataFrame."
        )
    count = sum(bool(known == column) for known in names)
    if count > 1:
        raise ValueError(
            f"Got {argument} with column {column!r}, but X has {count} columns of that name. "
            "Rename them, or use a slice of positions."
        )
    if count == 0 and isinstance(column, str):
        raise ValueError(unknown_name_message(argument, column, names))
    if count == 0:
        raise ValueError(
            f"Got {argument} with column {column!r}, expected names or numbers in "
            f"[0, {n_columns - 1}]."
        )
    return list(names).index(column)


def _are_positions(numbers: list[Any], n_columns: int, names: Sequence[Any]) -> bool:
    """Whether whole numbers are positions: they are names only if all of them are."""
    unnamed = [column for column in numbers if column not in names]
    outside = [column for column in numbers if not -n_columns <= column < n_columns]
    if unnamed and outside and len(unnamed) < len(numbers):
        raise ValueError(
            f"Got modalities with the columns {outside[0]!r}, which is not a position, and "
            f"{unnamed[0]!r}, which is not a name. Expected names throughout, or positions in "
            f"[0, {n_columns - 1}] throughout."
        )
    return bool(unnamed)


def resolve_columns(
    modalities: Mapping[str, Any], n_columns: int, names: Sequence[Any]
) -> dict[str, list[int]]:
    """Resolve the columns of each modality to positions.

    Whole numbers are names if all of them, over all modalities, are names of columns; positions
    if all are positions and not all are names.

    Parameters
    ----------
    modalities : dict of str to columns
    n_columns : int
    names : sequence
        Column names; empty if X has none.

    Examples
    --------
    >>> resolve_columns({"a": [1, 2], "b": "x"}, 3, [2, 1, "x"])
    {'a': [1, 0], 'b': [2]}
    >>> resolve_columns({"a": range(0, 2), "b": range(2, 4)}, 4, [1, 2, 3, 4])
    {'a': [0, 1], 'b': [2, 3]}
    """
    entries = {
        name: _entries(name, wanted, n_columns, names) for name, wanted in modalities.items()
    }
    numbers = [
        column
        for wanted in entries.values()
        if not isinstance(wanted, slice)
        for column in wanted
        if _is_integer(column) and not isinstance(column, _Position)
    ]
    by_position = _are_positions(numbers, n_columns, names)
    positions = {}
    for name, wanted in entries.items():
        argument = f"modalities[{name!r}]"
        if isinstance(wanted, slice):
            found = list(range(n_columns))[wanted]
        else:
            found = [_column_number(argument, c, n_columns, names, by_position) for c in wanted]
        if not found:
            raise ValueError(f"Got {argument} without columns, expected at least one.")
        positions[name] = found
    return positions
