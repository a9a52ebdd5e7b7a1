"""Speech models that read waveforms, such as wav2vec 2.0, on recordings of any length."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

# According to their sources in transformers, the mask of these models hides all padding except in
# the first convolution's normalization, see _norm_without_padding. Other models get batches of
# equal length.
_PADDABLE = {"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"}


def load_extractor(name: str) -> Any:
    """Load the feature extractor of a model.

    Parameters
    ----------
    name : str
        Name on the Hugging Face hub, or a folder.
    """
    from transformers import AutoFeatureExtractor

    return AutoFeatureExtractor.from_pretrained(name)


def default_extractor(config: Any) -> Any:
    """Return the feature extractor of models that have none.

    It expects 16 kHz and brings each recording to mean 0 and variance 1.

    Parameters
    ----------
    config : object
        Not used.
    """
    del config
    from transformers import Wav2Vec2FeatureExtractor

    return Wav2Vec2FeatureExtractor(sampling_rate=16_000, do_normalize=True)


class FrameGeometry:
    """Number, spacing and width of the frames of a model like wav2vec 2.0.

    Parameters
    ----------
    config : object
        A transformers configuration.
    layer : int or None
        Hidden state that is read; None is the model's output.

    Attributes
    ----------
    hop : int
        Number of samples from one frame to the next.
    min_samples : int
        Number of samples that give one frame.
    width : int
        Number of values per frame.
    paddable : bool
        Whether recordings of different length can share a batch.

    Raises
    ------
    ValueError
        If the model does not read waveforms, or has no such layer.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> config = SimpleNamespace(model_type="wavlm", conv_kernel=(10, 3), conv_stride=(5, 2),
    ...                          hidden_size=8, num_hidden_layers=2)
    >>> geometry = FrameGeometry(config, layer=None)
    >>> geometry.hop, geometry.min_samples, geometry.n_frames(np.array([20, 40]))
    (10, 20, array([1, 3]))
    """

    def __init__(self, config: Any, layer: int | None) -> None:
        kernels, strides = (getattr(config, f"conv_{part}", None) for part in ("kernel", "stride"))
        if not kernels or not strides or not hasattr(config, "num_hidden_layers"):
            raise ValueError(
                f"Got a model of type {getattr(config, 'model_type', None)!r}, expected one that "
                "reads waveforms, such as WavLM, Wav2Vec2 or HuBERT. Name another with model=."
            )
        if layer is not None and layer > config.num_hidden_layers:
            raise ValueError(
                f"Got layer={layer}, expected None or a number in [0, {config.num_hidden_layers}]: "
                "0 is the input of the first layer."
            )
        self._convolutions = list(zip(kernels, strides, strict=True))
        adapted = bool(getattr(config, "add_adapter", False)) and layer is None
        self.hop = int(np.prod(strides))
        self.min_samples = 1
        n_squeezed = getattr(config, "squeeze_factor", 1)  # frames per position of SEW's layers
        for kernel, stride in reversed(self._convolutions):
            self.min_samples = (self.min_samples - 1) * stride + kernel
        self.min_samples += (n_squeezed - 1) * self.hop
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
        """Return the number of frames of each recording.

        Parameters
        ----------
        n_samples : ndarray of int, shape (n_recordings,)
        n_convolutions : int or None, default=None
            Count the frames after this many convolutions; None is after all.

        Returns
        -------
        ndarray of int, shape (n_recordings,)
        """
        for kernel, stride in self._convolutions[:n_convolutions]:
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples


@contextmanager
def _norm_without_padding(model: nn.Module, n_frames: np.ndarray) -> Iterator[None]:
    """Normalize over time within the first ``n_frames`` frames of each recording only.

    Models with ``feat_extract_norm="group"`` normalize the first convolution's output over all
    frames, padding included; the attention mask does not reach there.
    """

    def renormalize(
        norm: nn.GroupNorm, args: tuple[torch.Tensor], output: torch.Tensor
    ) -> torch.Tensor:
        for i, n in enumerate(n_frames.tolist()):
            output[i : i + 1, :, :n] = nn.functional.group_norm(
                args[0][i : i + 1, :, :n], norm.num_groups, norm.weight, norm.bias, norm.eps
            )
        return output

    convolutions = model.get_submodule("feature_extractor")
    norms = [module for module in convolutions.modules() if isinstance(module, nn.GroupNorm)]
    hooks = [norm.register_forward_hook(renormalize) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _prepared(
    extractor: Any, waves: Sequence[np.ndarray], min_samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return preprocessed waveforms, padded with silence, and their lengths.

    Each is preprocessed alone, so that its mean and variance are its own.
    """
    rate = extractor.sampling_rate
    inputs = []
    for wave in waves:
        prepared = extractor(wave, sampling_rate=rate)
        values, mask = prepared["input_values"][0], prepared.get("attention_mask")
        shown = slice(None) if mask is None else np.asarray(mask[0], bool)  # it may pad by itself
        inputs.append(np.asarray(values, np.float32)[shown])
    n_samples = np.maximum([len(wave) for wave in inputs], min_samples)
    padded = np.zeros((len(inputs), n_samples.max()), np.float32)
    for line, wave in zip(padded, inputs, strict=True):
        line[: len(wave)] = wave
    return padded, n_samples


def encode_waveforms(
    model: nn.Module,
    extractor: Any,
    geometry: FrameGeometry,
    waves: Sequence[np.ndarray],
    layer: int | None,
) -> list[np.ndarray]:
    """Compute the frames of each recording, equal to those of the recording alone.

    Parameters
    ----------
    model : Module
    extractor : callable
        Preprocessor of one waveform.
    geometry : FrameGeometry
    waves : sequence of ndarray of float32, shape (n_samples,)
    layer : int or None

    Returns
    -------
    list of ndarray of float32, shape (n_frames, width)
    """
    padded, n_samples = _prepared(extractor, waves, geometry.min_samples)
    all_equal = bool((n_samples == n_samples[0]).all())
    # A batch was planned by the lengths in the files' headers, which may be wrong.
    if not all_equal and not geometry.paddable:
        return [encode_waveforms(model, extractor, geometry, [w], layer)[0] for w in waves]
    parameter = next(model.parameters())
    values = torch.from_numpy(padded).to(parameter.device, parameter.dtype)
    options = {"output_hidden_states": layer is not None, "return_dict": True}
    if all_equal:
        output = model(values, **options)
    else:
        mask = torch.arange(padded.shape[1]) < torch.from_numpy(n_samples)[:, None]
        first_frames = geometry.n_frames(n_samples, 1)
        with _norm_without_padding(model, first_frames), warnings.catch_warnings():
            # WavLM in transformers passes two masks of different types to torch.
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            output = model(values, attention_mask=mask.long().to(parameter.device), **options)
    states = output.last_hidden_state if layer is None else output.hidden_states[layer]
    states = states.float().cpu().numpy()
    if all_equal:
        return list(states)
    n_frames = geometry.n_frames(n_samples)
    return [rows[:n] for rows, n in zip(states, n_frames, strict=True)]
