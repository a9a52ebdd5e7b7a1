"""Losses of training: contrast between views, and the shape of the clusters."""

from skumc.losses._base import BaseLoss
from skumc.losses._centers import batch_centers
from skumc.losses._compactness import CompactnessLoss
from skumc.losses._contrastive import ContrastiveLoss, InfoNCELoss
from skumc.losses._roles import ROLES, Role, role_of
from skumc.losses._separation import SeparationLoss
from skumc.losses._supcon import SupConLoss
from skumc.losses._weighted import WeightedLosses

__all__ = [
    "ROLES",
    "BaseLoss",
    "CompactnessLoss",
    "ContrastiveLoss",
    "InfoNCELoss",
    "Role",
    "SeparationLoss",
    "SupConLoss",
    "WeightedLosses",
    "batch_centers",
    "role_of",
]
