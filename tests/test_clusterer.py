import pickle
import threading

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from data_makers import make_sequences
from fitting import WITHOUT_NEIGHBORS, Rising
from skumc import MultimodalData, UMCClusterer
from skumc._parameters import PART_CHOICES
from skumc.curriculum import ConstantThreshold, LinearThreshold
from skumc.datasets import make_multimodal_blobs
from skumc.encoders import ProjectionEncoder, UMCEncoder
from skumc.losses import ContrastiveLoss, InfoNCELoss, SupConLoss, WeightedLosses
from skumc.text import TextModel
from skumc.training import GradientNorms, Optimization


def make(n_clusters=3, **parameters):
    defaults = {"pretrain_epochs": 1, "max_epochs": 2, "random_state": 0}
    return UMCClusterer(n_clusters).set_params(**(defaults | parameters))


def results(fitted):
    return fitted.labels_, fitted.embedding_, fitted.cluster_centers_


def assert_identical(first, second):
    for one, other in zip(results(first), results(second), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def data():
    return make_sequences(60, 3, missing=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "expected"), [("projection", 4e-3), ("umc", 4e-3), ("causal", 1e-3)]
)
def test_encoder_says_at_which_learning_rate_it_trains(encoder, expected):
    X, _ = make_sequences()
    settings = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
    settings["optimization"] = Optimization(warmup_proportion=0.0)
    history = UMCClusterer(2, encoder=encoder, **settings).fit(X).history_
    assert [record["learning_rate"] for record in history[1:-1]] == [expected] * 2
    given = {"learning_rate": 1e-4, "pretrain_learning_rate": 1e-5}
    history = UMCClusterer(2, encoder=encoder, **settings, **given).fit(X).history_
    assert [record["learning_rate"] for record in history[1:-1]] == [1e-5, 1e-4]


def test_check_estimator_passes_whole(monkeypatch):
    outcomes = check_estimator(
        UMCClusterer(pretrain_epochs=1, max_epochs=2), on_fail=None, on_skip=None
    )
    left = {o["check_name"]: o["status"] for o in outcomes if o["status"] != "passed"}
    assert set(left.items()) <= {("check_array_api_input", "skipped")}
    assert len(outcomes) > 40


# labels never reach training, and repeats repeat


def test_y_is_never_looked_at(data):
    X, y = data
    plain = make().fit(X)
    assert_identical(plain, make().fit(X, y))
    assert_identical(plain, make().fit(X, np.random.default_rng(0).permutation(y)))
    assert_identical(plain, make().fit(X, ["no label at all"]))


def test_same_seed_repeats_bit_for_bit_and_another_does_not(data):
    X, _ = data
    assert_identical(make().fit(X), make().fit(X))
    assert not np.array_equal(make().fit(X).embedding_, make(random_state=1).fit(X).embedding_)


def _fit_with_one_thread(X):
    torch.set_num_threads(1)
    return results(make().fit(X))


def test_loky_workers_repeat_bit_for_bit(data):
    X, _ = data
    threads = torch.get_num_threads()
    try:
        here = _fit_with_one_thread(X)
    finally:
        torch.set_num_threads(threads)
    there = Parallel(n_jobs=2, backend="loky")(delayed(_fit_with_one_thread)(X) for _ in range(2))
    for found in there:
        for one, other in zip(here, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_random_state_instance_is_drawn_from(data):
    X, _ = data
    rng = np.random.RandomState(0)
    first, second = make(random_state=rng).fit(X), make(random_state=rng).fit(X)
    assert not np.array_equal(first.embedding_, second.embedding_)


@pytest.mark.parametrize("n_samples", [60, 200])
def test_labels_and_embedding_are_those_of_predict_and_transform(n_samples):
    X, _ = make_sequences(n_samples, 3, missing=True)
    fitted = make().fit(X)
    np.testing.assert_array_equal(fitted.labels_, fitted.predict(X))
    np.testing.assert_array_equal(fitted.embedding_, fitted.transform(X))
    np.testing.assert_array_equal(make().fit_transform(X), fitted.embedding_)
    np.testing.assert_array_equal(make().fit_predict(X), fitted.labels_)


def test_random_selection_repeats_with_the_seed(data):
    X, _ = data
    assert_identical(make(selector="random").fit(X), make(selector="random").fit(X))


# what a fitted estimator has


def test_attributes_have_the_documented_shapes(data):
    X, _ = data
    fitted = make().fit(X)
    assert fitted.labels_.shape == (60,) and fitted.labels_.dtype == np.int32
    assert fitted.cluster_centers_.shape == (3, 128)
    assert fitted.embedding_.shape == (60, 128) and fitted.embedding_.dtype == np.float32
    assert fitted.high_quality_mask_.shape == (60,) and fitted.high_quality_mask_.dtype == bool
    assert fitted.n_iter_ == 2 and len(fitted.history_) == 1 + 1 + 3
    assert fitted.n_features_in_ == 3
    assert list(fitted.feature_names_in_) == ["text", "audio", "video"]
    assert fitted.anchor_ == "text"
    np.testing.assert_allclose(np.linalg.norm(fitted.embedding_, axis=1), 1, atol=1e-5)
    assert list(fitted.get_feature_names_out()[:2]) == ["umcclusterer0", "umcclusterer1"]


def test_modality_weights_are_zero_where_missing_and_sum_to_one(data):
    X, _ = data
    weights = make().fit(X).modality_weights(X)
    assert weights.shape == (60, 3) and (weights[~X.present] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


def test_score_is_the_silhouette_of_the_prediction(data):
    from sklearn.metrics import silhouette_score

    X, y = data
    fitted = make().fit(X)
    expected = silhouette_score(fitted.transform(X[:30]), fitted.predict(X[:30]))
    assert fitted.score(X[:30], y) == pytest.approx(expected)
    assert make(1).fit(X).score(X) == 0.0


def test_finds_planted_groups(data):
    X, y = data
    labels = make(max_epochs=5).fit_predict(X)
    assert all(len(set(labels[y == k])) == 1 for k in range(3)) and len(set(labels)) == 3


def test_low_dimensional_groups_that_differ_in_length_only_are_told_apart():
    X, y = make_blobs(150, centers=[[0.0], [5.0], [10.0]], cluster_std=0.5, random_state=0)
    labels = make(max_epochs=3).fit_predict(X)
    assert len({(a, b) for a, b in zip(labels, y, strict=True)}) == 3


def test_one_cluster_and_as_many_clusters_as_samples():
    X, _ = make_sequences(9)
    assert set(make(1).fit_predict(X)) == {0}
    assert set(make(9).fit_predict(X)) == set(range(9))


# parts


def test_parts_by_name_instance_and_nested_parameter(data):
    X, _ = data
    by_name = make(threshold="constant").fit(X)
    by_instance = make(threshold=ConstantThreshold()).fit(X)
    assert_identical(by_name, by_instance)
    nested = make().set_params(threshold__max_threshold=0.1, losses__supcon__temperature=0.5)
    assert nested.threshold.max_threshold == 0.1
    assert nested.losses.supcon.temperature == 0.5
    assert max(nested.fit(X).history_.phase("main")[:, "threshold"]) <= 0.1
    assert nested.losses_.supcon.temperature == 0.5


def test_fit_copies_parts_and_leaves_parameters_untouched(data):
    X, _ = data
    parts = {
        "threshold": LinearThreshold(),
        "losses": WeightedLosses(supcon=SupConLoss(1.0)),
        "encoder": ProjectionEncoder(hidden_width=8),
        "kmeans": KMeans(n_init=2),
    }
    clusterer = make(**parts)
    before = {name: repr(part) for name, part in parts.items()}
    clusterer.fit(X)
    for name, part in parts.items():
        assert getattr(clusterer, name) is part and repr(part) == before[name]
        assert getattr(clusterer, f"{name}_", None) is not part
    assert clusterer.embedding_.shape == (60, 8)
    assert clone(clusterer).get_params()["encoder__hidden_width"] == 8


def test_kmeans_part_may_be_another_that_starts_from_centers():
    X, y = make_sequences(60, 3)
    labels = make(kmeans=MiniBatchKMeans(n_init=3, random_state=0)).fit_predict(X)
    assert len({(a, b) for a, b in zip(labels, y, strict=True)}) == 3


@pytest.mark.parametrize("role", ["supcon", "contrastive", "compactness", "separation"])
def test_weight_zero_gives_other_weights(role):
    # groups that overlap, and many of them, so that no hinge is at rest
    rng = np.random.default_rng(0)
    X = MultimodalData({"text": rng.normal(size=(60, 8)), "audio": rng.normal(size=(60, 4))})

    def final_weights(losses):
        fitted = make(
            n_clusters=8, losses=losses, threshold="constant", monitor=Rising(), max_epochs=3
        ).fit(X)
        assert fitted.history_[-1]["restored"]
        return torch.cat([p.detach().flatten() for p in fitted.encoder_.parameters()])

    assert not torch.equal(final_weights(None), final_weights({role: 0.0}))


@pytest.mark.parametrize("neighbors", ["graph", "none"])
@pytest.mark.parametrize("pairs", PART_CHOICES["pairs"])
@pytest.mark.parametrize("names", [["text"], ["text", "audio"], ["text", "audio", "video"]])
def test_all_pairs_train_any_number_of_modalities(data, pairs, neighbors, names):
    X, _ = data
    X = X[X.present[:, 0]].select(names)
    if (pairs, neighbors) == ("neighbors", "none"):
        pytest.skip("these pairs need the graph")
    settings = {"pairs": pairs, "neighbors": neighbors, "pseudo_labels": "selected"}
    settings["monitor"] = "silhouette"
    fitted = make(**settings, callbacks=[GradientNorms()]).fit(X)
    assert fitted.history_.phase("main")[0, "gradient_contrastive"] > 0


@pytest.mark.parametrize(
    "parameters",
    [
        {"optimization__optimizer": "sgd"},
        {"optimization__optimizer": "adam"},
        {"optimization__schedule": "cosine"},
        {"optimization__optimizer": torch.optim.RAdam},
        {"optimization__grad_clip": 0.01},
        {"optimization__accumulate_steps": 3, "batch_size": 7},
        {"precision": "bfloat16"},
        {"optimization__weight_decay": 0.5},
    ],
    ids=str,
)
def test_training_options_change_the_result(data, parameters):
    X, _ = data
    fitted = make(monitor=Rising(), **parameters).fit(X)
    assert np.isfinite(fitted.embedding_).all()
    assert not np.array_equal(fitted.embedding_, make(monitor=Rising()).fit(X).embedding_)


@pytest.mark.parametrize("text", [None, "folder", TextModel("folder", max_length=9)])
def test_nested_parameters_of_text_put_a_specification_in_place(text):
    clusterer = UMCClusterer(text=text).set_params(text__layer=3, text__learning_rate=1e-4)
    expected = {"layer": 3, "learning_rate": 1e-4, "n_trainable_layers": 0, "memory": None}
    expected |= {"name": None if text is None else "folder"}
    expected |= {"max_length": 9 if isinstance(text, TextModel) else None}
    assert clusterer.text.get_params() == expected


NESTED = {
    "neighbors__n_partners": 3,
    "pseudo_labels__min_confidence": 0.7,
    "optimization__weight_decay": 0.1,
    "losses__supcon__temperature": 0.5,
    "threshold__max_threshold": 0.4,
    "encoder__hidden_width": 16,
}


@pytest.mark.parametrize("name", NESTED)
def test_nested_parameters_of_parts_are_within_reach_of_a_search(data, name):
    X, _ = data
    search = GridSearchCV(make(), {name: [NESTED[name]]}, cv=2, error_score="raise").fit(X)
    assert search.best_estimator_.get_params()[name] == NESTED[name]
    assert make().get_params()[name.split("__")[0]] is None


def test_max_epochs_zero_clusters_the_pretrained_embedding(data):
    X, _ = data
    fitted = make(max_epochs=0).fit(X)
    assert fitted.n_iter_ == 0 and fitted.history_[:, "phase"] == ["start", "pretrain", "main"]
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)


def test_other_anchor_keeps_its_modality_in_every_view():
    X, _ = make_sequences()
    fitted = make(2, anchor="video", **WITHOUT_NEIGHBORS).fit(X)
    assert fitted.anchor_ == "video"
    first = make(2, **WITHOUT_NEIGHBORS).fit(X)
    assert not np.array_equal(fitted.embedding_, first.embedding_)


# what surrounds an estimator


def test_pickle_and_clone(data):
    X, _ = data
    fitted = make().fit(X)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(X), fitted.embedding_)
    with pytest.raises(Exception, match="not fitted"):
        clone(fitted).predict(X)


def test_predict_in_threads_equals_predict(data):
    X, _ = data
    fitted = make().fit(X)
    found = [None] * 4

    def work(i):
        found[i] = fitted.predict(X)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for labels in found:
        np.testing.assert_array_equal(labels, fitted.labels_)


def test_read_only_input_stays_as_it_is():
    X = np.random.default_rng(0).normal(size=(30, 6))
    X.setflags(write=False)
    before = X.copy()
    make(2, modalities={"a": range(3), "b": range(3, 6)}).fit(X).predict(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("seed", range(8))
def test_duplicates_and_one_sample_clusters_are_clustered(seed):
    X = np.vstack([np.zeros((10, 4)), np.ones((10, 4)), [[9.0, 9, 9, 9]]])
    labels = make(3, max_epochs=3, random_state=seed).fit_predict(X)
    assert len(set(labels[:10])) == len(set(labels[10:20])) == len(set(labels[20:])) == 1
    assert len(set(labels)) == 3


def test_a_third_of_every_modality_missing():
    X, _ = make_multimodal_blobs(90, 3, missing=0.3, random_state=0)
    assert (np.abs(X.present.mean(axis=0) - 0.7) < 0.15).all()
    assert X.present.any(axis=1).all()
    train, test = X[:60], X[60:]
    clusterer = UMCClusterer(3, pretrain_epochs=1, max_epochs=3, random_state=0).fit(train)
    for part in (train, test):
        gates, embedding = clusterer.modality_weights(part), clusterer.transform(part)
        assert np.isfinite(embedding).all()
        np.testing.assert_array_equal(gates == 0, ~part.present)
        np.testing.assert_allclose(gates.sum(axis=1), 1, atol=1e-6)
        assert set(clusterer.predict(part)) <= {0, 1, 2}


def mean_gates(useless, seed, clusterer):
    """Names of the modalities, and the mean gate of each over the samples."""
    X, _ = make_multimodal_blobs(300, 4, lengths=(1, 5), uninformative=useless, random_state=seed)
    fitted = clone(clusterer).set_params(random_state=seed).fit(X)
    return X.names, fitted.modality_weights(X).mean(axis=0)


@pytest.mark.filterwarnings("ignore:The anchor modality")
@pytest.mark.slow
@pytest.mark.parametrize(
    "clusterer",
    [
        UMCClusterer(4),
        UMCClusterer(
            4,
            encoder=UMCEncoder(anchor_summary="enhanced"),
            losses=WeightedLosses(
                infonce=InfoNCELoss(0.2), contrastive=ContrastiveLoss(1.0), supcon=SupConLoss(1.4)
            ),
            **WITHOUT_NEIGHBORS | {"pairs": "disjoint"},
            pretrain_epochs=20,
            max_epochs=5,
            learning_rate=3e-4,
            pretrain_learning_rate=3e-4,
            optimization=Optimization("adam", weight_decay=0.01, schedule="cosine"),
        ),
    ],
    ids=["defaults", "attention, disjoint views"],
)
@pytest.mark.parametrize("useless", [None, "text", "audio", "video"])
def test_a_useless_modality_has_the_lowest_gate(useless, clusterer):
    """By what modalities agree on, or by views that share none, so that useful ones match them."""
    for seed in range(5):
        names, gates = mean_gates(useless, seed, clusterer)
        if useless is None:
            assert gates.min() > 0.5 / 3, (seed, gates)
        else:
            assert names[gates.argmin()] == useless, (seed, gates)
