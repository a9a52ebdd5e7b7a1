"""The clusterer inside a search or a pipeline, and the X that reaches it."""

from __future__ import annotations

from typing import Any, cast

from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from skumc._clusterer import UMCClusterer
from skumc.data import read_X


def fitted_clusterer(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Find the fitted ``UMCClusterer`` of a search or a pipeline, and transform X for it.

    Parameters
    ----------
    estimator : object
        A fitted estimator. A search is replaced by its best estimator.
    X : array, DataFrame, MultimodalData, list of dicts or dict

    Returns
    -------
    clusterer : object
        The ``UMCClusterer``, or another estimator with all its steps.
    X : object
        Output of the steps before the ``UMCClusterer``; otherwise X itself.
    """
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    if isinstance(estimator, Pipeline) and isinstance(estimator[-1], UMCClusterer):
        return estimator[-1], estimator[:-1].transform(X) if len(estimator) > 1 else X
    return estimator, X


def unfitted_clusterer(estimator: Any, X: Any) -> tuple[UMCClusterer | None, Any, str]:
    """Find the ``UMCClusterer`` that a search will fit, and fit the steps before it.

    Parameters
    ----------
    estimator : object
        Estimator of a search; it stays unfitted.
    X : array, DataFrame, MultimodalData, list of dicts or dict

    Returns
    -------
    clusterer : UMCClusterer or None
        None for another estimator.
    X : object
        Output of the steps before it.
    prefix : str
        Start of the names of its parameters, such as ``"umcclusterer__"`` in a pipeline.
    """
    prefix = ""
    if isinstance(estimator, Pipeline) and isinstance(estimator[-1], UMCClusterer):
        prefix = f"{estimator.steps[-1][0]}__"
        if len(estimator) > 1:
            X = clone(estimator[:-1]).fit_transform(X)
        estimator = estimator[-1]
    return (estimator if isinstance(estimator, UMCClusterer) else None), X, prefix


def count_modalities(clusterer: UMCClusterer, X: Any) -> int:
    """Count the modalities that a clusterer reads from X and that some sample has."""
    reader = cast(BaseEstimator, clone(clusterer))
    data = read_X(reader, X, clusterer.modalities, reset=True)
    return int(data.present.any(axis=0).sum())
