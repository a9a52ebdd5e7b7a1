"""Threads: no more than there are cores, and the caller's stay as they are."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info, threadpool_limits

from data_makers import make_sequences
from skumc import UMCClusterer
from skumc.training import SilhouetteMonitor

SHORT = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


class Looks(SilhouetteMonitor):
    """A monitor that says how many threads there are while it is called."""

    seen: list = []

    def __call__(self, embedding, labels):
        self.seen.append((torch.get_num_threads(), blas_threads()))
        return super().__call__(embedding, labels)


class Fails(SilhouetteMonitor):
    def __call__(self, embedding, labels):
        raise RuntimeError("no")


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_of_the_caller_stay_as_they_are(n_threads):
    X, _ = make_sequences(20, 2)
    own = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        with threadpool_limits(n_threads, user_api="blas"):
            before = blas_threads()
            Looks.seen.clear()
            fitted = UMCClusterer(2, monitor=Looks(), **SHORT).fit(X)
            fitted.transform(X)
            with pytest.raises(RuntimeError, match="no"):
                UMCClusterer(2, monitor=Fails(), **SHORT).fit(X)
            assert blas_threads() == before and set(before) == {n_threads}
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(own)
    assert Looks.seen and all(
        torch_threads == n_threads and set(blas) == {1} for torch_threads, blas in Looks.seen
    )


def threads_of_torch(estimator, X, y=None):
    return torch.get_num_threads()


def test_processes_of_a_grid_search_share_out_the_cores():
    X, _ = make_sequences(20, 2)
    before = torch.get_num_threads()
    search = GridSearchCV(
        UMCClusterer(2, **SHORT),
        {"batch_size": [8, 16]},
        scoring=threads_of_torch,
        cv=2,
        n_jobs=2,
        refit=False,
    ).fit(X)
    most = max(joblib.cpu_count() // 2, 1)
    assert (np.array(search.cv_results_["mean_test_score"]) <= most).all()
    assert torch.get_num_threads() == before
