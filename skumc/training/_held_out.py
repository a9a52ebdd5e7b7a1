"""Training samples that no loss is computed on, by which epochs are compared."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score
from torch import nn

from skumc.data import MultimodalData
from skumc.training._clustering import assign_labels
from skumc.training._embedding import embed
from skumc.training._settings import TrainingSettings


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Compute adjusted mutual information; 0 where either side has a single cluster.

    Examples
    --------
    >>> import numpy as np
    >>> mutual_information(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    >>> mutual_information(np.zeros(4, int), np.zeros(4, int))
    0.0
    """
    if min(len(np.unique(first)), len(np.unique(second))) < 2:
        return 0.0  # scikit-learn gives 1.0 if both have one
    return float(adjusted_mutual_info_score(first, second))


def modality_agreement(
    labels: Mapping[str, np.ndarray], there: Mapping[str, np.ndarray]
) -> float | None:
    """Mean adjusted mutual information over the pairs of modalities.

    Parameters
    ----------
    labels : dict of str to ndarray of int, shape (n_samples,)
        Labels by each modality alone.
    there : dict of str to ndarray of bool, shape (n_samples,)
        Samples that have the modality.

    Returns
    -------
    float or None
        None if no two samples have the same two modalities.

    Examples
    --------
    >>> import numpy as np
    >>> alone = {"text": np.array([0, 0, 1, 1]), "audio": np.array([1, 1, 0, 0])}
    >>> modality_agreement(alone, dict.fromkeys(alone, np.ones(4, dtype=bool)))
    1.0
    """
    scores = []
    for first, second in combinations(labels, 2):
        both = there[first] & there[second]
        if both.sum() > 1:
            scores.append(mutual_information(labels[first][both], labels[second][both]))
    return float(np.mean(scores)) if scores else None


class HeldOut:
    """Training samples that no loss is computed on; the monitor compares epochs by them.

    They are embedded and clustered with the others.

    Parameters
    ----------
    fraction : float in [0, 1), default=0.0
        Share of the samples.
    n_samples : int, default=0
    n_clusters : int, default=1
    rng : RandomState or None, default=None
        Draws the samples; needed if the fraction is not 0.

    Attributes
    ----------
    rows : ndarray of int, shape (n_held_out,)
        Their row numbers, ascending.
    is_trained : ndarray of bool, shape (n_samples,)
        The other ones.

    Raises
    ------
    ValueError
        If no sample would be held out, or fewer than ``n_clusters`` would be left.

    Examples
    --------
    >>> import numpy as np
    >>> held_out = HeldOut(0.2, 10, 3, np.random.RandomState(0))
    >>> len(held_out.rows), int(held_out.is_trained.sum())
    (2, 8)
    """

    def __init__(
        self,
        fraction: float = 0.0,
        n_samples: int = 0,
        n_clusters: int = 1,
        rng: np.random.RandomState | None = None,
    ) -> None:
        self.is_trained = np.ones(n_samples, dtype=bool)
        if fraction and rng is not None:
            n_rows = round(fraction * n_samples)
            if n_rows < 1 or n_samples - n_rows < n_clusters:
                raise ValueError(
                    f"Got validation_fraction={fraction!r}, which holds out {n_rows} of "
                    f"{n_samples} samples; at least one, and at least n_clusters={n_clusters} "
                    "others are needed. Change the fraction, set it to 0, or pass more samples."
                )
            self.is_trained[rng.choice(n_samples, n_rows, replace=False)] = False
        self.rows = np.flatnonzero(~self.is_trained)

    def __len__(self) -> int:
        return len(self.rows)

    def replace_in(self, partners: np.ndarray | None) -> np.ndarray | None:
        """Replace held-out neighbors by other neighbors of the same sample, or by itself.

        Parameters
        ----------
        partners : ndarray of int, shape (n_samples, n_partners), or None

        Returns
        -------
        ndarray of int, shape (n_samples, n_partners), or None
            Each row repeats its neighbors that are trained, in their order.
        """
        if partners is None or not len(self):
            return partners
        trained = self.is_trained[partners]
        first = np.argsort(~trained, axis=1, kind="stable")
        counts = trained.sum(axis=1, keepdims=True)
        places = np.arange(partners.shape[1]) % np.maximum(counts, 1)
        found = np.take_along_axis(partners, np.take_along_axis(first, places, axis=1), axis=1)
        return np.where(counts > 0, found, np.arange(len(partners))[:, None])

    def agreement(
        self,
        encoder: nn.Module,
        data: MultimodalData,
        centers: np.ndarray,
        trusted: Mapping[str, bool],
        settings: TrainingSettings,
    ) -> float:
        """Agreement of labels by single modalities of the held-out samples; 0 without a pair.

        Parameters
        ----------
        encoder : Module
        data : MultimodalData
            All training samples.
        centers : ndarray of shape (n_clusters, n_components)
        trusted : dict of str to bool
            Modalities that are compared.
        settings : TrainingSettings
        """
        names = [name for name in data.names if trusted[name]]
        if len(names) < 2:
            return 0.0
        some = data[self.rows]
        there = dict(zip(some.names, some.present.T, strict=True))
        labels = {}
        for name in names:
            labels[name] = np.full(len(some), -1)
            if there[name].any():
                alone = some[there[name]].with_absent(some.widths, [name])
                found = embed(encoder, alone, settings.device, settings.precision)
                labels[name][there[name]] = assign_labels(found.embedding, centers)
        return modality_agreement(labels, there) or 0.0
