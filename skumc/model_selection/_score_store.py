"""Scores of finished fits in a folder, found again by the content of all that they depend on."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import sklearn
import torch

import skumc
from skumc._content import content_hash
from skumc._warnings import warn_caller

_LAYOUT = 1  # of the files


class ScoreStore:
    """Scores of one fit on disk, one small file per score.

    A folder that cannot be read or written costs a warning.

    Parameters
    ----------
    folder : path
        Folder that several searches and processes may share.
    fit_key : str
        Hash of the estimator, its parameters and its training samples.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ScoreStore(folder, "a").put("test", "agreement", 0.25)
    ...     store = ScoreStore(folder, "a")
    ...     store.has_scores(), store.get("test", "agreement"), store.get("test", "modularity")
    (True, 0.25, None)
    """

    def __init__(self, folder: str | Path, fit_key: str) -> None:
        # scores of other versions may differ by more than rounding
        releases = (skumc.__version__, torch.__version__, sklearn.__version__, np.__version__)
        key = content_hash(fit_key, _LAYOUT, *map(str, releases))
        self._folder = Path(folder) / "search" / key

    def has_scores(self) -> bool:
        """Tell whether the fit has left any score."""
        return self._folder.is_dir() and any(self._folder.glob("*.json"))

    def get(self, test_key: str, name: str) -> float | None:
        """Read a score; None if it is not there or damaged.

        Parameters
        ----------
        test_key : str
            Hash of the test samples.
        name : str
            Name of the score.
        """
        try:
            return float(json.loads(self._file(test_key, name).read_text(encoding="utf8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, test_key: str, name: str, score: float) -> None:
        """Write a score, whole or not at all if the process is killed."""
        file = self._file(test_key, name)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".part")
            with open(handle, "w", encoding="utf8") as stream:
                stream.write(json.dumps(score))
            os.replace(temporary, file)
        except OSError as error:
            warn_caller(
                f"Cannot keep a score in {self._folder} ({error}): a later search will fit again. "
                "Name a folder with permission to write and enough space as memory."
            )

    def _file(self, test_key: str, name: str) -> Path:
        return self._folder / f"{name}-{test_key}.json"
