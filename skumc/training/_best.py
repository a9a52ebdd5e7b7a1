"""The best epoch so far."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from skumc.training._state import TrainingState


class BestEpoch:
    """Keep the record, the centers and the weights of the epoch with the highest monitor.

    Attributes
    ----------
    record : dict or None
        Record of the epoch; None before the first.
    centers : ndarray of shape (n_clusters, n_components)
        Its centers.
    selected : ndarray of bool, shape (n_samples,)
        Samples that were selected.
    """

    record: dict[str, Any] | None = None
    centers: np.ndarray
    selected: np.ndarray

    def keep_if_better(
        self, model: nn.Module, record: dict[str, Any], state: TrainingState
    ) -> bool:
        """Keep an epoch that the monitor scores higher than all before; tell whether it is."""
        if self.record is not None and record["monitor"] <= self.record["monitor"]:
            return False
        assert state.centers is not None and state.selected is not None
        self.record = record
        self.centers, self.selected = state.centers.copy(), state.selected.copy()
        self._weights: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in model.state_dict().items()
        }
        return True

    def restore(self, model: nn.Module) -> None:
        """Load the weights into a model and mark the record."""
        assert self.record is not None
        model.load_state_dict(self._weights)
        model.eval()
        self.record["restored"] = True
