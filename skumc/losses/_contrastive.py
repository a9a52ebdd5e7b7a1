"""Contrastive losses without labels, for pretraining and for samples that are not taught."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval

from skumc.losses._base import BaseLoss
from skumc.losses._similarity import contrast_per_anchor
from skumc.losses._tensors import zero_with_graph


class InfoNCELoss(BaseLoss):
    r"""Unlabeled contrastive loss: pull the views of each sample together.

    The loss of pretraining. The positives of a view are the other views of its sample; all
    views of other samples are negatives.

    Parameters
    ----------
    temperature : float, default=0.3
        Divisor of the cosine similarities; smaller is sharper. Must be positive.

    See Also
    --------
    ContrastiveLoss : The same formula with the temperature of the main phase.
    SupConLoss : The same formula with labels.

    Notes
    -----
    With anchors :math:`i` running over every view of every sample,

    .. math::

        L = -\frac{1}{n V} \sum_i \frac{1}{V - 1} \sum_{p \in P(i)} \log
            \frac{\exp(s_{ip} / \tau)}{\sum_{a \neq i} \exp(s_{ia} / \tau)}

    where

    - :math:`n` is the number of samples and :math:`V \geq 2` the number of views per sample;
    - :math:`P(i)` holds the :math:`V - 1` other views of the anchor's sample;
    - :math:`s_{ij}` is the cosine similarity, 0 for a zero vector;
    - :math:`\tau` is the temperature.

    UMC methodology, sections 3.6.2 and 3.7.1. The sum in the denominator runs over all other
    views, the positive included; the printed one leaves the positive out, and the loss could be
    negative. A single sample has no negatives and gives exactly 0.

    Examples
    --------
    >>> import torch
    >>> from skumc.losses import InfoNCELoss
    >>> views = torch.tensor([[[1.0, 0.0], [1.0, 0.1]], [[0.0, 1.0], [0.1, 1.0]]])
    >>> round(InfoNCELoss()(views).item(), 4)
    0.0986
    >>> InfoNCELoss()(views[:1]).item()
    0.0
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }
    _min_views: ClassVar[int] = 2

    def __init__(self, temperature: float = 0.3):
        self.temperature = temperature

    def __call__(self, views: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        views : torch.Tensor of shape (n_samples, n_views, width)
            Embeddings of at least two views per sample; unit norm is not required.

        Returns
        -------
        loss : torch.Tensor of shape ()
            A scalar; an empty batch and a single sample give 0 and keep the graph.

        Raises
        ------
        TypeError
            If views are not a floating tensor.
        ValueError
            If the shape is not as above or the temperature is not positive and finite.
        """
        return self._evaluate(views=views)

    def _compute(self, views: torch.Tensor) -> torch.Tensor:
        if len(views) == 1:
            return zero_with_graph(views)
        own_labels = torch.arange(len(views), device=views.device)
        return contrast_per_anchor(views, own_labels, self.temperature).mean()


class ContrastiveLoss(InfoNCELoss):
    """Unlabeled contrastive loss of the main phase, for samples that are not taught.

    Parameters
    ----------
    temperature : float, default=0.5
        Divisor of the cosine similarities; smaller is sharper. Must be positive.

    See Also
    --------
    InfoNCELoss : The formula, with the temperature of pretraining.

    Notes
    -----
    UMC methodology, section 3.6.2.

    Examples
    --------
    >>> import torch
    >>> from skumc.losses import ContrastiveLoss
    >>> views = torch.tensor([[[1.0, 0.0], [1.0, 0.1]], [[0.0, 1.0], [0.1, 1.0]]])
    >>> round(ContrastiveLoss()(views).item(), 4)
    0.2899
    """

    def __init__(self, temperature: float = 0.5):
        super().__init__(temperature=temperature)
