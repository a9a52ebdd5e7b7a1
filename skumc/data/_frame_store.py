"""Frames that were computed once, found again by what they were computed from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from skumc.data._ragged import Ragged

DIGEST_SIZE = 16
_RECORD = np.dtype([("digest", f"S{2 * DIGEST_SIZE}"), ("n_frames", "<i8")])
_LAYOUT = 1


def digest(*parts: bytes | str) -> str:
    """Fingerprint of some bytes; equal parts give equal fingerprints on every machine.

    Examples
    --------
    >>> digest("a", b"bc") == digest(b"a", "bc") != digest("ab", "c")
    True
    """
    state = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


@contextmanager
def writable(folder: Path, what: str, argument: str) -> Iterator[None]:
    """Turn what the operating system says into what the user can do about it."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"Cannot write {what} to {folder} ({error}). Name a folder with permission to write "
            f"and enough space as {argument}."
        ) from error


class FrameStore:
    """Sequences of frames by the fingerprint of the sample that they were computed from.

    In memory, or in a folder that several processes share and that outlives them. What one
    :meth:`add` brings is kept whole or not at all, whenever the process is killed.

    Parameters
    ----------
    folder : path or None
        None keeps the frames in memory.
    width : int
        Values in a frame; they are kept as float32.

    Raises
    ------
    ValueError
        If the folder holds frames of another width, or lacks some that it should hold.
    OSError
        If the folder cannot be written to.

    Examples
    --------
    >>> import numpy as np
    >>> store = FrameStore(None, width=2)
    >>> with store.locked():
    ...     missing = [key for key in ("a", "b") if key not in store]
    ...     store.add({key: np.ones((3, 2)) for key in missing})
    >>> store.take(["b", None, "b"]).lengths.tolist()
    [3, 0, 3]
    """

    def __init__(self, folder: str | os.PathLike | None, width: int) -> None:
        self.folder = None if folder is None else Path(folder)
        self.width = width
        self._rows: dict[str, int] = {}
        self._n_frames: list[int] = []
        self._blocks: list[np.ndarray] = []
        if self.folder is not None:
            with writable(self.folder, "frames", "memory"):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._check_layout()
            self.refresh()

    def _check_layout(self) -> None:
        path, layout = self.folder / "layout.json", {"layout": _LAYOUT, "width": self.width}
        if not path.exists():  # else nobody who only reads waits for who adds
            with self.locked():
                new = path.with_suffix(".new")  # a kill between the two leaves nothing half-written
                new.write_text(json.dumps(layout))
                os.replace(new, path)
        found = json.loads(path.read_text())
        if found != layout:
            raise ValueError(
                f"The folder {self.folder} holds frames laid out as {found}, expected {layout}. "
                "Name another folder, or delete this one."
            )

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from adding meanwhile; what they added before is known inside."""
        if self.folder is None:
            lock = nullcontext()
        else:
            from filelock import FileLock  # comes with torch

            lock = FileLock(self.folder / "lock")
        with lock:
            self.refresh()
            yield

    def refresh(self) -> None:
        """Learn what other processes have added."""
        index = None if self.folder is None else self.folder / "index.bin"
        if index is None or not index.exists():
            return
        n_known = len(self._n_frames)
        with open(index, "rb") as file:
            file.seek(n_known * _RECORD.itemsize)
            content = file.read()
        whole = len(content) // _RECORD.itemsize * _RECORD.itemsize  # the last may be torn
        self._learn(np.frombuffer(content[:whole], _RECORD))

    def _learn(self, records: np.ndarray) -> None:
        for key, n_frames in zip(records["digest"], records["n_frames"].tolist(), strict=True):
            self._rows.setdefault(key.decode(), len(self._n_frames))
            self._n_frames.append(n_frames)

    def add(self, frames: Mapping[str, np.ndarray]) -> None:
        """Keep the frames, (n_frames, width), of samples by fingerprint; call it when locked."""
        if not frames:
            return
        records = np.array([(key, len(rows)) for key, rows in frames.items()], dtype=_RECORD)
        block = np.concatenate([np.asarray(rows, np.float32) for rows in frames.values()])
        if block.ndim != 2 or block.shape[1] != self.width:
            raise ValueError(f"Got frames of shape {block.shape}, expected width {self.width}.")
        if self.folder is None:
            self._blocks.append(block)
        else:
            # frames first: the index never points at what is not there
            self._append("frames.bin", block, 4 * self.width * sum(self._n_frames))
            self._append("index.bin", records, _RECORD.itemsize * len(self._n_frames))
        self._learn(records)

    def _append(self, name: str, values: np.ndarray, start: int) -> None:
        """Write behind the first ``start`` bytes; more are what a killed process left."""
        with writable(self.folder, "frames", "memory"), open(self.folder / name, "ab") as file:
            if file.tell() < start:
                raise self._damaged()
            file.truncate(start)
            file.write(values.tobytes())
            file.flush()
            os.fsync(file.fileno())

    def _damaged(self) -> ValueError:
        return ValueError(
            f"The folder {self.folder} is damaged: its index tells of frames that are not there. "
            "Delete it; what it held is computed again."
        )

    def take(self, keys: Sequence[str | None]) -> Ragged:
        """Frames of samples in the order of ``keys``; None is a sample without frames.

        Nothing is copied, repeated keys share their frames, and frames in a folder are
        memory-mapped.
        """
        n_total = sum(self._n_frames)
        if self.folder is None:
            blocks = self._blocks or [np.zeros((0, self.width), np.float32)]
            values = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
            self._blocks = [values]
        elif n_total:
            path = self.folder / "frames.bin"
            try:
                values = np.memmap(path, np.float32, "r", shape=(n_total, self.width))
            except (FileNotFoundError, ValueError) as error:
                raise self._damaged() from error
        else:
            values = np.zeros((0, self.width), np.float32)
        # one sample without frames behind all others stands for None
        offsets = np.concatenate([[0], np.cumsum(self._n_frames), [n_total]])
        base = Ragged(values, offsets, checked=True)
        missing = len(self._n_frames)
        rows = [missing if key is None else self._rows[key] for key in keys]
        return base.view(np.array(rows, dtype=np.int64))
