"""Gradients of the losses in one step."""

import torch

from skumc.encoders import EncoderOutput
from skumc.training import GradientNorms
from skumc.training._losses import backward


def norms_of(report):
    hook, record = GradientNorms(), {}
    hook.on_train_begin(None)
    hook.on_step_end(None, report)
    hook.on_epoch_end(None, record)
    return {name.removeprefix("gradient_"): norm for name, norm in record.items()}


def outputs_of(parameter):
    embedding = torch.nn.functional.normalize(parameter, dim=-1)
    return [EncoderOutput(embedding, embedding.new_ones(len(embedding), 1), {})]


def test_backward_gives_the_gradient_of_the_weighted_sum():
    parameter = torch.randn(5, 3, requires_grad=True)
    weights = torch.randn(5, 3)
    terms = {"a": (2.0, lambda h: (h * weights).sum()), "b": (0.5, lambda h: h[:, 0].exp().sum())}
    report = backward(
        outputs_of(parameter),
        lambda copies: {k: (w, f(copies[0].embedding)) for k, (w, f) in terms.items()},
        scale=0.25,
    )
    found = parameter.grad.clone()
    h = outputs_of(parameter)[0].embedding
    total = 0.25 * sum(w * f(h) for w, f in terms.values())
    (expected,) = torch.autograd.grad(total, parameter)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(report["b"].loss, terms["b"][1](h).detach())


def test_gradient_that_unit_norm_cancels_counts_as_none():
    parameter = torch.randn(5, 3, requires_grad=True)
    report = backward(
        outputs_of(parameter),
        lambda copies: {"norm": (1.0, copies[0].embedding.square().sum())},
        keep_gradients=True,
    )
    assert norms_of(report)["norm"] < 1e-5 and parameter.grad.norm() < 1e-5
    (gradient,) = report["norm"].gradients  # before what unit norm cancels is taken off
    torch.testing.assert_close(gradient.gradient, 2 * gradient.value)


def test_loss_without_gradient_is_reported_and_moves_nothing():
    parameter = torch.randn(5, 3, requires_grad=True)
    report = backward(
        outputs_of(parameter),
        lambda copies: {"constant": (1.0, torch.tensor(3.0))},
        keep_gradients=True,
    )
    assert report["constant"] == (3.0, []) and not parameter.grad.any()
    assert norms_of(report) == {"constant": 0.0}


def test_gradients_are_kept_on_demand_only():
    parameter = torch.randn(5, 3, requires_grad=True)
    report = backward(
        outputs_of(parameter), lambda copies: {"sum": (1.0, copies[0].embedding.sum())}
    )
    assert report["sum"].gradients == [] and parameter.grad.any()


def test_parameters_of_losses_get_their_gradient():
    parameter, scale = torch.randn(5, 3, requires_grad=True), torch.nn.Parameter(torch.ones(()))
    for _ in range(2):  # gradients of two batches add up
        backward(
            outputs_of(parameter),
            lambda copies: {"scaled": (2.0, scale * copies[0].embedding.sum())},
            scale=0.5,
            loss_parameters=[scale],
        )
    total = outputs_of(parameter)[0].embedding.sum()
    torch.testing.assert_close(scale.grad, 2 * total.detach())
