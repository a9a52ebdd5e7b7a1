"""Selection of the samples where a cluster is densest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from skumc.curriculum._checks import check_points
from skumc.curriculum._cutoffs import floor_share, selection_mask
from skumc.curriculum._geometry import (
    centred_points,
    first_ranked,
    settled,
    squared_distance_blocks,
)

_SOURCE_CANDIDATES = (0.10, 0.12, 0.14, 0.16, 0.18, 0.20, 0.22, 0.24, 0.26, 0.28, 0.30, 0.32)
_CRITERIA = ("source", "compact")


def _neighbour_counts(candidates: Iterable[float], size: int) -> list[int]:
    """Give the distinct numbers of neighbours for a cluster, in the order of the candidates."""
    counts = (min(max(floor_share(size, share), 1), size - 1) for share in candidates)
    return list(dict.fromkeys(counts))


def _mean_neighbour_distances(
    points: NDArray[np.float64], counts: Sequence[int], references: NDArray[np.intp] | None
) -> NDArray[np.float64]:
    """Give each point's mean distance to its nearest references, one row for each count."""
    largest = max(counts)
    places = np.asarray(counts) - 1
    means = np.empty((len(counts), len(points)))
    for rows, squared in squared_distance_blocks(points, references=references):
        squared.partition(largest - 1, axis=1)
        nearest = np.sort(squared[:, :largest], axis=1)
        np.sqrt(nearest, out=nearest)
        np.cumsum(nearest, axis=1, out=nearest)
        means[:, rows] = (nearest[:, places] / counts).T
    return means


def _distinct_selections(means: NDArray[np.float64], cutoff: int) -> NDArray[np.bool_]:
    """Give the selections of the candidates, each only once, in the order of the candidates."""
    selections = np.zeros(means.shape, dtype=bool)
    for selected, distances in zip(selections, means, strict=True):
        selected[first_ranked(distances, cutoff)] = True
    return np.array(list({selected.tobytes(): selected for selected in selections}.values()))


def _nearest_selected_means(
    points: NDArray[np.float64],
    selections: NDArray[np.bool_],
    asked: NDArray[np.intp] | None = None,
) -> NDArray[np.float64]:
    """Give each selection's mean distance from a selected point to the nearest other one.

    The mean is over those that are ``asked``, None being all; the nearest is exact.
    """
    # The selections overlap, so distances among all that any of them selects are computed once.
    union = np.flatnonzero(selections.any(axis=0))
    inside = selections[:, union]
    queries = None
    if asked is not None:
        queries = np.flatnonzero(np.isin(union, asked, assume_unique=True))
    counted = inside if queries is None else inside[:, queries]
    totals, n_counted = np.zeros(len(selections)), counted.sum(axis=1)
    several = np.flatnonzero((inside.sum(axis=1) > 1) & (n_counted > 0))
    for rows, squared in squared_distance_blocks(points[union], queries):
        for index in several:
            nearest = squared[np.ix_(counted[index, rows], inside[index])].min(axis=1)
            totals[index] += np.sqrt(nearest).sum()
    return totals / np.maximum(n_counted, 1)


class DensitySelector(BaseEstimator):
    r"""Select the samples of each cluster that have the closest neighbours.

    Parameters
    ----------
    candidates : sequence of float, default=(0.10, 0.12, ..., 0.32)
        Shares of a cluster that are tried as number of neighbours, each within (0, 1].
    criterion : {"source", "compact"}, default="source"
        Which candidate decides. "source" takes the one whose selected samples lie farthest from
        their nearest selected neighbour, as printed; "compact" the one where they lie closest.
    sample_size : int or None, default=1536
        In a cluster of more samples neighbours are looked for among so many, drawn at random, and
        scores are means over these: estimates, see Notes. None is exact always.
    random_state : int, RandomState instance or None, default=0
        Draws those samples.

    See Also
    --------
    CentroidSelector : Nearest to the cluster's mean.
    RandomSelector : A random share, the baseline.

    Notes
    -----
    For a cluster :math:`C` of :math:`s` samples, :math:`N` samples in :math:`K` clusters and the
    threshold :math:`\tau`:

    1. The cutoff is :math:`s` where :math:`s \le 5`, otherwise
       :math:`\max(\lfloor s \tau \rfloor, \min(N_{min}, s))` with
       :math:`N_{min} = \max(5, \lfloor 0.1 N / K \rfloor)`.
    2. For each candidate :math:`\kappa`, :math:`n = \max(\lfloor \kappa s \rfloor, 1)`, at most
       :math:`s - 1`. With :math:`x_{(j)}` the :math:`j`-th nearest other sample of :math:`C`, the
       density is

       .. math:: \rho_n(x) = \frac{1}{D_n(x)}, \qquad
          D_n(x) = \frac{1}{n} \sum_{j=1}^{n} \|x - x_{(j)}\|

       infinite where :math:`D_n(x) = 0`. The cutoff samples of highest density are the
       candidate's selection :math:`S_\kappa`.
    3. The score is the mean distance to the nearest other sample of the selection,

       .. math:: Score(\kappa) = \frac{1}{|S_\kappa|} \sum_{x \in S_\kappa}
          \min_{x' \in S_\kappa, x' \ne x} \|x - x'\|

       or 0 where it has one sample. The largest score wins ("source") or the smallest
       ("compact"), the first one among equals.

    Densities and scores that agree in nine digits count as equal, and then the sample with the
    smaller row index leads. Distances are exact to about 1e-7 of the samples' distance from
    the centre of their cluster; closer samples count as duplicates.

    In a cluster beyond ``sample_size`` samples, :math:`n` is the share :math:`\kappa` of the drawn
    ones and :math:`x_{(j)}` is one of them; the score is the mean over the drawn ones in
    :math:`S_\kappa`, of whose distances to the nearest in all of it. So time and memory grow with
    the number of samples, where the exact way takes the sum of the squared cluster sizes.

    The source calls the score compactness although larger values mean sparser selections, hence
    the choice of criterion. From the UMC methodology, sections 3.5.8.1 to 3.5.8.4 and algorithm 2
    in section 3.8.2.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc.curriculum import DensitySelector
    >>> X = np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [5.0], [9.0], [50.0]])
    >>> labels = np.array([3, 3, 3, 3, 3, 3, 3, 8])
    >>> DensitySelector().select(X, labels, threshold=0.5)
    array([ True,  True,  True,  True,  True, False, False,  True])
    """

    def __init__(
        self,
        candidates: Sequence[float] = _SOURCE_CANDIDATES,
        criterion: str = "source",
        sample_size: int | None = 1536,
        random_state: int | RandomState | None = 0,
    ):
        self.candidates = candidates
        self.criterion = criterion
        self.sample_size = sample_size
        self.random_state = random_state

    def select(self, X: ArrayLike, labels: ArrayLike, threshold: float) -> NDArray[np.bool_]:
        """Mark the samples in the densest parts of their clusters.

        Parameters
        ----------
        X : array-like of shape (n_samples, width)
            Embedding, finite.
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
            If X is not a finite 2-D array, labels are not one integer for each row of X, the
            threshold lies outside [0, 1], or a parameter has an unknown value.
        """
        candidates = self._validated_candidates()
        X, labels = check_points(X, labels)
        rng = check_random_state(self.random_state)

        def pick(rows: NDArray, cutoff: int) -> NDArray:
            points, drawn = centred_points(X[rows]), None
            if self.sample_size is not None and len(rows) > self.sample_size:
                drawn = np.sort(rng.choice(len(rows), self.sample_size, replace=False))
            counts = _neighbour_counts(candidates, len(rows) if drawn is None else len(drawn))
            means = _mean_neighbour_distances(points, counts, drawn)
            selections = _distinct_selections(means, cutoff)
            return np.flatnonzero(self._best(points, selections, drawn))

        return selection_mask(labels, threshold, pick)

    def _best(
        self,
        points: NDArray[np.float64],
        selections: NDArray[np.bool_],
        drawn: NDArray[np.intp] | None,
    ) -> NDArray[np.bool_]:
        """Give the selection that the criterion prefers."""
        if len(selections) == 1:
            return selections[0]
        scores = settled(_nearest_selected_means(points, selections, drawn))
        return selections[scores.argmax() if self.criterion == "source" else scores.argmin()]

    def _validated_candidates(self) -> list[float]:
        """Check the parameters and give the candidates as floats."""
        size = self.sample_size
        if size is not None and (not isinstance(size, Integral) or size < 2):
            raise ValueError(
                f"Got sample_size={size!r}, expected a whole number of at least 2, or None for "
                "exact neighbours in clusters of any size."
            )
        if self.criterion not in _CRITERIA:
            raise ValueError(
                f"Got criterion={self.criterion!r}, expected one of {_CRITERIA}. Use 'source' for "
                "the printed rule, 'compact' for the tightest selection."
            )
        candidates = list(self.candidates) if np.iterable(self.candidates) else []
        if not candidates or not all(isinstance(c, Real) and 0.0 < c <= 1.0 for c in candidates):
            raise ValueError(
                f"Got candidates={self.candidates!r}, expected one or more numbers within (0, 1]. "
                "They are shares of a cluster, such as (0.1, 0.2, 0.3)."
            )
        return [float(candidate) for candidate in candidates]
