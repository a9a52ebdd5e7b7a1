"""Modalities by name from padded arrays, views, records and tables of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from skumc.data._modality import Store, from_padding
from skumc.data._ragged import Ragged


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
    names = [f"view{i}" for i in range(len(views))] if names is None else list(names)
    if len(names) != len(views) or len(set(names)) != len(names):
        raise ValueError(f"Got names={names}, expected {len(views)} different names, one per view.")
    return dict(zip(names, views, strict=True))


def record_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """List the cells of each modality that occurs in a list of dicts; None where it is missing."""
    records = list(records)
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


def data_frame_columns(frame: Any) -> dict[str, list[Any]]:
    """List the cells of each column of a DataFrame."""
    names = list(frame.columns)
    if len(set(names)) != len(names):
        raise ValueError(
            f"Got a DataFrame with repeated column names: {names}. Rename or drop columns."
        )
    return {name: list(frame[name]) for name in names}
