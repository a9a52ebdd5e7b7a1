"""Measure what a search over twelve candidates costs, in fits of the default.

Each search includes its last fit, on all samples. In the same run: a fit with defaults, the median
of those before and after the searches; the search with successive halving, ``factor=3``; with
``--whole``, the search that trains every candidate in full. The candidates are those of
``candidate_parameters`` for sequences, nine, and three more. The data are synthetic: two modalities
of short sequences.

Run with ``python benchmarks/search_cost.py``.
"""

import argparse
import time

import numpy as np

from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.model_selection import UnsupervisedSearchCV, candidate_parameters

N_CLUSTERS = 10
MORE = [
    {"learning_rate": [1e-2], "pretrain_learning_rate": [1e-2]},
    {"pairs": ["views"]},
    {"encoder__hidden_width": [256]},
]


def make_samples(n_samples):
    """Make sequences of one to eight frames in two modalities."""
    widths = {"text": 64, "audio": 32}
    X, _ = make_multimodal_blobs(
        n_samples, N_CLUSTERS, modalities=widths, lengths=(1, 8), random_state=0
    )
    return X


def seconds_of(estimator, X):
    """Fit, and return seconds."""
    start = time.perf_counter()
    estimator.fit(X)
    return time.perf_counter() - start


def measure(n_samples, whole=False, **epochs):
    """Return seconds of each way, and the searches."""
    X = make_samples(n_samples)
    clusterer = UMCClusterer(N_CLUSTERS, random_state=0, **epochs)
    clusterer.fit(X[: max(n_samples // 10, 2 * N_CLUSTERS)])  # imports
    grid = [*candidate_parameters(X), *MORE]
    searches = {"halving": UnsupervisedSearchCV(clusterer, grid, factor=3, random_state=0)}
    if whole:
        searches["whole"] = UnsupervisedSearchCV(clusterer, grid, random_state=0)
    fits = [seconds_of(clusterer, X) for _ in range(2)]
    seconds = {way: seconds_of(search, X) for way, search in searches.items()}
    fits += [seconds_of(clusterer, X) for _ in range(2)]
    return {"default": float(np.median(fits))} | seconds, searches


def main(n_samples, whole):
    """Print seconds and their ratio to a fit with defaults."""
    for n in n_samples:
        seconds, searches = measure(n, whole)
        default = seconds.pop("default")
        print(f"{n} samples: one fit with defaults takes {default:.2f} s", flush=True)
        for way, taken in seconds.items():
            search = searches[way]
            print(
                f"  {way}: {taken:.1f} s, {taken / default:.2f} fits, "
                f"{search.n_splits_} split(s); choice {search.best_params_}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("n_samples", nargs="*", type=int, default=[600, 2000])
    parser.add_argument("--whole", action="store_true", help="also train every candidate in full")
    given = parser.parse_args()
    main(given.n_samples, given.whole)
