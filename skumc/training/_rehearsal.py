"""Trial of the user's own parts before training, so that their faults cost no epoch."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from skumc._batches import to_device
from skumc.encoders import encode_views
from skumc.training._clustering import cluster_embedding
from skumc.training._embedding import embed
from skumc.training._epoch_clustering import call_monitor
from skumc.training._losses import LossTerms, clustering_space, contrastive_views
from skumc.training._memory import trial_batch
from skumc.training._part_returns import (
    checked_mask,
    checked_pairs,
    checked_pseudo_labels,
    finite_number,
)
from skumc.training._settings import TrainingParts
from skumc.training._state import TrainingState

_EXPECTED = {
    "encoder": "a Module that maps a batch, a dict of modality to (frames, lengths), to "
    "EncoderOutput(embedding, gates, projections)",
    "pairs": "sample(rows, phase, rng) that returns a batch, and encode(encoder, batch) that "
    "returns at least two EncoderOutput",
    "losses": "callables of the inputs that WeightedLosses lists for their role, which return a "
    "tensor with one number",
    "kmeans": "an estimator like KMeans: fit(embedding) sets cluster_centers_, and init= may be "
    "an array of centers",
    "threshold": "update(epoch, n_epochs, performance, loss) that returns the share to select",
    "selector": "select(embedding, labels, threshold) that returns a mask of the samples",
    "pseudo_labels": "label(state) that returns PseudoLabels(labels, taught, centers)",
    "monitor": "monitor(embedding, labels) that returns a number; with needs_neighbors = True "
    "it gets the neighbor graph as well",
}
_N_SAMPLES = 32  # of the random embedding; more for many clusters
_FROM_LIBRARIES = ("skumc", "sklearn")
_KEPT = (TypeError, ValueError, RuntimeError, ArithmeticError, ZeroDivisionError)


def _is_own(part: Any) -> bool:
    """Tell whether a part is the user's: neither ours nor scikit-learn's."""
    return type(part).__module__.partition(".")[0] not in _FROM_LIBRARIES


@contextmanager
def _naming(argument: str) -> Iterator[None]:
    """Name the parameter in the error of a part, and what is expected of it."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if f"{argument}=" in str(error):
            raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        kind = type(error) if type(error) in _KEPT else ValueError
        raise kind(
            f"{argument}= failed on a trial before training ({cause:.120}). Expected "
            f"{_EXPECTED[argument]}."
        ) from error


def rehearse_encoder(state: TrainingState) -> None:
    """Embed two samples with an encoder of the user's."""
    # below the trainable layers of text models
    if _is_own(getattr(state.encoder, "encoder", state.encoder)):
        with _naming("encoder"):
            embed(state.encoder, state.data[:2], state.settings.device, state.settings.precision)


def rehearse(parts: TrainingParts, terms: LossTerms, state: TrainingState) -> None:
    """Call each of the user's own parts once, on copies, as training will.

    Parameters
    ----------
    parts : TrainingParts
        Prepared for the data.
    terms : LossTerms
    state : TrainingState
        Of the start of training; unchanged.

    Raises
    ------
    TypeError, ValueError
        If a part fails or returns something else; the message names the parameter.
    """
    own = [name for name in _EXPECTED if _is_own(getattr(parts, name, None))]
    if any(_is_own(loss) for _, loss in parts.losses.values()):
        own.append("losses")
    own = [name for name in own if getattr(parts, name, None) is not None]
    if not own:
        return
    trial = _with_random_values(state)
    for name in own:
        with _naming(name):
            _CALLS[name](parts, terms, trial)


def _with_random_values(state: TrainingState) -> TrainingState:
    """Copy the state, with a random embedding, clustering and neighbors."""
    rng, n_clusters = np.random.RandomState(0), state.settings.n_clusters
    n_samples = min(max(_N_SAMPLES, 4 * n_clusters), len(state.data))
    with trial_batch(state.encoder, state.data, state.settings) as batch:
        outputs = encode_views(state.encoder, batch, state.views)
        width = outputs[0].embedding.shape[1]
    embedding = rng.normal(size=(n_samples, width)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    graph = copy.copy(state.graph)
    if getattr(graph, "partners_", None) is not None:
        graph.partners_ = rng.randint(n_samples, size=(n_samples, graph.partners_.shape[1]))
    if hasattr(graph, "near_"):
        graph.near_ = {
            name: (rng.randint(n_samples, size=(n_samples, near.shape[1])), there[:n_samples])
            for name, (near, there) in graph.near_.items()
        }
    return replace(
        state,
        data=state.data[:n_samples],
        graph=graph,
        phase="main",
        n_epochs=state.settings.max_epochs,
        embedding=embedding,
        labels=np.arange(n_samples, dtype=np.int32) % n_clusters,
        centers=embedding[:n_clusters].copy(),
        selected=np.arange(n_samples) % 2 == 0,
        taught=np.arange(n_samples) % 2 == 0,
    )


def _try_pairs(parts: TrainingParts, terms: LossTerms, state: TrainingState) -> None:
    rows = np.arange(min(4, len(state.data)))
    batch = parts.pairs.sample(rows, "pretrain", np.random.RandomState(0))
    batch = to_device(batch, state.settings.device)
    with trial_batch(state.encoder, state.data, state.settings):
        checked_pairs(parts.pairs.encode(state.encoder, batch))


def _try_losses(parts: TrainingParts, terms: LossTerms, state: TrainingState) -> None:
    with trial_batch(state.encoder, state.data, state.settings) as batch:
        outputs = encode_views(state.encoder, batch, state.views)
        full = clustering_space(outputs[0]).detach().float().requires_grad_()
        views = contrastive_views(outputs).detach().float().requires_grad_()
        if views.shape[1] < 2:
            views = torch.cat([views, views], dim=1)
    n_clusters = state.settings.n_clusters
    labels = torch.arange(len(full)) % n_clusters
    centers = nn.functional.normalize(torch.ones(n_clusters, full.shape[1]).cumsum(0), dim=1)
    inputs = {"views": views, "embedding": full, "labels": labels}
    inputs["centers"] = centers.to(full.device)
    trial = copy.deepcopy(terms)
    for step in ("pretrain", "supervised", "rest"):
        trial.compute(step, inputs)


def _try_kmeans(parts: TrainingParts, terms: LossTerms, state: TrainingState) -> None:
    embedding, n_clusters = state.embedding, state.settings.n_clusters
    assert embedding is not None and state.centers is not None
    for start in (None, state.centers):
        _, centers = cluster_embedding(parts.kmeans, embedding, n_clusters, start, 0)
        if centers.shape != state.centers.shape:
            raise ValueError(
                f"kmeans= gave cluster_centers_ of shape {centers.shape}, expected "
                f"{state.centers.shape}. Use an estimator that finds n_clusters clusters."
            )


def _first_share(parts: TrainingParts, state: TrainingState) -> float:
    """Share to select in the first epoch."""
    threshold = copy.deepcopy(parts.threshold)
    value = threshold.update(0, max(state.n_epochs, 1), None, None)
    return finite_number("threshold", value, 0)


def _try_threshold(parts: TrainingParts, terms: LossTerms, state: TrainingState) -> None:
    _first_share(parts, state)


def _try_selector(parts: TrainingParts, terms: LossTerms, state: TrainingState) -> None:
    assert state.embedding is not None
    share = _first_share(parts, state)
    selected = copy.deepcopy(parts.selector).select(state.embedding, state.labels, share)
    checked_mask(selected, len(state.embedding))


def _try_pseudo_labels(parts: TrainingParts, terms: LossTerms, state: TrainingState) -> None:
    assert state.centers is not None
    found = copy.deepcopy(parts.pseudo_labels).label(state)
    checked_pseudo_labels(found, state.centers, len(state.data))


def _try_monitor(parts: TrainingParts, terms: LossTerms, state: TrainingState) -> None:
    assert state.embedding is not None and state.labels is not None
    monitor = copy.deepcopy(parts.monitor)
    score = call_monitor(monitor, state.embedding, state.labels, state.graph)
    finite_number("monitor", score, 0)


_CALLS = {
    "pairs": _try_pairs,
    "losses": _try_losses,
    "kmeans": _try_kmeans,
    "threshold": _try_threshold,
    "selector": _try_selector,
    "pseudo_labels": _try_pseudo_labels,
    "monitor": _try_monitor,
}
