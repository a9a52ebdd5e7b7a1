"""A transformer text model and its tokenizer, from a name, a folder or the objects."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

_POOLINGS = {"cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean"}


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
    """

    model: nn.Module
    tokenizer: Any
    name: str

    @property
    def pooling(self) -> str | None:
        """How the model's own configuration summarises a text: "cls", "mean", or None."""
        config = _read_json(self.name, "1_Pooling/config.json") or {}
        modes = [
            key.removeprefix("pooling_mode_") for key, value in config.items() if value is True
        ]
        modes = [config["pooling_mode"]] if "pooling_mode" in config else modes
        return _POOLINGS.get(modes[0]) if len(modes) == 1 else None


def _read_json(name: str, file: str) -> dict[str, Any] | None:
    """A file of a model folder or repository, None where it is not there."""
    if os.path.isdir(name):
        path = Path(name) / file
        return json.loads(path.read_text()) if path.exists() else None
    from transformers.utils import cached_file

    try:
        path = cached_file(name, file)
    except (OSError, ValueError):
        return None
    return None if path is None else json.loads(Path(path).read_text())


def load_text_model(text_model: Any) -> TextModel:
    """Load a model by name or folder, or copy one that is loaded.

    Parameters
    ----------
    text_model : str, path or (model, tokenizer)

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
        return _copy_pair(text_model)
    name = os.fspath(text_model)
    try:
        with _without_progress_bar(), torch.random.fork_rng(devices=[]):
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
            model = transformers.AutoModel.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"Got text_model={name!r}, which could not be loaded: {error}. Expected the name of a "
            "model on the Hugging Face hub, a folder with a model and its tokenizer, or the pair "
            "(model, tokenizer). Without network, download the model first and name its folder."
        ) from error
    return TextModel(model.float(), tokenizer, name)


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    """Nothing is printed while a model is read; the caller's setting is given back."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def _copy_pair(pair: Any) -> TextModel:
    if len(pair) != 2 or not isinstance(pair[0], nn.Module) or not callable(pair[1]):
        kinds = tuple(type(part).__name__ for part in pair)
        raise ValueError(
            f"Got text_model={kinds}, expected a pair (model, tokenizer): a transformers model "
            "without head and a callable that turns strings into input_ids."
        )
    model, tokenizer = pair
    name = str(getattr(getattr(model, "config", None), "_name_or_path", "") or type(model).__name__)
    return TextModel(copy.deepcopy(model).float(), tokenizer, name)
