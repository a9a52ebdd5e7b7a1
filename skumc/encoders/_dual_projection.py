"""Dual projection: main and environmental information separated, then fused."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._gelu import gelu
from skumc.encoders._dropout import Dropout
from skumc.encoders._pooling import masked_mean


def _xavier_linear(in_width: int, out_width: int, bias: bool = True) -> nn.Linear:
    linear = nn.Linear(in_width, out_width, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


class DualProjection(nn.Module):
    r"""Two fused projections of a frame, for main and for environmental information.

    Parameters
    ----------
    width : int
        Width of a frame and of the result.
    dropout : float, default=0.1
        Dropout on the outputs of the two projections.
    starts_at_input : bool, default=False
        Initialize :math:`W_{fusion}` with zeros, so that the untrained result is the input.

    Notes
    -----
    .. math::

       z_{simi} = GELU(LN(x) W_{simi} + b_{simi}), \qquad
       z_{dissi} = GELU(LN(x) W_{dissi} + b_{dissi}), \qquad
       \hat x = [z_{simi} \,|\, z_{dissi}] \, W_{fusion} + x

    for each frame :math:`x`, with learned weights :math:`W` and :math:`b`. :math:`[a \,|\, b]`
    concatenates features, :math:`GELU(z) = z \, \Phi(z)` with the normal distribution function
    :math:`\Phi`, and :math:`LN` is one LayerNorm that both projections share. Weights start Xavier
    uniform. UMC methodology, sections 3.3.2 and 3.3.4.

    Examples
    --------
    >>> import torch
    >>> DualProjection(8)(torch.zeros(3, 8)).shape
    torch.Size([3, 8])
    """

    def __init__(self, width: int, dropout: float = 0.1, starts_at_input: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.similar = _xavier_linear(width, width)
        self.dissimilar = _xavier_linear(width, width)
        self.fusion = _xavier_linear(2 * width, width, bias=False)
        if starts_at_input:
            nn.init.zeros_(self.fusion.weight)
        self.dropout = Dropout(dropout)

    def _both(self, frames: Tensor) -> Tensor:
        """Compute both projections, side by side, in one product."""
        weight = torch.cat([self.similar.weight, self.dissimilar.weight])
        bias = torch.cat([self.similar.bias, self.dissimilar.bias])
        return self.dropout(gelu(F.linear(self.norm(frames), weight, bias)))

    def forward(self, frames: Tensor) -> Tensor:
        """Project frames, (..., width) to (..., width)."""
        return self.fusion(self._both(frames)) + frames

    def mean(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Average each sample's projected frames.

        The same as :func:`~skumc.encoders.masked_mean` of :meth:`forward`, in less time: the fusion
        is linear, and reads means.

        Parameters
        ----------
        frames : Tensor of shape (n_frames_total, width)
        lengths : Tensor of int, shape (n_samples,)

        Returns
        -------
        Tensor of shape (n_samples, width)
        """
        joined = masked_mean(torch.cat([self._both(frames), frames], dim=1), lengths)
        both, rest = joined.split([2 * frames.shape[1], frames.shape[1]], dim=1)
        return self.fusion(both) + rest


class LinearProjection(nn.Module):
    r"""The plain alternative to :class:`~skumc.encoders.DualProjection`: :math:`\hat x = x W + b`.

    Parameters
    ----------
    width : int
        Width of a frame and of the result.

    Notes
    -----
    Replaces dual projection in the source's ablation of its first contribution (section 3.3).

    Examples
    --------
    >>> import torch
    >>> LinearProjection(8)(torch.zeros(3, 8)).shape
    torch.Size([3, 8])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = _xavier_linear(width, width)

    def forward(self, frames: Tensor) -> Tensor:
        """Project frames, (..., width) to (..., width)."""
        return self.linear(frames)
