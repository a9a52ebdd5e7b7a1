"""A splitter that holds nothing out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils.validation import _num_samples


class AllSamples:
    """Splitter of scikit-learn's searches: one split, trained and scored on all samples.

    Settings that memorize score high this way; hold samples out where there are enough.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skumc.model_selection import AllSamples, input_silhouette_score
    >>> X = [[0.0], [0.1], [5.0], [5.1]]
    >>> search = GridSearchCV(
    ...     KMeans(random_state=0),
    ...     {"n_clusters": [2, 3]},
    ...     scoring=input_silhouette_score,
    ...     cv=AllSamples(),
    ... )
    >>> search.fit(X).best_params_
    {'n_clusters': 2}
    """

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the indices of all samples, for training and for scoring.

        Parameters
        ----------
        X : object of n_samples samples
        y : Ignored
        groups : Ignored

        Yields
        ------
        train, test : ndarray of int, shape (n_samples,)
        """
        del y, groups
        rows = np.arange(_num_samples(X))
        yield rows, rows.copy()

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return 1.

        Parameters
        ----------
        X : Ignored
        y : Ignored
        groups : Ignored
        """
        del X, y, groups
        return 1

    def __repr__(self) -> str:
        return "AllSamples()"
