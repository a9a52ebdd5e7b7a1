"""Batches for inference: samples of similar length together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skumc.data._container import MultimodalData

_INFERENCE_FRAMES = 8_192  # frames per batch, padding included, where no gradient is kept


def inference_batches(data: MultimodalData) -> Iterator[np.ndarray]:
    """Yield row numbers of samples of similar length, within a budget of padded frames.

    A sample longer than the budget gets a batch of its own.

    Examples
    --------
    >>> import numpy as np
    >>> X = MultimodalData({"audio": [np.ones((n, 1)) for n in (4500, 4000, 4000)]})
    >>> [rows.tolist() for rows in inference_batches(X)]
    [[1, 2], [0]]
    """
    lengths = np.maximum(data.lengths.max(axis=1), 1)
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = min(len(order), start + max(1, _INFERENCE_FRAMES // lengths[order[start]]))
        while stop - start > 1 and (stop - start) * lengths[order[stop - 1]] > _INFERENCE_FRAMES:
            stop = start + max(
                1, min(stop - start - 1, _INFERENCE_FRAMES // lengths[order[stop - 1]])
            )
        yield order[start:stop]
        start = stop
