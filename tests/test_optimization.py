"""Learning rates, steps and averages of weights."""

import numpy as np
import pytest
import torch
from torch import nn

from fitting import Rising
from skumc import UMCClusterer
from skumc.pseudo_labels import PropagatedLabels
from skumc.training import Optimization
from skumc.training._optimization import Stepper, learning_rate_factor


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


@pytest.mark.parametrize("decay", [0.5, 0.98])
def test_average_is_that_of_a_loop(decay):
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    bias = module.bias.clone()
    trained = stepper(module, averages=True, weight_averaging=decay, schedule="constant")
    half_square.module = module
    expected = module.weight.detach().numpy().astype(float)
    for step in range(40):
        trained.epoch([torch.randn(4, 3)], [4], half_square, 0, 1)
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * module.weight.detach().numpy()
        np.testing.assert_allclose(trained.averaged.weight.detach().numpy(), expected, atol=1e-5)
    assert trained.averaged is not module and torch.equal(trained.averaged.bias, bias)
    assert not torch.equal(trained.averaged.weight, module.weight)


def half_square(batch, scale):
    (scale * half_square.module(batch).square().mean() / 2).backward()


def test_buffers_of_the_average_are_those_of_the_model():
    module = nn.BatchNorm1d(3)
    trained = stepper(module, averages=True)
    half_square.module = module
    trained.epoch([torch.randn(20, 3) + 5], [20], half_square, 0, 1)
    assert module.running_mean.abs().min() > 0.1
    assert torch.equal(trained.averaged.running_mean, module.running_mean)


def test_without_decay_there_is_no_copy():
    module = nn.Linear(2, 2)
    assert stepper(module, averages=True, weight_averaging=0.0).averaged is module
    assert stepper(module, averages=False).averaged is module


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
