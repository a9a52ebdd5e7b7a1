"""Compare estimates of the number of clusters with the number of classes.

``auto`` is ``estimate_n_clusters`` with defaults. The others see the embedding of the untrained
encoder, on 30 principal components of at most 1,500 samples, and the same candidates: silhouette
(largest), gap (first within one standard error) and prediction strength (largest of 0.8 or more),
each of k-means; and HDBSCAN of scikit-learn with defaults, which has no candidates. ``fit`` is a
fit of ``UMCClusterer`` with defaults and the number of classes, to compare times. Synthetic
blobs have 600 samples in three modalities; noise has 300 in one modality or in three.

Run with ``python benchmarks/n_clusters.py --data FOLDER``: FOLDER has ``loader.py``,
``wild/sets.py`` and the sets of ``_n_clusters_sets.py``. Without ``--data`` there are sets of
scikit-learn, blobs and noise. Every finished run is a line in ``n_clusters_output/n_clusters.csv``,
and the same command continues an interrupted run. ``--quick`` takes a minute.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import _quality_data as data_sets
from _n_clusters_sets import BLOBS, DEVELOPMENT, JUDGING
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from skumc import MultimodalData, UMCClusterer
from skumc._cluster_count import default_candidates
from skumc.datasets import make_multimodal_blobs
from skumc.model_selection import estimate_n_clusters, prediction_strength_score
from skumc.text import TextModel

COLUMNS = ("set", "method", "true", "found", "low", "high", "seconds")
NOISES = (1.0, 1.5, 2.0)  # standard deviation of samples, where that of centers is 1.5
NOISE_KINDS = ("uniform", "gaussian")
MAX_SAMPLES, N_COMPONENTS, N_REFERENCES = 1500, 30, 3


def load_blobs(name):
    """Draw the synthetic set "blobs-K-noise"."""
    _, n_clusters, noise = name.split("-")
    X, y = make_multimodal_blobs(
        600,
        int(n_clusters),
        lengths=1,
        center_scale=1.5,
        noise=float(noise),
        frame_noise=0.5,
        random_state=0,
    )
    return X, len(np.unique(y))


def load_noise(name):
    """Draw "uniform-M-seed" or "gaussian-M-seed": M modalities of ten columns, no clusters."""
    kind, n_modalities, seed = name.split("-")
    rng = np.random.default_rng(int(seed))
    draw = rng.uniform if kind == "uniform" else rng.normal
    return MultimodalData({f"m{i}": draw(size=(300, 10)) for i in range(int(n_modalities))}), 1


def load_real(name, folder):
    """Load a set of the folder, or of scikit-learn."""
    if name in ("digits", "iris"):
        found = {"digits": load_digits, "iris": load_iris}[name]()
        return MultimodalData({"values": found.data}), len(found.target_names)
    if name in (*data_sets.IN_FOLDER, "wine", "breast_cancer"):
        found = data_sets.load(name, folder)
        return found.X, len(np.unique(found.y))
    spec = importlib.util.spec_from_file_location("_k_sets", Path(folder) / "wild" / "sets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    views, _, n_classes = module.load(name)
    return MultimodalData(views), n_classes


def load(name, folder=None):
    """Samples of a set, and the number of its classes."""
    if name.startswith("blobs-"):
        return load_blobs(name)
    if name.split("-")[0] in NOISE_KINDS:
        return load_noise(name)
    return load_real(name, folder)


def silhouette_choice(values, candidates):
    """Number of clusters with the largest silhouette."""
    labels = [KMeans(k, n_init=3, random_state=0).fit_predict(values) for k in candidates]
    return candidates[int(np.argmax([silhouette_score(values, found) for found in labels]))]


def gap_choice(values, candidates):
    """First number with a gap within a standard error of the next one's, 1 included."""
    rng, numbers = np.random.RandomState(0), [1, *candidates]
    axes = PCA().fit_transform(values)
    low, high = axes.min(axis=0), axes.max(axis=0)

    def log_inertia(points):
        return np.log([KMeans(k, n_init=1, random_state=0).fit(points).inertia_ for k in numbers])

    null = np.array([log_inertia(rng.uniform(low, high, axes.shape)) for _ in range(N_REFERENCES)])
    gap = null.mean(axis=0) - log_inertia(axes)
    error = null.std(axis=0) * np.sqrt(1 + 1 / N_REFERENCES)
    within = np.flatnonzero(gap[:-1] >= gap[1:] - error[1:])
    return numbers[within[0]] if len(within) else numbers[-1]


def prediction_strength_choice(values, candidates):
    """Largest number with a strength of 0.8 or more between halves, 1 included."""
    rows = np.random.RandomState(0).permutation(len(values))
    first, second = np.array_split(rows, 2)
    chosen = 1
    for k in candidates:
        kmeans = KMeans(k, n_init=3, random_state=0)
        halves = ((first, second), (second, first))
        scores = [prediction_strength_score(kmeans.fit(values[a]), values[b]) for a, b in halves]
        chosen = k if np.mean(scores) >= 0.8 else chosen
    return chosen


def hdbscan_choice(values, candidates):
    """Number of clusters that HDBSCAN finds."""
    del candidates
    return int(HDBSCAN(copy=True).fit(values).labels_.max()) + 1


OTHERS = {
    "silhouette": silhouette_choice,
    "gap": gap_choice,
    "prediction strength": prediction_strength_choice,
    "hdbscan": hdbscan_choice,
}


def run(X, n_classes, method, memory, quick):
    """Number found, its interval where there is one, and seconds."""
    holds_text = None in X.widths.values()
    text = TextModel(data_sets.packaged_text_model(), memory=memory) if holds_text else None
    epochs = {"pretrain_epochs": 1, "max_epochs": 1} if quick else {}
    clusterer = UMCClusterer(n_classes, text=text, random_state=0, **epochs)
    if method not in ("auto", "fit"):
        clusterer.set_params(pretrain_epochs=0, max_epochs=0, n_clusters=2)
        values = clusterer.fit(X).embedding_.astype(np.float64)
        rows = np.random.RandomState(0).permutation(len(values))[:MAX_SAMPLES]
        values = PCA(min(N_COMPONENTS, *values[rows].shape)).fit_transform(values[rows])
    start = time.perf_counter()
    if method == "auto":
        found = estimate_n_clusters(X, estimator=clusterer)
        row = {"found": found.n_clusters, "low": found.interval[0], "high": found.interval[1]}
    elif method == "fit":
        clusterer.fit(X)
        row = {"found": n_classes}
    else:
        row = {"found": OTHERS[method](values, default_candidates(len(values)))}
    return row | {"seconds": round(time.perf_counter() - start, 2)}


def read(path):
    """Finished runs."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf8") as file:
        return list(csv.DictReader(file))


def append(path, row):
    """Add a finished run."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def is_near(found, true):
    """Whether a number is within 10 % of the number of classes."""
    return abs(found - true) <= 0.1 * true


def show(rows):
    """Print a line per set, hits per method, and time relative to a fit with defaults."""
    by_set = {}
    for row in rows:
        by_set.setdefault(row["set"], {})[row["method"]] = row
    methods = ("auto", *OTHERS)
    print(f"{'set':20} {'true':>4} {'interval':>10} " + " ".join(f"{m:>19}" for m in methods))
    for name, found in by_set.items():
        some = next(iter(found.values()))
        ends = found.get("auto", {})
        line = (
            f"{name:20} {some['true']:>4} {ends.get('low', '')!s:>5}-{ends.get('high', '')!s:<4} "
        )
        print(line + " ".join(f"{found.get(m, {}).get('found', ''):>19}" for m in methods))
    groups = {
        "judging sets": JUDGING,
        "other real sets": DEVELOPMENT,
        **{f"blobs, K = {k}": [n for n in by_set if n.startswith(f"blobs-{k}-")] for k in BLOBS},
        **{kind: [n for n in by_set if n.startswith(kind)] for kind in NOISE_KINDS},
    }
    for group, names in groups.items():
        for method in methods:
            known = [by_set[n][method] for n in names if method in by_set.get(n, {})]
            hits = sum(is_near(int(row["found"]), int(row["true"])) for row in known)
            if known:
                print(f"{group}: {method} within 10 % on {hits} of {len(known)}")
    for method in methods:
        ratios = [
            float(found[method]["seconds"]) / float(found["fit"]["seconds"])
            for found in by_set.values()
            if method in found and "fit" in found
        ]
        if ratios:
            print(f"time of {method} / fit: median {np.median(ratios):.2f}, max {max(ratios):.2f}")


def all_sets(options):
    """Names of the sets to run."""
    if options.sets:
        return options.sets
    if options.quick:
        return ["blobs-3-1.0", "uniform-1-0"]
    names = [*JUDGING, *DEVELOPMENT] if options.data else ["digits", "iris", "wine"]
    names += [f"blobs-{k}-{noise}" for k in BLOBS for noise in NOISES]
    return names + [
        f"{kind}-{m}-{seed}" for kind in NOISE_KINDS for m in (1, 3) for seed in range(10)
    ]


def main(arguments=None):
    """Run what is missing and show all runs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with loader.py and wild/sets.py")
    parser.add_argument("--sets", nargs="+", help="names of sets instead of all")
    parser.add_argument("--methods", nargs="+", default=["auto", "fit", *OTHERS])
    parser.add_argument("--out", type=Path, default=Path("n_clusters_output"))
    parser.add_argument("--quick", action="store_true", help="two sets, one epoch")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "n_clusters.csv"
    done = {(row["set"], row["method"]) for row in read(path)}
    for name in all_sets(options):
        is_noise = name.split("-")[0] in NOISE_KINDS and not options.quick
        methods = [m for m in options.methods if not (is_noise and m == "fit")]
        methods = [m for m in methods if (name, m) not in done]
        if not methods:
            continue
        X, n_classes = load(name, options.data)
        for method in methods:
            found = run(X, n_classes, method, options.out / "text", options.quick)
            row = {"set": name, "method": method, "true": n_classes} | found
            append(path, row)
            print(f"{name}: {method} {row['found']} of {n_classes}", flush=True)
    show(read(path))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    main()
