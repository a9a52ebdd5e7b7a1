"""Pseudo-labels propagated along the neighbor graph."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from skumc.pseudo_labels._base import PseudoLabels, label_means

_FROM_NEIGHBORS = 0.9  # share of a label that comes from neighbors
_MAX_ROUNDS = 100
_TOLERANCE = 1e-3  # mean change of a sample's shares in the last round


def _affinity(partners: np.ndarray) -> csr_matrix:
    """Affinities of neighbors over the square roots of both degrees, (n_samples, n_samples)."""
    n_samples, n_partners = partners.shape
    rows = np.repeat(np.arange(n_samples), n_partners)
    links = coo_matrix((np.ones(rows.size), (rows, partners.ravel())), shape=(n_samples, n_samples))
    links = ((links + links.T) / 2).tocoo()
    apart = links.row != links.col
    links = coo_matrix((links.data[apart], (links.row[apart], links.col[apart])), links.shape)
    degrees = np.asarray(links.sum(axis=0)).ravel()
    roots = np.sqrt(np.where(degrees == 0, 1, degrees))
    links.data = links.data / roots[links.row] / roots[links.col]
    return links.tocsr()


def propagate_labels(
    labels: np.ndarray, seeds: np.ndarray, partners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Propagate labels from seed samples along the neighbor graph.

    Parameters
    ----------
    labels : ndarray of int, shape (n_samples,)
        Label of each sample.
    seeds : ndarray of bool, shape (n_samples,)
        Samples that propagate their label.
    partners : ndarray of int, shape (n_samples, n_partners)
        Nearest neighbors of each sample.

    Returns
    -------
    propagated : ndarray of int, shape (n_samples,)
        The label with the largest mass at each sample. Seeds, and samples that no label reaches,
        keep their own.
    confidence : ndarray of float, shape (n_samples,)
        Share of that label in the mass that reaches the sample, within [0, 1]; 0 where none does.

    Notes
    -----
    Label spreading (Zhou et al., 2004): :math:`F \leftarrow 0.9\,S F + 0.1\,Y`, with the one-hot
    labels :math:`Y` of the seeds and the affinities :math:`S` of neighbors, divided by the square
    roots of both samples' degrees. Labels thereby follow chains of neighbors, where k-means follows
    the distance to a center.

    Examples
    --------
    >>> import numpy as np
    >>> chain = np.array([[1], [0], [1], [4], [3]])
    >>> labels, seeds = np.array([0, 0, 1, 1, 1]), np.array([True, False, False, True, False])
    >>> propagated, confidence = propagate_labels(labels, seeds, chain)
    >>> propagated.tolist(), confidence.tolist()
    ([0, 0, 0, 1, 1], [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    if not seeds.any():
        return labels, np.zeros(len(labels))
    affinity = _affinity(partners)
    classes, columns = np.unique(labels[seeds], return_inverse=True)
    shares = np.zeros((len(labels), len(classes)))
    shares[np.flatnonzero(seeds), columns] = 1
    kept, last = (1 - _FROM_NEIGHBORS) * shares, np.zeros_like(shares)
    for _ in range(_MAX_ROUNDS):
        if np.abs(shares - last).sum() < _TOLERANCE * len(labels):
            break
        last = shares
        shares = _FROM_NEIGHBORS * (affinity @ shares) + kept
    mass = shares.sum(axis=1, keepdims=True)
    shares = shares / np.where(mass == 0, 1, mass)
    confidence = shares.max(axis=1)
    reached = (confidence > 0) & ~seeds
    propagated = np.where(reached, classes[shares.argmax(axis=1)], labels)
    return propagated.astype(labels.dtype), confidence


class PropagatedLabels(BaseEstimator):
    """Propagate the labels of selected samples to their neighbors, and teach the confident ones.

    Parameters
    ----------
    min_confidence : float in [0, 1], default=0.9
        Minimum share of propagated label mass for a sample to join the supervised batches; the
        selected samples always do.

    Notes
    -----
    Label spreading (Zhou et al., 2004), see ``propagate_labels`` in this module. Centers are the
    means of the propagated labels.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> clusterer = UMCClusterer().set_params(pseudo_labels__min_confidence=0.95)
    >>> clusterer.pseudo_labels
    PropagatedLabels(min_confidence=0.95)
    """

    needs_neighbors = True

    _parameter_constraints: dict[str, list[Any]] = {
        "min_confidence": [Interval(Real, 0, 1, closed="both")]
    }

    def __init__(self, min_confidence: float = 0.9) -> None:
        self.min_confidence = min_confidence

    def label(self, state: Any) -> PseudoLabels:
        """Label the samples of an epoch.

        Parameters
        ----------
        state : TrainingState
            With ``embedding``, ``labels`` and ``centers`` from k-means, the mask ``selected`` and
            the neighbor graph ``graph``.

        Returns
        -------
        PseudoLabels
        """
        self._validate_params()
        labels, confidence = propagate_labels(state.labels, state.selected, state.graph.partners_)
        centers = label_means(state.embedding, labels, len(state.centers), state.centers)
        return PseudoLabels(labels, state.selected | (confidence >= self.min_confidence), centers)
