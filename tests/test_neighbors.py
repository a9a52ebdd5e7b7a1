"""Neighbors, trust and agreement against plain loops, and the views that are made of them."""

import ast
import re
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_makers import make_sequences
from fitting import WITHOUT_NEIGHBORS
from skumc import MultimodalData, UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.metrics import clustering_scores
from skumc.neighbors import NeighborGraph
from skumc.neighbors._search import Block, nearest, standardized
from skumc.neighbors._trust import agreement, excess, judge
from skumc.training._embedding import summarize

CPU = torch.device("cpu")


def meet(X, anchor=None, seed=0, **settings):
    """Build the graph of samples whose summaries are the means of their frames."""
    X = X if isinstance(X, MultimodalData) else MultimodalData(X)
    graph = NeighborGraph(**settings)
    rng = np.random.RandomState(seed)
    return graph.build(X, lambda: summarize(torch.nn.Identity(), X, CPU), anchor or X.names[0], rng)


# the formulas, one pair of samples at a time


def squared_distance(blocks, i, j):
    """Sum over (values, present, weight) of the weighted squared distance, 2 where one lacks."""
    total = 0.0
    for values, present, weight in blocks:
        apart = sum((a - b) ** 2 for a, b in zip(values[i], values[j], strict=True))
        total += weight * (apart if present[i] and present[j] else 2.0)
    return total


def plain_block(X, name, weight=1.0):
    """Standardized means of the frames of those that have any, of mean squared norm 1."""
    frames = X.sequences(name)
    present = X.present[:, X.names.index(name)]
    means = np.array([frames[i].mean(axis=0) for i in np.flatnonzero(present)], dtype=float)
    deviation = means.std(axis=0)
    standard = (means - means.mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1)
    standard /= np.sqrt((standard**2).sum(axis=1).mean())
    values = np.zeros((len(X), standard.shape[1]))
    values[present] = standard
    return values.tolist(), present, weight


def plain_nearest(blocks, i, n_nearest):
    others = [j for j in range(len(blocks[0][0])) if j != i]
    return sorted(others, key=lambda j: squared_distance(blocks, i, j))[:n_nearest]


def assert_nearest(blocks, found):
    """``found`` are as near as the nearest there are: equally far ones may stand for each other."""
    for i, row in enumerate(found.tolist()):
        assert i not in row and len(set(row)) == len(row)
        expected = [squared_distance(blocks, i, j) for j in plain_nearest(blocks, i, len(row))]
        near = sorted(squared_distance(blocks, i, j) for j in row)
        np.testing.assert_allclose(near, expected, atol=1e-4)


def plain_trust(X, anchor):
    """Trust by the ten nearest samples, and by the nearest eighth where that is more."""
    blocks = {name: plain_block(X, name) for name in X.names}
    largest = dict.fromkeys(X.names, 0.0)
    for n_nearest in {min(10, max(len(X) // 4, 1)), max(len(X) // 8, 10)}:
        near = {
            name: torch.tensor([plain_nearest([block], i, n_nearest) for i in range(len(X))])
            for name, block in blocks.items()
        }
        for one, other in combinations(X.names, 2):
            both = torch.from_numpy(blocks[one][1] & blocks[other][1])
            found = excess([near[one], near[other]], both)
            largest = {
                name: max(most, found) if name in (one, other) else most
                for name, most in largest.items()
            }
    trust = {name: min(max((most - 3) / 1.5, 0), 1) for name, most in largest.items()}
    return trust | {anchor: max(trust[anchor], 1 - max(trust.values()))}


# nearest samples


@st.composite
def blocks_and_references(draw):
    """Blocks of whole numbers, so that there are duplicates and no distance is rounded."""
    n_samples = draw(st.integers(2, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    blocks = []
    for _ in range(draw(st.integers(1, 3))):
        values = rng.integers(-2, 3, (n_samples, draw(st.integers(1, 3)))).astype(np.float32)
        blocks.append((values, rng.random(n_samples) < 0.7, draw(st.sampled_from([0.25, 1.0]))))
    n_references = draw(st.integers(2, n_samples))
    references = np.sort(rng.choice(n_samples, n_references, replace=False))
    return blocks, references, draw(st.integers(1, n_references - 1))


@given(blocks_and_references(), st.integers(1, 9))
def test_nearest_are_those_of_a_loop_and_never_the_sample_itself(drawn, rows_at_once):
    blocks, references, n_nearest = drawn
    given_blocks = [Block(torch.from_numpy(v), torch.from_numpy(p), w) for v, p, w in blocks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skumc.neighbors._search._ROWS", rows_at_once)
        found = nearest(given_blocks, torch.from_numpy(references), n_nearest)
    for i, row in enumerate(found.tolist()):
        others = [j for j in references if j != i]
        assert set(row) <= set(others) and len(set(row)) == len(row) == n_nearest
        distances = sorted(squared_distance(blocks, i, j) for j in others)
        assert sorted(squared_distance(blocks, i, j) for j in row) == distances[:n_nearest]


@given(n=st.integers(1, 12), width=st.integers(1, 4), seed=st.integers(0, 999))
def test_scaled_features_have_deviation_one_before_the_block_is_shrunk(n, width, seed):
    rng = np.random.default_rng(seed)
    summary = rng.normal(5, rng.uniform(0.1, 9, width), (n, width)).astype(np.float32)
    summary[:, 0] = 7.0  # a feature that tells nothing
    present = rng.random(n) < 0.8
    found = standardized(torch.from_numpy(summary), torch.from_numpy(present)).numpy()
    assert (found[~present] == 0).all() and np.isfinite(found).all()
    if present.sum() < 2 or width == 1:
        np.testing.assert_allclose(found, 0, atol=1e-5)
        return
    seen = found[present]
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose((seen**2).sum(axis=1).mean(), 1, rtol=1e-4)
    np.testing.assert_allclose(seen[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(seen[:, 1:].std(axis=0), 1 / (width - 1) ** 0.5, rtol=1e-3)


@pytest.mark.parametrize("missing", [False, True])
def test_partners_are_nearest_in_the_joint_input(missing):
    X, _ = make_sequences(40, 2, missing=missing)
    graph = meet(X)
    assert graph.trusted_ == dict.fromkeys(X.names, True)
    blocks = [plain_block(X, name, 1 / 3) for name in X.names]
    assert graph.partners_.shape == (40, 5)
    assert_nearest(blocks, graph.partners_)


@pytest.mark.parametrize("missing", [False, True])
def test_update_adds_the_embedding_to_the_input_weighed_by_agreement(missing):
    X, _ = make_sequences(40, 2, missing=missing)
    graph = meet(X)
    before = graph.partners_
    embedding = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    graph.refresh(0, embedding)
    assert 0 < graph.agreement_ < 1
    blocks = [plain_block(X, name, graph.agreement_ / 3) for name in X.names]
    blocks.append((embedding.tolist(), np.ones(40, dtype=bool), 1.0))
    assert_nearest(blocks, graph.partners_)
    assert not np.array_equal(before, graph.partners_)


def test_order_of_samples_never_changes_neighbors():
    X, _ = make_sequences(40, 2)
    order = np.random.default_rng(0).permutation(40)
    first, second = meet(X), meet(X[order])
    np.testing.assert_array_equal(order[second.partners_], first.partners_[order])
    assert second.trusted_ == first.trusted_
    assert second.agreement_ == pytest.approx(first.agreement_)


@pytest.mark.parametrize("n_modalities", [1, 2])
@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_few_samples_have_all_others_as_neighbors(n_samples, n_modalities):
    values = np.random.default_rng(0).normal(size=(n_samples, 4))
    graph = meet({str(m): values + m for m in range(n_modalities)})
    for i, row in enumerate(graph.partners_.tolist()):
        assert sorted(row) == ([j for j in range(n_samples) if j != i] or [0])
    graph.refresh(0, values.astype(np.float32))
    rows = np.arange(n_samples)
    assert graph.draw(rows, np.random.RandomState(0)).shape == (n_samples,)
    assert 0 <= graph.agreement_ <= 1 and any(graph.trusted_.values())


def test_beyond_the_bound_neighbors_are_references_only(monkeypatch):
    monkeypatch.setattr("skumc.neighbors._graph._MAX_REFERENCES", 20)
    X, _ = make_sequences(60, 2, missing=True)
    graph = meet(X, seed=3, judge_trust=False)
    drawn = np.random.RandomState(3).choice(60, 20, replace=False)
    blocks = [plain_block(X, name, 1 / 3) for name in X.names if graph.trusted_[name]]
    assert len(blocks) == 3
    for embedding in (None, np.zeros((60, 2), dtype=np.float32)):
        if embedding is not None:
            graph.refresh(0, embedding)
        partners = graph.partners_
        assert partners.shape == (60, 5) and set(partners.ravel()) <= set(drawn)
        assert (partners != np.arange(60)[:, None]).all()
        for i, row in enumerate(partners):
            others = sorted(squared_distance(blocks, i, j) for j in drawn if j != i)
            near = sorted(squared_distance(blocks, i, j) for j in row)
            np.testing.assert_allclose(near, others[:5], atol=1e-4)


def test_draw_gives_each_neighbor_and_nobody_else():
    X, _ = make_sequences(30, 2)
    graph = meet(X)
    rows = np.array([3, 17, 3])

    def draw_often(seed):
        rng = np.random.RandomState(seed)
        return np.array([graph.draw(rows, rng) for _ in range(100)])

    drawn = draw_often(0)
    for place, row in enumerate(rows):
        assert set(drawn[:, place]) == set(graph.partners_[row])
    assert np.array_equal(drawn, draw_often(0))
    assert not np.array_equal(drawn, draw_often(1))


# trust


@pytest.mark.filterwarnings("ignore:The anchor modality")
@pytest.mark.parametrize("useless", [None, "text", "audio", "video"])
def test_a_modality_without_relation_to_others_is_not_trusted(useless):
    for seed in range(5):
        X, _ = make_multimodal_blobs(
            300, 4, lengths=(1, 5), uninformative=useless, random_state=seed
        )
        clusterer = UMCClusterer(4, pretrain_epochs=0, max_epochs=0, random_state=seed)
        found = clusterer.fit(X).trusted_modalities_
        assert found == {name: name != useless for name in X.names}, seed


def complementary_views(n_samples, seed):
    """Two views of four groups: one tells apart three of them, the other two."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 4, n_samples)
    return {
        "first": rng.normal(np.minimum(group, 2)[:, None], 0.4, (n_samples, 4)),
        "second": rng.normal(np.maximum(group, 2)[:, None], 0.4, (n_samples, 3)),
    }


def test_views_that_tell_apart_different_groups_are_trusted_for_their_wide_neighborhoods():
    found = [meet(complementary_views(500, seed)).trusted_ for seed in range(10)]
    assert all(all(trusted.values()) for trusted in found)


def test_trust_is_judged_by_a_sample_of_many(monkeypatch):
    judged = []

    def tell_the_same(near, both):
        judged.append((near[0].shape, len(both)))
        return 9.0

    monkeypatch.setattr("skumc.neighbors._trust.excess", tell_the_same)
    monkeypatch.setattr("skumc.neighbors._graph._MAX_JUDGED", 160)
    assert meet(complementary_views(500, 0)).trusted_ == {"first": True, "second": True}
    assert judged == [((160, 10), 160), ((160, 20), 160)]
    monkeypatch.undo()
    for seed in range(5):
        monkeypatch.setattr("skumc.neighbors._graph._MAX_JUDGED", 400)
        rng = np.random.default_rng(seed)
        X = complementary_views(1000, seed) | {"noise": rng.normal(size=(1000, 5))}
        assert meet(X).trusted_ == {"first": True, "second": True, "noise": False}


def test_a_modality_with_one_telling_frame_is_trusted_by_its_means(monkeypatch):
    from skumc.neighbors import _graph

    by_summaries_alone = _graph._looks
    for seed in (1, 2, 3):
        X, _ = make_multimodal_blobs(
            1000,
            6,
            modalities={"text": 16, "audio": 24},
            lengths={"text": 1, "audio": (20, 40)},
            n_informative_frames={"audio": 1},
            center_scale=1.75,
            noise={"text": 2.5},
            random_state=seed,
        )
        untrained = UMCClusterer(6, pretrain_epochs=0, max_epochs=0, random_state=0)
        assert untrained.fit(X).trusted_modalities_ == {"text": True, "audio": True}
        with monkeypatch.context() as patch:  # the means make the difference
            patch.setattr(_graph, "_looks", lambda *given: by_summaries_alone(*given)[:1])
            assert not untrained.fit(X).trusted_modalities_["audio"]


@pytest.mark.parametrize("anchor", ["text", "audio"])
def test_where_nothing_is_shared_the_anchor_is_alone(anchor):
    rng = np.random.default_rng(0)
    X = {name: rng.normal(size=(300, 6)) for name in ("text", "audio", "video")}
    graph = meet(X, anchor)
    assert graph.trusted_ == {name: name == anchor for name in X}
    assert graph.agreement_ == 1.0
    assert_nearest([plain_block(MultimodalData(X), anchor)], graph.partners_)


@pytest.mark.filterwarnings("ignore:The anchor modality")
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("n_samples", [48, 130])  # a narrow look; a wide one too
def test_trust_is_that_of_a_loop(n_samples, missing):
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        common = rng.normal(size=(n_samples, 3))
        cells = {}
        for name, coupling in zip("abc", rng.uniform(0, 1, 3), strict=True):
            values = coupling * common + (1 - coupling) * rng.normal(size=(n_samples, 3))
            cells[name] = [None if rng.random() < missing else row for row in values]
        X = MultimodalData(cells)
        X = X[X.present.any(axis=1)]
        graph = meet(X)
        found.append(graph.trust_)
        assert found[-1] == pytest.approx(plain_trust(X, "a"), abs=1e-6), seed
        assert graph.trusted_ == {name: trust >= 0.5 for name, trust in graph.trust_.items()}
    assert len({tuple(trust.values()) for trust in found}) > 2


@given(st.integers(4, 6), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_excess_is_that_over_all_permutations(n_samples, seed, share_missing):
    rng = np.random.default_rng(seed)
    both = rng.random(n_samples) >= share_missing * (n_samples > 4)
    near = [
        [rng.permutation(np.delete(np.arange(n_samples), i))[:2] for i in range(n_samples)]
        for _ in range(2)
    ]
    first, second = (
        np.array([[j in rows[i] for j in range(n_samples)] for i in range(n_samples)])[both][
            :, both
        ]
        for rows in near
    )
    n = int(both.sum())
    counts = [
        (first & second[np.ix_(order, order)]).sum() for order in permutations(range(n)) if n > 3
    ]
    expected = 0.0
    if n > 3 and np.std(counts) > 1e-6:
        expected = ((first & second).sum() - np.mean(counts)) / np.std(counts)
    found = excess([torch.tensor(np.array(rows)) for rows in near], torch.from_numpy(both))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.filterwarnings("ignore:The anchor modality")
def test_unrelated_modalities_rarely_share_more_than_chance():
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        hubs = rng.standard_t(2, size=(200, 6))  # some samples are near to many others
        X = {"a": hubs, "b": rng.normal(size=(200, 20)), "c": rng.exponential(size=(200, 1))}
        graph = meet(X)
        assert graph.trusted_ == {"a": True, "b": False, "c": False}, seed
        found.append(max(graph.trust_[name] for name in "bc"))
    assert np.mean(np.array(found) > 0) < 0.15


def trust_with(monkeypatch, excesses, anchor="a"):
    """Trust in a, b and c for given excesses of the pairs ab, ac and bc."""
    pairs = list(combinations("abc", 2))
    monkeypatch.setattr(
        "skumc.neighbors._trust._excesses", lambda blocks: zip(pairs, excesses, strict=True)
    )
    return judge([dict.fromkeys("abc")], anchor)


def test_trust_rises_steadily_with_what_is_shared(monkeypatch):
    before = trust_with(monkeypatch, [0.0, 0.0, 0.0])
    assert before == {"a": 1.0, "b": 0.0, "c": 0.0}
    for step in range(1, 500):
        trust = trust_with(monkeypatch, [step / 100, 0.0, step / 200])
        assert all(abs(trust[name] - before[name]) < 0.011 for name in trust), step
        before = trust
    assert before["a"] == before["b"] == 1.0
    assert trust_with(monkeypatch, [3.6, 0.0, 4.05]) == pytest.approx(
        {"a": 0.4, "b": 0.7, "c": 0.7}
    )
    assert trust_with(monkeypatch, [3.6, 0.0, 3.75]) == pytest.approx(
        {"a": 0.5, "b": 0.5, "c": 0.5}
    )
    assert trust_with(monkeypatch, [0.0, 0.0, 9.0]) == {"a": 0.0, "b": 1.0, "c": 1.0}


def test_graph_changes_steadily_with_trust(monkeypatch):
    X, _ = make_multimodal_blobs(80, 3, random_state=0)
    names = X.names

    def at(trust):
        monkeypatch.setattr("skumc.neighbors._graph.judge", lambda looks, anchor: dict(trust))
        return meet(X)

    full, half, none = (at({names[0]: 1.0, names[1]: t, names[2]: 0.0}) for t in (1.0, 0.5, 0.0))
    blocks = [plain_block(X, names[0], 2 / 3), plain_block(X, names[1], 1 / 3)]
    assert_nearest(blocks, half.partners_)
    assert half.prior_shares_ == pytest.approx([1.0, 0.55, 0.1])
    assert half.trusted_ == {names[0]: True, names[1]: True, names[2]: False}
    labels = np.random.default_rng(0).integers(0, 3, 80)
    alone = [meet(X.select([name])).modularity(labels) for name in names[:2]]
    assert half.modularity(labels) == pytest.approx((2 * alone[0] + alone[1]) / 3)
    assert none.agreement_ == 1.0
    assert full.agreement_ < 1.0
    barely = at({names[0]: 1.0, names[1]: 1e-6, names[2]: 0.0})
    assert barely.agreement_ == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(barely.partners_, none.partners_)


# agreement


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.floats(0, 1))
def test_agreement_equals_loop(seed, n_modalities, share_missing):
    rng = np.random.default_rng(seed)
    n_samples = int(rng.integers(3, 8))
    partners = rng.integers(0, n_samples, (n_samples, 2))
    near = rng.integers(0, n_samples, (n_modalities, n_samples, 3))
    present = rng.random((n_modalities, n_samples)) >= share_missing
    seen = []
    for i in range(n_samples):
        for j in partners[i]:
            common = [m for m in range(n_modalities) if present[m, i] and present[m, j]]
            if len(common) > 1:
                seen.append(sum(j in near[m, i] for m in common) > 1)
    found = agreement(
        torch.from_numpy(partners), list(torch.from_numpy(near)), list(torch.from_numpy(present))
    )
    assert found == pytest.approx(np.mean(seen) if seen else 1.0)


def test_agreement_is_one_for_one_modality_and_for_copies():
    values = np.random.default_rng(0).normal(size=(200, 5))
    assert meet({"only": values}).agreement_ == 1.0
    assert meet({"view": values, "copy": values, "scaled": 7 * values + 3}).agreement_ == 1.0


def test_agreement_is_high_for_noisy_copies_and_low_where_only_the_class_is_shared():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 5))
    copies = {name: values + 0.05 * rng.normal(size=values.shape) for name in "ab"}
    assert meet(copies).agreement_ > 0.8
    topic = np.arange(400) % 4
    classes = {name: np.eye(4)[topic] * 6 + rng.normal(size=(400, 4)) for name in "ab"}
    graph = meet(classes)
    assert all(graph.trusted_.values()) and graph.agreement_ < 0.5


def test_estimator_says_what_it_trusts_and_how_far_modalities_agree():
    X, _ = make_multimodal_blobs(120, 3, uninformative="audio", random_state=0)
    settings = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}
    fitted = UMCClusterer(3, **settings).fit(X)
    assert fitted.trusted_modalities_ == {"text": True, "audio": False, "video": True}
    assert fitted.modality_trust_ == {"text": 1.0, "audio": 0.0, "video": 1.0}
    assert 0 < fitted.agreement_ < 1
    # nothing has trained: gates stand where they started, a tenth of a share for the untrusted
    np.testing.assert_allclose(fitted.modality_weights(X), [[1 / 2.1, 0.1 / 2.1, 1 / 2.1]] * 120)
    other = UMCClusterer(3, **WITHOUT_NEIGHBORS, **settings).fit(X)
    assert all(other.trusted_modalities_.values()) and np.isnan(other.agreement_)
    np.testing.assert_allclose(other.modality_weights(X), 1 / 3, rtol=1e-6)


# settings


@pytest.mark.parametrize(("every", "n_searches"), [(None, 0), (1, 8), (2, 4), (3, 3)])
def test_neighbors_are_refreshed_every_so_many_epochs(monkeypatch, every, n_searches):
    searches = []
    search = NeighborGraph._search

    def spy(self, blocks, n_nearest):
        if len(blocks) == 4:  # three modalities, and the embedding
            searches.append(blocks[-1].values)
        return search(self, blocks, n_nearest)

    monkeypatch.setattr(NeighborGraph, "_search", spy)
    X, _ = make_sequences()
    settings = {"pretrain_epochs": 1, "max_epochs": 7, "patience": None, "random_state": 0}
    graph = NeighborGraph(refresh_every=every)
    fitted = UMCClusterer(2, neighbors=graph, **settings).fit(X)
    assert fitted.n_iter_ == 7 and len(searches) == n_searches  # from epoch 0
    assert all(h.shape == (24, 128) for h in searches)
    assert n_searches < 2 or not torch.equal(*searches[:2])
    assert not hasattr(graph, "partners_")  # the user's own stays as it was


@pytest.mark.parametrize("n_partners", [1, 3, 100])
def test_number_of_partners(n_partners):
    X, _ = make_sequences(40, 2)
    graph = meet(X, n_partners=n_partners)
    assert graph.partners_.shape == (40, min(n_partners, 39))
    blocks = [plain_block(X, name, 1 / 3) for name in X.names]
    assert_nearest(blocks, graph.partners_)


def test_trust_and_priors_are_settings():
    X, _ = make_multimodal_blobs(120, 3, uninformative="audio", random_state=0)
    settings = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}
    all_trusted = UMCClusterer(3, neighbors=NeighborGraph(judge_trust=False), **settings).fit(X)
    assert all_trusted.trusted_modalities_ == dict.fromkeys(X.names, True)
    np.testing.assert_allclose(all_trusted.modality_weights(X), 1 / 3, rtol=1e-6)
    other = UMCClusterer(3, neighbors=NeighborGraph(untrusted_share=0.5), **settings).fit(X)
    assert not other.trusted_modalities_["audio"]
    np.testing.assert_allclose(other.modality_weights(X), [[0.4, 0.2, 0.4]] * 120, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_partners", 0), ("refresh_every", 0), ("judge_trust", 3), ("untrusted_share", 0.0)],
)
def test_graph_checks_its_parameters(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of NeighborGraph"):
        UMCClusterer(2, neighbors=NeighborGraph(**{name: value})).fit(make_sequences()[0])


# weights


def nuisance(seed, n_samples=240):
    """Groups in the text; audio and duration share something else."""
    rng = np.random.default_rng(seed)
    topic, speaker = rng.integers(0, 6, n_samples), rng.integers(0, 4, n_samples)
    text = rng.normal(2.5 * rng.normal(size=(6, 10))[topic], 1.0)
    audio = rng.normal(4 * rng.normal(size=(4, 12))[speaker], 1.0)
    duration = rng.normal(4.0 * speaker, 0.5)[:, None]
    return {"text": text, "audio": audio, "duration": duration}, topic


def scores_of(X, topic, seed, **parameters):
    clusterer = UMCClusterer(6, random_state=seed).set_params(**parameters)
    return np.mean(list(clustering_scores(topic, clusterer.fit(X).labels_, percent=True).values()))


@pytest.mark.parametrize("seed", range(5))
def test_a_shared_nuisance_is_announced_and_a_weight_overrules_it(seed):
    X, topic = nuisance(seed)
    message = r"'text' is not trusted.*neighbors__modality_weight=(\{.*\}), or leave"
    with pytest.warns(RuntimeWarning, match=message) as caught:
        misled = scores_of(X, topic, seed)
    advice = ast.literal_eval(re.search(message, str(caught[0].message)).group(1))
    assert advice == {"text": 1.0, "audio": 0.0, "duration": 0.0}
    alone = scores_of({"text": X["text"]}, topic, seed)
    advised = scores_of(X, topic, seed, neighbors__modality_weight=advice)
    assert advised > alone - 3 > misled


def test_weights_shift_distances_gates_and_the_monitor():
    X, _ = make_multimodal_blobs(60, 3, random_state=0)
    first, second, third = X.names
    graph = meet(X, modality_weight={first: 2.0, third: 0.0})
    assert graph.trusted_ == {first: True, second: True, third: False}
    assert graph.prior_shares_ == pytest.approx([2.0, 1.0, 1e-7])
    blocks = [plain_block(X, first, 2 / 3), plain_block(X, second, 1 / 3)]
    assert_nearest(blocks, graph.partners_)
    labels = np.random.default_rng(0).integers(0, 3, 60)
    alone = [meet(X.select([name])).modularity(labels) for name in (first, second)]
    assert graph.modularity(labels) == pytest.approx((2 * alone[0] + alone[1]) / 3)
    fitted = UMCClusterer(3, neighbors=NeighborGraph(modality_weight={third: 0.0}))
    fitted.set_params(pretrain_epochs=0, max_epochs=0, random_state=0).fit(X)
    assert (fitted.modality_weights(X)[:, 2] < 1e-5).all()
    assert np.isfinite(fitted.transform({third: X.sequences(third)})).all()


def test_a_weight_of_one_trusts_without_judgment():
    X, _ = nuisance(0)
    graph = meet(X, "text", modality_weight={"text": 1.0})
    assert graph.trusted_ == {"text": True, "audio": True, "duration": True}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"txt": 1.0}, "modality_weight='txt'.*Did you mean 'text'"),
        ({"text": -1.0}, "finite numbers from 0. Change the weight of 'text'"),
        ({"audio": "2"}, "Change the weight of 'audio'"),
        ({"audio": True}, "Change the weight of 'audio'"),
        ({"audio": float("inf")}, "Change the weight of 'audio'"),
        ({"text": 0, "audio": 0, "duration": 0}, "no modality with a weight above 0"),
    ],
)
def test_impossible_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        meet(nuisance(0)[0], modality_weight=weights)
