"""Time and memory of skumc and of straightforward implementations, measured in the same run.

- ``network``: pretraining epoch, main epoch, whole fit and peak memory of the full network with
  BERT-base (random weights, read from a folder), on 512 utterances with realistic lengths. The
  baseline is in this file: it pads everything to the maximum length, runs the whole text model for
  each of three views of each batch, caches nothing, and queries the neighbors once per candidate.
  Both networks have the same weights; the run prints how far their embeddings differ.
- ``selector``: ``DensitySelector`` and scikit-learn's brute-force query per candidate; its memory
  for 200,000 samples; the share of the exact selection that the estimate in large clusters finds.
- ``scaling``: time and memory of a fit of two 2-D views by number of samples, also of k-means.
- ``frames``: time and memory of a fit of text vectors and sequences by number of frames per
  sequence; the column of the other is "umc", that of ours the default encoder.
- ``transform``: 100,000 samples, compared with only the matrix products of the same encoder.
- ``import``: the time that ``import skumc`` adds to torch and scikit-learn.
- ``digits``: a fit with defaults, compared with ``KMeans(n_init=10)``.
- ``profile``: the costliest functions of a main epoch of ``network``.

Run with ``python benchmarks/speed.py``, which takes about 25 minutes on two cores, or name some of
the parts; ``--device cuda`` runs the network there. ``--quick`` checks in a minute, with small
shapes, that everything runs. Times are medians of repeated runs; memory is the peak of a separate
process minus that of the imports. The whole fit of the baseline is not run, but estimated: the
numbers of epochs of the other fit times the median time of two baseline epochs of each kind.
"""

from __future__ import annotations

import argparse
import cProfile
import csv
import json
import pstats
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tokenizers
import torch
import transformers
from _printed import printed_encoder
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torch.nn import functional as F

from skumc import MultimodalData, UMCClusterer
from skumc.curriculum import DensitySelector
from skumc.encoders import FrameStatistics, encode_views
from skumc.losses import (
    CompactnessLoss,
    InfoNCELoss,
    SeparationLoss,
    SupConLoss,
    batch_centers,
)
from skumc.neighbors import NeighborGraph
from skumc.text import TextModel
from skumc.training import Optimization
from skumc.training._trainer import ProgressiveTrainer

CANDIDATES = DensitySelector().candidates
LONGEST = {"text": 30, "video": 230, "audio": 480}
WIDTHS = {"video": 1024, "audio": 768}
FRAMES_PER_SECOND = {"video": 24, "audio": 50}
N_CLUSTERS = 20
EPOCHS = {"pretrain_epochs": 5, "max_epochs": 15}
QUICK_EPOCHS = {"pretrain_epochs": 1, "max_epochs": 1}
PROFILED_EPOCHS = {"pretrain_epochs": 0, "max_epochs": 2}
VOCABULARY = 30522


# utterances with realistic lengths


def lengths(n, rng):
    """Numbers of tokens and frames of utterances.

    Durations are log-normal with mean 2.4 s, clipped at 9.6 s. Numbers of tokens, two of them
    special, are log-normal as in MIntRec's sentences under all-MiniLM-L6-v2, clipped at 30.
    """
    seconds = np.minimum(rng.lognormal(np.log(2.4) - 0.6**2 / 2, 0.6, n), 9.6)
    found = {"text": np.minimum(2 + np.maximum(rng.lognormal(2.21, 0.485, n), 1), LONGEST["text"])}
    for name, rate in FRAMES_PER_SECOND.items():
        found[name] = np.clip(rate * seconds, 1, LONGEST[name])
    return {name: values.astype(int) for name, values in found.items()}


def frames_of(rng, name, n_frames):
    return rng.standard_normal((n_frames, WIDTHS[name]), dtype=np.float32)


def tokens_of(rng, length):
    return np.concatenate([[101], rng.integers(1000, VOCABULARY, length - 2), [102]])


def save_text_model(folder, quick):
    """Save BERT-base with random weights, or two small layers if ``quick``.

    The words of its tokenizer are the decimal numbers of the tokens.
    """
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.default_generator.manual_seed(0)
    config = transformers.BertConfig(**small if quick else {})
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    words = {str(number): number for number in range(VOCABULARY) if number not in (0, 100)}
    words |= {special["pad_token"]: 0, special["unk_token"]: 100}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, special["unk_token"]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=512, **special
    )
    fast.save_pretrained(folder)


# skumc


def fit_ours(folder, n, batch_size, device, epochs):
    rng = np.random.default_rng(0)
    sizes = lengths(n, rng)
    X = {"text": [" ".join(map(str, tokens_of(rng, size))) for size in sizes["text"]]}
    for name in WIDTHS:
        frames = frames_of(rng, name, sizes[name].sum())
        X[name] = np.split(frames, np.cumsum(sizes[name])[:-1])
    del frames
    clusterer = UMCClusterer(
        N_CLUSTERS,
        encoder=printed_encoder(),
        text=TextModel(folder, layer=None, n_trainable_layers=1),
        neighbors="none",
        monitor="silhouette",
        pairs="views",
        pseudo_labels="selected",
        supervised_views="leave_one_out",
        optimization=Optimization(weight_averaging=0.0),
        batch_size=batch_size,
        patience=None,
        device=device,
        random_state=0,
        **epochs,
    )
    X = MultimodalData(X)
    start = time.perf_counter()
    clusterer.fit(X)
    fit = time.perf_counter() - start
    seconds = {phase: [] for phase in ("pretrain", "main")}
    for record in clusterer.history_[:-1]:  # the last one has no training steps
        seconds[record["phase"]].append(record["seconds"])
    return {"fit": fit} | {
        phase: float(np.median(taken)) for phase, taken in seconds.items() if taken
    }


# the baseline


class PlainNetwork(nn.Module):
    """The same network on padded sequences, one view at a time."""

    def __init__(self, text, network):
        super().__init__()
        self.text, self.network = text, network
        for name, parameter in text.named_parameters():
            last = f"encoder.layer.{text.config.num_hidden_layers - 1}."
            parameter.requires_grad_(name.startswith(last))

    def forward(self, batch, visible):
        ids, frames, masks = batch
        states = self.text(input_ids=ids, attention_mask=masks["text"].long()).last_hidden_state
        net, stages = self.network, {}
        for place, name in enumerate(net.names):
            values = states if name == "text" else frames[name] * (name in visible)
            values = net.projections[place](net.standardizations[place](values))
            stages[name] = net.refinements[place](values)
        anchor, streams = stages["text"], [stages["text"]]
        for stream, name in zip(net.guided.streams, net.guided.others, strict=True):
            seen = self.attend(stream.cross, anchor, stages[name], masks[name])
            streams.append(self.attend(stream.guided, anchor, seen, masks["text"]))
        joined, mask = torch.cat(streams, dim=1), torch.cat([masks["text"]] * len(streams), dim=1)
        for layer in net.guided.self_attention.layers:
            joined = self.attend(layer, joined, joined, mask) + joined
        _, *mixed = joined.chunk(len(streams), dim=1)
        summaries = {"text": self.mean(anchor, masks["text"])}
        for norm, name, values in zip(net.guided.norms, net.guided.others, mixed, strict=True):
            summaries[name] = self.mean(norm(values), masks["text"])
        stacked = net.dropout(torch.stack([summaries[name] for name in net.names], dim=1))
        fused, _ = net.fusion(stacked, stacked.new_ones(stacked.shape[:2], dtype=torch.bool))
        return F.normalize(fused, dim=-1)

    @staticmethod
    def attend(attention, queries, keys, mask):
        def heads(values):
            return values.unflatten(2, (attention.n_heads, -1)).transpose(1, 2)

        query, key = heads(attention.query(queries)), heads(attention.key(keys))
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(dim=-1)
        mixed = (weights @ heads(attention.value(keys))).transpose(1, 2).flatten(2)
        return attention.dropout(attention.output(mixed))

    @staticmethod
    def mean(values, mask):
        return (values * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def padded_utterances(n):
    """Token ids, frames and masks of all samples, padded to the maximum length."""
    rng = np.random.default_rng(0)
    sizes = lengths(n, rng)
    ids = np.zeros((n, LONGEST["text"]), dtype=np.int64)
    for row, size in enumerate(sizes["text"]):
        ids[row, :size] = tokens_of(rng, size)
    frames = {}
    for name, width in WIDTHS.items():
        frames[name] = np.zeros((n, LONGEST[name], width), dtype=np.float32)
        for row, size in enumerate(sizes[name]):
            frames[name][row, :size] = frames_of(rng, name, int(size))
    masks = {name: np.arange(LONGEST[name]) < size[:, None] for name, size in sizes.items()}
    return ids, frames, masks


class PlainLoop:
    """Pretraining and main epochs without any cache between batches."""

    def __init__(self, folder, n, batch_size, device):
        self.ids, self.frames, self.masks = padded_utterances(n)
        self.device, self.batch_size = torch.device(device), batch_size
        self.rng = np.random.default_rng(0)
        torch.default_generator.manual_seed(0)
        text = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
        widths = {"text": text.config.hidden_size} | WIDTHS
        statistics = {m: FrameStatistics(np.zeros(w), np.ones(w)) for m, w in widths.items()}
        network = printed_encoder().build(statistics, "text")
        self.network = PlainNetwork(text, network).to(device)
        names = network.names
        self.views = [names] + [tuple(m for m in names if m != hidden) for hidden in WIDTHS]
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=3e-4)

    def batch(self, rows):
        def take(values):
            return torch.from_numpy(values[rows]).to(self.device)

        frames = {name: take(values) for name, values in self.frames.items()}
        return take(self.ids), frames, {name: take(mask) for name, mask in self.masks.items()}

    def batches(self, rows):
        return self.in_turn(self.rng.permutation(rows)) if len(rows) else []

    def in_turn(self, rows):
        return np.split(rows, range(self.batch_size, len(rows), self.batch_size))

    def step(self, rows, compute):
        batch = self.batch(rows)
        outputs = [self.network(batch, visible) for visible in self.views]
        self.optimizer.zero_grad()
        compute(outputs).backward()
        self.optimizer.step()

    @staticmethod
    def contrast(outputs):
        return InfoNCELoss()(torch.stack(outputs, dim=1))

    def pretrain(self):
        self.network.train()
        for rows in self.batches(np.arange(len(self.ids))):
            self.step(rows, self.contrast)

    def main(self, centers=None):
        """Run one epoch; return its centers, the initial ones of the next."""
        self.network.eval()
        with torch.inference_mode():
            found = [
                self.network(self.batch(rows), self.views[0]).cpu()
                for rows in self.in_turn(np.arange(len(self.ids)))
            ]
        embedding = torch.cat(found).numpy()
        start = {"init": centers, "n_init": 1} if centers is not None else {"n_init": 10}
        kmeans = KMeans(N_CLUSTERS, random_state=0, **start).fit(embedding)
        selected = plain_selection(embedding, kmeans.labels_, 0.3)
        labels = torch.from_numpy(kmeans.labels_.astype(np.int64)).to(self.device)
        stored = torch.from_numpy(kmeans.cluster_centers_).to(self.device)

        def supervise(rows):
            def compute(outputs):
                own = labels[torch.from_numpy(rows)]
                moving = batch_centers(outputs[0], own, stored)
                return (
                    SupConLoss()(torch.stack(outputs, dim=1), own)
                    + CompactnessLoss()(outputs[0], own, moving)
                    + SeparationLoss()(moving)
                )

            return compute

        self.network.train()
        for rows in self.batches(np.flatnonzero(selected)):
            self.step(rows, supervise(rows))
        for rows in self.batches(np.flatnonzero(~selected)):
            self.step(rows, self.contrast)
        return kmeans.cluster_centers_

    def difference(self):
        """Largest absolute difference between the embeddings of both networks."""
        self.network.eval()
        rows = np.arange(min(16, len(self.ids)))
        batch = ids, frames, masks = self.batch(rows)
        text = self.network.text
        with torch.inference_mode():
            plain = self.network(batch, self.views[0])
            states = text(input_ids=ids, attention_mask=masks["text"].long()).last_hidden_state
            packed = {
                name: (values[masks[name]], masks[name].sum(dim=1))
                for name, values in ({"text": states} | frames).items()
            }
            ours = encode_views(self.network.network, packed, self.views[:1])[0].embedding
        return float((plain - ours).abs().max())


def plain_selection(X, labels, threshold):
    """DensitySelector with one neighbor query per candidate, and one for its score."""
    chosen = np.zeros(len(X), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        points, size = X[rows], len(rows)
        cutoff = size if size <= 5 else cutoff_of(size, len(X), len(np.unique(labels)), threshold)
        best, best_score = np.arange(size), -1.0
        for share in CANDIDATES if cutoff < size else ():
            n = min(max(int(share * size + 1e-9), 1), size - 1)
            selected = np.argsort(mean_distances(points, n), kind="stable")[:cutoff]
            score = mean_distances(points[selected], 1).mean() if cutoff > 1 else 0.0
            if score > best_score:
                best, best_score = selected, score
        chosen[rows[best]] = True
    return chosen


def cutoff_of(size, n_samples, n_clusters, threshold):
    return max(int(size * threshold + 1e-9), min(max(5, n_samples // (10 * n_clusters)), size))


def mean_distances(points, n):
    search = NearestNeighbors(n_neighbors=n + 1, algorithm="brute").fit(points)
    return search.kneighbors(points)[0][:, 1:].mean(axis=1)


def time_baseline(folder, n, batch_size, device, epochs, repeats):
    loop = PlainLoop(folder, n, batch_size, device)
    difference = loop.difference()
    runs = {"pretrain": [], "main": []}
    for phase in ("pretrain", "main") * repeats:
        runs[phase].append(timed(getattr(loop, phase))[0])
    taken = {phase: float(np.median(seconds)) for phase, seconds in runs.items()}
    fit = epochs["pretrain_epochs"] * taken["pretrain"] + epochs["max_epochs"] * taken["main"]
    return taken | {"fit": fit, "difference": difference}


# other tasks of separate processes


def fit_views(n, side):
    fit_once(500, side)  # the first fit of a process loads libraries, independent of n
    before = peak()
    return {"fit": fit_once(n, side), "memory": max(peak() - before, 1.0)}


def fit_once(n, side):
    X, _ = make_blobs(n, 48, centers=10, cluster_std=4.0, random_state=0)
    X = X.astype(np.float32)
    start = time.perf_counter()
    if side == "ours":
        views = {"first": X[:, :16], "second": X[:, 16:]}
        UMCClusterer(10, pretrain_epochs=2, max_epochs=4, patience=None, random_state=0).fit(views)
    else:
        KMeans(10, n_init=10, random_state=0).fit(X)
    return time.perf_counter() - start


def fit_frames(n_frames, encoder):
    fit_sequences(30, encoder)  # loads libraries
    before = peak()
    return {"fit": fit_sequences(n_frames, encoder), "memory": max(peak() - before, 1.0)}


def fit_sequences(n_frames, encoder):
    rng = np.random.default_rng(0)
    X = {
        "text": rng.standard_normal((200, 32), dtype=np.float32),
        "audio": list(rng.standard_normal((200, n_frames, 16), dtype=np.float32)),
    }
    clusterer = UMCClusterer(
        5,
        encoder=encoder,
        neighbors=NeighborGraph(judge_trust=False),  # noise would not be trusted
        pretrain_epochs=3,
        max_epochs=3,
        patience=None,
        random_state=0,
    )
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # there is nothing to learn
        clusterer.fit(X)
    return time.process_time() - start


def select_many(n):
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((n, 256), dtype=np.float32), rng.integers(0, N_CLUSTERS, n)
    start = time.perf_counter()
    DensitySelector().select(X, labels, 0.3)
    return {"select": time.perf_counter() - start}


CHILDREN = {
    "ours": fit_ours,
    "baseline": time_baseline,
    "views": fit_views,
    "frames": fit_frames,
    "select": select_many,
}


def peak():
    """Peak memory of this process so far, in MiB.

    On Linux ``ru_maxrss`` includes the memory of the parent when it started this process, so it is
    only used where there is no better source.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(found["VmHWM"].split()[0]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def child(name, *arguments):
    """Run a task in a separate process; its peak memory excludes that of the imports."""
    command = [sys.executable, __file__, "--child", json.dumps([name, *arguments])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def be_child(name, *arguments):
    before = peak()
    found = CHILDREN[name](*arguments)
    print(json.dumps({"memory": peak() - before} | found))


# the parts: each yields rows (what, unit, skumc, baseline, bound on their ratio or None)


def timed(function, repeats=1):
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)), result


def network(options):
    shape = (24, 12) if options.quick else (512, 128)
    epochs = QUICK_EPOCHS if options.quick else EPOCHS
    with TemporaryDirectory() as folder:
        save_text_model(folder, options.quick)
        ours = child("ours", folder, *shape, options.device, epochs)
        repeats = 1 if options.quick else 2
        plain = child("baseline", folder, *shape, options.device, epochs, repeats)
    print(f"embeddings of the two networks differ by {plain['difference']:.1e} at most")
    yield "main epoch", "s", ours["main"], plain["main"], 15
    yield "pretraining epoch", "s", ours["pretrain"], plain["pretrain"], 10
    what = "fit of {pretrain_epochs} + {max_epochs} epochs".format(**epochs)
    yield what, "s", ours["fit"], plain["fit"], 8
    yield "peak memory", "MiB", ours["memory"], plain["memory"], 3


def selector(options):
    n = 2000 if options.quick else 20_000
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((n, 256), dtype=np.float32), rng.integers(0, N_CLUSTERS, n)
    ours, found = timed(lambda: DensitySelector().select(X, labels, 0.3), 3)
    plain, expected = timed(lambda: plain_selection(X, labels, 0.3))
    differing = int((found != expected).sum())
    print(f"selections of {n} samples differ in {differing}")
    yield f"selection of {n} samples", "s", ours, plain, 10
    many = child("select", 10 * n)
    yield f"selection of {10 * n} samples", "MiB", many["memory"], None, None
    size = 500 if options.quick else 8000
    for n_factors in (4, 16, 64):
        factors = rng.standard_normal((size, n_factors)) @ rng.standard_normal((n_factors, 256))
        cloud = factors / np.linalg.norm(factors, axis=1, keepdims=True)
        one = np.zeros(size, dtype=int)
        exact = DensitySelector(sample_size=None).select(cloud, one, 0.3)
        sampled = DensitySelector(sample_size=min(size // 2, DensitySelector().sample_size))
        estimate = sampled.select(cloud, one, 0.3)
        shared = 100 * (exact & estimate).sum() / exact.sum()
        what = f"share of the exact selection in a cluster of {size}, {n_factors} factors"
        yield what, "%", shared, None, None


def scaling(options):
    sizes = [200, 400] if options.quick else [1000, 2000, 5000, 10_000, 20_000, 50_000]
    found = {side: [child("views", size, side) for size in sizes] for side in ("ours", "kmeans")}
    options.scaling = {
        (side, what): (sizes, [one[what] for one in runs])
        for side, runs in found.items()
        for what in ("fit", "memory")
    }
    for what, unit in {"fit": "s", "memory": "MiB"}.items():
        for place, size in enumerate(sizes):
            ours, kmeans = (found[side][place][what] for side in ("ours", "kmeans"))
            yield f"{what} of {size} samples", unit, ours, kmeans, None
        for side, runs in found.items():
            values = np.log([one[what] for one in runs])
            slope = np.polyfit(np.log(sizes), values, 1)[0]
            yield f"slope of log {what} over log samples, {side}", "", slope, None, None


def frames(options):
    sizes = [30, 60] if options.quick else [30, 100, 300, 1000, 3000]
    found = {
        encoder: [child("frames", size, encoder) for size in sizes]
        for encoder in ("projection", "umc")
    }
    for what, unit in {"fit": "s", "memory": "MiB"}.items():
        for place, size in enumerate(sizes):
            values = [runs[place][what] for runs in found.values()]
            yield f"{what} of 200 sequences of {size} frames", unit, *values, None
        slopes = [
            np.polyfit(np.log(sizes), np.log([one[what] for one in runs]), 1)[0]
            for runs in found.values()
        ]
        yield f"slope of log {what} over log frames", "", *slopes, None


def transform(options):
    n = 5000 if options.quick else 100_000
    rng = np.random.default_rng(0)
    views = {
        name: rng.standard_normal((n, width), dtype=np.float32)
        for name, width in {"first": 64, "second": 128}.items()
    }
    fitted = UMCClusterer(10, pretrain_epochs=1, max_epochs=1, random_state=0)
    fitted.fit({name: values[:1000] for name, values in views.items()})
    encoder = fitted.encoder_
    weights = []
    for projection, refinement in zip(
        encoder.paths.projections, encoder.paths.refinements, strict=True
    ):
        both = torch.cat([refinement.similar.weight, refinement.dissimilar.weight])
        weights.append([projection.linear.weight.T, both.T, refinement.fusion.weight.T])

    @torch.inference_mode()
    def products():
        for values, chain in zip(views.values(), weights, strict=True):
            rows = torch.from_numpy(values)
            for weight in chain:
                rows = rows @ weight

    ours, _ = timed(lambda: fitted.transform(views), 5)
    bare, _ = timed(products, 5)
    yield f"transform of {n} samples", "s", ours, bare, 1 / 3


def importing(options):
    code = (
        "import time, torch, sklearn.cluster; start = time.perf_counter(); import skumc;"
        "print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code]
    taken = [
        float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        for _ in range(1 if options.quick else 7)
    ]
    yield "import skumc after torch and sklearn.cluster", "s", float(np.median(taken)), None, None


def digits(options):
    X = load_digits().data
    parameters = {"pretrain_epochs": 1, "max_epochs": 1} if options.quick else {}
    UMCClusterer(10, pretrain_epochs=1, max_epochs=1).fit(X)  # loads torch's optimizer
    KMeans(10, n_init=10).fit(X)
    taken = {"ours": [], "kmeans": []}
    for seed in range(1 if options.quick else 5):
        for side, clusterer in {
            "ours": UMCClusterer(10, random_state=seed, **parameters),
            "kmeans": KMeans(10, n_init=10, random_state=seed),
        }.items():
            taken[side].append(timed(lambda fitted=clusterer: fitted.fit(X))[0])
    ours, kmeans = (float(np.median(seconds)) for seconds in taken.values())
    yield "fit of digits, beside KMeans(n_init=10)", "s", ours, kmeans, 1 / 60


def profile(options):
    """Time in the costliest functions during main epochs, without their callees."""
    shape = (24, 12) if options.quick else (512, 128)
    profiler = cProfile.Profile()
    run = ProgressiveTrainer.run
    ProgressiveTrainer.run = lambda *arguments: profiler.runcall(run, *arguments)
    try:
        with TemporaryDirectory() as folder:
            save_text_model(folder, options.quick)
            fit_ours(folder, *shape, options.device, PROFILED_EPOCHS)
    finally:
        ProgressiveTrainer.run = run
    stats = pstats.Stats(profiler).stats
    whole = sum(own for _, _, own, _, _ in stats.values())
    yield f"all, {PROFILED_EPOCHS['max_epochs']} main epochs", "s", whole, None, None
    costly = sorted(stats.items(), key=lambda item: -item[1][2])[:15]
    for (path, _, name), (_, n_calls, own, _, _) in costly:
        where = "" if path == "~" else f"{Path(path).stem}."
        what = f"{where}{name}"[-44:] + f", {n_calls} calls"
        yield what, "%", 100 * own / whole, None, None


PARTS = {
    "network": network,
    "selector": selector,
    "scaling": scaling,
    "frames": frames,
    "transform": transform,
    "import": importing,
    "digits": digits,
    "profile": profile,
}


def plot(lines, path):
    """Plot time and memory by number of samples on logarithmic axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for axis, (what, label) in zip(
        axes, {"fit": "seconds of a fit", "memory": "peak memory, MiB"}.items(), strict=True
    ):
        for side, name in {"ours": "UMCClusterer", "kmeans": "KMeans(n_init=10)"}.items():
            axis.loglog(*lines[side, what], marker="o", label=name)
        axis.set(xlabel="samples", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def line(part, what, unit, ours, other, bound):
    cells = [f"{part:9}", f"{what:64}", f"{ours:10.3f} {unit:3}"]
    if other is not None:
        ratio = other / ours
        cells += [
            f"{other:10.3f} {unit:3}",
            f"{ratio:8.2f}" if ratio >= 1 else f"1/{1 / ratio:.2f}",
        ]
    if bound is not None:
        cells.append(f"at least {bound}" if bound >= 1 else f"at least 1/{round(1 / bound)}")
    return "  ".join(cells)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all"
    )
    parser.add_argument("--device", default="cpu", help="device of the part network")
    parser.add_argument("--quick", action="store_true", help="small shapes, to check that it runs")
    parser.add_argument("--out", type=Path, default=Path("speed_output"))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child is not None:
        return be_child(*options.child)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown parts {sorted(unknown)}, expected some of {list(PARTS)}")
    transformers.utils.logging.disable_progress_bar()
    options.out.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads; ours, the other, other / ours, bound")
    rows = []
    for part in options.parts or PARTS:
        for row in PARTS[part](options):
            rows.append((part, *row))
            print(line(*rows[-1]), flush=True)
    with open(options.out / "speed.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "what", "unit", "ours", "other", "bound"])
        writer.writerows(rows)
    if hasattr(options, "scaling"):
        plot(options.scaling, options.out / "speed.png")


if __name__ == "__main__":
    main()
