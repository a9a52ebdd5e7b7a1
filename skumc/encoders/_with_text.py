"""An encoder with the trainable layers of text models in front."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from skumc.encoders._batch import Batch, EncoderOutput, RepeatableBatches
from skumc.encoders._contract import encode_summaries, encode_views


class EncoderWithText(nn.Module):
    """Run text through towers, then all modalities through an encoder.

    Parameters
    ----------
    encoder : Module
        See :class:`Encoder`.
    towers : dict of str to Module
        For some modalities, a module that maps frames (n_frames_total, width) and lengths
        (n_samples,) to other frames of the same lengths.

    Attributes
    ----------
    names : tuple of str
        Modalities with a tower.

    Notes
    -----
    Towers run once per batch, whatever the number of views. Optional methods of the encoder are
    called if it has them, see :class:`OptionalEncoderMethods`.

    Examples
    --------
    >>> import torch
    >>> from skumc.encoders import EncoderOutput, masked_mean
    >>> class Mean(torch.nn.Module):
    ...     def forward(self, batch):
    ...         h = masked_mean(*batch["text"])
    ...         return EncoderOutput(h, torch.ones(len(h), 1), {})
    >>> class Tower(torch.nn.Module):
    ...     def forward(self, frames, lengths):
    ...         return 10 * frames
    >>> encoder = EncoderWithText(Mean(), {"text": Tower()})
    >>> encoder({"text": (torch.tensor([[1.0], [3.0]]), torch.tensor([2]))}).embedding.tolist()
    [[20.0]]
    """

    def __init__(self, encoder: nn.Module, towers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.names = tuple(towers)
        self.towers = nn.ModuleList(towers.values())

    def _read(self, batch: Batch) -> Batch:
        read = dict(batch)
        for name, tower in zip(self.names, self.towers, strict=True):
            frames, lengths = batch[name]
            read[name] = (tower(frames, lengths), lengths)
        return read

    def forward(self, batch: Batch) -> EncoderOutput:
        """Encode a batch of packed frames."""
        return self.encoder(self._read(batch))

    def forward_views(self, batch: Batch, views: Sequence[Sequence[str]]) -> list[EncoderOutput]:
        """Encode a batch once per view."""
        return encode_views(self.encoder, self._read(batch), views)

    def summaries(self, batch: Batch) -> dict[str, Tensor]:
        """Return one vector per sample and modality; text goes through its tower first."""
        return encode_summaries(self.encoder, self._read(batch))

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Calibrate the encoder with all training samples, if it can be."""
        own = getattr(self.encoder, "calibrate", None)
        if own is not None:
            own(RepeatableBatches(lambda: map(self._read, batches)))

    def set_prior_shares(self, shares: Sequence[float]) -> None:
        """Set the proportions in which the encoder's gates start, if it has such gates."""
        own = getattr(self.encoder, "set_prior_shares", None)
        if own is not None:
            own(shares)

    def attention_weights(self, batch: Batch) -> dict[str, Tensor]:
        """Return the encoder's attention weights; empty if it has none."""
        own = getattr(self.encoder, "attention_weights", None)
        return {} if own is None else own(self._read(batch))

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """Return the towers' parameters, which have a learning rate of their own."""
        return self.towers.parameters()
