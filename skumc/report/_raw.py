"""Raw cells of samples: texts, files of sound, images and videos, and images as arrays."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from skumc.data import MultimodalData, Strings
from skumc.data._columns import (
    Frame,
    column_index,
    is_column,
    is_data_frame,
    plain_cell,
    plain_column,
    refuse_lazy,
)
from skumc.data._forms import listed, record_columns
from skumc.data._missing import is_blank, is_missing_value
from skumc.report._media import MEDIA_ENDINGS

_N_TRIED = 50  # cells of a column that decide about its kind


class RawColumns(NamedTuple):
    """Columns to show, with None where a cell is missing.

    Attributes
    ----------
    texts : dict of str to list
        Columns of sentences.
    media : dict of str to list
        Columns of paths, bytes, or images as arrays of uint8.

    Examples
    --------
    >>> raw = RawColumns({"text": ["good morning", None]}, {})
    >>> raw.text_of(0), raw.text_of(1)
    ('good morning', None)
    """

    texts: dict[str, list[Any]]
    media: dict[str, list[Any]]

    def text_of(self, row: int) -> str | None:
        """Join the texts of a sample; None if it has none."""
        cells = [cells[row] for cells in self.texts.values() if cells[row] is not None]
        return "\n".join(cells) if cells else None

    def content_of(self, row: int) -> Hashable:
        """Return what the report shows of a sample, to skip duplicates; None if it is nothing."""
        cells = [column[row] for column in (self.texts | self.media).values()]
        if all(cell is None for cell in cells):
            return None
        return tuple(cell.tobytes() if isinstance(cell, np.ndarray) else cell for cell in cells)


def _kind(cells: Sequence[Any]) -> str | None:
    """Tell whether cells are "texts" or "media"; None for anything else."""
    known = [cell for cell in cells if not is_blank(cell)][:_N_TRIED]
    if not known:
        return None
    if all(isinstance(cell, str) for cell in known):
        is_path = all(cell.lower().endswith(MEDIA_ENDINGS) for cell in known)
        return "media" if is_path else "texts"
    if all(isinstance(cell, bytes | os.PathLike) for cell in known):
        return "media"
    is_image = all(
        isinstance(cell, np.ndarray)
        and cell.dtype == np.uint8
        and (cell.ndim == 2 or (cell.ndim == 3 and cell.shape[2] in (3, 4)))
        for cell in known
    )
    return "media" if is_image else None


def _columns(raw: Any, is_given: bool) -> dict[str, Any]:
    """Take apart every accepted form of raw cells into columns by name."""
    refuse_lazy(raw)
    if isinstance(raw, MultimodalData):
        texts = [name for name in raw.names if isinstance(raw.packed(name), Strings)]
        return {name: raw.sequences(name) for name in texts}
    if is_data_frame(raw):
        frame = Frame.read(raw)
        return {str(name): column for name, column in frame.by_name().items()}
    if isinstance(raw, Mapping):
        return {str(name): column for name, column in raw.items()}
    if is_column(raw):
        name = getattr(raw, "name", None)
        return {"text" if name is None else str(name): raw}
    cells = listed(raw)
    if not hasattr(cells, "__len__") or isinstance(cells, str | bytes):
        if is_given:
            raise TypeError(
                f"Got raw={raw!r}, expected a DataFrame, a dict of columns, a list of dicts or a "
                "list of str."
            )
        return {}
    if isinstance(cells, np.ndarray) and cells.ndim != 1:
        return {}  # a matrix of numbers
    first = next((cell for cell in cells if not is_missing_value(cell)), None)
    if isinstance(first, Mapping):
        return {str(name): column for name, column in record_columns(cells).items()}
    return {"text": cells}


def _is_sequence(column: Any) -> bool:
    return hasattr(column, "__len__") and not isinstance(column, str | bytes | Mapping)


def read_raw(raw: Any, X: Any, n_samples: int) -> RawColumns:
    """Find columns of texts and of media in ``raw``, or in X if ``raw`` is None.

    Parameters
    ----------
    raw : DataFrame, dict of columns, list of dicts, list of str, MultimodalData or None
    X : object
        Samples as passed to the estimator.
    n_samples : int

    Raises
    ------
    TypeError
        If ``raw`` has none of these types.
    ValueError
        If a column has another number of rows, or an index that differs from that of X.

    Examples
    --------
    >>> read_raw({"text": ["good morning", " "], "year": [1, 2]}, None, 2)
    RawColumns(texts={'text': ['good morning', None]}, media={})
    """
    source = X if raw is None else raw
    check_same_index("raw", source, X)
    found: dict[str, dict[str, list[Any]]] = {"texts": {}, "media": {}}
    for name, column in _columns(source, raw is not None).items():
        if not _is_sequence(column):
            continue
        if len(column) != n_samples:
            raise ValueError(
                f"Got raw= with {len(column)} rows in column {name!r}, expected {n_samples}, one "
                "per sample of X. Pass the rows of raw that X was made from."
            )
        if isinstance(column, np.ndarray) and column.dtype.kind not in "OUT":
            if column.dtype != np.uint8 or column.ndim < 3:
                continue
        cells = list(plain_column(column) if is_column(column) else map(plain_cell, column))
        kind = _kind(cells)
        if kind is not None:
            found[kind][name] = [
                None if is_blank(cell) or (kind == "texts" and not isinstance(cell, str)) else cell
                for cell in cells
            ]
    return RawColumns(**found)


def check_same_index(name: str, table: Any, X: Any) -> None:
    """Raise ValueError if a table of pandas and X have different indexes.

    Examples
    --------
    >>> check_same_index("columns", [1, 2], [[0.0], [1.0]])
    """
    other = table.index if isinstance(table, MultimodalData) else column_index(table)
    own = X.index if isinstance(X, MultimodalData) else column_index(X)
    if own is None or other is None or list(own) == list(other):
        return
    raise ValueError(
        f"Got {name}= with an index that differs from that of X, so their rows may be of different "
        f"samples. Pass {name}.loc[X.index]."
    )
