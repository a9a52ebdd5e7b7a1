"""Linear projection of frames of any width to one width."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def isometric_linear(in_width: int, out_width: int, offset: Tensor) -> nn.Linear:
    """Make a linear map with orthonormal rows or columns and a bias along ``offset``.

    The bias is about as long as a standardized frame. The layers that follow keep only the
    direction of a vector (LayerNorm, unit norm). With the offset, direction depends on length too:
    low-dimensional input is mapped onto a patch of a sphere instead of being reduced to its
    angles. All modalities share the offset, so that the modalities that a sample has do not by
    themselves set it apart from other samples.
    """
    linear = nn.Linear(in_width, out_width)
    nn.init.orthogonal_(linear.weight)
    with torch.no_grad():
        linear.bias.copy_(offset * math.sqrt(in_width))
    return linear


class ModalityProjection(nn.Module):
    """Linear projection of standardized frames to one width, then LayerNorm.

    Parameters
    ----------
    in_width : int
        Width of a frame.
    out_width : int
        Width of the result.
    offset : Tensor of shape (out_width,)
        Unit vector along which the bias starts, the same for all modalities of a network.

    Notes
    -----
    :math:`x' = LN(x W + b)`; UMC methodology, section 3.8.1, step 1. :math:`W` starts
    orthonormal, so that distances of the input survive where ``in_width <= out_width``.
    :math:`b` starts along the offset, as long as a standardized frame: LayerNorm keeps directions
    only, and with that offset directions depend on lengths too.

    Examples
    --------
    >>> import torch
    >>> offset = torch.nn.functional.normalize(torch.ones(4), dim=0)
    >>> ModalityProjection(3, 4, offset)(torch.randn(5, 3)).shape
    torch.Size([5, 4])
    """

    def __init__(self, in_width: int, out_width: int, offset: Tensor) -> None:
        super().__init__()
        self.linear = isometric_linear(in_width, out_width, offset)
        self.norm = nn.LayerNorm(out_width)

    def forward(self, frames: Tensor) -> Tensor:
        """Project (n_frames_total, in_width) to (n_frames_total, out_width)."""
        return self.norm(self.linear(frames))
