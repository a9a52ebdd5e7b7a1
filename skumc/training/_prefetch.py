"""Batches on their way to the device while the one before trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from skumc._batches import to_device
from skumc.encoders import Batch


def loaded(
    load: Callable[[Any], tuple[Any, Batch]], plans: Iterable[Any], device: torch.device
) -> Iterator[tuple[Any, Batch]]:
    """What ``load`` gives for each plan: something about a batch, and the batch on the CPU.

    Parameters
    ----------
    load : callable
        Called in the order of the plans, on a GPU from another thread.
    plans : iterable
    device : torch.device

    Yields
    ------
    about : object
    batch : dict of str to (Tensor, Tensor)
        On ``device``; to a GPU the next one is copied while the caller works with this one.
    """
    if device.type != "cuda":
        yield from map(load, plans)  # holds none of them while the next one comes
        return
    stream = torch.cuda.Stream(device)

    def send(plan: Any) -> tuple[Any, Batch, torch.cuda.Event]:
        about, batch = load(plan)
        with torch.cuda.stream(stream):
            return about, to_device(batch, device), stream.record_event()

    for about, batch, arrived in one_ahead(send, plans):
        current = torch.cuda.current_stream(device)
        current.wait_event(arrived)
        for frames, _ in batch.values():
            frames.record_stream(current)  # or their memory would be free for the next copy
        yield about, batch


def one_ahead(work: Callable[[Any], Any], plans: Iterable[Any]) -> Iterator[Any]:
    """``map(work, plans)`` in order, the next one worked on by a thread meanwhile.

    Examples
    --------
    >>> list(one_ahead(str, [1, 2, 3]))
    ['1', '2', '3']
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = None
        for plan in plans:
            coming = pool.submit(work, plan)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()
