"""Recordings as sequences of frames of a pretrained speech model."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skumc.feature_extraction._audio_input import find_recording
from skumc.feature_extraction._clips import Clip, ClipFeatures, UnreadableClip
from skumc.feature_extraction._pretrained import LoadedModel
from skumc.feature_extraction._speech_models import (
    FrameGeometry,
    default_extractor,
    encode_waveforms,
    load_extractor,
)


def _batches_of_similar_length(clips: list[Clip], budget: int) -> list[list[Clip]]:
    """Group clips into batches of at most ``budget`` samples, as if padded to the longest.

    The longest come first, so that a clip too large for memory fails at once. Clips of equal
    length are ordered by key, so that batches do not depend on the order of the rows.
    """
    batches: list[list[Clip]] = []
    for clip in sorted(clips, key=lambda clip: (-clip.size, clip.key)):
        longest = batches[-1][0].size if batches else 0
        fits = batches and (len(batches[-1]) + 1) * longest <= budget
        if fits:
            batches[-1].append(clip)
        else:
            batches.append([clip])
    return batches


class WavLMFeatures(ClipFeatures):
    r"""Turn recordings into frames of a pretrained speech model.

    Any model of transformers that reads waveforms works, WavLM, wav2vec 2.0 and HuBERT for
    instance. Its weights are not trained.

    Parameters
    ----------
    model : str, path, Module or pair, default="microsoft/wavlm-base-plus"
        Name on the Hugging Face hub, a folder, or a loaded model; or a pair of this and its
        feature extractor. Recordings for a folder or a loaded model without extractor are
        resampled to 16,000 Hz and brought to mean 0 and variance 1, each on its own.
    sampling_rate : int in [1, inf) or None, default=None
        Sampling rate in Hz of arrays without one of their own. Files have their own.
    layer : int in [0, inf) or None, default=None
        Hidden state to return; 0 is the input of the first layer. None is the model's output.
    max_seconds : float in (0, inf) or None, default=None
        Maximum duration in seconds; the rest of a recording is not read. None reads all.
    memory : str, path, joblib.Memory or None, default=None
        Folder in which to keep the frames. They are memory-mapped and computed once for each
        distinct recording, across calls and processes; an interrupted extraction resumes where it
        stopped. None keeps nothing.
    on_error : {"raise", "missing"}, default="raise"
        Treatment of recordings that cannot be read: "raise" raises an error, "missing" warns once
        and counts them as missing.
    modality : str, default="audio"
        Name of the modality in the result.
    batch_seconds : float in (0, inf), default=60.0
        Maximum seconds of audio that are read and stored together; a longer recording is a batch of
        its own. An interruption loses one batch.
    device : str or torch.device, default="auto"
        Device to compute on. "auto" is the GPU if there is one; a loaded model stays where it is.
    verbose : int in [0, inf), default=0
        1 writes a line with the remaining time every ten seconds, 2 one line per batch.

    Attributes
    ----------
    sampling_rate_ : int
        Sampling rate of the model in Hz; recordings are resampled to it.
    hop_ : float
        Seconds from the start of one frame to the start of the next; 0.02 for WavLM.
    width_ : int
        Number of values per frame.
    errors_ : dict of int to str
        Row and reason of each recording that the last ``transform`` could not read.

    Raises
    ------
    ImportError
        If transformers is not installed, or soundfile if X has paths.
    ValueError
        If the model does not exist or does not read waveforms, ``layer`` is too high, an array has
        no sampling rate, or a recording cannot be read and ``on_error="raise"``.

    See Also
    --------
    MultimodalFeatures : Combine several kinds of raw data.
    SwinFeatures : Turn videos into frames.

    Notes
    -----
    A cell of X is an array (n_samples,) or (n_samples, n_channels), a pair (array, rate), or the
    path of a file. Floats lie in [-1, 1]; integers are PCM and scaled to that; channels are
    averaged. None, NaN, an empty string, a recording without samples and one of NaN only are
    missing; a recording with some NaN cannot be read. Another rate :math:`r` is resampled to the
    model's rate :math:`s` with a polyphase low-pass filter.

    For convolutions with the kernels :math:`k_1, ..., k_C` and strides :math:`t_1, ..., t_C` a
    recording of :math:`n_0` samples at rate :math:`s` becomes :math:`n_C` frames,

    .. math:: n_c = \left\lfloor (n_{c-1} - k_c) / t_c \right\rfloor + 1,
        \qquad \mathrm{hop} = \frac{1}{s} \prod_{c=1}^{C} t_c

    A recording too short for one frame (25 ms for WavLM) is padded with silence to one frame.

    Recordings are encoded one at a time, so that the frames of a recording do not depend on the
    others, nor on what ``memory`` holds. Dropout and time masking are off. The model's weights,
    torch's random state and its number of threads are left unchanged.

    The key of a recording in ``memory`` is the bytes of the file or the values of the array. Each
    model and each combination of settings has a folder of its own. An interrupted extraction
    ends with the same bits.

    Examples
    --------
    A small model with random weights; usually ``model`` is a name such as
    "microsoft/wavlm-base-plus" or a folder:

    >>> import numpy as np
    >>> from skumc.feature_extraction import WavLMFeatures
    >>> from transformers import WavLMConfig, WavLMModel
    >>> model = WavLMModel(WavLMConfig(
    ...     hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    ...     conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(8, 8), num_conv_pos_embeddings=4,
    ...     num_conv_pos_embedding_groups=2,
    ... ))
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)  # one second at 8 kHz
    >>> features = WavLMFeatures(model, sampling_rate=8000)
    >>> X = features.fit_transform([tone, None, tone[:4000], (tone, 16000)])
    >>> X
    MultimodalData(4 samples; widths audio: 16)
    >>> features.hop_, X.lengths[:, 0].tolist()
    (0.004, [249, 0, 124, 124])
    """

    _parameter_constraints: dict[str, list[Any] | str] = {
        "model": [str, os.PathLike, torch.nn.Module, tuple, list],
        "sampling_rate": [Interval(Integral, 1, None, closed="left"), None],
        "layer": [Interval(Integral, 0, None, closed="left"), None],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
        "on_error": [StrOptions({"raise", "missing"})],
        "modality": [str],
        "batch_seconds": [Interval(Real, 0, None, closed="neither")],
        "device": "no_validation",
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: Any = "microsoft/wavlm-base-plus",
        *,
        sampling_rate: int | None = None,
        layer: int | None = None,
        max_seconds: float | None = None,
        memory: Any = None,
        on_error: str = "raise",
        modality: str = "audio",
        batch_seconds: float = 60.0,
        device: str | torch.device = "auto",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.sampling_rate = sampling_rate
        self.layer = layer
        self.max_seconds = max_seconds
        self.memory = memory
        self.on_error = on_error
        self.modality = modality
        self.batch_seconds = batch_seconds
        self.device = device
        self.verbose = verbose

    def _prepare(self) -> LoadedModel:
        pretrained = LoadedModel(self.model, "audio", load_extractor, default_extractor)
        self._geometry = FrameGeometry(pretrained.config, self.layer)
        rate = getattr(pretrained.processor, "sampling_rate", None)
        if not isinstance(rate, Integral):
            raise ValueError(
                f"Got a model with the processor {type(pretrained.processor).__name__}, which has "
                "no sampling_rate. Pass a pair (model, feature extractor)."
            )
        self.sampling_rate_ = int(rate)
        self.hop_ = self._geometry.hop / self.sampling_rate_
        self.width_ = self._geometry.width
        return pretrained

    def _settings(self) -> dict[str, Any]:
        return {
            "layer": None if self.layer is None else int(self.layer),
            "max_seconds": None if self.max_seconds is None else float(self.max_seconds),
        }

    def _width(self) -> int:
        return self.width_

    def _find(self, cell: Any) -> Clip | None:
        return find_recording(cell, self.sampling_rate, self.sampling_rate_, self.max_seconds)

    def _plan(self, clips: list[Clip]) -> list[list[Clip]]:
        budget = round(self.batch_seconds * self.sampling_rate_)
        return _batches_of_similar_length(clips, budget)

    def _encode(self, clips: list[Clip]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        waves: dict[str, np.ndarray] = {}
        failures: dict[str, str] = {}
        for clip in clips:
            try:
                waves[clip.key] = clip.read()
            except UnreadableClip as error:
                failures[clip.key] = str(error)
        model, extractor = self._pretrained.model, self._pretrained.processor
        frames = {
            key: np.zeros((0, self.width_), np.float32)
            for key, wave in waves.items()
            if len(wave) == 0
        }
        keys = [key for key in waves if key not in frames]
        if keys:
            batch = [waves[key] for key in keys]
            found = encode_waveforms(model, extractor, self._geometry, batch, self.layer)
            frames |= dict(zip(keys, found, strict=True))
        return frames, failures
