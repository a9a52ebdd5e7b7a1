"""A table as it is: modalities of any name over columns of numbers, categories and text."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skumc import UMCClusterer
from skumc.feature_extraction import LogMelFeatures, MultimodalFeatures
from skumc.feature_extraction._sparse_blocks import fit_reduction, to_dense

FAST = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}


def make_table(n_samples=24):
    rng = np.random.default_rng(0)
    kind = np.arange(n_samples) % 3
    words = np.array(["late parcel again", "wrong card charge", "new phone number"])
    return pd.DataFrame(
        {
            "subject": words[kind].astype(object),
            "duration": kind * 10 + rng.normal(size=n_samples),
            "price": rng.normal(size=n_samples),
            "channel": np.array(["mail", "phone", "chat"], dtype=object)[kind],
            "pitch": rng.normal(size=n_samples),
        },
        index=[f"row {i}" for i in range(n_samples)],
    )


def make_features(**changes):
    parts = {
        "text": (TfidfVectorizer(), "subject"),
        "numbers": (StandardScaler(), ["duration", "price"]),
        "channel": (OneHotEncoder(), ["channel"]),
        "pitch": "pitch",
    }
    return MultimodalFeatures(**parts | changes)


def test_each_modality_is_what_its_transformer_gives():
    frame = make_table()
    data = make_features().fit_transform(frame)
    assert data.names == ("text", "numbers", "channel", "pitch")
    expected = {
        "text": TfidfVectorizer().fit_transform(frame["subject"]).toarray(),
        "numbers": StandardScaler().fit_transform(frame[["duration", "price"]]),
        "channel": OneHotEncoder().fit_transform(frame[["channel"]]).toarray(),
        "pitch": frame[["pitch"]].to_numpy(),
    }
    for name, values in expected.items():
        assert_allclose(data.packed(name).values, values, rtol=1e-6, err_msg=name)
    assert data.index.tolist() == frame.index.tolist()


@pytest.mark.parametrize("convert", [pl.from_pandas, pl.DataFrame.to_arrow, "records"])
def test_other_libraries_are_read_like_pandas(convert):
    frame = make_table()
    frame.loc["row 2", ["duration", "price"]] = np.nan
    frame.loc["row 3", "channel"] = None
    features = make_features().fit(frame)
    if convert == "records":
        other = frame.to_dict("records")
    else:
        other = pl.from_pandas(frame.reset_index(drop=True))
        other = convert(other) if convert is pl.DataFrame.to_arrow else other
    expected, found = features.transform(frame), features.transform(other)
    assert_array_equal(found.lengths, expected.lengths)
    for name in expected.names:
        assert_allclose(found.packed(name).values, expected.packed(name).values)
    refitted = clone(features).fit(other).transform(other)
    assert_allclose(refitted.packed("numbers").values, expected.packed("numbers").values)
    assert refitted.packed("channel").width == 3


def test_selectors_and_column_transformers_choose_from_all_columns():
    frame = make_table()
    numbers = make_column_selector(dtype_include="number")
    mixed = ColumnTransformer(
        [("n", StandardScaler(), numbers), ("c", OneHotEncoder(), ["channel"])],
        sparse_threshold=0,
    )
    features = MultimodalFeatures(
        numbers=(StandardScaler(), numbers), raw=numbers, mixed=mixed, text="subject"
    )
    data = features.fit_transform(frame)
    assert features.columns_["numbers"] == ["duration", "price", "pitch"]
    assert data.widths == {"text": None, "numbers": 3, "raw": 3, "mixed": 6}
    assert_allclose(data.packed("mixed").values, mixed.fit_transform(frame))
    assert_allclose(data.packed("raw").values, frame[["duration", "price", "pitch"]].to_numpy())
    assert data.sequences("text") == frame["subject"].tolist()
    as_polars = MultimodalFeatures(numbers=(StandardScaler(), numbers)).fit(pl.from_pandas(frame))
    assert as_polars.columns_ == {"numbers": ["duration", "price", "pitch"]}


def test_single_columns_of_scalars_are_tables_for_transformers_of_tables():
    frame = make_table()
    features = MultimodalFeatures(price=StandardScaler(), channel=OneHotEncoder())
    data = features.fit_transform(frame)
    expected = StandardScaler().fit_transform(frame[["price"]])
    assert_allclose(data.packed("price").values, expected)
    assert data.widths == {"price": 1, "channel": 3}
    upper = FunctionTransformer(lambda cells: [cell.upper() for cell in cells])
    data = MultimodalFeatures(text=(upper, "subject")).fit_transform(frame)
    assert data.sequences("text")[0] == "LATE PARCEL AGAIN"


def test_blocks_are_missing_where_all_their_cells_are():
    frame = make_table(6)
    frame.loc["row 1", ["duration", "price"]] = np.nan
    frame.loc["row 2", "duration"] = np.nan
    frame.loc["row 4", "channel"] = ""
    imputed = make_pipeline(SimpleImputer(), StandardScaler())
    features = make_features(numbers=(imputed, ["duration", "price"])).fit(frame)
    data = features.transform(frame)
    assert data.present[:, 1].tolist() == [True, False, True, True, True, True]
    assert data.present[:, 2].tolist() == [True, True, True, True, False, True]
    rows = [0, 2, 3, 4, 5]
    expected = clone(imputed).fit_transform(frame.iloc[rows][["duration", "price"]])
    assert_allclose(data.packed("numbers").values, expected)
    assert features.transform([{"subject": "card"}]).lengths.tolist() == [[1, 0, 0, 0]]
    with pytest.raises(ValueError, match="'numbers' is partly NaN .*SimpleImputer"):
        make_features().fit_transform(frame)


def test_parameters_behave_as_those_of_any_estimator():
    features = make_features()
    assert features.get_params()["numbers__with_mean"] is True
    assert "numbers__with_mean" not in features.get_params(deep=False)
    assert features.get_params(deep=False)["pitch"] == "pitch"
    copied = clone(features)
    assert copied.get_params(deep=False).keys() == features.get_params(deep=False).keys()
    copied.set_params(numbers__with_mean=False, text__lowercase=False, pitch=None)
    assert copied.get_params()["numbers__with_mean"] is False
    assert copied.get_params()["text__lowercase"] is False
    assert features.get_params()["numbers__with_mean"] is True
    assert "pitch" not in copied.fit_transform(make_table()).names
    assert "numbers=(StandardScaler()" in repr(features)
    restored = pickle.loads(pickle.dumps(copied))
    assert_array_equal(
        restored.transform(make_table()).packed("numbers").values,
        copied.transform(make_table()).packed("numbers").values,
    )
    with pytest.raises(ValueError, match="Invalid parameter 'prices'"):
        features.set_params(prices=None)
    with pytest.raises(ValueError, match="pitch='pitch' is not a transformer"):
        features.set_params(pitch__with_mean=True)


def test_search_over_a_parameter_of_a_modality_and_clusters_of_a_table():
    frame = make_table()
    pipeline = make_pipeline(make_features(), UMCClusterer(3, **FAST))
    grid = {"multimodalfeatures__numbers__with_std": [True, False]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(frame)
    assert_array_equal(search.predict(frame), search.best_estimator_[-1].labels_)
    table = pipeline.set_output(transform="pandas").fit(frame).transform(frame)
    assert table.index.tolist() == frame.index.tolist()
    weights = pipeline[-1].modality_weights(pipeline[0].transform(frame))
    assert list(weights.columns) == ["text", "numbers", "channel", "pitch"]
    assert weights.index.tolist() == frame.index.tolist()
    assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


@given(st.integers(2, 12), st.integers(257, 400), st.integers(0, 5))
def test_wide_sparse_blocks_are_projected_and_centered(n_samples, width, seed):
    X = sparse.random(n_samples, width, density=0.2, random_state=seed, format="csr")
    found = to_dense(X, fit_reduction(X))
    dense = X.toarray()
    _, _, directions = np.linalg.svd(dense, full_matrices=False)
    projected = (dense - dense.mean(axis=0)) @ directions.T
    assert found.shape == (n_samples, min(128, n_samples))
    # equal up to the signs of directions, so compare what distances see
    assert_allclose(found @ found.T, projected @ projected.T, atol=1e-3)


def test_sparse_results_are_dense_where_narrow_and_reduced_where_wide():
    frame = make_table()
    words = frame["subject"] + [f" word{i}" for i in range(24)]
    features = MultimodalFeatures(
        narrow=(HashingVectorizer(n_features=256), "subject"),
        wide=(HashingVectorizer(n_features=2**18), "subject"),
    )
    frame["subject"] = words
    data = features.fit_transform(frame)
    assert data.widths == {"narrow": 256, "wide": 24}
    assert_allclose(data.packed("wide").values.mean(axis=0), 0, atol=1e-6)
    new = features.transform(frame.iloc[:3])
    assert_allclose(new.packed("wide").values, data.packed("wide").values[:3], atol=1e-6)
    blocks = pd.DataFrame.sparse.from_spmatrix(sparse.eye(5, 300, format="csr"))
    passed = MultimodalFeatures(block=list(blocks.columns)).fit(blocks)
    assert passed.transform(blocks).widths == {"block": 5}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"numbers": (StandardScaler(), ["price", "prize"])}, "'prize', expected one of .*'price'"),
        ({"numbers": (StandardScaler(), None)}, "Got numbers=.* expected a transformer, 'passth"),
        ({"numbers": 3}, "Got numbers=3, expected a transformer, 'passthrough', a column"),
        ({"a__b": "price"}, "modality name 'a__b', expected one without '__'.* Rename it to 'a_b'"),
        (
            {"numbers": (StandardScaler(), ["price"]), "columns": {"numbers": "price"}},
            "columns for 'numbers' twice",
        ),
        (
            {"dates": make_column_selector(dtype_include="datetime")},
            "selector of dates= chose no column of X",
        ),
        ({"numbers": (StandardScaler(), ["empty"])}, r"\['empty'\] is missing in every row"),
    ],
)
def test_errors_name_the_modality(settings, message):
    frame = make_table().assign(empty=np.nan)
    with pytest.raises(ValueError, match=message):
        MultimodalFeatures(**settings).fit(frame)


def test_log_mel_frames_follow_the_formula():
    rate, wave = 1000, np.random.default_rng(0).normal(size=130) / 4
    features = LogMelFeatures(
        n_mels=5, sampling_rate=rate, resampled_rate=rate, window_seconds=0.03, hop_seconds=0.02
    )
    data = features.fit_transform([wave, None, wave[:1], (wave, rate)])
    size, hop, n_fft = 30, 20, 32
    assert (features.hop_, features.width_) == (0.02, 5)
    assert data.lengths[:, 0].tolist() == [130 // hop + 1, 0, 1, 130 // hop + 1]
    padded = np.pad(wave.astype(np.float32).astype(float), size // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)

    def mel(hertz):
        return 2595 * np.log10(1 + hertz / 700)

    edges = 700 * (10 ** (np.linspace(0, mel(rate / 2), 7) / 2595) - 1)
    for frame in range(130 // hop + 1):
        part = padded[frame * hop : frame * hop + size] * window
        for band in range(5):
            low, middle, high = edges[band : band + 3]
            power = 0.0
            for k in range(n_fft // 2 + 1):
                hertz = k * rate / n_fft
                height = min((hertz - low) / (middle - low), (high - hertz) / (high - middle))
                angle = 2 * np.pi * k * np.arange(size) / n_fft
                squared = (part @ np.cos(angle)) ** 2 + (part @ np.sin(angle)) ** 2
                power += max(height, 0) * squared
            assert_allclose(data[0]["audio"][frame, band], np.log(max(power, 1e-10)), rtol=1e-3)


def test_log_mel_frames_are_kept_and_settings_are_checked(tmp_path):
    waves = [np.sin(np.arange(800) * pitch) for pitch in (0.1, 0.2)]
    features = LogMelFeatures(8, sampling_rate=8000, resampled_rate=8000, memory=tmp_path)
    first = features.fit_transform(waves).packed("audio").values
    assert list(tmp_path.rglob("*"))
    assert_array_equal(clone(features).fit_transform(waves).packed("audio").values, first)
    changed = clone(features).set_params(hop_seconds=0.02).fit_transform(waves)
    assert changed.lengths.tolist() == [[6], [6]]
    with pytest.raises(ValueError, match="n_mels=400 .*Choose fewer bands or a longer window"):
        LogMelFeatures(400).fit(waves)
    with pytest.raises(ValueError, match="without its rate. Pass sampling_rate="):
        LogMelFeatures().fit_transform(waves)
