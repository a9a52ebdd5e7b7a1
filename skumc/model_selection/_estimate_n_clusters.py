"""The number of clusters from one pretraining."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

from sklearn.base import clone

from skumc._cluster_count import NClustersEstimate
from skumc._clusterer import UMCClusterer


def _checked(candidates: Any) -> list[int]:
    """Sort candidates, and raise ValueError for what cannot be one."""
    if isinstance(candidates, str) or not isinstance(candidates, Iterable):
        raise ValueError(
            f"Got candidates={candidates!r}, expected whole numbers of 2 or more, such as "
            "range(2, 21), or None."
        )
    found = list(candidates)
    wrong = [k for k in found if not isinstance(k, Integral) or isinstance(k, bool) or k < 2]
    if wrong or not found:
        raise ValueError(
            f"Got candidates={found!r}, expected at least one number, all whole and 2 or more, "
            "such as range(2, 21). A single cluster is always compared."
        )
    return sorted({int(k) for k in found})


def estimate_n_clusters(
    X: Any, candidates: Iterable[int] | None = None, *, estimator: Any = None
) -> NClustersEstimate:
    r"""Estimate the number of clusters from one pretraining.

    Parameters
    ----------
    X : array, DataFrame, MultimodalData, list of dicts or dict
        Samples, as ``fit`` accepts them.
    candidates : iterable of int or None, default=None
        Numbers of 2 or more to compare, such as ``range(2, 21)``. None is every number up to about
        16, then steps of 7 %, up to an eighth of the samples, at most 100. Those above half of the
        distinct samples are left out.
    estimator : UMCClusterer or None, default=None
        Clusterer that pretrains; its ``n_clusters`` and ``max_epochs`` are not used. It stays
        unfitted. None is ``UMCClusterer(random_state=0)``.

    Returns
    -------
    NClustersEstimate
        ``n_clusters``, an ``interval``, and the curve: ``candidates``, ``stability``,
        ``deviation``.

    Raises
    ------
    TypeError
        If the estimator is not a ``UMCClusterer``.
    ValueError
        If a candidate is not a whole number of 2 or more, or X cannot be read.

    See Also
    --------
    skumc.UMCClusterer : ``n_clusters="auto"`` makes the same choice in ``fit``.

    Notes
    -----
    1. The encoder is pretrained, which does not depend on the number of clusters, and embeds all
       samples. The embedding is reduced to 40 principal components.
    2. Five times, two halves :math:`A, B` of the samples, of at most 1,000 each, are drawn. For
       each candidate :math:`K`, k-means that starts from Ward's tree clusters either half.
       Its stability is the adjusted Rand index of both clusterings, extended to all samples by
       the nearest center; the mean over :math:`A` and :math:`B`, then over draws.
    3. The largest :math:`K` within :math:`\min(0.04, 0.2 / K)` of the best stability is chosen.
    4. The answer is 1 if the best stability is below 0.5, or there is no valley between clusters:
       held-out samples of a cluster and of the nearest one are projected on the line through
       their centers; the density halfway, relative to the lower one at the two medians, is
       above 0.7 (median over clusters, mean over halves and draws).

    The interval holds the choices of the five draws by themselves.

    Limits:

    - Groups that divide into a few that are more stable, as digits into two, are answered by these
      few. Look at the curve for further maxima.
    - Groups of very different sizes: halves need some samples of each.
    - With fewer than eight samples, or fewer than four distinct ones, the answer is 1.
    - Draws share an embedding that was trained on all samples: the interval does not contain the
      variation of training.

    The comparison of halves follows prediction strength [1]_, with another index; the tolerance and
    both bounds were set on data sets that the guide names.

    References
    ----------
    .. [1] R. Tibshirani, G. Walther (2005). Cluster validation by prediction strength. Journal of
       Computational and Graphical Statistics 14, 511-528.

    Examples
    --------
    >>> from skumc.datasets import make_multimodal_blobs
    >>> from skumc.model_selection import estimate_n_clusters
    >>> X, _ = make_multimodal_blobs(150, 3, center_scale=3, random_state=0)
    >>> found = estimate_n_clusters(X, range(2, 8))
    >>> found.n_clusters, found.interval
    (3, (3, 3))
    >>> found.candidates.tolist()
    [2, 3, 4, 5, 6, 7]
    """
    numbers = None if candidates is None else _checked(candidates)
    if estimator is None:
        estimator = UMCClusterer(random_state=0)
    if not isinstance(estimator, UMCClusterer):
        raise TypeError(
            f"Got estimator={estimator!r}, expected an instance of UMCClusterer, or None. For a "
            "pipeline, transform X by its first steps and pass the clusterer."
        )
    counting = clone(estimator).set_params(n_clusters="auto", optimization__checkpoint_dir=None)
    counting._validate_params()
    counting._fit(X, [], numbers, only_count=True)
    return counting.n_clusters_curve_
