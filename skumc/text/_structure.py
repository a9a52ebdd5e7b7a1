"""Where a transformer model can be cut into a frozen front and a trainable tail."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_TOLERANCE = 1e-4
_PROBE_SHAPE = (2, 4)


class _PassThrough(nn.Module):
    """Stands where embeddings were: hands on the hidden states that it is given."""

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        for value in (*inputs, *named.values()):
            if isinstance(value, Tensor) and value.is_floating_point():
                return value
        raise ValueError("Got no hidden states, expected inputs_embeds=.")


@contextmanager
def calm(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's mode is given back."""
    modes = {module: module.training for module in model.modules()}
    try:
        for module in modes:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _shallow(module: nn.Module) -> nn.Module:
    """A module of its own with the same children and parameters."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = dict(module._modules)
    return twin


def _with_replaced(module: nn.Module, replacements: dict[str, nn.Module | None]) -> nn.Module:
    """The module with other children in some places, given by path; all else is shared."""
    twin = _shallow(module)
    nested: dict[str, dict[str, nn.Module | None]] = {}
    for path, new in replacements.items():
        child, _, rest = path.partition(".")
        if rest:
            nested.setdefault(child, {})[rest] = new
        else:
            twin._modules[child] = new
    for child, inner in nested.items():
        twin._modules[child] = _with_replaced(twin._modules[child], inner)
    return twin


def _unsupported(model: nn.Module, why: str) -> ValueError:
    return ValueError(
        f"Got a text model of class {type(model).__name__}, whose layers cannot be told apart: "
        f"{why}. Expected an encoder with one list of layers behind its embeddings, such as BERT, "
        "RoBERTa, DistilBERT, MPNet, ELECTRA or ModernBERT. Use another model without head, or "
        "read the last states of this one frozen, with n_trainable_layers=0 or "
        "TransformerTextFeatures."
    )


def _find_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Path and list of the model's layers."""
    n_layers = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    found = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_layers
    ]
    outermost = [
        (path, module)
        for path, module in found
        if not any(path.startswith(f"{other}.") for other, _ in found)
    ]
    if len(outermost) != 1:
        raise _unsupported(model, f"{len(outermost)} lists of {n_layers} layers were found")
    return outermost[0]


class _Order:
    """Which modules run before the first layer, and which behind the last."""

    def __init__(self, model: nn.Module, layers: nn.ModuleList) -> None:
        self.before: set[nn.Module] = set()
        self.after: set[nn.Module] = set()
        self.embeds: set[nn.Module] = set()  # of those before, the ones that give hidden states
        self._model = model
        self._first, self._last = layers[0], layers[-1]
        self._stage = self.before
        inside = {module for layer in layers for module in layer.modules()}
        watched = [m for m in model.modules() if m not in inside and m is not model] + [
            self._first,
            self._last,
        ]
        hooks = [module.register_forward_pre_hook(self._enter) for module in watched]
        hooks += [module.register_forward_hook(self._leave) for module in watched]
        try:
            with calm(model):
                run(model, *_probe(model))
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if module is self._first:
            self._stage = None
        elif self._stage is not None:
            self._stage.add(module)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module is self._last:
            self._stage = self.after
        elif self._stage is self.before and isinstance(output, Tensor) and output.ndim == 3:
            if tuple(output.shape[:2]) == _PROBE_SHAPE:
                self.embeds.add(module)


def _probe(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Token ids and mask of two short texts, one of them padded."""
    n_words = model.get_input_embeddings().num_embeddings
    pad = getattr(model.config, "pad_token_id", None)
    usable = [number for number in range(min(n_words, 8)) if number != pad]
    n_samples, n_tokens = _PROBE_SHAPE
    ids = [usable[i % len(usable)] for i in range(n_samples * n_tokens)]
    mask = torch.ones(_PROBE_SHAPE, dtype=torch.long)
    mask[-1, n_tokens // 2 :] = 0
    return torch.tensor(ids).view(_PROBE_SHAPE), mask


def run(
    model: nn.Module,
    ids_or_states: Tensor,
    mask: Tensor,
    types: Tensor | None = None,
) -> Tensor:
    """Last hidden states, (n_samples, n_tokens, width), for token ids or for hidden states."""
    is_states = ids_or_states.is_floating_point()
    named = {"inputs_embeds" if is_states else "input_ids": ids_or_states, "attention_mask": mask}
    has_types = types is not None and not is_states and bool(types.any())
    if has_types and _accepts(model, "token_type_ids"):  # GPT-2 reads a type 0 as a word
        named["token_type_ids"] = types
    return model(**named).last_hidden_state


def _accepts(model: nn.Module, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters


def _children(model: nn.Module, modules: Iterable[nn.Module]) -> list[str]:
    """Paths of the outermost of these modules."""
    wanted = set(modules)
    paths = [path for path, module in model.named_modules() if module in wanted]
    return [p for p in paths if not any(p.startswith(f"{q}.") for q in paths if q != p)]


class Split:
    """A model cut behind some of its layers.

    Parameters
    ----------
    model : Module
        A transformers encoder without head.
    n_trainable_layers : int or "all"
    text_layer : int, "middle" or None
        The layer whose states are read; those behind it are dropped. None is the last.
    layer_argument : str, default="text_layer"
        What it is called, for messages.

    Attributes
    ----------
    front : Module or None
        From token ids to the states that enter the first trainable layer; None when all trains.
    tail : Module or None
        From those states, or from token ids when all trains, to the states that are read; None
        when nothing trains. Only what trains requires a gradient.
    width : int

    Raises
    ------
    ValueError
        If the model has fewer layers, or none that can be told apart.
    """

    def __init__(
        self,
        model: nn.Module,
        n_trainable_layers: int | str,
        text_layer: int | str | None = None,
        layer_argument: str = "text_layer",
    ) -> None:
        model = _without_pooler(model)
        self.front = self.tail = None
        if n_trainable_layers == 0 and text_layer is None:  # no need to tell layers apart
            self.front = model
            self._check(model, model)
            self.width = model.config.hidden_size
            return
        path, layers = _find_layers(model)
        n_read = len(layers) if text_layer is None else text_layer
        if text_layer == "middle":
            n_read = (len(layers) + 1) // 2
            if n_trainable_layers != "all":
                n_read = min(max(n_read, n_trainable_layers), len(layers))
        if n_read > len(layers):
            raise ValueError(
                f"Got {layer_argument}={text_layer} for a text model of {len(layers)} layers."
            )
        n_trainable = n_read if n_trainable_layers == "all" else n_trainable_layers
        if n_trainable > n_read:
            raise ValueError(
                f"Got n_trainable_layers={n_trainable_layers}, but the text model has {n_read} "
                "layers that are read. Use a smaller number, or 'all'."
            )
        try:
            order = _Order(model, layers)
        except Exception as failure:
            raise _unsupported(model, f"it fails on a short text ({failure})") from failure
        self.width = model.config.hidden_size
        n_frozen = n_read - n_trainable
        ends = (
            {} if text_layer is None or n_read == len(layers) else _identities(model, order.after)
        )
        whole = _with_replaced(model, {path: layers[:n_read]} | ends)
        if n_trainable_layers != "all":
            cut = {} if n_trainable == 0 else _identities(model, order.after)
            self.front = _with_replaced(whole, {path: layers[:n_frozen]} | cut)
        if n_trainable_layers != 0:
            starts = {}
            if n_trainable_layers != "all":
                starts = {p: _PassThrough() for p in _children(model, order.embeds)}
            self.tail = _with_replaced(whole, {path: layers[n_frozen:n_read]} | starts)
            trained = set() if n_trainable_layers != "all" else set(whole.parameters())
            for module in (*layers[n_frozen:n_read], *([] if ends else order.after)):
                trained |= set(module.parameters())
            for parameter in self.tail.parameters():
                parameter.requires_grad_(parameter in trained)
        self._check(model, whole)

    def _check(self, model: nn.Module, whole: nn.Module) -> None:
        """Hold front and tail against the model itself."""
        try:
            ids, mask = _probe(model)
            with calm(model):
                expected = run(whole, ids, mask)
                states = ids if self.front is None else run(self.front, ids, mask)
                found = states if self.tail is None else run(self.tail, states, mask)
            error = float((found - expected)[mask.bool()].abs().max())
        except Exception as failure:
            why = "it gives no hidden states" if whole is self.front else "cut into two, it fails"
            raise _unsupported(model, f"{why} ({failure})") from failure
        if not error <= _TOLERANCE * max(1.0, float(expected.abs().max())):
            raise _unsupported(model, "cut into two, it gives other states than whole")


def _without_pooler(model: nn.Module) -> nn.Module:
    """The model without the head that summarises a sentence, which nothing here reads."""
    return _with_replaced(model, {"pooler": None}) if hasattr(model, "pooler") else model


def _identities(model: nn.Module, modules: Iterable[nn.Module]) -> dict[str, nn.Module | None]:
    return {path: nn.Identity() for path in _children(model, modules)}
