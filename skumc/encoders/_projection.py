"""From frames of any width to frames of one width."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skumc._packed import sent


class FrameStatistics(NamedTuple):
    """What an encoder is told about the frames of a modality.

    Attributes
    ----------
    mean, scale : ndarray of shape (width,)
        Mean and deviation of each feature over all frames of the training set.
    pooling : {"cls", "mean"} or None
        How the text model that gave the frames summarises them; None where nothing says so.
    longest : int
        Frames of the longest sample of the training set.

    Examples
    --------
    >>> import numpy as np
    >>> FrameStatistics(np.zeros(2), np.ones(2)).pooling is None
    True
    """

    mean: np.ndarray
    scale: np.ndarray
    pooling: str | None = None
    longest: int = 1

    def neutral(self) -> FrameStatistics:
        """Statistics of the same width that change nothing."""
        return self._replace(mean=np.zeros_like(self.mean), scale=np.ones_like(self.scale))


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
    lengths, n_samples = lengths.cpu(), len(lengths)
    if len(frames) == n_samples and bool((lengths == 1).all()):
        return frames
    lengths = sent(lengths, frames.device)
    owner = torch.arange(n_samples, device=lengths.device).repeat_interleave(
        lengths, output_size=len(frames)
    )
    sums = frames.new_zeros(n_samples, frames.shape[1]).index_add(0, owner, frames)
    return sums / lengths.clamp(min=1).unsqueeze(1)


def segment_means(frames: Tensor, lengths: Tensor, n_segments: int) -> Tensor:
    r"""Means of equal parts of each sample's frames, side by side in their order.

    Parameters
    ----------
    frames : Tensor of shape (n_frames_total, width)
        Frames of all samples, one sample behind the other.
    lengths : Tensor of int, shape (n_samples,)
        Frames of each sample.
    n_segments : int

    Returns
    -------
    Tensor of shape (n_samples, n_segments * width)
        Zeros for a sample without frames.

    Notes
    -----
    Segment :math:`s` of :math:`S` of a sample with :math:`L` frames lasts from :math:`s L / S` to
    :math:`(s + 1) L / S`; a frame on a border counts in both by its share. What a mean forgets, the
    order of the frames, is kept, whatever their number.

    Examples
    --------
    >>> import torch
    >>> frames, lengths = torch.tensor([[1.0], [3.0], [5.0], [7.0]]), torch.tensor([3, 1])
    >>> [[round(mean, 2) for mean in row] for row in segment_means(frames, lengths, 2).tolist()]
    [[1.67, 4.33], [7.0, 7.0]]
    """
    n_samples, width = len(lengths), frames.shape[1]
    if n_segments == 1:
        return masked_mean(frames, lengths)
    if len(frames) == 0:
        return frames.new_zeros(n_samples, n_segments * width)
    lengths = sent(lengths.cpu(), frames.device)
    # in whole numbers: a frame is n_segments long, a segment as long as the sample has frames
    borders = lengths.unsqueeze(1) * torch.arange(n_segments + 1, device=lengths.device)
    begins, ends = borders[:, :-1], borders[:, 1:]
    first, last = begins // n_segments, (ends - 1) // n_segments
    in_first = torch.minimum(ends, (first + 1) * n_segments) - begins
    in_last = (ends - last * n_segments) * (last > first)
    starts = torch.cumsum(lengths, 0) - lengths
    owner = torch.arange(n_samples, device=lengths.device).repeat_interleave(
        lengths, output_size=len(frames)
    )
    position = torch.arange(len(frames), device=lengths.device) - starts[owner]
    segment = position * n_segments // lengths[owner]
    is_whole = (position > first[owner, segment]) & (position < last[owner, segment])
    precise = frames.double()
    # samples are summed apart, so that a huge one leaves the digits of others alone
    sums = precise.new_zeros(n_samples * n_segments, width).index_add(
        0, owner * n_segments + segment, precise * is_whole.unsqueeze(1)
    )
    sums = n_segments * sums.view(n_samples, n_segments, width)
    for place, share in ((first, in_first), (last, in_last)):
        rows = (starts.unsqueeze(1) + place).clamp(0, len(frames) - 1)
        sums = sums + share.unsqueeze(2) * precise[rows]
    means = sums / lengths.clamp(min=1).view(-1, 1, 1)
    return means.to(frames.dtype).view(n_samples, n_segments * width)


class Standardization(nn.Module):
    """Bring the features of a modality's frames to mean 0 and deviation 1.

    Parameters
    ----------
    statistics : FrameStatistics
        Subtracted and divided by, feature by feature.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> standardize = Standardization(FrameStatistics(np.array([1.0]), np.array([2.0])))
    >>> standardize(torch.tensor([[1.0], [5.0]])).tolist()
    [[0.0], [2.0]]
    """

    def __init__(self, statistics: FrameStatistics) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(statistics.scale, dtype=torch.float64))

    def forward(self, frames: Tensor) -> Tensor:
        """Standardise (n_frames_total, width) in the frames' own precision, give float32."""
        frames = frames if frames.is_floating_point() else frames.float()
        # so that a large mean of float64 data is taken off before digits are lost
        standard = (frames - self.mean.to(frames.dtype)).div_(self.scale.to(frames.dtype))
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
