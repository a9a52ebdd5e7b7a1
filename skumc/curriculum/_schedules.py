"""Thresholds that follow a plan and do not adapt."""

from __future__ import annotations

import math
from numbers import Real

from sklearn.base import BaseEstimator

from skumc.curriculum._checks import check_epoch, check_fraction, check_order


def _planned_terms(base: float) -> dict[str, float]:
    """Give the terms of a threshold that has no adjustments."""
    return {"base": base, "performance": 0.0, "loss": 0.0, "stability": 0.0}


class LinearThreshold(BaseEstimator):
    """Share of each cluster to select, growing by the same step in each epoch.

    Parameters
    ----------
    start : float, default=0.1
        Share in epoch 0, within [0, 1].
    step : float, default=0.05
        What each epoch adds, 0 or more.
    max_threshold : float, default=1.0
        Largest share, within [0, 1].

    Attributes
    ----------
    terms_ : dict of str to float
        The last update's ``base``, ``performance``, ``loss`` and ``stability``; all but ``base``
        are 0. Their sum, clipped, is the threshold.

    See Also
    --------
    AdaptiveThreshold : An S-curve that reacts to training.
    ConstantThreshold : The same share in each epoch.

    Notes
    -----
    The threshold is min(start + step * epoch, max_threshold), whatever the number of epochs. The
    defaults are those of the published UMC (H. Zhang et al., "Unsupervised Multimodal Clustering
    for Semantics Discovery in Multimodal Utterances", ACL 2024).

    Examples
    --------
    >>> from skumc.curriculum import LinearThreshold
    >>> threshold = LinearThreshold()
    >>> [round(threshold.update(epoch, 20), 2) for epoch in (0, 1, 10, 19)]
    [0.1, 0.15, 0.6, 1.0]
    """

    def __init__(self, start: float = 0.1, step: float = 0.05, max_threshold: float = 1.0):
        self.start = start
        self.step = step
        self.max_threshold = max_threshold

    def update(
        self,
        epoch: int,
        n_epochs: int,
        performance: float | None = None,
        loss: float | None = None,
    ) -> float:
        """Return this epoch's threshold.

        Parameters
        ----------
        epoch : int
            Epochs done, from 0.
        n_epochs : int
            Planned number of epochs; checked, otherwise not used.
        performance : float or None, default=None
            Not used, present for the common contract.
        loss : float or None, default=None
            Not used, present for the common contract.

        Returns
        -------
        threshold : float
            Share of each cluster to select, within [start, max_threshold].

        Raises
        ------
        ValueError
            If ``start`` or ``max_threshold`` lies outside [0, 1], ``start`` is above
            ``max_threshold``, ``step`` is negative or not finite, ``epoch`` is negative or
            ``n_epochs`` below 1.
        """
        del performance, loss
        check_epoch(epoch, n_epochs)
        start = check_fraction("start", self.start)
        highest = check_fraction("max_threshold", self.max_threshold)
        check_order("start", start, "max_threshold", highest)
        if not isinstance(self.step, Real) or not math.isfinite(self.step) or self.step < 0:
            raise ValueError(
                f"Got step={self.step!r}, expected a finite number >= 0. "
                "Use step=0 for a threshold that stays at start."
            )
        self.terms_ = _planned_terms(start + float(self.step) * epoch)
        return min(highest, sum(self.terms_.values()))


class ConstantThreshold(BaseEstimator):
    """The same share of each cluster in each epoch.

    Parameters
    ----------
    value : float, default=0.5
        Share of each cluster, within [0, 1].

    Attributes
    ----------
    terms_ : dict of str to float
        The last update's ``base``, ``performance``, ``loss`` and ``stability``; all but ``base``
        are 0. Their sum is the threshold.

    See Also
    --------
    AdaptiveThreshold : An S-curve that reacts to training.
    LinearThreshold : Equal steps, no adaptation.

    Examples
    --------
    >>> from skumc.curriculum import ConstantThreshold
    >>> ConstantThreshold(0.3).update(7, 10)
    0.3
    """

    def __init__(self, value: float = 0.5):
        self.value = value

    def update(
        self,
        epoch: int,
        n_epochs: int,
        performance: float | None = None,
        loss: float | None = None,
    ) -> float:
        """Return the threshold.

        Parameters
        ----------
        epoch : int
            Epochs done, from 0; checked, otherwise not used.
        n_epochs : int
            Planned number of epochs; checked, otherwise not used.
        performance : float or None, default=None
            Not used, present for the common contract.
        loss : float or None, default=None
            Not used, present for the common contract.

        Returns
        -------
        threshold : float
            Share of each cluster to select.

        Raises
        ------
        ValueError
            If ``value`` lies outside [0, 1], ``epoch`` is negative or ``n_epochs`` below 1.
        """
        del performance, loss
        check_epoch(epoch, n_epochs)
        self.terms_ = _planned_terms(check_fraction("value", self.value))
        return self.terms_["base"]
