"""Text-guided fusion: streams of the other modalities in step with the anchor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skumc._packed import Sequences, sent
from skumc.encoders._attention import MultiHeadAttention


class GuidedStream(nn.Module):
    r"""One modality seen from the anchor's positions.

    Parameters
    ----------
    width : int
        Width of all frames.
    n_heads : int
        Heads of each attention, see :class:`~skumc.encoders.MultiHeadAttention`.
    dropout : float
        Of what each attention gives.
    cross_attention : bool
        Whether the anchor looks at the modality's frames.
    guided_attention : bool
        Whether it looks at the result, or else at the frames, once more.

    Notes
    -----
    Cross-attention :math:`C_m = MHA(T, X_m, X_m)`, then text-guided attention
    :math:`H_m = MHA(T, C_m, C_m)`, :math:`T` being the anchor's frames and :math:`X_m` the
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
        """Give the stream of the samples that have ``frames``."""
        if self.cross is None and self.guided is None:
            return frames
        anchor = anchor.rows(frames.lengths > 0)
        stream = frames
        for attention in (self.cross, self.guided):
            if attention is not None:
                stream = anchor.with_values(attention(anchor, stream))
        return stream


class SelfAttention(nn.Module):
    r"""Layers of self-attention over the joined streams of a sample.

    Parameters
    ----------
    width : int
        Width of all rows.
    n_heads : int
        Heads of each layer, see :class:`~skumc.encoders.MultiHeadAttention`.
    dropout : float
        Of what each layer's attention gives, before the residual.
    n_layers : int
        At least 1.

    Notes
    -----
    :math:`Y^{(i)} = MHA(Y^{(i-1)}, Y^{(i-1)}, Y^{(i-1)}) + Y^{(i-1)}` in layer :math:`i`, with
    :math:`Y^{(0)}` the anchor's frames and all streams, one behind the other. UMC methodology,
    section 3.4.5.

    Examples
    --------
    >>> import torch
    >>> from skumc.encoders import Sequences
    >>> attention = SelfAttention(8, 2, 0.1, n_layers=2)
    >>> parts = [Sequences.from_lengths(torch.randn(3, 8), torch.tensor([2, 1])) for _ in range(2)]
    >>> out = attention([attention.prepare(part) for part in parts], n_context=0)
    >>> [part.values.shape for part in out]
    [torch.Size([3, 8]), torch.Size([3, 8])]
    """

    def __init__(self, width: int, n_heads: int, dropout: float, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MultiHeadAttention(width, n_heads, dropout) for _ in range(n_layers)
        )

    def prepare(self, stream: Sequences) -> Sequences:
        """Put the first layer's queries, keys and values beside the rows of a stream.

        They depend on the stream alone, so that views with a stream in common share them.

        Returns
        -------
        Sequences
            With values of width ``4 * width``.
        """
        rows, first = stream.values, self.layers[0]
        columns = [rows, first.query(rows), first.key(rows), first.value(rows)]
        return stream.with_values(torch.cat(columns, dim=1))

    def forward(self, streams: Sequence[Sequences], n_context: int) -> list[Sequences]:
        """Let the streams of each sample look at each other.

        Parameters
        ----------
        streams : sequence of Sequences
            As :meth:`prepare` gives them.
        n_context : int
            So many of the first streams are looked at only; the last layer leaves them out.

        Returns
        -------
        list of Sequences
            The streams without the first ``n_context``, of width ``width``.
        """
        sizes = [len(stream.values) for stream in streams]
        joined = Sequences.joined(streams)
        wanted = Sequences.joined(streams[n_context:]) if n_context else joined
        first_wanted = sum(sizes[:n_context])
        rows, query, key, value = joined.values.chunk(4, dim=1)
        for depth, layer in enumerate(self.layers):
            is_last = depth == len(self.layers) - 1
            queries, start = (wanted, first_wanted) if is_last else (joined, 0)
            if depth:
                query, key, value = layer.query(rows[start:]), layer.key(rows), layer.value(rows)
            else:
                query = query[start:]
            rows = layer.attend(queries, joined, query, key, value) + rows[start:]
        pieces = rows.split(sizes[n_context:])
        return [s.with_values(v) for s, v in zip(streams[n_context:], pieces, strict=True)]


class AttentionPooling(nn.Module):
    r"""Mean of a sample's rows, weighed by a learned query.

    Parameters
    ----------
    width : int
        Width of the rows.

    Notes
    -----
    :math:`\sum_i a_i x_i` with :math:`a = softmax(x q / \sqrt d)` over the rows :math:`x_i` of the
    sample and a learned :math:`q` of width :math:`d`, which starts at 0: as the plain mean. An
    alternative to the mean of section 3.4.6 of the UMC methodology.

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


class MeanPooling(nn.Module):
    """Mean of a sample's rows, (n_samples, width); zeros for a sample without rows."""

    def forward(self, sequences: Sequences) -> Tensor:
        """Pool."""
        return sequences.mean()


class TextGuidedFusion(nn.Module):
    """Streams, self-attention, norms and pooling: from frames to a summary a modality.

    Parameters
    ----------
    names : sequence of str
        Modalities in the order of the summaries.
    anchor : str
        The modality from whose frames the others are looked at.
    width : int
        Width of all frames and summaries.
    n_heads : int
        Heads of each attention.
    dropout : float
        Of what each attention gives.
    cross_attention, guided_attention : bool
        See :class:`~skumc.encoders.GuidedStream`.
    n_self_attention_layers : int
        Layers of :class:`~skumc.encoders.SelfAttention`; 0 leaves out the LayerNorms behind it
        too.
    anchor_enhanced : bool
        Whether the anchor's frames behind the self-attention are pooled as well.
    anchor_may_lack : bool
        Whether there are samples without the anchor, for which one frame is learned.
    pooling : {"mean", "attention"}
        How a stream becomes its summary: the mean of its rows, or
        :class:`~skumc.encoders.AttentionPooling`.

    Notes
    -----
    UMC methodology, sections 3.4.3 to 3.4.6. A sample without its anchor has one learned frame in
    its place, so that there is a position from which to look.

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
    >>> summaries = fusion.summarise(fusion.prepare(anchor), streams)
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
        looks_from_anchor = cross_attention or guided_attention or attends
        self.reads_anchor = (looks_from_anchor and len(self.others) > 0) or anchor_enhanced
        needs_stand_in = looks_from_anchor and anchor_may_lack and len(self.others) > 0
        self.stand_in = nn.Parameter(torch.randn(width)) if needs_stand_in else None

    def with_stand_in(self, anchor: Sequences) -> Sequences:
        """The anchor's frames, one learned frame where a sample has none."""
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
        """Streams of the modalities in ``frames``, prepared; views share them."""
        return {
            name: self.prepare(stream(anchor, frames[name]))
            for stream, name in zip(self.streams, self.others, strict=True)
            if name in frames
        }

    def prepare(self, frames: Sequences) -> Sequences:
        """What the self-attention needs of the anchor's frames or a stream besides the rows."""
        return frames if self.self_attention is None else self.self_attention.prepare(frames)

    def summarise(
        self, anchor: Sequences | None, streams: Mapping[str, Sequences]
    ) -> dict[str, Tensor]:
        """Summaries of the streams that a view shows, and of the anchor where it is pooled.

        All are prepared, see :meth:`prepare`.
        """
        shown = [name for name in self.others if name in streams]
        parts = [streams[name] for name in shown]
        pooled = ([self.anchor] if self.anchor in self.pooled else []) + shown
        n_context = 0 if self.anchor in self.pooled else 1
        if self.self_attention is None:
            parts = parts if n_context else [anchor, *parts]
        elif pooled:
            parts = self.self_attention([anchor, *parts], n_context)
            parts = [
                part.with_values(self.norms[self.pooled.index(name)](part.values))
                for name, part in zip(pooled, parts, strict=True)
            ]
        return {
            name: self.pools[self.pooled.index(name)](part)
            for name, part in zip(pooled, parts, strict=True)
        }
