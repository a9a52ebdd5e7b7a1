"""Run a transformer on texts packed into one row, with attention inside each text."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._evaluation import evaluating
from skumc._sequences import Sequences
from skumc.text._run import run

_NAME = "skumc_packed"
_TOLERANCE = 1e-4
_PROBED = (3, 1, 5)  # tokens
_HARMLESS = frozenset({"position_ids", "use_cache", "return_dict"})  # passed on by layers


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: list[Sequences] | None = None,
    **named: Any,
) -> tuple[Tensor, None]:
    """Compute scaled dot-product attention within each text.

    Parameters
    ----------
    module : Module
        The calling attention layer.
    query, key, value : Tensor of shape (1, n_heads, n_tokens_total, width)
    attention_mask : None
    dropout : float
    scaling : float or None
    packing : list of Sequences
        Places of the texts; the texts of a group are padded to one length.
    **named : dict
        Arguments that do not change the result.

    Returns
    -------
    mixed : Tensor of shape (1, n_tokens_total, n_heads, width)
    None
    """
    asked = [name for name, value in named.items() if value is not None and value is not False]
    if packing is None or attention_mask is not None or set(asked) - _HARMLESS:
        raise ValueError(f"Attention to packed texts works without a mask and without {asked}.")
    if getattr(module, "is_causal", False):
        raise ValueError("Attention to packed texts works in both directions.")
    n_heads = query.shape[1]
    sizes = [len(group.owner) for group in packing]
    rows = [part[0].transpose(0, 1).flatten(1).split(sizes) for part in (query, key, value)]
    pieces = []
    for group, *parts in zip(packing, *rows, strict=True):
        queries, keys, values = (
            group.padded(part).unflatten(2, (n_heads, -1)).transpose(1, 2) for part in parts
        )
        mixed = F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=group.mask[:, None, None, :],
            dropout_p=dropout,
            scale=scaling,
        )
        pieces.append(group.unpadded(mixed.transpose(1, 2).flatten(2)))
    return torch.cat(pieces).unflatten(1, (n_heads, -1)).unsqueeze(0), None


def _register() -> None:
    """Register the attention function with transformers."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(_NAME, _attend)


def run_packed(tail: nn.Module, states: Tensor, groups: list[Sequences]) -> Tensor:
    """Compute the last hidden states of packed texts, (n_tokens_total, width).

    Parameters
    ----------
    tail : Module
        For which :func:`pack` returned True.
    states : Tensor of shape (n_tokens_total, width)
        States of the texts, group after group.
    groups : list of Sequences
        Places of the texts, grouped by similar length.
    """
    _register()  # an unpickled tail may be the first one of its process
    return tail(inputs_embeds=states.unsqueeze(0), packing=groups).last_hidden_state[0]


def pack(tail: nn.Module, width: int) -> bool:
    """Let a transformer read packed texts, if it computes the same states for them.

    Parameters
    ----------
    tail : Module
        Reads hidden states. Its attention is replaced.
    width : int
        Width of the states.

    Returns
    -------
    bool
        False if the tail is left unchanged: transformers cannot replace its attention, or its
        attention depends on more than the states of the text.
    """
    lengths = torch.tensor(_PROBED)
    dtype = next(tail.parameters()).dtype
    values = torch.linspace(-1, 1, sum(_PROBED) * width, dtype=dtype).view(-1, width)
    places = Sequences.from_lengths(values, lengths)
    before = {module: module.config for module in tail.modules() if hasattr(module, "config")}
    # padding works in any case, so every failure means no more than False
    with suppress(Exception), evaluating(tail):
        padded = run(tail, places.padded(values), places.mask.long())
        expected = places.unpadded(padded)
        _register()
        own: Any = copy.deepcopy(tail.config)
        own._attn_implementation = _NAME  # the public setter logs warnings where it cannot
        for module in before:
            module.config = own
        found = run_packed(tail, values, [places])
        error = float((found - expected).abs().max())
        if error <= _TOLERANCE * max(1.0, float(expected.abs().max())):
            return True
    for module, config in before.items():
        module.config = config
    return False
