"""Scores of a clustering by distances in the input of each modality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.metrics import calinski_harabasz_score, silhouette_score

from skumc.model_selection._inner import fitted_clusterer
from skumc.model_selection._modularity import _labels_and_frames
from skumc.model_selection._summaries import input_vectors

_MAX_SAMPLES = 4096  # per modality


def mean_over_modalities(
    estimator: Any,
    X: Any,
    score: Callable[[np.ndarray, np.ndarray], float],
    max_samples: int = _MAX_SAMPLES,
) -> float:
    """Mean over modalities of a score of (vectors, labels); 0 where it is not defined."""
    labels, data = _labels_and_frames(estimator, X)
    scores = []
    for name, has in zip(data.names, data.present.T, strict=True):
        rows = np.flatnonzero(has)
        if len(rows) > max_samples:
            rng = np.random.RandomState(0)
            rows = np.sort(rng.choice(rows, max_samples, replace=False))
        if not len(rows):
            continue
        n_found = len(np.unique(labels[rows]))
        is_defined = 1 < n_found < len(rows)
        scores.append(
            float(score(input_vectors(data[rows], name), labels[rows])) if is_defined else 0.0
        )
    return float(np.mean(scores))


def input_silhouette_score(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    """Score predicted labels by their silhouette in the input of each modality.

    Distances are those of the input, which no training changes: it can compare estimators with
    different encoders. It prefers round groups that the input itself separates, often few of them.

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
        Within [-1, 1]; larger is better. The mean over modalities of scikit-learn's silhouette of
        standardized summaries; 0 for a modality with a single label, or one per sample. At most
        4,096 samples per modality, drawn with a fixed seed.

    Raises
    ------
    TypeError
        If the estimator has no ``predict``.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from skumc.model_selection import input_silhouette_score
    >>> X = [[0.0], [0.1], [5.0], [5.1]]
    >>> round(input_silhouette_score(KMeans(2, random_state=0).fit(X), X), 2)
    0.98
    """
    del y
    return mean_over_modalities(estimator, X, silhouette_score)


def input_calinski_harabasz_score(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    """Score predicted labels by the Calinski-Harabasz index in the input of each modality.

    It can compare estimators with different encoders, on the same samples.

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
        At least 0; larger is better. The mean over modalities of scikit-learn's index of
        standardized summaries; 0 for a modality with a single label, or one per sample. It grows
        with the number of samples.

    Raises
    ------
    TypeError
        If the estimator has no ``predict``.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from skumc.model_selection import input_calinski_harabasz_score
    >>> X = [[0.0], [2.0], [10.0], [12.0]]
    >>> round(input_calinski_harabasz_score(KMeans(2, random_state=0).fit(X), X), 2)
    50.0
    """
    del y
    return mean_over_modalities(estimator, X, calinski_harabasz_score)


def prediction_strength_score(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    r"""Score a fitted clusterer by the prediction strength of its labels for new samples.

    A copy is fitted on X, so one call costs one more fit. Different encoders can be compared, but
    one that always finds the same irrelevant groups scores as high as one that finds the wanted
    ones. It is 1 for one cluster and compares settings with several.

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
        Within [0, 1]; larger is better.

    Raises
    ------
    TypeError
        If the estimator has no ``predict``.

    Notes
    -----
    .. math:: \min_k \frac{1}{n_k (n_k - 1)} \sum_{i \ne j \in C_k} [\, c_i = c_j \,]

    for the clusters :math:`C_k` of :math:`n_k` samples in the copy's labels of X, and labels
    :math:`c` that the estimator predicts [1]_. Clusters of one sample are left out; 0 if all are.

    References
    ----------
    .. [1] R. Tibshirani, G. Walther (2005). Cluster validation by prediction strength. Journal of
       Computational and Graphical Statistics 14, 511-528.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from skumc.model_selection import prediction_strength_score
    >>> X = [[0.0], [0.1], [5.0], [5.1]]
    >>> prediction_strength_score(KMeans(2, random_state=0).fit(X), X)
    1.0
    """
    del y
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    if not hasattr(estimator, "predict"):
        raise TypeError(
            f"Got {type(fitted_clusterer(estimator, X)[0]).__name__}, which has no predict, "
            "expected a fitted clusterer with predict, such as UMCClusterer or KMeans."
        )
    predicted = np.unique(estimator.predict(X), return_inverse=True)[1]
    own = np.asarray(clone(estimator).fit(X).predict(X))
    shares = []
    for label in np.unique(own):
        counts = np.bincount(predicted[own == label])
        size = counts.sum()
        if size > 1:
            shares.append((counts * (counts - 1)).sum() / (size * (size - 1)))
    return float(min(shares, default=0.0))
