"""The best epoch so far."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from skumc.training._state import TrainingState

_KEPT = ("highest", "centers", "selected", "labels", "gates", "_weights")


class BestEpoch:
    """Keep the record, the centers and the weights of the epoch with the highest monitor.

    Parameters
    ----------
    tolerance : float, default=0.0
        A later epoch is kept if its monitor is less than this below the highest.

    Attributes
    ----------
    highest : float
        Highest monitor so far.
    least : float
        Epochs with a lower monitor are not kept.
    record : dict or None
        Record of the epoch; None before the first.
    centers : ndarray of shape (n_clusters, n_components)
        Its centers.
    selected : ndarray of bool, shape (n_samples,)
        Samples that were selected.
    labels : ndarray of int, shape (n_samples,)
        Its labels.
    gates : ndarray of shape (n_samples, n_modalities)
        Its gates.
    """

    record: dict[str, Any] | None = None
    highest: float = -math.inf
    least: float = -math.inf
    centers: np.ndarray
    selected: np.ndarray
    labels: np.ndarray
    gates: np.ndarray

    def __init__(self, tolerance: float = 0.0) -> None:
        self._tolerance = tolerance

    def keep_if_better(
        self, model: nn.Module, record: dict[str, Any], state: TrainingState
    ) -> bool:
        """Keep an epoch that the monitor scores higher than all before; tell whether it is.

        With a tolerance an epoch is also kept that scores less than that below the highest.
        """
        score = record["monitor"]
        if score < self.least:
            return False
        if score <= self.highest and not score > self.highest - self._tolerance:
            return False
        self.highest = max(score, self.highest)
        assert state.centers is not None and state.selected is not None
        assert state.labels is not None and state.gates is not None
        self.labels, self.gates = state.labels.copy(), state.gates
        self.record = record
        self.centers, self.selected = state.centers.copy(), state.selected.copy()
        self._weights: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in model.state_dict().items()
        }
        return True

    def state(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what is kept, with the place of its record in the history."""
        if self.record is None:
            return {"place": None}
        place = next(n for n, record in enumerate(history) if record is self.record)
        return {"place": place} | {name: getattr(self, name) for name in _KEPT}

    def load_state(self, saved: dict[str, Any], history: list[dict[str, Any]]) -> None:
        """Take over what :meth:`state` returned."""
        for name, value in saved.items():
            if name != "place":
                setattr(self, name, value)
        place = saved["place"]
        self.record = None if place is None else history[place]
        if place is None:
            self.highest = -math.inf

    def encoder_weights(self) -> dict[str, Tensor]:
        """Return the weights of the encoder, without those of losses."""
        prefix = "encoder."
        kept = {name: value for name, value in self._weights.items() if name.startswith(prefix)}
        return {name.removeprefix(prefix): value for name, value in kept.items()}

    def restore(self, model: nn.Module) -> None:
        """Load the weights into a model and mark the record."""
        assert self.record is not None
        model.load_state_dict(self._weights)
        model.eval()
        self.record["restored"] = True
