"""Computed frames, stored by the fingerprint of what they were computed from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from skumc.data._ragged import Ragged

DIGEST_SIZE = 16
_RECORD = np.dtype([("digest", f"S{2 * DIGEST_SIZE}"), ("n_frames", "<i8")])
_LAYOUT = 1


def digest(*parts: bytes | str) -> str:
    """Compute a fingerprint; equal parts give equal fingerprints on every machine.

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
    """Add the folder, and the parameter that names it, to errors of the operating system."""
    try:
        yield
    except OSError as error:
        if isinstance(error.__cause__, OSError):  # an inner call has added them
            raise
        raise OSError(
            f"Cannot write {what} to {folder} ({error}). Name a folder with permission to write "
            f"and enough space as {argument}."
        ) from error


@contextmanager
def locked_folder(folder: Path, what: str, argument: str) -> Iterator[None]:
    """Make a folder and keep other processes out of it; see :func:`writable`."""
    from filelock import FileLock  # comes with torch

    with writable(folder, what, argument):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class FrameStore:
    """Sequences of frames by the fingerprint of the sample that they were computed from.

    In memory, or in a folder that several processes share and that outlives them. The frames of
    one :meth:`add` are kept completely or not at all, even if the process is killed.

    Parameters
    ----------
    folder : path or None
        Where to keep the frames; None keeps them in memory.
    width : int
        Number of values in a frame; they are kept as float32.
    source : dict, default=None
        What all frames were computed from, such as the version of a file; a JSON object. A folder
        with frames from another source is refused.
    argument : str, default="memory"
        Name of the user's parameter that chooses the folder, for error messages.

    Raises
    ------
    ValueError
        If the folder holds frames of another width or source, or lacks frames of its index.
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

    def __init__(
        self,
        folder: str | os.PathLike | None,
        width: int,
        source: Mapping[str, Any] | None = None,
        argument: str = "memory",
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.width = width
        self._argument = argument
        self._rows: dict[str, int] = {}
        self._n_frames: list[int] = []
        self._blocks: list[np.ndarray] = []
        if self.folder is not None:
            layout: dict[str, Any] = {"layout": _LAYOUT, "width": width}
            layout |= {} if source is None else {"source": dict(source)}
            with writable(self.folder, "frames", argument):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._check_layout(self.folder, layout)
            self.refresh()

    @classmethod
    def existing(cls, folder: Path, source: Mapping[str, Any]) -> FrameStore:
        """Open a folder whose width is not known; nothing is written.

        Raises
        ------
        OSError, LookupError, TypeError, ValueError
            If there is no such folder, or its frames are of another source.
        """
        return cls(folder, json.loads((folder / "layout.json").read_text())["width"], source)

    def _check_layout(self, folder: Path, layout: dict[str, Any]) -> None:
        path = folder / "layout.json"
        if not path.exists():  # reading must not wait for the lock
            with locked_folder(folder, "frames", self._argument):
                new = path.with_suffix(".new")  # a kill between the two leaves nothing half-written
                new.write_text(json.dumps(layout))
                os.replace(new, path)
        found = json.loads(path.read_text())
        if found != layout:
            raise ValueError(
                f"The folder {folder} holds frames laid out as {found}, expected {layout}. "
                "Name another folder, or delete this one."
            )

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from adding, after learning what they have added before."""
        if self.folder is None:
            yield
            return
        with locked_folder(self.folder, "frames", self._argument):
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

    def add(self, frames: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]) -> None:
        """Keep frames, (n_frames, width), by the fingerprint of their sample; call when locked.

        Pairs are written one after the other, so an iterator need not fit into memory.
        """
        pairs = iter(frames.items() if isinstance(frames, Mapping) else frames)
        first = next(pairs, None)
        if first is None:
            return
        records: list[tuple[str, int]] = []
        blocks = self._recorded(chain([first], pairs), records)
        if self.folder is None:
            self._blocks.append(np.concatenate(list(blocks)))
        else:
            # frames first: the index never points at what is not there
            self._append(self.folder / "frames.bin", blocks, 4 * self.width * sum(self._n_frames))
            index = np.array(records, _RECORD)
            self._append(self.folder / "index.bin", [index], index.itemsize * len(self._n_frames))
        self._learn(np.array(records, _RECORD))

    def _recorded(
        self, pairs: Iterable[tuple[str, np.ndarray]], records: list[tuple[str, int]]
    ) -> Iterator[np.ndarray]:
        """Check frames one sample at a time, and note their numbers."""
        for key, rows in pairs:
            rows = np.ascontiguousarray(rows, np.float32)
            if rows.ndim != 2 or rows.shape[1] != self.width:
                raise ValueError(f"Got frames of shape {rows.shape}, expected width {self.width}.")
            records.append((key, len(rows)))
            yield rows

    def _append(self, path: Path, blocks: Iterable[np.ndarray], start: int) -> None:
        """Write after the first ``start`` bytes; more are what a killed process left."""
        with writable(path.parent, "frames", self._argument), open(path, "ab") as file:
            if file.tell() < start:
                raise self._damaged()
            file.truncate(start)
            for block in blocks:
                file.write(block.tobytes())
            file.flush()
            os.fsync(file.fileno())

    def _damaged(self) -> ValueError:
        return ValueError(
            f"The folder {self.folder} is damaged: its index lists frames that are not there. "
            "Delete it; its frames are computed again."
        )

    def take(self, keys: Sequence[str | None]) -> Ragged:
        """Look up the frames of samples in the order of ``keys``; None is a missing sample.

        Nothing is copied, repeated keys share their frames, and frames in a folder are
        memory-mapped.
        """
        n_total = sum(self._n_frames)
        values: np.ndarray
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
        # one sample without frames after all others stands for None
        offsets = np.concatenate([[0], np.cumsum(self._n_frames), [n_total]])
        base = Ragged(values, offsets, checked=True)
        missing = len(self._n_frames)
        rows = [missing if key is None else self._rows[key] for key in keys]
        return base.view(np.array(rows, dtype=np.int64))
