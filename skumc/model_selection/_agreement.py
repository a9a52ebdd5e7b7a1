"""Score of a clustering by the agreement of predictions from single modalities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skumc._assembly import read_samples
from skumc._clusterer import UMCClusterer
from skumc.data import MultimodalData
from skumc.model_selection._inner import fitted_clusterer
from skumc.training._held_out import modality_agreement


def _alone(clusterer: UMCClusterer, data: MultimodalData, name: str) -> np.ndarray:
    """Predict from one modality; -1 where it is missing."""
    return clusterer._assign(data.with_absent(data.widths, [name]))


def modality_agreement_score(estimator: Any, X: Any, y: ArrayLike | None = None) -> float:
    r"""Score a clusterer by how well predictions from single modalities agree.

    Predictions for new samples from one modality should be confirmed by another. The score needs no
    labels and does not depend on the space of the embedding, so that it can compare estimators with
    different encoders or training.

    Parameters
    ----------
    estimator : UMCClusterer
        A fitted clusterer, or a pipeline or a search with one.
    X : array, DataFrame, MultimodalData, list of dicts or dict
        Samples with at least two modalities that training did not use. On training samples
        settings that memorize score high.
    y : Ignored
        Not used, present for API consistency.

    Returns
    -------
    score : float
        At most 1; larger is better. Its expected value for independent predictions is 0.

    Raises
    ------
    TypeError
        If the estimator has no :class:`~skumc.UMCClusterer`.
    ValueError
        If it was fitted on a single modality, or no two samples have the same two modalities.

    See Also
    --------
    neighborhood_modularity_score : Works with a single modality and with any clusterer.
    UnsupervisedSearchCV : Uses both scores.

    Notes
    -----
    The mean over pairs of modalities of :math:`\mathrm{AMI}(c^a, c^b)`, the adjusted mutual
    information [1]_ of ``predict`` from modality :math:`a` alone and from :math:`b` alone, all
    others given as missing, over the samples that have both. Where either prediction is a single
    cluster, it is 0. Modalities that no training sample had are left out.

    Limits:

    - A nuisance that modalities share, such as the speaker in voice and face, raises agreement as
      the wanted groups do.
    - Each pair of modalities counts the same; an uninformative modality adds zeros.
    - Few samples make it variable. In simulations with 5 clusters and one pair of modalities, the
      standard error with 50, 200 and 1,000 samples was 0.05, 0.01 and 0.002 for independent
      predictions, and 0.10, 0.05 and 0.02 for related ones. Take the mean over several splits.
    - It does not choose ``n_clusters``: agreement is often highest for two or three clusters.

    References
    ----------
    .. [1] N. X. Vinh, J. Epps, J. Bailey (2010). Information theoretic measures for clusterings
       comparison. Journal of Machine Learning Research 11, 2837-2854.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> from skumc.datasets import make_multimodal_blobs
    >>> from skumc.model_selection import modality_agreement_score
    >>> X, _ = make_multimodal_blobs(120, 3, center_scale=3, random_state=0)
    >>> clusterer = UMCClusterer(3, pretrain_epochs=2, max_epochs=1, random_state=0).fit(X[:80])
    >>> modality_agreement_score(clusterer, X[80:]) > 0.8
    True
    """
    del y
    clusterer, X = fitted_clusterer(estimator, X)
    if not isinstance(clusterer, UMCClusterer):
        raise TypeError(
            f"Got {type(clusterer).__name__}, expected a fitted UMCClusterer, which predicts from "
            "one modality alone. Use neighborhood_modularity_score for other clusterers."
        )
    data = read_samples(clusterer, X)
    names = [name for name in data.names if name not in clusterer._unseen_modalities]
    if len(names) < 2:
        raise ValueError(
            f"Got a clusterer fitted on the single modality {names[0]!r}, expected two or more: "
            "agreement compares them. Use neighborhood_modularity_score, or split the columns of a "
            'table into modalities, UMCClusterer(modalities={"text": columns, "audio": columns}).'
        )
    labels = {name: _alone(clusterer, data, name) for name in names}
    has = dict(zip(data.names, data.present.T, strict=True))
    score = modality_agreement(labels, has)
    if score is None:
        raise ValueError(
            f"No two of the {len(data)} samples have the same two of the modalities {names}. Pass "
            "more samples, or use neighborhood_modularity_score."
        )
    return score
