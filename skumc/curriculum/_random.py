"""Selection of a random share of each cluster."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from skumc.curriculum._cutoffs import selection_mask
from skumc.curriculum._points import check_points


class RandomSelector(BaseEstimator):
    """Select a random share of each cluster, the baseline for the other selectors.

    Parameters
    ----------
    random_state : int, RandomState instance or None, default=None
        Source of the random draws. An int gives the same draw in each call; an instance continues
        from its state.

    See Also
    --------
    DensitySelector : Select the samples with the closest neighbors.
    CentroidSelector : Select the samples nearest to the mean.

    Notes
    -----
    The number of samples per cluster is the same as for :class:`DensitySelector` (UMC
    methodology, section 3.5.8.3). One number is drawn per sample, whatever the threshold, and the
    samples with the smallest numbers of a cluster are selected: with an int seed and equal
    labels, a larger threshold selects a superset of the samples of a smaller one.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc.curriculum import RandomSelector
    >>> mask = RandomSelector(random_state=0).select(np.ones((40, 2)), np.arange(40) % 2, 0.5)
    >>> int(mask[0::2].sum()), int(mask[1::2].sum())
    (10, 10)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"random_state": ["random_state"]}

    def __init__(self, random_state: int | RandomState | None = None):
        self.random_state = random_state

    def select(self, X: ArrayLike, labels: ArrayLike, threshold: float) -> NDArray[np.bool_]:
        """Select randomly drawn samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, width)
            Embedding, finite; checked, but otherwise unused.
        labels : array-like of int, shape (n_samples,)
            Cluster of each sample; each distinct integer is a cluster.
        threshold : float
            Share of each cluster to select, within [0, 1].

        Returns
        -------
        mask : ndarray of bool, shape (n_samples,)
            True for the selected samples, at least one in each cluster.

        Raises
        ------
        ValueError
            If X is not a finite 2-D array, labels are not one integer per row of X, or the
            threshold lies outside [0, 1].
        """
        self._validate_params()
        X, labels = check_points(X, labels)
        draws = check_random_state(self.random_state).random_sample(len(X))

        def pick(rows: NDArray, cutoff: int) -> NDArray:
            return np.argsort(draws[rows], kind="stable")[:cutoff]

        return selection_mask(labels, threshold, pick)
