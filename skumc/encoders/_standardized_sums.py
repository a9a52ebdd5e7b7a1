"""Sum of the vectors of several paths, each standardized over samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._moments import Moments


class StandardizedSums(nn.Module):
    """Sum of a modality's vectors, each standardized over the training samples, to unit norm.

    Otherwise a vector with a long mean over samples and small deviations would hardly tell samples
    apart. A single vector is brought to unit norm as it is.

    Parameters
    ----------
    weights : dict of str to sequence of float
        A weight for each vector of a modality.
    width : int
    last_starts_at_zero : bool, default=False
        Whether the last vector of each modality is multiplied, channel by channel, by learned
        factors that start at 0, in place of its weight.

    Notes
    -----
    Means and deviations are those of the vectors before training, see :class:`SumsCalibration`,
    and stay as they are: a result does not depend on the other samples of a batch.

    Examples
    --------
    >>> sums = StandardizedSums({"audio": [1.0, 1.0]}, 2)
    >>> calibration = SumsCalibration(sums)
    >>> calibration.add("audio", [torch.tensor([[1.0, 5.0], [3.0, 7.0]]), torch.eye(2)])
    >>> calibration.finish()
    >>> sums("audio", [torch.tensor([[3.0, 6.0]]), torch.full((1, 2), 0.5)]).tolist()
    [[1.0, 0.0]]
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        weights: Mapping[str, Sequence[float]],
        width: int,
        last_starts_at_zero: bool = False,
    ) -> None:
        super().__init__()
        self._weights = [weight for own in weights.values() for weight in own]
        self._places: dict[str, range] = {}
        end = 0
        for name, own in weights.items():
            self._places[name] = range(end, end + len(own))
            end += len(own)
        factors = torch.zeros(len(weights), width)
        self.factors = nn.Parameter(factors) if last_starts_at_zero else None
        self.register_buffer("mean", torch.zeros(end, width))
        self.register_buffer("scale", torch.ones(end, width))

    @property
    def is_needed(self) -> bool:
        """Whether a modality has more than one vector."""
        return any(len(places) > 1 for places in self._places.values())

    def standardized(self, name: str, terms: Sequence[Tensor]) -> list[Tensor]:
        """Standardize the first vectors of a modality, (n_samples, width) each."""
        return [
            (term - self.mean[place]) / self.scale[place]
            for place, term in zip(self._places[name], terms, strict=False)
        ]

    def forward(self, name: str, terms: Sequence[Tensor]) -> Tensor:
        """Add the vectors of a modality, (n_samples, width) each."""
        places = self._places[name]
        if len(places) == 1:
            return F.normalize(terms[0], dim=-1)
        weighted = [
            self._weights[place] * term
            for place, term in zip(places, self.standardized(name, terms), strict=True)
        ]
        if self.factors is not None:
            weighted[-1] = weighted[-1] * self.factors[list(self._places).index(name)]
        return F.normalize(torch.stack(weighted).sum(dim=0), dim=-1)


class SumsCalibration:
    """Take means and deviations of vectors from batches of samples.

    Parameters
    ----------
    sums : StandardizedSums
    """

    def __init__(self, sums: StandardizedSums) -> None:
        self._sums = sums
        n_terms, width = sums.mean.shape
        self._moments = [Moments(width, sums.mean.device) for _ in range(n_terms)]

    def add(self, name: str, terms: Sequence[Tensor]) -> None:
        """Add the vectors of a modality for a batch of samples, (n_samples, width) each."""
        for place, term in zip(self._sums._places[name], terms, strict=True):
            self._moments[place].add(term)

    def finish(self) -> None:
        """Set means and deviations."""
        for place, moments in enumerate(self._moments):
            mean, scale = moments.mean_and_scale()
            if bool(moments.varies().any()):  # equal vectors keep their direction
                self._sums.mean[place] = mean
                self._sums.scale[place] = scale
