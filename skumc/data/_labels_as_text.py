"""Columns of file paths, identifiers and categories among the text modalities."""

from __future__ import annotations

import re
from collections.abc import Sequence

from skumc._warnings import warn_caller
from skumc.data._container import MultimodalData
from skumc.data._text import Strings

_SHARE = 0.9  # of the cells that have to look alike
_ENOUGH = 10  # cells from which repeated words count as categories
_SUFFIX = (
    "wav|mp3|flac|ogg|opus|m4a|aac|aiff?|wma|mp4|avi|mkv|mov|webm|mpe?g|m4v|wmv|gif|jpe?g|png|bmp|"
    "tiff?|webp|heic|txt|csv|tsv|json|jsonl|parquet|npy|npz|pt|pkl|h5|hdf5|pdf|zip|gz|tar"
)
_PATH = re.compile(
    rf"(\S.*\.({_SUFFIX})|(file|https?|s3|gs|hdfs)://\S+|\S*[/\\]\S+)",
    re.IGNORECASE,
)
_ID = re.compile(r"(?=.*\d)[A-Za-z0-9_.:#@-]+|[\w.+-]+@[\w-]+(\.[\w-]+)+")
_WORD = re.compile(r"[\w.&+/-]{1,40}")


def _share(pattern: re.Pattern[str], cells: Sequence[str]) -> float:
    return sum(pattern.fullmatch(cell) is not None for cell in cells) / len(cells)


def name_labels(strings: Strings) -> str | None:
    """Name the kind of labels that strings look like; None for sentences.

    Examples
    --------
    >>> name_labels(Strings(["calls/1.wav", "calls/2.wav"]))
    'file paths'
    >>> name_labels(Strings(["T-1001", "T-1002"])), name_labels(Strings(["web", "phone"] * 10))
    ('identifiers', 'categories')
    >>> name_labels(Strings(["good morning", "too dear"] * 10))
    """
    cells = [str(strings[row]).strip() for row in range(len(strings)) if strings[row] is not None]
    if not cells:
        return None
    if strings.is_categorical:
        return "categories"
    if _share(_PATH, cells) >= _SHARE:
        return "file paths"
    if _share(_ID, cells) >= _SHARE:
        return "identifiers"
    # scripts without upper and lower case may write sentences without spaces
    words = _share(_WORD, cells) >= _SHARE and all(c.upper() != c.lower() for c in cells)
    if words and len(cells) >= _ENOUGH and 2 * len(set(cells)) <= len(cells):
        return "categories"
    return None


def warn_of_labels(data: MultimodalData) -> None:
    """Warn of each text modality that looks like labels rather than sentences."""
    for name, width in data.widths.items():
        store = data.packed(name) if width is None else None
        kind = name_labels(store) if isinstance(store, Strings) else None
        if kind is None:
            continue
        remedy = {
            "file paths": "Turn files into frames first, for example with WavLMFeatures or "
            "SwinFeatures in MultimodalFeatures",
            "identifiers": "Leave the modality out with modalities=",
            "categories": "Encode categories as numbers, for example with OneHotEncoder, or leave "
            "the modality out with modalities=",
        }[kind]
        warn_caller(
            f"Modality {name!r} looks like {kind}, not sentences, and is read as text. {remedy}.",
            UserWarning,
        )
