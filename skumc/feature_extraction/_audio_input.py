"""Recordings from arrays and files, as mono waveforms at one sampling rate."""

from __future__ import annotations

import os
from functools import partial
from math import gcd
from numbers import Real
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from skumc.data import digest
from skumc.feature_extraction._clips import Clip, UnreadableClip, file_digest
from skumc.feature_extraction._pretrained import require
from skumc.feature_extraction._sound_files import announced_samples, read_sound

_MAX_CHANNELS = 64
_MAX_PEAK = 100.0  # larger floats are PCM cast to float without scaling
# Zero level and full scale of each PCM type.
_PCM = {np.dtype(f"i{size}"): (0.0, 2.0 ** (8 * size - 1)) for size in (1, 2, 4)}
_PCM[np.dtype("u1")] = (128.0, 128.0)


def _scaled(samples: np.ndarray) -> np.ndarray:
    """Convert floats and PCM integers to float32 in [-1, 1]."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    native = samples.dtype.newbyteorder("=")
    if native not in _PCM:
        raise UnreadableClip(
            f"got an array of type {samples.dtype}, expected floats in [-1, 1] or PCM of type int8,"
            " uint8, int16 or int32"
        )
    zero, full_scale = _PCM[native]
    return ((samples - zero) / full_scale).astype(np.float32)


def to_mono(samples: Any) -> np.ndarray | None:
    """Convert a recording to one float32 channel.

    Parameters
    ----------
    samples : array-like of shape (n_samples,) or (n_samples, n_channels)
        Floats in [-1, 1], or PCM of type int8, uint8, int16 or int32. Channels are averaged.

    Returns
    -------
    ndarray of float32, shape (n_samples,), or None
        None if there are no samples or all are NaN.

    Raises
    ------
    UnreadableClip
        If the shape, type or range is another, or some samples are NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> to_mono(np.array([[16384, 0], [-32768, -32768]], dtype=np.int16))
    array([ 0.25, -1.  ], dtype=float32)
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > _MAX_CHANNELS):
        raise UnreadableClip(
            f"got an array of shape {samples.shape}, expected (n_samples,) or (n_samples, "
            f"n_channels) with at most {_MAX_CHANNELS} channels; transpose it if channels come "
            "first"
        )
    if samples.size == 0 or (samples.dtype.kind == "f" and np.isnan(samples).all()):
        return None
    samples = _scaled(samples)
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    if not np.isfinite(mono).all():
        n_bad = int((~np.isfinite(mono)).sum())
        raise UnreadableClip(f"{n_bad} of {len(mono)} samples are NaN or infinite")
    peak = np.abs(mono).max()
    if peak > _MAX_PEAK:
        raise UnreadableClip(
            f"float samples reach {peak:.0f}, expected [-1, 1]; divide 16-bit PCM by 32768, or "
            "pass it as int16"
        )
    return mono


def resample(wave: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resample a waveform with a polyphase low-pass filter.

    Parameters
    ----------
    wave : ndarray of shape (n_samples,)
    rate : int
        Sampling rate of ``wave``, in Hz.
    new_rate : int
        Sampling rate of the result, in Hz.

    Returns
    -------
    ndarray of float32, shape (ceil(n_samples * new_rate / rate),)

    Examples
    --------
    >>> import numpy as np
    >>> resample(np.ones(800, dtype=np.float32), 8000, 16000).shape
    (1600,)
    """
    if rate == new_rate:
        return wave
    divisor = gcd(rate, new_rate)
    return resample_poly(wave, new_rate // divisor, rate // divisor).astype(np.float32, copy=False)


def _checked_rate(rate: Any) -> int:
    is_number = isinstance(rate, Real)
    if not is_number or not 0 < rate < 2**31 or rate != int(rate):
        raise ValueError(f"got sampling rate {rate!r}, expected a whole number of Hz above 0.")
    return int(rate)


def _max_samples(rate: int, max_seconds: float | None) -> int | None:
    """Return the maximum number of samples to read."""
    return None if max_seconds is None else max(1, round(max_seconds * rate))


def _n_resampled(n_samples: int, rate: int, new_rate: int, max_seconds: float | None) -> int:
    """Return the number of samples after truncation and resampling."""
    limit = _max_samples(rate, max_seconds)
    n_samples = n_samples if limit is None else min(n_samples, limit)
    return -(-n_samples * new_rate // rate)


def _resampled(wave: np.ndarray | None, rate: int, new_rate: int) -> np.ndarray:
    return np.zeros(0, np.float32) if wave is None else resample(wave, rate, new_rate)


def _read_array(samples: Any, rate: int, new_rate: int, max_seconds: float | None) -> np.ndarray:
    wave = to_mono(samples)
    beginning = None if wave is None else wave[: _max_samples(rate, max_seconds)]
    return _resampled(beginning, rate, new_rate)


def _read_file(path: Any, new_rate: int, max_seconds: float | None) -> np.ndarray:
    sound = read_sound(path, max_seconds)
    try:
        wave = to_mono(sound.samples)
    except UnreadableClip as error:
        raise UnreadableClip(f"{os.fspath(path)!r}: {error}") from error
    return _resampled(wave, sound.rate, new_rate)


def _find_file(path: Any, new_rate: int, max_seconds: float | None) -> Clip | None:
    require("soundfile", "audio", "Reading audio files")
    key = file_digest(path)
    size = announced_samples(path)
    if size is None:  # no length in the header: look
        sound = read_sound(path, max_seconds)
        size = len(sound.samples), sound.rate
    if size[0] == 0:
        return None
    n_samples = _n_resampled(*size, new_rate, max_seconds)
    return Clip(digest("file", key), n_samples, partial(_read_file, path, new_rate, max_seconds))


def find_recording(
    cell: Any, default_rate: int | None, new_rate: int, max_seconds: float | None
) -> Clip | None:
    """Identify the recording in a cell; its decoded samples are not kept.

    Parameters
    ----------
    cell : array-like, (array-like, rate) or path
        See :func:`to_mono` for arrays.
    default_rate : int or None
        Sampling rate of arrays without one of their own, in Hz.
    new_rate : int
        Sampling rate of the result, in Hz.
    max_seconds : float or None
        Maximum duration in seconds; the rest is not read. None reads all.

    Returns
    -------
    Clip or None
        ``read`` returns float32 samples, (n_samples,). None is an empty recording.

    Raises
    ------
    UnreadableClip
        If the file or the array is invalid.
    ValueError
        If the cell is not a recording, or an array has no sampling rate.
    """
    if isinstance(cell, (str, os.PathLike)):
        return _find_file(cell, new_rate, max_seconds)
    rate = default_rate
    if isinstance(cell, tuple) and len(cell) == 2 and np.ndim(cell[0]) > 0:
        cell, rate = cell
    if isinstance(cell, (Real, bytes, dict)) or not hasattr(cell, "__len__"):
        raise ValueError(
            f"got {type(cell).__name__}, expected an array of samples, a pair (array, rate), a "
            "path, or None."
        )
    if rate is None:
        raise ValueError(
            "got an array of samples without its rate. Pass sampling_rate=, in Hz, or a pair "
            "(array, rate)."
        )
    rate = _checked_rate(rate)
    wave = to_mono(cell)
    if wave is None:
        return None
    read = partial(_read_array, cell, rate, new_rate, max_seconds)
    key = digest("array", str(rate), wave.tobytes())
    return Clip(key, _n_resampled(len(wave), rate, new_rate, max_seconds), read)
