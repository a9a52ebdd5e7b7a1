"""scikit-learn's own tools on samples with sequences of different lengths."""

from __future__ import annotations

import pickle
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.utils import resample, shuffle
from threadpoolctl import threadpool_limits

from skumc import MultimodalData, UMCClusterer
from skumc.feature_extraction import PooledFeatures
from skumc.metrics import clustering_scorer

N_SAMPLES = 24
TOPICS = np.arange(N_SAMPLES) % 2
FOLDS = KFold(3)


def make_samples():
    """Two distant topics; the first value of text encodes the sample's number, in millionths."""
    rng = np.random.default_rng(0)
    samples = []
    for number, topic in enumerate(TOPICS):
        center = 4.0 * (2 * topic - 1)
        text = rng.normal(center, 1, size=(rng.integers(1, 5), 4))
        text[0, 0] = np.round(text[0, 0], 3) + number * 1e-6
        audio = rng.normal(center, 1, size=(rng.integers(1, 4), 3))
        samples.append({"text": text, "audio": None if number % 5 == 1 else audio})
    return samples


def numbers(X):
    """Numbers of the samples, decoded from their content."""
    return [round((sample["text"][0, 0] * 1e6) % 1000) for sample in X]


def umc(n_clusters=2, **parameters):
    cheap = {"encoder": "projection", "pretrain_epochs": 0, "max_epochs": 1}
    return UMCClusterer(n_clusters, **cheap | {"random_state": 0} | parameters)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Fit on one thread: these fits are tiny, and synchronizing threads would dominate."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def X():
    """The container; its content is the same after each test."""
    data = MultimodalData.from_records(make_samples())
    before = joblib.hash(data)
    yield data
    assert joblib.hash(data) == before


@pytest.fixture
def y():
    labels = TOPICS.copy()
    yield labels
    assert_array_equal(labels, TOPICS)


@pytest.fixture
def cells():
    """The same samples as a DataFrame of cells, with an index."""
    frame = MultimodalData.from_records(make_samples()).to_frame()
    frame.index = [f"clip{i}" for i in range(N_SAMPLES)]
    return frame


@pytest.fixture
def table():
    """One frame per sample as a numeric DataFrame; missing audio is a block of NaN."""
    samples = make_samples()
    audio = [np.full(3, np.nan) if s["audio"] is None else s["audio"][0] for s in samples]
    values = np.column_stack([[s["text"][0] for s in samples], audio])
    columns = [f"t{i}" for i in range(4)] + [f"a{i}" for i in range(3)]
    return pd.DataFrame(values, columns=columns, index=[f"clip{i}" for i in range(N_SAMPLES)])


BLOCKS = {"text": ["t0", "t1", "t2", "t3"], "audio": ["a0", "a1", "a2"]}


# splitting


def test_train_test_split(X, y):
    train, test, y_train, y_test, i_train, i_test = train_test_split(
        X, y, np.arange(N_SAMPLES), test_size=6, random_state=0, stratify=y
    )
    assert isinstance(train, MultimodalData) and isinstance(test, MultimodalData)
    assert numbers(train) == i_train.tolist()
    assert numbers(test) == i_test.tolist()
    assert sorted(numbers(train) + numbers(test)) == list(range(N_SAMPLES))
    assert y_test.sum() == 3
    assert_array_equal(y_train, TOPICS[i_train])


def test_shuffle(X, y):
    mixed, labels = shuffle(X, y, random_state=0)
    assert sorted(numbers(mixed)) == list(range(N_SAMPLES)) != numbers(mixed)
    assert_array_equal(labels, TOPICS[numbers(mixed)])


@pytest.mark.parametrize("stratify", [None, TOPICS])
def test_resample(X, y, stratify):
    drawn, labels = resample(X, y, n_samples=40, random_state=0, stratify=stratify)
    assert len(drawn) == 40 > len(set(numbers(drawn))) > 5
    assert_array_equal(labels, TOPICS[numbers(drawn)])


def test_kfold(X, y):
    seen = []
    for splitter in (KFold(4, shuffle=True, random_state=0), StratifiedKFold(4)):
        for train, test in splitter.split(X, y):
            assert numbers(X[train]) == train.tolist()
            assert not set(numbers(X[train])) & set(numbers(X[test]))
            seen += numbers(X[test])
    assert sorted(seen) == sorted(2 * list(range(N_SAMPLES)))


# searching and scoring


def fold_scores(X, **parameters):
    models = [umc(**parameters).fit(X[train]) for train, _ in FOLDS.split(X)]
    return [model.score(X[test]) for model, (_, test) in zip(models, FOLDS.split(X), strict=True)]


def test_grid_search_without_labels(X):
    grid = {"n_clusters": [2, 4], "threshold__max_threshold": [0.5]}
    search = GridSearchCV(umc(), grid, cv=FOLDS).fit(X)
    for i, n_clusters in enumerate([2, 4]):
        scores = [search.cv_results_[f"split{k}_test_score"][i] for k in range(3)]
        assert scores == fold_scores(X, n_clusters=n_clusters)
    assert search.best_params_["n_clusters"] == 2
    assert search.n_features_in_ == 2
    assert_array_equal(search.best_estimator_.labels_, search.predict(X))
    assert_array_equal(search.transform(X), search.best_estimator_.embedding_)


def test_grid_search_with_labels(X, y):
    search = GridSearchCV(
        umc(), {"n_clusters": [4, 2]}, cv=StratifiedKFold(3), scoring="adjusted_rand_score"
    ).fit(X, y)
    with_four, with_two = search.cv_results_["mean_test_score"]
    assert with_four < with_two == 1.0
    assert search.best_params_ == {"n_clusters": 2}
    assert_array_equal(search.best_estimator_.labels_, umc().fit(X).labels_)


def test_halving_grid_search(X, y):
    search = HalvingGridSearchCV(
        umc(), {"n_clusters": [2, 3, 4]}, cv=StratifiedKFold(2), scoring="adjusted_rand_score",
        factor=2, min_resources=12, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert search.n_resources_ == [12, 24]
    assert search.best_params_ == {"n_clusters": 2}
    last = search.cv_results_["iter"] == 1
    assert search.cv_results_["mean_test_score"][last].max() == 1.0
    assert adjusted_rand_score(TOPICS, search.predict(X)) == 1.0


def test_cross_validate(X):
    found = cross_validate(umc(), X, cv=FOLDS, return_estimator=True, return_indices=True)
    assert found["test_score"].tolist() == fold_scores(X)
    for model, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        assert_array_equal(model.labels_, model.predict(X[train]))


def test_cross_validate_against_labels(X, y):
    found = cross_validate(umc(), X, y, cv=StratifiedKFold(3), scoring=clustering_scorer)
    for name in ("NMI", "ARI", "ACC", "FMI"):
        assert_allclose(found[f"test_{name}"], np.ones(3))
    worse = cross_validate(umc(4), X, y, cv=StratifiedKFold(3), scoring=clustering_scorer)
    assert worse["test_ACC"].mean() < 1


def test_cross_val_score_gets_the_samples_of_each_fold(X, y):
    seen = []

    def record(model, X_fold, y_fold):
        seen.append((numbers(X_fold), y_fold.tolist()))
        return 0.0

    cross_val_score(umc(), X, y, cv=FOLDS, scoring=record)
    expected = [(test.tolist(), TOPICS[test].tolist()) for _, test in FOLDS.split(X)]
    assert seen == expected


def test_cross_val_predict(X):
    predicted = cross_val_predict(umc(), X, cv=FOLDS)
    for train, test in FOLDS.split(X):
        assert_array_equal(predicted[test], umc().fit(X[train]).predict(X[test]))


def test_learning_curve(X, y):
    def n_samples(model, X_fold, y_fold):
        assert_array_equal(y_fold, TOPICS[numbers(X_fold)])
        return len(X_fold)

    sizes, train, test = learning_curve(
        umc(), X, y, cv=FOLDS, train_sizes=[0.5, 1.0], scoring=n_samples
    )
    assert sizes.tolist() == [8, 16]
    assert train.tolist() == [[8] * 3, [16] * 3]
    assert test.tolist() == [[8] * 3, [8] * 3]


def test_workers_find_what_one_process_finds(X):
    here = GridSearchCV(umc(), {"n_clusters": [2, 3]}, cv=FOLDS).fit(X)
    with joblib.parallel_backend("loky"):
        there = GridSearchCV(umc(), {"n_clusters": [2, 3]}, cv=FOLDS, n_jobs=2).fit(X)
    assert_allclose(
        there.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"], atol=1e-5
    )
    assert there.best_params_ == here.best_params_
    assert_array_equal(there.predict(X), here.predict(X))


# composition


class CountedFeatures(PooledFeatures):
    """PooledFeatures that records the samples of each fit."""

    fits: ClassVar[list] = []

    def fit(self, X, y=None):
        self.fits.append(numbers(X))
        return super().fit(X, y)


def test_pipeline_with_memory_recognizes_equal_samples(X, tmp_path):
    CountedFeatures.fits.clear()
    pipeline = Pipeline(
        [("pool", CountedFeatures()), ("cluster", KMeans(2, n_init=1, random_state=0))],
        memory=joblib.Memory(tmp_path, verbose=0),
    )
    rows = np.arange(N_SAMPLES - 1, -1, -1)
    first = pipeline.fit_predict(X[rows])
    assert CountedFeatures.fits == [rows.tolist()]
    again = MultimodalData.from_records(make_samples()[::-1])
    assert_array_equal(pipeline.fit_predict(again), first)
    assert_array_equal(pipeline.fit_predict(pickle.loads(pickle.dumps(X))[::-1]), first)
    assert CountedFeatures.fits == [rows.tolist()]
    pipeline.fit(X)
    assert CountedFeatures.fits == [rows.tolist(), list(range(N_SAMPLES))]


def test_pipeline_with_memory_around_the_clusterer(X, tmp_path):
    final = KMeans(2, n_init=1, random_state=0)
    memory = joblib.Memory(tmp_path, verbose=0)
    pipeline = make_pipeline(umc(), final, memory=memory)
    labels = pipeline.fit_predict(X)
    assert_array_equal(labels, clone(final).fit_predict(umc().fit(X).embedding_))
    assert adjusted_rand_score(TOPICS, labels) == 1.0
    assert_array_equal(pipeline.predict(X[3:9]), labels[3:9])


def test_feature_union(X):
    union = FeatureUnion([("pooled", PooledFeatures()), ("umc", umc())]).fit(X)
    both = union.transform(X[4:10])
    assert_array_equal(both[:, :7], PooledFeatures().fit(X).transform(X[4:10]))
    assert_array_equal(both[:, 7:], umc().fit(X).transform(X[4:10]))
    names = union.get_feature_names_out()
    assert names[[0, 4, 7]].tolist() == ["pooled__text_0", "pooled__audio_0", "umc__umcclusterer0"]


def test_clone(X):
    model = umc(threshold="linear", losses={"separation": 0.0}).fit(X)
    copied = clone(model)
    assert copied.get_params()["threshold"] == "linear"
    assert copied.get_params()["losses"] == {"separation": 0.0}
    with pytest.raises(NotFittedError):
        copied.predict(X)
    assert_array_equal(copied.fit(X).embedding_, model.embedding_)


def test_pickle(X):
    model = umc().fit(X)
    again, X_again = pickle.loads(pickle.dumps((model, X[::2])))
    assert_array_equal(again.predict(X_again), model.labels_[::2])
    assert_allclose(again.transform(X_again), model.embedding_[::2], atol=1e-6)
    assert again.get_params().keys() == model.get_params().keys()


@pytest.mark.parametrize("transformer", [umc(), PooledFeatures()], ids=["umc", "pooled"])
def test_pandas_output_of_cells_keeps_the_index(cells, transformer):
    transformer = clone(transformer).set_output(transform="pandas")
    trained = transformer.fit_transform(cells)
    new = transformer.transform(cells.iloc[[5, 2]])
    assert trained.index.tolist() == cells.index.tolist()
    assert new.index.tolist() == ["clip5", "clip2"]
    assert new.columns.tolist() == transformer.get_feature_names_out().tolist()
    plain = transformer.set_output(transform="default").transform(cells.iloc[[5, 2]])
    assert_array_equal(new.to_numpy(), plain)
    assert_allclose(trained.to_numpy()[[5, 2]], plain, atol=1e-6)


@pytest.mark.parametrize("modalities", [None, BLOCKS], ids=["one", "two"])
def test_pandas_output_of_a_table_keeps_the_index(table, modalities):
    table = table if modalities else table[BLOCKS["text"]]
    model = umc(modalities=modalities).set_output(transform="pandas").fit(table)
    out = make_pipeline(model).transform(table.iloc[[7, 1]])
    assert out.index.tolist() == ["clip7", "clip1"]
    assert out.columns[0] == "umcclusterer0"
    assert_allclose(out.to_numpy(), model.embedding_[[7, 1]], atol=1e-6)


# the other ways to pass samples


def test_grid_search_takes_a_list_of_dicts(X):
    grid = {"n_clusters": [2, 3]}
    expected = GridSearchCV(umc(), grid, cv=FOLDS).fit(X)
    search = GridSearchCV(umc(), grid, cv=FOLDS).fit(make_samples())
    assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert_array_equal(search.predict(make_samples()), expected.best_estimator_.labels_)


def test_grid_search_takes_a_frame_of_cells(X, cells):
    grid = {"n_clusters": [2, 3]}
    expected = GridSearchCV(umc(), grid, cv=FOLDS).fit(X)
    search = GridSearchCV(umc(), grid, cv=FOLDS).fit(cells)
    assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert search.best_estimator_.feature_names_in_.tolist() == ["text", "audio"]


def test_grid_search_takes_a_table_with_blocks(table):
    samples = [
        {"text": row[:4], "audio": None if np.isnan(row[4]) else row[4:]}
        for row in table.to_numpy()
    ]
    grid = {"n_clusters": [2, 3]}
    expected = GridSearchCV(umc(), grid, cv=FOLDS).fit(MultimodalData.from_records(samples))
    search = GridSearchCV(umc(modalities=BLOCKS), grid, cv=FOLDS).fit(table)
    assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def test_a_dict_gives_what_the_container_gives(X):
    columns = {name: X.sequences(name) for name in X.names}
    model = umc().fit(columns)
    assert_array_equal(model.embedding_, umc().fit(X).embedding_)
    assert_array_equal(model.predict(columns), model.labels_)
    assert_array_equal(umc().fit_predict(columns), model.labels_)
    assert_array_equal(model.transform(columns), model.embedding_)


@pytest.mark.parametrize(
    "blocks",
    [
        BLOCKS,
        {"text": range(4), "audio": slice(4, None)},
        {"text": [0, 1, 2, 3], "audio": [-3, -2, -1]},
        {"text": np.arange(7) < 4, "audio": np.arange(7) >= 4},
    ],
    ids=["names", "range and slice", "numbers", "masks"],
)
def test_blocks_of_a_table_are_modalities(table, blocks):
    samples = [
        {"text": row[:4], "audio": None if np.isnan(row[4]) else row[4:]}
        for row in table.to_numpy()
    ]
    model, expected = umc(modalities=blocks).fit(table), umc().fit(samples)
    assert model.modality_widths_ == {"text": 4, "audio": 3}
    assert_array_equal(model.embedding_, expected.embedding_)
    assert_array_equal(model.predict(table), expected.labels_)
    weights = model.modality_weights(table)
    assert_array_equal(weights[:, 1] == 0, table["a0"].isna())
    assert_array_equal(model.predict(samples), expected.labels_)


def test_columns_named_in_fit_are_found_in_an_array(table):
    model = umc(modalities=BLOCKS).fit(table)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        labels = model.predict(table.to_numpy())
    assert_array_equal(labels, model.labels_)


def test_a_whole_number_in_a_table_keeps_its_value():
    table = np.array([[2**24, 0], [2**24 + 1, 0], [-5, 1]])
    pooled = PooledFeatures(standardize=False).fit(table)
    assert_array_equal(pooled.transform(table), table)


# alignment


def test_modalities_are_aligned_by_name(X, cells):
    model = umc().fit(X)
    assert_array_equal(model.predict(X.select(["audio", "text"])), model.labels_)
    assert_array_equal(model.predict(cells[["audio", "text"]]), model.labels_)
    turned = [dict(reversed(sample.items())) for sample in make_samples()]
    assert_array_equal(model.predict(turned), model.labels_)
    assert_array_equal(model.transform(turned), model.embedding_)
    assert_array_equal(model.modality_weights(turned), model.modality_weights(X))


@pytest.mark.parametrize("lacking", ["text", "audio"])
def test_a_modality_that_predict_lacks_is_missing(X, cells, lacking):
    model = umc().fit(X)
    other = {"text": "audio", "audio": "text"}[lacking]
    rows = np.flatnonzero(X.select([other]).present[:, 0])
    part = X[rows]
    columns = {lacking: [None] * len(rows), other: part.sequences(other)}
    expected = model.transform(columns)
    assert_array_equal(model.transform(part.select([other])), expected)
    assert_array_equal(model.transform(cells[[other]].iloc[rows]), expected)
    weights = model.modality_weights(part.select([other]))
    assert_array_equal(weights[:, X.names.index(lacking)], np.zeros(len(rows)))
    assert np.abs(expected - model.transform(part)).max() > 1e-3


def test_modalities_chooses_among_names(X):
    model = umc(modalities=["text"]).fit(X)
    assert model.modality_widths_ == {"text": 4}
    assert_array_equal(model.embedding_, umc().fit(X.select(["text"])).embedding_)
    assert_array_equal(model.predict(X), model.labels_)
    turned = umc(modalities=("audio", "text")).fit(X)
    assert turned.feature_names_in_.tolist() == ["audio", "text"]


def test_names_and_numbers_of_features(X, cells, table):
    samples = make_samples()
    for data in (X, cells, samples, {name: X.sequences(name) for name in X.names}):
        model = umc().fit(data)
        assert model.n_features_in_ == 2
        assert model.feature_names_in_.tolist() == ["text", "audio"]
        assert model.modality_widths_ == {"text": 4, "audio": 3}
    model = umc(modalities=BLOCKS).fit(table)
    assert model.n_features_in_ == 7
    assert model.feature_names_in_.tolist() == table.columns.tolist()
    model = umc().fit(table[["t0", "t1"]].to_numpy())
    assert model.n_features_in_ == 2
    assert not hasattr(model, "feature_names_in_")
    assert model.modality_widths_ == {"features": 2}


def test_refitting_on_another_kind_of_input_leaves_nothing_behind(X, table):
    text = table[BLOCKS["text"]]
    model = umc()
    for data in (X, text, X, text.to_numpy(), X.select(["text"]), text.to_numpy(), text):
        fresh = umc().fit(data)
        assert vars(model.fit(data)).keys() == vars(fresh).keys()
        assert model.modality_widths_ == fresh.modality_widths_
        assert model.n_features_in_ == fresh.n_features_in_
        names = [getattr(m, "feature_names_in_", np.array([])).tolist() for m in (model, fresh)]
        assert names[0] == names[1]
        assert_array_equal(model.predict(data), fresh.labels_)
