"""Computed frames in a folder that the computation can do without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from skumc._warnings import warn_caller
from skumc.data._frame_store import FrameStore
from skumc.data._ragged import Ragged

_LOCK_SECONDS = 1.0  # for which one call waits for another process to write
_TURN_SECONDS = 0.3  # for which one call waits for another process to compute


class FrameCache:
    """Frames that one call computes, or that earlier calls have left in a folder.

    A folder that cannot be read or written, or that another process keeps locked, costs a warning;
    frames are then kept for this call only. The lock is held while frames are written, never while
    they are computed.

    Parameters
    ----------
    folder : path or None
        Where frames are kept for later calls and other processes. None keeps them for this call.
    width : int
        Number of values in a frame.
    scratch : path, default=None
        Folder for the frames of this call alone; None keeps them in memory.

    Examples
    --------
    >>> cache = FrameCache(None, width=2)
    >>> cache.add({"a": np.ones((3, 2))})
    >>> cache.absent(["a", "b"]), cache.take(["a", None]).lengths.tolist()
    (['b'], [3, 0])
    """

    def __init__(self, folder: Path | None, width: int, scratch: str | Path | None = None) -> None:
        self._own = FrameStore(scratch, width)
        self._shared: FrameStore | None = None
        self._folder, self._patience, self._turn_patience = folder, _LOCK_SECONDS, _TURN_SECONDS
        self._writes = True
        self._waiting: list[str] = []  # keys of frames that are to be written to the folder
        if folder is not None:
            try:
                self._shared = FrameStore(folder, width)
            except (OSError, ValueError) as error:
                self._leave(error)

    def __contains__(self, key: str) -> bool:
        return key in self._own or (self._shared is not None and key in self._shared)

    def refresh(self) -> None:
        """Learn what other processes have added, or deleted."""
        if self._shared is not None:
            try:
                self._shared.refresh()
            except OSError as error:
                self._leave(error)

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Let processes compute one piece in turns, so that none computes what another does.

        Yields whether this process has the turn: it waits only briefly, and once per call.
        """
        from filelock import FileLock  # comes with torch

        lock = None
        if self._folder is not None and self._shared is not None:
            try:
                lock = FileLock(self._folder / "turn")
                lock.acquire(self._turn_patience)
            except (OSError, NotImplementedError):
                lock, self._turn_patience = None, 0.0
        try:
            self.refresh()
            yield lock is not None or self._shared is None
        finally:
            if lock is not None:
                lock.release()

    def absent(self, keys: Iterable[str]) -> list[str]:
        """List the keys without frames, or with damaged ones."""
        keys = self._own.absent(keys)
        if self._shared is not None:
            try:
                return self._shared.absent(keys)
            except OSError as error:
                self._leave(error)
        return keys

    def add(self, frames: Mapping[str, np.ndarray]) -> None:
        """Keep the frames of samples, (n_frames, width), by their keys."""
        if self._shared is not None and self._writes and self._write(self._shared, frames):
            return
        self._own.add(frames)

    def _write(self, shared: FrameStore, frames: Mapping[str, np.ndarray]) -> bool:
        """Write frames, and those that have waited for the lock, to the folder if it can be."""
        try:
            with shared.locked(self._patience):
                waiting = {key: self._own.take([key])[0] for key in self._waiting}
                new = waiting | dict(frames)
                shared.add({key: rows for key, rows in new.items() if key not in shared})
        except TimeoutError as error:
            self._waiting += frames
            if self._patience:
                self._warn(error)
            self._patience = 0
            return False
        except (OSError, ValueError) as error:
            self._writes = False
            self._warn(error)
            return False
        self._waiting, self._patience = [], _LOCK_SECONDS
        return True

    def leave_folder(self) -> None:
        """Neither read nor write the folder from now on."""
        self._shared = None

    def fetch(
        self, keys: Sequence[str | None], compute: Callable[[list[str]], Iterable[str]]
    ) -> Ragged:
        """Look up frames as :meth:`take` does, and have those computed that are absent.

        Parameters
        ----------
        keys : sequence of str or None
        compute : callable
            Adds frames for a list of keys, and returns the keys that have none; they are missing
            samples. It is called again if the folder is damaged or deleted during the call.
        """
        wanted, failed = [key for key in keys if key is not None], set[str]()
        while True:
            if absent := [key for key in self.absent(wanted) if key not in failed]:
                failed |= set(compute(absent))
            try:
                return self.take([None if key in failed else key for key in keys])
            except (LookupError, OSError, ValueError):
                if self._shared is None:
                    raise
                self.leave_folder()

    def take(self, keys: Sequence[str | None]) -> Ragged:
        """Look up the frames of samples in the order of ``keys``; None is a missing sample.

        Nothing is copied where one place has all frames.
        """
        wanted = [key for key in dict.fromkeys(keys) if key is not None]
        if self._shared is None or all(key in self._own for key in wanted):
            return self._own.take(keys)
        if all(key in self._shared for key in wanted):
            return self._shared.take(keys)
        stores = [self._own if key in self._own else self._shared for key in wanted]
        parts = [store.take([key])[0] for key, store in zip(wanted, stores, strict=True)]
        base = Ragged.from_lengths(
            np.concatenate([*parts, np.zeros((0, self._own.width), np.float32)]),
            [*map(len, parts), 0],
            checked=True,
        )
        places = {key: place for place, key in enumerate(wanted)}
        rows = [len(wanted) if key is None else places[key] for key in keys]
        return base.view(np.array(rows, dtype=np.int64))

    def _leave(self, reason: Exception) -> None:
        self.leave_folder()
        self._warn(reason)

    def _warn(self, reason: Exception) -> None:
        reason = reason.__cause__ if isinstance(reason.__cause__, OSError) else reason
        warn_caller(
            f"Frames are not kept in the folder {self._folder} ({reason!s:.300}). Results are the "
            "same, but are computed again next time. Pass another folder, or None, as memory."
        )
