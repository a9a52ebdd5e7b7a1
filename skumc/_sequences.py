"""Ragged sequences of frames as tensors, padded only where attention needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on ``device`` without waiting for work queued on a GPU."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def frame_places(lengths: Tensor, rows: Tensor) -> Tensor:
    """Return the indices, among all frames, of the frames of the samples ``rows``.

    Parameters
    ----------
    lengths : Tensor of int, shape (n_samples,)
        Number of frames per sample, on the CPU.
    rows : Tensor of int, shape (n_chosen,)
        Samples in the order in which their frames are wanted, on the CPU.

    Returns
    -------
    Tensor of int, shape (n_chosen_frames,)

    Examples
    --------
    >>> frame_places(torch.tensor([2, 0, 3]), torch.tensor([2, 1, 0])).tolist()
    [2, 3, 4, 0, 1]
    """
    starts, sizes = (torch.cumsum(lengths, 0) - lengths)[rows], lengths[rows]
    shift = (starts - (torch.cumsum(sizes, 0) - sizes)).repeat_interleave(sizes)
    return torch.arange(len(shift), device=shift.device) + shift


def frames_of(frames: Tensor, lengths: Tensor, chosen: Tensor) -> Tensor:
    """Return the frames of some samples, in their order.

    Parameters
    ----------
    frames : Tensor of shape (n_frames_total, width)
    lengths : Tensor of int, shape (n_samples,)
        Number of frames per sample, on the CPU.
    chosen : Tensor of bool, shape (n_samples,)
        Samples to keep, on the CPU.

    Returns
    -------
    Tensor of shape (n_chosen_frames, width)
        ``frames`` itself if all are kept.
    """
    places = frame_places(lengths, torch.nonzero(chosen).squeeze(1))
    if len(places) == len(frames):
        return frames
    return frames.index_select(0, sent(places, frames.device))


def first_frames(frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first frame of each sample that has frames, and the indices of these samples."""
    has = torch.nonzero(lengths).squeeze(1)
    first = (torch.cumsum(lengths, 0) - lengths)[has]
    return frames.index_select(0, sent(first, frames.device)), sent(has, frames.device)


def _longest(lengths: Tensor) -> int:
    return int(lengths.max()) if len(lengths) else 0


@dataclass(frozen=True)
class Sequences:
    """Packed frames with the sample and the position of each.

    A batch holds frames and lengths, samples one after another. Sequences also describe rows in
    another order, such as several streams per sample.

    Parameters
    ----------
    values : Tensor of shape (n_rows, width)
        Frames of all samples.
    owner : Tensor of int, shape (n_rows,)
        Sample of each row.
    position : Tensor of int, shape (n_rows,)
        Position of each row in its sample, from 0 without gaps.
    lengths : Tensor of int, shape (n_samples,)
        Number of rows per sample. Always on the CPU: it determines the shapes of results, and
        reading them must not wait for a GPU.
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
    >>> sequences.mean().tolist()
    [[0.5], [0.0], [2.0]]
    """

    values: Tensor
    owner: Tensor
    position: Tensor
    lengths: Tensor
    n_positions: int

    @classmethod
    def from_lengths(cls, values: Tensor, lengths: Tensor) -> Sequences:
        """Build sequences from the frames of one sample after another."""
        lengths, device = lengths.cpu(), values.device
        sizes = sent(lengths, device)
        samples = torch.arange(len(lengths), device=device)
        owner = samples.repeat_interleave(sizes, output_size=len(values))
        starts = torch.cumsum(sizes, 0) - sizes
        position = torch.arange(len(values), device=device) - starts[owner]
        return cls(values, owner, position, lengths, _longest(lengths))

    @classmethod
    def joined(cls, parts: Sequence[Sequences]) -> Sequences:
        """Append each sample's sequences to one another; the rows of a part stay together."""
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
        """Number of samples, including those without rows."""
        return len(self.lengths)

    def with_values(self, values: Tensor) -> Sequences:
        """Replace the values and keep their places."""
        return replace(self, values=values)

    def rows(self, chosen: Tensor) -> Sequences:
        """Keep the rows of the samples ``chosen``, a CPU tensor of bool, shape (n_samples,)."""
        if bool(chosen.all()):
            return self
        lengths = self.lengths * chosen
        is_kept = sent(chosen, self.owner.device)[self.owner]
        # nonzero would wait for the device to count the rows; their number is known here
        kept = torch.argsort((~is_kept).byte(), stable=True)[: int(lengths.sum())]
        return Sequences(
            self.values.index_select(0, kept),
            self.owner[kept],
            self.position[kept],
            lengths,
            self.n_positions,
        )

    def shortened(self, n_positions: int) -> Sequences:
        """Average equal parts of sequences with more than ``n_positions`` rows.

        Examples
        --------
        >>> import torch
        >>> values = torch.tensor([[1.0], [3.0], [5.0], [7.0]])
        >>> sequences = Sequences.from_lengths(values, torch.tensor([3, 1]))
        >>> sequences.shortened(2).values.squeeze(1).tolist()
        [2.0, 5.0, 7.0]
        """
        if self.n_positions <= n_positions:
            return self
        lengths = self.lengths.clamp(max=n_positions)
        before, after = sent(self.lengths, self.owner.device), sent(lengths, self.owner.device)
        # part p of P has the rows from p n / P rounded up
        part = self.position * after[self.owner] // before[self.owner]
        rows = (torch.cumsum(after, 0) - after)[self.owner] + part
        sums = self.values.new_zeros(int(lengths.sum()), self.values.shape[1])
        counts = self.values.new_zeros(len(sums)).index_add(
            0, rows, torch.ones_like(rows, dtype=sums.dtype)
        )
        means = sums.index_add(0, rows, self.values) / counts.unsqueeze(1)
        return Sequences.from_lengths(means, lengths)

    def padded(self, values: Tensor) -> Tensor:
        """Lay out rows as (n_samples, n_positions, width), with zeros in empty places."""
        flat = values.new_zeros(self.n_samples * self.n_positions, values.shape[1])
        flat.index_copy_(0, self._places, values)
        return flat.view(self.n_samples, self.n_positions, values.shape[1])

    def unpadded(self, padded: Tensor) -> Tensor:
        """Take the filled places of (n_samples, n_positions, width), as (n_rows, width)."""
        return padded.flatten(0, 1).index_select(0, self._places)

    @property
    def mask(self) -> Tensor:
        """Filled places, (n_samples, n_positions) bool."""
        flat = torch.zeros(
            self.n_samples * self.n_positions, dtype=torch.bool, device=self.owner.device
        )
        flat.index_fill_(0, self._places, True)
        return flat.view(self.n_samples, self.n_positions)

    @property
    def _places(self) -> Tensor:
        return self.owner * self.n_positions + self.position

    def mean(self) -> Tensor:
        """Average each sample's rows, (n_samples, width); zeros for a sample without rows."""
        sums = self.values.new_zeros(self.n_samples, self.values.shape[1])
        sums = sums.index_add(0, self.owner, self.values)
        return sums / sent(self.lengths.clamp(min=1), sums.device).unsqueeze(1)
