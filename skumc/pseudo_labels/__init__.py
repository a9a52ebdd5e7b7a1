"""Pseudo-labels: which samples the supervised losses train on, and their labels."""

from skumc.pseudo_labels._base import PseudoLabels, label_means
from skumc.pseudo_labels._propagated import PropagatedLabels
from skumc.pseudo_labels._selected import SelectedLabels

__all__ = ["PropagatedLabels", "PseudoLabels", "SelectedLabels", "label_means"]
