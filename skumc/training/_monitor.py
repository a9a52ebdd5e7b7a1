"""The default monitor."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.metrics import silhouette_score
from sklearn.utils._param_validation import Interval


class SilhouetteMonitor(BaseEstimator):
    """Mean silhouette of a clustering, a label-free score of an epoch.

    Parameters
    ----------
    sample_size : int, default=1000
        Maximum number of samples to score; the same ones in every epoch.
    random_state : int, default=0
        Seed of the choice of those samples.

    Notes
    -----
    Euclidean silhouette (Rousseeuw, 1987) in the space of the embedding, larger is better. Fewer
    than two labels among the scored samples, or a distinct label for each, give 0.0.

    Examples
    --------
    >>> import numpy as np
    >>> embedding = np.repeat(np.eye(2), 5, axis=0)
    >>> SilhouetteMonitor()(embedding, np.repeat([0, 1], 5))
    1.0
    >>> SilhouetteMonitor()(embedding, np.zeros(10, dtype=int))
    0.0
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "sample_size": [Interval(Integral, 2, None, closed="left")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, sample_size: int = 1000, random_state: int = 0) -> None:
        self.sample_size = sample_size
        self.random_state = random_state

    def __call__(self, embedding: np.ndarray, labels: np.ndarray) -> float:
        """Score a clustering.

        Parameters
        ----------
        embedding : ndarray of shape (n_samples, n_components)
        labels : ndarray of shape (n_samples,)

        Returns
        -------
        float
        """
        self._validate_params()
        if len(embedding) > self.sample_size:
            rng = np.random.RandomState(self.random_state)
            rows = rng.choice(len(embedding), self.sample_size, replace=False)
            embedding, labels = embedding[rows], labels[rows]
        if not 1 < len(np.unique(labels)) < len(labels):
            return 0.0
        points = torch.from_numpy(np.asarray(embedding))
        apart = torch.cdist(points, points).fill_diagonal_(0).numpy()
        return float(silhouette_score(apart, labels, metric="precomputed"))
