"""Curriculum: how large a share of each cluster to trust, and which samples that share is."""

from ._adaptive import AdaptiveThreshold
from ._centroid import CentroidSelector
from ._density import DensitySelector
from ._random import RandomSelector
from ._schedules import ConstantThreshold, LinearThreshold

__all__ = [
    "AdaptiveThreshold",
    "CentroidSelector",
    "ConstantThreshold",
    "DensitySelector",
    "LinearThreshold",
    "RandomSelector",
]
