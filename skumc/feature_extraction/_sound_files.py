"""Sound files: what they hold, and what their headers announce."""

from __future__ import annotations

import importlib
import os
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from skumc.feature_extraction._clips import UnreadableClip, check_length
from skumc.feature_extraction._pretrained import require

_BLOCK = 1 << 16  # samples that are decoded together, so that those before damage are kept
_CODEC_FRAME = 4096  # samples: no format here has longer frames, and some announce whole ones
_UNKNOWN = {0, 0xFFFFFFFF, 0x7FFFFFFF, 2**64 - 1}  # lengths of streams, whatever their number
_ENDLESS = 1 << 48  # samples: longer sounds are streams of unknown length
_ENDS_WITH = 1 << 16  # bytes in which the last page of an Ogg file begins


class Sound(NamedTuple):
    """Decoded samples of a file.

    Attributes
    ----------
    samples : ndarray of float32, shape (n_samples, n_channels)
    rate : int
        Samples per second.
    """

    samples: np.ndarray
    rate: int


def _find_chunk(
    file: BinaryIO, wanted: bytes, n_name: int, n_size: int, order: str, align: int
) -> tuple[int, int] | None:
    """Find a chunk: its announced number of bytes, and the place of its content."""
    while len(head := file.read(n_name + n_size)) == n_name + n_size:
        size = int.from_bytes(head[n_name:], order)  # type: ignore[arg-type]  # a literal below
        if head[:4] == wanted:
            return size, file.tell()
        if align == 8:  # W64 counts the head too
            size -= n_name + n_size
        file.seek(max(size, 0) + -max(size, 0) % align, os.SEEK_CUR)
    return None


def announced_share(path: Any) -> float | None:
    """Return the share of the announced bytes of sound that a file without compression holds.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    float or None
        None if the format is another, or the file announces no length. 1 if nothing is missing.
    """
    with open(path, "rb") as file:
        head = file.read(40)
        start, kind = head[:4], head[8:12]
        found: tuple[int, int] | None = None
        if start in (b"RIFF", b"RF64", b"BW64"):
            file.seek(12)
            found = _find_chunk(file, b"data", 4, 4, "little", 2)
            if found and found[0] == 0xFFFFFFFF and start != b"RIFF":
                file.seek(12)
                wide = _find_chunk(file, b"ds64", 4, 4, "little", 2)
                if wide:
                    file.seek(wide[1] + 8)
                    found = int.from_bytes(file.read(8), "little"), found[1]
        elif start == b"riff":
            file.seek(40)
            found = _find_chunk(file, b"data", 16, 8, "little", 8)
            found = found and (found[0] - 24, found[1])
        elif start == b"FORM" and kind in (b"AIFF", b"AIFC"):
            file.seek(12)
            found = _find_chunk(file, b"SSND", 4, 4, "big", 2)
            found = found and (found[0] - 8, found[1] + 8)
        elif start == b"caff":
            file.seek(8)
            found = _find_chunk(file, b"data", 4, 8, "big", 1)
            found = found and (found[0] - 4, found[1] + 4)
        elif start == b".snd":
            found = int.from_bytes(head[8:12], "big"), int.from_bytes(head[4:8], "big")
        if found is None or found[0] <= 0 or found[0] in _UNKNOWN:
            return None
        there = max(os.path.getsize(path) - found[1], 0)
        return min(there / found[0], 1.0)


def _ogg_is_cut(path: Any) -> bool:
    """Tell whether the last page of an Ogg file is not whole, or lacks the end-of-stream mark."""
    with open(path, "rb") as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(max(os.path.getsize(path) - _ENDS_WITH, 0))
        end = file.read()
    place = end.rfind(b"OggS")
    if place < 0 or len(end) < place + 27:
        return True
    n_segments = end[place + 26]
    sizes = end[place + 27 : place + 27 + n_segments]
    is_whole = len(sizes) == n_segments and len(end) >= place + 27 + n_segments + sum(sizes)
    return not (is_whole and end[place + 5] & 4)


def announced_samples(path: Any) -> tuple[int, int] | None:
    """Return the number of samples and the rate that a header announces; None if it does not."""
    soundfile = require("soundfile", "audio", "Reading audio files")
    try:
        info = soundfile.info(os.fspath(path))
    except (OSError, RuntimeError, TypeError, ValueError):
        return None
    return (info.frames, info.samplerate) if 0 < info.frames < _ENDLESS else None


def _limit(rate: int, max_seconds: float | None) -> int | None:
    """Return the maximum number of samples to read."""
    return None if max_seconds is None else max(1, round(max_seconds * rate))


class _Decoded(NamedTuple):
    """Sound, the announced number of samples (0 if unknown), and what stopped the decoder."""

    sound: Sound
    announced: int
    failure: str | None


def _by_soundfile(path: Any, max_seconds: float | None) -> _Decoded:
    """Decode with soundfile, block by block, up to the first damage."""
    soundfile = require("soundfile", "audio", "Reading audio files")
    blocks: list[np.ndarray] = []
    n_read, failure = 0, None
    with soundfile.SoundFile(os.fspath(path)) as file:
        limit = _limit(file.samplerate, max_seconds)
        while limit is None or n_read < limit:
            size = _BLOCK if limit is None else min(_BLOCK, limit - n_read)
            try:
                block = file.read(size, dtype="float32", always_2d=True)
            except (RuntimeError, OSError) as error:
                failure = str(error) or type(error).__name__
                break
            blocks.append(block)
            n_read += len(block)
            if len(block) < size:
                break
        samples = np.concatenate(blocks or [np.zeros((0, file.channels), np.float32)])
        announced = file.frames if file.frames < _ENDLESS else 0
        return _Decoded(Sound(samples, file.samplerate), announced, failure)


def _by_av(path: Any, max_seconds: float | None) -> _Decoded | None:
    """Decode the first sound of any container; None without av, or where it cannot either."""
    try:
        av = importlib.import_module("av")
    except ImportError:
        return None
    blocks: list[np.ndarray] = []
    n_read, failure = 0, None
    try:
        with av.open(os.fspath(path)) as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None:
                return None
            limit, announced = _limit(stream.rate, max_seconds), 0
            if stream.duration is not None:
                announced = round(float(stream.duration * stream.time_base) * stream.rate)
            floats = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            try:
                for frame in container.decode(stream):
                    parts = [part.to_ndarray().T for part in floats.resample(frame)]
                    blocks += parts
                    n_read += sum(map(len, parts))
                    if limit is not None and n_read >= limit:
                        break
            except av.error.FFmpegError as error:
                failure = str(error)
            samples = np.concatenate(blocks or [np.zeros((0, 1), np.float32)])[:limit]
            sound = Sound(np.ascontiguousarray(samples, np.float32), stream.rate)
            return _Decoded(sound, announced, failure)
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def read_sound(path: Any, max_seconds: float | None = None) -> Sound:
    """Decode what a sound file holds, whatever its header announces.

    Parameters
    ----------
    path : str or path
    max_seconds : float, default=None
        Maximum duration in seconds; the rest is not read. None reads all.

    Returns
    -------
    Sound

    Raises
    ------
    UnreadableClip
        If nothing can be decoded, or less than half of the announced length.

    Warns
    -----
    RuntimeWarning
        If the sound ends early or is damaged.
    """
    found: _Decoded | None = None
    problem: Exception | None = None
    try:
        found = _by_soundfile(path, max_seconds)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        problem = error
    if found is None or not len(found.sound.samples):  # another format, or a length of 0
        found = _by_av(path, max_seconds) or found
    if found is None:
        raise UnreadableClip(f"{os.fspath(path)!r}: {problem}") from problem
    _compare(path, found, _limit(found.sound.rate, max_seconds))
    return found.sound


def _compare(path: Any, found: _Decoded, limit: int | None) -> None:
    """Warn or raise if the sound is shorter than announced."""
    n_samples, rate = len(found.sound.samples), found.sound.rate
    if limit is not None and n_samples >= limit:
        return
    share = announced_share(path)
    announced, tolerance = found.announced, _CODEC_FRAME
    if share:
        announced, tolerance = round(n_samples / share), 1
    announced = announced if limit is None else min(announced, limit)
    failure = found.failure
    if failure is None and _ogg_is_cut(path):
        failure = "the end of the stream is missing"
    if failure or announced - n_samples > tolerance:
        announced = announced if announced > n_samples else 0
        check_length(path, n_samples / rate, announced / rate, failure)
