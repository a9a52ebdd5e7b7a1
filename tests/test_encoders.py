import copy
import re
import textwrap
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import skumc
from data_makers import make_sequences, pad
from skumc import MultimodalData, UMCClusterer
from skumc.encoders import (
    EncoderOutput,
    FrameStatistics,
    GatedFusion,
    ModalityProjection,
    ProjectionEncoder,
    Standardization,
    encode_views,
    hide_modalities,
    masked_mean,
)
from skumc.training import embed
from skumc.training._batches import to_batch

CPU = torch.device("cpu")


def build(X, **parameters):
    torch.default_generator.manual_seed(0)
    statistics = {name: FrameStatistics(*X.packed(name).mean_and_scale()) for name in X.names}
    network = ProjectionEncoder(**parameters).build(statistics, X.names[0])
    with torch.no_grad():  # gates that differ from sample to sample
        network.fusion.weight.normal_()
    return network.eval()


def batch_of(X):
    return to_batch(X, np.arange(len(X)), CPU)


def close(first, second):
    np.testing.assert_allclose(np.asarray(first), np.asarray(second), rtol=0, atol=1e-5)


@pytest.fixture
def no_grad():
    with torch.no_grad():
        yield


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_masked_mean_equals_loop(lengths, seed):
    frames = np.random.default_rng(seed).normal(size=(sum(lengths), 3))
    start, expected = 0, []
    for length in lengths:
        own = frames[start : start + length]
        expected.append(own.mean(axis=0) if length else np.zeros(3))
        start += length
    found = masked_mean(torch.from_numpy(frames), torch.tensor(lengths))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def plain_fusion(summaries, present, weight, bias, normalization):
    """GatedFusion by loops, from the formula."""
    fused, gates = np.zeros((len(summaries), summaries.shape[2])), np.zeros(present.shape)
    for i in range(len(summaries)):
        raw = {}
        for m in range(summaries.shape[1]):
            if present[i, m]:
                raw[m] = 1 / (1 + np.exp(-(summaries[i, m] @ weight[m] + bias[m])))
        if normalization == "softmax":
            raw = {m: np.exp(value) for m, value in raw.items()}
        total = sum(raw.values()) + (1e-8 if normalization == "sum" else 0)
        for m, value in raw.items():
            gates[i, m] = value / total
            fused[i] += gates[i, m] * summaries[i, m]
    return fused, gates


@pytest.mark.parametrize("normalization", ["sum", "softmax"])
def test_gated_fusion_equals_loop(normalization):
    rng = np.random.default_rng(0)
    fusion = GatedFusion(3, 4, normalization).double()
    with torch.no_grad():
        fusion.weight.copy_(torch.from_numpy(rng.normal(size=(3, 4))))
        fusion.bias.copy_(torch.from_numpy(rng.normal(size=3)))
    summaries = rng.normal(size=(8, 3, 4))
    present = rng.random((8, 3)) < 0.6
    present[:, 0] |= ~present.any(axis=1)
    found = fusion(torch.from_numpy(summaries), torch.from_numpy(present))
    expected = plain_fusion(
        summaries,
        present,
        *(p.detach().numpy() for p in (fusion.weight, fusion.bias)),
        normalization,
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.detach(), other, atol=1e-12)
    assert (found[1].detach().numpy()[~present] == 0).all()


@pytest.mark.parametrize("normalization", ["sum", "softmax"])
def test_gates_pass_gradcheck(normalization):
    fusion = GatedFusion(2, 3, normalization).double()
    with torch.no_grad():
        fusion.weight.normal_()
    present = torch.tensor([[True, True], [True, False]])
    summaries = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: fusion(s, present), summaries)


def test_projection_starts_as_an_isometry_of_standardised_frames():
    rng = np.random.default_rng(0)
    frames = rng.normal(5, 3, (50, 6))
    mean, scale = frames.mean(axis=0), frames.std(axis=0)
    standard = Standardization(FrameStatistics(mean, scale))(torch.from_numpy(frames))
    np.testing.assert_allclose(standard, (frames - mean) / scale, atol=1e-6)
    linear = ModalityProjection(6, 32, torch.eye(32)[0]).linear
    with torch.no_grad():
        mapped = linear(standard)
    np.testing.assert_allclose(
        np.linalg.norm(mapped[:, None] - mapped[None], axis=-1),
        np.linalg.norm(standard[:, None] - standard[None], axis=-1),
        atol=1e-4,
    )
    np.testing.assert_allclose(linear.bias.detach(), np.eye(32)[0] * 6**0.5, rtol=1e-6)


def test_large_means_do_not_swallow_small_differences():
    small = np.random.default_rng(0).normal(size=(30, 4))
    shifted = small + 1e9
    networks = [build(MultimodalData({"x": values})) for values in (small, shifted)]
    found = [
        embed(network, MultimodalData({"x": values}), CPU, "float32")[0]
        for network, values in zip(networks, (small, shifted), strict=True)
    ]
    np.testing.assert_allclose(*found, atol=1e-4)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("fill", [0.0, np.nan, 1e30])
def test_padding_never_changes_embedding(missing, fill):
    X, _ = make_sequences(missing=missing)
    network = build(X)
    expected = embed(network, X, CPU, "float32")
    padded = MultimodalData.from_padded(*pad(X, n_extra=5, fill=fill))
    found = embed(network, padded, CPU, "float32")
    close(found.embedding, expected.embedding)
    close(found.gates, expected.gates)


@pytest.mark.parametrize("missing", [False, True])
def test_batch_size_and_order_never_change_embedding(missing, monkeypatch):
    X, _ = make_sequences(missing=missing)
    network = build(X)
    expected, gates, _ = embed(network, X, CPU, "float32")
    order = np.random.default_rng(1).permutation(len(X))
    close(embed(network, X[order], CPU, "float32")[0], expected[order])
    close(embed(network, X[5:6], CPU, "float32")[0], expected[5:6])
    for budget in (1, 7, 20):
        monkeypatch.setattr("skumc.data._batches._INFERENCE_FRAMES", budget)
        close(embed(network, X, CPU, "float32")[0], expected)
        close(embed(network, X, CPU, "float32")[1], gates)


def test_embedding_is_unit_norm_and_gates_sum_to_one():
    X, _ = make_sequences(missing=True)
    embedding, gates, _ = embed(build(X), X, CPU, "float32")
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(gates.sum(axis=1), 1, atol=1e-5)
    assert (gates[~X.present] == 0).all() and (gates[X.present] > 0).all()


def test_views_equal_separate_passes(no_grad):
    X, _ = make_sequences(missing=True)
    network, batch = build(X), batch_of(X)
    views = [("text", "audio", "video"), ("text", "audio"), ("text",), ("audio",)]
    for view, shared in zip(views, network.forward_views(batch, views), strict=True):
        alone = network(hide_modalities(batch, view))
        close(shared.embedding, alone.embedding)
        close(shared.gates, alone.gates)


def test_missing_modality_equals_its_absent_view(no_grad):
    X, _ = make_sequences()
    network = build(X)
    without = MultimodalData({"text": X.sequences("text"), "audio": X.sequences("audio")})
    absent = network(batch_of(without.with_absent(X.widths)))
    view = network.forward_views(batch_of(X), [("text", "audio")])[0]
    close(absent.embedding, view.embedding)
    assert (absent.gates[:, 2] == 0).all()


def test_no_view_is_ever_empty(no_grad):
    X = MultimodalData({"text": [None, [1.0, 2.0]], "audio": [[3.0], [4.0]]})
    network, batch = build(X), batch_of(X)
    output = network.forward_views(batch, [("text",)])[0]
    close(output.gates, [[0, 1], [1, 0]])
    lengths = hide_modalities(batch, ["text"])["audio"][1]
    assert lengths.tolist() == [1, 0]


class OwnModule(nn.Module):
    """What a user may bring: two modalities, no views of its own."""

    def __init__(self):
        super().__init__()
        self.maps = nn.ModuleDict({"text": nn.Linear(5, 6), "audio": nn.Linear(3, 6)})

    def forward(self, batch):
        parts = [part(masked_mean(*batch[name])) for name, part in self.maps.items()]
        present = torch.stack([lengths > 0 for _, lengths in batch.values()], dim=1)
        gates = present / present.sum(dim=1, keepdim=True)
        return nn.functional.normalize(sum(parts), dim=-1), gates, {}


class Rising:
    """A monitor that keeps the last epoch, whatever it is worth."""

    def __init__(self):
        self.calls = 0

    def __call__(self, embedding, labels):
        self.calls += 1
        return self.calls


def two_modalities(missing=False):
    return make_sequences(missing=missing)[0].select(["text", "audio"])


def test_own_module_is_encoded_view_by_view(no_grad):
    X = two_modalities(missing=True)
    X = X[X.present.any(axis=1)]
    module, batch = OwnModule(), batch_of(X)
    views = [("text", "audio"), ("text",), ("audio",)]
    outputs = encode_views(module, batch, views)
    assert all(isinstance(output, EncoderOutput) for output in outputs)
    for view, output in zip(views, outputs, strict=True):
        alone = EncoderOutput(*module(hide_modalities(batch, view)))
        assert torch.equal(output.embedding, alone.embedding)
        assert torch.equal(output.gates, alone.gates)
    complete = X.present.all(axis=1)
    for one, other in combinations(outputs, 2):
        assert ((one.embedding - other.embedding).norm(dim=1)[complete] > 1e-3).all()
    close(outputs[1].gates[complete], [[1, 0]] * complete.sum())


def moved(module, before):
    """Largest change of each parameter."""
    state = module.state_dict()
    return {name: float((state[name] - values).abs().max()) for name, values in before.items()}


@pytest.mark.parametrize("phase", ["pretrain", "main"])
def test_own_module_is_trained_on_a_copy_from_its_weights(phase):
    X, module = two_modalities(), OwnModule()
    before = copy.deepcopy(module.state_dict())
    fitted = UMCClusterer(
        2,
        encoder=module,
        pretrain_epochs=int(phase == "pretrain"),
        max_epochs=int(phase == "main"),
        weight_decay=0.0,
        learning_rate=3e-4,
        pretrain_learning_rate=3e-4,
        monitor=Rising(),
        random_state=0,
    ).fit(X)
    assert max(moved(module, before).values()) == 0 and module.training
    changes = moved(fitted.encoder_, before)
    # one to three steps of Adam, each of at most the learning rate: the start was the user's
    assert all(0 < change < 1e-3 for change in changes.values()), changes
    assert fitted.transform(X).shape == (len(X), 6)
    np.testing.assert_allclose(fitted.modality_weights(X), 0.5)


def test_module_of_the_guide_runs():
    guide = (Path(__file__).parents[1] / "docs" / "guide" / "encoder.rst").read_text()
    block = guide.split("A :class:`torch.nn.Module` of yours", 1)[1].split("::\n", 1)[1]
    code = re.match(r"(?:(?: {4}.*)?\n)+", block)[0]
    rng = np.random.default_rng(0)
    X = {
        "text": rng.normal(size=(40, 16)),
        "audio": [rng.normal(size=(i % 3, 8)) if i % 3 else None for i in range(40)],
    }
    scope = {"torch": torch, "skumc": skumc, "UMCClusterer": UMCClusterer}
    exec(textwrap.dedent(code).replace("UMCClusterer(8", "clusterer = UMCClusterer(8"), scope)
    clusterer = scope["clusterer"].set_params(pretrain_epochs=1, max_epochs=1, random_state=0)
    fitted = clusterer.fit(X)
    gates = fitted.modality_weights(X)
    assert gates.shape == (40, 2) and np.isfinite(fitted.history_[-1, "monitor"])
    np.testing.assert_allclose(gates.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(gates[:, 1] == 0, np.arange(40) % 3 == 0)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("hidden_width", 0), ("dropout", 1.0), ("gate_normalization", "max"), ("standardize", 2)],
)
def test_encoder_parameter_outside_its_interval_is_named(parameter, value):
    X, _ = make_sequences()
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of ProjectionEncoder"):
        UMCClusterer(2, encoder=ProjectionEncoder(**{parameter: value})).fit(X)
