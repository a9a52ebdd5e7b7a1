"""Supervised contrastive loss for taught samples."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skumc.losses._base import BaseLoss
from skumc.losses._similarity import contrast_per_anchor


class SupConLoss(BaseLoss):
    r"""Supervised contrastive loss: pull views with the same label together.

    Parameters
    ----------
    temperature : float, default=0.3
        Divisor of the cosine similarities; smaller is sharper. Must be positive.
    average : {"anchors", "samples"}, default="anchors"
        Divisor of the sum over all anchors: their number or, as printed in the source, the
        number of samples, which multiplies the loss by the number of views.

    See Also
    --------
    ContrastiveLoss : The same formula without labels.

    Notes
    -----
    With anchors :math:`i` running over every view of every sample,

    .. math::

        L = -\frac{1}{n V} \sum_i \frac{1}{|P(i)|} \sum_{p \in P(i)} \log
            \frac{\exp(s_{ip} / \tau)}{\sum_{a \neq i} \exp(s_{ia} / \tau)}

    where

    - :math:`n` is the number of samples and :math:`V` the number of views per sample;
    - :math:`P(i)` holds all other views with the anchor's label, those of its own sample
      included; an anchor without positives contributes 0 and still counts in the mean;
    - :math:`s_{ij}` is the cosine similarity, 0 for a zero vector;
    - :math:`\tau` is the temperature.

    UMC methodology, section 3.6.1. The source divides by the number of samples although it
    sums over all their views, as ``average="samples"`` does. The gradient printed there has
    a wrong sign. The formula is that of [1]_.

    References
    ----------
    .. [1] Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020.

    Examples
    --------
    >>> import torch
    >>> from skumc.losses import SupConLoss
    >>> embedding = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> loss = SupConLoss(temperature=0.2)
    >>> round(loss(embedding, torch.tensor([0, 0, 1, 1])).item(), 4)
    0.0238
    >>> round(loss(embedding, torch.tensor([0, 1, 0, 1])).item(), 4)
    4.5039
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "average": [StrOptions({"anchors", "samples"})],
    }

    def __init__(self, temperature: float = 0.3, average: str = "anchors"):
        self.temperature = temperature
        self.average = average

    def __call__(self, views: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        views : torch.Tensor of shape (n_samples, n_views, width) or (n_samples, width)
            Embeddings of the views of each sample; unit norm is not required.
        labels : torch.Tensor of shape (n_samples,)
            Integer labels; they are only compared with each other.

        Returns
        -------
        loss : torch.Tensor of shape ()
            A scalar; an empty batch gives 0 and keeps the graph.

        Raises
        ------
        TypeError
            If views are not a floating tensor or labels not an integer tensor.
        ValueError
            If a shape is not as above, the temperature is not positive and finite, or
            ``average`` is unknown.
        """
        return self._evaluate(views=views, labels=labels)

    def _compute(self, views: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        views = views[:, None] if views.ndim == 2 else views
        losses = contrast_per_anchor(views, labels, self.temperature)
        n_averaged = len(losses) if self.average == "anchors" else len(views)
        return losses.sum() / n_averaged
