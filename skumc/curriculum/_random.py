"""Selection of a random share of each cluster."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from skumc.curriculum._checks import check_points
from skumc.curriculum._cutoffs import selection_mask


class RandomSelector(BaseEstimator):
    """Select a random share of each cluster, the baseline for the other selectors.

    Parameters
    ----------
    random_state : int, RandomState instance or None, default=None
        An int gives the same draw on each call; an instance goes on from where it is.

    See Also
    --------
    DensitySelector : Where the cluster is densest.
    CentroidSelector : Nearest to the cluster's mean.

    Notes
    -----
    The number of samples of each cluster is the same as for :class:`DensitySelector` (UMC
    methodology, section 3.5.8.3). Each sample draws one number, whatever the threshold, and the
    smallest numbers of a cluster win: with an int seed and equal labels, a larger threshold
    selects all that a smaller one did.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc.curriculum import RandomSelector
    >>> mask = RandomSelector(random_state=0).select(np.ones((40, 2)), np.arange(40) % 2, 0.5)
    >>> int(mask[0::2].sum()), int(mask[1::2].sum())
    (10, 10)
    """

    def __init__(self, random_state: int | RandomState | None = None):
        self.random_state = random_state

    def select(self, X: ArrayLike, labels: ArrayLike, threshold: float) -> NDArray[np.bool_]:
        """Mark randomly drawn samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, width)
            Embedding, finite; checked, otherwise not used.
        labels : array-like of int, shape (n_samples,)
            Cluster of each sample; any integers, each of them a cluster.
        threshold : float
            Share of each cluster to select, within [0, 1].

        Returns
        -------
        mask : ndarray of bool, shape (n_samples,)
            True for the selected samples, at least one in each cluster.

        Raises
        ------
        ValueError
            If X is not a finite 2-D array, labels are not one integer for each row of X, or the
            threshold lies outside [0, 1].
        """
        X, labels = check_points(X, labels)
        draws = check_random_state(self.random_state).random_sample(len(X))

        def pick(rows: NDArray, cutoff: int) -> NDArray:
            return np.argsort(draws[rows], kind="stable")[:cutoff]

        return selection_mask(labels, threshold, pick)
