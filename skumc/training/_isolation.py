"""Leave the caller's torch as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Run with seeded random numbers, float32 and gradients; give the caller's state back."""
    dtype = torch.get_default_dtype()
    cuda = device.type == "cuda"
    with (
        torch.random.fork_rng(devices=[device] if cuda else []),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which an encoder runs in ``precision``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
