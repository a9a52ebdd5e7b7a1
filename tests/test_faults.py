"""Faults in the middle of a fit: losses that are not finite, memory, loaders, workers."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from data_makers import make_sequences
from fitting import WITHOUT_NEIGHBORS, Rising
from skumc import UMCClusterer
from skumc.encoders import EncoderOutput
from skumc.model_selection import UnsupervisedSearchCV
from skumc.pairs import ModalityPairs, NeighborPairs
from skumc.training import Callback, Optimization, _steps
from skumc.training._faults import StepMemoryError, is_out_of_memory
from skumc.training._prefetch import one_ahead

SHORT = {"pretrain_epochs": 3, "max_epochs": 3, "random_state": 0}


def make(**parameters):
    return UMCClusterer(2).set_params(**(SHORT | parameters))


def columns(fitted, name):
    return [record.get(name) for record in fitted.history_ if record["phase"] != "start"]


# a loss that is not finite


class Breaks:
    """A contrastive loss that is not finite at some of its calls."""

    def __init__(self, *at, value=float("nan")):
        self.at, self.value = at, value

    calls = 0  # of the class: a state that no repetition takes back

    def __call__(self, views):
        type(self).calls += 1
        loss = (views[:, 0] - views[:, 1]).square().mean()
        return loss * self.value if type(self).calls in self.at else loss


@pytest.fixture(autouse=True)
def first_call(no_trial):
    Breaks.calls = 0


def test_an_epoch_with_a_loss_that_is_not_finite_is_repeated_at_half_the_rate():
    X, _ = make_sequences()
    rates = {"optimization__warmup_proportion": 0, "pretrain_learning_rate": 0.004}
    plain = make(losses={"infonce": Breaks()}, **rates).fit(X)
    Breaks.calls = 0
    with pytest.warns(RuntimeWarning, match="The loss 'infonce' became nan in pretrain epoch 1.*"):
        fitted = make(losses={"infonce": Breaks(2)}, **rates).fit(X)
    assert columns(fitted, "phase") == columns(plain, "phase")
    assert columns(fitted, "epoch") == columns(plain, "epoch")
    assert columns(fitted, "learning_rate")[:3] == [0.004, 0.002, 0.002]
    assert columns(fitted, "learning_rate")[3:] == columns(plain, "learning_rate")[3:]
    # the state before the epoch: its loss is that of the first try
    assert columns(fitted, "loss_infonce")[:2] == columns(plain, "loss_infonce")[:2]
    assert columns(fitted, "loss_infonce")[2] != columns(plain, "loss_infonce")[2]
    assert np.isfinite(fitted.embedding_).all()
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)


def test_a_main_epoch_is_repeated_with_its_clustering():
    X, _ = make_sequences()
    settings = {"pseudo_labels": "selected", "pretrain_epochs": 1, "monitor": Rising()}
    plain = make(losses={"contrastive": Breaks()}, **settings).fit(X)
    Breaks.calls = 0
    with pytest.warns(RuntimeWarning, match="'contrastive' became inf in main epoch 1.*half the"):
        fitted = make(losses={"contrastive": Breaks(2, value=torch.inf)}, **settings).fit(X)
    for name in ("monitor", "threshold", "selected_share", "within", "phase"):
        assert columns(fitted, name)[:3] == columns(plain, name)[:3]
    assert fitted.n_iter_ == plain.n_iter_ == 3
    assert sum(bool(record.get("restored")) for record in fitted.history_) == 1


def test_a_loss_that_stays_infinite_is_an_error_that_names_it():
    X, _ = make_sequences()
    clusterer = make(losses={"infonce": Breaks(2, 3)})
    with (
        pytest.warns(RuntimeWarning, match="half the learning rate"),
        pytest.raises(FloatingPointError, match="'infonce' became nan in pretrain epoch 1.*halved"),
    ):
        clusterer.fit(X)
    assert not hasattr(clusterer, "encoder_")


def test_the_rate_is_halved_once_in_a_fit():
    X, _ = make_sequences()
    settings = {"losses": {"infonce": Breaks(1), "contrastive": Breaks(6)}}
    with (
        pytest.warns(RuntimeWarning, match="half the learning rate"),
        pytest.raises(FloatingPointError, match="'contrastive' became nan in main epoch"),
    ):
        make(pseudo_labels="selected", **settings).fit(X)


def test_weights_that_are_not_finite_after_the_last_step_are_seen_at_once():
    X, _ = make_sequences()
    calls = []

    class Spoils(Callback):
        def on_step_end(self, state, reports):
            calls.append(state.epoch)
            if len(calls) == 2:
                next(p for p in state.encoder.parameters() if p.grad is not None).grad[:] = (
                    torch.inf
                )

    with pytest.warns(RuntimeWarning, match="The weights stopped being finite in pretrain epoch 1"):
        fitted = make(callbacks=[Spoils()]).fit(X)
    assert calls[:4] == [0, 1, 1, 2] and np.isfinite(fitted.embedding_).all()


# memory


class Linear(torch.nn.Module):
    """An encoder whose output for a sample does not depend on the batch, for which room is small.

    It fails in training on more than ``most`` samples, after it has changed the gradients.
    """

    def __init__(self, most=10**9, error=MemoryError):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.eye(5, 4) + 0.1)
        self.most, self.error, self.sizes = most, error, []

    def forward(self, batch):
        frames, lengths = batch["text"]
        owner = torch.arange(len(lengths)).repeat_interleave(lengths)
        h = torch.zeros(len(lengths), 4).index_add(0, owner, frames.float() @ self.weights)
        if self.training:
            self.sizes.append(len(h))
            if len(h) > self.most and len(self.sizes) > 2:  # after the look at a few samples
                self.weights.grad = torch.full_like(self.weights, 100.0)
                raise self.error("no room")
        return EncoderOutput(torch.nn.functional.normalize(h, dim=1), torch.ones(len(h), 1), {})


class Pull:
    """A mean over samples: additive."""

    def __call__(self, views):
        return (views - 1).square().sum(dim=-1).mean()


def small(encoder, **parameters):
    X = make_sequences(25)[0].select(["text"])
    settings = {
        **WITHOUT_NEIGHBORS,
        "supervised_views": "full",
        "losses": {"infonce": Pull(), "contrastive": Pull(), "supcon": 0.0, "compactness": 0.0}
        | {"separation": 0.0},
        "pairs": "dropout",
        "pairs__dropout": 1e-9,
        "optimization": Optimization("sgd", weight_decay=0, weight_averaging=0.5),
        "batch_size": 13,
        "learning_rate": 0.1,
        "pretrain_learning_rate": 0.1,
    }
    return X, make(encoder=encoder, **settings | parameters)


ERRORS = {
    "python": MemoryError,
    "gpu": torch.cuda.OutOfMemoryError,
    "cpu": lambda text: RuntimeError(f"DefaultCPUAllocator: not enough memory: {text}"),
}


@pytest.mark.parametrize("error", ERRORS)
def test_a_batch_without_room_is_cut_and_accumulated_to_the_same_size(error):
    X, plain = small(Linear())
    plain.fit(X)
    X, tight = small(Linear(4, ERRORS[error]))
    with pytest.warns(RuntimeWarning, match="did not suffice.*no room") as caught:
        tight.fit(X)
    assert [f"batch_size={n}" in str(w.message) for w, n in zip(caught, (7, 4), strict=True)]
    assert "accumulate_steps=4" in str(caught[1].message)
    trained = [size for size in tight.encoder_.sizes[2:] if size <= 4]
    assert max(trained) == 4 and min(trained) >= 2
    # the loss is a mean over samples, so that accumulating changes only the rounding
    torch.testing.assert_close(tight.encoder_.weights, plain.encoder_.weights, rtol=0, atol=1e-5)
    np.testing.assert_allclose(tight.embedding_, plain.embedding_, atol=1e-5)
    np.testing.assert_array_equal(tight.labels_, plain.labels_)
    moved = plain.encoder_.weights - Linear().weights
    assert moved.abs().max() > 0.005  # with gradients of another size the weights would differ


def test_where_two_samples_have_no_room_the_error_of_the_step_is_raised():
    X, clusterer = small(Linear(1))
    with (
        pytest.warns(RuntimeWarning, match="Memory did not suffice"),
        pytest.raises(MemoryError, match="no room"),
    ):
        clusterer.fit(X)
    assert not hasattr(clusterer, "encoder_")


def test_other_errors_of_a_step_are_not_taken_for_a_lack_of_memory():
    X, clusterer = small(Linear(4, RuntimeError))
    with pytest.raises(RuntimeError, match="no room"):
        clusterer.fit(X)
    assert not is_out_of_memory(RuntimeError("memory format")) and is_out_of_memory(MemoryError())
    assert not issubclass(StepMemoryError, MemoryError)


# loaders


class FailingPairs(ModalityPairs):
    def sample(self, rows, phase, rng):
        if phase == "main":
            raise ZeroDivisionError("the loader is broken")
        return super().sample(rows, phase, rng)


@pytest.mark.parametrize("in_thread", [False, True])
def test_an_error_of_the_loader_reaches_the_caller_and_nothing_hangs(in_thread, monkeypatch):
    if in_thread:  # as for a GPU

        def ahead(load, plans, device):
            yield from one_ahead(load, plans)

        monkeypatch.setattr(_steps, "loaded", ahead)
    X, before = make_sequences(60)[0], threading.active_count()
    clusterer = make(batch_size=8, pairs=FailingPairs(), pseudo_labels="selected")
    with pytest.raises(ZeroDivisionError, match="the loader is broken"):
        clusterer.fit(X)
    assert threading.active_count() == before and not hasattr(clusterer, "encoder_")


def test_a_loader_ahead_has_ended_before_an_epoch_is_repeated(monkeypatch):
    seen = []

    def ahead(load, plans, device):
        def slowly(plan):
            time.sleep(0.01)
            return load(plan)

        yield from one_ahead(slowly, plans)

    monkeypatch.setattr(_steps, "loaded", ahead)
    restore = _steps.TrainingSteps.train
    before = threading.active_count()

    def train(self, *arguments):
        seen.append(threading.active_count())
        return restore(self, *arguments)

    monkeypatch.setattr(_steps.TrainingSteps, "train", train)
    X, tight = small(Linear(7), pretrain_epochs=1, max_epochs=0)
    with pytest.warns(RuntimeWarning, match="Memory did not suffice"):
        tight.fit(X)
    assert seen == [before, before]
    monkeypatch.undo()
    X, again = small(Linear(7), pretrain_epochs=1, max_epochs=0)
    with pytest.warns(RuntimeWarning, match="Memory did not suffice"):
        again.fit(X)
    assert again.embedding_.tobytes() == tight.embedding_.tobytes()


# workers of a search


class KillsItsWorker(NeighborPairs):
    """Ends its process, like the kernel's out-of-memory killer, while a file is there."""

    def __init__(self, trigger="", hard=False, trusted_only=True):
        super().__init__()
        self.trigger, self.hard, self.trusted_only = trigger, hard, trusted_only

    def prepare(self, data, anchor, graph):
        if self.hard and os.path.exists(self.trigger):
            time.sleep(3)  # the other candidates have finished
            os.kill(os.getpid(), signal.SIGKILL)
        super().prepare(data, anchor, graph)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_killed_worker_ends_a_search_and_finished_fits_are_kept(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 4))
    trigger = tmp_path / "trigger"
    trigger.write_text("")
    clusterer = UMCClusterer(3, pairs=KillsItsWorker(str(trigger)), random_state=0)
    clusterer.set_params(pretrain_epochs=1, max_epochs=1)
    grid = {"learning_rate": [1e-3, 2e-3], "pairs__hard": [False, True]}
    settings = {"random_state": 0, "memory": tmp_path / "memory", "n_jobs": 2}
    with pytest.raises(TerminatedWorkerError, match="terminated"):
        UnsupervisedSearchCV(clusterer, grid, **settings).fit(X)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "memory").rglob("*.json")}
    assert kept
    trigger.unlink()
    UnsupervisedSearchCV(clusterer, grid, **settings).fit(X)
    found = {path: path.stat().st_mtime_ns for path in (tmp_path / "memory").rglob("*.json")}
    assert kept.items() < found.items()  # the same files, and those that were missing
