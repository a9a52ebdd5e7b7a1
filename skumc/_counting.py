"""The number of clusters of a fit that does not know it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from skumc._assembly import MAX_SEED, make_parts, seed_parts, training_parts, training_settings
from skumc._cluster_count import NClustersEstimate, default_candidates, estimate_in_embedding
from skumc.data import MultimodalData
from skumc.training import MemoryEstimate
from skumc.training._embedding import embed
from skumc.training._isolation import isolated
from skumc.training._trainer import ProgressiveTrainer

N_CLUSTERS_OF_LAYER = 8  # clusters by which the layer of a text model is chosen


def estimate_for(
    estimator: Any,
    encoder: nn.Module,
    data: MultimodalData,
    device: torch.device,
    rng: np.random.RandomState,
    candidates: Sequence[int] | None = None,
) -> NClustersEstimate:
    """Pretrain a copy of an encoder, and choose the number of clusters of its embedding.

    Pretraining does not depend on the number of clusters, so that one embedding serves all.

    Parameters
    ----------
    estimator : UMCClusterer
        Has ``anchor_``.
    encoder : Module
        Untrained, stays as it is.
    data : MultimodalData
        With frames in the place of text.
    device : torch.device
    rng : RandomState
        Is copied: the fit that follows draws the same numbers as without an estimate.
    candidates : sequence of int or None
    """
    numbers = default_candidates(len(data)) if candidates is None else candidates
    if not numbers or data.count_distinct(2 * min(numbers)) < 2 * min(numbers):
        return estimate_in_embedding(np.zeros((len(data), 1)), (), rng)
    rng, encoder = copy.deepcopy(rng), copy.deepcopy(encoder)
    parts = make_parts(estimator)
    seed_parts(parts, rng)
    training = training_parts(estimator, parts)
    kept = [hook for hook in training.callbacks if isinstance(hook, MemoryEstimate)]
    training = replace(training, callbacks=kept, start_graph=None)
    settings = training_settings(estimator, 1, parts["encoder"], estimator.anchor_, device)
    with isolated(rng.randint(MAX_SEED), device):
        ProgressiveTrainer(encoder, training, settings, rng).pretrain(data)
        embedding = embed(encoder, data, device, estimator.precision).embedding
        return estimate_in_embedding(embedding, candidates, rng)
