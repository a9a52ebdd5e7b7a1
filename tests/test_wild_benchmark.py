"""The benchmark on data that the defaults were not made on: its runs, ranks and table."""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "wild.py"


def _import_script():
    spec = importlib.util.spec_from_file_location("wild", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path  # the script adds its own folder and examples/
    return module


wild = _import_script()
ranks, report = wild._ranks, wild.report


def test_mean_ranks_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (7, 4)).astype(float)
    expected = [
        np.mean([1 + (row > row[j]).sum() + ((row == row[j]).sum() - 1) / 2 for row in scores])
        for j in range(4)
    ]
    np.testing.assert_allclose(ranks.mean_ranks(scores), expected)
    scores[0, 0] = np.nan  # cannot run there: the last rank
    alone = ranks.mean_ranks(scores[:1])
    assert alone[0] == 4


def test_critical_difference_is_that_of_the_published_table():
    # Demsar (2006): q is 2.343 for two-tailed tests of 3 methods at 0.05, 2.569 for 4
    for n_methods, quantile in ((3, 2.343), (4, 2.569)):
        expected = quantile * np.sqrt(n_methods * (n_methods + 1) / (6 * 14))
        assert ranks.critical_difference(n_methods, 14) == pytest.approx(expected, abs=1e-3)


def test_a_point_is_a_tie():
    found = ranks.compare([50.0, 60.0, 70.0, 80.0], [49.0, 58.0, 75.0, 80.9])
    assert found == {"wins": 1, "ties": 2, "losses": 1, "largest loss": 5.0}


def write_runs(path, scores):
    """Runs of several seeds: {(data, method, protocol): means}."""
    with open(path, "w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, report.COLUMNS)
        writer.writeheader()
        for (data, method, protocol), means in scores.items():
            for seed, mean in enumerate(means):
                row = dict.fromkeys(report.METRICS, mean) | {"mean": mean, "seconds": 1.0}
                row |= {"data": data, "method": method, "protocol": protocol, "seed": seed}
                writer.writerow(row | {"code": "c", "parameters": "p"})


def test_table_ranks_methods_without_oracles(tmp_path, capsys):
    path = tmp_path / "some.csv"
    write_runs(
        path,
        {
            ("a", "umc", "all"): [60.0, 62.0],
            ("a", "kmeans", "all"): [50.0],
            ("a", "kmeans segments", "all"): [55.0],
            ("a", "oracle: kmeans of x", "all"): [99.0],
            ("b", "umc", "all"): [70.0],
            ("b", "kmeans", "all"): [75.0],  # one frame: segments are the same
        },
    )
    assert wild.main(["--table", str(path)]) == 0
    text = capsys.readouterr().out
    lines = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert lines["umc"][1:] == ["2.00", "61.0", "±", "1.0", "70.0", "±", "0.0"]
    assert lines["kmeans segments"][2:] == ["1.75", "55.0", "±", "0.0", "75.0", "±", "0.0"]
    assert lines["kmeans"][1] == "2.25"
    assert lines["best view or layer by its score"][-1] == "99.0"
    assert "'wins': 1, 'ties': 0, 'losses': 1, 'largest loss': 5.0" in text
    assert (tmp_path / "ranks_all.png").stat().st_size > 1000


def test_quick_variant_scores_both_protocols_and_continues(tmp_path, capsys, monkeypatch):
    fewest = {"pretrain_epochs": 0, "max_epochs": 0}
    monkeypatch.setattr(wild.methods, "QUICK_EPOCHS", fewest)
    assert wild.main(["--quick", "--out", str(tmp_path)]) == 0
    assert "failed" not in capsys.readouterr().out
    runs = report.read_runs(tmp_path / "wild.csv")
    found = {(run["method"], run["protocol"]) for run in runs}
    assert {(m, p) for m in ("umc", "kmeans") for p in ("all", "predict")} <= found
    assert wild.main(["--quick", "--out", str(tmp_path)]) == 0
    assert len(report.read_runs(tmp_path / "wild.csv")) == len(runs)


def test_kept_back_sets_are_read_from_the_files_of_their_packages(tmp_path, monkeypatch):
    folder = tmp_path / "aeon" / "datasets" / "data" / "PickupGestureWiimoteZ"
    folder.mkdir(parents=True)
    for part, lines in (("TRAIN", "1.5,2:a\n3:b"), ("TEST", "4,5,6:a")):
        text = f"# a comment, with: marks\n@problemName x\n@data\n{lines}\n"
        (folder / f"PickupGestureWiimoteZ_{part}.ts").write_text(text)
    (tmp_path / "palmerpenguins" / "data").mkdir(parents=True)
    columns = "species,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g\n"
    rows = "Adelie,39.1,18.7,181,3750\nAdelie,NA,NA,NA,NA\nGentoo,46.1,13.2,211,4500\n"
    (tmp_path / "palmerpenguins" / "data" / "penguins.csv").write_text(columns + rows)
    for package in ("aeon", "palmerpenguins"):
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('is not imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(wild.kept_back.available()) == {"penguins", "osu_leaf", "pickup_gestures"}
    views, y = wild.kept_back.load("pickup_gestures")
    assert [frames.ravel().tolist() for frames in views["series"]] == [[1.5, 2], [3], [4, 5, 6]]
    assert y.tolist() == ["a", "b", "a"]
    data = wild.load("penguins")
    assert data.X.widths == {"bill": 2, "body": 2} and data.y.tolist() == ["Adelie", "Gentoo"]
    assert data.X.sequences("body")[1].tolist() == [[211.0, 4500.0]]


def test_a_table_of_our_methods_alone_is_printed(tmp_path, capsys):
    arguments = ["--sets", "wine", "--seeds", "1", "--quick", "--methods", "umc"]
    assert wild.main([*arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "umc " in printed and "against the best other method" not in printed
