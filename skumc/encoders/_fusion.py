"""Gates that weigh the modalities of each sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GatedFusion(nn.Module):
    r"""Sum of the modalities' summaries, each weighed by a gate of its sample.

    Parameters
    ----------
    n_modalities : int
    width : int
        Width of a summary.
    normalization : {"sum", "softmax"}, default="sum"
        "sum" divides the sigmoids by their sum; "softmax" takes the softmax of the sigmoids.

    Notes
    -----
    For summaries :math:`s_m` of the modalities that a sample has,

    .. math:: g_m = \frac{\sigma(s_m w_m + b_m)}{\sum_l \sigma(s_l w_l + b_l)},
       \qquad h = \sum_m g_m s_m

    with learned :math:`w_m` and :math:`b_m`. The sum runs over the modalities that are present;
    the gate of a missing one is exactly 0. All gates start equal. Source: UMC methodology,
    section 3.4.8, whose :math:`10^{-8}` in the denominator is not needed here, since the quotient
    is computed from logarithms; gates sum to 1 even where every sigmoid is tiny.

    Examples
    --------
    >>> import torch
    >>> fusion = GatedFusion(2, 4)
    >>> fused, gates = fusion(torch.ones(1, 2, 4), torch.tensor([[True, False]]))
    >>> gates.tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, n_modalities: int, width: int, normalization: str = "sum") -> None:
        super().__init__()
        self.normalization = normalization
        self.weight = nn.Parameter(torch.zeros(n_modalities, width))
        self.bias = nn.Parameter(torch.zeros(n_modalities))

    def forward(self, summaries: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse summaries.

        Parameters
        ----------
        summaries : Tensor of shape (n_samples, n_modalities, width)
        present : Tensor of bool, shape (n_samples, n_modalities)

        Returns
        -------
        fused : Tensor of shape (n_samples, width)
        gates : Tensor of shape (n_samples, n_modalities)
        """
        scores = (summaries * self.weight).sum(dim=-1) + self.bias
        # a softmax of logarithms divides by the sum, also where all sigmoids are tiny
        scores = torch.sigmoid(scores) if self.normalization == "softmax" else F.logsigmoid(scores)
        gates = torch.softmax(scores.masked_fill(~present, -torch.inf), dim=-1)
        return (gates.unsqueeze(-1) * summaries).sum(dim=1), gates
