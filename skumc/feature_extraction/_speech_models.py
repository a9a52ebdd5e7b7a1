"""Models that read a wave: wav2vec2 and its kin, for clips of any length."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

# Of these the sources show that a mask hides all of the padding but in the first convolution's
# normalisation, see _unpadded_norm; others get recordings of equal length together.
_PADDABLE = {"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"}


def load_extractor(name: str) -> Any:
    """Load what prepares waves for a model, by name or folder."""
    from transformers import AutoFeatureExtractor

    return AutoFeatureExtractor.from_pretrained(name)


def default_extractor(config: Any) -> Any:
    """What a model without its own gets: 16 kHz, each recording at mean 0 and variance 1."""
    del config
    from transformers import Wav2Vec2FeatureExtractor

    return Wav2Vec2FeatureExtractor(sampling_rate=16_000, do_normalize=True)


class SpeechArithmetic:
    """How many frames a wav2vec2-like model makes of how many samples.

    Parameters
    ----------
    config : object
        A configuration of transformers.
    layer : int or None
        Hidden state that is read; None is the model's output.

    Attributes
    ----------
    hop : int
        Samples from one frame to the next.
    n_samples_min : int
        Samples that give one frame.
    width : int
        Values in a frame.
    paddable : bool
        Whether recordings of different length can go together.

    Raises
    ------
    ValueError
        If the model is not like wav2vec2, or has no such layer.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> config = SimpleNamespace(model_type="wavlm", conv_kernel=(10, 3), conv_stride=(5, 2),
    ...                          hidden_size=8, num_hidden_layers=2)
    >>> arithmetic = SpeechArithmetic(config, layer=None)
    >>> arithmetic.hop, arithmetic.n_samples_min, arithmetic.n_frames(np.array([20, 40]))
    (10, 20, array([1, 3]))
    """

    def __init__(self, config: Any, layer: int | None) -> None:
        kernels, strides = (getattr(config, f"conv_{part}", None) for part in ("kernel", "stride"))
        if not kernels or not strides or not hasattr(config, "num_hidden_layers"):
            raise ValueError(
                f"Got a model of type {getattr(config, 'model_type', None)!r}, expected one that "
                "reads a wave, as WavLM, Wav2Vec2 and HuBERT do."
            )
        if layer is not None and layer > config.num_hidden_layers:
            raise ValueError(
                f"Got layer={layer}, expected None or a number in [0, {config.num_hidden_layers}]: "
                "0 is what enters the first layer."
            )
        self._convolutions = list(zip(kernels, strides, strict=True))
        adapted = bool(getattr(config, "add_adapter", False)) and layer is None
        self.hop = int(np.prod(strides))
        self.n_samples_min = 1
        n_squeezed = getattr(config, "squeeze_factor", 1)  # SEW's layers see several as one
        for kernel, stride in reversed(self._convolutions):
            self.n_samples_min = (self.n_samples_min - 1) * stride + kernel
        self.n_samples_min += (n_squeezed - 1) * self.hop
        if layer is not None:
            self.hop *= n_squeezed
        if adapted:
            self.hop *= config.adapter_stride**config.num_adapter_layers
        self.width = (adapted and config.output_hidden_size) or config.hidden_size
        self.paddable = (
            config.model_type in _PADDABLE
            and not getattr(config, "add_adapter", False)
            and not getattr(config, "conv_pos_batch_norm", False)
        )

    def n_frames(self, n_samples: np.ndarray, n_convolutions: int | None = None) -> np.ndarray:
        """Frames of recordings, after all convolutions or the first few."""
        for kernel, stride in self._convolutions[:n_convolutions]:
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples


@contextmanager
def _unpadded_norm(model: nn.Module, n_frames: np.ndarray) -> Iterator[None]:
    """Let normalisation over time see the first ``n_frames`` frames of each recording only.

    "group" models normalise the first convolution's output over all frames, padding included; no
    mask reaches there.
    """

    def renormalise(norm: nn.GroupNorm, args: tuple[torch.Tensor], output: torch.Tensor):
        for i, n in enumerate(n_frames.tolist()):
            output[i : i + 1, :, :n] = nn.functional.group_norm(
                args[0][i : i + 1, :, :n], norm.num_groups, norm.weight, norm.bias, norm.eps
            )
        return output

    norms = [
        module for module in model.feature_extractor.modules() if isinstance(module, nn.GroupNorm)
    ]
    hooks = [norm.register_forward_hook(renormalise) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _prepared(
    extractor: Any, waves: Sequence[np.ndarray], n_samples_min: int
) -> tuple[np.ndarray, np.ndarray]:
    """Waves as the model wants them, padded with silence, and their lengths.

    Each is prepared alone, so that its mean and variance are its own.
    """
    rate = extractor.sampling_rate
    inputs = [
        np.asarray(extractor(wave, sampling_rate=rate)["input_values"][0], np.float32)
        for wave in waves
    ]
    n_samples = np.maximum([len(wave) for wave in inputs], n_samples_min)
    padded = np.zeros((len(inputs), n_samples.max()), np.float32)
    for line, wave in zip(padded, inputs, strict=True):
        line[: len(wave)] = wave
    return padded, n_samples


def encode_waves(
    model: nn.Module,
    extractor: Any,
    arithmetic: SpeechArithmetic,
    waves: Sequence[np.ndarray],
    layer: int | None,
) -> list[np.ndarray]:
    """Frames of each recording, as if it were alone.

    Parameters
    ----------
    model : Module
    extractor : callable
        Prepares one wave.
    arithmetic : SpeechArithmetic
    waves : sequence of ndarray of float32, shape (n_samples,)
    layer : int or None

    Returns
    -------
    list of ndarray of float32, shape (n_frames, width)
    """
    padded, n_samples = _prepared(extractor, waves, arithmetic.n_samples_min)
    all_equal = bool((n_samples == n_samples[0]).all())
    if not all_equal and not arithmetic.paddable:  # a file's header may promise another length
        return [encode_waves(model, extractor, arithmetic, [w], layer)[0] for w in waves]
    parameter = next(model.parameters())
    values = torch.from_numpy(padded).to(parameter.device, parameter.dtype)
    reading = {"output_hidden_states": layer is not None, "return_dict": True}
    if all_equal:
        output = model(values, **reading)
    else:
        mask = torch.arange(padded.shape[1]) < torch.from_numpy(n_samples)[:, None]
        with _unpadded_norm(model, arithmetic.n_frames(n_samples, 1)), warnings.catch_warnings():
            # transformers' WavLM hands torch two masks of different type
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            output = model(values, attention_mask=mask.long().to(parameter.device), **reading)
    states = output.last_hidden_state if layer is None else output.hidden_states[layer]
    states = states.float().cpu().numpy()
    if all_equal:
        return list(states)
    n_frames = arithmetic.n_frames(n_samples)
    return [rows[:n] for rows, n in zip(states, n_frames, strict=True)]
