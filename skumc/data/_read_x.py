"""Read X: every form that an estimator accepts becomes one container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils._set_output import _get_output_config

from skumc._parts import unknown_name_message
from skumc.data._container import MultimodalData
from skumc.data._missing import is_missing_value
from skumc.data._rows import name_rows
from skumc.data._table import is_data_frame, read_table
from skumc.data._text import is_tokenized_text

_TEXT_MODALITY = "text"


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
    if is_data_frame(X):
        return all(_is_numeric_column(X.iloc[:, i]) for i in range(X.shape[1]))
    if isinstance(X, Sequence) and not isinstance(X, (str, bytes)) and len(X):
        return not (isinstance(X[0], Mapping) or _is_sentences(X))
    return not _is_sentences(X)


def _is_sentences(X: Any) -> bool:
    """Whether X is a list, 1-D array or Series of strings and None, or of None alone."""
    if isinstance(X, (str, bytes)) or is_data_frame(X) or not hasattr(X, "__len__"):
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
        return MultimodalData({_TEXT_MODALITY: X})
    if isinstance(X, Mapping):
        return MultimodalData(X)
    if is_data_frame(X):
        return MultimodalData.from_frame(X)
    if _is_sentences(X):
        return MultimodalData({_TEXT_MODALITY: X}, index=X.index if hasattr(X, "iloc") else None)
    if is_tokenized_text(next(iter(X), None)):
        return MultimodalData({_TEXT_MODALITY: list(X)})
    return MultimodalData.from_records(X)


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
        data = read_table(estimator, X, modalities, reset=reset)
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
