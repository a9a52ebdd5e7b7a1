"""From frames of any width to frames of one width."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


class FrameStatistics(NamedTuple):
    """Mean and scale of the values of a modality's frames, each (width,)."""

    mean: np.ndarray
    scale: np.ndarray


def masked_mean(frames: Tensor, lengths: Tensor) -> Tensor:
    """Mean of each sample's frames.

    Parameters
    ----------
    frames : Tensor of shape (n_frames_total, width)
    lengths : Tensor of int, shape (n_samples,)

    Returns
    -------
    Tensor of shape (n_samples, width)
        Zeros for a sample without frames.
    """
    n_samples = len(lengths)
    if len(frames) == n_samples and bool((lengths == 1).all()):
        return frames
    owner = torch.arange(n_samples, device=lengths.device).repeat_interleave(
        lengths, output_size=len(frames)
    )
    sums = frames.new_zeros(n_samples, frames.shape[1]).index_add(0, owner, frames)
    return sums / lengths.clamp(min=1).unsqueeze(1)


class ModalityProjection(nn.Module):
    """Standardise frames, project them linearly to one width, apply LayerNorm.

    Parameters
    ----------
    in_width : int
    out_width : int
    statistics : FrameStatistics
        Subtracted and divided by, feature by feature.
    offset : Tensor of shape (out_width,)
        Unit vector along which the bias starts; the same for all modalities of a network.

    Notes
    -----
    :math:`x' = LN(((x - \\mu) / \\sigma) W + b)`; section 3.8.1, step 1, of the UMC methodology,
    with the standardisation in front. W starts with orthonormal rows or columns, so that angles
    and distances of the input survive where ``in_width <= out_width``; b starts along ``offset``
    and about as long as a standardised frame. LayerNorm and the unit norm behind it keep only the
    direction of a vector; with that offset, direction tells length too: low-dimensional input is
    placed on a sphere as a map is, not flattened to its angles. All modalities share the offset,
    so that a sample is not told from another merely by which modalities it has.
    """

    def __init__(
        self, in_width: int, out_width: int, statistics: FrameStatistics, offset: Tensor
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(statistics.scale, dtype=torch.float64))
        self.linear = nn.Linear(in_width, out_width)
        self.norm = nn.LayerNorm(out_width)
        nn.init.orthogonal_(self.linear.weight)
        with torch.no_grad():
            self.linear.bias.copy_(offset * math.sqrt(in_width))

    def forward(self, frames: Tensor) -> Tensor:
        """Project (n_frames_total, in_width) to (n_frames_total, out_width)."""
        # in the input's own precision, so that a large mean of float64 data is taken off first
        standard = (frames - self.mean.to(frames.dtype)) / self.scale.to(frames.dtype)
        return self.norm(self.linear(standard.to(self.linear.weight.dtype)))
