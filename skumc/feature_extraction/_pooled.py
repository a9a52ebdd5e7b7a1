"""One matrix from samples that have several modalities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skumc.data import MultimodalData, Ragged, read_X, sample_chunks


def _frame_means(data: MultimodalData, name: str) -> np.ndarray:
    """Mean over the frames of each sample, float64; NaN where the modality is missing."""
    lengths = data.lengths[:, data.names.index(name)]
    width = data.widths[name]
    means = np.full((len(data), width), np.nan)
    for rows in sample_chunks(lengths, width):
        store = data.packed(name, rows)
        present = store.lengths > 0
        if present.any():
            # reduceat gives an empty segment the value at its start, so empty ones are left out;
            # the starts of the others still divide the frames exactly.
            starts = store.offsets[:-1][present]
            sums = np.add.reduceat(store.values, starts, axis=0, dtype=np.float64)
            means[rows][present] = sums / store.lengths[present, None]
    return means


def _mean_and_scale(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each column over the samples that have the modality."""
    known = means[~np.isnan(means[:, 0])]
    return Ragged(known, np.arange(len(known) + 1)).mean_and_scale()


class PooledFeatures(TransformerMixin, BaseEstimator):
    r"""Pool samples with several modalities to one matrix.

    The mean over the frames of each modality, side by side: the way from
    :class:`~skumc.data.MultimodalData` to any estimator that reads a matrix, and a baseline to
    compare a clusterer with.

    Parameters
    ----------
    modalities : dict, list of str or None, default=None
        For a 2-D table the columns of each modality, ``{"text": columns, "audio": columns}``;
        columns are names, numbers, a range or a slice. For samples with named modalities the
        names to use. None uses all; of a table as one modality.
    standardize : bool, default=True
        Bring each column to mean 0 and deviation 1 over the training samples that have the
        modality. A constant column becomes 0.
    scale_blocks : bool, default=False
        Divide the columns of each modality by the square root of their number, so that a wide
        modality does not drown a narrow one in distances.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (n_features_out,)
        Mean of each column over the training samples that have its modality; 0 where none has.
    scale_ : ndarray of float64, shape (n_features_out,)
        Standard deviation of each column over the same samples; 1 for a constant column.
    modality_widths_ : dict of str to int
        Names of the modalities, in order, and values in a frame.
    n_features_in_ : int
        Columns of a table, else number of modalities.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Column names of a DataFrame, or names of the modalities.

    Raises
    ------
    ValueError
        If X misses every modality of a sample, or is no input as described in
        :class:`~skumc.data.MultimodalData`.

    See Also
    --------
    skumc.UMCClusterer : Learns its own representation, from the sequences themselves.

    Notes
    -----
    For modality :math:`m` of width :math:`d_m` and a sample with the frames
    :math:`x_1, ..., x_L`, the columns are

    .. math:: z_m = \frac{1}{s_m} \left( \frac{1}{L} \sum_{l=1}^{L} x_l - \mu_m \right)

    where :math:`\mu_m` and :math:`s_m` are mean and deviation of the pooled training samples
    (0 and 1 without ``standardize``); with ``scale_blocks`` they are divided by
    :math:`\sqrt{d_m}`. A sample that misses the modality gets the training mean there, which is
    0 with ``standardize``. Sums are taken in float64; the matrix is float32 unless a modality is
    float64.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc import MultimodalData
    >>> from skumc.feature_extraction import PooledFeatures
    >>> X = MultimodalData({
    ...     "text": np.array([[0.0], [2.0], [4.0]]),
    ...     "audio": [[[1.0, 1.0], [3.0, 5.0]], None, [[4.0, 7.0]]],
    ... })
    >>> pooled = PooledFeatures(standardize=False).fit(X)
    >>> pooled.transform(X)
    array([[0., 2., 3.],
           [2., 3., 5.],
           [4., 4., 7.]])
    >>> pooled.get_feature_names_out()
    array(['text_0', 'audio_0', 'audio_1'], dtype=object)

    In front of any clusterer:

    >>> from sklearn.cluster import KMeans
    >>> from sklearn.pipeline import make_pipeline
    >>> make_pipeline(PooledFeatures(), KMeans(2, random_state=0)).fit_predict(X).shape
    (3,)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "modalities": [dict, list, tuple, None],
        "standardize": ["boolean"],
        "scale_blocks": ["boolean"],
    }

    def __init__(
        self,
        *,
        modalities: dict | list | None = None,
        standardize: bool = True,
        scale_blocks: bool = False,
    ) -> None:
        self.modalities = modalities
        self.standardize = standardize
        self.scale_blocks = scale_blocks

    def fit(self, X: Any, y: Any = None) -> PooledFeatures:
        """Learn mean and deviation of each column.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
            A 2-D table (n_samples, n_features), or samples with named modalities.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        PooledFeatures
            The fitted transformer itself.
        """
        del y
        self._validate_params()
        data = self._read(X, reset=True)
        statistics = [_mean_and_scale(_frame_means(data, name)) for name in data.names]
        self.mean_, self.scale_ = map(np.concatenate, zip(*statistics, strict=True))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Pool.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
            With the modalities of ``fit``; one that is lacking is missing in every sample.

        Returns
        -------
        ndarray of float32 or float64, shape (n_samples, n_features_out)
        """
        check_is_fitted(self)
        data = self._read(X, reset=False)
        dtypes = [data.packed(name, slice(0, 0)).values.dtype for name in data.names]
        matrix = np.empty((len(data), self._n_features_out), np.result_type(np.float32, *dtypes))
        start = 0
        for name, width in data.widths.items():
            columns = slice(start, start + width)
            matrix[:, columns] = self._pool(data, name, columns)
            start += width
        return matrix

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the columns: the modality and a number.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only held against the names seen in ``fit``.

        Returns
        -------
        ndarray of str, shape (n_features_out,)
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        names = [
            f"{name}_{i}" for name, width in self.modality_widths_.items() for i in range(width)
        ]
        return np.asarray(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return sum(self.modality_widths_.values())

    def _read(self, X: Any, *, reset: bool) -> MultimodalData:
        data = read_X(self, X, self.modalities, reset=reset)
        for name, width in data.widths.items():
            if width is None:
                raise ValueError(
                    f"Modality {name!r} holds text, expected numbers. Turn it into token states "
                    "first, with TransformerTextFeatures."
                )
        return data

    def _pool(self, data: MultimodalData, name: str, columns: slice) -> np.ndarray:
        """The columns of one modality."""
        block, mean = _frame_means(data, name), self.mean_[columns]
        missing = np.isnan(block[:, 0])
        block[missing] = mean
        if self.standardize:
            block -= mean
            block /= self.scale_[columns]
        if self.scale_blocks:
            block /= np.sqrt(block.shape[1])
        return block
