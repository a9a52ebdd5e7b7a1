"""Where to compute."""

from __future__ import annotations

import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """Give the device to work on; "auto" is the GPU where there is one."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"Got device={device!r}, expected 'auto', 'cpu', 'cuda', 'cuda:0' or the like."
        ) from error
    if resolved.type not in ("cpu", "cuda"):
        raise ValueError(f"Got device={device!r}, expected 'auto', 'cpu' or a CUDA device.")
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"Got device={device!r}, but torch finds no CUDA device. Use device='auto' or 'cpu'."
        )
    return resolved
