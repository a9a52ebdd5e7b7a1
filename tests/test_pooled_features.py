"""Pooling to a matrix, compared with a loop over samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skumc import MultimodalData
from skumc.data import Ragged
from skumc.feature_extraction import PooledFeatures


@parametrize_with_checks([PooledFeatures(), PooledFeatures(standardize=False, scale_blocks=True)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@st.composite
def sequences(draw, min_samples=2, max_samples=8):
    """Draw cells of three modalities; every sample has the first or the second."""
    n_samples = draw(st.integers(min_samples, max_samples))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = {}
    for name, width in {"text": 3, "audio": 1, "video": 2}.items():
        lengths = draw(st.lists(st.integers(0, 4), min_size=n_samples, max_size=n_samples))
        if name == "audio":
            lengths = [n or int(columns["text"][i] is None) for i, n in enumerate(lengths)]
        columns[name] = [rng.normal(2, 3, size=(n, width)) if n else None for n in lengths]
    return columns


def plain_pooled(columns, rows, train, *, standardize, scale_blocks):
    """Pool in a loop over samples and modalities; a modality absent from train has mean 0."""
    lines = [[] for _ in rows]
    for cells in columns.values():
        width = max(cell.shape[1] for cell in cells if cell is not None)
        known = [sum(cells[i]) / len(cells[i]) for i in train if cells[i] is not None]
        mean = sum(known) / len(known) if known else np.zeros(width)
        scale = np.ones(width)
        if len(known) > 1:
            scale = np.sqrt(sum((line - mean) ** 2 for line in known) / len(known))
        for line, i in zip(lines, rows, strict=True):
            value = mean if cells[i] is None else sum(cells[i]) / len(cells[i])
            value = (value - mean) / scale if standardize else value
            line.extend(value / np.sqrt(width) if scale_blocks else value)
    return np.array(lines)


@given(st.data(), sequences(), st.booleans(), st.booleans(), st.sampled_from([1, 5, 4_000_000]))
def test_pooling_equals_a_loop_over_samples(data, columns, standardize, scale_blocks, chunk_values):
    columns = {n: cells for n, cells in columns.items() if any(c is not None for c in cells)}
    X = MultimodalData(columns)
    numbers = st.integers(0, len(X) - 1)
    train = data.draw(st.lists(numbers, min_size=2, max_size=8, unique=True))
    rows = data.draw(st.lists(numbers, min_size=1, max_size=9))
    model = PooledFeatures(standardize=standardize, scale_blocks=scale_blocks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skumc.data._ragged._CHUNK_VALUES", chunk_values)
        pooled = model.fit(X[train]).transform(X[rows])
    expected = plain_pooled(
        columns, rows, train, standardize=standardize, scale_blocks=scale_blocks
    )
    assert_allclose(pooled, expected, rtol=1e-9, atol=1e-9)


@given(sequences(), st.randoms(use_true_random=False))
def test_pooling_does_not_depend_on_frame_order_or_other_samples(columns, random):
    columns = {n: cells for n, cells in columns.items() if any(c is not None for c in cells)}
    X = MultimodalData(columns)
    model = PooledFeatures().fit(X)
    whole = model.transform(X)
    rows = random.sample(range(len(X)), len(X))
    assert_array_equal(model.transform(X[rows]), whole[rows])
    assert_array_equal(model.transform(X[rows[:1]]), whole[rows[:1]])
    turned = {n: [c if c is None else c[::-1] for c in cells] for n, cells in columns.items()}
    assert_allclose(model.transform(turned), whole, rtol=1e-9, atol=1e-9)
    assert_array_equal(clone(model).fit_transform(X), whole)


def test_samples_without_frames_anywhere_in_a_chunk():
    cells = [None, None, [[1.0], [3.0]], None, [[5.0]], None, [[7.0], [8.0], [9.0]], None]
    X = MultimodalData({"text": np.zeros((8, 1)), "audio": cells})
    pooled = PooledFeatures(standardize=False).fit_transform(X)
    mean = (2 + 5 + 8) / 3
    assert_allclose(pooled[:, 1], [mean, mean, 2, mean, 5, mean, 8, mean])
    assert_array_equal(pooled[:, 0], np.zeros(8))


def test_standardized_columns_have_mean_zero_and_deviation_one_where_present():
    rng = np.random.default_rng(0)
    cells = [rng.normal(5, 4, (1 + i % 3, 2)) if i % 4 else None for i in range(40)]
    X = MultimodalData({"text": rng.normal(3, 2, (40, 3)), "audio": cells})
    pooled = PooledFeatures().fit_transform(X)
    present = X.present[:, 1]
    assert_allclose(pooled[:, :3].mean(axis=0), 0, atol=1e-12)
    assert_allclose(pooled[:, :3].std(axis=0), 1)
    assert_allclose(pooled[present, 3:].mean(axis=0), 0, atol=1e-12)
    assert_allclose(pooled[present, 3:].std(axis=0), 1)
    assert_array_equal(pooled[~present, 3:], np.zeros((10, 2)))
    table = X.packed("text").values
    assert_allclose(
        PooledFeatures().fit_transform(table), StandardScaler().fit_transform(table), atol=1e-12
    )


def test_constant_column_becomes_zero():
    X = {"text": [[[0.1, 1.0]] * (1 + i % 5) for i in range(9)], "audio": np.eye(9)}
    assert_allclose(PooledFeatures().fit_transform(X)[:, :2], 0, atol=1e-12)


def test_scaled_blocks_contribute_equally_to_squared_distances():
    rng = np.random.default_rng(0)
    X = {"text": rng.normal(size=(60, 50)), "audio": rng.normal(size=(60, 2))}
    pooled = PooledFeatures(scale_blocks=True).fit_transform(X)
    squares = np.square(pooled)
    assert_allclose(squares[:, :50].sum(axis=1).mean(), 1)
    assert_allclose(squares[:, 50:].sum(axis=1).mean(), 1)
    plain = PooledFeatures(standardize=False, scale_blocks=True).fit_transform(X)
    assert_allclose(plain[:, :50] * np.sqrt(50), X["text"])


@pytest.mark.parametrize(
    ("text", "audio", "expected"),
    [
        (np.float32, np.float32, np.float32),
        (np.float16, np.float16, np.float32),
        (np.float32, np.float64, np.float64),
        (np.int8, np.float32, np.float32),
    ],
)
def test_dtype_is_float32_unless_a_modality_is_float64(text, audio, expected):
    X = {"text": np.eye(3).astype(text), "audio": np.ones((3, 2, 2), dtype=audio)}
    assert PooledFeatures().fit_transform(X).dtype == expected


def test_sums_are_computed_in_double_precision():
    n_frames = 200_000
    values = np.full((2 * n_frames, 1), 0.1, dtype=np.float32)
    X = MultimodalData({"text": Ragged(values, [0, n_frames, 2 * n_frames])})
    pooled = PooledFeatures(standardize=False).fit_transform(X)
    assert_array_equal(pooled, np.full((2, 1), 0.1, dtype=np.float32))


def test_modality_missing_in_all_training_samples_becomes_zero():
    X = MultimodalData({"text": np.arange(3.0)[:, None], "audio": [None] * 3})
    pooled = PooledFeatures().fit_transform(X)
    assert_array_equal(pooled[:, 1], np.zeros(3))
    assert_allclose(pooled[:, 0], [-np.sqrt(1.5), 0, np.sqrt(1.5)])


def test_modality_absent_in_transform_becomes_the_training_mean():
    X = MultimodalData({"text": [[1.0], [3.0]], "audio": [[2.0, 4.0], [4.0, 8.0]]})
    model = PooledFeatures(standardize=False).fit(X)
    expected = [[1.0, 3.0, 6.0], [3.0, 3.0, 6.0]]
    assert_array_equal(model.transform(X.select(["text"])), expected)
    assert_array_equal(model.transform([{"audio": None, "text": [1.0]}, {"text": 3.0}]), expected)
    assert_array_equal(model.transform(X.select(["audio", "text"])), model.transform(X))


def test_every_input_format_gives_the_same_matrix():
    rng = np.random.default_rng(0)
    text, audio = rng.normal(size=(6, 2)), rng.normal(size=(6, 3))
    audio[[1, 4]] = np.nan
    X = MultimodalData({"text": text, "audio": audio})
    expected = PooledFeatures().fit_transform(X)
    for data in (list(X), X.to_frame(), {"text": text, "audio": audio}):
        assert_array_equal(PooledFeatures().fit_transform(data), expected)
    table = np.hstack([text, audio])
    blocks = PooledFeatures(modalities={"text": [0, 1], "audio": range(2, 5)})
    assert_array_equal(blocks.fit_transform(table), expected)
    text_only = PooledFeatures(modalities=["text"], standardize=False).fit_transform(X)
    assert_array_equal(text_only, text)


def test_names_and_pandas_output():
    X = MultimodalData({"text": np.eye(3), "audio": [[1.0, 2.0], None, [[3.0, 4.0]]]})
    frame = X.to_frame()
    frame.index = ["x", "y", "z"]
    model = PooledFeatures().set_output(transform="pandas")
    out = model.fit_transform(frame)
    assert out.index.tolist() == ["x", "y", "z"]
    assert out.columns.tolist() == ["text_0", "text_1", "text_2", "audio_0", "audio_1"]
    assert_array_equal(out.to_numpy(), PooledFeatures().fit_transform(X))
    assert model.get_feature_names_out(["text", "audio"]).tolist() == out.columns.tolist()
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        model.get_feature_names_out(["audio", "text"])
    table = pd.DataFrame(np.eye(3), columns=list("abc"), index=[7, 8, 9])
    out = PooledFeatures(modalities={"m": ["c", "a"]}).set_output(transform="pandas")
    out = out.fit_transform(table)
    assert out.columns.tolist() == ["m_0", "m_1"]
    assert out.index.tolist() == [7, 8, 9]
    assert out["m_0"].idxmax() == 9


def test_pipeline_union_and_search():
    rng = np.random.default_rng(0)
    topic = np.arange(20) % 2
    X = MultimodalData(
        {"text": rng.normal(9 * topic[:, None], 1, (20, 3)), "noise": rng.normal(0, 99, (20, 1))}
    )
    pipeline = make_pipeline(PooledFeatures(), KMeans(2, n_init=3, random_state=0))
    grid = {
        "pooledfeatures__modalities": [["noise"], ["text"]],
        "pooledfeatures__scale_blocks": [True],
    }
    search = GridSearchCV(pipeline, grid, scoring="adjusted_rand_score", cv=2).fit(X, topic)
    assert search.best_params_["pooledfeatures__modalities"] == ["text"]
    assert search.best_score_ == 1.0
    union = FeatureUnion([(name, PooledFeatures(modalities=[name])) for name in X.names]).fit(X)
    assert_array_equal(union.transform(X), PooledFeatures().fit_transform(X))
    assert union.get_feature_names_out().tolist() == [
        "text__text_0", "text__text_1", "text__text_2", "noise__noise_0",
    ]  # fmt: skip


def test_transform_needs_fit():
    for call in (lambda m: m.transform(np.eye(2)), lambda m: m.get_feature_names_out()):
        with pytest.raises(NotFittedError, match="PooledFeatures instance is not fitted"):
            call(PooledFeatures())


def test_input_is_not_modified():
    text = np.arange(6.0).reshape(3, 2)
    text.flags.writeable = False
    PooledFeatures().fit_transform({"text": text})
    assert_array_equal(text, np.arange(6.0).reshape(3, 2))
