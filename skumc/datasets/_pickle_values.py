"""The few things that a pickle of arrays asks for by name, made from bytes and numbers alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np

_NUMBERS = re.compile("b1|[iu][1248]|f[248]")
_MAX_DIMENSIONS = 32
_PLAIN = frozenset({NoneType, bool, int, float, str, list, dict, np.ndarray})


class Refused(Exception):
    """The pickle asks for what is no plain data; the text goes on from "The pickle ..."."""


class Repeated(Exception):
    """A dict of the pickle has the key, which is the only argument, twice."""


@dataclass(frozen=True)
class Callee:
    """Something of ours that a pickle may call by the name of the original."""

    name: str
    call: Callable[..., Any]


class NumberType:
    """Stands for ``numpy.dtype`` while a pickle is read; numpy's own is never changed."""

    def __init__(self, spec: Any, *flags: Any) -> None:
        if type(spec) is not str or not _NUMBERS.fullmatch(spec):
            shown = repr(spec[:40]) if type(spec) is str else type(spec).__name__
            raise Refused(f"holds an array of type {shown}, not of real numbers of up to 64 bits")
        self.dtype = np.dtype(spec)

    def set_state(self, state: tuple) -> None:
        """Take the byte order; refuse fields, subarrays and flags, which plain numbers lack."""
        _version, byte_order, *described = state[:5]
        if any(part is not None for part in described) or any(flag != 0 for flag in state[7:8]):
            raise Refused("holds an array of records or objects")
        if byte_order not in ("<", ">", "=", "|"):
            raise ValueError("unknown byte order")
        self.dtype = self.dtype.newbyteorder(byte_order)


class ArraySlot:
    """Stands for an array between its announcement and the arrival of its content."""

    values: np.ndarray | None = None

    def set_state(self, state: tuple) -> None:
        """Make the array of shape, number type, order of axes and bytes."""
        shape, number_type, is_fortran, data = state[1:] if len(state) == 5 else state
        self.values = array_of_bytes(data, number_type, shape, "F" if is_fortran else "C")


def array_of_bytes(data: Any, number_type: Any, shape: Any, order: str) -> np.ndarray:
    """Lay a read-only array over bytes; none are copied and their number must fit the shape."""
    if type(number_type) is not NumberType:
        raise Refused(f"gives an array the type {type(number_type).__name__}")
    if type(data) is str:  # how Python 2 wrote bytes
        data = data.encode("latin-1")
    if type(data) not in (bytes, memoryview):
        raise Refused(f"fills an array of numbers with a {type(data).__name__}")
    if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("an array without a shape")
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("an array whose shape is not made of whole numbers")
    dtype = number_type.dtype
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} and type {dtype} in {len(data)} bytes")
    return np.ndarray(shape, dtype, buffer=data, order=order)


def plain(value: Any) -> Any:
    """Give what may stay in the result; an array takes the place of its slot."""
    if type(value) is ArraySlot:
        value = value.values
        if value is None:
            raise ValueError("an array without content")
    if type(value) not in _PLAIN:
        kind = "bytes object" if type(value) is memoryview else type(value).__name__
        raise Refused(f"holds a {kind}")
    return value


def find_callee(module: str, name: str) -> Callee:
    """Look a name up among the few that are known; nothing is imported."""
    callee = _CALLEES.get((module, name))
    if callee is None:
        raise Refused(f"asks for {f'{module}.{name}'[:100]!r}")
    return callee


def _announce_array(subtype: Any, *rest: Any) -> ArraySlot:
    if type(subtype) is not Callee or subtype.name != "numpy.ndarray":
        raise Refused("holds an array of a type other than numpy.ndarray")
    return ArraySlot()


def _array_of_buffer(
    data: Any, number_type: Any, shape: Any, order: Any, axes: Any = None
) -> ArraySlot:
    if order not in ("C", "F", "K"):
        raise ValueError("unknown order of axes")
    slot = ArraySlot()
    slot.values = array_of_bytes(data, number_type, shape, "F" if order == "F" else "C")
    if order == "K":
        if type(axes) is not tuple or any(type(axis) is not int for axis in axes):
            raise ValueError("axes that are no whole numbers")
        slot.values = slot.values.transpose(axes)
    return slot


def _number(number_type: Any, data: Any) -> bool | int | float:
    return array_of_bytes(data, number_type, (), "C").item()


def _latin_bytes(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise Refused("asks for an encoding other than latin1")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    return b""  # protocols 0 to 2 call for empty bytes only


def _never_called(*args: Any) -> None:
    raise Refused("calls numpy.ndarray")


_BY_NAME = {
    "numpy ndarray": _never_called,
    "numpy dtype": NumberType,
    "numpy.core.multiarray _reconstruct": _announce_array,
    "numpy._core.multiarray _reconstruct": _announce_array,
    "numpy.core.multiarray scalar": _number,
    "numpy._core.multiarray scalar": _number,
    "numpy.core.numeric _frombuffer": _array_of_buffer,
    "numpy._core.numeric _frombuffer": _array_of_buffer,
    # bytes, as protocols 0 to 2 write them
    "_codecs encode": _latin_bytes,
    "__builtin__ bytes": _no_bytes,
    "builtins bytes": _no_bytes,
}
_CALLEES = {
    tuple(key.split()): Callee(key.replace(" ", "."), call) for key, call in _BY_NAME.items()
}
