"""Frames of many samples side by side, padded only where attention needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """Packed frames, and where each lies in its sample.

    Parameters
    ----------
    values : Tensor of shape (n_rows, width)
        The frames of all samples.
    owner : Tensor of int, shape (n_rows,)
        The sample of each row.
    position : Tensor of int, shape (n_rows,)
        The place of each row in its sample, from 0 without gaps.
    n_samples : int
        Samples, those without a row included.
    n_positions : int
        Length of the longest sample.

    Examples
    --------
    >>> import torch
    >>> sequences = Sequences.from_lengths(torch.arange(3.0)[:, None], torch.tensor([2, 0, 1]))
    >>> sequences.owner.tolist(), sequences.position.tolist()
    ([0, 0, 2], [0, 1, 0])
    >>> sequences.padded(sequences.values).squeeze(2).tolist()
    [[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]]
    """

    values: Tensor
    owner: Tensor
    position: Tensor
    n_samples: int
    n_positions: int

    @classmethod
    def from_lengths(cls, values: Tensor, lengths: Tensor) -> Sequences:
        """Sequences whose frames follow each other, sample by sample."""
        n_samples = len(lengths)
        samples = torch.arange(n_samples, device=lengths.device)
        owner = samples.repeat_interleave(lengths, output_size=len(values))
        starts = torch.cumsum(lengths, 0) - lengths
        position = torch.arange(len(values), device=lengths.device) - starts[owner]
        longest = int(lengths.max()) if n_samples else 0
        return cls(values, owner, position, n_samples, longest)

    @classmethod
    def joined(cls, parts: Sequence[Sequences]) -> Sequences:
        """Each sample's sequences one behind the other; the rows of a part stay together."""
        first = parts[0]
        offset = first.owner.new_zeros(first.n_samples)
        positions = []
        for part in parts:
            positions.append(part.position + offset[part.owner])
            offset = offset + part.lengths
        longest = int(offset.max()) if first.n_samples else 0
        return cls(
            torch.cat([part.values for part in parts]),
            torch.cat([part.owner for part in parts]),
            torch.cat(positions),
            first.n_samples,
            longest,
        )

    @property
    def lengths(self) -> Tensor:
        """Rows of each sample, (n_samples,)."""
        counts = self.owner.new_zeros(self.n_samples)  # a GPU would have to wait for bincount
        return counts.index_add(0, self.owner, torch.ones_like(self.owner))

    def with_values(self, values: Tensor) -> Sequences:
        """Other values in the same places."""
        return Sequences(values, self.owner, self.position, self.n_samples, self.n_positions)

    def rows(self, chosen: Tensor) -> Sequences:
        """The rows of the samples for which ``chosen``, (n_samples,) bool, is true."""
        if bool(chosen.all()):
            return self
        kept = chosen[self.owner]
        return Sequences(
            self.values[kept],
            self.owner[kept],
            self.position[kept],
            self.n_samples,
            self.n_positions,
        )

    def padded(self, values: Tensor) -> Tensor:
        """Rows ``values`` laid out as (n_samples, n_positions, width), zeros where none is."""
        flat = values.new_zeros(self.n_samples * self.n_positions, values.shape[1])
        flat.index_copy_(0, self._places, values)
        return flat.view(self.n_samples, self.n_positions, values.shape[1])

    def unpadded(self, padded: Tensor) -> Tensor:
        """The rows of (n_samples, n_positions, width) that are there, (n_rows, width)."""
        return padded.flatten(0, 1).index_select(0, self._places)

    @property
    def mask(self) -> Tensor:
        """Which places are filled, (n_samples, n_positions) bool."""
        flat = torch.zeros(
            self.n_samples * self.n_positions, dtype=torch.bool, device=self.owner.device
        )
        flat[self._places] = True
        return flat.view(self.n_samples, self.n_positions)

    @property
    def _places(self) -> Tensor:
        return self.owner * self.n_positions + self.position

    def mean(self) -> Tensor:
        """Mean of each sample's rows, (n_samples, width); zeros where it has none."""
        sums = self.values.new_zeros(self.n_samples, self.values.shape[1])
        sums = sums.index_add(0, self.owner, self.values)
        return sums / self.lengths.clamp(min=1).unsqueeze(1)
