"""The benchmark of the number of clusters runs, and its rules are those that it names."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="this distribution has no benchmarks/")


@pytest.fixture(scope="module")
def benchmark():
    before, modules = list(sys.path), set(sys.modules)
    specification = importlib.util.spec_from_file_location(
        "n_clusters_benchmark", FOLDER / "n_clusters.py"
    )
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if name.startswith("_n_clusters") or name == specification.name:
            del sys.modules[name]


def test_quick_runs_every_method_and_continues(benchmark, tmp_path, capsys):
    benchmark.main(["--quick", "--sets", "uniform-1-0", "--out", str(tmp_path)])
    assert "uniform: auto within 10 % on 1 of 1" in capsys.readouterr().out
    rows = benchmark.read(tmp_path / "n_clusters.csv")
    assert [row["method"] for row in rows] == ["auto", "fit", *benchmark.OTHERS]
    benchmark.main(["--quick", "--sets", "uniform-1-0", "--out", str(tmp_path)])
    assert len(benchmark.read(tmp_path / "n_clusters.csv")) == len(rows)


def make_groups():
    rng = np.random.default_rng(0)
    centers = 20.0 * np.eye(4)
    return centers[np.arange(120) % 4] + rng.normal(size=(120, 4))


@pytest.mark.parametrize("name", ["silhouette", "gap", "prediction strength", "hdbscan"])
def test_other_methods_find_separated_groups(benchmark, name):
    assert benchmark.OTHERS[name](make_groups(), [2, 3, 4, 5, 6]) == 4


def test_sets_are_as_named(benchmark):
    X, n_classes = benchmark.load("blobs-5-1.0")
    assert (len(X), n_classes) == (600, 5)
    X, n_classes = benchmark.load("gaussian-3-0")
    assert (X.shape, n_classes) == ((300, 3), 1)
    assert len(benchmark.JUDGING) == 8 and not set(benchmark.JUDGING) & set(benchmark.DEVELOPMENT)


def test_ten_percent_are_near(benchmark):
    assert benchmark.is_near(9, 10) and benchmark.is_near(11, 10) and benchmark.is_near(22, 20)
    assert not benchmark.is_near(4, 3) and not benchmark.is_near(12, 10)
