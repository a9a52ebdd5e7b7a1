"""What is pickled is on the CPU, at any depth; "meta" stands for it here, and the CPU for a GPU."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import torch

from skumc import MultimodalData, UMCClusterer, _devices
from skumc._devices import on_cpu
from skumc.feature_extraction import MultimodalFeatures, TransformerTextFeatures
from skumc.losses import WeightedLosses
from skumc.text import TextModel
from skumc.training import Callback
from text_models import pair

SHORT = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
TEXTS = [f"{('sea ship', 'gear wheel')[i % 2]} {i}" for i in range(20)]


class Prototypes(torch.nn.Module):
    reads = ("embedding",)

    def __init__(self):
        super().__init__()
        self.points = torch.nn.Parameter(torch.ones(3, 128))

    def forward(self, embedding):
        return torch.cdist(embedding, self.points).mean()


class Keeps(Callback):
    def on_train_end(self, state):
        self.kept = {"centers": [torch.from_numpy(state.centers)]}


def fitted_objects(device="cpu"):
    X = MultimodalData({"text": TEXTS, "audio": np.arange(40.0).reshape(20, 2)})
    losses = WeightedLosses(extra={"prototypes": Prototypes()})
    for n_layers in (0, 1, "all"):
        text = TextModel(pair(), n_trainable_layers=n_layers)
        callbacks = [Keeps()]
        parts = {"text": text, "losses": losses, "callbacks": callbacks, "device": device}
        yield UMCClusterer(2, **parts, **SHORT).fit(X)
    yield TextModel(pair())
    yield losses
    yield TransformerTextFeatures(pair(), device=device).fit()
    text = TransformerTextFeatures(pair(), device=device)
    columns = {"text": "said"}
    yield MultimodalFeatures(text=text, columns=columns).fit([{"said": line} for line in TEXTS])


def devices(value):
    return {tensor.device.type for tensor in _devices._tensors(value, {})}


def by_joblib(value):
    file = io.BytesIO()
    joblib.dump(value, file)
    file.seek(0)
    return joblib.load(file)


def by_pickle(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [by_pickle, by_joblib, copy.deepcopy])
def test_every_tensor_of_a_copy_is_at_home(copied, monkeypatch):
    for value in fitted_objects():
        assert devices(value) == {"cpu"}
        monkeypatch.setattr(_devices, "_HOME", torch.device("meta"))
        assert devices(copied(value)) == {"meta"}, value
        assert devices(value) == {"cpu"}  # the original stays where it is
        monkeypatch.setattr(_devices, "_HOME", torch.device("cpu"))


def test_shared_tensors_stay_shared_and_parameters_stay_trainable(monkeypatch):
    monkeypatch.setattr(_devices, "_HOME", torch.device("meta"))
    module = torch.nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    moved = on_cpu({"one": module, "two": module.weight})
    assert moved["one"].weight is moved["two"]
    assert moved["two"].requires_grad and not moved["one"].bias.requires_grad


def test_what_is_at_home_is_not_copied():
    module = torch.nn.Linear(2, 2)
    state = {"module": module, "self": None}
    state["self"] = state  # a cycle
    assert on_cpu(state) is state


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_clusterer_fitted_on_a_gpu_predicts_without_one():
    for value in fitted_objects("cuda"):
        again = by_pickle(value)
        assert devices(again) <= {"cpu"}
        if isinstance(again, UMCClusterer):
            X = MultimodalData({"text": TEXTS, "audio": np.arange(40.0).reshape(20, 2)})
            labels = again.set_params(device="cpu").predict(X)
            np.testing.assert_array_equal(labels, value.predict(X))
