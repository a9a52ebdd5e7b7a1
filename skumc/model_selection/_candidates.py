"""Settings that a search compares by default."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from skumc.data import read_X
from skumc.encoders import ProjectionEncoder

_LEARNING_RATE = 5e-4  # below the default of each encoder


def candidate_parameters(X: Any) -> list[dict[str, list[Any]]]:
    """List settings of ``UMCClusterer`` among which the best differs between data sets.

    Parameters
    ----------
    X : array, DataFrame, MultimodalData, list of dicts or dict
        The samples to cluster; whether they have sequences or text decides on the last ones.

    Returns
    -------
    candidates : list of dict
        A grid for :class:`UnsupervisedSearchCV` or scikit-learn's searches, with one candidate per
        dict, in this order:

        - the parameters of the estimator as they are;
        - long pretraining: ``pretrain_epochs=40``;
        - pretraining only: ``max_epochs=0``;
        - no training: ``pretrain_epochs=0, max_epochs=0``;
        - small steps: ``learning_rate=5e-4, pretrain_learning_rate=5e-4``;
        - pairs of perturbed copies: ``pairs="dropout"``;
        - pseudo-labels without propagation: ``pseudo_labels="selected"``;
        - for sequences and text: ``encoder="umc"``, which refines the states of text models, too,
          and attends from the anchor to other modalities;
        - for sequences of numbers: ``encoder=ProjectionEncoder(frame_path=False)``, which averages
          frames first.

    Notes
    -----
    The candidates differ in the length of training, the learning rate, positive pairs,
    pseudo-labels and the encoder. Each keeps the other parameters of the estimator. Long
    pretraining takes about twice the time of the default, training without the progressive loop
    less than half.

    Examples
    --------
    A table has seven candidates, sequences have nine:

    >>> import numpy as np
    >>> from skumc.model_selection import candidate_parameters
    >>> candidates = candidate_parameters(np.eye(20))
    >>> len(candidates), len(candidate_parameters({"audio": np.ones((20, 5, 2))}))
    (7, 9)
    >>> candidates[:3]
    [{}, {'pretrain_epochs': [40]}, {'max_epochs': [0]}]

    Fewer candidates, and one more:

    >>> grid = [*candidates[:4], {"encoder__hidden_width": [256]}]
    """
    data = read_X(BaseEstimator(), X, None, reset=True)
    candidates: list[dict[str, list[Any]]] = [
        {},
        {"pretrain_epochs": [40]},
        {"max_epochs": [0]},
        {"pretrain_epochs": [0], "max_epochs": [0]},
        {"learning_rate": [_LEARNING_RATE], "pretrain_learning_rate": [_LEARNING_RATE]},
        {"pairs": ["dropout"]},
        {"pseudo_labels": ["selected"]},
    ]
    has_sequences = data.lengths.max() > 1
    if None in data.widths.values() or has_sequences:
        candidates.append({"encoder": ["umc"]})
    if has_sequences:
        candidates.append({"encoder": [ProjectionEncoder(frame_path=False)]})
    return candidates
