"""Self-attention over all streams of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from skumc._sequences import Sequences
from skumc.encoders._attention import MultiHeadAttention


class SelfAttention(nn.Module):
    r"""Layers of self-attention over the joined streams of each sample.

    Parameters
    ----------
    width : int
        Width of all rows.
    n_heads : int
        Number of heads per layer, see :class:`~skumc.encoders.MultiHeadAttention`.
    dropout : float
        Dropout on the output of each layer's attention, before the residual is added.
    n_layers : int
        Number of layers, at least 1.

    Notes
    -----
    :math:`Y^{(i)} = MHA(Y^{(i-1)}, Y^{(i-1)}, Y^{(i-1)}) + Y^{(i-1)}` in layer :math:`i`, where
    :math:`Y^{(0)}` is the anchor's frames followed by all streams. UMC methodology, section 3.4.5.

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
        """Append the first layer's queries, keys and values to the rows of a stream.

        They depend on the stream alone, so that views with a stream in common share them.

        Returns
        -------
        Sequences
            With values of width ``4 * width``.
        """
        rows, first = stream.values, cast(MultiHeadAttention, self.layers[0])
        columns = [rows, first.query(rows), first.key(rows), first.value(rows)]
        return stream.with_values(torch.cat(columns, dim=1))

    def forward(self, streams: Sequence[Sequences], n_context: int) -> list[Sequences]:
        """Attend from the streams of each sample to all its streams.

        Parameters
        ----------
        streams : sequence of Sequences
            Results of :meth:`prepare`.
        n_context : int
            Number of leading streams that serve as context only: the last layer has no queries
            from them.

        Returns
        -------
        list of Sequences
            The streams after the first ``n_context``, of width ``width``.
        """
        sizes = [len(stream.values) for stream in streams]
        joined = Sequences.joined(streams)
        wanted = Sequences.joined(streams[n_context:]) if n_context else joined
        first_wanted = sum(sizes[:n_context])
        rows, query, key, value = joined.values.chunk(4, dim=1)
        for depth, layer in enumerate(cast(Sequence[MultiHeadAttention], self.layers)):
            is_last = depth == len(self.layers) - 1
            queries, start = (wanted, first_wanted) if is_last else (joined, 0)
            if depth:
                query, key, value = layer.query(rows[start:]), layer.key(rows), layer.value(rows)
            else:
                query = query[start:]
            rows = layer.attend(queries, joined, query, key, value) + rows[start:]
        pieces = rows.split(sizes[n_context:])
        return [s.with_values(v) for s, v in zip(streams[n_context:], pieces, strict=True)]
