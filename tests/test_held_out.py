"""Epochs compared by training samples that no loss sees: ``monitor__validation_fraction``."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score

from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.encoders import EncoderOutput
from skumc.model_selection import modality_agreement_score
from skumc.training import ModularityMonitor, Optimization
from skumc.training._held_out import HeldOut

SHORT = {"pretrain_epochs": 2, "max_epochs": 3, "batch_size": 32, "random_state": 0}


class Numbered(torch.nn.Module):
    """Reads the number of each sample, and remembers those that it trained on."""

    n_looks = 2  # at a few samples, for the memory that training takes

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(4))
        self.trained = set()

    def forward(self, batch):
        frames = next(iter(batch.values()))[0].float()
        if self.training and self.n_looks:
            self.n_looks -= 1
        elif self.training:
            self.trained |= set(frames[:, 0].long().tolist())
        angle = frames @ torch.full((1, 1), 0.01)
        h = torch.cat([angle.cos(), angle.sin(), angle.sin() ** 2, angle**3], dim=1) @ self.weight
        return EncoderOutput(
            torch.nn.functional.normalize(h, dim=-1), torch.ones(len(h), len(batch)), {}
        )


class Recording(ModularityMonitor):
    """Remembers what it was called with."""

    def __init__(self, tolerance=0.005, *, judge_start=True, validation_fraction=0.0):
        super().__init__(
            tolerance, judge_start=judge_start, validation_fraction=validation_fraction
        )
        self.calls = []

    def __call__(self, embedding, labels, graph, rows=None, agreement=0.0):
        score = super().__call__(embedding, labels, graph, rows, agreement)
        self.calls.append((labels, graph, rows, agreement, score))
        return score


def recorded(X, fraction, **parameters):
    fitted = UMCClusterer(
        3, monitor=Recording(validation_fraction=fraction), **SHORT | parameters
    ).fit(X)
    return fitted, fitted.monitor_.calls


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(120, 3, center_scale=3, random_state=0)[0]


def test_no_loss_sees_a_held_out_sample(no_trial):
    X = np.arange(60.0)[:, None]
    fitted = UMCClusterer(3, encoder=Numbered(), **SHORT | {"pairs": "neighbors"}).set_params(
        monitor=Recording(validation_fraction=0.25)
    )
    fitted.fit(X)
    rows = fitted.monitor_.calls[-1][2]
    assert len(rows) == 15
    assert fitted.encoder_.trained == set(range(60)) - set(rows.tolist())
    assert len(fitted.labels_) == len(fitted.embedding_) == 60
    everything = UMCClusterer(3, encoder=Numbered(), **SHORT).fit(X).encoder_.trained
    assert everything == set(range(60))


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_score_is_modularity_of_the_held_out_plus_agreement(missing):
    X, _ = make_multimodal_blobs(120, 3, center_scale=3, missing=missing, random_state=0)
    X = X[X.present.any(axis=1)]
    fitted, calls = recorded(X, 0.3)
    calls = calls[-(len(fitted.history_.phase("main")) + 1) :]  # without the trial call
    for labels, graph, rows, agreement, score in calls:
        assert len(rows) == round(0.3 * len(X)) and (np.diff(rows) > 0).all()
        by_name = []
        for near, there in graph.near_.values():
            same = [labels[i] == labels[j] for i in rows if there[i] for j in near[i] if there[j]]
            shares = [np.mean(labels[there] == k) for k in range(3)]
            by_name.append(np.mean(same) - sum(share**2 for share in shares))
        assert score == pytest.approx(np.mean(by_name) + agreement, abs=1e-9)
    kept = next(i for i, record in enumerate(fitted.history_.phase("main")) if record["restored"])
    rows, agreement = calls[kept + 1][2:4]
    assert fitted.history_.phase("main")[kept]["monitor"] == calls[kept + 1][4]
    assert agreement == pytest.approx(modality_agreement_score(fitted, X[rows]), abs=1e-9)
    assert agreement > 0.3


def test_agreement_is_the_mean_over_pairs(blobs):
    fitted, calls = recorded(blobs, 0.3)
    kept = next(i for i, record in enumerate(fitted.history_.phase("main")) if record["restored"])
    rows, agreement = calls[kept - len(fitted.history_.phase("main"))][2:4]
    alone = {
        name: fitted.predict(blobs[rows].with_absent(blobs.widths, [name])) for name in blobs.names
    }
    expected = [
        adjusted_mutual_info_score(alone[first], alone[second])
        for first, second in combinations(alone, 2)
    ]
    assert agreement == pytest.approx(np.mean(expected), abs=1e-9)


def test_a_single_modality_has_no_agreement(blobs):
    _, calls = recorded(blobs.select(["text"]), 0.3)
    assert all(agreement == 0.0 for *_, agreement, _ in calls)


def test_nothing_is_held_out_by_default(blobs):
    fitted, calls = recorded(blobs, 0.0)
    assert all(rows is None for _, _, rows, _, _ in calls)
    default = UMCClusterer(3, **SHORT).fit(blobs)
    assert default.embedding_.tobytes() == fitted.embedding_.tobytes()
    held = UMCClusterer(3, **SHORT).set_params(monitor__validation_fraction=0.3).fit(blobs)
    assert held.embedding_.tobytes() != default.embedding_.tobytes()


def test_same_seed_same_bits_also_after_a_stop(blobs, tmp_path):
    def fitted(folder=None, callbacks=None):
        optimization = Optimization(checkpoint_dir=folder)
        clusterer = UMCClusterer(3, optimization=optimization, callbacks=callbacks, **SHORT)
        return clusterer.set_params(monitor__validation_fraction=0.3)

    class Killed(BaseException):
        pass

    class Kill:
        def on_epoch_end(self, state, record):
            if state.phase == "main" and state.epoch == 1:
                raise Killed

    expected = fitted().fit(blobs)
    with pytest.raises(Killed):
        fitted(tmp_path, [Kill()]).fit(blobs)
    resumed = fitted(tmp_path).fit(blobs)
    assert resumed.embedding_.tobytes() == expected.embedding_.tobytes()
    assert resumed.history_[:, "monitor"] == expected.history_[:, "monitor"]


@pytest.mark.parametrize(
    ("fraction", "message"),
    [(0.01, "holds out 0 of 30"), (0.95, "at least n_clusters=3"), (1.0, "validation_fraction")],
)
def test_a_fraction_that_leaves_too_few_is_named(fraction, message):
    X = np.random.default_rng(0).normal(size=(30, 4))
    clusterer = UMCClusterer(3, **SHORT).set_params(monitor__validation_fraction=fraction)
    with pytest.raises(ValueError, match=message):
        clusterer.fit(X)


@given(
    n_samples=st.integers(1, 30),
    n_partners=st.integers(1, 6),
    fraction=st.floats(0.0, 0.9),
    seed=st.integers(0, 99),
)
def test_partners_are_trained_neighbors_in_their_order(n_samples, n_partners, fraction, seed):
    rng = np.random.RandomState(seed)
    partners = rng.randint(n_samples, size=(n_samples, n_partners))
    if round(fraction * n_samples) < 1:
        fraction = 0.0
    held_out = HeldOut(fraction, n_samples, 0, rng)
    assert len(held_out) == round(fraction * n_samples)
    assert sorted([*held_out.rows, *np.flatnonzero(held_out.is_trained)]) == list(range(n_samples))
    found = held_out.replace_in(partners)
    for i, row in enumerate(partners.tolist()):
        trained = [j for j in row if j not in set(held_out.rows.tolist())]
        expected = (
            [trained[p % len(trained)] for p in range(n_partners)] if trained else [i] * n_partners
        )
        assert found[i].tolist() == expected
    assert held_out.replace_in(None) is None
