"""Frames of recordings and videos, compared with each clip alone in the model."""

from __future__ import annotations

import pickle
import random
import sys
from math import ceil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from media import (
    RATE,
    SPEECH_KINDS,
    development_data,
    make_image_model,
    make_speech_model,
    make_videos,
    make_waveforms,
    plain_speech_frames,
    save_image_model,
    save_speech_model,
    write_video,
    write_wav,
)
from skumc import UMCClusterer
from skumc._console import ExtractionProgress
from skumc.feature_extraction import SwinFeatures, WavLMFeatures, _speech_models, _wavlm
from skumc.feature_extraction._audio_input import resample, to_mono
from skumc.feature_extraction._clips import Clip
from skumc.feature_extraction._video_input import FrameClock

SOON = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory):
    return save_speech_model(tmp_path_factory.mktemp("speech"), "WavLM group")


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    pytest.importorskip("PIL")
    return save_image_model(tmp_path_factory.mktemp("images"))


def count_batches(monkeypatch):
    """Record the sizes of further batches of a speech model."""
    sizes, plain = [], _wavlm.encode_waveforms

    def counted(model, extractor, geometry, waves, layer):
        sizes.append(len(waves))
        return plain(model, extractor, geometry, waves, layer)

    monkeypatch.setattr(_wavlm, "encode_waveforms", counted)
    return sizes


@pytest.mark.parametrize("kind", SPEECH_KINDS)
@pytest.mark.parametrize("layer", [None, 1])
def test_frames_equal_those_of_the_recording_alone(kind, layer, monkeypatch):
    model, waves = make_speech_model(kind), make_waveforms()
    features = WavLMFeatures(model, sampling_rate=RATE, layer=layer, batch_seconds=0.3)
    sizes = count_batches(monkeypatch)
    found = features.fit_transform(waves).sequences("audio")
    for frames, wave in zip(found, waves, strict=True):
        expected = plain_speech_frames(model, wave, layer=layer)
        assert_allclose(frames, expected, atol=1e-5)
    # 0.3 s are 4800 samples; without padding a batch has one length
    if features._geometry.paddable:
        assert sizes == [2, 3, 3]
    else:
        assert sorted(sizes) == [1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("do_normalize", [True, False])
def test_folder_determines_rate_and_normalization(tmp_path, do_normalize):
    folder = save_speech_model(tmp_path, "Wav2Vec2 group", do_normalize=do_normalize, rate=8000)
    model, waves = make_speech_model("Wav2Vec2 group"), make_waveforms()
    features = WavLMFeatures(str(folder), sampling_rate=8000).fit(waves)
    assert (features.sampling_rate_, features.hop_, features.width_) == (8000, 0.01, 16)
    for frames, wave in zip(features.transform(waves).sequences("audio"), waves, strict=True):
        expected = plain_speech_frames(model, wave, do_normalize=do_normalize)
        assert_allclose(frames, expected, atol=1e-5)


def test_models_without_preprocessor_get_the_documented_default(tmp_path):
    model, (wave, *_) = make_speech_model(), make_waveforms()
    model.save_pretrained(tmp_path)
    expected = plain_speech_frames(model, wave)
    for source in (tmp_path, model):
        features = WavLMFeatures(source, sampling_rate=RATE)
        assert_allclose(features.fit_transform([wave])[0]["audio"], expected, atol=1e-5)
        assert features.sampling_rate_ == RATE


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


@given(
    sizes=st.lists(st.integers(1, 9), max_size=12),
    budget=st.integers(1, 30),
    paddable=st.booleans(),
    shuffle=st.randoms(use_true_random=False),
)
def test_batches_hold_each_clip_once_within_the_budget(sizes, budget, paddable, shuffle):
    clips = [Clip(f"{i:02}", size, None) for i, size in enumerate(sizes)]
    batches = _wavlm._batches_of_similar_length(clips, budget, paddable)
    assert sorted(clip.key for batch in batches for clip in batch) == [c.key for c in clips]
    for batch in batches:
        longest = max(clip.size for clip in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert paddable or len({clip.size for clip in batch}) == 1
    shuffle.shuffle(clips)
    assert _wavlm._batches_of_similar_length(clips, budget, paddable) == batches


@given(
    st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]),
    st.sampled_from([8000, 16000]),
    st.integers(1, 4000),
)
def test_resampling_keeps_duration_and_rounds_up(rate, new_rate, n_samples):
    wave = np.zeros(n_samples, np.float32)
    assert len(resample(wave, rate, new_rate)) == ceil(n_samples * new_rate / rate)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_resampling_keeps_frequency_and_amplitude(rate):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    found = resample(tone, rate, RATE)
    assert found.dtype == np.float32
    assert_allclose(found[800:-800], expected[800:-800], atol=5e-3)
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum.argmax() == 440  # one second, so that bins are Hz
    too_high = np.sin(2 * np.pi * 3900 * np.arange(rate) / rate)  # below the Nyquist rate of all
    folded = resample(too_high.astype(np.float32), rate, 4000)
    assert np.abs(folded[400:-400]).max() < 0.02


def test_samples_of_every_type_become_the_same_waveform():
    pcm = np.array([0, 16384, -32768, 8192], np.int16)
    expected = np.array([0, 0.5, -1, 0.25], np.float32)
    for samples in (
        pcm, pcm.astype(">i2"), pcm.astype(np.int32) * 2**16, expected, expected.astype(float),
        list(expected), (pcm // 256 + 128).astype(np.uint8), (pcm // 256).astype(np.int8),
        np.stack([pcm, pcm], axis=1), np.stack([2 * expected, 0 * expected], axis=1),
        torch.tensor(expected),
    ):  # fmt: skip
        assert_array_equal(to_mono(samples), expected)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.array([0.1, np.nan, 0.2]), "1 of 3 samples are NaN or infinite"),
        (np.array([0.1, np.inf]), "1 of 2 samples are NaN or infinite"),
        (np.zeros((2, 8000)), r"got an array of shape \(2, 8000\), expected .*transpose"),
        (np.zeros((2, 3, 4)), r"got an array of shape \(2, 3, 4\)"),
        (np.array([1, 2]), "got an array of type int64, expected floats"),
        (np.array([30000.0, 1.0]), "float samples reach 30000"),
    ],
)
def test_invalid_arrays_are_errors_with_their_row_or_missing(samples, message, speech_folder):
    X = [make_waveforms()[0], samples]
    features = WavLMFeatures(speech_folder, sampling_rate=RATE)
    with pytest.raises(ValueError, match=rf"1 of 2 clips could not be read \(row 1: {message}"):
        features.fit_transform(X)
    features.set_params(on_error="missing").fit(X)
    with pytest.warns(UserWarning, match=f"row 1: {message}.*count as missing in 'audio'"):
        assert features.transform(X).lengths[:, 0].tolist() == [12, 0]
    assert list(features.errors_) == [1]


def test_invalid_cells_are_errors_regardless_of_on_error(speech_folder):
    features = WavLMFeatures(speech_folder, on_error="missing").fit([])
    wave = make_waveforms()[0]
    for X, message in [
        ([None, wave], r"Row 1: got an array of samples without its rate. Pass sampling_rate="),
        ([wave[0]], "Row 0: got float32, expected an array of samples"),
        ([(wave, -1)], "Row 0: got sampling rate -1, expected a whole number"),
        ([(wave, 0.5)], "Row 0: got sampling rate 0.5"),
        ([], "Found 0 samples in X"),
        ("a.wav", "Got X of type str, expected a list"),
        (pd.DataFrame({"a": [None]}), "Got a DataFrame with the columns"),
    ]:
        with pytest.raises(ValueError, match=message):
            features.transform(X)
    with pytest.raises(TypeError, match="'memory' parameter of WavLMFeatures must be .* Got 3"):
        WavLMFeatures(speech_folder, memory=3).fit([])
    with pytest.raises(NotFittedError):
        WavLMFeatures(speech_folder).transform([wave])


def test_files_equal_arrays_and_errors_name_unreadable_files(speech_folder, tmp_path):
    pytest.importorskip("soundfile")
    rng = np.random.default_rng(0)
    pcm = rng.integers(-9000, 9000, (1500, 2)).astype(np.int16)
    good = write_wav(tmp_path / "good.wav", pcm, 8000)
    empty = write_wav(tmp_path / "empty.wav", pcm[:0], 8000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF nonsense")
    X = pd.Series(
        [str(good), tmp_path / "bad.wav", empty, tmp_path / "none.wav", " ", good],
        index=list("abcdef"),
    )
    features = WavLMFeatures(speech_folder, on_error="missing").fit(X)
    with pytest.warns(
        UserWarning, match=r"2 of 6 clips could not be read \(row 1: .*bad.wav.*; ro"
    ):
        data = features.transform(X)
    n_frames = _speech_models.FrameGeometry(make_speech_model().config, None).n_frames(3000)
    assert data.lengths[:, 0].tolist() == [n_frames, 0, 0, 0, 0, n_frames]
    assert data.index.tolist() == list("abcdef")
    assert sorted(features.errors_) == [1, 3]
    from_array = features.transform([(pcm, 8000)])
    assert features.errors_ == {}
    assert_allclose(data[0]["audio"], from_array[0]["audio"], atol=1e-5)
    with pytest.raises(
        ValueError, match="2 of 6 clips .*Repair or drop these rows, or pass on_error"
    ):
        features.set_params(on_error="raise").transform(X)


def test_decoding_error_keeps_the_other_frames(speech_folder, tmp_path, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    wave = make_waveforms()[0]
    paths = [write_wav(tmp_path / f"{i}.wav", wave / (i + 1), RATE) for i in range(3)]
    plain = soundfile.SoundFile

    def broken(path):
        if path == str(paths[1]):
            raise RuntimeError("torn")
        return plain(path)

    monkeypatch.setattr(soundfile, "SoundFile", broken)
    features = WavLMFeatures(speech_folder, memory=tmp_path / "memory").fit(paths)
    sizes = count_batches(monkeypatch)
    with pytest.raises(ValueError, match=r"1 of 4 clips .*row 1: .*1.wav': torn"):
        features.transform([*paths, paths[0]])
    features.set_params(on_error="missing")
    with pytest.warns(UserWarning, match=r"row 1: .*torn"):
        lengths = features.transform([*paths, paths[1]]).lengths[:, 0]
    assert lengths.tolist() == [12, 0, 12, 0]
    assert list(features.errors_) == [1, 3]
    assert sizes == [2]  # the frames of the others were stored


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


def test_max_seconds_reads_the_beginning(speech_folder, tmp_path):
    waves = make_waveforms([3000, 1600])
    features = WavLMFeatures(speech_folder, sampling_rate=RATE, max_seconds=0.1)
    expected = features.fit_transform([waves[0][:1600], waves[1]])
    assert_array_equal(
        features.transform(waves).packed("audio").values, expected.packed("audio").values
    )
    pytest.importorskip("soundfile")
    path = write_wav(tmp_path / "a.wav", waves[0], RATE)
    assert_allclose(features.transform([path])[0]["audio"], expected[0]["audio"], atol=0.02)


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


def plain_vectors(model, videos, mean, deviation, pooled):
    """Encode images of the model's own size one at a time."""
    vectors = []
    for video in videos:
        rows = []
        for image in video:
            pixels = (image / 255 - np.asarray(mean)) / np.asarray(deviation)
            values = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
            with torch.no_grad():
                rows.append(pooled(getattr(model, "vision_model", model)(values))[0].numpy())
        vectors.append(np.stack(rows))
    return vectors


@pytest.mark.parametrize("kind", ["Swin", "ViT", "ConvNext", "ResNet", "CLIP"])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_vector_equals_the_pooled_output_of_the_image_alone(kind, batch_size):
    model, videos = make_image_model(kind), make_videos(shape=(32, 32))
    pair = (model, None)
    if kind == "ResNet":  # its configuration has no size
        model.config.image_size = 32
    expected = plain_vectors(
        model,
        videos,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        lambda output: output.pooler_output.flatten(1),
    )
    features = SwinFeatures(pair, batch_size=batch_size)
    for found, vectors in zip(
        features.fit_transform(videos).sequences("video"), expected, strict=True
    ):
        assert_allclose(found, vectors, atol=1e-5)


def test_image_processor_of_the_folder_is_used(image_folder):
    videos = make_videos(shape=(32, 32))
    model = make_image_model()
    expected = plain_vectors(
        model, videos, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7), lambda output: output.pooler_output
    )
    found = SwinFeatures(image_folder).fit_transform(videos).sequences("video")
    for frames, vectors in zip(found, expected, strict=True):
        assert_allclose(frames, vectors, atol=1e-5)


def test_mean_over_positions_replaces_a_pooler_without_weights(tmp_path):
    import transformers

    plain = make_image_model("ViT")
    classifier = transformers.ViTForImageClassification(plain.config)
    classifier.vit.load_state_dict(plain.state_dict(), strict=False)
    classifier.save_pretrained(tmp_path)
    videos = make_videos(shape=(32, 32))
    expected = plain_vectors(
        plain,
        videos,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        lambda output: output.last_hidden_state.mean(1),
    )
    found = SwinFeatures(tmp_path).fit_transform(videos).sequences("video")
    for frames, vectors in zip(found, expected, strict=True):
        assert_allclose(frames, vectors, atol=1e-5)


def test_float_images_and_lower_frame_rates(image_folder):
    (video,) = make_videos([12])
    features = SwinFeatures(image_folder, frame_rate=4)
    X = [video, video / 255, (video, 12), (video, 4), (video, 2), video[::3], video[:0], None]
    data = features.fit_transform(X)
    assert data.lengths[:, 0].tolist() == [12, 12, 4, 12, 12, 4, 0, 0]
    frames = data.sequences("video")
    assert_array_equal(frames[0], frames[1])
    assert_allclose(frames[2], frames[0][::3], atol=1e-6)
    assert_array_equal(frames[2], frames[5])
    assert features.hop_ == 0.25
    features.set_params(frame_rate=None, max_frames=5).fit(X)
    assert features.transform([(video, 12)]).lengths.tolist() == [[5]]
    assert features.hop_ is None


@given(
    rate=st.sampled_from([5, 10, 23.976, 25, 30, 50, 60]),
    wanted=st.sampled_from([1, 2, 5, 10, 25, 30]),
    start=st.sampled_from([0.0, 1.4]),
    n_frames=st.integers(1, 200),
)
def test_clock_takes_the_first_frame_of_each_tick(rate, wanted, start, n_frames):
    times = [round(start + i / rate, 3) for i in range(n_frames)]  # as Matroska stores them
    clock = FrameClock(wanted)
    taken = [i for i, time in enumerate(times) if clock.is_due(time)]
    assert taken[0] == 0
    if wanted >= rate:
        assert taken == list(range(n_frames))
        return
    shown = [times[i] - start for i in taken]
    expected = np.arange(len(shown)) / wanted
    # at most the rounding early, at most one frame late
    assert np.all(shown >= expected - 0.1 / wanted - 1e-3)
    assert np.all(shown <= expected + 1 / rate + 1e-3)
    assert len(taken) == pytest.approx((n_frames - 1) / rate * wanted + 1, abs=1.01)


def test_clock_does_not_catch_up_after_a_gap():
    clock = FrameClock(1)
    taken = [clock.is_due(time) for time in (0, 3.0, 3.2, 3.4, 4.0)]
    assert taken == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (np.zeros((2, 8, 8), np.uint8), r"got an array of shape \(2, 8, 8\) and type uint8"),
        (np.zeros((2, 8, 8, 3), np.int16), r"type int16, expected \(n_frames, height, width, 3\)"),
        (np.full((2, 8, 8, 3), 200.0), r"float images lie in \[200, 200\]"),
        (np.array([[[[0.5, np.nan, 0.1]]]]), "float images lie in"),
    ],
)
def test_errors_for_invalid_videos_name_the_row(video, message, image_folder):
    with pytest.raises(ValueError, match=f"row 1: .*{message}"):
        SwinFeatures(image_folder).fit_transform([None, video])
    with pytest.raises(ValueError, match="Row 0: got int, expected an array"):
        SwinFeatures(image_folder).fit_transform([3])


def test_video_files(image_folder, tmp_path):
    pytest.importorskip("av")
    (video,) = make_videos([20])
    good = write_video(tmp_path / "good.mkv", video, 10)
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(b"\x1aE\xdf\xa3 nonsense")
    sound = write_wav(tmp_path / "sound.wav", make_waveforms()[0], RATE)
    X = [good, torn, str(sound), (video, 10), "", tmp_path / "none.mkv"]
    features = SwinFeatures(image_folder, on_error="missing", batch_size=3).fit(X)
    with pytest.warns(UserWarning, match="3 of 6 clips could not be read") as caught:
        data = features.transform(X)
    assert len(caught) == 1
    assert sorted(features.errors_) == [1, 2, 5]
    assert "holds no video" in features.errors_[2]
    assert data.lengths[:, 0].tolist() == [10, 0, 0, 10, 0, 0]
    assert_allclose(data[0]["video"], data[3]["video"], atol=1e-5)
    with pytest.raises(ValueError, match="row 1: .*torn.mkv"):
        features.set_params(on_error="raise").transform(X[:2])


def test_from_recordings_at_8_khz_to_clusters(speech_folder):
    pytest.importorskip("soundfile")
    paths = sorted(development_data("spoken_intents/recordings").glob("*.wav"))[:24]
    assert paths, "the folder has no recordings"
    pipeline = make_pipeline(WavLMFeatures(speech_folder), UMCClusterer(3, **SOON))
    labels = pipeline.fit_predict([*paths, paths[0]])
    assert set(labels) <= {0, 1, 2}
    assert labels[-1] == labels[0]
    features = pipeline[0]
    (frames,) = features.transform(paths[:1]).sequences("audio")
    import soundfile

    wave, rate = soundfile.read(paths[0], dtype="float32")
    assert rate == 8000
    assert abs(len(frames) * features.hop_ - len(wave) / rate) < 3 * features.hop_
    expected = plain_speech_frames(make_speech_model("WavLM group"), resample(wave, rate, RATE))
    assert_allclose(frames, expected, atol=1e-5)
    assert_array_equal(pipeline.predict(paths), labels[:-1])
