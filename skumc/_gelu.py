"""GELU without a cache per shape."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)  # of the standard normal distribution at 0


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        share = (values * _ROOT_HALF).erf_().add_(1).mul_(0.5)
        if ctx.needs_input_grad[0]:  # the slope takes the memory that the values would take
            density = (-0.5 * values * values).exp_()
            ctx.save_for_backward(torch.addcmul(share, values, density, value=_DENSITY))
        return share.mul_(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return slope * gradients[0]


def gelu(values: Tensor) -> Tensor:
    r"""Gaussian error linear unit, :math:`x \Phi(x)` with the normal distribution function.

    On a CPU torch computes it with oneDNN, which keeps something for each of the last thousand
    shapes. Packed batches rarely repeat a shape, so memory would grow from epoch to epoch; and the
    only switch of oneDNN belongs to the whole process.

    Parameters
    ----------
    values : Tensor

    Returns
    -------
    Tensor

    Examples
    --------
    >>> x = torch.tensor([-1.0, 0.0, 2.0])
    >>> torch.allclose(gelu(x), torch.nn.functional.gelu(x))
    True
    """
    if values.device.type != "cpu" or values.dtype != torch.float32:
        return F.gelu(values)
    return _Gelu.apply(values)


class Gelu(nn.Module):
    """The function :func:`gelu` as a module."""

    def forward(self, values: Tensor) -> Tensor:
        """Apply the function."""
        return gelu(values)


def replace_gelu(module: nn.Module) -> None:
    """Put :class:`Gelu` in the place of torch's and transformers' exact GELU, in place."""
    for parent in module.modules():
        for name, child in parent.named_children():
            is_torch = isinstance(child, nn.GELU) and child.approximate == "none"
            if is_torch or _is_of_transformers(child):
                setattr(parent, name, Gelu())


def _is_of_transformers(module: nn.Module) -> bool:
    kind = type(module)
    if kind.__module__ != "transformers.activations" or kind.__name__ != "GELUActivation":
        return False
    probe = torch.tensor([0.5])
    return bool(torch.allclose(module(probe), F.gelu(probe), rtol=1e-6))
