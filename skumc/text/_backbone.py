"""A text model in two parts: frozen layers that run once, and a tower that trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skumc.data import Ragged, Strings, TokenIds
from skumc.data._text import is_token_mapping
from skumc.text._frozen_states import FrozenStates
from skumc.text._loaded_model import LoadedTextModel, load_text_model
from skumc.text._split import Split
from skumc.text._text_model import TextModel
from skumc.text._tower import TextTower

_NO_LIMIT = 100_000  # tokens; tokenizers without a limit name astronomic ones


def _count_known(model: Any) -> dict[str, int]:
    """Count the token ids and, if the model reads them, the token types with an embedding."""
    known = {"token id": model.get_input_embeddings().num_embeddings}
    for name, module in model.named_modules():
        if name.endswith("token_type_embeddings") and isinstance(module, torch.nn.Embedding):
            known["token type"] = module.num_embeddings
    return known


def _count_positions(model: Any) -> int:
    """Count the tokens that a model can read."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused
    return getattr(model.config, "max_position_embeddings", None) or _NO_LIMIT


def _longest_text(loaded: LoadedTextModel, max_length: int | None) -> int:
    """Decide the maximum number of tokens of a text."""
    n_positions = _count_positions(loaded.model)
    if max_length is None:
        limit = getattr(loaded.tokenizer, "model_max_length", _NO_LIMIT) or _NO_LIMIT
        return int(min(n_positions, limit))
    if max_length > n_positions:
        raise ValueError(
            f"Got max_length={max_length}, but the text model {loaded.name!r} reads at most "
            f"{n_positions} tokens. Use a smaller number, or None."
        )
    return max_length


class TextBackbone:
    """Read sentences or token ids with a transformers encoder.

    Parameters
    ----------
    text : TextModel, str, path or (model, tokenizer)
        Specification of the model. A name, a folder or the loaded objects alone stand for a
        :class:`TextModel` with its defaults.
    verbose : int, default=0
        1 writes a line with the remaining time of the frozen layers every ten seconds, larger
        numbers one per batch.
    argument : str, default="text"
        Name of the user's parameter for the model, for messages.
    choose_layer : callable, default=None
        Called with the backbone and the model if the specification has ``layer="auto"``; returns
        the number of the layer. None reads the middle layer then.

    Attributes
    ----------
    layer : int
        Layer that is read, 1 being the first.
    tower : TextTower or None
        The trainable layers; None if the model is frozen.
    width : int
        Width of the states.
    max_length : int
        Maximum number of tokens per text; longer texts are truncated.
    pooling : {"cls", "mean"} or None
        Pooling that the model's own configuration names; None if it names none.

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If the model cannot be loaded or split into layers, or the specification does not fit it.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig, BertModel
    >>> from skumc.data import Strings
    >>> from skumc.text import TextModel
    >>> model = BertModel(BertConfig(
    ...     vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    ... ))
    >>> def tokenizer(texts, **settings):  # a real one comes with its model
    ...     return {"input_ids": [[1, *map(len, text.split()), 2] for text in texts]}
    >>> backbone = TextBackbone(TextModel((model, tokenizer), n_trainable_layers=1))
    >>> frames = backbone.frames(Strings(["good morning", None]), torch.device("cpu"))
    >>> frames.lengths.tolist(), frames.width
    ([4, 0], 16)
    """

    def __init__(
        self,
        text: Any,
        verbose: int = 0,
        argument: str = "text",
        choose_layer: Callable[[TextBackbone, Any], int] | None = None,
    ) -> None:
        text = TextModel.from_argument(text)
        text._validate_params()
        loaded = load_text_model(text.name, argument)
        chooses = text.layer == "auto" and choose_layer is not None
        split = Split(loaded.model, 0 if chooses else text.n_trainable_layers, text.layer)
        self.max_length = _longest_text(loaded, text.max_length)
        self.pooling = loaded.pooling
        self._tokenizer = loaded.tokenizer
        self._name, self._n_known = loaded.name, _count_known(loaded.model)
        if chooses and choose_layer is not None:
            layer = choose_layer(self, loaded.model)
            split = Split(loaded.model, text.n_trainable_layers, layer)
        self.layer, self.width = split.layer, split.width
        self._frozen: FrozenStates | None = None
        if split.front is not None:
            self._frozen = FrozenStates(split.front, self.width, self.max_length, verbose)
        self.tower: TextTower | None = None
        if split.tail is not None:
            self.tower = TextTower(split.tail, self.width, reads_ids=split.front is None)

    def tokenize(self, sentences: Strings | TokenIds) -> TokenIds:
        """Tokenize each sample to at most ``max_length`` tokens; token ids are only truncated."""
        if isinstance(sentences, TokenIds):
            return self._without_padding(sentences).truncated(self.max_length)
        cells: list[dict[str, Any] | None] = [None] * len(sentences)
        present = np.flatnonzero(sentences.lengths).tolist()
        if present:
            encoded = self._encode([str(sentences[row]) for row in present])
            known = ("input_ids", "attention_mask", "token_type_ids")
            kept = [key for key in known if encoded.get(key) is not None]
            for place, row in enumerate(present):
                cells[row] = {key: encoded[key][place] for key in kept}
        tokens = TokenIds.from_cells("text", cells)
        return self._without_padding(tokens).truncated(self.max_length)

    def _without_padding(self, tokens: TokenIds) -> TokenIds:
        """Drop the tokenizer's padding before and after each text, for ids without a mask."""
        tokenizer = self._tokenizer
        padding = getattr(tokenizer, "pad_token_id", None)
        ends = [getattr(tokenizer, f"{kind}_token_id", None) for kind in ("eos", "sep", "unk")]
        if not isinstance(padding, int) or padding in ends:
            return tokens  # a token at the end may be the text's own
        return tokens.stripped(padding)

    def _encode(self, texts: list[str]) -> Mapping[str, Any]:
        """Call the tokenizer and check its result."""
        contract = (
            "Expected a callable that takes a list of str, truncation= and max_length=, and "
            'returns {"input_ids": one list of whole numbers per text}.'
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
                f"The tokenizer of the text model {self._name!r} returned {found!s:.50} for "
                f"{len(texts)} texts. {contract}"
            )
        return encoded

    def frames(
        self, sentences: Strings | TokenIds, device: torch.device, memory: Path | None = None
    ) -> Ragged:
        """Compute the input of the tower, or the final states if the model is frozen.

        Parameters
        ----------
        sentences : Strings or TokenIds
        device : torch.device
            Device of the frozen layers.
        memory : Path, default=None
            Folder that caches the output of the frozen layers.

        Returns
        -------
        Ragged
            States (n_tokens, width) per sample, float32; token ids and types (n_tokens, 2) per
            sample, int64, if all layers train.
        """
        tokens = self.known_tokens(sentences)
        return tokens.tokens if self._frozen is None else self._frozen(tokens, device, memory)

    def known_tokens(self, sentences: Strings | TokenIds) -> TokenIds:
        """Tokenize, and refuse token ids that the model does not know."""
        tokens = self.tokenize(sentences)
        self._check_known(tokens)
        return tokens

    def _check_known(self, tokens: TokenIds) -> None:
        """Refuse token ids and types without an embedding."""
        for column, (what, n_known) in enumerate(self._n_known.items()):
            numbers = np.asarray(tokens.tokens.values)[:, column]
            unknown = np.flatnonzero(numbers >= n_known)
            if len(unknown):
                row = np.repeat(np.arange(len(tokens)), tokens.lengths)[unknown[0]]
                raise ValueError(
                    f"Got {what} {numbers[unknown[0]]} in row {row}, but the text model "
                    f"{self._name!r} embeds 0 to {n_known - 1}. Use the model's own tokenizer."
                )
