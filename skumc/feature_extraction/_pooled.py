"""Mean pooling of samples with several modalities to one matrix."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skumc._doc_links import DocumentedMixin
from skumc._fitted import all_or_nothing
from skumc.data import MultimodalData, Ragged, read_X, sample_chunks, with_index


def _numeric_frames(data: MultimodalData, name: str, rows: slice) -> Ragged:
    """Return the frames of a modality that does not hold text."""
    return cast(Ragged, data.packed(name, rows))


def _frame_means(data: MultimodalData, name: str) -> np.ndarray:
    """Return the mean frame of each sample, float64; NaN if the modality is missing."""
    lengths = data.lengths[:, data.names.index(name)]
    width = _numeric_frames(data, name, slice(0, 0)).width
    means = np.full((len(data), width), np.nan)
    for rows in sample_chunks(lengths, width):
        frames = _numeric_frames(data, name, rows)
        present = frames.lengths > 0
        if present.any():
            # reduceat returns the value at its start for an empty segment, so these are left out;
            # the starts of the others still split the frames exactly.
            starts = frames.offsets[:-1][present]
            sums = np.add.reduceat(frames.values, starts, axis=0, dtype=np.float64)
            means[rows][present] = sums / frames.lengths[present, None]
    return means


def _mean_and_scale(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each column over the samples that have the modality."""
    known = means[~np.isnan(means[:, 0])]
    return Ragged(known, np.arange(len(known) + 1)).mean_and_scale()


class PooledFeatures(DocumentedMixin, TransformerMixin, BaseEstimator):
    r"""Pool samples with several modalities to one matrix.

    The matrix holds the mean frame of each modality, side by side. Any estimator that takes a
    matrix can then read :class:`~skumc.MultimodalData`, for instance as a baseline for a
    clusterer.

    Parameters
    ----------
    modalities : dict, list of str or None, default=None
        Columns of each modality in a 2-D table, ``{"text": columns, "audio": columns}``, as
        names, numbers, a range or a slice; or the names to use of samples with named modalities.
        None uses all modalities; a table is then one modality.
    standardize : bool, default=True
        Whether to bring each column to mean 0 and deviation 1 over the training samples that have
        the modality. A constant column becomes 0.
    scale_blocks : bool, default=False
        Whether to divide the columns of each modality by the square root of their number, so that
        wide and narrow modalities have equal weight in distances.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (n_features_out,)
        Mean of each column over the training samples that have its modality; 0 if none has.
    scale_ : ndarray of float64, shape (n_features_out,)
        Standard deviation of each column over the same samples; 1 for a constant column.
    modality_widths_ : dict of str to int
        Names of the modalities, in order, and number of values per frame.
    n_features_in_ : int
        Number of columns of a table, otherwise number of modalities.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Column names of a DataFrame, or names of the modalities.

    Raises
    ------
    ValueError
        If a sample lacks every modality, a modality holds text, or X is not a valid input of
        :class:`~skumc.MultimodalData`.

    See Also
    --------
    skumc.UMCClusterer : Learns its own representation from the sequences themselves.

    Notes
    -----
    For a modality :math:`m` of width :math:`d_m` and a sample with the frames
    :math:`x_1, ..., x_L`, the columns are

    .. math:: z_m = \frac{1}{s_m} \left( \frac{1}{L} \sum_{l=1}^{L} x_l - \mu_m \right)

    where :math:`\mu_m` and :math:`s_m` are mean and deviation of the pooled training samples
    (0 and 1 without ``standardize``). With ``scale_blocks`` they are divided by
    :math:`\sqrt{d_m}`. A sample that lacks the modality has the training mean there, which is
    0 with ``standardize``. Sums are computed in float64; the matrix is float32 unless a modality
    is float64.

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

    As the first step of a pipeline with any clusterer:

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
        """Compute mean and deviation of each column.

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
        with all_or_nothing(self):
            data = self._read(X, reset=True)
            statistics = [_mean_and_scale(_frame_means(data, name)) for name in data.names]
            self.mean_, self.scale_ = map(np.concatenate, zip(*statistics, strict=True))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Pool samples to one matrix.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
            The modalities of ``fit``; an absent one is missing in every sample.

        Returns
        -------
        ndarray of float32 or float64, shape (n_samples, n_features_out)
        """
        check_is_fitted(self)
        data = self._read(X, reset=False)
        empty = [_numeric_frames(data, name, slice(0, 0)) for name in data.names]
        dtypes = [frames.values.dtype for frames in empty]
        matrix = np.empty((len(data), self._n_features_out), np.result_type(np.float32, *dtypes))
        start = 0
        for name, frames in zip(data.names, empty, strict=True):
            columns = slice(start, start + frames.width)
            matrix[:, columns] = self._pool(data, name, columns)
            start += frames.width
        return with_index(self, X, matrix)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns, ``modality_number``.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only compared with the names seen in ``fit``.

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

    def __sklearn_tags__(self) -> Tags:
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
                    "with TransformerTextFeatures first."
                )
        return data

    def _pool(self, data: MultimodalData, name: str, columns: slice) -> np.ndarray:
        """Return the columns of one modality."""
        block, mean = _frame_means(data, name), self.mean_[columns]
        missing = np.isnan(block[:, 0])
        block[missing] = mean
        if self.standardize:
            block -= mean
            block /= self.scale_[columns]
        if self.scale_blocks:
            block /= np.sqrt(block.shape[1])
        return block
