"""Fingerprints of samples, estimators and folders by their content."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib.hashing import NumpyHasher


class _ContentHasher(NumpyHasher):
    """Hash pickles by content: a pickled tensor names its place in memory."""

    def save(self, obj: Any) -> None:
        if isinstance(obj, torch.Tensor):
            values = obj.detach().cpu().contiguous()
            content = values.reshape(-1).view(torch.uint8).numpy()
            obj = ("tensor", str(values.dtype), tuple(values.shape), obj.requires_grad, content)
        elif type(obj) in (np.ndarray, np.memmap):
            obj = np.asarray(obj, order="C")  # its strides are hashed too
        super().save(obj)


def content_hash(*values: Any, argument: str = "memory") -> str:
    """Compute a hash that is equal in every process for values of equal content.

    Parameters
    ----------
    *values : object
        Samples, row numbers, and estimators that are not fitted.
    argument : str, default="memory"
        Name of the user's parameter, for messages.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If a value cannot be pickled.

    Examples
    --------
    >>> content_hash(np.eye(2), "a") == content_hash(np.eye(3)[:2, :2], "a") != content_hash("a")
    True
    """
    try:
        return _ContentHasher("md5", coerce_mmap=True).hash(values)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{argument}= compares fits by the content of the estimator and X, which cannot be "
            f"pickled ({error}). Replace a lambda or a local function among the parameters by a "
            f"function of a module, or set {argument}=None."
        ) from error


def folder_content(path: Any) -> list[tuple[str, int, int]]:
    """List names, sizes and times of change of the files in a folder; empty for another value."""
    if not isinstance(path, (str, os.PathLike)) or not os.path.isdir(path):
        return []
    files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    return [
        (str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
    ]
