"""The device to compute on."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_HOME = torch.device("cpu")  # of everything that is pickled
_NOTHING_INSIDE = (str, bytes, int, float, type, type(None), ModuleType)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device for a ``device`` parameter.

    Parameters
    ----------
    device : str or torch.device
        "auto" is the GPU if torch finds one, otherwise the CPU.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If the device is neither the CPU nor a CUDA device, or torch finds no CUDA device.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"Got device={device!r}, expected 'auto', 'cpu', 'cuda' or a numbered GPU such as "
            "'cuda:0'."
        ) from error
    if resolved.type not in ("cpu", "cuda"):
        raise ValueError(f"Got device={device!r}, expected 'auto', 'cpu' or a CUDA device.")
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"Got device={device!r}, but torch finds no CUDA device. Use device='auto' or 'cpu'."
        )
    return resolved


def _tensors(value: Any, seen: dict[int, Any]) -> Iterator[Tensor]:
    """Find the tensors that an object holds, each once; ``seen`` keeps what was visited alive."""
    if id(value) in seen or isinstance(value, _NOTHING_INSIDE):
        return
    seen[id(value)] = value
    if isinstance(value, Tensor):
        yield value
        return
    if isinstance(value, Mapping):
        held = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        held = list(value)
    else:
        held = list(getattr(value, "__dict__", {}).values())
    for one in held:
        yield from _tensors(one, seen)


def on_cpu(value: Any) -> Any:
    """Return an object with all its tensors, at any depth, on the CPU.

    Parameters
    ----------
    value : object
        Is left unchanged.

    Returns
    -------
    object
        The same object if all tensors are there already, otherwise a deep copy.

    Examples
    --------
    >>> state = {"weights": [torch.ones(2)]}
    >>> on_cpu(state) is state
    True
    """
    moved = {}
    for tensor in _tensors(value, {}):
        if tensor.device.type != _HOME.type:
            home = tensor.detach().to(_HOME)
            if isinstance(tensor, nn.Parameter):
                home = nn.Parameter(home, requires_grad=tensor.requires_grad)
            moved[id(tensor)] = home
    return copy.deepcopy(value, dict(moved)) if moved else value


class PickledOnCPU:
    """Mixin for objects that are pickled and copied with all their tensors on the CPU."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle."""
        return on_cpu(super().__getstate__())
