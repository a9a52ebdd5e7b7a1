"""Read the frames of utterances from a pickled dict of features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skumc.datasets._errors import DatasetError
from skumc.datasets._pickle_reader import read_pickle

_NUMBERS = {bool, int, float}
# A pickle may hold one array under many keys, but not so often that copies of it fill the disk.
_FREE_VALUES, _VALUES_PER_BYTE = 2_000_000, 4


class _ValueCounter:
    """Count numbers and lists, shared ones as often as they occur; each list is read once.

    Results are kept by ``id``, so the content must stay in memory.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], int] = {}

    def count(self, content: Any, depth: int = 3) -> int:
        """Count down to lists of lists of lists."""
        if isinstance(content, np.ndarray):
            return content.size
        if not isinstance(content, list):
            return 1
        key = id(content), depth
        if key not in self._known:
            inner = sum(self.count(row, depth - 1) for row in content) if depth > 1 else 0
            self._known[key] = len(content) + inner
        return self._known[key]


def _vector(row: Any) -> np.ndarray:
    """Convert a list of numbers, an array, or a list of one of these to one frame."""
    if isinstance(row, list) and len(row) == 1 and isinstance(row[0], (list, np.ndarray)):
        row = row[0]
    if isinstance(row, list) and not set(map(type, row)) <= _NUMBERS:
        raise TypeError("a list that holds more than numbers")
    if not isinstance(row, (list, np.ndarray)):
        raise TypeError(f"a {type(row).__name__} where a frame should be")
    return np.asarray(row, dtype=np.float64)


def _stacked(rows: list[Any]) -> np.ndarray:
    """Convert rows to a matrix; a row that occurs several times is converted once."""
    if not rows:
        return np.zeros((0, 1))
    vectors: dict[int, np.ndarray] = {}
    for row in rows:
        if id(row) not in vectors:
            vectors[id(row)] = _vector(row)
    return np.stack([vectors[id(row)] for row in rows])


def _matrix(content: Any) -> np.ndarray:
    """Convert the content of one key to frames (n_frames, width); size 0 without frames."""
    if isinstance(content, list):
        content = _stacked(content)
    if not isinstance(content, np.ndarray):
        raise TypeError(f"got {type(content).__name__}")
    if content.ndim == 3 and content.shape[1] == 1:
        content = content[:, 0]
    if content.ndim != 2:
        raise ValueError(f"got an array of shape {content.shape}")
    return content


def _check_widths(path: Path, frames: Mapping[str, np.ndarray]) -> None:
    """Compare widths across keys; the rarer one is reported."""
    widths = Counter(rows.shape[1] for rows in frames.values())
    usual = widths.most_common(1)[0][0]
    for key, rows in frames.items():
        if rows.shape[1] != usual:
            other = next(key for key, rows in frames.items() if rows.shape[1] == usual)
            raise DatasetError(
                f"{path}, key {key!r}: got frames of width {rows.shape[1]}, expected {usual} as "
                f"under {other!r} ({widths[usual]} of {len(frames)} keys). Extract the features "
                "of this utterance again."
            )


def _read_dict(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Read a pickled dict that has one of the keys."""
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise DatasetError(
            f"{path}: got a pickled {type(content).__name__}, expected a dict from key to array "
            "(n_frames, width)."
        )
    if not any(key in content for key in keys):
        has = f"keys such as {next(iter(content))[:100]!r}" if content else "no keys"
        raise DatasetError(
            f"{path}, key {keys[0]!r}: the pickle has none of the {len(keys)} utterances of the "
            f"tables; it has {has}. Check that the file belongs to them."
        )
    return content


def read_features(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the frames of the utterances ``keys`` from a pickle.

    Parameters
    ----------
    path : Path
        A pickled dict from key to (n_frames, width) or (n_frames, 1, width), as an array or as
        lists.
    keys : sequence of str
        Keys to read; other keys of the pickle are ignored.

    Returns
    -------
    frames : dict of str to ndarray of shape (n_frames, width)
        One entry per key that is in the pickle and has frames, all of one width.

    Raises
    ------
    UnsafePickleError
        If the pickle holds more than plain data.
    DatasetError
        If the pickle cannot be read, holds no dict, has none of the keys, holds something other
        than frames under one of them, has frames of different widths, or describes far more
        numbers than fit into the file by repeating some.
    """
    content = _read_dict(path, keys)
    frames, n_values = {}, 0
    limit = _FREE_VALUES + _VALUES_PER_BYTE * path.stat().st_size
    counter = _ValueCounter()
    for key in keys:
        if key not in content:
            continue
        n_values += counter.count(content[key])
        if n_values > limit:
            raise DatasetError(
                f"{path}, key {key!r}: up to here the pickle describes {n_values} numbers, far "
                "more than fit into the file, by repeating some. Give every key its own frames."
            )
        try:
            matrix = _matrix(content[key])
        except (TypeError, ValueError, OverflowError) as error:
            raise DatasetError(
                f"{path}, key {key!r}: {error}; expected frames of numbers, (n_frames, width) or "
                "(n_frames, 1, width)."
            ) from error
        if matrix.size:
            frames[key] = matrix
    if frames:
        _check_widths(path, frames)
    return frames
