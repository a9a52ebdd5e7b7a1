"""A few samples through an encoder before it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from skumc.data import MultimodalData
from skumc.encoders import Batch
from skumc.training._batches import to_batch
from skumc.training._isolation import autocast

_TRIED = 4  # samples, the longest ones


@contextmanager
def trial(
    encoder: nn.Module, data: MultimodalData, device: torch.device, precision: str
) -> Iterator[Batch]:
    """Give the longest samples; buffers and random numbers are as before behind it.

    Parameters
    ----------
    encoder : Module
    data : MultimodalData
    device : torch.device
    precision : {"float32", "bfloat16"}

    Yields
    ------
    dict of str to (Tensor, Tensor)
    """
    rows = np.argsort(data.lengths.sum(axis=1), kind="stable")[-_TRIED:]
    buffers = {name: value.clone() for name, value in encoder.named_buffers()}
    try:
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            autocast(device, precision),
        ):
            yield to_batch(data, rows, device)
    finally:
        with torch.no_grad():
            for name, value in encoder.named_buffers():
                if name in buffers:  # others came with the first call
                    value.copy_(buffers[name])
