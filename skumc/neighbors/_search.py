"""Exact nearest neighbors over blocks of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skumc._moments import Moments

_ROWS = 1024  # samples per block of the distance matrix
_ANY_TWO = 2.0  # expected squared distance of two samples in a block of mean squared norm 1


class Block(NamedTuple):
    """Features of all samples that contribute to the distance together.

    Attributes
    ----------
    values : Tensor of shape (n_samples, width)
        Centered, with mean squared norm 1.
    present : Tensor of bool, shape (n_samples,), or None
        Samples that have these features; None means all.
    weight : float
        Weight of the squared distance.
    """

    values: Tensor
    present: Tensor | None
    weight: float


def standardized(summary: Tensor, present: Tensor) -> Tensor:
    """Scale features to deviation 1 over the present samples, then to mean squared norm 1."""
    if not bool(present.any()):
        return torch.zeros_like(summary)
    moments = Moments(summary.shape[1], summary.device)
    moments.add(summary[present])
    mean, scale = moments.mean_and_scale()
    standard = (summary.double() - mean) / scale
    norm = standard[present].square().sum(dim=1).mean().sqrt().clamp(min=1e-6)
    return torch.where(present.unsqueeze(1), standard / norm, 0.0).float()


def _joined(blocks: Sequence[Block]) -> list[Block]:
    """Join the blocks that all samples have into one; keep the others."""
    whole: list[Tensor] = []
    partial: list[Block] = []
    for block in blocks:
        if block.present is None or bool(block.present.all()):
            whole.append(block.weight**0.5 * block.values)
        else:
            partial.append(block)
    return [Block(torch.cat(whole, dim=1), None, 1.0), *partial] if whole else partial


def nearest(blocks: Sequence[Block], references: Tensor, n_nearest: int) -> Tensor:
    """Find the nearest references of each sample, the sample itself excluded.

    Parameters
    ----------
    blocks : sequence of Block
        The squared distance is their weighted sum. If either sample lacks a block, its distance is
        the average one.
    references : Tensor of int, shape (n_references,)
        Rows of the samples that can be neighbors.
    n_nearest : int
        Number of neighbors per sample, at most ``n_references - 1``.

    Returns
    -------
    Tensor of int, shape (n_samples, n_nearest)
        Nearest first.
    """
    blocks = _joined(blocks)
    found = []
    n_samples = len(blocks[0].values)
    column = references.new_full((n_samples,), -1)  # of each sample that is a reference
    column[references] = torch.arange(len(references), device=references.device)
    squares = [block.values.square().sum(dim=1) for block in blocks]
    others = [block.values[references].T for block in blocks]
    for start in range(0, n_samples, _ROWS):
        rows = slice(start, start + _ROWS)
        total: Tensor | None = None
        for block, squared, values in zip(blocks, squares, others, strict=True):
            distances = torch.addmm(squared[references], block.values[rows], values, alpha=-2.0)
            if block.present is None:  # the sample's own norm is the same for all references
                total = distances
                continue
            distances += squared[rows].unsqueeze(1)
            both = block.present[rows].unsqueeze(1) & block.present[references]
            weighted = block.weight * torch.where(both, distances, _ANY_TWO)
            total = weighted if total is None else total + weighted
        assert total is not None
        own = torch.nonzero(column[rows] >= 0).squeeze(1)
        total[own, column[rows][own]] = torch.inf
        found.append(references[total.topk(n_nearest, largest=False).indices])
    return torch.cat(found)
