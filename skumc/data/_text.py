"""Text of many samples, as sentences or as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skumc.data._columns import is_column, plain_cell, plain_column
from skumc.data._missing import is_blank, is_missing_value
from skumc.data._numbers import plain_array
from skumc.data._padding import as_mask
from skumc.data._ragged import Ragged

_TOKEN_KEYS = ("input_ids", "attention_mask", "token_type_ids")
_SAMPLE_KEY = "overflow_to_sample_mapping"
_OTHER_TOKENIZER_KEYS = frozenset(
    {
        "special_tokens_mask",
        "offset_mapping",
        "length",
        "position_ids",
        "num_truncated_tokens",
        "overflowing_tokens",
        "assistant_masks",
        "global_attention_mask",
        "word_ids",
        "bbox",
        "label",
        "labels",
        "decoder_input_ids",
        "decoder_attention_mask",
        "entity_ids",
        "entity_position_ids",
        "entity_attention_mask",
        "entity_token_type_ids",
        "entity_start_positions",
        "entity_end_positions",
        _SAMPLE_KEY,
    }
)


def is_token_mapping(values: Any) -> bool:
    """Whether a value is a dict with token ids, as tokenizers return it."""
    return isinstance(values, Mapping) and "input_ids" in values


def check_token_keys(values: Mapping[str, Any]) -> None:
    """Raise ValueError if a dict of token ids also has keys that no tokenizer returns."""
    unknown = [key for key in values if key not in _OTHER_TOKENIZER_KEYS.union(_TOKEN_KEYS)]
    if unknown:
        raise ValueError(
            f"Got token ids ('input_ids') together with {', '.join(map(repr, unknown))}. Pass each "
            'modality by name, the tokenizer\'s result as one of them: {"text": {"input_ids": ids, '
            '"attention_mask": mask}, ' + f'"{unknown[0]}": ...' + "}."
        )


def _as_int64(numbers: np.ndarray) -> np.ndarray:
    """Convert whole numbers; those beyond int64 become its maximum, which no model embeds."""
    if numbers.dtype == np.uint64:
        numbers = np.minimum(numbers, np.uint64(np.iinfo(np.int64).max))
    return numbers.astype(np.int64)


def _flat(values: Any) -> np.ndarray:
    """Read the ids, mask or types of one sample; a leading axis of length 1 is dropped."""
    array = plain_array(plain_cell(values))
    return array[0] if array.ndim == 2 and len(array) == 1 else array


def _token_rows(name: str, row: int, cell: Any) -> np.ndarray:
    """Read the unmasked tokens of one sample: id and type of each, (n_tokens, 2)."""
    if not is_token_mapping(cell):
        raise ValueError(
            f"Modality {name!r} holds token ids, but row {row} holds {type(cell).__name__}. Pass "
            'one dict {"input_ids": ids, "attention_mask": mask} per sample, or None.'
        )
    if is_blank(cell["input_ids"]):
        return np.zeros((0, 2), np.int64)
    columns = {key: _flat(cell[key]) for key in _TOKEN_KEYS if not is_missing_value(cell.get(key))}
    ids = columns["input_ids"]
    mask = columns.pop("attention_mask", None)
    shown = np.ones(ids.shape, bool) if mask is None else as_mask(name, mask)
    if any(
        column.ndim != 1 or len(column) != len(ids) or column.dtype.kind not in "bui"
        for column in (shown, *columns.values())
    ):
        shapes = [(column.shape, str(column.dtype)) for column in (shown, *columns.values())]
        raise ValueError(
            f"Modality {name!r}, row {row}: got token ids, mask and types of shapes and types "
            f"{shapes}, expected whole numbers of one length."
        )
    types = columns.get("token_type_ids", np.zeros(len(ids), np.int64))
    rows = np.stack([_as_int64(ids), _as_int64(types)], axis=1)[shown]
    for what, numbers in zip(("id", "type"), rows.T, strict=True):
        if len(numbers) and numbers.min() < 0:
            raise ValueError(
                f"Modality {name!r}, row {row}: got a negative token {what}, {numbers.min()}. Hide "
                "padding by an attention_mask."
            )
    return rows


class Strings:
    """One sentence per sample.

    Parameters
    ----------
    cells : sequence of str or None
        None and strings of white space are missing.
    is_categorical : bool, default=False
        Whether the column's type said that it holds categories.

    Examples
    --------
    >>> Strings(["good morning", None, " "]).lengths.tolist()
    [1, 0, 0]
    """

    width = None  # decided by the text model

    def __init__(self, cells: Sequence[str | None], is_categorical: bool = False) -> None:
        self.is_categorical = is_categorical
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
        return Strings(self._cells[rows], self.is_categorical)

    def __reduce__(self) -> tuple[Any, ...]:
        return Strings, (self._cells.tolist(), self.is_categorical)


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

    def stripped(self, padding: int) -> TokenIds:
        """Drop the token id ``padding`` before and after each sample's tokens.

        Examples
        --------
        >>> tokens = TokenIds.from_cells("text", [{"input_ids": [0, 0, 5, 0, 6, 0]}])
        >>> tokens.stripped(0)[0]["input_ids"].tolist()
        [5, 0, 6]
        """
        values, lengths = self.tokens.values, self.lengths
        is_text = values[:, 0] != padding
        if is_text.all():
            return self
        owner = np.repeat(np.arange(len(self)), lengths)
        seen = np.concatenate([[0], np.cumsum(is_text)])
        offsets = self.tokens.offsets
        before = seen[1:] - seen[offsets[:-1]][owner] == 0  # no word up to this token
        after = seen[offsets[1:]][owner] - seen[:-1] == 0
        kept = ~(before | after)
        return TokenIds(
            Ragged.from_lengths(
                values[kept], np.bincount(owner[kept], minlength=len(self)), np.int64
            )
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenIds, (self.tokens,)

    @classmethod
    def from_mapping(cls, name: str, encoded: Mapping[str, Any]) -> TokenIds:
        """Read the tokenizer's result for all samples: ids, and optionally mask and types."""
        columns: dict[str, Any] = {
            key: plain_column(encoded[key]) if is_column(encoded[key]) else encoded[key]
            for key in (*_TOKEN_KEYS, _SAMPLE_KEY)
            if encoded.get(key) is not None
        }
        ids = columns.get("input_ids", 0)
        if not hasattr(ids, "__len__") or (len(ids) and isinstance(ids[0], (int, np.integer))):
            raise ValueError(
                f"Modality {name!r}: got the token ids of one text, expected one list of ids per "
                "sample. Tokenize a list of texts."
            )
        sizes = {key: len(column) for key, column in columns.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"Modality {name!r}: token ids, mask and types have sizes {sizes}.")
        n_samples = sizes["input_ids"]
        pieces = columns.pop(_SAMPLE_KEY, ())
        if len(np.unique(plain_array(pieces))) < len(pieces):
            raise ValueError(
                f"Modality {name!r}: several rows of token ids are pieces of one text "
                f"({_SAMPLE_KEY}). Tokenize without return_overflowing_tokens."
            )
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
