"""One modality of all samples, read from the forms that users pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeAlias

import numpy as np
from scipy.sparse import issparse

from skumc.data._columns import (
    Frame,
    is_categorical,
    is_column,
    is_data_frame,
    plain_cell,
    plain_column,
    refuse_lazy,
)
from skumc.data._missing import is_blank
from skumc.data._numbers import NotNumbersError, plain_array, real_numbers
from skumc.data._padding import masked_sequences, shown_frames, split_mask
from skumc.data._ragged import Ragged, frame_chunks
from skumc.data._rows import name_rows
from skumc.data._text import Strings, TokenIds, is_token_mapping

Store: TypeAlias = Ragged | Strings | TokenIds
"""One modality of all samples: ``len``, ``lengths``, ``width``, ``store[i]``, ``take(rows)``."""


def absent_modality(width: int | None, n_samples: int) -> Store:
    """Build a modality that is missing in every sample; text if the width is None."""
    if width is None:
        return Strings([None] * n_samples)
    return Ragged(np.zeros((0, width), np.float32), np.zeros(n_samples + 1, np.int64))


def sample_cell(store: Store, row: int) -> Any:
    """Return the frames, sentence or token ids of one sample; None where they are missing."""
    cell = store[row]
    return None if is_blank(cell) else cell


def cell_content(cell: Any) -> Hashable:
    """Reduce a cell to a hashable value that is equal where the content of two cells is equal."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, dict):
        return tuple((key, cell_content(values)) for key, values in cell.items())
    return cell.shape, (cell + 0).tobytes()  # adding 0 turns -0.0 into 0.0


def _reject_mixture(name: str, row: int, cell: Any) -> NoReturn:
    raise ValueError(
        f"Modality {name!r} holds numbers in some rows and text in others: {cell!r:.50} in row "
        f"{row}. Pass sentences throughout, token ids throughout, or arrays of numbers throughout; "
        "None where the modality is missing."
    )


def _cell_frames(name: str, row: int, cell: Any) -> np.ndarray | None:
    """Read the frames of one sample, (n_frames, width); None where the modality is missing."""
    if cell is None:
        return None
    if isinstance(cell, str) or is_token_mapping(cell):
        _reject_mixture(name, row, cell)
    if isinstance(cell, Mapping):
        _, values, mask = split_mask(f"Modality {name!r}, row {row}", cell)
        cell = shown_frames(name, row, values, mask)
        if cell is None:
            return None
    try:
        frames = real_numbers(cell)
    except NotNumbersError as error:
        raise ValueError(
            f"Modality {name!r}, row {row}: got {error}, expected real numbers of shape (width,) "
            "or (n_frames, width), or None for missing."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"Modality {name!r}, row {row}: the frames have different widths. Expected one matrix "
            "(n_frames, width) per sample."
        ) from error
    if frames.ndim > 2:
        raise ValueError(
            f"Modality {name!r}, row {row}: got shape {frames.shape}, expected (width,) or "
            "(n_frames, width)."
        )
    if frames.size == 0:
        return None
    return frames.reshape(1, -1) if frames.ndim < 2 else frames


def _check_equal_widths(name: str, sequences: Sequence[np.ndarray | None]) -> None:
    widths: dict[int, int] = {}
    for row, frames in enumerate(sequences):
        if frames is not None:
            widths.setdefault(frames.shape[1], row)
    if len(widths) > 1:
        found = ", ".join(f"{width} (row {row})" for width, row in list(widths.items())[:5])
        raise ValueError(
            f"Modality {name!r} has frames of different widths: {found}. Expected one width for "
            "all samples; sequences may differ in length only."
        )


def _from_cells(name: str, cells: Sequence[Any], categorical: bool = False) -> Store:
    """Read sequences, sentences or token ids from one cell per sample."""
    cells = [plain_cell(cell) for cell in cells]
    cells = [None if is_blank(cell) else cell for cell in cells]
    first = next((cell for cell in cells if cell is not None), None)
    if isinstance(first, str):
        for row, cell in enumerate(cells):
            if cell is not None and not isinstance(cell, str):
                _reject_mixture(name, row, cell)
        return Strings(cells, categorical)
    if is_token_mapping(first):
        return TokenIds.from_cells(name, cells)
    sequences = [_cell_frames(name, row, cell) for row, cell in enumerate(cells)]
    _check_equal_widths(name, sequences)
    present = [frames for frames in sequences if frames is not None]
    values = np.concatenate(present) if present else np.zeros((0, 1), dtype=np.float32)
    return Ragged.from_lengths(values, [0 if s is None else len(s) for s in sequences])


def _from_array(name: str, array: np.ndarray) -> Ragged:
    """Read sequences from one array: (n_samples,), (..., width) or (..., n_frames, width)."""
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim not in (2, 3) or array.shape[-1] == 0:
        raise ValueError(
            f"Modality {name!r}: got an array of shape {array.shape}, expected (n_samples, width), "
            "(n_samples, n_frames, width), or a list with one array per sample; width is at least "
            "1."
        )
    n_frames = 1 if array.ndim == 2 else array.shape[1]
    offsets = np.arange(len(array) + 1, dtype=np.int64) * n_frames
    return Ragged(array.reshape(-1, array.shape[-1]), offsets)


def _scan(name: str, sequences: Ragged) -> np.ndarray | None:
    """Count the NaN of each frame, None if there are none; refuse infinite values."""
    values, n_nan = sequences.values, None
    for chunk in frame_chunks(len(values), sequences.width):
        block = np.asarray(values[chunk])
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.sum(block, dtype=np.float64)):
                continue  # a finite sum has finite terms
        infinite = np.isinf(block).any(axis=1)
        if infinite.any():
            owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
            rows = np.unique(owner[chunk][infinite])
            raise ValueError(
                f"Modality {name!r} has infinite values (inf) in {name_rows(rows)}. Replace them, "
                "or pass None for a sample without the modality."
            )
        n_nan = np.zeros(len(values), dtype=np.int64) if n_nan is None else n_nan
        n_nan[chunk] = np.isnan(block).sum(axis=1)
    return n_nan


def check_values(name: str, sequences: Ragged) -> Ragged:
    """Drop frames of NaN before and after each sequence; refuse other NaN and infinite values.

    A sample of such frames only is missing.
    """
    n_nan = _scan(name, sequences)
    if n_nan is None or not n_nan.any():
        return sequences
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    filled = np.flatnonzero(n_nan < sequences.width)
    gaps = (np.diff(filled) > 1) & (np.diff(owner[filled]) == 0)
    partly = np.union1d(owner[filled][n_nan[filled] > 0], owner[filled][1:][gaps])
    if len(partly):
        raise ValueError(
            f"Modality {name!r} is partly NaN in {name_rows(partly)}. A missing modality is NaN "
            "throughout (or None), and frames of padding are NaN throughout; impute single values "
            "first, for example with SimpleImputer, and pass sequences padded otherwise to "
            "MultimodalData.from_padded with their lengths or a mask."
        )
    lengths = np.bincount(owner[filled], minlength=len(sequences))
    return Ragged.from_lengths(sequences.values[filled], lengths)


def _from_frame(name: str, values: Any) -> np.ndarray:
    """Read a DataFrame of numbers as one modality, with missing values as NaN."""
    frame = Frame.read(values)
    columns = []
    for position, column_name in enumerate(frame.names):
        try:
            columns.append(frame.numbers(position))
        except ValueError as error:
            raise ValueError(
                f"Modality {name!r} is a table, and its column {column_name!r} holds no numbers. "
                "Expected numbers in every column; for sequences pass one column of arrays."
            ) from error
    return np.column_stack(columns) if columns else np.zeros((len(values), 0))


def _as_array_or_list(name: str, values: Any) -> Any:
    """Convert columns, frames, tensors and objects to an array of numbers or a list of cells."""
    if is_data_frame(values):
        return _from_frame(name, values)
    if is_column(values):
        return plain_column(values)
    if not hasattr(values, "__array__"):
        return values
    values = plain_array(values)
    if values.dtype == object and values.ndim > 1:
        with suppress(ValueError):  # refused by the caller
            return real_numbers(values)
    return values


def to_store(name: str, values: Any) -> Store:
    """Read one modality in any accepted form as checked sequences, sentences or token ids."""
    if isinstance(values, (Strings, TokenIds)):
        return values
    if issparse(values):
        raise TypeError(
            f"Modality {name!r} is sparse ({type(values).__name__}), expected a dense array. Use "
            ".toarray(), or reduce it first, for example with TruncatedSVD."
        )
    if is_token_mapping(values):
        return TokenIds.from_mapping(name, values)
    if isinstance(values, Mapping):
        _, values, mask = split_mask(f"Modality {name!r}", values)
        return to_store(name, values if mask is None else masked_sequences(name, values, mask))
    if isinstance(values, Ragged):
        return values if values.checked else check_values(name, values)
    refuse_lazy(values)
    categorical = is_categorical(values)
    values = _as_array_or_list(name, values)
    if isinstance(values, np.ndarray) and values.dtype.kind in "buif":
        return check_values(name, _from_array(name, values))
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise ValueError(
            f"Modality {name!r}: got {type(values).__name__}, expected an array (n_samples, width) "
            "or a list with one array or None per sample."
        )
    if isinstance(values, np.ndarray) and (values.ndim != 1 or values.dtype.kind not in "OUT"):
        raise ValueError(
            f"Modality {name!r}: got an array of type {values.dtype} and shape {values.shape}, "
            "expected real numbers, or a list with one array or None per sample."
        )
    store = _from_cells(name, values, categorical)
    return check_values(name, store) if isinstance(store, Ragged) else store
