"""Base class of transformers from one recording or video per sample to sequences of frames."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skumc._console import ExtractionProgress
from skumc._devices import PickledOnCPU
from skumc._fitted import all_or_nothing
from skumc._warnings import warn_caller
from skumc.data import FrameCache, MultimodalData, digest, is_blank, memory_folder, versioned
from skumc.data._forms import listed
from skumc.feature_extraction._container_output import ContainerTransformerMixin, check_column
from skumc.feature_extraction._pretrained import LoadedModel, frozen

_FOLDER = "skumc-frames"
_READING = "2"  # version of what is read from a file: frames stored with another are not used


def _summary(errors: dict[int, str], n_samples: int, limit: int = 3) -> str:
    """Return the number of unreadable clips and the first few errors."""
    shown = "; ".join(f"row {row}: {errors[row]}" for row in sorted(errors)[:limit])
    more = f"; and {len(errors) - limit} more" if len(errors) > limit else ""
    return f"{len(errors)} of {n_samples} clips could not be read ({shown}{more})."


def check_length(path: Any, seconds: float, announced: float, failure: str | None) -> None:
    """Warn of a file that ends early or is damaged; raise if most of it is missing.

    Parameters
    ----------
    path : str or path
    seconds : float
        Length of what was decoded.
    announced : float
        Length that the file announces, 0 if it announces none.
    failure : str or None
        Error of the decoder.

    Raises
    ------
    UnreadableClip
        If nothing was decoded, or less than half of the announced length.
    """
    length = f" of {announced:.2f} s that it announces" if announced else ""
    cause = f" ({failure})" if failure else ""
    message = (
        f"{os.fspath(path)!r} ends early or is damaged: it holds {seconds:.2f} s{length}{cause}"
    )
    if seconds == 0 or seconds < announced / 2:
        raise UnreadableClip(message)
    warn_caller(f"{message}. What it holds is used; get the whole file if there is one.")


def file_digest(path: str | os.PathLike) -> str:
    """Return the fingerprint of a file's bytes, and of the way of reading them.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    str

    Raises
    ------
    UnreadableClip
        If the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            chunks = iter(lambda: file.read(1 << 20), b"")
            return digest(_READING, *(digest(chunk) for chunk in chunks))
    except (OSError, ValueError) as error:  # ValueError: the string is not a valid path
        reason = getattr(error, "strerror", None) or error
        raise UnreadableClip(f"{os.fspath(path)!r}: {reason}") from error


class UnreadableClip(ValueError):
    """Error for a clip that cannot be decoded; other samples may be valid."""


@dataclass(frozen=True)
class Clip:
    """A recording or video that has not been decoded yet.

    Attributes
    ----------
    key : str
        Fingerprint of the content.
    size : int
        Cost of encoding: number of samples of a recording, 1 for a video.
    read : callable
        Function that returns the content or raises :class:`UnreadableClip`.
    """

    key: str
    size: int
    read: Callable[[], Any]


class ClipFeatures(PickledOnCPU, ContainerTransformerMixin, BaseEstimator, ABC):
    """Base class of transformers from one clip per sample to sequences of frames.

    A subclass has the parameters ``model``, ``memory``, ``on_error``, ``modality``, ``device``
    and ``verbose``, and implements the six abstract methods.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and load the model's configuration; X is not used.

        Parameters
        ----------
        X : Ignored
            Not used, present for API consistency.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        estimator
            The fitted transformer itself.
        """
        del X, y
        self._validate_params()
        with all_or_nothing(self):
            self._pretrained: Any = self._prepare()
        return self

    def transform(self, X: Any) -> MultimodalData:
        """Compute the frames of each clip that is not stored yet.

        Parameters
        ----------
        X : list, array or Series of length n_samples
            One clip or path per sample. None, NaN, an empty string and an empty clip are missing.

        Returns
        -------
        MultimodalData
            One modality named ``modality``, float32, with the index of a Series.
        """
        check_is_fitted(self)
        index = getattr(X, "index", None) if hasattr(X, "iloc") else None
        check_column(X, f"{self.modality} clip, path or None")
        cells = list(listed(X))
        keys, clips, errors = self._find_clips(cells)
        self._raise_for(errors, len(cells))
        with self._inference():
            store = FrameCache(self._store_folder(), self._width())
            failures: dict[str, str] = {}
            batches = self._plan(list(clips.values()))
            extract = partial(self._extract, batches, store, keys, failures)
            frames = store.fetch(keys, extract)
        errors |= {row: failures[key] for row, key in enumerate(keys) if key in failures}
        if errors:
            warnings.warn(
                f"{_summary(errors, len(cells))} They count as missing in {self.modality!r}; "
                "errors_ lists all of them.",
                stacklevel=2,
            )
        self.errors_ = dict(sorted(errors.items()))
        return MultimodalData({self.modality: frames}, index=index)

    @abstractmethod
    def _prepare(self) -> LoadedModel | None:
        """Load the model's configuration and processor, and set the fitted attributes."""

    def _inference(self) -> AbstractContextManager[None]:
        """Return the context in which clips are encoded."""
        return frozen(self._pretrained.model, self._pretrained.device(self.device))

    def _fingerprint(self) -> str:
        """Return the fingerprint of the model."""
        return self._pretrained.fingerprint()

    @abstractmethod
    def _find(self, cell: Any) -> Clip | None:
        """Return the clip in a cell that is not blank, None if the clip is empty."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """Return the parameters that change frames; they are part of the store's key."""

    @abstractmethod
    def _width(self) -> int:
        """Return the number of values per frame."""

    @abstractmethod
    def _plan(self, clips: list[Clip]) -> list[list[Clip]]:
        """Group clips into batches, regardless of the order of the rows."""

    @abstractmethod
    def _encode(self, clips: list[Clip]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Return the frames, (n_frames, width), of readable clips and the errors of others."""

    def _find_clips(
        self, cells: list[Any]
    ) -> tuple[list[str | None], dict[str, Clip], dict[int, str]]:
        """Return the fingerprint of each row, the distinct clips, and the errors by row."""
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
                f"{_summary(errors, n_samples)} Repair or drop these rows, or pass "
                "on_error='missing' to count them as missing."
            )

    def _extract(
        self,
        batches: Sequence[list[Clip]],
        store: FrameCache,
        keys: list[str | None],
        failures: dict[str, str],
        absent: list[str],
    ) -> dict[str, str]:
        """Encode the clips that the store lacks, and add the errors by fingerprint."""
        wanted = set(absent)
        todo = [clip for batch in batches for clip in batch if clip.key in wanted]
        work = sum(clip.size for clip in todo)
        progress = ExtractionProgress(self.verbose, self.modality, len(todo), work)
        for batch in batches:
            store.refresh()  # another process may have added frames
            batch = [clip for clip in batch if clip.key not in store]
            if not batch:
                continue
            frames, failed = self._encode(batch)
            store.add(frames)
            failures |= failed
            rows = {row: failed[key] for row, key in enumerate(keys) if key in failed}
            self._raise_for(rows, len(keys))
            progress.report(len(batch), sum(clip.size for clip in batch))
        return failures

    def _store_folder(self) -> Path | None:
        """Return the folder of this model and these settings, None without ``memory``."""
        folder = memory_folder(self.memory)
        if folder is None:
            return None
        settings = repr(sorted(self._settings().items()))
        return folder / _FOLDER / versioned(digest(self._fingerprint(), settings))
