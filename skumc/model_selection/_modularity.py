"""Score of a clustering by the neighborhoods of the input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skumc._assembly import read_samples
from skumc._clusterer import UMCClusterer
from skumc.data import MultimodalData, read_X
from skumc.model_selection._inner import fitted_clusterer
from skumc.model_selection._summaries import input_neighbors
from skumc.neighbors._trust import modularity

_N_NEAREST = 10
_MAX_SAMPLES = 4096  # per modality


def _labels_and_frames(estimator: Any, X: Any) -> tuple[np.ndarray, MultimodalData]:
    """Predict labels, and read the frames of all modalities."""
    clusterer, prepared = fitted_clusterer(estimator, X)
    if isinstance(clusterer, UMCClusterer):
        data = read_samples(clusterer, prepared)
        return clusterer._assign(data), data
    if not hasattr(clusterer, "predict"):
        raise TypeError(
            f"Got {type(clusterer).__name__}, which has no predict, expected a fitted clusterer "
            "with predict, such as UMCClusterer or KMeans: held-out samples need labels."
        )
    data = read_X(BaseEstimator(), X, None, reset=True)
    texts = [name for name, width in data.widths.items() if width is None]
    if texts:
        raise ValueError(
            f"Modality {texts[0]!r} holds text, which only the text model of a UMCClusterer turns "
            "into frames. Turn it into numbers before the search, for example with "
            "TransformerTextFeatures."
        )
    return np.asarray(clusterer.predict(X)), data


def neighborhood_modularity_score(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    r"""Score predicted labels by how many near neighbors in the input share them.

    It needs no labels and reads the same neighbors for every estimator, so that it can compare
    estimators with different encoders or training. Pass the function itself as ``scoring=`` to a
    search of scikit-learn.

    Parameters
    ----------
    estimator : object with ``predict``
        A fitted clusterer: :class:`~skumc.UMCClusterer`, one of scikit-learn's, or a pipeline or a
        search with one.
    X : array, DataFrame, MultimodalData, list of dicts or dict
        Samples that training did not use. A 2-D table is one modality, unless the estimator is a
        ``UMCClusterer`` with ``modalities``. Text is read by the estimator's own text model, up to
        its last frozen layer.
    y : Ignored
        Not used, present for API consistency.

    Returns
    -------
    score : float
        Within (-1, 1); larger is better. It is 0 for a single cluster, and close to 0 for labels
        that are independent of the input.

    Raises
    ------
    TypeError
        If the estimator has no ``predict``.
    ValueError
        If no modality has more than ten samples, or text has no text model.

    See Also
    --------
    modality_agreement_score : Compares the modalities' predictions with one another.
    UnsupervisedSearchCV : Uses both scores.

    Notes
    -----
    .. math::

        Q = \frac{1}{M} \sum_{m=1}^{M} \Big( \frac{1}{10\, n_m} \sum_{i=1}^{n_m}
        \sum_{j \in N_m(i)} [\, c_i = c_j \,] - \sum_{k=1}^{K} p_{mk}^2 \Big)

    where :math:`c_i` is the predicted label of sample :math:`i`, :math:`N_m(i)` are its ten nearest
    neighbors in modality :math:`m`, and :math:`p_{mk}` is the share of cluster :math:`k` among the
    :math:`n_m` samples that have the modality. The subtracted sum is the share expected by chance.
    Samples without a modality are left out of it, and a modality with at most ten samples is left
    out of the mean. Beyond 4,096 samples with a modality, as many are drawn with a fixed seed.

    Neighbors are the nearest by Euclidean distance between summaries as
    :class:`~skumc.encoders.ProjectionEncoder` makes them: segment means of standardized frames and,
    for sequences of raw frames, what its untrained path of single frames gives, with fixed random
    weights; both standardized over samples. Mean and deviation are those of X.

    Limits:

    - All modalities count the same, informative or not. Whatever is similar in the raw input counts
      as similar, so an encoder that finds groups unlike the input's neighborhoods scores low.
    - The score falls with the number of clusters as the clusters become smaller than the
      neighborhoods; use it to compare settings with the same ``n_clusters``.
    - Few samples make it variable and blur neighborhoods: ten of forty samples are not near.

    The difference to the share expected by chance is that of the modularity of a graph [1]_, here
    with the same number of neighbors for each sample.

    References
    ----------
    .. [1] M. E. J. Newman, M. Girvan (2004). Finding and evaluating community structure in
       networks. Physical Review E 69, 026113.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skumc.model_selection import neighborhood_modularity_score
    >>> X, _ = make_blobs(200, centers=[[-9, 0], [0, 9], [9, 0]], random_state=0)
    >>> round(neighborhood_modularity_score(KMeans(3, random_state=0).fit(X), X), 2)
    0.67
    >>> search = GridSearchCV(
    ...     KMeans(random_state=0),
    ...     {"n_clusters": [2, 3]},
    ...     scoring=neighborhood_modularity_score,
    ... )
    >>> search.fit(X).best_params_
    {'n_clusters': 3}
    """
    del y
    labels, data = _labels_and_frames(estimator, X)
    scores = []
    for name, has in zip(data.names, data.present.T, strict=True):
        rows = np.flatnonzero(has)
        if len(rows) > _MAX_SAMPLES:
            rng = np.random.RandomState(0)
            rows = np.sort(rng.choice(rows, _MAX_SAMPLES, replace=False))
        if len(rows) > _N_NEAREST:
            codes = np.unique(labels[rows], return_inverse=True)[1]
            near = input_neighbors(data[rows], name, _N_NEAREST)
            scores.append(modularity(codes, near, np.ones(len(rows), dtype=bool)))
    if not scores:
        raise ValueError(
            f"Got {len(data)} samples, of which at most {data.present.sum(axis=0).max()} have the "
            f"same modality, expected more than {_N_NEAREST}: each is compared with its "
            f"{_N_NEAREST} nearest neighbors. Pass more samples, in a search by fewer folds or a "
            "larger test_size."
        )
    return float(np.mean(scores))
