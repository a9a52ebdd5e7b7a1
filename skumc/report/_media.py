"""Sound, images and videos as data URIs, with types by content."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

MEDIA_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp"),
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a"),
    *(".mp4", ".webm"),
)


class Medium(NamedTuple):
    """A file to show, or the reason why it is not shown.

    Attributes
    ----------
    name : str
        Name of the file, without its folder.
    tag : {"img", "audio", "video"} or None
        None if it is not shown.
    uri : str
        Data URI; empty if it is not shown.
    reason : str
        Reason why it is not shown.

    Examples
    --------
    >>> Medium("a.wav", None, "", "there is no such file").tag
    """

    name: str
    tag: str | None
    uri: str
    reason: str


def media_type(content: bytes) -> str | None:
    """Recognize the type of a file by its first bytes; None if it is not one that browsers show.

    SVG is not among them, since it may hold scripts.

    Examples
    --------
    >>> media_type(b"RIFF....WAVEfmt "), media_type(b"<svg onload=alert(1)>")
    ('audio/wav', None)
    """
    if content[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp"}.get(content[8:12])
    if content[4:8] == b"ftyp":
        return "audio/mp4" if content[8:11] == b"M4A" else "video/mp4"
    for start, kind in (
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"BM", "image/bmp"),
        (b"fLaC", "audio/flac"),
        (b"OggS", "audio/ogg"),
        (b"ID3", "audio/mpeg"),
        (b"\x1aE\xdf\xa3", "video/webm"),
    ):
        if content.startswith(start):
            return kind
    is_mp3 = len(content) > 2 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2
    return "audio/mpeg" if is_mp3 else None


def png(pixels: np.ndarray) -> bytes:
    """Encode an image as PNG.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width), (height, width, 3) or (height, width, 4)

    Examples
    --------
    >>> media_type(png(np.zeros((2, 3), np.uint8)))
    'image/png'
    """
    height, width = pixels.shape[:2]
    color = {1: 0, 3: 2, 4: 6}[pixels.shape[2] if pixels.ndim == 3 else 1]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(filtered.tobytes())),
            chunk(b"IEND", b""),
        ]
    )


class MediaReader:
    """Read media of a page, within limits.

    Parameters
    ----------
    max_file_bytes : int
        Larger files are not shown.
    max_total_bytes : int
        Files beyond this sum are not shown.

    Examples
    --------
    >>> MediaReader(1000, 1000).read(b"RIFF....WAVEfmt ").tag
    'audio'
    >>> MediaReader(1000, 1000).read("missing.wav").reason
    'there is no such file'
    """

    def __init__(self, max_file_bytes: int, max_total_bytes: int) -> None:
        self._max_file_bytes = max_file_bytes
        self._left = max_total_bytes

    def read(self, cell: Any) -> Medium:
        """Return one cell, a path, bytes or an array of uint8, as a data URI."""
        name = os.path.basename(os.fsdecode(cell)) if isinstance(cell, str | os.PathLike) else ""
        try:
            content = self._content(cell)
        except FileNotFoundError:
            return Medium(name, None, "", "there is no such file")
        except OSError as error:  # without the folder, which its text names
            return Medium(name, None, "", error.strerror or type(error).__name__)
        except ValueError as error:
            return Medium(name, None, "", str(error))
        kind = media_type(content)
        if kind is None:
            return Medium(name, None, "", "not a known type of sound, image or video")
        self._left -= len(content)
        tag = {"image": "img"}.get(kind.split("/")[0], kind.split("/")[0])
        return Medium(name, tag, f"data:{kind};base64,{base64.b64encode(content).decode()}", "")

    def _content(self, cell: Any) -> bytes:
        """Return the bytes of a cell; raise ValueError beyond the limits."""
        if isinstance(cell, np.ndarray):
            cell = png(cell)
        if isinstance(cell, bytes):
            self._check(len(cell))
            return cell
        if os.path.exists(cell) and not os.path.isfile(cell):
            raise ValueError("not a file")
        self._check(os.path.getsize(cell))
        with open(cell, "rb") as file:
            return file.read(self._max_file_bytes)

    def _check(self, n_bytes: int) -> None:
        if n_bytes > self._max_file_bytes:
            raise ValueError(f"too large: {n_bytes:,} bytes, the limit is {self._max_file_bytes:,}")
        if n_bytes > self._left:
            raise ValueError("the page has reached its limit for files")
