"""Positive pairs of neighbors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from skumc._batches import to_batch
from skumc._sequences import frames_of
from skumc.data import MultimodalData
from skumc.encoders import Batch, EncoderOutput, encode_views
from skumc.pairs._base import BasePairs


def show_by_sample(batch: Batch, shown: torch.Tensor) -> Batch:
    """Hide modalities per sample; ``shown`` is (n_samples, n_modalities) bool, in batch's order."""
    visible = {}
    for place, (name, (frames, lengths)) in enumerate(batch.items()):
        kept = lengths * shown[:, place]
        visible[name] = (frames_of(frames, lengths, kept > 0), kept)
    return visible


def _ranks(there: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Random order of the modalities of each sample, from 0; absent ones come last."""
    keys = np.where(there, rng.random_sample(there.shape), 2.0)
    return keys.argsort(axis=1).argsort(axis=1)


def draw_parts(there: np.ndarray, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Split the modalities of each sample in two parts, neither empty if there are at least two.

    Parameters
    ----------
    there : ndarray of bool, shape (n_samples, n_modalities)
        Modalities of each sample, at least one per row.
    rng : RandomState

    Returns
    -------
    first, second : ndarray of bool, shape (n_samples, n_modalities)
        A single modality is in both.

    Examples
    --------
    >>> there = np.array([[True, True], [False, True]])
    >>> first, second = draw_parts(there, np.random.RandomState(0))
    >>> (first ^ second).tolist(), (first & second).tolist()
    ([[True, True], [False, False]], [[False, False], [False, True]])
    """
    rank = _ranks(there, rng)
    is_first = (rank == 0) | ((rank > 1) & (rng.random_sample(there.shape) < 0.5))
    alone = there.sum(axis=1, keepdims=True) == 1
    return is_first & there, (~is_first | alone) & there


def draw_subset(there: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Draw modalities of each sample: one at random, each other with probability 2/3."""
    rank = _ranks(there, rng)
    return there & ((rank == 0) | (rng.random_sample(there.shape) < 2 / 3))


class NeighborPairs(BasePairs):
    """Positive pairs of a sample and one of its nearest neighbors, or of parts of them.

    Notes
    -----
    With probability ``agreement_`` of the graph (see :class:`~skumc.neighbors.NeighborGraph`) both
    samples of a pair show all trusted modalities. Otherwise, in pretraining, the pair is two parts
    of the sample itself without a common modality; later, random modalities of the sample and of
    its neighbor. Untrusted modalities are never shown together with trusted ones; one with a trust
    between 0 and 1 counts as trusted with this probability, pair by pair. The rows of a
    batch are the samples, then their partners: the neighbors drawn for them.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(pairs=NeighborPairs()).get_params()["pairs"]
    NeighborPairs()
    """

    needs_neighbors = True

    def prepare(self, data: MultimodalData, anchor: str, graph: Any) -> None:
        """Get ready for the training samples; see :class:`BasePairs`."""
        super().prepare(data, anchor, graph)
        self._graph = graph
        trust = getattr(graph, "trust_", graph.trusted_)
        self._trust = np.array([float(trust[name]) for name in data.names])

    def sample(self, rows: np.ndarray, phase: str, rng: np.random.RandomState) -> Batch:
        """Gather the samples and their partners, with the modalities that each shows."""
        apart = phase == "pretrain"
        partners = self._graph.draw(rows, rng)
        whole = rng.random_sample(len(rows)) < self._graph.agreement_
        if apart:
            partners = np.where(whole, partners, rows)
        present, shown = self._data.present, []
        trusted = np.tile(self._trust > 0, (len(rows), 1))
        if not np.isin(self._trust, (0.0, 1.0)).all():
            trusted = rng.random_sample(trusted.shape) < self._trust
        for chosen in (rows, partners):
            there = present[chosen] & trusted
            there |= ~there.any(axis=1, keepdims=True) & present[chosen]
            shown.append(there)
        if apart:
            parts = draw_parts(shown[0], rng)
        else:
            parts = draw_subset(shown[0], rng), draw_subset(shown[1], rng)
        visible = np.where(np.tile(whole, 2)[:, None], np.vstack(shown), np.vstack(parts))
        batch = to_batch(self._data, np.concatenate([rows, partners]))
        return show_by_sample(batch, torch.from_numpy(visible))

    def encode(self, encoder: nn.Module, batch: Batch) -> list[EncoderOutput]:
        """Encode both halves of the batch in one pass."""
        both = encode_views(encoder, batch, [tuple(batch)])[0]
        n_samples = len(both.embedding) // 2
        return [both.rows(slice(None, n_samples)), both.rows(slice(n_samples, None))]
