"""Each stage of the encoder against plain loops written from its formula."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import plain_encoder as plain
from plain_encoder import shake, state_of
from skumc._sequences import frames_of
from skumc.encoders import (
    AttentionPooling,
    ConcatenationFusion,
    DualProjection,
    FrameStatistics,
    GatedFusion,
    GuidedStream,
    LinearProjection,
    MultiHeadAttention,
    SelfAttention,
    Sequences,
    TextGuidedFusion,
    UMCEncoder,
)
from skumc.encoders._pooling import MeanPooling

WIDTH, HEADS = 6, 2
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}

both_precisions = pytest.mark.parametrize("dtype", TOLERANCE, ids=["double", "single"])
all_lengths = st.lists(st.integers(0, 4), min_size=1, max_size=6)


def ragged(lengths, dtype=torch.float64, seed=0, width=WIDTH):
    """Random sequences of these lengths; their values require gradients."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(sum(lengths), width, generator=generator, dtype=torch.float64)
    return Sequences.from_lengths(values.to(dtype).requires_grad_(), torch.tensor(lengths))


def split(sequences, values=None):
    """Rows of each sample in their order, as a list of tensors in float64."""
    values = sequences.values if values is None else values
    rows = [{} for _ in range(sequences.n_samples)]
    places = zip(sequences.owner.tolist(), sequences.position.tolist(), strict=True)
    for row, (sample, position) in enumerate(places):
        assert position not in rows[sample]
        rows[sample][position] = values[row].double()
    assert all(sorted(own) == list(range(len(own))) for own in rows)
    return [
        torch.stack([own[i] for i in range(len(own))]) if own else values[:0].double()
        for own in rows
    ]


def make(module, dtype=torch.float64):
    return shake(module).to(dtype).eval()


def close(found, expected, dtype=torch.float64):
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=0, atol=TOLERANCE[dtype])


def close_all(found, expected, inputs, module, dtype):
    """Compare values, and gradients of a mixture of them in inputs and parameters."""
    close(found, expected, dtype)
    weights = torch.randn(
        found.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64
    )
    sources = [value for value in inputs if len(value)] + list(module.parameters())
    pairs = zip(
        torch.autograd.grad((found * weights).sum(), sources),
        torch.autograd.grad((expected * weights).sum(), sources),
        strict=True,
    )
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=10 * TOLERANCE[dtype])


def passes_gradcheck(module, call, *inputs):
    """Autograd equals finite differences, in the inputs and in every parameter."""
    names = [f"inner.{name}" for name, _ in module.named_parameters()]

    def compute(*tensors):
        values, parameters = tensors[: len(inputs)], tensors[len(inputs) :]
        state = dict(zip(names, parameters, strict=True))
        return functional_call(_Call(module, call), state, values)

    return torch.autograd.gradcheck(compute, (*inputs, *module.parameters()))


class _Call(nn.Module):
    def __init__(self, inner, call):
        super().__init__()
        self.inner, self.call = inner, call

    def forward(self, *values):
        return self.call(self.inner, *values)


# sequences


@given(lengths=all_lengths)
def test_padding_and_unpadding_is_a_round_trip(lengths):
    sequences = ragged(lengths)
    padded = sequences.padded(sequences.values)
    assert padded.shape == (len(lengths), max(lengths), WIDTH)
    for sample, length in enumerate(lengths):
        start = sum(lengths[:sample])
        assert torch.equal(padded[sample, :length], sequences.values[start : start + length])
        assert (padded[sample, length:] == 0).all()
        assert sequences.mask[sample].tolist() == [i < length for i in range(max(lengths))]
    assert torch.equal(sequences.unpadded(padded), sequences.values)
    assert sequences.lengths.tolist() == lengths
    (gradient,) = torch.autograd.grad(padded.square().sum(), sequences.values)
    assert torch.equal(gradient, 2 * sequences.values)


@given(data=st.data(), n_samples=st.integers(1, 5), n_parts=st.integers(1, 3))
def test_joined_appends_the_rows_of_each_sample(data, n_samples, n_parts):
    sizes = st.lists(st.integers(0, 3), min_size=n_samples, max_size=n_samples)
    parts = [ragged(data.draw(sizes), seed=i) for i in range(n_parts)]
    joined = Sequences.joined(parts)
    assert torch.equal(joined.values, torch.cat([part.values for part in parts]))
    expected = [torch.cat(rows) for rows in zip(*map(split, parts), strict=True)]
    for found, rows in zip(split(joined), expected, strict=True):
        assert torch.equal(found, rows)
    assert joined.n_positions == max(map(len, expected))
    assert torch.equal(joined.unpadded(joined.padded(joined.values)), joined.values)


@given(lengths=all_lengths, data=st.data())
def test_rows_keeps_the_chosen_samples_in_their_places(lengths, data):
    chosen = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    sequences = ragged(lengths)
    kept = sequences.rows(torch.tensor(chosen))
    assert kept.n_samples == len(lengths)
    for own, found, is_kept in zip(split(sequences), split(kept), chosen, strict=True):
        assert torch.equal(found, own if is_kept else own[:0])


@given(lengths=all_lengths, data=st.data())
def test_frames_of_keeps_the_frames_of_the_chosen_samples(lengths, data):
    chosen = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    frames = ragged(lengths).values.detach()
    kept = [part for part, keep in zip(frames.split(lengths), chosen, strict=True) if keep]
    found = frames_of(frames, torch.tensor(lengths), torch.tensor(chosen))
    assert torch.equal(found, torch.cat([frames[:0], *kept]))


@given(lengths=all_lengths)
def test_mean_equals_loop(lengths):
    sequences = ragged(lengths)
    for found, rows in zip(sequences.mean(), split(sequences), strict=True):
        close(found, sum(rows) / len(rows) if len(rows) else torch.zeros(WIDTH))


# projections


@both_precisions
def test_dual_projection_equals_loop(dtype):
    module, x = make(DualProjection(WIDTH), dtype), ragged([5], dtype).values
    expected = plain.refine(
        {f"r.{k}": v for k, v in state_of(module).items()}, "r", "dual", x.double()
    )
    close_all(module(x), expected, [x], module, dtype)


@both_precisions
def test_linear_projection_equals_loop(dtype):
    module, x = make(LinearProjection(WIDTH), dtype), ragged([5], dtype).values
    expected = plain.refine(
        {f"r.{k}": v for k, v in state_of(module).items()}, "r", "linear", x.double()
    )
    close_all(module(x), expected, [x], module, dtype)


def test_dual_projection_passes_gradcheck():
    module = make(DualProjection(4))
    x = ragged([3], width=4).values
    assert passes_gradcheck(module, lambda inner, values: inner(values), x)


def test_dual_projection_starts_xavier_uniform():
    torch.default_generator.manual_seed(0)
    module = DualProjection(64)
    for part in (module.similar, module.dissimilar, module.fusion):
        n_out, n_in = part.weight.shape
        bound = (6 / (n_in + n_out)) ** 0.5
        assert 0.98 * bound < part.weight.abs().max() <= bound
        assert part.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert part.bias is None or (part.bias == 0).all()


def test_attention_starts_with_values_undone_by_the_output_and_xavier_scores():
    torch.default_generator.manual_seed(0)
    module = MultiHeadAttention(64, 4)
    value, output = module.value.weight.detach(), module.output.weight.detach()
    assert torch.equal(output, value.T)
    np.testing.assert_allclose(value @ value.T, np.eye(64), atol=1e-5)
    bound = (6 / 128) ** 0.5
    for part in (module.query, module.key):
        assert 0.98 * bound < part.weight.abs().max() <= bound
        assert part.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not torch.equal(module.query.weight, module.key.weight)


def test_dual_projection_drops_what_it_projects_and_keeps_the_residual():
    torch.default_generator.manual_seed(0)
    module, x = make(DualProjection(WIDTH, dropout=0.5)), ragged([500]).values
    with torch.no_grad():
        module.fusion.weight.copy_(torch.eye(WIDTH, 2 * WIDTH))  # the first projection alone
    calm = module(x) - x
    wild = module.train()(x) - x
    is_dropped = wild.abs() < 1e-12
    assert is_dropped.double().mean() == pytest.approx(0.5, abs=0.05)
    close(wild[~is_dropped], 2 * calm[~is_dropped])


# attention

QUERIES, KEYS = [3, 0, 2, 1, 4, 2], [2, 3, 0, 1, 5, 2]


def attention_loop(p, queries, keys):
    """Rows of all samples, zeros for a query that has no keys."""
    rows = [
        plain.attention(p, "a", q, k, HEADS) if len(q) and len(k) else torch.zeros_like(q)
        for q, k in zip(split(queries), split(keys), strict=True)
    ]
    return torch.cat(rows)


def named(module, prefix):
    return {f"{prefix}.{name}": value for name, value in state_of(module).items()}


@both_precisions
@pytest.mark.parametrize(
    ("queries", "keys"),
    [
        (QUERIES, KEYS),
        (QUERIES, [int(k > 0) for k in KEYS]),  # one key at most
        ([1] * 6, KEYS),
        ([3, 3], [3, 3]),
        ([2, 1], [0, 0]),
        ([0, 0], [2, 1]),
    ],
)
def test_attention_equals_loop(queries, keys, dtype):
    module = make(MultiHeadAttention(WIDTH, HEADS), dtype)
    q, k = ragged(queries, dtype), ragged(keys, dtype, seed=1)
    expected = attention_loop(named(module, "a"), q, k)
    found = module(q, k)
    if sum(queries) == 0 or sum(keys) == 0 or max(keys) == 1:
        close(found, expected, dtype)  # without scores there are no gradients of theirs
    else:
        close_all(found, expected, [q.values, k.values], module, dtype)


@given(data=st.data(), n_samples=st.integers(1, 4), seed=st.integers(0, 99))
def test_attention_of_any_lengths_equals_loop(data, n_samples, seed):
    sizes = st.lists(st.integers(0, 3), min_size=n_samples, max_size=n_samples)
    q, k = ragged(data.draw(sizes), seed=seed), ragged(data.draw(sizes), seed=seed + 100)
    module = make(MultiHeadAttention(WIDTH, HEADS))
    close(module(q, k), attention_loop(named(module, "a"), q, k))


def with_room(sequences):
    """The same sequences, padded to one position more."""
    return replace(sequences, n_positions=sequences.n_positions + 1)


@both_precisions
def test_attention_to_one_key_equals_the_general_path(dtype):
    module = make(MultiHeadAttention(WIDTH, HEADS), dtype)
    q, k = ragged(QUERIES, dtype), ragged([1, 1, 0, 1, 1, 0], dtype, seed=1)
    short, general = module(q, k), module(q, with_room(k))
    close(short, general, dtype)
    sources = [k.values, module.value.weight, module.output.weight]
    for one, other in zip(
        torch.autograd.grad(short.square().sum(), sources),
        torch.autograd.grad(general.square().sum(), sources),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("room", [False, True])
def test_dropout_acts_on_the_output_of_attention(room):
    torch.default_generator.manual_seed(0)
    module = make(MultiHeadAttention(WIDTH, HEADS, dropout=0.3))
    q, k = ragged([2000]), ragged([1], seed=1)
    k = with_room(k) if room else k
    calm, wild = module(q, k), module.train()(q, k)
    is_dropped = wild == 0
    assert is_dropped.double().mean() == pytest.approx(0.3, abs=0.02)
    assert (is_dropped[0] != is_dropped[1:]).any(dim=1).double().mean() > 0.9  # drawn row by row
    close(wild[~is_dropped], calm[~is_dropped] / 0.7)


def test_attention_passes_gradcheck_with_masks():
    module = make(MultiHeadAttention(4, 2))
    q, k = ragged([2, 1, 1], width=4), ragged([1, 3, 0], seed=1, width=4)

    def call(inner, queries, keys):
        return inner(q.with_values(queries), k.with_values(keys))

    assert passes_gradcheck(module, call, q.values, k.values)


def test_attention_weights_equal_loop_and_sum_to_one():
    module = make(MultiHeadAttention(WIDTH, HEADS))
    q, k = ragged(QUERIES), ragged(KEYS, seed=1)
    found = module.weights(q, k).detach()
    assert found.shape == (6, HEADS, 4, 5)
    for sample, (own, seen) in enumerate(zip(split(q), split(k), strict=True)):
        if len(own) and len(seen):
            expected = plain.attention_weights(named(module, "a"), "a", own, seen, HEADS)
            close(found[sample, :, : len(own), : len(seen)], expected)
            assert (found[sample, :, :, len(seen) :] == 0).all()
    close(found.sum(dim=3), torch.ones(6, HEADS, 4))


def test_attention_of_a_sample_is_its_own():
    module = make(MultiHeadAttention(WIDTH, HEADS))
    q, k = ragged([2, 2]), ragged([3, 3], seed=1)
    (gradient,) = torch.autograd.grad(module(q, k)[:2].square().sum(), k.values)
    assert (gradient[:3] != 0).all() and (gradient[3:] == 0).all()


# streams


@both_precisions
@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("cross", [True, False])
def test_guided_stream_equals_loop(cross, guided, dtype):
    module = make(GuidedStream(WIDTH, HEADS, 0.1, cross, guided), dtype)
    anchor, frames = ragged([3, 1, 2, 4], dtype), ragged([2, 0, 5, 1], dtype, seed=1)
    p, expected = state_of(module), []
    for T, x in zip(split(anchor), split(frames), strict=True):
        for stage, is_on in (("cross", cross), ("guided", guided)):
            if is_on and len(x):
                x = plain.attention(p, stage, T, x, HEADS)
        expected.append(x)
    stream = module(anchor, frames)
    assert stream.lengths.tolist() == ([3, 0, 2, 4] if cross or guided else [2, 0, 5, 1])
    expected, inputs = torch.cat(expected), [frames.values]
    if cross or guided:
        inputs.append(anchor.values)
    close_all(torch.cat(split(stream)), expected, inputs, module, dtype)


@both_precisions
@pytest.mark.parametrize("n_context", [0, 1])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_self_attention_equals_loop(n_layers, n_context, dtype):
    module = make(SelfAttention(WIDTH, HEADS, 0.1, n_layers), dtype)
    streams = [
        ragged(lengths, dtype, seed=i)
        for i, lengths in enumerate([[2, 1, 3, 1], [0, 1, 3, 0], [4, 0, 2, 0]])
    ]
    p = named(module, "s")
    per_sample = [
        plain.self_attention(p, "s", list(parts), n_layers, HEADS)
        for parts in zip(*map(split, streams), strict=True)
    ]
    found = module([module.prepare(stream) for stream in streams], n_context)
    assert len(found) == 3 - n_context
    values, expected = [], []
    for m, stream in enumerate(found, start=n_context):
        assert torch.equal(stream.owner, streams[m].owner)
        values += split(stream)
        expected += [parts[m] for parts in per_sample]
    inputs = [stream.values for stream in streams]
    scale = 100 if dtype == torch.float32 else 1  # values grow from layer to layer
    close_all(torch.cat(values) / scale, torch.cat(expected) / scale, inputs, module, dtype)


def test_self_attention_passes_gradcheck():
    module = make(SelfAttention(4, 2, 0.1, 2))
    anchor, stream = ragged([1, 2], width=4), ragged([2, 0], seed=1, width=4)

    def call(inner, *values):
        parts = [s.with_values(v) for s, v in zip((anchor, stream), values, strict=True)]
        return torch.cat([part.values for part in inner([inner.prepare(p) for p in parts], 0)])

    assert passes_gradcheck(module, call, anchor.values, stream.values)


def test_attention_pooling_under_autocast():
    rows = ragged([2, 0, 3], torch.float32)
    module = make(AttentionPooling(WIDTH), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = module(rows)
    torch.testing.assert_close(pooled.float(), module(rows), rtol=0.05, atol=0.05)


def fusion_of(**switches):
    settings = {
        "n_heads": HEADS,
        "dropout": 0.0,
        "cross_attention": True,
        "guided_attention": True,
        "n_self_attention_layers": 1,
        "anchor_enhanced": False,
        "anchor_may_lack": True,
        "pooling": "mean",
    }
    return make(TextGuidedFusion(["b", "a", "c"], "a", WIDTH, **(settings | switches)))


def test_stand_in_is_one_frame_where_the_anchor_is_missing():
    fusion, anchor = fusion_of(), ragged([2, 0, 3, 0])
    whole = split(fusion.with_stand_in(anchor))
    for found, own in zip(whole, split(anchor), strict=True):
        assert torch.equal(found, own if len(own) else fusion.stand_in[None])
    complete = ragged([2, 1])
    assert fusion.with_stand_in(complete) is complete
    alone = fusion.with_stand_in(ragged([0, 0]))
    assert alone.lengths.tolist() == [1, 1] and alone.n_positions == 1


def test_stand_in_exists_only_where_it_can_be_used():
    assert fusion_of().stand_in is not None
    assert fusion_of(anchor_may_lack=False).stand_in is None
    off = {"cross_attention": False, "guided_attention": False, "n_self_attention_layers": 0}
    assert fusion_of(**off).stand_in is None
    assert fusion_of(**off | {"guided_attention": True}).stand_in is not None


# pooling and fusion

POOLED = [3, 0, 1, 4]


@both_precisions
@pytest.mark.parametrize("kind", ["attention", "mean"])
def test_pooling_equals_loop(kind, dtype):
    module = make(AttentionPooling(WIDTH) if kind == "attention" else MeanPooling(), dtype)
    sequences = ragged(POOLED, dtype)
    expected = torch.stack(
        [
            plain.pool(named(module, "p"), "p", kind, rows)
            if len(rows)
            else torch.zeros(WIDTH, dtype=torch.float64)
            for rows in split(sequences)
        ]
    )
    close_all(module(sequences), expected, [sequences.values], module, dtype)


def test_attention_pooling_starts_as_the_mean():
    sequences = ragged(POOLED)
    close(AttentionPooling(WIDTH).double()(sequences), sequences.mean())


def test_attention_pooling_of_no_rows_gives_zeros():
    assert torch.equal(AttentionPooling(WIDTH)(ragged([0, 0])), torch.zeros(2, WIDTH).double())


def test_attention_pooling_passes_gradcheck():
    module, sequences = make(AttentionPooling(WIDTH)), ragged(POOLED)

    def call(inner, values):
        return inner(sequences.with_values(values))

    assert passes_gradcheck(module, call, sequences.values)


PRESENT = torch.tensor(
    [[True, True, True], [True, False, True], [False, True, False], [False, True, True]]
)


def summaries(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 3, WIDTH, generator=generator, dtype=torch.float64)
    return values.to(dtype).requires_grad_()


@both_precisions
def test_concatenation_fusion_equals_loop(dtype):
    module, s = make(ConcatenationFusion(3, WIDTH), dtype), summaries(dtype)
    fused, gates = module(s, PRESENT)
    p, expected = state_of(module), []
    for i in range(4):
        side_by_side = []
        for m in range(3):
            row = s[i, m].double()
            side_by_side.append(row if PRESENT[i, m] else torch.zeros_like(row))
            share = 1 / int(PRESENT[i].sum()) if PRESENT[i, m] else 0.0
            assert gates[i, m].item() == pytest.approx(share)
        expected.append(plain.linear(p, "linear", torch.cat(side_by_side)))
    close_all(fused, torch.stack(expected), [s], module, dtype)


@pytest.mark.parametrize("kind", ["sum", "softmax", "concatenation"])
def test_fusion_passes_gradcheck_in_summaries_and_parameters(kind):
    module = (
        ConcatenationFusion(3, WIDTH) if kind == "concatenation" else GatedFusion(3, WIDTH, kind)
    )
    assert passes_gradcheck(
        make(module), lambda inner, values: inner(values, PRESENT)[0], summaries()
    )


@pytest.mark.parametrize("kind", ["sum", "softmax"])
def test_feature_interaction_and_gates_equal_loop(kind):
    statistics = {name: FrameStatistics(np.zeros(2), np.ones(2)) for name in "abc"}
    encoder = UMCEncoder(hidden_width=WIDTH, n_heads=HEADS, feature_interaction=True, fusion=kind)
    network = make(encoder.build(statistics, "a"))
    s, p = summaries(), state_of(network)
    output = network._fuse(dict(zip("abc", s.unbind(1), strict=True)), PRESENT)
    for i in range(4):
        kept = [m for m in range(3) if PRESENT[i, m]]
        tokens = s[i, kept]
        mixed = plain.attention(p, "interaction", tokens, tokens, HEADS) + tokens
        by_name = {"abc"[m]: row for m, row in zip(kept, mixed, strict=True)}
        gates = plain.gates_of(p, by_name, ["a", "b", "c"], kind)
        h = sum(gates[name] * row for name, row in by_name.items())
        close(output.embedding[i], h / h.norm())
        for m, name in enumerate("abc"):
            close(output.gates[i, m], gates.get(name, torch.zeros(())))
