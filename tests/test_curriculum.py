"""Tests of thresholds and selectors."""

from __future__ import annotations

import math
import pickle
import statistics
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.base import clone

import skumc.curriculum as curriculum
from skumc.curriculum import (
    AdaptiveThreshold,
    CentroidSelector,
    ConstantThreshold,
    DensitySelector,
    LinearThreshold,
    RandomSelector,
)
from skumc.curriculum._cutoffs import cluster_cutoff
from skumc.curriculum._density import _nearest_selected_means
from skumc.curriculum._geometry import squared_distance_blocks
from strategies import fractions, labeled_embeddings

CANDIDATES = (0.10, 0.12, 0.14, 0.16, 0.18, 0.20, 0.22, 0.24, 0.26, 0.28, 0.30, 0.32)
THRESHOLDS = [AdaptiveThreshold(), LinearThreshold(), ConstantThreshold()]
SELECTORS = [
    DensitySelector(),
    DensitySelector(criterion="compact"),
    CentroidSelector(),
    RandomSelector(random_state=0),
]
SHARE = r"parameter of \w+ must be a float in the range \[0.0, 1.0\]."
TERMS = ["base", "performance", "loss", "stability"]

maybe_number = st.none() | st.floats(allow_nan=True, allow_infinity=True)
selectors = pytest.mark.parametrize("selector", SELECTORS, ids=repr)


# ------------------------------------------------------------------------------ thresholds


def printed_share(p, rescale_phases=False):
    """Return the share of the range at progress p, from the formula."""
    if p < 0.2:
        return 0.2 * (p / 0.2) ** 2 if rescale_phases else 0.2 * p**2
    if p < 0.6:
        return 0.2 + 0.5 * ((p - 0.2) / 0.4)
    if p < 0.9:
        q = (p - 0.6) / 0.3 if rescale_phases else p - 0.6
        return 0.7 + 0.25 * (np.log(1 + 3 * q) / np.log(4))
    return 0.95 + 0.05 * ((p - 0.9) / 0.1)


def terms_after(performances=(), losses=(), **parameters):
    """Return the terms after one update per value."""
    threshold = AdaptiveThreshold(**parameters)
    n_updates = max(len(performances), len(losses))
    for epoch in range(n_updates):
        threshold.update(
            epoch,
            100,
            performances[epoch] if epoch < len(performances) else None,
            losses[epoch] if epoch < len(losses) else None,
        )
    return threshold.terms_


@given(st.integers(1, 400), st.data(), fractions(), fractions(), st.booleans())
def test_base_is_the_printed_formula(n_epochs, data, one, other, rescale):
    """The curve agrees with the formula written out again."""
    low, high = sorted((one, other))
    epoch = data.draw(st.integers(0, n_epochs))
    expected = low + (high - low) * printed_share(epoch / n_epochs, rescale)
    threshold = AdaptiveThreshold(low, high, rescale_phases=rescale)
    assert threshold.base(epoch, n_epochs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("n_epochs", [1, 7, 100, 1000])
def test_base_never_falls(rescale, n_epochs):
    """Both forms of the curve are monotone."""
    threshold = AdaptiveThreshold(rescale_phases=rescale)
    values = [threshold.base(epoch, n_epochs) for epoch in range(n_epochs + 1)]
    assert np.all(np.diff(values) > 0)
    assert values[0] == 0.05
    assert values[-1] == pytest.approx(0.5)


def test_printed_curve_jumps_at_20_and_90_percent():
    """The default keeps both jumps of the printed formula and is continuous elsewhere."""
    threshold = AdaptiveThreshold(0.0, 1.0)
    n_epochs = 1_000_000
    steps = np.diff([threshold.base(epoch, n_epochs) for epoch in range(0, n_epochs + 1, 1000)])
    assert_array_equal(np.flatnonzero(steps > 0.01), [199, 899])
    assert threshold.base(199_999, n_epochs) == pytest.approx(0.008, abs=1e-5)
    assert threshold.base(200_000, n_epochs) == pytest.approx(0.2)
    before = 0.7 + 0.25 * math.log(1.9) / math.log(4)
    assert threshold.base(899_999, n_epochs) == pytest.approx(before, abs=1e-5)
    assert threshold.base(900_000, n_epochs) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("epoch", "share"), [(0, 0.0), (20, 0.2), (60, 0.7), (90, 0.95), (100, 1.0), (150, 1.0)]
)
@pytest.mark.parametrize("rescale", [False, True])
def test_both_curves_run_through_the_knots(epoch, share, rescale):
    """The knots are the same; beyond the last epoch the curve stays at its end."""
    threshold = AdaptiveThreshold(0.1, 0.9, rescale_phases=rescale)
    assert threshold.base(epoch, 100) == pytest.approx(0.1 + 0.8 * share)


def test_rescaled_curve_is_continuous():
    """No step of the rescaled curve is larger than its steepest slope allows."""
    threshold = AdaptiveThreshold(0.0, 1.0, rescale_phases=True)
    values = [threshold.base(epoch, 10_000) for epoch in range(10_001)]
    assert np.diff(values).max() < 3 / 10_000


@given(st.lists(st.tuples(maybe_number, maybe_number), max_size=25), fractions(), fractions())
def test_threshold_stays_within_bounds_for_any_history(history, one, other):
    """For any history, the threshold is the clipped sum of the terms."""
    low, high = sorted((one, other))
    threshold = AdaptiveThreshold(low, high)
    for epoch, (performance, loss) in enumerate(history):
        value = threshold.update(epoch, max(len(history), 1), performance, loss)
        assert low <= value <= high
        assert list(threshold.terms_) == TERMS
        assert value == np.clip(sum(threshold.terms_.values()), low, high)


@pytest.mark.parametrize(
    ("performances", "expected"),
    [
        # improving: rate above 0.02, at it, between, at 0.01, below
        ([0.0, 0.02, 0.04, 0.06, 0.08, 0.1001], 0.03),
        ([0.0, 0.02, 0.04, 0.06, 0.08, 0.1], 0.02),
        ([0.0, 0.01, 0.02, 0.03, 0.04, 0.0501], 0.02),
        ([0.0, 0.01, 0.02, 0.03, 0.04, 0.05], 0.01),
        ([0.0, 0.001, 0.002, 0.003, 0.004, 0.005], 0.01),
        # 4 of 5 are improving, 3 and 2 neither, 1 and 0 declining
        ([0.0, 0.2, 0.3, 0.4, 0.5, 0.45], 0.03),
        ([0.0, 0.2, 0.3, 0.4, 0.35, 0.3], 0.0),
        ([0.0, 0.2, 0.3, 0.25, 0.2, 0.15], 0.0),
        ([0.5, 0.6, 0.3, 0.2, 0.1, 0.05], -0.02),
        ([0.1001, 0.08, 0.06, 0.04, 0.02, 0.0], -0.02),
        ([0.1, 0.08, 0.06, 0.04, 0.02, 0.0], -0.01),
        ([0.5, 0.499, 0.498, 0.497, 0.496, 0.495], -0.01),
        # standing still counts as no increase
        ([0.5] * 6, -0.01),
        # only the last six count; the magnitude of the change does, not its sign
        ([9.0, 0.0, 0.02, 0.04, 0.06, 0.08, 0.1001], 0.03),
        ([0.9, 0.1, 0.2, 0.3, 0.4, 0.5], 0.03),
    ],
)
def test_performance_levels(performances, expected):
    """Each printed level is reached, on both sides of each limit."""
    assert terms_after(performances)["performance"] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (-0.2, 0.015),
        (-0.0501, 0.015),
        (-0.0499, 0.01),
        (-0.0101, 0.01),
        (-0.01, 0.0),
        (-0.0099, 0.0),
        (0.0, 0.0),
        (0.0099, 0.0),
        (0.01, 0.0),
        (0.0101, -0.01),
        (0.0499, -0.01),
        (0.0501, -0.02),
        (0.2, -0.02),
    ],
)
@pytest.mark.parametrize("older", [(), (7.0, -7.0)])
def test_loss_levels(change, expected, older):
    """Each printed level is reached, on both sides of each limit and at 0.01."""
    losses = [*older, 0.0, 5.0, -5.0, 3 * change]
    assert terms_after(losses=losses)["loss"] == expected


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("variation", "expected"),
    [(0.0, 0.005), (0.0199, 0.005), (0.0201, 0.0), (0.0999, 0.0), (0.1001, -0.01), (2.0, -0.01)],
)
def test_stability_levels(variation, expected, sign):
    """Each printed level is reached for positive and negative performances."""
    away = variation / math.sqrt(0.8)
    values = [sign * 3.0 * (1 + away * place) for place in (-1, 1, -1, 1, 0)]
    assert statistics.pstdev(values) / 3.0 == pytest.approx(variation)
    assert terms_after(values)["stability"] == expected
    assert terms_after([50.0, -50.0, *values])["stability"] == expected


@pytest.mark.parametrize(
    ("mean", "expected"), [(0.0, 0.005), (9.9e-9, 0.005), (-9.9e-9, 0.005), (1.01e-8, -0.01)]
)
def test_variation_of_a_vanishing_mean_is_zero(mean, expected):
    """Below 1e-8 the mean is not divided by."""
    values = [mean + offset for offset in (-1e-8, 1e-8, -1e-8, 1e-8, 0.0)]
    assert terms_after(values)["stability"] == expected


def test_adjustments_are_zero_until_their_windows_are_full():
    """The trend needs 6 performances, the loss 4 values, the stability 5 performances."""
    seen = [
        terms_after([0.1 * i for i in range(n)], [-float(i) for i in range(n)]) for n in range(1, 8)
    ]
    assert [terms["performance"] for terms in seen] == [0, 0, 0, 0, 0, 0.03, 0.03]
    assert [terms["loss"] for terms in seen] == [0, 0, 0, 0.015, 0.015, 0.015, 0.015]
    assert [terms["stability"] for terms in seen] == [0, 0, 0, 0, -0.01, -0.01, -0.01]


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf, np.float32("nan")])
def test_unknown_values_are_not_recorded(unknown):
    """Missing values leave the windows as they were."""
    performances, losses = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [3.0, 2.0, 1.0, 0.0]
    gaps = [item for value in performances for item in (unknown, value)]
    loss_gaps = [item for value in losses for item in (value, unknown)]
    full, with_gaps = terms_after(performances, losses), terms_after(gaps, loss_gaps)
    for name in TERMS[1:]:
        assert with_gaps[name] == full[name] != 0


def test_epoch_zero_starts_afresh():
    """A second run on one instance equals the first."""
    threshold = AdaptiveThreshold()

    def run():
        return [threshold.update(e, 12, 0.1 * e, -0.1 * e) for e in range(12)]

    first = run()
    assert threshold.terms_["performance"] and threshold.terms_["loss"]
    assert run() == first
    threshold.update(0, 12, None, None)
    assert threshold.recent_performances_ == [] == threshold.recent_losses_
    assert threshold.terms_ == {"base": 0.05, "performance": 0, "loss": 0, "stability": 0}


def test_run_may_go_on_at_a_later_epoch():
    """Without epoch 0, as after loading a checkpoint, the windows start empty or as pickled."""
    threshold = AdaptiveThreshold()
    assert threshold.update(20, 100, 0.3, 1.0) == pytest.approx(0.14)
    for epoch in range(21, 25):
        threshold.update(epoch, 100, 0.1 * epoch, -epoch)
    loaded = pickle.loads(pickle.dumps(threshold))
    assert loaded.update(25, 100, 2.5, -25) == threshold.update(25, 100, 2.5, -25)
    assert threshold.terms_["performance"] == 0.03


@pytest.mark.parametrize("name", ["performance", "loss", "stability"])
def test_adjustments_can_be_switched_off(name):
    """A switched-off adjustment is 0, the others stay."""
    history = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [3.0, 2.0, 1.0, 0.0, -1.0, -2.0]
    expected = terms_after(*history) | {name: 0.0}
    assert terms_after(*history)[name] != 0
    assert terms_after(*history, **{f"{name}_adjustment": False}) == expected


def test_linear_and_constant_thresholds():
    """0.1 + 0.05 epoch up to the bound; the constant stays; neither looks at the history."""
    linear, constant = LinearThreshold(max_threshold=0.4), ConstantThreshold(0.3)
    for epoch in range(20):
        expected = min(0.1 + 0.05 * epoch, 0.4)
        assert linear.update(epoch, 20, 0.1 * epoch, -epoch) == pytest.approx(expected)
        assert linear.terms_["base"] == pytest.approx(0.1 + 0.05 * epoch)
        assert constant.update(epoch, 20, 0.1 * epoch, -epoch) == 0.3
        assert list(linear.terms_) == list(constant.terms_) == TERMS
    assert LinearThreshold().update(18, 20, None, None) == 1.0


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=repr)
def test_thresholds_check_epochs(threshold):
    """Epochs are counted from 0, and there is at least one."""
    for epoch, n_epochs, name, got in [
        (-1, 5, "epoch", "-1"),
        (0, 0, "n_epochs", "0"),
        (0.5, 5, "epoch", "0.5"),
    ]:
        message = f"The '{name}' parameter of update must be an int in the range .* Got {got} "
        with pytest.raises(ValueError, match=message):
            clone(threshold).update(epoch, n_epochs, None, None)
    assert clone(threshold).update(np.int64(0), np.int32(1), None, None) <= 1.0


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (AdaptiveThreshold(min_threshold=-0.1), f"'min_threshold' {SHARE} Got -0.1 instead"),
        (AdaptiveThreshold(max_threshold=1.1), f"'max_threshold' {SHARE} Got 1.1 instead"),
        (AdaptiveThreshold(max_threshold=math.nan), f"'max_threshold' {SHARE} Got nan instead"),
        (AdaptiveThreshold(max_threshold="0.5"), f"'max_threshold' {SHARE} Got '0.5' instead"),
        (AdaptiveThreshold(rescale_phases="no"), "'rescale_phases' parameter .* Got 'no' instead"),
        (AdaptiveThreshold(0.6, 0.5), "Got min_threshold=0.6 and max_threshold=0.5, .*Lower"),
        (LinearThreshold(start=2.0), f"'start' {SHARE} Got 2.0 instead"),
        (LinearThreshold(max_threshold=math.nan), f"'max_threshold' {SHARE} Got nan instead"),
        (LinearThreshold(start=0.5, max_threshold=0.2), "Got start=0.5 and max_threshold=0.2"),
        (LinearThreshold(step=-0.1), r"'step' parameter .* range \[0.0, inf\). Got -0.1 instead"),
        (LinearThreshold(step=math.inf), "'step' parameter .* Got inf instead"),
        (LinearThreshold(step=math.nan), "'step' parameter .* Got nan instead"),
        (ConstantThreshold(value=1.5), f"'value' {SHARE} Got 1.5 instead"),
    ],
)
def test_thresholds_check_parameters_when_used(threshold, message):
    """Building stores anything; update names the parameter, its value and its range."""
    with pytest.raises(ValueError, match=message):
        threshold.update(0, 10, None, None)


def test_performance_must_be_a_number():
    """Text is an error, a numpy scalar is not."""
    with pytest.raises(ValueError, match="Got performance='high', expected a number or None"):
        AdaptiveThreshold().update(0, 10, "high", None)
    threshold = AdaptiveThreshold()
    threshold.update(0, 10, np.float32(0.5), np.array(1.0))
    assert threshold.recent_performances_ == [0.5]


# ------------------------------------------------------------------------------- selectors


def printed_cutoff(size, n_samples, n_clusters, threshold):
    """Return the printed cutoff in exact arithmetic; threshold is a Fraction."""
    n_min = max(5, math.floor(Fraction(1, 10) * n_samples / n_clusters))
    if size <= 5:
        return size
    return max(math.floor(size * threshold), min(n_min, size))


def oracle_pick(points, cutoff, candidates, criterion):
    """Select in one cluster, one candidate, one sample, one neighbor after the other."""
    size = len(points)
    distances = cdist(points, points)
    best_score, best = None, None
    for candidate in candidates:
        k = min(max(math.floor(Fraction(str(candidate)) * size), 1), size - 1) if size > 1 else 0
        means = []
        for i in range(size):
            others = sorted(distances[i, j] for j in range(size) if j != i)
            means.append(math.fsum(others[:k]) / k if k else 0.0)
        chosen = sorted(range(size), key=lambda i: (means[i], i))[:cutoff]
        nearest = [min((distances[i, j] for j in chosen if j != i), default=0.0) for i in chosen]
        score = math.fsum(nearest) / len(nearest)
        if criterion == "compact":
            score = -score
        if best_score is None or score > best_score:
            best_score, best = score, chosen
    return best


def oracle_select(X, labels, threshold, candidates, criterion):
    """Select as printed, in plain loops; threshold is a Fraction."""
    mask = np.zeros(len(X), dtype=bool)
    for name in set(labels.tolist()):
        rows = [i for i in range(len(X)) if labels[i] == name]
        cutoff = printed_cutoff(len(rows), len(X), len(set(labels.tolist())), threshold)
        for place in oracle_pick(X[rows].astype(float), cutoff, candidates, criterion):
            mask[rows[place]] = True
    return mask


@given(st.integers(1, 3000), st.integers(0, 4000), st.integers(1, 30), st.integers(0, 1000))
def test_cutoff_is_as_printed(size, other_samples, n_clusters, thousandths):
    """The cutoff equals the printed one in exact arithmetic and lies within 1 and size."""
    n_samples = size + other_samples
    expected = printed_cutoff(size, n_samples, n_clusters, Fraction(thousandths, 1000))
    actual = cluster_cutoff(size, n_samples, n_clusters, thousandths / 1000)
    assert actual == expected
    assert 1 <= actual <= size


@pytest.mark.parametrize(
    ("size", "n_samples", "n_clusters", "threshold", "expected"),
    [
        (1, 100, 2, 0.0, 1),
        (5, 100, 2, 0.0, 5),
        (6, 12, 2, 0.0, 5),
        (7, 2000, 2, 0.1, 7),
        (100, 100, 1, 0.29, 29),
        (100, 100, 1, 0.05, 10),
        (100, 300, 1, 0.05, 30),
        (1000, 1000, 1, 1.0, 1000),
    ],
)
def test_cutoff_examples(size, n_samples, n_clusters, threshold, expected):
    """Small clusters whole, the minimum where the share is small, no loss to rounding."""
    assert cluster_cutoff(size, n_samples, n_clusters, threshold) == expected


@given(st.integers(1, 500), st.integers(1, 20), fractions(1000), fractions(1000))
def test_cutoff_never_falls_as_the_threshold_rises(size, n_clusters, one, other):
    """A larger threshold selects as many or more."""
    low, high = sorted((one, other))
    cutoffs = [cluster_cutoff(size, 20 * size, n_clusters, t) for t in (low, high)]
    assert cutoffs == sorted(cutoffs)


@selectors
@given(data=labeled_embeddings(), percent=st.integers(0, 100))
def test_each_cluster_gets_its_cutoff(selector, data, percent):
    """The number selected in each cluster is the printed one, never 0; nothing is changed."""
    X, labels = data
    X_before, labels_before = X.copy(), labels.copy()
    X.flags.writeable = labels.flags.writeable = False
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        mask = selector.select(X, labels, percent / 100)
    assert mask.dtype == bool and mask.shape == (len(X),)
    names, sizes = np.unique(labels, return_counts=True)
    for name, size in zip(names, sizes, strict=True):
        expected = printed_cutoff(int(size), len(X), len(names), Fraction(percent, 100))
        assert mask[labels == name].sum() == expected >= 1
    assert_array_equal(X, X_before)
    assert_array_equal(labels, labels_before)
    assert_array_equal(selector.select(X, labels, percent / 100), mask)


@pytest.mark.parametrize("criterion", ["source", "compact"])
@pytest.mark.parametrize("candidates", [CANDIDATES, (0.5, 0.05, 0.29), (1.0,)], ids=str)
@given(data=labeled_embeddings(max_size=40, max_clusters=3), percent=st.integers(0, 100))
def test_density_selection_equals_plain_loops(criterion, candidates, data, percent):
    """The blocked computation selects exactly what the printed algorithm does."""
    X, labels = data
    selector = DensitySelector(candidates, criterion)
    expected = oracle_select(X, labels, Fraction(percent, 100), candidates, criterion)
    assert_array_equal(selector.select(X, labels, percent / 100), expected)


def test_default_candidates_are_the_printed_ones():
    """Twelve shares from 0.10 to 0.32."""
    assert DensitySelector().candidates == CANDIDATES


def test_criteria_differ():
    """The two criteria take the two ends of the scores, so they disagree on ordinary data."""
    X = np.random.default_rng(0).normal(size=(120, 3))
    labels = np.zeros(120, dtype=int)
    source, compact = (
        DensitySelector(criterion=criterion).select(X, labels, 0.3)
        for criterion in ("source", "compact")
    )
    spread = _nearest_selected_means(X, np.array([source, compact]))
    assert spread[0] > spread[1]


@pytest.mark.parametrize("rotation", [None, *range(8)])
def test_first_candidate_wins_among_equal_scores(rotation):
    """With equal densities rows, with equal scores candidates decide by their order."""
    # All nearest distances are 1, so one neighbor selects the first rows, the chain; with four
    # neighbors the cross is denser. Both selections score 1. A rotation into a wide space keeps
    # all that but for rounding.
    chain = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]
    cross = [(20, 0), (21, 0), (19, 0), (20, 1), (20, -1)]
    X = np.array([*chain, *cross], dtype=float)
    if rotation is not None:
        normal = np.random.default_rng(rotation).normal(size=(99, 2))
        X = X @ np.linalg.qr(normal)[0].T
    labels = np.zeros(10, dtype=int)
    for criterion in ("source", "compact"):
        for candidates, expected in [((0.1, 0.4), [0, 1, 2, 3, 4]), ((0.4, 0.1), [5, 6, 7, 8, 9])]:
            mask = DensitySelector(candidates, criterion).select(X, labels, 0.5)
            assert_array_equal(np.flatnonzero(mask), expected)


@pytest.mark.parametrize("seed", range(4))
def test_mutual_neighbors_tie_in_wide_data(seed):
    """Two samples nearest to each other are equally dense, whatever a matrix product rounds."""
    X = np.random.default_rng(seed).normal(size=(150, 256))
    labels = np.zeros(150, dtype=int)
    for percent in range(5, 60, 5):
        expected = oracle_select(X, labels, Fraction(percent, 100), (0.01,), "source")
        mask = DensitySelector((0.01,)).select(X, labels, percent / 100)
        assert_array_equal(mask, expected)


@given(data=labeled_embeddings(min_size=20, max_size=45, duplicates=False), seed=st.integers(0, 99))
def test_selection_follows_a_permutation(data, seed):
    """Reordering the samples reorders the mask; 20 or more keep mutual neighbors from tying."""
    X, labels = data
    order = np.random.default_rng(seed).permutation(len(X))
    for selector in (DensitySelector(), DensitySelector(criterion="compact"), CentroidSelector()):
        mask = selector.select(X, labels, 0.4)
        assert_array_equal(selector.select(X[order], labels[order], 0.4), mask[order])


@given(data=labeled_embeddings(min_size=2, max_size=25), seed=st.integers(0, 99))
def test_selected_densities_follow_a_permutation_despite_ties(data, seed):
    """With equal densities, other samples may be selected, but the same densities are."""
    X, labels = data
    order = np.random.default_rng(seed).permutation(len(X))
    selector = DensitySelector((0.2,))
    masks = selector.select(X, labels, 0.4), selector.select(X[order], labels[order], 0.4)
    for name in np.unique(labels):
        selected = []
        for points, chosen in [
            (X[labels == name], masks[0][labels == name]),
            (X[order][labels[order] == name], masks[1][labels[order] == name]),
        ]:
            k = max(len(points) // 5, 1)
            distances = np.sort(cdist(points.astype(float), points.astype(float)), axis=1)
            selected.append(np.sort(distances[chosen, 1 : k + 1].mean(axis=1)))
        np.testing.assert_allclose(*selected, rtol=1e-6, atol=1e-9 * np.abs(X).max())


@pytest.mark.parametrize("selector", [DensitySelector(), CentroidSelector()], ids=repr)
@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 1e-30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_equal_samples_are_taken_in_row_order(selector, value, dtype):
    """All points equal: every density is infinite, and the first rows lead."""
    X = np.full((40, 7), value, dtype=dtype)
    labels = np.arange(40) % 2
    with np.errstate(all="raise"):
        mask = selector.select(X, labels, 0.3)
    assert_array_equal(np.flatnonzero(mask), np.arange(12))


@pytest.mark.filterwarnings("error")
def test_duplicates_are_densest_and_never_nan():
    """Three copies of one sample are denser than any spread samples, wherever they stand."""
    rng = np.random.default_rng(3)
    X = 100 + rng.normal(size=(30, 8))
    copies = [3, 11, 17, 22, 29]
    X[copies] = X[3]
    mask = DensitySelector((0.1,)).select(X, np.zeros(30, dtype=int), 0.0)
    assert_array_equal(np.flatnonzero(mask), copies)


@selectors
def test_tiny_clusters_are_selected_whole(selector):
    """Clusters of 1, 2 and 5 samples have no choice to make."""
    labels = np.array([4, -7, -7, 2**40, 2**40, 2**40, 2**40, 2**40])
    X = np.random.default_rng(0).normal(size=(8, 3))
    assert selector.select(X, labels, 0.0).all()


def test_score_of_a_single_sample_is_zero():
    """A selection of one sample has no nearest other."""
    points = np.array([[0.0], [1.0], [3.0]])
    selections = np.array([[True, False, False], [True, False, True]])
    assert_array_equal(_nearest_selected_means(points, selections), [0.0, 3.0])


@given(data=labeled_embeddings(max_size=40, max_clusters=2))
def test_block_size_never_changes_the_selection(data):
    """One row at a time and one block give the same selection, ties included."""
    X, labels = data
    for selector in (DensitySelector(), DensitySelector(criterion="compact")):
        expected = selector.select(X, labels, 0.3)
        for block_bytes in (1, 4 * 8 * 40 * 7):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("skumc.curriculum._geometry._BLOCK_BYTES", block_bytes)
                assert_array_equal(selector.select(X, labels, 0.3), expected)


@pytest.mark.parametrize("factor", [1e-300, 1e-20, 2.0**-40, 1.0, 1e20, 1e307])
def test_scale_never_changes_the_selection(factor):
    """Neither overflow nor underflow of squares decides."""
    X = np.random.default_rng(1).normal(size=(80, 5))
    labels = np.repeat([0, 1], 40)
    for selector in (DensitySelector(), CentroidSelector()):
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            mask = selector.select(factor * X, labels, 0.3)
        assert_array_equal(mask, selector.select(X, labels, 0.3))


def test_extreme_values_never_change_the_selection():
    """Neither two groups at both ends of the number range nor a tiny spread beside a constant."""
    X = np.random.default_rng(1).normal(size=(30, 4))
    X[:14] += 50
    labels = np.zeros(30, dtype=int)
    beside_one = np.hstack([1e-200 * X, np.ones((30, 1))])
    for selector in (DensitySelector(), CentroidSelector()):
        mask = selector.select(X, labels, 0.3)
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            assert_array_equal(selector.select(3e306 * (X - 25), labels, 0.3), mask)
            assert_array_equal(selector.select(beside_one, labels, 0.3), mask)
    ends = np.repeat([-1.7e308, 1.7e308], [9, 11])[:, None]
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        mask = DensitySelector().select(ends, labels[:20], 0.3)
    assert_array_equal(np.flatnonzero(mask), np.arange(6))


def test_selection_far_from_the_origin():
    """A common offset or one far outlier does not drown the distances."""
    X = np.random.default_rng(2).integers(-1000, 1000, size=(60, 4)) / 1024
    labels = np.zeros(60, dtype=int)
    selector = DensitySelector()
    mask = selector.select(X, labels, 0.3)
    assert_array_equal(selector.select(X + 2.0**30, labels, 0.3), mask)
    outlier = np.vstack([X[:-1], np.full((1, 4), 2.0**40)])
    expected = oracle_select(outlier, labels, Fraction(3, 10), CANDIDATES, "source")
    assert_array_equal(selector.select(outlier, labels, 0.3), expected)


@given(data=labeled_embeddings(), percent=st.integers(0, 100))
def test_centroid_selection_is_nearest_to_the_mean(data, percent):
    """No sample left out is nearer to the mean than one selected."""
    X, labels = data
    mask = CentroidSelector().select(X, labels, percent / 100)
    for name in np.unique(labels):
        points = X[labels == name].astype(float)
        chosen = mask[labels == name]
        distances = np.linalg.norm(points - points.mean(axis=0), axis=1)
        left = distances[~chosen].min(initial=np.inf)
        assert distances[chosen].max() <= left * (1 + 1e-8) + 1e-12 * np.abs(X).max()


def test_random_selection_is_seeded_nested_and_uniform():
    """An int repeats itself, larger thresholds add, clusters differ, chances are equal."""
    X, labels = np.zeros((60, 1)), np.repeat([0, 1, 2], [30, 20, 10])
    assert_array_equal(*(RandomSelector(5).select(X, labels, 0.4) for _ in range(2)))
    masks = [RandomSelector(5).select(X, labels, t) for t in (0.1, 0.4, 0.7, 1.0)]
    assert all((small <= large).all() for small, large in zip(masks, masks[1:], strict=False))
    halves = RandomSelector(5).select(X, np.repeat([0, 1], 30), 0.5).reshape(2, 30)
    assert (halves[0] != halves[1]).any()
    selector = RandomSelector(np.random.RandomState(0))
    frequency = np.mean([selector.select(X, labels, 0.5) for _ in range(2000)], axis=0)
    assert frequency == pytest.approx(0.5, abs=0.06)
    before = np.random.get_state()[1].copy()
    RandomSelector(5).select(X, labels, 0.4)
    assert_array_equal(np.random.get_state()[1], before)


@selectors
def test_empty_input_gives_an_empty_mask(selector):
    """No rows, no clusters, no error."""
    for labels in ([], np.zeros(0, dtype=int)):
        mask = selector.select(np.zeros((0, 4)), labels, 0.5)
        assert mask.shape == (0,) and mask.dtype == bool


@selectors
def test_samples_without_width_are_all_equal(selector):
    """A width of 0 is odd but no error."""
    assert selector.select(np.zeros((20, 0)), np.zeros(20, dtype=int), 0.5).sum() == 10


@selectors
@pytest.mark.parametrize(
    ("X", "labels", "threshold", "message"),
    [
        (np.zeros((3, 2)), [0, 0, 0], -0.1, f"'threshold' {SHARE} Got -0.1 instead"),
        (np.zeros((3, 2)), [0, 0, 0], 1.01, f"'threshold' {SHARE} Got 1.01 instead"),
        (np.zeros((3, 2)), [0, 0, 0], math.nan, f"'threshold' {SHARE} Got nan instead"),
        (np.zeros((0, 2)), [], 2.0, f"'threshold' {SHARE} Got 2.0 instead"),
        (np.zeros((3, 2)), [0, 0], 0.5, r"Got labels with shape \(2,\), expected \(3,\) as X"),
        (np.zeros((3, 2)), [[0], [0], [0]], 0.5, r"Got labels with shape \(3, 1\), expected"),
        (np.zeros((3, 2)), [0.0, 1.0, 2.0], 0.5, "Got labels of dtype float64, expected integers"),
        (np.zeros(3), [0, 0, 0], 0.5, r"Got X with shape \(3,\) and dtype float64, expected"),
        (np.full((3, 2), "a"), [0, 0, 0], 0.5, "Got X with shape .* and dtype <U1, expected"),
        ([[0.0], [math.nan], [1.0]], [0, 0, 0], 0.5, r"Got X with NaN .* in 1 rows .* row 1\)"),
        ([[0.0], [1.0], [-math.inf]], [0, 0, 0], 0.5, r"Got X with NaN .* in 1 rows .* row 2\)"),
    ],
)
def test_selectors_check_their_input(selector, X, labels, threshold, message):
    """Each error names the argument and its value."""
    with pytest.raises(ValueError, match=message):
        selector.select(X, labels, threshold)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"criterion": "tight"}, "'criterion' parameter .* among .* Got 'tight' instead"),
        ({"candidates": ()}, r"Got candidates=\(\), expected one or more shares of a cluster"),
        ({"candidates": (0.1, 0.0)}, r"'candidates\[1\]' .* range \(0.0, 1.0\]. Got 0.0 instead"),
        ({"candidates": (1.5,)}, r"'candidates\[0\]' parameter .* Got 1.5 instead"),
        ({"candidates": (math.nan,)}, r"'candidates\[0\]' parameter .* Got nan instead"),
        ({"candidates": (0.1, "0.2")}, r"'candidates\[1\]' parameter .* Got '0.2' instead"),
        ({"candidates": 0.1}, "'candidates' .* must be an array-like. Got 0.1 instead"),
        ({"sample_size": 1}, r"'sample_size' .* range \[2, inf\) or None. Got 1 instead"),
        ({"sample_size": 0.5}, "'sample_size' parameter .* Got 0.5 instead"),
        ({"random_state": "a"}, "'random_state' parameter .* Got 'a' instead"),
    ],
)
def test_density_selector_checks_its_parameters(parameters, message):
    """Building stores anything; select names the parameter."""
    selector = DensitySelector(**parameters)
    with pytest.raises(ValueError, match=message):
        selector.select(np.zeros((8, 2)), np.zeros(8, dtype=int), 0.5)


def test_random_selector_checks_its_parameter():
    """Building stores anything; select names the parameter."""
    with pytest.raises(ValueError, match="'random_state' parameter of RandomSelector .* 'a'"):
        RandomSelector("a").select(np.zeros((8, 2)), np.zeros(8, dtype=int), 0.5)


@pytest.mark.parametrize("part", [*THRESHOLDS, *SELECTORS], ids=repr)
def test_parts_are_cloned_without_state(part):
    """A clone has the parameters and no state."""
    if hasattr(part, "update"):
        part.update(0, 5, 0.1, 0.2)
    copy = clone(part)
    assert copy.get_params() == part.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]


def test_public_names():
    """Everything exported exists, and nothing else is public."""
    public = {n for n, v in vars(curriculum).items() if isinstance(v, type)}
    assert public == set(curriculum.__all__)


def test_all_candidates_share_one_neighbor_computation(monkeypatch):
    """Distances are computed twice for a cluster: for all densities, then for all scores."""
    n_points = []

    def counted(points, *arguments, **parameters):
        n_points.append(len(points))
        return squared_distance_blocks(points, *arguments, **parameters)

    monkeypatch.setattr("skumc.curriculum._density.squared_distance_blocks", counted)
    X = np.random.default_rng(0).normal(size=(200, 8))
    DensitySelector().select(X, np.zeros(200, dtype=int), 0.3)
    assert len(n_points) == 2
    assert n_points[0] == 200 > n_points[1] >= 60
    # No score is needed if all candidates agree in k or in their selection.
    DensitySelector((0.1, 0.101)).select(X, np.zeros(200, dtype=int), 0.3)
    assert len(n_points) == 3
    far_tail = np.array([0, 1, 2, 3, 4, 100, 200, 400, 800, 1600.0])[:, None]
    DensitySelector((0.1, 0.2)).select(far_tail, np.zeros(10, dtype=int), 0.5)
    assert len(n_points) == 4


# estimates in large clusters


def plain_estimate(X, threshold, drawn, candidates, criterion):
    """Selection of DensitySelector in one cluster with drawn samples, in loops."""
    apart = np.linalg.norm(X[:, None] - X[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    cutoff = max(int(len(X) * threshold), min(max(5, len(X) // 10), len(X)))
    selections, scores = [], []
    for share in candidates:
        n = min(max(int(share * len(drawn) + 1e-9), 1), len(drawn) - 1)
        means = np.sort(apart[:, drawn], axis=1)[:, :n].mean(axis=1)
        selected = np.argsort(means, kind="stable")[:cutoff]
        queries = np.intersect1d(selected, drawn)
        scores.append(apart[np.ix_(queries, selected)].min(axis=1).mean() if len(queries) else 0)
        selections.append(np.isin(np.arange(len(X)), selected))
    best = np.argmax(scores) if criterion == "source" else np.argmin(scores)
    return selections[best]


@pytest.mark.parametrize("criterion", ["source", "compact"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.8])
def test_estimate_equals_plain_loops(criterion, threshold):
    candidates = (0.1, 0.2, 0.32)
    for seed in range(10):
        X = np.random.default_rng(seed).normal(size=(120, 3))
        drawn = np.sort(np.random.RandomState(seed).choice(120, 40, replace=False))
        selector = DensitySelector(candidates, criterion, sample_size=40, random_state=seed)
        found = selector.select(X, np.zeros(120, dtype=int), threshold)
        expected = plain_estimate(X, threshold, drawn, candidates, criterion)
        np.testing.assert_array_equal(found, expected)


def test_only_clusters_beyond_the_sample_size_are_estimated():
    X = np.random.default_rng(0).normal(size=(150, 3))
    labels = np.repeat([0, 1], [100, 50])
    exact = DensitySelector(sample_size=None).select(X, labels, 0.4)
    assert np.array_equal(DensitySelector(sample_size=100).select(X, labels, 0.4), exact)
    estimated = DensitySelector(sample_size=60).select(X, labels, 0.4)
    assert np.array_equal(estimated[labels == 1], exact[labels == 1])
    assert not np.array_equal(estimated, exact) and estimated.sum() == exact.sum()


@pytest.mark.parametrize("size", [2, 3, 7])
def test_estimate_with_few_drawn_samples_and_duplicates(size):
    X = np.repeat(np.random.default_rng(0).normal(size=(5, 2)), 10, axis=0)
    for criterion in ("source", "compact"):
        selector = DensitySelector(criterion=criterion, sample_size=size)
        for threshold in (0.0, 0.5, 1.0):
            found = selector.select(X, np.zeros(50, dtype=int), threshold)
            assert found.sum() == max(int(50 * threshold), 5)


def test_estimate_selects_about_what_the_exact_way_does():
    """With 256 of 4,000 samples drawn, over 90 % of the selected samples agree."""
    X = np.random.default_rng(0).normal(size=(4000, 16))
    exact, estimated = (
        DensitySelector((0.2,), sample_size=size).select(X, np.zeros(4000, dtype=int), 0.3)
        for size in (None, 256)
    )
    assert 0.9 < (exact & estimated).sum() / exact.sum() < 1


def test_time_of_large_clusters_grows_with_their_size(monkeypatch):
    n_distances = []

    def counted(points, queries=None, references=None):
        sizes = [len(points) if chosen is None else len(chosen) for chosen in (queries, references)]
        n_distances.append(sizes[0] * sizes[1])
        return squared_distance_blocks(points, queries, references)

    monkeypatch.setattr("skumc.curriculum._density.squared_distance_blocks", counted)
    for size in (1000, 4000):
        X = np.random.default_rng(0).normal(size=(size, 4))
        DensitySelector(sample_size=100).select(X, np.zeros(size, dtype=int), 0.3)
    assert sum(n_distances[2:]) < 4.5 * sum(n_distances[:2])


def test_memory_is_that_of_a_block(monkeypatch):
    """No array of all pairs is allocated."""
    monkeypatch.setattr("skumc.curriculum._geometry._BLOCK_BYTES", 2**20)
    X = np.random.default_rng(0).normal(size=(3000, 4))
    labels = np.zeros(3000, dtype=int)
    tracemalloc.start()
    try:
        DensitySelector(sample_size=None).select(X, labels, 0.9)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3000 * 3000 * 8 / 10
