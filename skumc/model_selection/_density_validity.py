"""Score of a clustering by the density between its clusters in the input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn.metrics import pairwise_distances

from skumc.model_selection._input_scores import mean_over_modalities

_N_NEAREST = 5
_MAX_SAMPLES = 2048  # per modality; all their distances are computed


def _reachability(values: np.ndarray) -> np.ndarray:
    """Mutual reachability of all pairs."""
    distances = pairwise_distances(values)
    nearest = min(_N_NEAREST, len(values) - 1)
    core = np.partition(distances, nearest, axis=1)[:, nearest]  # the sample itself is at 0
    return np.maximum(distances, np.maximum(core[:, None], core[None]))


def _longest_step(reach: np.ndarray) -> float:
    """Longest edge of the minimum spanning tree. scipy drops edges of 0, hence the 1."""
    return float(minimum_spanning_tree(1.0 + reach).data.max()) - 1.0


def _density_validity(values: np.ndarray, labels: np.ndarray) -> float:
    """Size-weighted mean over clusters of how much wider the gap is than the widest inner step."""
    reach = _reachability(np.asarray(values, dtype=np.float64))
    total = 0.0
    for label in np.unique(labels):
        inside = labels == label
        if inside.sum() < 2:
            continue
        step = _longest_step(reach[np.ix_(inside, inside)])
        gap = float(reach[np.ix_(inside, ~inside)].min())
        if max(gap, step) > 0.0:
            total += inside.sum() * (gap - step) / max(gap, step)
    return float(total / len(labels))


def density_validity_score(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    r"""Score predicted labels by the density between clusters in the input of each modality.

    A cluster may have any shape: what counts is whether it holds together by shorter steps than
    the one that leaves it. No training changes the distances, so it can compare estimators with
    different encoders. A single sample between two clusters lowers the score of both.

    Parameters
    ----------
    estimator : object with ``predict``
        A fitted clusterer, or a pipeline or a search with one.
    X : array, DataFrame, MultimodalData, list of dicts or dict
        Samples that training did not use.
    y : Ignored

    Returns
    -------
    float
        Within [-1, 1]; larger is better. The mean over modalities; 0 for a modality with a single
        label, or one per sample. At most 2,048 samples per modality, drawn with a fixed seed.

    Raises
    ------
    TypeError
        If the estimator has no ``predict``.

    See Also
    --------
    neighborhood_modularity_score : Reads near neighbors only.

    Notes
    -----
    .. math:: \frac{1}{n} \sum_k n_k \frac{g_k - s_k}{\max(g_k, s_k)}

    for the clusters of :math:`n_k` samples each. The mutual reachability of two samples is the
    largest of their distance and of the distances of either to its fifth neighbor. The step
    :math:`s_k` is the longest edge of the minimum spanning tree of cluster :math:`k`, the gap
    :math:`g_k` the smallest mutual reachability to a sample of another cluster. This is the
    validity index of [1]_ with a simpler core distance and all nodes of the tree; clusters of one
    sample count as 0.

    References
    ----------
    .. [1] D. Moulavi et al. (2014). Density-based clustering validation. SIAM International
       Conference on Data Mining, 839-847.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.cluster import KMeans
    >>> from skumc.model_selection import density_validity_score
    >>> X = np.r_[np.linspace(0, 1, 20), np.linspace(9, 10, 20)][:, None]
    >>> density_validity_score(KMeans(2, random_state=0).fit(X), X) > 0.9
    True
    """
    del y
    return mean_over_modalities(estimator, X, _density_validity, _MAX_SAMPLES)
