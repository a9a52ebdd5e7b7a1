"""Checkpoints of a fit: what they are found again by."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from numbers import Integral
from pathlib import Path
from typing import Any

import torch

import skumc
from skumc._content import content_hash, folder_content
from skumc.data import MultimodalData
from skumc.text import TextModel
from skumc.training._checkpoint_folder import CheckpointFolder

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "transformers")
_ARGUMENT = "optimization__checkpoint_dir"
# Parameters that change no result.
_WITHOUT_EFFECT = ("callbacks", "verbose", "text__memory", _ARGUMENT)


@contextmanager
def resumable(
    estimator: Any, parts: dict[str, Any], data: MultimodalData, device: torch.device
) -> Iterator[CheckpointFolder | None]:
    """Open the folder of checkpoints of a fit; None without ``checkpoint_dir``.

    Parameters
    ----------
    estimator : UMCClusterer
    parts : dict of str to object
        Its parts, by parameter.
    data : MultimodalData
        The training samples, before a text model reads them.
    device : torch.device

    Raises
    ------
    OSError
        If the folder cannot be written to, or another fit uses it.
    ValueError
        If ``random_state`` is not an int, a parameter cannot be pickled, or the folder has
        checkpoints of another fit that has not ended.
    """
    folder = parts["optimization"].checkpoint_dir
    if folder is None:
        yield None
        return
    if not isinstance(estimator.random_state, Integral):
        raise ValueError(
            f"Got {_ARGUMENT}={str(folder)!r} and random_state={estimator.random_state!r}, "
            "expected an int as random_state: a fit that resumes repeats all that comes before its "
            "first epoch. Set random_state=0, for example."
        )
    content = fit_content(estimator, data, device)
    with CheckpointFolder(Path(folder).expanduser(), content, _machine()).opened() as checkpoints:
        yield checkpoints


def fit_content(estimator: Any, data: MultimodalData, device: torch.device) -> dict[str, str]:
    """Fingerprint all that the result of a fit depends on, by name.

    Parameters
    ----------
    estimator : UMCClusterer
    data : MultimodalData
    device : torch.device

    Returns
    -------
    dict of str to str
        Samples, parameters, files of the text model, device and versions.
    """
    content = {
        name: _fingerprint(value)
        for name, value in estimator.get_params().items()
        if name not in (*_WITHOUT_EFFECT, "optimization", "device")
    }
    content["X"] = content_hash(data, argument=_ARGUMENT)
    if estimator.warm_start and hasattr(estimator, "encoder_"):
        earlier = estimator.encoder_.state_dict(), estimator.cluster_centers_
        content["the earlier fit"] = content_hash(earlier, argument=_ARGUMENT)
    name = TextModel.from_argument(estimator.text).name
    content["files of text="] = content_hash(folder_content(name))
    content["device"] = device.type
    content["version of skumc"] = skumc.__version__
    content["version of Python"] = platform.python_version()
    return content | {f"version of {package}": version(package) for package in _PACKAGES}


def _fingerprint(value: Any) -> str:
    """Fingerprint a parameter; those of a part follow by themselves."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        return f"{type(value).__module__}.{type(value).__qualname__}"
    return content_hash(value, argument=_ARGUMENT)


def _machine() -> dict[str, str]:
    """Describe what the rounding of a result depends on."""
    return {
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": str(torch.get_num_threads()),
    }
