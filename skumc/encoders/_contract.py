"""The contract of encoders: required and optional methods, and how they are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from skumc.encoders._batch import Batch, EncoderOutput, hide_modalities
from skumc.encoders._pooling import masked_mean
from skumc.encoders._statistics import FrameStatistics


class Encoder(Protocol):
    """The one method that an encoder must have; it is a :class:`torch.nn.Module`.

    Notes
    -----
    :class:`OptionalEncoderMethods` lists the methods that are called if an encoder has them. A
    number ``learning_rate`` on the class or the instance is the default learning rate;
    otherwise 1e-3 is used.

    Examples
    --------
    >>> import torch
    >>> from skumc.encoders import masked_mean
    >>> class TextMean(torch.nn.Module):
    ...     def forward(self, batch):
    ...         h = torch.nn.functional.normalize(masked_mean(*batch["text"]), dim=-1)
    ...         return EncoderOutput(h, torch.ones(len(h), 1), {})
    >>> batch = {"text": (torch.tensor([[1.0, 0.0], [5.0, 0.0]]), torch.tensor([2]))}
    >>> TextMean()(batch).embedding.tolist()
    [[1.0, 0.0]]
    """

    def forward(self, batch: Batch) -> EncoderOutput:
        """Encode a batch.

        Called for each batch in training, and in evaluation mode to embed samples.

        Parameters
        ----------
        batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))
            All modalities in a fixed order. Frames must not be changed in place, since they may
            share memory with the user's data. Hidden and missing modalities have length 0; each
            sample has at least one modality.

        Returns
        -------
        EncoderOutput
            Or a tuple of the same three values.
        """
        ...


class OptionalEncoderMethods(Protocol):
    """Methods that an encoder may have; each is called only if the encoder has it.

    An encoder defines those that it needs. It does not inherit from this class, which would define
    all of them.

    Examples
    --------
    An encoder that records how many samples it is calibrated with:

    >>> import torch
    >>> class Counting(torch.nn.Module):
    ...     def calibrate(self, batches):
    ...         self.n_samples = sum(len(batch["text"][1]) for batch in batches)
    >>> encoder = Counting()
    >>> encoder.calibrate([{"text": (torch.ones(3, 2), torch.tensor([2, 1]))}])
    >>> encoder.n_samples
    2
    """

    def forward_views(self, batch: Batch, views: Sequence[Sequence[str]]) -> list[EncoderOutput]:
        """Encode a batch once per view, and share work between the views.

        Called by :func:`encode_views` in each training step. Without it the encoder is called once
        per view, on the result of :func:`hide_modalities`.

        Parameters
        ----------
        batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))
        views : sequence of sequences of str
            The modalities that each view shows. A sample that has none of them is shown with
            all its modalities.

        Returns
        -------
        list of EncoderOutput
            One per view.
        """
        ...

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Take statistics of all training samples.

        Called once before training, in evaluation mode and without gradients. Without it nothing
        is called.

        Parameters
        ----------
        batches : iterable of dict
            Each training sample in one batch. Can be iterated several times.
        """
        ...

    def summaries(self, batch: Batch) -> dict[str, Tensor]:
        """Return one vector per sample and modality, as it is before training.

        Called by :func:`encode_summaries` before training, in evaluation mode and without
        gradients, to build the nearest-neighbor graph of the input. Without it the mean of the
        frames is taken.

        Parameters
        ----------
        batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))

        Returns
        -------
        dict of str to Tensor of shape (n_samples, width)
            Zeros for a sample without the modality.
        """
        ...

    def set_prior_shares(self, shares: Sequence[float]) -> None:
        """Set the proportions in which the gates start.

        Called once before training whenever there is a neighbor graph. Without it the gates start
        as the encoder initializes them.

        Parameters
        ----------
        shares : sequence of n_modalities floats
            In the order of the batch: 1 for a trusted modality, ``untrusted_share`` of the neighbor
            graph for any other.
        """
        ...

    def attention_weights(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weights of the cross-attention from the anchor to each other modality.

        Called by :meth:`skumc.UMCClusterer.attention_weights`, in evaluation mode and without
        gradients. Without it, or if the dict is empty, that method raises AttributeError.

        Parameters
        ----------
        batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))

        Returns
        -------
        dict of str to Tensor of shape (n_samples, n_heads, n_anchor_frames, n_frames)
            Padded to the longest sample. A sample without the anchor has one anchor frame.
        """
        ...

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of text models.

        Called before training: these parameters are trained with the text model's learning rate.
        Without it all parameters are trained with the encoder's.
        """
        ...


class EncoderSpecification(Protocol):
    """An estimator from which an encoder is built in ``fit``.

    It may have a class attribute ``learning_rate``, see :class:`Encoder`. A subclass of
    :class:`sklearn.base.BaseEstimator` has parameters that can be searched.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator
    >>> from skumc.encoders import ProjectionEncoder
    >>> class NarrowEncoder(BaseEstimator):
    ...     learning_rate = 1e-2
    ...
    ...     def __init__(self, width=16):
    ...         self.width = width
    ...
    ...     def build(self, statistics, anchor):
    ...         return ProjectionEncoder(hidden_width=self.width).build(statistics, anchor)
    >>> statistics = {"text": FrameStatistics(np.zeros(3), np.ones(3))}
    >>> type(NarrowEncoder(width=8).build(statistics, "text")).__name__
    'ProjectionNetwork'
    """

    def build(self, statistics: Mapping[str, FrameStatistics], anchor: str) -> nn.Module:
        """Build an :class:`Encoder` with initial weights.

        Called once per ``fit``.

        Parameters
        ----------
        statistics : dict of str to FrameStatistics
            One entry per modality, in the order of batches and gates. The width of a modality is
            the length of its mean.
        anchor : str
            Name of the anchor modality, a key of ``statistics``.
        """
        ...


def checked_output(output: Any, n_samples: int) -> EncoderOutput:
    """Check that an encoder's return value is as the contract says.

    Raises
    ------
    TypeError
        If it is not a tuple of embedding, gates and projections.
    ValueError
        If embedding or gates do not have one row per sample.

    Examples
    --------
    >>> import torch
    >>> checked_output((torch.ones(2, 4), torch.ones(2, 1), {}), 2).embedding.shape
    torch.Size([2, 4])
    >>> checked_output((torch.ones(2, 4), torch.ones(2, 1), {}), 3)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: The encoder returned embedding of shape (2, 4) for 3 samples, expected (3, ...). ...
    """
    if not isinstance(output, tuple) or len(output) != 3:
        raise TypeError(
            f"The encoder returned {type(output).__name__}, expected an EncoderOutput: (embedding, "
            "gates, projections). Check encoder=."
        )
    output = EncoderOutput(*output)
    for name, values in (("embedding", output.embedding), ("gates", output.gates)):
        if not isinstance(values, Tensor) or values.ndim != 2 or len(values) != n_samples:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"The encoder returned {name} of shape {shape} for {n_samples} samples, expected "
                f"({n_samples}, ...). Check encoder=."
            )
    return output


def encode_views(
    encoder: nn.Module, batch: Batch, views: Sequence[Sequence[str]]
) -> list[EncoderOutput]:
    """Encode a batch once per view, where a view is the modalities that are visible.

    An encoder with a method ``forward_views(batch, views)`` shares what the views have in common;
    any other is called once per view on a batch without the hidden modalities.

    Parameters
    ----------
    encoder : Module
        See :class:`Encoder`.
    batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))
    views : sequence of sequences of str

    Returns
    -------
    list of EncoderOutput
        One per view.

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
    forward_views = getattr(encoder, "forward_views", None)
    if forward_views is not None:
        return forward_views(batch, views)
    n_samples = len(next(iter(batch.values()))[1])
    return [
        checked_output(encoder(hide_modalities(batch, visible)), n_samples) for visible in views
    ]


def encode_summaries(encoder: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return one vector per sample and modality, as it is before training.

    Parameters
    ----------
    encoder : Module
        Its method ``summaries(batch)`` is called if it has one; otherwise the mean of the frames
        is taken.
    batch : dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))

    Returns
    -------
    dict of str to Tensor of shape (n_samples, width)
        Zeros for a sample without the modality.

    Examples
    --------
    >>> import torch
    >>> batch = {"text": (torch.tensor([[1.0], [3.0]]), torch.tensor([2]))}
    >>> encode_summaries(torch.nn.Identity(), batch)["text"].tolist()
    [[2.0]]
    """
    summaries = getattr(encoder, "summaries", None)
    if summaries is not None:
        return summaries(batch)
    return {name: masked_mean(frames, lengths) for name, (frames, lengths) in batch.items()}
