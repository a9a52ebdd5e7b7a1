"""Image models of transformers: preprocessing, and one vector per image."""

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
    """Load the image processor of a model.

    Parameters
    ----------
    name : str
        Name on the Hugging Face hub, or a folder.

    Raises
    ------
    ImportError
        If the processor needs a package that is not installed.
    """
    import transformers

    # Fast and slow processors differ in the last digits, so the choice must not depend on the
    # packages that are installed.
    is_new = int(transformers.__version__.split(".")[0]) >= 5
    choice = {"backend": "pil"} if is_new else {"use_fast": False}
    try:
        return transformers.AutoImageProcessor.from_pretrained(
            name, trust_remote_code=False, **choice
        )
    except ImportError as error:
        raise ImportError(
            f"The image processor of {name!r} needs a package that is not installed ({error}). "
            "Install it with pip install skumc[video]."
        ) from error


def image_size(config: Any) -> tuple[int, int]:
    """Return the height and width of a model's images, in pixels.

    Parameters
    ----------
    config : object
        A transformers configuration; without ``image_size`` the size is 224.

    Returns
    -------
    tuple of (int, int)
    """
    config = getattr(config, "vision_config", config)
    size = getattr(config, "image_size", None) or _DEFAULT_SIZE
    height, width = np.broadcast_to(size, 2)
    return int(height), int(width)


class DefaultProcessor:
    """Resize images to a model's size and standardize them with ImageNet's statistics.

    Parameters
    ----------
    config : object
        A transformers configuration; without ``image_size`` the size is 224.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> processor = DefaultProcessor(SimpleNamespace(image_size=32))
    >>> processor([np.zeros((48, 64, 3), np.uint8)])["pixel_values"].shape
    (1, 3, 32, 32)
    """

    def __init__(self, config: Any) -> None:
        self.size = image_size(config)

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
        """Return the settings, which are part of the model's fingerprint."""
        return {"processor": "default", "size": self.size}


def image_model(model: nn.Module) -> nn.Module:
    """Return the part of a model that reads images.

    Raises
    ------
    ValueError
        If the model's input is not an image.
    """
    part = getattr(model, "vision_model", model)
    if getattr(part, "main_input_name", "pixel_values") != "pixel_values":
        raise ValueError(
            f"Got a {type(model).__name__}, expected an image model such as Swin, ViT or ConvNeXt. "
            "Name another with model=."
        )
    return part


def encode_images(
    model: nn.Module, processor: Any, images: Sequence[np.ndarray], *, use_pooler: bool
) -> np.ndarray:
    """Encode each image as one vector.

    Parameters
    ----------
    model : Module
    processor : callable
        Preprocessor of images.
    images : sequence of ndarray of uint8, shape (height, width, 3)
    use_pooler : bool
        Whether to take the model's pooled output if it has one. Otherwise, and without one, the
        vector is the mean over positions.

    Returns
    -------
    ndarray of float32, shape (n_images, width)
    """
    pixels = processor(images=list(images), return_tensors="np", input_data_format="channels_last")[
        "pixel_values"
    ]
    parameter = next(model.parameters())
    values = torch.from_numpy(np.ascontiguousarray(pixels)).to(parameter.device, parameter.dtype)
    output = model(pixel_values=values, return_dict=True)
    pooled = getattr(output, "pooler_output", None) if use_pooler else None
    if pooled is None:
        states = output.last_hidden_state  # (n, positions, width) or (n, width, height, width)
        pooled = states.mean(dim=1) if states.ndim == 3 else states.mean(dim=(2, 3))
    return pooled.flatten(start_dim=1).float().cpu().numpy()
