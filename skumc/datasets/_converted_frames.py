"""Frames of a pickle, converted once to a :class:`~skumc.data.FrameStore` in a cache folder."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock  # comes with torch

from skumc.data import FrameStore, Ragged, digest, versioned
from skumc.data._folders import locked_folder, writable
from skumc.datasets._errors import DatasetError
from skumc.datasets._features import read_features

_PARTIAL = "partial"
_CONTENT, _ARGUMENT = "converted features", "cache_folder"
_TURN_SECONDS = 3.0  # for which a process waits for the conversion of another


def _source(path: Path) -> dict[str, int]:
    """Describe the version of a file."""
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{path} is missing. Put the features there, a pickled dict from key to array "
            "(n_frames, width)."
        ) from error
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _read(slot: Path, source: Mapping[str, int], keys: Sequence[str]) -> Ragged:
    """Map a finished conversion of this source."""
    return FrameStore.existing(slot, source).take([digest(key) for key in keys])


def _open(slot: Path, source: Mapping[str, int], keys: Sequence[str]) -> Ragged | None:
    """Map a finished conversion; None where there is none of this source, or a damaged one."""
    try:
        return _read(slot, source, keys)
    except (OSError, LookupError, TypeError, ValueError):
        return None


def _missing_message(path: Path, keys: Sequence[str], missing: Sequence[str]) -> str:
    return (
        f"{path}, key {missing[0]!r}: no frames for this utterance of the tables "
        f"({len(missing)} of {len(keys)} lack them). Expected a key with frames for each; complete "
        'the file, or pass on_missing="missing" to load these utterances without the modality.'
    )


def _checked(path: Path, key: str, rows: np.ndarray) -> np.ndarray:
    """Convert frames to finite float32; frames that are NaN throughout are left out."""
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(rows, dtype=np.float32)
    if np.isfinite(rows).all():
        return rows
    if np.isnan(rows).all():
        return rows[:0]
    frame = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
    raise DatasetError(
        f"{path}, key {key!r}: NaN or infinite values (as float32) in frame {frame}. Replace them, "
        "or leave out the key."
    )


def _write(
    store: FrameStore,
    path: Path,
    frames: Mapping[str, np.ndarray],
    keys: Sequence[str],
    limit: int | None,
) -> bool:
    """Store the frames of ``keys`` in that order, and tell whether there are any."""
    lengths = []

    def pieces() -> Iterator[tuple[str, np.ndarray]]:
        for key in keys:
            rows = frames.get(key, np.zeros((0, store.width), np.float32))
            rows = _checked(path, key, rows[:limit])
            lengths.append(len(rows))
            yield digest(key), rows

    store.add(pieces())
    return any(lengths)


def _lock_of(partial: Path) -> FileLock:
    return FileLock(partial.with_name(f"{partial.name}.lock"))


def _clear(cache_folder: Path) -> None:
    """Delete what killed processes left: their locks are free."""
    for partial in filter(Path.is_dir, cache_folder.glob(f"{_PARTIAL}*")):
        with suppress(OSError), _lock_of(partial).acquire(0):
            shutil.rmtree(partial, ignore_errors=True)
            partial.with_name(f"{partial.name}.lock").unlink(missing_ok=True)


@contextmanager
def _new_folder(cache_folder: Path) -> Iterator[Path]:
    """Name a folder that no other process uses; what is there in the end is deleted."""
    cache_folder.mkdir(parents=True, exist_ok=True)
    _clear(cache_folder)
    partial = cache_folder / f"{_PARTIAL}-{uuid.uuid4().hex}"
    with _lock_of(partial):
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            partial.with_name(f"{partial.name}.lock").unlink(missing_ok=True)


def _put_into_place(partial: Path, slot: Path) -> None:
    """Rename a finished folder, in the place of an older one."""
    old = partial.with_name(f"{partial.name}-old")
    with suppress(FileNotFoundError):
        os.replace(slot, old)
    try:
        os.replace(partial, slot)
    except OSError:
        if not slot.is_dir():  # another process may have been first, with the same frames
            raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _turn(cache_folder: Path) -> Iterator[None]:
    """Let processes convert one after another, unless one takes long or hangs."""
    with ExitStack() as stack:
        with suppress(TimeoutError):
            stack.enter_context(locked_folder(cache_folder, _CONTENT, _ARGUMENT, _TURN_SECONDS))
        yield


def _convert(
    slot: Path, path: Path, keys: Sequence[str], limit: int | None, on_missing: str
) -> Ragged:
    """Write ``slot`` completely or not at all, and map it."""
    source = _source(path)
    frames = read_features(path, keys)
    missing = [key for key in keys if key not in frames]
    if missing and on_missing == "raise":
        raise DatasetError(_missing_message(path, keys, missing))
    if not frames:
        raise DatasetError(_missing_message(path, keys, keys))
    width = next(iter(frames.values())).shape[1]
    with writable(slot.parent, _CONTENT, _ARGUMENT), _new_folder(slot.parent) as partial:
        if not _write(FrameStore(partial, width, source, _ARGUMENT), path, frames, keys, limit):
            raise DatasetError(_missing_message(path, keys, keys))
        _put_into_place(partial, slot)
    return _read(slot, source, keys)


def load_frames(
    path: Path,
    keys: Sequence[str],
    *,
    name: str,
    limit: int | None,
    on_missing: str,
    cache_folder: Path,
) -> Ragged:
    """Load the frames of utterances, memory-mapped; the first call converts the pickle.

    Parameters
    ----------
    path : Path
        The pickle, as :func:`read_features` takes it.
    keys : sequence of str of length n_samples
        Keys of the utterances.
    name : str
        Name of the modality.
    limit : int or None
        Number of frames per utterance after which the rest is cut off.
    on_missing : {"raise", "missing"}
        Whether an utterance without frames is an error.
    cache_folder : Path
        Folder for conversions; made if it is not there.

    Returns
    -------
    Ragged
        float32, checked to be finite; a key without frames, or with only NaN, has length 0.

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
    A conversion has a folder of its own, named by the modality and a fingerprint of the keys and
    the limit. It is written under another name and renamed when it is complete. A process waits
    for the conversion of another for a few seconds, then makes its own. A conversion is valid as
    long as size and modification time of the pickle stay the same and its checksums fit its frames.
    """
    slot = cache_folder / versioned(f"{name}-{digest(str(limit), *keys)}")
    sequences = _open(slot, _source(path), keys)
    if sequences is None:
        with _turn(cache_folder):
            sequences = _open(slot, _source(path), keys)  # another process may have been first
            if sequences is None:
                sequences = _convert(slot, path, keys, limit, on_missing)
    missing = [key for key, length in zip(keys, sequences.lengths, strict=True) if length == 0]
    if missing and on_missing == "raise":
        raise DatasetError(_missing_message(path, keys, missing))
    return sequences
