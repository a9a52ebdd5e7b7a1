"""Pull taught samples to the center of their cluster."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval

from skumc.losses._base import BaseLoss


class CompactnessLoss(BaseLoss):
    r"""Squared hinge on the squared distance between each sample and its center.

    Parameters
    ----------
    margin : float, default=0.3
        Squared distance up to which a sample contributes 0. Must not be negative.

    See Also
    --------
    batch_centers : Centers through which the loss moves the encoder, too.

    Notes
    -----
    .. math::

        L = \frac{1}{n} \sum_{i=1}^{n} \max(0, \|h_i - c_{y_i}\|_2^2 - \delta)^2

    where

    - :math:`h_i` is the embedding of sample :math:`i` of :math:`n`;
    - :math:`c_{y_i}` is the center of the cluster of its label :math:`y_i`;
    - :math:`\delta` is the margin.

    UMC methodology, section 3.6.3.

    Examples
    --------
    >>> import torch
    >>> from skumc.losses import CompactnessLoss
    >>> embedding = torch.tensor([[1.0, 0.0], [0.1, 0.0]])
    >>> loss = CompactnessLoss()(embedding, torch.tensor([0, 0]), torch.zeros(1, 2))
    >>> round(loss.item(), 4)  # (0.7 ** 2 + 0) / 2
    0.245
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "margin": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, margin: float = 0.3):
        self.margin = margin

    def __call__(
        self, embedding: torch.Tensor, labels: torch.Tensor, centers: torch.Tensor
    ) -> torch.Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        embedding : torch.Tensor of shape (n_samples, width)
            Embedding of the samples.
        labels : torch.Tensor of shape (n_samples,)
            Row of each sample's center in ``centers``.
        centers : torch.Tensor of shape (n_clusters, width)
            One center per cluster.

        Returns
        -------
        loss : torch.Tensor of shape ()
            A scalar; an empty batch gives 0 and keeps the graph.

        Raises
        ------
        TypeError
            If embedding or centers are not floating tensors or labels not an integer tensor.
        ValueError
            If a shape is not as above, a label is not a row of the centers, or the margin is
            negative or not finite.
        """
        return self._evaluate(embedding=embedding, labels=labels, centers=centers)

    def _compute(
        self, embedding: torch.Tensor, labels: torch.Tensor, centers: torch.Tensor
    ) -> torch.Tensor:
        # Not centers[labels]: its gradient is summed in an order that changes between runs.
        own_centers = torch.nn.functional.embedding(labels, centers)
        squared_distances = (embedding - own_centers).square().sum(dim=-1)
        return (squared_distances - self.margin).relu().square().mean()
