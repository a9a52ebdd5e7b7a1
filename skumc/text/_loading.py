"""A transformer text model and its tokenizer, from a name, a folder or the objects."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from skumc._checkpoints import load_part, read_weights

_POOLINGS = {"cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean"}


class ArgumentNames(NamedTuple):
    """What the user's parameters are called, for messages."""

    model: str = "text_model"
    layer: str = "text_layer"
    max_length: str = "max_text_length"


@dataclass
class TextModel:
    """A model without head and its tokenizer.

    Attributes
    ----------
    model : Module
        Gives ``last_hidden_state`` for ``input_ids`` and ``attention_mask``; in float32.
    tokenizer : callable
    name : str
        What was asked for, for messages.
    source : str or None
        The folder or repository that the model comes from; None where it was made in memory.
    """

    model: nn.Module
    tokenizer: Any
    name: str
    source: str | None

    @property
    def pooling(self) -> str | None:
        """How the model's own configuration summarises a text: "cls", "mean", or None."""
        config = _read_json(self.source, "1_Pooling/config.json") or {}
        modes = [
            key.removeprefix("pooling_mode_") for key, value in config.items() if value is True
        ]
        modes = [config["pooling_mode"]] if "pooling_mode" in config else modes
        return _POOLINGS.get(modes[0]) if len(modes) == 1 else None


def _read_json(name: str | None, file: str) -> dict[str, Any] | None:
    """A file of a model folder or repository, None where it is not there."""
    if name is None:
        return None
    if os.path.isdir(name):
        path = Path(name) / file
        return json.loads(path.read_text()) if path.exists() else None
    from transformers.utils import cached_file

    try:
        path = cached_file(name, file)
    except (OSError, ValueError):
        return None
    return None if path is None else json.loads(Path(path).read_text())


def load_text_model(text_model: Any, argument: str = "text_model") -> TextModel:
    """Load a model by name or folder, or copy one that is loaded.

    Parameters
    ----------
    text_model : str, path or (model, tokenizer)
    argument : str, default="text_model"
        What it is called, for messages.

    Returns
    -------
    TextModel

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If there is no such model, or the pair is none.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "Text inside the loop needs the package transformers. Install it with "
            "pip install transformers."
        ) from error
    if isinstance(text_model, (tuple, list)):
        return _copy_pair(text_model, argument)
    name = os.fspath(text_model)
    tokenizer = load_part(argument, name, "tokenizer", transformers.AutoTokenizer.from_pretrained)
    _check_vocabulary(argument, name, tokenizer)
    model, _ = read_weights(argument, name)
    return TextModel(model, tokenizer, name, name)


def _check_vocabulary(argument: str, name: str, tokenizer: Any) -> None:
    """Refuse what transformers makes up for a folder without a tokenizer's files."""
    words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    if not words:
        raise ValueError(
            f"Got {argument}={name!r}, whose tokenizer knows no words: its files are not there. "
            "Put them beside the model with tokenizer.save_pretrained(folder), or pass the pair "
            "(model, tokenizer)."
        )


def _copy_pair(pair: Any, argument: str) -> TextModel:
    if len(pair) != 2 or not isinstance(pair[0], nn.Module) or not callable(pair[1]):
        kinds = tuple(type(part).__name__ for part in pair)
        raise ValueError(
            f"Got {argument}={kinds}, expected a pair (model, tokenizer): a transformers model "
            "without head and a callable that turns strings into input_ids."
        )
    model, tokenizer = pair
    source = str(getattr(getattr(model, "config", None), "_name_or_path", "")) or None
    name = source or type(model).__name__
    return TextModel(copy.deepcopy(model).float(), tokenizer, name, source)
