"""Multi-head attention over packed sequences."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._sequences import Sequences
from skumc.encoders._dropout import Dropout


def n_heads_message(width: int, n_heads: int) -> str:
    """Return the error message for heads that do not divide the width."""
    return f"Got n_heads={n_heads} for hidden_width={width}, expected a divisor of it."


class MultiHeadAttention(nn.Module):
    r"""Scaled dot-product attention with several heads; padding is masked.

    Parameters
    ----------
    width : int
        Width of queries, keys and values; a multiple of ``n_heads``.
    n_heads : int, default=8
        Number of attention heads.
    dropout : float, default=0.1
        Dropout on the output.

    Notes
    -----
    Each head :math:`r` of :math:`R` has three projections of its own:

    .. math:: A_r = softmax(Q W_{Q,r} (K W_{K,r})^T / \sqrt{d_R}),
       \qquad MHA(Q, K, V) = [A_1 V W_{V,1} \,|\, \ldots \,|\, A_R V W_{V,R}] \, W_O

    where :math:`d_R` is ``width / n_heads``, :math:`[A \,|\, B]` concatenates features, and the
    softmax of each row runs over the positions that the sample has. :math:`W_Q` and :math:`W_K`
    start Xavier uniform, :math:`W_V` orthogonal, :math:`W_O` as its inverse. UMC methodology,
    section 3.4.2. Linear maps run on packed rows; only scores are computed for padding. Dropout
    (section 3.10.2, "attention layer") acts on the output and not on the weights, so that a fused
    kernel never holds the weights of all pairs of positions.

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
        """Lay out (n_rows, width) as (n_samples, n_heads, n_positions, width / n_heads)."""
        padded = sequences.padded(rows)
        return padded.unflatten(2, (self.n_heads, -1)).transpose(1, 2)

    def forward(self, queries: Sequences, keys: Sequences) -> Tensor:
        """Attend from each row of ``queries`` to the rows of ``keys`` of the same sample.

        Parameters
        ----------
        queries : Sequences
        keys : Sequences
            Keys and values. The result is zero for a query whose sample has no keys.

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
        """Attend with projected rows.

        Parameters
        ----------
        queries, keys : Sequences
            Places of the rows; their values are not used.
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
        """Attend to at most one key per sample: the result is its value, whatever the score."""
        attended = self.output(self.value(keys.values))
        by_sample = attended.new_zeros(keys.n_samples, attended.shape[1])
        by_sample = by_sample.index_copy(0, keys.owner, attended)
        return self.dropout(by_sample.index_select(0, queries.owner))

    def _mask(self, keys: Sequences) -> Tensor:
        mask = keys.mask
        # a sample without keys attends to the zeros of the padding: an empty softmax gives NaN
        mask = mask | ~mask.any(dim=1, keepdim=True)
        return mask[:, None, None, :]

    def weights(self, queries: Sequences, keys: Sequences) -> Tensor:
        """Return weights, (n_samples, n_heads, n_positions of queries, n_positions of keys)."""
        query = self._heads(queries, self.query(queries.values))
        key = self._heads(keys, self.key(keys.values))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        return torch.softmax(scores.masked_fill(~self._mask(keys), -torch.inf), dim=-1)
