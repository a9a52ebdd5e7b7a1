"""Probabilities of clusters, and how typical samples are of their cluster."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skumc._assembly import read_samples
from skumc._devices import resolve_device
from skumc.data import MultimodalData
from skumc.neighbors._references import References, Summaries, reference_rows
from skumc.training._clustering import assign_labels, center_offsets
from skumc.training._embedding import summarize


def input_summaries(estimator: Any, data: MultimodalData) -> Summaries:
    """Summarize the trusted modalities of samples, with frames in the place of text."""
    known = [name for name in data.names if name not in estimator._unseen_modalities]
    trusted = [name for name in known if estimator.trusted_modalities_[name]]
    device = resolve_device(estimator.device)
    found = summarize(estimator.encoder_.to(device), data, device)
    return {
        name: (found[name].cpu().numpy(), data.present[:, data.names.index(name)])
        for name in trusted or known
    }


def keep_references(estimator: Any, data: MultimodalData) -> None:
    """Set ``references_`` and ``temperature_`` of a clusterer that was just fitted."""
    width = sum(values.shape[1] for values, _ in input_summaries(estimator, data[:1]).values())
    rows = reference_rows(len(data), width)
    embedding = estimator.embedding_[rows]
    estimator.references_ = References.build(input_summaries(estimator, data[rows]), embedding)
    offsets = center_offsets(embedding, estimator.cluster_centers_)
    estimator.temperature_ = estimator.references_.temperature(estimator.labels_[rows], offsets)


def references_of(estimator: Any) -> References:
    """Return the training samples that were kept; raise NotFittedError if they were not saved."""
    if not hasattr(estimator, "references_"):
        raise NotFittedError(
            "The clusterer was saved without the training samples with which score_samples, "
            "is_outlier, reject= and partial_fit compare new ones. Save it by save(folder, "
            "include_embedding=True), or fit it again."
        )
    return estimator.references_


def typicality(estimator: Any, data: MultimodalData, embedding: np.ndarray) -> np.ndarray:
    """Score samples with frames in the place of text; see ``score_samples``."""
    return references_of(estimator).score(input_summaries(estimator, data), embedding)


def least_score(estimator: Any, argument: str, quantile: Any) -> float:
    """Return the quantile of the training samples' scores; check the argument of this name."""
    is_number = isinstance(quantile, Real) and not isinstance(quantile, bool)
    if not is_number or not 0 <= quantile <= 1:
        raise ValueError(
            f"Got {argument}={quantile!r}, expected a number in [0, 1]: the share of the training "
            "samples that count as outliers. Pass a small number such as 0.05."
        )
    return float(np.quantile(references_of(estimator).scores, quantile))


class DoubtMixin(BaseEstimator):
    """Probabilities and outliers, from the training samples that ``fit`` keeps."""

    def predict_proba(self, X: Any) -> np.ndarray:
        r"""Compute the probability of each cluster.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict

        Returns
        -------
        ndarray of float64, shape (n_samples, n_clusters)
            Rows sum to 1; the largest value is that of the cluster that ``predict`` returns.

        Notes
        -----
        :math:`p_{ik} \propto \exp(-\|h_i - c_k\|^2 / T)` for the embedding :math:`h_i`, the centers
        :math:`c_k` and ``temperature_`` :math:`T`. On unit-norm embeddings this is a mixture of von
        Mises-Fisher distributions with one concentration. A concentration by maximum likelihood
        would be far too high, because training contracts the clusters. :math:`T` instead
        minimizes the mean cross-entropy of :math:`p_i` with the shares of the clusters among the
        ten nearest training samples *in the input*, which training does not move.
        """
        embedding = self._embed(read_samples(self, X)).embedding
        labels = assign_labels(embedding, self.cluster_centers_)
        offsets = center_offsets(embedding, self.cluster_centers_)
        probabilities = softmax(-offsets / self.temperature_, axis=1)
        rows = np.flatnonzero(probabilities.argmax(axis=1) != labels)  # ties after rounding
        largest = probabilities[rows].max(axis=1)
        probabilities[rows, labels[rows]] = np.nextafter(largest, np.inf)
        return probabilities

    def score_samples(self, X: Any) -> np.ndarray:
        r"""Score how typical samples are of the training samples around them.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Larger is more typical. Training samples are scored without themselves.

        Notes
        -----
        :math:`-\log d_h - \log (d_x / \bar d_x)`, where :math:`d_h` and :math:`d_x` are the mean
        distances to the five nearest samples of ``references_`` in the embedding and in the
        standardized input of the trusted modalities, and :math:`\bar d_x` is the mean of
        :math:`d_x` over these five: the simplified local outlier factor. The first term is the
        density of the cluster; the second one finds samples that the encoder maps into a cluster
        although nothing like them was there in training.
        """
        data = read_samples(self, X)
        return typicality(self, data, self._embed(data).embedding)

    def is_outlier(self, X: Any, quantile: float = 0.05) -> np.ndarray:
        """Tell which samples are less typical than a share of the training samples.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
        quantile : float in [0, 1], default=0.05
            Share of the training samples that count as outliers.

        Returns
        -------
        ndarray of bool, shape (n_samples,)
        """
        data = read_samples(self, X)
        least = least_score(self, "quantile", quantile)
        return typicality(self, data, self._embed(data).embedding) < least
