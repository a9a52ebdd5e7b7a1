"""Nearest neighbors in one modality's standardized input, without a fitted encoder."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from skumc._batches import to_batch
from skumc._evaluation import evaluating
from skumc._process_state import own_random_numbers
from skumc.data import MultimodalData, Ragged, inference_batches
from skumc.encoders import FrameStatistics, ProjectionEncoder
from skumc.encoders._frame_path import FramePath
from skumc.encoders._statistics import frame_counts
from skumc.encoders._summary import Summary, SummaryCalibration
from skumc.neighbors._search import Block, nearest, standardized


def _summaries(data: MultimodalData, name: str) -> Tensor:
    """Summarize one modality as the default encoder does, with the statistics of ``data``.

    For sequences of raw frames this includes the untrained path of single frames, always with the
    same random weights.

    Returns
    -------
    Tensor of float32, shape (n_samples, width)
    """
    frames = cast(Ragged, data.packed(name))
    statistics = FrameStatistics(*frames.mean_and_scale(), None, *frame_counts(frames.lengths))
    encoder = ProjectionEncoder()
    summary = Summary(statistics, encoder.n_segments, standardize=True, deviation=True)
    paths: list[torch.nn.Module] = [summary]
    if summary.is_of_raw_sequences:
        with own_random_numbers(torch.device("cpu")):
            torch.default_generator.manual_seed(0)
            offset = functional.normalize(torch.randn(encoder.hidden_width), dim=0)
            paths.append(FramePath(statistics, encoder.hidden_width, 0.0, offset))
    batches = list(inference_batches(data))
    calibration = SummaryCalibration(summary)
    for rows in batches:
        calibration.add(*to_batch(data, rows)[name])
    calibration.finish()
    parts = []
    for rows in batches:
        batch = to_batch(data, rows)[name]
        parts.append(torch.cat([path(*batch).float() for path in paths], dim=1))
    places = torch.from_numpy(np.concatenate(batches))
    return torch.cat(parts)[torch.argsort(places)]


def input_vectors(data: MultimodalData, name: str) -> np.ndarray:
    """Standardized summaries of one modality, which every sample has.

    Returns
    -------
    ndarray of float32, shape (n_samples, width)
        Centered, with mean squared norm 1.

    Examples
    --------
    >>> X = MultimodalData({"audio": [[0.0], [4.0]]})
    >>> input_vectors(X, "audio").ravel().tolist()
    [-1.0, 1.0]
    """
    data = data.select([name])
    with evaluating(torch.nn.Identity()):
        everywhere = torch.ones(len(data), dtype=torch.bool)
        return standardized(_summaries(data, name), everywhere).numpy()


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
    values = torch.from_numpy(input_vectors(data, name))
    return nearest([Block(values, None, 1.0)], torch.arange(len(data)), n_nearest).numpy()
