"""Videos to the frames of a pretrained image model."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skumc.feature_extraction._clips import Clip, ClipFeatures, UnreadableClip
from skumc.feature_extraction._image_models import (
    DefaultProcessor,
    encode_pictures,
    load_processor,
    picture_model,
    picture_size,
)
from skumc.feature_extraction._pretrained import LoadedModel
from skumc.feature_extraction._video_input import find_video


class SwinFeatures(ClipFeatures):
    """Turn videos into one vector a frame, of a pretrained image model that stays as it is.

    For Swin and every other model of transformers that reads a picture.

    Parameters
    ----------
    model : str, path, Module or pair, default="microsoft/swin-base-patch4-window7-224"
        Name on the Hugging Face hub, a folder, or a loaded model; or a pair of this and its image
        processor. A folder or a loaded model without one gets pictures of its configuration's
        ``image_size`` (224 if it has none), standardised with ImageNet's mean and deviation.
    frame_rate : float in (0, inf) or None, default=5.0
        Frames a second to read of files, and of arrays that come with their rate; slower videos
        are read whole. None reads every frame. An array without a rate is read whole.
    max_frames : int in [1, inf) or None, default=None
        Longer videos are cut to their beginning, in frames that are read. None reads all.
    memory : str, path, joblib.Memory or None, default=None
        Folder that keeps the frames: they are memory-mapped, computed once for each distinct video
        whatever the call or process, and a killed extraction goes on where it was. None keeps
        nothing.
    on_error : {"raise", "missing"}, default="raise"
        What to do about videos that cannot be read: refuse them, or warn once and count them as
        missing.
    modality : str, default="video"
        Name of the modality in the result.
    batch_size : int in [1, inf), default=32
        Frames that are decoded and encoded together.
    device : str or torch.device, default="auto"
        "auto" is the GPU where there is one; a loaded model stays where it is.
    verbose : int in [0, inf), default=0
        1 writes a line with the remaining time every ten seconds, 2 one a video.

    Attributes
    ----------
    hop_ : float or None
        Seconds from one frame of a file to the next, ``1 / frame_rate``; more in slower videos,
        None if every frame is read.
    errors_ : dict of int to str
        Row and reason of each video that the last ``transform`` could not read.

    Raises
    ------
    ImportError
        If transformers is not installed, or av where X has paths, or Pillow where the model comes
        with an image processor.
    ValueError
        If the model cannot be found or is of another kind, or a video cannot be read and
        ``on_error="raise"``.

    See Also
    --------
    MultimodalFeatures : Several kinds of raw data at once.
    WavLMFeatures : The same for recordings.

    Notes
    -----
    A cell of X is an array (n_frames, height, width, 3), uint8 or floats in [0, 1]; a pair (array,
    frames a second); or the path of a file. Floats are rounded to 8 bits. None, NaN, an empty
    string and a video without frames are missing, as is one that is NaN throughout. Of a file the
    first video stream is read, as stored: a rotation for display is not applied.

    A frame's vector is the model's pooled output: for Swin the mean over positions. The mean over
    positions stands in where a model has no pooler, or its checkpoint no weights for one. Videos
    go through one at a time and are never decoded whole; a kill loses one.

    In ``memory``, frames are found by the bytes of a file or the values of an array, in one folder
    for each model and each way to read. An interrupted extraction ends with the same bits.

    Examples
    --------
    A small model without training; a name like "microsoft/swin-base-patch4-window7-224" or a
    folder is usual:

    >>> import numpy as np
    >>> from skumc.feature_extraction import SwinFeatures
    >>> from transformers import SwinConfig, SwinModel
    >>> model = SwinModel(SwinConfig(
    ...     image_size=32, patch_size=4, window_size=4, embed_dim=8, depths=[1, 1],
    ...     num_heads=[1, 2],
    ... ))
    >>> video = np.random.default_rng(0).random((6, 48, 64, 3))
    >>> X = SwinFeatures(model).fit_transform([video, None, (video, 10.0)])
    >>> X
    MultimodalData(3 samples; widths video: 16)
    >>> X.lengths[:, 0].tolist()
    [6, 0, 3]
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "model": [str, os.PathLike, torch.nn.Module, tuple, list],
        "frame_rate": [Interval(Real, 0, None, closed="neither"), None],
        "max_frames": [Interval(Integral, 1, None, closed="left"), None],
        "memory": "no_validation",
        "on_error": [StrOptions({"raise", "missing"})],
        "modality": [str],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": "no_validation",
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: Any = "microsoft/swin-base-patch4-window7-224",
        *,
        frame_rate: float | None = 5.0,
        max_frames: int | None = None,
        memory: Any = None,
        on_error: str = "raise",
        modality: str = "video",
        batch_size: int = 32,
        device: str | torch.device = "auto",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.frame_rate = frame_rate
        self.max_frames = max_frames
        self.memory = memory
        self.on_error = on_error
        self.modality = modality
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    def _prepare(self) -> LoadedModel:
        self.hop_ = None if self.frame_rate is None else 1 / self.frame_rate
        self._n_values: int | None = None
        pretrained = LoadedModel(self.model, "video", load_processor, DefaultProcessor)
        pretrained.processor  # noqa: B018 - found now or never
        return pretrained

    def _settings(self) -> dict[str, Any]:
        return {
            "frame_rate": None if self.frame_rate is None else float(self.frame_rate),
            "max_frames": None if self.max_frames is None else int(self.max_frames),
        }

    def _width(self) -> int:
        """Values in a frame; configurations do not say, so one black picture is encoded."""
        if self._n_values is None:
            size = picture_size(self._pretrained.config)
            self._n_values = self._vectors([np.zeros((*size, 3), np.uint8)]).shape[1]
        return self._n_values

    def _find(self, cell: Any) -> Clip | None:
        return find_video(cell, self.frame_rate, self.max_frames, self.batch_size)

    def _plan(self, clips: list[Clip]) -> list[list[Clip]]:
        return [[clip] for clip in clips]

    def _vectors(self, pictures: list[np.ndarray]) -> np.ndarray:
        return encode_pictures(
            picture_model(self._pretrained.model),
            self._pretrained.processor,
            pictures,
            use_pooler=not self._pretrained.lacks_pooler,
        )

    def _encode(self, clips: list[Clip]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        frames: dict[str, np.ndarray] = {}
        failures: dict[str, str] = {}
        for clip in clips:
            try:
                parts = [self._vectors(pictures) for pictures in clip.read()]
            except UnreadableClip as error:
                failures[clip.key] = str(error)
                continue
            frames[clip.key] = np.concatenate([np.zeros((0, self._width()), np.float32), *parts])
        return frames, failures
