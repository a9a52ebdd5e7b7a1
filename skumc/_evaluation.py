"""Evaluation mode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

from skumc._process_state import own_defaults

_LOCK = threading.Lock()
_INSIDE: WeakKeyDictionary[nn.Module, tuple[int, bool]] = WeakKeyDictionary()  # count, own mode


def _enter(parts: list[nn.Module]) -> None:
    with _LOCK:
        for part in parts:
            count, mode = _INSIDE.get(part, (0, part.training))
            _INSIDE[part] = (count + 1, mode)
            part.training = False


def _leave(parts: list[nn.Module]) -> None:
    with _LOCK:
        for part in parts:
            count, mode = _INSIDE.pop(part)
            if count > 1:
                _INSIDE[part] = (count - 1, mode)
            else:
                part.training = mode


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run a module in evaluation mode, without gradients and with torch's own defaults.

    Several threads may be inside at once: the last one to leave a submodule restores its mode.

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
    parts = list(module.modules())
    _enter(parts)
    try:
        with own_defaults(), torch.no_grad():
            yield
    finally:
        _leave(parts)
