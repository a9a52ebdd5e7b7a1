"""Pairs of neighbors and of parts, as ``NeighborPairs`` shows them in training."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plain_encoder import make_batch, samples_of
from skumc import MultimodalData, UMCClusterer
from skumc.encoders import EncoderOutput, hide_modalities
from skumc.neighbors import NeighborGraph
from skumc.pairs._neighbor_pairs import draw_parts, draw_subset, show_by_sample

# views of parts


pytestmark = pytest.mark.usefixtures("no_trial")

there_masks = st.integers(0, 2**32 - 1).map(
    lambda seed: (
        (present := np.random.default_rng(seed).random((30, 1 + seed % 5)) < 0.6)
        | (np.arange(present.shape[1]) == seed % present.shape[1])
    )
)


@given(there_masks, st.integers(0, 99))
def test_parts_are_disjoint_not_empty_and_together_all(there, seed):
    first, second = draw_parts(there, np.random.RandomState(seed))
    assert first.any(axis=1).all() and second.any(axis=1).all()
    np.testing.assert_array_equal(first | second, there)
    several = there.sum(axis=1) > 1
    assert not (first & second)[several].any()
    np.testing.assert_array_equal(first[~several], there[~several])
    np.testing.assert_array_equal(second[~several], there[~several])


@given(there_masks, st.integers(0, 99))
def test_subset_is_not_empty_and_of_what_is_there(there, seed):
    subset = draw_subset(there, np.random.RandomState(seed))
    assert subset.any(axis=1).all() and not (subset & ~there).any()


def test_parts_and_subsets_are_drawn_evenly():
    there = np.tile([True, True, False, True], (9000, 1))
    rng = np.random.RandomState(0)
    first, second = draw_parts(there, rng)
    for part in (first, second):
        np.testing.assert_allclose(part.mean(axis=0), [0.5, 0.5, 0, 0.5], atol=0.03)
    # one at random, each other with probability 2/3
    expected = 1 / 3 + 2 / 3 * 2 / 3
    shown = draw_subset(there, rng).mean(axis=0)
    np.testing.assert_allclose(shown, expected * there[0], atol=0.03)


def same_samples(first, second):
    for one, other in zip(samples_of(first), samples_of(second), strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("visible", [("text",), ("audio", "video"), ("text", "audio", "video")])
def test_the_same_modalities_of_all_samples_are_those_of_a_view(visible):
    batch = make_batch(("text", "audio", "video"), complete=True)
    mask = torch.tensor([[name in visible for name in batch]] * 5)
    same_samples(show_by_sample(batch, mask), hide_modalities(batch, visible))


@given(st.integers(0, 999))
def test_each_sample_shows_what_its_mask_says(seed):
    batch = make_batch(("text", "audio", "video"), seed=seed)
    mask = torch.from_numpy(np.random.default_rng(seed).random((7, 3)) < 0.5)
    found = samples_of(show_by_sample(batch, mask))
    for sample, row, shown in zip(samples_of(batch), mask.tolist(), found, strict=True):
        kept = [name for name, is_shown in zip(batch, row, strict=True) if is_shown]
        assert shown.keys() == {name for name in sample if name in kept}
        assert all(torch.equal(values, sample[name]) for name, values in shown.items())


# what the loop shows


class Spy(torch.nn.Module):
    """Writes down, for each sample that it is shown in training, its number by modality."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3))
        self.calls = []

    def forward(self, batch):
        if self.training:
            self.calls.append([{n: int(x[0, 0]) for n, x in s.items()} for s in samples_of(batch)])
        h = []
        for sample in samples_of(batch):
            number = torch.stack([x.mean() for x in sample.values()]).mean().float()
            h.append(torch.cos(number * 0.1 + torch.arange(3)) + self.weight)
        h = torch.nn.functional.normalize(torch.stack(h), dim=-1)
        return EncoderOutput(h, torch.ones(len(h), 3) / 3, {})


class Nobody:
    """A selector that trusts no sample."""

    def select(self, X, labels, threshold):
        return np.zeros(len(X), dtype=bool)


class Everybody:
    def select(self, X, labels, threshold):
        return np.ones(len(X), dtype=bool)


def shown(monkeypatch, agreement, trusted=("a", "b", "c"), **parameters):
    """What a fit shows, call by call."""

    class Fixed(NeighborGraph):
        def build(self, data, summarize, anchor, rng, n_clusters=None):
            self.trusted_ = {name: name in trusted for name in data.names}
            self.agreement_ = agreement
            self.partners_ = (np.arange(len(data))[:, None] + 1) % 20
            self.prior_shares_ = [1.0] * len(data.names)
            return self

        def refresh(self, epoch, embedding):
            pass

        def draw(self, rows, rng):
            return (rows + 1) % 20  # the partner of each sample is the next one

    monkeypatch.setattr("skumc.training.MemoryEstimate.on_train_begin", lambda self, state: None)
    number = np.arange(20.0)[:, None]
    b = [None if i == 4 else row for i, row in enumerate(number)]
    c = number.copy()
    settings = {"pretrain_epochs": 0, "max_epochs": 0, "batch_size": 7, "random_state": 0}
    settings |= {"pseudo_labels": "selected", "neighbors": Fixed(), "monitor": "silhouette"}
    spied = UMCClusterer(2, encoder=Spy(), **settings | parameters).fit(
        MultimodalData({"a": number, "b": b, "c": c})
    )
    return spied.encoder_.calls


def pairs_of(calls):
    """Pairs of views of the same place: each call shows all first views, then all second ones."""
    pairs = []
    for call in calls:
        assert len(call) % 2 == 0
        pairs += zip(call[: len(call) // 2], call[len(call) // 2 :], strict=True)
    return pairs


def number_of(sample):
    (number,) = set(sample.values())
    return number


def names_of(number):
    return {"a", "c"} if number == 4 else {"a", "b", "c"}


PHASES = [{"pretrain_epochs": 12}, {"max_epochs": 12, "selector": Nobody(), "patience": None}]


@pytest.mark.parametrize("phase", PHASES, ids=["pretrain", "main"])
def test_where_modalities_agree_a_sample_meets_a_neighbor_as_far_as_trusted(monkeypatch, phase):
    pairs = pairs_of(shown(monkeypatch, agreement=1.0, trusted="ab", **phase))
    assert len(pairs) == 12 * 20
    for first, second in pairs:
        assert number_of(second) == (number_of(first) + 1) % 20
        for sample in (first, second):
            assert sample.keys() == names_of(number_of(sample)) - {"c"}


def test_where_they_do_not_pretraining_shows_parts_of_the_sample_with_nothing_in_common(
    monkeypatch,
):
    pairs = pairs_of(shown(monkeypatch, agreement=0.0, pretrain_epochs=12))
    assert len(pairs) == 12 * 20
    for first, second in pairs:
        assert number_of(first) == number_of(second)
        assert not first.keys() & second.keys()
        assert first.keys() | second.keys() == names_of(number_of(first))
    assert len({frozenset(first) for first, _ in pairs}) == 6


def test_where_they_do_not_the_loop_shows_parts_of_the_sample_and_of_a_neighbor(monkeypatch):
    pairs = pairs_of(shown(monkeypatch, agreement=0.0, **PHASES[1]))
    assert len(pairs) == 12 * 20
    for first, second in pairs:
        assert number_of(second) == (number_of(first) + 1) % 20
        for sample in (first, second):
            assert sample.keys() <= names_of(number_of(sample))
    assert len({frozenset(first) for first, _ in pairs}) == 7


@pytest.mark.parametrize("phase", PHASES, ids=["pretrain", "main"])
def test_parts_are_of_trusted_modalities_where_a_sample_has_any(monkeypatch, phase):
    pairs = pairs_of(shown(monkeypatch, agreement=0.0, trusted="b", **phase))
    for pair in pairs:
        for sample in pair:
            if number_of(sample) == 4:  # lacks the only trusted one
                assert sample.keys() <= {"a", "c"}
            else:
                assert sample.keys() == {"b"}


@pytest.mark.parametrize(
    ("trusted", "n_views", "alone"), [("abc", 4, "abc"), ("ac", 3, "ac"), ("b", 1, "")]
)
def test_the_supervised_branch_sees_the_whole_and_each_trusted_modality_alone(
    monkeypatch, trusted, n_views, alone
):
    calls = shown(
        monkeypatch,
        0.5,
        trusted,
        selector=Everybody(),
        max_epochs=2,
        patience=None,
        anchor="a",
        batch_size=20,
    )
    assert len(calls) == 2 * n_views
    for start in (0, n_views):
        views = calls[start : start + n_views]
        for whole in [views[0]] if alone else views:
            assert all(sample.keys() == names_of(number_of(sample)) for sample in whole)
        for view, name in zip(views[1:], alone, strict=False):
            for sample in view:
                left_with_nothing = name not in names_of(number_of(sample))
                expected = names_of(number_of(sample)) if left_with_nothing else {name}
                assert sample.keys() == expected
