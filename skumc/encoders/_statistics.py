"""Statistics of a modality's frames, and standardization with them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


class FrameStatistics(NamedTuple):
    """Facts about a modality's frames from which an encoder is built.

    Attributes
    ----------
    mean, scale : ndarray of shape (width,)
        Mean and standard deviation of each feature over all frames of the training set.
    pooling : {"cls", "mean"} or None
        Pooling named by the configuration of the text model that produced the frames; None if
        there is no such model or configuration.
    longest : int
        Number of frames of the longest training sample.
    typical : int
        Number of frames that nine of ten training samples have at least.

    Examples
    --------
    >>> import numpy as np
    >>> FrameStatistics(np.zeros(2), np.ones(2)).pooling is None
    True
    """

    mean: np.ndarray
    scale: np.ndarray
    pooling: str | None = None
    longest: int = 1
    typical: int = 1

    def neutral(self) -> FrameStatistics:
        """Return statistics of the same width with mean 0 and scale 1."""
        return self._replace(mean=np.zeros_like(self.mean), scale=np.ones_like(self.scale))


def frame_counts(lengths: np.ndarray) -> tuple[int, int]:
    """Count the frames of the longest sample, and those that nine of ten samples have at least.

    Samples without frames are left out.

    Examples
    --------
    >>> import numpy as np
    >>> frame_counts(np.array([0, *range(1, 11)])), frame_counts(np.zeros(3, dtype=int))
    ((10, 2), (1, 1))
    """
    here = np.sort(lengths[lengths > 0])
    return (int(here[-1]), int(here[len(here) // 10])) if len(here) else (1, 1)


class Standardization(nn.Module):
    """Scale the features of a modality's frames to mean 0 and standard deviation 1.

    Parameters
    ----------
    statistics : FrameStatistics
        Mean to subtract and scale to divide by, per feature.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> standardize = Standardization(FrameStatistics(np.array([1.0]), np.array([2.0])))
    >>> standardize(torch.tensor([[1.0], [5.0]])).tolist()
    [[0.0], [2.0]]
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, statistics: FrameStatistics) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(statistics.scale, dtype=torch.float64))

    def forward(self, frames: Tensor) -> Tensor:
        """Standardize (n_frames_total, width) in the precision of the frames; return float32."""
        frames = frames if frames.is_floating_point() else frames.float()
        # in float64 where the data are, so that a large mean is subtracted without losing digits
        standard = (frames - self.mean.to(frames.dtype)).div_(self.scale.to(frames.dtype))
        return standard.float()
