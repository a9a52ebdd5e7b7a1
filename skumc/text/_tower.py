"""Run the trainable layers of a text model on packed frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from skumc._gelu import replace_gelu
from skumc._sequences import Sequences, frame_places, sent
from skumc.text._packing import pack, run_packed
from skumc.text._run import run

_GROUP_COST = 48  # tokens that take about as long to compute as one more group
_GROUP_WASTE = 1.25  # padded tokens per real token, at most


def length_groups(lengths: Tensor, budget: int | None = None) -> list[Tensor]:
    """Group samples of similar length, the longest first; samples without tokens are left out.

    Parameters
    ----------
    lengths : Tensor of int, shape (n_samples,)
        Tokens per sample.
    budget : int, default=None
        Maximum number of padded tokens per group.

    Returns
    -------
    list of Tensor of int
        Rows of each group. Among the groupings within ``_GROUP_WASTE`` and the budget this is the
        one with the smallest sum of padded tokens and ``_GROUP_COST`` per group. Samples of one
        length that exceed the budget are distributed over several groups.
    """
    sizes, order = torch.sort(lengths, descending=True, stable=True)
    distinct, counts = np.unique(-sizes[sizes > 0].numpy(), return_counts=True)
    distinct, ends = -distinct, np.concatenate([[0], np.cumsum(counts)])
    tokens = np.concatenate([[0], np.cumsum(distinct * counts)])
    # Dynamic programming over lengths in descending order: cost[stop] is the lowest cost of the
    # samples of the first `stop` lengths, begins[stop] the first length of their last group.
    cost, begins = np.zeros(len(ends)), np.zeros(len(ends), dtype=int)
    for stop in range(1, len(ends)):
        padded = distinct[:stop] * (ends[stop] - ends[:stop])
        allowed = padded <= _GROUP_WASTE * (tokens[stop] - tokens[:stop])
        if budget:
            allowed &= padded <= budget
        allowed[-1] = True  # one length alone
        total = np.where(allowed, cost[:stop] + padded + _GROUP_COST, np.inf)
        begins[stop] = total.argmin()
        cost[stop] = total[begins[stop]]
    groups, stop = [], len(distinct)
    while stop:
        start = begins[stop]
        n_rows = max(budget // int(distinct[start]), 1) if budget else len(order)
        groups.append(order[ends[start] : ends[stop]].split(n_rows))
        stop = start
    return [rows for parts in reversed(groups) for rows in parts]


class TextTower(nn.Module):
    """Run the trainable layers of a text model on packed states or token ids.

    Parameters
    ----------
    tail : Module
        A transformers encoder without its frozen layers.
    width : int
        Width of its states.
    reads_ids : bool
        Whether frames are token ids and types (int64) instead of states.

    Attributes
    ----------
    packs : bool
        Whether texts are packed into one row, so that only attention computes on padding.

    Notes
    -----
    Texts cannot be packed if the model reads token ids or transformers cannot replace its
    attention. Then texts of similar length are padded together.

    Examples
    --------
    Token ids and types of two texts, one of three tokens and one of two:

    >>> import torch
    >>> from transformers import BertConfig, BertModel
    >>> model = BertModel(BertConfig(
    ...     vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    ... ))
    >>> tower = TextTower(model, 16, reads_ids=True)
    >>> ids = torch.tensor([[1, 0], [7, 0], [2, 0], [1, 0], [2, 0]])
    >>> tower(ids, torch.tensor([3, 2])).shape
    torch.Size([5, 16])
    """

    def __init__(self, tail: nn.Module, width: int, reads_ids: bool) -> None:
        super().__init__()
        self.tail = tail
        self.width = width
        self.reads_ids = reads_ids
        replace_gelu(tail)
        self.packs = not reads_ids and pack(tail, width)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Compute the states of packed frames, (n_tokens_total, width)."""
        if len(frames) == 0:
            return torch.zeros(0, self.width, dtype=torch.float32, device=frames.device)
        lengths = lengths.cpu()
        rows = length_groups(lengths)
        order = frame_places(lengths, torch.cat(rows))
        sizes = [lengths[some] for some in rows]
        states = frames.index_select(0, sent(order, frames.device))
        parts = states.split([int(some.sum()) for some in sizes])
        groups = list(map(Sequences.from_lengths, parts, sizes))
        if self.packs:
            states = run_packed(self.tail, states, groups)
        else:
            states = torch.cat([self._padded(group) for group in groups])
        return states.index_select(0, sent(torch.argsort(order), frames.device))

    def _padded(self, group: Sequences) -> Tensor:
        """Compute the states of texts of similar length, padded to the longest."""
        padded, mask = group.padded(group.values), group.mask.long()
        if self.reads_ids:
            ids, types = padded.unbind(2)
            return group.unpadded(run(self.tail, ids, mask, types))
        return group.unpadded(run(self.tail, padded, mask))
