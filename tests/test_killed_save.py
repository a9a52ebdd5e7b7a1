"""A process that is killed while it saves leaves the old clusterer or the new one, whole."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_makers import make_sequences
from saved_clusterers import fit
from skumc import UMCClusterer

# Kills children that save two clusterers in turn; prints after each kill which one is there.
DRIVER = """
import os, pickle, random, signal, sys, time
import numpy as np, torch
from skumc import UMCClusterer
torch.set_num_threads(1)
with open(sys.argv[1], "rb") as file:
    X, clusterers = pickle.load(file)
folder, rng = sys.argv[2], random.Random(0)
expected = [clusterer.transform(X) for clusterer in clusterers]
started = time.perf_counter()
clusterers[0].save(folder)
took = time.perf_counter() - started
for _ in range(20):
    child = os.fork()
    if child == 0:
        while True:
            for clusterer in clusterers[::-1]:
                clusterer.save(folder)
    time.sleep(rng.uniform(0, 4 * took))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = UMCClusterer.load(folder).transform(X)
    print([np.array_equal(found, one) for one in expected].index(True), flush=True)
clusterers[0].save(folder)  # nothing stays locked, nothing is in the way
print(len(os.listdir(folder)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_killed_save_leaves_the_old_or_the_new_clusterer(tmp_path):
    X = make_sequences(24, 2)[0]
    clusterers = [fit(X, random_state=seed) for seed in (0, 1)]
    (tmp_path / "both").write_bytes(pickle.dumps((X, clusterers)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path / "both"), str(tmp_path / "a")],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *found, n_files = done.stdout.split()
    assert len(found) == 20
    assert set(found) == {"0", "1"}  # both were seen
    assert n_files == "3"


def test_every_step_of_replacing_is_safe(tmp_path, monkeypatch):
    """Stop at each call that changes the file system, as kill -9 would, and load."""
    X = make_sequences(24, 2)[0]
    old, new = fit(X, random_state=0), fit(X, random_state=1)
    expected = [clusterer.transform(X) for clusterer in (old, new)]

    class Killed(BaseException):
        pass

    from skumc.persistence import _saved_folder

    seen = []
    for stop in range(100):
        folder = tmp_path / str(stop)
        old.save(folder)
        calls = 0

        def counted(real, stop=stop):
            def call(*arguments, **settings):
                nonlocal calls
                calls += 1
                if calls > stop:
                    raise Killed
                return real(*arguments, **settings)

            return call

        with monkeypatch.context() as patch:
            for owner, name in [
                (os, "rename"), (os, "replace"), (os, "fsync"), (Path, "unlink"), (Path, "rename"),
                (Path, "write_bytes"), (Path, "write_text"), (Path, "mkdir"), (Path, "chmod"),
                (_saved_folder.shutil, "rmtree"),
            ]:  # fmt: skip
                patch.setattr(owner, name, counted(getattr(owner, name)))
            try:
                new.save(folder)
                finished = True
            except Killed:
                finished = False
        found = UMCClusterer.load(folder).transform(X)
        which = [np.array_equal(found, one) for one in expected]
        assert any(which)
        seen.append(which.index(True))
        old.save(folder)  # what is left is in the way of nothing
        assert len(list(folder.iterdir())) == 3
        if finished:
            break
    assert finished
    assert seen == sorted(seen)  # the old one, up to the step from which on it is the new one
    assert 0 < sum(seen) < len(seen)
