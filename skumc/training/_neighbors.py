"""Which samples are alike, and how far modalities agree on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skumc._moments import Moments
from skumc.data import MultimodalData, inference_batches
from skumc.encoders import encode_summaries
from skumc.training._batches import evaluating, to_batch

_N_PARTNERS = 5
_N_SHARED = 10  # nearest neighbours in one modality among which others are looked for
_ONE_IN = 8  # samples are a wide neighbourhood
_MOST_JUDGED = 2048  # samples by which modalities are judged
_MOST_REFERENCES = 4096  # samples that neighbours are looked for among
_BLOCK = 1024
_ANY_TWO = 2.0  # expected squared distance of two samples in a block of mean squared norm 1


class Block(NamedTuple):
    """One way to look at all samples.

    Attributes
    ----------
    values : Tensor of shape (n_samples, width)
        Centred, of mean squared norm 1.
    present : Tensor of bool, shape (n_samples,), or None
        Samples that can be seen so; None stands for all.
    weight : float
        Of the squared distance.
    """

    values: Tensor
    present: Tensor | None
    weight: float


def _joined(blocks: Sequence[Block]) -> list[Block]:
    """Blocks in which everyone is present side by side as one, then the others."""
    whole: list[Tensor] = []
    partial: list[Block] = []
    for block in blocks:
        if bool(block.present.all()):
            whole.append(block.weight**0.5 * block.values)
        else:
            partial.append(block)
    return [Block(torch.cat(whole, dim=1), None, 1.0), *partial] if whole else partial


def _nearest(blocks: Sequence[Block], references: Tensor, n_nearest: int) -> Tensor:
    """The nearest references of each sample, itself left out, (n_samples, n_nearest) int.

    The squared distance is the weighted sum over blocks; two samples of which one is not present in
    a block are as far apart there as any two.
    """
    blocks = _joined(blocks)
    found = []
    n_samples = len(blocks[0].values)
    column = references.new_full((n_samples,), -1)  # of each sample that is a reference
    column[references] = torch.arange(len(references), device=references.device)
    squares = [block.values.square().sum(dim=1) for block in blocks]
    others = [block.values[references].T for block in blocks]
    for start in range(0, n_samples, _BLOCK):
        rows = slice(start, start + _BLOCK)
        total: Tensor | float = 0.0
        for block, squared, values in zip(blocks, squares, others, strict=True):
            distances = torch.addmm(squared[references], block.values[rows], values, alpha=-2.0)
            if block.present is None:  # each row has the same left out, which changes no order
                total = distances
                continue
            distances += squared[rows].unsqueeze(1)
            both = block.present[rows].unsqueeze(1) & block.present[references]
            total = total + block.weight * torch.where(both, distances, _ANY_TWO)
        own = torch.nonzero(column[rows] >= 0).squeeze(1)
        total[own, column[rows][own]] = torch.inf
        found.append(references[total.topk(n_nearest, largest=False).indices])
    return torch.cat(found)


def _scaled(summary: Tensor, present: Tensor) -> Tensor:
    """Features of deviation 1 over the samples present, then a mean squared norm of 1."""
    if not bool(present.any()):
        return torch.zeros_like(summary)
    moments = Moments(summary.shape[1], summary.device)
    moments.add(summary[present])
    mean, scale = moments.mean_and_scale()
    standard = (summary.double() - mean) / scale
    norm = standard[present].square().sum(dim=1).mean().sqrt().clamp(min=1e-6)
    return torch.where(present.unsqueeze(1), standard / norm, 0.0).float()


def _summaries(encoder: nn.Module, data: MultimodalData, device: torch.device) -> dict[str, Tensor]:
    """Summaries of all samples, by modality (n_samples, width)."""
    found: dict[str, Tensor] = {}
    with evaluating(encoder):
        for rows in inference_batches(data):
            for name, values in encode_summaries(encoder, to_batch(data, rows, device)).items():
                if name not in found:
                    found[name] = values.new_zeros(len(data), values.shape[1], dtype=torch.float32)
                found[name][torch.from_numpy(rows).to(device)] = values.float()
    return found


def _shared(first: Tensor, second: Tensor) -> Tensor:
    """Which of each sample's neighbours in ``first`` are in ``second`` too, as ``first``."""
    return (first.unsqueeze(2) == second.unsqueeze(1)).any(dim=2)


def _n_shared(n_samples: int) -> int:
    return min(_N_SHARED, max(n_samples // 4, 1))


def _more_than_chance(n_nearest: int) -> float:
    """What shared neighbours have to be in proportion to what chance gives.

    Four deviations more, were the ``n_nearest ** 2`` or so that chance gives independent; as they
    are not, at least 1.15.
    """
    return 1 + min(max(4 / n_nearest, 0.15), 0.4)


def _tell_the_same(near: Sequence[Tensor], both: Tensor) -> bool:
    """Whether two modalities share neighbours more often than by chance.

    Parameters
    ----------
    near : two Tensors of int, shape (n_samples, n_nearest)
    both : Tensor of bool, shape (n_samples,)
        Who has both modalities; nobody else is looked at.
    """
    n_samples, n_nearest = near[0].shape
    first, second = (
        both.new_zeros(n_samples, n_samples).scatter_(1, found, True)[both][:, both]
        for found in near
    )
    by_chance = (first.sum(dim=1) * second.sum(dim=1)).sum() / max(len(first) - 1, 1)
    return bool((first & second).sum() > _more_than_chance(n_nearest) * by_chance)


def _agreement(partners: Tensor, near: Sequence[Tensor], present: Sequence[Tensor]) -> float:
    """Share of ``partners`` near in two modalities, of those that could be; 1 if none could."""
    both = [there[partners] & there.unsqueeze(1) for there in present]
    # who lacks a modality has no neighbours in it, whatever stands in their place
    shared = [_shared(partners, n) & seen for n, seen in zip(near, both, strict=True)]
    comparable = sum(seen.long() for seen in both) > 1
    if not bool(comparable.any()):
        return 1.0
    in_modalities = sum(found.long() for found in shared)
    return float((in_modalities[comparable] > 1).double().mean())


class Neighborhood:
    r"""Neighbours of all samples, from what is put in and from what has been learned.

    Parameters
    ----------
    encoder : Module
        Ready to be trained; see :func:`~skumc.encoders.encode_summaries`.
    data : MultimodalData
    device : torch.device
    rng : RandomState
        Draws the references where there are more than 4,096 samples, those by which modalities are
        judged where there are more than 2,048, and partners.

    Attributes
    ----------
    trusted : dict of str to bool
        Modalities whose neighbours are found again in another modality clearly more often than by
        chance: the ten nearest 1.4 times as often, or the nearest eighth of all samples 1.15 times
        (more where that is few). Where no modality's are, the anchor is the only one.
    agreement : float
        Share of the neighbours of the joint input that at least two modalities show, within
        [0, 1]; 1 where one modality is trusted.
    partners : ndarray of int, shape (n_samples, n_nearest)
        The nearest neighbours of each sample, five where there are so many.

    Notes
    -----
    The joint input has each trusted modality's summary, standardised, with the same mean squared
    norm :math:`1 / M`; distances to samples that lack a modality are those of any two samples.
    :meth:`update` looks for neighbours in :math:`a D_{input} + D_h`, the squared distances of the
    input and of the embedding :math:`h`, with the agreement :math:`a`: where modalities tell the
    same, the input's neighbours are to be believed; where they do not, what they have in common has
    to be learned first. Beyond 4,096 samples neighbours are looked for among that many, drawn at
    random: the cost grows with the number of samples, not with its square.
    """

    def __init__(
        self,
        encoder: nn.Module,
        data: MultimodalData,
        anchor: str,
        device: torch.device,
        rng: np.random.RandomState,
    ) -> None:
        n_samples = len(data)
        self._rng = rng
        references = np.arange(n_samples)
        if n_samples > _MOST_REFERENCES:
            references = np.sort(rng.choice(n_samples, _MOST_REFERENCES, replace=False))
        self._references = torch.from_numpy(references).to(device)
        summaries = _summaries(encoder, data, device)
        present = {
            name: torch.from_numpy(data.present[:, place]).to(device)
            for place, name in enumerate(data.names)
        }
        blocks = {
            name: Block(_scaled(summaries[name], present[name]), present[name], 1.0)
            for name in data.names
        }
        self.trusted = dict.fromkeys(data.names, True)
        self.agreement = 1.0
        if len(blocks) > 1 and len(references) > 1:
            self.trusted = self._judge(blocks, anchor)
        chosen = [name for name in data.names if self.trusted[name]]
        self._input = [blocks[name]._replace(weight=1 / len(chosen)) for name in chosen]
        partners = self._look(self._input, _N_PARTNERS)
        if len(chosen) > 1:
            near = [self._look([blocks[name]], _n_shared(len(references))) for name in chosen]
            self.agreement = _agreement(partners, near, [blocks[name].present for name in chosen])
        self.partners = partners.cpu().numpy()

    def _look(self, blocks: Sequence[Block], n_nearest: int) -> Tensor:
        n_others = len(self._references) - 1
        if n_others < 1:
            return self._references.unsqueeze(1)
        return _nearest(blocks, self._references, min(n_nearest, n_others))

    def _judge(self, blocks: dict[str, Block], anchor: str) -> dict[str, bool]:
        """Which modalities find neighbours, near or wide ones, again in another one."""
        names, judged = list(blocks), self._references
        if len(judged) > _MOST_JUDGED:
            chosen = self._rng.choice(len(judged), _MOST_JUDGED, replace=False)
            judged = judged[torch.from_numpy(chosen).to(judged.device)]
        everyone = torch.arange(len(judged), device=judged.device)
        n_near, n_wide = _n_shared(len(judged)), len(judged) // _ONE_IN
        looks = [n_near, n_wide] if n_wide > n_near else [n_near]
        found = {}
        for name, (values, present, weight) in blocks.items():
            block = Block(values[judged], present[judged], weight)
            found[name] = _nearest([block], everyone, looks[-1])  # nearest first
        trusted = dict.fromkeys(names, False)
        for first, second in combinations(names, 2):
            both = blocks[first].present[judged] & blocks[second].present[judged]
            near = [found[first], found[second]]
            if any(_tell_the_same([f[:, :n] for f in near], both) for n in looks):
                trusted[first] = trusted[second] = True
        return trusted if any(trusted.values()) else {name: name == anchor for name in names}

    def update(self, embedding: np.ndarray) -> None:
        """Look for neighbours in the input and in an embedding (n_samples, width) together."""
        values = torch.from_numpy(embedding).to(self._references.device)
        everyone = torch.ones(len(values), dtype=torch.bool, device=values.device)
        blocks = [block._replace(weight=self.agreement * block.weight) for block in self._input]
        partners = self._look([*blocks, Block(values, everyone, 1.0)], _N_PARTNERS)
        self.partners = partners.cpu().numpy()

    def draw(self, rows: np.ndarray) -> np.ndarray:
        """One neighbour of each of the samples ``rows``."""
        places = self._rng.randint(self.partners.shape[1], size=len(rows))
        return self.partners[rows, places]
