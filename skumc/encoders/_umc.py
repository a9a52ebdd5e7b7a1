"""The network of the method: dual projection, text-guided attention, gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._packed import Sequences, first_frames, sent
from skumc.encoders._attention import MultiHeadAttention
from skumc.encoders._dual import DualProjection, LinearProjection
from skumc.encoders._fusion import ConcatenationFusion, GatedFusion
from skumc.encoders._guided import TextGuidedFusion
from skumc.encoders._output import (
    Batch,
    EncoderOutput,
    hide_modalities,
    joined_outputs,
    take_samples,
)
from skumc.encoders._projection import (
    FrameStatistics,
    ModalityProjection,
    Standardization,
    isometric_linear,
)

_LIKE_LENGTH = 32  # samples that are padded to one length, at least


@dataclass
class _Shared:
    """What all views of a batch have in common."""

    present: Tensor  # (n_samples, n_modalities) bool, on the CPU
    anchor: Sequences | None
    anchor_summary: Tensor | None
    streams: dict[str, Sequences]
    zeros: dict[str, Sequences]


class UMCNetwork(nn.Module):
    """The module that :class:`UMCEncoder` builds; see there for its stages.

    Parameters
    ----------
    statistics : dict of str to FrameStatistics
        One entry a modality, in the order of the gates.
    anchor : str
    hidden_width : int
    n_heads : int
    dropout : float
    dual_projection : dict of str to {"dual", "linear", None}
        For each modality but the anchor.
    cross_attention, guided_attention : bool
    n_self_attention_layers : int
    anchor_summary : {"cls", "enhanced", "mean"}
    pooling : {"mean", "attention"}
    feature_interaction : bool
    fusion : {"sum", "softmax", "concatenation"}
    fusion_norm : bool
    contrastive_projector, clustering_projector : bool
    hidden_as_zeros : bool
        Whether a missing or hidden modality runs through the network as zeros.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skumc.encoders import FrameStatistics, UMCEncoder
    >>> widths = {"text": 3, "audio": 2}
    >>> statistics = {n: FrameStatistics(np.zeros(w), np.ones(w)) for n, w in widths.items()}
    >>> network = UMCEncoder(hidden_width=8, n_heads=2).build(statistics, "text").eval()
    >>> batch = {
    ...     "text": (torch.randn(5, 3), torch.tensor([2, 3])),
    ...     "audio": (torch.randn(4, 2), torch.tensor([4, 0])),
    ... }
    >>> network(batch).embedding.shape, network(batch).gates[1].tolist()
    (torch.Size([2, 8]), [1.0, 0.0])
    """

    def __init__(
        self,
        statistics: Mapping[str, FrameStatistics],
        anchor: str,
        *,
        hidden_width: int,
        n_heads: int,
        dropout: float,
        dual_projection: Mapping[str, str | None],
        cross_attention: bool,
        guided_attention: bool,
        n_self_attention_layers: int,
        anchor_summary: str,
        pooling: str,
        feature_interaction: bool,
        fusion: str,
        fusion_norm: bool,
        contrastive_projector: bool,
        clustering_projector: bool,
        hidden_as_zeros: bool,
    ) -> None:
        super().__init__()
        self.names = tuple(statistics)
        self.anchor = anchor
        self.anchor_summary = anchor_summary
        self.hidden_as_zeros = hidden_as_zeros
        widths = {name: len(stats.mean) for name, stats in statistics.items()}
        offset = F.normalize(torch.randn(hidden_width), dim=0)
        self.guided = TextGuidedFusion(
            self.names,
            anchor,
            hidden_width,
            n_heads=n_heads,
            dropout=dropout,
            cross_attention=cross_attention,
            guided_attention=guided_attention,
            n_self_attention_layers=n_self_attention_layers,
            anchor_enhanced=anchor_summary == "enhanced",
            anchor_may_lack=not hidden_as_zeros,
            pooling=pooling,
        )
        reads_anchor = self.guided.reads_anchor or anchor_summary == "mean"
        # lists in the order of names, for a module's name may not hold the dots a modality's may
        self.standardizations = nn.ModuleList(map(Standardization, statistics.values()))
        self.projections = nn.ModuleList(
            ModalityProjection(widths[name], hidden_width, offset)
            if name != anchor or reads_anchor
            else nn.Identity()
            for name in self.names
        )
        self.refinements = nn.ModuleList(
            _refinement(dual_projection.get(name), hidden_width, dropout) for name in self.names
        )
        self.cls = (
            isometric_linear(widths[anchor], hidden_width, offset)
            if anchor_summary == "cls"
            else None
        )
        several = len(self.names) > 1
        self.dropout = nn.Dropout(dropout)
        self.interaction = (
            MultiHeadAttention(hidden_width, n_heads, dropout)
            if feature_interaction and several
            else None
        )
        self.fusion = _fusion(fusion, len(self.names), hidden_width) if several else None
        self.fusion_norm = nn.LayerNorm(hidden_width) if fusion_norm else None
        wanted = {"contrastive": contrastive_projector, "clustering": clustering_projector}
        self.projectors = nn.ModuleDict(
            {name: _projector(hidden_width) for name, is_on in wanted.items() if is_on}
        )

    # what views share

    def _filled(self, batch: Batch) -> Batch:
        return {name: _zero_where_missing(*batch[name]) for name in self.names}

    def _frames(self, name: str, frames: Tensor, lengths: Tensor) -> Sequences:
        """Standardised, projected and refined frames of one modality."""
        place = self.names.index(name)
        standard = self.standardizations[place](frames)
        return Sequences.from_lengths(
            self.refinements[place](self.projections[place](standard)), lengths
        )

    def _share(self, batch: Batch, views: Sequence[Sequence[str]]) -> _Shared:
        present = torch.stack([batch[name][1] > 0 for name in self.names], dim=1)
        if self.hidden_as_zeros:
            batch = self._filled(batch)
        anchor = anchor_summary = None
        if self.guided.reads_anchor or self.anchor_summary == "mean":
            anchor = self._frames(self.anchor, *batch[self.anchor])
        if self.anchor_summary == "mean":
            anchor_summary = anchor.mean()
        elif self.anchor_summary == "cls":
            anchor_summary = self._cls(*batch[self.anchor])
        if self.guided.reads_anchor:
            anchor = self.guided.with_stand_in(anchor)
        others = self.guided.others
        needed = [name for name in others if any(name in view for view in views)]
        if not present[:, self.names.index(self.anchor)].all():
            needed = others  # a sample without its anchor may have nothing else
        frames = {name: self._frames(name, *batch[name]) for name in needed}
        zeros = {}
        if self.hidden_as_zeros:
            hidden = [name for name in others if any(name not in view for view in views)]
            zeros = {name: self._frames(name, *_one_zero_frame(*batch[name])) for name in hidden}
        streams, zero_streams = self.guided.guide(anchor, frames), self.guided.guide(anchor, zeros)
        if self.guided.reads_anchor:
            anchor = self.guided.prepare(anchor)
        return _Shared(present, anchor, anchor_summary, streams, zero_streams)

    def _cls(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Linear map of each sample's first frame, zeros where there is none."""
        first, has = first_frames(frames, lengths)
        mapped = self.cls(self.standardizations[self.names.index(self.anchor)](first))
        return mapped.new_zeros(len(lengths), mapped.shape[1]).index_copy(0, has, mapped)

    # one view

    def _view(self, shared: _Shared, visible: Sequence[str]) -> EncoderOutput:
        present = shared.present & shared.present.new_tensor([n in visible for n in self.names])
        left_with_none = ~present.any(dim=1)
        present = torch.where(left_with_none.unsqueeze(1), shared.present, present)
        if self.hidden_as_zeros:
            present = torch.ones_like(present)
        streams = self._streams(shared, visible, left_with_none)
        summaries = self.guided.summarise(shared.anchor, streams)
        if shared.anchor_summary is not None:
            summaries[self.anchor] = shared.anchor_summary
        return self._fuse(summaries, present)

    def _streams(
        self, shared: _Shared, visible: Sequence[str], left_with_none: Tensor
    ) -> dict[str, Sequences]:
        """Streams of a view; of what it hides zeros, and all that a sample left with none has."""
        some_left = bool(left_with_none.any())
        streams = {}
        for name in self.guided.others:
            if name in visible:
                streams[name] = shared.streams[name]
                continue
            parts = []
            if name in shared.zeros:
                parts.append(shared.zeros[name].rows(~left_with_none))
            if some_left:
                parts.append(shared.streams[name].rows(left_with_none))
            if parts:
                streams[name] = Sequences.joined(parts) if len(parts) > 1 else parts[0]
        return streams

    def _fuse(self, summaries: Mapping[str, Tensor], present: Tensor) -> EncoderOutput:
        some = next(iter(summaries.values()))
        stacked = torch.stack(
            [summaries.get(name, torch.zeros_like(some)) for name in self.names], dim=1
        )
        stacked = self.dropout(stacked)
        if self.interaction is not None:
            places = sent(torch.nonzero(present.flatten()).squeeze(1), stacked.device)
            rows = stacked.flatten(0, 1)
            tokens = Sequences.from_lengths(rows.index_select(0, places), present.sum(dim=1))
            mixed = self.interaction(tokens, tokens) + tokens.values
            stacked = torch.zeros_like(rows).index_copy(0, places, mixed).view_as(stacked)
        present = sent(present, stacked.device)
        if self.fusion is None:
            fused, gates = stacked.squeeze(1), present.to(stacked.dtype)
        else:
            fused, gates = self.fusion(stacked, present)
        if self.fusion_norm is not None:
            fused = self.fusion_norm(fused)
        projections = {name: module(fused) for name, module in self.projectors.items()}
        return EncoderOutput(F.normalize(fused, dim=-1), gates, projections)

    def forward(self, batch: Batch) -> EncoderOutput:
        """Encode a batch of packed frames."""
        return self.forward_views(batch, [self.names])[0]

    def forward_views(self, batch: Batch, views: Sequence[Sequence[str]]) -> list[EncoderOutput]:
        """Encode a batch once a view; towers and streams are shared by all views.

        A view without the anchor has streams of its own, seen from the learned stand-in. In
        training on a CPU samples of like length go through the network together, so that attention
        pads less; an evaluation's batches are of like length as they come.
        """
        n_samples = len(batch[self.anchor][1])
        n_parts = n_samples // _LIKE_LENGTH
        if n_parts < 2 or not self.training or batch[self.anchor][0].device.type != "cpu":
            return self._forward_together(batch, views)
        order = torch.argsort(sum(lengths for _, lengths in batch.values()), stable=True)
        parts = [
            self._forward_together(take_samples(batch, rows), views)
            for rows in order.tensor_split(n_parts)
        ]
        back = torch.argsort(order)
        return [joined_outputs(view).rows(back) for view in zip(*parts, strict=True)]

    def _forward_together(
        self, batch: Batch, views: Sequence[Sequence[str]]
    ) -> list[EncoderOutput]:
        guided = [view for view in views if self.anchor in view]
        shared = self._share(batch, guided) if guided else None
        return [
            self._view(shared, view)
            if self.anchor in view
            else self.forward_views(hide_modalities(batch, view), [self.names])[0]
            for view in views
        ]

    def frame_maps(self) -> Iterator[nn.Module]:
        """The modules that map rows to rows, which can be compiled."""
        return (
            module
            for module in (*self.projections, *self.refinements, *self.projectors.values())
            if not isinstance(module, nn.Identity)
        )

    def attention_weights(self, batch: Batch) -> dict[str, Tensor]:
        """Weights of the cross-attention, by modality but the anchor.

        Returns
        -------
        dict of str to Tensor of shape (n_samples, n_heads, n_anchor_frames, n_frames)
            Padded with zeros; empty where there is no cross-attention.
        """
        if not self.guided.streams or self.guided.streams[0].cross is None:
            return {}
        if self.hidden_as_zeros:
            batch = self._filled(batch)
        anchor = self.guided.with_stand_in(self._frames(self.anchor, *batch[self.anchor]))
        weights = {}
        for name, stream in zip(self.guided.others, self.guided.streams, strict=True):
            frames = self._frames(name, *batch[name])
            seen = anchor.rows(frames.lengths > 0)
            mask = seen.mask[:, None, :, None] & frames.mask[:, None, None, :]
            weights[name] = stream.cross.weights(seen, frames) * mask
        return weights


def _refinement(kind: str | None, width: int, dropout: float) -> nn.Module:
    if kind == "dual":
        return DualProjection(width, dropout)
    return LinearProjection(width) if kind == "linear" else nn.Identity()


def _fusion(kind: str, n_modalities: int, width: int) -> nn.Module:
    if kind == "concatenation":
        return ConcatenationFusion(n_modalities, width)
    return GatedFusion(n_modalities, width, kind)


def _projector(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def _one_zero_frame(frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """What :func:`_zero_where_missing` makes of a modality that no sample has."""
    return frames.new_zeros(len(lengths), frames.shape[1]), torch.ones_like(lengths)


def _zero_where_missing(frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """One frame of zeros for each sample that has none."""
    lacking = lengths == 0
    if not lacking.any():
        return frames, lengths
    filled = lengths.clamp(min=1)
    values = frames.new_zeros(int(filled.sum()), frames.shape[1])
    there = torch.nonzero((~lacking).repeat_interleave(filled)).squeeze(1)
    return values.index_copy(0, sent(there, frames.device), frames), filled
