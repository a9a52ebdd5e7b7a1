"""Videos as sequences of vectors of a pretrained image model."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skumc.feature_extraction._clips import Clip, ClipFeatures, UnreadableClip
from skumc.feature_extraction._image_models import (
    DefaultProcessor,
    encode_images,
    image_model,
    image_size,
    load_processor,
)
from skumc.feature_extraction._pretrained import LoadedModel
from skumc.feature_extraction._video_input import find_video


class SwinFeatures(ClipFeatures):
    """Turn each frame of a video into one vector, with a pretrained image model.

    Any image model of transformers works, Swin for instance. Its weights are not trained.

    Parameters
    ----------
    model : str, path, Module or pair, default="microsoft/swin-base-patch4-window7-224"
        Name on the Hugging Face hub, a folder, or a loaded model; or a pair of this and its image
        processor. Images for a folder or a loaded model without processor are resized to the
        configuration's ``image_size`` (224 if it has none) and standardized with ImageNet's mean
        and deviation.
    frame_rate : float in (0, inf) or None, default=5.0
        Frames per second to read from files and from arrays with a frame rate. Slower videos are
        read whole. None reads every frame. An array without a rate is always read whole.
    max_frames : int in [1, inf) or None, default=None
        Maximum number of frames to read; the rest of a video is left out. None reads all.
    memory : str, path, joblib.Memory or None, default=None
        Folder in which to keep the frames. They are memory-mapped and computed once for each
        distinct video, across calls and processes; an interrupted extraction resumes where it
        stopped. None keeps nothing.
    on_error : {"raise", "missing"}, default="raise"
        Treatment of videos that cannot be read: "raise" raises an error, "missing" warns once and
        counts them as missing.
    modality : str, default="video"
        Name of the modality in the result.
    batch_size : int in [1, inf), default=32
        Number of frames that are decoded and encoded together.
    device : str or torch.device, default="auto"
        Device to compute on. "auto" is the GPU if there is one; a loaded model stays where it is.
    verbose : int in [0, inf), default=0
        1 writes a line with the remaining time every ten seconds, 2 one line per video.

    Attributes
    ----------
    hop_ : float or None
        Seconds from one frame of a file to the next, ``1 / frame_rate``. It is longer in slower
        videos. None if every frame is read.
    errors_ : dict of int to str
        Row and reason of each video that the last ``transform`` could not read.

    Raises
    ------
    ImportError
        If transformers is not installed, or av if X has paths, or Pillow if the model has an image
        processor.
    ValueError
        If the model does not exist or is not an image model, or a video cannot be read and
        ``on_error="raise"``.

    See Also
    --------
    MultimodalFeatures : Combine several kinds of raw data.
    WavLMFeatures : Turn recordings into frames.

    Notes
    -----
    A cell of X is an array (n_frames, height, width, 3), uint8 or floats in [0, 1]; a pair (array,
    frames per second); or the path of a file. Floats are rounded to 8 bits. None, NaN, an empty
    string, a video without frames and one of NaN only are missing. The first video stream
    of a file that is not a cover picture is read, rotated as the file says. The path of a picture
    is a video of one frame, turned as its EXIF orientation says. A file that ends early is read as
    far as it goes, with a warning; it is unreadable if less than half is there.

    A frame's vector is the model's pooled output, for Swin the mean over positions. If a model has
    no pooler, or its checkpoint has no weights for one, the vector is the mean over positions.
    Videos are encoded one at a time and never decoded whole; an interruption loses one video.

    The key of a video in ``memory`` is the bytes of the file or the values of the array. Each model
    and each combination of settings has a folder of its own. An interrupted extraction ends with
    the same bits.

    Examples
    --------
    A small model with random weights; usually ``model`` is a name such as
    "microsoft/swin-base-patch4-window7-224" or a folder:

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

    _parameter_constraints: dict[str, list[Any] | str] = {
        "model": [str, os.PathLike, torch.nn.Module, tuple, list],
        "frame_rate": [Interval(Real, 0, None, closed="neither"), None],
        "max_frames": [Interval(Integral, 1, None, closed="left"), None],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
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
        pretrained.processor  # noqa: B018 - loaded here, so that fit raises its errors
        return pretrained

    def _settings(self) -> dict[str, Any]:
        return {
            "frame_rate": None if self.frame_rate is None else float(self.frame_rate),
            "max_frames": None if self.max_frames is None else int(self.max_frames),
            "batch_size": int(self.batch_size),  # rounding depends on it
        }

    def _width(self) -> int:
        """Return the number of values per frame, found by encoding one black image."""
        if self._n_values is None:
            size = image_size(self._pretrained.config)
            self._n_values = self._vectors([np.zeros((*size, 3), np.uint8)]).shape[1]
        return self._n_values

    def _find(self, cell: Any) -> Clip | None:
        return find_video(cell, self.frame_rate, self.max_frames, self.batch_size)

    def _plan(self, clips: list[Clip]) -> list[list[Clip]]:
        return [[clip] for clip in clips]

    def _vectors(self, images: list[np.ndarray]) -> np.ndarray:
        return encode_images(
            image_model(self._pretrained.model),
            self._pretrained.processor,
            images,
            use_pooler=not self._pretrained.lacks_pooler,
        )

    def _encode(self, clips: list[Clip]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        frames: dict[str, np.ndarray] = {}
        failures: dict[str, str] = {}
        for clip in clips:
            try:
                parts = [self._vectors(images) for images in clip.read()]
            except UnreadableClip as error:
                failures[clip.key] = str(error)
                continue
            frames[clip.key] = np.concatenate([np.zeros((0, self._width()), np.float32), *parts])
        return frames, failures
