"""What every loss checks: numbers, and tensors by the name of their role."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from numbers import Real

import torch

_EXPECTED_SHAPES = {
    "embedding": "(n_samples, width)",
    "labels": "(n_samples,)",
    "centers": "(n_clusters, width)",
}


def check_number(name: str, value: object, *, positive: bool = False, remedy: str = "") -> float:
    """Give ``value`` as a float; raise ValueError unless it is finite and in range."""
    if isinstance(value, Real) and math.isfinite(value):
        if value > 0 or (value == 0 and not positive):
            return float(value)
    bound = "> 0" if positive else ">= 0"
    raise ValueError(f"Got {name}={value!r}, expected a finite number {bound}.{remedy}")


def zero_with_graph(tensor: torch.Tensor) -> torch.Tensor:
    """Give an exact 0 that depends on ``tensor`` with gradient 0, whatever its values."""
    # An empty slice, not `tensor.sum() * 0`: the sum may overflow, and inf * 0 is NaN.
    return tensor[:0].sum()


def full_precision(device: torch.device) -> AbstractContextManager:
    """Switch autocast off on ``device``: sums of exponentials and distances need float32."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _check_shape(name: str, tensor: torch.Tensor, min_views: int) -> None:
    expected, n_dims = _EXPECTED_SHAPES.get(name), {"labels": (1,)}.get(name, (2,))
    if name == "views":
        expected, n_dims = "(n_samples, n_views, width)", (3,)
        if min_views > 1:
            expected += f" with n_views >= {min_views}"
        else:
            expected, n_dims = f"{expected} or (n_samples, width)", (2, 3)
    fits = tensor.ndim in n_dims and 0 not in tensor.shape[1:]
    if name == "views" and fits and tensor.ndim == 3:
        fits = tensor.shape[1] >= min_views
    if not fits:
        raise ValueError(f"Got {name} of shape {tuple(tensor.shape)}, expected {expected}.")


def _check_tensor(name: str, value: object, min_views: int) -> None:
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"Got {name} of type {type(value).__name__}, expected a torch.Tensor. "
            f"Convert it with torch.as_tensor({name})."
        )
    _check_shape(name, value, min_views)
    if name == "labels":
        if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise TypeError(
                f"Got labels of dtype {value.dtype}, expected integers. Convert them with "
                "labels.long()."
            )
    elif not value.is_floating_point():
        raise TypeError(
            f"Got {name} of dtype {value.dtype}, expected floating point. Convert it with "
            f"{name}.float()."
        )


def _check_labels_within(labels: torch.Tensor, n_clusters: int) -> None:
    # An index past the end kills a CUDA context, and -1 would silently mean the last centre.
    if not labels.numel():
        return
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < 0 or high >= n_clusters:
        raise ValueError(
            f"Got labels from {low} to {high}, expected 0 <= label < {n_clusters}, the number of "
            "rows of centers. Leave out samples without a cluster and pass one centre for each "
            "cluster."
        )


def check_tensors(min_views: int = 1, **tensors: object) -> dict[str, torch.Tensor]:
    """Check tensors against the shapes that their names promise and against each other.

    Parameters
    ----------
    min_views : int, default=1
        Fewest views of a sample. With 1, views without the axis of views are accepted.
    **tensors : torch.Tensor
        The first is the leading one: `views`, `embedding` or `centers`. Then `labels`, then
        `centers`, where the loss takes them.

    Returns
    -------
    tensors : dict of str to torch.Tensor
        The same tensors on the device of the leading one, the floating ones in its dtype, but
        at least in float32.

    Raises
    ------
    TypeError
        If something is no tensor, labels are no integers or another tensor is not floating.
    ValueError
        If a shape is not the expected one, numbers of samples or widths differ, or a label is
        no row of the centres.
    """
    for name, value in tensors.items():
        _check_tensor(name, value, min_views)
    leading_name, leading = next(iter(tensors.items()))
    labels, centers = tensors.get("labels"), tensors.get("centers")
    if labels is not None and labels.shape[0] != leading.shape[0]:
        raise ValueError(
            f"Got labels of shape {tuple(labels.shape)}, expected ({leading.shape[0]},): one "
            f"label for each sample of {leading_name}."
        )
    if centers is not None and centers.shape[-1] != leading.shape[-1]:
        raise ValueError(
            f"Got centers of shape {tuple(centers.shape)}, expected (n_clusters, "
            f"{leading.shape[-1]}): the width of {leading_name}."
        )
    if labels is not None and centers is not None:
        _check_labels_within(labels, centers.shape[0])
    dtype = torch.promote_types(leading.dtype, torch.float32)
    dtypes = {"labels": torch.int64}
    return {
        name: value.to(
            leading.device,
            dtypes.get(name, dtype),
            non_blocking=value.device.type == "cpu",  # a GPU goes on meanwhile
        )
        for name, value in tensors.items()
    }
