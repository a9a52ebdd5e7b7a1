"""Pseudo-labels that spread from trustworthy samples to their neighbours."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.sparse import coo_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.semi_supervised import LabelSpreading

_FROM_NEIGHBORS = 0.9  # of a label, the rest is the sample's own
_MOST_ROUNDS = 100
_SETTLED = 1e-3  # change of a sample's shares in a round


def _graph(partners: np.ndarray) -> coo_matrix:
    """Who is a neighbour of whom, in either direction, (n_samples, n_samples) sparse."""
    n_samples, n_partners = partners.shape
    rows = np.repeat(np.arange(n_samples), n_partners)
    links = coo_matrix((np.ones(rows.size), (rows, partners.ravel())), shape=(n_samples, n_samples))
    return ((links + links.T) / 2).tocoo()


def spread_labels(
    labels: np.ndarray, seeds: np.ndarray, partners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Give each sample the pseudo-label that reaches it from trustworthy ones.

    Parameters
    ----------
    labels : ndarray of int, shape (n_samples,)
    seeds : ndarray of bool, shape (n_samples,)
        Samples whose label spreads.
    partners : ndarray of int, shape (n_samples, n_nearest)
        Neighbours of each sample.

    Returns
    -------
    spread : ndarray of int, shape (n_samples,)
        The label that reaches a sample most; its own where none does, and of the seeds.
    confidence : ndarray of float, shape (n_samples,)
        Share of that label in all that reaches the sample, within [0, 1]; 0 where none does.

    Notes
    -----
    Label spreading (Zhou et al., 2004): :math:`F \leftarrow 0.9\,S F + 0.1\,Y`, with the one-hot
    labels :math:`Y` of the seeds and the links :math:`S` between neighbours, divided by the roots
    of both ends' numbers of links. A label thus follows chains of neighbours, where k-means follows
    distances to a centre.

    Examples
    --------
    >>> import numpy as np
    >>> chain = np.array([[1], [0], [1], [4], [3]])
    >>> labels, seeds = np.array([0, 0, 1, 1, 1]), np.array([True, False, False, True, False])
    >>> spread, confidence = spread_labels(labels, seeds, chain)
    >>> spread.tolist(), confidence.tolist()
    ([0, 0, 0, 1, 1], [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    if not seeds.any():
        return labels, np.zeros(len(labels))
    graph = _graph(partners)
    spreading = LabelSpreading(
        kernel=lambda first, second: graph,
        alpha=_FROM_NEIGHBORS,
        max_iter=_MOST_ROUNDS,
        tol=_SETTLED * len(labels),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last round is good enough
        spreading.fit(np.arange(len(labels))[:, None], np.where(seeds, labels, -1))
    shares = spreading.label_distributions_
    confidence = shares.max(axis=1)
    reached = (confidence > 0) & ~seeds
    spread = np.where(reached, spreading.classes_[shares.argmax(axis=1)], labels)
    return spread.astype(labels.dtype), confidence
