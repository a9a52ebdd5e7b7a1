"""Frames kept in a folder: resumed after an interruption, shared by rows and calls."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose

import skumc
from media import (
    LENGTHS,
    RATE,
    assert_same_bits,
    make_videos,
    make_waveforms,
    save_image_model,
    save_speech_model,
    write_wav,
)
from skumc.feature_extraction import (
    SwinFeatures,
    WavLMFeatures,
    _swin,
    _wavlm,
)

SHORT = {"sampling_rate": RATE, "batch_seconds": 0.13}  # 2080 samples: six batches of LENGTHS
N_BATCHES = 6


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory):
    return save_speech_model(tmp_path_factory.mktemp("speech"), "WavLM group")


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    pytest.importorskip("PIL")
    return save_image_model(tmp_path_factory.mktemp("images"))


def count_calls(monkeypatch, module, name):
    """Record the arguments of further calls of a module's function."""
    calls, plain = [], getattr(module, name)

    def counted(*args, **kwargs):
        calls.append(args)
        return plain(*args, **kwargs)

    monkeypatch.setattr(module, name, counted)
    return calls


_KILLED = """
import sys, time
from pathlib import Path
from media import make_waveforms
from skumc.feature_extraction import WavLMFeatures, _wavlm

model, memory, marker, n_before = sys.argv[1:]
encode_waveforms, n_calls = _wavlm.encode_waveforms, 0

def stall(*args):
    global n_calls
    n_calls += 1
    if n_calls > int(n_before):
        Path(marker).touch()
        time.sleep(600)
    return encode_waveforms(*args)

_wavlm.encode_waveforms = stall
WavLMFeatures(model, sampling_rate=16000, batch_seconds=0.13, memory=memory).fit_transform(
    make_waveforms()
)
"""


def test_killed_extraction_resumes_and_ends_with_the_same_bits(
    speech_folder, tmp_path, monkeypatch
):
    marker, memory, n_before = tmp_path / "stalled", tmp_path / "memory", 4
    paths = [str(Path(skumc.__file__).parents[1]), str(Path(__file__).parent), *sys.path]
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, speech_folder, memory, marker, str(n_before)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    try:
        for _ in range(1200):
            if marker.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        assert marker.exists(), f"the extraction ended early, with {process.poll()}"
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    waves = make_waveforms()
    undisturbed = WavLMFeatures(speech_folder, memory=tmp_path / "other", **SHORT)
    calls = count_calls(monkeypatch, _wavlm, "encode_waveforms")
    expected = undisturbed.fit_transform(waves)
    assert len(calls) == N_BATCHES
    calls.clear()
    resumed = WavLMFeatures(speech_folder, memory=memory, **SHORT).fit_transform(waves)
    assert len(calls) == N_BATCHES - n_before
    assert_same_bits(resumed, expected)
    assert_same_bits(WavLMFeatures(speech_folder, **SHORT).fit_transform(waves), expected)
    assert isinstance(resumed.packed("audio")[0], np.memmap)


def test_interrupted_video_extraction_resumes(image_folder, tmp_path, monkeypatch):
    videos = make_videos()
    expected = SwinFeatures(image_folder).fit_transform(videos)
    features = SwinFeatures(image_folder, memory=tmp_path, batch_size=2).fit(videos)
    plain, n_images = _swin.encode_images, []

    def interrupted(model, processor, images, **how):
        n_images.append(len(images))
        if sum(n_images) == 1 + 3 + 4:  # the probe, the first video, four frames of the second
            raise KeyboardInterrupt
        return plain(model, processor, images, **how)

    monkeypatch.setattr(_swin, "encode_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        features.transform(videos)
    assert n_images == [1, 2, 1, 2, 2]
    monkeypatch.setattr(_swin, "encode_images", plain)
    calls = count_calls(monkeypatch, _swin, "encode_images")
    found = features.transform(videos)
    assert [len(images) for _, _, images in calls] == [2, 2, 1, 1, 2, 2]
    assert_allclose(
        np.concatenate(found.sequences("video")),
        np.concatenate(expected.sequences("video")),
        atol=1e-6,
    )


def test_equal_clips_are_computed_once_across_rows_and_calls(speech_folder, tmp_path, monkeypatch):
    pytest.importorskip("soundfile")
    waves = make_waveforms()
    path = write_wav(tmp_path / "a.wav", waves[0], RATE)
    copy = shutil.copy(path, tmp_path / "b.wav")
    calls = count_calls(monkeypatch, _wavlm, "encode_waveforms")
    memory = joblib.Memory(tmp_path / "memory", verbose=0)
    features = WavLMFeatures(speech_folder, sampling_rate=RATE, memory=memory)
    X = [waves[0], path, waves[1], None, str(copy), waves[0].copy(), (waves[1], RATE)]
    first = features.fit_transform(X)
    assert [len(batch) for _, _, _, batch, _ in calls] == [3]
    assert first.lengths[:, 0].tolist() == [12, 12, 24, 0, 12, 12, 24]
    again = WavLMFeatures(str(speech_folder), sampling_rate=RATE, memory=memory)
    assert_same_bits(again.fit_transform(X[::-1]), first[::-1])
    assert len(calls) == 1
    write_wav(path, waves[2], RATE)  # a changed file is another recording
    again.transform([path, copy])
    assert [len(batch) for _, _, _, batch, _ in calls] == [3, 1]
    again.transform([(waves[0], 8000)])  # so is the same array at another rate
    assert len(calls) == 3


def test_models_and_settings_do_not_share_stored_frames(speech_folder, tmp_path, monkeypatch):
    waves, memory = make_waveforms(), tmp_path / "memory"
    moved = tmp_path / "moved"
    shutil.copytree(speech_folder, moved)
    calls = count_calls(monkeypatch, _wavlm, "encode_waveforms")

    def n_batches(model, **settings):
        calls.clear()
        settings = {"sampling_rate": RATE, "memory": memory} | settings
        WavLMFeatures(model, **settings).fit_transform(waves)
        return len(calls)

    assert n_batches(speech_folder) == 1
    assert n_batches(moved) == 0  # the same weights in another folder
    assert n_batches(moved, verbose=0, on_error="missing", modality="voice") == 0
    assert n_batches(moved, layer=1) == n_batches(moved, max_seconds=0.05) == 1
    other = save_speech_model(tmp_path / "other", "WavLM group", do_normalize=False)
    assert n_batches(other) == 1
    loaded = WavLMFeatures(moved).fit([])._pretrained
    with_extractor = (loaded.model, loaded.processor)
    assert n_batches(with_extractor) == 0
    next(loaded.model.parameters()).data[0] += 1e-3
    assert n_batches(with_extractor) == 1
    assert n_batches(with_extractor) == 0


def test_batches_are_planned_as_these_tests_assume(speech_folder):
    features = WavLMFeatures(speech_folder, **SHORT).fit([])
    clips = [features._find(wave) for wave in make_waveforms()]
    assert [clip.size for clip in clips] == LENGTHS
    assert len(features._plan(clips)) == N_BATCHES
