"""Learning rates, steps and averages of weights."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from fitting import Rising
from skumc import UMCClusterer
from skumc.pseudo_labels import PropagatedLabels
from skumc.training import Optimization
from skumc.training._clustering import clustering_objective
from skumc.training._optimization import AveragedWeights, Stepper, learning_rate_factor


def test_learning_rate_rises_falls_and_ends_at_its_floor():
    rates = [learning_rate_factor(p, 0.1) for p in np.linspace(0.001, 1, 500)]
    peak = int(np.argmax(rates))
    assert abs(np.linspace(0.001, 1, 500)[peak] - 0.1) < 0.01 and max(rates) <= 1
    assert np.all(np.diff(rates[:peak]) > 0) and np.all(np.diff(rates[peak:]) < 0)
    assert rates[-1] == pytest.approx(0.01)
    assert learning_rate_factor(0.55, 0.1) == pytest.approx(0.505)
    assert learning_rate_factor(0.5, 0.0) == pytest.approx(0.505)
    assert learning_rate_factor(0.25, 1.0) == 0.25
    assert learning_rate_factor(0.55, 0.1, "linear") == pytest.approx(0.5)
    assert learning_rate_factor(1.0, 0.1, "constant") == 1.0


def stepper(module, learning_rate=0.1, averages=False, **parameters):
    defaults = {"optimizer": "sgd", "weight_decay": 0.0, "warmup_proportion": 0.0}
    settings = Optimization(**(defaults | {"schedule": "cosine"} | parameters))
    return Stepper(module, [], settings, learning_rate, 0.1, averages)


def train_mean_loss(batches, **parameters):
    module = torch.nn.Linear(3, 1, bias=False)
    torch.nn.init.ones_(module.weight)

    def backward(batch, scale):
        (scale * module(batch).square().mean()).backward()

    stepper(module, **parameters).epoch(batches, [len(b) for b in batches], backward, 0, 1)
    return module.weight.detach()


def test_accumulation_equals_the_larger_batch_for_additive_losses():
    rows = torch.randn(10, 3)
    whole = train_mean_loss([rows])
    parts = train_mean_loss([rows[:3], rows[3:]], accumulate_steps=2)
    torch.testing.assert_close(whole, parts)
    assert not torch.allclose(whole, train_mean_loss([rows[:3], rows[3:]]))


def test_clipping_bounds_each_value():
    rows = 100 * torch.ones(4, 3)
    rate = 0.1 * learning_rate_factor(1.0, 0.0)
    torch.testing.assert_close(
        train_mean_loss([rows], grad_clip=0.5), torch.ones(1, 3) - 0.5 * rate
    )


def test_a_step_without_any_gradient_is_not_clipped():
    module = nn.Linear(3, 1)
    before = module.weight.detach().clone()
    trained = stepper(module, grad_clip=0.5)
    trained.epoch([None], [4], lambda batch, scale: None, 0, 1)
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize("decay", [0.5, 0.98])
def test_average_is_that_of_a_loop(decay):
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    bias = module.bias.clone()
    average = AveragedWeights(module, decay)
    expected = module.weight.detach().numpy().astype(float)
    rng = np.random.default_rng(0)
    for step in range(40):
        weights = rng.normal(size=(2, 3)).astype(np.float32)
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(weights))
        average.update()
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * weights
    with average.in_place():
        np.testing.assert_allclose(module.weight.detach().numpy(), expected, atol=1e-5)
        assert torch.equal(module.bias, bias)
    np.testing.assert_array_equal(module.weight.detach().numpy(), weights)


def test_weights_come_back_after_an_error():
    module = nn.Linear(2, 2)
    average = AveragedWeights(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(7.0)
    with pytest.raises(KeyboardInterrupt), average.in_place():
        assert not (module.weight == 7).any()
        raise KeyboardInterrupt
    assert (module.weight == 7).all()


def test_without_decay_nothing_is_held():
    module = nn.Linear(2, 2)
    average = AveragedWeights(module, 0.0)
    before = module.weight.clone()
    average.update()
    with average.in_place():
        assert torch.equal(module.weight, before)


def half_square(batch, scale):
    (scale * half_square.module(batch).square().mean() / 2).backward()


@pytest.mark.parametrize("decay", [0.0, 0.98])
def test_a_step_waits_for_no_device(decay):
    meta = torch.device("meta")
    module = nn.Linear(3, 2).to(meta)
    optimization = Optimization(torch.optim.SGD, weight_averaging=decay)
    half_square.module = module
    rows = torch.ones(4, 3, device=meta)
    Stepper(module, [], optimization, 0.1, 0.1, True).epoch([rows] * 3, [4] * 3, half_square, 0, 1)


def test_nothing_of_a_phase_is_left():
    module = nn.Linear(3, 2)
    half_square.module = module
    enabled = gc.isenabled()
    gc.disable()
    try:
        trained = stepper(module, averages=True)
        trained.epoch([torch.randn(4, 3)], [4], half_square, 0, 1)
        left = weakref.ref(trained)
        del trained
        assert left() is None  # without the garbage collector
    finally:
        if enabled:
            gc.enable()


class Keeps(torch.nn.Module):
    """An encoder that keeps what it computed, and counts."""

    def __init__(self):
        super().__init__()
        self.linear, self.n_calls = torch.nn.Linear(4, 4), 0

    def forward(self, batch):
        self.n_calls += self.training
        frames, _ = batch["features"]
        self.last = self.linear(frames.float()) + 0.01 * self.n_calls
        h = torch.nn.functional.normalize(self.last, dim=1)
        return h, torch.ones(len(h), 1), {}


def test_modules_may_keep_tensors_and_state_of_their_own():
    X = np.random.default_rng(0).normal(size=(30, 4))
    settings = {"pretrain_epochs": 2, "max_epochs": 3, "random_state": 0}
    fitted = UMCClusterer(3, encoder=Keeps(), monitor=Rising(), **settings).fit(X)
    (record,) = [record for record in fitted.history_ if record.get("restored")]
    found = clustering_objective(fitted.embedding_, fitted.labels_, fitted.cluster_centers_)
    assert record["objective"] == pytest.approx(found["objective"], rel=1e-5)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_every_step_has_the_learning_rate_of_its_progress(schedule):
    module = torch.nn.Linear(3, 1, bias=False)
    trained = stepper(module, warmup_proportion=0.3, schedule=schedule)
    half_square.module, n_epochs = module, 4
    for epoch, n_batches in enumerate([3, 1, 5, 2]):  # epochs need not have equally many steps
        rates = []

        def backward(batch, scale, rates=rates):
            half_square(batch, scale)
            rates.append(trained.learning_rate)

        trained.epoch([torch.randn(2, 3)] * n_batches, [2] * n_batches, backward, epoch, n_epochs)
        rates = [*rates[1:], trained.learning_rate]
        expected = [
            0.1 * learning_rate_factor((epoch + (i + 1) / n_batches) / n_epochs, 0.3, schedule)
            for i in range(n_batches)
        ]
        assert rates == pytest.approx(expected, rel=1e-12)


def test_the_encoder_that_is_kept_has_the_average():
    rng = np.random.default_rng(0)
    X = {name: rng.normal(size=(40, 4)) for name in ("text", "audio")}

    def fit(averaging):
        settings = {"pretrain_epochs": 0, "max_epochs": 1, "batch_size": 40, "random_state": 0}
        taught = PropagatedLabels(min_confidence=0.0)  # one step, with all samples
        settings |= {"pseudo_labels": taught, "monitor": Rising()}
        settings["optimization"] = Optimization(warmup_proportion=0, weight_averaging=averaging)
        fitted = UMCClusterer(2, **settings).fit(X)
        assert fitted.history_[-1]["restored"]
        return torch.cat([p.detach().flatten() for p in fitted.encoder_.parameters()])

    start = UMCClusterer(2, pretrain_epochs=0, max_epochs=0, random_state=0).fit(X).encoder_
    start = torch.cat([p.detach().flatten() for p in start.parameters()])
    moved = fit(0.0)
    assert not torch.equal(moved, start)
    # d_0 = 1 / 10 of what there was
    torch.testing.assert_close(fit(0.98), 0.1 * start + 0.9 * moved)
