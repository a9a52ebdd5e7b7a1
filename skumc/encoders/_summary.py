"""Summary of a modality's frames: one standardized vector per sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from skumc._moments import Moments
from skumc._sequences import sent
from skumc.encoders._pooling import log_deviations, segment_means
from skumc.encoders._statistics import FrameStatistics, Standardization

_SUMMARY_WIDTH = 512  # maximum width of a summary with more than one segment
_MIN_FRAMES = 32  # of nine in ten samples: the standard error of a deviation is then 13 %
_MAX_KEPT = 4096  # samples by which principal directions are found, or up to twice as many
_MAX_VALUES = 4_000_000  # of these samples, if they are wide
_MIN_KEPT = 256


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
        self.is_of_raw_sequences = fitting > 1 and statistics.longest > 1
        self.deviation = deviation and fitting > 1 and statistics.typical >= _MIN_FRAMES
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

    def _standardized(self, pooled: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Standardize; zeros for a sample without frames.

        The deviation of a single frame is unknown and counts as average.
        """
        standard = (torch.cat(list(pooled), dim=1) - self.mean) / self.scale
        standard = standard * sent(lengths > 0, standard.device).unsqueeze(1)
        if self.deviation and bool((lengths == 1).any()):
            single = sent(lengths == 1, standard.device).unsqueeze(1)
            place = torch.arange(self.width, device=standard.device)
            is_deviation = place >= self.width // (self.n_segments + 1) * self.n_segments
            standard = torch.where(single & is_deviation, 0.0, standard)
        return standard

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Summarize to (n_samples, width); zeros for a sample without frames."""
        return self._standardized(self.pooled(frames, lengths), lengths)


class SummaryCalibration:
    """Calibrate a summary with batches of samples, and keep some of the samples.

    Parameters
    ----------
    summary : Summary
    keeps : bool, default=False
        Whether some of the samples are kept.
    """

    def __init__(self, summary: Summary, keeps: bool = False) -> None:
        self._summary, self._keeps = summary, keeps
        width = summary.width // (summary.n_segments + summary.deviation)
        widths = [summary.n_segments * width, width][: 1 + summary.deviation]
        self._moments = [Moments(width, summary.mean.device) for width in widths]
        self._kept: list[tuple[list[Tensor], Tensor]] = []
        self._stride, self._n_seen = 1, 0

    def add(self, frames: Tensor, lengths: Tensor) -> None:
        """Add a batch; deviations count for samples of at least two frames."""
        pooled = self._summary.pooled(frames, lengths)
        for least, (moments, values) in enumerate(zip(self._moments, pooled, strict=True), start=1):
            rows = torch.nonzero(lengths >= least).squeeze(1)
            moments.add(values[sent(rows, frames.device)])
        if self._keeps:
            self._keep(pooled, lengths)

    def _keep(self, pooled: list[Tensor], lengths: Tensor) -> None:
        """Keep every n-th sample, and ever fewer as more come."""
        here = torch.nonzero(lengths).squeeze(1)
        numbers = self._n_seen + torch.arange(len(here))
        self._n_seen += len(here)
        self._append(pooled, lengths, here[numbers % self._stride == 0])
        limit = min(_MAX_KEPT, max(_MAX_VALUES // self._summary.width, _MIN_KEPT))
        while sum(len(sizes) for _, sizes in self._kept) > 2 * limit:
            self._stride *= 2
            kept, self._kept = self._kept, []
            n_before = 0
            for parts, sizes in kept:
                places = torch.arange(len(sizes))
                self._append(parts, sizes, places[(n_before + places) % 2 == 0])
                n_before += len(sizes)

    def _append(self, pooled: Sequence[Tensor], lengths: Tensor, rows: Tensor) -> None:
        if len(rows):
            there = sent(rows, pooled[0].device)
            self._kept.append(([part[there] for part in pooled], lengths[rows]))

    def finish(self) -> Tensor:
        """Set mean and deviation over samples; return the kept summaries, standardized."""
        summary = self._summary
        if summary.standardize:
            found = [moments.mean_and_scale() for moments in self._moments]
            summary.mean.copy_(torch.cat([mean for mean, _ in found]))
            summary.scale.copy_(torch.cat([scale for _, scale in found]))
        rows = [summary._standardized(pooled, lengths) for pooled, lengths in self._kept]
        return torch.cat([summary.mean.new_zeros(0, summary.width), *rows])


def principal_subspace(rows: Tensor, n_directions: int) -> Tensor:
    """Return a random orthonormal basis of the directions of the largest variance.

    The basis is random because vectors of several modalities are added: the first direction of
    one must not coincide with the first of another. Beyond the number of rows, directions are
    random.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, width)
    n_directions : int
        At most ``width``.

    Returns
    -------
    Tensor of float32, shape (n_directions, width)

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[3.0, 0.1, 0.0], [-3.0, 0.1, 0.0], [0.0, -0.2, 0.0]])
    >>> principal_subspace(rows, 1).abs().round().tolist()
    [[1.0, 0.0, 0.0]]
    """
    n_found = min(n_directions, len(rows) - 1)
    found = torch.zeros(0, rows.shape[1])
    if n_found > 0:
        # few rows of many columns: the randomized solver is far faster, the last digits differ
        pca = PCA(n_found, random_state=0).fit(rows.double().cpu().numpy())
        found = torch.from_numpy(pca.components_).float()
    rest = torch.randn(rows.shape[1], n_directions - len(found))
    rest = rest - found.T @ (found @ rest)
    directions = torch.cat([found, torch.linalg.qr(rest).Q.T])
    return torch.linalg.qr(torch.randn(n_directions, n_directions)).Q @ directions
