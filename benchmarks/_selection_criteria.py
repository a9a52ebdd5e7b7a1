"""Fits of candidates and their criteria, none of which reads a class."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from _selection_ace import ace_scores
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, silhouette_score
from sklearn.metrics.pairwise import euclidean_distances

from skumc.model_selection import modality_agreement_score, neighborhood_modularity_score

# scored in the embedding of each candidate, larger is better
INTERNAL = ("silhouette", "Calinski-Harabasz")
CRITERIA = (
    *INTERNAL,
    *(f"ACE {measure}" for measure in INTERNAL),
    "stability",
    "consensus",
    "agreement",
    "modularity",
)


@dataclass
class Fitted:
    """Output of a fitted candidate for the test part; empty if training diverged."""

    labels: np.ndarray | None = None
    embedding: np.ndarray | None = None
    seconds: float = np.nan
    criteria: dict[str, float] = field(default_factory=dict)


def fit_candidate(clusterer, train, test, stability_seed=None):
    """Fit on the train part, predict the test part, and compute the criteria of one fit.

    Parameters
    ----------
    clusterer : UMCClusterer
    train, test : MultimodalData
    stability_seed : int, default=None
        Seed of the halves of the train part; None leaves stability out.
    """
    start = time.perf_counter()
    try:
        fitted = clone(clusterer).fit(train)
    except FloatingPointError:  # a loss is not finite; a search does not choose such a candidate
        return Fitted(seconds=time.perf_counter() - start)
    found = Fitted(fitted.predict(test), fitted.transform(test), time.perf_counter() - start)
    found.criteria["modularity"] = neighborhood_modularity_score(fitted, test)
    if len(train.names) > 1:
        found.criteria["agreement"] = modality_agreement_score(fitted, test)
    if stability_seed is not None:
        found.criteria["stability"] = stability(clusterer, train, test, stability_seed)
    return found


def stability(clusterer, train, test, seed):
    """Adjusted Rand index of predictions for the test part after fits on two disjoint halves."""
    rows = np.random.RandomState(seed).permutation(len(train))
    try:
        first, second = (
            clone(clusterer).fit(train[np.sort(half)]).predict(test)
            for half in np.array_split(rows, 2)
        )
    except FloatingPointError:
        return np.nan
    return adjusted_rand_score(first, second)


def internal_scores(embedding, clusterings):
    """Internal measures of each clustering in one embedding; 0 where they are not defined."""
    apart = euclidean_distances(embedding)
    np.fill_diagonal(apart, 0)
    found = {measure: np.zeros(len(clusterings)) for measure in INTERNAL}
    for place, labels in enumerate(clusterings):
        if 1 < len(np.unique(labels)) < len(labels):
            found["silhouette"][place] = silhouette_score(apart, labels, metric="precomputed")
            found["Calinski-Harabasz"][place] = calinski_harabasz_score(embedding, labels)
    return found


def consensus(clusterings):
    """Mean adjusted Rand index of each clustering with the others."""
    n = len(clusterings)
    found = np.eye(n)
    for i in range(n):
        for j in range(i):
            found[i, j] = found[j, i] = adjusted_rand_score(clusterings[i], clusterings[j])
    return (found.sum(axis=1) - 1) / max(n - 1, 1)


def add_group_criteria(group):
    """Add the criteria that need all candidates of a data set and seed, in place.

    Candidates that diverged get none, and the others are compared without them.
    """
    group = [fitted for fitted in group if fitted.labels is not None]
    if not group:
        return
    clusterings = [fitted.labels for fitted in group]
    by_space = [internal_scores(fitted.embedding, clusterings) for fitted in group]
    values = {"consensus": consensus(clusterings)}
    for measure in INTERNAL:
        scores = np.array([found[measure] for found in by_space])
        values |= {measure: np.diag(scores), f"ACE {measure}": ace_scores(scores)}
    for place, fitted in enumerate(group):
        fitted.criteria |= {key: float(scores[place]) for key, scores in values.items()}
