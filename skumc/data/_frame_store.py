"""Computed frames, stored by the fingerprint of what they were computed from."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from skumc.data._folders import LAYOUT, locked_folder, writable
from skumc.data._frame_index import RECORD_SIZE, FrameIndex, Span, checksum, written
from skumc.data._ragged import Ragged

_LAYOUT_FILE, _MAX_LAYOUT_BYTES = "layout.json", 65_536


def _read_layout(folder: Path) -> Any:
    """Read the description of a folder's frames; None where there is none, or a damaged one."""
    try:
        with open(folder / _LAYOUT_FILE, "rb") as file:
            return json.loads(file.read(_MAX_LAYOUT_BYTES))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _write_layout(folder: Path, layout: Mapping[str, Any]) -> None:
    """Write the description completely or not at all; all processes write the same one."""
    new = folder / f"{_LAYOUT_FILE}.{uuid.uuid4().hex}"
    try:
        new.write_text(json.dumps(layout))
        os.replace(new, folder / _LAYOUT_FILE)
    finally:
        new.unlink(missing_ok=True)


def _version(path: Path) -> tuple[int, ...] | None:
    """Identify a file's content, as far as the file system tells; None if it is missing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _append(path: Path, blocks: Iterable[bytes | np.ndarray], unit: int) -> None:
    """Append to a file from the next multiple of ``unit`` bytes on, or leave it as it was."""
    with open(path, "ab") as file:
        size = file.tell()
    try:
        with open(path, "ab") as file:
            file.truncate(-(-size // unit) * unit)  # a killed process may have left a part
            for block in blocks:
                file.write(block if isinstance(block, bytes) else block.data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            os.truncate(path, size)
        raise


def _ragged(values: np.ndarray, samples: Sequence[Span | None]) -> Ragged:
    """View the frames of samples; None is a missing one."""
    spans = sorted({span for span in samples if span is not None})
    edges = np.array([edge for span in spans for edge in (span.start, span.stop)], np.int64)
    if (np.diff(edges) < 0).any():  # equal frames overlap in a folder that was damaged and mended
        values = np.concatenate([values[span.start : span.stop] for span in spans])
        stops = np.cumsum([span.n_frames for span in spans])
        edges = np.ravel([stops - [span.n_frames for span in spans], stops], order="F")
    # gaps are samples too, and one without frames after all others stands for None
    base = Ragged(values, np.concatenate([[0], edges, [len(values)] * 2]), checked=True)
    places = {span: 2 * place + 1 for place, span in enumerate(spans)}
    rows = [len(base) - 1 if span is None else places[span] for span in samples]
    return base.view(np.array(rows, dtype=np.int64))


class FrameStore:
    """Sequences of frames by the fingerprint of the sample that they were computed from.

    In memory, or in a folder that several processes share and that outlives them. The frames of
    one :meth:`add` are kept completely or not at all, even if the process is killed. Frames in a
    folder have checksums; damaged ones count as absent once :meth:`absent` has looked at them.

    Parameters
    ----------
    folder : path or None
        Where to keep the frames; None keeps them in memory.
    width : int
        Number of values in a frame; they are kept as float32.
    source : dict, default=None
        Origin of all frames, such as the version of a file, as a JSON object. A folder
        with frames from another source is refused.
    argument : str, default="memory"
        Name of the user's parameter that chooses the folder, for error messages.

    Raises
    ------
    ValueError
        If the folder holds frames of another width or source, or frames that are taken are damaged.
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
        self._layout: dict[str, Any] = {"layout": LAYOUT, "width": width}
        self._layout |= {} if source is None else {"source": dict(source)}
        self._blocks: list[np.ndarray] = []
        self._forget()
        if self.folder is not None:
            self._check_layout(self.folder)
            self.refresh()

    @classmethod
    def existing(cls, folder: Path, source: Mapping[str, Any]) -> FrameStore:
        """Open a folder of unknown width; nothing is written.

        Raises
        ------
        OSError, LookupError, TypeError, ValueError
            If there is no such folder, or its frames are of another source.
        """
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is missing.")
        layout = _read_layout(folder)
        width = layout.get("width") if isinstance(layout, dict) else None
        if type(width) is not int or not 0 < width < 2**31:
            raise ValueError(f"{folder / _LAYOUT_FILE} is missing or damaged.")
        return cls(folder, width, source)

    def _check_layout(self, folder: Path) -> None:
        """Compare the description of the folder's frames, and write it where there is none."""
        with writable(folder, "frames", self._argument):
            found = _read_layout(folder)
            if found is None:
                folder.mkdir(parents=True, exist_ok=True)
                _write_layout(folder, self._layout)
                return
        if found != self._layout:
            raise ValueError(
                f"The folder {folder} holds frames laid out as {found!s:.300}, expected "
                f"{self._layout}. Name another folder, or delete this one."
            )

    def __contains__(self, key: str) -> bool:
        return key in self._index

    @contextmanager
    def locked(self, timeout: float = -1) -> Iterator[None]:
        """Keep other processes from adding, after learning what they have added before."""
        if self.folder is None:
            yield
            return
        with locked_folder(self.folder, "frames", self._argument, timeout):
            self._check_layout(self.folder)  # the folder may have been deleted
            self.refresh()
            yield

    def _forget(self) -> None:
        self._index = FrameIndex()
        self._checked: dict[str, Span] = {}
        self._version: tuple[int, ...] | None = None  # of the frames that were checked
        self._index_file: tuple[int, int] | None = None
        self._n_read = 0  # bytes of the index

    def refresh(self) -> None:
        """Learn what other processes have added, or deleted."""
        if self.folder is None:
            return
        try:
            with open(self.folder / "index.bin", "rb") as file:
                status = os.fstat(file.fileno())
                identity = status.st_dev, status.st_ino
                if identity != self._index_file or status.st_size < self._n_read:
                    self._forget()
                self._index_file = identity
                file.seek(self._n_read)
                content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            self._forget()
            return
        self._n_read += self._index.read(content)

    def add(self, frames: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]) -> None:
        """Keep frames, (n_frames, width), by the fingerprint of their sample; call when locked.

        Pairs are written one after the other, so an iterator need not fit into memory.
        """
        pairs = iter(frames.items() if isinstance(frames, Mapping) else frames)
        first = next(pairs, None)
        if first is None:
            return
        spans: list[tuple[str, Span]] = []
        pairs = chain([first], pairs)
        if self.folder is None:
            n_before = sum(map(len, self._blocks))
            blocks = list(self._recorded(pairs, spans, n_before))
            self._blocks.append(np.concatenate(blocks))
            self._index.read(written(spans))
        else:
            with writable(self.folder, "frames", self._argument):
                self._write(self.folder, pairs, spans)

    def _write(
        self,
        folder: Path,
        pairs: Iterator[tuple[str, np.ndarray]],
        spans: list[tuple[str, Span]],
    ) -> None:
        """Append to frames and index; the index never points at what is not there."""
        path, unit = folder / "frames.bin", 4 * self.width
        size = path.stat().st_size if path.exists() else 0
        _append(path, self._recorded(pairs, spans, -(-size // unit)), unit)
        _append(folder / "index.bin", [written(spans)], RECORD_SIZE)
        self.refresh()

    def _notice_changes(self, path: Path) -> None:
        """Check frames again if their file has changed since they were checked."""
        version = _version(path)
        if version != self._version:
            self._checked.clear()
            self._version = version

    def _recorded(
        self,
        pairs: Iterable[tuple[str, np.ndarray]],
        spans: list[tuple[str, Span]],
        start: int,
    ) -> Iterator[np.ndarray]:
        """Check frames one sample at a time, and note their places from ``start`` on."""
        for key, rows in pairs:
            rows = np.ascontiguousarray(rows, np.float32)
            if rows.ndim != 2 or rows.shape[1] != self.width:
                raise ValueError(f"Got frames of shape {rows.shape}, expected width {self.width}.")
            spans.append((key, Span(start, len(rows), checksum(key, rows))))
            start += len(rows)
            yield rows

    def _frames(self) -> np.ndarray:
        """All frames, (n_frames_total, width); those of a folder are memory-mapped."""
        nothing = np.zeros((0, self.width), np.float32)
        if self.folder is None:
            blocks = self._blocks or [nothing]
            self._blocks = [blocks[0] if len(blocks) == 1 else np.concatenate(blocks)]
            return self._blocks[0]
        path = self.folder / "frames.bin"
        self._notice_changes(path)
        try:
            n_there = path.stat().st_size // (4 * self.width)
            if n_there:
                return np.memmap(path, np.float32, "r", shape=(n_there, self.width))
        except FileNotFoundError:
            pass
        return nothing

    def absent(self, keys: Iterable[str]) -> list[str]:
        """List the keys without frames, or with damaged ones.

        A sample is read again only after a change of the file.
        """
        keys, frames = dict.fromkeys(keys), self._frames()
        for key in () if self.folder is None else keys:
            span = self._index.find(key)
            if span is not None and self._checked.get(key) == span:
                continue
            rows = frames[:0] if span is None else frames[span.start : span.stop]
            is_whole = span is not None and len(rows) == span.n_frames
            if span is not None and is_whole and checksum(key, rows) == span.checksum:
                self._checked[key] = span
            else:
                self._index.drop(key)
        return [key for key in keys if key not in self._index]

    def take(self, keys: Sequence[str | None]) -> Ragged:
        """Look up the frames of samples in the order of ``keys``; None is a missing sample.

        Nothing is copied, repeated keys share their frames, and frames in a folder are
        memory-mapped.
        """
        wanted = dict.fromkeys(key for key in keys if key is not None)
        if all(key in self._index for key in wanted) and self.absent(wanted):
            raise ValueError(
                f"The folder {self.folder} is damaged: its index lists frames that are missing or "
                "fail their checksum. Delete it; its frames are computed again."
            )
        found = {key: self._index.find(key) for key in wanted}
        spans = {key: span for key, span in found.items() if span is not None}
        return _ragged(self._frames(), [None if key is None else spans[key] for key in keys])
