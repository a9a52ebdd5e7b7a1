"""Load pretrained models without output, check them against their checkpoint, fingerprint them."""

from __future__ import annotations

import importlib
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from skumc._process_state import own_defaults, own_random_numbers
from skumc.data import digest

# Weights that a checkpoint may lack: used in their own pretraining only, or replaced by a mean.
_DISPENSABLE = ("masked_spec_embed", "mask_token", "pooler")
# Entries of a configuration or a processor about its origin, without influence on the result.
_ORIGIN = {
    "_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "id2label",
    "label2id", "_attn_implementation_autoset", "processor_class", "image_processor_type",
    "feature_extractor_type", "problem_type",
}  # fmt: skip


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence transformers while it loads, and restore torch's random state, in one thread."""
    from transformers.utils import logging

    hub = importlib.import_module("huggingface_hub.utils")
    with own_random_numbers(), own_defaults():  # models draw random weights first
        level, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        hub_shows_bars = not hub.are_progress_bars_disabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()  # those of the hub too
        try:
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
    """List the errors of transformers for files that are missing, damaged or of another kind."""
    damaged = importlib.import_module("safetensors").SafetensorError
    return OSError, ValueError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError, damaged


def load_part(argument: str, name: str, what: str, load: Callable[[str], Any]) -> Any:
    """Load a part of a model by name or folder.

    Parameters
    ----------
    argument : str
        Name of the user's parameter, for messages.
    name : str
        Name of a model on the hub, or a folder.
    what : str
        Name of the part, for messages.
    load : callable
        Called with ``name``.

    Raises
    ------
    ValueError
        If the part cannot be loaded.
    """
    try:
        with _quietly():
            return load(name)
    except _load_errors() as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"Got {argument}={name!r}, but its {what} could not be loaded ({reason:.300}). "
            "Expected the name of a model on the Hugging Face hub, a folder written by "
            "save_pretrained, or the loaded objects. Without a network, download the model first "
            "and pass its folder; repeat a damaged or interrupted download."
        ) from error


def read_weights(
    argument: str, name: str, only_safetensors: bool = False
) -> tuple[nn.Module, bool]:
    """Load a model without its head, in float32. Code that comes with a model is never run.

    Parameters
    ----------
    argument : str
        Name of the user's parameter, for messages.
    name : str
        Name of a model on the hub, or a folder.
    only_safetensors : bool, default=False
        Whether weights in other files, which torch unpickles, are refused.

    Returns
    -------
    model : Module
    lacks_pooler : bool
        Whether the checkpoint lacks weights of the model's pooler.

    Raises
    ------
    ValueError
        If there is no such model, or its checkpoint lacks weights.
    """
    from transformers import AutoModel

    # without the setting transformers asks on a terminal whether to run such code
    settings = {"trust_remote_code": False} | (
        {"use_safetensors": True} if only_safetensors else {}
    )

    def load(name: str) -> tuple[nn.Module, dict[str, Any]]:
        return AutoModel.from_pretrained(name, output_loading_info=True, **settings)

    model, info = load_part(argument, name, "weights", load)
    # older releases of transformers report names with the prefix of the model with its head
    prefix = f"{model.base_model_prefix}."
    missing = {key.removeprefix(prefix) for key in info["missing_keys"]}
    absent = sorted(missing & dict(model.named_parameters()).keys())
    lacking = [key for key in absent if not any(part in key for part in _DISPENSABLE)]
    if lacking:
        raise ValueError(
            f"Got {argument}={name!r}, but its checkpoint lacks {len(lacking)} weights of a "
            f"{type(model).__name__}, such as {lacking[0]!r}: they would be random. Use a "
            "checkpoint of the whole model."
        )
    return model.float(), any("pooler" in key for key in absent)


def fingerprint(model: nn.Module, *settings: str) -> str:
    """Compute a fingerprint of a model from its weights and its configuration.

    Parameters
    ----------
    model : Module
        With an attribute ``config``.
    *settings : str
        Other settings that the output depends on.

    Returns
    -------
    str
        Equal on every machine for models with equal output.
    """
    parts: list[str | bytes] = [type(model).__name__, *settings, _config_settings(model.config)]
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.is_floating_point():  # integers are tables that only some releases save
            values = tensor.detach().cpu().contiguous()
            content = values.reshape(-1).view(torch.uint8).numpy().tobytes()
            parts += [f"{name} {values.dtype} {tuple(values.shape)}", digest(content)]
    return digest(*parts)


def settings_text(values: Any) -> str:
    """Write the entries of a configuration that matter for the output, in a fixed order."""

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
    """Write the entries that differ from the defaults, so that new defaults change nothing."""
    try:
        defaults = type(config)().to_dict()
    except Exception:  # an own configuration with arguments that are required
        defaults = {}
    values = config.to_dict().items()
    return settings_text({key: value for key, value in values if defaults.get(key) != value})
