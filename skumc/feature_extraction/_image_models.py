"""Models that read a picture, one vector a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_DEFAULT_SIZE = 224


def load_processor(name: str) -> Any:
    """Load what prepares pictures for a model, by name or folder."""
    import transformers

    # One of two implementations, whatever else is installed: they differ in the last digits.
    is_new = int(transformers.__version__.split(".")[0]) >= 5
    choice = {"backend": "pil"} if is_new else {"use_fast": False}
    try:
        return transformers.AutoImageProcessor.from_pretrained(name, **choice)
    except ImportError as error:
        raise ImportError(
            f"The image processor of {name!r} needs a package that is not installed ({error}). "
            "Install it with pip install skumc[video]."
        ) from error


def picture_size(config: Any) -> tuple[int, int]:
    """Height and width, in pixels, of the pictures that a model was made for."""
    config = getattr(config, "vision_config", config)
    size = getattr(config, "image_size", None) or _DEFAULT_SIZE
    height, width = (size, size) if np.ndim(size) == 0 else size
    return int(height), int(width)


class DefaultProcessor:
    """Resize to the model's size and standardise as for ImageNet.

    Parameters
    ----------
    config : object
        A configuration of transformers; ``image_size`` is read, 224 where there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> processor = DefaultProcessor(SimpleNamespace(image_size=32))
    >>> processor([np.zeros((48, 64, 3), np.uint8)])["pixel_values"].shape
    (1, 3, 32, 32)
    """

    def __init__(self, config: Any) -> None:
        self.size = picture_size(config)

    def __call__(self, images: Sequence[np.ndarray], **unused: Any) -> dict[str, np.ndarray]:
        mean, deviation = (
            torch.tensor(values).reshape(3, 1, 1)
            for values in (_IMAGENET_MEAN, _IMAGENET_DEVIATION)
        )
        pixels = []
        for image in images:
            channels_first = torch.tensor(image).movedim(-1, 0)[None].float() / 255
            resized = nn.functional.interpolate(
                channels_first, self.size, mode="bilinear", antialias=True, align_corners=False
            )
            pixels.append((resized - mean) / deviation)
        return {"pixel_values": torch.cat(pixels).numpy()}

    def to_dict(self) -> dict[str, Any]:
        """The settings."""
        return {"processor": "default", "size": self.size}


def picture_model(model: nn.Module) -> nn.Module:
    """The part of a model that reads pictures."""
    part = getattr(model, "vision_model", model)
    if getattr(part, "main_input_name", "pixel_values") != "pixel_values":
        raise ValueError(
            f"Got a {type(model).__name__}, expected a model that reads pictures, such as Swin, "
            "ViT or ConvNeXt. Name another with model=."
        )
    return part


def encode_pictures(
    model: nn.Module, processor: Any, pictures: Sequence[np.ndarray], *, use_pooler: bool
) -> np.ndarray:
    """One vector a picture.

    Parameters
    ----------
    model : Module
    processor : callable
        Prepares pictures.
    pictures : sequence of ndarray of uint8, shape (height, width, 3)
    use_pooler : bool
        Take the model's own summary where it has one, else the mean over its positions.

    Returns
    -------
    ndarray of float32, shape (n_pictures, width)
    """
    pixels = processor(
        images=list(pictures), return_tensors="np", input_data_format="channels_last"
    )["pixel_values"]
    parameter = next(model.parameters())
    values = torch.from_numpy(np.ascontiguousarray(pixels)).to(parameter.device, parameter.dtype)
    output = model(pixel_values=values, return_dict=True)
    pooled = getattr(output, "pooler_output", None) if use_pooler else None
    if pooled is None:
        states = output.last_hidden_state  # (n, positions, width) or (n, width, height, width)
        pooled = states.mean(dim=1) if states.ndim == 3 else states.mean(dim=(2, 3))
    return pooled.flatten(start_dim=1).float().cpu().numpy()
