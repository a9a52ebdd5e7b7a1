"""Trust in modalities, and the agreement of their neighborhoods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import cast

import numpy as np
import torch
from torch import Tensor

from skumc.neighbors._search import Block, nearest

_N_SHARED = 10  # nearest neighbors in one modality that are compared with another's
_ONE_IN = 8  # a wide neighborhood is this fraction of the samples
# Excess of shared neighbors, in deviations, up to which a modality has no trust, and from which
# it has full trust; several neighborhoods are compared, and one of them is above 3 by chance.
_NO_TRUST, _FULL_TRUST = 3.0, 4.5


def n_compared(n_samples: int) -> int:
    """Size of a narrow neighborhood."""
    return min(_N_SHARED, max(n_samples // 4, 1))


def n_scored(n_samples: int, n_clusters: int) -> int:
    """Size of the neighborhoods by which a clustering is scored.

    A quarter of a cluster of average size, from 10 to 100; a quarter of few samples.
    """
    narrow = n_compared(n_samples)
    return narrow if narrow < _N_SHARED else min(max(n_samples // (4 * n_clusters), narrow), 100)


def _pattern_sums(relation: Tensor) -> Tensor:
    """Sum of the products of two entries of a relation, by the rows and columns they share.

    Parameters
    ----------
    relation : Tensor of bool, shape (n_samples, n_samples)
        False on the diagonal.

    Returns
    -------
    Tensor of float64, shape (6,)
        Products of an entry with itself, with its transpose, with another entry of its row, of its
        column, of the row of its column or the column of its row, and with one that shares neither.
    """
    row, column = relation.sum(dim=1).double(), relation.sum(dim=0).double()
    total, mutual = row.sum(), (relation & relation.T).sum()
    in_row, in_column = row.square().sum() - total, column.square().sum() - total
    crossed = 2 * ((row * column).sum() - mutual)
    apart = total.square() - total - mutual - in_row - in_column - crossed
    return torch.stack([total, mutual, in_row, in_column, crossed, apart])


def excess(near: Sequence[Tensor], both: Tensor) -> float:
    r"""Standardized number of neighbors that two modalities share beyond chance.

    Parameters
    ----------
    near : two Tensors of int, shape (n_samples, n_nearest)
        Nearest neighbors of each sample in either modality.
    both : Tensor of bool, shape (n_samples,)
        Samples that have both modalities; all others are ignored.

    Returns
    -------
    float
        :math:`(s - E s) / \sqrt{Var(s)}` for the number :math:`s` of shared neighbors; mean and
        variance are those over all permutations of the samples in one of the modalities. 0 for
        fewer than four samples, and where the variance is 0.

    Notes
    -----
    The permutation test for two relations of Mantel (1967), with its exact moments. Two entries of
    one relation are equally likely to meet any two entries of the other with rows and columns that
    coincide in the same way, of which there are six. They account for samples that are near to many
    others.
    """
    n_samples = len(near[0])
    first, second = (
        both.new_zeros(n_samples, n_samples).scatter_(1, found, True)[both][:, both]
        for found in near
    )
    n = len(first)
    if n < 4:
        return 0.0
    pairs = n * (n - 1)
    ways = [pairs, pairs, *[pairs * (n - 2)] * 2, 2 * pairs * (n - 2), pairs * (n - 2) * (n - 3)]
    products = _pattern_sums(first) * _pattern_sums(second)
    square = (products / torch.tensor(ways, dtype=products.dtype, device=products.device)).sum()
    mean = first.sum().double() * second.sum() / pairs
    variance = float(square - mean.square())
    if variance <= 1e-9 * float(square):  # rounding
        return 0.0
    return float((first & second).sum() - mean) / variance**0.5


def judge(looks: Sequence[Mapping[str, Block]], anchor: str) -> dict[str, float]:
    """Trust the modalities that share neighbors, narrow or wide ones, with another modality.

    Parameters
    ----------
    looks : sequence of dict of str to Block
        Different features of the samples to judge by; the largest excess over chance counts.
    anchor : str
        The one modality to trust where no two share neighbors.

    Returns
    -------
    dict of str to float
        Trust within [0, 1]. It rises linearly with the excess, from 3 to 4.5 standard deviations.
        The anchor has at least what the most trusted modality lacks to 1.
    """
    largest = dict.fromkeys(looks[0], 0.0)
    for blocks in looks:
        for pair, found in _excesses(blocks):
            for name in pair:
                largest[name] = max(largest[name], found)
    rise = _FULL_TRUST - _NO_TRUST
    trust = {
        name: min(max((found - _NO_TRUST) / rise, 0.0), 1.0) for name, found in largest.items()
    }
    trust[anchor] = max(trust[anchor], 1.0 - max(trust.values()))
    return trust


def _excesses(blocks: Mapping[str, Block]) -> Iterator[tuple[tuple[str, str], float]]:
    """Compare each pair of modalities by narrow and by wide neighborhoods."""
    n_samples = len(next(iter(blocks.values())).values)
    n_near, n_wide = n_compared(n_samples), n_samples // _ONE_IN
    sizes = [n_near, n_wide] if n_wide > n_near else [n_near]
    found = {}
    for name, block in blocks.items():
        numbers = torch.arange(n_samples, device=block.values.device)
        found[name] = nearest([block], numbers, sizes[-1])
    for pair in combinations(blocks, 2):
        both = torch.stack([cast(Tensor, blocks[name].present) for name in pair]).all(dim=0)
        for n in sizes:
            yield pair, excess([found[name][:, :n] for name in pair], both)  # nearest first


def agreement(partners: Tensor, near: Sequence[Tensor], present: Sequence[Tensor]) -> float:
    """Share of neighbors that are near in at least two modalities.

    Parameters
    ----------
    partners : Tensor of int, shape (n_samples, n_partners)
        Neighbors of each sample in the joint input.
    near : sequence of Tensor of int, shape (n_samples, n_nearest)
        Neighbors of each sample in each modality.
    present : sequence of Tensor of bool, shape (n_samples,)
        Samples that have each modality.

    Returns
    -------
    float
        Within [0, 1], over the pairs that have two modalities in common; 1 where there is none.
    """
    both = [there[partners] & there.unsqueeze(1) for there in present]
    # a sample without a modality has no neighbors in it, regardless of its row
    shared = [
        (partners.unsqueeze(2) == rows.unsqueeze(1)).any(dim=2) & seen
        for rows, seen in zip(near, both, strict=True)
    ]
    comparable = torch.stack(both).sum(dim=0) > 1
    if not bool(comparable.any()):
        return 1.0
    in_modalities = torch.stack(shared).sum(dim=0)
    return float((in_modalities[comparable] > 1).double().mean())


def modularity(
    labels: np.ndarray, near: np.ndarray, present: np.ndarray, scored: np.ndarray | None = None
) -> float:
    """Share of neighbors with the sample's label, minus that expected of random labels.

    Parameters
    ----------
    labels : ndarray of int, shape (n_samples,)
    near : ndarray of int, shape (n_samples, n_nearest)
        Nearest neighbors of each sample.
    present : ndarray of bool, shape (n_samples,)
        Samples that have the modality; the others have no neighbors and are none.
    scored : ndarray of int, shape (n_scored,), or None, default=None
        Samples of which the neighbors are compared; None is all.

    Returns
    -------
    float
        0 for fewer than two samples that have the modality, and if none of them is scored.
    """
    rows = np.flatnonzero(present)
    if len(rows) < 2:
        return 0.0
    shares = np.bincount(labels[rows]) / len(rows)
    if scored is not None:
        rows = scored[present[scored]]
    if not len(rows):
        return 0.0
    known = present[near[rows]]
    same = (labels[near[rows]] == labels[rows, None]) & known
    return float(same.sum() / max(known.sum(), 1) - np.square(shares).sum())
