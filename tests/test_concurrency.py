"""Calls in several threads, and the caller's settings of torch."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info

from skumc import MultimodalData, UMCClusterer
from skumc._evaluation import evaluating
from skumc._process_state import own_defaults, own_random_numbers
from skumc.text import TextModel
from skumc.training import Callback
from text_models import pair

SHORT = {"pretrain_epochs": 1, "max_epochs": 2}


def make_samples(n=45):
    rng = np.random.default_rng(0)
    topic = np.arange(n) % 3
    words = [["sea", "ship"], ["gear", "wheel"], ["tree", "leaf"]]
    return MultimodalData(
        {
            "text": [" ".join(rng.choice(words[t], 3)) + f" {i}" for i, t in enumerate(topic)],
            "audio": [rng.normal(t, 1, (rng.integers(2, 6), 4)) for t in topic],
        }
    )


def make(kind, seed=0):
    model, tokenizer = pair()
    model.train()  # as a model made from a configuration is
    parameters = {
        "default": {"text": TextModel((model, tokenizer))},
        "trained text": {"text": TextModel((model, tokenizer), n_trainable_layers=1)},
        "umc": {"text": TextModel((model, tokenizer)), "encoder": "umc"},
    }[kind]
    return UMCClusterer(3, random_state=seed, **SHORT, **parameters)


def state_of_process():
    pools = [(pool["user_api"], pool["num_threads"]) for pool in threadpool_info()]
    return (
        torch.get_default_dtype(),
        torch.random.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_device(),
        torch.backends.mkldnn.enabled,
        sorted(pools),
    )


def result(estimator, X):
    return [
        estimator.labels_.tobytes(),
        estimator.embedding_.tobytes(),
        estimator.cluster_centers_.tobytes(),
        estimator.transform(X).tobytes(),
        estimator.predict(X[::2]).tobytes(),
        estimator.modality_weights(X).tobytes(),
    ]


KINDS = ["default", "trained text", "umc"]


@pytest.mark.slow
def test_ten_threads_fit_and_predict_as_one_thread_does():
    X = make_samples()
    jobs = [(kind, seed) for kind in KINDS for seed in range(2)] * 2
    serial = {job: result(make(*job).fit(X), X) for job in set(jobs)}
    fitted = {kind: make(kind).fit(X) for kind in KINDS}
    unfitted = [(job, make(*job)) for job in jobs]  # their models draw from torch's generator
    before = state_of_process()

    def fit(job, estimator):
        return job, result(estimator.fit(X), X)

    def predict(kind):
        return kind, [result(fitted[kind], X) for _ in range(5)]

    with ThreadPoolExecutor(10) as pool:
        fits = [pool.submit(fit, *job) for job in unfitted]
        predictions = [pool.submit(predict, kind) for kind in KINDS * 4]
        for job, found in (future.result() for future in fits):
            assert found == serial[job]
        for kind, found in (future.result() for future in predictions):
            assert all(one == serial[kind, 0] for one in found)
    assert state_of_process() == before


def test_a_search_in_threads_equals_a_serial_one():
    X = np.random.default_rng(0).normal(size=(60, 4))
    search = GridSearchCV(
        UMCClusterer(3, random_state=0, **SHORT), {"learning_rate": [1e-3, 4e-3]}, cv=2, n_jobs=2
    )
    with joblib.parallel_config("threading"):
        in_threads = search.fit(X).cv_results_["mean_test_score"]
    serial = search.set_params(n_jobs=None).fit(X).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(in_threads, serial)


def in_float64(function):
    torch.set_default_dtype(torch.float64)
    try:
        return function()
    finally:
        torch.set_default_dtype(torch.float32)


def under(context):
    def call(function):
        with context():
            return function()

    return call


CALLERS = {
    "float64": in_float64,
    "autocast": under(lambda: torch.autocast("cpu", torch.bfloat16)),
    "inference mode": under(torch.inference_mode),
    "no_grad": under(torch.no_grad),
    "default device": under(lambda: torch.device("meta")),
}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_the_caller_change_no_result(caller, kind):
    X = make_samples(24)
    expected = result(make(kind).fit(X), X)
    fresh = make(kind)
    seen = []

    def call():
        before = state_of_process()
        found = result(fresh.fit(X), X)
        seen.append(state_of_process() == before)
        return found

    assert CALLERS[caller](call) == expected
    assert seen == [True]


def test_default_dtype_comes_back_with_the_last_call():
    inside, leave = threading.Event(), threading.Event()

    def first():
        with own_defaults():
            inside.set()
            leave.wait(60)

    torch.set_default_dtype(torch.float64)
    try:
        thread = threading.Thread(target=first)
        thread.start()
        inside.wait(60)
        with own_defaults():
            leave.set()
            thread.join()
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_module_stays_in_evaluation_mode_until_the_last_thread_leaves():
    part = torch.nn.Dropout()
    whole = torch.nn.Sequential(part, torch.nn.Dropout().eval())
    inside, leave = threading.Event(), threading.Event()

    def first():
        with evaluating(whole):
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(60)
    with evaluating(part):
        leave.set()
        thread.join()
        assert whole.training and not part.training
    assert part.training and not whole[1].training


def test_random_numbers_of_two_threads_do_not_mix():
    def draw(seed):
        with own_random_numbers():
            torch.manual_seed(seed)
            return [torch.rand(1).item() for _ in range(2000)]

    serial = [draw(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(draw, range(8))) == serial


def test_a_forked_process_does_not_wait_for_a_thread_of_its_parent():
    import multiprocessing

    held, leave = threading.Event(), threading.Event()

    def hold():
        with own_random_numbers():
            held.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    child = multiprocessing.get_context("fork").Process(target=_enter)
    try:
        child.start()
        child.join(60)
        assert child.exitcode == 0
    finally:
        leave.set()
        thread.join()
        child.kill()


def _enter():
    with own_random_numbers():
        pass


def test_models_of_the_user_keep_their_modes():
    model, tokenizer = pair()
    model.train()
    model.encoder.layer[1].eval()
    modes = {name: module.training for name, module in model.named_modules()}
    X = make_samples(24)
    fitted = UMCClusterer(3, text=(model, tokenizer), random_state=0, **SHORT).fit(X)
    fitted.predict(X)
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_a_callback_may_predict_with_another_estimator():
    X = np.random.default_rng(0).normal(size=(30, 4))
    other = UMCClusterer(2, random_state=1, **SHORT).fit(X)
    expected, seen = other.predict(X).tobytes(), []

    class Predicts(Callback):
        def on_epoch_end(self, state, record):
            thread = threading.Thread(target=lambda: seen.append(other.predict(X).tobytes()))
            thread.start()
            thread.join(60)

    alone = UMCClusterer(3, random_state=0, **SHORT).fit(X)
    watched = UMCClusterer(3, random_state=0, callbacks=[Predicts()], **SHORT).fit(X)
    assert set(seen) == {expected} and len(seen) == len(watched.history_[1:])
    assert pickle.dumps(watched.labels_) == pickle.dumps(alone.labels_)
