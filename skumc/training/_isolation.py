"""Contexts that leave the state of torch as they found it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from threadpoolctl import threadpool_limits
from torch import nn

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Run with seeded random numbers, float32 and gradients, then restore the caller's state.

    The BLAS of numpy and scipy is limited to one thread: its idle threads spin for some
    milliseconds after each product, on the cores that torch's threads need. Torch and
    scikit-learn's loops keep the thread counts of the caller.

    Examples
    --------
    >>> import torch
    >>> before = torch.random.get_rng_state()
    >>> with isolated(0, torch.device("cpu")):
    ...     first = torch.rand(3)
    >>> with isolated(0, torch.device("cpu")):
    ...     again = torch.rand(3)
    >>> torch.equal(first, again), torch.equal(before, torch.random.get_rng_state())
    (True, True)
    """
    dtype = torch.get_default_dtype()
    cuda = device.type == "cuda"
    with (
        torch.random.fork_rng(devices=[device] if cuda else []),
        torch.inference_mode(False),
        torch.enable_grad(),
        threadpool_limits(1, user_api="blas"),
    ):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def without_shape_cache(encoder: nn.Module, precision: str) -> Iterator[None]:
    """Switch oneDNN off while an encoder trains that does not benefit from it.

    oneDNN caches a primitive for each of the last thousand shapes: small allocations between the
    large ones of a step. Packed batches rarely repeat a shape, so the cache saves nothing and
    fragments the heap, and memory grows from epoch to epoch. In float32 only GELU uses oneDNN, and
    is as fast without it; convolutions and bfloat16 need it.

    Parameters
    ----------
    encoder : Module
    precision : {"float32", "bfloat16"}
    """
    if precision == "float32" and not any(isinstance(m, _CONVOLUTIONS) for m in encoder.modules()):
        with _ONEDNN.off():
            yield
    else:
        yield


class _Switch:
    """Reference-counted switch of oneDNN, shared by fits in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_off = 0
        self._was_on = True

    @contextmanager
    def off(self) -> Iterator[None]:
        with self._lock:
            if self._n_off == 0:
                self._was_on = torch.backends.mkldnn.enabled
                self._set(False)
            self._n_off += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_off -= 1
                if self._n_off == 0:
                    self._set(self._was_on)

    @staticmethod
    def _set(is_on: bool) -> None:
        with suppress(RuntimeError):  # the caller has frozen the flags of torch.backends
            torch.backends.mkldnn.enabled = is_on


_ONEDNN = _Switch()
