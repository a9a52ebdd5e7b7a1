"""Read X: every form that an estimator accepts becomes one container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import validate_data

from skumc._parts import unknown_name_message
from skumc.data._container import MultimodalData
from skumc.data._missing import is_missing_value
from skumc.data._modality import plain_array
from skumc.data._rows import name_rows
from skumc.data._text import is_tokenized_text

TABLE_MODALITY = "features"
TEXT_MODALITY = "text"

_HOW_TO_PASS_SEQUENCES = (
    'Pass sequences by name, as MultimodalData({"features": X}) with one array (n_frames, width) '
    "per sample."
)


def _is_frame(X: Any) -> bool:
    return hasattr(X, "iloc") and hasattr(X, "columns")


def _is_numeric_column(column: Any) -> bool:
    """Whether a column holds one number per cell, also where pandas keeps them as objects."""
    if getattr(column.dtype, "kind", "O") in "buif":
        return True
    first = next((cell for cell in column if not is_missing_value(cell)), None)
    return isinstance(first, Real)


def _is_table(X: Any) -> bool:
    """Whether X is one matrix of numbers, or should be read (and refused) as one."""
    if isinstance(X, (MultimodalData, Mapping)):
        return False
    if _is_frame(X):
        return all(_is_numeric_column(X.iloc[:, i]) for i in range(X.shape[1]))
    if isinstance(X, Sequence) and not isinstance(X, (str, bytes)) and len(X):
        return not (isinstance(X[0], Mapping) or _is_sentences(X))
    return not _is_sentences(X)


def _is_sentences(X: Any) -> bool:
    """Whether X is a list, 1-D array or Series of strings and None, or of None alone."""
    if isinstance(X, (str, bytes)) or _is_frame(X) or not hasattr(X, "__len__"):
        return False
    if isinstance(X, np.ndarray) and (X.ndim != 1 or X.dtype.kind not in "UTO"):
        return False
    if not isinstance(X, (Sequence, np.ndarray)) and getattr(X, "ndim", None) != 1:
        return False
    if getattr(getattr(X, "dtype", None), "kind", "O") in "biufc":
        return False
    first = next((cell for cell in X if not is_missing_value(cell)), None)
    return isinstance(first, str) or (first is None and any(cell is None for cell in X))


def _read_container(X: Any) -> MultimodalData:
    if isinstance(X, MultimodalData):
        return X
    if is_tokenized_text(X):
        return MultimodalData({TEXT_MODALITY: X})
    if isinstance(X, Mapping):
        return MultimodalData(X)
    if _is_frame(X):
        return MultimodalData.from_frame(X)
    if _is_sentences(X):
        return MultimodalData({TEXT_MODALITY: X}, index=X.index if hasattr(X, "iloc") else None)
    if is_tokenized_text(next(iter(X), None)):
        return MultimodalData({TEXT_MODALITY: list(X)})
    return MultimodalData.from_records(X)


def _column_number(argument: str, column: Any, n_columns: int, names: Sequence[Any]) -> int:
    """Resolve one column, given by name or number, to its number."""
    if not isinstance(column, str) and column in names:
        return list(names).index(column)
    if isinstance(column, str):
        if not len(names):
            raise ValueError(
                f"Got {argument}={column!r}, but X has no column names. Use column numbers, or "
                "pass a DataFrame."
            )
        if column not in names:
            raise ValueError(unknown_name_message(argument, column, names))
        return list(names).index(column)
    if not isinstance(column, Integral) or not -n_columns <= int(column) < n_columns:
        raise ValueError(
            f"Got {argument} with column {column!r}, expected names or numbers in "
            f"[0, {n_columns - 1}]."
        )
    return int(column) % n_columns


def _columns(name: str, wanted: Any, n_columns: int, column_names: Sequence[Any]) -> np.ndarray:
    """Resolve the columns of one modality of a table to their numbers."""
    argument = f"modalities[{name!r}]"
    if isinstance(wanted, slice):
        columns = list(range(n_columns))[wanted]
    else:
        wanted = [wanted] if isinstance(wanted, (str, Integral)) else wanted
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
            wanted = np.flatnonzero(wanted)
        columns = [_column_number(argument, c, n_columns, column_names) for c in wanted]
    if len(columns) == 0:
        raise ValueError(f"Got {argument} without columns, expected at least one.")
    return np.asarray(columns)


def _as_matrix(X: Any) -> Any:
    """Refuse anything but a matrix of numbers where scikit-learn's message has no remedy."""
    if hasattr(X, "columns"):
        if X.shape[1] == 0:
            raise ValueError("Got X without columns, expected one per feature or one per modality.")
        return X
    try:
        array = plain_array(X)
        if array.dtype == object:
            array.astype(np.float64)
    except ValueError as error:
        raise ValueError(
            f"X holds strings or rows of different widths ({error}). Expected a 2-D table of "
            f"numbers. {_HOW_TO_PASS_SEQUENCES}"
        ) from error
    except TypeError:
        return X  # scikit-learn names the culprit
    if array.dtype.kind in "UST":
        raise ValueError(
            "X holds strings, expected numbers. Pass sentences as a list of str, one per sample, "
            "to an estimator with a text model, or turn them into embeddings first, one row per "
            "sample."
        )
    if array.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: X is of type {array.dtype}. Pass real numbers, for "
            "example np.abs(X), or real and imaginary parts side by side."
        )
    if array.ndim > 2:
        raise ValueError(
            f"Got X of shape {array.shape}, expected a 2-D table. {_HOW_TO_PASS_SEQUENCES}"
        )
    return array


def _read_table(
    estimator: BaseEstimator, X: Any, modalities: Mapping[str, Any] | None, *, reset: bool
) -> MultimodalData:
    index = X.index if _is_frame(X) else None
    if modalities is not None and not isinstance(modalities, Mapping):
        raise ValueError(
            f"Got modalities={modalities!r} for a table, expected a dict from name to columns, for "
            'example {"text": range(0, 64), "audio": range(64, 128)}.'
        )
    table = validate_data(
        estimator,
        _as_matrix(X),
        reset=reset,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,  # the container names modality and rows
        ensure_min_samples=2 if reset else 1,
    )
    if modalities is None:
        return MultimodalData({TABLE_MODALITY: table}, index=index)
    names = list(X.columns) if _is_frame(X) else getattr(estimator, "feature_names_in_", ())
    blocks = {
        name: table[:, _columns(name, columns, table.shape[1], names)]
        for name, columns in modalities.items()
    }
    return MultimodalData(blocks, index=index)


def _select(X: MultimodalData, modalities: Any, *, reset: bool) -> MultimodalData:
    """Select the modalities that an estimator reads; after fit, those that X has."""
    if modalities is None:
        return X
    if isinstance(modalities, (str, Mapping)) or not isinstance(modalities, Sequence):
        raise ValueError(
            f"Got modalities={modalities!r} for samples with named modalities, expected a list of "
            f"names among {', '.join(map(repr, X.names))}. A dict of columns is for 2-D tables."
        )
    known = [name for name in modalities if name in X.names]
    if not known or (reset and len(known) < len(modalities)):
        unknown: Any = next((name for name in modalities if name not in known), [])
        raise ValueError(unknown_name_message("modalities", unknown, X.names))
    return X.select(known)


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
    if is_table:  # validate_data has set the number and names of the columns
        estimator._fitted_on_table = True
    else:
        estimator.__dict__.pop("_fitted_on_table", None)
        estimator.n_features_in_ = len(data.names)
        estimator.feature_names_in_ = np.asarray(data.names, dtype=object)


def read_X(estimator: BaseEstimator, X: Any, modalities: Any, *, reset: bool) -> MultimodalData:
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
    table = _is_table(X)
    was_table = table if reset else hasattr(estimator, "_fitted_on_table")
    if table and not was_table:
        raise ValueError(
            "Got a 2-D table, expected the modalities of fit: "
            f"{', '.join(map(repr, estimator.modality_widths_))}. Pass them by name, for example "
            "as MultimodalData."
        )
    if table:
        data = _read_table(estimator, X, modalities, reset=reset)
    else:
        data = _read_container(X)
        if not (was_table and isinstance(modalities, Mapping)):
            data = _select(data, modalities, reset=reset)
        if len(data) < (2 if reset else 1):
            raise ValueError(
                f"Found {len(data)} sample(s) (n_samples={len(data)}) while a minimum of "
                f"{2 if reset else 1} is required by {type(estimator).__name__}. Pass more samples."
            )
    if reset:
        _check_rows(data)
        _learn(estimator, data, is_table=table)
    else:
        data = _align(data, estimator.modality_widths_, estimator._unseen_modalities)
        _check_rows(data)
    return data


def with_index(estimator: BaseEstimator, X: Any, values: np.ndarray) -> Any:
    """Give the output of ``transform`` X's index if pandas output is configured.

    scikit-learn keeps the index of a DataFrame; this function keeps that of a container.

    Examples
    --------
    >>> X = MultimodalData({"text": np.eye(2)}, index=["a", "b"])
    >>> with_index(BaseEstimator(), X, np.zeros((2, 3))).shape
    (2, 3)
    """
    index = X.index if isinstance(X, MultimodalData) else None
    if index is None or _get_output_config("transform", estimator)["dense"] != "pandas":
        return values
    import pandas as pd

    return pd.DataFrame(values, index=index)
