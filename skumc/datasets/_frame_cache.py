"""Frames of a pickle, converted once to a file that later loads map into memory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from skumc.data import Ragged, digest
from skumc.data._frame_store import writable
from skumc.datasets._errors import DatasetError
from skumc.datasets._features import read_features

_LAYOUT = 1
_PARTIAL = "partial"
_DTYPE = np.dtype("<f4")


def _source(path: Path) -> dict[str, int]:
    """What tells one version of a file from the next."""
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{path} is missing. Put the features there, a pickled dict from key to array "
            "(n_frames, width)."
        ) from error
    return {"layout": _LAYOUT, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _writable(folder: Path) -> AbstractContextManager[None]:
    return writable(folder, "converted features", "cache_folder")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from converting into the folder meanwhile."""
    from filelock import FileLock  # comes with torch

    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _open(slot: Path, source: dict[str, int]) -> Ragged | None:
    """Map a finished conversion; None where there is none of this source."""
    try:
        index = json.loads((slot / "index.json").read_text())
        if index["source"] != source:
            return None
        lengths = np.array(index["lengths"], dtype=np.int64)
        shape = (int(lengths.sum()), index["width"])
        frames = np.memmap(slot / "frames.bin", _DTYPE, "r", shape=shape)
        return Ragged.from_lengths(frames, lengths, checked=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _missing_message(path: Path, keys: Sequence[str], missing: Sequence[str]) -> str:
    return (
        f"{path}, key {missing[0]!r}: no frames for this utterance of the tables "
        f"({len(missing)} of {len(keys)} lack them). Expected a key with frames for each; complete "
        'the file, or pass on_missing="missing" to load these utterances without the modality.'
    )


def _finite(path: Path, key: str, rows: np.ndarray) -> np.ndarray | None:
    """Frames as they are stored; None if they are NaN throughout."""
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(rows, dtype=_DTYPE)
    if np.isfinite(rows).all():
        return rows
    if np.isnan(rows).all():
        return None
    frame = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
    raise DatasetError(
        f"{path}, key {key!r}: NaN or infinite values (as float32) in frame {frame}. Replace them, "
        "or leave out the key."
    )


def _write(
    folder: Path,
    path: Path,
    frames: dict[str, np.ndarray],
    keys: Sequence[str],
    limit: int | None,
) -> list[int]:
    """Write the frames of ``keys``, one behind the other, and give their lengths."""
    lengths = []
    with open(folder / "frames.bin", "wb") as file:
        for key in keys:
            rows = _finite(path, key, frames[key][:limit]) if key in frames else None
            lengths.append(0 if rows is None else len(rows))
            if rows is not None:
                file.write(rows.data)
        file.flush()
        os.fsync(file.fileno())
    return lengths


def _save_index(folder: Path, index: dict) -> None:
    with open(folder / "index.json", "w") as file:
        json.dump(index, file)
        file.flush()
        os.fsync(file.fileno())


def _convert(
    slot: Path, path: Path, keys: Sequence[str], limit: int | None, on_missing: str
) -> Ragged:
    """Write ``slot`` whole or not at all, and map it; the caller holds the lock."""
    source = _source(path)
    frames = read_features(path, keys)
    missing = [key for key in keys if key not in frames]
    if missing and on_missing == "raise":
        raise DatasetError(_missing_message(path, keys, missing))
    partial = slot.with_name(_PARTIAL)
    with _writable(slot.parent):
        shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
        partial.mkdir()
        try:
            lengths = _write(partial, path, frames, keys, limit)
            if not any(lengths):
                raise DatasetError(_missing_message(path, keys, keys))
            width = next(iter(frames.values())).shape[1]
            _save_index(partial, {"source": source, "width": width, "lengths": lengths})
            shutil.rmtree(slot, ignore_errors=True)  # of an earlier version of the pickle
            os.replace(partial, slot)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _open(slot, source)


def load_frames(
    path: Path,
    keys: Sequence[str],
    *,
    name: str,
    limit: int | None,
    on_missing: str,
    cache_folder: Path,
) -> Ragged:
    """Give the frames of utterances, memory-mapped; the first call converts the pickle.

    Parameters
    ----------
    path : Path
        The pickle, as :func:`read_features` takes it.
    keys : sequence of str of length n_samples
    name : str
        Name of the modality.
    limit : int or None
        Frames beyond this number are cut off.
    on_missing : {"raise", "missing"}
    cache_folder : Path
        Made if it is not there.

    Returns
    -------
    Ragged
        float32, checked to be finite; a key without frames, or with nothing but NaN, has length 0.

    Raises
    ------
    FileNotFoundError
        If the pickle is missing.
    DatasetError
        If :func:`read_features` refuses the pickle, values are NaN in part or infinite, or keys
        are missing and may not be.
    OSError
        If the cache folder cannot be written to.

    Notes
    -----
    A conversion lies in a folder of its own, named by the modality and a fingerprint of the keys
    and the limit. It is written under another name, by one process at a time, and renamed when it
    is complete. It counts as long as size and modification time of the pickle stay.
    """
    slot = cache_folder / f"{name}-{digest(str(limit), *keys)}"
    sequences = _open(slot, _source(path))
    if sequences is None:
        with _locked(cache_folder):
            sequences = _open(slot, _source(path))  # another process may have been first
            if sequences is None:
                sequences = _convert(slot, path, keys, limit, on_missing)
    missing = [key for key, length in zip(keys, sequences.lengths, strict=True) if length == 0]
    if missing and on_missing == "raise":
        raise DatasetError(_missing_message(path, keys, missing))
    return sequences
