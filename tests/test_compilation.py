"""The encoder compiled by torch, or as it is where torch cannot."""

import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch

from data_makers import make_sequences
from skumc import UMCClusterer
from skumc.encoders import EncoderOutput, masked_mean

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


@pytest.fixture
def compiler(monkeypatch):
    """Stands for ``torch.compile``; counts what it is given and called."""
    counts = {"compiled": 0, "called": 0}

    def fake(function, *, dynamic):
        assert dynamic
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

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return value.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("no compiler")

    def fake(function, *, dynamic):
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
            if isinstance(found, torch.Tensor):
                return Broken.apply(found)
            return type(found)(Broken.apply(found[0]), *found[1:])

        return call

    monkeypatch.setattr(torch, "compile", fake)
    if when == "on the way back" and encoder == "projection":
        monkeypatch.setattr(
            "skumc.encoders.ProjectionNetwork.frame_maps", lambda self: iter(self.projections)
        )
    with pytest.warns(RuntimeWarning, match=r"runs as it is: no compiler\. Pass compile=False"):
        estimator = make(encoder, compile=True).fit(X)
    np.testing.assert_array_equal(estimator.embedding_, plain.embedding_)
    assert no_forward_of_its_own(estimator)


def test_an_error_of_the_fit_leaves_nothing_compiled(compiler):
    encoder = Mean()

    def fail(embedding, labels):
        raise ZeroDivisionError

    estimator = UMCClusterer(2, encoder=encoder, compile=True, monitor=fail, **SHORT)
    with pytest.raises(ZeroDivisionError):
        estimator.fit(data("own"))
    assert "forward" not in encoder.__dict__ and no_forward_of_its_own(estimator)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("encoder", ENCODERS)
def test_torch_compiles(encoder):
    X = data(encoder)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="torch.compile failed")
        estimator = make(encoder, compile=True).fit(X)
    assert np.isfinite(estimator.embedding_).all() and no_forward_of_its_own(estimator)
