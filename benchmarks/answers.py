"""Measure doubt and return: foreign samples, calibration, stable ids, and new clusters.

For each data set, without labels in any fit:

- ``auc``: area under the ROC curve of ``score_samples`` between held-out samples and foreign ones,
  which are 10 % of the two; fit on three quarters;
- ``ece``: expected calibration error of ``predict_proba`` on the held-out samples in ten bins of
  equal width, where the class of a cluster is that of the Hungarian matching on the training
  samples; ``ece raw`` is that of a softmax of the distances to the centers;
- ``rejected``: shares of held-out and of foreign samples that ``predict(X, reject=0.05)`` rejects;
- ``refit``: adjusted Rand index between the labels of the first half of the samples and their
  labels after a refit on all with ``warm_start=True``, and the share of samples with the same id;
- ``newcomer``: ``partial_fit`` on the held-out quarter and all samples of a class that was left
  out of the fit. It is reported if at least 80 % of a candidate are samples of it. ``alarms`` are
  the other candidates, and those of the held-out quarter alone.

Run with ``python benchmarks/answers.py``: the sets that scikit-learn ships and synthetic ones,
about ten minutes on one core. ``--data FOLDER`` also takes the sets in the folder, see
``_answers_data.py``; ``--parts`` and ``--sets`` choose.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import _answers_data as data_sets
import _quality_data as quality_data
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax
from sklearn.metrics import adjusted_rand_score, confusion_matrix, roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances

from skumc import MultimodalData, UMCClusterer

PARTS = ("doubt", "refit", "newcomer")
NEWCOMER_SETS = ("digits", "uci_digits")


def split(n_samples, seed, share):
    """Draw a share of the samples, and the rest."""
    rows = np.random.default_rng(seed).permutation(n_samples)
    return np.split(rows, [int(share * n_samples)])


def make(X, n_clusters, seed):
    """Build the clusterer, with the packaged text model if X holds text."""
    text = quality_data.packaged_text_model() if None in X.widths.values() else None
    return UMCClusterer(n_clusters, text=text, random_state=seed)


def calibration_error(probabilities, is_right, n_bins=10):
    """Expected calibration error of the largest probability.

    >>> calibration_error(np.array([[0.9, 0.1], [0.7, 0.3]]), np.array([True, True]))
    0.2
    """
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = [abs((confidence - is_right)[bins == place].sum()) for place in range(n_bins)]
    return round(float(sum(gaps)) / len(confidence), 6)


def classes_of(labels, y):
    """Class of each cluster by the Hungarian method; -1 for a cluster without one."""
    counts = confusion_matrix(y, labels, labels=np.arange(max(y.max(), labels.max()) + 1))
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return rows[np.argsort(columns)]


def doubt(name, X, y, seed, folder):
    """Foreign samples and calibration on held-out samples."""
    train, test = split(len(y), seed, 0.75)
    fitted = make(X, len(np.unique(y)), seed).fit(X[train])
    foreign = MultimodalData(data_sets.foreign(name, max(len(test) // 9, 1), seed, folder))
    scores = fitted.score_samples(X[test]), fitted.score_samples(foreign)
    is_foreign = np.repeat([0, 1], [len(test), len(foreign)])
    is_right = classes_of(fitted.labels_, y[train])[fitted.predict(X[test])] == y[test]
    raw = softmax(-euclidean_distances(fitted.transform(X[test]), fitted.cluster_centers_), axis=1)
    rejected = [np.mean(fitted.predict(some, reject=0.05) < 0) for some in (X[test], foreign)]
    return {
        "auc": roc_auc_score(is_foreign, -np.concatenate(scores)),
        "accuracy": is_right.mean(),
        "ece": calibration_error(fitted.predict_proba(X[test]), is_right),
        "ece raw": calibration_error(raw, is_right),
        "rejected held-out": rejected[0],
        "rejected foreign": rejected[1],
    }


def refit(name, X, y, seed, folder):
    """Ids of the old samples after a refit on old and new samples."""
    old, new = split(len(y), seed, 0.5)
    fitted = make(X, len(np.unique(y)), seed).fit(X[old])
    before = fitted.labels_
    fitted.set_params(warm_start=True).fit(X[np.concatenate([old, new])])
    after = fitted.labels_[: len(old)]
    return {"refit ari": adjusted_rand_score(before, after), "same id": np.mean(before == after)}


def newcomer(name, X, y, seed, folder):
    """Candidates for new clusters with a class that was left out of the fit, and without it."""
    left_out = np.unique(y)[seed % len(np.unique(y))]
    known = np.flatnonzero(y != left_out)
    train, test = (known[rows] for rows in split(len(known), seed, 0.75))
    fitted = make(X, len(np.unique(y)) - 1, seed).fit(X[train])
    fitted.partial_fit(X[test])
    n_alarms = len(fitted.new_cluster_candidates_)
    rows = np.concatenate([test, np.flatnonzero(y == left_out)])
    fitted.partial_fit(X[rows])
    shares = [np.mean(y[rows[group]] == left_out) for group in fitted.new_cluster_candidates_]
    found = [g for g, s in zip(fitted.new_cluster_candidates_, shares, strict=True) if s >= 0.8]
    return {
        "reported": bool(found),
        "found": sum(map(len, found)) / (y == left_out).sum(),
        "alarms": len(shares) - len(found) + n_alarms,
    }


def main(arguments=None):
    """Print a line per set, part and seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--sets", nargs="+", default=None)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args(arguments)
    names = [*data_sets.SHIPPED] if options.data is None else [*data_sets.DONORS]
    for name in options.sets or names:
        views, y = data_sets.load(name, options.data)
        X = MultimodalData(views)
        for part in options.parts:
            n_seeds = options.seeds
            if part == "newcomer":
                n_seeds = max(n_seeds, 5) if name in NEWCOMER_SETS else 0
            for seed in range(n_seeds):
                found = globals()[part](name, X, np.asarray(y), seed, options.data)
                shown = "  ".join(f"{key} {float(value):.3f}" for key, value in found.items())
                print(f"{name:15} {part:9} seed {seed}  {shown}", flush=True)


if __name__ == "__main__":
    main()
