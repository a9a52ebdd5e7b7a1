"""Read X: every form that an estimator accepts becomes one container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils._set_output import _get_output_config

from skumc._parts import unknown_name_message
from skumc.data._columns import (
    Frame,
    column_index,
    is_column,
    is_data_frame,
    is_numeric,
    plain_column,
    refuse_lazy,
)
from skumc.data._container import MultimodalData
from skumc.data._forms import (
    TEXT_MODALITY,
    common_index,
    data_frame_columns,
    listed,
    named_modalities,
    record_columns,
)
from skumc.data._labels_as_text import warn_of_labels
from skumc.data._missing import is_missing_value
from skumc.data._numbers import is_number
from skumc.data._rows import name_rows
from skumc.data._table import read_table
from skumc.data._text import check_token_keys, is_token_mapping


def _column_kind(column: Any) -> str:
    """Say whether a column holds one number per cell, other cells, or only missing values."""
    values = plain_column(column)
    if is_numeric(column):
        is_missing = np.isnan(values[:1]).all() and np.isnan(values).all()
        return "missing" if is_missing else "numbers"
    cells = [cell for cell in values if not is_missing_value(cell)]
    if not cells:
        return "missing"
    return "numbers" if all(map(is_number, cells)) else "cells"


def _frame_is_table(estimator: Any, X: Any, modalities: Any, *, reset: bool) -> bool:
    """Whether a DataFrame is one matrix of numbers; after fit, names decide where they can."""
    frame = Frame.read(X)
    kinds = [_column_kind(column) for column in frame.columns]
    has_cells = "cells" in kinds
    if reset:
        return isinstance(modalities, Mapping) or not has_cells
    widths = estimator.modality_widths_
    named = set(frame.names) <= set(widths)
    if hasattr(estimator, "_table_layout"):
        return not (has_cells and named)
    # a number is a cell of a modality with one value per frame
    are_cells = named and all(
        kind == "missing" or widths[name] == 1
        for name, kind in zip(frame.names, kinds, strict=True)
    )
    return not (has_cells or are_cells)


def _first(X: Any) -> Any:
    """Return the first cell of a list that is not missing."""
    return next((cell for cell in X if not is_missing_value(cell)), None)


def _is_list(X: Any) -> bool:
    """Whether X is a list, a one-dimensional array of strings, or indexed like a list."""
    if isinstance(X, np.ndarray):
        return X.ndim == 1 and X.dtype.kind in "UT"
    is_indexed = hasattr(X, "__len__") and hasattr(X, "__getitem__")
    return is_indexed and not isinstance(X, (str, bytes, Mapping)) and not hasattr(X, "__array__")


def _holds_cells(X: Any) -> bool:
    """Whether X is a list of dicts, or of strings and None, or of None alone."""
    if not _is_list(X) or len(X) == 0:
        return False
    first = _first(X)
    return isinstance(first, (Mapping, str)) or (first is None and any(c is None for c in X))


def _columns(X: Any, original: Any) -> dict[Any, Any]:
    """Take apart samples with named modalities into one column per modality.

    Parameters
    ----------
    X : Mapping, DataFrame, or list of dicts or strings
    original : object
        X as passed; its type may say that the strings are categories.
    """
    if isinstance(X, Mapping):
        return named_modalities(X)
    if is_data_frame(X):
        return named_modalities(data_frame_columns(X))
    first = _first(X)
    if is_token_mapping(first):
        check_token_keys(first)
        return {TEXT_MODALITY: list(X)}
    if not isinstance(first, Mapping):
        return {TEXT_MODALITY: original if is_column(original) else X}
    return named_modalities(record_columns(X))


def _chosen(known: Sequence[str], modalities: Any, *, reset: bool) -> list[str]:
    """List the modalities that an estimator reads; after fit, those that X has."""
    if isinstance(modalities, (str, Mapping)) or not isinstance(modalities, Sequence):
        raise ValueError(
            f"Got modalities={modalities!r} for samples with named modalities, expected a list of "
            f"names among {', '.join(map(repr, known))}. A dict of columns is for 2-D tables."
        )
    chosen = [name for name in modalities if name in known]
    if not chosen or (reset and len(chosen) < len(modalities)):
        unknown: Any = next((name for name in modalities if name not in known), [])
        raise ValueError(unknown_name_message("modalities", unknown, known))
    return chosen


def _read_container(X: Any, original: Any, modalities: Any, *, reset: bool) -> MultimodalData:
    """Read the modalities that an estimator uses; None is all."""
    if isinstance(X, MultimodalData):
        if modalities is None:
            return X
        return X.select(_chosen(X.names, modalities, reset=reset))
    columns = _columns(X, original)
    if modalities is not None:
        chosen = _chosen(list(columns), modalities, reset=reset)
        columns = {name: columns[name] for name in chosen}
    return MultimodalData(columns, index=column_index(original))


def _check_rows(X: MultimodalData) -> None:
    empty = np.flatnonzero(~X.present.any(axis=1))
    if len(empty):
        raise ValueError(
            f"Every modality of {list(X.names)} is missing in {name_rows(empty)}. Drop such "
            f"samples first: X[X.select({list(X.names)}).present.any(axis=1)] of MultimodalData, "
            "X[~np.isnan(X).all(axis=1)] of a table."
        )


def _align(
    X: MultimodalData, widths: Mapping[str, int | None], unseen: frozenset[str]
) -> MultimodalData:
    """Bring the modalities of X into fit's order; refuse unknown ones and other widths.

    A modality that was missing in every sample of fit may have any width. If it differs, the
    modality is left out.
    """
    for name, width in X.widths.items():
        if name not in widths:
            known = ", ".join(map(repr, widths))
            raise ValueError(
                f"Got X with the unknown modality {name!r}, expected those of fit: {known}. Rename "
                "it, or leave it out with X.select(names)."
            )
        if name in unseen or width == widths[name] or not X.select([name]).present.any():
            continue
        got = "holds text" if width is None else f"has width {width}"
        fitted = "text" if widths[name] is None else f"width {widths[name]}"
        raise ValueError(
            f"Modality {name!r} {got}, but had {fitted} in fit. Pass the same features as in fit."
        )
    usable = [name for name in X.names if X.widths[name] == widths[name]]
    return X.with_absent(widths, usable)


def _learn(estimator: BaseEstimator, data: MultimodalData, *, is_table: bool) -> None:
    """Store the names and widths of the training samples on an estimator."""
    estimator.modality_widths_ = data.widths
    estimator._unseen_modalities = frozenset(
        name for name in data.names if not data.select([name]).present.any()
    )
    if not is_table:  # otherwise validate_data has set the number and names of the columns
        estimator.__dict__.pop("_table_layout", None)
        estimator.n_features_in_ = len(data.names)
        estimator.feature_names_in_ = np.asarray(data.names, dtype=object)


def _is_table(estimator: Any, X: Any, modalities: Any, *, reset: bool) -> bool:
    """Whether X is one matrix of numbers, or should be read (and refused) as one."""
    if isinstance(X, (MultimodalData, Mapping)):
        return False
    if is_data_frame(X):
        return _frame_is_table(estimator, X, modalities, reset=reset)
    if not reset and not hasattr(estimator, "_table_layout") and _is_list(X) and len(X):
        return not (_holds_cells(X) or _first(X) is None)  # only missing cells, such as [nan]
    return not _holds_cells(X)


def read_X(
    estimator: BaseEstimator,
    X: Any,
    modalities: Any,
    *,
    reset: bool,
    allow_missing_rows: bool = False,
) -> MultimodalData:
    """Read any accepted X; learn its names and widths in fit, and check them afterwards.

    Parameters
    ----------
    estimator : estimator
        ``n_features_in_``, ``feature_names_in_`` and ``modality_widths_`` are set if ``reset``.
    X : 2-D array, numeric DataFrame, MultimodalData, dict, list of dicts, DataFrame of cells
    modalities : dict of str to columns, list of str, or None
        Columns of each modality if X is a table, otherwise names of the modalities to read.
    reset : bool
        Whether this is ``fit``.
    allow_missing_rows : bool, default=False
        Whether samples without any modality are allowed.

    Returns
    -------
    MultimodalData
        Modalities are in fit's order.

    Raises
    ------
    TypeError
        If X is sparse.
    ValueError
        If X cannot be read; the message names the modality, the rows and the remedy.

    Examples
    --------
    >>> estimator = BaseEstimator()
    >>> read_X(estimator, ["good morning", "good night"], None, reset=True)
    MultimodalData(2 samples; widths text: None)
    >>> estimator.modality_widths_, estimator.n_features_in_
    ({'text': None}, 1)
    """
    if issparse(X):
        raise TypeError(
            "Sparse input X is not supported: a dense array is required. Use X.toarray(), or "
            "reduce it first, for example with TruncatedSVD."
        )
    refuse_lazy(X)
    original, X = X, listed(X)
    table = _is_table(estimator, X, modalities, reset=reset)
    was_table = table if reset else hasattr(estimator, "_table_layout")
    if table and not was_table:
        kind = type(original).__name__
        got = "a 2-D table" if np.ndim(X) == 2 else f"X of type {kind} without named modalities"
        raise ValueError(
            f"Got {got}, expected the modalities of fit: "
            f"{', '.join(map(repr, estimator.modality_widths_))}. Pass them by name, for example "
            "as MultimodalData."
        )
    if table:
        data = read_table(estimator, X, modalities, reset=reset)
    else:
        used = None if was_table and isinstance(modalities, Mapping) else modalities
        data = _read_container(X, original, used, reset=reset)
        if len(data) < (2 if reset else 1):
            raise ValueError(
                f"Found {len(data)} sample(s) (n_samples={len(data)}) while a minimum of "
                f"{2 if reset else 1} is required by {type(estimator).__name__}. Pass more samples."
            )
    if reset:
        _check_rows(data)
        warn_of_labels(data)
        _learn(estimator, data, is_table=table)
        return data
    data = _align(data, estimator.modality_widths_, estimator._unseen_modalities)
    if not allow_missing_rows:
        _check_rows(data)
    return data


def with_index(
    estimator: BaseEstimator, X: Any, values: np.ndarray, names: Sequence[str] | None = None
) -> Any:
    """Give the output of a method X's index if ``set_output`` asks for a table.

    scikit-learn keeps the index of a DataFrame; this function keeps that of a container, a Series
    and a dict with modalities of pandas.

    Parameters
    ----------
    estimator : estimator
    X : object
        Input of the method.
    values : ndarray of shape (n_samples, n_columns)
    names : sequence of str, default=None
        Column names of a method that scikit-learn does not wrap. None leaves them to scikit-learn,
        and so a table of polars.

    Examples
    --------
    >>> X = MultimodalData({"text": np.eye(2)}, index=["a", "b"])
    >>> with_index(BaseEstimator(), X, np.zeros((2, 3))).shape
    (2, 3)
    """
    kind = _get_output_config("transform", estimator)["dense"]
    if isinstance(X, MultimodalData):
        index = X.index
    else:
        index = common_index(X, None) if isinstance(X, Mapping) else column_index(X)
    if kind == "pandas" and not (index is None and names is None):
        return import_module("pandas").DataFrame(values, index=index, columns=names)
    if kind == "polars" and names is not None:
        return import_module("polars").DataFrame(values, schema=list(names))
    return values
