"""JSON with a checksum, read within limits."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from skumc.persistence._saved_error import SavedClustererError

MAX_BYTES = 16 * 1024**2
_MAX_CONTAINERS, _MAX_VALUES = 100_000, 1_000_000  # parsed within a second
_MAX_DIGITS = 20  # of an integer of 64 bits
_CHECKSUM = "checksum"


class _NotStrict(ValueError):
    """JSON that the format does not allow."""


def _canonical(content: dict[str, Any]) -> bytes:
    """Write without spaces, in the order of the keys; equal for equal content."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def dumps(content: dict[str, Any]) -> bytes:
    """Write an object with a checksum of it as the last entry.

    Examples
    --------
    >>> loads(dumps({"a": [1, None]}), Path("some.json"))
    {'a': [1, None]}
    """
    checksum = hashlib.sha256(_canonical(content)).hexdigest()
    return json.dumps({**content, _CHECKSUM: checksum}, indent=1, allow_nan=False).encode()


def excess(content: bytes) -> str | None:
    """Say which limit a JSON text exceeds, if any."""
    if len(content) > MAX_BYTES:
        return f"{len(content)} bytes, expected at most {MAX_BYTES}"
    if content.count(b"[") + content.count(b"{") > _MAX_CONTAINERS:
        return f"more than {_MAX_CONTAINERS} lists and objects"
    return f"more than {_MAX_VALUES} values" if content.count(b",") > _MAX_VALUES else None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _NotStrict(f"the key {twice!r:.50} is there twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _NotStrict(f"the number {digits:.30} has more than 64 bits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _NotStrict(f"the number {digits:.30} is not finite")
    return number


def _constant(name: str) -> NoReturn:
    raise _NotStrict(f"{name} is not a JSON number")


def _parsed(
    content: bytes, path: Path, parse_int: Callable[[str], int] = _integer
) -> dict[str, Any]:
    """Parse one JSON object strictly."""
    too_much = excess(content)
    if too_much is not None:
        raise SavedClustererError(f"{path} has {too_much}. {DAMAGED}")
    try:
        found = json.loads(
            content.decode("utf8"),
            object_pairs_hook=_pairs,
            parse_int=parse_int,
            parse_float=_float,
            parse_constant=_constant,
        )
    except RecursionError as error:
        raise SavedClustererError(f"{path} is nested too deeply. {DAMAGED}") from error
    except ValueError as error:
        raise SavedClustererError(f"{path} is not valid JSON: {error!s:.200}. {DAMAGED}") from error
    if not isinstance(found, dict):
        raise SavedClustererError(
            f"{path} holds a {type(found).__name__}, expected a JSON object. {DAMAGED}"
        )
    return found


DAMAGED = "The file is damaged or was changed: copy the folder again, or save the clusterer again."


def loads(content: bytes, path: Path) -> dict[str, Any]:
    """Parse what :func:`dumps` wrote, without the checksum.

    Parameters
    ----------
    content : bytes
    path : Path
        For messages.

    Raises
    ------
    SavedClustererError
        If the content is not one JSON object, has a key twice or a number that is not finite or
        has more than 64 bits, or does not have its checksum.
    """
    found = _parsed(content, path)
    checksum = found.pop(_CHECKSUM, None)
    try:
        expected = hashlib.sha256(_canonical(found)).hexdigest()
    except (RecursionError, UnicodeEncodeError) as error:
        raise SavedClustererError(f"{path} cannot be read: {error!s:.100}. {DAMAGED}") from error
    if checksum != expected:
        raise SavedClustererError(f"{path} does not have its checksum. {DAMAGED}")
    return found


def read_small(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a regular file of at most ``limit`` bytes, not a link.

    Raises
    ------
    SavedClustererError
        If it is something else, or larger.
    OSError
        If it cannot be read.
    """
    size = check_regular(path).st_size
    if size > limit:
        raise SavedClustererError(f"{path} has {size} bytes, expected at most {limit}. {DAMAGED}")
    with open(path, "rb") as file:
        return file.read(limit)


def check_regular(path: Path) -> os.stat_result:
    """Return the status of a regular file; refuse links, folders, pipes and devices."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
        raise SavedClustererError(
            f"{path} is {kind}, expected a file that save wrote. Copy the folder with its files, "
            "not with links to them."
        )
    return status


def read_foreign(path: Path, limit: int = MAX_BYTES) -> dict[str, Any]:
    """Parse a JSON object of another library strictly, without a checksum."""
    return _parsed(read_small(path, limit), path, int)  # no limit of a tokenizer is 10**30
