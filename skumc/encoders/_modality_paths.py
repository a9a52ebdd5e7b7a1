"""Paths from the frames of each modality to vectors, one modality at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._sequences import sent
from skumc.encoders._batch import Batch
from skumc.encoders._dropout import Dropout
from skumc.encoders._dual_projection import DualProjection
from skumc.encoders._frame_path import FramePath
from skumc.encoders._projection import ModalityProjection
from skumc.encoders._standardized_sums import StandardizedSums
from skumc.encoders._statistics import FrameStatistics
from skumc.encoders._summary import Summary, SummaryCalibration, principal_subspace

_FRAME_WEIGHT = 0.5  # of frames one by one, relative to the summary


class ModalityPaths(nn.Module):
    """Paths from frames to vectors: the summary of each modality, and its frames one by one.

    Parameters
    ----------
    statistics : dict of str to FrameStatistics
    hidden_width : int
    n_segments : int
    deviation : bool
    dual_projection : bool
    frame_path : bool
    dropout, input_dropout, input_noise : float
    standardize : bool

    Examples
    --------
    >>> import numpy as np
    >>> statistics = {"audio": FrameStatistics(np.zeros(2), np.ones(2), longest=3)}
    >>> paths = ModalityPaths(
    ...     statistics, hidden_width=8, n_segments=2, deviation=False, dual_projection=True,
    ...     frame_path=True, dropout=0.0, input_dropout=0.0, input_noise=0.0, standardize=True,
    ... )
    >>> [v.shape for v in paths("audio", torch.randn(4, 2), torch.tensor([3, 1]))]
    [torch.Size([2, 8]), torch.Size([2, 8])]
    """

    def __init__(
        self,
        statistics: Mapping[str, FrameStatistics],
        *,
        hidden_width: int,
        n_segments: int,
        deviation: bool,
        dual_projection: bool,
        frame_path: bool,
        dropout: float,
        input_dropout: float,
        input_noise: float,
        standardize: bool,
    ) -> None:
        super().__init__()
        self.names = tuple(statistics)
        offset = F.normalize(torch.randn(hidden_width), dim=0)
        # lists: a modality's name may hold dots, a module's may not
        self.summarize = nn.ModuleList(
            Summary(stats, n_segments, standardize, deviation) for stats in statistics.values()
        )
        self.projections = nn.ModuleList(
            ModalityProjection(summary.width, hidden_width, offset) for summary in self._summaries
        )
        self.refinements = nn.ModuleList(
            DualProjection(hidden_width, dropout, starts_at_input=True)
            if dual_projection
            else nn.Identity()
            for _ in statistics
        )
        self.frame_paths = nn.ModuleDict()  # by the place of the modality
        for place, stats in enumerate(statistics.values()):
            if frame_path and self._summaries[place].is_of_raw_sequences:
                stats = stats if standardize else stats.neutral()
                path = FramePath(stats, hidden_width, dropout, offset)
                self.frame_paths[str(place)] = path
        self.standardize = standardize
        self.input_dropout = Dropout(input_dropout)
        self.input_noise = input_noise

    @property
    def _summaries(self) -> list[Summary]:
        return cast(list[Summary], list(self.summarize))

    def weights(self, name: str) -> list[float]:
        """Return a weight for each path of a modality."""
        has_frame_path = str(self.names.index(name)) in self.frame_paths
        return [1.0, _FRAME_WEIGHT] if has_frame_path else [1.0]

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Standardize the summaries of all samples; project on directions of largest variance."""
        weights = [cast(ModalityProjection, p).linear.weight for p in self.projections]
        is_wide = [self.standardize and w.shape[0] < w.shape[1] for w in weights]
        calibrations = list(map(SummaryCalibration, self._summaries, is_wide))
        for batch in batches:
            for name, calibration in zip(self.names, calibrations, strict=True):
                calibration.add(*batch[name])
        for calibration, weight, wide in zip(calibrations, weights, is_wide, strict=True):
            rows = calibration.finish()
            if wide:
                with torch.no_grad():
                    weight.copy_(principal_subspace(rows, weight.shape[0]))

    def summaries(self, batch: Batch) -> dict[str, Tensor]:
        """Return standardized summaries, before any learned layer."""
        return {
            name: summary(*batch[name])
            for name, summary in zip(self.names, self._summaries, strict=True)
        }

    def forward(self, name: str, frames: Tensor, lengths: Tensor) -> list[Tensor]:
        """Compute the vectors of a modality's paths, for samples that have the modality.

        Parameters
        ----------
        name : str
        frames : Tensor of shape (n_frames_total, width)
        lengths : Tensor of int, shape (n_samples,)
            At least 1 each.

        Returns
        -------
        list of Tensor of shape (n_samples, hidden_width)
        """
        place = self.names.index(name)
        summary = self.summarize[place](frames, lengths)
        if self.training and self.input_noise:
            summary = summary + self.input_noise * torch.randn_like(summary)
        projected = self.projections[place](self.input_dropout(summary))
        vectors = [self.refinements[place](projected)]
        if str(place) in self.frame_paths:
            vectors.append(self.frame_paths[str(place)](frames, lengths))
        return vectors


def path_summaries(paths: ModalityPaths, sums: StandardizedSums, batch: Batch) -> dict[str, Tensor]:
    """Summarize each modality before training; zeros for a missing one.

    The standardized summary, before any learned layer; and, side by side, what the untrained frame
    path gives where there is one, standardized over samples.

    Parameters
    ----------
    paths : ModalityPaths
    sums : StandardizedSums
    batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))

    Returns
    -------
    dict of str to Tensor of shape (n_samples, width)
    """
    found = paths.summaries(batch)
    for name in paths.names:
        if len(paths.weights(name)) == 1:
            continue
        frames, lengths = batch[name]
        here = lengths > 0
        rows = sent(torch.nonzero(here).squeeze(1), frames.device)
        vectors = sums.standardized(name, paths(name, frames, lengths[here]))[1]
        vectors = vectors.new_zeros(len(lengths), vectors.shape[1]).index_copy(0, rows, vectors)
        found[name] = torch.cat([found[name], vectors], dim=1)
    return found
