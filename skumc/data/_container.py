"""One container for samples with several modalities."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skumc._parts import unknown_name_message
from skumc.data._columns import column_index, is_data_frame, refuse_lazy
from skumc.data._concat import join_indexes, join_stores
from skumc.data._forms import (
    check_sizes,
    common_index,
    data_frame_columns,
    named_modalities,
    named_views,
    padded_modalities,
    record_columns,
)
from skumc.data._modality import Store, absent_modality, cell_content, sample_cell, to_store
from skumc.data._ragged import Ragged
from skumc.data._rows import resolve_rows, strip_ellipsis, take_index


class MultimodalData:
    """Samples with a sequence of frames in each modality, some of them missing.

    The values of a modality lie in one flat array; a selection of samples keeps row numbers only,
    so ``X[rows]`` copies nothing. scikit-learn's splitters and searchers and ``joblib`` accept
    the container where they accept an array.

    Parameters
    ----------
    modalities : dict of str to array-like
        Samples of each modality, in one of these forms: an array (n_samples, width), one frame
        per sample; an array (n_samples, n_frames, width); an array (n_samples,), one number per
        sample; a list with one cell per sample, each an array (width,) or (n_frames, width), or
        nested lists of these shapes, or None where the modality is missing; padded frames and
        their mask, ``{"values": frames, "attention_mask": mask}``; a
        :class:`~skumc.data.Ragged`. Or text: a list of strings, or token ids as a tokenizer
        returns them, ``{"input_ids": ids, "attention_mask": mask, "token_type_ids": types}``, of
        all samples or one dict per cell. Columns and frames of pandas, polars and pyarrow are
        read like lists and arrays. A sample with only NaN, without frames, or with an empty string
        is missing; frames of NaN before and after a sequence are padding. Zeros are data.
    index : sequence of length n_samples, default=None
        Names of the samples, as in a DataFrame. They stay with the samples through indexing,
        pickling and :meth:`to_frame`. None takes them from modalities of pandas, which must have
        equal indexes.

    Attributes
    ----------
    shape : tuple (n_samples, n_modalities)
    names : tuple of str
        Modality names in order.
    widths : dict of str to int
        Number of values per frame, by modality; None for text, which a text model turns into
        frames.
    lengths : ndarray of shape (n_samples, n_modalities)
        Number of frames of each sample in each modality, 1 for a sentence, 0 for missing.
    present : ndarray of bool, shape (n_samples, n_modalities)
        Whether each sample has each modality.

    Raises
    ------
    ValueError
        If there is no modality, numbers of samples differ, widths within a modality differ,
        values are infinite, or a sample is NaN in part.

    Examples
    --------
    >>> import numpy as np
    >>> X = MultimodalData({
    ...     "text": np.eye(3),
    ...     "audio": [np.ones((4, 2)), None, np.zeros((1, 2))],
    ... })
    >>> X.shape, X.lengths.tolist()
    ((3, 2), [[1, 4], [1, 0], [1, 1]])
    >>> X[[2, 0]].lengths.tolist()
    [[1, 1], [1, 4]]
    """

    def __init__(self, modalities: Mapping[str, Any], *, index: Any = None) -> None:
        modalities = named_modalities(modalities)
        stores = {name: to_store(name, values) for name, values in modalities.items()}
        check_sizes(stores, index)
        index = common_index(modalities, index)
        self._stores = stores
        self._rows: np.ndarray | None = None  # samples of the stores, in order; None is all
        self.index = index

    @classmethod
    def _view(cls, stores: dict[str, Store], rows: np.ndarray | None, index: Any) -> MultimodalData:
        view = cls.__new__(cls)
        view._stores, view._rows, view.index = stores, rows, index
        return view

    @classmethod
    def from_padded(
        cls, arrays: Any, lengths: Any, *, name: str = "features", index: Any = None
    ) -> MultimodalData:
        """Read sequences from padded arrays; values of the padding are never read.

        Parameters
        ----------
        arrays : array (n_samples, n_frames_max, width), or dict of str to such arrays
        lengths : array-like, shape (n_samples,) or (n_samples, n_frames_max), or dict of such
            Number of frames of each sample, 0 where the modality is missing; or a mask that is 1
            for frames and 0 for padding, wherever the padding is.
        name : str, default="features"
            Name of the modality when one array is given.
        index : sequence of length n_samples, default=None

        Returns
        -------
        MultimodalData

        Examples
        --------
        >>> import numpy as np
        >>> X = MultimodalData.from_padded(np.zeros((2, 5, 3)), [4, 0])
        >>> X.lengths.tolist()
        [[4], [0]]
        """
        return cls(padded_modalities(arrays, lengths, name), index=index)

    @classmethod
    def from_views(
        cls, views: Sequence[ArrayLike], *, names: Sequence[str] | None = None
    ) -> MultimodalData:
        """Read several numeric views of the same samples.

        Parameters
        ----------
        views : sequence of arrays (n_samples, width)
        names : sequence of str, default=None
            One name per view; ``view0``, ``view1``, ... by default. The first view is the anchor
            unless one is called ``text``.

        Returns
        -------
        MultimodalData

        Examples
        --------
        >>> import numpy as np
        >>> MultimodalData.from_views([np.ones((2, 3)), np.ones((2, 4))]).widths
        {'view0': 3, 'view1': 4}
        """
        return cls(named_views(views, names))

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, Any]]) -> MultimodalData:
        """Read a list with one dict per sample; a modality without its key is missing.

        Examples
        --------
        >>> X = MultimodalData.from_records([{"a": [1.0, 2.0]}, {"b": [[3.0], [4.0]]}])
        >>> X.names, X.lengths.tolist()
        (('a', 'b'), [[1, 0], [0, 2]])
        """
        return cls(record_columns(records))

    @classmethod
    def from_frame(cls, frame: Any) -> MultimodalData:
        """Read a DataFrame with one modality per column and one array, or None, per cell.

        Parameters
        ----------
        frame : DataFrame of pandas or polars, or table of pyarrow
            The index of pandas is kept.

        Returns
        -------
        MultimodalData
        """
        refuse_lazy(frame)
        if not is_data_frame(frame):
            kind = type(frame).__name__
            raise TypeError(f"Got frame of type {kind}, expected a DataFrame.")
        return cls(data_frame_columns(frame), index=column_index(frame))

    @classmethod
    def concat(cls, containers: Iterable[MultimodalData]) -> MultimodalData:
        """Join samples, one container after another.

        A modality that a container lacks is missing in its samples.

        Examples
        --------
        >>> import numpy as np
        >>> old, new = MultimodalData({"a": np.ones((2, 3))}), MultimodalData({"b": ["text"]})
        >>> MultimodalData.concat([old, new]).lengths.tolist()
        [[1, 0], [1, 0], [0, 1]]
        """
        is_list = isinstance(containers, Iterable) and not isinstance(containers, MultimodalData)
        parts = list(containers) if is_list else []
        if not parts or not all(isinstance(part, MultimodalData) for part in parts):
            kinds = ", ".join(sorted({type(part).__name__ for part in parts})) or "nothing"
            got = f"a list with {kinds}" if is_list else type(containers).__name__
            raise ValueError(
                f"Got {got}, expected a list of at least one MultimodalData. Wrap other data in "
                "MultimodalData(...) first."
            )
        widths = {name: width for part in parts[::-1] for name, width in part.widths.items()}
        names = dict.fromkeys(name for part in parts for name in part.names)
        full = [part.with_absent({name: widths[name] for name in names}) for part in parts]
        stores = {name: join_stores(name, [part.packed(name) for part in full]) for name in names}
        return cls._view(stores, None, join_indexes([part.index for part in parts]))

    def to_frame(self) -> Any:
        """Convert to a pandas DataFrame, one array (n_frames, width) or None per cell.

        Columns are the modalities, in order.
        """
        import pandas as pd

        cells = {name: pd.Series(self.sequences(name), dtype=object) for name in self.names}
        frame = pd.DataFrame(cells)
        if self.index is not None:
            frame.index = self.index
        return frame

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in order."""
        return tuple(self._stores)

    @property
    def widths(self) -> dict[str, int | None]:
        """Number of values per frame, by modality; None for text."""
        return {name: store.width for name, store in self._stores.items()}

    @property
    def shape(self) -> tuple[int, int]:
        """(n_samples, n_modalities)."""
        return len(self), len(self._stores)

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames of each sample in each modality, (n_samples, n_modalities)."""
        lengths = np.stack([store.lengths for store in self._stores.values()], axis=1)
        return lengths if self._rows is None else lengths[self._rows]

    @property
    def present(self) -> np.ndarray:
        """Whether each sample has each modality, (n_samples, n_modalities)."""
        return self.lengths > 0

    def __len__(self) -> int:
        if self._rows is not None:
            return len(self._rows)
        return len(next(iter(self._stores.values())))

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {width}" for name, width in self.widths.items())
        return f"MultimodalData({len(self)} samples; widths {parts})"

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Got MultimodalData, expected a matrix. Pool it to (n_samples, n_features) with "
            "skumc.feature_extraction.PooledFeatures, for example make_pipeline(PooledFeatures(), "
            "KMeans())."
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        """Return samples ``X[rows]`` as a view, or one sample ``X[i]`` as a dict of cells."""
        key = strip_ellipsis(key)
        if isinstance(key, (int, np.integer)) and not isinstance(key, (bool, np.bool_)):
            row = self._stored_rows(resolve_rows([key], len(self)))[0]
            return {name: sample_cell(store, row) for name, store in self._stores.items()}
        rows = resolve_rows(key, len(self))
        return self._view(self._stores, self._stored_rows(rows), take_index(self.index, rows))

    def select(self, names: Sequence[str]) -> MultimodalData:
        """Select modalities by name, in the order of ``names``."""
        if isinstance(names, str) or not isinstance(names, Iterable) or not names:
            known = ", ".join(map(repr, self.names))
            raise ValueError(
                f"Got modality names={names!r}, expected a list of at least one of {known}."
            )
        return self._view({name: self._store(name) for name in names}, self._rows, self.index)

    def with_absent(
        self, widths: Mapping[str, int | None], kept: Sequence[str] | None = None
    ) -> MultimodalData:
        """Arrange the modalities in the order of ``widths``; new ones are missing everywhere.

        Parameters
        ----------
        widths : dict of str to int or None
            Names of the modalities of the result, and values per frame of new ones; None is text.
        kept : sequence of str, default=None
            Modalities that keep their frames; the others are missing in the result. None keeps
            all of this container.

        Returns
        -------
        MultimodalData
        """
        if not isinstance(widths, Mapping):
            raise TypeError(f"Got widths={widths!r}, expected a dict of names to widths.")
        kept = self.names if kept is None else kept
        n_stored = len(next(iter(self._stores.values())))
        stores = {
            name: self._stores[name]
            if name in kept and name in self._stores
            else absent_modality(width, n_stored)
            for name, width in widths.items()
        }
        return self._view(stores, self._rows, self.index)

    def with_frames(self, frames: Mapping[str, Ragged]) -> MultimodalData:
        """Replace the frames of some modalities.

        Parameters
        ----------
        frames : dict of str to Ragged
            One sequence per sample of this container, in its order.

        Returns
        -------
        MultimodalData
        """
        if not isinstance(frames, Mapping):
            raise TypeError(f"Got frames={frames!r}, expected a dict of names to sequences.")
        stores: dict[str, Store] = {}
        for name, store in self._stores.items():
            if name in frames:
                stores[name] = frames[name]
            elif self._rows is None:
                stores[name] = store
            else:
                look_up = store.view if isinstance(store, Ragged) else store.take
                stores[name] = look_up(self._rows)
        return self._view(stores, None, self.index)

    def sequences(self, name: str) -> list[np.ndarray | None]:
        """List the frames of each sample in one modality; None where it is missing."""
        store = self._store(name)
        rows = range(len(self)) if self._rows is None else self._rows
        return [sample_cell(store, row) for row in rows]

    def packed(self, name: str, rows: np.ndarray | slice = slice(None)) -> Store:
        """Pack one modality of the samples ``rows``, frames one sample after another."""
        store = self._store(name)
        if self._rows is None and isinstance(rows, slice) and rows == slice(None):
            return store
        return store.take(self._stored_rows(resolve_rows(rows, len(self))))

    def count_distinct(self, limit: int) -> int:
        """Count distinct samples, at most ``limit``."""
        distinct: set[Hashable] = set()
        for sample in self:
            distinct.add(tuple(map(cell_content, sample.values())))
            if len(distinct) >= limit:
                break
        return len(distinct)

    def _store(self, name: str) -> Store:
        if name not in self._stores:
            raise ValueError(unknown_name_message("modality", name, self._stores))
        return self._stores[name]

    def _stored_rows(self, rows: np.ndarray) -> np.ndarray:
        """Translate rows of this container to rows of its stores."""
        return rows if self._rows is None else self._rows[rows]

    def __reduce__(self) -> tuple:
        state = tuple((name, self.packed(name)) for name in self.names)
        return _rebuild, (state, self.index)


def _rebuild(state: tuple, index: Any) -> MultimodalData:
    """Restore a pickled container."""
    return MultimodalData._view(dict(state), None, index)
