"""Scorers on the input, and the splitter that holds nothing out."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN, KMeans
from sklearn.metrics import calinski_harabasz_score, silhouette_score
from sklearn.model_selection import GridSearchCV, cross_validate

from skumc import MultimodalData, UMCClusterer
from skumc.model_selection import (
    AllSamples,
    density_validity_score,
    input_calinski_harabasz_score,
    input_silhouette_score,
    prediction_strength_score,
)

ON_INPUT = {
    input_silhouette_score: silhouette_score,
    input_calinski_harabasz_score: calinski_harabasz_score,
}
SCORES = [*ON_INPUT, density_validity_score, prediction_strength_score]


class Fixed:
    """Predicts given labels."""

    def __init__(self, labels):
        self.labels = np.asarray(labels)

    def predict(self, X):
        return self.labels

    def get_params(self, deep=True):
        return {"labels": self.labels}

    def fit(self, X, y=None):
        return self


def make_table(n_samples=60, n_groups=3):
    rng = np.random.default_rng(0)
    return rng.normal(10.0 * (np.arange(n_samples)[:, None] % n_groups), 1, (n_samples, 2))


@pytest.mark.parametrize("score", ON_INPUT)
def test_score_is_that_of_the_standardized_table(score):
    table, labels = make_table(), np.arange(60) % 2
    standardized = (table - table.mean(axis=0)) / table.std(axis=0)
    assert score(Fixed(labels), table) == pytest.approx(ON_INPUT[score](standardized, labels))


@pytest.mark.parametrize("score", ON_INPUT)
def test_score_is_the_mean_over_modalities_of_the_samples_that_have_them(score):
    table, other = make_table(), np.random.default_rng(1).normal(size=(60, 3))
    cells = [None if i % 5 == 0 else row for i, row in enumerate(other)]
    X, labels = MultimodalData({"a": table, "b": cells}), np.arange(60) % 3
    has = np.arange(60) % 5 != 0
    first = score(Fixed(labels), MultimodalData({"a": table}))
    second = score(Fixed(labels[has]), MultimodalData({"b": other[has]}))
    assert score(Fixed(labels), X) == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("score", [*ON_INPUT, density_validity_score])
@pytest.mark.parametrize("labels", [np.zeros(60), np.arange(60)])
def test_score_of_one_label_or_one_per_sample_is_zero(score, labels):
    assert score(Fixed(labels), make_table()) == 0.0


def is_connected(near):
    reached = {0}
    while True:
        more = {j for i in reached for j in range(len(near)) if near[i][j]} | reached
        if more == reached:
            return len(reached) == len(near)
        reached = more


@pytest.mark.parametrize("n_repeats", [1, 12])
def test_density_validity_is_that_of_steps_and_gaps(n_repeats):
    table = np.repeat(np.random.default_rng(0).normal(size=(24 // n_repeats, 2)), n_repeats, axis=0)
    labels = np.r_[np.arange(23) % 3 if n_repeats == 1 else np.arange(23) // 12, 7]
    values = (table - table.mean(axis=0)) / table.std(axis=0)
    distances = [[np.linalg.norm(a - b) for b in values] for a in values]
    core = [sorted(row)[5] for row in distances]
    reach = np.array(
        [[max(distances[i][j], core[i], core[j]) for j in range(24)] for i in range(24)]
    )
    expected = 0.0
    for label in set(labels.tolist()) - {7}:  # 7 is a single sample
        inner = [[reach[i, j] for j in range(24) if labels[j] == label] for i in range(24)]
        inner = np.array([row for row, own in zip(inner, labels, strict=True) if own == label])
        step = min(t for t in np.unique(inner) if is_connected(inner <= t))
        gap = min(
            reach[i, j] for i in range(24) for j in range(24) if labels[i] == label != labels[j]
        )
        if max(gap, step) > 0:
            expected += (labels == label).sum() / 24 * (gap - step) / max(gap, step)
    assert density_validity_score(Fixed(labels), table) == pytest.approx(expected, abs=1e-4)


def test_density_validity_prefers_rings_to_halves():
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.c_[np.cos(angles), np.sin(angles)]
    table, rings = np.r_[ring, 4 * ring], np.repeat([0, 1], 60)
    halves = (table[:, 0] > 0).astype(int)
    assert density_validity_score(Fixed(rings), table) > 0.3
    assert density_validity_score(Fixed(halves), table) < 0


def test_prediction_strength_is_the_smallest_share_of_pairs_kept_together():
    class Changing(Fixed):
        def fit(self, X, y=None):
            self.labels = own
            return self

    own, predicted = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 1, 1])
    expected = []
    for cluster in (0, 1):
        rows = [i for i in range(7) if own[i] == cluster]
        pairs = [(i, j) for i in rows for j in rows if i != j]
        expected.append(np.mean([predicted[i] == predicted[j] for i, j in pairs]))
    found = prediction_strength_score(Changing(predicted), np.zeros((7, 1)))
    assert found == pytest.approx(min(expected)) == 0.5


def test_prediction_strength_leaves_the_estimator_as_it_is():
    table = make_table()
    kmeans = KMeans(3, random_state=0, n_init=3).fit(table[:40])
    centers = kmeans.cluster_centers_.copy()
    assert prediction_strength_score(kmeans, table[40:]) == 1.0
    np.testing.assert_array_equal(kmeans.cluster_centers_, centers)


@pytest.mark.parametrize("score", SCORES)
def test_search_finds_the_groups_without_classes(score):
    search = GridSearchCV(
        KMeans(random_state=0, n_init=3), {"n_clusters": [3, 5]}, scoring=score, cv=3
    )
    assert search.fit(make_table()).best_params_ == {"n_clusters": 3}
    assert score(search, make_table()) == score(search.best_estimator_, make_table())


@pytest.mark.parametrize("score", SCORES)
def test_clusterer_without_predict_is_refused(score):
    with pytest.raises(TypeError, match="DBSCAN, which has no predict"):
        score(DBSCAN().fit(make_table()), make_table())


def test_umc_is_scored_on_all_samples():
    X = MultimodalData({"a": make_table(), "b": make_table()[:, :1]})
    clusterer = UMCClusterer(3, pretrain_epochs=1, max_epochs=0, random_state=0)
    found = cross_validate(
        clusterer, X, scoring=input_silhouette_score, cv=AllSamples(), return_estimator=True
    )
    labels = found["estimator"][0].labels_
    assert labels.shape == (60,)
    assert found["test_score"][0] == pytest.approx(input_silhouette_score(Fixed(labels), X))


def test_splitter_gives_all_samples_once():
    splitter = AllSamples()
    ((train, test),) = splitter.split(make_table(), None, None)
    np.testing.assert_array_equal(train, np.arange(60))
    np.testing.assert_array_equal(test, np.arange(60))
    assert train is not test and splitter.get_n_splits() == 1 and repr(splitter) == "AllSamples()"
