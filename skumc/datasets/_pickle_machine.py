"""A stack machine for pickles whose operations make plain data."""

from __future__ import annotations

import mmap
import pickle
import re
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from skumc.datasets._pickle_values import (
    ArraySlot,
    Callee,
    NumberType,
    Refused,
    Repeated,
    find_callee,
    plain,
)

_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\", b"'": b"'", b'"': b'"'}


def _unquote(line: bytes) -> str:
    """Read a string as Python 2 wrote it in protocol 0."""
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise ValueError("a string without quotes")

    def unescape(match: re.Match) -> bytes:
        code = match[1]
        return bytes([int(code[1:], 16)]) if len(code) == 3 else _ESCAPES.get(code, match[0])

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", unescape, line[1:-1]).decode("latin-1")


def _int_or_bool(line: bytes) -> int | bool:
    return {b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line)


class PickleMachine:
    """The stack, the memo and one method for each kind of operation.

    Parameters
    ----------
    content : mmap.mmap
        The file, mapped for reading.

    Attributes
    ----------
    position : int
        Bytes read so far.

    Raises
    ------
    Refused
        By :meth:`run`, if the pickle asks for what is no plain data.
    Repeated
        By :meth:`run`, if a dict has a key twice, of which others keep the last.
    EOFError
        By :meth:`run`, if the content ends before the pickle does.
    ArithmeticError, LookupError, TypeError, ValueError, struct.error
        By :meth:`run`, if the content is no pickle.
    """

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.view, self.position = content, memoryview(content), 0
        self.stack: list[Any] = []
        self.outer_stacks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while (code := self._byte()) != pickle.STOP[0]:
            if code not in _OPERATIONS:
                raise ValueError(f"unknown operation {code:#04x}")
            method, *arguments = _OPERATIONS[code]
            method(self, *arguments)
        return plain(self.stack.pop())

    # reading

    def _take(self, size: int) -> memoryview:
        stop = self.position + size
        if size < 0:
            raise ValueError("a negative size")
        if stop > len(self.view):
            raise EOFError
        taken = self.view[self.position : stop]
        self.position = stop
        return taken

    def _byte(self) -> int:
        if self.position == len(self.view):
            raise EOFError
        self.position += 1
        return self.view[self.position - 1]

    def _fixed(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> bytes:
        stop = self.content.find(b"\n", self.position)
        if stop < 0:
            raise EOFError
        line = bytes(self._take(stop - self.position))
        self.position = stop + 1
        return line

    def _items(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        items, self.stack = self.stack, self.outer_stacks.pop()
        return items

    # operations that push one value

    def constant(self, value: Any) -> None:
        self.stack.append(value)

    def new(self, make: Callable[[], Any]) -> None:
        self.stack.append(make())

    def number(self, layout: str) -> None:
        self.stack.append(self._fixed(layout))

    def long(self, layout: str) -> None:
        self.stack.append(int.from_bytes(self._take(self._fixed(layout)), "little", signed=True))

    def parsed_line(self, parse: Callable[[bytes], Any]) -> None:
        self.stack.append(parse(self._line()))

    def text(self, layout: str, encoding: str = "utf-8") -> None:
        content = self._take(self._fixed(layout))
        self.stack.append(str(content, encoding, "surrogatepass"))

    def raw(self, layout: str) -> None:
        self.stack.append(self._take(self._fixed(layout)))

    # operations on the stack and the memo

    def mark(self) -> None:
        self.outer_stacks.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._items()

    def duplicate(self) -> None:
        self.stack.append(self.stack[-1])

    def put(self, read_index: Callable[[PickleMachine], int]) -> None:
        self.memo[read_index(self)] = self.stack[-1]

    def get(self, read_index: Callable[[PickleMachine], int]) -> None:
        self.stack.append(self.memo[read_index(self)])

    # operations that make and fill containers

    def tuple_of(self, size: int) -> None:
        if len(self.stack) < size:
            raise ValueError("a tuple of more than there is")
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def tuple_since_mark(self) -> None:
        items = self._items()
        self.stack.append(tuple(items))

    def list_since_mark(self) -> None:
        items = self._items()
        self.stack.append(list(map(plain, items)))

    def dict_since_mark(self) -> None:
        items = self._items()
        self.stack.append({})
        self._fill_dict(items)

    def append(self) -> None:
        self._extend_list([self.stack.pop()])

    def append_since_mark(self) -> None:
        self._extend_list(self._items())

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill_dict([key, value])

    def set_items_since_mark(self) -> None:
        self._fill_dict(self._items())

    def _extend_list(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Refused(f"appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(map(plain, items))

    def _fill_dict(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise Refused(f"sets items of a {type(self.stack[-1]).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                raise Refused(f"has a dict key of type {type(key).__name__}, not str")
            if key in self.stack[-1]:
                raise Repeated(key)
            self.stack[-1][key] = plain(value)

    # operations by which other readers reach Python's names

    def find_line(self) -> None:
        self._find(self._line().decode(), self._line().decode())

    def find_on_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._find(module, name)

    def _find(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise Refused("asks for something by a name that is no string")
        self.stack.append(find_callee(module, name))

    def call(self) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        if type(callee) is not Callee or type(arguments) is not tuple:
            raise Refused(f"calls a {type(callee).__name__}")
        self.stack.append(callee.call(*arguments))

    def set_state(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) not in (ArraySlot, NumberType) or type(state) is not tuple:
            raise Refused(f"sets the state of a {type(target).__name__}")
        target.set_state(state)

    def instance_by_line(self) -> NoReturn:
        names = ".".join(self._line().decode() for _ in range(2))
        raise Refused(f"asks for {names[:100]!r}")

    def refuse(self, what: str) -> NoReturn:
        raise Refused(what)

    # frame and protocol

    def protocol(self) -> None:
        if (version := self._byte()) > 5:
            raise ValueError(f"protocol {version}, expected 0 to 5")

    def frame(self) -> None:
        if self._fixed("<Q") > len(self.view) - self.position:
            raise EOFError


_INDEX_READERS: dict[str, Callable[[PickleMachine], int]] = {
    "line": lambda machine: int(machine._line()),
    "byte": lambda machine: machine._fixed("<B"),
    "long": lambda machine: machine._fixed("<I"),
    "next": lambda machine: len(machine.memo),
}
_BY_CODE = {
    pickle.PROTO: (PickleMachine.protocol,),
    pickle.FRAME: (PickleMachine.frame,),
    pickle.NONE: (PickleMachine.constant, None),
    pickle.NEWTRUE: (PickleMachine.constant, True),
    pickle.NEWFALSE: (PickleMachine.constant, False),
    pickle.EMPTY_TUPLE: (PickleMachine.constant, ()),
    pickle.EMPTY_LIST: (PickleMachine.new, list),
    pickle.EMPTY_DICT: (PickleMachine.new, dict),
    pickle.BININT: (PickleMachine.number, "<i"),
    pickle.BININT1: (PickleMachine.number, "<B"),
    pickle.BININT2: (PickleMachine.number, "<H"),
    pickle.BINFLOAT: (PickleMachine.number, ">d"),
    pickle.LONG1: (PickleMachine.long, "<B"),
    pickle.LONG4: (PickleMachine.long, "<i"),
    pickle.INT: (PickleMachine.parsed_line, _int_or_bool),
    pickle.LONG: (PickleMachine.parsed_line, lambda line: int(line.removesuffix(b"L"))),
    pickle.FLOAT: (PickleMachine.parsed_line, float),
    pickle.STRING: (PickleMachine.parsed_line, _unquote),
    pickle.UNICODE: (PickleMachine.parsed_line, lambda line: str(line, "raw-unicode-escape")),
    pickle.BINSTRING: (PickleMachine.text, "<i", "latin-1"),
    pickle.SHORT_BINSTRING: (PickleMachine.text, "<B", "latin-1"),
    pickle.SHORT_BINUNICODE: (PickleMachine.text, "<B"),
    pickle.BINUNICODE: (PickleMachine.text, "<I"),
    pickle.BINUNICODE8: (PickleMachine.text, "<Q"),
    pickle.SHORT_BINBYTES: (PickleMachine.raw, "<B"),
    pickle.BINBYTES: (PickleMachine.raw, "<I"),
    pickle.BINBYTES8: (PickleMachine.raw, "<Q"),
    pickle.BYTEARRAY8: (PickleMachine.raw, "<Q"),
    pickle.MARK: (PickleMachine.mark,),
    pickle.POP: (PickleMachine.pop,),
    pickle.POP_MARK: (PickleMachine._items,),
    pickle.DUP: (PickleMachine.duplicate,),
    pickle.PUT: (PickleMachine.put, _INDEX_READERS["line"]),
    pickle.BINPUT: (PickleMachine.put, _INDEX_READERS["byte"]),
    pickle.LONG_BINPUT: (PickleMachine.put, _INDEX_READERS["long"]),
    pickle.MEMOIZE: (PickleMachine.put, _INDEX_READERS["next"]),
    pickle.GET: (PickleMachine.get, _INDEX_READERS["line"]),
    pickle.BINGET: (PickleMachine.get, _INDEX_READERS["byte"]),
    pickle.LONG_BINGET: (PickleMachine.get, _INDEX_READERS["long"]),
    pickle.TUPLE1: (PickleMachine.tuple_of, 1),
    pickle.TUPLE2: (PickleMachine.tuple_of, 2),
    pickle.TUPLE3: (PickleMachine.tuple_of, 3),
    pickle.TUPLE: (PickleMachine.tuple_since_mark,),
    pickle.LIST: (PickleMachine.list_since_mark,),
    pickle.DICT: (PickleMachine.dict_since_mark,),
    pickle.APPEND: (PickleMachine.append,),
    pickle.APPENDS: (PickleMachine.append_since_mark,),
    pickle.SETITEM: (PickleMachine.set_item,),
    pickle.SETITEMS: (PickleMachine.set_items_since_mark,),
    pickle.GLOBAL: (PickleMachine.find_line,),
    pickle.STACK_GLOBAL: (PickleMachine.find_on_stack,),
    pickle.REDUCE: (PickleMachine.call,),
    pickle.BUILD: (PickleMachine.set_state,),
    pickle.INST: (PickleMachine.instance_by_line,),
    pickle.OBJ: (PickleMachine.refuse, "makes an object"),
    pickle.NEWOBJ: (PickleMachine.refuse, "makes an object"),
    pickle.NEWOBJ_EX: (PickleMachine.refuse, "makes an object"),
    pickle.EMPTY_SET: (PickleMachine.refuse, "holds a set"),
    pickle.ADDITEMS: (PickleMachine.refuse, "holds a set"),
    pickle.FROZENSET: (PickleMachine.refuse, "holds a frozenset"),
    pickle.PERSID: (PickleMachine.refuse, "asks for an object by a persistent id"),
    pickle.BINPERSID: (PickleMachine.refuse, "asks for an object by a persistent id"),
    pickle.EXT1: (PickleMachine.refuse, "asks for an object by an extension code"),
    pickle.EXT2: (PickleMachine.refuse, "asks for an object by an extension code"),
    pickle.EXT4: (PickleMachine.refuse, "asks for an object by an extension code"),
    pickle.NEXT_BUFFER: (PickleMachine.refuse, "asks for a buffer outside of the file"),
    pickle.READONLY_BUFFER: (PickleMachine.refuse, "asks for a buffer outside of the file"),
}
_OPERATIONS = {code[0]: operation for code, operation in _BY_CODE.items()}
