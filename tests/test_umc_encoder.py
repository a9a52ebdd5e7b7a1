"""The assembled encoders against plain loops, stage by stage and view by view."""

import time
from itertools import combinations, cycle, product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from data_makers import make_sequences, pad
from fitting import WITHOUT_NEIGHBORS, Rising
from plain_encoder import (
    CPU,
    WIDTHS,
    PlainEncoder,
    all_subsets,
    attention_weights,
    in_double,
    linear,
    make_batch,
    norm,
    samples_of,
    shake,
    softmax,
    state_of,
)
from skumc import MultimodalData, UMCClusterer
from skumc._batches import to_batch
from skumc.encoders import (
    CausalEncoder,
    CausalNetwork,
    EncoderOutput,
    FrameStatistics,
    ProjectionEncoder,
    UMCEncoder,
    UMCNetwork,
    hide_modalities,
    masked_mean,
)
from skumc.pairs import leave_one_out_views
from skumc.text import TextModel
from skumc.training import Optimization
from skumc.training._embedding import embed

NAMES = ("audio", "text", "video")  # the anchor is not the first

DEFAULTS = {
    "hidden_width": 8,
    "n_heads": 2,
    "dropout": 0.1,
    "dual_projection": "dual",
    "cross_attention": True,
    "guided_attention": True,
    "n_self_attention_layers": 2,
    "anchor_summary": "mean",
    "pooling": "mean",
    "feature_interaction": False,
    "fusion": "sum",
    "fusion_norm": False,
    "contrastive_projector": False,
    "clustering_projector": False,
    "missing": "absent",
    "max_positions": None,
    "shortcuts": False,
}

SWITCHES = {
    "dual_projection": ("dual", "linear", None),
    "cross_attention": (True, False),
    "guided_attention": (True, False),
    "n_self_attention_layers": (2, 0),
    "anchor_summary": ("mean", "cls", "enhanced"),
    "pooling": ("mean", "attention"),
    "feature_interaction": (False, True),
    "fusion": ("sum", "softmax", "concatenation"),
    "fusion_norm": (False, True),
    "missing": ("absent", "zeros"),
}
EVERY = [dict(zip(SWITCHES, values, strict=True)) for values in product(*SWITCHES.values())]


def _pairwise(settings):
    """Choose few settings in which any two values of any two switches meet."""
    pairs = [set(combinations(((k, str(v)) for k, v in s.items()), 2)) for s in settings]
    chosen, missing = [], set().union(*pairs)
    while missing:
        best = max(range(len(settings)), key=lambda i: len(pairs[i] & missing))
        missing -= pairs[best]
        chosen.append(settings[best])
    return chosen


SOME = _pairwise(EVERY)


def name_of(settings):
    return "-".join(str(value) for value in settings.values())


some_settings = pytest.mark.parametrize("switches", SOME, ids=name_of)


def statistics_of(names, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: FrameStatistics(rng.normal(size=WIDTHS[name]), rng.uniform(1, 2, WIDTHS[name]))
        for name in names
    }


def build(names=NAMES, anchor="text", statistics=None, shaken=0.3, **switches):
    settings = DEFAULTS | switches
    torch.default_generator.manual_seed(0)
    network = UMCEncoder(**settings).build(statistics or statistics_of(names), anchor)
    return shake(network, scale=shaken), settings


def build_for(X, **switches):
    statistics = {name: FrameStatistics(*X.packed(name).mean_and_scale()) for name in X.names}
    return build(X.names, "text", statistics, **switches)[0].eval()


def close(found, expected, atol=1e-5):
    found, expected = (
        value.detach() if isinstance(value, torch.Tensor) else value for value in (found, expected)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def close_outputs(output, expected, atol):
    embedding, gates, projections = expected
    close(output.embedding, embedding, atol)
    close(output.gates, gates, atol)
    assert output.projections.keys() == projections.keys()
    for kind, values in projections.items():
        close(output.projections[kind], values, atol)


def mixture(outputs, seed=0):
    """A number that depends on each part of the output of each view in its own way."""
    generator = torch.Generator().manual_seed(seed)
    total = 0
    for embedding, gates, projections in outputs:
        for values in (embedding, gates, *projections.values()):
            weights = torch.randn(values.shape, generator=generator, dtype=torch.float64)
            total = total + (values * weights.to(values.dtype)).sum()
    return total


def gradients_of(network, loss):
    network.zero_grad()
    loss.backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in network.named_parameters()
    }


def close_gradients(found, expected, atol=1e-9):
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=atol, err_msg=name)


def test_any_two_values_of_two_switches_meet_in_the_sample():
    for one, other in combinations(SWITCHES, 2):
        expected = set(product(SWITCHES[one], SWITCHES[other]))
        assert {(s[one], s[other]) for s in SOME} == expected
    assert len(SOME) < 25


# the whole against plain loops

PROJECTORS = {"contrastive_projector": True, "clustering_projector": True}
REFERENCE_VIEWS = [NAMES, ("text", "video"), ("text",), ("audio",)]


@some_settings
def test_network_equals_plain_loops_in_values_and_gradients(switches):
    network, settings = build(**switches, **PROJECTORS)
    in_double(network).eval()
    batch = make_batch(NAMES)
    plain = PlainEncoder(network, settings, NAMES, "text")
    expected = [plain.encode_all(batch, view) for view in REFERENCE_VIEWS]
    found = network.forward_views(batch, REFERENCE_VIEWS)
    for output, values in zip(found, expected, strict=True):
        close_outputs(output, values, 1e-10)
    close_gradients(gradients_of(network, mixture(found)), gradients_of(network, mixture(expected)))


@some_settings
def test_float32_network_equals_plain_loops(switches):
    network, settings = build(**switches, **PROJECTORS)
    network.eval()
    batch = make_batch(NAMES, torch.float32, seed=1)
    expected = PlainEncoder(network, settings, NAMES, "text").encode_all(batch)
    close_outputs(network(batch), expected, 1e-5)


@pytest.mark.parametrize("anchor_summary", SWITCHES["anchor_summary"])
@pytest.mark.parametrize("pooling", SWITCHES["pooling"])
@pytest.mark.parametrize("n_layers", [0, 1, 3])
@pytest.mark.parametrize("names", [("text",), ("text", "scent"), ("video", "scent", "text")])
def test_any_number_of_modalities_and_layers_equals_plain_loops(
    names, n_layers, pooling, anchor_summary
):
    network, settings = build(
        names,
        n_self_attention_layers=n_layers,
        pooling=pooling,
        anchor_summary=anchor_summary,
        feature_interaction=True,
        fusion_norm=True,
    )
    in_double(network).eval()
    batch = make_batch(names, seed=2)
    expected = PlainEncoder(network, settings, names, "text").encode_all(batch)
    close_outputs(network(batch), expected, 1e-10)


# parameters


def expected_parameters(s, names, anchor):
    """Names of the parameters that the stages that are on need, and no others."""
    others = [name for name in names if name != anchor]
    enhanced = s["anchor_summary"] == "enhanced"
    attends = s["n_self_attention_layers"] > 0 and (others or enhanced)
    guides = others and (s["cross_attention"] or s["guided_attention"])
    pooled = [anchor, *others] if enhanced else others
    found = set()

    def linear(*places):
        found.update(f"{place}.{part}" for place in places for part in ("weight", "bias"))

    def attention(place):
        found.update(f"{place}.{part}.weight" for part in ("query", "key", "value", "output"))

    for m, name in enumerate(names):
        if name != anchor or guides or attends or s["anchor_summary"] != "cls":
            linear(f"projections.{m}.linear", f"projections.{m}.norm")
        if name != anchor and s["dual_projection"] == "dual":
            linear(*(f"refinements.{m}.{part}" for part in ("norm", "similar", "dissimilar")))
            found.add(f"refinements.{m}.fusion.weight")
        if name != anchor and s["dual_projection"] == "linear":
            linear(f"refinements.{m}.linear")
    for m in range(len(others)):
        for stage in ("cross", "guided"):
            if s[f"{stage}_attention"]:
                attention(f"guided.streams.{m}.{stage}")
    if attends:
        for layer in range(s["n_self_attention_layers"]):
            attention(f"guided.self_attention.layers.{layer}")
        linear(*(f"guided.norms.{m}" for m in range(len(pooled))))
    if s["pooling"] == "attention":
        found.update(f"guided.pools.{m}.query" for m in range(len(pooled)))
    if others and (guides or attends) and s["missing"] == "absent":
        found.add("guided.stand_in")
    if s["anchor_summary"] == "cls":
        linear("cls")
    if others and s["feature_interaction"]:
        attention("interaction")
    if others:
        linear("fusion.linear" if s["fusion"] == "concatenation" else "fusion")
    if s["fusion_norm"]:
        linear("fusion_norm")
    for kind in ("contrastive", "clustering"):
        if s[f"{kind}_projector"]:
            linear(f"projectors.{kind}.0", f"projectors.{kind}.2")
    return found


def check_training(switches, n_steps=2, names=NAMES, anchor="text"):
    """Every parameter is needed, gets a gradient at each step in training mode, and moves."""
    network, settings = build(names, anchor, **switches)
    network.train()
    named = dict(network.named_parameters())
    assert set(named) == expected_parameters(settings, names, anchor)
    before = {name: p.detach().clone() for name, p in named.items()}
    batch = make_batch(names, torch.float32)
    views = leave_one_out_views(names, anchor)
    optimizer = torch.optim.Adam(named.values(), lr=1e-2)
    for _ in range(n_steps):
        gradients = gradients_of(network, mixture(network.forward_views(batch, views)))
        for name, gradient in gradients.items():
            assert torch.isfinite(gradient).all(), name
            assert (gradient != 0).any(), name
        optimizer.step()
    for name, p in named.items():
        assert not torch.equal(p, before[name]), name


@some_settings
def test_every_parameter_is_needed_and_trained(switches):
    check_training(switches | PROJECTORS)


def each_combination(kind, missing):
    """Combinations of all switches, in turns with both projectors, one of them, and none.

    The order is drawn, so that no switch goes with a choice of projectors.
    """
    chosen = [s for s in EVERY if s["dual_projection"] == kind and s["missing"] == missing]
    assert len(chosen) == 576
    order = np.random.default_rng(0).permutation(len(chosen))
    projectors = cycle(product((True, False), repeat=2))
    for place, (contrastive, clustering) in zip(order, projectors, strict=False):
        yield chosen[place] | {
            "contrastive_projector": contrastive,
            "clustering_projector": clustering,
        }


def sweep(check, kind, missing):
    """Run a check on each combination; a failure names it."""
    for switches in each_combination(kind, missing):
        try:
            check(switches)
        except Exception as error:
            error.add_note(str(switches))
            raise


every_combination = pytest.mark.parametrize(
    ("kind", "missing"), list(product(SWITCHES["dual_projection"], SWITCHES["missing"]))
)


@pytest.mark.slow
@every_combination
def test_every_parameter_of_every_combination_is_needed_and_trained(kind, missing):
    sweep(check_training, kind, missing)


@pytest.mark.parametrize("anchor_summary", SWITCHES["anchor_summary"])
@pytest.mark.parametrize("pooling", SWITCHES["pooling"])
@pytest.mark.parametrize("n_layers", [2, 0])
def test_anchor_alone_has_the_parameters_it_needs(n_layers, pooling, anchor_summary):
    network, settings = build(
        ("text",),
        n_self_attention_layers=n_layers,
        pooling=pooling,
        anchor_summary=anchor_summary,
        feature_interaction=True,
    )
    assert set(dict(network.named_parameters())) == expected_parameters(settings, ("text",), "text")
    batch = make_batch(("text",), torch.float32, complete=True)
    gradients = gradients_of(network, mixture(network.forward_views(batch, [("text",)] * 2)))
    assert all((gradient != 0).any() for gradient in gradients.values())


# dropout


def dropouts_of(network):
    """Modules with dropout by name; torch's attention keeps a number instead of a module."""
    return {
        name: part
        for name, part in network.named_modules()
        if isinstance(part, (nn.Dropout, nn.MultiheadAttention))
    }


def share_of(part):
    return part.p if isinstance(part, nn.Dropout) else part.dropout


def set_share(part, share):
    setattr(part, "p" if isinstance(part, nn.Dropout) else "dropout", share)


def umc_dropouts(settings):
    """Places in the dual projections, each attention, and before the fusion."""
    found = {"dropout"}
    for m in (0, 2):
        if settings["dual_projection"] == "dual":
            found.add(f"refinements.{m}.dropout")
    for m in (0, 1):
        for stage in ("cross", "guided"):
            if settings[f"{stage}_attention"]:
                found.add(f"guided.streams.{m}.{stage}.dropout")
    for layer in range(settings["n_self_attention_layers"]):
        found.add(f"guided.self_attention.layers.{layer}.dropout")
    if settings["feature_interaction"]:
        found.add("interaction.dropout")
    return found


CAUSAL_DROPOUTS = {"fusion.1", "head.1"} | {
    f"towers.{m}.layer.{part}"
    for m in (0, 1)
    for part in ("self_attn", "dropout", "dropout1", "dropout2")
}


def check_dropout(network, places, share):
    """Each place drops the share and alone changes training; none changes evaluation."""
    dropouts = dropouts_of(network)
    assert {name: share_of(part) for name, part in dropouts.items()} == dict.fromkeys(places, share)
    batch = make_batch(NAMES, torch.float32, complete=True)

    def look():
        with torch.no_grad():
            output = network(batch)
        return torch.cat([output.embedding, *output.projections.values()], dim=1)

    calm = (network.eval(), look())[1]
    assert torch.equal(look(), calm)
    for part in dropouts.values():
        set_share(part, 0.0)
    network.train()
    close(look(), calm)
    for name, part in dropouts.items():
        set_share(part, 0.5)
        assert not torch.allclose(look(), calm, atol=1e-3), name
        set_share(part, 0.0)


@some_settings
def test_dropout_is_where_it_should_be_and_acts(switches):
    network, settings = build(dropout=0.25, **switches)
    check_dropout(network, umc_dropouts(settings), 0.25)


def test_dropout_of_the_other_encoders_acts():
    torch.default_generator.manual_seed(0)
    plain = ProjectionEncoder(hidden_width=8, dropout=0.25, input_dropout=0.25, input_noise=0.0)
    places = {"paths.input_dropout"} | {f"paths.refinements.{m}.dropout" for m in range(3)}
    check_dropout(shake(plain.build(statistics_of(NAMES), "text")), places, 0.25)
    pooled = plain.set_params(dual_projection=False).build(statistics_of(NAMES), "text")
    check_dropout(shake(pooled), {"paths.input_dropout"}, 0.25)
    causal = CausalEncoder(hidden_width=8, n_heads=2, dropout=0.25)
    check_dropout(shake(causal.build(statistics_of(NAMES), "text")), CAUSAL_DROPOUTS, 0.25)


# padding, batches, order, missing modalities


@some_settings
@pytest.mark.parametrize("fill", [np.nan, 1e30])
def test_padding_and_its_values_never_change_anything(switches, fill):
    X, _ = make_sequences(n_samples=12, missing=True)
    network = build_for(X, **switches)
    expected = embed(network, X, CPU, "float32")
    found = embed(
        network, MultimodalData.from_padded(*pad(X, n_extra=4, fill=fill)), CPU, "float32"
    )
    close(found.embedding, expected.embedding)
    close(found.gates, expected.gates)


@some_settings
def test_batch_size_and_order_never_change_anything(switches, monkeypatch):
    X, _ = make_sequences(n_samples=12, missing=True)
    network = build_for(X, clustering_projector=True, **switches)
    expected = embed(network, X, CPU, "float32")
    order = np.random.default_rng(1).permutation(len(X))
    for whole, part in zip(expected, embed(network, X[order], CPU, "float32"), strict=True):
        close(part, whole[order])
    for budget in (1, 12):
        monkeypatch.setattr("skumc.data._inference_batches._INFERENCE_FRAMES", budget)
        for whole, part in zip(expected, embed(network, X, CPU, "float32"), strict=True):
            close(part, whole)


@some_settings
def test_padding_inside_the_network_never_changes_training_gradients(switches):
    # a batch with a long sample pads the others; without dropout its parts add up
    network, _ = build(**switches | {"dropout": 0.0})
    in_double(network).train()
    long, short = make_batch(NAMES, seed=3, complete=True), make_batch(NAMES, seed=4)
    both = {
        name: tuple(torch.cat(parts) for parts in zip(long[name], short[name], strict=True))
        for name in NAMES
    }
    loss = sum(network(part).embedding[:, 0].sum() for part in (long, short))
    apart = gradients_of(network, loss)
    close_gradients(gradients_of(network, network(both).embedding[:, 0].sum()), apart)


@some_settings
def test_missing_modality_equals_its_absent_view(switches):
    network, _ = build(**switches, **PROJECTORS)
    in_double(network).eval()
    batch = make_batch(NAMES, complete=True)
    n_samples = len(batch["text"][1])
    for view in all_subsets(NAMES):
        absent = {
            name: (frames, lengths)
            if name in view
            else (frames[:0], torch.zeros(n_samples, dtype=torch.long))
            for name, (frames, lengths) in batch.items()
        }
        shown = network.forward_views(batch, [NAMES, view])[1]
        close_outputs(shown, network(absent), 1e-10)
        hidden = torch.tensor([name not in view for name in NAMES])
        if switches["missing"] == "absent":
            assert (shown.gates[:, hidden] == 0).all()
            assert (shown.gates[:, ~hidden] > 0).all()


@some_settings
def test_gates_sum_to_one_and_embeddings_have_unit_norm(switches):
    network, _ = build(**switches)
    batch = make_batch(NAMES, torch.float32)
    for output in network.forward_views(batch, all_subsets(NAMES)):  # in training mode
        close(output.gates.sum(dim=1), np.ones(7))
        close(output.embedding.norm(dim=1), np.ones(7))
    present = torch.stack([batch[name][1] > 0 for name in NAMES], dim=1)
    gates = network(batch).gates
    if switches["missing"] == "absent":
        assert torch.equal(gates > 0, present) and (gates[~present] == 0).all()
    else:
        assert (gates > 0).all()


LEFT_OUT = [tuple(n for n in NAMES if n != left_out) for left_out in (None, *NAMES)]


def one_batch_of(samples):
    """A batch of dicts from modality to frames; modalities not in a dict are missing."""
    batch = {}
    for name in NAMES:
        frames = [sample.get(name, torch.zeros(0, WIDTHS[name])).float() for sample in samples]
        batch[name] = (torch.cat(frames), torch.tensor([len(f) for f in frames]))
    return batch


def check_laws(switches):
    """Padding, garbage, row order, batch size, gates, and missing like hidden, in float32.

    One batch in four views is compared with the views' samples without the hidden modalities,
    shuffled into one larger batch with a long sample of huge values (which pads all others), and
    with a sample alone.
    """
    # shaken harder, softmaxes get so sharp that rounding alone comes near the tolerance
    network = build(shaken=0.2, **switches)[0].eval()
    samples = samples_of(make_batch(NAMES, torch.float32, seed=7))
    hidden = [{n: x for n, x in s.items() if n in v} or s for v in LEFT_OUT for s in samples]
    giant = {name: torch.full((12, WIDTHS[name]), 1e4) for name in NAMES}
    order = np.random.default_rng(0).permutation(len(hidden) + 1)
    with torch.no_grad():
        views = network.forward_views(one_batch_of(samples), LEFT_OUT)
        mixed = network(one_batch_of([[*hidden, giant][place] for place in order]))
        alone = network(one_batch_of(samples[:1]))
    place_of = np.argsort(order)[:-1]
    gates = torch.cat([view.gates for view in views])
    embedding = torch.cat([view.embedding for view in views])
    close(mixed.gates[place_of], gates)
    close(mixed.embedding[place_of], embedding)
    close(alone.embedding[0], embedding[0])
    for kind in mixed.projections:
        expected = torch.cat([view.projections[kind] for view in views])
        scale = float(expected.abs().max())
        close(mixed.projections[kind][place_of] / scale, expected / scale)
    close(gates.sum(dim=1), np.ones(len(hidden)))
    close(embedding.norm(dim=1), np.ones(len(hidden)))
    if switches["missing"] == "absent":
        present = torch.tensor([[name in sample for name in NAMES] for sample in hidden])
        assert torch.equal(gates > 0, present) and (gates[~present] == 0).all()


@pytest.mark.slow
@every_combination
def test_laws_hold_for_every_combination(kind, missing):
    sweep(check_laws, kind, missing)


# views


@pytest.mark.parametrize(
    ("names", "anchor"),
    [
        (names, anchor)
        for names in (("text",), ("audio", "text"), NAMES, ("audio", "scent", "text", "video"))
        for anchor in names
    ],
)
@pytest.mark.parametrize("missing", SWITCHES["missing"])
@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"anchor_summary": "enhanced", "guided_attention": False, "feature_interaction": True},
        {"anchor_summary": "cls", "cross_attention": False, "guided_attention": False},
        {
            "cross_attention": False,
            "guided_attention": False,
            "n_self_attention_layers": 0,
            "fusion": "concatenation",
            "pooling": "attention",
        },
    ],
    ids=["default", "enhanced", "own_lengths", "plain"],
)
def test_views_equal_separate_passes(names, anchor, missing, switches):
    network, _ = build(names, anchor, missing=missing, **PROJECTORS, **switches)
    in_double(network).eval()
    batch = make_batch(names, seed=5)
    views = [view[::-1] for view in all_subsets(names)]  # also those that hide the anchor
    together = network.forward_views(batch, views)
    alone = [network(hide_modalities(batch, view)) for view in views]
    for shared, own in zip(together, alone, strict=True):
        close_outputs(shared, own, 1e-10)
    close_gradients(gradients_of(network, mixture(together)), gradients_of(network, mixture(alone)))


@some_settings
def test_views_of_training_equal_separate_passes(switches):
    network, _ = build(**switches, **PROJECTORS)
    in_double(network).eval()
    batch, views = make_batch(NAMES, seed=6), leave_one_out_views(NAMES, "text")
    together = network.forward_views(batch, views)
    alone = [network(hide_modalities(batch, view)) for view in views]
    for shared, own in zip(together, alone, strict=True):
        close_outputs(shared, own, 1e-10)
    close_gradients(gradients_of(network, mixture(together)), gradients_of(network, mixture(alone)))


@pytest.mark.parametrize("missing", SWITCHES["missing"])
def test_sample_left_with_nothing_keeps_all_it_has(missing):
    network, _ = build(missing=missing)
    in_double(network).eval()
    batch = make_batch(NAMES)
    full, text_only = network.forward_views(batch, [NAMES, ("text",)])
    lacks_text = batch["text"][1] == 0
    assert lacks_text.sum() == 3
    close(text_only.embedding[lacks_text], full.embedding[lacks_text], 1e-10)
    close(text_only.gates[lacks_text], full.gates[lacks_text], 1e-10)
    (alone,) = network.forward_views(batch, [("text",)])  # no view asks for the others
    close_outputs(alone, text_only, 1e-10)


@pytest.mark.parametrize("kind", ["alone", "views"])
def test_grouping_samples_by_length_changes_nothing(monkeypatch, kind):
    network, _ = build(dropout=0.0, contrastive_projector=True)
    in_double(network).train()
    batch = make_batch(NAMES)
    n_samples = len(batch["text"][1])
    views = [NAMES, NAMES[:2], NAMES[1:]] if kind == "views" else [NAMES]
    expected = network.forward_views(batch, views)
    sizes = []
    together = type(network)._forward_together
    monkeypatch.setattr(
        type(network),
        "_forward_together",
        lambda self, part, views: sizes.append(len(part["text"][1])) or together(self, part, views),
    )
    monkeypatch.setattr("skumc.encoders._umc_network._GROUP_SIZE", 2)
    found = network.forward_views(batch, views)
    assert sum(sizes[: n_samples // 2]) >= n_samples and max(sizes) <= 3
    for output, before in zip(found, expected, strict=True):
        close_outputs(output, before, 1e-10)
    close_gradients(gradients_of(network, mixture(found)), gradients_of(network, mixture(expected)))


@pytest.fixture
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a thread that waits counts as time
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.slow
def test_sharing_saves_time(one_thread):
    torch.default_generator.manual_seed(0)
    names, lengths, widths = ("text", "video", "audio"), (30, 60, 120), (768, 1024, 768)
    statistics = {
        name: FrameStatistics(np.zeros(width), np.ones(width))
        for name, width in zip(names, widths, strict=True)
    }
    network = UMCEncoder().build(statistics, "text").train()
    batch = {
        name: (torch.randn(64 * length, width), torch.full((64,), length))
        for name, length, width in zip(names, lengths, widths, strict=True)
    }
    views = leave_one_out_views(names, "text")

    def together():
        return network.forward_views(batch, views)

    def apart():
        return [network(hide_modalities(batch, view)) for view in views]

    operations = []
    for encode in (together, apart):
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            mixture(encode()).backward()
        operations.append(counter.get_total_flops())
    counted = operations[0] / operations[1]
    assert counted <= 0.6
    seconds = {together: [], apart: []}
    for _ in range(20):
        for encode, taken in seconds.items():
            network.zero_grad()
            start = time.process_time()
            mixture(encode()).backward()
            taken.append(time.process_time() - start)
    shared, separate = (np.array(taken[1:]) for taken in seconds.values())
    ratio = float(np.median(shared / separate))  # of runs close in time, because machines are noisy
    print(f"views cost {ratio:.3f} of separate passes, {counted:.3f} in operations of products")
    assert ratio <= 0.6


# switches per modality, and errors


def test_dual_projection_has_its_own_switch_for_each_modality():
    names = ("text", "audio", "video", "scent")
    switch = {"dual_projection": {"audio": "dual", "video": "linear", "scent": None}}
    network, settings = build(names, **switch)
    found = {name for name in dict(network.named_parameters()) if "refinements" in name}
    assert {name.split(".")[1] for name in found} == {"1", "2"}
    assert "refinements.1.similar.weight" in found and "refinements.2.linear.weight" in found
    in_double(network).eval()
    batch = make_batch(names, complete=True)
    expected = PlainEncoder(network, settings, names, "text").encode_all(batch)
    close_outputs(network(batch), expected, 1e-10)


def test_modality_that_the_dict_does_not_name_is_not_refined():
    network, _ = build(dual_projection={"video": "dual"})
    assert {n.split(".")[1] for n, _ in network.named_parameters() if "refinements" in n} == {"2"}
    given = {"video": "dual"}
    encoder = UMCEncoder(hidden_width=8, n_heads=2, dual_projection=given)
    encoder.build(statistics_of(NAMES), "text")
    assert given == {"video": "dual"} and encoder.dual_projection is given


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"dual_projection": {"vidoe": "dual"}},
            "Got dual_projection modality='vidoe', expected one of 'audio', 'video'. Did you mean "
            "'video'?",
        ),
        (
            {"dual_projection": {"text": "dual"}},
            "Got dual_projection modality='text', expected one of 'audio', 'video'.",
        ),
        (
            {"dual_projection": {"audio": "triple"}},
            "Got dual_projection['audio']='triple', expected 'dual', 'linear' or None.",
        ),
        ({"n_heads": 3}, "Got n_heads=3 for hidden_width=8, expected a divisor of it."),
    ],
)
def test_error_says_what_was_expected(parameters, message):
    with pytest.raises(ValueError) as error:
        build(**parameters)
    assert str(error.value) == message


@pytest.mark.parametrize("encoder", [UMCEncoder, CausalEncoder])
def test_heads_that_do_not_divide_the_width_are_refused_by_fit(encoder):
    X, _ = make_sequences()
    with pytest.raises(ValueError, match="^Got n_heads=4 for hidden_width=10, expected a div"):
        UMCClusterer(2, encoder=encoder(hidden_width=10, n_heads=4)).fit(X)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("hidden_width", 0),
        ("n_heads", 0),
        ("dropout", 1.0),
        ("dual_projection", "triple"),
        ("cross_attention", "yes"),
        ("guided_attention", None),
        ("n_self_attention_layers", -1),
        ("anchor_summary", "last"),
        ("pooling", "max"),
        ("feature_interaction", 2),
        ("fusion", "max"),
        ("fusion_norm", "yes"),
        ("contrastive_projector", "yes"),
        ("clustering_projector", "yes"),
        ("standardize", 2),
        ("missing", "nan"),
    ],
)
def test_parameter_outside_its_interval_is_named(parameter, value):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of UMCEncoder"):
        build(**{parameter: value})


def test_standardize_off_leaves_features_as_they_are():
    statistics = statistics_of(NAMES)
    neutral = {name: FrameStatistics(0 * s.mean, 0 * s.scale + 1) for name, s in statistics.items()}
    batch = make_batch(NAMES, torch.float32)
    off = build(statistics=statistics, standardize=False)[0].eval()(batch)
    on = build(statistics=statistics)[0].eval()(batch)
    close(off.embedding, build(statistics=neutral)[0].eval()(batch).embedding)
    assert not torch.allclose(off.embedding, on.embedding, atol=1e-2)


# attention weights


def fit(X, n_clusters=2, **parameters):
    defaults = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
    return UMCClusterer(n_clusters, **(defaults | parameters)).fit(X)


@pytest.mark.parametrize("missing", SWITCHES["missing"])
def test_attention_weights_equal_plain_loops(missing):
    X, _ = make_sequences(n_samples=12, missing=True)
    settings = DEFAULTS | {"missing": missing}
    fitted = fit(X, encoder=UMCEncoder(**settings))
    found = fitted.attention_weights(X)
    assert list(found) == ["audio", "video"]
    plain = PlainEncoder(fitted.encoder_, settings, X.names, "text")
    samples = samples_of(to_batch(X, np.arange(len(X))))
    for m, (name, cells) in enumerate(found.items()):
        assert len(cells) == len(X)
        for sample, weights in zip(samples, cells, strict=True):
            if name not in sample:
                assert weights is None
                continue
            n_anchor = len(sample["text"]) if "text" in sample else 1
            assert weights.shape == (2, n_anchor, len(sample[name]))
            assert weights.dtype == np.float32
            close(weights.sum(axis=2), np.ones((2, n_anchor)))
            if missing == "zeros" and "text" not in sample:
                sample = sample | {"text": torch.zeros(1, 5, dtype=torch.float64)}
            expected = attention_weights(
                plain.p,
                f"guided.streams.{m}.cross",
                plain.anchor_frames(sample),
                plain.frames(name, sample[name]),
                2,
            )
            close(weights, expected.detach())


def test_attention_weights_of_one_sample_and_in_any_order():
    X, _ = make_sequences(n_samples=12, missing=True)
    fitted = fit(X, encoder=UMCEncoder(hidden_width=8, n_heads=2))
    whole = fitted.attention_weights(X)["audio"]
    for row in (0, 1, 5):
        (alone,) = fitted.attention_weights(X[row : row + 1])["audio"]
        assert (alone is None) == (whole[row] is None)
        if alone is not None:
            close(alone, whole[row])


def test_attention_weights_need_cross_attention_and_another_modality():
    X, _ = make_sequences()
    encoder = UMCEncoder(hidden_width=8, n_heads=2, cross_attention=False)
    with pytest.raises(AttributeError, match="it has no cross-attention"):
        fit(X, encoder=encoder).attention_weights(X)
    alone = MultimodalData({"text": X.sequences("text")})
    encoder = UMCEncoder(hidden_width=8, n_heads=2)
    with pytest.raises(AttributeError, match="and several modalities"):
        fit(alone, encoder=encoder).attention_weights(alone)


@pytest.mark.parametrize(
    ("encoder", "name"), [("projection", "ProjectionNetwork"), ("causal", "CausalNetwork")]
)
def test_encoder_without_attention_weights_says_so(encoder, name):
    X, _ = make_sequences()
    fitted = fit(X, encoder=encoder, pretrain_epochs=0, max_epochs=0)
    with pytest.raises(AttributeError) as error:
        fitted.attention_weights(X)
    assert str(error.value) == (
        f"The encoder {name} has no attention_weights: it has no cross-attention. Use "
        'encoder="umc" and several modalities.'
    )


# the network of the ACL 2024 paper


def build_causal(names=NAMES, anchor="text"):
    torch.default_generator.manual_seed(0)
    encoder = CausalEncoder(hidden_width=8, n_heads=2)
    return shake(encoder.build(statistics_of(names), anchor)).eval()


def plain_causal(network, names, anchor, sample):
    """Embedding and contrastive projection of one sample, from its formulas."""
    p, parts, tower = state_of(network), [], 0
    for m, name in enumerate(names):
        frames = [
            (x - p[f"standardizations.{m}.mean"]) / p[f"standardizations.{m}.scale"]
            for x in sample.get(name, [])
        ]
        place = f"towers.{tower}"
        tower += name != anchor
        if not frames:
            parts.append(torch.zeros(8, dtype=torch.float64))
        elif name == anchor:
            parts.append(linear(p, "cls", frames[0]))
        else:
            parts.append(last_state(p, place, [linear(p, f"{place}.linear", x) for x in frames]))
    concatenated = torch.cat(parts)
    gelu = concatenated * (1 + torch.erf(concatenated / 2**0.5)) / 2
    h = linear(p, "fusion.2", gelu)
    return h / (h * h).sum() ** 0.5, linear(p, "head.2", torch.relu(h))


def last_state(p, place, frames):
    """A pre-norm transformer layer, read at the last frame, which attends to all before it."""
    place = f"{place}.layer"
    normal = [norm(p, f"{place}.norm1", x) for x in frames]
    weight, bias = p[f"{place}.self_attn.in_proj_weight"], p[f"{place}.self_attn.in_proj_bias"]
    q = weight[:8] @ normal[-1] + bias[:8]
    heads = []
    for own in (slice(0, 4), slice(4, 8)):
        keys = [(weight[8:16] @ x + bias[8:16])[own] for x in normal]
        values = [(weight[16:] @ x + bias[16:])[own] for x in normal]
        shares = softmax([(q[own] * k).sum() / 4**0.5 for k in keys])
        heads.append(sum(a * v for a, v in zip(shares, values, strict=True)))
    x = frames[-1] + linear(p, f"{place}.self_attn.out_proj", torch.cat(heads))
    hidden = torch.relu(linear(p, f"{place}.linear1", norm(p, f"{place}.norm2", x)))
    return x + linear(p, f"{place}.linear2", hidden)


@pytest.mark.parametrize(
    ("names", "anchor"),
    [(NAMES, "text"), (NAMES, "audio"), (("text",), "text"), (("audio", "text"), "text")],
)
def test_causal_network_equals_plain_loops_in_values_and_gradients(names, anchor):
    network = in_double(build_causal(names, anchor))
    batch = make_batch(names)
    samples = samples_of(batch)
    pairs = [plain_causal(network, names, anchor, sample) for sample in samples]
    embedding, head = (torch.stack(values) for values in zip(*pairs, strict=True))
    present = torch.tensor([[float(name in sample) for name in names] for sample in samples])
    expected = EncoderOutput(
        embedding, present / present.sum(dim=1, keepdim=True), {"contrastive": head}
    )
    found = network(batch)
    close_outputs(found, expected[:1] + (found.gates,) + expected[2:], 1e-10)
    close(found.gates, expected.gates, 1e-6)
    close_gradients(
        gradients_of(network, mixture([found])), gradients_of(network, mixture([expected]))
    )


def test_causal_network_in_inference_equals_plain_loops():
    X, _ = make_sequences(n_samples=12, missing=True)
    statistics = {name: FrameStatistics(*X.packed(name).mean_and_scale()) for name in X.names}
    network = shake(CausalEncoder(hidden_width=8, n_heads=2).build(statistics, "text"))
    samples = samples_of(to_batch(X, np.arange(len(X))))
    expected = [plain_causal(network, X.names, "text", sample)[0] for sample in samples]
    close(embed(network, X, CPU, "float32").embedding, torch.stack(expected))
    padded = MultimodalData.from_padded(*pad(X, n_extra=4, fill=np.nan))
    close(embed(network, padded, CPU, "float32").embedding, torch.stack(expected))
    close(embed(network, X[3:4], CPU, "float32").embedding[0], expected[3].detach())


def test_every_parameter_of_the_causal_network_is_trained():
    network, batch = build_causal().train(), make_batch(NAMES, torch.float32)
    views = [hide_modalities(batch, view) for view in leave_one_out_views(NAMES, "text")]
    gradients = gradients_of(network, mixture([network(view) for view in views]))
    for name, gradient in gradients.items():
        assert torch.isfinite(gradient).all() and (gradient != 0).any(), name


def test_causal_encoder_trains_inside_the_clusterer():
    X, topic = make_sequences(missing=True)
    untrained, fitted = (
        fit(
            X,
            encoder=CausalEncoder(hidden_width=8, n_heads=2),
            pretrain_epochs=0,
            max_epochs=max_epochs,
            optimization=Optimization(weight_decay=0.0),
            monitor=Rising(),
        )
        for max_epochs in (0, 2)
    )
    assert isinstance(fitted.encoder_, CausalNetwork)
    start = dict(untrained.encoder_.named_parameters())
    for name, values in fitted.encoder_.named_parameters():
        assert not torch.equal(values, start[name]), name
    assert fitted.embedding_.shape == (len(X), 8)
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)
    gates = fitted.modality_weights(X)
    close(gates, X.present / X.present.sum(axis=1, keepdims=True))
    assert (gates[~X.present] == 0).all()


# presets


def test_preset_source_is_the_printed_way():
    parameters = UMCClusterer.from_preset("source", 5).get_params()
    expected = {
        "n_clusters": 5,
        "encoder__anchor_summary": "cls",
        "encoder__missing": "zeros",
        "encoder__standardize": False,
        "encoder__hidden_width": 256,
        "encoder__n_heads": 8,
        "encoder__n_self_attention_layers": 2,
        "losses__supcon__average": "samples",
        "pairs": "dropout",
        "neighbors": "none",
        "monitor": "silhouette",
        "pseudo_labels": "selected",
        "supervised_views": "leave_one_out",
        "pretrain_epochs": 100,
        "max_epochs": 100,
        "optimization__optimizer": "adam",
        "optimization__min_epochs": 0,
        "optimization__weight_averaging": 0.0,
        "learning_rate": 3e-4,
        "pretrain_learning_rate": 2e-5,
        "optimization__weight_decay": 0.01,
        "optimization__schedule": "cosine",
        "text__layer": None,
        "text__n_trainable_layers": 1,
        "losses__supcon__temperature": 1.4,
        "losses__contrastive__temperature": 1.0,
        "losses__infonce__temperature": 0.2,
        "batch_size": 128,
    }
    assert {name: parameters[name] for name in expected} == expected


def test_preset_acl2024_is_the_paper():
    clusterer = UMCClusterer.from_preset("acl2024")
    assert isinstance(clusterer.encoder, CausalEncoder)
    terms = clusterer.losses.terms()
    weights = {role: weight for role, (weight, _) in terms.items()}
    assert weights == {
        "infonce": 1,
        "supcon": 1,
        "contrastive": 1,
        "compactness": 0,
        "separation": 0,
    }
    temperatures = [terms[role][1].temperature for role in ("supcon", "contrastive", "infonce")]
    assert temperatures == [1.4, 1.0, 0.2]
    for epoch in range(18):
        threshold = clusterer.threshold.update(epoch, 18, 0.0, 0.0)
        assert threshold == pytest.approx(min(0.1 + 0.05 * epoch, 1.0))
    assert clusterer.selector.candidates == pytest.approx([0.1 + 0.02 * i for i in range(11)])
    assert (clusterer.pretrain_epochs, clusterer.max_epochs) == (100, 18)
    optimization = clusterer.optimization
    assert (optimization.optimizer, optimization.schedule) == ("adamw", "linear")
    assert (optimization.weight_decay, optimization.weight_averaging) == (0.01, 0.0)
    assert (clusterer.patience, clusterer.pairs) == (None, "views")
    assert {name: getattr(clusterer, name) for name in WITHOUT_NEIGHBORS} == WITHOUT_NEIGHBORS
    assert (clusterer.learning_rate, clusterer.pretrain_learning_rate) == (3e-4, 2e-5)
    assert (clusterer.text.layer, clusterer.text.n_trainable_layers) == (None, 1)


@pytest.mark.parametrize(
    ("preset", "network"), [("source", UMCNetwork), ("acl2024", CausalNetwork)]
)
def test_preset_fits_where_modalities_are_missing(preset, network):
    X, _ = make_sequences(missing=True)
    fitted = UMCClusterer.from_preset(
        preset, 2, pretrain_epochs=1, max_epochs=1, random_state=0
    ).fit(X)
    assert isinstance(fitted.encoder_, network)
    assert len(set(fitted.labels_)) == 2 and fitted.embedding_.shape == (len(X), 256)
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)


def test_keyword_takes_precedence_over_preset():
    encoder = UMCEncoder(hidden_width=8)
    clusterer = UMCClusterer.from_preset("source", 3, encoder=encoder, max_epochs=2)
    assert clusterer.encoder is encoder and clusterer.max_epochs == 2
    assert clusterer.pairs == "dropout" and clusterer.n_clusters == 3
    nested = UMCClusterer.from_preset("source", encoder__cross_attention=False)
    assert not nested.encoder.cross_attention and nested.encoder.anchor_summary == "cls"


def test_name_of_a_text_model_keeps_the_layers_of_the_preset():
    clusterer = UMCClusterer.from_preset("source", text="folder")
    assert clusterer.text.get_params() == TextModel("folder", **PRINTED).get_params()
    whole = TextModel("folder", layer=3)
    assert UMCClusterer.from_preset("source", text=whole).text is whole


PRINTED = {"layer": None, "n_trainable_layers": 1}


def test_presets_share_no_parts():
    first, second = (UMCClusterer.from_preset("source") for _ in range(2))
    first.set_params(encoder__hidden_width=16)
    assert second.encoder.hidden_width == 256


def test_unknown_preset_is_named():
    with pytest.raises(ValueError) as error:
        UMCClusterer.from_preset("sourse")
    assert str(error.value) == (
        "Got name='sourse', expected one of 'acl2024', 'source'. Did you mean 'source'?"
    )


# the space that each loss reads


def recording_losses():
    """Losses that record their inputs, by role."""
    seen = {}

    def loss_of(role):
        def loss(*inputs):
            seen.setdefault(role, []).append([value.detach().clone() for value in inputs])
            return inputs[0].square().mean()

        return loss

    roles = ("infonce", "supcon", "contrastive", "compactness", "separation")
    return {role: loss_of(role) for role in roles}, seen


class ThreeSpaces(nn.Module):
    """An embedding of width 4, a contrastive space of width 5, a clustering space of width 6."""

    def __init__(self):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(5, width) for width in (4, 5, 6))

    def forward(self, batch):
        pooled = masked_mean(*batch["text"])
        h, contrastive, clustering = (part(pooled) for part in self.maps)
        projections = {"contrastive": contrastive, "clustering": clustering}
        h = nn.functional.normalize(h, dim=-1)
        return EncoderOutput(h, torch.ones(len(h), 1), projections)


@pytest.mark.usefixtures("no_trial")
def test_each_loss_reads_its_own_space():
    X, _ = make_sequences()
    losses, seen = recording_losses()
    settings = {"threshold": "constant"} | WITHOUT_NEIGHBORS
    fitted = fit(X, encoder=ThreeSpaces(), losses=losses, **settings)
    assert seen["infonce"][0][0].shape == (24, 2, 5)
    assert seen["contrastive"][0][0].shape[1:] == (2, 5)
    views, labels = seen["supcon"][0]
    assert views.shape == (len(labels), 3, 5)
    read, labels, centers = seen["compactness"][0]
    assert read.shape == (len(labels), 6) and centers.shape == (2, 6)
    assert seen["separation"][0][0].shape == (2, 6)
    assert fitted.cluster_centers_.shape == (2, 4) and fitted.embedding_.shape == (24, 4)


def is_among(rows, table, atol=1e-4):
    return (torch.cdist(rows.double(), table.double()).min(dim=1).values < atol).all()


@pytest.mark.usefixtures("no_trial")
@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("clustering", [True, False])
def test_losses_read_the_projectors_where_they_are_on(contrastive, clustering):
    X, _ = make_sequences()
    losses, seen = recording_losses()
    encoder = UMCEncoder(
        hidden_width=8,
        n_heads=2,
        dropout=0.0,
        contrastive_projector=contrastive,
        clustering_projector=clustering,
        shortcuts=False,
    )
    still = {"learning_rate": 1e-12, "pretrain_learning_rate": 1e-12} | WITHOUT_NEIGHBORS
    fitted = fit(X, encoder=encoder, losses=losses, threshold="constant", **still)
    with torch.no_grad():
        output = fitted.encoder_(to_batch(X, np.arange(len(X))))
    spaces = {"embedding": output.embedding} | output.projections
    expected = {
        "infonce": "contrastive" if contrastive else "embedding",
        "contrastive": "contrastive" if contrastive else "embedding",
        "supcon": "contrastive" if contrastive else "embedding",
        "compactness": "clustering" if clustering else "embedding",
    }
    for role, space in expected.items():
        for inputs in seen[role]:
            rows = inputs[0] if role == "compactness" else inputs[0][:, 0]
            found = [name for name, table in spaces.items() if is_among(rows, table)]
            assert found == [space], role
    read, labels, centers = seen["compactness"][0]
    for label in range(2):  # all samples of a label in one batch: its center is their mean
        close(centers[label], read[labels == label].mean(dim=0))
    close(seen["separation"][0][0], centers)
    assert torch.equal(torch.from_numpy(fitted.embedding_), output.embedding) or is_among(
        torch.from_numpy(fitted.embedding_), output.embedding
    )
    for label, center in enumerate(fitted.cluster_centers_):
        close(center, fitted.embedding_[fitted.labels_ == label].mean(axis=0), 1e-4)
