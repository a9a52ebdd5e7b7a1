"""One container of samples from the columns of a table: text, clips, numbers, categories."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from skumc._fitted import all_or_nothing
from skumc.data import MultimodalData, is_blank
from skumc.feature_extraction._clips import ClipFeatures
from skumc.feature_extraction._columns_of_parts import (
    Table,
    present_rows,
    wants_table,
)
from skumc.feature_extraction._container_output import ContainerTransformerMixin
from skumc.feature_extraction._named_modalities import KNOWN, NamedModalities
from skumc.feature_extraction._sparse_blocks import as_sparse, fit_reduction, to_dense
from skumc.feature_extraction._transformer_text import TransformerTextFeatures

_PART = [HasMethods(["fit", "transform"]), str, list, tuple, callable, None]
_READS_BLANKS = (ClipFeatures, TransformerTextFeatures)


def _one_modality(name: str, result: Any, n_samples: int) -> MultimodalData:
    """Return a transformer's result as a container with one modality ``name``."""
    if isinstance(result, MultimodalData):
        if len(result.names) != 1:
            raise ValueError(
                f"The transformer {name}= returned the modalities {list(result.names)}, expected "
                "one. Have it return X.select([name])."
            )
        result = result.packed(result.names[0])
    data = MultimodalData({name: result})
    if len(data) != n_samples:
        raise ValueError(
            f"The transformer {name}= returned {len(data)} rows for {n_samples} samples, expected "
            "one per sample."
        )
    return data


class MultimodalFeatures(ContainerTransformerMixin, NamedModalities):
    """Turn a table of text, recordings, videos, numbers and categories into samples.

    This is the first step from raw columns to clusters:
    ``make_pipeline(MultimodalFeatures(...), UMCClusterer(20)).fit_predict(frame)``.

    Parameters
    ----------
    text, audio, video : modality or None, default=None
        Modalities with the names of their columns. A modality is one of these:

        - a transformer from the cells of one column, as :class:`TransformerTextFeatures`,
          :class:`WavLMFeatures` and ``make_pipeline(TfidfVectorizer(), TruncatedSVD(50))``. It
          returns :class:`~skumc.MultimodalData` with one modality, or a matrix (n_samples, width);
        - a pair of a transformer and its columns: a name, a list of names, or a selector such as
          :func:`sklearn.compose.make_column_selector`;
        - a column, a list of columns or a selector, passed through as strings, numbers, or arrays
          of frames. "passthrough" passes through the column with the modality's name;
        - a :class:`~sklearn.compose.ColumnTransformer`, which reads the whole table.

        None leaves the modality out.
    columns : dict of str to str, default=None
        Column of a modality if it differs from the modality's name, ``{"audio": "wav_path"}``.
    **modalities : modality or None
        More modalities, under any name: ``numbers=(StandardScaler(), ["duration", "price"])``.
        Their parameters have the usual names, ``numbers__with_mean``.

    Attributes
    ----------
    transformers_ : dict of str to transformer or "passthrough"
        The fitted copies, by modality.
    text_ : transformer, "passthrough" or None
        That of the text.
    audio_ : transformer, "passthrough" or None
        That of the audio.
    video_ : transformer, "passthrough" or None
        That of the video.
    columns_ : dict of str to str or list
        The modalities in use and their columns.

    Raises
    ------
    ValueError
        If no modality is in use, X is not a table or lacks a column, or a transformer returns
        another number of rows or modalities.

    See Also
    --------
    PooledFeatures : Pool the samples to one matrix for any other estimator.

    Notes
    -----
    A single column is passed on as a list of cells, several as a DataFrame of pandas. A single
    column of scalars is a DataFrame too if the transformer reads 2-D tables, as StandardScaler and
    OneHotEncoder do.

    None, NaN, an empty string and an array without entries are missing; a block of columns is
    missing in a row in which all its cells are. The transformers of this module are called with all
    cells. Any other is called with the rows that have the modality: at least one in ``fit``, while
    all may be missing in ``transform``. Rows are never dropped; a row without any modality raises
    an error in the clusterer. The index of a DataFrame is kept, and columns of no modality are
    ignored.

    A sparse result of at most 256 columns becomes dense. A wider one is projected on 128 directions
    by :class:`~sklearn.decomposition.TruncatedSVD`, and the projections are centered, so that the
    matrix itself stays sparse.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> from skumc.feature_extraction import MultimodalFeatures
    >>> frame = pd.DataFrame({
    ...     "subject": ["good morning", "good night", None, "good grief"],
    ...     "duration": [3.0, 5.0, 4.0, 2.0],
    ...     "price": [1.0, 2.0, 9.0, 4.0],
    ...     "channel": ["mail", "phone", "mail", None],
    ... }, index=["a", "b", "c", "d"])
    >>> features = MultimodalFeatures(
    ...     text=(TfidfVectorizer(), "subject"),
    ...     numbers=(StandardScaler(), ["duration", "price"]),
    ...     channel=OneHotEncoder(),
    ... )
    >>> X = features.fit_transform(frame)
    >>> X
    MultimodalData(4 samples; widths text: 4, numbers: 2, channel: 2)
    >>> X.lengths.tolist(), X.index.tolist()
    ([[1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 0]], ['a', 'b', 'c', 'd'])
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "text": _PART,
        "audio": _PART,
        "video": _PART,
        "columns": [dict, None],
    }

    def __init__(
        self,
        *,
        text: Any = None,
        audio: Any = None,
        video: Any = None,
        columns: dict[str, str] | None = None,
        **modalities: Any,
    ) -> None:
        self.text = text
        self.audio = audio
        self.video = video
        self.columns = columns
        self._others = modalities

    def fit(self, X: Any, y: Any = None) -> MultimodalFeatures:
        """Fit a copy of each transformer to its columns.

        Parameters
        ----------
        X : DataFrame or list of dicts
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        MultimodalFeatures
            The fitted transformer itself.
        """
        del y
        self._validate_params()
        with all_or_nothing(self):
            self._fit(X)
        return self

    def _fit(self, X: Any) -> None:
        self._choices = self._read_choices()
        table = Table(X)
        for name, choice in self._choices.items():
            if callable(choice.columns):
                self._choices[name] = choice._replace(columns=table.select(choice.columns))
        self.columns_ = {
            name: table.names if choice.of_all else choice.columns
            for name, choice in self._choices.items()
        }
        self.transformers_ = {
            name: choice.transformer if isinstance(choice.transformer, str)
            else clone(choice.transformer)
            for name, choice in self._choices.items()
        }  # fmt: skip
        for name in KNOWN:
            setattr(self, f"{name}_", self.transformers_.get(name))
        self._reductions: dict[str, Any] = {}
        self._is_block: dict[str, bool] = {}
        for name in self._choices:
            self._fit_part(name, table)

    def _fit_part(self, name: str, table: Table) -> None:
        part, choice = self.transformers_[name], self._choices[name]
        columns = choice.columns if isinstance(choice.columns, list) else [choice.columns]
        if not choice.of_all:
            if not columns:
                raise ValueError(
                    f"The selector of {name}= chose no column of X, which has {table.names}. Leave "
                    f"{name}= out."
                )
            table.check(name, columns, is_fit=True)
        self._is_block[name] = (
            choice.of_all
            or isinstance(choice.columns, list)
            or (wants_table(part) and _holds_scalars(table.cells(choice.columns)))
        )
        values, rows = self._input(name, table)
        if isinstance(part, str):
            values = as_sparse(values)
            if values is not None:
                self._reductions[name] = fit_reduction(values)
            return
        if not len(rows):
            raise ValueError(
                f"Column {self.columns_[name]!r} is missing in every row, so {name}= cannot be "
                "fitted. Leave the modality out."
            )
        part.fit(values)
        if isinstance(part, _READS_BLANKS) or not issparse(part.transform(values[:1])):
            return
        self._reductions[name] = fit_reduction(as_sparse(part.transform(values)))

    def transform(self, X: Any) -> MultimodalData:
        """Turn the columns of each modality into frames.

        Parameters
        ----------
        X : DataFrame or list of dicts
            The columns of ``fit``.

        Returns
        -------
        MultimodalData
            The modalities in use, in the order text, audio, video, then as given.
        """
        check_is_fitted(self)
        self._pass_on_memory()
        table = Table(X)
        for name, choice in self._choices.items():
            columns = choice.columns if isinstance(choice.columns, list) else [choice.columns]
            if not choice.of_all:
                table.check(name, columns, is_fit=False)
        stores = {name: self._frames(name, table).packed(name) for name in self._choices}
        return MultimodalData(stores, index=table.index)

    def _input(self, name: str, table: Table) -> tuple[Any, np.ndarray]:
        """Return what a transformer reads, and the rows of which it is."""
        part, choice = self.transformers_[name], self._choices[name]
        every = np.arange(table.n_samples)
        if choice.of_all:
            return table.pandas(), every
        if not self._is_block[name]:
            cells = table.cells(choice.columns)
            if not isinstance(part, _READS_BLANKS):
                every = np.array([row for row in every if not is_blank(cells[row])], dtype=int)
            return [cells[row] for row in every], every
        columns = choice.columns if isinstance(choice.columns, list) else [choice.columns]
        block = table.pandas(columns)
        if isinstance(part, str):
            return block, every
        rows = present_rows(block)
        return block if len(rows) == len(block) else block.iloc[rows], rows

    def _frames(self, name: str, table: Table) -> MultimodalData:
        """Return the columns of one modality as a container with the modality ``name``."""
        part, reduction = self.transformers_[name], self._reductions.get(name)
        if isinstance(part, str) and not self._is_block[name]:
            return MultimodalData({name: table.cells(cast(Any, self.columns_[name]))})
        values, rows = self._input(name, table)
        if not len(rows):
            return MultimodalData({name: [None] * table.n_samples})
        result = values if isinstance(part, str) else part.transform(values)
        sparse = as_sparse(result)
        result = result if sparse is None else to_dense(sparse, reduction)
        data = _one_modality(name, result, len(rows))
        if len(rows) == table.n_samples:
            return data
        cells: list[Any] = [None] * table.n_samples
        for row, frames in zip(rows, data.sequences(name), strict=True):
            cells[row] = frames
        return MultimodalData({name: cells})


def _holds_scalars(cells: list[Any]) -> bool:
    """Whether the first cell that is not blank is a number, a string or another scalar."""
    first = next((cell for cell in cells if not is_blank(cell)), None)
    return first is not None and np.ndim(first) == 0
