"""The default monitor: modularity on the input's neighbors, the untrained start, the last epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from data_makers import make_sequences
from fitting import WITHOUT_NEIGHBORS
from skumc import MultimodalData, UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.neighbors import NeighborGraph
from skumc.training import Callback, ModularityMonitor
from skumc.training._best import BestEpoch
from skumc.training._clustering import cluster_embedding
from skumc.training._embedding import summarize
from skumc.training._part_returns import count_distinct
from skumc.training._state import TrainingState

SHORT = {"pretrain_epochs": 2, "max_epochs": 3, "random_state": 0}


def graph_of(X):
    means = lambda: summarize(torch.nn.Identity(), X, torch.device("cpu"))  # noqa: E731
    return NeighborGraph().build(X, means, X.names[0], np.random.RandomState(0))


def plain_modularity(X, labels, n_nearest):
    """One sample and one neighbor at a time."""
    scores = []
    for name in X.names:
        there = np.flatnonzero(X.present[:, X.names.index(name)])
        rows = np.array([X.sequences(name)[i].mean(axis=0) for i in there])
        rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        near = NearestNeighbors(n_neighbors=n_nearest).fit(rows).kneighbors(return_distance=False)
        same = [labels[there[i]] == labels[there[j]] for i, row in enumerate(near) for j in row]
        shares = [np.mean(labels[there] == label) for label in set(labels[there].tolist())]
        scores.append(np.mean(same) - sum(share**2 for share in shares))
    return np.mean(scores)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("n_modalities", [1, 3])
def test_modularity_equals_a_loop(n_modalities, missing):
    X, y = make_multimodal_blobs(80, 4, missing=missing, random_state=1)
    X = X.select(X.names[:n_modalities])
    X = X[X.present.any(axis=1)]
    graph = graph_of(X)
    assert all(graph.trusted_.values())
    labels = np.random.default_rng(0).integers(0, 4, len(X))
    if missing:  # in a modality that is missing there, a sample has no distances to compare
        expected = np.mean([
            np.mean([
                labels[i] == labels[j]
                for i in np.flatnonzero(there)
                for j in near[i]
                if there[j]
            ]) - sum(np.mean(labels[there] == k) ** 2 for k in range(4))
            for near, there in graph.near_.values()
        ])  # fmt: skip
    else:
        expected = plain_modularity(X, labels, 10)
    assert graph.modularity(labels) == pytest.approx(expected, abs=1e-12)


def test_modularity_is_high_for_groups_and_nil_for_one_cluster_or_random_labels():
    X, y = make_multimodal_blobs(400, 4, random_state=0)
    graph = graph_of(X)
    assert graph.modularity(y) > 0.6
    assert graph.modularity(np.zeros(400, dtype=int)) == pytest.approx(0)
    assert abs(graph.modularity(np.random.default_rng(0).permutation(y))) < 0.02


def test_a_modality_of_one_sample_says_nothing():
    cells = [[1.0, 2.0]] + [None] * 11
    X = MultimodalData({"text": np.arange(24.0).reshape(12, 2), "audio": cells})
    graph = NeighborGraph(judge_trust=False)
    graph.build(
        X,
        lambda: summarize(torch.nn.Identity(), X, torch.device("cpu")),
        "text",
        np.random.RandomState(0),
    )
    labels = np.repeat([0, 1], 6)
    alone = graph_of(X.select(["text"])).modularity(labels)
    assert graph.modularity(labels) == pytest.approx(alone / 2)


@given(
    scores=st.lists(st.floats(-1, 1), min_size=1, max_size=12),
    tolerance=st.sampled_from([0.0, 0.005, 0.3]),
)
def test_the_last_epoch_within_the_tolerance_of_the_highest_is_kept(scores, tolerance):
    best, model = BestEpoch(tolerance), torch.nn.Linear(1, 1)
    state = TrainingState(model, None, None, None)
    state.centers, state.selected = np.zeros((1, 1)), np.ones(1, dtype=bool)
    state.labels, state.gates = np.zeros(1, dtype=np.int32), np.ones((1, 1))
    for epoch, score in enumerate(scores):
        best.keep_if_better(model, {"epoch": epoch, "monitor": score}, state)
    if tolerance:
        expected = [i for i, score in enumerate(scores) if score > max(scores) - tolerance][-1]
    else:
        expected = int(np.argmax(scores))  # the first of equal ones
    assert best.record["epoch"] == expected and best.highest == max(scores)


class Scripted(BaseEstimator):
    """Scores a list, the untrained start first."""

    needs_neighbors, judge_start, tolerance = True, True, 0.0

    def __init__(self, scores):
        self.scores = scores

    def __call__(self, embedding, labels, graph):
        assert graph.modularity(labels) <= 1
        return self.scores.pop(0)


def untrained(X, n_clusters=2):
    settings = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}
    return UMCClusterer(n_clusters, **settings).fit(X)


@pytest.mark.usefixtures("no_trial")
def test_a_fit_that_training_harms_returns_the_untrained_encoder_and_says_so():
    X, _ = make_sequences()
    monitor = Scripted([0.9, 0.1, 0.3, 0.2, 0.1])
    with pytest.warns(RuntimeWarning, match="monitor is 0.900 .* at most 0.300 .* learning_rate"):
        fitted = UMCClusterer(2, monitor=monitor, **SHORT).fit(X)
    assert [record["phase"] for record in fitted.history_ if record.get("restored")] == ["start"]
    np.testing.assert_array_equal(fitted.embedding_, untrained(X).embedding_)
    trained = UMCClusterer(2, **SHORT).set_params(monitor__judge_start=False).fit(X)
    assert not np.allclose(trained.embedding_, fitted.embedding_, atol=1e-3)
    assert trained.history_[0, "phase"] == "pretrain"


@pytest.mark.usefixtures("no_trial")
@pytest.mark.parametrize("scores", [[0.1, 0.2, 0.3, 0.4, 0.5], [0.4, 0.3, 0.35, 0.2, 0.2]])
def test_little_harm_costs_no_warning(scores):
    fitted = UMCClusterer(2, monitor=Scripted(list(scores)), **SHORT).fit(make_sequences()[0])
    (kept,) = [record for record in fitted.history_ if record.get("restored")]
    assert kept["monitor"] == max(scores)


@pytest.mark.usefixtures("no_trial")
def test_the_start_leaves_no_trace_in_training():
    X, _ = make_sequences(60, 3)
    seen = []

    class Thresholds(BaseEstimator):
        def update(self, epoch, n_epochs, performance, loss):
            seen.append((id(self), epoch, performance))
            return 0.3

    UMCClusterer(3, threshold=Thresholds(), **SHORT).fit(X)
    assert len(seen) == 1 + 4
    own = seen[-1][0]
    calls = [(epoch, score) for who, epoch, score in seen if who == own]
    assert [epoch for epoch, _ in calls] == [0, 1, 2, 3] and calls[0] == (0, None)


def test_without_pretraining_the_first_epoch_is_the_start():
    X, _ = make_sequences()
    fitted = UMCClusterer(2, **SHORT | {"pretrain_epochs": 0}).fit(X)
    assert set(fitted.history_[:, "phase"]) == {"main"}


class Collapsed(torch.nn.Module):
    """Gives one point until it is told that an epoch has passed."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3, 4))
        torch.manual_seed(0)
        self.register_buffer("map", torch.randn(3, 4))
        self.has_moved = False

    def forward(self, batch):
        from skumc.encoders import EncoderOutput, masked_mean

        frames, lengths = batch["audio"]
        mean = masked_mean(frames, lengths) @ (self.weight + self.map * self.has_moved)
        embedding = torch.nn.functional.normalize(mean + 1e-3 * torch.ones(4), dim=-1)
        return EncoderOutput(embedding, torch.ones(len(lengths), 1), {})


def test_an_untrained_encoder_without_distinct_points_is_no_candidate():
    X, _ = make_sequences()

    class Moves(Callback):
        def on_epoch_end(self, state, record):
            state.encoder.has_moved = True

    settings = {"encoder": Collapsed(), "callbacks": [Moves()]} | SHORT
    fitted = UMCClusterer(2, **settings).fit(X.select(["audio"]))
    assert "start" not in fitted.history_[:, "phase"]


@given(n_points=st.integers(1, 6), n_clusters=st.integers(1, 8), seed=st.integers(0, 5))
def test_distinct_points_are_counted_up_to_the_number_of_clusters(n_points, n_clusters, seed):
    rng = np.random.default_rng(seed)
    points = np.eye(n_points, 7)[[*range(n_points), *rng.integers(n_points, size=9)]]
    assert count_distinct(points, n_clusters) == min(n_points, n_clusters)


def test_of_the_starts_of_kmeans_the_one_rated_highest_is_kept():
    embedding = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    rated = []

    def rate(labels, inertia):
        centers = np.array([embedding[labels == k].mean(axis=0) for k in range(5)])
        expected = np.square(embedding - centers[labels]).sum()
        assert inertia == pytest.approx(expected, rel=1e-3)
        rated.append((inertia, labels))
        return inertia  # the worst one

    kmeans = KMeans(n_init=7, max_iter=500, tol=0)
    labels, _ = cluster_embedding(kmeans, embedding, 5, None, 3, rate)
    assert len(rated) == 7 and len({round(inertia, 4) for inertia, _ in rated}) > 1
    np.testing.assert_array_equal(labels, max(rated, key=lambda pair: pair[0])[1])
    rated.clear()
    cluster_embedding(kmeans, embedding, 5, embedding[:5], 3, rate)  # a warm start is no choice
    cluster_embedding(KMeans(n_init=1), embedding, 5, None, 3, rate)
    assert len(rated) == 1


def test_the_default_monitor_needs_a_graph():
    settings = {name: value for name, value in WITHOUT_NEIGHBORS.items() if name != "monitor"}
    with pytest.raises(ValueError, match="monitor need the neighbor graph.*monitor='silhouette'"):
        UMCClusterer(2, **settings).fit(make_sequences()[0])
    with pytest.raises(ValueError, match="'tolerance' parameter of ModularityMonitor"):
        UMCClusterer(2, monitor=ModularityMonitor(-1.0)).fit(make_sequences()[0])


@pytest.mark.parametrize(
    ("n_samples", "n_clusters", "expected"),
    [(1000, 4, 62), (1000, 2, 100), (1000, 100, 10), (20, 2, 5), (1000, None, 10)],
)
def test_neighborhoods_are_a_quarter_of_an_average_cluster(n_samples, n_clusters, expected):
    rows = np.random.default_rng(0).normal(size=(n_samples, 3))
    for X in ({"text": rows}, {"text": rows, "audio": rows + 0.01}):
        X = MultimodalData(X)
        means = lambda: summarize(torch.nn.Identity(), X, torch.device("cpu"))  # noqa: B023, E731
        rng = np.random.RandomState(0)
        graph = NeighborGraph().build(X, means, "text", rng, n_clusters=n_clusters)
        assert {near.shape for near, _ in graph.near_.values()} == {(n_samples, expected)}
        assert graph.partners_.shape == (n_samples, 5)


def test_a_fit_scores_neighborhoods_of_the_size_of_its_clusters():
    X, _ = make_multimodal_blobs(240, 3, random_state=0)
    seen = []

    class Looks(ModularityMonitor):
        def __call__(self, embedding, labels, graph):
            seen.append({near.shape for near, _ in graph.near_.values()})
            return super().__call__(embedding, labels, graph)

    UMCClusterer(3, monitor=Looks(), **SHORT).fit(X)
    assert seen[-1] == {(240, 20)}


def test_starts_of_kmeans_are_rated_by_modularity_and_inertia():
    labels = np.repeat([0, 1], 20)
    graph = graph_of(MultimodalData({"text": np.repeat([[0.0], [9.0]], 20, axis=0)}))
    rate = ModularityMonitor().rate_start
    assert rate(labels, 2.0, graph) == pytest.approx(np.log(graph.modularity(labels)) - np.log(2))
    assert np.isfinite(rate(np.zeros(40, dtype=int), 0.0, graph))


def test_a_fit_rates_the_starts_of_its_first_epochs_only():
    X, _ = make_sequences()
    rated = []

    class Rates(ModularityMonitor):
        def rate_start(self, labels, inertia, graph):
            rated.append((labels.copy(), graph.modularity(labels)))
            return super().rate_start(labels, inertia, graph)

    UMCClusterer(2, monitor=Rates(), **SHORT).fit(X)
    assert len([labels for labels, _ in rated if len(labels) == len(X)]) == 2 * 10


def test_the_start_does_not_refresh_the_neighbors():
    X, _ = make_sequences()
    refreshed = []

    class Watched(NeighborGraph):
        def refresh(self, epoch, embedding):
            refreshed.append(epoch)

    UMCClusterer(2, neighbors=Watched(), **SHORT).fit(X)
    assert refreshed == [0, 1, 2, 3]


@pytest.mark.usefixtures("no_trial")
def test_the_warning_is_given_only_where_the_untrained_encoder_is_kept():
    class Generous(Scripted):
        tolerance = 1.0

    monitor = Generous([0.9, 0.1, 0.3, 0.2, 0.1])  # all epochs are within the tolerance
    fitted = UMCClusterer(2, monitor=monitor, **SHORT).fit(make_sequences()[0])
    assert fitted.history_[-1, "restored"]


@pytest.mark.usefixtures("no_trial")
def test_an_interrupted_pretraining_is_clustered_even_if_the_start_was_judged():
    X, _ = make_sequences()

    class Stops(Callback):
        def on_epoch_end(self, state, record):
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="fit was interrupted after 0 of 3"):
        fitted = UMCClusterer(2, monitor=Scripted([0.1, 0.9]), callbacks=[Stops()], **SHORT).fit(X)
    assert [r["phase"] for r in fitted.history_ if r.get("restored")] == ["main"]


def test_a_graph_of_ones_own_without_modularity_is_refused_before_training():
    class Bare:
        def build(self, data, summarize, anchor, rng, n_clusters=None):
            raise AssertionError("built")

        def refresh(self, epoch, embedding):
            pass

    with pytest.raises(TypeError, match="neighbors=.*modularity"):
        UMCClusterer(2, neighbors=Bare()).fit(make_sequences()[0])
    with pytest.raises(AssertionError, match="built"):
        UMCClusterer(2, neighbors=Bare(), monitor="silhouette").fit(make_sequences()[0])
