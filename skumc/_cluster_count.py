"""Number of clusters in an embedding, by the stability of k-means on halves of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

_TOLERANCE = 0.04  # below the best stability, for up to five clusters
_TOLERANCE_TIMES_K = 0.2  # for more: dividing one of many hardly changes the index
_LEAST_STABILITY = 0.5
_LARGEST_VALLEY = 0.7
_N_DRAWS = 5
_HALF = 1000  # samples per half, at most
_N_COMPONENTS = 40
_N_STEPS = 10  # of k-means
_LARGEST = 100  # of the default candidates
_SAMPLES_PER_CLUSTER = 8
_FEWEST = 8  # samples, below which there is nothing to compare


@dataclass(frozen=True)
class NClustersEstimate:
    """Number of clusters and the curve by which it was chosen.

    Attributes
    ----------
    n_clusters : int
        The chosen number; 1 if there are no clusters to be found.
    interval : (int, int)
        Smallest and largest of the choice and of those by single draws.
    candidates : ndarray of int, shape (n_candidates,)
        Numbers that were compared, increasing; empty for fewer than eight samples.
    stability : ndarray of float, shape (n_candidates,)
        Mean adjusted Rand index of the clusterings of two halves of the samples.
    deviation : ndarray of float, shape (n_candidates,)
        Standard deviation of the index over the draws.
    valley : float
        Density halfway between neighboring clusters, relative to that at their medians, with the
        largest number of almost the best stability; NaN without candidates.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc.model_selection import NClustersEstimate
    >>> none = np.array([])
    >>> NClustersEstimate(1, (1, 1), none.astype(int), none, none, float("nan")).n_clusters
    1
    """

    n_clusters: int
    interval: tuple[int, int]
    candidates: np.ndarray
    stability: np.ndarray
    deviation: np.ndarray
    valley: float


def default_candidates(n_samples: int) -> list[int]:
    """List numbers from 2 to an eighth of the samples, at most 100, in steps of 7 % or 1.

    Examples
    --------
    >>> default_candidates(40), default_candidates(7)
    ([2, 3, 4, 5], [])
    """
    if n_samples < _FEWEST:
        return []
    top = max(min(n_samples // _SAMPLES_PER_CLUSTER, _LARGEST), 2)
    found, value = [2], 2.0
    while found[-1] < top:
        value = max(value * 1.07, found[-1] + 1.0)
        found.append(min(int(value), top))
    return found


def _means(values: np.ndarray, labels: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Means by label; ``old`` where a label has no samples."""
    sums, counts = np.zeros_like(old), np.bincount(labels, minlength=len(old))[:, None]
    np.add.at(sums, labels, values)
    return np.where(counts > 0, sums / np.maximum(counts, 1), old)


def _assign(values: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return (np.square(centers).sum(axis=1) - 2 * values @ centers.T).argmin(axis=1)


def _cluster_all(values: np.ndarray, candidates: Sequence[int]) -> list[np.ndarray]:
    """Centers by k-means that starts from Ward's tree, for each number of clusters."""
    cuts = cut_tree(linkage(values, "ward"), n_clusters=list(candidates))
    found = []
    for column, n_clusters in enumerate(candidates):
        labels = cuts[:, column]
        centers = _means(values, labels, np.zeros((n_clusters, values.shape[1])))
        for _ in range(_N_STEPS):
            before, labels = labels, _assign(values, centers)
            if np.array_equal(before, labels):
                break
            centers = _means(values, labels, centers)
        found.append(centers)
    return found


def _valley(centers: np.ndarray, other: np.ndarray) -> float:
    """Median over clusters of the density halfway to the nearest center, relative to the medians.

    ``other`` are samples that the centers do not come from.
    """
    distances = np.square(centers[:, None] - centers[None]).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    labels, ratios = _assign(other, centers), []
    for cluster, near in enumerate(distances.argmin(axis=1)):
        axis = centers[near] - centers[cluster]
        sides = [other[labels == one] @ axis for one in (cluster, near)]
        if min(map(len, sides)) < 3:
            continue
        first, second = np.median(sides[0]), np.median(sides[1])
        width = 0.2 * (second - first)
        density = [
            sum(float((np.abs(side - place) < width).mean()) for side in sides)
            for place in (first, (first + second) / 2, second)
        ]
        ratios.append(density[1] / max(min(density[0], density[2]), 1e-9))
    return float(np.median(ratios)) if ratios else np.nan


def _largest_stable(candidates: np.ndarray, stability: np.ndarray) -> int:
    """Take the largest candidate with almost the best stability."""
    tolerance = np.minimum(_TOLERANCE, _TOLERANCE_TIMES_K / candidates)
    return int(candidates[np.flatnonzero(stability >= stability.max() - tolerance)[-1]])


def _choose(candidates: np.ndarray, stability: np.ndarray, valley: float) -> int:
    """Take the largest stable candidate, or 1 if it is no better than one cluster."""
    if stability.max() < _LEAST_STABILITY or valley > _LARGEST_VALLEY:
        return 1
    return _largest_stable(candidates, stability)


def estimate_in_embedding(
    embedding: np.ndarray, candidates: Sequence[int] | None, rng: np.random.RandomState
) -> NClustersEstimate:
    """Choose the number of clusters of an embedding.

    Parameters
    ----------
    embedding : ndarray of shape (n_samples, n_components)
    candidates : sequence of int or None
        Increasing numbers of at least 2. None is :func:`default_candidates`. Those above half of
        the distinct points are left out.
    rng : RandomState

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.RandomState(0)
    >>> h = np.repeat(np.eye(3), 30, axis=0) + 0.05 * rng.normal(size=(90, 3))
    >>> found = estimate_in_embedding(h, None, rng)
    >>> found.n_clusters, found.interval
    (3, (3, 3))
    """
    values = np.asarray(embedding, dtype=np.float64)
    if candidates is None:
        candidates = default_candidates(len(values))
    most = min(len(np.unique(values, axis=0)), len(values)) // 2
    numbers = np.array([k for k in candidates if k <= most], dtype=np.int64)
    if not len(numbers) or len(values) < _FEWEST:
        empty = np.empty(0)
        return NClustersEstimate(1, (1, 1), numbers[:0], empty, empty, np.nan)
    values = PCA(min(_N_COMPONENTS, *values.shape), svd_solver="full").fit_transform(values)
    curves, found = [], []
    for _ in range(_N_DRAWS):
        rows = rng.permutation(len(values))[: 2 * _HALF]
        halves = values[rows[: len(rows) // 2]], values[rows[len(rows) // 2 :]]
        centers = [_cluster_all(half, [k for k in numbers if k <= len(half)]) for half in halves]
        curve = [
            np.mean([adjusted_rand_score(_assign(h, a), _assign(h, b)) for h in halves])
            for a, b in zip(*centers, strict=False)
        ]
        curves.append(curve)
        found.append((halves, centers))
    shortest = min(map(len, curves))
    numbers, table = numbers[:shortest], np.array([curve[:shortest] for curve in curves])
    ratios = []
    place = int(np.flatnonzero(numbers == _largest_stable(numbers, table.mean(axis=0)))[0])
    for halves, centers in found:
        sides = [_valley(centers[i][place], halves[1 - i]) for i in (0, 1)]
        ratios.append(float(np.mean(sides)))
    known = [ratio for ratio in ratios if np.isfinite(ratio)]
    valley = float(np.mean(known)) if known else 0.0
    picks = [_choose(numbers, row, ratio) for row, ratio in zip(table, ratios, strict=True)]
    chosen = _choose(numbers, table.mean(axis=0), valley)
    interval = min(chosen, *picks), max(chosen, *picks)
    return NClustersEstimate(
        chosen, interval, numbers, table.mean(axis=0), table.std(axis=0), valley
    )
