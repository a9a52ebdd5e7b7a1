"""Values of parameters and attributes as JSON and tensors, and back."""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from skumc.persistence._known_classes import KNOWN_CLASSES, is_known
from skumc.persistence._saved_error import SavedClustererError

_TAG = "$"
_MAX_DEPTH = 24
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]*_")
_MAX_INTEGER = 2**63
_TRANSPARENT = "extra"  # losses={"spread": ...} and WeightedLosses(extra={"spread": ...})


def _child(path: str, name: str) -> str:
    """Name of a nested part, as in ``set_params``."""
    return path if name == _TRANSPARENT else f"{path}__{name}" if path else name


class Writer:
    """Write values; arrays go to ``tensors``.

    Attributes
    ----------
    tensors : dict of str to Tensor
        On the CPU.
    own : dict of str to str
        Paths of the user's own parts, with the names of their classes.

    Examples
    --------
    >>> writer = Writer()
    >>> writer.write({"width": 3, "range": (0, float("inf"))}, "encoder")
    {'width': 3, 'range': {'$': 'tuple', 'items': [0, {'$': 'float', 'value': 'inf'}]}}
    >>> writer.write(print, "monitor"), writer.own
    ({'$': 'own', 'path': 'monitor'}, {'monitor': 'builtins.builtin_function_or_method'})
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.own: dict[str, str] = {}
        self._fitted = False

    def write_fitted(self, value: Any, path: str) -> Any:
        """Write a fitted part: with its fitted attributes, and the weights of own modules."""
        self._fitted = True
        try:
            return self.write(value, path)
        finally:
            self._fitted = False

    def write(self, value: Any, path: str) -> Any:
        """Write a value; ``path`` names it in messages and where it is the user's own."""
        if isinstance(value, np.bool_ | np.integer | np.floating):
            value = value.item()
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int) and abs(value) < _MAX_INTEGER:
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else _tagged("float", value=str(value))
        if isinstance(value, os.PathLike | torch.device):
            return str(value)
        if isinstance(value, list | tuple):
            return self._sequence(value, path)
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, range | slice):
            numbers = [self.write(n, path) for n in (value.start, value.stop, value.step)]
            return _tagged(type(value).__name__, numbers=numbers)
        if isinstance(value, np.random.RandomState):
            return self._random_state(value)
        if is_known(value):
            return self._known(value, path)
        if not isinstance(value, nn.Module | BaseEstimator) and hasattr(value, "tolist"):
            return self._array(value, path)
        return self._own(value, path)

    def _sequence(self, value: Any, path: str) -> Any:
        before = set(self.own)
        items = [self.write(item, path) for item in value]
        if isinstance(value, tuple):
            return _tagged("tuple", items=items)
        if set(self.own) - before:  # a list with own objects is passed as a whole
            return self._own(value, path)
        return items

    def _mapping(self, value: Mapping[Any, Any], path: str) -> Any:
        if all(isinstance(key, str) and key != _TAG for key in value):
            return {key: self.write(item, _child(path, key)) for key, item in value.items()}
        pairs = [[self.write(key, path), self.write(item, path)] for key, item in value.items()]
        return _tagged("dict", items=pairs)

    def _array(self, value: Any, path: str) -> Any:
        if not isinstance(value, np.ndarray | Tensor) or (
            isinstance(value, np.ndarray) and value.dtype.kind not in "biuf"
        ):
            return self.write(value.tolist(), path)
        return _tagged("array", tensor=self.add(f"value/{len(self.tensors)}", value))

    def _random_state(self, value: np.random.RandomState) -> Any:
        _, keys, position, has_gauss, cached = value.get_state(legacy=True)
        place = self.add(f"value/{len(self.tensors)}", np.asarray(keys, dtype=np.int64))
        return _tagged(
            "RandomState", tensor=place, numbers=[int(position), int(has_gauss), float(cached)]
        )

    def _known(self, value: Any, path: str) -> Any:
        parameters = value.get_params(deep=False)
        found = _tagged("object", name=type(value).__name__)
        found["parameters"] = {
            name: self.write(one, _child(path, name)) for name, one in parameters.items()
        }
        if self._fitted:
            found["attributes"] = {
                name: self.write(one, _child(path, name))
                for name, one in vars(value).items()
                if name not in parameters and _ATTRIBUTE.fullmatch(name)
            }
        return found

    def _own(self, value: Any, path: str) -> Any:
        kind = type(value)
        self.own[path] = f"{kind.__module__}.{kind.__qualname__}"
        found = _tagged("own", path=path)
        if self._fitted and isinstance(value, nn.Module):
            found["weights"] = f"own/{path}/"
            self.add_module(found["weights"], value)
        return found

    def add(self, name: str, value: np.ndarray | Tensor) -> str:
        """Add a copy of an array on the CPU; return its name."""
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
        # a copy: tensors of a module may share memory, which safetensors refuses
        self.tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return name

    def add_module(self, prefix: str, module: nn.Module) -> None:
        """Add the weights and buffers of a module.

        Raises
        ------
        ValueError
            If its state has something else than tensors.
        """
        for name, value in module.state_dict().items():
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"{type(module).__name__} has {name!r} of type {type(value).__name__} in its "
                    "state_dict, expected tensors only. Register it as a buffer, or leave it out "
                    "of get_extra_state."
                )
            self.add(prefix + name, value)


def _tagged(kind: str, **content: Any) -> dict[str, Any]:
    return {_TAG: kind, **content}


class Reader:
    """Read values that :class:`Writer` wrote.

    Parameters
    ----------
    tensors : dict of str to Tensor
    parts : dict of str to object
        The user's own parts by path. None there leaves the part at its default.

    Raises
    ------
    SavedClustererError
        Methods raise it for values that no writer writes.

    Examples
    --------
    >>> reader = Reader({}, {"monitor": len})
    >>> reader.read({"$": "tuple", "items": [1, {"$": "own", "path": "monitor"}]})
    (1, <built-in function len>)
    """

    def __init__(self, tensors: Mapping[str, Tensor], parts: Mapping[str, Any]) -> None:
        self._tensors, self._parts = tensors, parts
        self._depth = 0

    def read(self, node: Any) -> Any:
        """Read a value."""
        if not isinstance(node, list | dict):
            return node
        if self._depth >= _MAX_DEPTH:
            raise SavedClustererError(f"a value is nested more than {_MAX_DEPTH} times")
        self._depth += 1
        try:
            if isinstance(node, list):
                return [self.read(item) for item in node]
            if _TAG not in node:
                return {key: self.read(item) for key, item in node.items()}
            return self._tagged(dict(node))
        finally:
            self._depth -= 1

    def _tagged(self, node: dict[str, Any]) -> Any:
        kind = node.pop(_TAG)
        readers: dict[str, Callable[..., Any]] = {
            "float": self._float,
            "tuple": self._tuple,
            "dict": self._dict,
            "range": self._range,
            "slice": self._slice,
            "array": self._array,
            "RandomState": self._random_state,
            "object": self._object,
            "own": self._own,
        }
        if not isinstance(kind, str) or kind not in readers:
            raise SavedClustererError(f"the kind of value {kind!r:.50} is unknown")
        try:
            return readers[kind](**node)
        except SavedClustererError:
            raise
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise SavedClustererError(
                f"a value of kind {kind!r} is wrong: {error!s:.200}"
            ) from error

    def _float(self, value: str) -> float:
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}.get(value, math.nan)

    def _tuple(self, items: list[Any]) -> tuple[Any, ...]:
        return tuple(self.read(items))

    def _dict(self, items: list[Any]) -> dict[Any, Any]:
        return {self.read(key): self.read(value) for key, value in items}

    def _range(self, numbers: list[Any]) -> range:
        return range(*numbers)

    def _slice(self, numbers: list[Any]) -> slice:
        return slice(*self.read(numbers))

    def tensor(self, name: Any) -> Tensor:
        """Look up an array."""
        if not isinstance(name, str) or name not in self._tensors:
            raise SavedClustererError(f"the array {name!r:.50} is missing")
        return self._tensors[name]

    def _array(self, tensor: str) -> np.ndarray:
        return self.tensor(tensor).numpy()

    def _random_state(self, tensor: str, numbers: list[Any]) -> np.random.RandomState:
        position, has_gauss, cached = numbers
        keys = self.tensor(tensor).numpy().astype(np.uint32)
        if not 0 <= position <= 624:
            raise SavedClustererError(f"a random state has the position {position!r:.50}")
        state = np.random.RandomState(0)
        state.set_state(("MT19937", keys, position, has_gauss, cached))
        return state

    def _object(
        self, name: str, parameters: dict[str, Any], attributes: dict[str, Any] | None = None
    ) -> Any:
        if name not in KNOWN_CLASSES:
            raise SavedClustererError(f"the class {name!r:.50} is unknown to this version of skumc")
        known = KNOWN_CLASSES[name]
        unknown = set(parameters) - set(known().get_params(deep=False))
        if unknown:
            raise SavedClustererError(
                f"{name} has no parameter {sorted(unknown)[0]!r:.50} in the installed version"
            )
        built = known(**{key: self.read(value) for key, value in parameters.items()})
        for key, value in (attributes or {}).items():
            if not _ATTRIBUTE.fullmatch(key) or hasattr(known, key):
                raise SavedClustererError(f"{name} has no fitted attribute {key!r:.50}")
            setattr(built, key, self.read(value))
        return built

    def _own(self, path: str, weights: str | None = None) -> Any:
        if path not in self._parts:
            raise SavedClustererError(f"an own part {path!r:.50} is not in the list of own parts")
        value = self._parts[path]
        if weights is None or not isinstance(value, nn.Module):
            return value
        value = copy.deepcopy(value)
        load_weights(value, self.module_weights(weights), f"parts[{path!r}]")
        return value

    def module_weights(self, prefix: str) -> dict[str, Tensor]:
        """Collect the weights of a module."""
        return {
            name.removeprefix(prefix): value
            for name, value in self._tensors.items()
            if name.startswith(prefix)
        }


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Put weights in the place of those of a module, which must have the same names and shapes.

    Parameters
    ----------
    module : Module
        May be on the device "meta", without memory.
    weights : dict of str to Tensor
    what : str
        Names the module in messages.

    Raises
    ------
    SavedClustererError
        If names, shapes or dtypes differ.
    """
    expected = {n: v for n, v in module.state_dict().items() if isinstance(v, Tensor)}
    lacking, unknown = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if lacking or unknown:
        raise SavedClustererError(
            f"the saved weights are not those of {what}: it has no {unknown[:3]}, they have no "
            f"{lacking[:3]}"
        )
    for name, value in expected.items():
        saved = weights[name]
        if (saved.shape, saved.dtype) != (value.shape, value.dtype):
            raise SavedClustererError(
                f"the saved weights are not those of {what}: {name} has shape "
                f"{tuple(saved.shape)} and {saved.dtype}, expected {tuple(value.shape)} and "
                f"{value.dtype}"
            )
    is_empty = any(value.device.type == "meta" for value in expected.values())
    module.load_state_dict(dict(weights), assign=is_empty)
