"""Layouts of the three published data sets, and the loading that they share."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skumc._parts import as_path, unknown_name_message
from skumc.data import MultimodalData, memory_folder
from skumc.datasets._converted_frames import load_frames
from skumc.datasets._errors import DatasetError
from skumc.datasets._utterance_tables import Layout, read_utterances

_FREE_CHARACTERS, _MAX_STRETCH = 1_000_000, 8
_FILES = {"audio": "audio_data/wavlm_feats.pkl", "video": "video_data/swin_feats.pkl"}
MINTREC = Layout(
    "MIntRec",
    key_columns=(0, 1, 2),
    text_column=3,
    label_column=4,
    description="Utterances from a television series, labeled with what the speaker intends "
    "(20 intents). Each has its words, the speaker's voice and the speaker's picture.",
)
MELD_DA = Layout(
    "MELD-DA",
    key_columns=(0, 1),
    text_column=2,
    label_column=3,
    description="Utterances of dialogues with several speakers from a television series, labeled "
    "with dialogue acts (12 classes). Each has its words, the voice and the picture.",
)
IEMOCAP_DA = Layout(
    "IEMOCAP-DA",
    key_columns=(0,),
    text_column=1,
    label_column=2,
    description="Utterances of dialogues that pairs of actors played or improvised, labeled with "
    "dialogue acts (12 classes). Each has its words, the voice and the picture.",
)


def _check_limits(limits: dict[str, int | None]) -> None:
    for name, limit in limits.items():
        if limit is None:
            continue
        if not isinstance(limit, Integral) or isinstance(limit, bool) or limit < 1:
            raise ValueError(
                f"Got {name}={limit!r}, expected a whole number of 1 or more, or None for no limit."
            )


def _strings(values: list[str], what: str) -> np.ndarray:
    """Convert strings to an array, in which each takes the space of the longest."""
    longest = max(values, key=len)
    if len(longest) * len(values) > _FREE_CHARACTERS + _MAX_STRETCH * sum(map(len, values)):
        raise DatasetError(
            f"The tables have {len(values)} {what}s, one of which has {len(longest)} characters "
            f"({longest[:40]!r}...), far more than the others. Shorten it."
        )
    return np.array(values)


def load_published(
    folder: str | os.PathLike,
    layout: Layout,
    text_limit: int | None,
    frame_limits: dict[str, int | None],
    on_missing: str,
    cache_folder: str | os.PathLike | None,
) -> Bunch:
    """Read the tables and both pickles of a data set.

    Parameters and errors are those of :func:`~skumc.datasets.load_mintrec`; ``frame_limits`` has a
    limit for "audio" and for "video".
    """
    frame_names = {f"{name}_limit": limit for name, limit in frame_limits.items()}
    _check_limits({"text_limit": text_limit, **frame_names})
    if on_missing not in ("raise", "missing"):
        raise ValueError(unknown_name_message("on_missing", on_missing, ("raise", "missing")))
    folder = as_path("folder", folder)
    cache_folder = memory_folder(cache_folder) or folder / ".skumc"
    utterances = read_utterances(folder, layout)
    modalities: dict[str, Any] = {"text": utterances.texts}
    for name, file in _FILES.items():
        modalities[name] = load_frames(
            folder / file,
            utterances.keys,
            name=name,
            limit=frame_limits[name],
            on_missing=on_missing,
            cache_folder=cache_folder,
        )
    names = sorted(set(utterances.labels))
    codes = {label: code for code, label in enumerate(names)}
    return Bunch(
        data=MultimodalData(modalities, index=_strings(utterances.keys, "key")),
        target=np.array([codes[label] for label in utterances.labels], dtype=np.int64),
        target_names=_strings(names, "label"),
        splits=utterances.splits,
        text_limit=text_limit,
        DESCR=f"{layout.name}. {layout.description}",
    )
