"""Label-free scores of an epoch."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.metrics import silhouette_score
from sklearn.utils._param_validation import Interval

_LEAST = 1e-6  # modularity or inertia of which the logarithm is taken


class ModularityMonitor(BaseEstimator):
    r"""Modularity of a clustering on the neighbor graph of the input: the default monitor.

    Parameters
    ----------
    tolerance : float in [0, inf), default=0.005
        Difference from the highest score within which a later epoch is kept all the same.
    judge_start : bool, default=True
        Whether the untrained encoder is a candidate like every epoch.
    validation_fraction : float in [0, 1), default=0.0
        Share of the training samples that no loss is computed on. If it is above 0, the monitor is
        the modularity of their labels plus the agreement of their labels by single modalities, see
        :func:`~skumc.model_selection.modality_agreement_score`.

    Notes
    -----
    The share of the nearest neighbors in the input that have the same label, minus
    :math:`\sum_k p_k^2` for the shares :math:`p_k` of the clusters, as a mean over the trusted
    modalities (:meth:`skumc.neighbors.NeighborGraph.modularity`); compare Newman (2006). The input
    does not change in training, so that scores of different embeddings can be compared, those of
    an untrained encoder included. The silhouette of an embedding rises as training goes on.

    Among the starts of k-means in the first epoch, the clustering with the highest
    :meth:`rate_start` is kept.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer().set_params(monitor__tolerance=0.0).monitor
    ModularityMonitor(tolerance=0.0)
    """

    needs_neighbors = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "tolerance": [Interval(Real, 0, None, closed="left")],
        "judge_start": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        tolerance: float = 0.005,
        *,
        judge_start: bool = True,
        validation_fraction: float = 0.0,
    ) -> None:
        self.tolerance = tolerance
        self.judge_start = judge_start
        self.validation_fraction = validation_fraction

    def __call__(
        self,
        embedding: np.ndarray,
        labels: np.ndarray,
        graph: Any,
        rows: np.ndarray | None = None,
        agreement: float = 0.0,
    ) -> float:
        """Score a clustering.

        Parameters
        ----------
        embedding : ndarray of shape (n_samples, n_components)
            Not used.
        labels : ndarray of int, shape (n_samples,)
        graph : NeighborGraph
        rows : ndarray of int, shape (n_held_out,), or None, default=None
            Samples by which the clustering is scored; None is all.
        agreement : float, default=0.0
            Agreement of their labels by single modalities.

        Returns
        -------
        float
        """
        if rows is None:
            return graph.modularity(labels)
        return graph.modularity(labels, rows) + agreement

    def rate_start(self, labels: np.ndarray, inertia: float, graph: Any) -> float:
        """Rate a start of k-means: logarithm of modularity over inertia.

        Parameters
        ----------
        labels : ndarray of int, shape (n_samples,)
        inertia : float
            Sum of squared distances to the centers.
        graph : NeighborGraph

        Returns
        -------
        float
        """
        return math.log(max(graph.modularity(labels), _LEAST)) - math.log(max(inertia, _LEAST))


class SilhouetteMonitor(BaseEstimator):
    """Mean silhouette of a clustering in the space of the embedding.

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
