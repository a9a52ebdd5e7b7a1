"""An encoder's maps compiled by torch for the time of a fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from skumc.data import MultimodalData
from skumc.encoders import encode_views
from skumc.training._trial import trial


class _Compiled:
    """Calls compiled code as long as it works, then the module's own."""

    def __init__(self, module: nn.Module) -> None:
        self._plain = module.forward
        self._fast: Callable[..., Any] | None = torch.compile(module.forward, dynamic=True)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        if self._fast is not None:
            try:
                with warnings.catch_warnings():  # of torch about itself
                    warnings.filterwarnings(
                        "ignore", "The .grad attribute of a Tensor", UserWarning
                    )
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
        one it is compiled as a whole.
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
    try:
        try:
            for module in modules:
                module.forward = _Compiled(module)
            with trial(encoder, data, device, precision) as batch:
                outputs = encode_views(encoder, batch, views)
                moved = [o.embedding.sum() for o in outputs if o.embedding.requires_grad]
                if moved:
                    torch.autograd.backward(moved)
            encoder.zero_grad()
        except Exception as failure:  # of the way back, which is compiled when first walked
            _plain_again(modules)
            _warn(failure)
        yield
    finally:
        _plain_again(modules)


def _plain_again(modules: Sequence[nn.Module]) -> None:
    for module in modules:
        module.__dict__.pop("forward", None)
