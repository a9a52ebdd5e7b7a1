"""Training samples that are kept to judge new ones: how typical they are, how sure a label is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

_MAX_ROWS, _MIN_ROWS = 1024, 256
_MAX_VALUES = 4_000_000  # of the summaries that are kept
_N_NEAREST = 5  # for scores
_N_VOTES = 10  # for the temperature
_ANY_TWO = 2.0  # expected squared distance of two samples in a block of mean squared norm 1
_SAME = 1e-10  # squared distance of a sample to itself, after rounding
_RESOLUTION = 1e-3  # distances are not told apart below it
_LOG_TEMPERATURE = (-8.0, 3.0)  # squared distances of unit vectors are at most 4
_ROWS = 1024  # samples per block of the distance matrix

Summaries = Mapping[str, tuple[np.ndarray, np.ndarray]]


def reference_rows(n_samples: int, width: int) -> np.ndarray:
    """Choose training samples at equal distances, at most 1,024, fewer if summaries are wide.

    Examples
    --------
    >>> reference_rows(3, 10).tolist()
    [0, 1, 2]
    >>> len(reference_rows(5000, 10)), len(reference_rows(5000, 10_000))
    (1024, 400)
    """
    limit = min(_MAX_ROWS, max(_MAX_VALUES // max(width, 1), _MIN_ROWS))
    return np.linspace(0, n_samples - 1, min(n_samples, limit)).round().astype(np.int64)


def _squared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute squared distances in float64, (n_first, n_second)."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    found = first @ (-2 * second.T)
    found += np.square(first).sum(axis=1)[:, None]
    found += np.square(second).sum(axis=1)
    return np.maximum(found, 0, out=found)


def _nearest_others(squared: np.ndarray, n_nearest: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest references; one that is the sample itself is left out.

    Returns
    -------
    places : ndarray of int, shape (n_samples, n_nearest)
    squared : ndarray of shape (n_samples, n_nearest)
        Their squared distances, nearest first.
    """
    places = np.argpartition(squared, n_nearest, axis=1)[:, : n_nearest + 1]
    found = np.take_along_axis(squared, places, axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    places, found = np.take_along_axis(places, order, 1), np.take_along_axis(found, order, 1)
    skipped = (found[:, 0] <= _SAME).astype(np.int64)
    columns = skipped[:, None] + np.arange(n_nearest)
    return np.take_along_axis(places, columns, 1), np.take_along_axis(found, columns, 1)


def _mean_distance(squared: np.ndarray) -> np.ndarray:
    return np.sqrt(squared).mean(axis=1) + _RESOLUTION


@dataclass
class References:
    r"""Training samples in the input and in the embedding, and what is known of them.

    Attributes
    ----------
    summaries : dict of str to (ndarray of float32 (n_references, width), ndarray of bool)
        Standardized summary of each modality, with mean squared norm 1, and the samples that have
        the modality.
    moments : dict of str to (ndarray (width,), ndarray (width,))
        Mean, and scale to divide by, of each modality's summaries.
    embedding : ndarray of float32, shape (n_references, n_components)
    distances : ndarray of shape (n_references,)
        Mean distance, in the input, to the five nearest others.
    neighbors : ndarray of int, shape (n_references, n_neighbors)
        The ten nearest others in the input.
    scores : ndarray of shape (n_references,)
        Scores of the references, each without itself.

    Notes
    -----
    The score of a sample with input :math:`x` and embedding :math:`h` is

    .. math:: -\log d_h - \log \frac{d_x}{\bar d_x}

    where :math:`d_h` and :math:`d_x` are mean distances to its five nearest references in the
    embedding and in the input, and :math:`\bar d_x` is the mean of :math:`d_x` over its five
    nearest references in the input: the simplified local outlier factor.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.random.default_rng(0).normal(size=(40, 3))
    >>> everywhere = np.ones(40, dtype=bool)
    >>> kept = References.build({"a": (values, everywhere)}, values)
    >>> far = np.full((1, 3), 9.0)
    >>> bool(kept.score({"a": (far, everywhere[:1])}, far)[0] < kept.scores.min())
    True
    """

    summaries: dict[str, tuple[np.ndarray, np.ndarray]]
    moments: dict[str, tuple[np.ndarray, np.ndarray]]
    embedding: np.ndarray
    distances: np.ndarray = field(init=False)
    neighbors: np.ndarray = field(init=False)
    scores: np.ndarray = field(init=False)

    @classmethod
    def build(cls, summaries: Summaries, embedding: np.ndarray) -> References:
        """Keep training samples.

        Parameters
        ----------
        summaries : dict of str to (ndarray (n_references, width), ndarray of bool)
            Summaries as the encoder gives them, and the samples that have the modality.
        embedding : ndarray of shape (n_references, n_components)
        """
        moments = {}
        for name, (values, present) in summaries.items():
            here = values[present].astype(np.float64)
            mean = here.mean(axis=0) if len(here) else np.zeros(values.shape[1])
            scale = here.std(axis=0) if len(here) else np.ones(values.shape[1])
            scale = np.where(scale > 1e-6 * (np.abs(mean) + 1), scale, 1.0)
            norm = np.sqrt(np.square((here - mean) / scale).sum() / max(len(here), 1))
            moments[name] = mean, scale * max(norm, 1e-6)
        kept = cls({}, moments, embedding)
        kept.summaries = kept.standardized(summaries)
        squared, n_others = kept.input_distances(kept.summaries), len(embedding) - 1
        kept.neighbors, found = _nearest_others(squared, min(_N_VOTES, n_others))
        kept.distances = _mean_distance(found[:, :_N_NEAREST])
        kept.scores = kept._scores(kept.neighbors, found, embedding)
        return kept

    def standardized(self, summaries: Summaries) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Scale summaries as those of the references; zeros for a missing modality."""
        found = {}
        for name, (mean, scale) in self.moments.items():
            values, present = summaries[name]
            standard = np.where(present[:, None], (values - mean) / scale, 0.0)
            found[name] = standard.astype(np.float32), present
        return found

    def input_distances(self, summaries: Summaries, others: Summaries | None = None) -> np.ndarray:
        """Compute squared distances of standardized samples to others, by default the references.

        Modalities count the same. If either sample lacks one, its distance is the average one;
        samples that lack the same and are equal otherwise have distance 0.
        """
        total = gaps = alike = None
        for name, (values, present) in (self.summaries if others is None else others).items():
            mine, here = summaries[name]
            squared = _squared(mine, values)
            if not (here.all() and present.all()):
                lacking = ~(here[:, None] & present)
                gap, equal = np.where(lacking, 0.0, squared), here[:, None] == present
                squared[lacking] = _ANY_TWO
                alike = equal if alike is None else alike & equal
            else:
                gap = squared
            total = squared if total is None else total + squared
            gaps = gap if gaps is None else gaps + gap
        assert total is not None and gaps is not None
        if alike is not None:
            total = np.where(alike & (gaps <= _SAME), 0.0, total)
        return total if len(self.moments) == 1 else total / len(self.moments)

    def score(self, summaries: Summaries, embedding: np.ndarray) -> np.ndarray:
        """Score samples, (n_samples,); larger is more typical.

        Parameters
        ----------
        summaries : dict of str to (ndarray (n_samples, width), ndarray of bool (n_samples,))
            As the encoder gives them.
        embedding : ndarray of shape (n_samples, n_components)
        """
        standard, scores = self.standardized(summaries), np.empty(len(embedding))
        for start in range(0, len(embedding), _ROWS):
            rows = slice(start, start + _ROWS)
            block = {name: (values[rows], here[rows]) for name, (values, here) in standard.items()}
            found = _nearest_others(self.input_distances(block), self._n_nearest)
            scores[rows] = self._scores(*found, embedding[rows])
        return scores

    def _scores(self, places: np.ndarray, squared: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        """Score samples by their nearest references in the input and by the embedding."""
        around = self.distances[places[:, :_N_NEAREST]].mean(axis=1)
        far = _mean_distance(squared[:, :_N_NEAREST])
        near = _nearest_others(_squared(embedding, self.embedding), self._n_nearest)[1]
        return np.log(around / (far * _mean_distance(near)))

    @property
    def _n_nearest(self) -> int:
        return min(_N_NEAREST, len(self.embedding) - 1)

    def temperature(self, labels: np.ndarray, offsets: np.ndarray) -> float:
        r"""Fit the temperature of a softmax to the labels of neighbors in the input.

        Parameters
        ----------
        labels : ndarray of int, shape (n_references,)
        offsets : ndarray of shape (n_references, n_clusters)
            Squared distances to the centers, up to a constant per sample.

        Returns
        -------
        float
            The :math:`T` that minimizes the mean cross-entropy of
            :math:`\mathrm{softmax}(-d^2 / T)` with the shares of the clusters among the ten
            nearest references in the input; 1 if there is one cluster.
        """
        if offsets.shape[1] == 1:
            return 1.0
        votes = np.zeros(offsets.shape)
        for column in labels[self.neighbors].T:
            votes[np.arange(len(votes)), column] += 1 / self.neighbors.shape[1]

        def cross_entropy(logarithm: float) -> float:
            return -float((votes * log_softmax(-offsets / np.exp(logarithm), axis=1)).sum())

        found = minimize_scalar(cross_entropy, bounds=_LOG_TEMPERATURE, method="bounded")
        return float(np.exp(found.x))
