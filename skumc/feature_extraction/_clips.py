"""From one recording or video a sample to sequences of frames, each computed once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skumc._progress import ExtractionProgress
from skumc.data import FrameStore, MultimodalData, digest, is_blank
from skumc.feature_extraction._container_output import ContainerTransformerMixin, check_column
from skumc.feature_extraction._pretrained import LoadedModel, frozen

_FOLDER = "skumc-frames"


class UnreadableClip(ValueError):
    """What one sample holds cannot be decoded; others may be fine."""


@dataclass(frozen=True)
class Clip:
    """One recording or video that is not decoded yet.

    Attributes
    ----------
    key : str
        Fingerprint of its content.
    size : int
        What it costs: samples of a recording, 1 for a video.
    read : callable
        Gives the content; raises :class:`UnreadableClip`.
    """

    key: str
    size: int
    read: Callable[[], Any]


def file_digest(path: str | os.PathLike) -> str:
    """Fingerprint of a file's bytes."""
    try:
        with open(path, "rb") as file:
            chunks = iter(lambda: file.read(1 << 20), b"")
            return digest(*(digest(chunk) for chunk in chunks))
    except (OSError, ValueError) as error:  # ValueError: no path can be such a string
        reason = getattr(error, "strerror", None) or error
        raise UnreadableClip(f"{os.fspath(path)!r}: {reason}") from error


def _summary(errors: dict[int, str], n_samples: int, limit: int = 3) -> str:
    """How many clips were not readable, and what was wrong with the first ones."""
    shown = "; ".join(f"row {row}: {errors[row]}" for row in sorted(errors)[:limit])
    more = f"; and {len(errors) - limit} more" if len(errors) > limit else ""
    return f"{len(errors)} of {n_samples} clips could not be read ({shown}{more})."


class ClipFeatures(ContainerTransformerMixin, BaseEstimator):
    """What transformers from one clip a sample to sequences of frames have in common.

    A subclass has the parameters ``model``, ``memory``, ``on_error``, ``modality``, ``device``
    and ``verbose`` and the steps ``_prepare``, ``_find``, ``_settings``, ``_width``, ``_plan`` and
    ``_encode``.
    """

    def fit(self, X: Any, y: Any = None):
        """Check the parameters and find the model; nothing is learned from X.

        Parameters
        ----------
        X : list, array or Series of length n_samples
            Not read.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        estimator
            The fitted transformer itself.
        """
        del X, y
        self._validate_params()
        self._memory_folder()
        self._pretrained: LoadedModel = self._prepare()
        return self

    def transform(self, X: Any) -> MultimodalData:
        """Compute the frames of each clip that is not stored yet.

        Parameters
        ----------
        X : list, array or Series of length n_samples
            One clip or path a sample; None, NaN, an empty string and an empty clip are missing.

        Returns
        -------
        MultimodalData
            With the one modality ``modality``, float32, and the index of a Series.
        """
        check_is_fitted(self)
        index = getattr(X, "index", None) if hasattr(X, "iloc") else None
        check_column(X, f"{self.modality} clip, path or None")
        cells = list(X)
        keys, clips, errors = self._find_clips(cells)
        self._raise_for(errors, len(cells))
        model = self._pretrained.model
        with frozen(model, self._pretrained.device(self.device)):
            store = FrameStore(self._store_folder(), self._width())
            failures = self._extract(self._plan(list(clips.values())), store, keys)
        errors |= {row: failures[key] for row, key in enumerate(keys) if key in failures}
        if errors:
            warnings.warn(
                f"{_summary(errors, len(cells))} They count as missing in {self.modality!r}; "
                "errors_ has all of them.",
                stacklevel=2,
            )
        self.errors_ = dict(sorted(errors.items()))
        keys = [None if key in failures else key for key in keys]
        return MultimodalData({self.modality: store.take(keys)}, index=index)

    def _find_clips(
        self, cells: list[Any]
    ) -> tuple[list[str | None], dict[str, Clip], dict[int, str]]:
        """Fingerprint of each row, the different clips, and what is wrong with which row."""
        keys: list[str | None] = []
        clips: dict[str, Clip] = {}
        errors: dict[int, str] = {}
        for row, cell in enumerate(cells):
            clip = None
            try:
                clip = None if is_blank(cell) else self._find(cell)
            except UnreadableClip as error:
                errors[row] = str(error)
            except ValueError as error:
                raise ValueError(f"Row {row}: {error}") from error
            keys.append(None if clip is None else clip.key)
            if clip is not None:
                clips.setdefault(clip.key, clip)
        return keys, clips, errors

    def _raise_for(self, errors: dict[int, str], n_samples: int) -> None:
        if errors and self.on_error == "raise":
            raise ValueError(
                f"{_summary(errors, n_samples)} Mend or drop these rows, or pass "
                "on_error='missing' to count them as missing."
            )

    def _extract(
        self, batches: Sequence[list[Clip]], store: FrameStore, keys: list[str | None]
    ) -> dict[str, str]:
        """Encode what the store lacks, batch by batch; give the clips that cannot be read.

        Batches are planned over all clips, so that one that was interrupted goes on with the same
        batches and ends with the same bits.
        """
        todo = [clip for batch in batches for clip in batch if clip.key not in store]
        work = sum(clip.size for clip in todo)
        progress = ExtractionProgress(self.verbose, self.modality, len(todo), work)
        failures: dict[str, str] = {}
        for batch in batches:
            store.refresh()  # another process may have been here
            batch = [clip for clip in batch if clip.key not in store]
            if not batch:
                continue
            frames, failed = self._encode(batch)
            with store.locked():
                store.add({key: rows for key, rows in frames.items() if key not in store})
            failures |= failed
            rows = {row: failed[key] for row, key in enumerate(keys) if key in failed}
            self._raise_for(rows, len(keys))
            progress.report(len(batch), sum(clip.size for clip in batch))
        return failures

    def _memory_folder(self) -> Path | None:
        """The folder of ``memory``, a path or what has a ``location``."""
        folder = getattr(self.memory, "location", self.memory)
        if folder is not None and not isinstance(folder, (str, os.PathLike)):
            raise TypeError(
                f"Got memory={self.memory!r}, expected None, a folder or a joblib.Memory."
            )
        return None if folder is None else Path(folder)

    def _store_folder(self) -> Path | None:
        """One folder for each model and each way to read clips."""
        folder = self._memory_folder()
        if folder is None:
            return None
        settings = repr(sorted(self._settings().items()))
        return folder / _FOLDER / digest(self._pretrained.fingerprint(), settings)
