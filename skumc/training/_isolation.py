"""Contexts that leave the state of torch as they found it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from skumc._process_state import own_defaults, own_random_numbers


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Run with seeded random numbers, float32 and gradients, then restore the caller's state.

    Fits in several threads take turns: dropout draws from torch's one generator, and the thread
    count of the BLAS is that of the process.

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
    with (
        own_random_numbers(device),
        own_defaults(),
        torch.enable_grad(),
        threadpool_limits(1, user_api="blas"),
    ):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
