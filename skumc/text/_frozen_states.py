"""States of the frozen layers of a text model, computed once for each distinct text."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from skumc._checkpoints import fingerprint
from skumc._console import ExtractionProgress
from skumc._evaluation import evaluating
from skumc.data import FrameCache, Ragged, TokenIds, digest, versioned
from skumc.text._run import run
from skumc.text._tower import length_groups

_BATCH_TOKENS = 8_192  # padded tokens that are computed before they are stored together
_PASS_TOKENS = {"cpu": 256, "cuda": 8_192}  # padded tokens per pass of the frozen layers
_BUDGET_BYTES = 2 * 1024**3  # states kept in memory; more go to a temporary file


def _batches(lengths: np.ndarray) -> Iterator[np.ndarray]:
    for rows in length_groups(torch.from_numpy(lengths), _BATCH_TOKENS):
        yield rows.numpy()


def _padded_length(n_tokens: int, longest: int) -> int:
    """Round a number of tokens up to a multiple of 4, of 8 beyond 64, and so on."""
    step = max(2 ** (n_tokens.bit_length() - 4), 4)
    return min(-(-n_tokens // step) * step, longest)


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
    longest : int
        Maximum number of tokens that the model reads.
    verbose : int, default=0
        See :class:`~skumc._console.ExtractionProgress`.
    means_of : str, default=None
        Only the mean over the tokens is kept, one frame per text; names the states in the cache.

    Notes
    -----
    The rounding of a batch depends on its shape, so that a cache would change the results of a
    seeded fit. Therefore the shape of a pass depends on the length of its texts only: they are
    padded to few lengths, and a pass always has the same number of texts of one length; the last
    one is filled up.
    """

    def __init__(
        self,
        front: nn.Module,
        width: int,
        longest: int,
        verbose: int = 0,
        means_of: str | None = None,
    ) -> None:
        self._means_of = means_of
        self._front, self._width, self._verbose = front, width, verbose
        self._longest = longest
        self._name: str | None = None

    def __call__(
        self, tokens: TokenIds, device: torch.device, memory: Path | None = None
    ) -> Ragged:
        """Compute the states of each sample, (n_tokens, width); repeated texts share them.

        The frozen layers run in evaluation mode, and only for texts that are not cached. A process
        that is killed loses the states since it last stored some.

        Parameters
        ----------
        tokens : TokenIds
        device : torch.device
        memory : Path, default=None
            Folder that several fits and processes may share. None keeps the states as long as the
            result, in memory, or in a temporary file beyond 2 GiB.
        """
        keys, first = _distinct(tokens)
        n_frames = len(first) if self._means_of else tokens.lengths[list(first.values())].sum()
        n_bytes = 4 * self._width * int(n_frames)
        folder = None if memory is None else self._folder(memory)
        is_large = memory is None and n_bytes > _BUDGET_BYTES
        scratch = tempfile.mkdtemp(prefix="skumc-") if is_large else None
        cache = FrameCache(folder, self._width, scratch)
        with ExitStack() as stack:
            if scratch is not None:  # deleted with the states, or where the pass is interrupted
                stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            states = cache.fetch(keys, partial(self._run, tokens, first, cache, device))
            weakref.finalize(states, stack.pop_all().close)
        return states

    def _folder(self, memory: Path) -> Path:
        """Name the folder of this model's states."""
        settings = [f"means of {self._means_of}"] if self._means_of else []
        self._name = self._name or fingerprint(self._front, *settings)
        return memory / "text" / versioned(self._name)

    def _run(
        self,
        tokens: TokenIds,
        first: dict[str, int],
        cache: FrameCache,
        device: torch.device,
        absent: list[str],
    ) -> tuple[()]:
        """Compute the states that the cache lacks, and store them group by group."""
        keys = list(first)
        rows = np.array(list(first.values()))
        lengths = tokens.lengths[[first[key] for key in absent]]
        work = int(lengths.sum())
        progress = ExtractionProgress(self._verbose, "text", len(lengths), work, unit="texts")
        front = self._front.to(device)
        groups = list(_batches(tokens.lengths[rows]))
        while groups:
            with cache.turn() as is_first:  # other processes may add states too: meet in the middle
                group = groups.pop(0 if is_first else -1)
                missing = [place for place in group.tolist() if keys[place] not in cache]
                if not missing:
                    continue
                with evaluating(front):
                    texts = [tokens.tokens[rows[place]] for place in missing]
                    found = self._states(front, texts, device)
                states = dict(zip((keys[place] for place in missing), found, strict=True))
                cache.add(states)
            progress.report(len(missing), sum(map(len, states.values())))
        return ()

    def _states(
        self, front: nn.Module, texts: list[np.ndarray], device: torch.device
    ) -> list[np.ndarray]:
        """Compute the states of each text in passes of fixed shapes."""
        by_length: dict[int, list[int]] = {}
        for place, text in enumerate(texts):
            by_length.setdefault(_padded_length(len(text), self._longest), []).append(place)
        states: list[np.ndarray] = [np.empty(0)] * len(texts)
        for length, places in by_length.items():
            size = max(_PASS_TOKENS.get(device.type, _PASS_TOKENS["cpu"]) // length, 1)
            for start in range(0, len(places), size):
                chosen = places[start : start + size]
                padded = np.zeros((size, length, 2), dtype=np.int64)
                mask = np.zeros((size, length), dtype=np.int64)
                mask[len(chosen) :] = 1
                for row, place in enumerate(chosen):
                    padded[row, : len(texts[place])] = texts[place]
                    mask[row, : len(texts[place])] = 1
                ids, types = torch.from_numpy(padded).to(device).unbind(2)
                found = run(front, ids, torch.from_numpy(mask).to(device), types).float().cpu()
                for row, place in enumerate(chosen):
                    kept = found[row, : len(texts[place])]
                    kept = kept.mean(dim=0, keepdim=True) if self._means_of else kept
                    states[place] = kept.numpy()
        return states
