"""Measure the leftovers of many calls, and fit with random settings.

``python benchmarks/soak.py --predicts 100000 --fits 300`` runs both parts; 0 leaves one out.
Memory is read from ``/proc``, so that it needs Linux.

1. Calls of ``predict``, in one thread and in ten: resident memory, file descriptors and temporary
   files before and after.
2. Fits with random settings, drawn from the ranges that the parameters document, on random samples.
   Each ends in a result, or in an error of a documented type that names a parameter. The memory
   that it takes is compared with the estimate of ``MemoryEstimate``.
"""

import argparse
import gc
import os
import re
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skumc import MultimodalData, UMCClusterer
from skumc._parameters import PARAMETER_CONSTRAINTS, PART_CHOICES
from skumc.training import Callback
from skumc.training._memory import memory_need

MIB = 2**20
DOCUMENTED = (ValueError, TypeError, FloatingPointError, MemoryError)
OF_LIBRARIES = 250  # MiB that libraries keep, as the guide says
NOT_DRAWN = {
    *("modalities", "anchor", "text", "callbacks", "device", "random_state", "verbose"),
    *("supervised_views", "modality_weight", "checkpoint_dir", "extra", "optimizer", "copy_x"),
    *("infonce", "supcon", "contrastive", "compactness", "separation", "n_init", "init"),
    *("tol", "max_iter", "n_clusters", "reassignment_ratio", "init_size", "sample_weight"),
}
MOST = {"pretrain_epochs": 3, "max_epochs": 4, "n_segments": 8, "hidden_width": 64, "width": 64}


def resident():
    """Resident memory in MiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def left_behind():
    """Number of file descriptors, and the temporary files."""
    return len(os.listdir("/proc/self/fd")), sorted(os.listdir(tempfile.gettempdir()))


# 1. many calls


def make_samples(n_samples=45):
    """Make samples with two modalities."""
    rng = np.random.default_rng(0)
    topic = np.arange(n_samples) % 3
    return MultimodalData(
        {
            "text": rng.normal(topic[:, None], 0.5, (n_samples, 8)),
            "audio": [rng.normal(t, 0.5, (rng.integers(2, 6), 4)) for t in topic],
        }
    )


def soak_predict(n_calls, n_threads=10):
    """Predict one sample many times, first in one thread and then in several.

    Returns
    -------
    dict
        MiB of growth after warming up, and whether descriptors, files and labels stayed the same.
    """
    X = make_samples()
    fitted = UMCClusterer(3, pretrain_epochs=1, max_epochs=1, random_state=0).fit(X)
    single = [X[i : i + 1] for i in range(len(X))]

    def calls(n):
        return all(
            fitted.predict(single[i % len(X)])[0] == fitted.labels_[i % len(X)] for i in range(n)
        )

    with ThreadPoolExecutor(n_threads) as pool:
        warm = max(n_calls // 20, 50)
        is_same = calls(warm) and all(pool.map(calls, [warm // n_threads] * n_threads))
        held, start = left_behind(), resident()
        is_same &= calls(n_calls // 2)
        after_one = resident()
        is_same &= all(pool.map(calls, [n_calls // 2 // n_threads] * n_threads))
        after = resident()
        return {
            "calls": n_calls,
            "MiB after one thread": after_one - start,
            f"MiB after {n_threads} threads": after - start,
            "same descriptors and files": left_behind() == held,
            "same labels": is_same,
        }


# 2. random settings


def draw(constraints, name, rng):
    """Draw a value from the constraints of a parameter; None where there is nothing to draw."""
    options = [one for one in constraints if isinstance(one, Interval | StrOptions)]
    options += [one for one in constraints if isinstance(one, str) and one == "boolean"]
    options += [one for one in constraints if one is None]
    if not options:
        return ...
    option = options[rng.integers(len(options))]
    if option is None:
        return None
    if isinstance(option, str):
        return bool(rng.integers(2))
    if isinstance(option, StrOptions):
        return str(rng.choice(sorted(option.options)))
    low = 0.0 if option.left is None else float(option.left)
    if issubclass(option.type, Integral):
        low += option.closed in ("right", "neither")
        high = MOST.get(name, low + 40) if option.right is None else option.right
        return int(rng.integers(int(low), int(min(high, low + 40)) + 1))
    if option.right is None:
        return low + 10.0 ** rng.uniform(-5, 1)
    return float(rng.uniform(low, option.right))


def draw_parameters(rng):
    """Draw parameters of the clusterer, and of its parts as ``part__parameter``."""
    found = {"random_state": int(rng.integers(1000)), "n_clusters": int(rng.integers(1, 7))}
    found |= {"pretrain_epochs": 2, "max_epochs": 3}
    for name, constraints in PARAMETER_CONSTRAINTS.items():
        if name not in NOT_DRAWN and name not in PART_CHOICES and rng.random() < 0.4:
            value = draw(constraints, name, rng)
            found |= {} if value is ... else {name: value}
    for part, choices in PART_CHOICES.items():
        if part == "losses":
            continue
        choice = str(rng.choice(sorted(choices)))
        instance = choices[choice]()
        found |= {part: choice} if rng.random() < 0.6 else {}
        if part in found:
            for name, constraints in getattr(instance, "_parameter_constraints", {}).items():
                if name not in NOT_DRAWN and rng.random() < 0.3:
                    value = draw(list(constraints), name, rng)
                    found |= {} if value is ... else {f"{part}__{name}": value}
    if found.get("neighbors") == "none":
        needy = ("monitor", "pairs", "pseudo_labels")
        found = {name: value for name, value in found.items() if name.split("__")[0] not in needy}
        found |= {"monitor": "silhouette", "pairs": "views", "pseudo_labels": "selected"}
    roles = ("supcon", "contrastive", "compactness", "separation")
    found["losses"] = {role: float(rng.choice([0.0, 0.3, 1.0, 3.0])) for role in roles}
    found["supervised_views"] = [None, "single", "leave_one_out", "full"][rng.integers(4)]
    return found


def draw_samples(rng):
    """Draw samples with one to three modalities, some of them missing."""
    n_samples = int(rng.integers(8, 90))
    cells = {}
    for name in ("text", "audio", "video")[: rng.integers(1, 4)]:
        width, scale = int(rng.integers(1, 12)), 10.0 ** rng.uniform(-3, 3)
        cells[name] = [
            scale * rng.normal(i % 3, 1, (int(rng.integers(1, 9)), width)) for i in range(n_samples)
        ]
    for place, name in enumerate(list(cells)[1:]):
        if rng.random() < 0.5:
            for row in range(place, n_samples, 5):
                cells[name][row] = None
    return MultimodalData(cells)


class Announced(Callback):
    """Takes down the estimate of the memory of training."""

    total = 0

    def on_train_begin(self, state):
        """Estimate as ``MemoryEstimate`` does."""
        size = min(state.settings.batch_size, len(state.data))
        need = memory_need(state.encoder, state.data, state.views, state.settings, state.losses)
        self.total = need.total(size)


def peak_of(call):
    """Peak of the resident memory during a call, in MiB beyond its start."""
    start = resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    call()
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024 - start


def names_a_parameter(message, clusterer):
    """Tell whether a message names a parameter of the clusterer or of its parts."""
    names = {name.split("__")[-1] for name in clusterer.get_params()} | {"X", "Modality", "supcon"}
    return any(re.search(rf"\b{name}\b", message) for name in names)


def soak_fits(n_fits, seed=0, show=False):
    """Fit with random settings.

    Returns
    -------
    ends : Counter
        Number of results and of errors by their type.
    failures : list of str
        Errors that are not documented, or name no parameter.
    beyond : list of float
        MiB that a fit took beyond its estimate, negative for less.
    """
    ends, failures, beyond = Counter(), [], []
    for encoder in PART_CHOICES["encoder"]:  # what first fits load is not memory of training
        for precision in ("float32", "bfloat16"):
            settings = {"pretrain_epochs": 1, "max_epochs": 1, "precision": precision}
            UMCClusterer(3, encoder=encoder, random_state=0, **settings).fit(make_samples())
    for number in range(n_fits):
        rng = np.random.default_rng([seed, number])
        X, parameters, announced = draw_samples(rng), draw_parameters(rng), Announced()
        try:
            clusterer = UMCClusterer().set_params(**parameters, callbacks=[announced])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                taken = peak_of(lambda: clusterer.fit(X))  # noqa: B023
            is_whole = clusterer.predict(X).tolist() == clusterer.labels_.tolist()
            ends["result" if is_whole else "wrong labels"] += 1
            failures += [] if is_whole else [f"{number}: labels differ from predict, {parameters}"]
            beyond.append(taken - announced.total / MIB)
        except Exception as error:
            ends[type(error).__name__] += 1
            if not isinstance(error, DOCUMENTED) or not names_a_parameter(str(error), clusterer):
                failures.append(f"{number}: {type(error).__name__}: {error} {parameters}")
        if show and (number + 1) % 20 == 0:
            print(number + 1, dict(ends), flush=True)
    return ends, failures, beyond


def main(arguments=None):
    """Run the parts that are asked for; return whether one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--predicts", type=int, default=0)
    parser.add_argument("--fits", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options, failed = parser.parse_args(arguments), False
    if options.predicts:
        with tempfile.TemporaryDirectory() as own:  # other processes have files in the common one
            tempfile.tempdir = own
            found = soak_predict(options.predicts)
            print(found, flush=True)
        failed |= not (found["same labels"] and found["same descriptors and files"])
        tempfile.tempdir = None
    if options.fits:
        ends, failures, beyond = soak_fits(options.fits, options.seed, show=True)
        print(dict(ends), *failures, sep="\n")
        most = max(beyond, default=0)
        print(f"memory beyond the estimate: at most {most:.1f} MiB", flush=True)
        failed |= bool(failures) or most > OF_LIBRARIES
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
