"""Passes of an encoder over all samples, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from skumc._batches import to_batch, to_device
from skumc._evaluation import evaluating
from skumc.data import MultimodalData, Ragged, inference_batches
from skumc.data._rows import name_rows
from skumc.encoders import Batch, RepeatableBatches, checked_output, encode_summaries
from skumc.training._isolation import autocast

_LARGEST_SQUARED = float(np.sqrt(np.finfo(np.float32).max))


def _batches(data: MultimodalData, device: torch.device) -> Iterator[tuple[np.ndarray, Batch]]:
    """Row numbers and batches of samples of similar length, on ``device``."""
    for rows in inference_batches(data):
        yield rows, to_device(to_batch(data, rows), device)


class Embedded(NamedTuple):
    """Output of an encoder for all samples, in evaluation mode.

    Attributes
    ----------
    embedding : ndarray of float32, shape (n_samples, n_components)
    gates : ndarray of float32, shape (n_samples, n_modalities)
    clustering : ndarray of float32, shape (n_samples, width), or None
        The space of compactness and separation where that is not the embedding.

    Examples
    --------
    >>> import numpy as np
    >>> Embedded(np.eye(2), np.ones((2, 1)), None).embedding.shape
    (2, 2)
    """

    embedding: np.ndarray
    gates: np.ndarray
    clustering: np.ndarray | None


def calibrate(encoder: nn.Module, data: MultimodalData, device: torch.device) -> None:
    """Pass all samples to an encoder's method ``calibrate``, if it has one, once in its life.

    The ``encoder_`` of an earlier fit stays as it is.

    Examples
    --------
    >>> import torch
    >>> from skumc import MultimodalData
    >>> class Counting(torch.nn.Module):
    ...     def calibrate(self, batches):
    ...         self.n_samples = sum(len(batch["text"][1]) for batch in batches)
    >>> encoder = Counting()
    >>> calibrate(encoder, MultimodalData({"text": [[1.0], [3.0]]}), torch.device("cpu"))
    >>> encoder.n_samples
    2
    """
    own = getattr(encoder, "calibrate", None)
    if own is not None and not getattr(encoder, "is_calibrated_", False):
        with evaluating(encoder):
            own(RepeatableBatches(lambda: (batch for _, batch in _batches(data, device))))
        encoder.is_calibrated_ = True  # type: ignore[assignment]  # a plain attribute, pickled


def summarize(encoder: nn.Module, data: MultimodalData, device: torch.device) -> dict[str, Tensor]:
    """Compute one vector per sample and modality; see :func:`~skumc.encoders.encode_summaries`.

    Returns
    -------
    dict of str to Tensor of float32, shape (n_samples, width)

    Examples
    --------
    >>> import torch
    >>> from skumc import MultimodalData
    >>> X = MultimodalData({"audio": [[[1.0], [3.0]], [[5.0]]]})
    >>> summarize(torch.nn.Identity(), X, torch.device("cpu"))["audio"].tolist()
    [[2.0], [5.0]]
    """
    found: dict[str, Tensor] = {}
    with evaluating(encoder):
        for rows, batch in _batches(data, device):
            for name, values in encode_summaries(encoder, batch).items():
                if name not in found:
                    found[name] = values.new_zeros(len(data), values.shape[1], dtype=torch.float32)
                found[name][torch.from_numpy(rows).to(device)] = values.float()
    return found


def _name_giants(data: MultimodalData, rows: np.ndarray) -> None:
    """Raise ValueError if samples have values with squares beyond float32."""
    for name in data.names:
        store = cast(Ragged, data.packed(name, rows))
        giants = np.abs(store.values).max(axis=1, initial=0) > _LARGEST_SQUARED
        if giants.any():
            owner = np.repeat(rows, store.lengths)[giants]
            largest = float(np.abs(store.values).max())
            raise ValueError(
                f"Modality {name!r} has values of up to {largest:.3g} in "
                f"{name_rows(np.unique(owner))}, beyond what the encoder can compute in float32. "
                "Replace such values, or scale the modality to the range of the training samples."
            )


def _check_embedding(embedding: np.ndarray, data: MultimodalData) -> None:
    """Raise ValueError unless each row is finite and of unit norm; name the data if they cause it.

    Parameters
    ----------
    embedding : ndarray of shape (n_samples, n_components)
    data : MultimodalData
        The samples that were embedded.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(embedding, axis=1)
    failed = np.flatnonzero(~(np.abs(lengths - 1) <= 0.01))
    if len(failed):
        _name_giants(data, failed)
    if not np.isfinite(embedding).all():
        raise ValueError(
            "The encoder gave an embedding that is not finite. Lower learning_rate or "
            "pretrain_learning_rate, or set optimization__grad_clip; check the output of an "
            "encoder that you wrote."
        )
    if len(failed):
        raise ValueError(
            f"The encoder gave embeddings of lengths {lengths.min():.3g} to {lengths.max():.3g}, "
            "expected unit norm. End your encoder with torch.nn.functional.normalize."
        )


def embed(
    encoder: nn.Module, data: MultimodalData, device: torch.device, precision: str
) -> Embedded:
    """Embed all samples in evaluation mode.

    Parameters
    ----------
    encoder : Module
    data : MultimodalData
    device : torch.device
    precision : {"float32", "bfloat16"}

    Returns
    -------
    Embedded

    Raises
    ------
    ValueError
        If the encoder does not return a matrix with one finite row per sample.

    Examples
    --------
    >>> import torch
    >>> from skumc import MultimodalData
    >>> from skumc.encoders import EncoderOutput, masked_mean
    >>> class Mean(torch.nn.Module):
    ...     def forward(self, batch):
    ...         h = torch.nn.functional.normalize(masked_mean(*batch["text"]), dim=-1)
    ...         return EncoderOutput(h, torch.ones(len(h), 1), {})
    >>> X = MultimodalData({"text": [[[0.0, 1.0], [0.0, 3.0]], [[5.0, 0.0]]]})
    >>> embed(Mean(), X, torch.device("cpu"), "float32").embedding.tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    found: dict[str, np.ndarray] = {}
    with evaluating(encoder):
        for rows, batch in _batches(data, device):
            with autocast(device, precision):
                output = encoder(batch)
            output = checked_output(output, len(rows))
            parts = {"embedding": output.embedding, "gates": output.gates}
            if "clustering" in output.projections:
                parts["clustering"] = output.projections["clustering"]
            for name, values in parts.items():
                if name not in found:
                    found[name] = np.empty((len(data), values.shape[1]), dtype=np.float32)
                found[name][rows] = values.float().cpu().numpy()
    _check_embedding(found["embedding"], data)
    return Embedded(found["embedding"], found["gates"], found.get("clustering"))


def embed_attention(
    encoder: nn.Module, data: MultimodalData, anchor: str, device: torch.device
) -> dict[str, list[np.ndarray | None]]:
    """Compute the cross-attention weights of each sample, without padding.

    Parameters
    ----------
    encoder : Module
        With a method ``attention_weights(batch)``.
    data : MultimodalData
    anchor : str
    device : torch.device

    Returns
    -------
    dict of str to list of ndarray (n_heads, n_anchor_frames, n_frames) or None

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skumc import MultimodalData
    >>> from skumc.encoders import FrameStatistics, UMCEncoder
    >>> X = MultimodalData({"text": [np.ones((2, 3)), np.ones((4, 3))], "audio": [[1.0], None]})
    >>> statistics = {n: FrameStatistics(*X.packed(n).mean_and_scale()) for n in X.names}
    >>> encoder = UMCEncoder(hidden_width=8, n_heads=2).build(statistics, "text")
    >>> weights = embed_attention(encoder, X, "text", torch.device("cpu"))
    >>> weights["audio"][0].shape, weights["audio"][1]
    ((2, 2, 1), None)
    """
    own = cast(Callable[[Batch], dict[str, Tensor]], encoder.attention_weights)
    lengths = dict(zip(data.names, data.lengths.T, strict=True))
    weights: dict[str, list[np.ndarray | None]] = {}
    with evaluating(encoder):
        for rows, batch in _batches(data, device):
            for name, padded in own(batch).items():
                cells = weights.setdefault(name, [None] * len(data))
                for row, values in zip(rows, padded.float().cpu().numpy(), strict=True):
                    n_anchor, n_frames = max(lengths[anchor][row], 1), lengths[name][row]
                    if n_frames:
                        cells[row] = values[:, :n_anchor, :n_frames].copy()
    return weights
