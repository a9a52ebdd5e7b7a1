"""Validate the return values of parts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from skumc.encoders import EncoderOutput
from skumc.pseudo_labels import PseudoLabels

_SAME_POINT = 1e-10  # squared distance of unit vectors under which they count as one


def count_distinct(embedding: np.ndarray, n_clusters: int) -> int:
    """Count the distinct points of an embedding, up to ``n_clusters``.

    A farthest-point traversal, which ends where the farthest point equals an earlier one.
    """
    nearest = np.full(len(embedding), np.inf)
    row = 0
    for n_found in range(1, n_clusters):
        squared = np.square(embedding - embedding[row]).sum(axis=1)
        nearest = np.minimum(nearest, squared)
        row = int(nearest.argmax())
        if nearest[row] < _SAME_POINT:
            return n_found
    return n_clusters


def check_distinct(embedding: np.ndarray, n_clusters: int) -> None:
    """Raise ValueError for an embedding with fewer distinct points than clusters."""
    n_found = count_distinct(embedding, n_clusters)
    if n_found < n_clusters:
        raise ValueError(
            f"Got n_clusters={n_clusters}, but X has only {n_found} distinct sample(s) "
            "after encoding. Choose a smaller n_clusters."
        )


def finite_number(part: str, value: Any, epoch: int) -> float:
    """Return the number that a part returned."""
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
    """Return the mask that a selector returned."""
    mask = np.asarray(selected)
    if mask.shape != (n_samples,) or mask.dtype != bool:
        raise ValueError(
            f"The selector gave {mask.dtype} of shape {mask.shape}, expected bool of shape "
            f"({n_samples},). Check selector=, or leave it at None for the default."
        )
    return mask


def checked_pseudo_labels(found: Any, centers: np.ndarray, n_samples: int) -> PseudoLabels:
    """Return the labels, the mask and the centers that pseudo-labels returned."""
    remedy = "Check pseudo_labels=, or leave it at None for the default."
    if not isinstance(found, tuple) or len(found) != 3:
        raise ValueError(
            f"The pseudo-labels gave {type(found).__name__}, expected PseudoLabels(labels, taught, "
            f"centers). {remedy}"
        )
    labels, taught, moved = map(np.asarray, found)
    n_clusters = len(centers)
    if (
        labels.shape != (n_samples,)
        or labels.dtype.kind not in "iu"
        or (n_samples and not 0 <= labels.min() <= labels.max() < n_clusters)
    ):
        raise ValueError(
            f"The pseudo-labels gave labels of type {labels.dtype} and shape {labels.shape}, "
            f"expected ({n_samples},) whole numbers from 0 to {n_clusters - 1}. {remedy}"
        )
    if taught.shape != (n_samples,) or taught.dtype != bool:
        raise ValueError(
            f"The pseudo-labels gave taught of type {taught.dtype} and shape {taught.shape}, "
            f"expected bool of shape ({n_samples},). {remedy}"
        )
    if moved.shape != centers.shape or not np.isfinite(moved).all():
        raise ValueError(
            f"The pseudo-labels gave centers of shape {moved.shape}, expected finite numbers of "
            f"shape {centers.shape}. {remedy}"
        )
    return PseudoLabels(labels, taught, moved.astype(centers.dtype, copy=False))


def checked_pairs(outputs: Any) -> list[EncoderOutput]:
    """Return the views that positive pairs returned."""
    views = list(outputs) if isinstance(outputs, list | tuple) else []
    sizes = {len(view.embedding) for view in views if isinstance(view, EncoderOutput)}
    if len(views) < 2 or len(sizes) != 1:
        raise TypeError(
            f"The pairs gave {type(outputs).__name__} from encode(), expected a list of at least "
            "two EncoderOutput of the same length. Check pairs=, or leave it at None for the "
            "default."
        )
    return views
