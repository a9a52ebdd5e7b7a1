"""X as one 2-D table of numbers: blocks of its columns become modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skumc.data._columns import Frame, column_index, is_data_frame
from skumc.data._container import MultimodalData
from skumc.data._forms import check_names
from skumc.data._missing import is_missing_value
from skumc.data._numbers import NotNumbersError, is_number, plain_array, real_numbers
from skumc.data._positions import resolve_columns

_TABLE_MODALITY = "features"
_HOW_TO_PASS_SEQUENCES = (
    'Pass sequences by name, as MultimodalData({"features": X}) with one array (n_frames, width) '
    "per sample."
)


def _with_missing_rows(X: Any) -> Any:
    """Replace None in a list of rows by a row of NaN."""
    if not isinstance(X, (list, tuple)) or not any(row is None for row in X):
        return X
    widths = {len(row) for row in X if hasattr(row, "__len__")}
    return [[np.nan] * max(widths) if row is None else row for row in X] if widths else X


def _as_matrix(X: Any) -> Any:
    """Refuse anything but a matrix of numbers where scikit-learn's message has no remedy."""
    try:
        X = _with_missing_rows(X)
        array = plain_array(X)
    except ValueError as error:
        raise ValueError(
            f"X holds strings or rows of different widths ({error}). Expected a 2-D table of "
            f"numbers. {_HOW_TO_PASS_SEQUENCES}"
        ) from error
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
    if array.dtype.kind not in "buifO":
        raise ValueError(
            f"X is of type {array.dtype}, expected real numbers. Convert dates, durations and "
            "records to numbers first, or leave them out."
        )
    if array.dtype == object:
        array = _object_matrix(array)
    if array.ndim > 2:
        raise ValueError(
            f"Got X of shape {array.shape}, expected a 2-D table. {_HOW_TO_PASS_SEQUENCES}"
        )
    return array


def _object_matrix(array: np.ndarray) -> np.ndarray:
    """Convert an array of objects to numbers."""
    try:
        return real_numbers(array)
    except NotNumbersError as error:
        found = next(c for c in array.ravel() if not (is_missing_value(c) or is_number(c)))
        if isinstance(found, str):
            raise ValueError(
                f"X holds strings such as {found!r:.50}. Expected a 2-D table of numbers. "
                f"{_HOW_TO_PASS_SEQUENCES}"
            ) from error
        raise TypeError(  # with Python's words, which scikit-learn's checks expect
            f"X holds {found!r:.50}: float() argument must be a string or a real number, not "
            f"{type(found).__name__!r}. Expected a 2-D table of numbers. {_HOW_TO_PASS_SEQUENCES}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"X holds strings or rows of different widths ({error}). Expected a 2-D table of "
            f"numbers. {_HOW_TO_PASS_SEQUENCES}"
        ) from error


class TableLayout(NamedTuple):
    """Columns of the table of ``fit``.

    Attributes
    ----------
    names : list or None
        Column names of a DataFrame.
    blocks : dict of str to list of int, or None
        Positions of the columns of each modality; None is one modality of all columns.
    """

    names: list[Any] | None
    blocks: dict[str, list[int]] | None


def _lay_out(modalities: Any, names: list[Any] | None, n_columns: int) -> TableLayout:
    """Resolve ``modalities`` to positions."""
    if modalities is None:
        return TableLayout(names, None)
    if not isinstance(modalities, Mapping):
        raise ValueError(
            f"Got modalities={modalities!r} for a table, expected a dict from name to columns, for "
            'example {"text": range(0, 64), "audio": range(64, 128)}.'
        )
    check_names(modalities)
    return TableLayout(names, resolve_columns(modalities, n_columns, names or ()))


def _check_columns(layout: TableLayout, names: list[Any] | None) -> None:
    """Refuse a frame with other columns than in fit; scikit-learn compares strings of pandas."""
    if names is not None and layout.names is not None and names != layout.names:
        raise ValueError(
            f"Got X with the columns {names}, expected those of fit, in their order: "
            f"{layout.names}."
        )


def _learn_columns(estimator: Any, names: list[Any]) -> None:
    """Store number and names of the columns of another library than pandas."""
    estimator.n_features_in_ = len(names)
    estimator.__dict__.pop("feature_names_in_", None)
    if all(isinstance(name, str) for name in names):
        estimator.feature_names_in_ = np.asarray(names, dtype=object)


def _read_frame(estimator: Any, X: Any, *, reset: bool) -> Frame:
    """Take apart a frame; learn the number and names of its columns, or check them."""
    frame = Frame.read(X)
    n_columns = len(frame.names)
    if n_columns == 0:
        raise ValueError("Got X without columns, expected one per feature or one per modality.")
    if hasattr(X, "iloc"):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    elif reset:
        _learn_columns(estimator, frame.names)
    elif n_columns != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_columns} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input. Pass the columns of fit."
        )
    return frame


def read_table(
    estimator: BaseEstimator, X: Any, modalities: Mapping[str, Any] | None, *, reset: bool
) -> MultimodalData:
    """Read a table of numbers as one modality, or as one per entry of ``modalities``."""
    checks: dict[str, Any] = {
        "dtype": [np.float64, np.float32],
        "ensure_all_finite": False,  # the container names modality and rows
        "ensure_min_samples": 2 if reset else 1,
    }
    frame = _read_frame(estimator, X, reset=reset) if is_data_frame(X) else None
    if frame is None:
        table = validate_data(estimator, _as_matrix(X), reset=reset, **checks)
    names = None if frame is None else frame.names
    n_columns = table.shape[1] if frame is None else len(frame.names)
    if reset:
        estimator._table_layout = _lay_out(modalities, names, n_columns)
    _check_columns(estimator._table_layout, names)
    blocks, used = estimator._table_layout.blocks, list(range(n_columns))
    if frame is not None:
        if blocks is not None:
            used = sorted({position for block in blocks.values() for position in block})
        table = check_array(frame.matrix(used), estimator=estimator, **checks)
    if blocks is None:
        return MultimodalData({_TABLE_MODALITY: table}, index=column_index(X))
    columns = {
        name: table[:, [used.index(position) for position in block]]
        for name, block in blocks.items()
    }
    return MultimodalData(columns, index=column_index(X))
