"""Data sets: pickles that are read, refused or damaged, the three layouts, conversion, blobs."""

from __future__ import annotations

import copyreg
import importlib
import inspect
import io
import mmap
import multiprocessing
import os
import pickle
import re
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

import hostile_pickles
import skumc.datasets
from hostile_pickles import array, call, name, number_type, raw, text, tuple_of, under_key
from skumc import MultimodalData
from skumc.datasets import (
    DatasetError,
    UnsafePickleError,
    load_iemocap_da,
    load_meld_da,
    load_mintrec,
    make_multimodal_blobs,
)
from skumc.datasets import _features as features_module
from skumc.datasets import _frame_cache as cache_module
from skumc.datasets._pickle_reader import read_pickle
from skumc.feature_extraction import PooledFeatures

HEADER = "first\tsecond\tthird\tfourth\tfifth\n"
FILES = {"audio": "audio_data/wavlm_feats.pkl", "video": "video_data/swin_feats.pkl"}
KEYS = ["a_0", "a_1", "b_0", "b_1", "c_0"]
LABELS = ["joke", "agree", "joke", "thank", "agree"]


def read_bytes(content):
    """Read a pickle that is given as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "content.pkl")
        path.write_bytes(content)
        return read_pickle(path)


def make_frames(seed=0, width=3, keys=KEYS, longest=6):
    rng = np.random.default_rng(seed)
    return {
        key: rng.normal(size=(rng.integers(1, longest + 1), width)).astype(np.float32)
        for key in keys
    }


def write_tables(folder, rows):
    """One table a split from the rows of each."""
    for split in ("train", "dev", "test"):
        lines = ["\t".join(row) + "\n" for row in rows.get(split, [])]
        (folder / f"{split}.tsv").write_text(HEADER + "".join(lines), encoding="utf-8")


def write_features(folder, modality, content, protocol=4):
    path = folder / FILES[modality]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.fixture
def meld(tmp_path):
    """A folder in the layout of MELD-DA and what lies in it."""
    folder = tmp_path / "meld"
    folder.mkdir()
    rows = [
        [*key.split("_"), f"text {key}", label] for key, label in zip(KEYS, LABELS, strict=True)
    ]
    write_tables(folder, {"train": rows[:2], "dev": rows[2:3], "test": rows[3:]})
    content = {"audio": make_frames(0, 3), "video": make_frames(1, 2)}
    for modality, frames in content.items():
        write_features(folder, modality, frames)
    return folder, content


def assert_same_frames(X, modality, frames, keys=KEYS, limit=None):
    for key, found in zip(keys, X.sequences(modality), strict=True):
        wanted = frames.get(key)
        if wanted is None:
            assert found is None
        else:
            assert_array_equal(found, np.asarray(wanted, np.float32)[:limit], strict=True)


def slots(folder):
    """Conversions in a cache folder, finished or not."""
    return sorted(path.name for path in Path(folder).glob("*") if path.is_dir())


# reading pickles

NUMBERS = st.booleans() | st.integers() | st.floats(allow_nan=False)
ARRAYS = npst.arrays(
    dtype=npst.boolean_dtypes()
    | npst.integer_dtypes(endianness="?")
    | npst.unsigned_integer_dtypes(endianness="?")
    | npst.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    shape=npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
PLAIN = st.recursive(
    st.none() | NUMBERS | st.text(max_size=300) | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def assert_same(found, wanted):
    """Hold what was read against what was written, types included."""
    if isinstance(wanted, np.generic):
        wanted = wanted.item()
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray):
        # numpy itself gives some protocols' arrays in the machine's byte order
        assert found.dtype.newbyteorder("=") == wanted.dtype.newbyteorder("=")
        assert found.shape == wanted.shape
        assert_array_equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key, value in wanted.items():
            assert_same(found[key], value)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    else:
        assert found == wanted


@given(PLAIN, st.integers(0, 5), st.sampled_from([pickle.dumps, pickle._dumps]))
def test_plain_data_is_read_as_it_was_written(content, protocol, dumps):
    if protocol == 5:
        dumps = pickle.dumps  # the one in Python trips over two empty buffers
    written = dumps(content, protocol)
    assert_same(read_bytes(written), content)
    assert_same(read_bytes(written), pickle.loads(written))


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_in_every_order_of_axes_and_shared_values_are_read(protocol):
    block = np.arange(24.0).reshape(2, 3, 4)
    content = {
        "fortran": np.asfortranarray(block),
        "axes": block.transpose(1, 2, 0),
        "strided": block[:, ::2],
        "empty": np.zeros((0, 3)),
        "number": np.float32(0.1),
        "whole number": np.int64(-7),
        "truth": np.bool_(True),
        "big": 10**40,
        "same": [block, block],
        "long text": "ä\n'\\\ud800" * 100,
    }
    found = read_bytes(pickle.dumps(content, protocol))
    assert_same(found, content)
    assert found["same"][0] is found["same"][1]


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_names_of_old_and_new_numpy_are_known(core):
    four = raw(np.float32(1.5).tobytes())
    callee = name(f"{core}.multiarray", "_reconstruct")
    made = call(callee, name("numpy", "ndarray"), tuple_of(b"K\x00"), raw(b"b"))
    fields = tuple_of(b"K\x01"), number_type(), pickle.NEWFALSE, four
    new_state, old_state = tuple_of(b"K\x01", *fields), tuple_of(*fields)
    for state in (new_state, old_state):
        assert_same(read_bytes(made + state + b"b."), np.array([1.5], np.float32))
    scalar = call(name(f"{core}.multiarray", "scalar"), number_type(), four)
    assert_same(read_bytes(scalar + b"."), 1.5)
    shape = tuple_of(b"K\x01")
    buffer = call(name(f"{core}.numeric", "_frombuffer"), four, number_type(), shape, text("C"))
    assert_same(read_bytes(buffer + b"."), np.array([1.5], np.float32))


def test_strings_of_python_2_are_read():
    lines = b"(dS'a\\'b\\\\\\n\\xe4\\q'\nI01\nsS\"it's\"\nL5L\ns."
    assert_same(read_bytes(lines), {"a'b\\\nä\\q": True, "it's": 5})
    data = np.array([1.5, -2.0]).tobytes()
    kind = call(name("numpy", "dtype"), b"U\x02f8", b"I0\n", b"I1\n")
    sizes = b"J\xff\xff\xff\xff" * 2
    kind += tuple_of(b"K\x03", b"U\x01<", b"N", b"N", b"N", sizes, b"K\x00") + b"b"
    made = call(
        name("numpy.core.multiarray", "_reconstruct"),
        name("numpy", "ndarray"),
        tuple_of(b"K\x00"),
        b"U\x01b",
    )
    content = b"T" + struct.pack("<i", 16) + data
    state = tuple_of(b"K\x01", tuple_of(b"K\x02"), kind, b"I00\n", content)
    found = read_bytes(b"\x80\x02}U\x01a" + made + state + b"bs.")
    assert_same(found, {"a": np.array([1.5, -2.0])})


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_lie_in_the_file_and_are_read_only(tmp_path, protocol):
    path = tmp_path / "content.pkl"
    path.write_bytes(pickle.dumps({"a": np.ones((1000, 3), np.float32)}, protocol))
    frames = read_pickle(path)["a"]
    assert not frames.flags.writeable
    base = frames
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(getattr(base, "obj", base), mmap.mmap)


# hostile pickles


@pytest.fixture
def trace(tmp_path):
    """A file that must not appear."""
    path = tmp_path / "trace"
    yield path
    assert not path.exists()


def made_names(make, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        return sorted(make(*[Path(folder, "trace") for _ in arguments]))


OBEYED = made_names(hostile_pickles.obeyed_pickles, "path")
REFUSED = hostile_pickles.refused_pickles()


def obeyed_pickle(kind, trace):
    content = hostile_pickles.obeyed_pickles(trace)[kind]
    trace.unlink()  # some leave it when they are made
    return content


@pytest.mark.parametrize("kind", OBEYED)
def test_the_ordinary_unpickler_obeys_the_hostile_pickles(kind, tmp_path):
    content = obeyed_pickle(kind, tmp_path / "trace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pickle.loads(content)
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("kind", OBEYED)
def test_hostile_pickles_raise_and_leave_no_trace(kind, trace, tmp_path):
    path = tmp_path / "content.pkl"
    path.write_bytes(obeyed_pickle(kind, trace))
    with pytest.raises(UnsafePickleError, match="nothing was run") as caught:
        read_pickle(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("modality", list(FILES))
@pytest.mark.parametrize("kind", [kind for kind in OBEYED if re.search("[^0-35]$", kind)])
def test_hostile_pickles_of_a_data_set_leave_no_trace(kind, modality, trace, meld):
    folder, _ = meld
    path = write_features(folder, modality, obeyed_pickle(kind, trace))
    with pytest.raises(UnsafePickleError, match=re.escape(str(path))):
        load_meld_da(folder)
    assert not any(slot.startswith((modality, "partial")) for slot in slots(folder / ".skumc"))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_plain_data_is_refused(kind, tmp_path):
    path = tmp_path / "content.pkl"
    path.write_bytes(REFUSED[kind])
    with pytest.raises(UnsafePickleError, match=re.escape(str(path))):
        read_pickle(path)


def test_the_refused_name_and_the_remedy_are_told(trace):
    content = obeyed_pickle("os.system, protocol 2", trace)
    message = rf"asks for '{os.system.__module__}\.system'.* Pickle a dict from key to array"
    with pytest.raises(UnsafePickleError, match=message):
        read_bytes(content)
    with pytest.raises(pickle.UnpicklingError):
        read_bytes(content)
    with pytest.raises(UnsafePickleError, match="array of type 'O8', not of real numbers"):
        read_bytes(pickle.dumps(np.array([None]), 4))


def test_extension_codes_are_refused_though_the_process_has_used_them(trace):
    copyreg.add_extension("pathlib", "Path.touch", 240)
    try:
        content = pickle.EXT1 + b"\xf0" + call(name("pathlib", "Path"), text(str(trace)))
        content += pickle.TUPLE1 + pickle.REDUCE + pickle.STOP
        copyreg._extension_cache[240] = Path.touch
        pickle.loads(content)
        trace.unlink()
        with pytest.raises(UnsafePickleError, match="extension code"):
            read_bytes(content)
    finally:
        copyreg.remove_extension("pathlib", "Path.touch", 240)
        copyreg.clear_extension_cache()


def test_nothing_is_imported(trace, tmp_path, monkeypatch):
    (tmp_path / "a_trap.py").write_text(f"open({str(trace)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    for content in (
        name("a_trap", "anything"),
        text("a_trap") + text("anything") + pickle.STACK_GLOBAL,
        pickle.MARK + pickle.INST + b"a_trap\nanything\n",
    ):
        with pytest.raises(UnsafePickleError, match=r"a_trap\.anything"):
            read_bytes(under_key(content))
    assert "a_trap" not in sys.modules


def test_types_of_numpy_stay_as_they_are():
    state = hostile_pickles.type_state(byte_order=">")
    content = under_key(array(number_type("f4", state), raw(b"\x3f\x80\x00\x00")))
    assert_same(read_bytes(content)["a_0"], np.array([1.0], ">f4"))
    assert np.dtype("f4").isnative and np.dtype("f4") == np.float32


def test_tensors_are_refused_with_the_way_to_convert_them():
    for protocol in range(6):
        content = pickle.dumps({"a_0": torch.zeros(2, 3)}, protocol)
        with pytest.raises(UnsafePickleError, match=r"torch.*tensor\.cpu\(\)\.numpy\(\)"):
            read_bytes(content)
    for as_zip in (True, False):
        file = io.BytesIO()
        torch.save({"a_0": torch.zeros(2, 3)}, file, _use_new_zipfile_serialization=as_zip)
        if as_zip:
            assert zipfile.is_zipfile(file)
            with pytest.raises(DatasetError, match=r"torch\.save.*tensor\.cpu\(\)\.numpy\(\)"):
                read_bytes(file.getvalue())
        else:
            assert isinstance(read_bytes(file.getvalue()), int)  # a dict is asked for later


HUGE = {
    "bytes": b"\x8e" + struct.pack("<Q", 2**62),
    "bytearray": b"\x96" + struct.pack("<Q", 2**62),
    "text": b"\x8d" + struct.pack("<Q", 2**62),
    "frame": b"\x95" + struct.pack("<Q", 2**62) + b"N",
    "whole number": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "array": array(number_type(), raw(b"1234"), shape=b"J\xff\xff\xff\x7f" * 3),
    "empty array": array(number_type(), raw(b""), shape=b"K\x00" + b"J\xff\xff\xff\x7f" * 5),
    "bytes by name": call(name("builtins", "bytes"), b"J\xff\xff\xff\x7f"),
    "negative": b"T" + struct.pack("<i", -5),
}


@pytest.mark.parametrize("kind", HUGE)
def test_sizes_are_held_against_what_is_there(kind):
    with pytest.raises(DatasetError, match="truncated|damaged"):
        read_bytes(under_key(HUGE[kind]))


def test_numbers_of_the_memo_cost_no_memory():
    assert read_bytes(b"\x80\x04]r\xff\xff\xff\xffj\xff\xff\xff\xff.") == []


def test_deep_nesting_is_no_harm(tmp_path):
    depth = 200_000
    lists = b"]" * depth + b"a" * (depth - 1)
    found = read_bytes(lists + b".")
    assert type(found) is list and type(found[0]) is list
    with pytest.raises(UnsafePickleError, match="dict key of type tuple"):
        read_bytes(b"}K\x01" + pickle.TUPLE1 * depth + b"Ns.")
    path = tmp_path / "content.pkl"
    path.write_bytes(under_key(lists))
    with pytest.raises(DatasetError, match="'a_0'"):
        features_module.read_features(path, ["a_0"])


# damaged pickles


@pytest.mark.parametrize("protocol", range(6))
def test_a_truncated_file_is_named(tmp_path, protocol):
    content = pickle.dumps({"a": np.ones((2, 3)), "b": [1, 2.5, "text"], "c": 2**70}, protocol)
    path = tmp_path / "content.pkl"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        message = f"{re.escape(str(path))}: .*(truncated|empty)"
        with pytest.raises(DatasetError, match=message):
            read_pickle(path)


@pytest.mark.parametrize(
    "content",
    [b".", b"a.", b"u.", b"t.", b"0.", b"1.", b"2.", b"h\x00.", b"\x80\x07N.", b"\xff", b"}K\x01s.",
     b"(K\x01d.", b"Ix\n.", b"Sx\n.", b"Fx\n.", b"\x86.", b"Vx\\u12\n.", b"X\x01\x00\x00\x00\xff.",
     b"a,b\n1,2\n", b"\x93NUMPY\x01\x00", under_key(array(number_type(), raw(b"123"))),
     under_key(array(number_type(), raw(b"12345678"))),
     under_key(array(number_type("i3"[:1] + "8"), raw(b"1234"))),
     under_key(array(number_type(), raw(b"1234"), shape=b"J\xff\xff\xff\xff")),
     under_key(array(number_type(), raw(b"1234"), shape=b"G?\xf0\x00\x00\x00\x00\x00\x00")),
     under_key(call(name("numpy", "dtype"))),
     under_key(call(name("numpy.core.multiarray", "scalar"))),
     under_key(call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"))),
     under_key(number_type("f4", hostile_pickles.type_state(byte_order="x"))),
     under_key(number_type("f4", hostile_pickles.type_state(byte_order="S")))],
    ids=lambda content: repr(content[-12:]),
)  # fmt: skip
def test_what_is_no_pickle_is_a_named_error(content):
    with pytest.raises(DatasetError, match="damaged|truncated") as caught:
        read_bytes(content)
    assert not isinstance(caught.value, UnsafePickleError)


def random_pickles():
    content = {"a": np.ones((2, 3), np.float32), "b": [[1.5, 2], "text"], "c": 2**70, "d": None}
    valid = [pickle.dumps(content, protocol) for protocol in range(6)]
    return [*valid, *REFUSED.values(), *(under_key(part) for part in HUGE.values())]


@settings(max_examples=200)
@given(st.data())
def test_changed_and_random_bytes_give_a_named_error_or_plain_data(data):
    if data.draw(st.booleans()):
        content = data.draw(st.binary(max_size=60))
    else:
        content = bytearray(data.draw(st.sampled_from(random_pickles())))
        for _ in range(data.draw(st.integers(0, 3))):
            start = data.draw(st.integers(0, len(content) - 1))
            stop = start + data.draw(st.integers(0, 4))
            content[start:stop] = data.draw(st.binary(max_size=4))
            content = content or bytearray(b".")
    try:
        found = read_bytes(bytes(content))
    except DatasetError:
        return
    assert type(found) in {type(None), bool, int, float, str, list, dict, np.ndarray}
    assert not isinstance(found, np.ndarray) or found.dtype.kind in "biuf"


# the published layouts

LAYOUTS = {
    load_mintrec: ("S04_E01_12", ["S04", "E01", "12"], (30, 230, 480)),
    load_meld_da: ("dia3_7", ["dia3", "7"], (70, 250, 520)),
    load_iemocap_da: ("Ses01F_0", ["Ses01F_0"], (44, 230, 380)),
}


@pytest.mark.parametrize("load", LAYOUTS, ids=lambda load: load.__name__)
def test_published_layout_is_read(load, tmp_path):
    key, columns, (text_limit, video_limit, audio_limit) = LAYOUTS[load]
    other = [*columns[:-1], "other"]
    rows = {
        "train": [[*columns, '"she" said "hi', "z label"]],
        "test": [[*other, "größer", "a label", "one more cell"]],
    }
    write_tables(tmp_path, rows)
    keys = [key, "_".join(other)]
    frames = {"video": {}, "audio": {}}
    for seed, (modality, limit) in enumerate([("video", video_limit), ("audio", audio_limit)]):
        rng = np.random.default_rng(seed)
        first, second = rng.normal(size=(limit + 3, 2)), rng.normal(size=(4, 1, 2))
        content = {keys[1]: second, "unused": np.ones((2, 5)), keys[0]: first}
        write_features(tmp_path, modality, content)
        frames[modality] = {keys[0]: first[:limit], keys[1]: second[:, 0]}
    loaded = load(tmp_path)
    assert loaded.data.names == ("text", "audio", "video")
    assert loaded.data.sequences("text") == ['"she" said "hi', "größer"]
    for modality, wanted in frames.items():
        assert_same_frames(loaded.data, modality, wanted, keys)
    assert loaded.data.lengths[0].tolist() == [1, audio_limit, video_limit]
    assert loaded.data.index.tolist() == keys
    assert loaded.text_limit == text_limit
    assert loaded.target.tolist() == [1, 0] and loaded.target.dtype == np.int64
    assert loaded.target_names.tolist() == ["a label", "z label"]
    splits = {split: rows.tolist() for split, rows in loaded.splits.items()}
    assert splits == {"train": [0], "dev": [], "test": [1]}
    assert loaded.DESCR.startswith({"load_mintrec": "MIntRec"}.get(load.__name__, ""))


@pytest.mark.parametrize("load", LAYOUTS, ids=lambda load: load.__name__)
def test_limits_are_parameters(load, tmp_path):
    key, columns, _ = LAYOUTS[load]
    write_tables(tmp_path, {"dev": [[*columns, "hi", "label"]]})
    for modality in FILES:
        write_features(tmp_path, modality, {key: np.ones((600, 2))})
    loaded = load(tmp_path, text_limit=5, video_limit=7, audio_limit=9)
    assert loaded.data.lengths.tolist() == [[1, 9, 7]] and loaded.text_limit == 5
    loaded = load(tmp_path, text_limit=None, video_limit=None, audio_limit=None)
    assert loaded.data.lengths.tolist() == [[1, 600, 600]] and loaded.text_limit is None


@pytest.mark.parametrize(
    "settings", [{"text_limit": 0}, {"video_limit": 1.5}, {"audio_limit": True}], ids=str
)
def test_a_limit_that_is_none_is_named(meld, settings):
    with pytest.raises(ValueError, match=f"Got {next(iter(settings))}=.*whole number of 1 or more"):
        load_meld_da(meld[0], **settings)


def test_on_missing_is_checked(meld):
    with pytest.raises(ValueError, match="Got on_missing='missin', .*Did you mean 'missing'"):
        load_meld_da(meld[0], on_missing="missin")


def test_lists_stand_for_arrays(meld):
    folder, content = meld
    lists = {key: frames.tolist() for key, frames in content["audio"].items()}
    lists["a_1"] = [[row] for row in lists["a_1"]]  # (n_frames, 1, width)
    lists["b_0"] = list(content["audio"]["b_0"])
    lists["c_0"] = [row[None] for row in content["audio"]["c_0"]]
    write_features(folder, "audio", lists)
    assert_same_frames(load_meld_da(folder).data, "audio", content["audio"])


def test_tables_with_other_line_ends_mark_and_blank_lines_are_read(meld):
    folder, _ = meld
    path = folder / "train.tsv"
    lines = path.read_text().replace("text a_0", "  ").replace("\n", "\r\n\r\n")
    path.write_bytes("\ufeff".encode() + lines.encode())
    loaded = load_meld_da(folder)
    assert loaded.data.index.tolist() == KEYS and loaded.data[0]["text"] is None
    assert loaded.target_names[loaded.target].tolist() == LABELS


def change_table(folder, split, change):
    path = folder / f"{split}.tsv"
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("split", "line", "message"),
    [
        ("train", b"a\t1\tagain\tjoke\n", "line 4: .*'a_1' .*train.tsv, line 3"),
        ("test", b"b\t0\tx\tjoke\n", "line 4: .*'b_0' .*dev.tsv, line 2"),
        ("dev", b"d\t0\ttext only\n", "line 3: got 3 cells, expected 4"),
        ("dev", b"d\t0\ttext\t \n", "line 3: utterance 'd_0' has an empty label"),
        ("test", b"d\t0\t\xff\tjoke\n", "no UTF-8"),
        ("test", b"d\t0\t" + b"x" * 200_000 + b"\tjoke\n", "cannot read a row"),
    ],
    ids=["twice", "twice across splits", "few cells", "no label", "bytes", "long cell"],
)
def test_a_bad_row_names_file_line_and_key(meld, split, line, message):
    path = change_table(meld[0], split, lambda table: table + line)
    with pytest.raises(DatasetError, match=f"(?s)^{re.escape(str(path))}.*{message}"):
        load_meld_da(meld[0])


@pytest.mark.parametrize("name", ["train.tsv", "dev.tsv", "test.tsv", *FILES.values()])
def test_a_missing_file_is_named(meld, name):
    path = meld[0] / name
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{re.escape(str(path))} is missing. .*(Put|pass)"):
        load_meld_da(meld[0])


def test_a_file_in_the_place_of_a_folder_is_named(meld):
    with pytest.raises(FileNotFoundError, match=r"train.tsv is missing. MELD-DA is read from a f"):
        load_meld_da(meld[0] / "train.tsv")
    (meld[0] / FILES["audio"]).unlink()
    (meld[0] / FILES["audio"]).parent.rmdir()
    (meld[0] / FILES["audio"]).parent.write_text("")
    with pytest.raises(FileNotFoundError, match=r"wavlm_feats.pkl is missing. Put"):
        load_meld_da(meld[0])


def test_tables_without_rows_are_named(meld):
    write_tables(meld[0], {})
    with pytest.raises(DatasetError, match="no utterances"):
        load_meld_da(meld[0])


# features that do not fit


@pytest.mark.parametrize("modality", list(FILES))
def test_a_missing_key_names_file_and_key(meld, modality):
    folder, content = meld
    del content[modality]["b_1"]
    path = write_features(folder, modality, content[modality])
    with pytest.raises(DatasetError, match=f"{re.escape(str(path))}, key 'b_1': .*on_missing"):
        load_meld_da(folder)
    for _ in range(2):
        loaded = load_meld_da(folder, on_missing="missing")
        assert_same_frames(loaded.data, modality, content[modality])
    with pytest.raises(DatasetError, match="key 'b_1': .*on_missing"):  # converted by now
        load_meld_da(folder)


@pytest.mark.parametrize("protocol", [0, 4])
def test_a_key_that_a_pickle_has_twice_names_file_and_key(meld, protocol):
    folder, content = meld
    path = write_features(folder, "audio", content["audio"])
    out = io.BytesIO()
    pickler = pickle._Pickler(out, protocol)
    out.write(b"(")
    for key, frames in [*content["audio"].items(), ("b_1", np.zeros((1, 3), np.float32))]:
        pickler.save(key)
        pickler.save(frames)
    path.write_bytes(out.getvalue() + b"d.")
    assert pickle.loads(path.read_bytes()).keys() == content["audio"].keys()
    with pytest.raises(DatasetError, match=f"{re.escape(str(path))}, key 'b_1': .* twice"):
        load_meld_da(folder)


@pytest.mark.parametrize("frames", [[], np.zeros((0, 3)), np.full((2, 3), np.nan)], ids=repr)
def test_a_key_without_frames_is_a_missing_key(meld, frames):
    folder, content = meld
    content["audio"]["b_1"] = frames
    write_features(folder, "audio", content["audio"])
    with pytest.raises(DatasetError, match="key 'b_1': .*on_missing"):
        load_meld_da(folder)
    loaded = load_meld_da(folder, on_missing="missing")
    del content["audio"]["b_1"]
    assert_same_frames(loaded.data, "audio", content["audio"])


@pytest.mark.parametrize("frames", [{"x_9": np.ones((1, 3))}, {}], ids=["other keys", "no keys"])
def test_a_pickle_of_other_utterances_is_told_apart(meld, frames):
    path = write_features(meld[0], "audio", frames)
    for on_missing in ("raise", "missing"):
        has = "keys such as 'x_9'" if frames else "no keys"
        message = f"{re.escape(str(path))}, key 'a_0': .* none of the 5 .*it has {has}"
        with pytest.raises(DatasetError, match=message):
            load_meld_da(meld[0], on_missing=on_missing)


def test_no_frames_at_all_is_an_error(meld):
    for empty in (np.zeros((0, 3)), np.full((1, 3), np.nan)):
        write_features(meld[0], "audio", {"a_0": empty})
        with pytest.raises(DatasetError, match="key 'a_0': no frames"):
            load_meld_da(meld[0], on_missing="missing")


@pytest.mark.parametrize("odd", KEYS)
def test_another_width_names_the_key_that_differs(meld, odd):
    folder, content = meld
    content["audio"][odd] = np.ones((2, 7))
    path = write_features(folder, "audio", content["audio"])
    message = f"{re.escape(str(path))}, key '{odd}': got frames of width 7, expected 3 "
    with pytest.raises(DatasetError, match=message):
        load_meld_da(folder)


BAD_FRAMES = {
    "vector": (np.ones(3), r"array of shape \(3,\)"),
    "block": (np.ones((2, 2, 3)), r"array of shape \(2, 2, 3\)"),
    "number": (1.5, "got float"),
    "text": ("frames", "got str"),
    "none": (None, "got NoneType"),
    "dict": ({"frames": [[1.0]]}, "got dict"),
    "list of numbers": ([1.0, 2.0], "a float where a frame should be"),
    "list of texts": ([["a", "b", "c"]], "more than numbers"),
    "ragged list": ([[1.0, 2.0, 3.0], [1.0]], "same shape"),
    "deep list": ([[[[1.0]]]], "more than numbers"),
    "large number": ([[10**400, 1.0, 2.0]], "too large"),
    "infinite": (np.array([[1.0, 2.0, 3.0], [1.0, np.inf, 3.0]]), "NaN or infinite .* frame 1"),
    "partly NaN": (np.array([[1.0, np.nan, 3.0]]), "NaN or infinite .* frame 0"),
    "beyond float32": (np.full((2, 3), 1e300), "NaN or infinite"),
}


@pytest.mark.parametrize("kind", BAD_FRAMES)
@pytest.mark.parametrize("on_missing", ["raise", "missing"])
def test_what_is_no_frames_names_file_and_key(meld, kind, on_missing):
    folder, content = meld
    content["video"] = make_frames(1, 3)
    content["video"]["b_0"], message = BAD_FRAMES[kind]
    path = write_features(folder, "video", content["video"])
    with pytest.raises(DatasetError, match=f"{re.escape(str(path))}, key 'b_0': .*{message}"):
        load_meld_da(folder, on_missing=on_missing)


def test_a_pickle_that_is_no_dict_is_named(meld):
    path = write_features(meld[0], "video", [np.ones((2, 3))])
    with pytest.raises(DatasetError, match=f"{re.escape(str(path))}: got a pickled list"):
        load_meld_da(meld[0])


def test_a_small_pickle_cannot_fill_the_disk(meld, monkeypatch):
    folder, _ = meld
    row = [0.5] * 500
    contents = (
        dict.fromkeys(KEYS, [row] * 2000),
        dict.fromkeys(KEYS, [[row]] * 2000),
        {key: [[]] * 10 for key in KEYS} | {"c_0": [row] * 9000},
    )
    for content in contents:
        path = write_features(folder, "audio", content)
        monkeypatch.setattr(features_module, "_FREE_VALUES", 2_000_000)
        with pytest.raises(
            DatasetError, match=f"{re.escape(str(path))}, key '._.': .*numbers, far"
        ):
            load_meld_da(folder)
    shared = np.ones((3, 3))
    write_features(folder, "audio", dict.fromkeys(KEYS, shared))
    assert_same_frames(load_meld_da(folder).data, "audio", dict.fromkeys(KEYS, shared))


# conversion


def forbid(monkeypatch, module, name):
    def fail(*args, **kwargs):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(module, name, fail)


def test_later_loads_neither_unpickle_nor_scan(meld, monkeypatch):
    folder, content = meld
    first = load_meld_da(folder)
    forbid(monkeypatch, cache_module, "read_features")
    forbid(monkeypatch, features_module, "read_pickle")
    forbid(monkeypatch, sys.modules["skumc.data._modality"], "check_values")
    second = load_meld_da(folder)
    for modality, frames in content.items():
        assert_same_frames(second.data, modality, frames)
        assert_array_equal(second.data.packed(modality).values, first.data.packed(modality).values)
    assert_array_equal(second.target, first.target)
    assert second.data.sequences("text") == first.data.sequences("text")


def test_frames_are_memory_mapped_and_travel_by_pickle(meld):
    folder, content = meld
    X = load_meld_da(folder).data
    for modality in content:
        base = X.packed(modality).values
        while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap) and base.mode == "r"
    again = pickle.loads(pickle.dumps(X[[4, 0]]))
    for modality, frames in content.items():
        assert_same_frames(again, modality, frames, ["c_0", "a_0"])


def test_a_changed_pickle_is_converted_anew(meld):
    folder, content = meld
    old = load_meld_da(folder)
    before = slots(folder / ".skumc")
    path = folder / FILES["audio"]
    stat = path.stat()
    changed = {key: frames + 1 for key, frames in content["audio"].items()}
    write_features(folder, "audio", changed)
    assert path.stat().st_size == stat.st_size
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert_same_frames(load_meld_da(folder).data, "audio", changed)
    assert slots(folder / ".skumc") == before  # what is out of date is gone
    assert_same_frames(old.data, "audio", content["audio"])  # but stays where it is in use
    longer = make_frames(5, 4, longest=9)
    write_features(folder, "audio", longer)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert_same_frames(load_meld_da(folder).data, "audio", longer)


def test_changed_tables_and_limits_are_converted_apart(meld):
    folder, content = meld
    load_meld_da(folder)
    assert_same_frames(load_meld_da(folder, audio_limit=2).data, "audio", content["audio"], limit=2)
    assert_same_frames(load_meld_da(folder).data, "audio", content["audio"])
    train = (folder / "train.tsv").read_text().splitlines(keepends=True)
    (folder / "train.tsv").write_text("".join([train[0], train[2], train[1]]))
    keys = ["a_1", "a_0", *KEYS[2:]]
    assert_same_frames(load_meld_da(folder).data, "audio", content["audio"], keys)


def test_new_words_and_labels_need_no_conversion(meld, monkeypatch):
    folder, _ = meld
    load_meld_da(folder)
    forbid(monkeypatch, cache_module, "read_features")
    change_table(
        folder, "dev", lambda table: table.replace(b"text b_0", b"other").replace(b"joke", b"x")
    )
    loaded = load_meld_da(folder)
    assert loaded.data[2]["text"] == "other" and loaded.target_names[loaded.target[2]] == "x"


@pytest.mark.parametrize("stage", ["_finite", "_save_index", "os.replace"])
def test_a_conversion_that_breaks_off_leaves_nothing_wrong(meld, monkeypatch, stage):
    folder, content = meld

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"skumc.datasets._frame_cache.{stage}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_meld_da(folder)
    assert slots(folder / ".skumc") == []
    assert_same_frames(load_meld_da(folder).data, "audio", content["audio"])


def test_what_a_killed_process_left_is_cleared(meld):
    folder, content = meld
    partial = folder / ".skumc" / "partial"
    partial.mkdir(parents=True)
    (partial / "frames.bin").write_bytes(b"half")
    (partial / "something").write_bytes(b"else")
    loaded = load_meld_da(folder)
    for modality, frames in content.items():
        assert_same_frames(loaded.data, modality, frames)
    assert "partial" not in slots(folder / ".skumc")


DAMAGE = {
    "short frames": lambda slot: (slot / "frames.bin").write_bytes(b"1234"),
    "no frames": lambda slot: (slot / "frames.bin").unlink(),
    "no index": lambda slot: (slot / "index.json").unlink(),
    "half an index": lambda slot: (slot / "index.json").write_text('{"source": {'),
    "another index": lambda slot: (slot / "index.json").write_text('{"source": 1, "lengths": []}'),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_conversion_is_made_anew(meld, kind):
    folder, content = meld
    load_meld_da(folder)
    slot = next((folder / ".skumc").glob("audio-*"))
    DAMAGE[kind](slot)
    assert_same_frames(load_meld_da(folder).data, "audio", content["audio"])


def test_cache_folder_is_a_parameter(meld, tmp_path):
    folder, content = meld
    cache = tmp_path / "deep" / "cache"
    assert_same_frames(load_meld_da(folder, cache_folder=cache).data, "audio", content["audio"])
    assert not (folder / ".skumc").exists() and len(slots(cache)) == 2


def test_a_cache_folder_that_cannot_be_written_is_named(meld, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write .*as cache_folder"):
        load_meld_da(meld[0], cache_folder=tmp_path / "file")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "_write", full)
    with pytest.raises(OSError, match="No space left .*enough space as cache_folder"):
        load_meld_da(meld[0])
    assert slots(meld[0] / ".skumc") == []


def test_a_finished_conversion_needs_no_permission_to_write(meld, monkeypatch):
    folder, content = meld
    load_meld_da(folder)
    (folder / ".skumc" / "lock").unlink(missing_ok=True)
    forbid(monkeypatch, cache_module, "_locked")
    assert_same_frames(load_meld_da(folder).data, "audio", content["audio"])


def load_slowly(folder, log):
    """Load in another process, whose conversions take a while and are noted."""
    original = cache_module._write

    def write(slot, path, *args):
        with open(log, "a") as file:
            file.write(f"{path.name}\n")
        time.sleep(0.3)
        return original(slot, path, *args)

    cache_module._write = write
    load_meld_da(folder)


def test_processes_at_once_convert_once(meld, tmp_path):
    folder, content = meld
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    processes = [context.Process(target=load_slowly, args=(folder, log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(log.read_text().split()) == ["swin_feats.pkl", "wavlm_feats.pkl"]
    assert_same_frames(load_meld_da(folder).data, "audio", content["audio"])


# blobs


def frame_owners(X, modality):
    return np.repeat(np.arange(len(X)), X.packed(modality).lengths)


@st.composite
def blob_settings(draw):
    names = draw(st.lists(st.sampled_from(["text", "audio", "x"]), min_size=1, unique=True))
    n_clusters = draw(st.integers(1, 5))
    shares = {}
    for position, modality in enumerate(names):
        left = len(names) - 1 - sum(shares.values())
        shares[modality] = draw(st.integers(0, 100).map(lambda s: s / 100)) if position else 0.0
        shares[modality] = max(0.0, min(shares[modality], left))
    lows = {modality: draw(st.integers(1, 4)) for modality in names}
    return {
        "n_samples": draw(st.integers(n_clusters, 40)),
        "n_clusters": n_clusters,
        "modalities": {modality: draw(st.integers(1, 4)) for modality in names},
        "lengths": {
            modality: (low, low + draw(st.integers(0, 3))) for modality, low in lows.items()
        },
        "missing": shares,
        "uninformative": draw(st.lists(st.sampled_from(names), unique=True)),
        "imbalance": draw(
            st.sampled_from([0.0, 0.5, 0.99])
            | st.lists(st.floats(0.01, 10), min_size=n_clusters, max_size=n_clusters)
        ),
        "random_state": draw(st.integers(0, 2**32 - 1)),
    }


@given(blob_settings())
def test_blobs_have_the_shape_that_was_asked_for(chosen):
    X, y = make_multimodal_blobs(**chosen)
    assert isinstance(X, MultimodalData)
    assert len(X) == len(y) == chosen["n_samples"]
    assert X.widths == chosen["modalities"]
    assert set(y.tolist()) == set(range(chosen["n_clusters"])) and y.dtype.kind == "i"
    assert X.present.any(axis=1).all()
    for column, (modality, (low, high)) in enumerate(chosen["lengths"].items()):
        n_absent = int(round(chosen["missing"][modality] * 100)) * chosen["n_samples"] // 100
        lengths = X.lengths[:, column]
        assert (lengths == 0).sum() == n_absent
        assert set(lengths.tolist()) <= {0, *range(low, high + 1)}
        assert X.packed(modality).values.dtype == np.float32


@given(blob_settings())
def test_blobs_repeat_with_their_seed_only(chosen):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    (X, y), (again, y_again) = make_multimodal_blobs(**chosen), make_multimodal_blobs(**chosen)
    assert_array_equal(np.random.get_state()[1], before)
    assert_array_equal(y, y_again)
    for modality in X.names:
        assert_array_equal(X.packed(modality).values, again.packed(modality).values)
        assert_array_equal(X.packed(modality).lengths, again.packed(modality).lengths)
    other, _ = make_multimodal_blobs(**chosen | {"random_state": chosen["random_state"] ^ 1})
    assert any(
        not np.array_equal(X.packed(modality).values, other.packed(modality).values)
        for modality in X.names
    )


@given(st.integers(2, 4), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_every_sample_keeps_a_modality_at_the_highest_shares(n_modalities, n_samples, seed):
    share = (n_modalities - 1) / n_modalities
    names = {f"m{i}": 1 for i in range(n_modalities)}
    X, _ = make_multimodal_blobs(
        n_samples, 1, modalities=names, missing=share, lengths=1, random_state=seed
    )
    n_absent = int(share * n_samples + 1e-9)
    assert (~X.present).sum(axis=0).tolist() == [n_absent] * n_modalities
    assert X.present.any(axis=1).all()
    if n_samples % n_modalities == 0:
        assert (X.present.sum(axis=1) == 1).all()


def test_missing_is_independent_of_the_cluster():
    X, y = make_multimodal_blobs(20_000, 2, missing=0.3, lengths=1, random_state=0)
    for absent in ~X.present.T:
        assert abs(absent[y == 0].mean() - absent[y == 1].mean()) < 0.03


def test_shares_are_whole_numbers_of_samples_in_spite_of_rounding():
    for hundredths in range(100):
        X, _ = make_multimodal_blobs(100, 1, lengths=1, missing={"text": hundredths / 100})
        assert (~X.present).sum(axis=0).tolist() == [hundredths, 0, 0]


def test_clusters_come_in_random_order():
    _, y = make_multimodal_blobs(3000, 3, lengths=1, random_state=0)
    assert abs((y[1:] == y[:-1]).mean() - 1 / 3) < 0.05


def test_a_modality_may_be_missing_everywhere():
    X, _ = make_multimodal_blobs(5, 2, missing={"audio": 1.0, "video": 1.0})
    assert X.present.tolist() == [[True, False, False]] * 5


@pytest.mark.parametrize(
    ("n_samples", "imbalance", "sizes"),
    [
        (10, 0.0, [3, 3, 2, 2]),
        (15, 0.875, [8, 4, 2, 1]),
        (10, [1, 1, 1, 7], [1, 1, 1, 7]),
        (4, [1, 1000, 1, 1], [1, 1, 1, 1]),
        (10, [0.11, 0.19, 0.35, 0.35], [1, 2, 4, 3]),
        (12, np.array([1.0, 3.0, 1.0, 1.0]), [2, 6, 2, 2]),
    ],
)
def test_cluster_sizes_are_weighted_shares(n_samples, imbalance, sizes):
    _, y = make_multimodal_blobs(n_samples, 4, imbalance=imbalance)
    assert np.bincount(y).tolist() == sizes


def test_noise_and_centers_have_the_scales_of_the_formula():
    noise, frame_noise = {"audio": 0.5, "video": 3.0}, {"audio": 2.0, "video": 0.25}
    X, y = make_multimodal_blobs(
        6000,
        300,
        lengths=5,
        modalities={"audio": 20, "video": 20},
        center_scale=4.0,
        noise=noise,
        frame_noise=frame_noise,
        random_state=0,
    )
    for modality in X.names:
        frames = X.packed(modality).values.reshape(6000, 5, 20).astype(float)
        assert_allclose(frames.var(axis=1, ddof=1).mean(), frame_noise[modality] ** 2, rtol=0.02)
        samples = frames.mean(axis=1)
        within = np.mean([samples[y == k].var(axis=0, ddof=1) for k in range(300)])
        variance = noise[modality] ** 2 + frame_noise[modality] ** 2 / 5
        assert_allclose(within, variance, rtol=0.03)
        centers = np.stack([samples[y == k].mean(axis=0) for k in range(300)])
        assert_allclose(centers.var() - variance / 20, 16.0, rtol=0.06)
        assert abs(frames.mean()) < 0.2


def test_without_noise_frames_are_their_centers():
    X, y = make_multimodal_blobs(40, 3, noise=0, frame_noise=0, random_state=0)
    for modality in X.names:
        values, owners = X.packed(modality).values, frame_owners(X, modality)
        assert len(np.unique(values, axis=0)) == 3
        assert len(np.unique(np.c_[values, y[owners]], axis=0)) == 3


def test_uninformative_modality_has_the_informative_ones_distribution():
    # The spread of a modality's own centres is large, so many draws are averaged.
    statistics = {"text": [], "audio": []}
    for seed in range(150):
        X, _ = make_multimodal_blobs(
            60, 3, modalities={"text": 6, "audio": 6}, uninformative="audio", random_state=seed
        )
        for modality, rows in statistics.items():
            store = X.packed(modality)
            owners = frame_owners(X, modality)
            means = np.stack([store[row].mean(axis=0) for row in range(60)])
            rows.append(
                [
                    store.values.mean(),
                    store.values.var(),
                    means.var(axis=0).mean(),
                    (store.values - means[owners]).var(),
                    store.lengths.mean(),
                ]
            )
    text, audio = (np.array(rows) for rows in statistics.values())
    error = np.sqrt((text.var(axis=0) + audio.var(axis=0)) / 150)
    assert np.all(np.abs(text.mean(axis=0) - audio.mean(axis=0)) < 4 * error)
    assert_allclose(text.mean(axis=0)[1:], audio.mean(axis=0)[1:], rtol=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_found_in_informative_modalities_only(seed):
    X, y = make_multimodal_blobs(240, 4, uninformative=["audio"], random_state=seed)
    agreement, smallest = {}, {}
    for modality in X.names:
        pooled = PooledFeatures().fit_transform(X.select([modality]))
        kmeans = KMeans(4, n_init=5, random_state=0).fit(pooled)
        agreement[modality] = adjusted_rand_score(y, kmeans.labels_)
        smallest[modality] = np.bincount(kmeans.labels_).min()
    assert agreement["text"] > 0.95 and agreement["video"] > 0.95
    assert abs(agreement["audio"]) < 0.05
    assert smallest["audio"] > 50  # it has clusters of its own


def test_two_uninformative_modalities_say_nothing_about_each_other():
    X, y = make_multimodal_blobs(
        400, 2, noise=0, frame_noise=0, lengths=1, uninformative=["audio", "video"], random_state=0
    )
    labels = [
        np.unique(X.packed(name).values, axis=0, return_inverse=True)[1].ravel() for name in X.names
    ]
    for labelled in labels:
        assert np.bincount(labelled).tolist() == [200, 200]
    assert adjusted_rand_score(y, labels[0]) == 1.0
    for one, other in [(y, labels[1]), (y, labels[2]), (labels[1], labels[2])]:
        assert abs(adjusted_rand_score(one, other)) < 0.05


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_clusters": 0}, "Got n_clusters=0, expected a whole number of 1"),
        ({"n_samples": 3}, "Got n_samples=3, expected a whole number of 4"),
        ({"n_samples": 30.0}, "Got n_samples=30.0"),
        ({"modalities": {}}, "Got modalities={}"),
        ({"modalities": ["text"]}, "expected a dict from name to width"),
        ({"modalities": {"text": 0}}, r"Got modalities\['text'\]=0"),
        ({"lengths": 0}, "Got lengths for 'text'=0"),
        ({"lengths": (3, 2)}, "Got longest of lengths for 'text'=2, expected a whole number of 3"),
        ({"lengths": "ab"}, "Got lengths='ab' for 'text'"),
        ({"lengths": {"audio": (1, 2, 3)}}, r"Got lengths=\(1, 2, 3\) for 'audio'"),
        (
            {"lengths": {"sound": 1}},
            "Got lengths='sound', expected one of 'audio', 'text', 'video'",
        ),
        ({"center_scale": -1}, "Got center_scale=-1, expected a number of 0 or more"),
        ({"noise": np.inf}, "Got noise for 'text'=inf, expected a finite number"),
        ({"noise": np.nan}, "Got noise for 'text'=nan"),
        ({"frame_noise": {"audio": "1"}}, "Got frame_noise for 'audio'='1'"),
        ({"missing": 1.5}, "Got missing for 'text'=1.5, expected a number of 0 to 1"),
        ({"missing": 0.7}, "the shares sum to 2.1, expected at most 2"),
        ({"missing": 0.5, "modalities": {"text": 2}}, "sum to 0.5, expected at most 0"),
        ({"uninformative": "vidio"}, "Got uninformative='vidio', .*Did you mean 'video'"),
        ({"uninformative": ["a", "b"]}, "Got uninformative='a, b'"),
        ({"imbalance": 1.0}, "Got imbalance=1.0, expected at least 0 and less than 1"),
        ({"imbalance": [1, 2]}, "or 4 positive weights"),
        ({"imbalance": [1, 2, 3, 0]}, "or 4 positive weights"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_multimodal_blobs(**wrong)


# docstrings


@pytest.mark.parametrize("name", [name for name in skumc.datasets.__all__ if "_" in name])
def test_docstring_has_the_signature_and_its_defaults(name):
    function = getattr(skumc.datasets, name)
    section = function.__doc__.split("Parameters\n")[1].split("Returns\n")[0]
    entries = dict(re.findall(r"^ {4}(\w+) : (.+)$", section, flags=re.MULTILINE))
    parameters = inspect.signature(function).parameters
    assert list(entries) == list(parameters)
    for key, parameter in parameters.items():
        default = re.search(r"default=(.+)$", entries[key])
        if parameter.default is inspect.Parameter.empty:
            assert default is None
        else:
            assert eval(default[1], {}) == parameter.default
