"""Displays: their data against loops, the figures they make, and input that does not fit."""

import builtins
import itertools
import math
import sys
import types

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline

from data_makers import make_sequences
from skumc import MultimodalData, UMCClusterer
from skumc.model_selection import NClustersEstimate
from skumc.plotting import (
    AttentionDisplay,
    ClusterSizesDisplay,
    ContingencyDisplay,
    EmbeddingDisplay,
    GatesDisplay,
    NClustersDisplay,
    TrainingDisplay,
)
from skumc.plotting._style import point_style
from skumc.report import cluster_report

HISTORY = [
    {"phase": "start", "epoch": 0, "monitor": 0.1, "threshold": 0.05},
    {"phase": "pretrain", "epoch": 0, "loss_total": 3.0},
    {"phase": "pretrain", "epoch": 1, "loss_total": 2.0},
    {"phase": "main", "epoch": 0, "threshold": 0.1, "threshold_base": 0.2, "loss_supcon": None},
    {"phase": "main", "epoch": 1, "threshold": 0.3, "threshold_base": 0.4, "loss_supcon": 1.0},
    {"phase": "main", "epoch": 2, "threshold": 0.5, "threshold_base": 0.6, "restored": True},
]


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")  # of other tests
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def fitted():
    X, y = make_sequences(24, 2)
    parameters = {"pretrain_epochs": 1, "max_epochs": 2, "random_state": 0}
    return UMCClusterer(2, encoder="umc", **parameters).fit(X), X, y


def makers(fitted):
    """A function of ``ax`` for each kind of display, from the estimator where there is one."""
    clusterer, X, y = fitted
    return [
        lambda ax=None: EmbeddingDisplay.from_estimator(clusterer, X, method="pca", ax=ax),
        lambda ax=None: TrainingDisplay.from_estimator(clusterer, ax=ax),
        lambda ax=None: GatesDisplay.from_estimator(clusterer, X, ax=ax),
        lambda ax=None: AttentionDisplay.from_estimator(clusterer, X, ax=ax),
        lambda ax=None: ClusterSizesDisplay.from_estimator(clusterer, X, ax=ax),
        lambda ax=None: ContingencyDisplay.from_estimator(clusterer, X, y, ax=ax),
        lambda ax=None: NClustersDisplay.from_arrays([2, 3], [0.5, 0.4], chosen=2, ax=ax),
    ]


def test_without_axes_each_display_makes_one_figure(fitted):
    displays = [make() for make in makers(fitted)]
    assert len(plt.get_fignums()) == len(displays)
    for display in displays:
        axes = display.ax_ if isinstance(display.ax_, list) else [display.ax_]
        assert all(axis.figure is display.figure_ for axis in axes)
        display.figure_.canvas.draw()


def test_with_axes_no_other_figure_is_made(fitted):
    for make in makers(fitted):
        figure, ax = plt.subplots()
        display = make(ax)
        assert display.figure_ is figure and plt.get_fignums() == [figure.number]
        other, ax = plt.subplots()  # plot draws again, elsewhere
        assert display.plot(ax=ax) is display and display.figure_ is other
        other.canvas.draw()
        plt.close("all")


def test_failures_leave_no_figure(fitted):
    clusterer, X, _ = fitted
    calls = [
        (lambda: EmbeddingDisplay.from_predictions([1.0], [0]), "embedding of shape"),
        (lambda: EmbeddingDisplay.from_predictions([[1.0]], [0, 1]), "2 labels for 1 samples"),
        (lambda: EmbeddingDisplay.from_predictions([[1.0]], [0.5]), "whole numbers"),
        (lambda: EmbeddingDisplay.from_predictions([[1.0]], [0], method="best"), "'tsne'"),
        (lambda: GatesDisplay.from_predictions([[1.0]], [0], ["a", "b"]), "2 names for 1"),
        (lambda: GatesDisplay.from_predictions([[1.0]], [3], n_clusters=2), "at least 4"),
        (lambda: AttentionDisplay.from_arrays([[1.0]], ["a", "b"]), "2 words for 1 frames"),
        (lambda: AttentionDisplay.from_estimator(clusterer, X, modality="smell"), "'audio'"),
        (lambda: AttentionDisplay.from_estimator(clusterer, X, sample=24), "24 samples"),
        (lambda: ClusterSizesDisplay.from_predictions([0, 1], [0.5]), "2 labels"),
        (lambda: ContingencyDisplay.from_predictions(["a"], [0, 1]), "equal length"),
        (lambda: ContingencyDisplay.from_predictions(["a"], [-2]), "at least -1"),
        (lambda: NClustersDisplay.from_arrays([2, 3], [0.1]), "one score for each"),
        (lambda: NClustersDisplay.from_arrays([2], [0.1], interval=(3, 2)), "lowest, highest"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=message):
            call()
    kmeans = KMeans(2, n_init=1).fit([[0.0], [1.0]])
    with pytest.raises(TypeError, match="no gates"):
        GatesDisplay.from_estimator(kmeans, [[0.0], [1.0]])
    with pytest.raises(TypeError, match="without history_"):
        TrainingDisplay.from_estimator(kmeans)
    with pytest.raises(TypeError, match="no attention"):
        AttentionDisplay.from_estimator(kmeans, [[0.0], [1.0]])
    assert plt.get_fignums() == []


def test_umap_draws_what_the_package_gives(monkeypatch):
    class UMAP:
        def __init__(self, n_neighbors, random_state):
            self.n_neighbors, self.random_state = n_neighbors, random_state

        def fit_transform(self, X):
            assert 2 <= self.n_neighbors < len(X)
            return X[:, :2] * 3

    module = types.ModuleType("umap")
    module.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    embedding = np.random.default_rng(0).normal(size=(30, 4))
    display = EmbeddingDisplay.from_predictions(embedding, np.zeros(30, int), method="umap")
    np.testing.assert_allclose(display.points, embedding[:, :2] * 3)


def test_missing_packages_are_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError("no matplotlib")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match="requires matplotlib"):
        NClustersDisplay.from_arrays([2], [0.5])
    monkeypatch.undo()
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        EmbeddingDisplay.from_predictions(np.eye(9), np.zeros(9, int), method="umap")


def test_arrays_may_be_read_only_and_stay_as_they_are():
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=(30, 4)),
        rng.integers(-1, 3, 30),
        rng.random(30),
        np.arange(30) % 4,
        np.array([3, 2, 5]),
        np.array([0.1, 0.2, 0.3]),
    ]
    for array in arrays:
        array.setflags(write=False)
    before = [array.copy() for array in arrays]
    embedding, labels, doubt, y, candidates, scores = arrays
    EmbeddingDisplay.from_predictions(embedding, labels)
    GatesDisplay.from_predictions(np.abs(embedding), labels)
    AttentionDisplay.from_arrays(embedding)
    ClusterSizesDisplay.from_predictions(labels, doubt)
    ContingencyDisplay.from_predictions(y, labels)
    display = NClustersDisplay.from_arrays(candidates, scores)
    assert display.line_.get_xdata().tolist() == [2, 3, 5]
    assert display.line_.get_ydata().tolist() == [0.2, 0.1, 0.3]
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


@pytest.mark.parametrize("labels", [[0] * 6, [-1] * 6, [0, 0, 3, 3, 3, -1], [4, 0, 0, 0, 0, 0]])
def test_single_empty_and_missing_clusters(labels):
    rng = np.random.default_rng(0)
    EmbeddingDisplay.from_predictions(rng.normal(size=(6, 3)), labels, method="pca")
    gates = rng.random((6, 2))
    display = GatesDisplay.from_predictions(gates, labels, n_clusters=5)
    display.figure_.canvas.draw()
    for cluster in range(5):
        rows = [gates[i] for i in range(6) if labels[i] == cluster]
        expected = sum(rows) / len(rows) if rows else np.full(2, np.nan)
        assert np.allclose(display.mean_gates[cluster], expected, equal_nan=True)
    doubt = rng.random(6)
    sizes = ClusterSizesDisplay.from_predictions(labels, doubt, n_clusters=5)
    sizes.figure_.canvas.draw()
    assert sizes.sizes.tolist() == [labels.count(cluster) for cluster in range(5)]
    assert sizes.n_unassigned == labels.count(-1)
    assert np.isnan(sizes.doubt_quartiles).all(axis=1).tolist() == [s == 0 for s in sizes.sizes]
    ContingencyDisplay.from_predictions(["a", "b"] * 3, labels).figure_.canvas.draw()


# the embedding


def test_map_has_a_number_for_each_cluster_near_its_points():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 20)
    embedding = 20 * np.eye(12)[labels] + rng.normal(size=(240, 12))
    display = EmbeddingDisplay.from_predictions(embedding, labels)
    assert display.points.shape == (240, 2) and list(display.number_texts_) == list(range(12))
    for cluster, text in display.number_texts_.items():
        place = np.array(text.xy)
        distances = np.linalg.norm(display.points - place, axis=1)
        assert text.get_text() == str(cluster) and labels[distances.argmin()] == cluster


def test_map_is_repeatable_and_limited(fitted):
    clusterer, X, _ = fitted
    first = EmbeddingDisplay.from_estimator(clusterer, X, max_samples=10)
    again = EmbeddingDisplay.from_estimator(clusterer, X, max_samples=10)
    assert len(first.points) == 10 and np.array_equal(first.points, again.points)
    assert np.array_equal(first.labels, clusterer.predict(X[first.rows]))
    assert len(set(first.rows)) == 10
    pca = EmbeddingDisplay.from_estimator(clusterer, X, method="pca")
    centered = clusterer.embedding_ - clusterer.embedding_.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=False)[2][:2]
    assert np.allclose(np.abs(pca.points), np.abs(centered @ axes.T), atol=1e-4)


def test_map_leaves_out_samples_without_modality(fitted):
    clusterer, X, _ = fitted
    cells = {name: [None, *X.sequences(name)[:8]] for name in X.names}
    display = EmbeddingDisplay.from_estimator(clusterer, MultimodalData(cells))
    assert display.rows.tolist() == list(range(1, 9)) and (display.labels >= 0).all()


@pytest.mark.parametrize("n_samples, width", [(1, 1), (2, 3), (3, 1), (4, 1), (5, 2)])
def test_map_of_few_samples(n_samples, width):
    embedding = np.random.default_rng(0).normal(size=(n_samples, width))
    display = EmbeddingDisplay.from_predictions(embedding, np.arange(n_samples))
    assert display.points.shape == (n_samples, 2) and np.isfinite(display.points).all()
    same = EmbeddingDisplay.from_predictions(np.ones((n_samples, width)), np.arange(n_samples))
    assert (same.points == 0).all()


def test_styles_differ_in_marker_among_eight_and_as_pairs_among_64():
    styles = [point_style(cluster) for cluster in range(64)]
    assert len({(style["color"], style["marker"]) for style in styles}) == 64
    for first in range(0, 64, 8):
        assert len({style["marker"] for style in styles[first : first + 8]}) == 8


# training


def test_curves_are_those_of_the_records():
    display = TrainingDisplay.from_arrays(HISTORY)
    assert display.curves["threshold"] == ([0, 1, 2], [0.1, 0.3, 0.5])
    assert display.curves["its base curve"] == ([0, 1, 2], [0.2, 0.4, 0.6])
    assert display.curves["loss of pretraining"] == ([-2, -1], [3.0, 2.0])
    assert display.curves["loss supcon"] == ([1], [1.0])
    assert display.restored == 2
    upper, lower = display.ax_
    drawn = {line.get_label(): line for axis in (upper, lower) for line in axis.get_lines()}
    for name in ("threshold", "its base curve", "loss of pretraining", "loss supcon"):
        epochs, values = display.curves[name]
        assert drawn[name].get_xdata().tolist() == epochs
        assert drawn[name].get_ydata().tolist() == values
    assert "monitor" not in drawn  # no main epoch has it


def test_training_of_a_pipeline_and_of_no_epochs(fitted):
    clusterer, X, _ = fitted
    pipeline = make_pipeline("passthrough", clusterer)
    display = TrainingDisplay.from_estimator(pipeline)
    main = clusterer.history_.phase("main")
    assert display.curves["threshold"][1] == main[:, "threshold"]
    TrainingDisplay.from_arrays([]).figure_.canvas.draw()


# gates, attention, sizes


def test_gates_of_an_estimator_are_those_of_the_report(fitted):
    clusterer, X, _ = fitted
    display = GatesDisplay.from_estimator(clusterer, X)
    report = cluster_report(clusterer, X)
    expected = [list(summary.gates.values()) for summary in report.clusters]
    assert np.allclose(display.mean_gates, expected) and display.names == list(X.names)


def test_attention_is_the_mean_over_heads(fitted):
    clusterer, X, _ = fitted
    display = AttentionDisplay.from_estimator(clusterer, X, sample=3, modality="video")
    weights = clusterer.attention_weights(X)["video"][3]
    expected = [
        [sum(head[i][j] for head in weights) / len(weights) for j in range(weights.shape[2])]
        for i in range(weights.shape[1])
    ]
    assert np.allclose(display.weights, expected, atol=1e-6)
    assert np.allclose(display.im_.get_array(), expected, atol=1e-6)
    assert display.ax_.get_xlabel() == "frame of video"
    cells = {name: X.sequences(name) for name in X.names}
    cells["audio"][3] = None
    with pytest.raises(ValueError, match="'audio' is missing in sample 3"):
        AttentionDisplay.from_estimator(clusterer, MultimodalData(cells), sample=3)


def test_words_are_shown_literally_and_thinned_out():
    words = [f"$w_{i}$ & <b>" for i in range(90)]
    display = AttentionDisplay.from_arrays(np.ones((90, 3)) / 3, words)
    display.figure_.canvas.draw()  # dollar signs are not read as formulas
    shown = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert shown == [word.replace("$", r"\$") for word in words[::3]]


def test_sizes_and_quartiles_are_those_of_a_loop(fitted):
    clusterer, X, _ = fitted
    display = ClusterSizesDisplay.from_estimator(clusterer, X)
    report = cluster_report(clusterer, X)
    for cluster, summary in enumerate(report.clusters):
        doubts = sorted(d for d, k in zip(report.doubt, report.labels, strict=True) if k == cluster)
        assert display.sizes[cluster] == summary.size == len(doubts)
        for share, value in zip((0.25, 0.5, 0.75), display.doubt_quartiles[cluster], strict=True):
            place = share * (len(doubts) - 1)
            low, part = doubts[math.floor(place)], place % 1
            assert math.isclose(value, low + part * (doubts[math.ceil(place)] - low))
    widths = [bar.get_width() for bar in display.ax_[0].patches]
    assert widths == sorted(display.sizes.tolist(), reverse=True)


# contingency


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4))
def test_contingency_is_that_of_a_loop_and_its_matching_the_best(seed, n_classes, n_clusters):
    rng = np.random.default_rng(seed)
    y = [f"class {i}" for i in rng.integers(0, n_classes, 30)]
    labels = rng.integers(-1, n_clusters, 30).tolist()
    display = ContingencyDisplay.from_predictions(y, labels)
    plt.close(display.figure_)
    for i, name in enumerate(display.classes):
        for j, cluster in enumerate(display.clusters):
            pairs = zip(y, labels, strict=True)
            assert display.counts[i, j] == sum(pair == (name, cluster) for pair in pairs)
    assert sorted(display.classes) == sorted(set(y))
    assert sorted(display.clusters) == sorted(set(labels))
    assert -1 not in display.clusters[:-1]
    clusters = [cluster for cluster in display.clusters if cluster >= 0]
    n_matched = min(len(display.classes), len(clusters))
    diagonal = [display.counts[i, i] for i in range(n_matched)]
    assert diagonal == sorted(diagonal, reverse=True)
    counts = display.counts[:, : len(clusters)]
    counts = counts if len(display.classes) >= len(clusters) else counts.T
    best = max(
        (
            sum(counts[row, column] for column, row in enumerate(rows))
            for rows in itertools.permutations(range(len(counts)), counts.shape[1])
        ),
        default=0,
    )
    assert sum(diagonal) == best


def test_many_classes_have_no_numbers_in_cells():
    few = ContingencyDisplay.from_predictions(np.arange(30) % 3, np.arange(30) % 3)
    assert [text.get_text() for text in few.ax_.texts if text.get_text()] == ["10"] * 3
    many = ContingencyDisplay.from_predictions(np.arange(80) % 40, np.arange(80) % 40)
    assert not many.ax_.texts and len(many.ax_.get_xticklabels()) == 40


# the number of clusters


def test_number_and_interval_are_shown():
    display = NClustersDisplay.from_arrays(
        [2, 3, 4], [0.5, np.nan, 0.6], chosen=4, interval=(3, 4), score_name="stability"
    )
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["interval 3 to 4", "chosen: 4"] and display.ax_.get_ylabel() == "stability"
    (left, right) = (
        display.ax_.patches[0].get_extents().transformed(display.ax_.transData.inverted()).intervalx
    )
    assert left < 3 < 4 < right
    assert NClustersDisplay.from_arrays([2], [0.5]).ax_.get_legend() is None


def test_curve_of_an_estimate_is_drawn_as_it_is():
    numbers, stability = np.array([2, 3, 4]), np.array([0.5, 0.9, 0.8])
    found = NClustersEstimate(3, (3, 4), numbers, stability, np.zeros(3), 0.1)
    display = NClustersDisplay.from_estimator(found)
    assert display.line_.get_xdata().tolist() == [2, 3, 4]
    assert display.line_.get_ydata().tolist() == [0.5, 0.9, 0.8]
    assert (display.chosen, display.interval) == (3, (3, 4))
    clusterer = UMCClusterer("auto")
    clusterer.n_clusters_curve_ = found
    assert NClustersDisplay.from_estimator(clusterer).chosen == 3
    with pytest.raises(ValueError, match="without a curve.*auto"):
        NClustersDisplay.from_estimator(UMCClusterer(2))
