"""Leave the caller's torch as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Run with seeded random numbers, float32 and gradients; give the caller's state back.

    The BLAS of numpy and scipy has one thread meanwhile: its idle threads look for work for some
    milliseconds after each product, on the cores that torch's threads need. Torch, and
    scikit-learn's loops, have as many as the caller gave them.

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
    """The context in which an encoder runs in ``precision``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
