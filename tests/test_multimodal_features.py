"""Combining raw text, audio and video: from raw rows to clusters."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from media import (
    RATE,
    assert_same_bits,
    make_videos,
    make_waveforms,
    save_image_model,
    save_speech_model,
)
from skumc import MultimodalData, UMCClusterer
from skumc.feature_extraction import (
    MultimodalFeatures,
    PooledFeatures,
    SwinFeatures,
    TransformerTextFeatures,
    WavLMFeatures,
)
from skumc.text import TextModel

SOON = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory):
    return save_speech_model(tmp_path_factory.mktemp("speech"), "WavLM group")


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    pytest.importorskip("PIL")
    return save_image_model(tmp_path_factory.mktemp("images"))


def make_frame(n_samples=16, index=True):
    rng = np.random.default_rng(0)
    words = np.array(["good morning", "never mind", "thanks a lot", "who is it"])
    waves, videos = (
        make_waveforms([900 + 60 * i for i in range(n_samples)]),
        make_videos([2] * n_samples),
    )
    frame = pd.DataFrame(
        {
            "text": words[rng.integers(0, 4, n_samples)],
            "wav": pd.Series(waves, dtype=object),
            "video": pd.Series(videos, dtype=object),
            "unused": 1.0,
        }
    )
    frame["text"] = frame["text"].astype(object)
    if index:
        frame.index = [f"row {i}" for i in range(n_samples)]
    return frame


def make_features(speech_folder, image_folder, **changes):
    parts = {
        "text": make_pipeline(HashingVectorizer(n_features=32), TruncatedSVD(3, random_state=0)),
        "audio": WavLMFeatures(speech_folder, sampling_rate=RATE),
        "video": SwinFeatures(image_folder),
        "columns": {"audio": "wav"},
    }
    return MultimodalFeatures(**(parts | changes))


def test_from_raw_rows_to_clusters(speech_folder, image_folder, tmp_path):
    frame = make_frame()
    frame.loc["row 1", "text"] = ""
    frame.loc["row 2", ["text", "wav"]] = np.nan
    frame.at["row 3", "wav"] = np.zeros(0, np.float32)
    frame.at["row 4", "video"] = None
    frame.at["row 5", "wav"] = np.full(300, np.nan)
    pipeline = make_pipeline(
        make_features(speech_folder, image_folder), UMCClusterer(3, **SOON)
    ).set_params(
        multimodalfeatures__audio__memory=tmp_path,
        multimodalfeatures__video__memory=str(tmp_path),
    )
    labels = pipeline.fit_predict(frame)
    assert labels.shape == (16,)
    assert_array_equal(pipeline.predict(frame), labels)
    data = pipeline[0].transform(frame)
    assert data.names == ("text", "audio", "video")
    assert data.widths == {"text": 3, "audio": 16, "video": 16}
    assert data.index.tolist() == frame.index.tolist()
    assert (~data.present).sum(axis=0).tolist() == [2, 3, 1]
    assert data.present[:6].tolist() == [
        [True, True, True], [False, True, True], [False, False, True], [True, False, True],
        [True, True, False], [True, False, True],
    ]  # fmt: skip
    records = frame.to_dict("records")
    assert_same_bits(pipeline[0].transform(records), data)
    restored = pickle.loads(pickle.dumps(pipeline))
    assert_array_equal(restored.predict(records[3:9]), labels[3:9])
    lacking = [{"text": "thanks a lot"}, {"video": make_videos()[0]}]
    assert pipeline.predict(lacking).shape == (2,)
    with pytest.raises(ValueError, match="Every modality of .* is missing in row 1"):
        pipeline.predict([records[0], {"unused": 1}])


def make_text_model(n_layers):
    """Make a tiny text model with random weights and a tokenizer of word lengths."""
    import transformers

    tiny = {"hidden_size": 16, "num_attention_heads": 2, "initializer_range": 0.3}
    config = transformers.BertConfig(vocab_size=30, num_hidden_layers=n_layers, **tiny)

    def tokenizer(texts, **settings):
        return {"input_ids": [[1, *map(len, text.split()), 2] for text in texts]}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.BertModel(config), tokenizer


@pytest.mark.parametrize(
    ("n_layers", "asked", "layer"), [(3, "middle", 2), (4, "middle", 2), (3, "auto", 3)]
)
def test_clusterer_reads_the_documented_layer(n_layers, asked, layer):
    pair = make_text_model(n_layers)
    texts = ["never mind", "good morning", "thanks a lot", "who is it", "what", "so long then"]
    settings = SOON | {"max_epochs": 0}
    fitted = UMCClusterer(2, text=TextModel(pair, layer=asked), **settings).fit(texts)
    assert fitted.text_layers_ == {"text": layer}
    embedding, found = fitted.transform(texts), {}
    for number in (layer, 1):
        X = TransformerTextFeatures(pair, layer=number).fit_transform(texts)
        found[number] = UMCClusterer(2, **settings).fit(X).transform(X)
    assert_array_equal(found[layer], embedding)
    assert not np.allclose(found[1], embedding, atol=1e-3)


def test_token_states_combine_with_other_modalities():
    features = MultimodalFeatures(
        text=TransformerTextFeatures(make_text_model(1)), video="passthrough"
    )
    X = [{"text": "never mind", "video": np.ones((2, 3))}, {"text": np.nan}, {"text": "  "}]
    data = features.fit_transform(X)
    assert data.widths == {"text": 16, "video": 3}
    assert data.lengths.tolist() == [[4, 2], [0, 0], [0, 0]]


def test_unreadable_clips_count_as_missing_with_one_warning(speech_folder, image_folder):
    frame = make_frame(6)
    frame.at["row 1", "wav"] = "no/such/file.wav"
    frame.at["row 4", "wav"] = np.array([0.1, np.nan])
    frame.at["row 5", "wav"] = "no path\0"
    features = make_features(speech_folder, image_folder).fit(frame)
    pytest.importorskip("soundfile")
    with pytest.raises(ValueError, match=r"3 of 6 clips .*row 1: 'no/such/file.wav'"):
        features.transform(frame)
    features.set_params(audio__on_error="missing").fit(frame)
    with pytest.warns(UserWarning, match=r"3 of 6 clips could not be read \(row 1: .*; row 4: "):
        data = features.transform(frame)
    assert data.present[:, 1].tolist() == [True, False, True, True, False, False]
    assert list(features.audio_.errors_) == [1, 4, 5]
    assert not hasattr(features.audio, "errors_")  # the caller's object is not modified


def test_parts_are_cloned_and_nested_parameters_reach_them(speech_folder):
    audio = WavLMFeatures(speech_folder, sampling_rate=RATE)
    features = MultimodalFeatures(audio=audio, columns={"audio": "wav"})
    assert features.get_params()["audio__layer"] is None
    features.set_params(audio__layer=1).fit(make_frame(3))
    assert audio.layer == 1
    assert features.audio_ is not audio
    assert (features.text_, features.video_, features.columns_) == (None, None, {"audio": "wav"})
    assert not hasattr(audio, "hop_")
    assert clone(features).get_params()["audio__layer"] == 1


def test_pipeline_output_table_keeps_the_index(speech_folder, image_folder):
    frame = make_frame(6)
    pipeline = make_pipeline(make_features(speech_folder, image_folder), UMCClusterer(2, **SOON))
    table = pipeline.set_output(transform="pandas").fit(frame).transform(frame)
    assert isinstance(table, pd.DataFrame)
    assert table.index.tolist() == frame.index.tolist()
    steps = (WavLMFeatures(speech_folder), SwinFeatures(image_folder), TransformerTextFeatures())
    for step in steps:
        assert step.set_output(transform="pandas") is step
        assert not step.__sklearn_tags__().input_tags.two_d_array


def test_passthrough_keeps_cells():
    frames = [np.ones((2, 3)), None, np.zeros((1, 3))]
    frame = pd.DataFrame({"text": ["good", "", None], "audio": pd.Series(frames, dtype=object)})
    data = MultimodalFeatures(text="passthrough", audio="passthrough").fit_transform(frame)
    assert data.sequences("text") == ["good", None, None]
    assert data.widths == {"text": None, "audio": 3}
    assert data.lengths[:, 1].tolist() == [2, 0, 1]


def test_other_transformers_get_only_rows_with_the_modality():
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=3) for _ in range(5)]
    X = [{"video": vectors[0]}, {}, {"video": vectors[2]}, {"video": None}, {"video": vectors[4]}]
    features = MultimodalFeatures(video=StandardScaler()).fit(X)
    found = features.transform(X)
    present = [0, 2, 4]
    expected = StandardScaler().fit_transform([vectors[row] for row in present])
    assert found.lengths[:, 0].tolist() == [1, 0, 1, 0, 1]
    for row, line in zip(present, expected, strict=True):
        assert_allclose(found[row]["video"], [line])
    assert features.transform([{"text": "?"}, {"video": None}]).lengths.tolist() == [[0], [0]]
    lower = FunctionTransformer(lambda cells: [cell.lower() for cell in cells])
    found = MultimodalFeatures(text=lower).fit_transform([{"text": "A"}, {"text": None}])
    assert found.sequences("text") == ["a", None]


@pytest.mark.parametrize(
    ("settings", "X", "message"),
    [
        ({}, [{"text": "a"}], "Got none of text=, audio= and video=, and no other"),
        ({"columns": {"audio": "a"}}, [], "columns with the key='audio', expected one of 'text'"),
        ({}, pd.DataFrame({"txt": ["a"]}), "columns.'text'.='text', expected one of 'txt'. Did yo"),
        ({}, pd.DataFrame({"txt": ["a"]}), "0 columns of that name.* leave text= out"),
        ({}, [{"txt": "a"}], "No row of X has that key"),
        ({}, [{"text": None}], "'text' is missing in every row, so text= cannot be fitted"),
        ({}, [{"text": "a"}, 3], "Got int in row 1, expected a DataFrame or a list with one dict"),
        ({}, {"text": ["a"]}, "Got X of type dict, expected .*pandas.DataFrame"),
        ({}, [], "Found 0 samples"),
        ({}, pd.DataFrame({"text": []}), "Found 0 samples"),
        ({"text": 3}, [], "The 'text' parameter of MultimodalFeatures"),
    ],
)
def test_errors_name_the_problem(settings, X, message):
    hashing = make_pipeline(HashingVectorizer(n_features=8), FunctionTransformer(np.asarray))
    settings = {"text": hashing} | settings if "none of" not in message else settings
    with pytest.raises(ValueError, match=message):
        MultimodalFeatures(**settings).fit(X)


def test_errors_name_a_transformer_with_an_invalid_result():
    X = [{"text": "a"}, {"text": "b"}]
    for returns, message in [
        (
            lambda cells: np.zeros((3, 2)),
            "The transformer text= returned 3 rows for 2 samples",
        ),
        (
            lambda cells: MultimodalData({"a": np.eye(2), "b": np.eye(2)}),
            r"text= returned the modalities \['a', 'b'\], expected one",
        ),
        (lambda cells: np.zeros((2, 1, 1, 1)), "Modality 'text': got an array of shape"),
    ]:
        features = MultimodalFeatures(text=FunctionTransformer(returns)).fit(X)
        with pytest.raises(ValueError, match=message):
            features.transform(X)


def test_features_can_be_pooled_to_a_matrix(speech_folder, image_folder):
    features = make_features(speech_folder, image_folder)
    matrix = make_pipeline(features, PooledFeatures()).fit_transform(make_frame(6, index=False))
    assert matrix.shape == (6, 3 + 16 + 16)
    assert np.isfinite(matrix).all()
