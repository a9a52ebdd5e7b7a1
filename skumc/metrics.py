"""Scores of a clustering against true labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import (
    adjusted_rand_score,
    fowlkes_mallows_score,
    normalized_mutual_info_score,
)

from skumc.data._columns import column_index, is_column, plain_column

__all__ = ["clustering_accuracy", "clustering_scorer", "clustering_scores"]


def _is_missing(label: object) -> bool:
    """Whether a label is None or differs from itself (NaN, NaT, NA of pandas)."""
    if label is None:
        return True
    equal = label == label
    return not (isinstance(equal, bool | np.bool_) and equal)


def _label_codes(labels: ArrayLike, name: str) -> np.ndarray:
    """Replace each label by the code of its class, 0, 1, ...; 1 and "1" are two classes."""
    labels = plain_column(labels) if is_column(labels) else labels
    # np.asarray would turn the list [1, "a"] into strings.
    is_sequence = isinstance(labels, list | tuple)
    values = np.asarray(labels, dtype=object) if is_sequence else np.asarray(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"Got {name} of shape {values.shape}, expected one label per sample, shape "
            "(n_samples,). Pass labels, not scores or one-hot rows."
        )
    if values.dtype == object:
        known: dict[object, int] = {}
        codes = np.array([known.setdefault(label, len(known)) for label in values], dtype=np.intp)
        distinct: Iterable[object] = known
    else:
        distinct, codes = np.unique(values, return_inverse=True)
    if any(_is_missing(label) for label in distinct):
        raise ValueError(
            f"Got {name} with missing labels (None or NaN), expected one label per sample. "
            "Leave those samples out of both y_true and y_pred."
        )
    return codes


def _paired_codes(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Encode the labels of both sides; raise ValueError if rows do not match or there are none."""
    true_index, pred_index = column_index(y_true), column_index(y_pred)
    if true_index is not None and pred_index is not None and not true_index.equals(pred_index):
        raise ValueError(
            "Got y_true and y_pred with different indexes, so their rows may be of different "
            "samples. Align them with y_pred.loc[y_true.index], or pass y_pred.to_numpy() if its "
            "rows are in the order of y_true."
        )
    true_codes = _label_codes(y_true, "y_true")
    pred_codes = _label_codes(y_pred, "y_pred")
    if len(true_codes) != len(pred_codes):
        raise ValueError(
            f"Got {len(true_codes)} labels in y_true and {len(pred_codes)} in y_pred, expected one "
            "of each per sample. Pass y_true and y_pred of equal length."
        )
    if len(true_codes) == 0:
        raise ValueError(
            "Got empty y_true and y_pred, expected at least one sample. Pass at least one label."
        )
    return true_codes, pred_codes


def _matched_share(true_codes: np.ndarray, pred_codes: np.ndarray) -> float:
    """Return the share of samples in the best one-to-one matching of clusters to classes."""
    n_true, n_pred = true_codes.max() + 1, pred_codes.max() + 1
    cells = np.bincount(true_codes * n_pred + pred_codes, minlength=n_true * n_pred)
    contingency = cells.reshape(n_true, n_pred)
    matched = linear_sum_assignment(contingency, maximize=True)
    return float(contingency[matched].sum() / len(true_codes))


def clustering_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    r"""Compute the share of samples in the best one-to-one matching of clusters to classes.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes: integers, also negative, strings, or labels of other or mixed types.
    y_pred : array-like of shape (n_samples,)
        Clusters, with labels of any type. Their number may differ from the number of classes.

    Returns
    -------
    accuracy : float
        Between 0 and 1; 1.0 exactly when both sides are the same partition.

    Raises
    ------
    ValueError
        If the two differ in length, are empty or not one-dimensional, or have missing labels, or
        are of pandas with different indexes.

    See Also
    --------
    clustering_scores : This score with NMI, ARI and FMI.

    Notes
    -----
    .. math::

        \mathrm{ACC} = \frac{1}{n} \max_{m} \sum_{i=1}^{n} [\, y_i = m(c_i) \,]

    where :math:`n` is the number of samples, :math:`y_i` the class and :math:`c_i` the cluster of
    sample :math:`i`, and :math:`m` runs over the one-to-one matchings of clusters to classes. With
    more clusters than classes, the surplus clusters are unmatched and their samples count as
    wrong; with fewer, so do the samples of the surplus classes. The score is symmetric and at
    least 1 / max(number of classes, number of clusters).

    The best matching is an assignment problem [1]_ on the contingency table, which is dense: memory
    is O(number of classes * number of clusters). Its use as an accuracy of clusterings follows
    [2]_. A noise label such as -1 counts as one more cluster.

    References
    ----------
    .. [1] H. W. Kuhn (1955). The Hungarian method for the assignment problem. Naval Research
       Logistics Quarterly 2, 83-97.
    .. [2] Y. Yang, D. Xu, F. Nie, S. Yan, Y. Zhuang (2010). Image clustering using local
       discriminant models and global integration. IEEE Transactions on Image Processing 19(10),
       2761-2773.

    Examples
    --------
    Only the partition matters, not the labels:

    >>> from skumc.metrics import clustering_accuracy
    >>> clustering_accuracy(["cat", "cat", "dog", "dog"], [7, 7, -1, -1])
    1.0
    >>> clustering_accuracy(["cat", "cat", "dog", "dog"], [0, 0, 0, 1])
    0.75

    A class split into two clusters is matched to the larger one:

    >>> clustering_accuracy([0, 0, 0, 1], [0, 0, 2, 1])
    0.75
    """
    return _matched_share(*_paired_codes(y_true, y_pred))


def clustering_scores(
    y_true: ArrayLike, y_pred: ArrayLike, *, percent: bool = False
) -> dict[str, float]:
    r"""Compute four scores of a clustering against true classes: NMI, ARI, ACC and FMI.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes, of any label type.
    y_pred : array-like of shape (n_samples,)
        Clusters, of any label type. Their number may differ from the number of classes.
    percent : bool, default=False
        Whether to multiply the scores by 100, as tables in papers do.

    Returns
    -------
    scores : dict of str to float
        For all four, larger is better.

        - ``"NMI"``: normalized mutual information, 0 to 1.
        - ``"ARI"``: adjusted Rand index, -0.5 to 1; its expected value by chance is 0.
        - ``"ACC"``: :func:`clustering_accuracy`, above 0 and up to 1.
        - ``"FMI"``: Fowlkes-Mallows index, 0 to 1.

    Raises
    ------
    ValueError
        If the two differ in length, are empty or not one-dimensional, or have missing labels, or
        are of pandas with different indexes.

    See Also
    --------
    clustering_scorer : The same scores for ``scoring=`` of scikit-learn's searches.

    Notes
    -----
    .. math::

        \mathrm{NMI} &= \frac{2\, I(Y; C)}{H(Y) + H(C)} \\
        \mathrm{ARI} &= \frac{\mathrm{RI} - E[\mathrm{RI}]}{1 - E[\mathrm{RI}]} \\
        \mathrm{FMI} &= \frac{TP}{\sqrt{(TP + FP)(TP + FN)}}

    where :math:`Y` are the classes, :math:`C` the clusters, :math:`I` the mutual information and
    :math:`H` the entropy; :math:`\mathrm{RI}` is the share of pairs of samples on which both sides
    agree (together or apart) and :math:`E` its mean over random labelings with the same sizes;
    :math:`TP` counts the pairs together on both sides, :math:`FP` and :math:`FN` those together
    among the clusters only or among the classes only.

    NMI, ARI and FMI are scikit-learn's. NMI divides by the arithmetic mean of the two entropies
    (scikit-learn's default); values with the geometric mean are larger or equal. FMI is 0.0 if no
    two samples are together on both sides, also if all clusters and classes are singletons.

    Examples
    --------
    >>> from skumc.metrics import clustering_scores
    >>> scores = clustering_scores([0, 0, 1, 1], [1, 1, 0, 2], percent=True)
    >>> {name: round(score, 1) for name, score in scores.items()}
    {'NMI': 80.0, 'ARI': 57.1, 'ACC': 75.0, 'FMI': 70.7}
    """
    true_codes, pred_codes = _paired_codes(y_true, y_pred)
    scores = {
        "NMI": normalized_mutual_info_score(true_codes, pred_codes, average_method="arithmetic"),
        "ARI": adjusted_rand_score(true_codes, pred_codes),
        "ACC": _matched_share(true_codes, pred_codes),
        "FMI": fowlkes_mallows_score(true_codes, pred_codes),
    }
    scale = 100.0 if percent else 1.0
    return {name: scale * float(score) for name, score in scores.items()}


def clustering_scorer(estimator: Any, X: Any, y: ArrayLike | None = None) -> dict[str, float]:
    """Score ``predict(X)`` of a fitted estimator against ``y`` by NMI, ARI, ACC and FMI.

    Pass the function itself as ``scoring=`` to :func:`~sklearn.model_selection.cross_validate`, or
    to :class:`~sklearn.model_selection.GridSearchCV` with ``refit="NMI"`` or another of the four.

    Parameters
    ----------
    estimator : object with ``predict``
        A fitted clusterer. Clusterers without ``predict``, such as DBSCAN, have no labels for
        held-out samples.
    X : array-like or MultimodalData of shape (n_samples, ...)
        Samples to predict.
    y : array-like of shape (n_samples,)
        True classes.

    Returns
    -------
    scores : dict of str to float
        ``"NMI"``, ``"ARI"``, ``"ACC"`` and ``"FMI"``, see :func:`clustering_scores`.

    Raises
    ------
    ValueError
        If ``y`` is None or the labels are invalid, see :func:`clustering_scores`.

    Notes
    -----
    A search with this scorer uses the true classes to choose the parameters, so the scores of the
    best parameters are not those of an unsupervised method.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skumc.metrics import clustering_scorer
    >>> X, y = make_blobs(centers=[[-9, 0], [0, 9], [9, 0]], random_state=0)
    >>> search = GridSearchCV(
    ...     KMeans(n_init=3, random_state=0),
    ...     {"n_clusters": [2, 3, 4]},
    ...     scoring=clustering_scorer,
    ...     refit="NMI",
    ... )
    >>> search.fit(X, y).best_params_
    {'n_clusters': 3}
    """
    if y is None:
        raise ValueError(
            "Got y=None, expected true labels: clustering_scorer compares with them. Pass y, or "
            "use a scoring without labels."
        )
    return clustering_scores(y, estimator.predict(X))
