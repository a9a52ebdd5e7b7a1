"""States of torch that belong to the whole process: changed for a call, one caller at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_RANDOM = threading.RLock()  # torch's generators: dropout draws from them and from no other
_COUNTED = threading.RLock()  # the counts below


def _after_fork() -> None:
    """Replace the locks, which another thread of the parent process may have held."""
    global _RANDOM, _COUNTED
    _RANDOM, _COUNTED = threading.RLock(), threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def own_random_numbers(device: torch.device | None = None) -> Iterator[None]:
    """Keep torch's generators to this thread, then restore them.

    Other threads that enter wait: torch has one generator per device, from which dropout draws.

    Parameters
    ----------
    device : torch.device, default=None
        A GPU, if its generator is used too.

    Examples
    --------
    >>> before = torch.random.get_rng_state()
    >>> with own_random_numbers():
    ...     _ = torch.rand(3)
    >>> torch.equal(before, torch.random.get_rng_state())
    True
    """
    on_gpu = device is not None and device.type == "cuda"
    with _RANDOM, torch.random.fork_rng(devices=[device] if on_gpu else []):
        yield


class _FloatDefault:
    """float32 as the default dtype, for as long as any thread needs it."""

    def __init__(self) -> None:
        self._n_inside = 0
        self._before = torch.float32

    @contextmanager
    def float32(self) -> Iterator[None]:
        """Set the default dtype; the last one to leave restores that of the first to enter."""
        with _COUNTED:
            if self._n_inside == 0:
                self._before = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self._n_inside += 1
        try:
            yield
        finally:
            with _COUNTED:
                self._n_inside -= 1
                if self._n_inside == 0:
                    torch.set_default_dtype(self._before)


_FLOATS = _FloatDefault()


@contextmanager
def own_defaults() -> Iterator[None]:
    """Compute in float32 on the CPU unless told otherwise, whatever the caller has set.

    The default dtype is float32, the default device the CPU, autocast and inference mode are off.

    Examples
    --------
    >>> with torch.inference_mode(), torch.autocast("cpu"), own_defaults():
    ...     product = torch.ones(2, 2) @ torch.ones(2, 2)
    >>> product.dtype, product.is_inference()
    (torch.float32, False)
    """
    with ExitStack() as stack:
        stack.enter_context(_FLOATS.float32())
        stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
