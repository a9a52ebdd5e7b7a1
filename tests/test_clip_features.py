"""Behavior that recordings and videos share: loading models, global state, progress, pickling."""

from __future__ import annotations

import pickle
import random
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone

from media import (
    RATE,
    make_image_model,
    make_speech_model,
    make_videos,
    make_waveforms,
    save_image_model,
    save_speech_model,
)
from skumc._console import ExtractionProgress
from skumc.feature_extraction import SwinFeatures, WavLMFeatures, _wavlm


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory):
    return save_speech_model(tmp_path_factory.mktemp("speech"), "WavLM group")


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    pytest.importorskip("PIL")
    return save_image_model(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("feature_class", [WavLMFeatures, SwinFeatures])
def test_missing_model_is_an_error(feature_class, tmp_path):
    for name in ("nobody/no-such-model", str(tmp_path / "nowhere"), tmp_path):
        with pytest.raises(ValueError, match="(?s)Got model=.*download the model first"):
            feature_class(name).fit([])


def test_unsuitable_model_and_layer_are_errors(image_folder, speech_folder):
    with pytest.raises(ValueError, match="type 'swin', expected one that reads waveforms"):
        WavLMFeatures(image_folder).fit([])
    with pytest.raises(ValueError, match=r"Got layer=3, expected None or a number in \[0, 2\]"):
        WavLMFeatures(speech_folder, layer=3).fit([])
    with pytest.raises(ValueError, match=r"Got model=\(PosixPath, NoneType, NoneType\), expected"):
        WavLMFeatures((speech_folder, None, None)).fit([])
    with pytest.raises(ValueError, match="processor object, which has no sampling_rate"):
        WavLMFeatures((speech_folder, object())).fit([])
    with pytest.raises(ValueError, match="expected an image model such as Swin"):
        SwinFeatures(make_speech_model()).fit_transform(make_videos())


@pytest.mark.parametrize("has_head", [False, True])
def test_checkpoint_that_lacks_weights_is_an_error(tmp_path, has_head):
    import transformers

    model = make_speech_model()
    if has_head:
        model = transformers.WavLMForSequenceClassification(model.config)
    weights = {key: value for key, value in model.state_dict().items() if "layers.1" not in key}
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ValueError, match="lacks .* weights of a WavLMModel, such as 'encoder.lay"):
        WavLMFeatures(tmp_path, sampling_rate=RATE).fit_transform(make_waveforms())


def test_error_for_damaged_weights_names_the_model(tmp_path):
    save_speech_model(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"Got model=.* weights could not be loaded .*download"):
        WavLMFeatures(str(tmp_path), sampling_rate=RATE).fit_transform(make_waveforms())


@pytest.mark.parametrize(
    ("feature_class", "package", "extra", "name"),
    [(WavLMFeatures, "soundfile", "audio", "a.wav"), (SwinFeatures, "av", "video", "a.mp4")],
)
def test_error_without_decoder_says_what_to_install(
    feature_class, package, extra, name, speech_folder, image_folder, monkeypatch
):
    folder = speech_folder if extra == "audio" else image_folder
    features = feature_class(folder, on_error="missing").fit([])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs the package {package}.*skumc\[{extra}\]"):
        features.transform([name])
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=rf"needs the package transformers.*skumc\[{extra}\]"):
        feature_class().fit([])


def snapshot():
    return (
        torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate(),
        torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    )  # fmt: skip


@pytest.mark.parametrize("feature_class", [WavLMFeatures, SwinFeatures])
def test_extraction_prints_nothing_and_keeps_global_state(
    feature_class, speech_folder, image_folder, capfd
):
    by_name = speech_folder if feature_class is WavLMFeatures else image_folder
    loaded = make_speech_model() if feature_class is WavLMFeatures else make_image_model()
    loaded.train()
    loaded.encoder.eval()
    modes = [module.training for module in loaded.modules()]
    weights = {key: value.clone() for key, value in loaded.state_dict().items()}
    clips = make_waveforms() if feature_class is WavLMFeatures else make_videos()
    X = [(clip, RATE) for clip in clips]
    for clip in clips:
        clip.flags.writeable = False
    before = snapshot()
    for model in (by_name, loaded):
        feature_class(model).fit_transform(X)
    assert snapshot() == before
    assert [module.training for module in loaded.modules()] == modes
    assert all(torch.equal(weights[key], value) for key, value in loaded.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in loaded.parameters())
    assert not any(module._forward_hooks for module in loaded.modules())
    assert capfd.readouterr() == ("", "")


def test_frames_do_not_depend_on_the_callers_precision(speech_folder, monkeypatch):
    X = [(wave, RATE) for wave in make_waveforms()]
    expected = WavLMFeatures(speech_folder).fit_transform(X).packed("audio").values
    plain, inside = _wavlm.encode_waveforms, []

    def watched(*args):
        inside.append((torch.get_default_dtype(), torch.is_grad_enabled()))
        return plain(*args)

    monkeypatch.setattr(_wavlm, "encode_waveforms", watched)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = WavLMFeatures(speech_folder).fit_transform(X).packed("audio").values
    finally:
        torch.set_default_dtype(torch.float32)
    assert inside == [(torch.float32, False)]
    assert found.dtype == np.float32
    assert_array_equal(found, expected)


def test_verbose_writes_lines(speech_folder, capsys):
    X = [(wave, RATE) for wave in make_waveforms()]
    WavLMFeatures(speech_folder, verbose=1).fit_transform(X)
    assert capsys.readouterr().out == "audio: 8 of 8 clips in 0:00:00\n"
    WavLMFeatures(speech_folder, verbose=2, batch_seconds=0.3).fit_transform(X)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == [
        "audio: 2 of 8 clips", "audio: 5 of 8 clips",
    ]  # fmt: skip
    ExtractionProgress(0, "audio", 1, 1).report(1, 1)
    assert capsys.readouterr().out == ""


def test_clone_and_pickle_keep_the_frames(speech_folder):
    X = [(wave, RATE) for wave in make_waveforms()]
    features = WavLMFeatures(speech_folder)
    expected = features.fit_transform(X).packed("audio").values
    assert clone(features).get_params() == features.get_params()
    content = pickle.dumps(features)
    assert len(content) < 20_000  # without weights
    for model in (features, pickle.loads(content)):
        assert_array_equal(model.transform(X).packed("audio").values, expected)
