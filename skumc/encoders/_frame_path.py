"""Refinement of a modality frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skumc.encoders._dual_projection import DualProjection
from skumc.encoders._projection import ModalityProjection
from skumc.encoders._statistics import FrameStatistics, Standardization

_MAX_FRAMES = 32  # per sample in training


def sampled_frames(frames: Tensor, lengths: Tensor, n_frames: int) -> tuple[Tensor, Tensor]:
    """Sample frames of longer sequences: one at random in each of ``n_frames`` equal parts.

    Parameters
    ----------
    frames : Tensor of shape (n_frames_total, width)
    lengths : Tensor of int, shape (n_samples,)
    n_frames : int
        Largest length of the result.

    Returns
    -------
    tuple of (Tensor, Tensor)
        Packed frames and lengths; those given where no sequence is longer.

    Examples
    --------
    >>> frames, lengths = sampled_frames(torch.randn(12, 3), torch.tensor([10, 2]), 4)
    >>> frames.shape, lengths.tolist()
    (torch.Size([6, 3]), [4, 2])
    """
    if len(lengths) == 0 or int(lengths.max()) <= n_frames:
        return frames, lengths
    kept = lengths.clamp(max=n_frames)
    rows = torch.repeat_interleave(torch.arange(len(lengths), device=kept.device), kept)
    start = lengths.cumsum(0) - lengths
    part = torch.arange(len(rows), device=kept.device) - (kept.cumsum(0) - kept)[rows]
    drawn = torch.rand(len(rows), dtype=torch.float64, device=kept.device)
    drawn = torch.where(lengths > n_frames, 1.0, 0.0)[rows] * drawn
    place = ((part + drawn) * lengths[rows] / kept[rows]).long()
    return frames[start[rows] + place], kept


class FramePath(nn.Module):
    """Standardized frames, projected and refined one by one, then averaged per sample.

    A summary averages frames first; this path can respond to single frames. In training it reads a
    random sample of the frames of long sequences, see :func:`sampled_frames`; otherwise all.

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
        if self.training:
            frames, lengths = sampled_frames(frames, lengths, _MAX_FRAMES)
        projected = self.projection(self.standardization(frames))
        return self.refinement.mean(projected, lengths)
