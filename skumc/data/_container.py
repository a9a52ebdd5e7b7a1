"""One container for samples that have several modalities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skumc._parts import unknown_name_message
from skumc.data._build import Store, from_padding, to_store
from skumc.data._ragged import Ragged, RaggedRows, resolve_rows
from skumc.data._text import Strings


class MultimodalData:
    """Samples that each have a sequence of frames in every modality, or miss it.

    The values of a modality lie in one flat array; a selection of samples keeps row numbers only,
    so ``X[rows]`` copies nothing. scikit-learn's splitters, searchers and ``joblib`` take the
    container as they take an array.

    Parameters
    ----------
    modalities : dict of str to array-like
        For each modality one of: an array (n_samples, width), one frame a sample; an array
        (n_samples, n_frames, width); a list with one cell a sample, each an array (width,) or
        (n_frames, width), or None where the modality is missing; a :class:`Ragged`. Or text: a
        list of strings, or token ids as a tokenizer gives them, ``{"input_ids": ids,
        "attention_mask": mask, "token_type_ids": types}``, of all samples or one dict a cell. A
        sample whose values are all NaN, or that has no frames, or an empty string, is missing.
        Zeros are data.
    index : sequence of length n_samples, default=None
        Names of the samples, as in a DataFrame. It goes with them through indexing, pickling
        and :meth:`to_frame`.

    Attributes
    ----------
    shape : tuple (n_samples, n_modalities)
    names : tuple of str
        Modality names in order.
    widths : dict of str to int
        Values in a frame, by modality; None for text that a model is to read.
    lengths : ndarray of shape (n_samples, n_modalities)
        Frames of each sample in each modality, of a sentence 1; 0 is missing.
    present : ndarray of bool, shape (n_samples, n_modalities)

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
        if not isinstance(modalities, Mapping) or not modalities:
            got = "an empty dict" if isinstance(modalities, Mapping) else type(modalities).__name__
            raise ValueError(
                f"Got {got} as modalities, expected a dict with at least one modality, for example "
                '{"text": array of shape (n_samples, width), "audio": [frames, ...]}.'
            )
        for name in modalities:
            if not isinstance(name, str):
                raise ValueError(
                    f"Got modality name {name!r}, expected a string. Rename it, for example to "
                    f"{str(name)!r}."
                )
        self._set(
            {name: to_store(name, values) for name, values in modalities.items()}, None, index
        )
        sizes = {name: len(store) for name, store in self._stores.items()}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name!r} has {size}" for name, size in sizes.items())
            raise ValueError(
                f"Modalities have unequal numbers of samples: {found}. Give every modality one "
                "entry a sample, None where it is missing."
            )
        if index is not None and len(index) != len(self):
            raise ValueError(
                f"Got an index of length {len(index)} for {len(self)} samples. Give it one entry a "
                "sample, or leave it out."
            )

    def _set(self, stores: dict[str, Store], rows: np.ndarray | None, index: Any) -> None:
        self._stores, self._rows, self.index = stores, rows, index

    @classmethod
    def _view(cls, stores: dict[str, Store], rows: np.ndarray | None, index: Any):
        view = cls.__new__(cls)
        view._set(stores, rows, index)
        return view

    @classmethod
    def from_padded(cls, arrays: Any, lengths: Any, *, name: str = "features", index: Any = None):
        """Read sequences from padded arrays; what lies beyond a length is never looked at.

        Parameters
        ----------
        arrays : array (n_samples, n_frames_max, width), or dict of str to such arrays
        lengths : array-like of int, shape (n_samples,), or dict of such
            Frames of each sample; 0 where the modality is missing.
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
        if not isinstance(arrays, Mapping):
            arrays, lengths = {name: arrays}, {name: lengths}
        if not isinstance(lengths, Mapping) or set(lengths) != set(arrays):
            raise ValueError(
                "Got lengths that do not name the same modalities as the arrays, expected a dict "
                f"with lengths for each of {', '.join(map(repr, arrays))}."
            )
        return cls(
            {key: from_padding(key, arrays[key], lengths[key]) for key in arrays}, index=index
        )

    @classmethod
    def from_views(cls, views: Sequence[ArrayLike], *, names: Sequence[str] | None = None):
        """Read several numeric views of the same samples.

        Parameters
        ----------
        views : sequence of arrays (n_samples, width)
        names : sequence of str, default=None
            One name a view; ``view0``, ``view1``, ... by default. The first view is the anchor
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
        names = [f"view{i}" for i in range(len(views))] if names is None else list(names)
        if len(names) != len(views) or len(set(names)) != len(names):
            raise ValueError(
                f"Got names={names}, expected {len(views)} different names, one a view."
            )
        return cls(dict(zip(names, views, strict=True)))

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, Any]]):
        """Read a list with one dict a sample; a key that a sample lacks is missing there.

        Examples
        --------
        >>> X = MultimodalData.from_records([{"a": [1.0, 2.0]}, {"b": [[3.0], [4.0]]}])
        >>> X.names, X.lengths.tolist()
        (('a', 'b'), [[1, 0], [0, 2]])
        """
        records = list(records)
        if not records:
            raise ValueError("Got no records, expected a list with one dict a sample.")
        for row, record in enumerate(records):
            if not isinstance(record, Mapping):
                raise ValueError(
                    f"Got {type(record).__name__} in row {row}, expected a list with one dict a "
                    'sample, for example [{"text": embedding, "audio": frames}, ...].'
                )
        names = list(dict.fromkeys(name for record in records for name in record))
        return cls({name: [record.get(name) for record in records] for name in names})

    @classmethod
    def from_frame(cls, frame: Any):
        """Read a DataFrame with one modality a column and one array, or None, a cell.

        Its index is kept.
        """
        names = list(frame.columns)
        if len(set(names)) != len(names):
            raise ValueError(
                f"Got a DataFrame with repeated column names: {names}. Rename or drop columns."
            )
        return cls({name: list(frame[name]) for name in names}, index=frame.index)

    def to_frame(self):
        """Give a pandas DataFrame with one modality a column, one (n_frames, width) array a cell.

        A missing modality is None.
        """
        import pandas as pd

        columns = {name: self.sequences(name) for name in self.names}
        series = {name: pd.Series(cells, dtype=object) for name, cells in columns.items()}
        frame = pd.DataFrame(series)
        if self.index is not None:
            frame.index = self.index
        return frame

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in order."""
        return tuple(self._stores)

    @property
    def widths(self) -> dict[str, int | None]:
        """Values in a frame, by modality; None for text that a model is to read."""
        return {name: store.width for name, store in self._stores.items()}

    @property
    def shape(self) -> tuple[int, int]:
        """(n_samples, n_modalities)."""
        return len(self), len(self._stores)

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each sample in each modality, (n_samples, n_modalities)."""
        lengths = np.stack([store.lengths for store in self._stores.values()], axis=1)
        return lengths if self._rows is None else lengths[self._rows]

    @property
    def present(self) -> np.ndarray:
        """Which modality each sample has, (n_samples, n_modalities)."""
        return self.lengths > 0

    def __len__(self) -> int:
        if self._rows is not None:
            return len(self._rows)
        return len(next(iter(self._stores.values())))

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {width}" for name, width in self.widths.items())
        return f"MultimodalData({len(self)} samples; widths {parts})"

    def __array__(self, dtype: Any = None, copy: Any = None):
        raise TypeError(
            "MultimodalData is no matrix. Use skumc.feature_extraction.PooledFeatures to pool it "
            "to one (n_samples, n_features), for example make_pipeline(PooledFeatures(), KMeans())."
        )

    def __iter__(self) -> Iterator[dict[str, np.ndarray | None]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any):
        """Samples ``X[rows]`` as a view, or one sample ``X[i]`` as a dict of arrays and None."""
        if isinstance(key, tuple):
            if len(key) != 2 or not (
                key[1] is Ellipsis or (isinstance(key[1], slice) and key[1] == slice(None))
            ):
                raise IndexError(
                    f"Got {key!r}: a container is indexed by samples, X[rows]; choose modalities "
                    "with X.select(names)."
                )
            key = key[0]
        if isinstance(key, (int, np.integer)) and not isinstance(key, (bool, np.bool_)):
            row = int(resolve_rows([key], len(self))[0])
            row = row if self._rows is None else int(self._rows[row])
            return {name: _cell(store, row) for name, store in self._stores.items()}
        rows, index = resolve_rows(key, len(self)), self.index
        if index is not None:
            index = index.take(rows) if hasattr(index, "take") else [index[row] for row in rows]
        return self._view(self._stores, rows if self._rows is None else self._rows[rows], index)

    def select(self, names: Sequence[str]) -> MultimodalData:
        """The same samples with the modalities ``names`` only, in that order."""
        if isinstance(names, str) or not names:
            known = ", ".join(map(repr, self.names))
            raise ValueError(
                f"Got modality names={names!r}, expected a list of at least one of {known}."
            )
        return self._view({name: self._store(name) for name in names}, self._rows, self.index)

    def with_absent(
        self, widths: Mapping[str, int], kept: Sequence[str] | None = None
    ) -> MultimodalData:
        """The modalities of ``widths`` in that order; those not in ``kept`` are missing everywhere.

        Parameters
        ----------
        widths : dict of str to int
        kept : sequence of str, default=None
            None keeps all that are here.

        Returns
        -------
        MultimodalData
        """
        kept = self.names if kept is None else kept
        n_stored = len(next(iter(self._stores.values())))
        stores = {
            name: self._stores[name]
            if name in kept and name in self._stores
            else _nothing(width, n_stored)
            for name, width in widths.items()
        }
        return self._view(stores, self._rows, self.index)

    def with_frames(self, frames: Mapping[str, Ragged]) -> MultimodalData:
        """The same samples with other frames in some modalities.

        Parameters
        ----------
        frames : dict of str to Ragged
            One sequence a sample of this container, in its order.

        Returns
        -------
        MultimodalData
        """
        stores: dict[str, Store] = {}
        for name, store in self._stores.items():
            if name in frames:
                stores[name] = frames[name]
            elif self._rows is None:
                stores[name] = store
            elif isinstance(store, Ragged):
                stores[name] = RaggedRows(store, self._rows)
            else:
                stores[name] = store.take(self._rows)
        return self._view(stores, None, self.index)

    def _store(self, name: str) -> Store:
        if name not in self._stores:
            raise ValueError(unknown_name_message("modality", name, self._stores))
        return self._stores[name]

    def sequences(self, name: str) -> list[np.ndarray | None]:
        """Frames of each sample in one modality; None where it is missing."""
        store = self._store(name)
        rows = range(len(self)) if self._rows is None else self._rows
        return [_cell(store, row) for row in rows]

    def packed(self, name: str, rows: np.ndarray | slice = slice(None)) -> Store:
        """One modality of the samples ``rows``, their frames one after the other."""
        store = self._store(name)
        if self._rows is None and isinstance(rows, slice) and rows == slice(None):
            return store
        rows = resolve_rows(rows, len(self))
        return store.take(rows if self._rows is None else self._rows[rows])

    def count_distinct(self, limit: int) -> int:
        """Count the different samples, looking no further than ``limit`` of them."""
        seen = set()
        for sample in self:
            seen.add(tuple(map(_content, sample.values())))
            if len(seen) >= limit:
                break
        return len(seen)

    def __reduce__(self):
        state = tuple((name, self.packed(name)) for name in self.names)
        return _rebuild, (state, self.index)


def _rebuild(state: tuple, index: Any) -> MultimodalData:
    """Put a pickled container together again."""
    return MultimodalData._view(dict(state), None, index)


def _cell(store: Store, row: int) -> Any:
    """Frames, sentence or token ids of one sample, None where it is missing."""
    cell = store[row]
    return None if cell is None or len(cell) == 0 else cell


def _nothing(width: int | None, n_samples: int) -> Store:
    """A modality that every sample misses."""
    if width is None:
        return Strings([None] * n_samples)
    return Ragged(np.zeros((0, width), np.float32), np.zeros(n_samples + 1, np.int64))


def _content(cell: Any) -> Any:
    """Something hashable that is equal where the content of two cells is equal."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, dict):
        return tuple((key, _content(values)) for key, values in cell.items())
    return cell.shape, (cell + 0).tobytes()  # adding 0 turns -0.0 into 0.0
