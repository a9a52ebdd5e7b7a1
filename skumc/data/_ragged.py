"""Ragged sequences: frames of samples of different lengths in one flat array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

_CHUNK_VALUES = 4_000_000  # values processed at a time, so that a memory map is never read whole


def _float_dtype(dtype: np.dtype) -> np.dtype:
    """Return the native float type of at most 64 bits that represents ``dtype``."""
    if dtype.kind != "f":
        return np.result_type(dtype, np.float32)
    return dtype.newbyteorder("=") if dtype.itemsize <= 8 else np.dtype(np.float64)


def _is_memory_mapped(array: np.ndarray) -> bool:
    """Whether the values lie in a file."""
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


def _portable(values: np.ndarray) -> np.ndarray:
    """Normalize the memory layout of values to pickle, so that equal content hashes equal.

    joblib hashes the memory layout too, so values are made contiguous. A memory map that is not
    contiguous stays as it is: joblib ships it by file name, which a copy would prevent.
    """
    values = np.asarray(values)
    if _is_memory_mapped(values) and not values.flags.c_contiguous:
        return values
    return values.ravel().reshape(values.shape)


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

    A sample larger than the bound gets a slice of its own.

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
    """Sequences of frames, one per sample, in one flat array.

    Parameters
    ----------
    values : array-like of shape (n_frames_total, width)
        Frames of all samples in order. Floats keep their type, memory maps stay mapped, whole
        numbers become floats.
    offsets : array-like of shape (n_samples + 1,)
        Sample ``i`` has the frames ``values[offsets[i]:offsets[i + 1]]``; a sample without
        frames is missing.
    dtype : dtype, default=None
        Type of the stored values, int64 for token ids. None is the float type described above.
    checked : bool, default=False
        Whether the values are known to be finite. :class:`MultimodalData` then does not scan
        them, which would read a memory map whole.

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
        self,
        values: ArrayLike,
        offsets: ArrayLike,
        dtype: DTypeLike | None = None,
        *,
        checked: bool = False,
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
                f"Got offsets that do not rise from 0 to the {len(values)} frames, expected "
                "n_samples + 1 whole numbers: the cumulative lengths with a leading 0."
            )
        dtype = _float_dtype(values.dtype) if dtype is None else dtype
        self._set(values.astype(dtype, copy=False), offsets[:-1], offsets[1:], checked)

    def _set(
        self, frames: np.ndarray, starts: np.ndarray, stops: np.ndarray, checked: bool
    ) -> None:
        self._frames = frames  # in a view, also of other samples and in another order
        self._starts, self._stops = starts, stops
        self.checked = checked

    @classmethod
    def from_lengths(
        cls,
        values: ArrayLike,
        lengths: ArrayLike,
        dtype: DTypeLike | None = None,
        *,
        checked: bool = False,
    ) -> Ragged:
        """Build from the number of frames per sample instead of offsets.

        Examples
        --------
        >>> Ragged.from_lengths([[1.0], [2.0], [3.0]], [2, 0, 1]).offsets.tolist()
        [0, 2, 2, 3]
        """
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return cls(values, offsets, dtype, checked=checked)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, sample: int) -> np.ndarray:
        """Return the frames of one sample, (n_frames, width), without copying."""
        if not -len(self) <= sample < len(self):
            raise IndexError(f"sample {sample} is out of range for {len(self)} samples")
        return self._frames[self._starts[sample] : self._stops[sample]]

    @property
    def width(self) -> int:
        """Number of values per frame."""
        return self._frames.shape[1]

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames of each sample, (n_samples,)."""
        return self._stops - self._starts

    @property
    def values(self) -> np.ndarray:
        """Frames of all samples in order, (n_frames_total, width).

        Copied unless the samples are adjacent in memory, as they are except in a :meth:`view`.
        """
        return self._frames[self.frame_rows(np.arange(len(self)))]

    @property
    def offsets(self) -> np.ndarray:
        """Start of each sample in :attr:`values`, and their end, (n_samples + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def frame_rows(self, rows: np.ndarray) -> np.ndarray | slice:
        """Locate the frames of the samples ``rows``, in that order, in the flat array.

        A slice if the samples are adjacent, so that indexing with it copies nothing.
        """
        starts, lengths = self._starts[rows], self._stops[rows] - self._starts[rows]
        if len(rows) == 0:
            return slice(0, 0)
        if np.array_equal(starts[1:], starts[:-1] + lengths[:-1]):
            return slice(int(starts[0]), int(starts[-1] + lengths[-1]))
        before = np.cumsum(lengths) - lengths
        return np.repeat(starts - before, lengths) + np.arange(lengths.sum())

    def take(self, rows: np.ndarray) -> Ragged:
        """Pack the samples ``rows`` one after another; adjacent ones are not copied."""
        values = self._frames[self.frame_rows(rows)]
        lengths = self._stops[rows] - self._starts[rows]
        return Ragged.from_lengths(values, lengths, values.dtype, checked=self.checked)

    def view(self, rows: np.ndarray) -> Ragged:
        """Select the samples ``rows``, in any order and with repeats, without copying frames.

        Examples
        --------
        >>> sequences = Ragged([[0.0], [1.0], [2.0]], [0, 2, 3])
        >>> sequences.view(np.array([1, 0, 1])).values.ravel().tolist()
        [2.0, 0.0, 1.0, 2.0]
        """
        view = Ragged.__new__(Ragged)
        view._set(self._frames, self._starts[rows], self._stops[rows], self.checked)
        return view

    def mean_and_scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute mean and standard deviation per feature over all frames, float64, (width,) each.

        A constant feature has scale 1; without frames the mean is 0 and the scale 1.
        """
        values = self.values
        mean, scale = np.zeros(self.width), np.ones(self.width)
        if len(values) == 0:
            return mean, scale
        chunks = list(frame_chunks(len(values), self.width))
        peak = np.zeros(self.width)
        for chunk in chunks:
            np.maximum(peak, np.abs(values[chunk]).max(axis=0), out=peak)
        peak[peak == 0] = 1.0  # in units of the peak no square overflows or vanishes
        for chunk in chunks:
            mean += (values[chunk] / peak).sum(axis=0) / len(values)
        variance = np.zeros(self.width)
        for chunk in chunks:
            variance += np.square(values[chunk] / peak - mean).sum(axis=0) / len(values)
        deviation = np.sqrt(variance)
        varies = deviation > 10 * np.finfo(values.dtype).eps * np.abs(mean)
        scale[varies] = (deviation * peak)[varies]
        return mean * peak, scale

    def __reduce__(self) -> tuple:
        values = _portable(self.values)
        return Ragged, (values, _portable(self.offsets), values.dtype)
