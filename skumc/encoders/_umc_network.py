"""The network of the method: dual projection, text-guided attention, gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._sequences import Sequences, first_frames, sent
from skumc.encoders._attention import MultiHeadAttention
from skumc.encoders._batch import (
    Batch,
    EncoderOutput,
    fill_missing,
    hide_modalities,
    joined_outputs,
    present_modalities,
    take_samples,
    zero_frames,
)
from skumc.encoders._dual_projection import DualProjection, LinearProjection
from skumc.encoders._fusion import ConcatenationFusion, GatedFusion
from skumc.encoders._guided_fusion import TextGuidedFusion
from skumc.encoders._modality_paths import ModalityPaths, path_summaries
from skumc.encoders._pooling import masked_mean
from skumc.encoders._projection import ModalityProjection, isometric_linear
from skumc.encoders._standardized_sums import StandardizedSums, SumsCalibration
from skumc.encoders._statistics import FrameStatistics, Standardization

_GROUP_SIZE = 32  # minimum number of samples that are padded to a common length


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


@dataclass
class _Shared:
    """Intermediate results that all views of a batch have in common."""

    present: Tensor  # (n_samples, n_modalities) bool, on the CPU
    anchor: Sequences | None
    anchor_summary: Tensor | None
    streams: dict[str, Sequences]
    zeros: dict[str, Sequences]  # streams of zeros in place of hidden modalities
    paths: dict[str, list[Tensor]]  # vectors that are added to the summaries


class UMCNetwork(nn.Module):
    """The module that :class:`UMCEncoder` builds; its stages are described there.

    Parameters
    ----------
    statistics : dict of str to FrameStatistics
        One entry per modality, in the order of the gates.
    anchor : str
    hidden_width : int
    n_heads : int
    dropout : float
    dual_projection : dict of str to {"dual", "linear", None}
        Refinement of each modality except the anchor.
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
    max_positions : int or None
    paths : dict or None
        Settings of ``ModalityPaths``; its vectors are added to the summaries.

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
        max_positions: int | None,
        paths: Mapping[str, Any] | None,
    ) -> None:
        super().__init__()
        self.names = tuple(statistics)
        self.anchor = anchor
        self.anchor_summary = anchor_summary
        self.hidden_as_zeros = hidden_as_zeros
        self.max_positions = max_positions
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
        self.projects_anchor = self.guided.reads_anchor or anchor_summary == "mean"
        # lists in the order of names: a modality's name may hold dots, a module's may not
        self.standardizations = nn.ModuleList(map(Standardization, statistics.values()))
        self.projections = nn.ModuleList(
            ModalityProjection(widths[name], hidden_width, offset)
            if name != anchor or self.projects_anchor
            else nn.Identity()
            for name in self.names
        )
        self.refinements = nn.ModuleList(
            _refinement(dual_projection.get(name), hidden_width, dropout) for name in self.names
        )
        reads_cls = anchor_summary == "cls"
        self.cls = isometric_linear(widths[anchor], hidden_width, offset) if reads_cls else None
        self.dropout = nn.Dropout(dropout)
        several = len(self.names) > 1
        interacts = feature_interaction and several
        self.interaction = MultiHeadAttention(hidden_width, n_heads, dropout) if interacts else None
        self.fusion = _fusion(fusion, len(self.names), hidden_width) if several else None
        self.fusion_norm = nn.LayerNorm(hidden_width) if fusion_norm else None
        wanted = {"contrastive": contrastive_projector, "clustering": clustering_projector}
        self.projectors = nn.ModuleDict(
            {name: _projector(hidden_width) for name, is_on in wanted.items() if is_on}
        )
        self.paths = None
        if paths is not None:
            self.paths = ModalityPaths(statistics, hidden_width=hidden_width, **paths)
            weights = {name: [*self.paths.weights(name), 1.0] for name in self.names}
            self.sums = StandardizedSums(weights, hidden_width, last_starts_at_zero=True)

    # before training

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Take statistics of all samples for the paths that are added to the summaries."""
        if self.paths is None:
            return
        self.paths.calibrate(batches)
        calibration = SumsCalibration(self.sums)
        for batch in batches:
            shared = self._share(batch, [self.names])
            for place, (name, terms) in enumerate(self._terms(shared, shared.streams).items()):
                has = sent(torch.nonzero(shared.present[:, place]).squeeze(1), terms[0].device)
                calibration.add(name, [term[has] for term in terms])
        calibration.finish()

    def summaries(self, batch: Batch) -> dict[str, Tensor]:
        """Return a vector per sample and modality: means of frames, or those of the paths."""
        if self.paths is None:
            return {name: masked_mean(*batch[name]) for name in self.names}
        return path_summaries(self.paths, self.sums, batch)

    def set_prior_shares(self, shares: Sequence[float]) -> None:
        """Set the proportions in which the gates start, if paths are added and gates learned."""
        if self.paths is not None and isinstance(self.fusion, GatedFusion):
            self.fusion.set_prior_shares(shares)

    # shared by all views

    def _filled(self, batch: Batch) -> Batch:
        return {name: fill_missing(*batch[name]) for name in self.names}

    def _frames(self, name: str, frames: Tensor, lengths: Tensor) -> Sequences:
        """Standardize, project and refine the frames of one modality."""
        place = self.names.index(name)
        standard = self.standardizations[place](frames)
        sequences = Sequences.from_lengths(
            self.refinements[place](self.projections[place](standard)), lengths
        )
        return sequences if self.max_positions is None else sequences.shortened(self.max_positions)

    def _path_vectors(self, batch: Batch) -> dict[str, list[Tensor]]:
        """Compute the vectors of all paths; zeros for a missing modality."""
        if self.paths is None:
            return {}
        found = {}
        for name in self.names:
            frames, lengths = batch[name]
            has = lengths > 0
            rows = sent(torch.nonzero(has).squeeze(1), frames.device)
            found[name] = [
                vector.new_zeros(len(lengths), vector.shape[1]).index_copy(0, rows, vector)
                for vector in self.paths(name, frames, lengths[has])
            ]
        return found

    def _share(self, batch: Batch, views: Sequence[Sequence[str]]) -> _Shared:
        """Compute what the views, all of which show the anchor, have in common."""
        present = present_modalities(batch, self.names)
        paths = self._path_vectors(batch)
        if self.hidden_as_zeros:
            batch = self._filled(batch)
        anchor = self._frames(self.anchor, *batch[self.anchor]) if self.projects_anchor else None
        anchor_summary = self._summarize_anchor(anchor, *batch[self.anchor])
        if anchor is not None and self.guided.reads_anchor:
            anchor = self.guided.with_stand_in(anchor)
        others = self.guided.others
        needed = [name for name in others if any(name in view for view in views)]
        if not present[:, self.names.index(self.anchor)].all():
            needed = others  # a sample without its anchor may have nothing else
        frames = {name: self._frames(name, *batch[name]) for name in needed}
        zeros = {}
        if self.hidden_as_zeros:
            hidden = [name for name in others if any(name not in view for view in views)]
            zeros = {name: self._frames(name, *zero_frames(*batch[name])) for name in hidden}
        streams, zero_streams = self.guided.guide(anchor, frames), self.guided.guide(anchor, zeros)
        if anchor is not None and self.guided.reads_anchor:
            anchor = self.guided.prepare(anchor)
        return _Shared(present, anchor, anchor_summary, streams, zero_streams, paths)

    def _summarize_anchor(
        self, anchor: Sequences | None, frames: Tensor, lengths: Tensor
    ) -> Tensor | None:
        """Summarize the anchor by its projected or its raw frames; None if by the fusion."""
        if self.cls is None:
            is_mean = self.anchor_summary == "mean"
            return anchor.mean() if anchor is not None and is_mean else None
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
        if self.paths is None:
            return self._fuse(self._summaries(shared, streams), present)
        terms = self._terms(shared, streams)
        return self._fuse({name: self.sums(name, found) for name, found in terms.items()}, present)

    def _summaries(self, shared: _Shared, streams: Mapping[str, Sequences]) -> dict[str, Tensor]:
        """Summarize the streams, and the anchor."""
        summaries = self.guided.summarize(shared.anchor, streams)
        if shared.anchor_summary is not None:
            summaries[self.anchor] = shared.anchor_summary
        return summaries

    def _terms(self, shared: _Shared, streams: Mapping[str, Sequences]) -> dict[str, list[Tensor]]:
        """Collect the vectors of the paths and the summary of each modality that has one."""
        summaries = self._summaries(shared, streams)
        return {
            name: [*shared.paths[name], summaries[name]] for name in self.names if name in summaries
        }

    def _streams(
        self, shared: _Shared, visible: Sequence[str], left_with_none: Tensor
    ) -> dict[str, Sequences]:
        """Choose the streams of a view.

        A hidden modality has its stream of zeros, if any. A sample with none of the visible
        modalities has all its streams.
        """
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

    # all views

    def _forward_together(
        self, batch: Batch, views: Sequence[Sequence[str]]
    ) -> list[EncoderOutput]:
        guided = [view for view in views if self.anchor in view]
        shared = self._share(batch, guided) if guided else None
        return [
            self._view(shared, view)
            if shared is not None and self.anchor in view
            else self.forward_views(hide_modalities(batch, view), [self.names])[0]
            for view in views
        ]

    def forward(self, batch: Batch) -> EncoderOutput:
        """Encode a batch of packed frames."""
        return self.forward_views(batch, [self.names])[0]

    def forward_views(self, batch: Batch, views: Sequence[Sequence[str]]) -> list[EncoderOutput]:
        """Encode a batch once per view; frames and streams are shared by all views.

        A view without the anchor has streams of its own, computed from the learned stand-in. In
        training on a CPU, samples of similar length go through the network together, so that
        attention has less padding; single frames have none. Batches in evaluation have similar
        lengths already.
        """
        n_samples = len(batch[self.anchor][1])
        n_parts = n_samples // _GROUP_SIZE
        is_padded = any(bool((lengths > 1).any()) for _, lengths in batch.values())
        on_cpu = batch[self.anchor][0].device.type == "cpu"
        if n_parts < 2 or not (is_padded and on_cpu and self.training):
            return self._forward_together(batch, views)
        total = torch.stack([lengths for _, lengths in batch.values()]).sum(dim=0)
        order = torch.argsort(total, stable=True)
        parts = [
            self._forward_together(take_samples(batch, rows), views)
            for rows in order.tensor_split(n_parts)
        ]
        back = torch.argsort(order)
        return [joined_outputs(view).rows(back) for view in zip(*parts, strict=True)]

    def attention_weights(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weights of the cross-attention to each modality except the anchor.

        Returns
        -------
        dict of str to Tensor of shape (n_samples, n_heads, n_anchor_frames, n_frames)
            Padded with zeros; empty without cross-attention.
        """
        if self.hidden_as_zeros:
            batch = self._filled(batch)
        anchor = self.guided.with_stand_in(self._frames(self.anchor, *batch[self.anchor]))
        frames = {name: self._frames(name, *batch[name]) for name in self.guided.others}
        return self.guided.attention_weights(anchor, frames)
