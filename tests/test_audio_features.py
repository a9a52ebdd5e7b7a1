"""Frames of recordings, compared with each recording alone in the model."""

from __future__ import annotations

from math import ceil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from media import (
    RATE,
    SPEECH_KINDS,
    development_data,
    make_speech_model,
    make_waveforms,
    plain_speech_frames,
    save_speech_model,
    write_wav,
)
from skumc import UMCClusterer
from skumc.feature_extraction import WavLMFeatures, _speech_models, _wavlm
from skumc.feature_extraction._audio_input import resample, to_mono
from skumc.feature_extraction._clips import Clip

SOON = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory):
    return save_speech_model(tmp_path_factory.mktemp("speech"), "WavLM group")


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
    assert sizes == [2, 3, 3]  # 0.3 s are 4800 samples


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


@given(
    sizes=st.lists(st.integers(1, 9), max_size=12),
    budget=st.integers(1, 30),
    shuffle=st.randoms(use_true_random=False),
)
def test_batches_hold_each_clip_once_within_the_budget(sizes, budget, shuffle):
    clips = [Clip(f"{i:02}", size, None) for i, size in enumerate(sizes)]
    batches = _wavlm._batches_of_similar_length(clips, budget)
    assert sorted(clip.key for batch in batches for clip in batch) == [c.key for c in clips]
    for batch in batches:
        longest = max(clip.size for clip in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
    shuffle.shuffle(clips)
    assert _wavlm._batches_of_similar_length(clips, budget) == batches


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
    monkeypatch.setattr("skumc.feature_extraction._sound_files._by_av", lambda *file: None)
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
