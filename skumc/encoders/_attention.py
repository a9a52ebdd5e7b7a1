"""Multi-head attention over packed sequences."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._packed import Sequences
from skumc.encoders._dropout import Dropout


def n_heads_message(width: int, n_heads: int) -> str:
    """Say that heads must share the width evenly."""
    return f"Got n_heads={n_heads} for hidden_width={width}, expected a divisor of it."


class MultiHeadAttention(nn.Module):
    r"""Scaled dot-product attention in several heads, padding masked.

    Parameters
    ----------
    width : int
        Width of queries, keys and values; a multiple of ``n_heads``.
    n_heads : int, default=8
        Parts of the width that attend on their own.
    dropout : float, default=0.1
        Of what the attention gives.

    Notes
    -----
    For each head :math:`r` of :math:`R` with three projections of its own,

    .. math:: A_r = softmax(Q W_{Q,r} (K W_{K,r})^T / \sqrt{d_R}),
       \qquad MHA(Q, K, V) = [A_1 V W_{V,1} \,|\, \ldots \,|\, A_R V W_{V,R}] \, W_O

    where :math:`d_R` is ``width / n_heads``, :math:`[A \,|\, B]` puts features side by side, and
    the softmax of each row runs over the positions that the sample has. :math:`W_Q` and
    :math:`W_K` start Xavier uniform, :math:`W_V` orthogonal, :math:`W_O` as its inverse. UMC
    methodology, section 3.4.2; linear maps run on packed rows, so padding costs nothing but the
    scores. Dropout (section 3.10.2, "attention layer") acts on the output and not on the weights,
    so that a fused kernel never holds the weights of all pairs of positions.

    Examples
    --------
    >>> import torch
    >>> from skumc.encoders import Sequences
    >>> frames = Sequences.from_lengths(torch.randn(5, 16), torch.tensor([2, 3]))
    >>> MultiHeadAttention(16, n_heads=4)(frames, frames).shape
    torch.Size([5, 16])
    """

    def __init__(self, width: int, n_heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        if width % n_heads:
            raise ValueError(n_heads_message(width, n_heads))
        self.n_heads = n_heads
        self.dropout = Dropout(dropout)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        for linear in (self.query, self.key):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.orthogonal_(self.value.weight)
        with torch.no_grad():
            self.output.weight.copy_(self.value.weight.T)

    def _heads(self, sequences: Sequences, rows: Tensor) -> Tensor:
        """(n_rows, width) as (n_samples, n_heads, n_positions, width / n_heads)."""
        padded = sequences.padded(rows)
        return padded.unflatten(2, (self.n_heads, -1)).transpose(1, 2)

    def forward(self, queries: Sequences, keys: Sequences) -> Tensor:
        """Attend from every row of ``queries`` to the rows of ``keys`` of the same sample.

        Parameters
        ----------
        queries : Sequences
        keys : Sequences
            Keys and values. A query without any gets zeros.

        Returns
        -------
        Tensor of shape (n_rows of queries, width)
        """
        if keys.n_positions == 1:
            return self._attend_to_one(queries, keys)
        projected = (self.query(queries.values), self.key(keys.values), self.value(keys.values))
        return self.attend(queries, keys, *projected)

    def attend(
        self, queries: Sequences, keys: Sequences, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        """Attend with rows that are projected already; only the places of the sequences count.

        Parameters
        ----------
        queries, keys : Sequences
        query : Tensor of shape (n_rows of queries, width)
        key, value : Tensor of shape (n_rows of keys, width)

        Returns
        -------
        Tensor of shape (n_rows of queries, width)
        """
        if len(query) == 0:
            return query
        mixed = F.scaled_dot_product_attention(
            self._heads(queries, query),
            self._heads(keys, key),
            self._heads(keys, value),
            attn_mask=self._mask(keys),
        )
        return self.dropout(self.output(queries.unpadded(mixed.transpose(1, 2).flatten(2))))

    def _attend_to_one(self, queries: Sequences, keys: Sequences) -> Tensor:
        """What attention to a single key comes to: its value, whatever the scores are."""
        attended = self.output(self.value(keys.values))
        by_sample = attended.new_zeros(keys.n_samples, attended.shape[1])
        by_sample = by_sample.index_copy(0, keys.owner, attended)
        return self.dropout(by_sample.index_select(0, queries.owner))

    def _mask(self, keys: Sequences) -> Tensor:
        mask = keys.mask
        # a sample without keys looks at zeros: a softmax over nothing is not a number
        mask = mask | ~mask.any(dim=1, keepdim=True)
        return mask[:, None, None, :]

    def weights(self, queries: Sequences, keys: Sequences) -> Tensor:
        """Attention weights, (n_samples, n_heads, n_positions of queries, n_positions of keys)."""
        query = self._heads(queries, self.query(queries.values))
        key = self._heads(keys, self.key(keys.values))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        return torch.softmax(scores.masked_fill(~self._mask(keys), -torch.inf), dim=-1)
