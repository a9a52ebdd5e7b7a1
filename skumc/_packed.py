"""Frames of many samples side by side, padded only where attention needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on ``device``, without waiting for what a GPU is at."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def frame_places(lengths: Tensor, rows: Tensor) -> Tensor:
    """Where the frames of the samples ``rows`` lie among those of all, sample by sample.

    Examples
    --------
    >>> frame_places(torch.tensor([2, 0, 3]), torch.tensor([2, 1, 0])).tolist()
    [2, 3, 4, 0, 1]
    """
    starts, sizes = (torch.cumsum(lengths, 0) - lengths)[rows], lengths[rows]
    shift = (starts - (torch.cumsum(sizes, 0) - sizes)).repeat_interleave(sizes)
    return torch.arange(len(shift), device=shift.device) + shift


def frames_of(frames: Tensor, lengths: Tensor, chosen: Tensor) -> Tensor:
    """The frames of the samples for which ``chosen``, (n_samples,) bool on the CPU, is true."""
    kept = chosen.repeat_interleave(lengths)
    if bool(kept.all()):
        return frames
    return frames.index_select(0, sent(torch.nonzero(kept).squeeze(1), frames.device))


def first_frames(frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The first frame of each sample that has one, and which samples these are."""
    has = torch.nonzero(lengths).squeeze(1)
    first = (torch.cumsum(lengths, 0) - lengths)[has]
    return frames.index_select(0, sent(first, frames.device)), sent(has, frames.device)


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
    lengths : Tensor of int, shape (n_samples,)
        Rows of each sample. On the CPU whatever the device of the others is, for it decides the
        shapes of what is computed, which must not wait for a GPU.
    n_positions : int
        Length to which samples are padded.

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
    lengths: Tensor
    n_positions: int

    @classmethod
    def from_lengths(cls, values: Tensor, lengths: Tensor) -> Sequences:
        """Sequences whose frames follow each other, sample by sample."""
        lengths, device = lengths.cpu(), values.device
        sizes = sent(lengths, device)
        samples = torch.arange(len(lengths), device=device)
        owner = samples.repeat_interleave(sizes, output_size=len(values))
        starts = torch.cumsum(sizes, 0) - sizes
        position = torch.arange(len(values), device=device) - starts[owner]
        return cls(values, owner, position, lengths, _longest(lengths))

    @classmethod
    def joined(cls, parts: Sequence[Sequences]) -> Sequences:
        """Each sample's sequences one behind the other; the rows of a part stay together."""
        lengths = torch.zeros_like(parts[0].lengths)
        positions = []
        for part in parts:
            offset = sent(lengths, part.owner.device)
            positions.append(part.position + offset[part.owner])
            lengths = lengths + part.lengths
        return cls(
            torch.cat([part.values for part in parts]),
            torch.cat([part.owner for part in parts]),
            torch.cat(positions),
            lengths,
            _longest(lengths),
        )

    @property
    def n_samples(self) -> int:
        """Samples, those without a row included."""
        return len(self.lengths)

    def with_values(self, values: Tensor) -> Sequences:
        """Other values in the same places."""
        return replace(self, values=values)

    def rows(self, chosen: Tensor) -> Sequences:
        """The rows of the samples for which ``chosen``, (n_samples,) bool on the CPU, is true."""
        if bool(chosen.all()):
            return self
        lengths = self.lengths * chosen
        is_kept = sent(chosen, self.owner.device)[self.owner]
        # nonzero would have to wait for their number, which is known here
        kept = torch.argsort((~is_kept).byte(), stable=True)[: int(lengths.sum())]
        return Sequences(
            self.values.index_select(0, kept),
            self.owner[kept],
            self.position[kept],
            lengths,
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
        flat.index_fill_(0, self._places, True)
        return flat.view(self.n_samples, self.n_positions)

    @property
    def _places(self) -> Tensor:
        return self.owner * self.n_positions + self.position

    def mean(self) -> Tensor:
        """Mean of each sample's rows, (n_samples, width); zeros where it has none."""
        sums = self.values.new_zeros(self.n_samples, self.values.shape[1])
        sums = sums.index_add(0, self.owner, self.values)
        return sums / sent(self.lengths.clamp(min=1), sums.device).unsqueeze(1)


def _longest(lengths: Tensor) -> int:
    return int(lengths.max()) if len(lengths) else 0
