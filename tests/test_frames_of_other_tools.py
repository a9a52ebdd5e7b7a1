"""Frames, columns and cells of pandas, polars, pyarrow and Parquet give the same samples."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from skumc import MultimodalData, UMCClusterer
from skumc.data._numbers import real_numbers
from skumc.feature_extraction import MultimodalFeatures, PooledFeatures, TransformerTextFeatures
from skumc.metrics import clustering_scores
from text_models import pair

RNG = np.random.default_rng(0)
SEQUENCES = [RNG.normal(size=(n, 2)).astype("f4") for n in (3, 1, 4, 2)]
SENTENCES = ["red hat", None, "good old day", "what a man"]
NUMBERS = {"x": [1.5, 2.0, -3.0, 0.0], "n": [4, 5, 6, 7], "b": [True, False, True, True]}


def umc(**parameters):
    cheap = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}
    return UMCClusterer(2, **cheap | parameters)


def same(found, expected):
    """Hold names, frames, types and missing cells of two containers."""
    assert found.names == expected.names and found.widths == expected.widths
    assert_array_equal(found.lengths, expected.lengths)
    for name in found.names:
        for one, other in zip(found.sequences(name), expected.sequences(name), strict=True):
            assert type(one) is type(other)
            if isinstance(one, np.ndarray):
                assert_array_equal(one, other, strict=True)
            else:
                np.testing.assert_equal(one, other)


def nested(cell):
    """An array as arrays of arrays of objects, as Parquet gives it back."""
    if cell.ndim == 1:
        return cell
    outer = np.empty(len(cell), dtype=object)
    outer[:] = [nested(part) for part in cell]
    return outer


CELLS = {
    "arrays of arrays": nested,
    "lists": lambda cell: cell.tolist(),
    "lists of arrays": list,
    "tuples": lambda cell: tuple(map(tuple, cell.tolist())),
    "buffers": memoryview,
    "tensors": torch.from_numpy,
    "tensors that train": lambda cell: torch.from_numpy(cell).requires_grad_(),
    "bfloat16": lambda cell: torch.from_numpy(cell).bfloat16(),
    "masked": np.ma.array,
    "frames": pd.DataFrame,
    "nullable frames": lambda cell: pd.DataFrame(cell).astype("Float64"),
}


@pytest.mark.parametrize("convert", CELLS.values(), ids=CELLS)
def test_nested_cells_are_sequences(convert):
    cells = [convert(cell) for cell in SEQUENCES]
    objects = np.full(5, None, dtype=object)
    for row, cell in enumerate(cells):
        objects[row] = cell
    forms = [MultimodalData({"a": [*cells, None]}), MultimodalData({"a": objects})]
    if not isinstance(cells[0], torch.Tensor):  # pandas converts these itself, and fails
        series = pd.Series(list(objects), dtype=object)
        forms += [MultimodalData({"a": series}), MultimodalData.from_frame(series.to_frame("a"))]
    for data in forms:
        assert data.lengths.ravel().tolist() == [3, 1, 4, 2, 0]
        for found, expected in zip(data.sequences("a"), SEQUENCES, strict=False):
            np.testing.assert_allclose(found, expected, rtol=0.01)


def test_vectors_and_nested_arrays_of_any_depth():
    assert MultimodalData({"a": [nested(np.ones(3)), np.ones(3)]}).widths == {"a": 3}
    cube = np.arange(24.0).reshape(2, 3, 4)
    assert_array_equal(real_numbers(nested(cube)), cube)
    ragged = nested(np.ones((2, 2)))
    ragged[1] = np.ones(3)
    with pytest.raises(ValueError, match="'a', row 1: the frames have different widths"):
        MultimodalData({"a": [np.ones((2, 2)), ragged]})


@pytest.fixture(params=["pandas", "nullable", "arrow-backed", "polars", "table", "batch"])
def make_frame(request):
    """A function from a dict of columns to a frame of a library."""
    if request.param == "pandas":
        return pd.DataFrame
    if request.param == "nullable":
        return lambda columns: pd.DataFrame(columns).convert_dtypes(dtype_backend="numpy_nullable")
    if request.param == "polars":
        return pytest.importorskip("polars").DataFrame
    pa = pytest.importorskip("pyarrow")
    if request.param == "table":
        return pa.table
    if request.param == "batch":
        return pa.RecordBatch.from_pydict
    return lambda columns: pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype)


def test_a_table_is_the_same_from_every_library(make_frame):
    expected = np.column_stack([np.asarray(v, float) for v in NUMBERS.values()])
    frame = make_frame(NUMBERS)
    pooled = PooledFeatures(standardize=False).fit(frame)
    assert_array_equal(pooled.transform(frame), expected)
    assert pooled.feature_names_in_.tolist() == ["x", "n", "b"]
    assert_array_equal(umc().fit(frame).embedding_, umc().fit(expected).embedding_)
    blocks = {"left": ["b"], "right": ["x", "n"]}
    found = PooledFeatures(modalities=blocks, standardize=False).fit_transform(frame)
    assert_array_equal(found, expected[:, [2, 0, 1]])
    assert MultimodalData({"a": frame}).widths == {"a": 3}


def test_missing_numbers_are_missing_in_every_library(make_frame):
    lacking = {name: [*values, None] for name, values in NUMBERS.items()}
    frame = make_frame(lacking)
    for data in (MultimodalData({"a": frame}), MultimodalData.from_frame(frame)):
        assert data.present.any(axis=1).tolist() == [True] * 4 + [False]
    labels = umc().fit(make_frame(NUMBERS)).predict(frame, missing_rows="label -1")
    assert labels[-1] == -1 and labels[:-1].min() >= 0
    with pytest.raises(ValueError, match="is missing in row 4"):
        umc().fit(frame)


def test_cells_and_text_are_the_same_from_every_library(make_frame):
    columns = {
        "text": SENTENCES,
        "audio": [None, *[cell.astype(float).tolist() for cell in SEQUENCES[1:]]],
        "age": [4.0, 3.0, 2.0, None],
    }
    frame = make_frame(columns)
    expected = MultimodalData(columns)
    same(MultimodalData.from_frame(frame), expected)
    model = umc(text=pair()).fit(columns)
    assert_array_equal(umc(text=pair()).fit(frame).embedding_, model.embedding_)
    assert_array_equal(model.predict(frame), model.labels_)
    features = MultimodalFeatures(text="passthrough", audio="passthrough")
    same(features.fit_transform(frame), expected.select(["text", "audio"]))
    found = MultimodalFeatures(text=TransformerTextFeatures(pair())).fit_transform(frame)
    same(found, TransformerTextFeatures(pair()).fit_transform(SENTENCES))
    with pytest.raises(ValueError, match=r"columns\['audio'\]='sound'.*0 columns of that name"):
        MultimodalFeatures(audio="passthrough", columns={"audio": "sound"}).fit(frame)


def test_token_ids_in_a_frame_are_text(make_frame):
    columns = {
        "input_ids": [[2, 7, 3, 0], [2, 5, 6, 3], [2, 9, 3, 0]],
        "attention_mask": [[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]],
        "special_tokens_mask": [[1, 0, 1, 1], [1, 0, 0, 1], [1, 0, 1, 1]],
    }
    frame = make_frame(columns)
    same(MultimodalData.from_frame(frame), MultimodalData(columns))
    assert umc(text=pair()).fit(frame).modality_widths_ == {"text": None}


def test_names_of_columns_are_compared_across_libraries(make_frame):
    fitted = PooledFeatures().fit(pd.DataFrame(NUMBERS))
    expected = fitted.transform(pd.DataFrame(NUMBERS))
    assert_array_equal(fitted.transform(make_frame(NUMBERS)), expected)
    with pytest.raises(ValueError, match="feature names should match|expected those of fit"):
        fitted.transform(make_frame({name: NUMBERS[name] for name in ("n", "x", "b")}))


def series_kinds(values):
    """The same column as objects of every library that is installed."""
    yield pd.Series(values, dtype=object)
    yield pd.Series(values).array
    for name, make in (("polars", "Series"), ("pyarrow", "array"), ("pyarrow", "chunked_array")):
        try:
            library = __import__(name)
        except ImportError:
            continue
        yield getattr(library, make)([values] if make == "chunked_array" else values)


@pytest.mark.parametrize(
    "values",
    [
        SENTENCES,
        [1.5, None, 2.0],
        [True, None, False],
        [4, None, 6],
        [[[1.0, 2.0]], None, [[3.0, 4.0], [5.0, 6.0]]],
    ],
    ids=["text", "floats", "bools", "ints", "cells"],
)
def test_a_column_is_the_same_from_every_library(values):
    expected = MultimodalData({"a": values})
    for column in series_kinds(values):
        found = MultimodalData({"a": column})
        assert found.widths == expected.widths
        assert_array_equal(found.lengths, expected.lengths)
        for one, other in zip(found.sequences("a"), expected.sequences("a"), strict=True):
            assert_array_equal(one, other)
    if values is SENTENCES:
        expected = TransformerTextFeatures(pair()).fit_transform(values)
        for column in series_kinds(values):
            same(TransformerTextFeatures(pair()).fit_transform(column), expected)
            with pytest.raises(ValueError, match="'text'.* is missing in row 1"):
                umc(text=pair()).fit(column)


def test_lists_keep_their_type_of_number():
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    expected = MultimodalData({"a": SEQUENCES})
    lists = [cell.tolist() for cell in SEQUENCES]
    fixed = pl.Series(lists, dtype=pl.List(pl.Array(pl.Float32, 2)))
    for column in (
        pl.Series(lists, dtype=pl.List(pl.List(pl.Float32))),
        fixed,
        fixed.to_arrow(),
        pa.array(lists, pa.large_list(pa.list_(pa.float32()))),
    ):
        same(MultimodalData({"a": column}), expected)
    cube = RNG.normal(size=(3, 4, 2)).astype("f4")
    same(MultimodalData.from_frame(pl.DataFrame({"a": cube})), MultimodalData({"a": cube}))


def test_a_frame_of_cells_survives_parquet():
    pytest.importorskip("pyarrow")
    file = io.BytesIO()
    frame = MultimodalData({"a": [*SEQUENCES, None], "t": [*SENTENCES, ""]}).to_frame()
    frame["a"] = [None if cell is None else cell.tolist() for cell in frame["a"]]
    frame.to_parquet(file)
    found = MultimodalData.from_frame(pd.read_parquet(file))
    assert found.lengths.tolist() == [[3, 1], [1, 0], [4, 1], [2, 1], [0, 0]]
    assert_array_equal(found[2]["a"], SEQUENCES[2])


def test_categories_of_polars_and_pyarrow_are_warned_of():
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    words = ["by web", "by phone"] * 3
    for X in (
        pl.DataFrame({"channel": pl.Series(words, dtype=pl.Categorical)}),
        pl.DataFrame({"channel": pl.Series(words, dtype=pl.Enum(["by web", "by phone"]))}),
        pa.table({"channel": pa.array(words).dictionary_encode()}),
    ):
        with pytest.warns(UserWarning, match="Modality 'channel' looks like categories"):
            umc(text=pair()).fit(X)


def test_a_lazy_frame_is_refused_with_a_remedy():
    pl = pytest.importorskip("polars")
    lazy = pl.DataFrame({"text": SENTENCES}).lazy()
    for call in (
        umc().fit,
        MultimodalData.from_frame,
        MultimodalFeatures(text="passthrough").fit,
        TransformerTextFeatures(pair()).fit_transform,
        lambda X: MultimodalData({"text": X}),
    ):
        with pytest.raises(ValueError, match=r"LazyFrame of polars.* Pass X.collect\(\)"):
            call(lazy)


def test_dates_and_decimals_of_polars_and_pyarrow():
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    when = pd.date_range("2025-01-01", periods=4).to_pydatetime().tolist()
    for make in (pl.DataFrame, pa.table):
        with pytest.raises(ValueError, match="Modality 'when', row 0: got datetime"):
            umc().fit(make({"x": NUMBERS["x"], "when": when}))
    exact = pl.DataFrame({"x": NUMBERS["x"]}).with_columns(pl.col("x").cast(pl.Decimal(9, 3)))
    for X in (exact, exact.to_arrow(), exact.to_pandas()):
        found = PooledFeatures(standardize=False).fit_transform(X)
        assert_array_equal(found.ravel(), NUMBERS["x"])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_output_is_a_table_of_the_library_asked_for(library):
    pytest.importorskip(library)
    X = MultimodalData({"a": SEQUENCES}, index=list("wxyz"))
    for estimator in (PooledFeatures(), umc()):
        plain = estimator.fit(X).transform(X)
        out = estimator.set_output(transform=library).transform(X)
        assert type(out).__module__.startswith(library)
        assert_array_equal(out.to_numpy(), plain)
        assert list(out.columns) == estimator.get_feature_names_out().tolist()
        if library == "pandas":
            assert out.index.tolist() == ["w", "x", "y", "z"]


def test_scores_take_labels_of_every_library():
    expected = clustering_scores([0, 1, 1, 2], ["a", "b", "b", "b"])
    for truth in series_kinds([0, 1, 1, 2]):
        for found in series_kinds(["a", "b", "b", "b"]):
            assert clustering_scores(truth, found) == expected
    for truth in series_kinds([0, None, 1, 2]):
        with pytest.raises(ValueError, match="y_true with missing labels"):
            clustering_scores(truth, [0, 1, 1, 1])
