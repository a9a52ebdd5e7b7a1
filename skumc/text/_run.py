"""Run a transformers encoder on token ids or on hidden states."""

from __future__ import annotations

import inspect

from torch import Tensor, nn


def run(
    model: nn.Module,
    ids_or_states: Tensor,
    mask: Tensor,
    types: Tensor | None = None,
) -> Tensor:
    """Compute the last hidden states for token ids or for hidden states.

    Parameters
    ----------
    model : Module
        A transformers encoder without a head.
    ids_or_states : Tensor of shape (n_samples, n_tokens) or (n_samples, n_tokens, width)
        Token ids if the type is integer.
    mask : Tensor of int, shape (n_samples, n_tokens)
        1 for tokens, 0 for padding.
    types : Tensor of int, shape (n_samples, n_tokens), default=None
        Token types, passed on to models that take them if any is not 0.

    Returns
    -------
    Tensor of shape (n_samples, n_tokens, width)
    """
    is_states = ids_or_states.is_floating_point()
    named = {"inputs_embeds" if is_states else "input_ids": ids_or_states, "attention_mask": mask}
    if types is not None and not is_states and bool(types.any()):
        if _accepts(model, "token_type_ids"):  # GPT-2 reads a type 0 as a word
            named["token_type_ids"] = types
    return model(**named).last_hidden_state


def _accepts(model: nn.Module, name: str) -> bool:
    """Whether the forward pass of a model has a parameter ``name``."""
    return name in inspect.signature(model.forward).parameters
