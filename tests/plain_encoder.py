"""The encoder from its formulas: one sample at a time, loops over heads and positions.

Nothing is padded, shared or packed here. ``p`` holds parameters and buffers by name; results
require gradients if those do.
"""

import math
from itertools import combinations

import numpy as np
import torch
from torch import nn

CPU = torch.device("cpu")
WIDTHS = {"text": 5, "audio": 3, "video": 4, "scent": 2}


# data


def all_subsets(names):
    """Every non-empty choice of names, the full one first."""
    return [kept for size in range(len(names), 0, -1) for kept in combinations(tuple(names), size)]


def make_batch(names, dtype=torch.float64, seed=0, complete=False):
    """A sample for each choice of modalities, with 1 to 5 frames where it has one."""
    rng = np.random.default_rng(seed)
    patterns = [tuple(names)] * 5 if complete else all_subsets(names)
    batch = {}
    for name in names:
        lengths = [int(rng.integers(1, 6)) if name in kept else 0 for kept in patterns]
        frames = rng.normal(1.0, 2.0, (sum(lengths), WIDTHS[name]))
        batch[name] = (torch.from_numpy(frames).to(dtype), torch.tensor(lengths))
    return batch


def samples_of(batch):
    """The batch as a list of dicts, without the modalities that a sample lacks."""
    n_samples = len(next(iter(batch.values()))[1])
    samples = [{} for _ in range(n_samples)]
    for name, (frames, lengths) in batch.items():
        start = 0
        for sample, length in zip(samples, lengths.tolist(), strict=True):
            if length:
                sample[name] = frames[start : start + length].double()
            start += length
    return samples


class _PlainStandardization(nn.Module):
    def __init__(self, mean, scale):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, frames):
        return (frames - self.mean) / self.scale


def in_double(network):
    """The network in float64 throughout."""
    network.double()
    network.standardizations = nn.ModuleList(
        _PlainStandardization(part.mean, part.scale) for part in network.standardizations
    )
    return network


def state_of(module):
    """Parameters and buffers by name, in float64 and with their graph."""
    named = dict(module.named_parameters()) | dict(module.named_buffers())
    return {name: value.double() for name, value in named.items()}


def shake(module, seed=0, scale=0.3):
    """Move all parameters, so that none is at a special place such as 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(scale * noise.to(parameter.dtype))
    return module


# formulas


def linear(p, name, row):
    mapped = p[f"{name}.weight"] @ row
    return mapped + p[f"{name}.bias"] if f"{name}.bias" in p else mapped


def norm(p, name, row):
    deviation = row - row.mean()
    variance = (deviation * deviation).mean()
    return deviation / (variance + 1e-5) ** 0.5 * p[f"{name}.weight"] + p[f"{name}.bias"]


def gelu(row):
    return row * (1 + torch.erf(row / math.sqrt(2))) / 2


def softmax(scores):
    raw = torch.exp(torch.stack(scores) - max(scores))  # large scores would overflow
    return raw / raw.sum()


def attention_weights(p, name, queries, keys, n_heads):
    """(n_heads, n_queries, n_keys)."""
    d = queries.shape[1] // n_heads
    table = []
    for h in range(n_heads):
        own = slice(h * d, (h + 1) * d)
        q = [p[f"{name}.query.weight"][own] @ row for row in queries]
        k = [p[f"{name}.key.weight"][own] @ row for row in keys]
        for q_i in q:
            table.append(softmax([(q_i * k_j).sum() / math.sqrt(d) for k_j in k]))
    return torch.stack(table).view(n_heads, len(queries), len(keys))


def attention(p, name, queries, keys, n_heads):
    """MHA(Q, K, K) of one sample, (n_queries, width)."""
    weights = attention_weights(p, name, queries, keys, n_heads)
    values = [linear(p, f"{name}.value", row) for row in keys]
    d = queries.shape[1] // n_heads
    rows = []
    for i in range(len(queries)):
        heads = [
            sum(weights[h, i, j] * values[j][h * d : (h + 1) * d] for j in range(len(keys)))
            for h in range(n_heads)
        ]
        rows.append(linear(p, f"{name}.output", torch.cat(heads)))
    return torch.stack(rows)


def refine(p, name, kind, frames):
    rows = []
    for x in frames:
        if kind == "dual":
            normal = norm(p, f"{name}.norm", x)
            similar = gelu(linear(p, f"{name}.similar", normal))
            dissimilar = gelu(linear(p, f"{name}.dissimilar", normal))
            x = linear(p, f"{name}.fusion", torch.cat([similar, dissimilar])) + x
        elif kind == "linear":
            x = linear(p, f"{name}.linear", x)
        rows.append(x)
    return torch.stack(rows)


def self_attention(p, name, streams, n_layers, n_heads):
    """[H; ...] through all layers with residuals, split again."""
    joined = torch.cat(streams)
    for layer in range(n_layers):
        joined = attention(p, f"{name}.layers.{layer}", joined, joined, n_heads) + joined
    return list(joined.split([len(stream) for stream in streams]))


def pool(p, name, kind, frames):
    if kind == "mean":
        return sum(frames) / len(frames)
    weights = softmax([(x * p[f"{name}.query"]).sum() / math.sqrt(len(x)) for x in frames])
    return sum(a * x for a, x in zip(weights, frames, strict=True))


def gates_of(p, summaries, names, kind):
    """Gate of each modality that has a summary."""
    raw = {}
    for name, s in summaries.items():
        m = names.index(name)
        score = (s * p["fusion.weight"][m]).sum() + p["fusion.bias"][m]
        raw[name] = 1 / (1 + torch.exp(-score))
        if kind == "softmax":
            raw[name] = torch.exp(raw[name])
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}


# the whole


class PlainEncoder:
    """UMCEncoder's network from its settings and parameters, nothing else."""

    def __init__(self, network, settings, names, anchor):
        self.p, self.s = state_of(network), settings
        self.names, self.anchor = list(names), anchor
        self.others = [name for name in names if name != anchor]
        self.heads = settings["n_heads"]

    def frames(self, name, values):
        m = self.names.index(name)
        mean, scale = (self.p[f"standardizations.{m}.{part}"] for part in ("mean", "scale"))
        rows = [
            norm(
                self.p,
                f"projections.{m}.norm",
                linear(self.p, f"projections.{m}.linear", (x - mean) / scale),
            )
            for x in values
        ]
        kind = self.s["dual_projection"] if name != self.anchor else None
        kind = kind.get(name) if isinstance(kind, dict) else kind
        return refine(self.p, f"refinements.{m}", kind, torch.stack(rows))

    def anchor_frames(self, sample):
        if self.anchor in sample:
            return self.frames(self.anchor, sample[self.anchor])
        return self.p["guided.stand_in"][None]

    def stream(self, sample, name):
        x, place = self.frames(name, sample[name]), f"guided.streams.{self.others.index(name)}"
        for stage in ("cross", "guided"):
            if self.s[f"{stage}_attention"]:
                T = self.anchor_frames(sample)
                x = attention(self.p, f"{place}.{stage}", T, x, self.heads)
        return x

    def anchor_summary(self, sample):
        if self.s["anchor_summary"] == "mean":
            return sum(self.frames(self.anchor, sample[self.anchor])) / len(sample[self.anchor])
        m = self.names.index(self.anchor)
        mean, scale = (self.p[f"standardizations.{m}.{part}"] for part in ("mean", "scale"))
        return linear(self.p, "cls", (sample[self.anchor][0] - mean) / scale)

    def summaries(self, sample):
        streams = {name: self.stream(sample, name) for name in self.others if name in sample}
        pooled = list(self.others)
        enhanced = self.s["anchor_summary"] == "enhanced"
        n_layers = self.s["n_self_attention_layers"]
        attends = n_layers > 0 and (bool(self.others) or enhanced)
        if enhanced:
            pooled = [self.anchor, *pooled]
        if enhanced or attends:
            if self.anchor in sample or attends:
                streams = {self.anchor: self.anchor_frames(sample), **streams}
        if attends:
            seen = self_attention(
                self.p, "guided.self_attention", list(streams.values()), n_layers, self.heads
            )
            streams = {
                name: torch.stack(
                    [norm(self.p, f"guided.norms.{pooled.index(name)}", x) for x in frames]
                )
                for name, frames in zip(streams, seen, strict=True)
                if name in pooled
            }
        found = {
            name: pool(self.p, f"guided.pools.{pooled.index(name)}", self.s["pooling"], frames)
            for name, frames in streams.items()
            if name in sample
        }
        if not enhanced and self.anchor in sample:
            found[self.anchor] = self.anchor_summary(sample)
        return {name: found[name] for name in self.names if name in found}

    def encode(self, sample, visible=None):
        """Embedding, gates and projections of one sample in one view."""
        visible = self.names if visible is None else visible
        shown = {name: x for name, x in sample.items() if name in visible} or dict(sample)
        if self.s["missing"] == "zeros":
            for m, name in enumerate(self.names):
                width = len(self.p[f"standardizations.{m}.mean"])
                shown.setdefault(name, torch.zeros(1, width, dtype=torch.float64))
        summaries = self.summaries(shown)
        if self.s["feature_interaction"] and self.others:
            tokens = torch.stack(list(summaries.values()))
            mixed = attention(self.p, "interaction", tokens, tokens, self.heads) + tokens
            summaries = dict(zip(summaries, mixed, strict=True))
        width = self.s["hidden_width"]
        if not self.others:
            h, gates = summaries[self.anchor], {self.anchor: torch.ones(())}
        elif self.s["fusion"] == "concatenation":
            nothing = torch.zeros(width, dtype=torch.float64)
            h = linear(
                self.p,
                "fusion.linear",
                torch.cat([summaries.get(name, nothing) for name in self.names]),
            )
            gates = {name: torch.tensor(1 / len(summaries)) for name in summaries}
        else:
            gates = gates_of(self.p, summaries, self.names, self.s["fusion"])
            h = sum(gates[name] * s for name, s in summaries.items())
        if self.s["fusion_norm"]:
            h = norm(self.p, "fusion_norm", h)
        projections = {}
        for kind in ("contrastive", "clustering"):
            if self.s[f"{kind}_projector"]:
                hidden = torch.relu(linear(self.p, f"projectors.{kind}.0", h))
                projections[kind] = linear(self.p, f"projectors.{kind}.2", hidden)
        row = torch.zeros(len(self.names), dtype=torch.float64)
        for name, gate in gates.items():
            row[self.names.index(name)] = gate
        return h / (h * h).sum() ** 0.5, row, projections

    def encode_all(self, batch, visible=None):
        """The same for a batch, stacked."""
        found = [self.encode(sample, visible) for sample in samples_of(batch)]
        embedding, gates, projections = zip(*found, strict=True)
        return (
            torch.stack(embedding),
            torch.stack(gates),
            {kind: torch.stack([q[kind] for q in projections]) for kind in projections[0]},
        )
