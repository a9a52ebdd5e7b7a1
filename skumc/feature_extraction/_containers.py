"""Images of video and picture files, as they are meant to be seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from skumc.feature_extraction._clips import UnreadableClip, check_length
from skumc.feature_extraction._pretrained import require

_PICTURES = {"image2"}  # demuxers of single pictures, besides those that end in "_pipe"


def timed_images(path: Any) -> Iterator[tuple[float, Any]]:
    """Yield the time in seconds and a function that makes the image, of each frame of a file.

    Parameters
    ----------
    path : str or path
        A video: its first stream that is not a cover, rotated for display. Or a picture, turned as
        its EXIF orientation says.

    Yields
    ------
    time : float
    make : callable
        Returns the image, uint8 of shape (height, width, 3).

    Raises
    ------
    UnreadableClip
        If nothing can be decoded, or less than half of the announced length.

    Warns
    -----
    RuntimeWarning
        If the video ends early or is damaged.
    """
    av = require("av", "video", "Reading video files")
    try:
        with av.open(os.fspath(path)) as container:
            if container.format.name.endswith("_pipe") or container.format.name in _PICTURES:
                yield 0.0, lambda: _picture(path)
                return
            yield from _video_frames(av, path, container)
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableClip(f"{os.fspath(path)!r}: {error}") from error


def _picture(path: Any) -> np.ndarray:
    """Decode a picture file."""
    image = require("PIL.Image", "video", "Reading picture files")
    operations = require("PIL.ImageOps", "video", "Reading picture files")
    try:
        with image.open(os.fspath(path)) as picture:
            upright = operations.exif_transpose(picture)
            return np.array(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as error:
        raise UnreadableClip(f"{os.fspath(path)!r}: {error}") from error


def _video_frames(av: Any, path: Any, container: Any) -> Iterator[tuple[float, Any]]:
    """Yield the frames of the first real video stream; compare their number at the end."""
    is_cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & is_cover]
    if not streams:
        what = "no video but a cover picture" if container.streams.video else "no video"
        raise UnreadableClip(f"{os.fspath(path)!r}: the file holds {what}")
    stream = streams[0]
    stream.thread_type = "AUTO"
    rate = float(stream.average_rate or 1)
    n_frames, first, time, failure = 0, 0.0, 0.0, None
    try:
        for frame in container.decode(stream):
            time = n_frames / rate if frame.time is None else frame.time
            first = time if n_frames == 0 else first
            n_frames += 1
            yield time, lambda frame=frame: _upright(frame)
    except av.error.FFmpegError as error:
        failure = str(error)
    announced = stream.frames / rate or _announced_seconds(container, stream)
    seconds = n_frames / rate if stream.frames else (time - first + 1 / rate) * bool(n_frames)
    if failure or n_frames == 0 or announced - seconds > 1.5 / rate:
        check_length(path, seconds, announced, failure)


def _announced_seconds(container: Any, stream: Any) -> float:
    """Return the length that the file announces for a stream, 0 if it announces none."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    hours, _, rest = str(stream.metadata.get("DURATION", "")).partition(":")  # of Matroska
    minutes, _, seconds = rest.partition(":")
    try:
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        is_alone = len(container.streams) == 1 and container.duration
        return container.duration / 1e6 if is_alone else 0.0


def _upright(frame: Any) -> np.ndarray:
    """Convert a frame to an image, rotated counterclockwise as the file says."""
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
