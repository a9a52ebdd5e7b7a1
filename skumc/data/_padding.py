"""Sequences from padded arrays, with a mask or lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skumc.data._columns import is_column, plain_column
from skumc.data._missing import is_blank
from skumc.data._numbers import plain_array, real_numbers
from skumc.data._ragged import Ragged

_MASK_KEYS = ("attention_mask", "mask")
_LENGTH_KEYS = ("lengths", "length")


def as_mask(name: str, mask: ArrayLike) -> np.ndarray:
    """Convert a mask of 0 and 1 to bool.

    Raises
    ------
    ValueError
        If it has other values.
    """
    mask = plain_array(mask)
    if mask.dtype.kind not in "buif" or not np.isin(mask, (0, 1)).all():
        raise ValueError(
            f"Modality {name!r}: got a mask of type {mask.dtype} with other values than 0 and 1. "
            "Expected 1 for frames and tokens, 0 for padding."
        )
    return mask.astype(bool)


def from_padding(name: str, array: ArrayLike, lengths: ArrayLike) -> Ragged:
    """Drop the padding of (n_samples, n_frames_max, width), given the lengths or a mask."""
    array, lengths = plain_array(array), plain_array(lengths)
    if array.ndim != 3 or array.dtype.kind not in "buif":
        raise ValueError(
            f"Modality {name!r}: got an array of shape {array.shape} and type {array.dtype}, "
            "expected numbers (n_samples, n_frames_max, width)."
        )
    if lengths.ndim == 2:
        valid = as_mask(name, lengths)
        if valid.shape != array.shape[:2]:
            raise ValueError(
                f"Modality {name!r}: got a mask of shape {valid.shape} for an array of shape "
                f"{array.shape}, expected {array.shape[:2]}: one value per sample and frame. "
                "Swap axes 1 and 2 of the array if its frames are on the last axis."
            )
        return Ragged.from_lengths(array[valid], valid.sum(axis=1))
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


def shown_frames(name: str, row: int, cell: Any, mask: Any) -> Any:
    """Keep the frames of one sample that its mask, or length, does not hide."""
    if is_blank(cell):
        return None
    try:
        frames = real_numbers(cell)
    except ValueError as error:
        raise ValueError(f"Modality {name!r}, row {row}: expected numbers, got {error}.") from error
    if mask is None:
        return frames
    frames = frames[0] if frames.ndim == 3 and len(frames) == 1 else frames
    frames = frames[:, None] if frames.ndim == 1 else frames
    mask = plain_array(mask)
    if mask.ndim == 0:
        mask = np.arange(len(frames)) < mask
    shown = as_mask(name, mask[0] if mask.ndim == 2 and len(mask) == 1 else mask)
    if shown.shape != frames.shape[:1]:
        raise ValueError(
            f"Modality {name!r}, row {row}: got a mask of shape {shown.shape} for frames of shape "
            f"{frames.shape}, expected one value per frame."
        )
    return frames[shown]


def split_mask(where: str, values: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """Separate the frames from the mask, or lengths, of a dict such as a feature extractor's.

    Parameters
    ----------
    where : str
        Place of the dict, for messages.
    values : dict

    Returns
    -------
    key : str
        Name of the frames.
    frames : array-like
    mask : array-like or None

    Raises
    ------
    ValueError
        If there is not exactly one array of frames.
    """
    masks = [key for key in (*_MASK_KEYS, *_LENGTH_KEYS) if values.get(key) is not None]
    others = [key for key in values if key not in (*_MASK_KEYS, *_LENGTH_KEYS)]
    if len(others) != 1 or len(masks) > 1:
        raise ValueError(
            f"{where}: got {type(values).__name__} with the keys {list(values)}, expected frames "
            'and their mask, {"values": frames, "attention_mask": mask}, or token ids, '
            '{"input_ids": ids, "attention_mask": mask}.'
        )
    return others[0], values[others[0]], values[masks[0]] if masks else None


def masked_sequences(name: str, frames: Any, mask: Any) -> Any:
    """Drop the padding of the frames of all samples; the result is a modality in another form."""
    frames, mask = (plain_column(part) if is_column(part) else part for part in (frames, mask))
    if not hasattr(frames, "__len__") or len(frames) != len(mask):
        raise ValueError(
            f"Modality {name!r}: got frames and mask of different sizes, expected one of each per "
            "sample."
        )
    if hasattr(frames, "__array__") and hasattr(mask, "__array__"):
        array, shown = plain_array(frames), plain_array(mask)
        if array.ndim == 2 and array.shape == shown.shape:
            array = array[:, :, None]  # a waveform: one value per step
        if array.ndim == 3:
            return from_padding(name, array, shown)
    rows = enumerate(zip(frames, mask, strict=True))
    return [shown_frames(name, row, cell, shown) for row, (cell, shown) in rows]
