"""Methods of a fitted clusterer that read new samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from skumc._assembly import read_samples
from skumc._devices import resolve_device
from skumc._doubt import least_score, typicality
from skumc.data import MultimodalData, with_index
from skumc.training import SilhouetteMonitor
from skumc.training._clustering import assign_labels
from skumc.training._embedding import Embedded, embed, embed_attention


class PredictionMixin(TransformerMixin, BaseEstimator):
    """Embedding, labels and weights of samples, from the fitted encoder and centers."""

    def transform(self, X: Any, missing_rows: str = "raise") -> np.ndarray:
        """Embed samples.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
            With the modalities of ``fit``; an absent one counts as missing in every sample.
        missing_rows : {"raise", "nan"}, default="raise"
            Treatment of samples without any modality: an error, or a row of NaN.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_components)
            Unit-norm rows.
        """
        return with_index(self, X, self._present_rows(X, missing_rows, "embedding"))

    def predict(
        self, X: Any, missing_rows: str = "raise", reject: float | None = None
    ) -> np.ndarray:
        """Assign each sample to the nearest stored center.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
        missing_rows : {"raise", "label -1"}, default="raise"
            Treatment of samples without any modality: an error, or the label -1.
        reject : float in [0, 1] or None, default=None
            Samples that are less typical than this share of the training samples get the label -1,
            see :meth:`is_outlier`. None assigns all samples.

        Returns
        -------
        ndarray of int32, shape (n_samples,)
        """
        data = read_samples(self, X, missing_rows)
        return self._assign(data, None if reject is None else least_score(self, "reject", reject))

    def modality_weights(self, X: Any, missing_rows: str = "raise") -> Any:
        """Return the share of each modality in the embedding of each sample.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
        missing_rows : {"raise", "nan"}, default="raise"
            Treatment of samples without any modality: an error, or a row of NaN.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_modalities)
            In the order of ``modality_widths_``; rows sum to 1. The share of a missing modality is
            0, unless the encoder replaces it with zeros (``missing="zeros"``). After ``set_output``
            a table of pandas or polars with the names of the modalities, and X's index.
        """
        weights = self._present_rows(X, missing_rows, "gates")
        return with_index(self, X, weights, list(self.modality_widths_))

    def attention_weights(self, X: Any) -> dict[str, list[np.ndarray | None]]:
        """Return the weights of the cross-attention from the anchor, per sample.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict

        Returns
        -------
        dict of str to list of n_samples arrays
            For each modality but the anchor, per sample an array of float32 with shape
            (n_heads, n_anchor_frames, n_frames) that sums to 1 over the last axis; None where the
            modality is missing. A sample without its anchor has one row, for a learned placeholder.

        Raises
        ------
        AttributeError
            If the encoder has no cross-attention.
        """
        data, device, weights = read_samples(self, X), resolve_device(self.device), {}
        if hasattr(self.encoder_, "attention_weights"):
            weights = embed_attention(self.encoder_.to(device), data, self.anchor_, device)
        if not weights:
            raise AttributeError(
                f"The encoder {type(self.encoder_).__name__} has no attention_weights: it has no "
                'cross-attention. Use encoder="umc" and several modalities.'
            )
        return weights

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean silhouette of the predicted clusters in the space of the embedding.

        It cannot compare encoders or training: :mod:`skumc.model_selection` has scores that can.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
        y : Ignored

        Returns
        -------
        float
            Within [-1, 1], of at most 5,000 samples; 0.0 where there is only one cluster.
        """
        del y
        embedding = self._embed(read_samples(self, X)).embedding
        labels = assign_labels(embedding, self.cluster_centers_)
        return SilhouetteMonitor(sample_size=5000)(embedding, labels)

    def _present_rows(self, X: Any, missing_rows: str, output: str) -> np.ndarray:
        """Return an output of the encoder; NaN for samples without any modality."""
        data = read_samples(self, X, missing_rows, "nan")
        present = data.present.any(axis=1)
        if present.all():
            return getattr(self._embed(data), output)
        width = self._n_features_out if output == "embedding" else len(data.names)
        rows = np.full((len(data), width), np.nan, dtype=np.float32)
        if present.any():
            rows[present] = getattr(self._embed(data[present]), output)
        return rows

    def _assign(self, data: MultimodalData, least: float | None = None) -> np.ndarray:
        """Assign samples with frames in the place of text.

        The label is -1 for those without any modality, and for scores below ``least``.
        """
        present, labels = data.present.any(axis=1), np.full(len(data), -1, dtype=np.int32)
        if present.any():
            some = data if present.all() else data[present]
            embedding = self._embed(some).embedding
            found = assign_labels(embedding, self.cluster_centers_)
            if least is not None:
                found[typicality(self, some, embedding) < least] = -1
            labels[present] = found
        return labels

    def _embed(self, data: MultimodalData) -> Embedded:
        device = resolve_device(self.device)
        return embed(self.encoder_.to(device), data, device, self.precision)
