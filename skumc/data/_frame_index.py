"""Index of stored frames: place and checksum of each sample's frames, by the sample's key."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from skumc.data._folders import DIGEST_SIZE

_KEY_SIZE = 2 * DIGEST_SIZE
# key, number of frames, their start, checksum of key and frames; checksum of all these
_FIELDS, _CHECKSUM = struct.Struct(f"<{_KEY_SIZE}sqqI"), struct.Struct("<I")
RECORD_SIZE = _FIELDS.size + _CHECKSUM.size


class Span(NamedTuple):
    """Place of a sample's frames in the array of all frames, and their checksum."""

    start: int
    n_frames: int
    checksum: int

    @property
    def stop(self) -> int:
        """End of the frames."""
        return self.start + self.n_frames


def checksum(key: str, frames: np.ndarray) -> int:
    """Compute the checksum of a sample's key and frames."""
    content = np.ascontiguousarray(frames).reshape(-1).view(np.uint8)
    return zlib.crc32(content.data, zlib.crc32(key.encode()))


def written(spans: Sequence[tuple[str, Span]]) -> bytes:
    """Write records."""
    records = []
    for key, span in spans:
        fields = _FIELDS.pack(key.encode(), span.n_frames, span.start, span.checksum)
        records.append(fields + _CHECKSUM.pack(zlib.crc32(fields)))
    return b"".join(records)


class FrameIndex:
    """Records in the order in which they were read; the last one of a key counts.

    Examples
    --------
    >>> index = FrameIndex()
    >>> content = written([("a", Span(0, 3, 5)), ("b", Span(3, 1, 6))])
    >>> index.read(content + b"torn") == len(content)
    True
    >>> index.find("b"), index.find("c")
    (Span(start=3, n_frames=1, checksum=6), None)
    """

    def __init__(self) -> None:
        self._content = bytearray()
        self._places: dict[bytes, int] = {}

    def __contains__(self, key: str) -> bool:
        return key.encode() in self._places

    def read(self, content: bytes) -> int:
        """Add whole records, and return their size in bytes."""
        whole = len(content) // RECORD_SIZE * RECORD_SIZE
        start, other = len(self._content), f"V{RECORD_SIZE - _KEY_SIZE}"
        records = np.frombuffer(content[:whole], [("key", f"S{_KEY_SIZE}"), ("other", other)])
        places = range(start, start + whole, RECORD_SIZE)
        self._content += content[:whole]
        self._places.update(zip(records["key"].tolist(), places, strict=True))
        return whole

    def find(self, key: str) -> Span | None:
        """Look up a key; None where there is no record, or a damaged one."""
        place = self._places.get(key.encode())
        if place is None:
            return None
        _, n_frames, start, frames_checksum = _FIELDS.unpack_from(self._content, place)
        end = place + _FIELDS.size
        (own,) = _CHECKSUM.unpack_from(self._content, end)
        is_whole = zlib.crc32(self._content[place:end]) == own
        if not is_whole or n_frames < 0 or start < 0:
            return None
        return Span(start, n_frames, frames_checksum)

    def drop(self, key: str) -> None:
        """Forget a key."""
        self._places.pop(key.encode(), None)
