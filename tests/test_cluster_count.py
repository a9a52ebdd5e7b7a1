"""The number of clusters of an embedding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from skumc import _cluster_count as count
from skumc._cluster_count import default_candidates, estimate_in_embedding


def make_points(sizes, spread=0.05, seed=0):
    """Points around corners of a simplex."""
    rng = np.random.default_rng(seed)
    centers = np.eye(len(sizes) + 1)[: len(sizes)]
    points = np.repeat(centers, sizes, axis=0)
    return points + spread * rng.normal(size=points.shape)


def estimate(points, candidates=None, seed=0):
    return estimate_in_embedding(points, candidates, np.random.RandomState(seed))


@pytest.mark.parametrize("sizes", [[40, 40], [30] * 5, [200, 60, 20], [25] * 12])
def test_separated_groups_are_counted_equal_or_not(sizes):
    found = estimate(make_points(sizes))
    assert found.n_clusters == len(sizes)
    assert found.interval == (len(sizes), len(sizes))
    assert found.valley < 0.1
    assert found.stability[found.candidates == len(sizes)] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("width", [2, 10])
def test_one_cloud_is_one_cluster(kind, width, seed):
    points = getattr(np.random.default_rng(seed), kind)(size=(300, width))
    assert estimate(points, range(2, 7)).n_clusters == 1


def test_each_bound_alone_rejects_clusters(monkeypatch):
    square = np.random.default_rng(0).uniform(size=(600, 2))  # quarters are stable, but not apart
    found = estimate(square, [4])
    assert found.stability[0] > count._LEAST_STABILITY and found.n_clusters == 1
    monkeypatch.setattr(count, "_LARGEST_VALLEY", np.inf)
    assert estimate(square, [4]).n_clusters == 4
    wide = np.random.default_rng(0).normal(size=(300, 10))
    assert estimate(wide, [4]).n_clusters == 1
    monkeypatch.setattr(count, "_LEAST_STABILITY", 0.0)
    assert estimate(wide, [4]).n_clusters == 4


def test_duplicates_are_no_obstacle():
    points = np.repeat(np.eye(4), 25, axis=0)
    found = estimate(points)
    assert found.candidates.tolist() == [2]  # half of the distinct points
    points = np.repeat(make_points([10] * 3), 4, axis=0)
    assert estimate(points).n_clusters == 3


def test_largest_of_almost_equal_stabilities_is_taken():
    numbers = np.array([2, 3, 5])  # tolerance 0.04
    assert count._largest_stable(numbers, np.array([0.90, 0.87, 0.85])) == 3
    assert count._largest_stable(numbers, np.array([0.90, 0.80, 0.87])) == 5
    assert count._largest_stable(numbers, np.array([0.90, 0.80, 0.70])) == 2
    numbers = np.array([10, 20, 40])  # 0.02, 0.01 and 0.005
    assert count._largest_stable(numbers, np.array([0.900, 0.889, 0.894])) == 10
    assert count._largest_stable(numbers, np.array([0.900, 0.891, 0.894])) == 20
    assert count._largest_stable(numbers, np.array([0.900, 0.880, 0.896])) == 40


def test_interval_spans_the_choices_of_single_draws(monkeypatch):
    picks = iter([4, 5, 2, 4, 4, 3])  # of five draws, and of their mean
    monkeypatch.setattr(count, "_choose", lambda *arguments: next(picks))
    found = estimate(make_points([12] * 4), range(2, 7))
    assert found.n_clusters == 3 and found.interval == (2, 5)


def test_stability_is_the_index_of_both_halves():
    points = make_points([20] * 3, spread=0.4)
    found = estimate(points, [4], seed=1)
    values = count.PCA(4, svd_solver="full").fit_transform(points)
    rng, curves = np.random.RandomState(1), []
    for _ in range(5):
        rows = rng.permutation(60)
        halves = values[rows[:30]], values[rows[30:]]
        first, second = (count._cluster_all(half, [4])[0] for half in halves)
        for half in halves:
            labels = [
                [int(np.argmin([np.sum((x - c) ** 2) for c in centers])) for x in half]
                for centers in (first, second)
            ]
            curves.append(adjusted_rand_score(*labels))
    assert found.stability[0] == pytest.approx(np.mean(curves))
    assert found.deviation[0] == pytest.approx(np.std(np.reshape(curves, (5, 2)).mean(axis=1)))


def test_centers_are_means_of_the_nearest_points():
    points = make_points([20] * 3, spread=0.1)
    (centers,) = count._cluster_all(points, [3])
    labels = np.array([np.argmin(((centers - point) ** 2).sum(axis=1)) for point in points])
    for cluster in range(3):
        np.testing.assert_allclose(centers[cluster], points[labels == cluster].mean(axis=0))


def test_valley_is_deep_between_groups_and_absent_within_one():
    rng = np.random.default_rng(0)
    line = rng.uniform(-1, 1, size=(4000, 1))
    centers = np.array([[-0.5], [0.5]])
    assert count._valley(centers, line) == pytest.approx(1.0, abs=0.2)
    assert count._valley(centers, line[np.abs(line[:, 0]) > 0.3]) == 0.0
    assert np.isnan(count._valley(centers, line[:3]))


@pytest.mark.parametrize("n_samples", [0, 7, 8, 16, 100, 1000, 10**6])
def test_default_candidates_increase_to_an_eighth_of_the_samples(n_samples):
    found = default_candidates(n_samples)
    if n_samples < 8:
        assert found == []
        return
    assert found[0] == 2 and found[-1] == max(min(n_samples // 8, 100), 2)
    assert found == sorted(set(found))
    assert all(k in found for k in range(2, min(found[-1], 15) + 1))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 3))
def test_any_number_of_samples_and_of_distinct_ones_has_an_answer(n_samples, n_distinct, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n_distinct, 3))[rng.integers(n_distinct, size=n_samples)]
    found = estimate(points, range(2, 12))
    most = len(np.unique(points, axis=0)) // 2
    assert found.n_clusters == 1 or found.n_clusters in found.candidates
    assert found.interval[0] <= found.n_clusters <= found.interval[1]
    assert np.all(found.candidates <= most)
    assert found.candidates.shape == found.stability.shape == found.deviation.shape
    assert np.isfinite(found.stability).all()


def test_same_seed_gives_the_same_curve():
    points = make_points([20] * 3, spread=0.4)
    first, again, other = (estimate(points, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.stability, again.stability)
    assert not np.array_equal(first.stability, other.stability)
