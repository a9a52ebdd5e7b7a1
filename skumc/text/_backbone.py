"""A text model in two parts: frozen layers that run once, and a tower that trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from skumc.data import Ragged, Strings, TokenIds
from skumc.data._text import is_token_mapping
from skumc.text._loading import ArgumentNames, TextModel, load_text_model
from skumc.text._states import FrozenStates
from skumc.text._structure import Split
from skumc.text._tower import TextTower

_LONGEST = 100_000  # tokenizers without a limit give astronomic ones


class TextBackbone:
    """Read sentences or token ids with a transformers encoder, of which the last layers train.

    Parameters
    ----------
    text_model : str, path or (model, tokenizer)
        Name on the Hugging Face hub, a folder, or the objects, which are copied. The classes of
        BERT, RoBERTa, DistilBERT, MiniLM, MPNet, ELECTRA and ModernBERT work, and others that
        are built alike: layers are found by structure.
    n_trainable_layers : int or "all", default=1
        The last layers and what follows them; 0 freezes all, "all" trains the embeddings too.
    text_layer : int or "middle", default=None
        The layer whose states are read, 1 being the first; 0 reads the embeddings; "middle" is
        half of the layers, or as many as train. None is the last.
    max_length : int, default=None
        Longer texts are cut. None is the longest that the model can read, in tokens.
    memory : path, default=None
        Folder that keeps what the frozen layers gave.
    verbose : int, default=0
        1 writes a line with the remaining time of the frozen layers every ten seconds, 2 one a
        batch.
    names : ArgumentNames, default=None
        What the user's parameters are called, for messages; None names those of ``UMCClusterer``.

    Attributes
    ----------
    tower : TextTower or None
        The layers that train; None where none does.
    width : int
        Of the states that are read.
    pooling : {"cls", "mean"} or None
        How the model's own configuration summarises a text; None where it does not say.

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If the model cannot be loaded, or its layers not be told apart.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig, BertModel
    >>> from skumc.data import Strings
    >>> model = BertModel(BertConfig(
    ...     vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    ... ))
    >>> def tokenizer(texts, **settings):  # a real one comes with its model
    ...     return {"input_ids": [[1, *map(len, text.split()), 2] for text in texts]}
    >>> backbone = TextBackbone((model, tokenizer), n_trainable_layers=1)
    >>> frames = backbone.frames(Strings(["good morning", None]), torch.device("cpu"))
    >>> frames.lengths.tolist(), frames.width
    ([4, 0], 16)
    """

    def __init__(
        self,
        text_model: Any,
        n_trainable_layers: int | str = 1,
        text_layer: int | str | None = None,
        max_length: int | None = None,
        memory: str | None = None,
        verbose: int = 0,
        names: ArgumentNames | None = None,
    ) -> None:
        names = names or ArgumentNames()
        loaded = load_text_model(text_model, names.model)
        split = Split(loaded.model, n_trainable_layers, text_layer, names.layer)
        self.width = split.width
        self.max_length = _longest(loaded, max_length, names.max_length)
        self.pooling = loaded.pooling
        self._tokenizer = loaded.tokenizer
        self._name, self._n_known = loaded.name, _n_known(loaded.model)
        self._frozen = (
            None if split.front is None else FrozenStates(split.front, self.width, memory, verbose)
        )
        self.tower = None
        if split.tail is not None:
            self.tower = TextTower(split.tail, self.width, reads_ids=split.front is None)

    def tokenize(self, sentences: Strings | TokenIds) -> TokenIds:
        """Token ids of each sample, at most ``max_length``; what is tokenised already is cut."""
        if isinstance(sentences, TokenIds):
            return TokenIds(_cut(sentences.tokens, self.max_length))
        cells: list[dict[str, Any] | None] = [None] * len(sentences)
        present = np.flatnonzero(sentences.lengths)
        if len(present):
            encoded = self._encode([sentences[row] for row in present])
            kept = [key for key in ("input_ids", "token_type_ids") if key in encoded]
            for place, row in enumerate(present):
                cells[row] = {key: encoded[key][place] for key in kept}
        return TokenIds(_cut(TokenIds.from_cells("text", cells).tokens, self.max_length))

    def _encode(self, texts: list[str]) -> Mapping[str, Any]:
        """What the tokenizer gives, held against what it has to give."""
        contract = (
            "Expected a callable that takes a list of str, truncation= and max_length=, and gives "
            '{"input_ids": one list of whole numbers a text}.'
        )
        try:
            encoded = self._tokenizer(texts, truncation=True, max_length=self.max_length)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The tokenizer of the text model {self._name!r} failed on {len(texts)} texts "
                f"({error}). {contract} Texts have to be valid Unicode."
            ) from error
        if not is_token_mapping(encoded) or len(encoded["input_ids"]) != len(texts):
            found = f"{len(encoded['input_ids'])} rows" if is_token_mapping(encoded) else encoded
            raise ValueError(
                f"The tokenizer of the text model {self._name!r} gave {found!s:.50} for "
                f"{len(texts)} texts. {contract}"
            )
        return encoded

    def frames(self, sentences: Strings | TokenIds, device: torch.device) -> Ragged:
        """What the tower reads, or the states themselves where no layer trains.

        Parameters
        ----------
        sentences : Strings or TokenIds
        device : torch.device
            Where the frozen layers run.

        Returns
        -------
        Ragged
            States (n_tokens, width) a sample, or ids and types (n_tokens, 2) where all trains.
        """
        tokens = self.tokenize(sentences)
        self._check_known(tokens)
        return tokens.tokens if self._frozen is None else self._frozen(tokens, device)

    def _check_known(self, tokens: TokenIds) -> None:
        """Refuse numbers for which the model has no embedding."""
        for column, (what, n_known) in enumerate(self._n_known.items()):
            numbers = np.asarray(tokens.tokens.values)[:, column]
            unknown = np.flatnonzero(numbers >= n_known)
            if len(unknown):
                row = np.repeat(np.arange(len(tokens)), tokens.lengths)[unknown[0]]
                raise ValueError(
                    f"Got {what} {int(numbers[unknown[0]])} in row {row}, but the text model "
                    f"{self._name!r} knows 0 to {n_known - 1}. Use the tokenizer that belongs to "
                    "the model."
                )


def _n_known(model: torch.nn.Module) -> dict[str, int]:
    """How many token ids and, where the model reads them, token types have an embedding."""
    known = {"token id": model.get_input_embeddings().num_embeddings}
    for name, module in model.named_modules():
        if name.endswith("token_type_embeddings") and isinstance(module, torch.nn.Embedding):
            known["token type"] = module.num_embeddings
    return known


def _cut(tokens: Ragged, max_length: int) -> Ragged:
    """The first ``max_length`` tokens of each sample."""
    lengths = np.minimum(tokens.lengths, max_length)
    kept = np.arange(len(tokens.values)) - np.repeat(tokens.offsets[:-1], tokens.lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Ragged(tokens.values[kept < max_length], offsets)


def _longest(loaded: TextModel, max_length: int | None, argument: str) -> int:
    """Tokens that the model can read, or fewer on request."""
    positions = next(
        (
            module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
            for name, module in loaded.model.named_modules()
            if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding)
        ),
        getattr(loaded.model.config, "max_position_embeddings", None) or _LONGEST,
    )
    limit = min(positions, getattr(loaded.tokenizer, "model_max_length", _LONGEST) or _LONGEST)
    if max_length is None:
        return int(limit)
    if max_length > positions:
        raise ValueError(
            f"Got {argument}={max_length}, but the text model {loaded.name!r} reads at most "
            f"{positions} tokens. Use a smaller number, or None."
        )
    return max_length
