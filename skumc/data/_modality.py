"""One modality of all samples, read from the forms that users pass."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse

from skumc.data._missing import is_blank
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


def plain_array(values: Any) -> np.ndarray:
    """Convert to an array with masked values as NaN; a memory map stays one."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "buif":
        return np.ma.filled(values.astype(np.result_type(values.dtype, np.float32)), np.nan)
    return values if isinstance(values, np.memmap) else np.asarray(values)


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
    try:
        frames = plain_array(cell)
    except ValueError as error:
        raise ValueError(
            f"Modality {name!r}, row {row}: the frames have different widths. Expected one matrix "
            "(n_frames, width) per sample."
        ) from error
    if frames.dtype.kind not in "buif":
        raise ValueError(
            f"Modality {name!r}, row {row}: got {type(cell).__name__} of type {frames.dtype}, "
            "expected real numbers of shape (width,) or (n_frames, width), or None for missing."
        )
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


def _from_cells(name: str, cells: Sequence[Any]) -> Store:
    """Read sequences, sentences or token ids from one cell per sample."""
    cells = [None if is_blank(cell) else cell for cell in cells]
    first = next((cell for cell in cells if cell is not None), None)
    if isinstance(first, str):
        for row, cell in enumerate(cells):
            if cell is not None and not isinstance(cell, str):
                _reject_mixture(name, row, cell)
        return Strings(cells)
    if is_token_mapping(first):
        return TokenIds.from_cells(name, cells)
    sequences = [_cell_frames(name, row, cell) for row, cell in enumerate(cells)]
    _check_equal_widths(name, sequences)
    present = [frames for frames in sequences if frames is not None]
    values = np.concatenate(present) if present else np.zeros((0, 1), dtype=np.float32)
    return Ragged.from_lengths(values, [0 if s is None else len(s) for s in sequences])


def _from_array(name: str, array: np.ndarray) -> Ragged:
    """Read sequences from one array: (n_samples, width) or (n_samples, n_frames, width)."""
    if array.ndim not in (2, 3) or array.shape[-1] == 0:
        raise ValueError(
            f"Modality {name!r}: got an array of shape {array.shape}, expected (n_samples, width), "
            "(n_samples, n_frames, width), or a list with one array per sample; width is at least "
            "1."
        )
    n_frames = 1 if array.ndim == 2 else array.shape[1]
    offsets = np.arange(len(array) + 1, dtype=np.int64) * n_frames
    return Ragged(array.reshape(-1, array.shape[-1]), offsets)


def check_values(name: str, sequences: Ragged) -> Ragged:
    """Mark samples with only NaN as missing; refuse other NaN and infinite values."""
    values, n_samples = sequences.values, len(sequences)
    n_nan = np.zeros(n_samples, dtype=np.int64)
    owner = np.repeat(np.arange(n_samples), sequences.lengths)
    for chunk in frame_chunks(len(values), sequences.width):
        block = np.asarray(values[chunk])
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.sum(block, dtype=np.float64)):
                continue  # a finite sum has finite terms
        infinite = np.isinf(block).any(axis=1)
        if infinite.any():
            rows = np.unique(owner[chunk][infinite])
            raise ValueError(
                f"Modality {name!r} has infinite values (inf) in {name_rows(rows)}. Replace them, "
                "or pass None for a sample without the modality."
            )
        np.add.at(n_nan, owner[chunk], np.isnan(block).sum(axis=1))
    if not n_nan.any():
        return sequences
    absent = n_nan == sequences.lengths * sequences.width
    partly = np.flatnonzero((n_nan > 0) & ~absent)
    if len(partly):
        raise ValueError(
            f"Modality {name!r} is partly NaN in {name_rows(partly)}. A missing modality is NaN "
            "throughout (or None); impute single values first, for example with SimpleImputer, and "
            "pass padded sequences to MultimodalData.from_padded with their lengths."
        )
    kept = np.repeat(~absent, sequences.lengths)
    return Ragged.from_lengths(values[kept], np.where(absent, 0, sequences.lengths))


def _from_pandas(name: str, values: Any) -> np.ndarray:
    """Read a Series of cells or a DataFrame of numbers, with pandas' NA as NaN."""
    if values.ndim == 1:
        return values.to_numpy()
    kinds = [getattr(dtype, "kind", "O") for dtype in values.dtypes]
    if not set(kinds) <= set("buif"):
        column = values.columns[[kind not in "buif" for kind in kinds].index(True)]
        raise ValueError(
            f"Modality {name!r} is a table, and its column {column!r} holds no numbers. Expected "
            "numbers in every column; for sequences pass one column of arrays."
        )
    array = values.to_numpy()
    return values.to_numpy(np.float64, na_value=np.nan) if array.dtype == object else array


def to_store(name: str, values: Any) -> Store:
    """Read one modality in any accepted form as checked sequences, sentences or token ids."""
    if isinstance(values, (Strings, TokenIds)):
        return values
    if is_token_mapping(values):
        return TokenIds.from_mapping(name, values)
    if isinstance(values, Ragged):
        return values if values.checked else check_values(name, values)
    if issparse(values):
        raise TypeError(
            f"Modality {name!r} is sparse ({type(values).__name__}), expected a dense array. Use "
            ".toarray(), or reduce it first, for example with TruncatedSVD."
        )
    if hasattr(values, "iloc"):
        values = _from_pandas(name, values)
    elif hasattr(values, "__array__"):
        values = plain_array(values)
    if isinstance(values, np.ndarray) and values.dtype.kind in "buif":
        return check_values(name, _from_array(name, values))
    if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__len__"):
        raise ValueError(
            f"Modality {name!r}: got {type(values).__name__}, expected an array (n_samples, width) "
            "or a list with one array or None per sample."
        )
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise ValueError(
            f"Modality {name!r}: got an array of type {values.dtype} and shape {values.shape}, "
            "expected real numbers, or a list with one array or None per sample."
        )
    store = _from_cells(name, values)
    return check_values(name, store) if isinstance(store, Ragged) else store


def from_padding(name: str, array: ArrayLike, lengths: ArrayLike) -> Ragged:
    """Drop the padding of (n_samples, n_frames_max, width)."""
    array, lengths = plain_array(array), np.asarray(lengths)
    if array.ndim != 3 or array.dtype.kind not in "buif":
        raise ValueError(
            f"Modality {name!r}: got an array of shape {array.shape} and type {array.dtype}, "
            "expected numbers (n_samples, n_frames_max, width)."
        )
    if (
        lengths.shape != array.shape[:1]
        or lengths.dtype.kind not in "ui"
        or (len(lengths) and not 0 <= lengths.min() <= lengths.max() <= array.shape[1])
    ):
        raise ValueError(
            f"Modality {name!r}: got lengths of shape {lengths.shape} and type {lengths.dtype}, "
            f"expected {len(array)} whole numbers in [0, {array.shape[1]}]."
        )
    valid = np.arange(array.shape[1]) < lengths[:, None]
    return Ragged.from_lengths(array[valid], lengths)
