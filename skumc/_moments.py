"""Mean and standard deviation of rows that arrive in blocks."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST = 1e-6  # deviation of a feature that varies; inputs are of order 1


class Moments:
    """Running mean and standard deviation of each feature, in float64.

    Parameters
    ----------
    width : int
        Number of features.
    device : torch.device, default=None
        Device of the rows; None is the CPU.

    Notes
    -----
    Blocks are combined by the update of Chan, Golub and LeVeque (1979), which loses no digits to
    large means. Features are expected to be of order 1: a deviation of at most 1e-6 counts as
    constant. Raw values of any unit have :meth:`skumc.data.Ragged.mean_and_scale`, with a relative
    bound.

    Examples
    --------
    >>> import torch
    >>> moments = Moments(2)
    >>> moments.add(torch.tensor([[0.0, 7.0], [4.0, 7.0]]))
    >>> mean, scale = moments.mean_and_scale()
    >>> mean.tolist(), scale.tolist()
    ([2.0, 7.0], [2.0, 1.0])
    """

    def __init__(self, width: int, device: torch.device | None = None) -> None:
        self._n_rows = 0
        self._mean = torch.zeros(width, dtype=torch.float64, device=device)
        self._squares = torch.zeros_like(self._mean)

    def add(self, rows: Tensor) -> None:
        """Add a block of rows, (n_rows, width)."""
        if len(rows) == 0:
            return
        rows = rows.double()
        mean, total = rows.mean(dim=0), self._n_rows + len(rows)
        shift = mean - self._mean
        between = shift.square() * (self._n_rows * len(rows) / total)
        self._squares = self._squares + (rows - mean).square().sum(dim=0) + between
        self._mean = self._mean + shift * (len(rows) / total)
        self._n_rows = total

    def varies(self) -> Tensor:
        """Return which features vary over the rows, (width,) bool."""
        return (self._squares / max(self._n_rows, 1)).sqrt() > _SMALLEST

    def mean_and_scale(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (width,) each.

        The scale of a constant feature is 1; without rows the mean is 0.
        """
        scale = (self._squares / max(self._n_rows, 1)).sqrt()
        return self._mean, torch.where(scale > _SMALLEST, scale, 1.0)
