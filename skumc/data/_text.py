"""Text of many samples, as sentences or as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skumc.data._missing import is_blank
from skumc.data._ragged import Ragged

_TOKEN_KEYS = ("input_ids", "attention_mask", "token_type_ids")


def is_token_mapping(values: Any) -> bool:
    """Whether a value is a dict with token ids, as tokenizers return it."""
    return isinstance(values, Mapping) and "input_ids" in values


def is_tokenized_text(values: Any) -> bool:
    """Whether a value is a dict with token ids only, and so a text modality of its own."""
    return is_token_mapping(values) and set(values) <= set(_TOKEN_KEYS)


def _as_int64(numbers: np.ndarray) -> np.ndarray:
    """Convert whole numbers; those beyond int64 become its maximum, which no model knows."""
    if numbers.dtype == np.uint64:
        numbers = np.minimum(numbers, np.uint64(np.iinfo(np.int64).max))
    return numbers.astype(np.int64)


def _token_rows(name: str, row: int, cell: Any) -> np.ndarray:
    """Read the unmasked tokens of one sample: id and type of each, (n_tokens, 2)."""
    if not is_token_mapping(cell):
        raise ValueError(
            f"Modality {name!r} holds token ids, but row {row} holds {type(cell).__name__}. Pass "
            'one dict {"input_ids": ids, "attention_mask": mask} per sample, or None.'
        )
    columns = [np.asarray(cell[key]) for key in _TOKEN_KEYS if cell.get(key) is not None]
    if any(
        column.ndim != 1 or len(column) != len(columns[0]) or column.dtype.kind not in "bui"
        for column in columns
        if column.size or len(columns[0])
    ):
        shapes = [(column.shape, str(column.dtype)) for column in columns]
        raise ValueError(
            f"Modality {name!r}, row {row}: got token ids, mask and types of shapes and types "
            f"{shapes}, expected whole numbers of one length."
        )
    ids = columns[0]
    if ids.size and ids.min() < 0:
        raise ValueError(f"Modality {name!r}, row {row}: got a negative token id, {ids.min()}.")
    mask, types = cell.get("attention_mask"), cell.get("token_type_ids")
    types = np.zeros(len(ids), np.int64) if types is None else np.asarray(types)
    shown = np.ones(len(ids), bool) if mask is None else np.asarray(mask).astype(bool)
    return np.stack([_as_int64(ids), _as_int64(types)], axis=1)[shown]


class Strings:
    """One sentence per sample.

    Parameters
    ----------
    cells : sequence of str or None
        None and strings of white space are missing.

    Examples
    --------
    >>> Strings(["good morning", None, " "]).lengths.tolist()
    [1, 0, 0]
    """

    width = None  # decided by the text model

    def __init__(self, cells: Sequence[str | None]) -> None:
        self._cells = np.empty(len(cells), dtype=object)
        self._cells[:] = [None if is_blank(cell) else str(cell) for cell in cells]

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, sample: int) -> str | None:
        return self._cells[sample]

    @property
    def lengths(self) -> np.ndarray:
        """1 for a sentence, 0 for a missing one, (n_samples,)."""
        return np.array([cell is not None for cell in self._cells], dtype=np.int64)

    def take(self, rows: np.ndarray) -> Strings:
        """Select the samples ``rows``."""
        return Strings(self._cells[rows])

    def __reduce__(self):
        return Strings, (self._cells.tolist(),)


class TokenIds:
    """Token ids and token types of each sample, without padding.

    Parameters
    ----------
    tokens : Ragged
        One frame per token with two whole numbers, id and type; kept as int64.

    Examples
    --------
    >>> tokens = TokenIds.from_mapping("text", {
    ...     "input_ids": [[101, 7, 102, 0], [101, 102, 0, 0]],
    ...     "attention_mask": [[1, 1, 1, 0], [1, 1, 0, 0]],
    ... })
    >>> tokens.lengths.tolist(), tokens[0]["input_ids"].tolist()
    ([3, 2], [101, 7, 102])
    """

    width = None

    def __init__(self, tokens: Ragged) -> None:
        self.tokens = Ragged(tokens.values, tokens.offsets, np.int64)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, sample: int) -> dict[str, np.ndarray] | None:
        frames = self.tokens[sample]
        if len(frames) == 0:
            return None
        return {"input_ids": frames[:, 0], "token_type_ids": frames[:, 1]}

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each sample, (n_samples,)."""
        return self.tokens.lengths

    def take(self, rows: np.ndarray) -> TokenIds:
        """Select the samples ``rows``."""
        return TokenIds(self.tokens.take(rows))

    def truncated(self, max_length: int) -> TokenIds:
        """Keep the first ``max_length`` tokens of each sample."""
        lengths = np.minimum(self.lengths, max_length)
        position = np.arange(len(self.tokens.values)) - np.repeat(
            self.tokens.offsets[:-1], self.lengths
        )
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return TokenIds(Ragged(self.tokens.values[position < max_length], offsets, np.int64))

    def __reduce__(self):
        return TokenIds, (self.tokens,)

    @classmethod
    def from_mapping(cls, name: str, encoded: Mapping[str, Any]) -> TokenIds:
        """Read the tokenizer's result for all samples: ids, and optionally mask and types."""
        columns = {key: encoded[key] for key in _TOKEN_KEYS if encoded.get(key) is not None}
        sizes = {key: len(column) for key, column in columns.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"Modality {name!r}: token ids, mask and types have sizes {sizes}.")
        n_samples = sizes["input_ids"]
        return cls.from_cells(
            name,
            [{key: column[row] for key, column in columns.items()} for row in range(n_samples)],
        )

    @classmethod
    def from_cells(cls, name: str, cells: Sequence[Mapping[str, Any] | None]) -> TokenIds:
        """Read one dict per sample with token ids, and optionally mask and types."""
        sequences = [
            np.zeros((0, 2), np.int64) if cell is None else _token_rows(name, row, cell)
            for row, cell in enumerate(cells)
        ]
        offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in sequences])])
        values = np.concatenate(sequences) if sequences else np.zeros((0, 2), np.int64)
        return cls(Ragged(values, offsets, np.int64))
