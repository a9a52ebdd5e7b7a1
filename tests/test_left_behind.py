"""What calls leave behind: fitted attributes after a failure, memory, descriptors, files."""

import gc
import os
import tempfile

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from skumc import MultimodalData, UMCClusterer
from skumc.feature_extraction import MultimodalFeatures, PooledFeatures, TransformerTextFeatures
from skumc.text import TextModel
from text_models import pair

SHORT = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}


def make_samples(seed=0):
    rng = np.random.default_rng(seed)
    topic = np.repeat([0, 1, 2], 15)
    return MultimodalData(
        {
            "text": rng.normal(topic[:, None], 0.5, (45, 8)),
            "audio": [rng.normal(t, 0.5, (rng.integers(2, 6), 4)) for t in topic],
        }
    )


# a fit that fails


def failing(error):
    def monitor(embedding, labels):
        raise error

    return monitor


@pytest.mark.parametrize("error", [RuntimeError("full"), MemoryError(), SystemExit()])
def test_a_failed_refit_leaves_the_fitted_state_as_it_was(error):
    X = make_samples()
    clusterer = UMCClusterer(3, **SHORT).fit(X)
    before, attributes = clusterer.predict(X), dict(vars(clusterer))
    clusterer.set_params(monitor=failing(error), n_clusters=2)
    with pytest.raises(type(error)):
        clusterer.fit(make_samples(1).select(["audio"]))
    assert vars(clusterer) | {"monitor": None, "n_clusters": 3} == attributes
    np.testing.assert_array_equal(clusterer.predict(X), before)


def test_after_a_failed_first_fit_nothing_is_fitted():
    X = make_samples()
    clusterer = UMCClusterer(3, monitor=failing(RuntimeError("full")), **SHORT)
    with pytest.raises(RuntimeError, match="full"):
        clusterer.fit(X)
    for call in (clusterer.predict, clusterer.transform, clusterer.modality_weights):
        with pytest.raises(NotFittedError):
            call(X)
    assert not [name for name in vars(clusterer) if name.endswith("_")]


def test_failed_fits_of_transformers_leave_them_as_they_were():
    table = np.arange(12.0).reshape(6, 2)
    pooled = PooledFeatures().fit(table)
    before = pooled.transform(table)
    with pytest.raises(ValueError, match="inf"):
        pooled.fit(np.full((6, 3), np.inf))
    np.testing.assert_array_equal(pooled.transform(table), before)

    records = [{"said": "good morning"}, {"said": "thank you"}]
    text = TransformerTextFeatures(pair())
    features = MultimodalFeatures(text=text, columns={"text": "said"}).fit(records)
    before = features.transform(records)
    with pytest.raises(ValueError, match="said"):
        features.fit([{"written": "good morning"}])
    after = features.transform(records)
    for name in before.names:
        np.testing.assert_array_equal(after.packed(name).values, before.packed(name).values)

    model, tokenizer = pair()
    states = TransformerTextFeatures((model, tokenizer)).fit()
    before = states.transform(["good morning"]).packed("text").values
    with pytest.raises(ValueError, match="layer"):
        states.set_params(layer=99).fit()
    np.testing.assert_array_equal(states.transform(["good morning"]).packed("text").values, before)


# many calls


def tensors():
    gc.collect()
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


KINDS = {
    "default": {},
    "umc": {"encoder": "umc"},
    "causal": {"encoder": "causal"},
    "bfloat16": {"precision": "bfloat16"},
    "text": {"text": "trained"},
}


def make(kind):
    parameters = dict(KINDS[kind])
    X = make_samples()
    if "text" in parameters:
        texts = [f"{('sea ship', 'gear wheel', 'tree leaf')[i // 15]} {i}" for i in range(45)]
        X = MultimodalData({"text": texts, "audio": X.sequences("audio")})
        parameters["text"] = TextModel(pair(), n_trainable_layers=1)
    return UMCClusterer(3, **SHORT, **parameters), X


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_leaves_no_tensor_behind(kind):
    clusterer, X = make(kind)
    counts = []
    for _ in range(4):
        UMCClusterer(**clusterer.get_params(deep=False)).fit(X)
        counts.append(tensors())
    assert counts[-1] <= counts[1]


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def held():
    gc.collect()
    return len(os.listdir("/proc/self/fd")), sorted(os.listdir(tempfile.gettempdir()))


def assert_nothing_more(now, before):
    # Pools of workers that earlier tests left idle may close their pipes meanwhile: fewer is fine.
    assert now[0] <= before[0]
    assert now[1] == before[1]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_many_fits_and_predicts_leave_nothing(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    clusterer, X = make(kind)
    for _ in range(20):
        clusterer.fit(X)
    first, start = held(), resident()
    for _ in range(100 if kind == "default" else 50):
        clusterer.fit(X)
    assert_nothing_more(held(), first)
    assert resident() - start < 30  # MiB; one leaked encoder per fit takes more than 1
    one, labels = X[:1], clusterer.labels_[:1].tolist()
    for _ in range(500):
        clusterer.predict(one)
    start = resident()
    for _ in range(10_000 if kind == "default" else 1_000):
        assert clusterer.predict(one).tolist() == labels
    assert_nothing_more(held(), first)
    assert resident() - start < 10
