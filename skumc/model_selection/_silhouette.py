"""Score of a clustering by the silhouette in the embedding of the clusterer itself."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from skumc._clusterer import UMCClusterer
from skumc.model_selection._inner import fitted_clusterer


def embedding_silhouette_score(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    """Score a clusterer by the silhouette of its predictions in its own embedding.

    Parameters
    ----------
    estimator : UMCClusterer
        A fitted clusterer, or a pipeline or a search with one.
    X : array, DataFrame, MultimodalData, list of dicts or dict
        Samples that training did not use. On training samples the score rises as long as training
        goes on.
    y : Ignored
        Not used, present for API consistency.

    Returns
    -------
    float
        Mean silhouette [1]_ within [-1, 1], of at most 5,000 samples; 0.0 for a single cluster.

    Raises
    ------
    TypeError
        If the estimator is not a ``UMCClusterer``.

    See Also
    --------
    neighborhood_modularity_score, modality_agreement_score : Do not depend on the embedding.

    Notes
    -----
    Each candidate makes an embedding of its own, and one that has lost most of its directions
    scores high. The score is therefore meant to be added to others that do not depend on the
    embedding, as :class:`UnsupervisedSearchCV` does.

    References
    ----------
    .. [1] P. J. Rousseeuw (1987). Silhouettes: a graphical aid to the interpretation and validation
       of cluster analysis. Journal of Computational and Applied Mathematics 20, 53-65.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> from skumc.datasets import make_multimodal_blobs
    >>> from skumc.model_selection import embedding_silhouette_score
    >>> X, _ = make_multimodal_blobs(120, 3, center_scale=3, random_state=0)
    >>> clusterer = UMCClusterer(3, pretrain_epochs=2, max_epochs=1, random_state=0).fit(X[:80])
    >>> embedding_silhouette_score(clusterer, X[80:]) > 0.3
    True
    """
    del y
    clusterer, X = fitted_clusterer(estimator, X)
    if not isinstance(clusterer, UMCClusterer):
        raise TypeError(
            f"Got {type(clusterer).__name__}, expected a fitted UMCClusterer, which has an "
            "embedding. Use neighborhood_modularity_score for other clusterers."
        )
    return clusterer.score(X)
