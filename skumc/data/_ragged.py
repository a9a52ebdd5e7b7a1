"""Sequences of different lengths in one flat array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

_CHUNK_VALUES = 4_000_000  # values looked at together, so that a memory map is never read whole


def _float_dtype(dtype: np.dtype) -> np.dtype:
    """The native float type, of at most 64 bits, that stands for ``dtype``."""
    if dtype.kind != "f":
        return np.result_type(dtype, np.float32)
    return dtype.newbyteorder("=") if dtype.itemsize <= 8 else np.dtype(np.float64)


def _is_memory_mapped(array: np.ndarray) -> bool:
    """Whether the values lie in a file."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def portable(values: np.ndarray) -> np.ndarray:
    """Values to pickle, laid out alike where the content is alike.

    joblib hashes the memory layout too, so values are made contiguous. A memory map that is not
    stays as it is: joblib ships a plain array over it by file name, which a copy would undo.
    """
    values = np.asarray(values)
    if _is_memory_mapped(values) and not values.flags.c_contiguous:
        return values
    return values.ravel().reshape(values.shape)


def resolve_rows(key: Any, n_samples: int) -> np.ndarray:
    """Row numbers, not negative, that an index key stands for."""
    if isinstance(key, slice):
        return np.arange(n_samples)[key]
    key = np.asarray(key)
    if key.size == 0 and key.dtype.kind == "f":
        key = key.astype(np.int64)
    if key.ndim != 1 or key.dtype.kind not in "bui":
        raise IndexError(
            f"Got an index of shape {key.shape} and type {key.dtype}, expected row numbers, a "
            "boolean mask or a slice: X[rows]."
        )
    if key.dtype.kind == "b":
        if len(key) != n_samples:
            raise IndexError(f"Got a mask of length {len(key)} for {n_samples} samples.")
        return np.flatnonzero(key)
    rows = key.astype(np.int64)
    if len(rows) and (rows.min() < -n_samples or rows.max() >= n_samples):
        raise IndexError(f"Row numbers must lie in [{-n_samples}, {n_samples - 1}].")
    return np.where(rows < 0, rows + n_samples, rows)


def frame_chunks(n_frames: int, width: int) -> Iterator[slice]:
    """Cut ``n_frames`` rows of ``width`` values into slices of bounded size.

    Examples
    --------
    >>> list(frame_chunks(100, 8))
    [slice(0, 100, None)]
    """
    step = max(1, _CHUNK_VALUES // max(width, 1))
    for start in range(0, n_frames, step):
        yield slice(start, min(start + step, n_frames))


def sample_chunks(lengths: np.ndarray, width: int) -> Iterator[slice]:
    """Cut samples of ``lengths`` frames of ``width`` values into slices of bounded size.

    A sample that is larger than the bound has a slice to itself.

    Examples
    --------
    >>> list(sample_chunks(np.array([3, 0, 2]), 8))
    [slice(0, 3, None)]
    """
    ends, start = np.cumsum(lengths), 0
    step = max(1, _CHUNK_VALUES // max(width, 1))
    while start < len(ends):
        done = ends[start] - lengths[start]
        stop = max(start + 1, int(np.searchsorted(ends, done + step, side="right")))
        yield slice(start, stop)
        start = stop


class Ragged:
    """Frames of all samples one after the other, and where each sample begins.

    Parameters
    ----------
    values : array-like of shape (n_frames_total, width)
        Frames of all samples in order. Floats are kept as they are, memory maps stay mapped,
        whole numbers become floats.
    offsets : array-like of shape (n_samples + 1,)
        Sample ``i`` has the frames ``values[offsets[i]:offsets[i + 1]]``; a sample without
        frames is missing.
    dtype : dtype, default=None
        Type of the stored values. None is as above.

    Raises
    ------
    ValueError
        If ``values`` is not a matrix of real numbers with at least one column, or ``offsets`` do
        not rise from 0 to the number of frames.

    Examples
    --------
    >>> import numpy as np
    >>> sequences = Ragged(np.arange(6.0).reshape(3, 2), [0, 2, 2, 3])
    >>> len(sequences), sequences.width, sequences.lengths.tolist()
    (3, 2, [2, 0, 1])
    >>> sequences[0]
    array([[0., 1.],
           [2., 3.]])
    """

    def __init__(
        self, values: ArrayLike, offsets: ArrayLike, dtype: DTypeLike | None = None
    ) -> None:
        values = values if isinstance(values, np.memmap) else np.asarray(values)
        if values.ndim != 2 or values.shape[1] == 0 or values.dtype.kind not in "buif":
            raise ValueError(
                f"Got values of shape {values.shape} and type {values.dtype}, expected a matrix of "
                "real numbers, (n_frames_total, width)."
            )
        offsets = np.asarray(offsets, dtype=np.int64)
        if (
            offsets.ndim != 1
            or len(offsets) == 0
            or offsets[0] != 0
            or offsets[-1] != len(values)
            or np.any(np.diff(offsets) < 0)
        ):
            raise ValueError(
                f"Got offsets that do not rise from 0 to the {len(values)} frames; expected "
                "n_samples + 1 whole numbers, the cumulative lengths with a leading 0."
            )
        dtype = _float_dtype(values.dtype) if dtype is None else dtype
        self.values = values.astype(dtype, copy=False)
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, sample: int) -> np.ndarray:
        """Frames of one sample, (n_frames, width); nothing is copied."""
        if not -len(self) <= sample < len(self):
            raise IndexError(f"sample {sample} is out of range for {len(self)} samples")
        sample %= len(self)
        return self.values[self.offsets[sample] : self.offsets[sample + 1]]

    @property
    def width(self) -> int:
        """Number of values in a frame."""
        return self.values.shape[1]

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames of each sample, (n_samples,)."""
        return np.diff(self.offsets)

    def frame_rows(self, rows: np.ndarray) -> np.ndarray | slice:
        """Where the frames of the samples ``rows`` lie, in that order.

        A slice when they lie side by side, so that indexing with it copies nothing.
        """
        starts, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        if len(rows) == 0:
            return slice(0, 0)
        if np.array_equal(starts[1:], starts[:-1] + lengths[:-1]):
            return slice(int(starts[0]), int(starts[-1] + lengths[-1]))
        before = np.cumsum(lengths) - lengths
        return np.repeat(starts - before, lengths) + np.arange(lengths.sum())

    def take(self, rows: np.ndarray) -> Ragged:
        """The samples ``rows``; frames that lie side by side are not copied."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Ragged(self.values[self.frame_rows(rows)], offsets, self.values.dtype)

    def __reduce__(self):
        values = portable(self.values)
        return Ragged, (values, portable(self.offsets), values.dtype)

    def mean_and_scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each feature over all frames, float64, (width,) each.

        A constant feature has scale 1; without frames the mean is 0 and the scale 1.
        """
        n_frames = len(self.values)
        mean, scale = np.zeros(self.width), np.ones(self.width)
        if n_frames == 0:
            return mean, scale
        chunks = list(frame_chunks(n_frames, self.width))
        peak = np.zeros(self.width)
        for chunk in chunks:
            np.maximum(peak, np.abs(self.values[chunk]).max(axis=0), out=peak)
        peak[peak == 0] = 1.0  # in units of it no square overflows or vanishes
        for chunk in chunks:
            mean += (self.values[chunk] / peak).sum(axis=0) / n_frames
        variance = np.zeros(self.width)
        for chunk in chunks:
            variance += np.square(self.values[chunk] / peak - mean).sum(axis=0) / n_frames
        deviation = np.sqrt(variance)
        varies = deviation > 10 * np.finfo(self.values.dtype).eps * np.abs(mean)
        scale[varies] = (deviation * peak)[varies]
        return mean * peak, scale


class RaggedRows(Ragged):
    """Samples of other sequences by row number, with repeats and in any order.

    Frames are looked up where they lie and copied only by :meth:`take` and :attr:`values`.

    Parameters
    ----------
    base : Ragged
    rows : ndarray of int, shape (n_samples,)

    Examples
    --------
    >>> import numpy as np
    >>> base = Ragged(np.arange(3.0).reshape(3, 1), [0, 2, 3])
    >>> RaggedRows(base, np.array([1, 0, 1])).lengths.tolist()
    [1, 2, 1]
    """

    def __init__(self, base: Ragged, rows: np.ndarray) -> None:
        if isinstance(base, RaggedRows):
            base, rows = base._base, base._rows[rows]
        self._base, self._rows = base, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, sample: int) -> np.ndarray:
        """Frames of one sample, (n_frames, width); nothing is copied."""
        return self._base[self._rows[sample]]

    @property
    def width(self) -> int:
        """Number of values in a frame."""
        return self._base.width

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames of each sample, (n_samples,)."""
        offsets = self._base.offsets
        return offsets[self._rows + 1] - offsets[self._rows]

    def take(self, rows: np.ndarray) -> Ragged:
        """The samples ``rows``, one behind the other."""
        return self._base.take(self._rows[rows])

    @property
    def values(self) -> np.ndarray:
        """Frames of all samples in order, copied."""
        return self._base.take(self._rows).values

    @property
    def offsets(self) -> np.ndarray:
        """Where each sample begins in :attr:`values`."""
        return np.concatenate([[0], np.cumsum(self.lengths)])
