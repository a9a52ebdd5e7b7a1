"""Pooling of each sample's frames to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skumc._sequences import Sequences, sent

_LEAST_DEVIATION = 1e-3  # added before the logarithm; frames are standardized


def masked_mean(frames: Tensor, lengths: Tensor) -> Tensor:
    """Average each sample's frames.

    Parameters
    ----------
    frames : Tensor of shape (n_frames_total, width)
        Frames of one sample after another.
    lengths : Tensor of int, shape (n_samples,)
        Number of frames per sample.

    Returns
    -------
    Tensor of shape (n_samples, width)
        Zeros for a sample without frames. ``frames`` itself if each sample has one.

    Examples
    --------
    >>> import torch
    >>> masked_mean(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([2, 0, 1])).tolist()
    [[2.0], [0.0], [5.0]]
    """
    lengths = lengths.cpu()
    if len(frames) == len(lengths) and bool((lengths == 1).all()):
        return frames
    return Sequences.from_lengths(frames, lengths).mean()


def segment_means(frames: Tensor, lengths: Tensor, n_segments: int) -> Tensor:
    r"""Average equal segments of each sample's frames, and concatenate the means in order.

    Parameters
    ----------
    frames : Tensor of shape (n_frames_total, width)
        Frames of one sample after another.
    lengths : Tensor of int, shape (n_samples,)
        Number of frames per sample.
    n_segments : int
        Number of segments per sample.

    Returns
    -------
    Tensor of shape (n_samples, n_segments * width)
        Zeros for a sample without frames.

    Notes
    -----
    Segment :math:`s` of :math:`S` of a sample with :math:`L` frames lasts from :math:`s L / S` to
    :math:`(s + 1) L / S`; a frame on a boundary is shared between both in proportion. Unlike a
    mean, the segments keep the order of the frames, whatever their number.

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
    sequences = Sequences.from_lengths(frames, lengths)
    owner, position = sequences.owner, sequences.position
    lengths = sent(sequences.lengths, frames.device)
    starts = torch.cumsum(lengths, 0) - lengths
    # in integers: a frame is n_segments long, a segment as long as the sample has frames
    borders = lengths.unsqueeze(1) * torch.arange(n_segments + 1, device=lengths.device)
    begins, ends = borders[:, :-1], borders[:, 1:]
    first, last = begins // n_segments, (ends - 1) // n_segments
    in_first = torch.minimum(ends, (first + 1) * n_segments) - begins
    in_last = (ends - last * n_segments) * (last > first)
    segment = position * n_segments // lengths[owner]
    is_whole = (position > first[owner, segment]) & (position < last[owner, segment])
    precise = frames.double()
    # each sample is summed apart, so that huge values of one cost the others no digits
    sums = precise.new_zeros(n_samples * n_segments, width).index_add(
        0, owner * n_segments + segment, precise * is_whole.unsqueeze(1)
    )
    sums = n_segments * sums.view(n_samples, n_segments, width)
    for place, share in ((first, in_first), (last, in_last)):
        rows = (starts.unsqueeze(1) + place).clamp(0, len(frames) - 1)
        sums = sums + share.unsqueeze(2) * precise[rows]
    means = sums / lengths.clamp(min=1).view(-1, 1, 1)
    return means.to(frames.dtype).view(n_samples, n_segments * width)


def log_deviations(frames: Tensor, lengths: Tensor) -> Tensor:
    r"""Logarithm of the standard deviation of each channel over each sample's frames.

    Parameters
    ----------
    frames : Tensor of shape (n_frames_total, width)
        Standardized frames of one sample after another.
    lengths : Tensor of int, shape (n_samples,)
        Number of frames per sample.

    Returns
    -------
    Tensor of shape (n_samples, width)
        :math:`\log(\sigma + 0.001)`; 0 for a sample with fewer than two frames.

    Examples
    --------
    >>> import torch
    >>> frames, lengths = torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([2, 1])
    >>> [[round(value, 3) for value in row] for row in log_deviations(frames, lengths).tolist()]
    [[0.001], [0.0]]
    """
    sequences = Sequences.from_lengths(frames, lengths)
    centered = frames - sequences.mean()[sequences.owner]
    deviation = Sequences.from_lengths(centered.square(), lengths).mean().sqrt()
    several = sent(sequences.lengths > 1, frames.device).unsqueeze(1)
    return torch.where(several, (deviation + _LEAST_DEVIATION).log(), 0.0)


class MeanPooling(nn.Module):
    """Mean of each sample's rows."""

    def forward(self, sequences: Sequences) -> Tensor:
        """Pool to (n_samples, width); zeros for a sample without rows."""
        return sequences.mean()


class AttentionPooling(nn.Module):
    r"""Mean of each sample's rows, weighted by attention to a learned query.

    Parameters
    ----------
    width : int
        Width of the rows.

    Notes
    -----
    :math:`\sum_i a_i x_i` with :math:`a = softmax(x q / \sqrt d)` over the rows :math:`x_i` of the
    sample and a learned :math:`q` of width :math:`d`. It starts at 0, which gives the plain mean.
    An alternative to the mean of section 3.4.6 of the UMC methodology.

    Examples
    --------
    >>> import torch
    >>> from skumc.encoders import Sequences
    >>> rows = Sequences.from_lengths(torch.tensor([[1.0], [3.0]]), torch.tensor([2, 0]))
    >>> AttentionPooling(1)(rows).tolist()
    [[2.0], [0.0]]
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))

    def forward(self, sequences: Sequences) -> Tensor:
        """Pool to (n_samples, width); zeros for a sample without rows."""
        values, mask = sequences.values, sequences.mask
        if len(values) == 0:
            return values.new_zeros(sequences.n_samples, values.shape[1])
        scores = sequences.padded((values @ self.query / values.shape[1] ** 0.5).unsqueeze(1))
        scores = scores.squeeze(2).masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=1) * mask
        return torch.einsum("np,npw->nw", weights, sequences.padded(values))
