"""Text-guided fusion: attention from the anchor's positions to the other modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from skumc._sequences import Sequences, sent
from skumc.encoders._attention import MultiHeadAttention
from skumc.encoders._pooling import AttentionPooling, MeanPooling
from skumc.encoders._self_attention import SelfAttention


class GuidedStream(nn.Module):
    r"""Stream of one modality, aligned with the anchor's positions by attention.

    Parameters
    ----------
    width : int
        Width of all frames.
    n_heads : int
        Number of heads per attention, see :class:`~skumc.encoders.MultiHeadAttention`.
    dropout : float
        Dropout on the output of each attention.
    cross_attention : bool
        Whether the anchor attends to the modality's frames.
    guided_attention : bool
        Whether the anchor attends once more, to the result or, without cross-attention, to the
        frames.

    Notes
    -----
    Cross-attention :math:`C_m = MHA(T, X_m, X_m)`, then text-guided attention
    :math:`H_m = MHA(T, C_m, C_m)`, where :math:`T` is the anchor's frames and :math:`X_m` the
    modality's. With either, the stream has the anchor's length; with neither it is :math:`X_m`
    itself. Samples without the modality have no rows. UMC methodology, sections 3.4.3 and 3.4.4.

    Examples
    --------
    >>> import torch
    >>> from skumc.encoders import Sequences
    >>> anchor = Sequences.from_lengths(torch.randn(5, 8), torch.tensor([2, 3]))
    >>> frames = Sequences.from_lengths(torch.randn(4, 8), torch.tensor([4, 0]))
    >>> stream = GuidedStream(8, 2, 0.1, cross_attention=True, guided_attention=True)
    >>> stream(anchor, frames).lengths.tolist()
    [2, 0]
    """

    def __init__(
        self,
        width: int,
        n_heads: int,
        dropout: float,
        cross_attention: bool,
        guided_attention: bool,
    ) -> None:
        super().__init__()
        self.cross = MultiHeadAttention(width, n_heads, dropout) if cross_attention else None
        self.guided = MultiHeadAttention(width, n_heads, dropout) if guided_attention else None

    def forward(self, anchor: Sequences | None, frames: Sequences) -> Sequences:
        """Compute the stream of the samples that have ``frames``.

        ``anchor`` can be None without attention.
        """
        attentions = [part for part in (self.cross, self.guided) if part is not None]
        if anchor is None or not attentions:
            return frames
        anchor = anchor.rows(frames.lengths > 0)
        stream = frames
        for attention in attentions:
            stream = anchor.with_values(attention(anchor, stream))
        return stream


class TextGuidedFusion(nn.Module):
    """Streams, self-attention, norms and pooling: from frames to one summary per modality.

    Parameters
    ----------
    names : sequence of str
        Modalities in the order of the summaries.
    anchor : str
        Modality from whose frames attention to the others starts.
    width : int
        Width of all frames and summaries.
    n_heads : int
        Number of heads per attention.
    dropout : float
        Dropout on the output of each attention.
    cross_attention, guided_attention : bool
        See :class:`~skumc.encoders.GuidedStream`.
    n_self_attention_layers : int
        Layers of :class:`~skumc.encoders.SelfAttention`; 0 omits them and the LayerNorms that
        follow.
    anchor_enhanced : bool
        Whether the anchor's frames are pooled too, after the self-attention.
    anchor_may_lack : bool
        Whether samples can lack the anchor, in which case a frame is learned for them.
    pooling : {"mean", "attention"}
        How the rows of a stream are pooled to its summary: by their mean, or by
        :class:`~skumc.encoders.AttentionPooling`.

    Notes
    -----
    UMC methodology, sections 3.4.3 to 3.4.6. A sample without its anchor has one learned frame in
    its place, so that there is a position from which to attend.

    Examples
    --------
    >>> import torch
    >>> from skumc.encoders import Sequences
    >>> fusion = TextGuidedFusion(
    ...     ["text", "audio"], "text", 8, n_heads=2, dropout=0.1, cross_attention=True,
    ...     guided_attention=True, n_self_attention_layers=1, anchor_enhanced=True,
    ...     anchor_may_lack=False, pooling="mean",
    ... )
    >>> anchor = Sequences.from_lengths(torch.randn(5, 8), torch.tensor([2, 3]))
    >>> audio = Sequences.from_lengths(torch.randn(4, 8), torch.tensor([3, 1]))
    >>> streams = fusion.guide(anchor, {"audio": audio})
    >>> summaries = fusion.summarize(fusion.prepare(anchor), streams)
    >>> {name: summary.shape for name, summary in summaries.items()}
    {'text': torch.Size([2, 8]), 'audio': torch.Size([2, 8])}
    """

    def __init__(
        self,
        names: Sequence[str],
        anchor: str,
        width: int,
        *,
        n_heads: int,
        dropout: float,
        cross_attention: bool,
        guided_attention: bool,
        n_self_attention_layers: int,
        anchor_enhanced: bool,
        anchor_may_lack: bool,
        pooling: str,
    ) -> None:
        super().__init__()
        self.anchor = anchor
        self.others = [name for name in names if name != anchor]
        self.pooled = [anchor, *self.others] if anchor_enhanced else self.others
        self.streams = nn.ModuleList(
            GuidedStream(width, n_heads, dropout, cross_attention, guided_attention)
            for _ in self.others
        )
        attends = n_self_attention_layers > 0 and len(self.pooled) > 0
        self.self_attention = (
            SelfAttention(width, n_heads, dropout, n_self_attention_layers) if attends else None
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.pooled) if attends else None
        self.pools = nn.ModuleList(
            AttentionPooling(width) if pooling == "attention" else MeanPooling()
            for _ in self.pooled
        )
        starts_from_anchor = cross_attention or guided_attention or attends
        self.reads_anchor = (starts_from_anchor and len(self.others) > 0) or anchor_enhanced
        needs_stand_in = starts_from_anchor and anchor_may_lack and len(self.others) > 0
        self.stand_in = nn.Parameter(torch.randn(width)) if needs_stand_in else None

    def with_stand_in(self, anchor: Sequences) -> Sequences:
        """Add the learned frame for each sample without frames of the anchor."""
        lengths = (anchor.lengths == 0).long()
        rows = torch.nonzero(lengths).squeeze(1)
        if self.stand_in is None or len(rows) == 0:
            return anchor
        lacking = sent(rows, anchor.owner.device)
        stand_in = Sequences(
            self.stand_in.to(anchor.values.dtype).expand(len(lacking), -1),
            lacking,
            torch.zeros_like(lacking),
            lengths,
            1,
        )
        return Sequences.joined([anchor, stand_in])

    def guide(
        self, anchor: Sequences | None, frames: Mapping[str, Sequences]
    ) -> dict[str, Sequences]:
        """Compute the streams of the modalities in ``frames``, prepared; views share them."""
        return {
            name: self.prepare(stream(anchor, frames[name]))
            for stream, name in zip(self.streams, self.others, strict=True)
            if name in frames
        }

    def prepare(self, frames: Sequences) -> Sequences:
        """Append what the self-attention computes from the anchor's frames or a stream alone."""
        return frames if self.self_attention is None else self.self_attention.prepare(frames)

    def summarize(
        self, anchor: Sequences | None, streams: Mapping[str, Sequences]
    ) -> dict[str, Tensor]:
        """Summarize the streams that a view shows, and the anchor if it is pooled.

        All of them are results of :meth:`prepare`.
        """
        shown = [name for name in self.others if name in streams]
        parts = [streams[name] for name in shown]
        with_anchor = parts if anchor is None else [anchor, *parts]
        pools_anchor = self.anchor in self.pooled
        pooled = [self.anchor, *shown] if pools_anchor else shown
        if self.self_attention is None or self.norms is None:
            parts = with_anchor if pools_anchor else parts
        elif pooled:
            parts = [
                part.with_values(self.norms[self.pooled.index(name)](part.values))
                for name, part in zip(
                    pooled,
                    self.self_attention(with_anchor, n_context=0 if pools_anchor else 1),
                    strict=True,
                )
            ]
        return {
            name: self.pools[self.pooled.index(name)](part)
            for name, part in zip(pooled, parts, strict=True)
        }

    def attention_weights(
        self, anchor: Sequences, frames: Mapping[str, Sequences]
    ) -> dict[str, Tensor]:
        """Return the weights of each modality's cross-attention, zero for padding.

        Returns
        -------
        dict of str to Tensor of shape (n_samples, n_heads, n_anchor_frames, n_frames)
            Empty without cross-attention.
        """
        weights = {}
        for name, stream in zip(self.others, self.streams, strict=True):
            cross = cast(GuidedStream, stream).cross
            if cross is None:
                continue
            queries = anchor.rows(frames[name].lengths > 0)
            mask = queries.mask[:, None, :, None] & frames[name].mask[:, None, None, :]
            weights[name] = cross.weights(queries, frames[name]) * mask
        return weights
