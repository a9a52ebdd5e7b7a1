"""Synthetic multimodal data with known clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from skumc._parts import unknown_name_message
from skumc.data import MultimodalData, Ragged

_WIDTHS = {"text": 16, "audio": 12, "video": 20}
_LENGTHS = (1, 8)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real)


def _whole(argument: str, value: Any, lowest: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"Got {argument}={value!r}, expected a whole number of {lowest} or more.")
    return int(value)


def _number(argument: str, value: Any, highest: float = np.inf) -> float:
    if not _is_real(value) or isinstance(value, bool) or not 0 <= value <= highest:
        wanted = "0 or more" if np.isinf(highest) else f"0 to {highest:g}"
        raise ValueError(f"Got {argument}={value!r}, expected a number of {wanted}.")
    if np.isinf(value):
        raise ValueError(f"Got {argument}={value!r}, expected a finite number.")
    return float(value)


def _check_names(argument: str, given: Sequence[str], known: Mapping[str, int]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(unknown_name_message(argument, ", ".join(map(str, unknown)), known))


def _by_modality(argument: str, value: Any, default: Any, names: Mapping[str, int]) -> dict:
    """Spread a setting over the modalities; a dict may leave some at the default."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    _check_names(argument, list(value), names)
    return {name: value.get(name, default) for name in names}


def _numbers(
    argument: str, value: Any, default: float, names: Mapping[str, int], highest: float = np.inf
) -> dict[str, float]:
    """Spread a number over the modalities and check it."""
    return {
        name: _number(f"{argument} for {name!r}", number, highest)
        for name, number in _by_modality(argument, value, default, names).items()
    }


def _widths(modalities: Any) -> dict[str, int]:
    if modalities is None:
        return dict(_WIDTHS)
    if not isinstance(modalities, Mapping) or not modalities:
        raise ValueError(
            f"Got modalities={modalities!r}, expected a dict from name to width, for example "
            '{"text": 16, "audio": 12}.'
        )
    return {name: _whole(f"modalities[{name!r}]", w, 1) for name, w in modalities.items()}


def _length_range(name: str, lengths: Any) -> tuple[int, int]:
    """Check the shortest and the longest sequence of a modality."""
    ends = (lengths, lengths) if isinstance(lengths, Integral) else lengths
    if not isinstance(ends, Sequence) or isinstance(ends, str) or len(ends) != 2:
        raise ValueError(
            f"Got lengths={lengths!r} for {name!r}, expected a whole number of frames, or the "
            "shortest and the longest, such as (1, 8)."
        )
    low = _whole(f"lengths for {name!r}", ends[0], 1)
    return low, _whole(f"longest of lengths for {name!r}", ends[1], low)


def _cluster_weights(imbalance: Any, n_clusters: int) -> np.ndarray:
    """Compute the share of the samples in each cluster; shares sum to 1."""
    if _is_real(imbalance):
        if not 0 <= imbalance < 1:
            raise ValueError(f"Got imbalance={imbalance!r}, expected at least 0 and less than 1.")
        weights = (1.0 - imbalance) ** np.linspace(0, 1, n_clusters)
    else:
        weights = np.asarray(imbalance, dtype=np.float64)
        if weights.shape != (n_clusters,) or not np.all((weights > 0) & np.isfinite(weights)):
            raise ValueError(
                f"Got imbalance={imbalance!r}, expected a number, or {n_clusters} positive "
                "weights, one per cluster."
            )
    return weights / weights.sum()


def _cluster_sizes(n_samples: int, weights: np.ndarray) -> np.ndarray:
    """Round shares of ``n_samples`` to whole numbers with the same sum, by less than 1 each.

    An empty cluster takes a sample from the largest.
    """
    shares = n_samples * weights
    sizes = np.floor(shares).astype(np.int64)
    largest_remainders = np.argsort(sizes - shares, kind="stable")[: n_samples - sizes.sum()]
    sizes[largest_remainders] += 1
    for cluster in np.flatnonzero(sizes == 0):
        sizes[np.argmax(sizes)] -= 1
        sizes[cluster] += 1
    return sizes


def _absences(n_samples: int, shares: dict[str, float], rng: np.random.RandomState) -> np.ndarray:
    """Draw the missing modalities, (n_samples, n_modalities); no sample misses all."""
    counts = [int(share * n_samples + 1e-9) for share in shares.values()]
    if sum(counts) > n_samples * (len(shares) - 1):
        raise ValueError(
            f"Got missing={shares}: the shares sum to {sum(shares.values()):g}, expected at most "
            f"{len(shares) - 1}, so that every sample keeps one modality. Lower them."
        )
    absent = np.zeros((n_samples, len(shares)), dtype=bool)
    for column, count in enumerate(counts):
        absent[rng.permutation(n_samples)[:count], column] = True
    for row in np.flatnonzero(absent.all(axis=1)):
        # move one absence of this sample to a sample that has two modalities or more
        giver = rng.choice(np.flatnonzero(absent.sum(axis=1) <= len(shares) - 2))
        column = rng.choice(np.flatnonzero(~absent[giver]))
        absent[giver, column], absent[row, column] = True, False
    return absent


def _modality(
    labels: np.ndarray,
    lengths: np.ndarray,
    centers: np.ndarray,
    noise: float,
    frame_noise: float,
    n_informative: int | None,
    rng: np.random.RandomState,
) -> Ragged:
    """Draw frames around samples, and samples around the centers of their labels.

    Only ``n_informative`` frames of a sequence are, all others are noise.
    """
    n_samples, width = len(labels), centers.shape[1]
    samples = centers[labels] + noise * rng.standard_normal((n_samples, width))
    frames = np.repeat(samples, lengths, axis=0)
    if n_informative is not None:
        owner = np.repeat(np.arange(n_samples), lengths)
        order = np.lexsort((rng.random_sample(len(frames)), owner))
        place = np.arange(len(frames)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        frames[order[place >= n_informative]] = 0.0
    frames += frame_noise * rng.standard_normal(frames.shape)
    return Ragged.from_lengths(frames.astype(np.float32), lengths)


def make_multimodal_blobs(
    n_samples: int = 300,
    n_clusters: int = 4,
    *,
    modalities: Mapping[str, int] | None = None,
    lengths: int | tuple[int, int] | Mapping[str, Any] = _LENGTHS,
    center_scale: float = 2.0,
    noise: float | Mapping[str, float] = 1.0,
    frame_noise: float | Mapping[str, float] = 1.0,
    missing: float | Mapping[str, float] = 0.0,
    n_informative_frames: int | Mapping[str, int | None] | None = None,
    uninformative: str | Sequence[str] | None = None,
    imbalance: float | ArrayLike = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[MultimodalData, np.ndarray]:
    r"""Draw multimodal samples, sequences of frames around cluster centers.

    Parameters
    ----------
    n_samples : int, default=300
        Number of samples.
    n_clusters : int, default=4
        Number of clusters, at most ``n_samples``.
    modalities : dict of str to int, default=None
        Width of each modality's frames; None is ``{"text": 16, "audio": 12, "video": 20}``.
    lengths : int, (int, int), or dict of such by modality, default=(1, 8)
        Number of frames per sequence, or the smallest and the largest number. Modalities that a
        dict leaves out have the default, here and below.
    center_scale : float, default=2.0
        Standard deviation of the cluster centers' coordinates, :math:`\gamma`.
    noise : float or dict of str to float, default=1.0
        Standard deviation of samples around their center, :math:`\sigma_m`.
    frame_noise : float or dict of str to float, default=1.0
        Standard deviation of frames around their sample, :math:`\tau_m`.
    missing : float or dict of str to float, default=0.0
        Share of the samples that miss a modality, 0 to 1. The shares sum to at most the number of
        modalities minus 1.
    n_informative_frames : int, None, or dict of such by modality, default=None
        Number of frames of a sequence that tell about its sample, at random places; all other
        frames are noise. None is all frames.
    uninformative : str, sequence of str, or None, default=None
        Modalities that are independent of the clusters.
    imbalance : float or array-like of shape (n_clusters,), default=0.0
        Decline of the cluster sizes: with a number b in [0, 1) they decline geometrically, and the
        smallest is about 1 - b times the largest. Or a weight for each cluster.
    random_state : int, RandomState or None, default=None
        Seed of the random numbers; pass an int for the same data in every call.

    Returns
    -------
    X : MultimodalData of shape (n_samples, n_modalities)
        Values are float32.
    y : ndarray of int, shape (n_samples,)
        Cluster of each sample, 0 to n_clusters - 1, in random order; no cluster is empty.

    Raises
    ------
    ValueError
        If a number is out of range, there are more clusters than samples, a modality is unknown,
        or the missing shares leave some samples without any modality.

    Notes
    -----
    Frame :math:`t` of sample :math:`i` in modality :math:`m` is

    .. math::

        x_{mit} = \mu_{m z_{mi}} + \sigma_m a_{mi} + \tau_m e_{mit}

    where the centers :math:`\mu_{mk}` have independent normal coordinates with standard deviation
    :math:`\gamma`, :math:`a_{mi}` and :math:`e_{mit}` are vectors of independent standard normal
    numbers, and :math:`z_{mi} = y_i`. A frame that is not informative is
    :math:`x_{mit} = \tau_m e_{mit}`. In an uninformative modality :math:`z_m` is a random
    permutation of :math:`y`, drawn for this modality. Its frames have the same distribution as
    those of an informative one with the same width and settings: number and scale of the centers,
    shares of samples, noise within and between samples, and lengths are the same. They are
    independent of :math:`y`, which the modality alone does not reveal.

    Lengths are uniform on the whole numbers of their range. Each modality misses exactly
    :math:`\lfloor s_m n \rfloor` samples, where :math:`s_m` is its share and :math:`n` the number
    of samples; the choice is independent of y, and no sample misses all modalities. Cluster sizes
    are the weighted shares of n rounded by largest remainders, and at least 1.

    Examples
    --------
    >>> from skumc.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(
    ...     100, 3, missing={"audio": 0.2}, uninformative="video", random_state=0
    ... )
    >>> X
    MultimodalData(100 samples; widths text: 16, audio: 12, video: 20)
    >>> X.present.sum(axis=0).tolist(), y.shape
    ([100, 80, 100], (100,))

    Clusters of declining size:

    >>> import numpy as np
    >>> _, y = make_multimodal_blobs(70, 3, imbalance=0.75, random_state=0)
    >>> np.bincount(y).tolist()
    [40, 20, 10]
    """
    n_clusters = _whole("n_clusters", n_clusters, 1)
    n_samples = _whole("n_samples", n_samples, n_clusters)
    widths = _widths(modalities)
    ranges = {
        name: _length_range(name, ends)
        for name, ends in _by_modality("lengths", lengths, _LENGTHS, widths).items()
    }
    center_scale = _number("center_scale", center_scale)
    noises = _numbers("noise", noise, 1.0, widths)
    frame_noises = _numbers("frame_noise", frame_noise, 1.0, widths)
    shares = _numbers("missing", missing, 0.0, widths, highest=1.0)
    informative = {
        name: None if n is None else _whole(f"n_informative_frames for {name!r}", n, 1)
        for name, n in _by_modality(
            "n_informative_frames", n_informative_frames, None, widths
        ).items()
    }
    uninformative = [uninformative] if isinstance(uninformative, str) else uninformative or []
    _check_names("uninformative", uninformative, widths)
    sizes = _cluster_sizes(n_samples, _cluster_weights(imbalance, n_clusters))

    rng = check_random_state(random_state)
    y = rng.permutation(np.repeat(np.arange(n_clusters), sizes))
    absent = _absences(n_samples, shares, rng)
    stores = {}
    for column, (name, width) in enumerate(widths.items()):
        labels = rng.permutation(y) if name in uninformative else y
        low, high = ranges[name]
        n_frames = np.where(absent[:, column], 0, rng.randint(low, high + 1, n_samples))
        centers = center_scale * rng.standard_normal((n_clusters, width))
        stores[name] = _modality(
            labels, n_frames, centers, noises[name], frame_noises[name], informative[name], rng
        )
    return MultimodalData(stores), y
