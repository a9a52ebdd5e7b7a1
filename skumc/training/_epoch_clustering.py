"""Cluster, select and judge the samples at the start of an epoch."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from skumc.pseudo_labels import label_means
from skumc.training._clustering import assign_labels, cluster_embedding, clustering_objective
from skumc.training._embedding import Embedded, embed
from skumc.training._part_returns import (
    check_distinct,
    checked_mask,
    checked_pseudo_labels,
    count_distinct,
    finite_number,
)
from skumc.training._settings import TrainingParts
from skumc.training._state import TrainingState


class EpochClustering:
    """Cluster, select and judge all samples: the part of an epoch that does not train.

    Parameters
    ----------
    encoder : Module
    parts : TrainingParts
    rng : RandomState

    Examples
    --------
    >>> from inspect import signature
    >>> list(signature(EpochClustering.run).parameters)[1:]
    ['state', 'last']
    """

    def __init__(self, encoder: nn.Module, parts: TrainingParts, rng: np.random.RandomState):
        self._encoder, self._parts, self._rng = encoder, parts, rng

    @property
    def judges_start(self) -> bool:
        """Whether the monitor can compare the untrained encoder with a trained one."""
        return bool(getattr(self._parts.monitor, "judge_start", False))

    def run_start(self, state: TrainingState) -> dict[str, Any] | None:
        """Judge the untrained encoder; return its record.

        Threshold and neighbors stay those of the start. None if the untrained encoder gives too
        few distinct points to cluster.
        """
        found = self._embed(state)
        if count_distinct(found.embedding, state.settings.n_clusters) < state.settings.n_clusters:
            return None
        threshold = copy.deepcopy(self._parts.threshold)
        return self._judged(state, found, threshold, {})

    def run_earlier(self, state: TrainingState, centers: np.ndarray) -> dict[str, Any]:
        """Judge a trained encoder with the centers of its fit; return the record.

        Threshold and neighbors stay those of the start.
        """
        found = self._embed(state)
        state.embedding, state.gates = found.embedding, found.gates
        state.labels, state.centers = assign_labels(found.embedding, centers), centers
        share = self._select(state, copy.deepcopy(self._parts.threshold), {})
        state.taught = state.selected
        record = {"phase": state.phase, "epoch": state.epoch, **self._judge(state)}
        return record | {"threshold": share}

    def run(self, state: TrainingState, last: dict[str, Any]) -> dict[str, Any]:
        """Embed, cluster, select and label all samples; return the record of the epoch so far.

        ``last`` is the record of the epoch before, empty in the first.
        """
        found = self._embed(state)
        if state.labels is None:
            check_distinct(found.embedding, state.settings.n_clusters)
        state.graph.refresh(state.epoch, found.embedding)
        if len(state.held_out):
            state.graph.partners_ = state.held_out.replace_in(state.graph.partners_)
        return self._judged(state, found, self._parts.threshold, last)

    def _embed(self, state: TrainingState) -> Embedded:
        settings = state.settings
        return embed(self._encoder, state.data, settings.device, settings.precision)

    def _judged(
        self, state: TrainingState, found: Embedded, threshold: Any, last: dict[str, Any]
    ) -> dict[str, Any]:
        settings = state.settings
        state.embedding, state.gates = found.embedding, found.gates
        state.labels, state.centers = self._cluster(state)
        share = self._select(state, threshold, last)
        pseudo = self._parts.pseudo_labels.label(state)
        state.labels, state.taught, state.centers = checked_pseudo_labels(
            pseudo, state.centers, len(state.labels)
        )
        read = state.centers
        if found.clustering is not None:
            read = label_means(found.clustering, state.labels, settings.n_clusters)
        state.read_centers = torch.from_numpy(read).to(settings.device, torch.float32)
        terms = getattr(threshold, "terms_", {})
        return {
            "phase": state.phase,
            "epoch": state.epoch,
            **self._judge(state),
            "threshold": share,
            **{f"threshold_{name}": term for name, term in terms.items()},
        }

    def _cluster(self, state: TrainingState) -> tuple[np.ndarray, np.ndarray]:
        """Run k-means++ in the first epoch, k-means from a warm start in all others.

        The start is the means of the last labels in the new embedding: the encoder has moved, so
        the coordinates of the last centers no longer apply.
        """
        embedding, n_clusters = cast(np.ndarray, state.embedding), state.settings.n_clusters
        start, monitor = None, self._parts.monitor
        if state.labels is not None:
            start = label_means(embedding, state.labels, n_clusters, state.centers)
        rate = getattr(monitor, "rate_start", None)
        if rate is not None:
            rate = partial(rate, graph=state.graph)
        seed = int(self._rng.randint(2**31 - 1))
        return cluster_embedding(self._parts.kmeans, embedding, n_clusters, start, seed, rate)

    def _select(self, state: TrainingState, threshold: Any, last: dict[str, Any]) -> float:
        """Update the threshold and select that share of each cluster (algorithm 2)."""
        n_epochs = max(state.n_epochs, 1)
        value = threshold.update(state.epoch, n_epochs, last.get("monitor"), last.get("loss_total"))
        share = finite_number("threshold", value, state.epoch)
        selected = self._parts.selector.select(state.embedding, state.labels, share)
        state.selected = checked_mask(selected, len(cast(np.ndarray, state.labels)))
        return share

    def _judge(self, state: TrainingState) -> dict[str, Any]:
        """Judge the clustering that ``fit`` returns if this epoch is kept."""
        embedding, centers, selected, taught = (
            cast(np.ndarray, value)
            for value in (state.embedding, state.centers, state.selected, state.taught)
        )
        returned = assign_labels(embedding, centers)
        score = call_monitor(self._parts.monitor, embedding, returned, state.graph, state)
        return {
            "monitor": finite_number("monitor", score, state.epoch),
            "selected_share": float(selected.mean()),
            "taught_share": float(taught.mean()),
            **clustering_objective(embedding, returned, centers),
            "restored": False,
        }


def call_monitor(
    monitor: Any,
    embedding: np.ndarray,
    labels: np.ndarray,
    graph: Any,
    state: TrainingState | None = None,
) -> Any:
    """Call a monitor, with the neighbor graph if it needs neighbors.

    With samples held out in ``state``, it gets their row numbers and the agreement of their labels
    by single modalities.
    """
    if not getattr(monitor, "needs_neighbors", False):
        return monitor(embedding, labels)
    if state is None or not len(state.held_out):
        return monitor(embedding, labels, graph)
    centers, trusted = cast(np.ndarray, state.centers), state.graph.trusted_
    found = state.held_out.agreement(state.encoder, state.data, centers, trusted, state.settings)
    return monitor(embedding, labels, graph, rows=state.held_out.rows, agreement=found)
