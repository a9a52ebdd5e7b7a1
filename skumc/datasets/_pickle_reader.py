"""Reading of pickles that can make plain data and cannot do anything else."""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

from skumc.datasets._errors import DatasetError, UnsafePickleError
from skumc.datasets._pickle_machine import PickleMachine
from skumc.datasets._pickle_values import Refused, Repeated

_ZIP = b"PK\x03\x04"
_REMEDY = (
    "Pickle a dict from key to array of numbers, array.astype('float32'), made from data that you "
    "trust."
)
_TORCH_REMEDY = (
    "Turn every tensor into an array, tensor.cpu().numpy(), and pickle the dict anew with "
    "pickle.dump."
)


def read_pickle(path: str | os.PathLike) -> Any:
    """Read numbers, strings, lists, dicts and arrays of numbers from a pickle, and nothing else.

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
        If the pickle asks for anything else, by name, by extension code or by persistent id.
    DatasetError
        If the file is no pickle, is truncated or is damaged, or a dict has a key twice.

    Notes
    -----
    A pickle is a program for a small stack machine. :class:`pickle.Unpickler` runs it with a hook
    for names, which leaves ways past the hook: extension codes that the process has used before,
    state set on whatever lies on the stack, and sizes and nesting that exhaust memory or the C
    stack. This machine has none of them. Its operations make numbers, strings, tuples, lists and
    dicts; names are compared with a list of ten, which stand for functions of this package that
    take numbers and bytes; and every size is held against the bytes that are there.

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
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise DatasetError(f"{path}: the file is empty. Copy or download it again.")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if content[: len(_ZIP)] == _ZIP:
        raise DatasetError(
            f"{path}: this is a zip archive, as torch.save writes it, expected a pickle. "
            + _TORCH_REMEDY
        )
    machine = PickleMachine(content)
    try:
        return machine.run()
    except Refused as reason:
        remedy = _TORCH_REMEDY if "torch" in str(reason) else _REMEDY
        raise UnsafePickleError(
            f"{path}: the pickle {reason} (byte {machine.position}). Only numbers, strings, lists, "
            f"dicts and numpy arrays of numbers are read; nothing was run. {remedy}"
        ) from None
    except Repeated as repeated:
        raise DatasetError(
            f"{path}, key {repeated.args[0]!r}: the pickle has this key twice. Write it anew with "
            "one entry a key."
        ) from None
    except EOFError:
        raise DatasetError(
            f"{path}: the pickle is truncated, it ends after {len(content)} bytes in the middle. "
            "Copy or download the file again."
        ) from None
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        raise DatasetError(
            f"{path}: this is no pickle, or a damaged one (byte {machine.position}: {error!s:.100})"
            ". Copy or download the file again."
        ) from error
