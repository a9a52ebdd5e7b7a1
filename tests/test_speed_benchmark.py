"""The speed benchmark runs; its measurements are not tested."""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "speed.py"


@pytest.fixture(scope="module")
def speed():
    specification = importlib.util.spec_from_file_location("speed_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


def rows_of(speed, tmp_path, *parts):
    speed.main(["--quick", "--out", str(tmp_path), *parts])
    with open(tmp_path / "speed.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_parts_on_small_shapes(speed, tmp_path, capsys):
    rows = rows_of(speed, tmp_path, "selector", "transform", "import")
    assert {row["part"] for row in rows} == {"selector", "transform", "import"}
    assert all(float(row["ours"]) > 0 for row in rows if row["unit"] == "s")
    printed = capsys.readouterr().out
    assert "selections of 2000 samples differ in 0" in printed


@pytest.mark.slow
def test_parts_with_processes_of_their_own(speed, tmp_path, capsys):
    parts = ["network", "scaling", "frames", "digits", "profile"]
    rows = rows_of(speed, tmp_path, *parts)
    assert {row["part"] for row in rows} == set(parts)
    assert (tmp_path / "speed.png").stat().st_size > 10_000
    difference = capsys.readouterr().out.split("differ by ")[1].split()[0]
    assert float(difference) < 1e-5


def test_memory_is_the_childs_own(speed):
    """Not what the process that starts it held."""
    held = np.ones(2**26)  # 512 MiB
    found = speed.child("select", 20_000)["memory"]
    assert 20 <= found < held.nbytes / 2**20  # its samples alone take 20


def test_utterances_are_as_long_as_described(speed):
    found = speed.lengths(20_000, np.random.default_rng(0))
    seconds = found["video"] / speed.FRAMES_PER_SECOND["video"]
    assert seconds.mean() == pytest.approx(2.4, rel=0.03)
    assert found["audio"].mean() == pytest.approx(50 * 2.4, rel=0.03)
    for name, longest in speed.LONGEST.items():
        assert 1 <= found[name].min() and found[name].max() <= longest


def test_unknown_part_is_refused(speed, capsys):
    with pytest.raises(SystemExit):
        speed.main(["netwrk"])
    assert "unknown parts ['netwrk']" in capsys.readouterr().err
