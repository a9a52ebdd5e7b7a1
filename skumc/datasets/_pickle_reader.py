"""Read plain data and arrays of numbers from a pickle, and refuse everything else."""

from __future__ import annotations

import mmap
import os
import pickle
import struct
from typing import Any

from skumc.datasets._errors import DatasetError, Refused, Repeated, UnsafePickleError
from skumc.datasets._restricted_unpickler import RestrictedUnpickler, plain

_ZIP = b"PK\x03\x04"
_REMEDY = (
    "Pickle a dict from key to array of numbers, array.astype('float32'), made from data that you "
    "trust."
)
_TORCH_REMEDY = (
    "Convert every tensor to an array, tensor.cpu().numpy(), and pickle the dict again with "
    "pickle.dump."
)
_DAMAGES = (
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)


def _map_file(path: str | os.PathLike) -> mmap.mmap:
    """Map a file that is neither empty nor a zip archive."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise DatasetError(f"{path}: the file is empty. Copy or download it again.")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if content[: len(_ZIP)] == _ZIP:
        raise DatasetError(
            f"{path}: got a zip archive, as torch.save writes it, expected a pickle. "
            + _TORCH_REMEDY
        )
    return content


def read_pickle(path: str | os.PathLike) -> Any:
    """Read numbers, strings, lists, dicts and arrays of numbers from a pickle.

    Parameters
    ----------
    path : path
        A file of any pickle protocol, 0 to 5.

    Returns
    -------
    content : object
        Arrays are read-only and lie in the memory-mapped file where the protocol allows it (3 and
        later), so that a file larger than memory can be read.

    Raises
    ------
    UnsafePickleError
        If the pickle asks for anything else, by name, by extension code or by persistent id, or
        makes far more objects than pickled features of its size have.
    DatasetError
        If the file is not a pickle, is truncated or damaged, or a dict has a key twice.

    Notes
    -----
    A pickle is a program for a small stack machine. A hook for names alone leaves ways past it:
    extension codes that the process has used before, state set on any object on the stack, sizes
    and nesting that exhaust memory or the C stack. Here operations have an allow-list too:
    :class:`~skumc.datasets._restricted_unpickler.RestrictedUnpickler`. Reading takes time
    proportional to the file's size, and memory of at most 100 times that size plus 64 MiB.

    Examples
    --------
    >>> import os, pickle, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "features.pkl")
    ...     with open(path, "wb") as file:
    ...         pickle.dump({"a": [1.5, 2.5]}, file)
    ...     read_pickle(path)
    {'a': [1.5, 2.5]}
    """
    content = _map_file(path)
    try:
        return plain(RestrictedUnpickler(content).load())
    except Refused as reason:
        remedy = _TORCH_REMEDY if "torch" in str(reason) else _REMEDY
        raise UnsafePickleError(
            f"{path}: the pickle {reason} (byte {content.tell()}). Expected numbers, strings, "
            f"lists, dicts and numpy arrays of numbers; nothing was run. {remedy}"
        ) from None
    except Repeated as repeated:
        raise DatasetError(
            f"{path}, key {repeated.args[0][:100]!r}: the pickle has this key twice. Write it "
            "again with one entry per key."
        ) from None
    except (EOFError, *_DAMAGES) as error:
        if isinstance(error, EOFError) or content.tell() == len(content):
            raise DatasetError(
                f"{path}: the pickle is truncated, it ends after {len(content)} bytes in the "
                "middle. Copy or download the file again."
            ) from None
        raise DatasetError(
            f"{path}: not a pickle, or a damaged one (byte {content.tell()}: {error!s:.100}). "
            "Copy or download the file again."
        ) from error
