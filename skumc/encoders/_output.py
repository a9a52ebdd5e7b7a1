"""What every encoder takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from skumc._packed import frame_places, frames_of, sent
from skumc.encoders._projection import masked_mean

Batch: TypeAlias = Mapping[str, tuple[Tensor, Tensor]]
"""For each modality its frames (n_frames_total, width) and the samples' lengths (n_samples,).

Lengths stay on the CPU when frames are on a GPU: they decide shapes, and nothing has to wait."""


class EncoderOutput(NamedTuple):
    """What an encoder makes of a batch.

    Attributes
    ----------
    embedding : Tensor of shape (n_samples, n_components)
        Unit-norm rows.
    gates : Tensor of shape (n_samples, n_modalities)
        Share of each modality in the embedding, in the order of the batch; rows sum to 1. The
        share of what is missing or hidden is 0, unless the encoder runs it as zeros.
    projections : dict of str to Tensor
        Other spaces that losses may read instead of the embedding: ``"contrastive"`` and
        ``"clustering"``. Empty where the encoder has none.

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
        """The output of some of the samples."""
        projections = {name: values[chosen] for name, values in self.projections.items()}
        return EncoderOutput(self.embedding[chosen], self.gates[chosen], projections)


def joined_outputs(outputs: Sequence[EncoderOutput]) -> EncoderOutput:
    """Outputs of several batches as one, in their order."""
    embeddings, gates, projections = zip(*outputs, strict=True)
    spaces = {name: torch.cat([p[name] for p in projections]) for name in projections[0]}
    return EncoderOutput(torch.cat(embeddings), torch.cat(gates), spaces)


def take_samples(batch: Batch, rows: Tensor) -> Batch:
    """Some samples of a batch, in the order of ``rows`` (n_chosen,) int.

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


def checked_output(output: Any, n_samples: int) -> EncoderOutput:
    """Hold what an encoder gave against its contract.

    Raises
    ------
    TypeError
        If it is no triple of embedding, gates and projections.
    ValueError
        If embedding or gates have not one row a sample.

    Examples
    --------
    >>> import torch
    >>> checked_output((torch.ones(2, 4), torch.ones(2, 1), {}), 2).embedding.shape
    torch.Size([2, 4])
    >>> checked_output((torch.ones(2, 4), torch.ones(2, 1), {}), 3)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: The encoder gave embedding of shape (2, 4) for 3 samples, expected (3, ...). ...
    """
    if not isinstance(output, tuple) or len(output) != 3:
        raise TypeError(
            f"The encoder gave {type(output).__name__}, expected an EncoderOutput: (embedding, "
            "gates, projections). Check encoder=."
        )
    output = EncoderOutput(*output)
    for name, values in (("embedding", output.embedding), ("gates", output.gates)):
        if not isinstance(values, Tensor) or values.ndim != 2 or len(values) != n_samples:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"The encoder gave {name} of shape {shape} for {n_samples} samples, expected "
                f"({n_samples}, ...). Check encoder=."
            )
    return output


def hide_modalities(batch: Batch, visible: Sequence[str]) -> Batch:
    """The batch with only the modalities ``visible``; a sample left with none keeps all of its.

    Parameters
    ----------
    batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))
    visible : sequence of str

    Returns
    -------
    dict of str to (Tensor, Tensor)
        With all modalities; of those hidden, no frames and lengths 0.

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
    lengths = {name: sizes for name, (_, sizes) in batch.items()}
    seen = sum((lengths[name] > 0).long() for name in visible if name in batch)
    hidden = {}
    for name, (frames, sizes) in batch.items():
        kept = sizes if name in visible else sizes.where(seen == 0, sizes.new_zeros(()))
        hidden[name] = (frames_of(frames, sizes, kept > 0) if name not in visible else frames, kept)
    return hidden


def encode_views(
    encoder: nn.Module, batch: Batch, views: Sequence[Sequence[str]]
) -> list[EncoderOutput]:
    """Encode a batch once for each view, a view being the modalities that are visible.

    An encoder with a method ``forward_views(batch, views)`` shares what the views have in common;
    any other is called once a view on a batch from which the other modalities are taken.

    Parameters
    ----------
    encoder : Module
        Called as ``encoder(batch)``, gives an :class:`EncoderOutput`.
    batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))
    views : sequence of sequences of str

    Returns
    -------
    list of EncoderOutput
        One a view.

    Examples
    --------
    >>> import torch
    >>> class Sums(torch.nn.Module):
    ...     def forward(self, batch):
    ...         rows = sum(frames.sum() for frames, _ in batch.values()).view(1, 1)
    ...         return EncoderOutput(rows, torch.ones(1, len(batch)), {})
    >>> one = torch.tensor([1])
    >>> batch = {"text": (torch.ones(1, 2), one), "audio": (torch.ones(1, 3), one)}
    >>> views = encode_views(Sums(), batch, [("text", "audio"), ("audio",)])
    >>> [float(view.embedding) for view in views]
    [5.0, 3.0]
    """
    if hasattr(encoder, "forward_views"):
        return encoder.forward_views(batch, views)
    n_samples = len(next(iter(batch.values()))[1])
    return [
        checked_output(encoder(hide_modalities(batch, visible)), n_samples) for visible in views
    ]


def encode_summaries(encoder: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """One vector a sample of each modality, before the encoder's learning has touched it.

    Parameters
    ----------
    encoder : Module
        With a method ``summaries(batch)``; of any other the mean of the frames stands for it.
    batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))

    Returns
    -------
    dict of str to Tensor of shape (n_samples, width)
        Zeros where a sample lacks the modality.

    Examples
    --------
    >>> import torch
    >>> batch = {"text": (torch.tensor([[1.0], [3.0]]), torch.tensor([2]))}
    >>> encode_summaries(torch.nn.Identity(), batch)["text"].tolist()
    [[2.0]]
    """
    if hasattr(encoder, "summaries"):
        return encoder.summaries(batch)
    return {name: masked_mean(frames, lengths) for name, (frames, lengths) in batch.items()}
