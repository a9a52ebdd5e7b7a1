"""Selection of the samples nearest to the mean of their cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from skumc.curriculum._cutoffs import selection_mask
from skumc.curriculum._geometry import centered_points, first_ranked
from skumc.curriculum._points import check_points


class CentroidSelector(BaseEstimator):
    """Select the samples of each cluster nearest to its mean.

    See Also
    --------
    DensitySelector : Select the samples with the closest neighbors.
    RandomSelector : Select a random share, the baseline.

    Notes
    -----
    The number of samples per cluster is the same as for :class:`DensitySelector` (UMC
    methodology, section 3.5.8.3). Distances that agree to nine digits count as equal; ties go to
    the smaller row index.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc.curriculum import CentroidSelector
    >>> X = np.array([[-9.0], [-2.0], [-1.0], [0.0], [1.0], [2.0], [9.0]])
    >>> CentroidSelector().select(X, np.zeros(7, dtype=int), threshold=0.2)
    array([False,  True,  True,  True,  True,  True, False])
    """

    def select(self, X: ArrayLike, labels: ArrayLike, threshold: float) -> NDArray[np.bool_]:
        """Select the samples nearest to the means of their clusters.

        Parameters
        ----------
        X : array-like of shape (n_samples, width)
            Embedding, finite.
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
        X, labels = check_points(X, labels)

        def pick(rows: NDArray, cutoff: int) -> NDArray:
            points = centered_points(X[rows])
            offsets = points - points.mean(axis=0)
            return first_ranked(np.linalg.norm(offsets, axis=1), cutoff)

        return selection_mask(labels, threshold, pick)
