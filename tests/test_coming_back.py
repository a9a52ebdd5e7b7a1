"""Refits that keep ids, and updates with new samples."""

from __future__ import annotations

import pickle
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import adjusted_rand_score

from skumc import MultimodalData, UMCClusterer
from skumc._returning import match_ids
from skumc.datasets import make_multimodal_blobs
from skumc.text import TextModel
from text_models import pair


def make(n_clusters=3, **parameters):
    cheap = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
    return UMCClusterer(n_clusters, **cheap | parameters)


def weights(encoder):
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def assert_same_weights(first, second):
    assert set(first) == set(second)
    for name, value in first.items():
        assert_array_equal(value, second[name])


@pytest.fixture(scope="module")
def data():
    """Old and new samples of three groups, and their groups."""
    X, y = make_multimodal_blobs(120, 3, center_scale=2, random_state=0)
    return X[:70], X[70:], y


@pytest.fixture(scope="module")
def fitted(data):
    return make().fit(data[0])


def copied(fitted, **parameters):
    return pickle.loads(pickle.dumps(fitted)).set_params(**parameters)


# ids


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30),
)
def test_matching_is_the_best_of_all_pairings(n_earlier, n_found, pairs):
    earlier, found = np.array([(a % n_earlier, b % n_found) for a, b in pairs]).T
    order, matched_from = match_ids(earlier, found, n_earlier, n_found)
    assert sorted(order) == list(range(n_found))
    kept = [old for old in matched_from if old >= 0]
    assert len(set(kept)) == len(kept) and set(kept) <= set(earlier)

    def shared(matching):
        return sum(np.sum((earlier == old) & (found == new)) for old, new in matching)

    size = max(n_earlier, n_found)
    best = max(shared(enumerate(ids)) for ids in permutations(range(size)))
    matching = [(old, order[place]) for place, old in enumerate(matched_from) if old >= 0]
    assert shared(matching) == best
    for place, old in enumerate(matched_from):
        assert old in (-1, place) or old >= n_found  # an id changes only if there are fewer


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_renumbered_clusters_get_their_ids_back(numbers, seed):
    earlier = np.random.default_rng(seed).permutation(np.repeat(range(5), 4))
    order, matched_from = match_ids(earlier, np.array(numbers)[earlier], 5, 5)
    assert_array_equal(order, numbers)
    assert_array_equal(matched_from, range(5))


# warm start


def test_first_fit_is_the_same_with_and_without_warm_start(fitted, data):
    other = make(warm_start=True).fit(data[0])
    assert_array_equal(other.embedding_, fitted.embedding_)
    assert_array_equal(other.labels_, fitted.labels_)
    assert other.matched_from_.tolist() == [-1, -1, -1]


def test_fit_without_warm_start_forgets(fitted, data):
    again = copied(fitted).fit(data[1])
    assert_array_equal(again.embedding_, make().fit(data[1]).embedding_)


def test_refit_starts_from_the_last_encoder_without_pretraining(fitted, data):
    again = copied(fitted, warm_start=True, max_epochs=0, pretrain_epochs=5).fit(data[1])
    assert_same_weights(weights(again.encoder_), weights(fitted.encoder_))
    assert_array_equal(again.embedding_, fitted.transform(data[1]))
    assert again.history_[:, "phase"] == ["start", "main"]


def test_refit_trains_a_copy_at_a_tenth_of_the_learning_rate(fitted, data):
    rising = iter(range(100))
    again = copied(fitted, warm_start=True, monitor=lambda *_: float(next(rising)))
    before, encoder = weights(again.encoder_), again.encoder_
    again.fit(data[1])
    assert_same_weights(weights(encoder), before)
    after = weights(again.encoder_)
    assert any(not np.array_equal(after[name], value) for name, value in before.items())
    rates = [
        max(r["learning_rate"] for r in one.history_.phase("main") if r.get("learning_rate"))
        for one in (fitted, again)
    ]
    assert rates[1] == pytest.approx(rates[0] / 10)


def test_clusters_change_only_if_the_monitor_is_clearly_higher(fitted, data):
    X = data[1]  # 50 samples: an epoch needs 0.141 more than the start
    for gain, kept in [(0.1, "start"), (0.2, "main")]:
        values = iter([0.0, 0.5, 0.5 + gain, 0.5 + gain])  # the first one is a trial's
        again = copied(fitted, warm_start=True)
        again.set_params(monitor=lambda *_, values=values: next(values)).fit(X)
        assert [r["phase"] for r in again.history_ if r["restored"]] == [kept]
        if kept == "start":
            assert_array_equal(again.labels_, fitted.predict(X))
            assert_array_equal(again.cluster_centers_, fitted.cluster_centers_)


@pytest.mark.parametrize("monitor", ["modularity", "silhouette"])
def test_ids_of_old_samples_keep_their_meaning(fitted, data, monitor):
    old, new, y = data
    both = MultimodalData(
        {name: [*old.sequences(name), *new.sequences(name)] for name in old.names}
    )
    again = copied(fitted, warm_start=True, max_epochs=3, monitor=monitor).fit(both)
    assert adjusted_rand_score(fitted.labels_, again.labels_[:70]) > 0.95
    assert np.mean(fitted.labels_ == again.labels_[:70]) > 0.95
    assert again.matched_from_.tolist() == [0, 1, 2]
    assert_array_equal(again.labels_, again.predict(both))


@pytest.mark.parametrize("n_clusters", [2, 5])
def test_number_of_clusters_may_change(fitted, data, n_clusters):
    X = data[0]
    again = copied(fitted, warm_start=True, n_clusters=n_clusters).fit(X)
    assert set(again.labels_) == set(range(n_clusters))
    assert again.matched_from_.shape == (n_clusters,)
    known = again.matched_from_ >= 0
    assert known.sum() == min(n_clusters, 3)
    for place in np.flatnonzero(known):  # most samples of a matched cluster had the id before
        own = fitted.labels_[again.labels_ == place]
        assert np.mean(own == again.matched_from_[place]) > 0.5
    assert_array_equal(again.labels_, again.predict(X))


@pytest.mark.parametrize(
    ("X", "cause"),
    [
        ({"text": np.ones((9, 5))}, "width 5"),
        ({"smell": np.ones((9, 5))}, "unknown modality 'smell'"),
        (np.ones((9, 5)), "2-D table"),
    ],
)
def test_other_modalities_are_an_error_that_names_warm_start(fitted, data, X, cause):
    again = copied(fitted, warm_start=True)
    with pytest.raises(ValueError, match=f"(?s){cause}.*warm_start=True.*warm_start=False"):
        again.fit(X)
    assert_array_equal(again.predict(data[1]), fitted.predict(data[1]))
    assert_array_equal(again.labels_, fitted.labels_)


def test_table_with_other_columns_is_an_error_that_names_warm_start():
    X = np.random.default_rng(0).normal(size=(30, 4))
    model = make(warm_start=True).fit(X)
    with pytest.raises(ValueError, match="(?s)4 features.*warm_start=True"):
        model.fit(X[:, :3])
    assert model.n_features_in_ == 4


def test_gates_are_not_reset(data):
    X, _ = make_multimodal_blobs(100, 3, uninformative="video", random_state=0)
    model = make(max_epochs=0, warm_start=True).fit(X)
    model.encoder_.fusion.log_prior.fill_(0.25)
    model.fit(X)
    assert (model.encoder_.fusion.log_prior == 0.25).all()


def test_trained_text_layers_stay():
    texts = [f"{word} {'ab' * i}" for word in ("red", "blue") for i in range(1, 9)]
    text = TextModel(pair(), n_trainable_layers=1, layer=2)
    model = make(2, text=text, warm_start=True).fit(texts)
    before = weights(model.encoder_)
    again = copied(model, max_epochs=0).fit(texts + ["red sky"])
    assert_same_weights(weights(again.encoder_), before)
    assert_array_equal(again.transform(texts), model.transform(texts))
    assert again.text_layers_ == model.text_layers_


def test_wrong_warm_start_is_named(data):
    with pytest.raises(ValueError, match="'warm_start' parameter"):
        make(warm_start="yes").fit(data[0])


# partial_fit


def test_first_partial_fit_is_fit(fitted, data):
    model = make().partial_fit(data[0])
    assert_array_equal(model.labels_, fitted.labels_)
    assert_array_equal(model.cluster_centers_, fitted.cluster_centers_)
    assert not hasattr(model, "drift_")
    assert_array_equal(model.counts_, np.bincount(model.labels_))


def test_centers_are_running_means_of_typical_samples(fitted, data):
    model, X = copied(fitted), data[1]
    before = weights(model.encoder_)
    h, labels = model.transform(X).astype(float), model.predict(X)
    used = ~model.is_outlier(X)
    assert 0 < used.sum() < len(X)
    centers, counts = model.cluster_centers_.astype(float), model.counts_.copy()
    for i in np.flatnonzero(used):
        k = labels[i]
        counts[k] += 1
        centers[k] += (h[i] - centers[k]) / counts[k]
    assert model.partial_fit(X) is model
    assert_allclose(model.cluster_centers_, centers, atol=1e-6)
    assert model.cluster_centers_.dtype == np.float32
    assert_array_equal(model.counts_, counts)
    assert_array_equal(model.labels_, model.predict(X))
    assert_array_equal(model.embedding_, model.transform(X))
    assert_same_weights(weights(model.encoder_), before)
    assert model.temperature_ == fitted.temperature_


def test_drift_is_the_way_of_the_mean_in_radii(fitted, data):
    model, X = copied(fitted), data[1]
    only = X[fitted.predict(X) != 1]
    h, labels = fitted.transform(only), fitted.predict(only)
    model.partial_fit(only)
    assert model.new_cluster_candidates_ == []
    assert np.isnan(model.drift_[1])
    old = fitted.embedding_
    for k in (0, 2):
        center = fitted.cluster_centers_[k]
        squared = np.square(old[fitted.labels_ == k] - center).sum(axis=1)
        expected = np.linalg.norm(h[labels == k].mean(axis=0) - center) / np.sqrt(squared.mean())
        assert model.drift_[k] == pytest.approx(expected, rel=1e-4)


def test_nothing_is_forgotten(fitted, data):
    model = copied(fitted)
    only = data[1][fitted.predict(data[1]) == 0]
    for _ in range(5):
        model.partial_fit(only)
    assert_array_equal(model.cluster_centers_[1:], fitted.cluster_centers_[1:])
    assert np.mean(model.predict(data[0]) == fitted.labels_) > 0.95


@pytest.mark.parametrize("seed", range(5))
def test_samples_of_a_new_group_are_a_candidate(seed):
    X, y = make_multimodal_blobs(240, 4, center_scale=2, random_state=seed)
    known = np.flatnonzero(y != 3)
    model = make(random_state=seed).fit(X[known[:130]])
    model.partial_fit(X[known[130:]])
    assert model.new_cluster_candidates_ == []
    rows = np.concatenate([known[130:], np.flatnonzero(y == 3)])
    centers, h, labels = model.cluster_centers_, model.transform(X[rows]), model.predict(X[rows])
    model.partial_fit(X[rows])
    (found,) = model.new_cluster_candidates_
    is_candidate = np.isin(np.arange(len(rows)), found)
    for k, drift in enumerate(model.drift_):  # candidates are no drift of the cluster nearby
        mean = h[(labels == k) & ~is_candidate].mean(axis=0)
        expected = np.linalg.norm(mean - centers[k]) / model.cluster_radii_[k]
        assert drift == pytest.approx(expected, rel=1e-3)
    assert (y[rows[found]] == 3).all() and len(found) > 0.8 * (y == 3).sum()
    assert np.abs(model.cluster_centers_ - centers).max() < 0.1  # the new group moves no center


def test_two_new_groups_are_two_candidates_and_few_samples_none():
    X, y = make_multimodal_blobs(250, 5, center_scale=2, random_state=0)
    model = make().fit(X[y < 3])
    new = X[np.concatenate([np.flatnonzero(y == 3)[:30], np.flatnonzero(y == 4)[:20]])]
    model.partial_fit(new)
    first, second = model.new_cluster_candidates_
    assert set(first) <= set(range(30)) and set(second) <= set(range(30, 50))
    assert len(first) > len(second)
    model.partial_fit(new[:9])
    assert model.new_cluster_candidates_ == []


def test_failed_update_changes_nothing(fitted, data, monkeypatch):
    model = copied(fitted)
    with pytest.raises(ValueError, match="unknown modality"):
        model.partial_fit({"smell": np.ones((3, 2))})

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("skumc._returning._move_centers", fail)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(data[1])
    assert not hasattr(model, "new_cluster_candidates_")
    assert_array_equal(model.cluster_centers_, fitted.cluster_centers_)


def test_refit_after_an_update_starts_from_the_moved_centers(fitted, data):
    model = copied(fitted, warm_start=True, max_epochs=0).partial_fit(data[1])
    moved, labels = model.cluster_centers_, model.predict(data[0])
    assert not np.array_equal(moved, fitted.cluster_centers_)
    model.fit(data[0])
    assert_array_equal(model.cluster_centers_, moved)
    assert_array_equal(model.labels_, labels)
    assert not hasattr(model, "drift_") and not hasattr(model, "new_cluster_candidates_")
