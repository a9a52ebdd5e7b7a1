"""What swappable parts gave, and whether there is enough to cluster."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_SAME_POINT = 1e-10  # squared distance of unit vectors under which they count as one


def check_distinct(embedding: np.ndarray, n_clusters: int) -> None:
    """Refuse an embedding with fewer different points than clusters.

    Goes from each point to the one farthest from all before; ends when that one is no other.
    """
    nearest = np.full(len(embedding), np.inf)
    row = 0
    for n_found in range(1, n_clusters + 1):
        squared = np.square(embedding - embedding[row]).sum(axis=1)
        nearest = np.minimum(nearest, squared)
        row = int(nearest.argmax())
        if nearest[row] < _SAME_POINT and n_found < n_clusters:
            raise ValueError(
                f"Got n_clusters={n_clusters}, but X has only {n_found} distinct sample(s) as the "
                "encoder sees them. Choose a smaller n_clusters."
            )


def finite_number(part: str, value: Any, epoch: int) -> float:
    """The number that a part gave."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"The {part} gave {value!r} in epoch {epoch}, expected a finite number. Check {part}=, "
            "or leave it at None for the default."
        )
    return number


def checked_mask(selected: Any, n_samples: int) -> np.ndarray:
    """The mask that a selector gave."""
    mask = np.asarray(selected)
    if mask.shape != (n_samples,) or mask.dtype != bool:
        raise ValueError(
            f"The selector gave {mask.dtype} of shape {mask.shape}, expected bool of shape "
            f"({n_samples},). Check selector=, or leave it at None for the default."
        )
    return mask
