"""Comparison of the start and the end of a training run without a neighbor graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from torch import nn

from skumc._warnings import warn_caller
from skumc.training._best import BestEpoch
from skumc.training._embedding import embed, summarize
from skumc.training._history import History
from skumc.training._part_returns import count_distinct
from skumc.training._state import TrainingState


def warn_of_no_gain(best: BestEpoch, history: History, n_samples: int) -> None:
    """Warn if the untrained encoder is clearly the best candidate.

    Clearly is by twice the largest standard error of a share of the samples.
    """
    highest = max(record["monitor"] for record in history.phase("main"))
    is_kept = best.record is not None and best.record["phase"] == "start"
    if not is_kept or best.highest - highest < 1 / math.sqrt(n_samples):
        return
    warn_caller(
        f"Training did not help: the monitor is {best.highest:.3f} for the untrained encoder and "
        f"at most {highest:.3f} after training, so the untrained encoder is kept. Try a smaller "
        "learning_rate and pretrain_learning_rate, another encoder, or more samples; set "
        "monitor__judge_start=False to keep a trained encoder.",
        RuntimeWarning,
    )


class StartCheck:
    """Clusters of the untrained encoder, and a graph of the input to compare others with.

    It draws from no random numbers but its own, so that training is the same with and without it.

    Parameters
    ----------
    encoder : Module
        Before training.
    graph : object
        Not built yet; with ``build`` and ``modularity``, see
        :class:`~skumc.neighbors.NeighborGraph`.
    state : TrainingState
    """

    def __init__(self, encoder: nn.Module, graph: Any, state: TrainingState) -> None:
        settings, rng = state.settings, np.random.RandomState(0)
        self._graph, self._n_samples = graph, len(state.data)
        embedding = embed(encoder, state.data, settings.device, settings.precision).embedding
        self._start: float | None = None
        if count_distinct(embedding, settings.n_clusters) < settings.n_clusters:
            return
        graph.build(
            state.data,
            lambda: summarize(encoder, state.data, settings.device),
            settings.anchor,
            rng,
            n_clusters=settings.n_clusters,
        )
        kmeans = KMeans(settings.n_clusters, n_init=10, random_state=0)
        self._start = graph.modularity(kmeans.fit_predict(embedding))

    def warn_if_below(self, labels: np.ndarray) -> None:
        """Warn if clusters are clearly worse than those of the start.

        Clearly is by twice the largest standard error of a share of the samples.
        """
        if self._start is None:
            return
        end = self._graph.modularity(labels)
        if self._start - end < 1 / math.sqrt(self._n_samples):
            return
        warn_caller(
            f"Training fell below its start: the modularity of the clusters on the neighbors of "
            f"the input is {end:.3f}, that of the untrained encoder's {self._start:.3f}. Try a "
            "smaller learning_rate and pretrain_learning_rate, encoder='projection', or more "
            "samples; monitor='modularity' with neighbors=None keeps the better of both.",
            RuntimeWarning,
        )
