"""Pseudo-labels of the selected samples only."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from skumc.pseudo_labels._base import PseudoLabels


class SelectedLabels(BaseEstimator):
    """Teach only the selected samples, with their k-means labels.

    Notes
    -----
    Section 3.5.9.2 of the UMC methodology.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(pseudo_labels="selected").pseudo_labels
    'selected'
    """

    def label(self, state: Any) -> PseudoLabels:
        """Label the samples of an epoch.

        Parameters
        ----------
        state : TrainingState
            With ``labels`` and ``centers`` from k-means and the mask ``selected``.

        Returns
        -------
        PseudoLabels
        """
        return PseudoLabels(state.labels, state.selected, state.centers)
