"""How much memory training takes, told before it starts."""

from __future__ import annotations

import bisect
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from skumc.data import MultimodalData
from skumc.encoders import Batch, encode_views
from skumc.training._trial import trial

_STATES = 4  # of a weight that trains: gradient, two moments, running average
_SQUARES = 4  # matrices of all pairs of views: similarities, what the loss makes of them, gradients


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that training takes beside the data.

    Attributes
    ----------
    fixed : int
        Weights as they are kept, and what the optimizer keeps for them.
    per_sample : int
        What a sample of a batch leaves for the backward pass, in all its views.
    n_views : int

    Examples
    --------
    >>> need = MemoryNeed(fixed=1000, per_sample=100, n_views=2)
    >>> need.total(10)
    8400
    >>> need.largest_batch(4000), need.largest_batch(900)
    (6, 0)
    """

    fixed: int
    per_sample: int
    n_views: int

    def total(self, batch_size: int) -> int:
        """Bytes with batches of that many samples."""
        square = _SQUARES * 4 * (self.n_views * batch_size) ** 2
        return self.fixed + self.per_sample * batch_size + square

    def largest_batch(self, n_bytes: int) -> int:
        """The largest batch size for which so many bytes are enough; 0 if there is none."""
        most = max(n_bytes // max(self.per_sample, 1), 1) + 1
        return bisect.bisect_right(range(1, most + 1), n_bytes, key=self.total)


def memory_need(
    encoder: nn.Module,
    data: MultimodalData,
    views: Sequence[Sequence[str]],
    device: torch.device,
    precision: str,
) -> MemoryNeed:
    """Measure on a few samples what training will take.

    Parameters
    ----------
    encoder : Module
        In training mode; it and the random numbers stay as they are.
    data : MultimodalData
    views : sequence of sequences of str
        What a supervised step looks at; a contrastive one looks at two full views.
    device : torch.device
    precision : {"float32", "bfloat16"}

    Returns
    -------
    MemoryNeed
        For batches of samples as long as the longest ones, thus rather too much than too little.
    """
    with trial(encoder, data, device, precision) as batch:
        n_samples = len(next(iter(batch.values()))[1])
        one = _saved_bytes(encoder, batch, [data.names])
        several = _saved_bytes(encoder, batch, views)
    weights = sum(p.nbytes for p in encoder.parameters())
    trained = sum(p.nbytes for p in encoder.parameters() if p.requires_grad)
    fixed = 2 * weights + _STATES * trained  # as they are, and of the best epoch
    return MemoryNeed(fixed, max(2 * one, several) // n_samples, max(2, len(views)))


def _saved_bytes(encoder: nn.Module, batch: Batch, views: Sequence[Sequence[str]]) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights left out."""
    weights = {t.untyped_storage().data_ptr() for t in (*encoder.parameters(), *encoder.buffers())}
    saved: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        outputs = encode_views(encoder, batch, views)  # held, or addresses would come up again
    del outputs
    return sum(saved.values())


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on the device, None where that cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None


def _readable(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"


def check_memory(
    need: MemoryNeed, batch_size: int, max_memory: int | None, device: torch.device
) -> None:
    """Raise or warn where training takes more than there is, and say which batch size fits.

    Parameters
    ----------
    need : MemoryNeed
    batch_size : int
        The largest that a step will have.
    max_memory : int or None
        Bytes; None is what is free on the device.
    device : torch.device

    Raises
    ------
    MemoryError
        If it takes more than ``max_memory``.

    Warns
    -----
    RuntimeWarning
        If that is None and it takes more than is free.
    """
    bound = free_memory(device) if max_memory is None else max_memory
    if bound is None or need.total(batch_size) <= bound:
        return
    fitting = min(need.largest_batch(bound), batch_size)
    remedy = (
        f"batch_size={fitting} fits."
        if fitting
        else f"No batch size fits: {_readable(need.fixed)} are for the weights. Use a smaller "
        "encoder or text model."
    )
    has = "free on the device" if max_memory is None else "allowed by max_memory"
    message = (
        f"Training would take about {_readable(need.total(batch_size))} with batches of "
        f"{batch_size} samples, {_readable(bound)} are {has}. {remedy}"
    )
    if max_memory is not None:
        raise MemoryError(message)
    warnings.warn(message, RuntimeWarning, stacklevel=5)  # who called fit
