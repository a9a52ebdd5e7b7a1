"""The benchmark of doubt and return runs; its measures are those of the formulas."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def answers():
    specification = importlib.util.spec_from_file_location("answers", FOLDER / "answers.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))


def test_calibration_error_is_that_of_a_plain_loop(answers):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], 200)
    is_right = rng.random(200) < 0.6
    expected, confidence = 0.0, probabilities.max(axis=1)
    for low in np.arange(10) / 10:
        here = (confidence >= low) & (confidence < low + 0.1)
        if here.any():
            gap = abs(confidence[here].mean() - is_right[here].mean())
            expected += here.mean() * gap
    assert answers.calibration_error(probabilities, is_right) == pytest.approx(expected, abs=1e-6)


def test_clusters_get_the_classes_of_the_best_matching(answers):
    labels = np.array([0, 0, 1, 1, 2, 2, 2])
    y = np.array([2, 2, 0, 0, 1, 1, 0])
    assert answers.classes_of(labels, y).tolist() == [2, 0, 1]


@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer", "blobs"])
def test_foreign_samples_have_the_form_and_the_moments_of_the_host(answers, name):
    host = answers.data_sets.load(name)[0]
    foreign = answers.data_sets.foreign(name, 2000, 0)
    assert list(foreign) == list(host)
    for view, cells in host.items():
        own, other = (
            c if isinstance(c, np.ndarray) else np.concatenate(c) for c in (cells, foreign[view])
        )
        assert len(foreign[view]) == 2000 and own.shape[1] == other.shape[1]
        # columns that are constant in the donor have no deviation
        gap = np.abs(own.mean(axis=0) - other.mean(axis=0)) / (own.std(axis=0) + 1e-9)
        assert np.median(gap) < 0.1
        assert np.median(other.std(axis=0) / (own.std(axis=0) + 1e-9)) < 1.1


def test_every_part_is_printed(answers, monkeypatch, capsys):
    cheap = {"pretrain_epochs": 0, "max_epochs": 0}
    make = answers.make
    monkeypatch.setattr(answers, "make", lambda *given: make(*given).set_params(**cheap))
    monkeypatch.setattr(answers, "NEWCOMER_SETS", ("wine",))
    answers.main(["--sets", "wine", "--seeds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["doubt", "refit", *["newcomer"] * 5]
    assert "auc 0." in lines[0] and "refit ari" in lines[1] and "reported" in lines[2]
