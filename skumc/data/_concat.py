"""Samples of several containers, one container after another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

import numpy as np

from skumc.data._modality import Store
from skumc.data._ragged import Ragged
from skumc.data._text import Strings, TokenIds

_KINDS = {Ragged: "frames of width {}", Strings: "sentences", TokenIds: "token ids"}


def join_stores(name: str, parts: Sequence[Store]) -> Store:
    """Join one modality of several containers.

    Parameters
    ----------
    name : str
    parts : sequence of Store
        Those of which every sample is missing fit any kind and width.

    Raises
    ------
    ValueError
        If kinds or widths differ.
    """
    present = [part for part in parts if part.lengths.any()] or [parts[0]]
    kinds = {_KINDS[type(part)].format(part.width): part for part in present}
    if len(kinds) > 1:
        raise ValueError(
            f"Modality {name!r} differs between the containers: {', '.join(sorted(kinds))}. Pass "
            "containers with the same features, or leave the modality out with X.select(names)."
        )
    if isinstance(present[0], Strings):
        cells = [part[i] if part in present else None for part in parts for i in range(len(part))]
        return Strings(cast(list, cells), any(cast(Strings, p).is_categorical for p in present))
    lengths = np.concatenate([part.lengths for part in parts])
    if isinstance(present[0], TokenIds):
        values = np.concatenate([cast(TokenIds, part).tokens.values for part in present])
        return TokenIds(Ragged.from_lengths(values, lengths, np.int64))
    frames = [cast(Ragged, part) for part in present]
    values = np.concatenate([part.values for part in frames])
    return Ragged.from_lengths(values, lengths, checked=all(part.checked for part in frames))


def join_indexes(indexes: Sequence[Any]) -> Any:
    """Join row names; raise ValueError if only some containers have them."""
    if all(index is None for index in indexes):
        return None
    without = [number for number, index in enumerate(indexes) if index is None]
    if without:
        raise ValueError(
            f"Container {without[0]} has no index, but others have one. Give all of them an index, "
            "MultimodalData(..., index=names), or none."
        )
    if all(hasattr(index, "append") and not isinstance(index, list) for index in indexes):
        return indexes[0].append(list(indexes[1:]))
    return list(chain(*indexes))
