"""X as one 2-D table of numbers: blocks of its columns become modalities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from skumc._parts import unknown_name_message
from skumc.data._container import MultimodalData
from skumc.data._modality import plain_array

_TABLE_MODALITY = "features"
_HOW_TO_PASS_SEQUENCES = (
    'Pass sequences by name, as MultimodalData({"features": X}) with one array (n_frames, width) '
    "per sample."
)


def is_data_frame(X: Any) -> bool:
    """Whether X is a DataFrame."""
    return hasattr(X, "iloc") and hasattr(X, "columns")


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


def read_table(
    estimator: BaseEstimator, X: Any, modalities: Mapping[str, Any] | None, *, reset: bool
) -> MultimodalData:
    """Read a table of numbers as one modality, or as one per entry of ``modalities``."""
    index = X.index if is_data_frame(X) else None
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
        return MultimodalData({_TABLE_MODALITY: table}, index=index)
    names = list(X.columns) if is_data_frame(X) else getattr(estimator, "feature_names_in_", ())
    blocks = {
        name: table[:, _columns(name, columns, table.shape[1], names)]
        for name, columns in modalities.items()
    }
    return MultimodalData(blocks, index=index)
