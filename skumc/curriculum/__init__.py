"""Curriculum: the share of each cluster to select, and the samples in that share."""

from skumc.curriculum._adaptive import AdaptiveThreshold
from skumc.curriculum._centroid import CentroidSelector
from skumc.curriculum._density import DensitySelector
from skumc.curriculum._random import RandomSelector
from skumc.curriculum._schedules import ConstantThreshold, LinearThreshold

__all__ = [
    "AdaptiveThreshold",
    "CentroidSelector",
    "ConstantThreshold",
    "DensitySelector",
    "LinearThreshold",
    "RandomSelector",
]
