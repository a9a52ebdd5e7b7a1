"""Features together, in the order in which an archive needs them: count, explain, save, return."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.model_selection import UnsupervisedSearchCV
from skumc.report import cluster_report

QUICK = {"pretrain_epochs": 5, "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(200, 4, center_scale=3, random_state=0)


def test_archive_without_a_number_to_next_months_data(blobs, tmp_path):
    X, topic = blobs
    clusterer = UMCClusterer("auto", **QUICK).set_params(
        optimization__checkpoint_dir=tmp_path / "checkpoints"
    )
    clusterer.fit(X[:150])
    assert clusterer.n_clusters_ == 4
    clusterer.save(tmp_path / "saved", include_embedding=True)
    loaded = UMCClusterer.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict(X), clusterer.predict(X))
    np.testing.assert_array_equal(loaded.predict_proba(X).argmax(axis=1), loaded.predict(X))
    report = cluster_report(loaded, X[:150])
    sizes = np.bincount(clusterer.labels_)
    assert report.to_frame()["size"].tolist() == sizes.tolist()
    before = loaded.predict(X[:150])
    loaded.set_params(warm_start=True, optimization__checkpoint_dir=tmp_path / "later").fit(X)
    assert loaded.matched_from_.tolist() == [0, 1, 2, 3]
    assert (loaded.labels_[:150] == before).mean() > 0.95
    again = pickle.loads(pickle.dumps(loaded)).partial_fit(X[150:])
    assert 235 <= again.counts_.sum() <= 250  # outliers move no center
    assert len(set(zip(topic[150:], again.predict(X[150:]), strict=True))) == 4


def test_checkpoints_of_a_warm_start_belong_to_its_earlier_fit(blobs, tmp_path):
    X, _ = blobs
    first = UMCClusterer(4, warm_start=True, **QUICK).fit(X)
    other = clone(first).set_params(random_state=1).fit(X).set_params(random_state=0)
    folder = tmp_path / "checkpoints"

    class Stop:
        def on_epoch_end(self, state, record):
            if state.epoch == 1:
                raise KeyError("killed")

    settings = {"optimization__checkpoint_dir": folder, "callbacks": [Stop()]}
    with pytest.raises(KeyError, match="killed"):
        pickle.loads(pickle.dumps(first)).set_params(**settings).fit(X)
    with pytest.raises(ValueError, match="the earlier fit"):
        other.set_params(optimization__checkpoint_dir=folder).fit(X)


def test_search_over_settings_with_a_number_of_its_own(blobs):
    X, _ = blobs
    estimator = UMCClusterer("auto", **QUICK | {"pretrain_epochs": 2, "max_epochs": 1})
    search = UnsupervisedSearchCV(estimator, [{}, {"max_epochs": [0]}], random_state=0).fit(X)
    assert search.best_estimator_.n_clusters_ == 4
