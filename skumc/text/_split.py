"""Split a transformer into a frozen front and a trainable tail."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skumc._evaluation import evaluating
from skumc.text._run import run

_TOLERANCE = 1e-4
_PROBE_SHAPE = (2, 4)


class _PassThrough(nn.Module):
    """Stand in for the embeddings: return the hidden states among the inputs."""

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        for value in (*inputs, *named.values()):
            if isinstance(value, Tensor) and value.is_floating_point():
                return value
        raise ValueError("Got no hidden states, expected inputs_embeds=.")


def _shallow(module: nn.Module) -> nn.Module:
    """Copy a module; the copy shares its children and parameters."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = dict(module._modules)
    return twin


def _with_replaced(module: nn.Module, replacements: dict[str, nn.Module | None]) -> nn.Module:
    """Copy a module with other children at some paths; everything else is shared."""
    twin = _shallow(module)
    nested: dict[str, dict[str, nn.Module | None]] = {}
    for path, new in replacements.items():
        child, _, rest = path.partition(".")
        if rest:
            nested.setdefault(child, {})[rest] = new
        else:
            twin._modules[child] = new
    for child, inner in nested.items():
        twin._modules[child] = _with_replaced(twin.get_submodule(child), inner)
    return twin


def _without_pooler(model: nn.Module) -> nn.Module:
    """Copy a model without its pooler, which is never used here."""
    return _with_replaced(model, {"pooler": None}) if hasattr(model, "pooler") else model


def _paths(model: nn.Module, modules: Iterable[nn.Module]) -> list[str]:
    """List the paths of the outermost of these modules."""
    wanted = set(modules)
    paths = [path for path, module in model.named_modules() if module in wanted]
    return [p for p in paths if not any(p.startswith(f"{q}.") for q in paths if q != p)]


def _identities(model: nn.Module, modules: Iterable[nn.Module]) -> dict[str, nn.Module | None]:
    """Map the paths of these modules to identities."""
    return {path: nn.Identity() for path in _paths(model, modules)}


def _unsupported(model: nn.Module, why: str) -> ValueError:
    return ValueError(
        f"Got a text model of class {type(model).__name__}, which cannot be split into layers: "
        f"{why}. Expected an encoder with one list of layers after its embeddings, such as BERT, "
        "RoBERTa, DistilBERT, MPNet, ELECTRA or ModernBERT. Use another model without a head, or "
        "read the last states of this one frozen, with n_trainable_layers=0 and layer=None or "
        "with TransformerTextFeatures."
    )


def find_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Find the path and the list of the model's layers."""
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


def _count_layers(
    n_layers: int, n_trainable_layers: int | str, layer: int | str | None
) -> tuple[int, int]:
    """Count the layers that are used and those of them that are trained.

    Raises
    ------
    ValueError
        If the model has fewer layers.
    """
    if layer in ("middle", "auto"):  # "auto" without texts to choose by
        n_used = (n_layers + 1) // 2
        if n_trainable_layers != "all":
            n_used = min(max(n_used, int(n_trainable_layers)), n_layers)
    else:
        n_used = n_layers if layer is None else int(layer)
    if n_used > n_layers:
        raise ValueError(
            f"Got layer={layer} for a text model of {n_layers} layers. Use a smaller number, "
            "'middle' or None."
        )
    n_trained = n_used if n_trainable_layers == "all" else int(n_trainable_layers)
    if n_trained > n_used:
        raise ValueError(
            f"Got n_trainable_layers={n_trainable_layers}, expected at most {n_used}, the number "
            f"of layers of the text model up to layer={layer!r}. Use a smaller number or a later "
            "layer, or n_trainable_layers='all'."
        )
    return n_used, n_trained


def _probe(model: Any) -> tuple[Tensor, Tensor]:
    """Make token ids and mask of two short texts, one of them padded."""
    n_words = model.get_input_embeddings().num_embeddings
    pad = getattr(model.config, "pad_token_id", None)
    usable = [number for number in range(min(n_words, 8)) if number != pad]
    n_samples, n_tokens = _PROBE_SHAPE
    ids = [usable[i % len(usable)] for i in range(n_samples * n_tokens)]
    mask = torch.ones(_PROBE_SHAPE, dtype=torch.long)
    mask[-1, n_tokens // 2 :] = 0
    return torch.tensor(ids).view(_PROBE_SHAPE), mask


class _RunOrder:
    """Record which modules run before the first layer, and which after the last.

    Attributes
    ----------
    before, after : set of Module
    embeddings : set of Module
        Those of ``before`` that return hidden states.
    """

    def __init__(self, model: nn.Module, layers: Sequence[nn.Module]) -> None:
        self.before: set[nn.Module] = set()
        self.after: set[nn.Module] = set()
        self.embeddings: set[nn.Module] = set()
        self._first, self._last = layers[0], layers[-1]
        self._stage: set[nn.Module] | None = self.before
        inside = {module for layer in layers for module in layer.modules()}
        watched = [m for m in model.modules() if m not in inside and m is not model]
        watched += [self._first, self._last]
        hooks = [module.register_forward_pre_hook(self._enter) for module in watched]
        hooks += [module.register_forward_hook(self._leave) for module in watched]
        try:
            with evaluating(model):
                run(model, *_probe(model))
        except Exception as failure:
            raise _unsupported(model, f"it fails on a short text ({failure})") from failure
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
                self.embeddings.add(module)


def hidden_width(model: Any) -> int:
    """Look up the width of a transformers model's hidden states."""
    return model.config.hidden_size


class Split:
    """Split a model at a layer; nothing is copied but the modules above the layers.

    Parameters
    ----------
    model : Module
        A transformers encoder without a head.
    n_trainable_layers : int or "all"
        Number of last layers that are trained.
    layer : int, "auto", "middle" or None
        Layer to take the states from; later ones are dropped. None is the last, "auto" the middle
        one.

    Attributes
    ----------
    front : Module or None
        Maps token ids to the states that enter the first trainable layer; None if all layers and
        the embeddings are trained.
    tail : Module or None
        Maps those states, or token ids if there is no front, to the states of ``layer``; None if
        nothing is trained. Only what is trained requires a gradient.
    layer : int
        Number of the layer that is read; -1 for the last one of a model that tells no number.
    width : int
        Width of the states.

    Raises
    ------
    ValueError
        If the model has fewer layers, or cannot be split.
    """

    def __init__(
        self, model: nn.Module, n_trainable_layers: int | str, layer: int | str | None
    ) -> None:
        model = _without_pooler(model)
        self.front: nn.Module | None = None
        self.tail: nn.Module | None = None
        if n_trainable_layers == 0 and layer is None:
            whole = self.front = model  # no need to find the layers
            self.layer: int = getattr(getattr(model, "config", None), "num_hidden_layers", -1)
        else:
            whole = self._cut(model, n_trainable_layers, layer)
        self._check(model, whole)
        self.width = hidden_width(model)

    def _cut(
        self, model: nn.Module, n_trainable_layers: int | str, layer: int | str | None
    ) -> nn.Module:
        """Set front and tail; return the model up to ``layer``."""
        path, layers = find_layers(model)
        n_used, n_trained = _count_layers(len(layers), n_trainable_layers, layer)
        order = _RunOrder(model, list(layers))
        self.layer, n_frozen = n_used, n_used - n_trained
        trains_all = n_trainable_layers == "all"
        is_whole = layer is None or n_used == len(layers)
        ends = {} if is_whole else _identities(model, order.after)
        whole = _with_replaced(model, {path: layers[:n_used]} | ends)
        if not trains_all:
            cut = _identities(model, order.after) if n_trained else {}
            self.front = _with_replaced(whole, {path: layers[:n_frozen]} | cut)
        if n_trainable_layers != 0:
            starts: dict[str, nn.Module | None] = {}
            trained = set(whole.parameters())
            if not trains_all:
                starts = {place: _PassThrough() for place in _paths(model, order.embeddings)}
                ending = order.after if is_whole else ()
                modules = [*layers[n_frozen:n_used], *ending]
                trained = {parameter for module in modules for parameter in module.parameters()}
            self.tail = _with_replaced(whole, {path: layers[n_frozen:n_used]} | starts)
            for parameter in self.tail.parameters():
                parameter.requires_grad_(parameter in trained)
        return whole

    def _check(self, model: nn.Module, whole: nn.Module) -> None:
        """Compare front and tail with the whole model on a short text."""
        try:
            ids, mask = _probe(model)
            with evaluating(model):
                expected = run(whole, ids, mask)
                states = ids if self.front is None else run(self.front, ids, mask)
                found = states if self.tail is None else run(self.tail, states, mask)
            error = float((found - expected)[mask.bool()].abs().max())
        except Exception as failure:
            is_one_part = whole is self.front
            why = "it gives no hidden states" if is_one_part else "its two parts fail"
            raise _unsupported(model, f"{why} ({failure})") from failure
        if not error <= _TOLERANCE * max(1.0, float(expected.abs().max())):
            raise _unsupported(model, "its two parts give other states than the whole")
