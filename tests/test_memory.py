"""What training takes is told before it starts."""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from data_makers import make_sequences
from skumc import MultimodalData, UMCClusterer
from skumc.encoders import EncoderOutput
from skumc.text import TextModel
from skumc.training import Callback, MemoryEstimate, _memory
from skumc.training._memory import MemoryNeed, check_memory, memory_need
from text_models import pair

CPU = torch.device("cpu")


def settings():
    return SimpleNamespace(device=CPU, precision="float32")


SHORT = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}


@pytest.mark.parametrize("n_bytes", [0, 999, 1000, 1164, 1165, 5000, 10**7])
@pytest.mark.parametrize("per_sample", [0, 1, 100])
def test_largest_batch_is_the_last_that_fits(n_bytes, per_sample):
    need = MemoryNeed(fixed=1000, per_sample=per_sample, n_views=2)
    found = need.largest_batch(n_bytes)
    assert found == 0 or need.total(found) <= n_bytes
    assert need.total(found + 1) > n_bytes


class Known(torch.nn.Module):
    """Saves one array of 5 numbers a frame for the backward pass of each view, and no other."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(5))
        self.register_buffer("n_calls", torch.zeros(1))

    def forward(self, batch):
        self.n_calls += 1
        torch.rand(1)
        frames, lengths = batch["text"]
        rows = torch.randn(len(frames), 5).detach() * self.weight  # saves the left side
        h = torch.stack([part.sum(dim=0) for part in rows.split(lengths.tolist())])
        return EncoderOutput(h, torch.ones(len(h), 1), {})


def test_need_is_what_is_saved_for_the_longest_samples():
    X, _ = make_sequences(20, 2)
    X = X.select(["text"])
    encoder, before = Known(), torch.random.get_rng_state()
    longest = np.sort(X.lengths[:, 0])[-4:].sum()
    for n_views in (1, 3):
        need = memory_need(encoder, X, [("text",)] * n_views, settings())
        assert need.per_sample == max(2, n_views) * 5 * 4 * longest // 4
        assert need.fixed == 20 * (3 + 7) and need.n_views == max(2, n_views)
    assert float(encoder.n_calls) == 0  # the encoder and random numbers are as before
    assert torch.equal(torch.random.get_rng_state(), before)


def test_parameters_of_losses_count():
    X, _ = make_sequences(20, 2)
    X = X.select(["text"])
    losses = torch.nn.ModuleList([torch.nn.Linear(100, 10, bias=False)])
    plain = memory_need(Known(), X, [("text",)], settings())
    need = memory_need(Known(), X, [("text",)], settings(), losses)
    assert need.fixed == plain.fixed + 4000 * (3 + 7) and need.per_sample == plain.per_sample


def test_training_is_the_same_as_without_the_look(monkeypatch):
    X, _ = make_sequences(30, 3, missing=True)
    looked = UMCClusterer(3, **SHORT).fit(X)
    monkeypatch.setattr("skumc.training.MemoryEstimate.on_train_begin", lambda self, state: None)
    np.testing.assert_array_equal(UMCClusterer(3, **SHORT).fit(X).embedding_, looked.embedding_)


@pytest.mark.parametrize("encoder", ["projection", "umc", "causal"])
def test_too_little_memory_is_an_error_that_names_the_batch_size_that_fits(encoder):
    X, _ = make_sequences(60, 3)
    clusterer = UMCClusterer(3, encoder=encoder, batch_size=50, **SHORT)
    with pytest.raises(MemoryError, match=r"allowed by max_memory. batch_size=\d+ fits") as caught:
        limited(clusterer, bytes_for(clusterer, X, 20)).fit(X)
    fitting = int(str(caught.value).split("batch_size=")[1].split()[0])
    assert fitting == 20
    clusterer.set_params(batch_size=fitting).fit(X)  # under the same limit
    with pytest.raises(MemoryError, match="No batch size fits: .* for the weights"):
        limited(clusterer, 1).fit(X)


def limited(clusterer, n_bytes):
    return clusterer.set_params(callbacks=[MemoryEstimate(n_bytes)])


def bytes_for(clusterer, X, batch_size):
    """What the estimator's own measure says of batches of that many."""
    found = []

    def spy(need, largest, max_memory, device):
        found.append(need.total(batch_size))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skumc.training._memory.check_memory", spy)
        clusterer.fit(X)
    return found[0]


def test_more_than_is_free_is_a_warning_of_who_called(monkeypatch):
    X, _ = make_sequences(60, 3)
    monkeypatch.setattr(_memory, "free_memory", lambda device: 10_000)
    with pytest.warns(RuntimeWarning, match="free on the device. No batch size fits") as caught:
        UMCClusterer(3, **SHORT).fit(X)
    assert caught[0].filename == __file__
    monkeypatch.setattr(_memory, "free_memory", lambda device: None)  # it cannot be told
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        UMCClusterer(3, **SHORT).fit(X)


def test_a_small_set_is_judged_by_its_own_size():
    check_memory(MemoryNeed(0, 100, 2), 10, 10_000, CPU)
    with pytest.raises(MemoryError, match="with batches of 11 samples"):
        check_memory(MemoryNeed(0, 1000, 2), 11, 10_000, CPU)
    X, _ = make_sequences(12, 3)
    clusterer = UMCClusterer(3, batch_size=10_000, **SHORT)
    limited(clusterer, bytes_for(clusterer, X, 12)).fit(X)


def test_nothing_is_asked_where_nothing_trains():
    X, _ = make_sequences(12, 3)
    limited(UMCClusterer(3, pretrain_epochs=0, max_epochs=0, random_state=0), 1).fit(X)


class Operations(TorchDispatchMode):
    """Names of the operations of torch that run inside."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.add(operation.overloadpacket._qualified_op_name)
        return operation(*args, **(kwargs or {}))


def operations_of_training(encoder, X):
    """Operations of the steps, without those of the frozen layers and of the first look."""
    found = Operations()

    class Steps(Callback):
        def on_train_begin(self, state):
            found.__enter__()

        def on_train_end(self, state):
            found.__exit__(None, None, None)

    text = TextModel(pair(), n_trainable_layers=1)
    parts = {"text": text, "encoder": encoder, "callbacks": [Steps()], "device": "cpu"}
    UMCClusterer(3, **parts, **SHORT).fit(X)
    return found.names


@pytest.mark.parametrize("encoder", ["projection", "umc", "causal"])
def test_training_leaves_nothing_in_the_cache_of_shapes(encoder):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["sea", "ship", "wheel", "road"], 4)) + f" {i}" for i in range(30)]
    X = MultimodalData({"text": texts, "audio": rng.normal(size=(30, 4))})
    names = operations_of_training(encoder, X)
    assert "aten::erf_" in names and "aten::gelu" not in names  # the latter is oneDNN's


def test_flags_of_torch_stay_as_they_are():
    code = (
        "import numpy as np, torch; from skumc import UMCClusterer;"
        "torch.backends.disable_global_flags();"
        "X = np.random.default_rng(0).normal(size=(30, 4));"
        "seen = [];"
        "look = lambda h, y: seen.append(torch.backends.mkldnn.enabled) or 0.0;"
        f"UMCClusterer(3, monitor=look, **{SHORT}).fit(X);"
        "assert all(seen) and torch.backends.mkldnn.enabled"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
