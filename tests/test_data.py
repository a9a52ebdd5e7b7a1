"""The container: indexing, round trips, hashes, memory maps, and what counts as missing."""

from __future__ import annotations

import copy
import pickle
from itertools import compress

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skumc import MultimodalData
from skumc.data import Ragged
from skumc.data._missing import is_blank, is_missing_value
from skumc.data._ragged import frame_chunks, sample_chunks

NAMES = ("text", "audio", "video")


def assert_same_samples(X, expected):
    """Compare a container, or a list of dicts, with dicts of arrays or None."""
    assert len(X) == len(expected)
    for actual, wanted in zip(X, expected, strict=True):
        assert list(actual) == list(wanted)
        for name, frames in wanted.items():
            if frames is None:
                assert actual[name] is None
            else:
                assert_array_equal(actual[name], frames, strict=True)


@st.composite
def sample_lists(draw, min_samples=1, max_samples=7):
    """One dict per sample with a sequence, or None, per modality."""
    n_samples = draw(st.integers(min_samples, max_samples))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = {}
    for name in draw(st.permutations(NAMES))[: draw(st.integers(1, 3))]:
        width = draw(st.integers(1, 4))
        dtype = draw(st.sampled_from([np.float32, np.float64]))
        lengths = draw(st.lists(st.integers(0, 4), min_size=n_samples, max_size=n_samples))
        columns[name] = [
            rng.normal(size=(length, width)).astype(dtype) if length else None for length in lengths
        ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def container(samples):
    return MultimodalData({name: [sample[name] for sample in samples] for name in samples[0]})


@st.composite
def row_keys(draw, n_samples):
    """An index key as scikit-learn or a user passes it, and the row numbers it selects."""
    kind = draw(st.sampled_from(["list", "array", "small array", "mask", "mask list", "slice"]))
    if kind == "slice":
        key = draw(st.slices(n_samples))
        return key, list(range(n_samples))[key]
    if "mask" in kind:
        mask = draw(st.lists(st.booleans(), min_size=n_samples, max_size=n_samples))
        rows = list(compress(range(n_samples), mask))
        return (mask if "list" in kind else np.array(mask, dtype=bool)), rows
    low = 0 if kind == "small array" else -n_samples
    rows = draw(st.lists(st.integers(low, n_samples - 1), max_size=10)) if n_samples else []
    dtype = np.uint8 if kind == "small array" else np.int64
    return (rows if kind == "list" else np.array(rows, dtype=dtype)), rows


def backing_file(array):
    """Name of the file that holds an array's values, or None."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return None if array is None else str(array.filename)


def backing_files(X):
    return {name: backing_file(X.packed(name).values) for name in X.names}


@pytest.fixture
def mapped(tmp_path):
    """A memory-mapped container, its copy in memory, and the name of the mapped file."""
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    path = tmp_path / "text.npy"
    np.save(path, values)
    offsets = np.arange(0, 51, 5)
    on_file = MultimodalData({"text": Ragged(np.load(path, mmap_mode="r"), offsets)})
    return on_file, MultimodalData({"text": Ragged(values, offsets)}), str(path)


# indexing


@given(st.data(), sample_lists())
def test_indexing_equals_indexing_a_list(data, samples):
    X = container(samples)
    key, rows = data.draw(row_keys(len(samples)))
    expected = [samples[row] for row in rows]
    assert_same_samples(X[key], expected)
    assert_same_samples(X[key, ...], expected)
    assert_same_samples(X[key, :], expected)
    assert X[key].shape == (len(rows), len(samples[0]))
    wanted = [[0 if s[n] is None else len(s[n]) for n in X.names] for s in expected]
    assert X[key].lengths.tolist() == wanted
    assert_array_equal(X[key].present, np.array(wanted, dtype=int).reshape(X[key].shape) > 0)


@given(st.data(), sample_lists())
def test_indexing_twice_equals_indexing_once(data, samples):
    X = container(samples)
    first, first_rows = data.draw(row_keys(len(samples)))
    second, second_rows = data.draw(row_keys(len(first_rows)))
    rows = np.array(first_rows, dtype=int)[np.array(second_rows, dtype=int)]
    assert_same_samples(X[first][second], list(X[rows]))
    assert_same_samples(X[first][second], [samples[row] for row in rows])


@given(st.data(), sample_lists())
def test_packed_sequences_and_single_samples_agree(data, samples):
    X = container(samples)[data.draw(row_keys(len(samples)))[0]]
    key, rows = data.draw(row_keys(len(X)))
    for name in X.names:
        expected = [X[row][name] for row in rows]
        packed = X.packed(name, key)
        assert len(packed) == len(rows)
        for frames, wanted in zip(packed, expected, strict=True):
            assert (len(frames) == 0) if wanted is None else np.array_equal(frames, wanted)
        whole = X.sequences(name)
        assert all(
            whole[row] is e or np.array_equal(whole[row], e)
            for row, e in zip(rows, expected, strict=True)
        )


@pytest.mark.parametrize(
    "key",
    [3, -4, [0, 3], [-4], [True], 0.0, [0.5], [[0]], "text", ["a"], None, ([0], 1), (0, 0, 0)],
    ids=repr,
)
def test_a_key_that_selects_no_samples_is_an_index_error(key):
    with pytest.raises(IndexError):
        MultimodalData({"text": np.eye(3)})[key]


def test_indexing_copies_nothing():
    text, audio = np.ones((6, 3)), np.ones((9, 2), dtype=np.float32)
    X = MultimodalData({"text": text, "audio": Ragged(audio, [0, 2, 2, 3, 5, 8, 9])})
    assert np.shares_memory(X.packed("text").values, text)
    view = X[[5, 4, 2, 2]][::-1][[0, 2]]
    for sample in [*X[2:5], *view, X[-1], *view.select(["audio", "text"])]:
        assert np.shares_memory(sample["text"], text)
        assert np.shares_memory(sample["audio"], audio)
    assert np.shares_memory(X[2:5].packed("audio").values, audio)
    assert np.shares_memory(X[[2, 3, 4]].packed("audio", [1, 2]).values, audio)


@pytest.mark.parametrize("index", [list("abcd"), pd.Index(list("abcd")), np.array(list("abcd"))])
def test_the_index_goes_with_its_samples(index):
    X = MultimodalData({"text": np.arange(4.0)[:, None]}, index=index)
    view = pickle.loads(pickle.dumps(X[[2, 0, 3]][[True, False, True]]))
    assert list(view.index) == ["c", "d"]
    assert view.to_frame().index.tolist() == ["c", "d"]
    assert [sample["text"].item() for sample in view] == [2.0, 3.0]


# round trips


@given(sample_lists())
def test_round_trip_through_a_frame_gives_the_same_samples(samples):
    frame = container(samples).to_frame()
    assert frame.shape == (len(samples), len(samples[0]))
    assert list(frame.columns) == list(samples[0])
    assert_same_samples(MultimodalData.from_frame(frame), samples)


def test_round_trip_through_a_frame_keeps_the_index_of_a_view():
    index = pd.Index(["x", "y", "z"], name="clip")
    X = MultimodalData({"text": np.eye(3), "audio": [[1.0], None, [[2.0], [3.0]]]}, index=index)
    frame = X[[2, 1]].to_frame()
    pd.testing.assert_index_equal(frame.index, index[[2, 1]])
    assert frame["audio"].iloc[1] is None
    again = MultimodalData.from_frame(frame)
    pd.testing.assert_index_equal(again.index, frame.index)
    assert_same_samples(again, list(X[[2, 1]]))


@given(sample_lists())
def test_round_trip_through_records_gives_the_same_samples(samples):
    records = list(container(samples))
    assert_same_samples(MultimodalData.from_records(records), samples)
    assert_same_samples(MultimodalData.from_records(iter(records)), samples)


def test_a_modality_without_its_key_in_a_record_is_missing():
    X = MultimodalData.from_records([{"b": [1.0]}, {"a": [[2.0, 3.0]], "b": None}])
    assert X.names == ("b", "a")
    assert X.present.tolist() == [[True, False], [False, True]]


@given(st.data(), sample_lists())
def test_pickle_and_copy_give_the_same_samples(data, samples):
    X = container(samples)
    key, rows = data.draw(row_keys(len(samples)))
    for again in (pickle.loads(pickle.dumps(X[key])), copy.copy(X[key]), copy.deepcopy(X[key])):
        assert_same_samples(again, [samples[row] for row in rows])
        assert again.widths == X.widths


@given(st.data(), sample_lists(), st.sampled_from([np.nan, np.inf, -np.inf, 1e300]))
def test_garbage_under_padding_is_never_read(data, samples, garbage):
    arrays, lengths = {}, {}
    for name in samples[0]:
        cells = [sample[name] for sample in samples]
        width = max([1] + [cell.shape[1] for cell in cells if cell is not None])
        lengths[name] = [0 if cell is None else len(cell) for cell in cells]
        longest = max(lengths[name]) + data.draw(st.integers(0, 2))
        dtype = next((cell.dtype for cell in cells if cell is not None), np.dtype(np.float64))
        with np.errstate(over="ignore"):
            arrays[name] = np.full((len(cells), longest, width), garbage, dtype=dtype)
        for padded, cell in zip(arrays[name], cells, strict=True):
            padded[: 0 if cell is None else len(cell)] = 0 if cell is None else cell
    before = copy.deepcopy(arrays)
    X = MultimodalData.from_padded(arrays, lengths)
    assert_same_samples(X, samples)
    for name in arrays:
        assert_array_equal(arrays[name], before[name])
        arrays[name].fill(7)
    assert_same_samples(X, samples)


def test_views_are_named_in_order():
    views = [np.eye(2), np.ones((2, 3))]
    assert MultimodalData.from_views(views).widths == {"view0": 2, "view1": 3}
    assert MultimodalData.from_views(views, names=["b", "a"]).widths == {"b": 2, "a": 3}


# pickles and hashes


@pytest.mark.parametrize("rows", [slice(100, 110), np.arange(1000, 0, -100), [7] * 10])
def test_pickling_a_view_ships_its_rows_only(rows):
    X = MultimodalData(
        {"text": np.random.default_rng(0).normal(size=(2000, 50)), "audio": np.ones((2000, 3))},
        index=pd.Index(np.arange(2000)),
    )
    n_bytes = 10 * (50 + 3) * 8
    assert n_bytes < len(pickle.dumps(X[rows])) < n_bytes + 3000
    assert len(pickle.dumps(X[rows].select(["audio"]))) < 10 * 3 * 8 + 3000


def rebuilt(X):
    """Copy a container's content to new arrays."""
    stores = {name: X.packed(name) for name in X.names}
    return MultimodalData(
        {n: Ragged(s.values.copy(order="C"), s.offsets.copy()) for n, s in stores.items()},
        index=copy.deepcopy(X.index),
    )


@given(st.data(), sample_lists())
def test_equal_content_hashes_equal(data, samples):
    X = container(samples)
    view = X[data.draw(row_keys(len(samples)))[0]]
    expected = joblib.hash(rebuilt(view))
    assert joblib.hash(view) == expected
    assert joblib.hash(pickle.loads(pickle.dumps(view))) == expected
    assert joblib.hash(view[:]) == expected
    assert joblib.hash(view.select(view.names)) == expected


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.astype(a.dtype.newbyteorder()),
    ],
    ids=["fortran", "columns", "rows", "reversed", "swapped bytes"],
)
@pytest.mark.parametrize("n_rows", [0, 1, 4])
def test_memory_layout_does_not_change_the_hash(layout, n_rows):
    values = np.random.default_rng(0).normal(size=(5, 3))
    there, here = MultimodalData({"a": layout(values)}), MultimodalData({"a": values})
    assert joblib.hash(there[:n_rows]) == joblib.hash(here[:n_rows])


@pytest.mark.parametrize("index", [pd.Index(list("abcd")), pd.RangeIndex(4), np.arange(4)])
def test_equal_content_with_an_index_hashes_equal(index):
    X = MultimodalData({"a": np.eye(4)}, index=index)
    assert joblib.hash(X[[3, 0]]) == joblib.hash(rebuilt(X[[3, 0]]))
    assert joblib.hash(X[[3, 0]]) == joblib.hash(pickle.loads(pickle.dumps(X[[3, 0]])))
    assert joblib.hash(X) != joblib.hash(MultimodalData({"a": np.eye(4)}))


def test_different_content_hashes_differ():
    base = np.arange(12.0).reshape(6, 2)
    offsets = [0, 2, 3, 6]
    changed = base.copy()
    changed[4, 1] += 1e-9
    first, second = Ragged(base, offsets), Ragged(-base, offsets)
    containers = [
        MultimodalData({"a": first, "b": second}),
        MultimodalData({"b": second, "a": first}),  # the order decides the anchor
        MultimodalData({"a": second, "b": first}),
        MultimodalData({"a": first, "c": second}),
        MultimodalData({"a": first}),
        MultimodalData({"a": Ragged(changed, offsets), "b": second}),
        MultimodalData({"a": Ragged(base.astype(np.float32), offsets), "b": second}),
        MultimodalData({"a": Ragged(base, [0, 1, 3, 6]), "b": second}),
        MultimodalData({"a": first, "b": [None] * 3}),
        MultimodalData({"a": first, "b": [[0.0, 0.0]] * 3}),
        MultimodalData({"a": first, "b": second})[[0, 2, 1]],
        MultimodalData({"a": first, "b": second})[:2],
    ]
    assert len({joblib.hash(X) for X in containers}) == len(containers)


# memory maps


def test_a_memory_map_stays_mapped(mapped):
    on_file, _, path = mapped
    assert backing_files(on_file) == {"text": path}
    assert backing_files(on_file[2:7]) == {"text": path}
    assert backing_files(on_file[2:7][[1, 2]].select(["text"])) == {"text": path}
    assert backing_file(on_file[[5, 3, 5]][0]["text"]) == path
    assert backing_file(on_file.with_absent({"audio": 2, "text": 4}).packed("text").values) == path


def test_an_array_over_a_memory_map_stays_mapped(mapped):
    _, in_memory, path = mapped
    frames = np.load(path, mmap_mode="r")
    X = MultimodalData(
        {"text": frames, "narrow": frames[:, 1:3], "padded": frames.reshape(50, 2, 2)}
    )
    assert backing_files(X) == dict.fromkeys(X.names, path)
    assert_array_equal(X[7]["narrow"], in_memory.packed("text").values[7:8, 1:3])


def test_memory_map_and_memory_hash_equal(mapped):
    on_file, in_memory, _ = mapped
    for rows in (slice(None), slice(3, 8), [8, 1, 1]):
        assert joblib.hash(on_file[rows]) == joblib.hash(in_memory[rows])


def in_worker(X):
    return backing_files(X), backing_files(X[3:5]), [s["text"].sum() for s in X], joblib.hash(X)


def test_workers_share_the_mapped_file(mapped):
    on_file, in_memory, path = mapped
    values = np.load(path, mmap_mode="r")
    views = [on_file, on_file[2:6], MultimodalData({"text": values[:, 1:3]})]
    answers = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(in_worker)(X) for X in views)
    for (whole, part, sums, digest), rows in zip(answers, [slice(None), slice(2, 6)], strict=False):
        assert whole == part == {"text": path}
        assert sums == [sample["text"].sum() for sample in in_memory[rows]]
        assert digest == joblib.hash(in_memory[rows])
    whole, part, sums, _ = answers[2]
    assert whole == part == {"text": path}
    assert sums == [row.sum() for row in values[:, 1:3]]


# what counts as missing


def test_zeros_are_data():
    X = MultimodalData({"a": np.zeros((2, 3)), "b": [[0.0], [[0.0], [0.0]]]})
    assert X.present.all()
    assert X.lengths.tolist() == [[1, 1], [1, 2]]
    assert_array_equal(X[1]["b"], np.zeros((2, 1)))


@pytest.mark.parametrize(
    "cell",
    [
        None,
        float("nan"),
        np.float32("nan"),
        np.float64("nan"),
        pd.NA,
        pd.NaT,
        [],
        np.zeros((0, 3)),
        np.zeros((4, 0)),
        np.full(3, np.nan),
        np.full((2, 3), np.nan, dtype=np.float32),
        [[float("nan")] * 3],
        np.ma.masked_all(3),
        "",
        " \n",
        (),
        [[]],
        torch.zeros(0, 3),
    ],
    ids=repr,
)
def test_cells_that_stand_for_missing(cell):
    frames = np.ones((2, 3))
    X = MultimodalData({"a": [frames, cell, [1.0, 2.0, 3.0]], "b": np.eye(3)})
    assert X.lengths[:, 0].tolist() == [2, 0, 1]
    assert X[1]["a"] is None
    assert X.sequences("a")[1] is None
    assert X.widths == {"a": 3, "b": 3}
    assert_same_samples(
        MultimodalData.from_frame(pd.DataFrame({"a": [frames, cell]}, dtype=object)),
        [{"a": frames}, {"a": None}],
    )


BLANK = [
    None,
    float("nan"),
    np.float16("nan"),
    pd.NA,
    pd.NaT,
    "",
    " \t\n",
    np.str_(" "),
    b"",
    [],
    (),
    {},
    np.zeros((0, 3)),
    np.zeros((4, 0)),
    torch.zeros(0),
    pd.Series([], dtype=float),
]
FILLED = [
    0,
    0.0,
    False,
    np.float64(0),
    np.array(0.0),  # has no len()
    np.array(np.nan),
    np.full(2, np.nan),
    torch.tensor(0.0),
    "0",
    "nan",
    [None],
    [[]],
    [""],
    {"input_ids": []},
    object(),
]


@pytest.mark.parametrize("cell", BLANK, ids=repr)
def test_blank_cells_are_missing_in_text_too(cell):
    assert is_blank(cell)
    sentences = MultimodalData({"text": [cell, "good morning", cell]})
    assert sentences.sequences("text") == [None, "good morning", None]
    tokens = MultimodalData({"text": [cell, {"input_ids": [1, 2]}, cell]})
    assert tokens.lengths.ravel().tolist() == [0, 2, 0]


@pytest.mark.parametrize("cell", FILLED, ids=[str(i) for i in range(len(FILLED))])
def test_cells_with_content_are_not_blank(cell):
    assert not is_blank(cell)


def test_only_missing_value_markers_leave_the_type_of_a_column_open():
    assert [is_missing_value(cell) for cell in BLANK] == [True] * 5 + [False] * (len(BLANK) - 5)
    assert not any(map(is_missing_value, FILLED))


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3)])
@pytest.mark.parametrize("kind", ["NaN", "masked"])
def test_all_nan_rows_of_an_array_are_missing(shape, kind):
    array = np.arange(float(np.prod(shape))).reshape(shape)
    given_array = array.copy()
    given_array[[0, 2]] = np.nan
    if kind == "masked":
        given_array = np.ma.masked_invalid(given_array)
        given_array.data[given_array.mask] = 5.0
    X = MultimodalData({"a": given_array, "b": np.eye(4)})
    assert X.present[:, 0].tolist() == [False, True, False, True]
    assert_array_equal(X[3]["a"], array[3].reshape(-1, 3))
    assert_array_equal(X[1]["a"], array[1].reshape(-1, 3))


def test_a_frame_of_nan_among_others_is_refused_and_a_sample_of_them_missing():
    frames = np.ones((3, 2))
    frames[1] = np.nan
    with pytest.raises(ValueError, match="partly NaN in row 1"):
        MultimodalData({"a": [np.ones((1, 2)), frames]})
    assert not MultimodalData({"a": [np.full((3, 2), np.nan), frames[:1]]}).present[0, 0]


@pytest.mark.parametrize("chunk_values", [1, 3, 7, 1000])
def test_bad_values_are_found_whatever_the_chunks(monkeypatch, chunk_values):
    monkeypatch.setattr("skumc.data._ragged._CHUNK_VALUES", chunk_values)
    cells = [np.ones((n, 2)) for n in (3, 1, 4, 2)]
    cells[2] = np.full((4, 2), np.nan)
    X = MultimodalData({"a": cells})
    assert X.lengths.ravel().tolist() == [3, 1, 0, 2]
    assert_array_equal(X.packed("a").values, np.ones((6, 2)))
    cells[3][1, 0] = cells[0][2, 1] = np.nan
    with pytest.raises(ValueError, match="'a' is partly NaN in rows 0, 3"):
        MultimodalData({"a": cells})
    cells[1][0] = [np.inf, -np.inf]
    with pytest.raises(ValueError, match=r"'a' has infinite values \(inf\) in row 1"):
        MultimodalData({"a": cells})


def test_large_finite_values_are_not_infinite():
    X = MultimodalData({"a": np.full((3, 2), 1e308)})
    assert X.present.all()


# what an array may look like


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda a: a.astype(np.float64), np.float64),
        (lambda a: a.astype(np.float32), np.float32),
        (lambda a: a.astype(np.float16), np.float16),
        (lambda a: a.astype(np.longdouble), np.float64),
        (lambda a: a.astype(">f4"), np.float32),
        (lambda a: a.astype(">f8"), np.float64),
        (lambda a: a.astype(">i2"), np.float32),
        (lambda a: a.astype(np.int8), np.float32),
        (lambda a: a.astype(np.int64), np.float64),
        (lambda a: a.astype(np.uint8), np.float32),
        (np.asfortranarray, np.float64),
        (lambda a: a[::-1].copy()[::-1], np.float64),
        (lambda a: a[:, ::-1].copy()[:, ::-1], np.float64),
        (lambda a: np.repeat(a, 2, axis=1)[:, ::2], np.float64),
        (lambda a: a.view(np.recarray), np.float64),
        (np.ma.asarray, np.float64),
        (lambda a: torch.from_numpy(a), np.float64),
        (lambda a: a.tolist(), np.float64),
        (lambda a: list(a), np.float64),
        (lambda a: tuple(row[None] for row in a), np.float64),
        (lambda a: [row.tolist() for row in a.astype(int)], np.float64),
        (lambda a: np.array([*a, None], dtype=object)[:-1], np.float64),
        (lambda a: pd.Series(list(a), index=[9, 8, 7, 6]), np.float64),
        (lambda a: pd.DataFrame(a, index=[9, 8, 7, 6]), np.float64),
        (lambda a: pd.DataFrame(a).astype("Float64"), np.float64),
        (lambda a: pd.DataFrame(a).astype({0: "Int64", 1: np.float32}), np.float64),
    ],
)
def test_any_array_of_numbers_gives_the_same_values(make, dtype):
    array = np.arange(12.0).reshape(4, 3)
    given_array = make(array)
    X = MultimodalData({"a": given_array})
    values = X.packed("a").values
    assert type(values) is np.ndarray
    assert values.dtype == dtype and values.dtype.isnative
    assert_array_equal(values, array)
    assert_array_equal(X[[3, 1]].packed("a").values, array[[3, 1]])


def test_booleans_are_numbers():
    values = MultimodalData({"a": np.eye(2, dtype=bool)}).packed("a").values
    assert_array_equal(values, np.eye(2, dtype=np.float32), strict=True)


def test_pandas_na_in_a_whole_row_of_a_table_is_missing():
    table = pd.DataFrame({"x": [1, None, 3], "y": [4, None, 6]}, dtype="Int64")
    assert_same_samples(
        MultimodalData({"a": table}),
        [{"a": np.array([[1.0, 4.0]])}, {"a": None}, {"a": np.array([[3.0, 6.0]])}],
    )


def test_read_only_arrays_are_accepted_and_stay_as_they_are():
    array = np.arange(6.0).reshape(3, 2)
    array.flags.writeable = False
    cells = [array[:2], None, array[2]]
    X = MultimodalData({"a": array, "b": cells})
    assert_array_equal(X[[2, 0]].packed("a").values, array[[2, 0]])
    assert_array_equal(array, np.arange(6.0).reshape(3, 2))
    assert cells[1] is None and len(cells) == 3


def test_three_forms_of_one_frame_per_sample():
    array = np.arange(6.0).reshape(3, 2)
    for values in (array, array[:, None], list(array)):
        assert_same_samples(MultimodalData({"a": values}), [{"a": row[None]} for row in array])
    assert MultimodalData({"a": np.zeros((3, 0, 2)), "b": array}).present.tolist() == [[0, 1]] * 3


# the container as a whole


def test_shape_names_and_repr():
    X = MultimodalData({"text": np.eye(3), "audio": [None, [1.0], [[2.0], [3.0]]]})
    assert len(X) == 3
    assert X.shape == (3, 2)
    assert X.names == ("text", "audio")
    assert X.widths == {"text": 3, "audio": 1}
    assert repr(X) == "MultimodalData(3 samples; widths text: 3, audio: 1)"
    assert repr(X[:1]) == "MultimodalData(1 samples; widths text: 3, audio: 1)"


def test_conversion_to_a_matrix_names_the_pooling_transformer():
    X = MultimodalData({"a": np.eye(2)})
    for convert in (np.asarray, np.array, lambda X: np.asarray(X, dtype=float)):
        with pytest.raises(TypeError, match="feature_extraction.PooledFeatures"):
            convert(X)


@given(st.data(), sample_lists())
def test_select_takes_modalities_in_the_order_given(data, samples):
    X = container(samples)
    key, rows = data.draw(row_keys(len(samples)))
    names = data.draw(st.permutations(X.names))[: data.draw(st.integers(1, len(X.names)))]
    expected = [{name: samples[row][name] for name in names} for row in rows]
    assert_same_samples(X[key].select(names), expected)
    assert_same_samples(X.select(names)[key], expected)


@given(st.data(), sample_lists())
def test_with_absent_adds_modalities_that_are_missing_everywhere(data, samples):
    X = container(samples)
    key, rows = data.draw(row_keys(len(samples)))
    widths = {"smell": 5} | dict(reversed(X.widths.items()))
    wide = X[key].with_absent(widths)
    assert wide.widths == widths
    assert list(wide.widths) == list(widths)
    expected = [{"smell": None} | {n: samples[row][n] for n in reversed(X.names)} for row in rows]
    assert_same_samples(wide, expected)
    assert_same_samples(pickle.loads(pickle.dumps(wide)), expected)


@given(st.data(), sample_lists(), st.integers(1, 10))
def test_count_distinct_counts_different_samples_up_to_the_limit(data, samples, limit):
    rows = data.draw(st.lists(st.integers(0, len(samples) - 1), max_size=8))
    keys = {
        tuple(None if a is None else tuple(map(tuple, a.tolist())) for a in samples[row].values())
        for row in rows
    }
    assert container(samples)[rows].count_distinct(limit) == min(len(keys), limit)


def test_count_distinct_distinguishes_splits_and_missing():
    a, b = [[1.0], [2.0]], [[3.0]]
    X = MultimodalData({"a": [a, a, None, [*a, *b], b, a], "b": [None, b, b, None, [*a, *b], None]})
    assert X.count_distinct(100) == 5


# sequences


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
)
def test_mean_and_scale_equal_numpy_whatever_the_chunks(lengths, width, chunk_values, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.normal(0, 10), 3, size=(sum(lengths), width))
    sequences = Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skumc.data._ragged._CHUNK_VALUES", chunk_values)
        mean, scale = sequences.mean_and_scale()
    if len(values) == 0:
        assert_array_equal(mean, np.zeros(width))
        assert_array_equal(scale, np.ones(width))
        return
    assert mean.dtype == scale.dtype == np.float64
    assert_allclose(mean, values.mean(axis=0), atol=1e-12)
    if len(values) > 1:
        assert_allclose(scale, values.std(axis=0), rtol=1e-9)
    else:
        assert_array_equal(scale, np.ones(width))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_has_scale_one(dtype):
    values = np.column_stack([np.full(7, 0.1), np.arange(7)]).astype(dtype)
    mean, scale = Ragged(values, np.arange(8)).mean_and_scale()
    assert_allclose(mean, [0.1, 3.0], rtol=1e-6)
    assert_allclose(scale, [1.0, 2.0], rtol=1e-6)


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 40))
def test_frame_chunks_cover_all_frames_in_bounded_slices(n_frames, width, chunk_values):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skumc.data._ragged._CHUNK_VALUES", chunk_values)
        chunks = [np.arange(n_frames)[chunk] for chunk in frame_chunks(n_frames, width)]
    assert_array_equal(np.concatenate([[], *chunks]), np.arange(n_frames))
    assert all(1 <= len(chunk) <= max(1, chunk_values // width) for chunk in chunks)


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 9), st.integers(1, 40))
def test_sample_chunks_cover_all_samples_in_bounded_slices(lengths, width, chunk_values):
    lengths = np.array(lengths, dtype=int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skumc.data._ragged._CHUNK_VALUES", chunk_values)
        chunks = list(sample_chunks(lengths, width))
    rows = [np.arange(len(lengths))[chunk] for chunk in chunks]
    assert_array_equal(np.concatenate([[], *rows]), np.arange(len(lengths)))
    bound = max(1, chunk_values // width)
    assert all(len(r) == 1 or lengths[r].sum() <= bound for r in rows)
    for left, right in zip(rows, rows[1:], strict=False):
        assert lengths[left].sum() + lengths[right[0]] > bound  # none is needlessly short


@given(st.data(), st.lists(st.integers(0, 4), min_size=1, max_size=7))
def test_take_equals_taking_from_a_list(data, lengths):
    values = np.arange(2.0 * sum(lengths)).reshape(-1, 2)
    sequences = Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=9)), dtype=int)
    taken = sequences.take(rows)
    assert taken.lengths.tolist() == [lengths[row] for row in rows]
    expected = [sequences[row] for row in rows]
    for frames, wanted in zip(taken, expected, strict=True):
        assert_array_equal(frames, wanted, strict=True)
    assert_array_equal(values[sequences.frame_rows(rows)], np.concatenate([values[:0], *expected]))


@given(st.data(), st.lists(st.integers(0, 4), min_size=1, max_size=7))
def test_a_view_equals_taking_and_copies_no_frames(data, lengths):
    values = np.arange(2.0 * sum(lengths)).reshape(-1, 2)
    sequences = Ragged.from_lengths(values, lengths)
    row_lists = st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=9)
    first = np.array(data.draw(row_lists), dtype=int)
    second = np.array(data.draw(st.lists(st.integers(0, len(first) - 1), max_size=9)), dtype=int)
    view, taken = sequences.view(first).view(second), sequences.take(first[second])
    for found in (view, view.view(np.arange(len(second))), pickle.loads(pickle.dumps(view))):
        assert len(found) == len(second) and found.width == 2
        assert_array_equal(found.values, taken.values, strict=True)
        assert_array_equal(found.offsets, taken.offsets, strict=True)
        assert_array_equal(found.lengths, taken.lengths, strict=True)
    for frames, row in zip(view, first[second], strict=True):
        assert_array_equal(frames, sequences[row], strict=True)
        assert len(frames) == 0 or np.shares_memory(frames, values)
    third = np.array(data.draw(st.permutations(range(len(second)))), dtype=int)
    assert_array_equal(view.take(third).values, sequences.take(first[second][third]).values)
    for found, wanted in zip(view.mean_and_scale(), taken.mean_and_scale(), strict=True):
        assert_array_equal(found, wanted, strict=True)


@pytest.mark.parametrize(
    "derive", [lambda s: s, lambda s: s.view(np.array([0, 1])), lambda s: s.take(np.array([0, 1]))]
)
def test_checked_sequences_are_not_scanned(derive):
    values = [[np.inf], [1.0]]
    checked = derive(Ragged(values, [0, 1, 2], checked=True))
    assert_array_equal(MultimodalData({"a": checked}).packed("a").values, values)
    with pytest.raises(ValueError, match="'a' has infinite values"):
        MultimodalData({"a": derive(Ragged(values, [0, 1, 2]))})


def test_whole_numbers_stay_whole_where_a_type_is_given():
    large = 2**53 + 1  # no float64
    tokens = Ragged([[large], [2], [3]], [0, 1, 3], np.int64)
    rows = np.array([1, 0])
    for found in (tokens, tokens.take(rows), tokens.view(rows), pickle.loads(pickle.dumps(tokens))):
        assert found.values.dtype == np.int64
        assert sorted(found.values.ravel().tolist()) == [2, 3, large]
    assert Ragged.from_lengths([[large]], [1], np.int64)[0].item() == large
    assert Ragged([[2], [3]], [0, 2]).values.dtype == np.float64


@given(st.lists(st.integers(0, 5), max_size=8))
def test_from_lengths_equals_cumulative_offsets(lengths):
    values = np.arange(float(sum(lengths)))[:, None]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    for found, wanted in zip(
        Ragged.from_lengths(values, lengths), Ragged(values, offsets), strict=True
    ):
        assert_array_equal(found, wanted, strict=True)


@pytest.mark.parametrize(
    ("values", "offsets", "message"),
    [
        (np.ones(3), [0, 3], r"values of shape \(3,\)"),
        (np.ones((3, 0)), [0, 3], r"values of shape \(3, 0\)"),
        (np.ones((3, 1), dtype=complex), [0, 3], "complex128, expected a matrix of real numbers"),
        (np.ones((3, 1)), [0, 2], "rise from 0 to the 3 frames"),
        (np.ones((3, 1)), [1, 3], "rise from 0 to the 3 frames"),
        (np.ones((3, 1)), [0, 2, 1, 3], "rise from 0 to the 3 frames"),
        (np.ones((3, 1)), [], "cumulative lengths with a leading 0"),
        (np.ones((3, 1)), [[0, 3]], "cumulative lengths with a leading 0"),
    ],
)
def test_ragged_refuses_malformed_sequences(values, offsets, message):
    with pytest.raises(ValueError, match=message):
        Ragged(values, offsets)


def test_a_single_sequence_is_indexed_like_a_list():
    sequences = Ragged(np.arange(6.0).reshape(3, 2), [0, 2, 2, 3])
    assert_array_equal(sequences[-1], sequences[2])
    assert len(sequences[1]) == 0
    for sample in (3, -4):
        with pytest.raises(IndexError, match="out of range for 3 samples"):
            sequences[sample]
