"""A few rounds of the benchmark that kills what writes to the disk."""

import importlib.util
import signal
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kills.py"

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")


@pytest.fixture
def kills(monkeypatch):
    specification = importlib.util.spec_from_file_location("kills_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, specification.name, module)
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fit", "save", "extraction", "load"])
def test_killed_work_ends_as_the_undisturbed_one(kills, kind):
    found = kills.kill(kind, 1)
    assert found.pop("kills") == 1 and found.pop("ended") == 2
    assert set(found.values()) == {0}


def test_a_result_that_differs_fails_the_command(kills, monkeypatch, capsys):
    monkeypatch.setattr(kills, "kill", lambda *args: {"kills": 1, "ended": 2, "different": 1})
    assert kills.main(["--count", "1", "--kinds", "load"]) == 1
    assert "load" in capsys.readouterr().out
    monkeypatch.setattr(kills, "kill", lambda *args: {"kills": 1, "ended": 2, "different": 0})
    assert kills.main(["--count", "1", "--kinds", "load"]) == 0
