"""Adaptive threshold: an S-curve adjusted to the progress of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from skumc.curriculum._bounds import SHARE, check_epoch, check_order

_TREND_DIFFERENCES = 5
_LOSS_SPAN = 3
_STABILITY_VALUES = 5
_SMALLEST_MEAN = 1e-8


def _curve_share(progress: float, rescale_phases: bool) -> float:
    """Return the share of the threshold range that the S-curve reaches at ``progress``."""
    if progress < 0.2:
        return 0.2 * (progress / 0.2 if rescale_phases else progress) ** 2
    if progress < 0.6:
        return 0.2 + 0.5 * (progress - 0.2) / 0.4
    if progress < 0.9:
        late = (progress - 0.6) / 0.3 if rescale_phases else progress - 0.6
        return 0.7 + 0.25 * math.log(1.0 + 3.0 * late) / math.log(4.0)
    return 0.95 + 0.05 * (progress - 0.9) / 0.1


def _performance_term(performances: Sequence[float]) -> float:
    """Return the adjustment for the trend of the performance, positive while it rises."""
    if len(performances) < _TREND_DIFFERENCES + 1:
        return 0.0
    recent = performances[-(_TREND_DIFFERENCES + 1) :]
    increasing = sum(later > earlier for earlier, later in pairwise(recent)) / _TREND_DIFFERENCES
    rate = abs(recent[-1] - recent[0]) / _TREND_DIFFERENCES
    if increasing > 0.7:
        if rate > 0.02:
            return 0.03
        return 0.02 if rate > 0.01 else 0.01
    if increasing < 0.3:
        return -0.02 if rate > 0.02 else -0.01
    return 0.0


def _loss_term(losses: Sequence[float]) -> float:
    """Return the adjustment for the change of the loss, positive while it falls."""
    if len(losses) < _LOSS_SPAN + 1:
        return 0.0
    change = (losses[-1] - losses[-1 - _LOSS_SPAN]) / _LOSS_SPAN
    if change < -0.01:
        return 0.015 if change < -0.05 else 0.01
    if change > 0.01:
        return -0.02 if change > 0.05 else -0.01
    return 0.0


def _variation(values: Sequence[float]) -> float:
    """Return the coefficient of variation, or 0 if the mean is too small to divide by."""
    mean = sum(values) / len(values)
    if abs(mean) < _SMALLEST_MEAN:
        return 0.0
    # Products, not powers: a float power raises OverflowError, a product gives infinity.
    variance = sum((value - mean) * (value - mean) for value in values) / len(values)
    return math.sqrt(variance) / abs(mean)


def _stability_term(performances: Sequence[float]) -> float:
    """Return the adjustment for the variation of the performance, positive while it is low."""
    if len(performances) < _STABILITY_VALUES:
        return 0.0
    variation = _variation(performances[-_STABILITY_VALUES:])
    if variation > 0.1:
        return -0.01
    return 0.005 if variation < 0.02 else 0.0


def _known_value(name: str, value: float | None) -> float | None:
    """Return ``value`` as a float, or None if it is missing or not finite."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as e:
        raise ValueError(
            f"Got {name}={value!r}, expected a number or None. Pass None while it is not known."
        ) from e
    return number if math.isfinite(number) else None


class AdaptiveThreshold(BaseEstimator):
    r"""Share of each cluster to select: an S-curve over the epochs, adjusted to training.

    Parameters
    ----------
    min_threshold : float, default=0.05
        Minimum share, also the start of the curve. Within [0, 1].
    max_threshold : float, default=0.5
        Maximum share, also the end of the curve. Within [0, 1].
    rescale_phases : bool, default=False
        Whether to stretch the first and the third phase of the curve so that it is continuous.
        The printed curve jumps at 20 % and at 90 % of the epochs.
    performance_adjustment : bool, default=True
        Whether to adjust the threshold to the trend of the performance.
    loss_adjustment : bool, default=True
        Whether to adjust the threshold to the change of the loss.
    stability_adjustment : bool, default=True
        Whether to adjust the threshold to the variation of the performance.

    Attributes
    ----------
    recent_performances_ : list of float
        Last known performances since epoch 0, oldest first, at most 6.
    recent_losses_ : list of float
        Last known losses since epoch 0, oldest first, at most 4.
    terms_ : dict of str to float
        ``base``, ``performance``, ``loss`` and ``stability`` of the last update. The threshold is
        their sum, clipped.

    See Also
    --------
    LinearThreshold : Linear growth without adaptation.
    ConstantThreshold : The same share in every epoch.

    Notes
    -----
    With :math:`p = \min(1, \text{epoch} / \text{n\_epochs})` and the bounds
    :math:`\tau_{min}` and :math:`\tau_{max}`, the curve is

    .. math::

       \tau_{base} &= \tau_{min} + (\tau_{max} - \tau_{min}) \, S(p) \\
       S(p) &= \begin{cases}
         0.2 \, p^2 & p < 0.2 \\
         0.2 + 0.5 \, (p - 0.2) / 0.4 & 0.2 \le p < 0.6 \\
         0.7 + 0.25 \, \log(1 + 3 (p - 0.6)) / \log 4 & 0.6 \le p < 0.9 \\
         0.95 + 0.05 \, (p - 0.9) / 0.1 & p \ge 0.9
       \end{cases}

    :math:`S` jumps from 0.008 to 0.2 at :math:`p = 0.2` and from 0.816 to 0.95 at
    :math:`p = 0.9`. With ``rescale_phases``, :math:`(p / 0.2)^2` replaces :math:`p^2` in the
    first line and :math:`(p - 0.6) / 0.3` replaces :math:`p - 0.6` in the third; the curve then
    passes through (0, 0), (0.2, 0.2), (0.6, 0.7), (0.9, 0.95) and (1, 1).

    Three terms are added and the sum is clipped. Each term is 0 until its window is full:

    .. math:: \tau = \max(\tau_{min}, \min(\tau_{max},
       \tau_{base} + \Delta_{perf} + \Delta_{loss} + \Delta_{stab}))

    1. Performance, from the last 6 values :math:`q`, with :math:`u` the share of their 5
       differences that are above 0 and :math:`r = |q_e - q_{e-5}| / 5`. A constant performance has
       :math:`u = 0`.

       .. math::

          \Delta_{perf} = \begin{cases}
            0.03 & u > 0.7, \; r > 0.02 \\
            0.02 & u > 0.7, \; 0.01 < r \le 0.02 \\
            0.01 & u > 0.7, \; r \le 0.01 \\
            -0.02 & u < 0.3, \; r > 0.02 \\
            -0.01 & u < 0.3, \; r \le 0.02 \\
            0 & \text{otherwise}
          \end{cases}

    2. Loss, from the last 4 values :math:`\ell`, with :math:`c = (\ell_e - \ell_{e-3}) / 3`:

       .. math::

          \Delta_{loss} = \begin{cases}
            0.015 & c < -0.05 \\
            0.01 & -0.05 \le c < -0.01 \\
            -0.02 & c > 0.05 \\
            -0.01 & 0.01 < c \le 0.05 \\
            0 & \text{otherwise}
          \end{cases}

    3. Stability, from the last 5 performances, with :math:`v` their standard deviation (divisor 5,
       not 4) over the absolute value of their mean, or 0 if that is below :math:`10^{-8}`:

       .. math::

          \Delta_{stab} = \begin{cases}
            -0.01 & v > 0.1 \\
            0.005 & v < 0.02 \\
            0 & \text{otherwise}
          \end{cases}

    UMC methodology, sections 3.5.2 to 3.5.6.

    Examples
    --------
    >>> from skumc.curriculum import AdaptiveThreshold
    >>> threshold = AdaptiveThreshold()
    >>> [round(threshold.base(epoch, 100), 3) for epoch in (0, 19, 20, 60, 89, 95, 100)]
    [0.05, 0.053, 0.14, 0.365, 0.416, 0.489, 0.5]
    >>> for epoch in range(40):
    ...     value = threshold.update(epoch, 100, performance=0.01 * epoch, loss=-0.02 * epoch)
    >>> {name: round(term, 3) for name, term in threshold.terms_.items()}
    {'base': 0.247, 'performance': 0.01, 'loss': 0.01, 'stability': 0.0}
    >>> round(value, 4)
    0.2669
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "min_threshold": SHARE,
        "max_threshold": SHARE,
        "rescale_phases": ["boolean"],
        "performance_adjustment": ["boolean"],
        "loss_adjustment": ["boolean"],
        "stability_adjustment": ["boolean"],
    }

    def __init__(
        self,
        min_threshold: float = 0.05,
        max_threshold: float = 0.5,
        *,
        rescale_phases: bool = False,
        performance_adjustment: bool = True,
        loss_adjustment: bool = True,
        stability_adjustment: bool = True,
    ):
        self.min_threshold = min_threshold
        self.max_threshold = max_threshold
        self.rescale_phases = rescale_phases
        self.performance_adjustment = performance_adjustment
        self.loss_adjustment = loss_adjustment
        self.stability_adjustment = stability_adjustment

    def base(self, epoch: int, n_epochs: int) -> float:
        """Return the value of the curve before any adjustment.

        Parameters
        ----------
        epoch : int
            Epochs done, from 0.
        n_epochs : int
            Planned number of epochs.

        Returns
        -------
        threshold : float
            Share of each cluster, within [min_threshold, max_threshold].

        Raises
        ------
        ValueError
            If a parameter is invalid, ``min_threshold`` is above ``max_threshold``, ``epoch`` is
            negative or ``n_epochs`` below 1.
        """
        self._validate_params()
        check_epoch(epoch, n_epochs)
        low, high = self._bounds()
        share = _curve_share(min(epoch / n_epochs, 1.0), self.rescale_phases)
        return low + (high - low) * share

    def update(
        self,
        epoch: int,
        n_epochs: int,
        performance: float | None = None,
        loss: float | None = None,
    ) -> float:
        """Record the results of the last epoch and return the threshold of this epoch.

        Parameters
        ----------
        epoch : int
            Epochs done, from 0. Epoch 0 first discards all earlier values.
        n_epochs : int
            Planned number of epochs.
        performance : float or None, default=None
            Latest value of the monitor, larger is better. None, NaN and infinity mean that it is
            not known; they are not recorded.
        loss : float or None, default=None
            Latest mean loss, smaller is better. None, NaN and infinity as above.

        Returns
        -------
        threshold : float
            Share of each cluster to select, within [min_threshold, max_threshold].

        Raises
        ------
        ValueError
            If a parameter is invalid, ``min_threshold`` is above ``max_threshold``, ``epoch`` is
            negative, ``n_epochs`` below 1, or ``performance`` or ``loss`` is not a number.
        """
        base = self.base(epoch, n_epochs)
        low, high = self._bounds()
        self._record(epoch, _known_value("performance", performance), _known_value("loss", loss))
        performances, losses = self.recent_performances_, self.recent_losses_
        self.terms_ = {
            "base": base,
            "performance": _performance_term(performances) if self.performance_adjustment else 0.0,
            "loss": _loss_term(losses) if self.loss_adjustment else 0.0,
            "stability": _stability_term(performances) if self.stability_adjustment else 0.0,
        }
        return max(low, min(high, sum(self.terms_.values())))

    def _record(self, epoch: int, performance: float | None, loss: float | None) -> None:
        """Append the known values and keep as many as the longest window needs."""
        if epoch == 0 or not hasattr(self, "recent_performances_"):
            self.recent_performances_: list[float] = []
            self.recent_losses_: list[float] = []
        if performance is not None:
            recent = [*self.recent_performances_, performance]
            self.recent_performances_ = recent[-(_TREND_DIFFERENCES + 1) :]
        if loss is not None:
            self.recent_losses_ = [*self.recent_losses_, loss][-(_LOSS_SPAN + 1) :]

    def _bounds(self) -> tuple[float, float]:
        """Return both bounds as floats."""
        low, high = float(self.min_threshold), float(self.max_threshold)
        check_order("min_threshold", low, "max_threshold", high)
        return low, high
