"""The user's own parts are refused before the first epoch, in words that name the parameter."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans

from skumc import UMCClusterer
from skumc.encoders import EncoderOutput
from skumc.pseudo_labels import PseudoLabels
from skumc.text import TextModel
from skumc.training import Callback
from text_models import pair

X = np.random.default_rng(0).normal(np.arange(40)[:, None] % 2 * 3, 1, (40, 5))


class Watch(Callback):
    """Counts epochs, and steps of training."""

    def __init__(self):
        self.n_steps = 0

    def on_step_end(self, state, reports):
        self.n_steps += 1


class WithoutCenters(KMeans):
    def fit(self, X, y=None, sample_weight=None):
        super().fit(X)
        del self.cluster_centers_
        return self


class OwnKMeans(BaseEstimator):
    """Fits, but does not say where the centers are."""

    def __init__(self, n_clusters=2, init="k-means++", n_init=1):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init

    def fit(self, X, y=None):
        return self


class FewCenters(OwnKMeans):
    def fit(self, X, y=None):
        self.cluster_centers_ = X[:1]
        return self


class Part:
    """A part with one method."""

    def __init__(self, method, function):
        setattr(self, method, function)


class Wide(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = torch.nn.Linear(width, 3)

    def forward(self, batch):
        h = torch.nn.functional.normalize(self.linear(batch["features"][0].float()), dim=1)
        return EncoderOutput(h, torch.ones(len(h), 1), {})


class Long(Wide):
    def forward(self, batch):
        output = super().forward(batch)
        return output._replace(embedding=3 * output.embedding)


class Bare(Wide):
    def forward(self, batch):
        return super().forward(batch).embedding


def broken(*arguments, **named):
    raise RuntimeError("a fault of the user's own " + "x" * 1000)


def half(embedding, labels, threshold):
    return np.arange(len(embedding)) % 2


CASES = {
    "k-means without centers": ("kmeans", OwnKMeans()),
    "k-means subclass without centers": ("kmeans", WithoutCenters()),
    "k-means with too few centers": ("kmeans", FewCenters()),
    "threshold, a number": ("threshold", 0.5),
    "threshold, wrong signature": ("threshold", Part("update", lambda epoch: 0.5)),
    "threshold, no number": ("threshold", Part("update", lambda *a: "much")),
    "threshold that raises": ("threshold", Part("update", broken)),
    "selector, wrong signature": ("selector", Part("select", lambda embedding: None)),
    "selector, no mask": ("selector", Part("select", half)),
    "selector that raises": ("selector", Part("select", broken)),
    "pseudo-labels, no tuple": ("pseudo_labels", Part("label", lambda state: state.labels)),
    "pseudo-labels, wrong size": (
        "pseudo_labels",
        Part("label", lambda state: PseudoLabels(state.labels[:1], state.taught, state.centers)),
    ),
    "pseudo-labels that raise": ("pseudo_labels", Part("label", broken)),
    "monitor, wrong signature": ("monitor", lambda embedding: 0.0),
    "monitor, NaN": ("monitor", lambda embedding, labels: np.nan),
    "monitor that raises": ("monitor", broken),
    "loss, wrong signature": ("losses", {"supcon": lambda views: views.sum()}),
    "loss, no scalar": ("losses", {"infonce": lambda views: views}),
    "loss that raises": ("losses", {"contrastive": broken}),
    "encoder of a wrong width": ("encoder", Wide(4)),
    "encoder without unit norm": ("encoder", Long(5)),
    "encoder that returns a tensor": ("encoder", Bare(5)),
    "callback, wrong signature": ("callbacks", [Part("on_epoch_end", lambda state: None)]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_part_that_fails_is_refused_before_the_first_step(case):
    parameter, value = CASES[case]
    watch = Watch()
    parameters = {"callbacks": [watch], "pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
    if parameter == "callbacks":
        parameters["callbacks"] += value
    else:
        parameters[parameter] = value
    with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
        UMCClusterer(2, **parameters).fit(X)
    message = str(caught.value)
    assert watch.n_steps == 0
    assert parameter.rstrip("s") in message.lower()
    assert len(message) < 400
    assert any(
        words in message for words in ("xpected", "Pass None for the default", "called with")
    )


def test_an_own_encoder_below_trained_text_is_tried_too():
    class Tight(torch.nn.Module):
        def forward(self, batch):
            return self.missing(batch)

    texts = [f"{('sea ship', 'gear wheel')[i % 2]} {i}" for i in range(20)]
    text = TextModel(pair(), n_trainable_layers=1)
    with pytest.raises(ValueError, match="encoder= failed on a trial.*missing.*Expected a Module"):
        UMCClusterer(2, text=text, encoder=Tight(), pretrain_epochs=1, max_epochs=1).fit(texts)


class Center(torch.nn.Module):
    reads = ("embedding",)

    def __init__(self):
        super().__init__()
        self.point = torch.nn.Parameter(torch.zeros(128))
        self.register_buffer("n_calls", torch.zeros(1))

    def forward(self, embedding):
        self.n_calls += 1
        return (embedding - self.point).square().mean()


class Counting:
    """A threshold with a state."""

    def __init__(self):
        self.calls = []

    def update(self, epoch, n_epochs, performance, loss):
        self.calls.append(epoch)
        return 0.3


def test_a_trial_leaves_own_parts_and_results_as_they_are(monkeypatch):
    def fit():
        parameters = {"pretrain_epochs": 1, "max_epochs": 2, "random_state": 0}
        return UMCClusterer(2, losses={"center": Center()}, threshold=Counting(), **parameters).fit(
            X
        )

    tried = fit()
    monkeypatch.setattr("skumc.training._trainer.rehearse", lambda *parts: None)
    plain = fit()
    assert tried.threshold_.calls == plain.threshold_.calls == [0, 1, 2]
    np.testing.assert_array_equal(tried.embedding_, plain.embedding_)
    counts = [one.losses_.extra["center"][1].n_calls.item() for one in (tried, plain)]
    assert counts[0] == counts[1] > 0
