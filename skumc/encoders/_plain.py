"""The plain encoder: projection, masked mean, gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn
from torch.nn import functional as F

from skumc.encoders._fusion import GatedFusion
from skumc.encoders._output import Batch, EncoderOutput
from skumc.encoders._projection import (
    FrameStatistics,
    ModalityProjection,
    Standardization,
    masked_mean,
)


class ProjectionNetwork(nn.Module):
    """The module that :class:`ProjectionEncoder` builds.

    Parameters
    ----------
    statistics : dict of str to FrameStatistics
        One entry a modality, in the order of the gates.
    hidden_width : int
    dropout : float
    gate_normalization : {"sum", "softmax"}
    """

    def __init__(
        self,
        statistics: Mapping[str, FrameStatistics],
        hidden_width: int,
        dropout: float,
        gate_normalization: str,
    ) -> None:
        super().__init__()
        self.names = tuple(statistics)
        offset = F.normalize(torch.randn(hidden_width), dim=0)
        # a list, for a module's name may not hold the dots that a modality's may
        self.projections = nn.ModuleList(
            nn.Sequential(
                Standardization(stats), ModalityProjection(len(stats.mean), hidden_width, offset)
            )
            for stats in statistics.values()
        )
        self.dropout = nn.Dropout(dropout)
        self.fusion = GatedFusion(len(statistics), hidden_width, gate_normalization)

    def _summaries(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Summary of each modality, (n_samples, n_modalities, width), and which are present."""
        summaries, present = [], []
        for name, projection in zip(self.names, self.projections, strict=True):
            frames, lengths = batch[name]
            summaries.append(masked_mean(projection(frames), lengths))
            present.append(lengths > 0)
        return torch.stack(summaries, dim=1), torch.stack(present, dim=1)

    def _fuse(self, summaries: Tensor, present: Tensor) -> EncoderOutput:
        fused, gates = self.fusion(self.dropout(summaries), present)
        return EncoderOutput(F.normalize(fused, dim=-1), gates, {})

    def forward(self, batch: Batch) -> EncoderOutput:
        """Encode a batch of packed frames."""
        return self._fuse(*self._summaries(batch))

    def forward_views(self, batch: Batch, views: Sequence[Sequence[str]]) -> list[EncoderOutput]:
        """Encode a batch once a view; the projections are shared by all views."""
        summaries, present = self._summaries(batch)
        outputs = []
        for visible in views:
            shown = present & torch.tensor(
                [name in visible for name in self.names], device=present.device
            )
            shown = torch.where(shown.any(dim=1, keepdim=True), shown, present)
            outputs.append(self._fuse(summaries, shown))
        return outputs


class ProjectionEncoder(BaseEstimator):
    """Plain encoder: every modality projected, averaged over its frames, weighed by a gate.

    Parameters
    ----------
    hidden_width : int, default=256
        Width of the embedding.
    dropout : float, default=0.1
        Share of the summaries' values that training drops, anew for each view.
    gate_normalization : {"sum", "softmax"}, default="sum"
        How gates are made to sum to 1, see :class:`~skumc.encoders.GatedFusion`.
    standardize : bool, default=True
        Whether features are brought to mean 0 and deviation 1 with the training set's values.

    Notes
    -----
    For each modality: LayerNorm of a linear projection, mean over the frames that are there, then
    :class:`~skumc.encoders.GatedFusion` over those modalities that are there, then unit norm.
    Sections 3.4.6, 3.4.8 and step 1 of 3.8.1 of the UMC methodology.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(encoder=ProjectionEncoder(hidden_width=64)).get_params()[
    ...     "encoder__hidden_width"]
    64
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_width": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "gate_normalization": [StrOptions({"sum", "softmax"})],
        "standardize": ["boolean"],
    }

    def __init__(
        self,
        *,
        hidden_width: int = 256,
        dropout: float = 0.1,
        gate_normalization: str = "sum",
        standardize: bool = True,
    ) -> None:
        self.hidden_width = hidden_width
        self.dropout = dropout
        self.gate_normalization = gate_normalization
        self.standardize = standardize

    def build(self, statistics: Mapping[str, FrameStatistics], anchor: str) -> nn.Module:
        """Build the network for modalities with these statistics.

        Parameters
        ----------
        statistics : dict of str to FrameStatistics
            Mean and scale of each modality's features, which tell its width.
        anchor : str
            The modality that leads; the plain encoder treats all alike.

        Returns
        -------
        ProjectionNetwork
        """
        del anchor
        self._validate_params()
        if not self.standardize:
            statistics = {name: stats.neutral() for name, stats in statistics.items()}
        return ProjectionNetwork(
            statistics, self.hidden_width, self.dropout, self.gate_normalization
        )
