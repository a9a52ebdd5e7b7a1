import copy
import inspect
import re
import textwrap
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from torch import nn

import skumc
from data_makers import make_sequences, pad, statistics_of
from fitting import Rising
from skumc import MultimodalData, UMCClusterer
from skumc._batches import to_batch
from skumc.encoders import (
    CausalEncoder,
    CausalNetwork,
    Encoder,
    EncoderOutput,
    EncoderSpecification,
    EncoderWithText,
    FrameStatistics,
    GatedFusion,
    ModalityProjection,
    OptionalEncoderMethods,
    ProjectionEncoder,
    ProjectionNetwork,
    Standardization,
    UMCEncoder,
    UMCNetwork,
    encode_views,
    hide_modalities,
    log_deviations,
    masked_mean,
    segment_means,
)
from skumc.encoders._summary import Summary, SummaryCalibration
from skumc.training import Optimization
from skumc.training._embedding import calibrate, embed

CPU = torch.device("cpu")


def untrained(X, **parameters):
    """The network as the estimator builds it, before anything trains."""
    torch.default_generator.manual_seed(0)
    network = ProjectionEncoder(**parameters).build(statistics_of(X), X.names[0])
    calibrate(network, X, CPU)
    return network.eval()


def build(X, **parameters):
    network = untrained(X, **parameters)
    with torch.no_grad():  # gates that differ from sample to sample
        network.fusion.weight.normal_()
        for refinement in network.paths.refinements:
            refinement.fusion.weight.normal_(std=0.1)
    return network


def batch_of(X):
    return to_batch(X, np.arange(len(X)))


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


def plain_segment_means(frames, n_segments):
    """Means of equal parts of one sample's frames; a frame counts by how much of it is inside."""
    n_frames, width = frames.shape
    means = np.zeros((n_segments, width))
    for s in range(n_segments if n_frames else 0):
        begin = Fraction(s * n_frames, n_segments)
        end = Fraction((s + 1) * n_frames, n_segments)
        for j in range(n_frames):
            share = max(min(Fraction(j + 1), end) - max(Fraction(j), begin), 0)
            means[s] += float(share / (end - begin)) * frames[j]
    return means.ravel()


sample_lengths = st.lists(st.integers(0, 9), min_size=1, max_size=6)


def frames_of(lengths, seed, width=3):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(sum(lengths), width)))


@given(lengths=sample_lengths, n_segments=st.integers(1, 12), seed=st.integers(0, 99))
def test_segment_means_equal_loop(lengths, n_segments, seed):
    frames = frames_of(lengths, seed)
    expected = [plain_segment_means(own.numpy(), n_segments) for own in frames.split(lengths)]
    found = segment_means(frames, torch.tensor(lengths), n_segments)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, expected, atol=1e-12)
    short = segment_means(frames.float(), torch.tensor(lengths), n_segments)
    assert short.dtype == torch.float32
    np.testing.assert_allclose(short, expected, atol=1e-5)


@given(lengths=sample_lengths, n_segments=st.integers(1, 12), seed=st.integers(0, 99))
def test_segment_means_are_those_of_each_sample_alone(lengths, n_segments, seed):
    frames = frames_of(lengths, seed).float()
    parts = frames.split(lengths)
    alone = torch.cat([segment_means(own, torch.tensor([len(own)]), n_segments) for own in parts])
    close(segment_means(frames, torch.tensor(lengths), n_segments), alone)
    order = np.random.default_rng(seed).permutation(len(lengths))
    mixed = segment_means(
        torch.cat([parts[i] for i in order]), torch.tensor(lengths)[order], n_segments
    )
    close(mixed, alone[order])
    giant = torch.full((5, 3), 1e30)
    beside = segment_means(torch.cat([giant, frames]), torch.tensor([5, *lengths]), n_segments)
    close(beside[1:], alone)


@given(lengths=sample_lengths, seed=st.integers(0, 99))
def test_log_deviations_are_those_of_each_sample_alone(lengths, seed):
    frames = frames_of(lengths, seed)
    expected = [
        np.log(own.numpy().std(axis=0) + 1e-3) if len(own) > 1 else np.zeros(3)
        for own in frames.split(lengths)
    ]
    np.testing.assert_allclose(log_deviations(frames, torch.tensor(lengths)), expected, atol=1e-9)
    giant = torch.cat([torch.full((5, 3), 1e15), frames.float()])
    beside = log_deviations(giant, torch.tensor([5, *lengths]))[1:]
    np.testing.assert_allclose(beside, expected, atol=1e-3)


@given(n_frames=st.integers(1, 9), n_segments=st.integers(1, 12), seed=st.integers(0, 99))
def test_segments_together_are_the_mean_and_keep_the_order(n_frames, n_segments, seed):
    frames = frames_of([n_frames], seed)
    lengths = torch.tensor([n_frames])
    found = segment_means(frames, lengths, n_segments).view(n_segments, 3)
    np.testing.assert_allclose(found.mean(dim=0), masked_mean(frames, lengths)[0], atol=1e-12)
    turned = segment_means(frames.flip(0), lengths, n_segments).view(n_segments, 3)
    np.testing.assert_allclose(turned.flip(0), found, atol=1e-12)
    if n_frames == 1:
        np.testing.assert_allclose(found, frames.expand(n_segments, 3), atol=1e-12)
    repeated = segment_means(frames.repeat_interleave(4, dim=0), 4 * lengths, n_segments)
    np.testing.assert_allclose(repeated.view(n_segments, 3), found, atol=1e-12)


def test_segment_means_pass_gradcheck():
    frames = frames_of([3, 0, 1, 7], 0).requires_grad_()
    lengths = torch.tensor([3, 0, 1, 7])
    assert torch.autograd.gradcheck(lambda x: segment_means(x, lengths, 4), frames)


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
def test_gates_start_in_the_prior_shares_and_learning_shifts_them(normalization):
    X, _ = make_sequences(missing=True)
    network = untrained(X, gate_normalization=normalization)
    network.set_prior_shares([1.0, 0.1, 0.4])
    gates = embed(network, X, CPU, "float32").gates
    shares = X.present * [1.0, 0.1, 0.4]
    np.testing.assert_allclose(gates, shares / shares.sum(axis=1, keepdims=True), rtol=1e-5)
    assert (gates[~X.present] == 0).all()
    with torch.no_grad():
        network.fusion.bias.copy_(torch.tensor([-3.0, 3.0, 0.0]))
    raw = 1 / (1 + np.exp([3.0, -3.0, 0.0]))
    shares = shares * (np.exp(raw) if normalization == "softmax" else raw)
    gates = embed(network, X, CPU, "float32").gates
    np.testing.assert_allclose(gates, shares / shares.sum(axis=1, keepdims=True), rtol=1e-5)


def ranks(values):
    return values.argsort(axis=-1).argsort(axis=-1)


@pytest.mark.parametrize("dual_projection", [True, False])
def test_untrained_embedding_is_ordered_as_the_standardized_input(dual_projection):
    rng = np.random.default_rng(0)
    values = rng.normal(3, [1, 5, 0.1, 2, 9, 1], (60, 6))
    X = MultimodalData({"only": values})
    network = untrained(X, dual_projection=dual_projection)
    h = embed(network, X, CPU, "float32").embedding
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    linear = network.paths.projections[0].linear
    mapped = standard @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    centered = mapped - mapped.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        h, centered / np.linalg.norm(centered, axis=1, keepdims=True), atol=1e-4
    )
    # the offset is as long as a sample is on average: directions tell lengths, too
    extended = np.hstack([standard, np.full((60, 1), 6**0.5)])
    extended /= np.linalg.norm(extended, axis=1, keepdims=True)
    agreement = np.corrcoef(ranks(h @ h.T).ravel(), ranks(extended @ extended.T).ravel())[0, 1]
    assert agreement > 0.98


def test_calibrated_summaries_have_mean_zero_and_deviation_one(monkeypatch):
    monkeypatch.setattr("skumc.encoders._summary._MIN_FRAMES", 1)
    X, _ = make_sequences(40, 2, missing=True)
    network = untrained(X, frame_path=False)
    summaries = network.summaries(batch_of(X))
    for place, name in enumerate(X.names):
        here = X.present[:, place]
        seen = summaries[name].numpy()[here]
        assert (summaries[name].numpy()[~here] == 0).all()
        mean, scale = X.packed(name).mean_and_scale()
        frames = [(x - mean) / scale for x in X.sequences(name) if x is not None]
        expected = np.array([plain_segment_means(x, 6) for x in frames])
        expected = (expected - expected.mean(axis=0)) / expected.std(axis=0)
        np.testing.assert_allclose(seen[:, : -X.widths[name]], expected, atol=1e-4)
        several = np.array([len(x) > 1 for x in frames])
        spread = np.array([np.log(x.std(axis=0) + 1e-3) for x in frames])
        known = spread[several]
        expected = np.where(several[:, None], (spread - known.mean(axis=0)) / known.std(axis=0), 0)
        np.testing.assert_allclose(seen[:, -X.widths[name] :], expected, atol=1e-4)


def test_deviation_is_unknown_for_single_frames_and_can_be_left_out(monkeypatch):
    monkeypatch.setattr("skumc.encoders._summary._MIN_FRAMES", 1)
    rng = np.random.default_rng(0)
    X = MultimodalData({"x": [rng.normal(size=(n, 3)) for n in (1, 4, 6, 1, 5)]})
    summary = untrained(X, frame_path=False).summaries(batch_of(X))["x"]
    assert summary.shape == (5, 7 * 3)
    assert (summary[[0, 3], -3:] == 0).all() and (summary[[1, 2, 4], -3:] != 0).all()
    without = untrained(X, deviation=False, frame_path=False).summaries(batch_of(X))["x"]
    assert without.shape == (5, 6 * 3)
    np.testing.assert_allclose(without, summary[:, :-3], atol=1e-6)


@pytest.mark.parametrize(("n_short", "has_deviations"), [(1, True), (2, False)])
def test_deviations_need_enough_frames_in_nine_of_ten_samples(n_short, has_deviations):
    rng = np.random.default_rng(0)
    lengths = [31] * n_short + [32] * (11 - n_short)
    X = MultimodalData({"x": [rng.normal(size=(n, 3)) for n in lengths]})
    assert untrained(X).paths.summarize[0].deviation == has_deviations
    summary = untrained(X, frame_path=False).summaries(batch_of(X))["x"]
    assert summary.shape == (11, (8 + has_deviations) * 3)


def test_samples_that_differ_in_spread_alone_are_told_apart():
    rng = np.random.default_rng(0)
    topic = np.arange(80) % 2
    X = {"sensor": [rng.normal(0, 1 + t, (rng.integers(60, 90), 4)) for t in topic]}
    found = {}
    for deviation, frame_path in ((True, False), (False, True), (False, False)):
        settings = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}
        encoder = ProjectionEncoder(deviation=deviation, frame_path=frame_path)
        labels = UMCClusterer(2, encoder=encoder, **settings).fit(X).labels_
        found[deviation, frame_path] = adjusted_rand_score(topic, labels)
    # frames one by one tell the spread too, a mean does not
    assert found[True, False] > 0.9 and found[False, True] > 0.9 and found[False, False] < 0.1


def test_a_constant_feature_and_raw_features_are_left_as_they_are():
    values = np.random.default_rng(0).normal(5, 2, (20, 3))
    values[:, 1] = 7.0
    X = MultimodalData({"x": values})
    constant = untrained(X).summaries(batch_of(X))["x"][:, 1]
    np.testing.assert_allclose(constant, 0, atol=1e-5)
    raw = untrained(X, standardize=False).summaries(batch_of(X))["x"]
    np.testing.assert_allclose(raw, values, rtol=1e-6)


@pytest.mark.parametrize(
    ("width", "longest", "asked", "expected"),
    [
        (4, 100, 8, 8),  # as asked
        (4, 5, 8, 5),  # no more than the longest sample has frames
        (100, 100, 8, 4),  # 5 times 100 values fit into 512, and deviations take 100
        (64, 100, 8, 7),  # 512 values are allowed
        (65, 100, 8, 6),
        (256, 100, 8, 1),
        (768, 100, 8, 1),  # wider than the budget: the mean alone
        (4, 1, 8, 1),
        (4, 100, 1, 1),
    ],
)
def test_segments_fit_into_the_width_of_a_summary(width, longest, asked, expected):
    typical = 32 if longest > 1 else 1
    statistics = {"x": FrameStatistics(np.zeros(width), np.ones(width), None, longest, typical)}
    network = ProjectionEncoder(n_segments=asked, hidden_width=8).build(statistics, "x")
    (summary,) = network.paths.summarize
    has_deviation = longest > 1 and 2 * width <= 512
    assert (summary.n_segments, summary.width) == (expected, (expected + has_deviation) * width)
    output = network.eval()({"x": (torch.randn(7, width), torch.tensor([5, 2]))})
    assert output.embedding.shape == (2, 8)


def test_noise_acts_in_training_only_and_on_the_summary(no_grad):
    X, _ = make_sequences(missing=True)
    batch = batch_of(X)
    quiet = {"dropout": 0.0, "input_dropout": 0.0}
    calm = build(X, input_noise=0.0, **quiet)
    expected = calm(batch)
    close(calm.train()(batch).embedding, expected.embedding)
    noisy = build(X, input_noise=0.5, **quiet)
    close(noisy(batch).embedding, expected.embedding)
    trained = noisy.train()(batch)
    assert ((trained.embedding - expected.embedding).norm(dim=1) > 1e-3).all()
    assert (trained.gates.numpy()[~X.present] == 0).all()
    for name, summary in noisy.eval().summaries(batch).items():
        close(summary, calm.eval().summaries(batch)[name])


@pytest.mark.parametrize("normalization", ["sum", "softmax"])
def test_gates_pass_gradcheck(normalization):
    fusion = GatedFusion(2, 3, normalization).double()
    with torch.no_grad():
        fusion.weight.normal_()
    present = torch.tensor([[True, True], [True, False]])
    summaries = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: fusion(s, present), summaries)


def test_projection_starts_as_an_isometry_of_standardized_frames():
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
        monkeypatch.setattr("skumc.data._inference_batches._INFERENCE_FRAMES", budget)
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


def methods_of(protocol):
    return {name: value for name, value in vars(protocol).items() if name[0] != "_"}


@pytest.mark.parametrize("network", [ProjectionNetwork, UMCNetwork, CausalNetwork, EncoderWithText])
def test_networks_have_the_signatures_of_the_contract(network):
    optional = methods_of(OptionalEncoderMethods)
    assert optional and optional.keys().isdisjoint(methods_of(Encoder))
    own = vars(network)
    for name, declared in (methods_of(Encoder) | optional).items():
        if name in own or name in methods_of(Encoder) or network is EncoderWithText:
            assert inspect.signature(own[name]) == inspect.signature(declared), name


@pytest.mark.parametrize("specification", [ProjectionEncoder, UMCEncoder, CausalEncoder])
def test_specifications_have_the_signature_of_the_contract(specification):
    (declared,) = methods_of(EncoderSpecification).values()
    assert inspect.signature(specification.build) == inspect.signature(declared)
    assert 0 < specification.learning_rate < 1


def test_all_that_is_asked_of_an_encoder_is_in_the_contract():
    source = "".join(path.read_text() for path in Path(skumc.__file__).parent.rglob("*.py"))
    asked = set(re.findall(r'(?:has|get)attr\((?:self\.)?_?encoder_?(?:spec)?, "(\w+)"', source))
    assert {"forward_views", "summaries"} <= asked
    ours = {"learning_rate", "is_calibrated_"}  # of the specification, and our own mark
    assert asked - ours <= set(methods_of(OptionalEncoderMethods))


class OwnModule(nn.Module):
    """A user's module: two modalities, no ``forward_views``."""

    def __init__(self):
        super().__init__()
        self.maps = nn.ModuleDict({"text": nn.Linear(5, 6), "audio": nn.Linear(3, 6)})

    def forward(self, batch):
        parts = [part(masked_mean(*batch[name])) for name, part in self.maps.items()]
        present = torch.stack([lengths > 0 for _, lengths in batch.values()], dim=1)
        gates = present / present.sum(dim=1, keepdim=True)
        return nn.functional.normalize(sum(parts), dim=-1), gates, {}


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
        optimization=Optimization(weight_decay=0.0),
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


def test_module_of_the_guide_hides_what_is_missing():
    guide = (Path(__file__).parents[1] / "docs" / "guide" / "extend.rst").read_text()
    block = guide.split("\nEncoder\n", 1)[1].split(".. code-block:: python\n", 1)[1]
    code = textwrap.dedent(re.match(r"(?:(?: {4}.*)?\n)+", block)[0])
    scope = {"torch": torch}
    exec(code.split("\nclusterer = ", 1)[0], scope)
    rng = np.random.default_rng(0)
    X = {
        "text": rng.normal(size=(40, 16)),
        "audio": [rng.normal(size=(i % 3, 8)) if i % 3 else None for i in range(40)],
    }
    settings = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
    fitted = UMCClusterer(8, encoder=scope["Means"]({"text": 16, "audio": 8}), **settings).fit(X)
    gates = fitted.modality_weights(X)
    assert gates.shape == (40, 2) and np.isfinite(fitted.history_[-1, "monitor"])
    np.testing.assert_allclose(gates.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(gates[:, 1] == 0, np.arange(40) % 3 == 0)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("hidden_width", 0),
        ("n_segments", 0),
        ("dual_projection", "linear"),
        ("dropout", 1.0),
        ("input_dropout", 1.0),
        ("input_noise", -0.1),
        ("gate_normalization", "max"),
        ("standardize", 2),
    ],
)
def test_encoder_parameter_outside_its_interval_is_named(parameter, value):
    X, _ = make_sequences()
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of ProjectionEncoder"):
        UMCClusterer(2, encoder=ProjectionEncoder(**{parameter: value})).fit(X)


# the start of the projection


def wide_samples(n_samples, width, n_latent=3, seed=0):
    """Many columns that vary in few directions, and a little noise."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_samples, n_latent))
    values = latent @ rng.normal(size=(n_latent, width)) + 0.1 * rng.normal(size=(n_samples, width))
    return MultimodalData({"x": values}), values


@pytest.mark.parametrize("n_samples", [5, 60])
def test_a_wide_summary_is_projected_on_its_principal_directions(n_samples):
    X, values = wide_samples(n_samples, 40)
    network = untrained(X, hidden_width=8)
    weight = network.paths.projections[0].linear.weight.detach().numpy().astype(float)
    np.testing.assert_allclose(weight @ weight.T, np.eye(8), atol=1e-5)
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    largest = np.linalg.svd(standard, compute_uv=False)[:8] ** 2
    kept = np.square(standard @ weight.T).sum()
    assert kept == pytest.approx(largest.sum(), rel=1e-4)


def test_a_narrow_summary_keeps_its_distances():
    X, values = wide_samples(20, 6)
    weight = untrained(X, hidden_width=8).paths.projections[0].linear.weight.detach().numpy()
    np.testing.assert_allclose(weight.T @ weight, np.eye(6), atol=1e-5)


@pytest.mark.parametrize("n_samples", [1, 2, 9, 40, 41, 333])
def test_the_samples_kept_for_directions_are_bounded_and_spread(monkeypatch, n_samples):
    monkeypatch.setattr("skumc.encoders._summary._MAX_KEPT", 10)
    summary = Summary(FrameStatistics(np.zeros(1), np.ones(1)), 1, False, False)
    calibration = SummaryCalibration(summary, keeps=True)
    numbers = torch.arange(float(n_samples)).unsqueeze(1)
    for part in numbers.split(7):
        calibration.add(part, torch.ones(len(part), dtype=torch.long))
    kept = calibration.finish().squeeze(1).numpy()
    assert len(kept) == len(set(kept)) and min(n_samples, 10) <= len(kept) <= 20
    assert np.diff(kept).max(initial=1) <= -(-n_samples // 10) * 2
    if n_samples <= 20:
        assert len(kept) == n_samples


def test_few_samples_are_kept_of_wide_summaries(monkeypatch):
    monkeypatch.setattr("skumc.encoders._summary._MAX_VALUES", 1000)
    monkeypatch.setattr("skumc.encoders._summary._MIN_KEPT", 3)
    calibration = SummaryCalibration(
        Summary(FrameStatistics(np.zeros(100), np.ones(100)), 1, False, False), keeps=True
    )
    calibration.add(torch.randn(50, 100), torch.ones(50, dtype=torch.long))
    assert 10 <= len(calibration.finish()) <= 20


def test_samples_without_frames_have_no_part_in_directions():
    X, values = wide_samples(30, 40)
    cells = [None if i % 3 == 0 else row for i, row in enumerate(values)]
    X = MultimodalData({"x": cells, "y": np.ones((30, 1))})
    weight = untrained(X, hidden_width=8).paths.projections[0].linear.weight.detach().numpy()
    shown = values[np.arange(30) % 3 != 0]
    standard = (shown - shown.mean(axis=0)) / shown.std(axis=0)
    largest = np.linalg.svd(standard, compute_uv=False)[:8] ** 2
    assert np.square(standard @ weight.T).sum() == pytest.approx(largest.sum(), rel=1e-4)


def test_directions_of_two_modalities_do_not_coincide():
    _, values = wide_samples(60, 40)
    X = MultimodalData({"x": values, "y": values})
    first, second = (
        p.linear.weight.detach() for p in untrained(X, hidden_width=16).paths.projections
    )
    rows = torch.from_numpy(values - values.mean(axis=0)).float()
    along = [(rows @ w.T).flatten().numpy() for w in (first, second)]
    assert abs(np.corrcoef(*along)[0, 1]) < 0.3  # of equal directions it would be 1 or -1
