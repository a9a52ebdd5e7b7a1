"""The benchmark of the cost of a search runs; its measurements are not tested."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "search_cost.py"


@pytest.fixture(scope="module")
def search_cost():
    specification = importlib.util.spec_from_file_location("search_cost_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


@pytest.mark.slow
def test_twelve_candidates_are_halved_and_searched_in_full(search_cost):
    seconds, searches = search_cost.measure(60, whole=True, pretrain_epochs=1, max_epochs=1)
    assert list(seconds) == ["default", "halving", "whole"]
    assert all(taken > 0 for taken in seconds.values())
    rounds = searches["halving"].cv_results_["iter"].tolist()
    assert rounds == [0] * 12 + [1] * 4
    assert len(searches["whole"].cv_results_["params"]) == 12


def test_ratios_are_printed(search_cost, monkeypatch, capsys):
    class Search:
        n_splits_, best_params_ = 1, {"max_epochs": 0}

    found = {"default": 2.0, "halving": 9.0}, {"halving": Search()}
    monkeypatch.setattr(search_cost, "measure", lambda n, whole: found)
    search_cost.main([600], whole=False)
    assert "halving: 9.0 s, 4.50 fits, 1 split(s)" in capsys.readouterr().out
