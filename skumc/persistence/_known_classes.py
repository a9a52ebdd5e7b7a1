"""The classes that a saved clusterer may name; loading builds no other."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans, MiniBatchKMeans

from skumc.curriculum import (
    AdaptiveThreshold,
    CentroidSelector,
    ConstantThreshold,
    DensitySelector,
    LinearThreshold,
    RandomSelector,
)
from skumc.encoders import CausalEncoder, ProjectionEncoder, UMCEncoder
from skumc.losses import (
    CompactnessLoss,
    ContrastiveLoss,
    InfoNCELoss,
    SeparationLoss,
    SupConLoss,
    WeightedLosses,
)
from skumc.neighbors import NeighborGraph, NoNeighborGraph
from skumc.pairs import (
    DisjointPairs,
    DropoutPairs,
    FramePairs,
    ModalityPairs,
    NeighborPairs,
    NoisePairs,
)
from skumc.pseudo_labels import PropagatedLabels, SelectedLabels
from skumc.training import (
    GradientNorms,
    MemoryEstimate,
    ModularityMonitor,
    Optimization,
    ProgressLines,
    SilhouetteMonitor,
)

_CLASSES: tuple[type[BaseEstimator], ...] = (
    AdaptiveThreshold, CentroidSelector, ConstantThreshold, DensitySelector, LinearThreshold,
    RandomSelector, CausalEncoder, ProjectionEncoder, UMCEncoder, CompactnessLoss,
    ContrastiveLoss, InfoNCELoss, SeparationLoss, SupConLoss, WeightedLosses, NeighborGraph,
    NoNeighborGraph, DisjointPairs, DropoutPairs, FramePairs, ModalityPairs, NeighborPairs,
    NoisePairs, PropagatedLabels, SelectedLabels, GradientNorms, MemoryEstimate,
    ModularityMonitor, Optimization, ProgressLines, SilhouetteMonitor, KMeans, MiniBatchKMeans,
)  # fmt: skip

KNOWN_CLASSES: dict[str, type[BaseEstimator]] = {known.__name__: known for known in _CLASSES}


def is_known(value: Any) -> bool:
    """Whether an object is an instance of a known class itself, not of a subclass."""
    return KNOWN_CLASSES.get(type(value).__name__) is type(value)
