"""Tensors in a safetensors file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from skumc.persistence._saved_error import SavedClustererError
from skumc.persistence._strict_json import DAMAGED, check_regular

_BLOCK = 1024**2


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors that share no memory."""
    from safetensors.torch import save_file

    save_file(dict(tensors), path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors into memory, on the CPU.

    Raises
    ------
    SavedClustererError
        If the file is not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            # copies: the file may change or vanish while the clusterer lives
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise SavedClustererError(
            f"{path} is not a safetensors file ({error!s:.200}). {DAMAGED}"
        ) from error


def shapes(path: Path) -> dict[str, list[int]]:
    """Read the shapes of the tensors of a file, not their values."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise SavedClustererError(
            f"{path} is not a safetensors file ({error!s:.200}). {DAMAGED}"
        ) from error


def file_hash(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def check_file(path: Path, size: int, digest: str) -> None:
    """Compare a file with its recorded size and checksum.

    Raises
    ------
    SavedClustererError
        If they differ, or the file is missing or not a regular one.
    """
    try:
        found = check_regular(path).st_size
    except FileNotFoundError as error:
        raise SavedClustererError(f"{path} is missing. Copy the folder again, with it.") from error
    if found != size:
        raise SavedClustererError(f"{path} has {found} bytes, expected {size}. {DAMAGED}")
    if file_hash(path) != digest:
        raise SavedClustererError(f"{path} does not have its checksum. {DAMAGED}")
