"""The encoder of the ACL 2024 paper."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._gelu import Gelu
from skumc._sequences import Sequences, first_frames, sent
from skumc.encoders._attention import n_heads_message
from skumc.encoders._batch import Batch, EncoderOutput, present_modalities
from skumc.encoders._dropout import Dropout
from skumc.encoders._statistics import FrameStatistics, Standardization


class CausalTower(nn.Module):
    """Linear map, one causal transformer layer, last frame.

    Parameters
    ----------
    in_width : int
        Width of a frame.
    width : int
        Width of the result.
    n_heads : int
        Number of heads.
    dropout : float
        Dropout of the transformer layer.
    """

    def __init__(self, in_width: int, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(in_width, width)
        self.layer = nn.TransformerEncoderLayer(
            width, n_heads, 4 * width, dropout, batch_first=True, norm_first=True
        )

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return the last frame's state, (n_samples, width); zeros for a sample without frames."""
        present = torch.nonzero(lengths).squeeze(1)
        summary = frames.new_zeros(len(lengths), self.linear.out_features)
        if len(present) == 0:
            return summary
        sizes = lengths[present]
        sequences = Sequences.from_lengths(self.linear(frames), sizes)
        padded = sequences.padded(sequences.values)
        # causal: a frame does not attend to later ones, so the padding at the end needs no mask
        mask = nn.Transformer.generate_square_subsequent_mask(
            padded.shape[1], device=padded.device, dtype=padded.dtype
        )
        states = self.layer(padded, src_mask=mask, is_causal=True)
        starts = torch.arange(len(present), device=sizes.device) * states.shape[1]
        ends = starts + sizes - 1
        last = states.flatten(0, 1).index_select(0, sent(ends, states.device))
        return summary.index_copy(0, sent(present, states.device), last.to(summary.dtype))


class CausalNetwork(nn.Module):
    """The module that :class:`CausalEncoder` builds; its stages are described there.

    Parameters
    ----------
    statistics : dict of str to FrameStatistics
    anchor : str
    hidden_width : int
    n_heads : int
    dropout : float

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skumc.encoders import FrameStatistics
    >>> statistics = {"text": FrameStatistics(np.zeros(3), np.ones(3))}
    >>> network = CausalEncoder(hidden_width=8, n_heads=2).build(statistics, "text")
    >>> network({"text": (torch.randn(5, 3), torch.tensor([2, 3]))}).embedding.shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        statistics: Mapping[str, FrameStatistics],
        anchor: str,
        hidden_width: int,
        n_heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.names = tuple(statistics)
        self.anchor = anchor
        widths = {name: len(stats.mean) for name, stats in statistics.items()}
        self.standardizations = nn.ModuleList(map(Standardization, statistics.values()))
        self.cls = nn.Linear(widths[anchor], hidden_width)
        self.towers = nn.ModuleList(
            CausalTower(widths[name], hidden_width, n_heads, dropout)
            for name in self.names
            if name != anchor
        )
        self.fusion = nn.Sequential(
            Gelu(), Dropout(dropout), nn.Linear(len(statistics) * hidden_width, hidden_width)
        )
        self.head = nn.Sequential(
            nn.ReLU(), Dropout(dropout), nn.Linear(hidden_width, hidden_width)
        )

    def forward(self, batch: Batch) -> EncoderOutput:
        """Encode a batch of packed frames."""
        towers = iter(self.towers)
        summaries = []
        for name, standardization in zip(self.names, self.standardizations, strict=True):
            frames, lengths = batch[name]
            frames = standardization(frames)
            if name == self.anchor:
                summaries.append(self._cls(frames, lengths))
            else:
                summaries.append(next(towers)(frames, lengths))
        present = present_modalities(batch, self.names)
        fused = self.fusion(torch.cat(summaries, dim=1))
        gates = sent(present / present.sum(dim=1, keepdim=True), fused.device)
        projections = {"contrastive": self.head(fused)}
        return EncoderOutput(F.normalize(fused, dim=-1), gates, projections)

    def _cls(self, frames: Tensor, lengths: Tensor) -> Tensor:
        first, has = first_frames(frames, lengths)
        mapped = self.cls(first)
        return mapped.new_zeros(len(lengths), mapped.shape[1]).index_copy(0, has, mapped)


class CausalEncoder(BaseEstimator):
    """Specification of the network of the ACL 2024 paper, for comparison.

    Parameters
    ----------
    hidden_width : int, default=256
        Width of the embedding and of all intermediate vectors; a multiple of ``n_heads``.
    n_heads : int, default=8
        Number of heads of the transformer layer of each modality except the anchor.
    dropout : float, default=0.1
        Dropout in the transformer layers, before the last linear map and in the head.

    Notes
    -----
    The anchor's first frame goes through a linear map, each other modality through a linear map
    and one causal transformer layer, of which the last frame is read. Then concatenation, GELU,
    dropout and a linear map. K-means and density selection read the result; the contrastive losses
    read a ReLU-dropout-linear head on it. A missing or hidden modality is zero in the
    concatenation. Gates are not learned: they are equal for the modalities that are present. Zhang
    et al., "Unsupervised Multimodal Clustering for Semantics Discovery in Multimodal Utterances",
    ACL 2024.

    Differences from the paper: frames are always standardized with the training set's statistics,
    the embedding has unit norm, InfoNCE and the contrastive loss read the full view and one other
    view drawn per batch instead of three views, and the epoch with the best monitor value is
    restored.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc import UMCClusterer
    >>> clusterer = UMCClusterer(
    ...     2, encoder="causal", pretrain_epochs=1, max_epochs=1, random_state=0
    ... )
    >>> clusterer.fit({"text": np.eye(6), "audio": np.ones((6, 3, 2))}).embedding_.shape
    (6, 256)
    """

    learning_rate: ClassVar[float] = 1e-3  # the default for this encoder

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_width": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, *, hidden_width: int = 256, n_heads: int = 8, dropout: float = 0.1) -> None:
        self.hidden_width = hidden_width
        self.n_heads = n_heads
        self.dropout = dropout

    def build(self, statistics: Mapping[str, FrameStatistics], anchor: str) -> nn.Module:
        """Build the network for modalities with these statistics.

        Parameters
        ----------
        statistics : dict of str to FrameStatistics
        anchor : str

        Returns
        -------
        CausalNetwork

        Raises
        ------
        ValueError
            If a parameter is outside its interval, or ``hidden_width`` is not a multiple of
            ``n_heads``.
        """
        self._validate_params()
        if self.hidden_width % self.n_heads:
            raise ValueError(n_heads_message(self.hidden_width, self.n_heads))
        return CausalNetwork(statistics, anchor, **self.get_params(deep=False))
