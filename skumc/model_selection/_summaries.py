"""Nearest neighbors in one modality's standardized input, without a fitted encoder."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from skumc._batches import to_batch
from skumc._evaluation import evaluating
from skumc.data import MultimodalData, Ragged, inference_batches
from skumc.encoders import FrameStatistics, ProjectionEncoder
from skumc.encoders._statistics import frame_counts
from skumc.encoders._summary import Summary, SummaryCalibration
from skumc.neighbors._search import Block, nearest, standardized


def _summaries(data: MultimodalData, name: str) -> Tensor:
    """Summarize one modality as the default encoder does, with the statistics of ``data``.

    Returns
    -------
    Tensor of float32, shape (n_samples, width)
    """
    frames = cast(Ragged, data.packed(name))
    statistics = FrameStatistics(*frames.mean_and_scale(), None, *frame_counts(frames.lengths))
    summary = Summary(statistics, ProjectionEncoder().n_segments, standardize=True, deviation=True)
    batches = list(inference_batches(data))
    calibration = SummaryCalibration(summary)
    for rows in batches:
        calibration.add(*to_batch(data, rows)[name])
    calibration.finish()
    found = torch.zeros(len(data), summary.width, dtype=torch.float32, device="cpu")
    for rows in batches:
        found[torch.from_numpy(rows)] = summary(*to_batch(data, rows)[name]).float()
    return found


def input_neighbors(data: MultimodalData, name: str, n_nearest: int) -> np.ndarray:
    """Find the nearest neighbors of each sample in one modality.

    Parameters
    ----------
    data : MultimodalData
        With frames in the place of text; every sample has the modality.
    name : str
        Name of the modality.
    n_nearest : int
        Number of neighbors per sample, fewer than there are samples.

    Returns
    -------
    ndarray of int, shape (n_samples, n_nearest)
        Nearest first, the sample itself excluded.

    Examples
    --------
    >>> X = MultimodalData({"audio": [[0.0], [4.0], [1.0], [5.0]]})
    >>> input_neighbors(X, "audio", 1).ravel().tolist()
    [2, 3, 0, 1]
    """
    data = data.select([name])
    with evaluating(torch.nn.Identity()):
        everywhere = torch.ones(len(data), dtype=torch.bool)
        values = standardized(_summaries(data, name), everywhere)
        found = nearest([Block(values, None, 1.0)], torch.arange(len(data)), n_nearest)
    return found.numpy()
