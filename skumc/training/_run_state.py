"""All that changes while training runs, taken at the end of an epoch and put back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from skumc.training._best import BestEpoch
from skumc.training._optimization import Stepper
from skumc.training._plain_values import copied, is_plain
from skumc.training._settings import TrainingParts
from skumc.training._state import TrainingState

_PARTS = ("threshold", "selector", "kmeans", "monitor", "pairs", "neighbors", "pseudo_labels")
_CLUSTERING = ("embedding", "gates", "labels", "centers", "selected", "taught", "read_centers")


@dataclass
class Progress:
    """Position in a training run.

    Attributes
    ----------
    phase : str
        Phase in training.
    epoch : int
        Next epoch of the phase.
    n_iter : int
        Number of main epochs that trained.
    n_without_gain : int
        Number of epochs since the last improvement of the monitor.
    is_stopped : bool
        Whether a callback has ended training.
    ends : bool
        Whether the phase is over.
    is_slowed : bool
        Whether the learning rate has been halved.
    n_pieces : int
        Number of pieces into which a batch is cut.

    Examples
    --------
    >>> Progress().n_pieces
    1
    """

    phase: str = "start"
    epoch: int = 0
    n_iter: int = 0
    n_without_gain: int = 0
    is_stopped: bool = False
    ends: bool = False
    is_slowed: bool = False
    n_pieces: int = 1


class RunState:
    """State of a training run as one dict.

    Parameters
    ----------
    model : Module
        Encoder and losses with parameters.
    parts : TrainingParts
    state : TrainingState
    best : BestEpoch
    progress : Progress
    rng : RandomState
    """

    def __init__(
        self,
        model: nn.Module,
        parts: TrainingParts,
        state: TrainingState,
        best: BestEpoch,
        progress: Progress,
        rng: np.random.RandomState,
    ) -> None:
        self.progress, self.state = progress, state
        self._model, self._best, self._rng = model, best, rng
        self._holders = {name: getattr(parts, name) for name in _PARTS}
        self._holders |= {
            f"losses {role}": loss
            for role, (_, loss) in parts.losses.items()
            if not isinstance(loss, nn.Module)
        }

    def take(self, stepper: Stepper) -> dict[str, Any]:
        """Copy the state; arrays that training replaces, and never changes, are not copied."""
        state = self.state
        return {
            "progress": asdict(self.progress),
            "model": copied(self._model.state_dict()),
            "stepper": copied(stepper.state()),
            "random": {"numpy": copied(self._rng), "torch": _random_numbers(state)},
            "history": list(state.history),
            "best": self._best.state(state.history),
            "clustering": {name: getattr(state, name) for name in _CLUSTERING},
            "parts": {name: _state_of_part(part) for name, part in self._holders.items()},
        }

    def restore(self, saved: dict[str, Any], stepper: Stepper) -> None:
        """Put a state back; ``saved`` stays as it is."""
        state = self.state
        vars(self.progress).update(saved["progress"])
        self._model.load_state_dict(saved["model"])
        stepper.load_state(copied(saved["stepper"]))
        self._rng.set_state(saved["random"]["numpy"].get_state(legacy=False))
        _set_random_numbers(state, saved["random"]["torch"])
        state.history[:] = saved["history"]
        self._best.load_state(saved["best"], state.history)
        for name in _CLUSTERING:
            setattr(state, name, saved["clustering"][name])
        for name, part in self._holders.items():
            _restore_part(part, copied(saved["parts"][name]))


def _random_numbers(state: TrainingState) -> dict[str, Any]:
    device = state.settings.device
    numbers = {"cpu": torch.random.get_rng_state()}
    if device.type == "cuda":
        numbers["cuda"] = torch.cuda.get_rng_state(device)
    return numbers


def _set_random_numbers(state: TrainingState, numbers: dict[str, Any]) -> None:
    torch.random.set_rng_state(numbers["cpu"])
    if state.settings.device.type == "cuda":
        torch.cuda.set_rng_state(numbers["cuda"], state.settings.device)


def _has_state_dict(part: Any) -> bool:
    names = ("state_dict", "load_state_dict")
    return all(callable(getattr(part, name, None)) for name in names)


def _attributes(part: Any) -> dict[str, Any]:
    """Return the attributes that training may change: of a part of ours those that it names."""
    own = getattr(part, "__dict__", {})
    names = getattr(part, "_changes_in_training", own)
    return {name: own[name] for name in names if name in own and is_plain(own[name])}


def _state_of_part(part: Any) -> dict[str, Any]:
    """Take what ``state_dict`` returns, otherwise the attributes that are plain values."""
    return copied(part.state_dict() if _has_state_dict(part) else _attributes(part))


def _restore_part(part: Any, saved: dict[str, Any]) -> None:
    if _has_state_dict(part):
        part.load_state_dict(saved)
        return
    for name in _attributes(part).keys() - saved.keys():
        delattr(part, name)  # set since
    for name, value in saved.items():
        setattr(part, name, value)
