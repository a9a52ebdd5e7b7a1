"""Summary of a modality's frames: one standardized vector per sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skumc._moments import Moments
from skumc._sequences import sent
from skumc.encoders._pooling import log_deviations, segment_means
from skumc.encoders._statistics import FrameStatistics, Standardization

_SUMMARY_WIDTH = 512  # maximum width of a summary with more than one segment


class Summary(nn.Module):
    """Summary of one modality: a standardized vector per sample.

    Parameters
    ----------
    statistics : FrameStatistics
    n_segments : int
        Maximum number of segments with a mean each, see :func:`~skumc.encoders.segment_means`.
    standardize : bool
        Whether the values are scaled to mean 0 and standard deviation 1 over the samples of
        :meth:`calibrate`.
    deviation : bool
        Whether the deviation of each channel over the frames follows the segment means.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, statistics: FrameStatistics, n_segments: int, standardize: bool, deviation: bool
    ) -> None:
        super().__init__()
        width = len(statistics.mean)
        self.frames = Standardization(statistics if standardize else statistics.neutral())
        # the order of raw frames is informative; wide ones are learned features with context
        fitting = max(_SUMMARY_WIDTH // width, 1)
        self.deviation = deviation and fitting > 1 and statistics.longest > 1
        fitting -= self.deviation
        self.n_segments = max(min(n_segments, fitting, statistics.longest), 1)
        self.width = (self.n_segments + self.deviation) * width
        self.standardize = standardize
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("scale", torch.ones(self.width))

    def pooled(self, frames: Tensor, lengths: Tensor) -> list[Tensor]:
        """Return segment means of standardized frames, then log deviations if these are used."""
        standard = self.frames(frames)
        means = segment_means(standard, lengths, self.n_segments)
        return [means, log_deviations(standard, lengths)] if self.deviation else [means]

    def moments(self) -> list[Moments]:
        """Return empty moments of segment means, and of log deviations if these are used."""
        width, device = self.width // (self.n_segments + self.deviation), self.mean.device
        means = Moments(self.n_segments * width, device)
        return [means, Moments(width, device)] if self.deviation else [means]

    def add_to(self, moments: Sequence[Moments], frames: Tensor, lengths: Tensor) -> None:
        """Add a batch to moments; deviations count for samples of at least two frames."""
        for least, (known, values) in enumerate(
            zip(moments, self.pooled(frames, lengths), strict=True), start=1
        ):
            rows = torch.nonzero(lengths >= least).squeeze(1)
            known.add(values[sent(rows, frames.device)])

    def calibrate(self, moments: Sequence[Moments]) -> None:
        """Set mean and standard deviation over samples."""
        if self.standardize:
            means, scales = zip(*(part.mean_and_scale() for part in moments), strict=True)
            self.mean.copy_(torch.cat(means))
            self.scale.copy_(torch.cat(scales))

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Summarize to (n_samples, width); zeros for a sample without frames.

        The deviation of a single frame is unknown and counts as average.
        """
        standard = (torch.cat(self.pooled(frames, lengths), dim=1) - self.mean) / self.scale
        standard = standard * sent(lengths > 0, standard.device).unsqueeze(1)
        if self.deviation and bool((lengths == 1).any()):
            single = sent(lengths == 1, standard.device).unsqueeze(1)
            place = torch.arange(self.width, device=standard.device)
            is_deviation = place >= self.width // (self.n_segments + 1) * self.n_segments
            standard = torch.where(single & is_deviation, 0.0, standard)
        return standard
