"""Contrast without labels, for pretraining and for samples not trusted yet."""

from __future__ import annotations

from typing import ClassVar

import torch

from skumc.losses._base import BaseLoss
from skumc.losses._checks import zero_with_graph
from skumc.losses._similarity import contrast_per_anchor


class InfoNCELoss(BaseLoss):
    r"""Unlabelled contrastive loss: pull the views of one sample together.

    The loss of pretraining. Positives of a view are the other views of its sample, all views
    of other samples are negatives.

    Parameters
    ----------
    temperature : float, default=0.3
        Divides the cosine similarities; smaller is sharper. Must be positive.

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

    - :math:`n` is the number of samples and :math:`V \geq 2` the number of views of each;
    - :math:`P(i)` holds the :math:`V - 1` other views of the anchor's sample;
    - :math:`s_{ij}` is the cosine similarity, 0 for a zero vector;
    - :math:`\tau` is the temperature.

    UMC methodology, sections 3.6.2 and 3.7.1. The sum below the fraction runs over all other
    views and includes the positive; as printed it would leave it out, and the loss could be
    negative. A sample alone has nothing to be told from and gives exactly 0.

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

    _positive: ClassVar[tuple[str, ...]] = ("temperature",)
    _min_views: ClassVar[int] = 2

    def __init__(self, temperature: float = 0.3):
        self.temperature = temperature

    def __call__(self, views: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        views : torch.Tensor of shape (n_samples, n_views, width)
            Embeddings of at least two views of each sample; they need no unit norm.

        Returns
        -------
        loss : torch.Tensor of shape ()
            A scalar; an empty batch and a single sample give 0 and keep the graph.

        Raises
        ------
        TypeError
            If views are no floating tensor.
        ValueError
            If the shape is not as above or the temperature is not positive and finite.
        """
        return self._evaluate(views=views)

    def _compute(self, views: torch.Tensor) -> torch.Tensor:
        if len(views) == 1:
            return zero_with_graph(views)
        each_sample_its_own = torch.arange(len(views), device=views.device)
        return contrast_per_anchor(views, each_sample_its_own, self.temperature).mean()


class ContrastiveLoss(InfoNCELoss):
    """Unlabelled contrastive loss of the main phase, for samples that were not selected.

    Parameters
    ----------
    temperature : float, default=0.5
        Divides the cosine similarities; smaller is sharper. Must be positive.

    See Also
    --------
    InfoNCELoss : The same formula, explained, with the temperature of pretraining.

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
