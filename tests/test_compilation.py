"""The encoder compiled by torch, or as it is where torch cannot."""

import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch

from data_makers import make_sequences
from skumc import UMCClusterer
from skumc.encoders import EncoderOutput, UMCEncoder, masked_mean

SHORT = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}


class Mean(torch.nn.Module):
    """An encoder of one's own, of which nothing but calling is known."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(5, 3)

    def forward(self, batch):
        h = self.linear(masked_mean(*batch["text"]).float())
        return EncoderOutput(torch.nn.functional.normalize(h, dim=1), torch.ones(len(h), 1), {})


ENCODERS = ["projection", "umc", "causal", "own"]


def make(encoder, **parameters):
    torch.default_generator.manual_seed(0)
    spec = Mean() if encoder == "own" else encoder
    return UMCClusterer(2, encoder=spec, **SHORT | parameters)


def data(encoder):
    X, _ = make_sequences(20, 2)
    return X.select(["text"]) if encoder == "own" else X


def no_forward_of_its_own(estimator):
    return not any("forward" in module.__dict__ for module in estimator.encoder_.modules())


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no compiler")


def broken(found):
    """What a module gives, with no way back."""
    if isinstance(found, torch.Tensor):
        return Broken.apply(found)
    parts = [Broken.apply(found[0]), *found[1:]]
    return tuple(parts) if type(found) is tuple else type(found)(*parts)


@pytest.fixture
def compiler(monkeypatch):
    """Stands for ``torch.compile``; counts what it is given and called."""
    counts = {"compiled": 0, "called": 0}

    def fake(function, *, dynamic, isolate_recompiles):
        assert dynamic and isolate_recompiles  # or views share a limit and soon stop
        counts["compiled"] += 1

        def call(*inputs, **named):
            counts["called"] += 1
            return function(*inputs, **named)

        return call

    monkeypatch.setattr(torch, "compile", fake)
    return counts


@pytest.mark.parametrize("encoder", ENCODERS)
def test_compiled_code_is_used_within_fit_only(encoder, compiler):
    X = data(encoder)
    plain = make(encoder).fit(X)
    assert compiler == {"compiled": 0, "called": 0}
    estimator = make(encoder, compile=True).fit(X)
    assert 0 < compiler["compiled"] < compiler["called"]
    np.testing.assert_array_equal(estimator.embedding_, plain.embedding_)
    assert no_forward_of_its_own(estimator)
    n_called = compiler["called"]
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_allclose(again.transform(X), estimator.embedding_, atol=1e-6)
    assert compiler["called"] == n_called


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("when", ["at once", "called", "later", "on the way back"])
def test_where_it_fails_the_encoder_runs_as_it_is(encoder, when, monkeypatch):
    X = data(encoder)
    plain = make(encoder).fit(X)
    n_calls = 0

    def fake(function, **_):
        if when == "at once":
            raise RuntimeError("no compiler")

        def call(*inputs, **named):
            nonlocal n_calls
            n_calls += 1
            if when == "called" or (when == "later" and n_calls > 4):
                raise RuntimeError("no compiler\nand many more lines")
            found = function(*inputs, **named)
            if when != "on the way back":
                return found
            return broken(found)

        return call

    monkeypatch.setattr(torch, "compile", fake)
    with pytest.warns(RuntimeWarning, match=r"runs as it is: no compiler\. Pass compile=False"):
        estimator = make(encoder, compile=True).fit(X)
    np.testing.assert_array_equal(estimator.embedding_, plain.embedding_)
    assert no_forward_of_its_own(estimator)


@pytest.mark.parametrize("place", ["contrastive_projector", "clustering_projector"])
def test_the_way_back_from_every_space_is_tried(place, monkeypatch):
    """A space that only a loss reads: where its way back fails, that is known before training."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda x: broken(function(x)))
    monkeypatch.setattr(
        "skumc.encoders.UMCNetwork.frame_maps", lambda self: self.projectors.values()
    )
    encoder = UMCEncoder(hidden_width=8, n_heads=2, **{place: True})
    with pytest.warns(RuntimeWarning, match="runs as it is: no compiler"):
        UMCClusterer(2, encoder=encoder, compile=True, **SHORT).fit(data("umc"))


def test_an_error_of_the_fit_leaves_nothing_compiled(compiler):
    def fail(embedding, labels):
        raise ZeroDivisionError

    estimator = make("own", compile=True, monitor=fail)
    with pytest.raises(ZeroDivisionError):
        estimator.fit(data("own"))
    assert compiler["called"] and no_forward_of_its_own(estimator)


def test_a_module_gets_its_own_forward_back(compiler):
    class Assigned(Mean):
        def __init__(self):
            super().__init__()
            self.forward = self.compute

        def compute(self, batch):
            return Mean.forward(self, batch)

    estimator = UMCClusterer(2, encoder=Assigned(), compile=True, **SHORT).fit(data("own"))
    assert compiler["called"]
    assert estimator.encoder_.__dict__["forward"].__name__ == "compute"


def test_nothing_is_compiled_where_nothing_trains(compiler):
    make("umc", compile=True, pretrain_epochs=0, max_epochs=0).fit(data("umc"))
    assert compiler == {"compiled": 0, "called": 0}


def test_an_interrupt_while_compiling_leaves_a_fitted_estimator(monkeypatch):
    def interrupted(function, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "compile", interrupted)
    X = data("umc")
    with pytest.warns(RuntimeWarning, match="interrupted after 0 of 1 main epochs"):
        estimator = make("umc", compile=True).fit(X)
    assert len(estimator.predict(X)) == len(X) and no_forward_of_its_own(estimator)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("encoder", ENCODERS)
def test_torch_compiles(encoder):
    X = data(encoder)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="torch.compile failed")
        estimator = make(encoder, compile=True).fit(X)
    assert np.isfinite(estimator.embedding_).all() and no_forward_of_its_own(estimator)
