"""Scores of a clustering against true labels, compared with plain loops over the formulas."""

from itertools import combinations, permutations
from math import log, sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

from skumc.metrics import clustering_accuracy, clustering_scorer, clustering_scores

SCORE_NAMES = ["NMI", "ARI", "ACC", "FMI"]

# ---------------------------------------------------------------------------------------------
# Strategies and slow oracles
# ---------------------------------------------------------------------------------------------

any_labels = st.integers(-3, 3) | st.text(max_size=2) | st.booleans()


@st.composite
def labelings(draw, n_max=12, k_max=5):
    """Two lists of labels; half of the time the second starts as a renaming of the first."""
    n = draw(st.integers(1, n_max))
    y_true = draw(st.lists(st.integers(0, draw(st.integers(0, k_max - 1))), min_size=n, max_size=n))
    if draw(st.booleans()):
        names = draw(st.permutations(range(k_max)))
        y_pred = [names[label] for label in y_true]
        if draw(st.booleans()):
            y_pred[draw(st.integers(0, n - 1))] = draw(st.integers(0, k_max - 1))
    else:
        y_pred = draw(st.lists(st.integers(0, k_max - 1), min_size=n, max_size=n))
    return y_true, y_pred


def accuracy_by_permutations(y_true, y_pred):
    classes, clusters = sorted(set(y_true)), sorted(set(y_pred))
    # Surplus clusters are matched to None, which is not a class.
    classes += [None] * (len(clusters) - len(classes))
    best = 0
    for chosen in permutations(classes, len(clusters)):
        matching = dict(zip(clusters, chosen, strict=True))
        best = max(best, sum(matching[c] == y for y, c in zip(y_true, y_pred, strict=True)))
    return best / len(y_true)


def pair_counts(y_true, y_pred):
    together_both = together_pred = together_true = apart_both = 0
    for i, j in combinations(range(len(y_true)), 2):
        same_true, same_pred = y_true[i] == y_true[j], y_pred[i] == y_pred[j]
        together_both += same_true and same_pred
        together_pred += same_pred and not same_true
        together_true += same_true and not same_pred
        apart_both += not same_true and not same_pred
    return together_both, together_pred, together_true, apart_both


def is_same_partition(y_true, y_pred):
    _, together_pred, together_true, _ = pair_counts(y_true, y_pred)
    return together_pred == together_true == 0


def scores_by_loops(y_true, y_pred):
    n = len(y_true)
    tp, fp, fn, tn = pair_counts(y_true, y_pred)

    def entropy(labels):
        shares = [labels.count(label) / n for label in set(labels)]
        return -sum(share * log(share) for share in shares)

    both = list(zip(y_true, y_pred, strict=True))
    mean_entropy = (entropy(y_true) + entropy(y_pred)) / 2
    information = entropy(y_true) + entropy(y_pred) - entropy(both)

    n_pairs = n * (n - 1) / 2
    if fp == fn == 0:
        ari = 1.0
    else:
        by_chance = (tp + fp) * (tp + fn) / n_pairs
        ari = (tp - by_chance) / (((tp + fp) + (tp + fn)) / 2 - by_chance)
    return {
        "NMI": information / mean_entropy if mean_entropy else 1.0,
        "ARI": ari,
        "ACC": accuracy_by_permutations(y_true, y_pred),
        "FMI": tp / sqrt((tp + fp) * (tp + fn)) if tp else 0.0,
    }


@pytest.fixture
def blobs():
    return make_blobs(
        n_samples=90, centers=[[-9, 0], [0, 9], [9, 0]], cluster_std=1.0, random_state=0
    )


# ---------------------------------------------------------------------------------------------
# Laws
# ---------------------------------------------------------------------------------------------


@given(labelings())
def test_accuracy_equals_the_best_of_all_permutations(labels):
    assert clustering_accuracy(*labels) == accuracy_by_permutations(*labels)


@given(labelings())
def test_scores_equal_loops_over_the_formulas(labels):
    scores = clustering_scores(*labels)
    assert list(scores) == SCORE_NAMES
    assert scores == pytest.approx(scores_by_loops(*labels), abs=1e-9)


@given(labelings(), st.lists(any_labels, unique=True, min_size=10, max_size=10))
def test_renaming_labels_never_changes_a_score(labels, names):
    y_true, y_pred = labels
    true_names, pred_names = names[:5], names[5:]
    renamed = [true_names[label] for label in y_true], [pred_names[label] for label in y_pred]
    assert clustering_accuracy(*renamed) == clustering_accuracy(*labels)
    assert clustering_scores(*renamed) == pytest.approx(clustering_scores(*labels), abs=1e-12)


@given(labelings())
def test_scores_are_symmetric(labels):
    y_true, y_pred = labels
    assert clustering_accuracy(y_true, y_pred) == clustering_accuracy(y_pred, y_true)
    there, back = clustering_scores(y_true, y_pred), clustering_scores(y_pred, y_true)
    assert there == pytest.approx(back, abs=1e-12)


@given(labelings(), st.randoms(use_true_random=False))
def test_order_of_samples_never_changes_a_score(labels, random):
    pairs = list(zip(*labels, strict=True))
    random.shuffle(pairs)
    shuffled = clustering_scores(*zip(*pairs, strict=True))
    assert shuffled == pytest.approx(clustering_scores(*labels), abs=1e-12)


@given(labelings())
def test_scores_stay_within_their_bounds(labels):
    scores = clustering_scores(*labels)
    n_most = max(len(set(side)) for side in labels)
    assert all(type(score) is float for score in scores.values())
    assert 1 / n_most <= scores["ACC"] <= 1
    rounding = 1e-9
    assert -rounding <= scores["NMI"] <= 1 + rounding
    assert -0.5 - rounding <= scores["ARI"] <= 1 + rounding
    assert -rounding <= scores["FMI"] <= 1 + rounding


@given(labelings())
def test_accuracy_is_one_exactly_for_the_same_partition(labels):
    assert (clustering_accuracy(*labels) == 1.0) == is_same_partition(*labels)


@given(labelings())
def test_all_scores_are_one_for_the_same_partition(labels):
    y_true, _ = labels
    assume(len(set(y_true)) < len(y_true))  # FMI of singletons is 0.0 by convention
    scores = clustering_scores(y_true, [f"cluster {label}" for label in y_true])
    assert scores == pytest.approx(dict.fromkeys(SCORE_NAMES, 1.0), abs=1e-12)


@given(labelings())
def test_percent_is_a_hundred_times_the_share(labels):
    shares = clustering_scores(*labels)
    expected = {name: 100 * score for name, score in shares.items()}
    assert clustering_scores(*labels, percent=True) == pytest.approx(expected, abs=1e-12)


# ---------------------------------------------------------------------------------------------
# Cases
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y_pred, expected",
    [
        ([0, 0, 0, 0, 0, 0], 3 / 6),  # one cluster: the largest class
        ([0, 1, 2, 3, 4, 5], 3 / 6),  # singletons: one sample of each class
        ([0, 0, 1, 2, 2, 3], 5 / 6),  # more clusters than classes
        ([1, 1, 1, 0, 0, 0], 5 / 6),  # fewer
    ],
)
def test_accuracy_with_unequal_numbers_of_clusters(y_pred, expected):
    assert clustering_accuracy([7, 7, 7, 8, 8, 9], y_pred) == pytest.approx(expected)


def test_accuracy_of_many_samples_and_clusters():
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 300, 100_000)
    y_pred = (7 * y_true + 5) % 300
    y_pred[:10_000] = -1  # one more cluster, without a class
    assert clustering_accuracy(y_true, y_pred) == 0.9


@pytest.mark.parametrize(
    "y_true",
    [
        ["a", "a", "bc", "bc"],
        ("a", "a", "bc", "bc"),
        np.array(["a", "a", "bc", "bc"]),
        np.array([b"a", b"a", b"bc", b"bc"]),
        np.array([-5, -5, 3, 3], dtype=np.int8),
        np.array([200, 200, 3, 3], dtype=np.uint8),
        [0.5, 0.5, np.inf, np.inf],
        [True, True, False, False],
        [1, 1, "1", "1"],  # numpy alone would make these one label
        [[4], [4], [5], [5]],
        pd.Series(["a", "a", "bc", "bc"], index=[3, 3, 1, 0]),
        pd.Series(["a", "a", "bc", "bc"], dtype="category"),
        pd.Series([1, 1, -1, -1], dtype="Int64"),
        pd.to_datetime(["2020-01-01", "2020-01-01", "2021-01-01", "2021-01-01"]),
    ],
    ids=lambda y: f"{type(y).__name__} {getattr(y, 'dtype', type(y[0]).__name__)}",
)
def test_any_label_type(y_true):
    assert clustering_accuracy(y_true, [2, 2, -1, -1]) == 1.0
    assert clustering_accuracy([2, 2, -1, -1], y_true) == 1.0
    assert clustering_accuracy(y_true, [0, 0, 0, 1]) == 0.75


def test_inputs_are_left_as_they_were():
    y_true, y_pred = np.array([3, 3, 1]), np.array(["b", "a", "b"], dtype=object)
    clustering_scores(y_true, y_pred)
    assert y_true.tolist() == [3, 3, 1]
    assert y_pred.tolist() == ["b", "a", "b"]


# ---------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [clustering_accuracy, clustering_scores])
@pytest.mark.parametrize(
    "y_true, y_pred, message",
    [
        (
            [0, 1, 1],
            [0, 1],
            "Got 3 labels in y_true and 2 in y_pred, expected one of each per sample. "
            "Pass y_true and y_pred of equal length.",
        ),
        (
            [],
            [],
            "Got empty y_true and y_pred, expected at least one sample. Pass at least one label.",
        ),
        (
            [0, 1],
            np.eye(2),
            "Got y_pred of shape (2, 2), expected one label per sample, shape (n_samples,). "
            "Pass labels, not scores or one-hot rows.",
        ),
        (
            1,
            [1],
            "Got y_true of shape (), expected one label per sample, shape (n_samples,). "
            "Pass labels, not scores or one-hot rows.",
        ),
    ],
)
def test_impossible_labels_are_refused(score, y_true, y_pred, message):
    with pytest.raises(ValueError) as error:
        score(y_true, y_pred)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "labels",
    [
        ["a", None],
        [1.0, float("nan")],
        np.array([1.0, np.nan], dtype=np.float32),
        pd.Series([1, pd.NA], dtype="Int64"),
        ["a", pd.NA],
        np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"),
    ],
    ids=["None", "nan in a list", "nan", "NA", "NA in a list", "NaT"],
)
def test_missing_labels_are_refused(labels):
    with pytest.raises(ValueError) as error:
        clustering_accuracy([0, 1], labels)
    assert str(error.value) == (
        "Got y_pred with missing labels (None or NaN), expected one label per sample. Leave "
        "those samples out of both y_true and y_pred."
    )


# ---------------------------------------------------------------------------------------------
# As scikit-learn's scoring
# ---------------------------------------------------------------------------------------------


def test_scorer_scores_predict(blobs):
    X, y = blobs
    model = KMeans(3, n_init=1, random_state=0).fit(X[:60])
    expected = clustering_scores(y[60:], model.predict(X[60:]))
    assert clustering_scorer(model, X[60:], y[60:]) == expected


def test_scorer_without_labels_names_the_remedy(blobs):
    X, _ = blobs
    model = KMeans(3, n_init=1, random_state=0).fit(X)
    with pytest.raises(ValueError) as error:
        clustering_scorer(model, X)
    assert str(error.value) == (
        "Got y=None, expected true labels: clustering_scorer compares with them. Pass y, or use "
        "a scoring without labels."
    )


def test_scorer_serves_cross_validate(blobs):
    X, y = blobs
    folds = KFold(3, shuffle=True, random_state=0)
    results = cross_validate(
        KMeans(3, n_init=3, random_state=0),
        X,
        y,
        scoring=clustering_scorer,
        cv=folds,
        return_estimator=True,
        error_score="raise",
    )
    for fold, (_, test) in enumerate(folds.split(X)):
        expected = clustering_scores(y[test], results["estimator"][fold].predict(X[test]))
        assert {name: results[f"test_{name}"][fold] for name in SCORE_NAMES} == expected


@pytest.mark.parametrize("refit", SCORE_NAMES)
def test_scorer_serves_grid_search(blobs, refit):
    X, y = blobs
    search = GridSearchCV(
        KMeans(n_init=3, random_state=0),
        {"n_clusters": [2, 3, 5]},
        scoring=clustering_scorer,
        refit=refit,
        cv=KFold(3, shuffle=True, random_state=0),
        error_score="raise",
    ).fit(X, y)
    assert search.best_params_ == {"n_clusters": 3}
    assert {f"mean_test_{name}" for name in SCORE_NAMES} <= set(search.cv_results_)


def test_accuracy_serves_make_scorer(blobs):
    X, y = blobs
    search = GridSearchCV(
        KMeans(n_init=3, random_state=0),
        {"n_clusters": [2, 3, 5]},
        scoring=make_scorer(clustering_accuracy),
        cv=KFold(3, shuffle=True, random_state=0),
        error_score="raise",
    ).fit(X, y)
    assert search.best_params_ == {"n_clusters": 3}
    assert search.best_score_ == 1.0
