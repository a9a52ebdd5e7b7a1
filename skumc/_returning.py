"""Fits that continue from an earlier one: warm starts with stable ids, and ``partial_fit``."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator
from sklearn.cluster import DBSCAN

from skumc._assembly import read_samples
from skumc._devices import resolve_device
from skumc._doubt import input_summaries, references_of
from skumc._fitted import all_or_nothing
from skumc.data import MultimodalData, read_X
from skumc.neighbors._references import References, Summaries
from skumc.training._clustering import assign_labels
from skumc.training._embedding import embed
from skumc.training._settings import TrainingSettings

_SHARE_OF_RATE = 0.1  # of the learning rates, for an encoder that was trained before
_QUANTILE = 0.05  # of the training samples' scores: less typical samples move no center
_LEAST_GROUP = 10  # samples of a candidate for a new cluster
_LEAST_NEAR = 5  # samples within reach of a sample in the core of a candidate
_REACH = 0.75  # quantile of the training samples' distances to their neighbors


class EarlierFit(NamedTuple):
    """The state of a fitted clusterer from which ``fit`` continues.

    Attributes
    ----------
    encoder : Module
        A copy, which may be trained.
    centers : ndarray of float32, shape (n_clusters, n_components)
    """

    encoder: torch.nn.Module
    centers: np.ndarray

    @classmethod
    def of(cls, estimator: Any) -> EarlierFit | None:
        """Take the state of an estimator; None without ``warm_start`` or an earlier fit."""
        if not estimator.warm_start or not hasattr(estimator, "encoder_"):
            return None
        return cls(copy.deepcopy(estimator.encoder_), estimator.cluster_centers_)

    def read(self, estimator: Any, X: Any) -> MultimodalData:
        """Read X with the modalities of the earlier fit."""
        try:
            return read_X(estimator, X, estimator.modalities, reset=False)
        except ValueError as error:
            raise ValueError(
                f"{error} With warm_start=True, fit continues from the encoder of the last fit, "
                "which reads its modalities and widths only. Set warm_start=False to fit other "
                "samples from scratch."
            ) from error

    def settings(self, settings: TrainingSettings) -> TrainingSettings:
        """Change the settings of a training run: no pretraining, smaller learning rates."""
        return replace(
            settings,
            pretrain_epochs=0,
            learning_rate=_SHARE_OF_RATE * settings.learning_rate,
            text_learning_rate=_SHARE_OF_RATE * settings.text_learning_rate,
        )

    def start(self, estimator: Any, data: MultimodalData) -> tuple[np.ndarray, np.ndarray]:
        """Predict as the estimator did after the earlier fit; return labels and centers."""
        found = embed(self.encoder, data, resolve_device(estimator.device), estimator.precision)
        return assign_labels(found.embedding, self.centers), self.centers


def keep_ids(estimator: Any, start: tuple[np.ndarray, np.ndarray] | None) -> None:
    """Set the labels, with the ids of the earlier fit, and what is known of the clusters.

    Parameters
    ----------
    estimator : UMCClusterer
        With the embedding and the centers of the present fit.
    start : (labels, centers) or None
        Of the same samples, by the earlier fit.
    """
    embedding, centers = estimator.embedding_, estimator.cluster_centers_
    for name in ("drift_", "new_cluster_candidates_"):  # of a partial_fit before
        vars(estimator).pop(name, None)
    estimator.matched_from_ = np.full(len(centers), -1)
    if start is not None:
        earlier, found = start[0], assign_labels(embedding, centers)
        order, estimator.matched_from_ = match_ids(earlier, found, len(start[1]), len(centers))
        estimator.cluster_centers_ = centers = centers[order]
    estimator.labels_ = assign_labels(embedding, centers)
    estimator.counts_ = np.bincount(estimator.labels_, minlength=len(centers))
    squared = np.square(embedding - centers[estimator.labels_]).sum(axis=1, dtype=np.float64)
    sums = np.bincount(estimator.labels_, weights=squared, minlength=len(centers))
    estimator.cluster_radii_ = np.sqrt(sums / np.maximum(estimator.counts_, 1))


def match_ids(
    earlier: np.ndarray, found: np.ndarray, n_earlier: int, n_found: int
) -> tuple[np.ndarray, np.ndarray]:
    """Match clusters to those of an earlier fit by the samples that they share.

    Parameters
    ----------
    earlier, found : ndarray of int, shape (n_samples,)
        Labels of the same samples.
    n_earlier, n_found : int
        Numbers of clusters.

    Returns
    -------
    order : ndarray of int, shape (n_found,)
        For each id the cluster in ``found`` that gets it.
    matched_from : ndarray of int, shape (n_found,)
        For each id the id in ``earlier`` that the cluster had; -1 for a new cluster.

    Notes
    -----
    The Hungarian method maximizes the number of samples in matched pairs. A match keeps its
    earlier id where that is below ``n_found``; other clusters get the remaining ids.

    Examples
    --------
    >>> import numpy as np
    >>> order, matched_from = match_ids(np.array([0, 0, 1]), np.array([2, 2, 0]), 2, 3)
    >>> order.tolist(), matched_from.tolist()
    ([2, 0, 1], [0, 1, -1])
    """
    shared = np.zeros((n_earlier, n_found))
    np.add.at(shared, (earlier, found), 1)
    pairs = [
        (int(old), int(new))
        for old, new in zip(*linear_sum_assignment(shared, maximize=True), strict=True)
        if shared[old, new]
    ]
    order, matched_from = np.full(n_found, -1), np.full(n_found, -1)
    moved = [pair for pair in pairs if pair[0] >= n_found]
    for old, new in pairs:
        if old < n_found:
            order[old], matched_from[old] = new, old
    matched = {new for _, new in pairs}
    fresh = [(-1, new) for new in range(n_found) if new not in matched]
    free = np.flatnonzero(order < 0)
    for place, (old, new) in zip(free, moved + fresh, strict=True):
        order[place], matched_from[place] = new, old
    return order, matched_from


def _groups(kept: References, summaries: Summaries) -> list[np.ndarray]:
    """Find dense groups of samples in the input, the largest first, as places."""
    if len(next(iter(summaries.values()))[0]) < _LEAST_GROUP:
        return []
    standard = kept.standardized(summaries)
    distances = np.sqrt(kept.input_distances(standard, standard))
    reach = np.quantile(kept.distances, _REACH)
    found = DBSCAN(eps=reach, min_samples=_LEAST_NEAR, metric="precomputed").fit(distances)
    groups = [np.flatnonzero(found.labels_ == k) for k in range(found.labels_.max() + 1)]
    return sorted((g for g in groups if len(g) >= _LEAST_GROUP), key=len, reverse=True)


def _move_centers(
    estimator: Any,
    embedding: np.ndarray,
    labels: np.ndarray,
    typical: np.ndarray,
    known: np.ndarray,
) -> None:
    """Set the running means, their counts and the drift.

    Parameters
    ----------
    estimator : UMCClusterer
    embedding : ndarray of shape (n_samples, n_components)
    labels : ndarray of int, shape (n_samples,)
    typical : ndarray of bool, shape (n_samples,)
        Samples that move centers.
    known : ndarray of bool, shape (n_samples,)
        Samples that count for the drift.
    """
    centers = estimator.cluster_centers_.astype(np.float64)
    counts, drift = estimator.counts_.copy(), np.full(len(centers), np.nan)
    for k, center in enumerate(estimator.cluster_centers_.astype(np.float64)):
        here = embedding[known & (labels == k)].astype(np.float64)
        if len(here):
            drift[k] = np.linalg.norm(here.mean(axis=0) - center)
        used = embedding[typical & (labels == k)].astype(np.float64)
        counts[k] += len(used)
        centers[k] += (used - center).sum(axis=0) / max(counts[k], 1)
    estimator.drift_, estimator.counts_ = drift / np.maximum(estimator.cluster_radii_, 1e-6), counts
    estimator.cluster_centers_ = centers.astype(estimator.cluster_centers_.dtype)


def _update(estimator: Any, data: MultimodalData) -> None:
    embedding = estimator._embed(data).embedding
    labels = assign_labels(embedding, estimator.cluster_centers_)
    summaries = input_summaries(estimator, data)
    references = references_of(estimator)
    scores = references.score(summaries, embedding)
    typical = scores >= np.quantile(references.scores, _QUANTILE)
    atypical = np.flatnonzero(~typical)
    rejected = {name: (v[atypical], here[atypical]) for name, (v, here) in summaries.items()}
    estimator.new_cluster_candidates_ = [atypical[group] for group in _groups(references, rejected)]
    known = np.ones(len(data), dtype=bool)
    known[np.concatenate([atypical[:0], *estimator.new_cluster_candidates_])] = False
    _move_centers(estimator, embedding, labels, typical, known)
    estimator.embedding_ = embedding
    estimator.labels_ = assign_labels(embedding, estimator.cluster_centers_)


class ReturningMixin(BaseEstimator):
    """Updates of a fitted clusterer with new samples."""

    def partial_fit(self, X: Any, y: Any = None) -> ReturningMixin:
        """Update the centers with new samples; the encoder stays as it is.

        The first call of an estimator that is not fitted is ``fit``.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
            With the modalities of ``fit``.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        UMCClusterer
            The estimator itself. ``labels_`` and ``embedding_`` are then those of X.

        Notes
        -----
        Each center becomes the mean of all samples counted in ``counts_``. Samples that
        ``is_outlier(X, quantile=0.05)`` names move no center. Those of them that form dense groups
        in the input are reported in ``new_cluster_candidates_``: groups of at least ten by DBSCAN,
        where a core sample has at least five samples, itself included, within the distance at
        which three of four training samples have their nearest neighbors. No center is added,
        removed or renumbered. ``references_`` and ``temperature_`` stay those of ``fit``.
        """
        del y
        if not hasattr(self, "encoder_"):
            return self.fit(X)
        self._validate_params()
        data = read_samples(self, X)
        with all_or_nothing(self):
            _update(self, data)
        return self
