"""Videos from arrays and files, as lists of images at one frame rate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np

from skumc.data import digest
from skumc.feature_extraction._clips import Clip, UnreadableClip, file_digest
from skumc.feature_extraction._containers import timed_images
from skumc.feature_extraction._pretrained import require

_FRAMES_AT_ONCE = 64  # frames that are converted and fingerprinted together
_TOLERANCE = 0.1  # share of the time between two frames: files round times, some to milliseconds


class FrameClock:
    """Choose frames of a video so that ``rate`` frames per second are read.

    Parameters
    ----------
    rate : float or None
        Frames per second to read. A slower video is read whole. None reads all frames.

    Examples
    --------
    >>> clock = FrameClock(rate=2)
    >>> [clock.is_due(time) for time in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [True, False, True, False, True]
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._start: float | None = None
        self._next_tick = 0

    def is_due(self, time: float) -> bool:
        """Return whether to read a frame; call it for every frame in order.

        Parameters
        ----------
        time : float
            Time of the frame, in seconds.
        """
        if self._rate is None:
            return True
        if self._start is None:
            self._start = time
        tick = int((time - self._start) * self._rate + _TOLERANCE)
        if tick < self._next_tick:
            return False
        self._next_tick = tick + 1
        return True


def to_images(frames: np.ndarray) -> np.ndarray:
    """Convert images to 8 bits; floats in [0, 1] are rounded.

    Parameters
    ----------
    frames : ndarray of uint8 or float

    Returns
    -------
    ndarray of uint8, of the same shape

    Raises
    ------
    UnreadableClip
        If a float is outside [0, 1] or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> to_images(np.array([[[[0.0, 0.5, 1.0]]]]))
    array([[[[  0, 128, 255]]]], dtype=uint8)
    """
    if frames.dtype == np.uint8:
        return frames
    low, high = frames.min(), frames.max()
    if not (low >= 0 and high <= 1):  # also true for NaN
        raise UnreadableClip(
            f"float images lie in [{low:.3g}, {high:.3g}], expected [0, 1]; divide by 255, or "
            "pass them as uint8"
        )
    return np.rint(frames * 255).astype(np.uint8)


def _checked_frames(frames: Any) -> np.ndarray | None:
    """Return an array (n_frames, height, width, 3), None if it is empty or all NaN."""
    frames = np.asarray(frames)
    if frames.size == 0:
        return None
    if (
        frames.ndim != 4
        or frames.shape[-1] != 3
        or not (frames.dtype == np.uint8 or frames.dtype.kind == "f")
    ):
        raise UnreadableClip(
            f"got an array of shape {frames.shape} and type {frames.dtype}, expected (n_frames, "
            "height, width, 3), uint8 or floats in [0, 1]; repeat a gray channel three times"
        )
    is_missing = frames.dtype.kind == "f" and np.isnan(frames[:1]).all() and np.isnan(frames).all()
    return None if is_missing else frames


def _read_array(frames: Any, chosen: np.ndarray, batch_size: int) -> Iterator[list[np.ndarray]]:
    frames = np.asarray(frames)
    for start in range(0, len(chosen), batch_size):
        yield list(to_images(frames[chosen[start : start + batch_size]]))


def _find_array(
    frames: Any,
    rate: float | None,
    target_rate: float | None,
    max_frames: int | None,
    batch_size: int,
) -> Clip | None:
    frames = _checked_frames(frames)
    if frames is None:
        return None
    if rate is None:
        chosen = np.arange(len(frames))
    else:
        clock = FrameClock(target_rate)
        chosen = np.flatnonzero([clock.is_due(i / rate) for i in range(len(frames))])
    chosen = chosen[:max_frames]
    parts = [
        digest(to_images(frames[chosen[start : start + _FRAMES_AT_ONCE]]).tobytes())
        for start in range(0, len(chosen), _FRAMES_AT_ONCE)
    ]
    key = digest("array", str(frames.shape[1:]), *parts)
    return Clip(key, 1, partial(_read_array, frames, chosen, batch_size))


def _due_images(path: Any, target_rate: float | None) -> Iterator[np.ndarray]:
    clock = FrameClock(target_rate)
    for time, make in timed_images(path):
        if clock.is_due(time):
            yield make()


def _read_file(
    path: Any, target_rate: float | None, max_frames: int | None, batch_size: int
) -> Iterator[list[np.ndarray]]:
    chosen = islice(_due_images(path, target_rate), max_frames)
    while images := list(islice(chosen, batch_size)):
        yield images


def find_video(
    cell: Any, target_rate: float | None, max_frames: int | None, batch_size: int
) -> Clip | None:
    """Identify the video in a cell; its decoded frames are not kept.

    Parameters
    ----------
    cell : array-like of shape (n_frames, height, width, 3), (array-like, rate) or path
        Images in uint8, or floats in [0, 1]; the rate is in frames per second.
    target_rate : float or None
        Frames per second to read from files and from arrays with a rate. None reads all.
    max_frames : int or None
        Maximum number of frames to read. None reads all.
    batch_size : int
        Number of frames to decode together.

    Returns
    -------
    Clip or None
        ``read`` yields lists of images, (height, width, 3). None is an empty video.

    Raises
    ------
    UnreadableClip
        If the file or the array is invalid.
    ValueError
        If the cell is not a video.
    """
    if isinstance(cell, (str, os.PathLike)):
        require("av", "video", "Reading video files")
        key = digest("file", file_digest(cell))
        return Clip(key, 1, partial(_read_file, cell, target_rate, max_frames, batch_size))
    rate = None
    if isinstance(cell, tuple) and len(cell) == 2 and isinstance(cell[1], Real):
        cell, rate = cell
        if not 0 < rate < float("inf"):
            raise ValueError(f"got frame rate {rate!r}, expected frames per second above 0.")
    if isinstance(cell, (Real, bytes, dict)) or not hasattr(cell, "__len__"):
        raise ValueError(
            f"got {type(cell).__name__}, expected an array (n_frames, height, width, 3), a pair "
            "(array, frames per second), a path, or None."
        )
    return _find_array(cell, rate, target_rate, max_frames, batch_size)
