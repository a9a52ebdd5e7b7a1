"""Losses with weights or roles of their own."""

import copy
import inspect
import math
import pickle
from numbers import Integral

import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import Interval

from skumc import UMCClusterer
from skumc.losses import (
    ROLES,
    BaseLoss,
    InfoNCELoss,
    Role,
    SupConLoss,
    WeightedLosses,
    role_of,
)

rows = torch.ones(4, 8)

# Losses with weights of their own


class Prototypes(torch.nn.Module):
    """Distance to learned prototypes, an ordinary module."""

    reads = ("embedding",)

    def __init__(self, width=8):
        super().__init__()
        self.points = torch.nn.Parameter(torch.randn(3, width))

    def forward(self, embedding):
        return torch.cdist(embedding, self.points).min(dim=1).values.mean()


class PrototypeLoss(BaseLoss, torch.nn.Module):
    """The same as a BaseLoss, an estimator and a module at once."""

    reads = ("embedding",)
    _parameter_constraints = {"width": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, width=8):
        super().__init__()
        self.width = width
        self.points = torch.nn.Parameter(torch.randn(3, width))

    def __call__(self, embedding):
        return self._evaluate(embedding=embedding)

    def _compute(self, embedding):
        return torch.cdist(embedding, self.points).min(dim=1).values.mean()


MODULES = pytest.mark.parametrize("module_class", [Prototypes, PrototypeLoss])


@MODULES
@pytest.mark.parametrize("copied", [clone, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_module_losses_keep_their_weights(module_class, copied):
    module = module_class()
    random_state = torch.get_rng_state()
    for losses in (
        WeightedLosses(compactness=module, extra={"own": (0.5, module)}),
        WeightedLosses.from_mapping({"compactness": module, "own": (0.5, module)}),
    ):
        assert losses.get_params()["compactness"] is module
        terms = copied(losses).terms()
        for role in ("compactness", "own"):
            loss = terms[role][1]
            assert torch.equal(loss.points, module.points) and loss.points is not module.points
            assert role_of(role, loss) == Role("supervised", ("embedding",))
    assert torch.equal(torch.get_rng_state(), random_state)


@MODULES
def test_module_losses_get_gradients(module_class):
    loss = WeightedLosses(extra={"own": module_class()}).terms()["own"][1]
    loss(rows.clone().requires_grad_()).backward()
    assert loss.points.grad.abs().max() > 0


def test_estimator_and_module_without_base_loss_keeps_its_weights():
    class Both(Prototypes, BaseEstimator):
        pass

    module = Both()
    loss = WeightedLosses(compactness=module).terms()["compactness"][1]
    assert loss is not module and torch.equal(loss.points, module.points)


def test_module_losses_check_their_parameters():
    loss = PrototypeLoss().set_params(width=0)
    with pytest.raises(ValueError, match="'width' parameter of PrototypeLoss .* Got 0 instead"):
        loss(rows)


# Roles


def spread(embedding, labels):
    """A custom function in a role of its own."""
    return -embedding.var(dim=0).mean() + 0 * labels.sum()


spread.reads = ("embedding", "labels")


class Rest(InfoNCELoss):
    """A built-in loss in another step."""

    reads = ["views"]
    step = "rest"


def test_table_of_roles_agrees_with_the_signatures():
    for role, (_, loss) in WeightedLosses().terms().items():
        assert ROLES[role].reads == tuple(inspect.signature(loss).parameters)
        assert role_of(role, loss) == ROLES[role]
    steps = {role: step for role, (step, _) in ROLES.items()}
    assert steps == {
        "infonce": "pretrain",
        "supcon": "supervised",
        "contrastive": "rest",
        "compactness": "supervised",
        "separation": "supervised",
    }


def test_losses_may_have_roles_of_their_own():
    mapping = {"spread": spread, "separation": 0.5, "second": (0.25, Rest(0.1)), "off": (0, spread)}
    losses = WeightedLosses.from_mapping(mapping)
    terms = losses.terms()
    assert list(terms) == [*ROLES, "spread", "second", "off"]
    assert terms["spread"] == (1.0, spread)
    assert terms["separation"][0] == 0.5
    assert (terms["second"][0], terms["off"][0]) == (0.25, 0.0)
    assert terms["second"][1].temperature == 0.1
    assert role_of("spread", spread) == Role("supervised", ("embedding", "labels"))
    assert role_of("second", terms["second"][1]) == Role("rest", ("views",))
    assert terms["second"][1] is not mapping["second"][1]


def test_roles_of_their_own_survive_clone_and_nested_parameters():
    extra = {"spread": (0.5, spread), "second": Rest(0.1)}
    losses = WeightedLosses(extra=extra)
    assert losses.get_params()["extra"] is extra
    copied = clone(losses).set_params(supcon__temperature=0.7)
    terms = copied.terms()
    assert terms["spread"] == (0.5, spread)
    assert terms["second"][1].temperature == 0.1
    assert terms["supcon"][1].temperature == 0.7
    assert extra == {"spread": (0.5, spread), "second": extra["second"]}


def test_roles_of_their_own_survive_clone_of_the_clusterer():
    clusterer = UMCClusterer(losses={"spread": (0.5, spread), "supcon": 2.0})
    copied = clone(clusterer)
    assert copied.losses == clusterer.losses
    copied.set_params(losses__separation__margin=0.1)
    terms = copied.losses.terms()
    assert (terms["spread"], terms["supcon"][0]) == ((0.5, spread), 2.0)
    assert terms["separation"][1].margin == 0.1


def test_reads_of_a_loss_replace_the_inputs_of_a_built_in_role():
    losses = WeightedLosses(compactness=spread)
    assert role_of("compactness", losses.compactness) == Role("supervised", spread.reads)
    assert role_of("contrastive", Rest()) == Role("rest", ("views",))
    # The step of a built-in role is fixed.
    assert role_of("supcon", Rest()) == Role("supervised", ("views",))


def reading(reads, step="supervised"):
    """A loss with any ``reads`` and ``step``."""

    def loss(*inputs):
        return sum(inputs)

    loss.reads, loss.step = reads, step
    return loss


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        ({"own": len}, ValueError, "Got own.reads=None, expected"),
        ({"own": reading("views")}, ValueError, "Got own.reads='views', expected"),
        (
            {"own": reading(("center",))},
            ValueError,
            "Got own.reads='center', expected one of .*Did you mean 'centers'",
        ),
        (
            {"own": reading(("labels",), "rest")},
            ValueError,
            "Got own.reads='labels', expected one of 'views'",
        ),
        (
            {"own": reading(("views",), "training")},
            ValueError,
            "Got own.step='training', expected one of 'pretrain', 'rest'",
        ),
        ({"own": 2.0}, TypeError, "Got own=2.0, expected a callable or a tuple"),
        ({"own": (1.0, "supcon")}, TypeError, r"Got own=\(1.0, 'supcon'\), expected a callable"),
        ({"own": (1.0, spread, 2)}, ValueError, r"Got own=\(1.0, .*, 2\), expected a weight"),
        ({"own": Rest}, TypeError, r"Got own=Rest, a class, .*Pass Rest\(\)"),
        ({"own": (-1, spread)}, ValueError, "'own weight' parameter .* Got -1 instead"),
        ({"own": (math.nan, spread)}, ValueError, "'own weight' parameter .* Got nan instead"),
        ({"supcon": spread}, ValueError, "Got the extra role 'supcon', expected a string other"),
        ({"total": spread}, ValueError, "Got the extra role 'total', expected"),
        ({3: spread}, ValueError, "Got the extra role 3, expected"),
        ([spread], ValueError, "'extra' parameter of WeightedLosses must be"),
    ],
)
def test_extra_role_error_message(extra, error, message):
    with pytest.raises(error, match=message):
        WeightedLosses(extra=extra).terms()


def test_inputs_of_a_built_in_role_are_checked():
    with pytest.raises(ValueError, match="Got contrastive.reads='labels', expected one of 'views'"):
        WeightedLosses(contrastive=reading(("labels",))).terms()


def test_mapping_refuses_a_misspelled_role_with_a_built_in_loss():
    with pytest.raises(ValueError, match="Did you mean 'supcon'"):
        WeightedLosses.from_mapping({"supcn": (1.0, SupConLoss())})
