"""Warnings about the result of a training: below its start, collapsed gates."""

import warnings

import numpy as np
import pytest
import torch

from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.encoders import EncoderOutput, masked_mean
from skumc.training._gate_check import mean_shares, warn_of_collapsed_gates


class MovingGates(torch.nn.Module):
    """The mean of the text; equal gates until the first step, then those given."""

    def __init__(self, *gates):
        super().__init__()
        self.register_buffer("gates", torch.tensor([0.5, 0.5]))
        self.later = torch.tensor(gates)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, batch):
        if self.training and torch.is_grad_enabled():
            self.gates.copy_(self.later)
        mean = self.scale * masked_mean(*batch["text"]).float()
        embedding = torch.nn.functional.normalize(mean, dim=1)
        return EncoderOutput(embedding, self.gates.expand(len(mean), -1), {})


def messages_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(("gates", "collapses"), [((0.99, 0.01), True), ((0.9, 0.1), False)])
def test_a_fit_names_collapsed_gates(gates, collapses):
    X, _ = make_multimodal_blobs(60, 2, modalities={"text": 4, "audio": 3}, random_state=0)
    settings = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
    clusterer = UMCClusterer(2, encoder=MovingGates(*gates), **settings)
    found = [text for text in messages_of(lambda: clusterer.fit(X)) if "gates collapsed" in text]
    assert len(found) == collapses
    for text in found:
        assert "'text' (0.50 before training, 0.99 after)" in text
        assert "'audio' (0.50 before training, 0.01 after)" in text


def test_shares_are_averaged_where_there_is_a_choice():
    gates = np.array([[0.6, 0.4], [0.8, 0.2], [1.0, 0.0]])
    present = np.array([[True, True], [True, True], [True, False]])
    np.testing.assert_allclose(mean_shares(gates, present), [0.7, 0.3])
    assert np.isnan(mean_shares(gates, np.array([[True, False]] * 3))).all()
    assert np.isnan(mean_shares(gates[:, :1], present)).all()  # gates of another kind


@pytest.mark.parametrize(
    ("start", "end", "n_named"),
    [
        ([0.5, 0.5], [0.99, 0.01], 2),
        ([0.5, 0.5], [0.94, 0.06], 0),
        ([0.99, 0.01], [0.98, 0.015], 0),  # they started there
        ([0.97, 0.03], [0.99, 0.01], 1),
        ([0.5, np.nan], [0.99, np.nan], 1),
    ],
)
def test_collapse_is_a_matter_of_start_and_end(start, end, n_named):
    found = messages_of(
        lambda: warn_of_collapsed_gates(np.array(start), np.array(end), ["text", "audio"])
    )
    assert sum(text.count("before training") for text in found) == n_named


def test_a_preset_that_falls_below_its_start_says_so():
    X, _ = make_multimodal_blobs(240, 3, lengths=1, center_scale=0.7, random_state=0)
    settings = {"pretrain_epochs": 2, "max_epochs": 1, "random_state": 0, "text": None}
    settings |= {"encoder": "projection"}
    wild = UMCClusterer.from_preset(
        "source", 3, learning_rate=10.0, pretrain_learning_rate=10.0, **settings
    )
    with pytest.warns(RuntimeWarning) as caught:
        wild.fit(X)
    assert any("Training fell below its start" in str(warning.message) for warning in caught)
    mild = UMCClusterer.from_preset(
        "source", 3, learning_rate=1e-6, pretrain_learning_rate=1e-6, **settings
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        mild.fit(X)
