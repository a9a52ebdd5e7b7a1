"""States of the frozen layers of a text model, computed once for each distinct text."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from skumc._checkpoints import fingerprint
from skumc._console import ExtractionProgress
from skumc._evaluation import evaluating
from skumc._sequences import Sequences
from skumc.data import FrameStore, Ragged, TokenIds, digest
from skumc.text._run import run
from skumc.text._tower import length_groups

_BATCH_TOKENS = 8_192  # padded tokens per batch of the frozen pass
_BUDGET_BYTES = 2 * 1024**3  # states kept in memory; more go to a temporary file


def _batches(lengths: np.ndarray) -> Iterator[np.ndarray]:
    for rows in length_groups(torch.from_numpy(lengths), _BATCH_TOKENS):
        yield rows.numpy()


def _distinct(tokens: TokenIds) -> tuple[list[str | None], dict[str, int]]:
    """Fingerprint each sample, None where text is missing, and find each one's first row."""
    keys: list[str | None] = []
    first: dict[str, int] = {}
    for row in range(len(tokens)):
        values = tokens.tokens[row]
        key = digest(values.tobytes()) if len(values) else None
        keys.append(key)
        if key is not None:
            first.setdefault(key, row)
    return keys, first


class FrozenStates:
    """Run the frozen layers on token ids and cache their output.

    Parameters
    ----------
    front : Module
        Maps token ids to states.
    width : int
        Width of the states.
    memory : path or None
        Folder that several fits and processes may share. None keeps the states for this object,
        in memory, or in a temporary file beyond 2 GiB.
    verbose : int, default=0
        See :class:`~skumc._console.ExtractionProgress`.
    """

    def __init__(
        self, front: nn.Module, width: int, memory: str | None = None, verbose: int = 0
    ) -> None:
        self._front, self._width, self._memory, self._verbose = front, width, memory, verbose
        self._name: str | None = None

    def __call__(self, tokens: TokenIds, device: torch.device) -> Ragged:
        """Compute the states of each sample, (n_tokens, width); repeated texts share them.

        The frozen layers run in evaluation mode, on samples of similar length, and only for texts
        that are not cached. A process that is killed loses one batch.
        """
        keys, first = _distinct(tokens)
        n_tokens = int(tokens.lengths[list(first.values())].sum())
        folder = self._folder(n_tokens)
        store = FrameStore(folder, self._width)
        store.refresh()
        if any(key not in store for key in first):
            with store.locked():
                self._run(tokens, first, store, device)
        states = store.take(keys)
        if folder is not None and self._memory is None:
            weakref.finalize(states, shutil.rmtree, folder, ignore_errors=True)
        return states

    def _folder(self, n_tokens: int) -> Path | None:
        """Choose the folder for the states of ``n_tokens`` tokens; None is in memory."""
        if self._memory is not None:
            self._name = self._name or fingerprint(self._front)
            return Path(self._memory) / "text" / self._name
        if 4 * n_tokens * self._width <= _BUDGET_BYTES:
            return None
        return Path(tempfile.mkdtemp(prefix="skumc-"))

    def _run(
        self, tokens: TokenIds, first: dict[str, int], store: FrameStore, device: torch.device
    ) -> None:
        """Compute the states that the store lacks, batch by batch."""
        keys = np.array(list(first))
        rows = np.array(list(first.values()))
        lengths_of_missing = tokens.lengths[[row for key, row in first.items() if key not in store]]
        n_missing, work = len(lengths_of_missing), int(lengths_of_missing.sum())
        progress = ExtractionProgress(self._verbose, "text", n_missing, work, unit="texts")
        front = self._front.to(device)
        for group in _batches(tokens.lengths[rows]):
            missing = np.array([place for place in group if keys[place] not in store], dtype=int)
            if len(missing) == 0:
                continue
            packed = tokens.take(rows[missing]).tokens
            frames = torch.from_numpy(np.array(packed.values)).to(device)
            texts = Sequences.from_lengths(frames, torch.from_numpy(packed.lengths))
            ids, types = texts.padded(frames).unbind(2)
            with evaluating(front):
                states = texts.unpadded(run(front, ids, texts.mask.long(), types))
            pieces = np.split(states.float().cpu().numpy(), np.cumsum(packed.lengths)[:-1])
            store.add(dict(zip(keys[missing].tolist(), pieces, strict=True)))
            progress.report(len(missing), len(packed.values))
