"""Files whose headers and contents differ, and pictures that are stored turned."""

import struct
import warnings

import numpy as np
import pytest

from media import make_image_model, make_speech_model, write_video, write_wav
from skumc.feature_extraction import SwinFeatures, WavLMFeatures
from skumc.feature_extraction._audio_input import find_recording
from skumc.feature_extraction._clips import UnreadableClip
from skumc.feature_extraction._containers import timed_images
from skumc.feature_extraction._sound_files import announced_share, read_sound

av = pytest.importorskip("av")
soundfile = pytest.importorskip("soundfile")
Image = pytest.importorskip("PIL.Image")

RATE = 16_000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)).astype(np.float32)
UNCOMPRESSED = ["wav", "rf64", "w64", "aiff", "au", "caf"]
EARLY = "ends early or is damaged"


def write_sound(path, samples=TONE):
    soundfile.write(path, samples, RATE, format={"rf64": "RF64"}.get(path.suffix[1:]))
    return path


def cut(path, share, name="cut"):
    """Write the first bytes of a file to another one."""
    whole = path.read_bytes()
    short = path.with_stem(name)
    short.write_bytes(whole[: int(len(whole) * share)])
    return short


def frames_of(path):
    return [make() for _, make in timed_images(path)]


# sound


@pytest.mark.parametrize("suffix", [*UNCOMPRESSED, "flac", "ogg", "mp3"])
def test_a_whole_file_is_read_without_a_warning(suffix, tmp_path):
    path = write_sound(tmp_path / f"whole.{suffix}")
    sound = read_sound(path)
    assert sound.rate == RATE and abs(len(sound.samples) - len(TONE)) <= 2 * 1152
    assert len(read_sound(path, 0.5).samples) == RATE // 2
    if suffix in UNCOMPRESSED:
        assert announced_share(path) == 1


@pytest.mark.parametrize("suffix", UNCOMPRESSED[:-1])
@pytest.mark.parametrize("share", [0.7, 0.99])
def test_a_file_that_ends_early_is_read_with_both_lengths(suffix, share, tmp_path):
    short = cut(write_sound(tmp_path / f"whole.{suffix}"), share)
    with pytest.warns(RuntimeWarning, match=f"cut.*{EARLY}: it holds .* of 3.00 s") as caught:
        samples = read_sound(short).samples
    assert len(caught) == 1
    np.testing.assert_allclose(samples[:, 0], TONE[: len(samples)], atol=1e-3)
    assert share * len(TONE) - 100 < len(samples) <= share * len(TONE)


@pytest.mark.parametrize(("suffix", "share"), [("flac", 0.8), ("mp3", 0.8), ("ogg", 0.98)])
def test_compressed_sound_that_ends_early_is_read_with_a_warning(suffix, share, tmp_path):
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.normal(size=20 * RATE)).astype(np.float32)
    short = cut(write_sound(tmp_path / f"whole.{suffix}", noise), share)
    lengths = (
        "of 20.00 s that it announces" if suffix != "ogg" else "the end of the stream is missing"
    )
    with pytest.warns(RuntimeWarning, match=f"cut.*{EARLY}: it holds .* s .*{lengths}"):
        n_read = len(read_sound(short).samples)
    assert 0.6 * len(noise) < n_read < len(noise)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "mp3"])
def test_less_than_half_is_an_error_or_missing(suffix, tmp_path):
    whole = write_sound(tmp_path / f"whole.{suffix}")
    paths = [str(whole), str(cut(whole, 0.4))]
    features = WavLMFeatures(make_speech_model(), sampling_rate=RATE).fit(None)
    with pytest.raises(ValueError, match=rf"1 of 2 clips.*{EARLY}.*on_error='missing'"):
        features.transform(paths)
    with pytest.warns(UserWarning, match="1 of 2 clips"):
        lengths = features.set_params(on_error="missing").transform(paths).lengths[:, 0]
    assert lengths[0] > 0 and lengths[1] == 0


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_stream_without_a_length_is_read_whole(size, tmp_path):
    path = write_wav(tmp_path / "stream.wav", TONE, RATE)
    raw = bytearray(path.read_bytes())
    place = raw.index(b"data")
    raw[place + 4 : place + 8] = struct.pack("<I", size)
    raw[4:8] = struct.pack("<I", size)
    path.write_bytes(raw)
    assert len(read_sound(path).samples) == len(TONE)
    assert find_recording(str(path), None, RATE, None).read().shape == TONE.shape


def test_flac_of_unknown_length_is_read_whole(tmp_path):
    path = write_sound(tmp_path / "stream.flac")
    raw = bytearray(path.read_bytes())
    head = int.from_bytes(raw[18:26], "big")
    raw[18:26] = (head & ~((1 << 36) - 1)).to_bytes(8, "big")
    path.write_bytes(raw)
    for seconds, n_expected in ((None, len(TONE)), (0.5, RATE // 2), (9.0, len(TONE))):
        assert len(read_sound(path, seconds).samples) == n_expected
        clip = find_recording(str(path), None, RATE, seconds)
        assert clip.read().shape == (n_expected,)


def test_an_empty_recording_is_missing(tmp_path):
    path = write_wav(tmp_path / "empty.wav", np.zeros(0, np.int16), RATE)
    assert find_recording(str(path), None, RATE, None) is None


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 100, b"OggS" + bytes(60)])
def test_what_is_no_sound_is_an_error_that_names_the_file(content, tmp_path):
    path = tmp_path / "noise.wav"
    path.write_bytes(content)
    with pytest.raises(UnreadableClip, match=r"noise\.wav"):
        find_recording(str(path), None, RATE, None)


def write_container(path, sound=TONE, cover=False, video=None):
    """Write AAC sound, a cover picture and a video into one file."""
    with av.open(str(path), "w") as container:
        codec = "mp3" if path.suffix == ".mp3" else "aac"
        audio = container.add_stream(codec, rate=RATE) if sound is not None else None
        streams = []
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 32, 24, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic.value
            streams.append((picture, np.full((1, 24, 32, 3), 200, np.uint8)))
        if video is not None:
            moving = container.add_stream("libx264", rate=10)
            moving.height, moving.width = video.shape[1:3]
            moving.pix_fmt = "yuv420p"
            streams.append((moving, video))
        for stream, pixels in streams:
            for one in pixels:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
            container.mux(stream.encode())
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def test_sound_of_a_video_container_is_read(tmp_path):
    sound = read_sound(write_container(tmp_path / "call.m4a"))
    assert sound.rate == RATE and abs(len(sound.samples) - len(TONE)) < 4096


# video


def make_video(n_frames=40, shape=(48, 64)):
    return np.random.default_rng(0).integers(0, 256, (n_frames, *shape, 3), dtype=np.uint8)


def write_moving(path, pixels, codec="libx264"):
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for one in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_video_that_ends_early_is_read_with_both_lengths(suffix, tmp_path):
    whole = write_moving(tmp_path / f"whole.{suffix}", make_video())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(frames_of(whole)) == 40
    with pytest.warns(RuntimeWarning, match=f"cut.*{EARLY}: it holds .* of 4.00 s"):
        assert 20 <= len(frames_of(cut(whole, 0.8))) < 40
    with pytest.raises(UnreadableClip, match=f"less.*{EARLY}: it holds .* of 4.00 s"):
        frames_of(cut(whole, 0.4, "less"))


def test_what_was_asked_for_and_is_there_needs_no_warning(tmp_path):
    short = cut(write_moving(tmp_path / "whole.mp4", make_video()), 0.8)
    features = SwinFeatures(make_image_model(), frame_rate=None, max_frames=5).fit(None)
    assert features.transform([str(short)]).lengths.tolist() == [[5]]


def test_covers_are_no_videos(tmp_path):
    song = write_container(tmp_path / "song.mp3", cover=True)
    with pytest.raises(UnreadableClip, match="no video but a cover"):
        frames_of(song)
    clip = write_container(tmp_path / "clip.mp4", cover=True, video=make_video(12))
    found = frames_of(clip)
    assert len(found) == 12 and found[0].shape == (48, 64, 3)


# The nine numbers of a display matrix that turns a picture clockwise.
TURNS = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def write_turned(path, pixels, degrees):
    """Write a video and set the display matrix in its track header."""
    write_moving(path, pixels)
    raw = bytearray(path.read_bytes())
    place = raw.index(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 8  # version 0: dates, track, duration, layer
    a, b, c, d = (int(value * 65536) for value in TURNS[degrees])
    raw[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("degrees", TURNS)
def test_videos_are_turned_as_the_file_says(degrees, tmp_path):
    pixels = np.zeros((3, 48, 64, 3), np.uint8)
    pixels[:, :16, :16] = 255  # a bright corner at the top left, as stored
    found = frames_of(write_turned(tmp_path / "phone.mp4", pixels, degrees))
    expected = np.rot90(pixels[0], -degrees // 90)
    assert found[0].shape == expected.shape
    assert np.abs(found[0].astype(int) - expected).mean() < 20


def write_oriented(path, pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


# What shows an image of each EXIF orientation upright.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp", "jpg"])
def test_pictures_are_turned_as_the_file_says(orientation, suffix, tmp_path):
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:8, :16] = 255
    pixels[:8, 16:24] = 100
    path = write_oriented(tmp_path / f"photo.{suffix}", pixels, orientation)
    (found,) = frames_of(path)
    expected = UPRIGHT[orientation](pixels)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 12


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_that_ends_early_is_an_error_that_names_it(suffix, tmp_path):
    path = tmp_path / f"whole.{suffix}"
    Image.fromarray(make_video(1)[0]).save(path)
    with pytest.raises(UnreadableClip, match=r"cut\."):
        frames_of(cut(path, 0.5))


@pytest.mark.parametrize("content", [b"", b"no video" * 99])
def test_what_is_no_video_is_an_error_that_names_the_file(content, tmp_path):
    path = tmp_path / "noise.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableClip, match=r"noise\.mp4"):
        frames_of(path)


def test_frames_stored_by_an_earlier_reading_are_not_used(tmp_path, monkeypatch):
    from skumc.feature_extraction import _clips

    path = write_video(tmp_path / "clip.mkv", make_video(4), 5)
    monkeypatch.setattr(_clips, "_READING", "1")
    before = _clips.file_digest(path)
    monkeypatch.undo()
    assert _clips.file_digest(path) != before
