"""The benchmark of choices without labels: its rules, ACE, candidates, CSV and quick variant."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, silhouette_score

from skumc import MultimodalData, UMCClusterer
from skumc.model_selection import candidate_parameters

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "selection.py"


def _import_script():
    spec = importlib.util.spec_from_file_location("selection", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path  # the script adds its own folder and examples/
    return module


selection = _import_script()
candidates, criteria, report = selection.candidates, selection.criteria, selection.report
ace = sys.modules["_selection_ace"]
FEWEST = {"pretrain_epochs": 0, "max_epochs": 0}


def make_table(truth, compared=None, **scores):
    """Table of candidates "default", "b", "c", ...; criteria without scores do not exist."""
    truth = np.atleast_2d(np.asarray(truth, dtype=float))
    names = [candidates.DEFAULT, *"bcdefgh"][: truth.shape[1]]
    found = {name: np.full(truth.shape, np.nan) for name in report.CRITERIA}
    found |= {name: np.atleast_2d(np.asarray(values, float)) for name, values in scores.items()}
    compared = np.ones(len(names), bool) if compared is None else np.asarray(compared)
    return report.Table(names, compared, truth, found)


# rules


def test_each_rule_takes_its_own_maximum_and_sums_weigh_their_parts():
    table = make_table(
        [50, 60, 70, 40],
        silhouette=[0.1, 0.2, 0.3, 0.35],
        modularity=[0.1, 0.5, 0.4, 0.0],
        agreement=[0.9, 0.2, 0.8, 0.0],
    )
    found = report.outcomes(table)
    assert found[candidates.DEFAULT] == 50
    assert found["silhouette"] == 40
    assert found["modularity"] == 60
    assert found["agreement"] == 50
    assert found[report.PAIR] == 70
    assert report.choices(table)[report.SUM] == 2
    assert found[report.SUM] == 70
    assert found[report.RANDOM] == 55
    assert found[report.ORACLE] == 70
    assert found["stability"] == 50  # not measured: the default


def test_sum_is_modularity_alone_for_one_modality():
    table = make_table([50, 60, 70], modularity=[0.1, 0.5, 0.4])
    assert report.choices(table)[report.SUM] == 1
    assert report.choices(table)["agreement"] == 0


def test_criteria_are_averaged_over_seeds_before_the_choice():
    table = make_table([[50, 60, 10], [50, 80, 90]], modularity=[[0.0, 0.4, 0.5], [0.0, 0.4, 0.1]])
    assert report.outcomes(table)["modularity"] == 70  # b: 0.4 in the mean, c: 0.3
    assert report.outcomes_by_seed(table)["modularity"] == (10 + 80) / 2
    assert report.outcomes_by_seed(table)[report.ORACLE] == (60 + 90) / 2


def test_diverged_candidate_is_never_chosen():
    table = make_table([[50, np.nan, 70], [50, 99, 60]], modularity=[[0, np.nan, 1], [0, 9, 1]])
    found = report.outcomes(table)
    assert found["modularity"] == found[report.ORACLE] == 65
    assert found[report.RANDOM] == (50 + 65) / 2


def test_default_is_no_choice_among_random_candidates():
    table = make_table([90, 60, 70], [False, True, True], modularity=[9.0, 0.5, 0.4])
    found = report.outcomes(table)
    assert found["modularity"] == 60 and found[report.ORACLE] == 70 and found[report.RANDOM] == 65
    assert found[candidates.DEFAULT] == 90


def test_percentile_counts_the_candidates_that_the_choice_is_ahead_of():
    table = make_table([10, 20, 30, 30, 40])
    assert [report.percentile(table, place) for place in range(5)] == [0, 25, 62.5, 62.5, 100]
    table = make_table([99, 20, 30], [False, True, True])
    assert [report.percentile(table, place) for place in (1, 2)] == [0, 100]


def test_summary_gives_mean_worst_case_and_share_of_the_way():
    by_set = {
        "x": make_table([50, 60, 70], modularity=[0.1, 0.5, 0.9]),
        "y": make_table([50, 60, 40], modularity=[0.1, 0.5, 0.9]),
    }
    results = report.all_outcomes(by_set)
    rows = {row["rule"]: row for row in report.summarize(by_set, results)}
    row = rows["modularity"]
    assert row["mean"] == 55 and row["gain"] == 5
    assert row["worst"] == -10 and row["worst set"] == "y"
    assert row["share"] == pytest.approx(5 / 15)  # the oracle has 70 and 60
    assert row["correlation"] == pytest.approx((1 - 0.5) / 2)
    assert row["percentile"] == (100 + 0) / 2 and row["high"] == 1
    assert rows["best fixed: b"]["mean"] == 60
    assert "silhouette" not in rows  # measured on no data set


def test_rank_correlation_of_a_constant_is_left_empty():
    table = make_table([50, 60, 70], modularity=[0.5, 0.5, 0.5])
    assert np.isnan(report.correlations(table)["modularity"])
    assert report.number(np.nan) == "" and report.number(-0.0, "+.1f") == "+0.0"


# ACE


def test_ace_follows_the_spaces_that_agree():
    rng = np.random.default_rng(0)
    good = np.linspace(0.2, 0.8, 10)
    agreeing = [good + rng.normal(0, 0.005, 10) for _ in range(4)]
    lonely = [rng.permutation(good) - 0.1 for _ in range(2)]
    found = ace.ace_scores(np.array([lonely[0], *agreeing, lonely[1]]))
    assert (np.argsort(found) == np.arange(10)).all()
    np.testing.assert_allclose(found, good, atol=0.02)


def test_ace_takes_the_group_with_larger_scores():
    rng = np.random.default_rng(0)
    low, high = np.linspace(0.1, 0.3, 8), np.linspace(0.9, 0.5, 8)
    spaces = [low + rng.normal(0, 0.002, 8) for _ in range(3)]
    spaces += [high + rng.normal(0, 0.002, 8) for _ in range(3)]
    np.testing.assert_allclose(ace.ace_scores(np.array(spaces)), high, atol=0.01)
    np.testing.assert_allclose(ace.ace_scores(1 - np.array(spaces)), 1 - low, atol=0.01)


def test_ace_without_ranks_is_the_mean_of_the_spaces():
    assert ace.ace_scores([[0.1, 0.3], [0.5, 0.1]]) == pytest.approx([0.3, 0.2])
    assert ace.ace_scores(np.ones((3, 4))) == pytest.approx(np.ones(4))
    one = [0.2, 0.5, 0.1]
    assert ace.ace_scores([one, np.zeros(3)]) == pytest.approx(one)  # a constant ranks nothing


def test_ace_of_equal_spaces_is_finite():
    row = np.array([0.1, 0.4, 0.2, 0.3])
    np.testing.assert_allclose(ace.ace_scores(np.tile(row, (7, 1))), row)


def test_page_rank_is_the_limit_of_the_walk():
    weights = np.array([[0, 0.9, 0.8, 0], [0.9, 0, 0, 0], [0.8, 0, 0, 0], [0, 0, 0, 0]])
    share = np.full(4, 0.25)
    for _ in range(300):
        moved = np.zeros(4)
        for i in range(4):
            links = weights[i] / weights[i].sum() if weights[i].sum() else np.full(4, 0.25)
            moved += share[i] * (0.9 * links + 0.1 * 0.25)
        share = moved
    np.testing.assert_allclose(ace.page_rank(weights), share, atol=1e-10)
    assert ace.page_rank(np.zeros((3, 3))) == pytest.approx(np.full(3, 1 / 3))


def test_holm_stops_at_the_first_pair_that_is_not_significant():
    p_value = np.zeros((3, 3))
    for (i, j), value in {(0, 1): 0.03, (0, 2): 0.06, (1, 2): 0.09}.items():
        p_value[i, j] = p_value[j, i] = value
    found = ace._significant(p_value)  # limits 0.1 / 3, 0.1 / 2 and 0.1
    assert found[0, 1] and found[1, 0] and not found[0, 2] and not found[1, 2]


# criteria


def test_criteria_of_a_group_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    group = [
        criteria.Fitted(rng.integers(0, 3, 30), rng.normal(size=(30, 4)).astype(np.float32))
        for _ in range(3)
    ]
    group.insert(1, criteria.Fitted())  # diverged
    criteria.add_group_criteria(group)
    assert group.pop(1).criteria == {}
    for fitted in group:
        others = [other.labels for other in group if other is not fitted]
        expected = np.mean([adjusted_rand_score(fitted.labels, other) for other in others])
        assert fitted.criteria["consensus"] == pytest.approx(expected)
        expected = silhouette_score(fitted.embedding, fitted.labels)
        assert fitted.criteria["silhouette"] == pytest.approx(expected, abs=1e-5)
        expected = calinski_harabasz_score(fitted.embedding, fitted.labels)
        assert fitted.criteria["Calinski-Harabasz"] == pytest.approx(expected)
        assert np.isfinite(fitted.criteria["ACE silhouette"])


def test_single_cluster_has_the_lowest_internal_scores():
    found = criteria.internal_scores(np.eye(4), [np.zeros(4, int), np.arange(4)])
    assert not any(scores.any() for scores in found.values())


def test_stability_compares_fits_on_halves_without_common_samples():
    halves = []

    class Recorder(BaseEstimator):
        def fit(self, X):
            halves.append(np.ravel([frames[0, 0] for frames in X.sequences("a")]))
            return self

        def predict(self, X):
            return np.arange(len(X)) % (1 + len(halves))

    train = MultimodalData({"a": np.arange(11.0)[:, None]})
    test = train[:6]
    found = criteria.stability(Recorder(), train, test, 0)
    assert found == adjusted_rand_score(np.arange(6) % 2, np.arange(6) % 3)
    assert sorted(np.concatenate(halves)) == list(range(11))
    assert [len(half) for half in halves] == [6, 5]


# candidates


def test_listed_candidates_are_those_of_the_package():
    X = MultimodalData({"a": np.eye(20), "b": np.ones((20, 5, 2))})
    found = candidates.listed_candidates(X)
    assert len(found) == len(candidate_parameters(X))
    assert candidates.name(found[0]) == "default" and found[1] == {"pretrain_epochs": 40}
    names = [candidates.name(one) for one in found]
    assert len(set(names)) == len(names) and not any("\n" in name for name in names)


def test_random_candidates_are_repeatable_and_within_their_ranges():
    sequences = MultimodalData({"a": np.eye(20), "b": np.ones((20, 5, 2))})
    table = MultimodalData({"a": np.eye(20)})
    for X in (sequences, table):
        drawn = candidates.random_candidates(X, 60, 3)
        names = [candidates.name(one) for one in drawn]
        assert names == [candidates.name(one) for one in candidates.random_candidates(X, 60, 3)]
        assert len(set(names)) == 60
        for rate in candidates.RATES:
            values = np.array([one[rate] for one in drawn])
            assert ((values >= 3e-4) & (values <= 3e-2)).all()
            assert (values < 3e-3).sum() == pytest.approx(30, abs=15)  # half of the logarithm
        assert {one["pretrain_epochs"] for one in drawn} == {0, 5, 10, 20, 40}
        for one in drawn:
            UMCClusterer().set_params(**one)
    pairs = {one["pairs"] for one in candidates.random_candidates(sequences, 60)}
    assert pairs == {"neighbors", "dropout", "views", "disjoint"}
    assert {one["pairs"] for one in drawn} == {"neighbors", "dropout"}
    assert not any("encoder" in one for one in drawn)  # a table has no frames


# the CSV and the quick variant


def run(folder, *arguments):
    return selection.main(["--quick", "--out", str(folder), *arguments])


@pytest.fixture
def counted(monkeypatch):
    """Names of the candidates that are fitted, with the fewest epochs."""
    monkeypatch.setattr(selection, "QUICK_EPOCHS", FEWEST)
    names = []
    fit_all = selection.fit_all

    def counting(data, parts, named, *others):
        names.extend(named)
        return fit_all(data, parts, named, *others)

    monkeypatch.setattr(selection, "fit_all", counting)
    return names


def test_quick_variant_prints_tables_and_writes_csv_and_picture(tmp_path, capsys):
    assert run(tmp_path, "--stability") == 0
    printed = capsys.readouterr().out
    assert "failed" not in printed and report.SUM in printed and "oracle" in printed
    (rows,) = report.read_blocks(tmp_path / "selection_quick.csv").values()
    assert len(rows) == 2 and rows[0]["candidate"] == "default"
    assert all(np.isfinite(row[name]) for row in rows for name in report.NUMBERS)
    assert (tmp_path / "selection_quick.png").read_bytes().startswith(b"\x89PNG")


def test_interrupted_run_continues_with_what_is_missing(tmp_path, counted):
    path = tmp_path / "selection_quick.csv"
    assert run(tmp_path, "--seeds", "2") == 0
    assert len(counted) == 4
    whole = report.read_blocks(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:30])  # within the second block
    assert len(report.read_blocks(path)) == 1
    counted.clear()
    assert run(tmp_path, "--seeds", "2") == 0
    assert len(counted) == 2

    def scores(blocks):
        return [[row[name] for name in report.METRICS] for rows in blocks.values() for row in rows]

    assert scores(report.read_blocks(path)) == scores(whole)
    counted.clear()
    assert run(tmp_path, "--seeds", "2") == 0 and counted == []


def test_other_code_or_candidates_run_again(tmp_path, counted, monkeypatch):
    assert run(tmp_path) == 0 and len(counted) == 2
    monkeypatch.setattr(selection, "package_state", lambda: "skumc 9")
    assert run(tmp_path) == 0 and len(counted) == 4
    assert run(tmp_path, "--stability") == 0 and len(counted) == 6
    blocks = report.read_blocks(tmp_path / "selection_quick.csv")
    assert len(blocks) == 3
    table = report.tables(blocks)["wine"]  # only the last one counts
    assert table.truth.shape == (1, 2) and np.isfinite(table.criteria["stability"]).all()


def test_criteria_and_fits_never_see_the_classes(tmp_path, counted, monkeypatch):
    """The same choice, byte by byte, for permuted classes."""
    load, found = selection.load, []
    monkeypatch.setattr(
        selection, "split", lambda data, seed: np.split(np.arange(len(data.y)), [130])
    )
    for shift in (0, 61):

        def shifted(name, options, shift=shift):
            data = load(name, options)
            order = np.random.RandomState(0).permutation(len(data.y))  # wine is sorted by class
            data.X, data.y = data.X[order], np.roll(data.y[order], shift)
            return data

        monkeypatch.setattr(selection, "load", shifted)
        folder = tmp_path / str(shift)
        assert run(folder) == 0
        found.append(report.read_blocks(folder / "selection_quick.csv"))
    (first,), (second,) = (blocks.values() for blocks in found)
    for one, other in zip(first, second, strict=True):
        measured = [name for name in report.CRITERIA if name != "stability"]
        assert [one[name] for name in measured] == [other[name] for name in measured]
        assert all(np.isfinite(one[name]) for name in measured)
        assert one["mean"] != other["mean"]


def test_random_candidates_have_a_csv_of_their_own(tmp_path, counted, capsys):
    assert run(tmp_path, "--random", "3") == 0
    (rows,) = report.read_blocks(tmp_path / "selection_random3_quick.csv").values()
    assert [row["compared"] for row in rows] == [0, 1, 1, 1]
    assert np.isnan(rows[0]["consensus"]) and np.isfinite(rows[1]["consensus"])
    assert "best fixed" not in capsys.readouterr().out


def test_failed_block_is_reported_and_not_written(tmp_path, monkeypatch, capsys):
    def refused(*arguments):
        raise MemoryError("none left")

    monkeypatch.setattr(selection, "fit_all", refused)
    assert run(tmp_path) == 1
    assert "failed wine, seed 0: MemoryError" in capsys.readouterr().out
    assert not (tmp_path / "selection_quick.csv").exists()


def test_finished_runs_are_shown_by_choice_per_seed(tmp_path, counted, capsys):
    assert run(tmp_path, "--seeds", "2") == 0
    counted.clear()
    path = str(tmp_path / "selection_quick.csv")
    assert selection.main(["--table", path, "--each-seed"]) == 0 and counted == []
    assert report.SUM in capsys.readouterr().out
    assert selection.main(["--table", path, "--sets", "digits"]) == 0
    assert "nothing to show" in capsys.readouterr().out


def test_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="wines"):
        run(tmp_path, "--sets", "wines")
