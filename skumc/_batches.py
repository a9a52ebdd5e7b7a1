"""Samples of a container as a batch of tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skumc._sequences import sent
from skumc.data import MultimodalData


def to_batch(data: MultimodalData, rows: np.ndarray) -> dict[str, tuple[Tensor, Tensor]]:
    """Frames and lengths of the samples ``rows``, by modality, on the CPU.

    Parameters
    ----------
    data : MultimodalData
    rows : ndarray of int, shape (n_samples,)

    Returns
    -------
    dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))

    Examples
    --------
    >>> import numpy as np
    >>> X = MultimodalData({"audio": [[[1.0], [2.0]], [[3.0]]]})
    >>> frames, lengths = to_batch(X, np.array([1, 0]))["audio"]
    >>> frames.squeeze(1).tolist(), lengths.tolist()
    ([3.0, 1.0, 2.0], [1, 2])
    """
    batch = {}
    for name in data.names:
        store = data.packed(name, rows)
        values = np.ascontiguousarray(store.values)
        if not values.flags.writeable:
            values = values.copy()
        if values.dtype == np.float16:
            values = values.astype(np.float32)
        batch[name] = (torch.from_numpy(np.asarray(values)), torch.from_numpy(store.lengths))
    return batch


def to_device(
    batch: dict[str, tuple[Tensor, Tensor]], device: torch.device
) -> dict[str, tuple[Tensor, Tensor]]:
    """Move the frames of a batch to ``device``; lengths stay on the CPU.

    Copies to a GPU start from pinned memory and block nothing.
    """
    if device.type != "cuda":
        return batch
    return {name: (sent(frames, device), lengths) for name, (frames, lengths) in batch.items()}
