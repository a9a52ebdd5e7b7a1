"""Dropout that is cheap on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 2**16


class Dropout(nn.Dropout):
    """``torch.nn.Dropout`` with less work and memory on a CPU.

    Parameters
    ----------
    p : float, default=0.5
        Probability with which a value is set to zero in training. On a CPU it is rounded to a
        multiple of 1/65,536.

    Notes
    -----
    PyTorch draws a random number per value and keeps a mask as wide as the values. Here four
    values share the bits of one draw, and the mask takes one byte per value.

    Examples
    --------
    >>> import torch
    >>> dropped = Dropout(0.25)(torch.ones(100, 100))
    >>> sorted({round(value, 3) for value in dropped.unique().tolist()})
    [0.0, 1.333]
    """

    def forward(self, values: Tensor) -> Tensor:
        """Drop values of a tensor of any shape."""
        if not self.training or self.p in (0, 1) or values.device.type != "cpu":
            return super().forward(values)
        n_levels = min(round(self.p * _LEVELS), _LEVELS - 1)
        draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: values.numel()].view(values.shape)
        dropped = bits < n_levels - _LEVELS // 2
        return values.masked_fill(dropped, 0.0).mul_(1 / (1 - self.p))
