"""Frames of videos, compared with each image alone in the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from media import (
    RATE,
    make_image_model,
    make_videos,
    make_waveforms,
    save_image_model,
    write_video,
    write_wav,
)
from skumc.feature_extraction import SwinFeatures
from skumc.feature_extraction._video_input import FrameClock


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    pytest.importorskip("PIL")
    return save_image_model(tmp_path_factory.mktemp("images"))


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
