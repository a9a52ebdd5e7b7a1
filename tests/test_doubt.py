"""Probabilities, typicality, outliers and rejection."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skumc import MultimodalData, UMCClusterer
from skumc._doubt import input_summaries
from skumc.datasets import make_multimodal_blobs
from skumc.neighbors._references import References, reference_rows


def make(n_clusters=3, **parameters):
    cheap = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
    return UMCClusterer(n_clusters, **cheap | parameters)


@pytest.fixture(scope="module")
def data():
    """Training and new samples of three groups, some without a modality."""
    X, _ = make_multimodal_blobs(160, 3, missing=0.2, center_scale=2, random_state=0)
    return X[:120], X[120:]


@pytest.fixture(scope="module")
def fitted(data):
    return make().fit(data[0])


# probabilities


def test_probabilities_are_the_documented_softmax(fitted, data):
    embedding, centers = fitted.transform(data[1]).astype(float), fitted.cluster_centers_
    found = fitted.predict_proba(data[1])
    assert found.shape == (40, 3) and found.dtype == np.float64
    for h, row in zip(embedding, found, strict=True):
        weights = [
            np.exp(-np.sum((h - c) ** 2) / fitted.temperature_) for c in centers.astype(float)
        ]
        assert_allclose(row, np.array(weights) / sum(weights), rtol=1e-4, atol=1e-12)
    assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e9, 1e18])
def test_most_probable_cluster_is_the_prediction_even_for_ties(fitted, data, temperature):
    close = pickle.loads(pickle.dumps(fitted))
    first, step = fitted.cluster_centers_[0], np.float32(1e-6)
    # equal centers, and centers in either order that only rounding tells apart
    close.cluster_centers_ = np.array([first + step, first, first, first - step, first * 1.0001])
    close.temperature_ = temperature
    labels = close.predict(data[1])
    assert len(set(labels)) > 1
    found = close.predict_proba(data[1])
    assert_array_equal(found.argmax(axis=1), labels)
    assert_allclose(found.sum(axis=1), 1)


def test_one_cluster_is_certain(data):
    assert (make(1).fit(data[0]).predict_proba(data[1]) == 1).all()


def test_temperature_minimizes_cross_entropy_with_neighbors_in_the_input():
    rng = np.random.default_rng(0)
    values = rng.normal(np.repeat([0, 2, 4], 30)[:, None], 1, (90, 2))
    kept = References.build({"a": (values, np.ones(90, dtype=bool))}, values)
    labels = np.repeat([0, 1, 2], 30)
    offsets = np.square(values[:, None] - np.array([[0, 0], [2, 2], [4, 4]])).sum(axis=2)
    standard = (values - values.mean(axis=0)) / values.std(axis=0)

    def cross_entropy(temperature):
        total = 0.0
        for row, point in enumerate(standard):
            nearest = np.argsort(np.square(standard - point).sum(axis=1))[1:11]
            weights = np.exp(-offsets[row] / temperature)
            total -= np.log(weights / weights.sum())[labels[nearest]].mean()
        return total

    found = kept.temperature(labels, offsets)
    assert 0.01 < found < 20
    assert cross_entropy(found) < min(cross_entropy(found * 0.9), cross_entropy(found / 0.9))


def test_temperature_is_higher_where_neighbors_disagree():
    def temperature(spread):
        X, _ = make_multimodal_blobs(120, 3, center_scale=1, noise=spread, random_state=0)
        return make().fit(X).temperature_

    assert temperature(3.0) > 2 * temperature(0.3)


# typicality


def plain_score(kept, row, embedding, skipped=None):
    """Score from the formula: one sample, given as its standardized summaries."""
    others = [place for place in range(len(kept.embedding)) if place != skipped]

    def distance(first, second):
        parts = []
        for a, b in zip(first, second, strict=True):
            lacking = a is None or b is None
            parts.append(2.0 if lacking else np.sum((a.astype(float) - b.astype(float)) ** 2))
        return np.sqrt(np.mean(parts))

    rows = [
        [values[i] if here[i] else None for values, here in kept.summaries.values()]
        for i in range(len(kept.embedding))
    ]

    def mean_of_five(point, places):
        found = sorted((distance(point, rows[place]), place) for place in places)[:5]
        return np.mean([value for value, _ in found]) + 1e-3, [place for _, place in found]

    own, near = mean_of_five(row, others)
    around = np.mean(
        [mean_of_five(rows[i], [p for p in range(len(rows)) if p != i])[0] for i in near]
    )
    h = sorted(np.linalg.norm(embedding - kept.embedding[place]) for place in others)[:5]
    return -np.log(np.mean(h) + 1e-3) - np.log(own / around)


@given(st.integers(0, 2**32 - 1), st.integers(7, 25), st.floats(0, 0.4))
def test_scores_are_those_of_a_plain_loop(seed, n_references, missing):
    rng = np.random.default_rng(seed)

    def draw(n_samples):
        lacks = rng.random((n_samples, 2)) < [0, missing]  # no exact ties between distances
        values = {"a": rng.normal(3, 2, (n_samples, 4)), "b": rng.normal(0, 9, (n_samples, 2))}
        pairs = zip(values.items(), ~lacks.T, strict=True)
        return {name: (block, here) for (name, block), here in pairs}

    embedding = rng.normal(size=(n_references, 3))
    kept = References.build(draw(n_references), embedding)
    new, places = draw(6), rng.normal(size=(6, 3))
    standard = kept.standardized(new)
    for i, found in enumerate(kept.score(new, places)):
        row = [values[i] if here[i] else None for values, here in standard.values()]
        assert found == pytest.approx(plain_score(kept, row, places[i]), rel=1e-6, abs=1e-6)
    row = [values[0] if here[0] else None for values, here in kept.summaries.values()]
    expected = plain_score(kept, row, embedding[0], skipped=0)
    assert kept.scores[0] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_each_modality_counts_the_same_in_any_unit():
    rng = np.random.default_rng(0)
    a, b, h = rng.normal(size=(30, 4)), rng.normal(size=(30, 40)), rng.normal(size=(30, 3))
    here = np.ones(30, dtype=bool)
    kept = References.build({"a": (a, here), "b": (b, here)}, h)
    other = References.build({"a": (1e4 * a + 7, here), "b": (b, here)}, h)
    assert_allclose(kept.scores, other.scores, rtol=1e-3)
    for values, _ in kept.summaries.values():
        assert np.square(values).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)


def test_training_samples_are_scored_without_themselves(fitted, data):
    assert not data[0].present.all()
    scores = fitted.score_samples(data[0])
    assert_allclose(scores, fitted.references_.scores, rtol=1e-6, atol=1e-6)


def test_duplicates_and_constant_columns_have_finite_scores():
    X = np.repeat(np.random.default_rng(0).normal(size=(6, 3)), 10, axis=0)
    X[:, 1] = 5
    fitted = make(2).fit(X)
    for some in (X, X + 1, X * 1e6):
        assert np.isfinite(fitted.score_samples(some)).all()


def test_samples_far_from_all_others_are_outliers(fitted, data):
    foreign, _ = make_multimodal_blobs(30, 3, center_scale=2, random_state=7)
    assert fitted.is_outlier(foreign).mean() > 0.9
    assert fitted.is_outlier(data[1]).mean() < 0.5
    assert fitted.score_samples(foreign).max() < np.median(fitted.score_samples(data[1]))


def test_modalities_that_are_not_trusted_do_not_count():
    X, _ = make_multimodal_blobs(200, 4, uninformative="video", random_state=0)
    fitted = make(4).fit(X)
    assert fitted.trusted_modalities_["video"] is False
    assert set(input_summaries(fitted, X[:5])) == {"text", "audio"}


def test_a_modality_that_was_never_there_does_not_count():
    rng = np.random.default_rng(0)
    X = MultimodalData({"a": rng.normal(size=(30, 3)), "b": [None] * 29 + [[1.0]]})
    fitted = make(2)
    fitted.fit(X[:29])
    assert list(input_summaries(fitted, X[:5])) == ["a"]
    assert np.isfinite(fitted.score_samples(X)).all()


# quantiles and rejection


@pytest.mark.parametrize("quantile", [0, 0.05, 0.3, 1])
def test_quantile_is_the_share_of_the_training_samples(quantile):
    X = np.random.default_rng(0).normal(size=(101, 4))
    fitted = make().fit(X)
    assert fitted.is_outlier(X, quantile).sum() == round(100 * quantile)


def test_rejected_samples_are_the_outliers_and_all_others_keep_their_label(fitted, data):
    X = data[1]
    plain, outlier = fitted.predict(X), fitted.is_outlier(X, 0.3)
    assert 0 < outlier.sum() < len(X)
    found = fitted.predict(X, reject=0.3)
    assert found.dtype == np.int32
    assert_array_equal(found, np.where(outlier, -1, plain))
    assert_array_equal(fitted.predict(X, reject=None), plain)


def test_rejection_joins_samples_without_any_modality():
    X = np.random.default_rng(0).normal(size=(40, 3))
    model = make().fit(X)
    batch = np.insert(X, [0, 7], np.nan, axis=0)
    labels = model.predict(batch, missing_rows="label -1", reject=0.2)
    assert labels[0] == labels[8] == -1
    assert_array_equal(np.delete(labels, [0, 8]), model.predict(X, reject=0.2))
    assert (model.predict(batch[:1], missing_rows="label -1", reject=0.2) == -1).all()


@pytest.mark.parametrize("wrong", [-0.1, 1.5, "0.1", True, np.nan])
def test_wrong_quantiles_are_named(fitted, data, wrong):
    with pytest.raises(ValueError, match=r"Got quantile=.*, expected a number in \[0, 1\]"):
        fitted.is_outlier(data[1], quantile=wrong)
    with pytest.raises(ValueError, match=r"Got reject=.*, expected a number in \[0, 1\]"):
        fitted.predict(data[1], reject=wrong)


def test_pipeline_passes_reject_on():
    X = np.random.default_rng(0).normal(size=(40, 3))
    pipeline = make_pipeline(StandardScaler(), make()).fit(X)
    expected = pipeline[-1].predict(pipeline[0].transform(X), reject=0.2)
    assert_array_equal(pipeline.predict(X, reject=0.2), expected)
    assert pipeline.predict_proba(X).shape == (40, 3)
    assert pipeline.score_samples(X).shape == (40,)


# fit


def test_references_change_nothing_else_in_fit(data, monkeypatch):
    def fit():
        rng = np.random.RandomState(0)
        model = make(random_state=rng).fit(data[0])
        return model.labels_, model.embedding_, model.cluster_centers_, rng.randint(2**31 - 1)

    with_references = fit()
    monkeypatch.setattr("skumc._clusterer.keep_references", lambda *_: None)
    for one, other in zip(with_references, fit(), strict=True):
        assert_array_equal(one, other)


def test_references_are_few_and_spread_over_the_samples():
    rows = reference_rows(100_000, 50)
    assert len(rows) == 1024 and rows[0] == 0 and rows[-1] == 99_999
    assert set(np.diff(rows)) <= {97, 98}
    assert len(reference_rows(100_000, 8_000)) == 500
    assert len(reference_rows(100_000, 10**7)) == 256
    X = np.random.default_rng(0).normal(size=(1500, 3))
    fitted = make(2, pretrain_epochs=0, max_epochs=0).fit(X)
    assert fitted.references_.scores.shape == (1024,)
    restored = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(restored.score_samples(X[:50]), fitted.score_samples(X[:50]))
    assert len(pickle.dumps(fitted.references_)) < 1_000_000


def test_fewest_samples():
    X = np.array([[0.0, 1.0], [1.0, 0.0]])
    fitted = make(2).fit(X)
    assert np.isfinite(fitted.score_samples(X)).all() and fitted.predict_proba(X).shape == (2, 2)
