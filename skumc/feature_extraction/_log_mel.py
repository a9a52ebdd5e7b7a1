"""Recordings as log-mel spectrograms, without a pretrained model."""

from __future__ import annotations

import importlib
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skumc.feature_extraction._audio_input import find_recording
from skumc.feature_extraction._clips import Clip, ClipFeatures, UnreadableClip

_FLOOR = 1e-10  # of the power in a band, before the logarithm


class LogMelFeatures(ClipFeatures):
    r"""Turn recordings into log-mel spectrograms: one frame of band powers per time step.

    They need no model, so that they also suit sounds other than speech, and computers without
    the weights of a speech model.

    Parameters
    ----------
    n_mels : int in [1, inf), default=64
        Number of bands, the width of a frame.
    sampling_rate : int in [1, inf) or None, default=None
        Sampling rate in Hz of arrays without one of their own. Files have their own.
    resampled_rate : int in [1, inf), default=16000
        Sampling rate in Hz to which recordings are resampled; bands end at half of it.
    window_seconds : float in (0, inf), default=0.025
        Duration in seconds of the window of a frame.
    hop_seconds : float in (0, inf), default=0.01
        Seconds from the start of one frame to the start of the next.
    max_seconds : float in (0, inf) or None, default=None
        Maximum duration in seconds; the rest of a recording is not read. None reads all.
    memory : str, path, joblib.Memory or None, default=None
        Folder in which to keep the frames, memory-mapped; see :class:`WavLMFeatures`.
    on_error : {"raise", "missing"}, default="raise"
        Treatment of recordings that cannot be read: "raise" raises an error, "missing" warns once
        and counts them as missing.
    modality : str, default="audio"
        Name of the modality in the result.
    verbose : int in [0, inf), default=0
        1 writes a line with the remaining time every ten seconds, 2 one line per recording.

    Attributes
    ----------
    hop_ : float
        Seconds from the start of one frame to the start of the next, a whole number of samples.
    width_ : int
        Number of values per frame.
    errors_ : dict of int to str
        Row and reason of each recording that the last ``transform`` could not read.

    Raises
    ------
    ImportError
        If transformers is not installed, or soundfile if X has paths.
    ValueError
        If there are more bands than the window resolves, an array has no sampling rate, or a
        recording cannot be read and ``on_error="raise"``.

    See Also
    --------
    WavLMFeatures : Frames of a pretrained speech model.

    Notes
    -----
    Cells of X are those of :class:`WavLMFeatures`. With the Hann window :math:`w` of :math:`W`
    samples, an even number, the hop :math:`H` and the smallest power of two :math:`F \ge W`, frame
    :math:`l` of a recording :math:`x`, which silence precedes and follows, has in band :math:`m`

    .. math:: z_{lm} = \log \max \left( 10^{-10}, \sum_k b_{km} \left| \sum_{n=0}^{W-1} w_n \,
        x_{l H + n - W / 2} \, e^{-2 \pi i k n / F} \right|^2 \right)

    where :math:`b` are triangles at equal distances on the mel scale (HTK's formula). A recording
    of :math:`n` samples has :math:`\lfloor n / H \rfloor + 1` frames. The spectrogram is that of
    :func:`transformers.audio_utils.spectrogram`.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc.feature_extraction import LogMelFeatures
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)  # one second at 8 kHz
    >>> features = LogMelFeatures(n_mels=20, sampling_rate=8000)
    >>> X = features.fit_transform([tone, None, tone[:4000]])
    >>> X
    MultimodalData(3 samples; widths audio: 20)
    >>> X.lengths[:, 0].tolist()
    [101, 0, 51]
    """

    _parameter_constraints: dict[str, list[Any] | str] = {
        "n_mels": [Interval(Integral, 1, None, closed="left")],
        "sampling_rate": [Interval(Integral, 1, None, closed="left"), None],
        "resampled_rate": [Interval(Integral, 1, None, closed="left")],
        "window_seconds": [Interval(Real, 0, None, closed="neither")],
        "hop_seconds": [Interval(Real, 0, None, closed="neither")],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
        "on_error": [StrOptions({"raise", "missing"})],
        "modality": [str],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_mels: int = 64,
        *,
        sampling_rate: int | None = None,
        resampled_rate: int = 16000,
        window_seconds: float = 0.025,
        hop_seconds: float = 0.01,
        max_seconds: float | None = None,
        memory: Any = None,
        on_error: str = "raise",
        modality: str = "audio",
        verbose: int = 0,
    ) -> None:
        self.n_mels = n_mels
        self.sampling_rate = sampling_rate
        self.resampled_rate = resampled_rate
        self.window_seconds = window_seconds
        self.hop_seconds = hop_seconds
        self.max_seconds = max_seconds
        self.memory = memory
        self.on_error = on_error
        self.modality = modality
        self.verbose = verbose

    def _prepare(self) -> None:
        audio = importlib.import_module("transformers.audio_utils")
        rate = self.resampled_rate
        self._window_length = 2 * max(1, round(self.window_seconds * rate / 2))
        self._hop_length = max(1, round(self.hop_seconds * rate))
        self._fft_length = 2 ** max(1, (self._window_length - 1).bit_length())
        n_bins = self._fft_length // 2 + 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            filters = audio.mel_filter_bank(n_bins, int(self.n_mels), 0.0, rate / 2, rate)
        if caught or (filters.max(axis=0) == 0).any():
            raise ValueError(
                f"Got n_mels={self.n_mels} for window_seconds={self.window_seconds}, which "
                f"resolves {n_bins} frequencies, too few for some of the bands. Choose fewer bands "
                "or a longer window."
            )
        self._filters = filters
        self._window = audio.window_function(self._window_length, "hann")
        self.hop_ = self._hop_length / rate
        self.width_ = int(self.n_mels)

    def _inference(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _fingerprint(self) -> str:
        return "log-mel 1"  # version of the formula

    def _settings(self) -> dict[str, Any]:
        return {
            "n_mels": self.width_,
            "rate": int(self.resampled_rate),
            "window": self._window_length,
            "hop": self._hop_length,
            "max_seconds": None if self.max_seconds is None else float(self.max_seconds),
        }

    def _width(self) -> int:
        return self.width_

    def _find(self, cell: Any) -> Clip | None:
        return find_recording(cell, self.sampling_rate, self.resampled_rate, self.max_seconds)

    def _plan(self, clips: list[Clip]) -> list[list[Clip]]:
        return [[clip] for clip in clips]

    def _encode(self, clips: list[Clip]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        frames: dict[str, np.ndarray] = {}
        failures: dict[str, str] = {}
        for clip in clips:
            try:
                wave = clip.read()
            except UnreadableClip as error:
                failures[clip.key] = str(error)
            else:
                frames[clip.key] = self._log_mel(wave)
        return frames, failures

    def _log_mel(self, wave: np.ndarray) -> np.ndarray:
        """Return the frames of a waveform, (n_frames, n_mels); none of an empty one."""
        if len(wave) == 0:
            return np.zeros((0, self.width_), np.float32)
        audio = importlib.import_module("transformers.audio_utils")
        bands = audio.spectrogram(
            wave,
            self._window,
            frame_length=self._window_length,
            hop_length=self._hop_length,
            fft_length=self._fft_length,
            power=2.0,
            pad_mode="constant",
            mel_filters=self._filters,
            mel_floor=_FLOOR,
            log_mel="log",
        )
        return np.ascontiguousarray(bands.T, dtype=np.float32)
