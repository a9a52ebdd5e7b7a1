"""Columns of a table for each modality: single columns as cells, several as a DataFrame."""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer

from skumc._parts import unknown_name_message
from skumc.data import is_blank
from skumc.data._columns import (
    Frame,
    column_index,
    is_categorical,
    is_data_frame,
    plain_column,
    refuse_lazy,
)
from skumc.data._forms import listed
from skumc.data._missing import is_missing_value


class Choice(NamedTuple):
    """Transformer of a modality and the columns that it reads.

    Attributes
    ----------
    transformer : transformer or "passthrough"
    columns : str, list, callable or None
        A single column, several ones, or a selector of several.
    of_all : bool
        Whether the transformer chooses from all columns by itself.
    """

    transformer: Any
    columns: Any
    of_all: bool = False


def is_transformer(value: Any) -> bool:
    """Whether a value is an instance with ``fit`` and ``transform``."""
    return hasattr(value, "fit") and hasattr(value, "transform") and not isinstance(value, type)


def transformer_of(value: Any) -> Any:
    """Return the transformer of ``(transformer, columns)``; other values as they are."""
    return value[0] if isinstance(value, tuple) and len(value) == 2 else value


def first_step(part: Any) -> Any:
    """Return the first step of a pipeline, or of one inside it; other values as they are."""
    while getattr(part, "steps", None):
        part = part.steps[0][1]
    return part


def read_choice(name: str, value: Any, column: Hashable | None) -> Choice:
    """Read the value of a modality's parameter.

    Parameters
    ----------
    name : str
    value : transformer, "passthrough", str, list, callable or (transformer, columns)
    column : object or None
        Entry of ``columns=`` for the modality.
    """
    if isinstance(value, tuple):
        transformer = transformer_of(value)
        is_valid = is_transformer(transformer) or transformer == "passthrough"
        if len(value) == 2 and is_valid and value[1] is not None:
            if column is not None:
                raise ValueError(
                    f"Got columns for {name!r} twice, in {name}= and in columns=. Drop one of them."
                )
            return Choice(*value)
    elif isinstance(value, str) and value == "passthrough":
        return Choice(value, name if column is None else column)
    elif is_transformer(value):
        of_all = column is None and isinstance(first_step(value), ColumnTransformer)
        return Choice(value, None if of_all else (name if column is None else column), of_all)
    elif column is None and (isinstance(value, (str, list)) or callable(value)):
        return Choice("passthrough", value)
    raise ValueError(
        f"Got {name}={value!r:.80}, expected a transformer, 'passthrough', a column, a list of "
        "columns, a selector of columns, or a pair (transformer, columns); with one of the last "
        "four, without an entry in columns=."
    )


def wants_table(part: Any) -> bool:
    """Whether a transformer reads a 2-D table, so that a column of scalars is one with one column.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> wants_table(OneHotEncoder()), wants_table(TfidfVectorizer())
    (True, False)
    """
    part = first_step(part)
    if not hasattr(part, "__sklearn_tags__"):
        return False
    tags = part.__sklearn_tags__()
    return tags.input_tags.two_d_array and not (tags.input_tags.string or tags.no_validation)


class Table:
    """A DataFrame, or a list of dicts, as columns by name.

    Parameters
    ----------
    X : DataFrame of pandas or polars, table of pyarrow, or list of dicts
        A key that a dict lacks is a missing cell.

    Attributes
    ----------
    names : list
    index : Index or None
    """

    def __init__(self, X: Any) -> None:
        refuse_lazy(X)
        self._original = X
        self.index = column_index(X)
        self.is_frame = is_data_frame(X)
        if self.is_frame:
            frame = Frame.read(X)
            self.names, self._columns = frame.names, frame.columns
            self.n_samples = len(X)
        else:
            records = _records(X)
            self.names = list(dict.fromkeys(key for record in records for key in record))
            self._columns = [[record.get(name) for record in records] for name in self.names]
            self.n_samples = len(records)
        if self.n_samples == 0:
            raise ValueError("Found 0 samples in X, expected at least one.")

    def check(self, name: str, columns: list[Hashable], *, is_fit: bool) -> None:
        """Raise ValueError unless each column exists once; after fit a dict may lack keys."""
        for column in columns:
            count = self.names.count(column)
            if count == 1 or not (self.is_frame or is_fit):
                continue
            what = "column" if self.is_frame else "key"
            reason = f"X has {count} columns of that name" if self.is_frame else ""
            hint = unknown_name_message(f"columns[{name!r}]", column, map(str, self.names))
            raise ValueError(
                f"{hint} ({reason or 'No row of X has that key'}.) Name the {what} of {name} in "
                f"columns=, or leave {name}= out."
            )

    def column(self, name: Hashable) -> Any:
        """Return one column; one that is absent is missing in every row."""
        if name not in self.names:
            return [None] * self.n_samples
        return self._columns[self.names.index(name)]

    def cells(self, name: Hashable) -> list[Any]:
        """Return the cells of one column."""
        column = self.column(name)
        return list(plain_column(column)) if self.is_frame else column

    def pandas(self, columns: list[Hashable] | None = None) -> Any:
        """Return columns, None for all, as a DataFrame of pandas."""
        if hasattr(self._original, "iloc"):
            if columns is None:
                return self._original
            return self._original.iloc[:, [self.names.index(column) for column in columns]]
        try:
            pd = importlib.import_module("pandas")
        except ImportError as error:
            raise ImportError(
                "A block of several columns is passed on as a DataFrame of pandas, which is not "
                "installed. Install pandas, or name one column per modality."
            ) from error
        found = {}
        for name in self.names if columns is None else columns:
            column, cells = self.column(name), self.cells(name)
            if is_categorical(column):
                found[name] = pd.Categorical([None if is_blank(c) else c for c in cells])
            else:
                found[name] = pd.Series(cells, dtype=None if any_present(cells) else object)
        return pd.DataFrame(found, index=range(self.n_samples))

    def select(self, selector: Any) -> list[Hashable]:
        """Return the columns that a selector, such as ``make_column_selector``, names."""
        return list(selector(self.pandas()))


def any_present(cells: list[Any]) -> bool:
    """Whether a cell is not missing."""
    return any(not is_missing_value(cell) for cell in cells)


def present_rows(block: Any) -> np.ndarray:
    """Return the rows of a DataFrame of pandas in which at least one cell is not blank."""
    blank = np.ones(len(block), dtype=bool)
    for position in range(block.shape[1]):
        column = block.iloc[:, position]
        values = column.isna().to_numpy()
        if getattr(column.dtype, "kind", "O") not in "buifM":
            values = np.array([is_blank(cell) for cell in column])
        blank &= values
    return np.flatnonzero(~blank)


def _records(X: Any) -> list[Mapping[Any, Any]]:
    """Return a list of dicts; a missing row is an empty dict."""
    if isinstance(X, (str, bytes, Mapping)) or not hasattr(X, "__len__"):
        raise ValueError(
            f"Got X of type {type(X).__name__}, expected a DataFrame or a list with one dict per "
            "sample. Convert a dict of columns with pandas.DataFrame(X)."
        )
    records = [{} if is_missing_value(record) else record for record in listed(X)]
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise ValueError(
                f"Got {type(record).__name__} in row {row}, expected a DataFrame or a list with "
                "one dict per sample."
            )
    return records
