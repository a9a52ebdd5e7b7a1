"""Copy the next batch to the device while the current one trains."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from skumc._batches import to_device
from skumc.encoders import Batch


def loaded(
    load: Callable[[Any], tuple[Any, Batch]], plans: Iterable[Any], device: torch.device
) -> Generator[tuple[Any, Batch], None, None]:
    """Load one batch per plan, on a GPU one ahead of the caller.

    Parameters
    ----------
    load : callable
        Maps a plan to a pair: anything about the batch, and the batch on the CPU. It is called in
        the order of the plans, for a GPU from another thread.
    plans : iterable
        One entry per batch.
    device : torch.device
        Device of the batches.

    Yields
    ------
    about : object
    batch : dict of str to (Tensor, Tensor)
        On ``device``. The next one is copied to a GPU while the caller works with this one.
    """
    if device.type != "cuda":
        yield from map(load, plans)  # the batch is freed before the next one is loaded
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
            frames.record_stream(current)  # keeps the memory from being reused for the next copy
        yield about, batch


def one_ahead(work: Callable[[Any], Any], plans: Iterable[Any]) -> Iterator[Any]:
    """Yield ``map(work, plans)`` in order, with a thread that works one item ahead.

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
