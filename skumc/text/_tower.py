"""The trainable layers of a text model as a module over packed frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from skumc._sequences import Sequences, frame_places, sent
from skumc.text._packing import pack, run_packed
from skumc.text._structure import run

_GROUP_COST = 48  # tokens: computing one group more takes about as long
_GROUP_WASTE = 1.25  # padded tokens per real token, at most


def length_groups(lengths: Tensor, budget: int | None = None) -> list[Tensor]:
    """Rows of samples of like length, the longest first; samples without tokens are left out.

    Parameters
    ----------
    lengths : Tensor of int, shape (n_samples,)
    budget : int, default=None
        Padded tokens a group.

    Returns
    -------
    list of Tensor of int
        Of the groups that hold to ``_GROUP_WASTE`` and the budget, those whose padded tokens, and
        ``_GROUP_COST`` a group, are the fewest together. Samples of one length that exceed the
        budget are cut.
    """
    sizes, order = torch.sort(lengths, descending=True, stable=True)
    distinct, counts = np.unique(-sizes[sizes > 0].numpy(), return_counts=True)
    distinct, ends = -distinct, np.concatenate([[0], np.cumsum(counts)])
    tokens = np.concatenate([[0], np.cumsum(distinct * counts)])
    # the cheapest way to group all samples down to each length, from that down to each longer one
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
        A transformers encoder that begins behind its frozen layers.
    width : int
        Of the states that it gives.
    reads_ids : bool
        Whether frames are token ids and types instead of states.

    Attributes
    ----------
    packs : bool
        Whether texts lie side by side, so that nothing but attention is computed on padding.

    Notes
    -----
    Where they do not, because the model reads token ids or its attention cannot be exchanged,
    texts of like length are padded together.

    Examples
    --------
    Token ids and types of two texts, one of three tokens and one of two:

    >>> import torch
    >>> from transformers import BertConfig, BertModel
    >>> model = BertModel(BertConfig(
    ...     vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    ... ))
    >>> tower = TextTower(model, 16, reads_ids=True)
    >>> ids = torch.tensor([[1.0, 0], [7.0, 0], [2.0, 0], [1.0, 0], [2.0, 0]])
    >>> tower(ids, torch.tensor([3, 2])).shape
    torch.Size([5, 16])
    """

    def __init__(self, tail: nn.Module, width: int, reads_ids: bool) -> None:
        super().__init__()
        self.tail = tail
        self.width = width
        self.reads_ids = reads_ids
        self.packs = not reads_ids and pack(tail, width)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """States of packed frames, (n_tokens_total, width)."""
        if len(frames) == 0:
            return frames.new_zeros(0, self.width)
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
        """States of texts of like length, padded to one."""
        padded, mask = group.padded(group.values), group.mask.long()
        if self.reads_ids:
            ids, types = padded.long().unbind(2)
            return group.unpadded(run(self.tail, ids, mask, types))
        return group.unpadded(run(self.tail, padded, mask))
