"""A few rounds of the soak benchmark."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "soak.py"

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")


@pytest.fixture(scope="module")
def soak():
    specification = importlib.util.spec_from_file_location("soak_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


def test_many_calls_leave_nothing(soak, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = soak.soak_predict(400)
    assert found["same labels"] and found["same descriptors and files"]
    assert max(value for name, value in found.items() if name.startswith("MiB")) < 10


@pytest.mark.slow
def test_random_settings_end_in_a_result_or_a_documented_error(soak):
    ends, failures, beyond = soak.soak_fits(6)
    assert not failures and sum(ends.values()) == 6 and ends["result"] >= 2
    assert max(beyond) < soak.OF_LIBRARIES
