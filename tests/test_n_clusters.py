"""``n_clusters="auto"`` and ``estimate_n_clusters``."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from data_makers import make_sequences
from skumc import MultimodalData, UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.model_selection import AllSamples, UnsupervisedSearchCV, estimate_n_clusters
from skumc.text import TextModel
from skumc.training import Callback
from skumc.training._trainer import ProgressiveTrainer
from text_models import pair

SHORT = {"pretrain_epochs": 2, "max_epochs": 1, "random_state": 0}


def auto(**parameters):
    return UMCClusterer("auto").set_params(**(SHORT | parameters))


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(90, 3, center_scale=3, lengths=1, random_state=0)[0]


@pytest.fixture(scope="module")
def fitted(blobs):
    return auto().fit(blobs)


def test_auto_is_the_fit_with_the_number_it_found(blobs, fitted):
    assert fitted.n_clusters == "auto" and fitted.n_clusters_ == 3
    assert fitted.cluster_centers_.shape[0] == 3
    given = UMCClusterer(3, **SHORT).fit(blobs)
    for name in ("embedding_", "labels_", "cluster_centers_"):
        np.testing.assert_array_equal(getattr(fitted, name), getattr(given, name))
    assert given.n_clusters_ == 3 and not hasattr(given, "n_clusters_curve_")


def test_function_gives_the_curve_of_the_fit(blobs, fitted):
    estimator = UMCClusterer(7, **SHORT)
    found = estimate_n_clusters(blobs, estimator=estimator)
    np.testing.assert_array_equal(found.stability, fitted.n_clusters_curve_.stability)
    assert found.n_clusters == fitted.n_clusters_curve_.n_clusters
    assert vars(estimator) == vars(UMCClusterer(7, **SHORT))  # neither fitted nor changed


def test_number_is_found_with_one_pretraining_and_no_loop(blobs, monkeypatch):
    calls, own = [], ProgressiveTrainer.pretrain
    monkeypatch.setattr(
        ProgressiveTrainer, "pretrain", lambda *arguments: calls.append(1) or own(*arguments)
    )
    monkeypatch.setattr(ProgressiveTrainer, "run", lambda *arguments: calls.append("run"))
    estimate_n_clusters(blobs, range(5, 1, -1), estimator=auto())
    assert calls == [1]


def test_candidates_are_sorted_and_counted_once(blobs):
    found = estimate_n_clusters(blobs, iter([4, 2, 3, 4]), estimator=auto())
    assert found.candidates.tolist() == [2, 3, 4]


@pytest.mark.parametrize(("draw", "n_modalities"), [("uniform", 1), ("normal", 3)])
def test_noise_is_one_cluster(draw, n_modalities):
    rng = np.random.default_rng(0)
    X = MultimodalData({f"m{i}": getattr(rng, draw)(size=(150, 10)) for i in range(n_modalities)})
    fitted = auto(pretrain_epochs=10, max_epochs=0).fit(X)
    assert fitted.n_clusters_ == 1 and set(fitted.labels_) == {0}


def test_sequences_with_missing_modalities_and_one_modality_are_counted():
    X, _ = make_sequences(60, 3, missing=True)
    assert 1 <= auto().fit(X).n_clusters_ <= 7
    table = np.random.default_rng(0).normal(10.0 * (np.arange(60)[:, None] % 2), 1, (60, 3))
    assert auto().fit(table).n_clusters_ == 2


@pytest.mark.parametrize("n_samples", [2, 8, 10])
def test_few_samples_and_few_distinct_ones_have_an_answer(n_samples):
    X = np.random.default_rng(0).normal(size=(n_samples, 3))
    assert 1 <= auto().fit(X).n_clusters_ <= n_samples // 2
    assert auto().fit(np.repeat(X[:2], 20, axis=0)).n_clusters_ == 1
    assert auto().fit(np.ones((n_samples, 3))).n_clusters_ == 1


@pytest.mark.parametrize("text", [{}, {"n_trainable_layers": 1}])
def test_text_is_counted_and_its_trained_layers_stay_untouched(text):
    texts = [f"{('sea ship', 'gear wheel')[i % 2]} {i}" for i in range(30)]
    X = MultimodalData({"text": texts})
    found = auto(text=TextModel(pair(), layer=1, **text)).fit(X)
    given = UMCClusterer(found.n_clusters_, text=TextModel(pair(), layer=1, **text), **SHORT).fit(X)
    np.testing.assert_array_equal(found.embedding_, given.embedding_)


@pytest.mark.parametrize("preset", ["source", "acl2024"])
def test_presets_count(preset):
    X, _ = make_sequences(40, 2)
    clusterer = UMCClusterer.from_preset(preset, "auto", **SHORT)
    assert 1 <= clusterer.fit(X).n_clusters_ <= 5


def test_clone_pickle_and_searches_take_auto(blobs, fitted):
    assert clone(fitted).n_clusters == "auto"
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(blobs), fitted.labels_)
    assert again.n_clusters_curve_.interval == fitted.n_clusters_curve_.interval
    search = GridSearchCV(UMCClusterer(**SHORT), {"n_clusters": [2, "auto"]}, cv=AllSamples())
    assert search.fit(blobs).best_params_ == {"n_clusters": "auto"}
    unsupervised = UnsupervisedSearchCV(auto(), [{}, {"max_epochs": [0]}], random_state=0)
    assert unsupervised.fit(blobs).best_estimator_.n_clusters_ == 3


def test_auto_stands_in_a_pipeline():
    table = np.random.default_rng(0).normal(10.0 * (np.arange(60)[:, None] % 3), 1, (60, 3))
    pipeline = make_pipeline(StandardScaler(), auto()).fit(table)
    alone = auto().fit(StandardScaler().fit_transform(table))
    np.testing.assert_array_equal(pipeline[-1].labels_, alone.labels_)
    assert pipeline[-1].n_clusters_ == alone.n_clusters_ > 1


def test_refit_with_a_number_drops_the_curve_and_a_failed_one_keeps_it(blobs):
    clusterer = auto().fit(blobs)
    with pytest.raises(ValueError, match="n_clusters=500"):
        clusterer.set_params(n_clusters=500).fit(blobs)
    assert clusterer.n_clusters_ == 3 and clusterer.n_clusters_curve_.n_clusters == 3
    clusterer.set_params(n_clusters=2).fit(blobs)
    assert clusterer.n_clusters_ == 2 and not hasattr(clusterer, "n_clusters_curve_")


def test_hooks_follow_the_fit_only(blobs):
    class Epochs(Callback):
        def __init__(self):
            self.begun = 0

        def on_train_begin(self, state):
            self.begun += 1

    hook = Epochs()
    auto(callbacks=[hook]).fit(blobs)
    assert hook.begun == 1


def test_random_state_may_be_an_instance(blobs):
    found = auto(random_state=np.random.RandomState(4)).fit(blobs)
    given = UMCClusterer(3, **SHORT | {"random_state": np.random.RandomState(4)}).fit(blobs)
    np.testing.assert_array_equal(found.embedding_, given.embedding_)


@pytest.mark.parametrize(
    "candidates", [5, "auto", [], [1, 2], [2.0], [True], [3, "4"], range(0), [None]]
)
def test_bad_candidates_are_named(blobs, candidates):
    with pytest.raises(ValueError, match=r"Got candidates=.*such as range\(2, 21\)"):
        estimate_n_clusters(blobs, candidates)


@pytest.mark.parametrize("estimator", [KMeans(3), "auto", UMCClusterer])
def test_other_estimators_are_refused(blobs, estimator):
    with pytest.raises(TypeError, match="expected an instance of UMCClusterer"):
        estimate_n_clusters(blobs, estimator=estimator)


def test_other_words_than_auto_are_refused(blobs):
    with pytest.raises(ValueError, match="'n_clusters' parameter"):
        UMCClusterer("many").fit(blobs)


@pytest.mark.slow
def test_check_estimator_passes_with_auto():
    outcomes = check_estimator(
        UMCClusterer("auto", pretrain_epochs=1, max_epochs=1), on_fail=None, on_skip=None
    )
    left = {o["check_name"]: o["status"] for o in outcomes if o["status"] != "passed"}
    assert set(left.items()) <= {("check_array_api_input", "skipped")}
