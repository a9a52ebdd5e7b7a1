"""Batches of frames and outputs of encoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from skumc._sequences import frame_places, frames_of, sent

Batch: TypeAlias = Mapping[str, tuple[Tensor, Tensor]]
"""Frames (n_frames_total, width) and lengths (n_samples,) of each modality.

Samples follow one another; a sample without the modality has length 0. Lengths stay on the CPU when
frames are on a GPU: they determine shapes, and reading them must not wait."""


class RepeatableBatches:
    """Batches that can be iterated several times.

    Parameters
    ----------
    make : callable
        Returns a new iterator over the batches.

    Examples
    --------
    >>> batches = RepeatableBatches(lambda: iter([{}, {}]))
    >>> len(list(batches)), len(list(batches))
    (2, 2)
    """

    def __init__(self, make: Callable[[], Iterator[Batch]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Batch]:
        return self._make()


class EncoderOutput(NamedTuple):
    """Output of an encoder for a batch.

    Attributes
    ----------
    embedding : Tensor of shape (n_samples, n_components)
        Unit-norm rows.
    gates : Tensor of shape (n_samples, n_modalities)
        Share of each modality in the embedding, in the order of the batch; rows sum to 1. The
        share of a missing or hidden modality is 0, unless the encoder runs it as zeros.
    projections : dict of str to Tensor
        Other spaces that losses may read instead of the embedding: ``"contrastive"`` and
        ``"clustering"``, (n_samples, width) each. Empty if the encoder has none.

    Examples
    --------
    >>> import torch
    >>> output = EncoderOutput(torch.eye(2), torch.ones(2, 1), {})
    >>> output.embedding.shape, output.gates.tolist()
    (torch.Size([2, 2]), [[1.0], [1.0]])
    """

    embedding: Tensor
    gates: Tensor
    projections: dict[str, Tensor]

    def rows(self, chosen: slice | Tensor) -> EncoderOutput:
        """Select the output of some samples."""
        projections = {name: values[chosen] for name, values in self.projections.items()}
        return EncoderOutput(self.embedding[chosen], self.gates[chosen], projections)


def present_modalities(batch: Batch, names: Sequence[str]) -> Tensor:
    """Return which samples have which modalities, (n_samples, n_modalities) bool on the CPU."""
    return torch.stack([batch[name][1] > 0 for name in names], dim=1)


def hide_modalities(batch: Batch, visible: Sequence[str]) -> Batch:
    """Keep only the modalities ``visible``; a sample that has none of them keeps all its own.

    Parameters
    ----------
    batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))
    visible : sequence of str

    Returns
    -------
    dict of str to (Tensor, Tensor)
        All modalities; a hidden one has no frames and length 0.

    Examples
    --------
    >>> import torch
    >>> one_frame_each = torch.tensor([1, 1])
    >>> batch = {
    ...     "text": (torch.zeros(2, 3), one_frame_each),
    ...     "audio": (torch.zeros(2, 5), one_frame_each),
    ... }
    >>> frames, lengths = hide_modalities(batch, ["text"])["audio"]
    >>> frames.shape, lengths.tolist()
    (torch.Size([0, 5]), [0, 0])
    """
    if set(visible) >= set(batch):
        return batch
    is_left_with_none = torch.stack(
        [sizes == 0 for name, (_, sizes) in batch.items() if name in visible]
    ).all(dim=0)
    hidden = {}
    for name, (frames, sizes) in batch.items():
        if name in visible:
            hidden[name] = (frames, sizes)
        else:
            kept = sizes * is_left_with_none
            hidden[name] = (frames_of(frames, sizes, kept > 0), kept)
    return hidden


def take_samples(batch: Batch, rows: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Take some samples of a batch, in the order of ``rows``, (n_chosen,) int.

    Examples
    --------
    >>> batch = {"audio": (torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([2, 0, 1]))}
    >>> frames, lengths = take_samples(batch, torch.tensor([2, 0]))["audio"]
    >>> frames.squeeze(1).tolist(), lengths.tolist()
    ([3.0, 1.0, 2.0], [1, 2])
    """
    taken = {}
    for name, (frames, lengths) in batch.items():
        places = sent(frame_places(lengths, rows), frames.device)
        taken[name] = (frames.index_select(0, places), lengths[rows])
    return taken


def joined_outputs(outputs: Sequence[EncoderOutput]) -> EncoderOutput:
    """Concatenate the outputs of several batches."""
    embeddings, gates, projections = zip(*outputs, strict=True)
    spaces = {name: torch.cat([p[name] for p in projections]) for name in projections[0]}
    return EncoderOutput(torch.cat(embeddings), torch.cat(gates), spaces)


def zero_frames(frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return one frame of zeros per sample, as :func:`fill_missing` does if all lack frames."""
    return frames.new_zeros(len(lengths), frames.shape[1]), torch.ones_like(lengths)


def fill_missing(frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Add one frame of zeros to each sample without frames.

    Examples
    --------
    >>> frames, lengths = fill_missing(torch.tensor([[1.0], [2.0]]), torch.tensor([1, 0, 1]))
    >>> frames.squeeze(1).tolist(), lengths.tolist()
    ([1.0, 0.0, 2.0], [1, 1, 1])
    """
    lacking = lengths == 0
    if not lacking.any():
        return frames, lengths
    filled = lengths.clamp(min=1)
    values = frames.new_zeros(int(filled.sum()), frames.shape[1])
    there = torch.nonzero((~lacking).repeat_interleave(filled)).squeeze(1)
    return values.index_copy(0, sent(there, frames.device), frames), filled
