"""Check of the gates after training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skumc._warnings import warn_caller

_MOST, _LEAST = 0.95, 0.02  # mean share beyond which a modality is alone, or lost


def warn_of_collapsed_gates(
    gates: np.ndarray, present: np.ndarray, names: Sequence[str], shares: Sequence[float] | None
) -> None:
    """Warn if the gates of a modality have nearly all or nothing, and did not start there.

    Parameters
    ----------
    gates : ndarray of shape (n_samples, n_modalities)
    present : ndarray of bool, shape (n_samples, n_modalities)
        Only samples with two modalities or more count.
    names : sequence of str
    shares : sequence of float or None
        Relative shares before training; None means equal ones.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> gates, present = np.array([[0.99, 0.01]]), np.ones((1, 2), dtype=bool)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_of_collapsed_gates(gates, present, ["text", "audio"], None)
    ...     warn_of_collapsed_gates(gates, present, ["text", "audio"], [1.0, 0.01])
    >>> len(caught)
    1
    """
    several = present.sum(axis=1) > 1
    if gates.shape[1] != len(names):  # an encoder of the user's with gates of another kind
        return
    weights = np.asarray([1.0] * len(names) if shares is None else shares)
    found = []
    for place, name in enumerate(names):
        rows = several & present[:, place]
        if not rows.any():
            continue
        prior = weights[place] / (present[rows] @ weights)
        end, start = gates[rows, place].mean(), prior.mean()
        if end > _MOST >= start or end < _LEAST <= start:
            found.append(f"{name!r} ({start:.2f} before training, {end:.2f} after)")
    if found:
        warn_caller(
            f"The gates collapsed: the mean share of {' and '.join(found)}. Clusters follow the "
            "other modalities, or one alone. Try a smaller learning_rate and "
            "pretrain_learning_rate, or leave out modalities that do not matter.",
            RuntimeWarning,
        )
