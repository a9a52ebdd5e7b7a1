"""Distances within one cluster, protected from overflow, cancellation and rounding noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 32 * 2**20
# Squared distances of a block, their norms and two temporary arrays.
_ARRAYS_PER_BLOCK = 4
_CANCELLATION = 1e-13
_ROUNDED_BITS = 30


def _unit_scaled(points: NDArray) -> NDArray[np.float64]:
    """Scale by a power of two, which is exact, so that the largest entry is below 1."""
    exponent = np.frexp(np.abs(points).max(initial=0.0))[1]
    return np.ldexp(points, -exponent)


def centered_points(points: NDArray) -> NDArray[np.float64]:
    """Move a cluster to the origin and to unit scale, which preserves ratios of distances.

    Norms then have the size of the distances, which keeps the dot-product form of a distance
    accurate far from the origin. The median, unlike the mean, does not follow an outlier, does
    not depend on the order of the rows and keeps integers free of rounding.
    """
    scaled = _unit_scaled(points.astype(np.float64))
    return _unit_scaled(scaled - np.median(scaled, axis=0))


def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to 30 significant bits, nine digits, so that equal quantities compare as equal.

    The last bits of a matrix product depend on the position of a row in its block. Without
    rounding, those bits would rank two duplicates, or two samples that are mutual nearest
    neighbors.
    """
    mantissas, exponents = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(mantissas, _ROUNDED_BITS)), exponents - _ROUNDED_BITS)


def first_ranked(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Return the positions of the ``count`` smallest values; ties go to the earlier position."""
    return np.argsort(rounded(values), kind="stable")[:count]


def squared_distance_blocks(
    points: NDArray[np.float64],
    queries: NDArray[np.intp] | None = None,
    references: NDArray[np.intp] | None = None,
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield blocks of squared distances; the distance of a point to itself is infinite.

    Parameters
    ----------
    points : ndarray of shape (n_points, width)
        Centered points.
    queries, references : ndarray of int, default=None
        Indices of the points in the rows and the columns, ascending; None is all points.

    Yields
    ------
    rows : slice
        Slice of the queries that the rows of the block are.
    squared : ndarray of shape (n_rows, n_references)
        Squared distances; the caller may overwrite them.
    """
    all_points = np.arange(len(points))
    queries = all_points if queries is None else queries
    columns = points if references is None else points[references]
    references = all_points if references is None else references
    norms = np.einsum("ij,ij->i", points, points)
    bytes_per_row = _ARRAYS_PER_BLOCK * points.itemsize * max(len(references), 1)
    n_rows = max(1, _BLOCK_BYTES // bytes_per_row)
    for start in range(0, len(queries), n_rows):
        rows = slice(start, min(start + n_rows, len(queries)))
        chosen = queries[rows]
        norm_sums = norms[chosen, None] + norms[references]
        squared = points[chosen] @ columns.T
        squared *= -2.0
        squared += norm_sums
        norm_sums *= _CANCELLATION
        squared[squared <= norm_sums] = 0.0
        # By index: among duplicates the sample itself need not be the first zero.
        place = np.searchsorted(references, chosen)
        own = np.flatnonzero(references[np.minimum(place, len(references) - 1)] == chosen)
        squared[own, place[own]] = np.inf
        yield rows, squared
