"""Estimate of the memory that training takes."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor, nn

from skumc._batches import to_batch, to_device
from skumc._process_state import own_random_numbers
from skumc._warnings import warn_caller
from skumc.data import MultimodalData
from skumc.encoders import Batch, encode_views
from skumc.training._isolation import autocast
from skumc.training._settings import TrainingSettings
from skumc.training._state import TrainingState

_TRIED = 4  # number of samples, the longest ones
_STATES = 7  # per trained weight: gradient; two moments, running average, and their copies
_SQUARES = 4  # matrices of all pairs of views: similarities, two intermediates, gradients


@dataclass(frozen=True)
class MemoryNeed:
    """Memory that training takes in addition to the data, in bytes.

    Attributes
    ----------
    fixed : int
        Weights, their copies from the best and the last epoch, and the states of the optimizer.
    per_sample : int
        Tensors saved for the backward pass per sample of a batch, over all views.
    n_views : int
        Number of views of a sample.

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
        """Return the total with batches of ``batch_size`` samples."""
        square = _SQUARES * 4 * (self.n_views * batch_size) ** 2
        return self.fixed + self.per_sample * batch_size + square

    def largest_batch(self, n_bytes: int) -> int:
        """Return the largest batch size that fits into ``n_bytes``; 0 if none does."""
        most = max(n_bytes // max(self.per_sample, 1), 1) + 1
        return bisect.bisect_right(range(1, most + 1), n_bytes, key=self.total)


@contextmanager
def trial_batch(
    encoder: nn.Module, data: MultimodalData, settings: TrainingSettings
) -> Iterator[Batch]:
    """Yield a batch of the longest samples, then restore buffers and random numbers."""
    device = settings.device
    rows = np.argsort(data.lengths.sum(axis=1), kind="stable")[-_TRIED:]
    buffers = {name: value.clone() for name, value in encoder.named_buffers()}
    try:
        with (
            own_random_numbers(device),
            autocast(device, settings.precision),
        ):
            yield to_device(to_batch(data, rows), device)
    finally:
        with torch.no_grad():
            for name, value in encoder.named_buffers():
                if name in buffers:  # the first call may have created others
                    value.copy_(buffers[name])


def memory_need(
    encoder: nn.Module,
    data: MultimodalData,
    views: Sequence[Sequence[str]],
    settings: TrainingSettings,
    losses: nn.Module | None = None,
) -> MemoryNeed:
    """Measure on a few samples how much memory training takes.

    Parameters
    ----------
    encoder : Module
        In training mode; its state and the random numbers are restored.
    data : MultimodalData
        The training samples.
    views : sequence of sequences of str
        Views of a supervised step; a contrastive step is taken to have two full views.
    settings : TrainingSettings
        Its device and precision are used.
    losses : Module or None, default=None
        Losses with parameters.

    Returns
    -------
    MemoryNeed
        An upper estimate, for batches in which all samples are as long as the longest ones.
    """
    with trial_batch(encoder, data, settings) as batch:
        n_samples = len(next(iter(batch.values()))[1])
        one = _saved_bytes(encoder, batch, [data.names])
        several = _saved_bytes(encoder, batch, views)
    parameters = [*encoder.parameters(), *(losses.parameters() if losses is not None else ())]
    weights = sum(p.nbytes for p in parameters)
    trained = sum(p.nbytes for p in parameters if p.requires_grad)
    fixed = 3 * weights + _STATES * trained  # in use, of the best epoch and of the last one
    return MemoryNeed(fixed, max(2 * one, several) // n_samples, max(2, len(views)))


def _saved_bytes(encoder: nn.Module, batch: Batch, views: Sequence[Sequence[str]]) -> int:
    """Count the bytes that a forward pass saves for the backward pass, without weights."""
    weights = {t.untyped_storage().data_ptr() for t in (*encoder.parameters(), *encoder.buffers())}
    saved: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def count(tensor: Tensor) -> None:  # a graph that saved its own output would never be freed
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage

    with torch.autograd.graph.saved_tensors_hooks(count, lambda nothing: nothing):
        encode_views(encoder, batch, views)
    return sum(storage.nbytes() for storage in saved.values())


def free_memory(device: torch.device) -> int | None:
    """Return the free memory of the device in bytes, None where it is unknown."""
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
    """Raise or warn if training takes too much memory, and name the batch size that fits.

    Parameters
    ----------
    need : MemoryNeed
    batch_size : int
        Largest batch size of a step.
    max_memory : int or None
        Limit in bytes; None is the free memory of the device.
    device : torch.device

    Raises
    ------
    MemoryError
        If training takes more than ``max_memory``.

    Warns
    -----
    RuntimeWarning
        If that is None and training takes more than is free.
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
    warn_caller(message)


class MemoryEstimate(BaseEstimator):
    """Estimate the memory that training takes, before it starts.

    Parameters
    ----------
    max_memory : int in [1, inf) or None, default=None
        Limit in bytes, in addition to the data: beyond it MemoryError names the batch size that
        fits. With None the limit is the free memory of the device, and a RuntimeWarning takes the
        place of the error.

    Notes
    -----
    ``UMCClusterer`` adds ``MemoryEstimate()`` unless ``callbacks`` has one.

    The estimate is of training. Libraries keep up to 250 MiB more per process, regardless of the
    number of samples: code that is loaded when it is first used and, with ``precision="bfloat16"``
    on a CPU, kernels for each shape.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc import UMCClusterer
    >>> tight = UMCClusterer(2, callbacks=[MemoryEstimate(max_memory=1000)])
    >>> tight.fit(np.eye(8))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    MemoryError: Training would take about ...
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "max_memory": [Interval(Integral, 1, None, closed="left"), None]
    }

    def __init__(self, max_memory: int | None = None) -> None:
        self.max_memory = max_memory

    def on_train_begin(self, state: TrainingState) -> None:
        """Measure on a few samples, then warn or raise."""
        self._validate_params()
        settings = state.settings
        if settings.pretrain_epochs + settings.max_epochs == 0:
            return
        need = memory_need(
            state.encoder,
            state.data,
            state.views,
            settings,
            state.losses,
        )
        largest = min(settings.batch_size, len(state.data))
        check_memory(need, largest, self.max_memory, settings.device)
