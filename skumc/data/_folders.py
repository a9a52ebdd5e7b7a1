"""Fingerprints, and the folders that caches lie in."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LAYOUT = 2  # of stored frames; other versions of this package may have another
DIGEST_SIZE = 16


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


def memory_folder(memory: Any) -> Path | None:
    """Interpret the parameter ``memory=``: the folder, or None if nothing is to be kept.

    Parameters
    ----------
    memory : str, path, joblib.Memory or None
        "~" is the home folder.

    Examples
    --------
    >>> memory_folder("states").name, memory_folder(None)
    ('states', None)
    """
    location = getattr(memory, "location", memory)
    return None if location is None else Path(os.path.expanduser(os.fspath(location)))


def versioned(name: str) -> str:
    """Name a folder of stored frames so that versions with another layout leave it alone.

    Examples
    --------
    >>> versioned("frames")
    'frames-2'
    """
    return f"{name}-{LAYOUT}"


@contextmanager
def writable(folder: Path, what: str, argument: str) -> Iterator[None]:
    """Add the folder, and the parameter that names it, to errors of the operating system."""
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the latter for file systems without locks
        if isinstance(error.__cause__, OSError):  # an inner call has added them
            raise
        raise OSError(
            f"Cannot write {what} to {folder} ({error}). Name a folder with permission to write "
            f"and enough space as {argument}."
        ) from error


@contextmanager
def locked_folder(folder: Path, what: str, argument: str, timeout: float = -1) -> Iterator[None]:
    """Make a folder and keep other processes out of it; see :func:`writable`.

    Raises
    ------
    TimeoutError
        If another process keeps the lock for more than ``timeout`` seconds; -1 is without limit.
    """
    from filelock import FileLock, Timeout  # comes with torch

    lock = FileLock(folder / "lock")
    try:
        with writable(folder, what, argument):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout)
    except OSError as error:
        if not isinstance(error.__cause__, Timeout):
            raise
        raise TimeoutError(
            f"another process holds {folder / 'lock'} for more than {max(timeout, 0):g} s"
        ) from None
    try:
        yield
    finally:
        lock.release()
