import multiprocessing
import os
import signal
import weakref

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from skumc.data import FrameStore, digest


def frames_of(number):
    return np.full((number % 4 + 1, 3), number, np.float32)


def fill(store, numbers):
    with store.locked():
        store.add({digest(str(i)): frames_of(i) for i in numbers if digest(str(i)) not in store})


def check(store, numbers):
    taken = store.take([digest(str(i)) for i in numbers])
    for i, number in enumerate(numbers):
        np.testing.assert_array_equal(taken[i], frames_of(number))


@pytest.fixture(params=["memory", "folder"])
def folder(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "a" / "b"


@given(batches=st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=4), data=st.data())
def test_what_was_added_is_found_in_any_order_and_number(tmp_path_factory, batches, data):
    known = [number for batch in batches for number in batch]
    wanted = data.draw(st.lists(st.sampled_from(known), max_size=6)) if known else []
    for place in (None, tmp_path_factory.mktemp("store")):
        store = FrameStore(place, 3)
        for batch in batches:
            fill(store, batch)
        check(store, wanted)
        assert len(store.take([None, *map(digest, map(str, wanted))])[0]) == 0


def test_a_folder_is_read_by_other_stores_and_mapped(tmp_path):
    fill(FrameStore(tmp_path, 3), range(5))
    store = FrameStore(tmp_path, 3)
    check(store, [4, 0, 4, 2])
    base = store.take([digest("1")])[0]
    while not isinstance(base, np.memmap):
        base = base.base
    assert not base.flags.writeable


def test_an_add_cut_short_by_a_kill_leaves_nothing(tmp_path):
    fill(FrameStore(tmp_path, 3), range(3))
    for name in ("frames.bin", "index.bin"):  # killed while writing either
        with open(tmp_path / name, "ab") as file:
            file.write(b"x" * 7)
        store = FrameStore(tmp_path, 3)
        check(store, [2, 1, 0])
        fill(store, range(6))
        check(FrameStore(tmp_path, 3), range(6))


def test_frames_without_index_are_overwritten(tmp_path):
    fill(FrameStore(tmp_path, 3), range(3))
    index = (tmp_path / "index.bin").read_bytes()
    fill(FrameStore(tmp_path, 3), range(6))
    (tmp_path / "index.bin").write_bytes(index)  # killed between frames and index
    store = FrameStore(tmp_path, 3)
    assert digest("5") not in store
    fill(store, [5, 4])
    check(FrameStore(tmp_path, 3), [5, 4, 2, 1, 0])


def test_reading_does_not_wait_for_the_lock(tmp_path):
    fill(FrameStore(tmp_path, 3), range(3))
    with FileLock(tmp_path / "lock"):  # another process adds
        context = multiprocessing.get_context("spawn")
        reader = context.Process(target=_read, args=(tmp_path,))
        reader.start()
        reader.join(60)
        assert reader.exitcode == 0


def _read(folder):
    check(FrameStore(folder, 3), range(3))


def _fill_slowly(folder, numbers):
    store = FrameStore(folder, 3)
    for number in numbers:
        fill(store, [number])


def test_two_processes_add_every_sample_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_fill_slowly, args=(tmp_path, order))
        for order in (range(40), range(39, -1, -1))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    check(FrameStore(tmp_path, 3), range(40))
    assert os.path.getsize(tmp_path / "frames.bin") == 12 * sum(
        len(frames_of(i)) for i in range(40)
    )


def _fill_and_die(folder):
    store = FrameStore(folder, 3)
    fill(store, range(10))
    with store.locked():
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_the_lock_of_a_killed_process_is_free(tmp_path):
    worker = multiprocessing.get_context("spawn").Process(target=_fill_and_die, args=(tmp_path,))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    store = FrameStore(tmp_path, 3)
    fill(store, range(12))
    check(store, range(12))


def test_frames_of_another_width_are_refused(folder, tmp_path):
    store = FrameStore(folder, 3)
    with pytest.raises(ValueError, match="expected width 3"), store.locked():
        store.add({"a": np.ones((2, 4))})
    fill(store, [1])
    check(store, [1])


def test_a_folder_of_another_width_is_refused(tmp_path):
    FrameStore(tmp_path, 3)
    with pytest.raises(ValueError, match=r"holds frames laid out as .*'width': 3.*another folder"):
        FrameStore(tmp_path, 4)


def test_a_folder_that_cannot_be_written_names_the_argument(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Cannot write frames to .*file.*Name .* as memory\."):
        FrameStore(tmp_path / "file" / "frames", 2)


@pytest.mark.parametrize("n_left", [None, 0, 8])
def test_deleted_frames_are_never_read_as_zeros(tmp_path, n_left):
    keys = [digest(letter) for letter in "ab"]
    store = FrameStore(tmp_path, 2)
    with store.locked():
        store.add({keys[0]: np.ones((3, 2))})
    file = tmp_path / "frames.bin"
    file.unlink() if n_left is None else file.write_bytes(file.read_bytes()[:n_left])
    damaged = FrameStore(tmp_path, 2)
    with pytest.raises(ValueError, match="is damaged: .* Delete it"):
        FrameStore(tmp_path, 2).take(keys[:1])
    assert damaged.absent(keys) == keys
    with damaged.locked():
        damaged.add({keys[1]: np.full((4, 2), 3)})
    mended = FrameStore(tmp_path, 2)
    assert mended.absent(keys) == keys[:1]
    np.testing.assert_array_equal(mended.take(keys[1:])[0], np.full((4, 2), 3))


def test_frames_of_another_source_are_refused(tmp_path):
    fill(FrameStore(tmp_path, 3, {"size": 1}), range(3))
    check(FrameStore(tmp_path, 3, {"size": 1}), range(3))
    check(FrameStore.existing(tmp_path, {"size": 1}), range(3))
    for source in (None, {"size": 2}):
        with pytest.raises(ValueError, match="'size': 1.*another folder"):
            FrameStore(tmp_path, 3, source)
    with pytest.raises(ValueError, match="'size': 1"):
        FrameStore.existing(tmp_path, {"size": 2})


def test_a_missing_folder_is_not_made_by_reading(tmp_path):
    with pytest.raises(FileNotFoundError):
        FrameStore.existing(tmp_path / "frames", {})
    assert not (tmp_path / "frames").exists()


def test_pairs_are_written_one_at_a_time(folder):
    store, at_once = FrameStore(folder, 3), []

    def pairs():
        for number in range(5):
            if folder is not None:
                at_once.append(len(alive))
            rows = frames_of(number)
            alive.add(rows.ctypes.data)
            weakref.finalize(rows, alive.discard, rows.ctypes.data)
            yield digest(str(number)), rows
            del rows

    alive: set[int] = set()
    with store.locked():
        store.add(pairs())
    check(store, range(5))
    assert max(at_once, default=0) <= 2  # the first one and the last


def test_an_add_that_fails_leaves_the_store_as_it_was(folder):
    def pairs():
        yield digest("1"), frames_of(1)
        raise RuntimeError("the frames cannot be computed")

    store = FrameStore(folder, 3)
    fill(store, [0])
    with pytest.raises(RuntimeError, match="cannot be computed"), store.locked():
        store.add(pairs())
    assert digest("1") not in store
    fill(store, [1, 2])
    check(store, [2, 1, 0])
    if folder is not None:
        check(FrameStore(folder, 3), [2, 1, 0])


def test_the_parameter_that_chooses_the_folder_is_named_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"as cache_folder\.$") as caught:
        FrameStore(tmp_path / "file" / "frames", 2, argument="cache_folder")
    assert str(caught.value).count("Cannot write") == 1
