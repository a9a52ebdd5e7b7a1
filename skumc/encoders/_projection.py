"""From frames of any width to frames of one width."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


class FrameStatistics(NamedTuple):
    """What an encoder is told about the frames of a modality.

    Attributes
    ----------
    mean, scale : ndarray of shape (width,)
        Mean and deviation of each feature over all frames of the training set.
    pooling : {"cls", "mean"} or None
        How the text model that gave the frames summarises them; None where nothing says so.

    Examples
    --------
    >>> import numpy as np
    >>> FrameStatistics(np.zeros(2), np.ones(2)).pooling is None
    True
    """

    mean: np.ndarray
    scale: np.ndarray
    pooling: str | None = None

    def neutral(self) -> FrameStatistics:
        """Statistics of the same width that change nothing."""
        return FrameStatistics(np.zeros_like(self.mean), np.ones_like(self.scale), self.pooling)


def masked_mean(frames: Tensor, lengths: Tensor) -> Tensor:
    """Mean of each sample's frames.

    Parameters
    ----------
    frames : Tensor of shape (n_frames_total, width)
        Frames of all samples, one sample behind the other.
    lengths : Tensor of int, shape (n_samples,)
        Frames of each sample.

    Returns
    -------
    Tensor of shape (n_samples, width)
        Zeros for a sample without frames.

    Examples
    --------
    >>> import torch
    >>> masked_mean(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([2, 0, 1])).tolist()
    [[2.0], [0.0], [5.0]]
    """
    n_samples = len(lengths)
    if len(frames) == n_samples and bool((lengths == 1).all()):
        return frames
    owner = torch.arange(n_samples, device=lengths.device).repeat_interleave(
        lengths, output_size=len(frames)
    )
    sums = frames.new_zeros(n_samples, frames.shape[1]).index_add(0, owner, frames)
    return sums / lengths.clamp(min=1).unsqueeze(1)


class Standardization(nn.Module):
    """Bring the features of a modality's frames to mean 0 and deviation 1.

    Parameters
    ----------
    statistics : FrameStatistics
        Subtracted and divided by, feature by feature.
    """

    def __init__(self, statistics: FrameStatistics) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(statistics.scale, dtype=torch.float64))

    def forward(self, frames: Tensor) -> Tensor:
        """Standardise (n_frames_total, width) in the frames' own precision, give float32."""
        # so that a large mean of float64 data is taken off before digits are lost
        standard = (frames - self.mean.to(frames.dtype)) / self.scale.to(frames.dtype)
        return standard.float()


def isometric_linear(in_width: int, out_width: int, offset: Tensor) -> nn.Linear:
    """A linear map that starts with orthonormal rows or columns and a bias along ``offset``.

    The bias is about as long as a standardised frame. Behind it only the direction of a vector is
    kept (LayerNorm, unit norm); with that offset, direction tells length too: low-dimensional
    input is placed on a sphere as a map is, not flattened to its angles. All modalities share the
    offset, so that a sample is not told from another merely by which modalities it has.
    """
    linear = nn.Linear(in_width, out_width)
    nn.init.orthogonal_(linear.weight)
    with torch.no_grad():
        linear.bias.copy_(offset * math.sqrt(in_width))
    return linear


class ModalityProjection(nn.Module):
    """Project standardised frames linearly to one width, apply LayerNorm.

    Parameters
    ----------
    in_width : int
        Width of a frame.
    out_width : int
        Width of the result.
    offset : Tensor of shape (out_width,)
        Unit vector along which the bias starts, the same for all modalities of a network.

    Notes
    -----
    :math:`x' = LN(x W + b)`; UMC methodology, section 3.8.1, step 1. :math:`W` starts
    orthonormal, so that distances of the input survive where ``in_width <= out_width``, and
    :math:`b` along the offset, as long as a standardised frame: LayerNorm keeps directions only,
    and with that offset they tell lengths too.

    Examples
    --------
    >>> import torch
    >>> offset = torch.nn.functional.normalize(torch.ones(4), dim=0)
    >>> ModalityProjection(3, 4, offset)(torch.randn(5, 3)).shape
    torch.Size([5, 4])
    """

    def __init__(self, in_width: int, out_width: int, offset: Tensor) -> None:
        super().__init__()
        self.linear = isometric_linear(in_width, out_width, offset)
        self.norm = nn.LayerNorm(out_width)

    def forward(self, frames: Tensor) -> Tensor:
        """Project (n_frames_total, in_width) to (n_frames_total, out_width)."""
        return self.norm(self.linear(frames))
