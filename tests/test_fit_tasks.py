"""Callbacks of scikit-learn: epochs as tasks, stopping, scores, searches in two processes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skumc import UMCClusterer

callback = pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9 or later")
own = pytest.importorskip("sklearn.callback.tests.test_callback_support")

Y = np.tile([0, 1, 2], 16)
X = SAMPLES = np.random.default_rng(0).normal(size=(48, 4)) + 4 * np.eye(3, 4)[Y]
# No setting depends on the planned number of epochs.
STEADY = {"threshold": "constant", "patience": None, "pretrain_epochs": 2, "random_state": 0}
STEADY |= {"monitor": "silhouette", "optimization__warmup_proportion": 0.0}


def umc(**parameters):
    return UMCClusterer(3).set_params(**STEADY | parameters)


class Recorder:
    """Record the hooks, and stop at a task."""

    def __init__(self, stop_at=None):
        self.stop_at, self.calls, self.fitted = stop_at, [], {}

    def setup(self, estimator, context):
        self.calls.append(("setup", context.max_subtasks))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.max_subtasks))

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        self.calls.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.calls.append(("end", context.task_name))
        self.fitted[context.task_name] = fitted_estimator
        self.arguments = X, y
        return context.task_name == self.stop_at


def assert_same_fit(one, other):
    assert_array_equal(one.embedding_, other.embedding_)
    assert_array_equal(one.labels_, other.labels_)
    assert_array_equal(one.cluster_centers_, other.cluster_centers_)
    assert_array_equal(one.high_quality_mask_, other.high_quality_mask_)
    assert one.n_iter_ == other.n_iter_
    assert one.history_[:, "monitor"] == other.history_[:, "monitor"]


@pytest.mark.parametrize("k", [1, 3])
def test_stop_at_epoch_k_equals_max_epochs_k(k):
    recorder = Recorder(f"main epoch {k - 1}")
    stopped = umc(max_epochs=5).set_callbacks(recorder).fit(X)
    planned = umc(max_epochs=k).fit(X)
    assert_same_fit(stopped, planned)
    for one, other in zip(
        stopped.encoder_.state_dict().values(),
        planned.encoder_.state_dict().values(),
        strict=True,
    ):
        assert_array_equal(one.numpy(), other.numpy())


def test_stop_in_pretraining_ends_fit():
    stopped = umc(max_epochs=3).set_callbacks(Recorder("pretrain epoch 0")).fit(X)
    assert_same_fit(stopped, umc(pretrain_epochs=1, max_epochs=0).fit(X))


def test_each_epoch_is_one_task_and_callbacks_get_the_arguments():
    recorder = Recorder()
    umc(max_epochs=2).set_callbacks(recorder).fit(X, Y)
    names = [f"{phase} epoch {i}" for phase in ("pretrain", "main") for i in range(2)]
    tasks = [(hook, name) for name in names for hook in ("begin", "end")]
    expected = [("setup", 4), ("begin", "fit"), *tasks, ("end", "fit"), ("teardown", 4)]
    assert recorder.calls == expected
    assert recorder.arguments[0] is X and recorder.arguments[1] is Y
    assert recorder.fitted["pretrain epoch 1"] is None


def test_fitted_estimator_of_an_epoch_is_that_of_a_fit_that_ends_there():
    recorder = Recorder()
    fitted = umc(max_epochs=3).set_callbacks(recorder).fit(X)
    for k in (1, 2, 3):
        expected = umc(max_epochs=k).fit(X)
        found = recorder.fitted[f"main epoch {k - 1}"]
        assert_same_fit(found, expected)
        assert_array_equal(found.predict(X), expected.labels_)
    assert_same_fit(recorder.fitted["fit"], fitted)
    assert_same_fit(fitted, umc(max_epochs=3).fit(X))  # watching changes nothing


def test_callbacks_are_torn_down_and_a_failed_refit_loses_nothing():
    clusterer = umc(max_epochs=1).fit(X)
    embedding, recorder = clusterer.embedding_, Recorder()
    with pytest.raises(ValueError, match="infinite"):
        clusterer.set_callbacks(recorder).fit(np.full((9, 2), np.inf))
    assert recorder.calls == [("setup", 3), ("begin", "fit"), ("teardown", 3)]
    assert_array_equal(clusterer.transform(X), embedding)


def test_labels_reach_callbacks_only():
    monitor = callback.ScoringMonitor(scoring="adjusted_rand_score")
    with_labels = umc(max_epochs=2).set_callbacks(monitor).fit(X, Y)
    assert_same_fit(with_labels, umc(max_epochs=2).fit(X))
    logged = {row["task_name"]: row["adjusted_rand_score"] for row in monitor.get_logs().data}
    assert set(logged) == {"main epoch 0", "main epoch 1", "fit"}
    assert logged["main epoch 1"] == logged["fit"]


@pytest.mark.slow
def test_scoring_monitor_in_a_search_with_two_processes_and_in_a_pipeline():
    monitor = callback.ScoringMonitor(scoring="adjusted_rand_score")
    pipeline = make_pipeline(StandardScaler(), umc(max_epochs=1, pretrain_epochs=1))
    grid = {"umcclusterer__n_clusters": [2, 3]}
    pipeline[-1].set_callbacks(monitor)
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, scoring="adjusted_rand_score")
    search.fit(X, Y)
    names = [row["task_name"] for row in monitor.get_logs().data]
    assert names.count("main epoch 0") == 5 and names.count("fit") == 5  # 2 x 2 fits, 1 refit
    assert search.best_params_ == {"umcclusterer__n_clusters": 3}


def test_progress_bar_shows_the_epochs_of_a_search(capsys):
    pytest.importorskip("rich")
    search = GridSearchCV(umc(max_epochs=1, pretrain_epochs=1), {"n_clusters": [2, 3]}, cv=2)
    search.set_callbacks(callback.ProgressBar()).fit(X, Y)
    assert "UMCClusterer - fit" in capsys.readouterr().out


# scikit-learn's own tests of estimators with callbacks, on the clusterer


class OwnEstimator(UMCClusterer):
    """The clusterer in the place of scikit-learn's test estimator, whose fit needs no X."""

    def __init__(self, max_iter=20, computation_intensity=0.001):
        settings = {"threshold": "constant", "monitor": "silhouette", "patience": None}
        super().__init__(3, **settings, pretrain_epochs=0, max_epochs=max_iter, random_state=0)
        self.max_iter, self.computation_intensity = max_iter, computation_intensity

    def get_params(self, deep=True):
        return {"max_iter": self.max_iter, "computation_intensity": self.computation_intensity}

    def fit(self, X=None, y=None):
        return super().fit(SAMPLES if X is None else X, y)


@pytest.fixture
def their_tests(monkeypatch):
    monkeypatch.setattr(own, "MaxIterEstimator", OwnEstimator)
    return own


@pytest.mark.parametrize("fail_at", ["setup", "on_fit_task_begin", "on_fit_task_end", "teardown"])
def test_their_test_of_failing_callbacks(their_tests, fail_at):
    their_tests.test_callback_error(fail_at)


def test_their_tests_of_setting_and_teardown(their_tests):
    their_tests.test_set_callbacks([their_tests.RecordingCallback()])
    their_tests.test_set_callbacks_error(None)
    their_tests.test_set_callback_empty()
    their_tests.test_teardown_matches_setup_calls_on_partial_setup_failure()
    their_tests.test_multiple_teardown_errors_are_grouped()


@pytest.mark.parametrize(
    ("n_jobs", "prefer", "kind"),
    [
        (1, "threads", "RecordingAutoPropagatedCallback"),
        pytest.param(2, "processes", "RecordingCallback", marks=pytest.mark.slow),
    ],
)
def test_their_test_of_functions_without_callbacks(their_tests, n_jobs, prefer, kind):
    their_tests.test_function_no_callback_support(n_jobs, prefer, getattr(their_tests, kind))


# The rest of their tests are of scikit-learn's own objects, use their estimator as a regressor,
# with sample weights or with its names of tasks.
THEIR_TESTS = [
    ("test_callback_context", "test_callback_ctx_removed_after_fit", [OwnEstimator]),
    ("test_callback_context", "test_propagate_callback_context_autopropagated", []),
    ("test_callback_context", "test_propagate_callback_context_no_callback", []),
    ("test_callback_context", "test_auto_propagated_callbacks", []),
    ("test_callback_context", "test_inner_estimator_no_callback_support", []),
    ("test_callback_context", "test_callback_hooks_called", [own.RecordingCallback]),
    ("test_callback_context", "test_callback_hooks_called", [own.RecordingAutoPropagatedCallback]),
    ("test_callback_context", "test_meta_estimator_autopropagated_callback_hooks_called", [1]),
    ("test_callback_context", "test_meta_estimator_callback_hooks_called", [1]),
    ("test_scoring_monitor", "test_get_logs_output_type", [False]),
    ("test_scoring_monitor", "test_scoring_monitor_listener_closed_on_gc", []),
    *(
        ("test_pickle", f"test_estimator_with_callback_pickle_roundtrip_{when}_fit", [factory])
        for when in ("pre", "post")
        for factory in (callback.ProgressBar, partial(callback.ScoringMonitor, scoring=None))
    ),
]


@pytest.mark.parametrize(("module", "name", "arguments"), THEIR_TESTS)
def test_their_other_tests(monkeypatch, module, name, arguments):
    theirs = pytest.importorskip(f"sklearn.callback.tests.{module}")
    for estimator in ("MaxIterEstimator", "ThirdPartyEstimator"):
        if hasattr(theirs, estimator):
            monkeypatch.setattr(theirs, estimator, OwnEstimator)
    test = getattr(theirs, name, None)
    if test is None:
        pytest.skip(f"this release of scikit-learn has no {name}")
    test(*arguments)


def test_clone_keeps_callbacks():
    recorder = Recorder()
    assert clone(umc().set_callbacks(recorder))._skl_callbacks == [recorder]
