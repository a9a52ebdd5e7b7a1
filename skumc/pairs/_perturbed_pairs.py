"""Positive pairs of a sample and a perturbed copy of it."""

from __future__ import annotations

from numbers import Real
from typing import Any

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._sequences import sent
from skumc.data import MultimodalData
from skumc.encoders import Batch, EncoderOutput, encode_views
from skumc.pairs._base import BasePairs

_SHARE = [Interval(Real, 0, 1, closed="neither")]


def _hide_frames(batch: Batch, share: float) -> Batch:
    """Drop a share of the frames of each sequence; the first frame always stays."""
    hidden = {}
    for name, (frames, lengths) in batch.items():
        kept = torch.rand(len(frames), device=lengths.device) >= share
        first = (torch.cumsum(lengths, 0) - lengths)[lengths > 0]
        kept[first] = True
        owner = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
        places = sent(torch.nonzero(kept).squeeze(1), frames.device)
        fewer = torch.bincount(owner[kept], minlength=len(lengths))
        hidden[name] = (frames.index_select(0, places), fewer)
    return hidden


class _PerturbedPairs(BasePairs):
    """Base of pairs of a sample and a perturbed copy of it.

    :meth:`encode` encodes once and perturbs the output; a subclass may perturb the input instead.
    """

    def prepare(self, data: MultimodalData, anchor: str, graph: Any) -> None:
        """Get ready for the training samples; see :class:`BasePairs`."""
        self._validate_params()
        super().prepare(data, anchor, graph)

    def encode(self, encoder: nn.Module, batch: Batch) -> list[EncoderOutput]:
        """Encode the samples, and perturb a copy of each output."""
        output = encode_views(encoder, batch, [tuple(batch)])[0]
        perturbed = EncoderOutput(
            F.normalize(self._perturb(output.embedding), dim=-1),
            output.gates,
            {name: self._perturb(values) for name, values in output.projections.items()},
        )
        return [output, perturbed]

    def _perturb(self, values: Tensor) -> Tensor:
        raise NotImplementedError


class DropoutPairs(_PerturbedPairs):
    """Positive pairs of an embedding and a copy of it with dropout.

    Parameters
    ----------
    dropout : float in (0, 1), default=0.1
        Share of the values that are set to zero.

    Notes
    -----
    Sections 3.6.2, 3.7.1 and 3.10.4 of the UMC methodology; each projection that a loss reads is
    treated alike.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(pairs=DropoutPairs(0.2)).get_params()["pairs__dropout"]
    0.2
    """

    _parameter_constraints: dict[str, list[Any]] = {"dropout": _SHARE}

    def __init__(self, dropout: float = 0.1) -> None:
        self.dropout = dropout

    def _perturb(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout)


class NoisePairs(_PerturbedPairs):
    """Positive pairs of an embedding and a copy of it with Gaussian noise.

    Parameters
    ----------
    scale : float in (0, inf), default=0.01
        Standard deviation of the noise.

    Notes
    -----
    Section 3.6.2 of the UMC methodology; each projection that a loss reads is treated alike.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(pairs=NoisePairs(0.05)).get_params()["pairs__scale"]
    0.05
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "scale": [Interval(Real, 0, None, closed="neither")]
    }

    def __init__(self, scale: float = 0.01) -> None:
        self.scale = scale

    def _perturb(self, values: Tensor) -> Tensor:
        return values + self.scale * torch.randn_like(values)


class FramePairs(_PerturbedPairs):
    """Positive pairs of a sample and the same sample with some frames hidden.

    Parameters
    ----------
    hidden_share : float in (0, 1), default=0.15
        Share of the frames of each sequence that the second pass hides; the first frame stays.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(pairs=FramePairs(0.3)).get_params()["pairs__hidden_share"]
    0.3
    """

    _parameter_constraints: dict[str, list[Any]] = {"hidden_share": _SHARE}

    def __init__(self, hidden_share: float = 0.15) -> None:
        self.hidden_share = hidden_share

    def encode(self, encoder: nn.Module, batch: Batch) -> list[EncoderOutput]:
        """Encode the samples twice, the second time without some frames."""
        names = [tuple(batch)]
        first = encode_views(encoder, batch, names)
        return first + encode_views(encoder, _hide_frames(batch, self.hidden_share), names)
