"""Videos as people have them, arrays of frames or files, as lists of pictures."""

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
from skumc.feature_extraction._pretrained import require

_FRAMES_AT_ONCE = 64  # converted and fingerprinted together
_TOLERANCE = 0.1  # of the time between two frames: files round theirs, some to a millisecond


class FrameClock:
    """Says of each frame of a video whether to take it, so that ``rate`` frames a second are.

    Parameters
    ----------
    rate : float or None
        Frames a second to take; None takes all. Slower videos are taken whole.

    Examples
    --------
    >>> clock = FrameClock(rate=2)
    >>> [clock.is_due(time) for time in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [True, False, True, False, True]
    """

    def __init__(self, rate: float | None) -> None:
        self._rate, self._start, self._next_tick = rate, None, 0

    def is_due(self, time: float) -> bool:
        """Whether to take the frame shown at ``time``, in seconds; ask in order."""
        if self._rate is None:
            return True
        self._start = time if self._start is None else self._start
        tick = int((time - self._start) * self._rate + _TOLERANCE)
        if tick < self._next_tick:
            return False
        self._next_tick = tick + 1
        return True


def to_pictures(frames: np.ndarray) -> np.ndarray:
    """Give 8-bit pictures; floats in [0, 1] are rounded to them.

    Raises
    ------
    UnreadableClip
        If a value is out of range or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> to_pictures(np.array([[[[0.0, 0.5, 1.0]]]]))
    array([[[[  0, 128, 255]]]], dtype=uint8)
    """
    if frames.dtype == np.uint8:
        return frames
    low, high = frames.min(), frames.max()
    if not (low >= 0 and high <= 1):  # NaN as well
        raise UnreadableClip(
            f"float pictures lie in [{low:.3g}, {high:.3g}], expected [0, 1]; divide by 255, or "
            "pass them as uint8"
        )
    return np.rint(frames * 255).astype(np.uint8)


def _checked_frames(frames: Any) -> np.ndarray | None:
    """An array (n_frames, height, width, 3), None where it is empty or NaN throughout."""
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
            "height, width, 3), uint8 or floats in [0, 1]; repeat a grey channel three times"
        )
    is_missing = frames.dtype.kind == "f" and np.isnan(frames[:1]).all() and np.isnan(frames).all()
    return None if is_missing else frames


def _read_array(frames: Any, taken: np.ndarray, n_at_once: int) -> Iterator[list[np.ndarray]]:
    frames = np.asarray(frames)
    for start in range(0, len(taken), n_at_once):
        yield list(to_pictures(frames[taken[start : start + n_at_once]]))


def _find_array(
    frames: Any, rate: float | None, wanted: float | None, limit: int | None, n_at_once: int
) -> Clip | None:
    frames = _checked_frames(frames)
    if frames is None:
        return None
    if rate is None:
        taken = np.arange(len(frames))
    else:
        clock = FrameClock(wanted)
        taken = np.flatnonzero([clock.is_due(i / rate) for i in range(len(frames))])
    taken = taken[:limit]
    parts = [
        digest(to_pictures(frames[taken[start : start + _FRAMES_AT_ONCE]]).tobytes())
        for start in range(0, len(taken), _FRAMES_AT_ONCE)
    ]
    key = digest("array", str(frames.shape[1:]), *parts)
    return Clip(key, 1, partial(_read_array, frames, taken, n_at_once))


def _decoded(path: Any) -> Iterator[tuple[float, Any]]:
    """Time in seconds and frame of a file's first video stream."""
    av = require("av", "video", "Reading video files")
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise UnreadableClip("the file holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 1)
            for i, frame in enumerate(container.decode(stream)):
                yield i / rate if frame.time is None else frame.time, frame
    except (av.error.FFmpegError, OSError, UnreadableClip) as error:
        raise UnreadableClip(f"{os.fspath(path)!r}: {error}") from error


def _due_pictures(path: Any, wanted: float | None) -> Iterator[np.ndarray]:
    clock = FrameClock(wanted)
    for time, frame in _decoded(path):
        if clock.is_due(time):
            yield frame.to_ndarray(format="rgb24")


def _read_file(
    path: Any, wanted: float | None, limit: int | None, n_at_once: int
) -> Iterator[list[np.ndarray]]:
    taken = islice(_due_pictures(path, wanted), limit)
    while pictures := list(islice(taken, n_at_once)):
        yield pictures


def find_video(cell: Any, wanted: float | None, limit: int | None, n_at_once: int) -> Clip | None:
    """Find out what a cell holds, without keeping any of it decoded.

    Parameters
    ----------
    cell : array-like of shape (n_frames, height, width, 3), (array-like, rate) or path
        Pictures in uint8, or floats in [0, 1]; the rate in frames a second.
    wanted : float or None
        Frames a second to take of files and of arrays with a rate.
    limit : int or None
        Frames to take at most.
    n_at_once : int
        Frames to decode together.

    Returns
    -------
    Clip or None
        ``read`` gives lists of pictures, (height, width, 3); None is an empty video.

    Raises
    ------
    UnreadableClip
        If the file or the array is broken.
    ValueError
        If the cell is no video.
    """
    if isinstance(cell, (str, os.PathLike)):
        require("av", "video", "Reading video files")
        key = digest("file", file_digest(cell))
        return Clip(key, 1, partial(_read_file, cell, wanted, limit, n_at_once))
    rate = None
    if isinstance(cell, tuple) and len(cell) == 2 and isinstance(cell[1], Real):
        cell, rate = cell
        if not 0 < rate < float("inf"):
            raise ValueError(f"got frame rate {rate!r}, expected frames a second above 0.")
    if isinstance(cell, (Real, bytes, dict)) or not hasattr(cell, "__len__"):
        raise ValueError(
            f"got {type(cell).__name__}, expected an array (n_frames, height, width, 3), a pair "
            "(array, frames a second), a path, or None."
        )
    return _find_array(cell, rate, wanted, limit, n_at_once)
