"""Files of any bytes cost time and memory in proportion to their size: features, tables, stores."""

from __future__ import annotations

import json
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile_pickles import array, number_type, raw, under_key
from skumc.data import FrameStore, digest
from skumc.data._frame_index import Span, written
from skumc.datasets import DatasetError, load_iemocap_da
from skumc.datasets import _restricted_unpickler as unpickler_module
from skumc.datasets._features import read_features
from skumc.datasets._pickle_reader import read_pickle
from skumc.text._loaded_model import _read_json

FREE, PER_BYTE = 64 * 2**20, 100  # bytes that reading may take, whatever the size and per byte
SECONDS = 20  # about 1, and minutes where time is quadratic
HEADER = "key\ttext\tlabel\n"


def cost(read):
    """Bytes and seconds that a call takes, whether it succeeds or is refused."""
    tracemalloc.start()
    start = time.process_time()
    try:
        found = read()
    except (DatasetError, ValueError, OSError) as error:
        found = error
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, seconds, found


def check_cost(read, n_bytes):
    peak, seconds, found = cost(read)
    assert peak < FREE + PER_BYTE * n_bytes
    assert seconds < SECONDS
    return found


# pickles


def memo_numbers(step, n=20_000):
    return b"N" + b"".join(b"p%d\n" % (step * place) for place in range(n)) + b"."


@pytest.mark.parametrize("step", [2**61 - 1, 2**64, -1])
def test_memo_numbers_with_equal_hashes_are_refused(step, tmp_path):
    path = tmp_path / "content.pkl"
    path.write_bytes(memo_numbers(step))
    with pytest.raises(DatasetError, match="memo that does not fit into 32 bits"):
        read_pickle(path)


def test_memo_numbers_of_protocol_0_are_read(tmp_path):
    path = tmp_path / "content.pkl"
    path.write_bytes(memo_numbers(214_748)[:-1] + b"0g214748\n.")
    assert read_pickle(path) is None


def wide_array(n=500_000):
    return array(number_type("u1"), raw(bytes(n)), b"J" + struct.pack("<i", n))


def put(number):
    return pickle.LONG_BINPUT + struct.pack("<I", number)


GET = pickle.BINGET + b"\x00"
ROWS = pickle.MARK + b"G?\xf0\0\0\0\0\0\0" * 3000 + pickle.LIST
HUGE_INT = pickle.LONG4 + struct.pack("<i", 200_000) + b"\x7f" * 200_000
FEATURES = {
    "array in many lists": wide_array() + put(0) + b"0(" + (b"(" + GET + b"l") * 60_000 + b"l",
    "array in few lists": wide_array() + put(0) + b"0(" + (b"(" + GET + b"l") * 18 + b"l",
    "array many times": wide_array() + put(0) + b"0(" + GET * 60_000 + b"l",
    "row many times": ROWS + put(0) + b"0(" + GET * 2000 + b"l",
    "row in many lists": ROWS + put(0) + b"0(" + (b"(" + GET + b"l") * 2000 + b"l",
    "doubling": b"(l" + (put(0) + b"0(" + GET * 2 + b"l") * 40,
    "list in itself": b"(l" + put(0) + GET * 50 + b"a" * 50,
    "huge whole numbers": HUGE_INT + put(0) + b"0(((" + GET * 50_000 + b"lll",
    "axes without values": array(
        number_type(), raw(b""), b"\x8a\x08" + b"\xff" * 7 + b"\x3f" + b"K\x00"
    ),
    "long axis without values": b"("
    + array(number_type(), raw(b""), b"J\xff\xff\xff\x7fK\0")
    + b"l",
    "empty rows": b"((l" + put(0) + GET * 200_000 + b"l",
}


@pytest.mark.parametrize("kind", FEATURES)
def test_features_take_memory_and_time_of_their_file(kind, tmp_path):
    path = tmp_path / "content.pkl"
    path.write_bytes(under_key(FEATURES[kind]))
    check_cost(lambda: read_features(path, ["a_0"]), path.stat().st_size)


def test_an_array_under_many_keys_is_not_copied_for_each(tmp_path):
    path = tmp_path / "content.pkl"
    block = np.ones(50_000, np.uint8)
    path.write_bytes(pickle.dumps({f"k{i}": [block] for i in range(2000)}, 4))
    keys = [f"k{i}" for i in range(2000)]
    found = check_cost(lambda: read_features(path, keys), path.stat().st_size)
    assert "far more than fit into the file" in str(found)


@settings(max_examples=30, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8),
    protocol=st.integers(0, 5),
)
def test_changed_bytes_of_real_features_cost_no_more(tmp_path_factory, changes, protocol):
    content = {f"a_{i}": np.ones((3, 40), np.float32) * i for i in range(20)}
    damaged = bytearray(pickle.dumps(content | {"b": [[[0.5, 2**80]]]}, protocol))
    for place, value in changes:
        damaged[place % len(damaged)] = value
    path = tmp_path_factory.mktemp("changed") / "content.pkl"
    path.write_bytes(damaged)
    check_cost(lambda: read_features(path, [*content, "b"]), len(damaged))


# tables


def write_tables(folder, rows):
    (folder / "train.tsv").write_text(HEADER + rows)
    for split in ("dev", "test"):
        (folder / f"{split}.tsv").write_text(HEADER)
    for name in ("audio_data/wavlm_feats.pkl", "video_data/swin_feats.pkl"):
        path = folder / name
        path.parent.mkdir()
        keys = [row.split("\t")[0] for row in rows.splitlines() if row.count("\t") >= 2]
        block = np.ones((1, 2), np.float32)
        path.write_bytes(pickle.dumps({key: block for key in keys} or {"a": block}, 4))


MANY = "".join(f"{i}\tx\ty\n" for i in range(10_000))
TABLES = {
    "long key": MANY + "k" * 130_000 + "\tx\ty\n",
    "long label": "".join(f"{i}\tx\t{i}\n" for i in range(10_000)) + "k\tx\t" + "y" * 130_000,
    "long text": MANY + "k\t" + "x" * 130_000 + "\ty\n",
    "many cells": "a\tx\ty" + "\t" * 300_000,
    "long cell": "a\t" + "x" * 300_000 + "\ty\n",
    "rows without cells": "\t\t\n" * 100_000,
    "wide characters": "a\tx\ty\t" + "\t".join("\U0001f600" * 100 for _ in range(1000)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_take_memory_and_time_of_their_file(kind, tmp_path):
    write_tables(tmp_path, TABLES[kind])
    check_cost(lambda: load_iemocap_da(tmp_path), len(TABLES[kind].encode()))


@pytest.mark.parametrize("what", ["key", "label"])
def test_a_key_far_longer_than_the_others_is_named(what, tmp_path):
    write_tables(tmp_path, TABLES[f"long {what}"])
    with pytest.raises(DatasetError, match=f"{what}s, one of which has 130000 characters"):
        load_iemocap_da(tmp_path)


def test_labels_are_numbered_in_the_order_of_their_names(tmp_path):
    write_tables(tmp_path, "a\tx\tyes\nb\tx\tno\nc\tx\tÄ\nd\tx\tno\n")
    data = load_iemocap_da(tmp_path)
    assert data.target_names.tolist() == ["no", "yes", "Ä"]
    assert data.target.tolist() == [1, 0, 2, 0]
    assert data.data.index.tolist() == ["a", "b", "c", "d"]


# stores of frames


def make_store(folder):
    store = FrameStore(folder, 2)
    with store.locked():
        store.add({digest("a"): np.ones((3, 2))})


HUGE = 2**62
INDEXES = {
    "sizes beyond the file": written([(digest("b"), Span(0, HUGE, 0))]),
    "starts beyond the file": written([(digest("b"), Span(HUGE, 1, 0))]),
    "nothing but keys": written([(digest(str(i)), Span(0, 3, 0)) for i in range(20_000)]),
    "noise": np.random.default_rng(0).bytes(1_000_000),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_of_any_bytes_costs_its_size_and_finds_nothing(kind, tmp_path):
    make_store(tmp_path)
    path = tmp_path / "index.bin"
    path.write_bytes(path.read_bytes() + INDEXES[kind])
    keys = [digest("a"), digest("b")]
    store = check_cost(lambda: FrameStore(tmp_path, 2), len(INDEXES[kind]))
    assert check_cost(lambda: store.absent(keys), len(INDEXES[kind])) == keys[1:]
    np.testing.assert_array_equal(store.take(keys[:1])[0], np.ones((3, 2)))


LAYOUTS = {
    "nested": "[" * 60_000,
    "long": "[" + "0," * 5_000_000 + "0]",
    "long width": '{"layout": 2, "width": ' + "9" * 4000 + "}",
    "wide": '{"layout": 2, "width": 1000000000000}',
    "no width": '{"layout": 2, "width": "2"}',
    "another kind": '"a"',
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_layout_of_any_bytes_costs_little(kind, tmp_path):
    make_store(tmp_path)
    (tmp_path / "layout.json").write_text(LAYOUTS[kind])
    peak, seconds, found = cost(lambda: FrameStore.existing(tmp_path, {}))
    assert isinstance(found, ValueError) and len(str(found)) < 1000
    assert peak < 10_000_000 and seconds < SECONDS


@pytest.mark.parametrize("content", ["[" * 100_000, "{", "[1]", "\ufffe"])
def test_a_damaged_configuration_is_named(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json: "):
        _read_json(str(tmp_path), "config.json")
    (tmp_path / "config.json").write_text(json.dumps({"a": 1}))
    assert _read_json(str(tmp_path), "config.json") == {"a": 1}


def test_the_free_objects_take_less_than_what_is_free():
    assert unpickler_module._FREE_OBJECTS * 180 < FREE
