"""A training step never waits for a device: the device "meta" has no values to read."""

import numpy as np
import pytest
import torch

from data_makers import make_sequences
from skumc._batches import to_batch
from skumc._parameters import PART_CHOICES
from skumc.encoders import (
    CausalEncoder,
    EncoderWithText,
    FrameStatistics,
    ProjectionEncoder,
    UMCEncoder,
    encode_views,
    masked_mean,
)
from skumc.encoders._batch import take_samples
from skumc.losses import (
    CompactnessLoss,
    ContrastiveLoss,
    InfoNCELoss,
    SeparationLoss,
    SupConLoss,
    batch_centers,
)
from skumc.neighbors import NeighborGraph
from skumc.pairs import DropoutPairs, leave_one_out_views
from skumc.text import TextTower
from skumc.text._split import Split
from skumc.training._embedding import summarize
from skumc.training._losses import LossTerms, TermMeter, backward, contrastive_views
from text_models import make_model

CPU, META = torch.device("cpu"), torch.device("meta")
ENCODERS = {
    "projection": ProjectionEncoder(hidden_width=8),
    "umc": UMCEncoder(hidden_width=8, n_heads=2),
    "umc with everything": UMCEncoder(
        hidden_width=8,
        n_heads=2,
        anchor_summary="cls",
        pooling="attention",
        feature_interaction=True,
        fusion="concatenation",
        fusion_norm=True,
        contrastive_projector=True,
        clustering_projector=True,
    ),
    "umc with zeros": UMCEncoder(
        hidden_width=8, n_heads=2, missing="zeros", anchor_summary="enhanced", shortcuts=False
    ),
    "causal": CausalEncoder(hidden_width=8, n_heads=2),
}


def build(spec, data):
    statistics = {
        name: FrameStatistics(*data.packed(name).mean_and_scale(), longest=9) for name in data.names
    }
    return spec.build(statistics, "text").train()


def on_meta(batch):
    """The batch as on a GPU: frames on the device, lengths on the CPU."""
    return {name: (frames.to(META), lengths) for name, (frames, lengths) in batch.items()}


def train(outputs, n_samples):
    """Compute the losses and gradients of one step."""
    labels = torch.arange(n_samples) % 3

    def compute(copies):
        views = contrastive_views(copies)
        full = copies[0].projections.get("clustering", copies[0].embedding)
        stored = full.new_zeros(3, full.shape[1])
        moving = batch_centers(full, labels, stored)
        return {
            "infonce": (1.0, InfoNCELoss()(views)),
            "contrastive": (1.0, ContrastiveLoss()(views)),
            "supcon": (1.0, SupConLoss()(views, labels)),
            "compactness": (1.0, CompactnessLoss()(full, labels, moving)),
            "separation": (1.0, SeparationLoss()(moving)),
        }

    report = backward(outputs, compute)
    assert {term.loss.device for term in report.values()} == {META}
    TermMeter().add(report, dict.fromkeys(report, 1.0))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("pairs", PART_CHOICES["pairs"])
@pytest.mark.parametrize("name", ENCODERS)
def test_a_step_waits_for_nothing(name, pairs, missing):
    data, _ = make_sequences(12, 3, missing=missing)
    encoder = build(ENCODERS[name], data)
    rng = np.random.RandomState(0)
    graph = NeighborGraph().build(data, lambda: summarize(encoder, data, CPU), "text", rng)
    part = PART_CHOICES["pairs"][pairs]()
    part.prepare(data, "text", graph)
    batch = on_meta(part.sample(np.arange(len(data)), "pretrain", rng))
    outputs = part.encode(encoder.to(META), batch)
    train(outputs, len(data))
    trained = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert trained and {gradient.device for gradient in trained} == {META}


@pytest.mark.parametrize("lengths", [[3, 7, 1, 7, 12, 2], [3, 0, 1, 0, 12, 2]])
def test_the_layers_of_a_text_model_wait_for_nothing(lengths):
    split = Split(make_model("bert"), 2, None)
    tower = TextTower(split.tail, split.width, reads_ids=False).train()
    if not tower.packs:
        pytest.skip("padded texts have masks, and transformers reads whether they hide any")

    class Mean(torch.nn.Module):
        def forward(self, batch):
            rows = masked_mean(*batch["text"])
            return torch.nn.functional.normalize(rows, dim=1), rows.new_ones(len(rows), 1), {}

    encoder = EncoderWithText(Mean(), {"text": tower}).to(META)
    batch = {"text": (torch.randn(sum(lengths), split.width).to(META), torch.tensor(lengths))}
    train(DropoutPairs().encode(encoder, batch), len(lengths))


def test_custom_losses_get_all_inputs_on_one_device():
    seen = {}

    def note(role):
        def loss(*inputs):
            seen[role] = {value.device for value in inputs}
            return inputs[0].sum()

        return loss

    roles = ("supcon", "compactness", "separation")
    losses = {role: (1.0, note(role)) for role in roles}
    rows = torch.ones(2, 3, device=META)
    inputs = {"views": rows.unsqueeze(1), "embedding": rows, "centers": rows}
    inputs["labels"] = torch.tensor([0, 1])  # on the CPU
    LossTerms(losses).compute("supervised", inputs)
    assert seen == dict.fromkeys(roles, {META})
    losses["compactness"] = (1.0, CompactnessLoss())
    found = LossTerms(losses).compute("supervised", inputs)
    assert found["compactness"][1].device == META


@pytest.mark.parametrize("name", ENCODERS)
def test_another_default_device_changes_nothing(name):
    data, _ = make_sequences(12, 3, missing=True)
    encoder = build(ENCODERS[name], data).eval()
    batch = to_batch(data, np.arange(len(data)))
    views = leave_one_out_views(data.names, "text")
    rows = torch.tensor([2, 1])
    with META:
        found = encode_views(encoder, batch, views)
        taken = take_samples(batch, rows)
    for part, (frames, lengths) in batch.items():
        assert torch.equal(taken[part][1], lengths[rows])
        assert torch.equal(
            taken[part][0], torch.cat([frames.split(lengths.tolist())[r] for r in rows])
        )
    for one, other in zip(found, encode_views(encoder, batch, views), strict=True):
        assert torch.equal(one.embedding, other.embedding)


def test_the_device_has_no_values_to_read():
    """Otherwise the tests above could not fail."""
    values = torch.ones(3, device=META)
    for ask in (bool, lambda v: v.max().item(), torch.nonzero, lambda v: v[v > 0]):
        with pytest.raises((RuntimeError, NotImplementedError)):
            ask(values)
