"""Tensors of a batch: checks by name, full precision, and zeros that keep the graph."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

_EXPECTED_SHAPES = {
    "embedding": "(n_samples, width)",
    "labels": "(n_samples,)",
    "centers": "(n_clusters, width)",
}


def zero_with_graph(tensor: torch.Tensor) -> torch.Tensor:
    """Return an exact 0 that depends on ``tensor`` with gradient 0, whatever its values."""
    # An empty slice, not `tensor.sum() * 0`: the sum may overflow, and inf * 0 is NaN.
    return tensor[:0].sum()


def full_precision(device: torch.device) -> AbstractContextManager:
    """Switch autocast off on ``device``: sums of exponentials and distances need float32."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _check_views_shape(views: torch.Tensor, min_views: int) -> None:
    expected, fits = "(n_samples, n_views, width)", views.ndim == 3 and views.shape[1] >= min_views
    if min_views > 1:
        expected += f" with n_views >= {min_views}"
    else:
        expected, fits = f"{expected} or (n_samples, width)", fits or views.ndim == 2
    if not fits or 0 in views.shape[1:]:
        raise ValueError(f"Got views of shape {tuple(views.shape)}, expected {expected}.")


def _check_shape(name: str, tensor: torch.Tensor) -> None:
    n_dims = 1 if name == "labels" else 2
    if tensor.ndim != n_dims or 0 in tensor.shape[1:]:
        raise ValueError(
            f"Got {name} of shape {tuple(tensor.shape)}, expected {_EXPECTED_SHAPES.get(name)}."
        )


def _checked_tensor(name: str, value: object, min_views: int) -> torch.Tensor:
    """Return ``value`` if it is a tensor with the shape and kind of dtype of its name."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"Got {name} of type {type(value).__name__}, expected a torch.Tensor. "
            f"Convert it with torch.as_tensor({name})."
        )
    if name == "views":
        _check_views_shape(value, min_views)
    else:
        _check_shape(name, value)
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
    return value


def _check_labels_within(labels: torch.Tensor, n_clusters: int) -> None:
    # An index past the end kills a CUDA context, and -1 would silently mean the last center.
    if not labels.numel():
        return
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < 0 or high >= n_clusters:
        raise ValueError(
            f"Got labels from {low} to {high}, expected 0 <= label < {n_clusters}, the number of "
            "rows of centers. Leave out samples without a cluster and pass one center per cluster."
        )


def check_tensors(min_views: int = 1, **tensors: object) -> dict[str, torch.Tensor]:
    """Check tensors against the shapes that their names promise and against each other.

    Parameters
    ----------
    min_views : int, default=1
        Minimum number of views per sample. With 1, views may lack the axis of views.
    **tensors : torch.Tensor
        The leading tensor comes first: `views`, `embedding` or `centers`. `labels` and `centers`
        follow if the loss takes them.

    Returns
    -------
    tensors : dict of str to torch.Tensor
        The same tensors on the device of the leading one. Floating tensors have its dtype, but
        at least float32.

    Raises
    ------
    TypeError
        If a value is not a tensor, labels are not integers or another tensor is not floating.
    ValueError
        If a shape is not the expected one, numbers of samples or widths differ, or a label is
        not a row of the centers.
    """
    checked = {name: _checked_tensor(name, value, min_views) for name, value in tensors.items()}
    leading_name, leading = next(iter(checked.items()))
    labels, centers = checked.get("labels"), checked.get("centers")
    if labels is not None and labels.shape[0] != leading.shape[0]:
        raise ValueError(
            f"Got labels of shape {tuple(labels.shape)}, expected ({leading.shape[0]},): one "
            f"label per sample of {leading_name}."
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
        name: tensor.to(
            leading.device,
            dtypes.get(name, dtype),
            non_blocking=tensor.device.type == "cpu",  # copies overlap with work on a GPU
        )
        for name, tensor in checked.items()
    }
