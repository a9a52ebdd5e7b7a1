"""Check of the gates after training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from skumc._warnings import warn_caller
from skumc.data import MultimodalData
from skumc.training._embedding import embed
from skumc.training._settings import TrainingSettings

_MAX_GATES = 1000  # samples by which gates are averaged, at most twice as many
_MOST, _LEAST = 0.95, 0.02  # mean share beyond which a modality is alone, or lost


def mean_shares(gates: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Average each modality's gates over the samples that have it and another one.

    Parameters
    ----------
    gates : ndarray of shape (n_samples, n_modalities)
    present : ndarray of bool, shape (n_samples, n_modalities)

    Returns
    -------
    ndarray of shape (n_modalities,)
        NaN for a modality without such samples, and for gates of another shape, which a user's
        encoder may have.

    Examples
    --------
    >>> import numpy as np
    >>> gates = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    >>> mean_shares(gates, np.array([[True, True], [True, True], [True, False]])).tolist()
    [0.625, 0.375]
    """
    if gates.shape != present.shape:
        return np.full(present.shape[1], np.nan)
    counted = present & (present.sum(axis=1, keepdims=True) > 1)
    totals, counts = np.where(counted, gates, 0.0).sum(axis=0), counted.sum(axis=0)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def sampled_shares(
    encoder: nn.Module, data: MultimodalData, settings: TrainingSettings
) -> np.ndarray:
    """Average the gates of at most 2,000 samples, at equal distances; see :func:`mean_shares`."""
    if len(data.names) == 1:
        return np.ones(1)
    some = data[:: max(len(data) // _MAX_GATES, 1)]
    found = embed(encoder, some, settings.device, settings.precision)
    return mean_shares(found.gates, some.present)


def warn_of_collapsed_gates(start: np.ndarray, end: np.ndarray, names: Sequence[str]) -> None:
    """Warn if a modality has nearly all or nothing of the gates, and did not start there.

    Parameters
    ----------
    start, end : ndarray of shape (n_modalities,)
        Mean shares before and after training; nothing is said of NaN.
    names : sequence of str

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> equal, one = np.array([0.5, 0.5]), np.array([0.99, 0.01])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_of_collapsed_gates(equal, one, ["text", "audio"])
    ...     warn_of_collapsed_gates(one, one, ["text", "audio"])
    >>> len(caught)
    1
    """
    found = [
        f"{name!r} ({before:.2f} before training, {after:.2f} after)"
        for name, before, after in zip(names, start, end, strict=True)
        if after > _MOST >= before or after < _LEAST <= before
    ]
    if found:
        warn_caller(
            f"The gates collapsed: the mean share of {' and '.join(found)}. Try a smaller "
            "learning_rate and pretrain_learning_rate, or leave out modalities that do not "
            "matter.",
            RuntimeWarning,
        )
