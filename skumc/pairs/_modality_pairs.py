"""Positive pairs of views that differ by their modalities."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from skumc.data import MultimodalData
from skumc.encoders import Batch, EncoderOutput, encode_views
from skumc.pairs._base import BasePairs
from skumc.pairs._views import View, leave_one_out_views


def _random_split(names: View) -> list[View]:
    """Split the modalities in two non-empty parts, uniform over all such splits."""
    while True:
        chosen = torch.rand(len(names)) < 0.5
        if 0 < int(chosen.sum()) < len(names):
            parts = zip(names, chosen.tolist(), strict=True)
            first = tuple(name for name, is_first in parts if is_first)
            return [first, tuple(name for name in names if name not in first)]


class ModalityPairs(BasePairs):
    """Positive pairs of the full view and a view without one of the modalities.

    Notes
    -----
    The second view is drawn for each batch from :func:`~skumc.pairs.leave_one_out_views`. Section
    3.6.1 of the UMC methodology.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(pairs="views", neighbors="none", pseudo_labels="selected").pairs
    'views'
    """

    def prepare(self, data: MultimodalData, anchor: str, graph: Any) -> None:
        """Get ready for the training samples; see :class:`BasePairs`."""
        super().prepare(data, anchor, graph)
        self._views = leave_one_out_views(data.names, anchor)

    def encode(self, encoder: nn.Module, batch: Batch) -> list[EncoderOutput]:
        """Encode the full view and one other."""
        other = int(torch.randint(1, len(self._views), ()))
        return encode_views(encoder, batch, [self._views[0], self._views[other]])


class DisjointPairs(ModalityPairs):
    """Positive pairs of two views without a common modality, drawn for each batch.

    Notes
    -----
    A sample that has none of a view's modalities is shown with all its modalities. With only one
    modality the pairs are those of :class:`ModalityPairs`.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skumc.encoders import FrameStatistics, ProjectionEncoder
    >>> statistics = dict.fromkeys(("text", "audio"), FrameStatistics(np.zeros(3), np.ones(3)))
    >>> encoder = ProjectionEncoder().build(statistics, "text")
    >>> batch = {name: (torch.randn(4, 3), torch.ones(4, dtype=int)) for name in statistics}
    >>> first, second = DisjointPairs().encode(encoder, batch)
    >>> torch.equal(first.gates, 1 - second.gates)
    True
    """

    def encode(self, encoder: nn.Module, batch: Batch) -> list[EncoderOutput]:
        """Encode the two views."""
        if len(batch) == 1:
            return super().encode(encoder, batch)
        return encode_views(encoder, batch, _random_split(tuple(batch)))
