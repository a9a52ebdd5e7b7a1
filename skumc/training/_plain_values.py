"""Values that a checkpoint holds: copied, written as JSON and tensors, read back."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_PLAIN = (type(None), bool, int, float, str)
_KINDS = "biufc"  # of arrays: numbers
_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class NotPlainError(TypeError):
    """A value that a checkpoint cannot hold."""


def is_plain(value: Any) -> bool:
    """Tell whether a checkpoint can hold a value.

    Examples
    --------
    >>> is_plain({"counts": [1, 2.5, None]}), is_plain([object()])
    (True, False)
    """
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    if isinstance(value, Mapping):
        return all(is_plain(key) and is_plain(entry) for key, entry in value.items())
    if type(value) is np.ndarray or isinstance(value, np.generic):
        return value.dtype.kind in _KINDS
    return isinstance(value, (*_PLAIN, Tensor)) or _generator_name(value) in _BIT_GENERATORS


def copied(value: Any) -> Any:
    """Copy a value, with tensors cut from their graph; other objects are copied deeply.

    Examples
    --------
    >>> copied([torch.ones(1, requires_grad=True).exp()])
    [tensor([2.7183])]
    """
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(map(copied, value))
    if isinstance(value, Mapping):
        return {key: copied(entry) for key, entry in value.items()}
    return value if isinstance(value, _PLAIN) else copy.deepcopy(value)


def pack(value: Any) -> tuple[Any, list[Tensor]]:
    """Split a value into a structure for JSON and tensors on the CPU, none of which share memory.

    Returns
    -------
    structure : object
        Numbers, strings, lists and dicts.
    tensors : list of Tensor

    Raises
    ------
    NotPlainError
        If the value has an object of another kind.

    Examples
    --------
    >>> structure, tensors = pack({"epoch": 3, "labels": np.array([1, 0])})
    >>> unpack(structure, tensors)
    {'epoch': 3, 'labels': array([1, 0])}
    """
    tensors: list[Tensor] = []
    places: dict[int, int] = {}  # an array that occurs twice is stored once

    def stored(entry: Any, tensor: Tensor) -> int:
        if id(entry) not in places:
            places[id(entry)] = len(tensors)
            home = tensor.detach().cpu().contiguous()
            is_whole = home.untyped_storage().nbytes() == home.nbytes
            tensors.append(home if is_whole else home.clone())
        return places[id(entry)]

    def packed(entry: Any) -> Any:
        if isinstance(entry, _PLAIN):
            return entry
        if isinstance(entry, Tensor):
            return {"tensor": stored(entry, entry), "device": str(entry.device)}
        if type(entry) is list:
            return [packed(one) for one in entry]
        if type(entry) is tuple:
            return {"tuple": [packed(one) for one in entry]}
        if isinstance(entry, Mapping):
            return {"dict": [[packed(key), packed(one)] for key, one in entry.items()]}
        is_array = type(entry) is np.ndarray
        if (is_array or isinstance(entry, np.generic)) and entry.dtype.kind in _KINDS:
            values = np.array(entry, order="C")
            content = torch.from_numpy(values.reshape(-1).view(np.uint8))
            place = {"array": stored(entry, content), "dtype": values.dtype.str}
            return place | ({"shape": list(values.shape)} if is_array else {"shape": None})
        if _generator_name(entry) in _BIT_GENERATORS:
            return {type(entry).__name__: packed(_generator_state(entry))}
        raise NotPlainError(f"a {type(entry).__name__}")

    return packed(value), tensors


def unpack(structure: Any, tensors: Sequence[Tensor]) -> Any:
    """Put together what :func:`pack` has split.

    Raises
    ------
    ValueError, KeyError, IndexError, TypeError
        If the structure is not one that :func:`pack` returns.
    """
    if isinstance(structure, list):
        return [unpack(one, tensors) for one in structure]
    if not isinstance(structure, dict):
        return structure
    if "dict" in structure:
        return {unpack(key, tensors): unpack(one, tensors) for key, one in structure["dict"]}
    if "tuple" in structure:
        return tuple(unpack(one, tensors) for one in structure["tuple"])
    if "tensor" in structure:
        return tensors[structure["tensor"]].to(structure["device"])
    if "array" in structure:
        dtype = np.dtype(structure["dtype"])
        if dtype.kind not in _KINDS:
            raise ValueError(f"dtype {dtype}")
        values = tensors[structure["array"]].numpy().view(dtype)
        return values[0] if structure["shape"] is None else values.reshape(structure["shape"])
    ((kind, state),) = structure.items()
    return _made_generator(kind, unpack(state, tensors))


def _generator_name(value: Any) -> str | None:
    """Return the name of the algorithm of a generator of random numbers."""
    if type(value) is np.random.Generator:
        return type(value.bit_generator).__name__
    return value.get_state(legacy=False)["bit_generator"] if _is_random_state(value) else None


def _is_random_state(value: Any) -> bool:
    return type(value) is np.random.RandomState


def _generator_state(value: Any) -> dict[str, Any]:
    return value.get_state(legacy=False) if _is_random_state(value) else value.bit_generator.state


def _made_generator(kind: str, state: dict[str, Any]) -> Any:
    if kind not in ("RandomState", "Generator") or state["bit_generator"] not in _BIT_GENERATORS:
        raise ValueError(f"an object of kind {kind!r}")
    bit_generator = getattr(np.random, state["bit_generator"])()
    if kind == "RandomState":
        random_state = np.random.RandomState(bit_generator)
        random_state.set_state(state)
        return random_state
    bit_generator.state = state
    return np.random.Generator(bit_generator)
