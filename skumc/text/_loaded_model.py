"""A transformer and its tokenizer, loaded from a name or a folder, or copied."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from skumc._checkpoints import load_part, read_weights

_POOLINGS = {"cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean"}


def _parsed(path: Path) -> dict[str, Any]:
    """Parse a file with one JSON object."""
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error!s:.100}). Download the model again.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: got a {type(found).__name__}, expected a JSON object.")
    return found


def _read_json(source: str | None, file: str) -> dict[str, Any] | None:
    """Read a file of a model folder or repository; None if there is no such file."""
    if source is None:
        return None
    if os.path.isdir(source):
        path = Path(source) / file
        return _parsed(path) if path.exists() else None
    from transformers.utils import cached_file

    try:
        cached = cached_file(source, file)
    except (OSError, ValueError):
        return None
    return None if cached is None else _parsed(Path(cached))


@dataclass
class LoadedTextModel:
    """A model without a head, and its tokenizer.

    Attributes
    ----------
    model : Module
        Maps ``input_ids`` and ``attention_mask`` to ``last_hidden_state``, in float32.
    tokenizer : callable
        Maps a list of strings to ``input_ids``.
    name : str
        Name of the model, for messages.
    source : str or None
        Folder or repository of the model; None for a model created in memory.
    """

    model: nn.Module
    tokenizer: Any
    name: str
    source: str | None

    @property
    def pooling(self) -> str | None:
        """Pooling that the model's own configuration names: "cls", "mean", or None."""
        config = _read_json(self.source, "1_Pooling/config.json") or {}
        modes = [
            key.removeprefix("pooling_mode_") for key, value in config.items() if value is True
        ]
        modes = [config["pooling_mode"]] if "pooling_mode" in config else modes
        return _POOLINGS.get(modes[0]) if len(modes) == 1 else None


def load_text_model(name: Any, argument: str = "text") -> LoadedTextModel:
    """Load a model by name or folder, or copy a loaded one.

    Parameters
    ----------
    name : str, path or (model, tokenizer)
    argument : str, default="text"
        Name of the user's parameter, for messages.

    Returns
    -------
    LoadedTextModel

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If there is no such model, or a pair is not a model and a tokenizer.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "Text inside the loop needs the package transformers. Install it with "
            "pip install transformers."
        ) from error
    if isinstance(name, (tuple, list)):
        return _copy_pair(name, argument)
    if name is None:
        raise ValueError(
            f"Got {argument}=None, expected a name on the Hugging Face hub, a folder or the pair "
            "(model, tokenizer)."
        )
    name = os.fspath(name)
    load = partial(transformers.AutoTokenizer.from_pretrained, trust_remote_code=False)
    tokenizer = load_part(argument, name, "tokenizer", load)
    _check_vocabulary(argument, name, tokenizer)
    model, _ = read_weights(argument, name)
    return LoadedTextModel(model, tokenizer, name, name)


def _check_vocabulary(argument: str, name: str, tokenizer: Any) -> None:
    """Refuse the empty tokenizer that transformers makes up for a folder without its files."""
    words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    if not words:
        raise ValueError(
            f"Got {argument}={name!r}, but its tokenizer has no vocabulary: its files are missing. "
            "Save them in the model's folder with tokenizer.save_pretrained(folder), or pass the "
            "pair (model, tokenizer)."
        )


def _copy_pair(pair: Any, argument: str) -> LoadedTextModel:
    """Copy the model of a pair (model, tokenizer)."""
    if len(pair) != 2 or not isinstance(pair[0], nn.Module) or not callable(pair[1]):
        kinds = tuple(type(part).__name__ for part in pair)
        raise ValueError(
            f"Got {argument}={kinds}, expected a pair (model, tokenizer): a transformers model "
            "without a head and a callable that turns strings into input_ids."
        )
    model, tokenizer = pair
    source = str(getattr(getattr(model, "config", None), "_name_or_path", "")) or None
    name = source or type(model).__name__
    return LoadedTextModel(copy.deepcopy(model).float(), tokenizer, name, source)
