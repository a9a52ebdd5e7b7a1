"""Batches that are loaded while the one before trains."""

import threading
import time

import pytest
import torch

from skumc._batches import to_device
from skumc.training._prefetch import loaded, one_ahead

CPU = torch.device("cpu")


def test_one_ahead_keeps_the_order():
    assert list(one_ahead(lambda n: n**2, range(20))) == [n**2 for n in range(20)]
    assert list(one_ahead(lambda n: n, [])) == []


def test_one_ahead_works_on_one_more_than_was_taken():
    begun, lock = [], threading.Lock()

    def work(n):
        with lock:
            begun.append(n)
        return n

    results = one_ahead(work, range(5))
    for taken in range(3):
        assert next(results) == taken
        deadline = time.monotonic() + 10
        while len(begun) < taken + 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert begun == list(range(taken + 2))
    results.close()


def test_an_error_reaches_the_caller_in_its_turn():
    def work(n):
        if n == 1:
            raise MemoryError("no room")
        return n

    results = one_ahead(work, range(3))
    assert next(results) == 0
    with pytest.raises(MemoryError, match="no room"):
        next(results)


def test_leaving_early_leaves_no_thread():
    before = threading.active_count()
    for _ in one_ahead(lambda n: n, range(100)):
        break
    assert threading.active_count() == before


def test_a_cpu_has_no_thread_and_loads_when_asked():
    names = []

    def load(plan):
        names.append(threading.current_thread().name)
        return plan, {"text": (torch.ones(2, 3), torch.tensor([1, 1]))}

    found = loaded(load, ["a", "b"], CPU)
    assert next(found)[0] == "a" and len(names) == 1
    assert [about for about, _ in found] == ["b"]
    assert set(names) == {threading.current_thread().name}


def test_a_batch_stays_where_it_is():
    batch = {"text": (torch.ones(2, 3), torch.tensor([1, 1]))}
    assert to_device(batch, CPU) is batch


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_arrive_on_a_gpu():
    device = torch.device("cuda")
    parts = [torch.full((1000, 64), float(n)) for n in range(10)]

    def load(n):
        return n, {"text": (parts[n], torch.ones(1000, dtype=torch.long))}

    for n, batch in loaded(load, range(10), device):
        frames, lengths = batch["text"]
        assert (frames.device.type, lengths.device.type) == ("cuda", "cpu")
        assert (frames == n).all() and int(lengths.sum()) == 1000
