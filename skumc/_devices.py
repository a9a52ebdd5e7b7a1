"""The device to compute on."""

from __future__ import annotations

import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device for a ``device`` parameter.

    Parameters
    ----------
    device : str or torch.device
        "auto" is the GPU if torch finds one, otherwise the CPU.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If the device is neither the CPU nor a CUDA device, or torch finds no CUDA device.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"Got device={device!r}, expected 'auto', 'cpu', 'cuda' or a numbered GPU such as "
            "'cuda:0'."
        ) from error
    if resolved.type not in ("cpu", "cuda"):
        raise ValueError(f"Got device={device!r}, expected 'auto', 'cpu' or a CUDA device.")
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"Got device={device!r}, but torch finds no CUDA device. Use device='auto' or 'cpu'."
        )
    return resolved
