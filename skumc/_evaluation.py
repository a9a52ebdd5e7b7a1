"""Evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run a module in evaluation mode without gradients; restore the mode of each submodule.

    Examples
    --------
    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())
    >>> with evaluating(module):
    ...     module[0].training, torch.is_grad_enabled()
    (False, False)
    >>> module.training, module[1].training
    (True, False)
    """
    modes = {part: part.training for part in module.modules()}
    try:
        for part in modes:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
