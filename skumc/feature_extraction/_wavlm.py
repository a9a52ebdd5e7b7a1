"""Recordings to the frames of a pretrained speech model."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skumc.feature_extraction._audio_input import find_recording
from skumc.feature_extraction._clips import Clip, ClipFeatures, UnreadableClip
from skumc.feature_extraction._pretrained import LoadedModel
from skumc.feature_extraction._speech_models import (
    SpeechArithmetic,
    default_extractor,
    encode_waves,
    load_extractor,
)


def _like_lengths(clips: list[Clip], budget: int, paddable: bool) -> list[list[Clip]]:
    """Cut clips into batches of at most ``budget`` samples, padding included.

    The longest come first, so that what does not fit in memory fails at once; equal lengths are
    ordered by content, so that the order of the rows changes nothing.
    """
    batches: list[list[Clip]] = []
    for clip in sorted(clips, key=lambda clip: (-clip.size, clip.key)):
        longest = batches[-1][0].size if batches else 0
        fits = batches and (len(batches[-1]) + 1) * longest <= budget
        if fits and (paddable or clip.size == longest):
            batches[-1].append(clip)
        else:
            batches.append([clip])
    return batches


class WavLMFeatures(ClipFeatures):
    r"""Turn recordings into the frames of a pretrained speech model that stays as it is.

    For WavLM and every other model of transformers that reads a wave as wav2vec 2.0 does.

    Parameters
    ----------
    model : str, path, Module or pair, default="microsoft/wavlm-base-plus"
        Name on the Hugging Face hub, a folder, or a loaded model; or a pair of this and its
        feature extractor. A folder or a loaded model without one gets 16,000 Hz and each
        recording at mean 0 and variance 1.
    sampling_rate : int in [1, inf) or None, default=None
        Rate in Hz of arrays that come without one. Files know theirs.
    layer : int in [0, inf) or None, default=None
        Hidden state to give, 0 being what enters the first layer. None is the model's output.
    max_seconds : float in (0, inf) or None, default=None
        Longer recordings are cut to their beginning, in seconds. None reads all.
    memory : str, path, joblib.Memory or None, default=None
        Folder that keeps the frames: they are memory-mapped, computed once for each distinct
        recording whatever the call or process, and a killed extraction goes on where it was.
        None keeps nothing.
    on_error : {"raise", "missing"}, default="raise"
        What to do about recordings that cannot be read: refuse them, or warn once and count them
        as missing.
    modality : str, default="audio"
        Name of the modality in the result.
    batch_seconds : float in (0, inf), default=60.0
        Seconds of audio in a batch at most, padding included; a longer recording has a batch to
        itself. A kill loses one batch.
    device : str or torch.device, default="auto"
        "auto" is the GPU where there is one; a loaded model stays where it is.
    verbose : int in [0, inf), default=0
        1 writes a line with the remaining time every ten seconds, 2 one a batch.

    Attributes
    ----------
    sampling_rate_ : int
        Rate of the model in Hz, to which recordings are brought.
    hop_ : float
        Seconds from the start of one frame to that of the next; 0.02 for WavLM.
    width_ : int
        Values in a frame.
    errors_ : dict of int to str
        Row and reason of each recording that the last ``transform`` could not read.

    Raises
    ------
    ImportError
        If transformers is not installed, or soundfile where X has paths.
    ValueError
        If the model cannot be found or is of another kind, ``layer`` is too high, an array comes
        without its rate, or a recording cannot be read and ``on_error="raise"``.

    See Also
    --------
    MultimodalFeatures : Several kinds of raw data at once.
    SwinFeatures : The same for videos.

    Notes
    -----
    A cell of X is an array (n_samples,) or (n_samples, n_channels), a pair (array, rate), or the
    path of a file. Floats lie in [-1, 1]; whole numbers are PCM and scaled to that; channels are
    averaged. None, NaN, an empty string and a recording without samples are missing, as is one
    that is NaN throughout; one that is NaN in part cannot be read. Another rate :math:`r` is
    brought to the model's, :math:`s`, by a polyphase low-pass filter.

    For convolutions with the kernels :math:`k_1, ..., k_C` and strides :math:`t_1, ..., t_C` a
    recording of :math:`n_0` samples at rate :math:`s` becomes :math:`n_C` frames,

    .. math:: n_c = \left\lfloor (n_{c-1} - k_c) / t_c \right\rfloor + 1,
        \qquad \mathrm{hop} = \frac{1}{s} \prod_{c=1}^{C} t_c

    A recording too short for one frame (25 ms for WavLM) is filled up with silence to one.

    Recordings of like length go through the model together, masked. A frame is the same as if its
    recording were alone, up to rounding: models that normalise the first convolution's output
    over time get that over each recording's own frames, and models whose padding shows elsewhere
    (SEW, Data2Vec, adapters) get batches of equal length. Dropout and masking are off, weights
    and the caller's random state and threads stay as they are.

    In ``memory``, frames are found by the bytes of a file or the values of an array, in one folder
    for each model and each way to read. An interrupted extraction goes on with the batches it
    would have had and ends with the same bits.

    Examples
    --------
    A small model without training; a name like "microsoft/wavlm-base-plus" or a folder is usual:

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

    _parameter_constraints: dict[str, list[Any]] = {
        "model": [str, os.PathLike, torch.nn.Module, tuple, list],
        "sampling_rate": [Interval(Integral, 1, None, closed="left"), None],
        "layer": [Interval(Integral, 0, None, closed="left"), None],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "memory": "no_validation",
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
        self._arithmetic = SpeechArithmetic(pretrained.config, self.layer)
        rate = getattr(pretrained.processor, "sampling_rate", None)
        if not isinstance(rate, Integral):
            raise ValueError(
                f"Got a model with the processor {type(pretrained.processor).__name__}, which has "
                "no sampling_rate. Pass a pair (model, feature extractor)."
            )
        self.sampling_rate_ = int(rate)
        self.hop_ = self._arithmetic.hop / self.sampling_rate_
        self.width_ = self._arithmetic.width
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
        return _like_lengths(clips, budget, self._arithmetic.paddable)

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
            found = encode_waves(model, extractor, self._arithmetic, batch, self.layer)
            frames |= dict(zip(keys, found, strict=True))
        return frames, failures
