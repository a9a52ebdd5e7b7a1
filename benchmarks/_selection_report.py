"""Finished fits of the benchmark of selection, the rules that choose among them, and its tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from _quality_report import METRICS, append_rows, as_text, read_rows
from _selection_candidates import DEFAULT
from _selection_criteria import CRITERIA
from scipy.stats import spearmanr

from skumc.model_selection import select_candidate
from skumc.model_selection._z_scores import z_score_sums

KEY = ("data", "seed", "code", "parameters")
NUMBERS = (*METRICS, "mean", *CRITERIA, "seconds")
COLUMNS = ("data", "seed", "candidate", "n_candidates", "compared", *NUMBERS, *KEY[2:])

SUM, PAIR = "rule of the search", "modularity + agreement"
RANDOM, ORACLE = "random candidate", "oracle"
CHOOSING = (*CRITERIA, PAIR, SUM)
PARTS = {SUM: ("modularity", "silhouette", "agreement"), PAIR: ("modularity", "agreement")}
HIGH_PERCENTILE = 80
HEADING = f"""\
score of the choice of each rule: mean of NMI, ARI, ACC, FMI in percent; gain and worst case over
the default; share of the way to the oracle; mean rank correlation with the score; mean percentile
of the choice among the candidates; number of data sets where it is at least {HIGH_PERCENTILE}"""


def read_blocks(path):
    """Complete blocks of rows by data set, seed, code and parameters, in the order of the file.

    A block has one row per candidate; one with missing rows comes from an interrupted write.
    """
    found = {}
    for row in read_rows(path):
        row |= {name: float(row[name] or "nan") for name in NUMBERS}
        row |= {name: int(row[name]) for name in ("seed", "n_candidates", "compared")}
        found.setdefault(tuple(row[name] for name in KEY), {})[row["candidate"]] = row
    return {
        key: list(rows.values())
        for key, rows in found.items()
        if len(rows) == next(iter(rows.values()))["n_candidates"]
    }


def append_block(path, rows):
    """Append the rows of a data set and seed in one write; numbers that do not exist stay empty."""
    empty = {name: "" for name in NUMBERS}
    shown = [
        empty | {name: "" if value != value else value for name, value in row.items()}
        for row in rows
    ]
    append_rows(path, shown, COLUMNS)


@dataclass
class Table:
    """Scores of a data set: one row per seed, one column per candidate.

    ``truth`` are the scores against the classes, ``criteria`` those without. The rules compare the
    candidates that ``compared`` marks: all, or all but the default.
    """

    names: list[str]
    compared: np.ndarray
    truth: np.ndarray
    criteria: dict[str, np.ndarray]

    @property
    def default(self):
        return self.names.index(DEFAULT)

    def each_seed(self):
        """One table per seed."""
        for row in range(len(self.truth)):
            criteria = {name: values[[row]] for name, values in self.criteria.items()}
            yield Table(self.names, self.compared, self.truth[[row]], criteria)


def tables(blocks):
    """Table of each data set, of the runs with its last code and parameters."""
    last = {key[0]: key[2:] for key in blocks}
    groups = {}
    for key, rows in blocks.items():
        if key[2:] == last[key[0]]:
            groups.setdefault(key[0], []).append(rows)

    def values(group, column):
        return np.array([[row[column] for row in rows] for rows in group])

    return {
        data: Table(
            [row["candidate"] for row in group[0]],
            np.array([bool(row["compared"]) for row in group[0]]),
            values(group, "mean"),
            {name: values(group, name) for name in CRITERIA},
        )
        for data, group in groups.items()
    }


def rule_scores(table):
    """Score of the compared candidates by each rule, averaged over the seeds.

    A rule without finite scores is left out. Sums are without agreement where there is none.
    """
    means = {
        name: values[:, table.compared].mean(axis=0) for name, values in table.criteria.items()
    }
    means = {name: scores for name, scores in means.items() if np.isfinite(scores).any()}
    sums = {}
    for rule, names in PARTS.items():
        parts = {f"mean_test_{name}": means[name] for name in names if name in means}
        if parts:
            sums[rule] = z_score_sums(parts)
    return means | sums


def choices(table):
    """Candidate that each rule chooses, as a column of the table.

    The rule of the search takes the first one close to the largest sum, the others the first one
    with the largest score. A rule without finite scores chooses the default.
    """
    places = np.flatnonzero(table.compared)
    found = dict.fromkeys(CHOOSING, table.default)
    for name, scores in rule_scores(table).items():
        if name == SUM:
            means = {key: values[:, table.compared] for key, values in table.criteria.items()}
            parts = {f"mean_test_{part}": means[part].mean(axis=0) for part in PARTS[SUM]}
            usable = {key: values for key, values in parts.items() if np.isfinite(values).any()}
            place = select_candidate(usable)
        else:
            place = select_candidate({"mean_test_score": scores}, margin=0.0)
        found[name] = int(places[place])
    return found | {DEFAULT: table.default}


def outcomes(table):
    """Score against the classes of the choice of each rule, of chance and of the best candidate."""
    truth = table.truth.mean(axis=0)
    found = {name: truth[place] for name, place in choices(table).items()}
    compared = truth[table.compared]
    return found | {RANDOM: np.nanmean(compared), ORACLE: np.nanmax(compared)}


def outcomes_by_seed(table):
    """The same with one choice per seed, averaged over the seeds."""
    found = [outcomes(part) for part in table.each_seed()]
    return {name: np.mean([part[name] for part in found]) for name in found[0]}


def best_fixed(by_set):
    """Candidate with the best mean over all data sets; None for random ones, which differ."""
    if not all(table.compared.all() for table in by_set.values()):
        return None
    shared = [
        name
        for name in next(iter(by_set.values())).names
        if all(name in table.names for table in by_set.values())
    ]
    means = [
        np.mean([table.truth[:, table.names.index(name)].mean() for table in by_set.values()])
        for name in shared
    ]
    return shared[int(np.nanargmax(means))]


def all_outcomes(by_set, each_seed=False):
    """Outcomes by data set of the rules that some data set has, and of the best fixed candidate."""
    exist = {rule for table in by_set.values() for rule in rule_scores(table)}
    found = {
        data: {
            rule: score
            for rule, score in (outcomes_by_seed if each_seed else outcomes)(table).items()
            if rule in exist or rule not in CHOOSING
        }
        for data, table in by_set.items()
    }
    fixed = best_fixed(by_set)
    if fixed is not None:
        for data, table in by_set.items():
            score = table.truth[:, table.names.index(fixed)].mean()
            found[data][f"best fixed: {fixed}"] = score
    return found


def percentile(table, place):
    """Percentage of the other compared candidates that a candidate is ahead of; ties count half."""
    truth = table.truth.mean(axis=0)
    compared = truth[table.compared & np.isfinite(truth)]
    ahead = (compared < truth[place]).sum()
    equal = (compared == truth[place]).sum() - bool(table.compared[place])
    others = len(compared) - bool(table.compared[place])
    return 100 * (ahead + equal / 2) / max(others, 1)


def correlations(table):
    """Spearman's correlation of each rule's scores with the true ones; NaN if one is constant."""
    truth = table.truth.mean(axis=0)[table.compared]
    found = {}
    for name, scores in rule_scores(table).items():
        usable = np.isfinite(scores) & np.isfinite(truth)
        varied = all(len(set(values[usable])) > 1 for values in (scores, truth))
        found[name] = spearmanr(scores[usable], truth[usable]).statistic if varied else np.nan
    return found


def summarize(by_set, results):
    """One dict per rule, the best mean first.

    Parameters
    ----------
    by_set : dict of str to Table
    results : dict of str to dict
        Output of ``outcomes`` or ``outcomes_by_seed`` for each data set.
    """
    names = list(results)
    default = np.array([results[data][DEFAULT] for data in names])
    room = np.mean([results[data][ORACLE] for data in names]) - default.mean()
    related = {data: correlations(table) for data, table in by_set.items()}
    chosen = {data: choices(table) for data, table in by_set.items()}
    rows = []
    for rule in results[names[0]]:
        scores = np.array([results[data][rule] for data in names])
        gain = scores - default
        row = {"rule": rule, "mean": scores.mean(), "gain": gain.mean(), "worst": gain.min()}
        row["worst set"] = names[int(gain.argmin())]
        row["share"] = gain.mean() / room if room > 0 else np.nan
        known = [found[rule] for found in related.values() if np.isfinite(found.get(rule, np.nan))]
        row["correlation"] = np.mean(known) if known else np.nan
        ranks = [
            percentile(by_set[data], chosen[data][rule]) for data in names if rule in chosen[data]
        ]
        row["percentile"] = np.mean(ranks) if ranks else np.nan
        row["high"] = sum(rank >= HIGH_PERCENTILE for rank in ranks) if ranks else np.nan
        rows.append(row)
    return sorted(rows, key=lambda row: -row["mean"])


def number(value, form=".1f"):
    """A number as text, empty for NaN."""
    return "" if value != value else format(value + 0.0, form)


def summary_table(summary):
    """Header and rows of text: one row per rule."""
    forms = {"mean": ".1f", "gain": "+.1f", "worst": "+.1f", "worst set": "", "share": ".0%"}
    forms |= {"correlation": ".2f", "percentile": ".0f", "high": ".0f"}
    rows = [
        [row["rule"]]
        + [number(row[name], form) if form else row[name] for name, form in forms.items()]
        for row in summary
    ]
    return ["method", *forms], rows


def by_rule(cells, names, sets, form):
    """Header and rows of text: one row per rule, the data sets as columns."""
    rows = [
        [rule, *(number(cells[data].get(rule, np.nan), form) for data in sets)] for rule in names
    ]
    return ["method", *sets], rows


def choice_table(by_set):
    """Header and rows of text: per data set the choice of the sum, and the best candidate."""
    header = ["data", "seeds", "percentile", "chosen", "", "best", ""]
    rows = []
    for data, table in by_set.items():
        truth = table.truth.mean(axis=0)
        place = choices(table)[SUM]
        best = int(np.nanargmax(np.where(table.compared, truth, np.nan)))
        cells = [data, str(len(table.truth)), number(percentile(table, place), ".0f")]
        for column in (place, best):
            cells += [re.sub(r"\(.*?\)", "(...)", table.names[column]), number(truth[column])]
        rows.append(cells)
    return header, rows


def text(by_set, results):
    """All tables as text."""
    sets, summary = list(results), summarize(by_set, results)
    order = [row["rule"] for row in summary]
    related = {data: correlations(table) for data, table in by_set.items()}
    ruled = [rule for rule in order if rule in CHOOSING]
    parts = [
        HEADING,
        as_text(*summary_table(summary)),
        "\nthe same by data set",
        as_text(*by_rule(results, order, sets, ".1f")),
        "\nSpearman's correlation of a rule's scores with the score against the classes",
        as_text(*by_rule(related, ruled, sets, ".2f")),
        f"\nchoice of {SUM}",
        as_text(*choice_table(by_set)),
    ]
    return "\n".join(parts)
