"""An encoder's maps compiled by torch for the time of a fit."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from skumc.data import MultimodalData
from skumc.encoders import encode_views
from skumc.training._trial import trial

# else the views of an encoder share what torch keeps, and it stops at the eighth
_APART = (
    {"isolate_recompiles": True}
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters
    else {}
)


class _Compiled:
    """Calls compiled code as long as it works, then the module's own."""

    def __init__(self, module: nn.Module) -> None:
        self._plain = module.forward
        self._fast: Callable[..., Any] | None = torch.compile(
            module.forward, dynamic=True, **_APART
        )

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        if self._fast is not None:
            try:
                return self._fast(*inputs, **named)
            except Exception as failure:
                self._fast = None
                _warn(failure)
        return self._plain(*inputs, **named)


def _warn(failure: Exception) -> None:
    reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
    warnings.warn(
        f"torch.compile failed, the encoder runs as it is: {reason}. Pass compile=False, or see "
        "that torch finds a C++ compiler (on a GPU, Triton).",
        RuntimeWarning,
        stacklevel=2,
    )


@contextmanager
def compiled(
    encoder: nn.Module,
    data: MultimodalData,
    views: Sequence[Sequence[str]],
    device: torch.device,
    precision: str,
) -> Iterator[None]:
    """Let torch compile what an encoder computes, and go on without where it cannot.

    Parameters
    ----------
    encoder : Module
        In training mode. Its method ``frame_maps()`` gives the modules that are compiled; without
        one its own ``forward`` is. They get a ``forward`` of their own until the end.
    data : MultimodalData
        A few samples go through the encoder and back.
    views : sequence of sequences of str
    device : torch.device
    precision : {"float32", "bfloat16"}

    Warns
    -----
    RuntimeWarning
        Where it fails.
    """
    modules = list(encoder.frame_maps()) if hasattr(encoder, "frame_maps") else [encoder]
    own = [module.__dict__.get("forward") for module in modules]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor")  # torch, of itself
        try:
            try:
                for module in modules:
                    module.forward = _Compiled(module)
                _walk(encoder, data, views, device, precision)
            except Exception as failure:  # of the way back, which is compiled when first walked
                _give_back(modules, own)
                _warn(failure)
            yield
        finally:
            _give_back(modules, own)


def _walk(
    encoder: nn.Module,
    data: MultimodalData,
    views: Sequence[Sequence[str]],
    device: torch.device,
    precision: str,
) -> None:
    """Send a few samples through everything that a loss may read, and back."""
    with trial(encoder, data, device, precision) as batch:
        outputs = encode_views(encoder, batch, views)
        ends = [end for o in outputs for end in (o.embedding, *o.projections.values())]
        ends = [end.sum() for end in ends if end.requires_grad]
        if ends:
            torch.autograd.backward(ends)
    encoder.zero_grad()


def _give_back(modules: Sequence[nn.Module], own: Sequence[Any]) -> None:
    for module, forward in zip(modules, own, strict=True):
        module.__dict__.pop("forward", None)
        if forward is not None:
            module.forward = forward
