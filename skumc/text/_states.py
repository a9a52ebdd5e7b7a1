"""What the frozen layers of a text model give, computed once for each distinct utterance."""

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
from skumc._progress import ExtractionProgress
from skumc._sequences import Sequences
from skumc.data import FrameStore, Ragged, TokenIds, digest
from skumc.text._structure import calm, run
from skumc.text._tower import length_groups

_BATCH_TOKENS = 8_192  # padded tokens a batch of the frozen pass
_BUDGET_BYTES = 2 * 1024**3  # states that are kept in memory; more go to a temporary file


def _batches(lengths: np.ndarray) -> Iterator[np.ndarray]:
    for rows in length_groups(torch.from_numpy(lengths), _BATCH_TOKENS):
        yield rows.numpy()


class FrozenStates:
    """Run the frozen layers on token ids and keep what they give.

    Parameters
    ----------
    front : Module
        From token ids to states.
    width : int
    memory : path or None
        A folder that several fits and processes share. None keeps the states for this object, in
        memory, or in a temporary file where they exceed 2 GiB.
    verbose : int, default=0
        See :class:`~skumc._progress.ExtractionProgress`.
    """

    def __init__(
        self, front: nn.Module, width: int, memory: str | None = None, verbose: int = 0
    ) -> None:
        self._front, self._width, self._memory, self._verbose = front, width, memory, verbose
        self._name: str | None = None

    def __call__(self, tokens: TokenIds, device: torch.device) -> Ragged:
        """States of each sample, (n_tokens, width); repeated utterances share them.

        Frozen layers run in evaluation mode on samples of like length, only for what is not kept
        already. A process that is killed loses one batch.
        """
        keys, first = self._distinct(tokens)
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

    def _distinct(self, tokens: TokenIds) -> tuple[list[str | None], dict[str, int]]:
        """Fingerprint of each sample, None where it is missing, and the first row of each."""
        keys: list[str | None] = []
        first: dict[str, int] = {}
        for row in range(len(tokens)):
            values = tokens.tokens[row]
            key = digest(values.astype(np.int64).tobytes()) if len(values) else None
            keys.append(key)
            if key is not None:
                first.setdefault(key, row)
        return keys, first

    def _folder(self, n_tokens: int) -> Path | None:
        """Where so many states are kept; None is in memory."""
        if self._memory is not None:
            self._name = self._name or fingerprint(self._front)
            return Path(self._memory) / "text" / self._name
        if 4 * n_tokens * self._width <= _BUDGET_BYTES:
            return None
        return Path(tempfile.mkdtemp(prefix="skumc-"))

    def _run(
        self, tokens: TokenIds, first: dict[str, int], store: FrameStore, device: torch.device
    ) -> None:
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
            group = Sequences.from_lengths(frames, torch.from_numpy(packed.lengths))
            ids, types = group.padded(frames).long().unbind(2)
            with calm(front):
                states = group.unpadded(run(front, ids, group.mask.long(), types))
            states = states.float().cpu().numpy()
            pieces = np.split(states, np.cumsum(packed.lengths)[:-1])
            store.add(dict(zip(keys[missing].tolist(), pieces, strict=True)))
            progress.report(len(missing), len(packed.values))
