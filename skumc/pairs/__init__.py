"""Positive pairs for the contrastive losses, and the views of the supervised one."""

from skumc.pairs._base import BasePairs
from skumc.pairs._modality_pairs import DisjointPairs, ModalityPairs
from skumc.pairs._neighbor_pairs import NeighborPairs
from skumc.pairs._perturbed_pairs import DropoutPairs, FramePairs, NoisePairs
from skumc.pairs._views import leave_one_out_views, supervised_views

__all__ = [
    "BasePairs",
    "DisjointPairs",
    "DropoutPairs",
    "FramePairs",
    "ModalityPairs",
    "NeighborPairs",
    "NoisePairs",
    "leave_one_out_views",
    "supervised_views",
]
