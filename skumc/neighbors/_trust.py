"""Trust in modalities, and the agreement of their neighborhoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import cast

import numpy as np
import torch
from torch import Tensor

from skumc.neighbors._search import Block, nearest

_N_SHARED = 10  # nearest neighbors in one modality that are compared with another's
_ONE_IN = 8  # a wide neighborhood is this fraction of the samples


def n_compared(n_samples: int) -> int:
    """Size of a narrow neighborhood."""
    return min(_N_SHARED, max(n_samples // 4, 1))


def n_scored(n_samples: int, n_clusters: int) -> int:
    """Size of the neighborhoods by which a clustering is scored.

    A quarter of a cluster of average size, from 10 to 100; a quarter of few samples.
    """
    narrow = n_compared(n_samples)
    return narrow if narrow < _N_SHARED else min(max(n_samples // (4 * n_clusters), narrow), 100)


def _bar(n_nearest: int) -> float:
    """Ratio of shared neighbors to chance that counts as more than chance.

    Four and a half standard deviations, if the approximately ``n_nearest ** 2`` neighbors that are
    shared by chance were independent; at least 1.15, because they are not.
    """
    return 1 + min(max(4.5 / n_nearest, 0.15), 0.45)


def share_neighbors(near: Sequence[Tensor], both: Tensor) -> bool:
    """Decide whether two modalities share neighbors more often than chance.

    Parameters
    ----------
    near : two Tensors of int, shape (n_samples, n_nearest)
        Nearest neighbors of each sample in either modality.
    both : Tensor of bool, shape (n_samples,)
        Samples that have both modalities; all others are ignored.
    """
    n_samples, n_nearest = near[0].shape
    first, second = (
        both.new_zeros(n_samples, n_samples).scatter_(1, found, True)[both][:, both]
        for found in near
    )
    by_chance = (first.sum(dim=1) * second.sum(dim=1)).sum() / max(len(first) - 1, 1)
    return bool((first & second).sum() > _bar(n_nearest) * by_chance)


def judge(looks: Sequence[Mapping[str, Block]], anchor: str) -> dict[str, bool]:
    """Trust the modalities that share neighbors, narrow or wide ones, with another modality.

    Parameters
    ----------
    looks : sequence of dict of str to Block
        Different features of the samples to judge by; sharing neighbors in one of them counts.
    anchor : str
        The one modality to trust where no two share neighbors.
    """
    trusted = dict.fromkeys(looks[0], False)
    for blocks in looks:
        for pair in _sharing(blocks):
            trusted |= dict.fromkeys(pair, True)
    return trusted if any(trusted.values()) else {name: name == anchor for name in trusted}


def _sharing(blocks: Mapping[str, Block]) -> list[tuple[str, str]]:
    """List the pairs of modalities that share neighbors."""
    n_samples = len(next(iter(blocks.values())).values)
    n_near, n_wide = n_compared(n_samples), n_samples // _ONE_IN
    sizes = [n_near, n_wide] if n_wide > n_near else [n_near]
    found = {}
    for name, block in blocks.items():
        numbers = torch.arange(n_samples, device=block.values.device)
        found[name] = nearest([block], numbers, sizes[-1])
    pairs = []
    for first, second in combinations(blocks, 2):
        both = cast(Tensor, blocks[first].present) & cast(Tensor, blocks[second].present)
        near = [found[first], found[second]]  # nearest first
        if any(share_neighbors([rows[:, :n] for rows in near], both) for n in sizes):
            pairs.append((first, second))
    return pairs


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


def modularity(labels: np.ndarray, near: np.ndarray, present: np.ndarray) -> float:
    """Share of neighbors with the sample's label, minus that expected of random labels.

    Parameters
    ----------
    labels : ndarray of int, shape (n_samples,)
    near : ndarray of int, shape (n_samples, n_nearest)
        Nearest neighbors of each sample.
    present : ndarray of bool, shape (n_samples,)
        Samples that have the modality; the others have no neighbors and are none.

    Returns
    -------
    float
        0 for fewer than two samples.
    """
    rows = np.flatnonzero(present)
    if len(rows) < 2:
        return 0.0
    known = present[near[rows]]
    same = (labels[near[rows]] == labels[rows, None]) & known
    shares = np.bincount(labels[rows]) / len(rows)
    return float(same.sum() / max(known.sum(), 1) - np.square(shares).sum())
