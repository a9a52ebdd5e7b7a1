"""Selection of the samples in the densest part of each cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

from skumc.curriculum._cutoffs import floor_share, selection_mask
from skumc.curriculum._geometry import (
    centered_points,
    first_ranked,
    rounded,
    squared_distance_blocks,
)
from skumc.curriculum._points import check_points

_SOURCE_CANDIDATES = (0.10, 0.12, 0.14, 0.16, 0.18, 0.20, 0.22, 0.24, 0.26, 0.28, 0.30, 0.32)
_CANDIDATE = [Interval(Real, 0, 1, closed="right")]


def _neighbor_counts(candidates: Iterable[float], size: int) -> list[int]:
    """Return the distinct numbers of neighbors (3.5.8.2), in the order of the candidates."""
    counts = (min(max(floor_share(size, share), 1), size - 1) for share in candidates)
    return list(dict.fromkeys(counts))


def _mean_neighbor_distances(
    points: NDArray[np.float64], counts: Sequence[int], references: NDArray[np.intp] | None
) -> NDArray[np.float64]:
    """Return the mean distance of each point to its nearest references, one row per count."""
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
    """Return the distinct selections of the candidates, in the order of the candidates."""
    selections = np.zeros(means.shape, dtype=bool)
    for selected, distances in zip(selections, means, strict=True):
        selected[first_ranked(distances, cutoff)] = True
    return np.array(list({selected.tobytes(): selected for selected in selections}.values()))


def _nearest_selected_means(
    points: NDArray[np.float64],
    selections: NDArray[np.bool_],
    queries: NDArray[np.intp] | None = None,
) -> NDArray[np.float64]:
    """Return the mean distance from a selected point to the nearest other one, per selection.

    The mean is over the ``queries``, None being all points; the nearest point is exact. It is the
    score of section 3.5.8.2 of the UMC methodology.
    """
    # The selections overlap: distances within their union are computed once.
    union = np.flatnonzero(selections.any(axis=0))
    inside = selections[:, union]
    rows_in_union = None
    if queries is not None:
        rows_in_union = np.flatnonzero(np.isin(union, queries, assume_unique=True))
    counted = inside if rows_in_union is None else inside[:, rows_in_union]
    totals, n_counted = np.zeros(len(selections)), counted.sum(axis=1)
    several = np.flatnonzero((inside.sum(axis=1) > 1) & (n_counted > 0))
    for rows, squared in squared_distance_blocks(points[union], rows_in_union):
        for index in several:
            nearest = squared[np.ix_(counted[index, rows], inside[index])].min(axis=1)
            totals[index] += np.sqrt(nearest).sum()
    return totals / np.maximum(n_counted, 1)


class DensitySelector(BaseEstimator):
    r"""Select the samples of each cluster with the closest neighbors.

    Parameters
    ----------
    candidates : sequence of float, default=(0.10, 0.12, ..., 0.32)
        Numbers of neighbors to try, as shares of a cluster, each within (0, 1].
    criterion : {"source", "compact"}, default="source"
        Criterion to choose between the candidates: the largest mean distance of selected samples
        to their nearest selected neighbor, as printed ("source"), or the smallest ("compact").
    sample_size : int or None, default=1536
        Number of samples to draw from each larger cluster. Neighbors are searched among the drawn
        samples, and scores are means over them: estimates, see Notes. None is always exact.
    random_state : int, RandomState instance or None, default=0
        Source of these draws.

    See Also
    --------
    CentroidSelector : Select the samples nearest to the mean.
    RandomSelector : Select a random share, the baseline.

    Notes
    -----
    For a cluster :math:`C` of :math:`s` samples, :math:`N` samples in :math:`K` clusters and the
    threshold :math:`\tau`:

    1. The cutoff (3.5.8.3) is :math:`s` if :math:`s \le 5`, otherwise
       :math:`\max(\lfloor s \tau \rfloor, \min(N_{min}, s))` with
       :math:`N_{min} = \max(5, \lfloor 0.1 N / K \rfloor)`.
    2. For each candidate :math:`\kappa`, :math:`n = \max(\lfloor \kappa s \rfloor, 1)`, at most
       :math:`s - 1` (3.5.8.2). With :math:`x_{(j)}` the :math:`j`-th nearest other sample of
       :math:`C`, the density (3.5.8.1) is

       .. math:: \rho_n(x) = \frac{1}{D_n(x)}, \qquad
          D_n(x) = \frac{1}{n} \sum_{j=1}^{n} \|x - x_{(j)}\|

       infinite if :math:`D_n(x) = 0`. The selection :math:`S_\kappa` of the candidate holds the
       samples of highest density, as many as the cutoff (3.5.8.4).
    3. The score (3.5.8.2) is the mean distance to the nearest other sample of the selection,

       .. math:: Score(\kappa) = \frac{1}{|S_\kappa|} \sum_{x \in S_\kappa}
          \min_{x' \in S_\kappa, x' \ne x} \|x - x'\|

       or 0 if it has one sample. The candidate with the largest score ("source") or the
       smallest ("compact") is chosen, the first one in a tie.

    Densities and scores that agree to nine digits count as equal; ties go to the smaller row
    index. Distances are exact to about 1e-7 of the distance of the samples from the center of
    their cluster; closer samples count as duplicates.

    In a cluster of more than ``sample_size`` samples, :math:`n` is the share :math:`\kappa` of the
    drawn samples and :math:`x_{(j)}` is one of them. The score is the mean over the drawn samples
    in :math:`S_\kappa` of the distance to the nearest other sample in all of :math:`S_\kappa`. Time
    and memory grow linearly with the number of samples; the time of the exact computation grows
    with the sum of the squared cluster sizes.

    The source calls the score compactness although larger values mean sparser selections, hence
    the choice of criterion. Section numbers are those of the UMC methodology; algorithm 2 is
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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "candidates": ["array-like"],
        "criterion": [StrOptions({"source", "compact"})],
        "sample_size": [Interval(Integral, 2, None, closed="left"), None],
        "random_state": ["random_state"],
    }

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
        """Select the samples in the densest parts of their clusters.

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
            If X is not a finite 2-D array, labels are not one integer per row of X, the
            threshold lies outside [0, 1], or a parameter is invalid.
        """
        self._validate_params()
        candidates = self._validated_candidates()
        X, labels = check_points(X, labels)
        rng = check_random_state(self.random_state)

        def pick(rows: NDArray, cutoff: int) -> NDArray:
            points, drawn = centered_points(X[rows]), None
            if self.sample_size is not None and len(rows) > self.sample_size:
                drawn = np.sort(rng.choice(len(rows), self.sample_size, replace=False))
            counts = _neighbor_counts(candidates, len(rows) if drawn is None else len(drawn))
            means = _mean_neighbor_distances(points, counts, drawn)
            selections = _distinct_selections(means, cutoff)
            return np.flatnonzero(self._best(points, selections, drawn))

        return selection_mask(labels, threshold, pick)

    def _best(
        self,
        points: NDArray[np.float64],
        selections: NDArray[np.bool_],
        drawn: NDArray[np.intp] | None,
    ) -> NDArray[np.bool_]:
        """Return the selection with the best score by the criterion (3.5.8.2)."""
        if len(selections) == 1:
            return selections[0]
        scores = rounded(_nearest_selected_means(points, selections, drawn))
        return selections[scores.argmax() if self.criterion == "source" else scores.argmin()]

    def _validated_candidates(self) -> list[float]:
        """Check each candidate and return all as floats."""
        candidates = {f"candidates[{i}]": share for i, share in enumerate(self.candidates)}
        if not candidates:
            raise ValueError(
                f"Got candidates={self.candidates!r}, expected one or more shares of a cluster, "
                "such as (0.1, 0.2, 0.3)."
            )
        validate_parameter_constraints(
            dict.fromkeys(candidates, _CANDIDATE), candidates, caller_name=type(self).__name__
        )
        return [float(share) for share in candidates.values()]
