"""The plain encoder: summaries of the modalities, projected and weighed by gates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._moments import Moments
from skumc._packed import sent
from skumc.encoders._dropout import Dropout
from skumc.encoders._dual import DualProjection
from skumc.encoders._fusion import GatedFusion
from skumc.encoders._output import Batch, EncoderOutput
from skumc.encoders._projection import (
    FrameStatistics,
    ModalityProjection,
    Standardization,
    segment_means,
)

_SUMMARY_WIDTH = 512  # values up to which the order of frames is kept


class Summary(nn.Module):
    """One standardised vector a sample from the frames of one modality.

    Parameters
    ----------
    statistics : FrameStatistics
    n_segments : int
        Parts whose means are put side by side, at most; see
        :func:`~skumc.encoders.segment_means`.
    standardize : bool
        Whether the values are brought to mean 0 and deviation 1 over the samples of
        :meth:`calibrate`.
    """

    def __init__(self, statistics: FrameStatistics, n_segments: int, standardize: bool) -> None:
        super().__init__()
        width = len(statistics.mean)
        self.frames = Standardization(statistics if standardize else statistics.neutral())
        # wide frames are learned features that know their context; of raw ones the order tells
        fitting = max(_SUMMARY_WIDTH // width, 1)
        self.n_segments = max(min(n_segments, fitting, statistics.longest), 1)
        self.width = self.n_segments * width
        self.standardize = standardize
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("scale", torch.ones(self.width))

    def pooled(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Segment means of standardised frames, (n_samples, width)."""
        return segment_means(self.frames(frames), lengths, self.n_segments)

    def calibrate(self, moments: Moments) -> None:
        """Take mean and deviation over samples."""
        if self.standardize:
            mean, scale = moments.mean_and_scale()
            self.mean.copy_(mean)
            self.scale.copy_(scale)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Summaries, (n_samples, width); zeros where a sample has no frames."""
        standard = (self.pooled(frames, lengths) - self.mean) / self.scale
        return standard * sent(lengths > 0, standard.device).unsqueeze(1)


class ProjectionNetwork(nn.Module):
    """The module that :class:`ProjectionEncoder` builds.

    Parameters
    ----------
    statistics : dict of str to FrameStatistics
        One entry a modality, in the order of the gates.
    hidden_width : int
    n_segments : int
    dual_projection : bool
    dropout, input_dropout, input_noise : float
    gate_normalization : {"sum", "softmax"}
    standardize : bool

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skumc.encoders import FrameStatistics
    >>> widths = {"text": 3, "audio": 2}
    >>> statistics = {n: FrameStatistics(np.zeros(w), np.ones(w)) for n, w in widths.items()}
    >>> network = ProjectionEncoder(hidden_width=8).build(statistics, "text").eval()
    >>> batch = {
    ...     "text": (torch.randn(5, 3), torch.tensor([2, 3])),
    ...     "audio": (torch.randn(4, 2), torch.tensor([4, 0])),
    ... }
    >>> network.calibrate([batch])
    >>> network.set_prior_shares([3.0, 1.0])
    >>> output = network(batch)
    >>> output.embedding.shape
    torch.Size([2, 8])
    >>> [[round(gate, 2) for gate in row] for row in output.gates.tolist()]
    [[0.75, 0.25], [1.0, 0.0]]
    """

    def __init__(
        self,
        statistics: Mapping[str, FrameStatistics],
        *,
        hidden_width: int,
        n_segments: int,
        dual_projection: bool,
        dropout: float,
        input_dropout: float,
        input_noise: float,
        gate_normalization: str,
        standardize: bool,
    ) -> None:
        super().__init__()
        self.names = tuple(statistics)
        offset = F.normalize(torch.randn(hidden_width), dim=0)
        # lists, for a module's name may not hold the dots that a modality's may
        self.summarise = nn.ModuleList(
            Summary(stats, n_segments, standardize) for stats in statistics.values()
        )
        self.projections = nn.ModuleList(
            ModalityProjection(summary.width, hidden_width, offset) for summary in self.summarise
        )
        self.refinements = nn.ModuleList(
            DualProjection(hidden_width, dropout, starts_at_input=True)
            if dual_projection
            else nn.Identity()
            for _ in statistics
        )
        self.input_dropout = Dropout(input_dropout)
        self.input_noise = input_noise
        self.fusion = GatedFusion(len(statistics), hidden_width, gate_normalization)

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Take mean and deviation of the summaries of all samples."""
        all_moments = [Moments(summary.width, summary.mean.device) for summary in self.summarise]
        for batch in batches:
            for name, summary, moments in zip(self.names, self.summarise, all_moments, strict=True):
                frames, lengths = batch[name]
                has = sent(torch.nonzero(lengths).squeeze(1), frames.device)
                moments.add(summary.pooled(frames, lengths)[has])
        for summary, moments in zip(self.summarise, all_moments, strict=True):
            summary.calibrate(moments)

    def set_prior_shares(self, shares: Sequence[float]) -> None:
        """Let the gates start in these proportions, which learning can shift."""
        prior = torch.as_tensor(shares, dtype=torch.float32).log()
        self.fusion.log_prior.copy_(prior - prior.max())

    def summaries(self, batch: Batch) -> dict[str, Tensor]:
        """Standardised summaries, before anything learned."""
        return {
            name: summary(*batch[name])
            for name, summary in zip(self.names, self.summarise, strict=True)
        }

    def frame_maps(self) -> Iterator[nn.Module]:
        """The modules that map rows to rows, which can be compiled."""
        return (
            module
            for module in (*self.projections, *self.refinements, self.fusion)
            if not isinstance(module, nn.Identity)
        )

    def _project(self, place: int, summary: Tensor) -> Tensor:
        if self.training and self.input_noise:
            summary = summary + self.input_noise * torch.randn_like(summary)
        projected = self.projections[place](self.input_dropout(summary))
        return F.normalize(self.refinements[place](projected), dim=-1)

    def _modalities(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Unit vectors of the modalities, (n_samples, n_modalities, width), and which are there.

        The latter, (n_samples, n_modalities) bool, on the CPU.
        """
        present = torch.stack([batch[name][1] > 0 for name in self.names], dim=1)
        vectors = []
        for place, name in enumerate(self.names):
            frames, lengths = batch[name]
            has = lengths > 0
            vector = self._project(place, self.summarise[place](frames, lengths[has]))
            if len(vector) < len(lengths):
                rows = sent(torch.nonzero(has).squeeze(1), vector.device)
                vector = vector.new_zeros(len(lengths), vector.shape[1]).index_copy(0, rows, vector)
            vectors.append(vector)
        return torch.stack(vectors, dim=1), present

    def _fuse(self, vectors: Tensor, present: Tensor) -> EncoderOutput:
        fused, gates = self.fusion(vectors, sent(present, vectors.device))
        return EncoderOutput(F.normalize(fused, dim=-1), gates, {})

    def forward(self, batch: Batch) -> EncoderOutput:
        """Encode a batch of packed frames."""
        return self._fuse(*self._modalities(batch))

    def forward_views(self, batch: Batch, views: Sequence[Sequence[str]]) -> list[EncoderOutput]:
        """Encode a batch once a view; what leads up to the fusion is shared by all views."""
        vectors, present = self._modalities(batch)
        outputs = []
        for visible in views:
            shown = present & present.new_tensor([name in visible for name in self.names])
            shown = torch.where(shown.any(dim=1, keepdim=True), shown, present)
            outputs.append(self._fuse(vectors, shown))
        return outputs


class ProjectionEncoder(BaseEstimator):
    """Every modality summarised, projected, refined, and weighed by a gate.

    Parameters
    ----------
    hidden_width : int, default=128
        Width of the embedding.
    n_segments : int, default=8
        Parts of a sequence whose means are put side by side, so that the order of frames counts.
        Fewer where that made a summary wider than 512 values, or the longest sequence is shorter;
        1 is the mean over all frames.
    dual_projection : bool, default=True
        Whether :class:`~skumc.encoders.DualProjection` refines what was projected.
    dropout : float, default=0.2
        Inside of dual projection.
    input_dropout : float, default=0.2
        Share of a summary's values that training drops.
    input_noise : float, default=0.2
        Deviation of the noise that training adds to the standardised summary.
    gate_normalization : {"sum", "softmax"}, default="sum"
        How gates are made to sum to 1, see :class:`~skumc.encoders.GatedFusion`.
    standardize : bool, default=True
        Whether features are brought to mean 0 and deviation 1 with the training set's values,
        those of the frames and those of the summaries.

    Notes
    -----
    For each modality:

    1. :func:`~skumc.encoders.segment_means` of the standardised frames, standardised over samples;
    2. in training, noise and dropout on that summary;
    3. :class:`~skumc.encoders.ModalityProjection`, then dual projection that starts at its input,
       then unit norm;

    then :class:`~skumc.encoders.GatedFusion` over the modalities that are there, and unit norm. So
    the untrained embedding is the standardised input, each modality with the same weight: training
    starts where k-means on well-scaled features stands. Sections 3.3.2, 3.4.8 and step 1 of 3.8.1
    of the UMC methodology; summaries, noise and the start are ours.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(encoder=ProjectionEncoder(hidden_width=64)).get_params()[
    ...     "encoder__hidden_width"]
    64
    """

    learning_rate: ClassVar[float] = 4e-3  # where the estimator is given none

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_width": [Interval(Integral, 1, None, closed="left")],
        "n_segments": [Interval(Integral, 1, None, closed="left")],
        "dual_projection": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "input_noise": [Interval(Real, 0, None, closed="left")],
        "gate_normalization": [StrOptions({"sum", "softmax"})],
        "standardize": ["boolean"],
    }

    def __init__(
        self,
        *,
        hidden_width: int = 128,
        n_segments: int = 8,
        dual_projection: bool = True,
        dropout: float = 0.2,
        input_dropout: float = 0.2,
        input_noise: float = 0.2,
        gate_normalization: str = "sum",
        standardize: bool = True,
    ) -> None:
        self.hidden_width = hidden_width
        self.n_segments = n_segments
        self.dual_projection = dual_projection
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.input_noise = input_noise
        self.gate_normalization = gate_normalization
        self.standardize = standardize

    def build(self, statistics: Mapping[str, FrameStatistics], anchor: str) -> nn.Module:
        """Build the network for modalities with these statistics.

        Parameters
        ----------
        statistics : dict of str to FrameStatistics
            Mean and scale of each modality's features, which tell its width, and the length of the
            longest sequence.
        anchor : str
            The modality that leads; the plain encoder treats all alike.

        Returns
        -------
        ProjectionNetwork
        """
        del anchor
        self._validate_params()
        return ProjectionNetwork(statistics, **self.get_params(deep=False))
