"""Modalities by name from padded arrays, views, records and tables of cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skumc.data._columns import Frame, column_index, is_column, plain_column
from skumc.data._missing import is_missing_value
from skumc.data._modality import Store
from skumc.data._padding import from_padding, split_mask
from skumc.data._ragged import Ragged
from skumc.data._text import check_token_keys, is_token_mapping

TEXT_MODALITY = "text"


def check_names(modalities: Any) -> None:
    """Raise ValueError unless ``modalities`` is a dict with at least one name, all strings."""
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


def named_modalities(modalities: Any) -> dict[str, Any]:
    """Name the modalities of a dict; a tokenizer's or feature extractor's result is one of them.

    A dict with ``input_ids`` is the modality ``text``. Frames together with an ``attention_mask``
    are one modality with that mask.
    """
    if is_token_mapping(modalities):
        check_token_keys(modalities)
        return {TEXT_MODALITY: modalities}
    check_names(modalities)
    if "attention_mask" in modalities or "padding_mask" in modalities:
        name = split_mask("X", modalities)[0]
        return {name: modalities}
    return dict(modalities)


def common_index(modalities: Mapping[str, Any], index: Any) -> Any:
    """Return the row names that modalities of pandas share; refuse those that differ.

    Parameters
    ----------
    modalities : dict
    index : sequence or None
        Row names given by the caller.
    """
    found = {
        name: column_index(values)
        for name, values in modalities.items()
        if column_index(values) is not None
    }
    if not found:
        return index
    first, *others = found
    shared = found[first]
    for name in others:
        if not shared.equals(found[name]):
            raise ValueError(
                f"Modalities {first!r} and {name!r} have different indexes, so their rows may be "
                f"of different samples. Align them, for example with {name}.loc[{first}.index], or "
                "pass .to_numpy() of each if their rows are in the same order."
            )
    if index is None:
        return shared
    if list(index) != list(shared) and list(shared) != list(range(len(shared))):
        raise ValueError(
            f"Got index= that differs from the index of modality {first!r}. Leave index= out, or "
            "pass .to_numpy() of the modality if its rows are in that order."
        )
    return index


def check_sizes(stores: Mapping[str, Store], index: Any) -> None:
    """Raise ValueError unless modalities and index have one entry per sample."""
    sizes = {name: len(store) for name, store in stores.items()}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name!r} has {size}" for name, size in sizes.items())
        raise ValueError(
            f"Modalities have unequal numbers of samples: {found}. Give every modality one entry "
            "per sample, None where it is missing."
        )
    n_samples = next(iter(sizes.values()))
    if index is not None and len(index) != n_samples:
        raise ValueError(
            f"Got an index of length {len(index)} for {n_samples} samples. Give it one entry per "
            "sample, or leave it out."
        )


def padded_modalities(arrays: Any, lengths: Any, name: str) -> dict[str, Ragged]:
    """Drop the padding of one array, which gets ``name``, or of each array of a dict."""
    if not isinstance(arrays, Mapping):
        arrays, lengths = {name: arrays}, {name: lengths}
    if not isinstance(lengths, Mapping) or set(lengths) != set(arrays):
        raise ValueError(
            "Got lengths that do not name the same modalities as the arrays, expected a dict "
            f"with lengths for each of {', '.join(map(repr, arrays))}."
        )
    return {key: from_padding(key, arrays[key], lengths[key]) for key in arrays}


def named_views(
    views: Sequence[ArrayLike], names: Sequence[str] | None = None
) -> dict[str, ArrayLike]:
    """Name views; ``view0``, ``view1``, ... by default."""
    if not hasattr(views, "__len__") or isinstance(views, str):
        raise TypeError(f"Got views={views!r}, expected a list with one array per view.")
    names = [f"view{i}" for i in range(len(views))] if names is None else list(names)
    if len(names) != len(views) or len(set(names)) != len(names):
        raise ValueError(f"Got names={names}, expected {len(views)} different names, one per view.")
    return dict(zip(names, views, strict=True))


def record_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """List the cells of each modality that occurs in a list of dicts; None where it is missing.

    A row of None is a sample without any modality.
    """
    if isinstance(records, str | bytes | Mapping) or not isinstance(records, Iterable):
        kind = type(records).__name__
        raise TypeError(f"Got records of type {kind}, expected a list with one dict per sample.")
    records = [{} if is_missing_value(record) else record for record in records]
    if not records:
        raise ValueError("Got no records, expected a list with one dict per sample.")
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise ValueError(
                f"Got {type(record).__name__} in row {row}, expected a list with one dict per "
                'sample, for example [{"text": embedding, "audio": frames}, ...].'
            )
    names = list(dict.fromkeys(name for record in records for name in record))
    return {name: [record.get(name) for record in records] for name in names}


def data_frame_columns(frame: Any) -> dict[Any, Any]:
    """List the columns of a DataFrame by name."""
    return Frame.read(frame).by_name()


def listed(X: Any) -> Any:
    """Return columns, and arrays of objects, as plain arrays of numbers or lists of cells."""
    if isinstance(X, np.ndarray):
        return list(X) if X.dtype == object and X.ndim == 1 else X
    return plain_column(X) if is_column(X) else X
