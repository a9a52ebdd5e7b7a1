"""Pseudo-labels: the selected samples, and labels propagated from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skumc import UMCClusterer
from skumc.pseudo_labels import PropagatedLabels, PseudoLabels, label_means
from skumc.pseudo_labels._propagated import propagate_labels


def links_of(partners):
    """Dense links between neighbors, divided by the roots of both ends' sums."""
    n_samples = len(partners)
    links = np.zeros((n_samples, n_samples))
    for i, row in enumerate(partners):
        for j in row:
            links[i, j] += 0.5
            links[j, i] += 0.5
    np.fill_diagonal(links, 0)
    degree = np.where(links.sum(axis=1) > 0, links.sum(axis=1), 1)
    return links / np.sqrt(degree[:, None] * degree)


def random_case(seed):
    rng = np.random.default_rng(seed)
    n_samples, n_clusters = int(rng.integers(2, 40)), int(rng.integers(1, 6))
    n_partners = int(rng.integers(1, min(5, n_samples - 1) + 1))
    partners = np.array(
        [
            rng.choice(np.delete(np.arange(n_samples), i), n_partners, False)
            for i in range(n_samples)
        ]
    )
    labels = rng.integers(0, n_clusters, n_samples).astype(np.int32)
    return labels, rng.random(n_samples) < rng.random(), partners


cases = st.integers(0, 2**32 - 1).map(random_case)


@given(cases)
def test_propagation_approaches_the_solution_of_its_equation(case):
    labels, seeds, partners = case
    spread, confidence = propagate_labels(labels, seeds, partners)
    one_hot = np.eye(labels.max() + 1)[labels] * seeds[:, None]
    affinity = links_of(partners)
    exact = np.linalg.solve(np.eye(len(labels)) - 0.9 * affinity, 0.1 * one_hot)
    shares, last = one_hot, np.zeros_like(one_hot)
    for _ in range(100):
        if np.abs(shares - last).sum() < 1e-3 * len(labels):
            break
        shares, last = 0.9 * affinity @ shares + 0.1 * one_hot, shares
    # a round shrinks the error by 0.9, as no eigenvalue of the affinities is above 1
    change = np.linalg.norm(shares - last)
    assert np.linalg.norm(shares - exact) <= 0.9 / 0.1 * change + 1e-9
    total = shares.sum(axis=1)
    reached = total > 0
    shares = shares / np.where(reached, total, 1)[:, None]
    assert spread.dtype == labels.dtype and spread.shape == confidence.shape == labels.shape
    np.testing.assert_allclose(confidence, shares.max(axis=1), atol=1e-9)
    own = np.take_along_axis(shares, spread[:, None], 1)[:, 0]
    free = reached & ~seeds
    assert (own[free] >= shares.max(axis=1)[free] - 1e-9).all()  # the winner, or level with it


@given(cases)
def test_seeds_and_what_is_not_reached_keep_their_label(case):
    labels, seeds, partners = case
    spread, confidence = propagate_labels(labels, seeds, partners)
    np.testing.assert_array_equal(spread[seeds], labels[seeds])
    linked = links_of(partners) > 0
    reached = seeds.copy()
    for _ in labels:
        reached = reached | linked[:, reached].any(axis=1)
    np.testing.assert_array_equal(spread[~reached], labels[~reached])
    assert (confidence[~reached] == 0).all() and (confidence <= 1 + 1e-12).all()


@given(cases, st.integers(0, 99))
def test_order_of_samples_and_names_of_clusters_do_not_matter(case, seed):
    labels, seeds, partners = case
    order = np.random.default_rng(seed).permutation(len(labels))
    place = np.argsort(order)
    spread, confidence = propagate_labels(labels, seeds, partners)
    moved, moved_confidence = propagate_labels(labels[order], seeds[order], place[partners[order]])
    np.testing.assert_allclose(moved_confidence, confidence[order], atol=1e-9)
    renamed, _ = propagate_labels(7 - labels, seeds, partners)
    sure = confidence > 0.51  # a tie may be broken either way
    np.testing.assert_array_equal(moved[sure[order]], spread[order][sure[order]])
    np.testing.assert_array_equal(7 - renamed[sure], spread[sure])


def test_labels_follow_chains_where_centers_do_not():
    angle = np.linspace(0, np.pi, 40)
    moons = np.vstack(
        [
            np.column_stack([np.cos(angle), np.sin(angle)]),
            np.column_stack([1 - np.cos(angle), 0.5 - np.sin(angle)]),
        ]
    )
    truth = np.repeat([0, 1], 40)
    distances = np.square(moons[:, None] - moons).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    partners = distances.argsort(axis=1)[:, :4]
    seeds = np.isin(np.arange(80), [5, 20, 45, 60])
    spread, _ = propagate_labels(truth, seeds, partners)
    np.testing.assert_array_equal(spread, truth)


def test_nobody_to_spread_from():
    labels = np.array([1, 0, 1])
    spread, confidence = propagate_labels(
        labels, np.zeros(3, dtype=bool), np.array([[1], [2], [0]])
    )
    assert spread.tolist() == [1, 0, 1] and confidence.tolist() == [0, 0, 0]


def test_one_sample_is_its_own_neighbor():
    spread, confidence = propagate_labels(np.array([0]), np.array([True]), np.array([[0]]))
    assert spread.tolist() == [0] and confidence.tolist() == [1]


def test_mean_of_a_label_without_rows_is_what_stands_in():
    values = np.array([[0.0], [2.0], [7.0]])
    stand_in = np.array([[9.0], [8.0], [5.0]])
    assert label_means(values, np.array([0, 0, 2]), 3, stand_in).tolist() == [[1.0], [8.0], [7.0]]
    assert label_means(values, np.array([0, 0, 2]), 3).tolist() == [[1.0], [3.0], [7.0]]


# in the loop


@pytest.fixture(scope="module")
def overlapping():
    rng = np.random.default_rng(0)
    topic = np.arange(120) % 3
    return {
        name: rng.normal(np.eye(3)[topic] * 2, 1.0, size=(120, 3)) for name in ("text", "audio")
    }


def fit(X, **parameters):
    settings = {"pretrain_epochs": 1, "max_epochs": 4, "patience": None, "random_state": 0}
    return UMCClusterer(3).set_params(**settings | parameters).fit(X)


def test_a_higher_bar_teaches_fewer_and_selected_labels_only_the_selected(overlapping):
    shares = {}
    parts = {bar: PropagatedLabels(bar) for bar in (1.0, 0.9, 0.0)} | {"selected": "selected"}
    for bar, part in parts.items():
        history = fit(overlapping, pseudo_labels=part).history_.phase("main")
        shares[bar] = history[0, "taught_share"]
        assert history[0, "selected_share"] <= shares[bar]
        if bar == "selected":
            assert history[:, "selected_share"] == history[:, "taught_share"]
    assert shares["selected"] < shares[0.9] < shares[0.0] == 1.0
    assert shares["selected"] <= shares[1.0] <= shares[0.9]


def test_a_branch_without_samples_has_no_loss(overlapping):
    main = fit(overlapping, pseudo_labels=PropagatedLabels(0.0)).history_.phase("main")
    assert main[:, "loss_contrastive"][:-1] == [None] * 4
    assert all(loss > 0 for loss in main[:, "loss_supcon"][:-1])


def test_centers_are_the_means_of_propagated_labels(overlapping, monkeypatch):
    found = []

    def spy(labels, seeds, partners):
        found.append(propagate_labels(labels, seeds, partners))
        return found[-1]

    monkeypatch.setattr("skumc.pseudo_labels._propagated.propagate_labels", spy)
    fitted = fit(overlapping, max_epochs=0, monitor__judge_start=False)
    ((propagated, _),) = found
    for k, center in enumerate(fitted.cluster_centers_):
        expected = fitted.embedding_[propagated == k].mean(axis=0)
        np.testing.assert_allclose(center, expected, atol=1e-6)


def test_pseudo_labels_of_ones_own_decide_labels_taught_samples_and_centers(overlapping):
    class Halves:
        def label(self, state):
            labels = np.arange(len(state.labels)) % 3
            means = label_means(state.embedding, labels, 3)
            return PseudoLabels(labels, np.arange(len(labels)) < 60, means)

    fitted = fit(overlapping, pseudo_labels=Halves(), max_epochs=1)
    assert fitted.history_[-1, "taught_share"] == 0.5
    expected = [fitted.embedding_[k::3].mean(axis=0) for k in range(3)]
    np.testing.assert_allclose(fitted.cluster_centers_, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda s: s.labels, "gave ndarray, expected PseudoLabels"),
        (lambda s: (s.labels + 1, s.selected, s.centers), "whole numbers from 0 to 2"),
        (lambda s: (s.labels * 0.5, s.selected, s.centers), "gave labels of type float64"),
        (lambda s: (s.labels[:5], s.selected, s.centers), r"expected \(\d+,\) whole numbers"),
        (lambda s: (s.labels, s.selected * 1, s.centers), r"expected bool of shape \(\d+,\)"),
        (lambda s: (s.labels, s.selected, s.centers[:2]), r"expected finite .* shape \(3, 128\)"),
        (lambda s: (s.labels, s.selected, s.centers * np.nan), "expected finite numbers"),
    ],
)
def test_pseudo_labels_that_return_nonsense_are_refused(overlapping, returned, message):
    class Broken:
        def label(self, state):
            return returned(state)

    with pytest.raises(ValueError, match=f"{message}.*Check pseudo_labels="):
        fit(overlapping, pseudo_labels=Broken())
