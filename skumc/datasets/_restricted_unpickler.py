"""The standard library's unpickler, restricted to plain data and arrays of numbers."""

from __future__ import annotations

import codecs
import functools
import math
import mmap
import pickle
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MethodType, NoneType
from typing import Any

import numpy as np

from skumc.datasets._errors import Refused, Repeated

_ALLOWED = """
    PROTO FRAME STOP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT
    BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS MARK POP POP_MARK DUP
    PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL INST REDUCE BUILD
""".split()
_REFUSED = {
    "makes an object": "OBJ NEWOBJ NEWOBJ_EX",
    "holds a set": "EMPTY_SET ADDITEMS FROZENSET",
    "asks for an object by a persistent id": "PERSID BINPERSID",
    "asks for an object by an extension code": "EXT1 EXT2 EXT4",
    "asks for a buffer outside of the file": "NEXT_BUFFER READONLY_BUFFER",
}
_COUNTED = "EMPTY_LIST LIST EMPTY_DICT DICT TUPLE TUPLE1 TUPLE2 TUPLE3 MARK".split()
_COUNTED += "PUT BINPUT LONG_BINPUT MEMOIZE".split()
_NUMBER_LINES = ("INT", "LONG", "FLOAT", "PUT", "GET")
_METHODS = {
    ("numpy", "ndarray"): "_ndarray",
    ("numpy", "dtype"): "_dtype",
    # bytes, as protocols 0 to 2 write them
    ("_codecs", "encode"): "_encode",
    **dict.fromkeys([("__builtin__", "bytes"), ("builtins", "bytes")], "_bytes"),
}
for _core in ("numpy.core", "numpy._core"):
    _METHODS[f"{_core}.multiarray", "_reconstruct"] = "_reconstruct"
    _METHODS[f"{_core}.multiarray", "scalar"] = "_scalar"
    _METHODS[f"{_core}.numeric", "_frombuffer"] = "_frombuffer"
_PLAIN = frozenset({NoneType, bool, int, float, str, list, dict, np.ndarray})
_NUMBERS = re.compile("b1|[iu][1248]|f[248]")
_ESCAPES = re.compile(rb"(\\[xnrt\\'\"])|\\")
_MAX_DIMENSIONS = 8
_MAX_DIGITS = 4300  # Python's own limit, which a process may have lifted
# One byte can make a list of 64 bytes, or a memo entry of 180; features make one per 3 bytes.
_FREE_OBJECTS, _BYTES_PER_OBJECT = 250_000, 3
_MEMO_LIMIT = 2**32  # beyond 2**61, numbers of equal hash make a dict take quadratic time


@dataclass(slots=True)
class _NumberType:
    """Stands for ``numpy.dtype`` while a pickle is read; numpy's own is never changed."""

    dtype: np.dtype

    def set_state(self, state: tuple) -> None:
        """Take the byte order; refuse fields, subarrays and flags, which plain numbers lack."""
        _version, byte_order, *described = state[:5]
        if any(part is not None for part in described) or any(flag != 0 for flag in state[7:8]):
            raise Refused("holds an array of records or objects")
        if byte_order not in ("<", ">", "=", "|"):
            raise ValueError("unknown byte order")
        self.dtype = self.dtype.newbyteorder(byte_order)


@dataclass(slots=True)
class _ArraySlot:
    """Stands for an array between its announcement and the arrival of its content."""

    values: np.ndarray | None = None


def _kind(value: Any) -> str:
    """Name a value's type in an error message."""
    kinds: dict[type, str] = {_NumberType: "number type", _ArraySlot: "array"}
    kinds |= {MethodType: "function", memoryview: "bytes object", bytes: "bytes object"}
    return kinds.get(type(value), type(value).__name__)


def plain(value: Any) -> Any:
    """Check a value that stays in the result, and replace a slot by its array."""
    if type(value) is _ArraySlot and value.values is None:
        raise ValueError("an array without content")
    value = value.values if type(value) is _ArraySlot else value
    if type(value) not in _PLAIN:
        raise Refused(f"holds a {_kind(value)}")
    return value


class RestrictedUnpickler(pickle._Unpickler):
    """Read numbers, strings, lists, dicts and arrays of numbers; execute nothing else.

    Operations and names have the allow-lists above. A name stands for a method of this class, so
    nothing is imported. Time and memory are bounded by a multiple of the file's size: text is
    encoded once however often it is shared, and the number of objects has a limit.

    Parameters
    ----------
    content : mmap.mmap
        The file, mapped for reading; its position is the number of bytes read.

    Raises
    ------
    Refused
        By :meth:`load`, if the pickle asks for what is not plain data.
    Repeated
        By :meth:`load`, if a dict has a key twice, of which other readers keep the last.
    EOFError
        By :meth:`load`, if the content ends before the pickle does.
    ArithmeticError, LookupError, TypeError, ValueError, pickle.UnpicklingError, struct.error
        By :meth:`load`, if the content is not a pickle, or ends within an operation.
    """

    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    pop_mark: Callable[[], list[Any]]
    memo: dict[int, Any]

    def __init__(self, content: mmap.mmap) -> None:
        super().__init__(content, encoding="latin-1")
        self._content, self._view = content, memoryview(content)
        self._file_readline = self._whole_line
        self._latin_1 = functools.cache(functools.partial(str.encode, encoding="latin-1"))
        self._n_objects = 0
        self._max_objects = _FREE_OBJECTS + len(content) // _BYTES_PER_OBJECT

    def _whole_line(self) -> bytes:
        line = self._content.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def check_count(self, n_new: int) -> None:
        """Count new objects; refuse more of them and of open marks than pickled features have."""
        self._n_objects += n_new
        if self._n_objects + len(self.metastack) > self._max_objects:
            raise Refused(f"makes more than {self._max_objects} lists, tuples and other objects")

    def check_digits(self) -> None:
        """Refuse a number with too many digits, because its conversion takes quadratic time."""
        start = self._content.tell()
        stop = start + _MAX_DIGITS + 3
        if stop < len(self._view) and self._content.find(b"\n", start, stop) < 0:
            raise ValueError(f"a number of more than {_MAX_DIGITS} digits")

    # operations that differ from those of the standard library, under its names for them

    def load_frame(self) -> None:
        if struct.unpack("<Q", self.read(8))[0] > len(self._view) - self._content.tell():
            raise EOFError

    def load_binbytes(self) -> None:
        self._push_view(*struct.unpack("<I", self.read(4)))

    def load_binbytes8(self) -> None:
        self._push_view(*struct.unpack("<Q", self.read(8)))

    load_bytearray8 = load_binbytes8

    def _push_view(self, size: int) -> None:
        start = self._content.tell()
        view = self._view[start : start + size]  # shorter at the end of a truncated file
        self._content.seek(start + len(view))
        self.append(view)

    def load_put(self) -> None:
        number = int(self.readline()[:-1])
        if not 0 <= number < _MEMO_LIMIT:
            raise ValueError("a number of the memo that does not fit into 32 bits")
        self.memo[number] = self.stack[-1]

    def load_string(self) -> None:
        line = self.readline()[:-1]
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise ValueError("a string without quotes")
        # other escapes than Python 2 wrote stay as they are, without the codec's warning
        line = _ESCAPES.sub(lambda match: match[1] or rb"\\", line[1:-1])
        self.append(codecs.escape_decode(line)[0].decode("latin-1"))

    def load_list(self) -> None:
        self._extend([], self.pop_mark())

    def load_append(self) -> None:
        items = [self.stack.pop()]
        self._extend(self.stack.pop(), items)

    def load_appends(self) -> None:
        items = self.pop_mark()
        self._extend(self.stack.pop(), items)

    def _extend(self, target: Any, items: Iterable[Any]) -> None:
        if type(target) is not list:
            raise Refused(f"appends to a {_kind(target)}")
        target.extend(map(plain, items))
        self.append(target)

    def load_dict(self) -> None:
        self._fill({}, self.pop_mark())

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill(self.stack.pop(), [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._fill(self.stack.pop(), items)

    def _fill(self, target: Any, items: list[Any]) -> None:
        if type(target) is not dict:
            raise Refused(f"sets items of a {_kind(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                raise Refused(f"has a dict key of type {_kind(key)}, not str")
            if key in target:
                raise Repeated(key)
            target[key] = plain(value)
        self.append(target)

    def find_class(self, module: str, name: str) -> MethodType:
        if (module, name) not in _METHODS:
            raise Refused(f"asks for {f'{module}.{name}'[:100]!r}")
        return getattr(self, _METHODS[module, name])

    def load_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(module) is not str or type(name) is not str:
            raise Refused("asks for something by a name that is not a string")
        self.append(self.find_class(module, name))

    def _instantiate(self, callee: Any, arguments: Any) -> None:
        raise Refused("makes an object")

    def load_reduce(self) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        if type(callee) is not MethodType or type(arguments) is not tuple:
            raise Refused(f"calls a {_kind(callee)}")
        self.append(callee(*arguments))

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) not in (_ArraySlot, _NumberType) or type(state) is not tuple:
            raise Refused(f"sets the state of a {_kind(target)}")
        if type(target) is _NumberType:
            target.set_state(state)
        else:
            shape, number_type, is_fortran, data = state[1:] if len(state) == 5 else state
            target.values = self._array(data, number_type, shape, "F" if is_fortran else "C")

    # methods that a pickle may call

    def _array(self, data: Any, number_type: Any, shape: Any, order: Any) -> np.ndarray:
        """View bytes as a read-only array; their number must fit the shape."""
        if type(number_type) is not _NumberType:
            raise Refused(f"gives an array the type {_kind(number_type)}")
        if type(data) is str:  # how Python 2 wrote bytes
            data = self._latin_1(data)
        if type(data) not in (bytes, memoryview):
            raise Refused(f"fills an array of numbers with a {_kind(data)}")
        if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
            raise ValueError(f"an array without a shape of up to {_MAX_DIMENSIONS} axes")
        if not all(type(size) is int and 0 <= size < 2**63 for size in shape):
            raise ValueError("an array with a shape that is not made of whole numbers")
        dtype = number_type.dtype
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"an array of shape {shape} and type {dtype} in {len(data)} bytes")
        return np.ndarray(shape, dtype, buffer=data, order=order)

    def _ndarray(self, *arguments: Any) -> None:
        raise Refused("calls numpy.ndarray")

    def _dtype(self, spec: Any, align: Any = False, copy: Any = False) -> _NumberType:
        if type(spec) is not str or not _NUMBERS.fullmatch(spec):
            shown = repr(spec[:40]) if type(spec) is str else _kind(spec)
            raise Refused(f"holds an array of type {shown}, not of real numbers of up to 64 bits")
        return _NumberType(np.dtype(spec))

    def _reconstruct(self, subtype: Any, shape: Any, typecode: Any) -> _ArraySlot:
        if type(subtype) is not MethodType or subtype != self._ndarray:
            raise Refused("holds an array of a type other than numpy.ndarray")
        return _ArraySlot()

    def _frombuffer(
        self, data: Any, number_type: Any, shape: Any, order: Any, axes: Any = None
    ) -> np.ndarray:
        if order not in ("C", "F", "K"):
            raise ValueError("unknown order of axes")
        values = self._array(data, number_type, shape, "F" if order == "F" else "C")
        if order == "K":
            if type(axes) is not tuple or len(axes) != len(shape):
                raise ValueError("an order of axes that does not fit the shape")
            values = values.transpose(axes)
        return values

    def _scalar(self, number_type: Any, data: Any) -> bool | int | float:
        return self._array(data, number_type, (), "C").item()

    def _encode(self, text: Any, encoding: Any) -> bytes:
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise Refused("asks for an encoding other than latin1")
        return self._latin_1(text)

    def _bytes(self) -> bytes:
        return b""  # protocols 0 to 2 call for empty bytes only


def _refusal(error: type[Exception], what: str) -> Callable[[Any], None]:
    def refuse(unpickler: RestrictedUnpickler) -> None:
        raise error(what)

    return refuse


def _with_checks(name: str, load: Callable[[Any], None]) -> Callable[[Any], None]:
    def checked(unpickler: RestrictedUnpickler) -> None:
        if name in _COUNTED:
            unpickler.check_count(n_new=name != "MARK")  # a mark costs memory while it is open
        if name in _NUMBER_LINES:
            unpickler.check_digits()
        load(unpickler)

    return checked if name in (*_COUNTED, *_NUMBER_LINES) else load


def _operations() -> dict[int, Callable[[Any], None]]:
    """Operations by code; each byte has one."""
    operations = dict.fromkeys(range(256), _refusal(ValueError, "unknown operation"))
    for what, names in _REFUSED.items():
        for name in names.split():
            operations[getattr(pickle, name)[0]] = _refusal(Refused, what)
    for name in _ALLOWED:
        code = getattr(pickle, name)[0]
        load = getattr(RestrictedUnpickler, pickle._Unpickler.dispatch[code].__name__)
        operations[code] = _with_checks(name, load)
    return operations


RestrictedUnpickler.dispatch = _operations()
