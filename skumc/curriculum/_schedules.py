"""Thresholds that follow a fixed schedule."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from skumc.curriculum._bounds import SHARE, check_epoch, check_order


def _scheduled_terms(base: float) -> dict[str, float]:
    """Return the terms of a threshold without adjustments."""
    return {"base": base, "performance": 0.0, "loss": 0.0, "stability": 0.0}


class LinearThreshold(BaseEstimator):
    """Share of each cluster to select, growing linearly with the epochs.

    Parameters
    ----------
    start : float, default=0.1
        Share in epoch 0, within [0, 1].
    step : float, default=0.05
        Increase per epoch, 0 or more.
    max_threshold : float, default=1.0
        Maximum share, within [0, 1].

    Attributes
    ----------
    terms_ : dict of str to float
        ``base``, ``performance``, ``loss`` and ``stability`` of the last update; all but ``base``
        are 0. The threshold is their sum, clipped.

    See Also
    --------
    AdaptiveThreshold : An S-curve that adapts to training.
    ConstantThreshold : The same share in every epoch.

    Notes
    -----
    The threshold is min(start + step * epoch, max_threshold), whatever the number of epochs. The
    defaults are those of the published UMC code (H. Zhang et al., "Unsupervised Multimodal
    Clustering for Semantics Discovery in Multimodal Utterances", ACL 2024).

    Examples
    --------
    >>> from skumc.curriculum import LinearThreshold
    >>> threshold = LinearThreshold()
    >>> [round(threshold.update(epoch, 20), 2) for epoch in (0, 1, 10, 19)]
    [0.1, 0.15, 0.6, 1.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "start": SHARE,
        "step": [Interval(Real, 0, None, closed="left")],
        "max_threshold": SHARE,
    }

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
        """Return the threshold of an epoch.

        Parameters
        ----------
        epoch : int
            Epochs done, from 0.
        n_epochs : int
            Planned number of epochs; checked, but otherwise unused.
        performance : float or None, default=None
            Not used, present for API consistency.
        loss : float or None, default=None
            Not used, present for API consistency.

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
        self._validate_params()
        check_epoch(epoch, n_epochs)
        start, highest = float(self.start), float(self.max_threshold)
        check_order("start", start, "max_threshold", highest)
        self.terms_ = _scheduled_terms(start + float(self.step) * epoch)
        return min(highest, sum(self.terms_.values()))


class ConstantThreshold(BaseEstimator):
    """Share of each cluster to select, the same in every epoch.

    Parameters
    ----------
    value : float, default=0.5
        Share of each cluster, within [0, 1].

    Attributes
    ----------
    terms_ : dict of str to float
        ``base``, ``performance``, ``loss`` and ``stability`` of the last update; all but ``base``
        are 0. The threshold is their sum.

    See Also
    --------
    AdaptiveThreshold : An S-curve that adapts to training.
    LinearThreshold : Linear growth without adaptation.

    Examples
    --------
    >>> from skumc.curriculum import ConstantThreshold
    >>> ConstantThreshold(0.3).update(7, 10)
    0.3
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"value": SHARE}

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
            Epochs done, from 0; checked, but otherwise unused.
        n_epochs : int
            Planned number of epochs; checked, but otherwise unused.
        performance : float or None, default=None
            Not used, present for API consistency.
        loss : float or None, default=None
            Not used, present for API consistency.

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
        self._validate_params()
        check_epoch(epoch, n_epochs)
        self.terms_ = _scheduled_terms(float(self.value))
        return self.terms_["base"]
