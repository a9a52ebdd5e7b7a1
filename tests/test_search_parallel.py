"""A search in one process, in two, and over a Dask cluster."""

import joblib
import numpy as np
import pytest

from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.model_selection import UnsupervisedSearchCV
from skumc.text import TextModel
from text_models import pair

GRID = [{}, {"pretrain_epochs": [0], "max_epochs": [0]}, {"learning_rate": [1e-4]}]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    folder = str(tmp_path_factory.mktemp("dask"))
    settings = {"processes": True, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(2, local_directory=folder, **settings) as cluster:
        with distributed.Client(cluster) as client:
            yield client


def search(**settings):
    clusterer = UMCClusterer(3, pretrain_epochs=2, max_epochs=1, random_state=0)
    return UnsupervisedSearchCV(clusterer, GRID, random_state=0, error_score="raise", **settings)


def scores_of(search):
    names = [name for name in search.cv_results_ if name.startswith("split")]
    return np.array([search.cv_results_[name] for name in names])


def assert_same(found, expected, X):
    assert scores_of(found).shape == scores_of(expected).shape
    np.testing.assert_allclose(scores_of(found), scores_of(expected), rtol=0, atol=1e-6)
    assert found.best_index_ == expected.best_index_
    assert found.best_params_ == expected.best_params_
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))


@pytest.mark.slow
@pytest.mark.parametrize("factor", [None, 2])
def test_serial_processes_and_dask_choose_the_same(client, factor):
    X, _ = make_multimodal_blobs(
        90, 3, modalities={"text": 6, "audio": 4}, center_scale=2, lengths=(1, 5), random_state=0
    )
    serial = search(factor=factor).fit(X)
    assert_same(search(factor=factor, n_jobs=2).fit(X), serial, X)
    with joblib.parallel_config("dask"):
        assert_same(search(factor=factor).fit(X), serial, X)
    assert sum(client.run(lambda: "skumc" in __import__("sys").modules).values()) > 0


@pytest.mark.slow
def test_dask_shares_texts_and_scores(client, tmp_path):
    rng = np.random.default_rng(0)
    words = [["rain", "cloud", "storm", "wind"], ["bread", "butter", "salt", "milk"]]
    X = [f"{' '.join(rng.choice(words[row % 2], 4))} {row}" for row in range(48)]
    grid = [{}, {"max_epochs": [0]}]
    clusterer = UMCClusterer(
        2, text=TextModel(pair(), layer=2), pretrain_epochs=1, max_epochs=1, random_state=0
    )
    settings = {"random_state": 0, "error_score": "raise"}
    serial = UnsupervisedSearchCV(clusterer, grid, **settings).fit(X)
    with joblib.parallel_config("dask"):
        kept = UnsupervisedSearchCV(clusterer, grid, memory=tmp_path, **settings).fit(X)
    assert_same(kept, serial, X)
    files = sorted(tmp_path.glob("search/*/*.json"))
    assert len(files) == 12
    dates = [file.stat().st_mtime_ns for file in files]
    assert_same(
        UnsupervisedSearchCV(clusterer, grid, memory=tmp_path, **settings).fit(X), serial, X
    )
    assert [file.stat().st_mtime_ns for file in sorted(tmp_path.glob("search/*/*.json"))] == dates
