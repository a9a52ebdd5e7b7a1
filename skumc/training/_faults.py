"""Faults of an epoch that training answers by repeating it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class LossNotFiniteError(FloatingPointError):
    """A loss, or a weight after the last step, that is not finite."""


class StepMemoryError(Exception):
    """Memory that does not suffice for a step; the cause is the error of the step."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory did not suffice.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shape"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def check_finite(record: Mapping[str, Any], model: nn.Module) -> None:
    """Raise LossNotFiniteError for a loss, or weights after an epoch, that are not finite.

    Examples
    --------
    >>> check_finite(
    ...     {"phase": "main", "epoch": 0, "loss_supcon": None, "loss_total": torch.inf},
    ...     nn.Linear(2, 2),
    ... )
    Traceback (most recent call last):
    ...
    skumc.training._faults.LossNotFiniteError: The loss 'total' became inf in main epoch 0.
    """
    where = f"in {record['phase']} epoch {record['epoch']}"
    losses = {
        name.removeprefix("loss_"): value
        for name, value in record.items()
        if name.startswith("loss_") and value is not None
    }
    for name, value in losses.items():
        if not math.isfinite(value):
            raise LossNotFiniteError(f"The loss {name!r} became {value} {where}.")
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    if not all(bool(torch.isfinite(weights).all()) for weights in trained):
        raise LossNotFiniteError(f"The weights stopped being finite {where}.")
