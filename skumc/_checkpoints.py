"""Pretrained models: loaded without a word, held against their checkpoint, fingerprinted."""

from __future__ import annotations

import importlib
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from skumc.data import digest

# What a checkpoint may lack: only read in training, or replaced by a mean.
_DISPENSABLE = ("masked_spec_embed", "mask_token", "pooler")
# What a configuration or a processor says about its origin and not about what it computes.
_ORIGIN = {
    "_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "id2label",
    "label2id", "_attn_implementation_autoset", "processor_class", "image_processor_type",
    "feature_extractor_type", "problem_type",
}  # fmt: skip


@contextmanager
def _quietly() -> Iterator[None]:
    """Let transformers load without printing, and torch's random numbers be as they were."""
    from transformers.utils import logging

    hub = importlib.import_module("huggingface_hub.utils")
    level, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_shows_bars = not hub.are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # the hub's too
    try:
        with torch.random.fork_rng(devices=[]):  # models draw weights before they read theirs
            yield
    finally:
        logging.set_verbosity(level)
        if shows_bars:
            logging.enable_progress_bar()
        if hub_shows_bars:
            hub.enable_progress_bars()
        else:
            hub.disable_progress_bars()


def _load_errors() -> tuple[type[Exception], ...]:
    """What transformers raises where files are missing, damaged or of another kind."""
    damaged = importlib.import_module("safetensors").SafetensorError
    return OSError, ValueError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError, damaged


def load_part(argument: str, name: str, what: str, load: Callable[[str], Any]) -> Any:
    """Load a part of a model by name or folder, or say which name and what to do.

    Parameters
    ----------
    argument : str
        The user's parameter, for messages.
    name : str
        Of a model on the hub, or a folder.
    what : str
        The part, for messages.
    load : callable

    Raises
    ------
    ValueError
        If it cannot be loaded.
    """
    try:
        with _quietly():
            return load(name)
    except _load_errors() as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"Got {argument}={name!r}, whose {what} could not be loaded ({reason:.300}). Expected "
            "the name of a model on the Hugging Face hub, a folder written by save_pretrained, or "
            "the loaded objects. Without network, download the model first and name its folder; a "
            "damaged or interrupted download has to be repeated."
        ) from error


def read_weights(argument: str, name: str) -> tuple[nn.Module, bool]:
    """Load a model without its head, in float32.

    Parameters
    ----------
    argument : str
        The user's parameter, for messages.
    name : str
        Of a model on the hub, or a folder.

    Returns
    -------
    model : Module
    lacks_pooler : bool
        Whether the checkpoint has no weights for the model's pooler.

    Raises
    ------
    ValueError
        If there is no such model, or the checkpoint lacks weights.
    """
    from transformers import AutoModel

    def load(name: str) -> tuple[nn.Module, dict[str, Any]]:
        return AutoModel.from_pretrained(name, output_loading_info=True)

    model, info = load_part(argument, name, "weights", load)
    # older releases name them as they are called in the whole model
    prefix = f"{model.base_model_prefix}."
    missing = {key.removeprefix(prefix) for key in info["missing_keys"]}
    absent = sorted(missing & dict(model.named_parameters()).keys())
    lacking = [key for key in absent if not any(part in key for part in _DISPENSABLE)]
    if lacking:
        raise ValueError(
            f"Got {argument}={name!r}, whose checkpoint lacks {len(lacking)} weights of a "
            f"{type(model).__name__}, such as {lacking[0]!r}: they would be random. Name a "
            "checkpoint of the whole model."
        )
    return model.float(), any("pooler" in key for key in absent)


def fingerprint(model: nn.Module, *settings: str) -> str:
    """What a model computes is told by its weights and its configuration.

    Parameters
    ----------
    model : Module
        With a ``config``.
    *settings : str
        What else the result depends on.

    Returns
    -------
    str
        Equal on every machine.
    """
    parts: list[str | bytes] = [type(model).__name__, *settings, _config_settings(model.config)]
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.is_floating_point():  # whole numbers are tables that some releases save
            values = tensor.detach().cpu().contiguous()
            content = values.reshape(-1).view(torch.uint8).numpy().tobytes()
            parts += [f"{name} {values.dtype} {tuple(values.shape)}", digest(content)]
    return digest(*parts)


def settings_text(values: Any) -> str:
    """What a configuration says about the computation, as text with a fixed order."""

    def kept(entry: Any) -> Any:
        if not isinstance(entry, dict):
            return entry
        return {
            key: kept(value)
            for key, value in entry.items()
            if key not in _ORIGIN and value is not None
        }

    return json.dumps(kept(values), sort_keys=True, default=str)


def _config_settings(config: Any) -> str:
    """What a configuration says beyond its defaults: a release that adds some changes nothing."""
    defaults = type(config)().to_dict()
    values = config.to_dict().items()
    return settings_text({key: value for key, value in values if defaults.get(key) != value})
