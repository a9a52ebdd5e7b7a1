"""Speech models that read waveforms, such as wav2vec 2.0, on recordings of any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn


def load_extractor(name: str) -> Any:
    """Load the feature extractor of a model.

    Parameters
    ----------
    name : str
        Name on the Hugging Face hub, or a folder.
    """
    from transformers import AutoFeatureExtractor

    return AutoFeatureExtractor.from_pretrained(name, trust_remote_code=False)


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

    def n_frames(self, n_samples: np.ndarray) -> np.ndarray:
        """Return the number of frames of each recording.

        Parameters
        ----------
        n_samples : ndarray of int, shape (n_recordings,)

        Returns
        -------
        ndarray of int, shape (n_recordings,)
        """
        for kernel, stride in self._convolutions:
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples


def _prepared(extractor: Any, wave: np.ndarray, min_samples: int) -> np.ndarray:
    """Return a preprocessed waveform, padded with silence to at least one frame."""
    prepared = extractor(wave, sampling_rate=extractor.sampling_rate)
    values, mask = prepared["input_values"][0], prepared.get("attention_mask")
    shown = slice(None) if mask is None else np.asarray(mask[0], bool)  # it may pad by itself
    wave = np.asarray(values, np.float32)[shown]
    return np.pad(wave, (0, max(0, min_samples - len(wave))))


def encode_waveforms(
    model: nn.Module,
    extractor: Any,
    geometry: FrameGeometry,
    waves: Sequence[np.ndarray],
    layer: int | None,
) -> list[np.ndarray]:
    """Compute the frames of each recording, one recording at a time.

    The rounding of a batch depends on its shape, so that stored frames would change the results of
    a seeded fit.

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
    parameter = next(model.parameters())
    found = []
    for wave in waves:
        prepared = _prepared(extractor, wave, geometry.min_samples)
        values = torch.from_numpy(prepared[None]).to(parameter.device, parameter.dtype)
        output = model(values, output_hidden_states=layer is not None, return_dict=True)
        states = output.last_hidden_state if layer is None else output.hidden_states[layer]
        found.append(states[0].float().cpu().numpy())
    return found
