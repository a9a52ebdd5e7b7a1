"""Push the centers of different clusters apart."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval

from skumc.losses._base import BaseLoss
from skumc.losses._tensors import zero_with_graph


class SeparationLoss(BaseLoss):
    r"""Squared hinge on the distance between each pair of centers.

    Parameters
    ----------
    margin : float, default=0.8
        Distance from which a pair of centers contributes 0. Must not be negative.

    See Also
    --------
    batch_centers : Centers through which the loss moves the encoder.

    Notes
    -----
    .. math::

        L = \frac{1}{K (K - 1)} \sum_{k=1}^{K} \sum_{l \neq k}
            \max(0, \delta - \|c_k - c_l\|_2)^2

    where

    - :math:`c_k` is the center of cluster :math:`k` of :math:`K`;
    - :math:`\delta` is the margin.

    UMC methodology, section 3.6.4. Fewer than two centers give 0. Two coinciding centers
    have no direction apart: they contribute the square of the margin, with gradient 0 for this
    pair.

    Examples
    --------
    >>> import torch
    >>> from skumc.losses import SeparationLoss
    >>> centers = torch.tensor([[0.0, 0.0], [0.3, 0.0], [5.0, 0.0]])
    >>> round(SeparationLoss()(centers).item(), 4)  # 2 * 0.5 ** 2 / 6
    0.0833
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "margin": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, margin: float = 0.8):
        self.margin = margin

    def __call__(self, centers: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a set of centers.

        Parameters
        ----------
        centers : torch.Tensor of shape (n_clusters, width)
            One center per cluster.

        Returns
        -------
        loss : torch.Tensor of shape ()
            A scalar; fewer than two centers give 0 and keep the graph.

        Raises
        ------
        TypeError
            If centers are not a floating tensor.
        ValueError
            If the shape is not as above or the margin is negative or not finite.
        """
        return self._evaluate(centers=centers)

    def _compute(self, centers: torch.Tensor) -> torch.Tensor:
        n_clusters = len(centers)
        if n_clusters < 2:
            return zero_with_graph(centers)
        # By a matrix product, the distance of close centers would be lost to rounding.
        mode = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(centers, centers, compute_mode=mode)
        shortfall = (self.margin - distances).relu().square()
        is_self = torch.eye(n_clusters, dtype=torch.bool, device=centers.device)
        return shortfall.masked_fill(is_self, 0.0).sum() / (n_clusters * (n_clusters - 1))
