"""Pickles of any bytes cost time and memory in proportion to their size, and no more."""

from __future__ import annotations

import pickle
import struct
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile_pickles import (
    NUMPY_CORE,
    array,
    name,
    number_type,
    raw,
    text,
    tuple_of,
    type_state,
    under_key,
)
from skumc.datasets import DatasetError, UnsafePickleError
from skumc.datasets import _features as features_module
from skumc.datasets import _restricted_unpickler as unpickler_module
from skumc.datasets._pickle_reader import read_pickle

SIZE = 300_000
BUFFER = name(NUMPY_CORE.replace("multiarray", "numeric"), "_frombuffer")
MEMO, STOP = pickle.MEMOIZE, pickle.STOP
CALL = b"h\x00h\x01R"  # of what is memoized first, with what is memoized second


def filled(head, unit, tail=b"N."):
    """Repeat ``unit`` until the pickle has SIZE bytes."""
    head = pickle.PROTO + b"\x04" + head
    return head + unit * ((SIZE - len(head) - len(tail)) // len(unit)) + tail


def called(function, arguments, unit=CALL):
    return filled(function + MEMO + arguments + MEMO, unit)


def frombuffer(data=None, kind=None, shape=None, axes=None):
    data, kind = raw(b"1234") if data is None else data, number_type() if kind is None else kind
    shape = tuple_of(*[b"K\x01"] * 8) if shape is None else shape
    order = [text("C")] if axes is None else [text("K"), axes]
    return tuple_of(data, kind, shape, *order)


LONG_TEXT = text("a" * (SIZE // 2))
LONG_TUPLE = pickle.MARK + b"N" * (SIZE // 2) + pickle.TUPLE
LONG_INT = pickle.LONG4 + struct.pack("<i", SIZE // 2) + b"\x7f" * (SIZE // 2)
AXES = tuple_of(*[b"K" + bytes([axis]) for axis in range(8)])
ARRAY = array(number_type(), raw(b"1234"))
STATE = tuple_of(b"K\x01", tuple_of(*[b"K\x01"] * 8), number_type(), pickle.NEWFALSE, raw(b"1234"))
NDARRAY = tuple_of(name("numpy", "ndarray"), tuple_of(b"K\x00"), raw(b"b"))
EXPANDING = {
    "lists": filled(b"", b"]"),
    "dicts": filled(b"", b"}"),
    "dicts with an item": filled(text("a") + MEMO, b"}h\x00Ns"),
    "lists that hold themselves": filled(b"", b"]2a"),
    "lists from marks": filled(b"", b"(l"),
    "dicts from marks": filled(b"", b"(d"),
    "marks": filled(b"", b"("),
    "marks and pops": filled(b"", b"(1"),
    "tuples": filled(b"N", pickle.TUPLE1),
    "duplicates": filled(b"N", pickle.DUP),
    "memo": filled(b"N", MEMO),
    "scattered memo": pickle.NONE
    + b"".join(b"r" + struct.pack("<I", i * 2654435761 % 2**32) for i in range(SIZE // 5))
    + STOP,
    "numbers": filled(b"", b"M\xff\xff"),
    "short texts": filled(b"", b"\x8c\x02\xc4\x80"),
    "wide text": text("a" * SIZE + "\U0001f600") + STOP,
    "escapes in a line": b"S'" + b"\\q" * (SIZE // 2) + b"'\n.",
    "empty bytes": filled(b"", b"B\x00\x00\x00\x00"),
    "empty frames": filled(b"", pickle.FRAME + bytes(8)),
    "names": filled(text("numpy") + MEMO + text("dtype") + MEMO, b"h\x00h\x01" + b"\x93"),
    "encodings of one text": called(name("_codecs", "encode"), tuple_of(LONG_TEXT, text("latin1"))),
    "arrays of one text": called(
        BUFFER,
        frombuffer(LONG_TEXT, number_type("u1"), tuple_of(b"J" + struct.pack("<i", SIZE // 2))),
    ),
    "arrays with many axes": called(BUFFER, frombuffer(axes=AXES)),
    "number types": called(
        name("numpy", "dtype"), tuple_of(text("f4")) + MEMO + type_state(">"), CALL + b"h\x02b"
    ),
    "announced arrays": called(
        name(NUMPY_CORE, "_reconstruct"), NDARRAY + MEMO + STATE, CALL + b"h\x02b"
    ),
    "array under many keys": under_key(filled(ARRAY + MEMO + b"]", b"h\x00a", b"")[2:]),
    "long key": filled(LONG_TEXT + MEMO, b"}h\x00Ns"),
    "long axes": called(BUFFER, frombuffer(shape=tuple_of(b"K\x01"), axes=LONG_TUPLE)),
    "long shape": called(BUFFER, frombuffer(shape=LONG_TUPLE)),
    "long arguments": called(name("numpy", "dtype"), LONG_TUPLE),
    "long state": called(
        name(NUMPY_CORE, "_reconstruct"), NDARRAY + MEMO + LONG_TUPLE, CALL + b"h\x02b"
    ),
    "sizes with many digits": called(
        BUFFER, frombuffer(shape=LONG_INT + MEMO + tuple_of(*[b"h\x00"] * 8))
    ),
    "long number": LONG_INT + STOP,
}


@pytest.fixture
def no_free_objects(monkeypatch):
    monkeypatch.setattr(unpickler_module, "_FREE_OBJECTS", 0)


def cost(content, path):
    """Memory, as a multiple of the file, and seconds that reading takes."""
    path.write_bytes(content)
    tracemalloc.start()
    start = time.process_time()
    try:
        found = read_pickle(path)
    except DatasetError:
        found = None
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del found
    return (peak - 1_000_000) / len(content), seconds


@pytest.mark.parametrize("kind", EXPANDING)
def test_memory_and_time_are_bounded_by_the_size_of_the_file(kind, tmp_path, no_free_objects):
    memory, seconds = cost(EXPANDING[kind], tmp_path / "content.pkl")
    assert memory < 100
    assert seconds < 20  # about 2, and minutes where it is quadratic


UNITS = [b"]", b"}", b"(", b")", b"l", b"d", b"t", b"\x85", b"\x86", b"\x94", b"2", b"0", b"1"]
UNITS += [
    b"N",
    b"a",
    b"e",
    b"s",
    b"u",
    b"h\x00",
    b"h\x01",
    b"h\x02",
    b"R",
    b"b",
    b"q\x00",
    b"K\x01",
]
UNITS += [b"K\x01", b"C\x02ab", b"\x8c\x02\xc4\x80", b"B\0\0\0\0", b"X\0\0\0\0", CALL, b"M\xff\xff"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(UNITS), min_size=1, max_size=5).map(b"".join))
def test_no_repeated_operations_cost_much_memory(tmp_path_factory, unit):
    head = BUFFER + MEMO + frombuffer(axes=AXES) + MEMO + text("a") + MEMO
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpickler_module, "_FREE_OBJECTS", 0)
        memory, _ = cost(filled(head, unit)[:60_000], tmp_path_factory.mktemp("bomb") / "a.pkl")
    assert memory < 100


@pytest.mark.parametrize("kind", ["lists", "dicts", "marks", "tuples", "memo"])
def test_more_objects_than_features_have_are_refused(kind, tmp_path, no_free_objects):
    path = tmp_path / "content.pkl"
    path.write_bytes(EXPANDING[kind])
    with pytest.raises(UnsafePickleError, match=f"makes more than {len(EXPANDING[kind]) // 3} "):
        read_pickle(path)


@pytest.mark.parametrize("protocol", range(6))
def test_features_of_small_arrays_and_rows_have_fewer_objects(protocol, tmp_path, no_free_objects):
    path = tmp_path / "content.pkl"
    for frames in (np.ones((1, 1), np.float32), np.asfortranarray(np.ones((2, 2))), [[0.5]]):
        content = {f"utterance_{i}": frames + frames for i in range(300)}
        path.write_bytes(pickle.dumps(content, protocol))
        assert read_pickle(path).keys() == content.keys()


@pytest.mark.parametrize("operation", [b"I", b"L", b"F0.", b"g", b"p", b"I0x"])
def test_digits_are_limited_where_the_process_has_no_limit(operation, tmp_path):
    path = tmp_path / "content.pkl"
    path.write_bytes(b"N" + operation + b"1" * 100_000 + b"\n.")
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        with pytest.raises(DatasetError, match="more than 4300 digits"):
            read_pickle(path)
    finally:
        sys.set_int_max_str_digits(limit)


def test_a_long_key_is_cut_in_messages(tmp_path):
    path = tmp_path / "content.pkl"
    key = text("k" * 100_000)
    for content in (b"}" + (key + b"Ns") * 2 + STOP, b"}" + key + b"Ns."):
        path.write_bytes(content)
        with pytest.raises(DatasetError) as caught:
            features_module.read_features(path, ["a_0"])
        assert len(str(caught.value)) < 1000


class CountedList(list):
    """Counts how often it is read."""

    n_reads = 0

    def __iter__(self):
        CountedList.n_reads += 1
        return super().__iter__()


def test_shared_lists_are_read_once_and_count_as_often_as_they_occur():
    inner = CountedList([1.0, 2.0])
    middle = CountedList([inner] * 30)
    outer = CountedList([middle] * 50)
    CountedList.n_reads = 0
    assert features_module._ValueCounter().count(outer) == 50 + 50 * (30 + 30 * 2)
    assert CountedList.n_reads <= 3


def test_shared_rows_are_converted_once(monkeypatch):
    rows = []
    convert = features_module._vector
    monkeypatch.setattr(features_module, "_vector", lambda row: rows.append(row) or convert(row))
    row = [1.0, 2.0]
    assert features_module._matrix([row] * 40).tolist() == [row] * 40
    assert rows == [row]
