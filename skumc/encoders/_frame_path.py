"""Refinement of a modality frame by frame."""

from __future__ import annotations

from torch import Tensor, nn

from skumc.encoders._dual_projection import DualProjection
from skumc.encoders._projection import ModalityProjection
from skumc.encoders._statistics import FrameStatistics, Standardization


class FramePath(nn.Module):
    """Standardized frames, projected and refined one by one, then averaged per sample.

    A summary averages frames first; this path can respond to single frames.

    Parameters
    ----------
    statistics : FrameStatistics
    hidden_width : int
        Width of the result.
    dropout : float
        Dropout inside dual projection.
    offset : Tensor of shape (hidden_width,)
        See :class:`~skumc.encoders.ModalityProjection`.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> path = FramePath(FrameStatistics(np.zeros(3), np.ones(3)), 8, 0.0, torch.zeros(8))
    >>> path(torch.randn(5, 3), torch.tensor([2, 3])).shape
    torch.Size([2, 8])
    """

    def __init__(
        self, statistics: FrameStatistics, hidden_width: int, dropout: float, offset: Tensor
    ) -> None:
        super().__init__()
        self.standardization = Standardization(statistics)
        self.projection = ModalityProjection(len(statistics.mean), hidden_width, offset)
        self.refinement = DualProjection(hidden_width, dropout)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Encode packed frames of samples with at least one frame each."""
        projected = self.projection(self.standardization(frames))
        return self.refinement.mean(projected, lengths)
