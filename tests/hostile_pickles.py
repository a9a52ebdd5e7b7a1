"""Pickles that ask for more than plain data, each made to leave a file if it is obeyed."""

from __future__ import annotations

import collections
import datetime
import fractions
import os
import pickle
import struct
from pathlib import Path

import numpy as np

NUMPY_CORE = np.array(1).__reduce__()[0].__module__  # numpy.core.multiarray, or numpy._core


class Call:
    """Is pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Waker:
    """Leaves a file when its state is set."""

    def __init__(self, path):
        self.path = path

    def __getstate__(self):
        return {"path": self.path}

    def __setstate__(self, state):
        Path(state["path"]).touch()


class Builder:
    """Leaves a file when it is made."""

    def __new__(cls, path):
        Path(path).touch()
        return super().__new__(cls)

    def __init__(self, path):
        self.path = path

    def __getnewargs__(self):
        return (self.path,)


class KeywordBuilder(Builder):
    def __getnewargs_ex__(self):
        return (), {"path": self.path}


# assembling pickles by hand


def text(value):
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def tuple_of(*items):
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def name(module, attribute):
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def call(function, *arguments):
    return function + tuple_of(*arguments) + pickle.REDUCE


def under_key(content, protocol=4):
    """A dict with ``content`` under the key that the tests' tables have first."""
    return pickle.PROTO + bytes([protocol]) + b"}" + text("a_0") + content + pickle.SETITEM + b"."


def number_type(spec="f4", state=None):
    made = call(name("numpy", "dtype"), text(spec), pickle.NEWFALSE, pickle.NEWTRUE)
    return made if state is None else made + state + pickle.BUILD


def type_state(byte_order="<", fields=pickle.NONE, names=pickle.NONE, flags=b"K\x00"):
    none = pickle.NONE
    return tuple_of(b"K\x03", text(byte_order), none, names, fields, b"K\x04", b"K\x04", flags)


def array(kind, data, shape=b"K\x01", subtype=None):
    subtype = name("numpy", "ndarray") if subtype is None else subtype
    made = call(name(NUMPY_CORE, "_reconstruct"), subtype, tuple_of(b"K\x00"), b"C\x01b")
    return made + tuple_of(b"K\x01", tuple_of(shape), kind, pickle.NEWFALSE, data) + pickle.BUILD


def raw(data):
    return pickle.BINBYTES + struct.pack("<I", len(data)) + data


def obeyed_pickles(path):
    """Pickles by name that leave the file ``path`` when the ordinary unpickler reads them.

    Making them leaves it too.
    """
    path, command = str(path), f'echo x> "{path}"'
    command_text, system = text(command), name(os.system.__module__, "system")
    get_attribute, imported = name("builtins", "getattr"), name("builtins", "__import__")
    opened = call(name("builtins", "open"), text(path), text("w"))
    found = {}
    for protocol in range(6):
        plain = {
            "os.system": Call(os.system, command),
            "nested reduce": [{"b": [Call(list, [Call(os.system, command)])]}],
            "eval": Call(eval, f"open({path!r}, 'w').close()"),
            "setstate": Waker(path),
            "object array": np.array([Call(os.system, command), None], dtype=object),
            "object field": np.array([(1.0, Call(os.system, command))], dtype="f4,O"),
            "numpy.savetxt": Call(np.savetxt, path, [1.0]),
            "numpy.memmap": Call(np.memmap, path, "u1", "w+", 0, (1,)),
        }
        if protocol >= 2:
            plain |= {"newobj": Builder(path), "newobj_ex": KeywordBuilder(path)}
        for kind, content in plain.items():
            found[f"{kind}, protocol {protocol}"] = pickle.dumps({"a_0": content}, protocol)
    by_hand = {
        "reduce of a reduce": call(
            call(get_attribute, call(imported, text("os")), text("system")), command_text
        ),
        "dotted name": call(
            text("os") + text("system.__call__") + pickle.STACK_GLOBAL, command_text
        ),
        "inst": pickle.MARK + command_text + pickle.INST + b"os\nsystem\n",
        "inst of strings": b"(S'" + command.encode() + b"'\nios\nsystem\n",
        "obj": pickle.MARK + system + command_text + pickle.OBJ,
        "popped result": opened + pickle.POP + b"K\x01",
        "in a memo": opened + pickle.BINPUT + b"\x00" + pickle.POP + b"K\x01",
        "array type": array(opened + pickle.POP + number_type(), raw(b"1234")),
        "array as an argument": call(
            name("numpy", "savetxt"), text(path), array(number_type(), raw(b"1234"))
        ),
    }
    found |= {kind: under_key(content) for kind, content in by_hand.items()}
    found["unused"] = opened + pickle.POP + pickle.EMPTY_DICT + b"."
    return found


def refused_pickles():
    """More pickles by name that hold or ask for what is no plain data."""
    f4, four = number_type(), raw(b"1234")
    function = name("numpy", "dtype")
    contents = {
        "persistent id": text("a") + pickle.BINPERSID,
        "persistent id in a line": pickle.PERSID + b"a\n",
        "extension 1": pickle.EXT1 + b"\x01",
        "extension 2": pickle.EXT2 + b"\x01\x00",
        "extension 4": pickle.EXT4 + b"\x01\x00\x00\x00",
        "buffer outside": pickle.NEXT_BUFFER + pickle.READONLY_BUFFER,
        "read-only buffer": pickle.EMPTY_LIST + pickle.READONLY_BUFFER,
        "function": function,
        "state of a function": function + tuple_of(b"N", b"}") + pickle.BUILD,
        "state of a dict": b"}" + tuple_of(b"N", b"}") + pickle.BUILD,
        "call of a string": call(text("a")),
        "call of an array": call(array(f4, four)),
        "call of ndarray": call(name("numpy", "ndarray"), tuple_of(b"K\x01")),
        "call without a tuple": function + pickle.EMPTY_LIST + pickle.REDUCE,
        "name that is no string": b"K\x01K\x02" + pickle.STACK_GLOBAL,
        "method of ndarray": text("numpy") + text("ndarray.tofile") + pickle.STACK_GLOBAL,
        "class of dtype": text("numpy") + text("dtype.__class__") + pickle.STACK_GLOBAL,
        "memmap by reconstruct": array(f4, four, subtype=name("numpy", "memmap")),
        "array of a string type": array(f4, four, subtype=text("numpy.ndarray")),
        "object type": array(number_type("O"), b"]K\x01a"),
        "object type with size": array(number_type("O8"), b"]K\x01a"),
        "objects in a float array": array(f4, b"]K\x01a"),
        "type that is no type": array(text("O"), four),
        "type with fields": array(number_type("f4", type_state(fields=b"}")), four),
        "type with names": array(number_type("f4", type_state(names=tuple_of(text("a")))), four),
        "type with the object flag": array(number_type("f4", type_state(flags=b"K\x3f")), four),
        "many types": array(number_type("f4,O"), four),
        "type by name": array(number_type("object"), four),
        "encoding": array(f4, call(name("_codecs", "encode"), text("abcd"), text("rot13"))),
        "decoding": call(name("_codecs", "decode"), four, text("zip")),
        "appending to a dict": b"}K\x01" + pickle.APPEND,
        "items of a list": b"]" + text("a") + b"K\x01" + pickle.SETITEM,
        "key that is a number": b"}K\x01K\x01" + pickle.SETITEM,
        "key that is a tuple": b"}" + tuple_of(b"K\x01") + b"K\x01" + pickle.SETITEM,
    }
    found = {kind: under_key(content) for kind, content in contents.items()}
    for module, attributes in {
        "numpy": ("load", "fromfile", "save", "vectorize", "frompyfunc", "matrix", "record"),
        "numpy.core.multiarray": (
            "fromfile",
            "array",
            "frombuffer",
            "empty",
            "set_string_function",
        ),
        "numpy._core.multiarray": ("fromfile", "array", "frombuffer", "empty"),
        "numpy.lib.format": ("open_memmap", "read_array"),
        "numpy.testing": ("rundocs",),
        "numpy.core.numeric": ("fromfunction",),
        "numpy._core.numeric": ("fromfunction",),
        "builtins": ("bytearray", "getattr", "eval", "exec", "range", "complex", "list"),
        "functools": ("partial",),
        "operator": ("attrgetter", "methodcaller"),
        "_codecs": ("lookup",),
        "copyreg": ("_reconstructor", "add_extension"),
    }.items():
        for attribute in attributes:
            found[f"{module}.{attribute}"] = under_key(call(name(module, attribute)))
    values = {
        "tuple": (1.0, 2.0),
        "set": {1.0},
        "frozenset": frozenset({1.0}),
        "bytes": b"ab",
        "bytearray": bytearray(b"ab"),
        "complex number": 1j,
        "date": datetime.date(2000, 1, 1),
        "ordered dict": collections.OrderedDict(a=1),
        "default dict": collections.defaultdict(list),
        "fraction": fractions.Fraction(1, 2),
        "array of strings": np.array(["a"]),
        "array of dates": np.array(["2000-01-01"], dtype="datetime64[D]"),
        "array of complex numbers": np.array([1j]),
        "array of records": np.array([(1, 2.0)], dtype="i4,f8"),
        "array of objects": np.array([[1.0], [2.0, 3.0], None], dtype=object)[:2],
        "masked array": np.ma.masked_invalid([1.0, np.nan]),
        "string of numpy": np.str_("a"),
    }
    for protocol in range(6):
        for kind, value in values.items():
            found[f"{kind}, protocol {protocol}"] = pickle.dumps({"a_0": [value]}, protocol)
    return found
