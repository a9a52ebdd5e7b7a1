"""Tiny speech and image models, recordings and videos, and reference code for their frames."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

RATE = 16_000
LENGTHS = [1000, 2000, 1003, 40, 1500, 1000, 700, 2000]  # samples; 40 is too short for a frame
SMALLEST = 85  # samples of the first frame, see SPEECH; SEW's layers need two frames

SPEECH = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 4, 4),
    "conv_stride": (5, 4, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "initializer_range": 0.3,  # so that frames differ
}
SPEECH_KINDS = {
    "WavLM layer": {"feat_extract_norm": "layer"},
    "WavLM group": {"feat_extract_norm": "group"},
    "WavLM stable": {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
    "Wav2Vec2 group": {"feat_extract_norm": "group"},
    "Wav2Vec2 stable": {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
    "Wav2Vec2 adapter": {"feat_extract_norm": "layer", "add_adapter": True},
    "Hubert group": {"feat_extract_norm": "group"},
    "Hubert batchnorm": {"feat_extract_norm": "layer", "conv_pos_batch_norm": True},
    "UniSpeechSat layer": {"feat_extract_norm": "layer"},
    "Data2VecAudio": {"conv_pos_kernel_size": 3, "num_conv_pos_embeddings": 2},
    "SEW": {"feat_extract_norm": "group", "squeeze_factor": 2},
}


def make_speech_model(kind="WavLM layer", **settings):
    """Make a tiny speech model with random weights."""
    import transformers

    family = kind.split()[0]
    config = getattr(transformers, f"{family}Config")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{family}Model")(
            config(**(SPEECH | SPEECH_KINDS[kind] | settings))
        )
    for name, statistic in model.named_buffers():
        if "running_mean" in name:
            statistic += 0.5  # as after training: silence does not stay zero
    return model.eval()


def save_speech_model(folder, kind="WavLM layer", *, do_normalize=True, rate=RATE):
    """Save the same model in a folder with its feature extractor."""
    from transformers import Wav2Vec2FeatureExtractor

    make_speech_model(kind).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=rate, do_normalize=do_normalize).save_pretrained(folder)
    return folder


def make_image_model(kind="Swin"):
    """Make a tiny image model with random weights."""
    import transformers

    settings = {
        "Swin": {"patch_size": 4, "window_size": 4, "embed_dim": 8, "depths": [1, 1]}
        | {"num_heads": [1, 2], "image_size": 32},
        "ViT": {"patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "image_size": 32}
        | {"num_attention_heads": 2, "intermediate_size": 16},
        "ConvNext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 32},
        "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
        "CLIP": None,
    }[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "CLIP":
            tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
            config = transformers.CLIPConfig(
                text_config=tiny | {"intermediate_size": 16},
                vision_config=tiny | {"image_size": 32, "patch_size": 8, "intermediate_size": 16},
                projection_dim=4,
            )
        else:
            config = getattr(transformers, f"{kind}Config")(**settings)
        return getattr(transformers, f"{kind}Model")(config).eval()


def save_image_model(folder, kind="Swin"):
    """Save the same model in a folder with an image processor that resizes to 32 x 32 pixels."""
    import json

    make_image_model(kind).save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": 32, "width": 32},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.6, 0.7],
    }
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def make_waveforms(lengths=LENGTHS, seed=0):
    """Make noise of growing amplitude, so that every part of a recording differs."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(0.1, 0.2, n) * np.linspace(0.2, 1, n)).astype(np.float32) for n in lengths]


def make_videos(lengths=(3, 5, 1, 4), shape=(24, 40), seed=0):
    """Make videos of uniform noise in uint8."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (n, *shape, 3), dtype=np.uint8) for n in lengths]


def plain_speech_frames(model, wave_at_rate, *, do_normalize=True, layer=None):
    """Compute the frames of one recording alone, step by step."""
    values = np.asarray(wave_at_rate, np.float32)
    if do_normalize:
        values = (values - values.mean()) / np.sqrt(values.var() + 1e-7)
    smallest = SMALLEST + 80 * (model.config.model_type == "sew")
    values = np.concatenate([values, np.zeros(max(0, smallest - len(values)))])
    with torch.no_grad():
        output = model(torch.tensor(values, dtype=torch.float32)[None], output_hidden_states=True)
    states = output.last_hidden_state if layer is None else output.hidden_states[layer]
    return states[0].numpy()


def assert_same_bits(found, expected):
    """Check that two containers hold the same frames, bit for bit."""
    assert found.names == expected.names
    np.testing.assert_array_equal(found.lengths, expected.lengths)
    for name in expected.names:
        for frames, others in zip(found.sequences(name), expected.sequences(name), strict=True):
            assert frames is others is None or frames.tobytes() == others.tobytes()


def write_wav(path, samples, rate):
    """Write 16-bit PCM, (n_samples,) or (n_samples, n_channels), with the standard library."""
    pcm = np.asarray(samples)
    pcm = pcm if pcm.dtype == np.int16 else np.round(pcm * 32767).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.astype("<i2").tobytes())
    return path


def write_video(path, frames, rate, codec="ffv1"):
    """Write frames with a lossless codec."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def development_data(name):
    """Return the folder of a real data set, or skip the test and name the folder."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SKUMC_DATA", beside)) / name
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}; SKUMC_DATA names the folder above")
    return folder
