"""Fusion of the modalities' summaries to one vector per sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GatedFusion(nn.Module):
    r"""Sum of the modalities' summaries, weighted by gates that depend on the sample.

    Parameters
    ----------
    n_modalities : int
        Number of modalities.
    width : int
        Width of a summary.
    normalization : {"sum", "softmax"}, default="sum"
        "sum" divides the sigmoids by their sum; "softmax" takes the softmax of the sigmoids.

    Notes
    -----
    For summaries :math:`s_m` of the modalities that a sample has,

    .. math:: g_m = \frac{\sigma(s_m w_m + b_m)}{\sum_l \sigma(s_l w_l + b_l)},
       \qquad h = \sum_m g_m s_m

    with learned :math:`w_m` and :math:`b_m` and :math:`\sigma(z) = 1 / (1 + e^{-z})`;
    "softmax" has :math:`g_m = e^{a_m} / \sum_l e^{a_l}` with :math:`a_m = \sigma(s_m w_m + b_m)`.
    The sums run over the modalities that are present; the gate of a missing one is exactly 0. All
    gates start equal unless there is a prior: ``log_prior``, zero by default, is added to the
    logarithm of each sigmoid (or to :math:`a_m`) before the quotient. Source: UMC methodology,
    section 3.4.8. Its :math:`10^{-8}` in the denominator is not needed here: the quotient is
    computed from logarithms, so that gates sum to 1 even where every sigmoid is tiny.

    Examples
    --------
    >>> import torch
    >>> fusion = GatedFusion(2, 4)
    >>> fused, gates = fusion(torch.ones(1, 2, 4), torch.tensor([[True, False]]))
    >>> gates.tolist()
    [[1.0, 0.0]]
    """

    log_prior: Tensor

    def __init__(self, n_modalities: int, width: int, normalization: str = "sum") -> None:
        super().__init__()
        self.normalization = normalization
        self.weight = nn.Parameter(torch.zeros(n_modalities, width))
        self.bias = nn.Parameter(torch.zeros(n_modalities))
        self.register_buffer("log_prior", torch.zeros(n_modalities))

    def set_prior_shares(self, shares: Sequence[float]) -> None:
        """Set the proportions in which the gates start; training can shift them."""
        prior = torch.as_tensor(shares, dtype=torch.float32).log()
        self.log_prior.copy_(prior - prior.max())

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
        # a softmax of logarithms divides by the sum, even where all sigmoids are tiny
        scores = torch.sigmoid(scores) if self.normalization == "softmax" else F.logsigmoid(scores)
        scores = scores + self.log_prior
        gates = torch.softmax(scores.masked_fill(~present, -torch.inf), dim=-1)
        return (gates.unsqueeze(-1) * summaries).sum(dim=1), gates


class ConcatenationFusion(nn.Module):
    r"""The alternative to gates: a linear map of the concatenated summaries.

    Parameters
    ----------
    n_modalities : int
        Number of modalities.
    width : int
        Width of a summary.

    Notes
    -----
    :math:`h = [s_1 \,|\, \ldots \,|\, s_n] \, W + b`, where :math:`s_m` are the summaries of the
    :math:`n` modalities, zero for a missing one. There are no learned gates; the gates returned
    are equal for the modalities that are present. UMC methodology, section 3.8.1, step 10.

    Examples
    --------
    >>> import torch
    >>> fusion = ConcatenationFusion(2, 4)
    >>> fused, gates = fusion(torch.ones(1, 2, 4), torch.tensor([[True, True]]))
    >>> fused.shape, gates.tolist()
    (torch.Size([1, 4]), [[0.5, 0.5]])
    """

    def __init__(self, n_modalities: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_modalities * width, width)

    def forward(self, summaries: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse summaries (n_samples, n_modalities, width) of the modalities ``present``."""
        shown = summaries * present.unsqueeze(-1)
        gates = present / present.sum(dim=1, keepdim=True)
        return self.linear(shown.flatten(1)), gates.to(summaries.dtype)
