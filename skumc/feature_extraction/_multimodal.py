"""One container of samples from raw columns of text, audio and video."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from skumc._fitted import all_or_nothing
from skumc._parts import unknown_name_message
from skumc.data import MultimodalData, is_blank
from skumc.data._columns import Frame, column_index, is_data_frame, plain_column, refuse_lazy
from skumc.data._forms import listed
from skumc.data._missing import is_missing_value
from skumc.feature_extraction._clips import ClipFeatures
from skumc.feature_extraction._container_output import ContainerTransformerMixin
from skumc.feature_extraction._transformer_text import TransformerTextFeatures

_MODALITIES = ("text", "audio", "video")
_PART = [HasMethods(["fit", "transform"]), StrOptions({"passthrough"}), None]


def _frame_columns(X: Any, columns: Mapping[str, Hashable]) -> dict[str, list[Any]]:
    """Return the cells of each modality of a DataFrame."""
    frame = Frame.read(X)
    for name, column in columns.items():
        count = frame.names.count(column)
        if count != 1:
            reason = f"X has {count} columns of that name"
            hint = unknown_name_message(f"columns[{name!r}]", column, map(str, frame.names))
            raise ValueError(
                f"{hint} ({reason}.) Name the column of {name} in columns=, or leave {name}= out."
            )
    return {
        name: list(plain_column(frame.columns[frame.names.index(column)]))
        for name, column in columns.items()
    }


def _record_columns(
    X: Any, columns: Mapping[str, Hashable], *, is_fit: bool
) -> dict[str, list[Any]]:
    """Return the cells of each modality of a list of dicts; an absent key is a missing cell."""
    if isinstance(X, (str, bytes, Mapping)) or not hasattr(X, "__len__"):
        raise ValueError(
            f"Got X of type {type(X).__name__}, expected a DataFrame or a list with one dict per "
            "sample. Convert a dict of columns with pandas.DataFrame(X)."
        )
    records = [{} if is_missing_value(record) else record for record in listed(X)]
    if not records:
        raise ValueError("Found 0 samples in X, expected at least one.")
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise ValueError(
                f"Got {type(record).__name__} in row {row}, expected a DataFrame or a list with "
                f"one dict per sample, with the keys {', '.join(map(repr, columns.values()))}."
            )
    known = dict.fromkeys(str(key) for record in records for key in record)
    for name, column in columns.items():
        if is_fit and not any(column in record for record in records):
            hint = unknown_name_message(f"columns[{name!r}]", column, known)
            raise ValueError(
                f"{hint} (No row of X has that key.) Name the key of {name} in columns=, or leave "
                f"{name}= out."
            )
    return {name: [record.get(column) for record in records] for name, column in columns.items()}


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


class MultimodalFeatures(ContainerTransformerMixin, BaseEstimator):
    """Turn raw columns of text, audio and video into samples for a clusterer.

    This is the first step from a table of sentences, recordings and videos to clusters:
    ``make_pipeline(MultimodalFeatures(...), UMCClusterer(20)).fit_predict(frame)``.

    Parameters
    ----------
    text, audio, video : transformer, "passthrough" or None, default=None
        Transformer from the cells of a modality to frames. It returns
        :class:`~skumc.MultimodalData` with one modality or a matrix (n_samples, width), as
        :class:`TransformerTextFeatures`, :class:`WavLMFeatures`, :class:`SwinFeatures` and
        ``make_pipeline(TfidfVectorizer(), TruncatedSVD(50))`` do. "passthrough" passes the cells
        through: strings for a clusterer with a text model, or arrays of frames. None leaves the
        modality out.
    columns : dict of str to str, default=None
        Column of a modality if it differs from the modality's name, ``{"audio": "wav_path"}``.

    Attributes
    ----------
    text_, audio_, video_ : transformer, "passthrough" or None
        The fitted copies.
    columns_ : dict of str to str
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
    None, NaN, an empty string and an array without entries are missing. The transformers of this
    module are called with all cells. Any other is called with the cells of the rows that have the
    modality: at least one in ``fit``, while all may be missing in ``transform``. Rows are never
    dropped; a row without any modality raises an error in the clusterer. The index of a DataFrame
    is kept, and columns of no modality are ignored.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.feature_extraction.text import HashingVectorizer
    >>> from sklearn.decomposition import TruncatedSVD
    >>> from sklearn.pipeline import make_pipeline
    >>> from skumc.feature_extraction import MultimodalFeatures
    >>> frame = pd.DataFrame({
    ...     "text": ["good morning", "good night", None, "good grief"],
    ...     "pitch": [[[110.0], [115.0]], None, [[220.0]], [[180.0], [170.0], [140.0]]],
    ... }, index=["a", "b", "c", "d"])
    >>> features = MultimodalFeatures(
    ...     text=make_pipeline(HashingVectorizer(n_features=16), TruncatedSVD(2)),
    ...     audio="passthrough",
    ...     columns={"audio": "pitch"},
    ... )
    >>> X = features.fit_transform(frame)
    >>> X
    MultimodalData(4 samples; widths text: 2, audio: 1)
    >>> X.lengths.tolist(), X.index.tolist()
    ([[1, 2], [1, 0], [0, 1], [1, 3]], ['a', 'b', 'c', 'd'])
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
    ) -> None:
        self.text = text
        self.audio = audio
        self.video = video
        self.columns = columns

    def fit(self, X: Any, y: Any = None) -> MultimodalFeatures:
        """Fit a copy of each transformer to its column.

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
        self.columns_ = self._used_columns()
        cells = self._cells(X, is_fit=True)
        for name in _MODALITIES:
            part = getattr(self, name)
            part = part if part is None or isinstance(part, str) else clone(part)
            setattr(self, f"{name}_", part)
        for name, column in cells.items():
            part = getattr(self, f"{name}_")
            if isinstance(part, str):
                continue
            rows = self._rows_to_read(part, column)
            if not rows:
                raise ValueError(
                    f"Column {self.columns_[name]!r} is missing in every row, so {name}= cannot be "
                    "fitted. Leave the modality out."
                )
            part.fit([column[row] for row in rows])

    def transform(self, X: Any) -> MultimodalData:
        """Turn each column into frames.

        Parameters
        ----------
        X : DataFrame or list of dicts
            The columns of ``fit``.

        Returns
        -------
        MultimodalData
            The modalities in use, in the order text, audio, video.
        """
        check_is_fitted(self)
        self._pass_on_memory()
        cells = self._cells(X, is_fit=False)
        stores = {name: self._frames(name, column).packed(name) for name, column in cells.items()}
        return MultimodalData(stores, index=column_index(X))

    def _used_columns(self) -> dict[str, Hashable]:
        used = [name for name in _MODALITIES if getattr(self, name) is not None]
        if not used:
            raise ValueError(
                "Got none of text=, audio= and video=, expected a transformer or 'passthrough' "
                "for at least one."
            )
        columns = {} if self.columns is None else self.columns
        for name in columns:
            if name not in used:
                raise ValueError(unknown_name_message("columns with the key", name, used))
        return {name: columns.get(name, name) for name in used}

    def _cells(self, X: Any, *, is_fit: bool) -> dict[str, list[Any]]:
        refuse_lazy(X)
        if is_data_frame(X):
            if len(X) == 0:
                raise ValueError("Found 0 samples in X, expected at least one.")
            return _frame_columns(X, self.columns_)
        return _record_columns(X, self.columns_, is_fit=is_fit)

    def _pass_on_memory(self) -> None:
        """Give the fitted copies the ``memory`` that was set after ``fit``."""
        for name in self.columns_:
            given, part = getattr(self, name), getattr(self, f"{name}_")
            if isinstance(given, str) or not (hasattr(given, "get_params") and part):
                continue
            known = part.get_params()
            folders = {key: value for key, value in given.get_params().items() if key in known}
            folders = {k: v for k, v in folders.items() if k.split("__")[-1] == "memory"}
            if any(known[key] is not value for key, value in folders.items()):
                part.set_params(**folders)

    def _rows_to_read(self, part: Any, column: list[Any]) -> list[int]:
        """Return the rows to pass to a transformer; those of this module handle missing cells."""
        if isinstance(part, (ClipFeatures, TransformerTextFeatures)):
            return list(range(len(column)))
        return [row for row, cell in enumerate(column) if not is_blank(cell)]

    def _frames(self, name: str, column: list[Any]) -> MultimodalData:
        """Return one column as a container with the modality ``name``."""
        part = getattr(self, f"{name}_")
        if isinstance(part, str):
            return MultimodalData({name: column})
        rows = self._rows_to_read(part, column)
        if not rows:
            return MultimodalData({name: [None] * len(column)})
        data = _one_modality(name, part.transform([column[row] for row in rows]), len(rows))
        if len(rows) == len(column):
            return data
        cells: list[Any] = [None] * len(column)
        for row, frames in zip(rows, data.sequences(name), strict=True):
            cells[row] = frames
        return MultimodalData({name: cells})
