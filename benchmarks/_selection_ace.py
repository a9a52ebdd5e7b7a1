"""Adaptive clustering evaluation (ACE): scores of clusterings in the spaces of several embeddings.

Z. Wang, C. Ye (2024). Deep clustering evaluation: how to validate internal clustering validation
measures. arXiv 2403.14830, algorithms 1 and 2. As the present module reads them:

1. Every clustering is scored by an internal measure, such as the silhouette, in every embedding.
2. Spaces that rank the clusterings alike form a group: HDBSCAN on 1 - Spearman's correlation.
   Outliers are left out. A group of more than five spaces is divided once more by HDBSCAN, on the
   scores themselves; an outlier is then a group of its own.
3. In a group, two spaces are linked by their correlation if it is significantly positive (Holm's
   test, family-wise 0.1). The PageRank of a space (damping 0.9) is its weight.
4. The scores are weighted means over the group in which they are largest in the mean.

The paper first leaves out spaces of which the dip test on a principal component finds no more than
one mode. This step is missing here, since neither SciPy nor scikit-learn has the test. Two details
are of the authors' published code: which groups are divided, and the damping. If HDBSCAN calls all
spaces outliers, they form one group. With fewer than three clusterings there are no ranks to
compare, and the score is the mean over the spaces (the paper's pooled score).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr
from sklearn.cluster import HDBSCAN
from sklearn.metrics.pairwise import euclidean_distances

_LEAST_MEMBERS = 2
_LARGE_GROUP = 5
_LEVEL = 0.1  # of Holm's test
_DAMPING = 0.9


def _correlations(scores):
    """Spearman's correlation of each pair of rows, and the p-value of its being positive."""
    n_spaces = len(scores)
    correlation, p_value = np.eye(n_spaces), np.zeros((n_spaces, n_spaces))
    for i in range(n_spaces):
        for j in range(i):
            found = spearmanr(scores[i], scores[j], alternative="greater")
            correlation[i, j] = correlation[j, i] = found.statistic
            p_value[i, j] = p_value[j, i] = found.pvalue
    return correlation, p_value


def _significant(p_value):
    """Pairs with a small p-value by Holm's step-down test, as a symmetric mask."""
    found = np.zeros(p_value.shape, dtype=bool)
    rows, columns = np.triu_indices(len(p_value), 1)
    order = np.argsort(p_value[rows, columns], kind="stable")
    for place, pair in enumerate(order):
        i, j = rows[pair], columns[pair]
        if p_value[i, j] > _LEVEL / (len(order) - place):
            break
        found[i, j] = found[j, i] = True
    return found


def _density_groups(distance):
    """Groups by HDBSCAN, -1 for an outlier; one group if all are outliers."""
    if len(distance) < _LEAST_MEMBERS:
        return np.zeros(len(distance), dtype=int)
    model = HDBSCAN(min_cluster_size=_LEAST_MEMBERS, metric="precomputed", copy=True)
    labels = model.fit(np.maximum(distance, 0)).labels_
    return np.zeros(len(distance), dtype=int) if (labels < 0).all() else labels


def _groups(scores, correlation):
    """Spaces of each group, as arrays of places."""
    labels = _density_groups(1 - correlation)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        if len(members) <= _LARGE_GROUP:
            yield members
            continue
        inner = _density_groups(euclidean_distances(scores[members]))
        for part in np.unique(inner[inner >= 0]):
            yield members[inner == part]
        yield from members[inner < 0][:, None]


def page_rank(weights):
    """Stationary distribution of a walk along the links, which jumps anywhere now and then."""
    n = len(weights)
    sums = weights.sum(axis=1, keepdims=True)
    step = np.where(sums > 0, weights / np.where(sums > 0, sums, 1), 1 / n)
    return np.linalg.solve(np.eye(n) - _DAMPING * step.T, np.full(n, (1 - _DAMPING) / n))


def ace_scores(scores):
    """Score of each clustering.

    Parameters
    ----------
    scores : ndarray of shape (n_spaces, n_clusterings)
        Internal measure, larger is better.

    Returns
    -------
    ndarray of shape (n_clusterings,)
    """
    scores = np.asarray(scores, dtype=float)
    ranking = scores[np.ptp(scores, axis=1) > 0]  # the others prefer no clustering
    if len(ranking) == 0 or scores.shape[1] < 3:
        return scores.mean(axis=0)
    correlation, p_value = _correlations(ranking)
    links = np.where(_significant(p_value), correlation, 0.0)
    found = [
        page_rank(links[np.ix_(members, members)]) @ ranking[members]
        for members in _groups(ranking, correlation)
    ]
    return max(found, key=np.mean)
