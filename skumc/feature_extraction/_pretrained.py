"""Pretrained models: found, loaded without a word, fingerprinted and run as they are."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from skumc._devices import resolve_device
from skumc.data import digest

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
# What a checkpoint may lack: only read in training, or replaced by a mean (see LoadedModel).
_DISPENSABLE = ("masked_spec_embed", "mask_token", "pooler")
# What a configuration or a processor says about its origin and not about what it computes.
_ORIGIN = {
    "_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "id2label",
    "label2id", "_attn_implementation_autoset", "processor_class", "image_processor_type",
    "feature_extractor_type", "problem_type",
}  # fmt: skip


def require(package: str, extra: str, purpose: str) -> Any:
    """Import an optional package, or say how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs the package {package}, which is not installed ({error}). Install it "
            f"with pip install skumc[{extra}]."
        ) from error


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


def _load(name: str, what: str, load: Callable[[str], Any], default: Callable[[], Any] | None):
    """Load a part of a model by name or folder, or say which name and what to do."""
    try:
        with _quietly():
            return load(name)
    except (OSError, ValueError, KeyError) as error:
        lacks_file = os.path.isdir(name) and not any(
            os.path.exists(os.path.join(name, file)) for file in _PROCESSOR_FILES
        )
        if default is not None and lacks_file:
            return default()
        reason = " ".join(str(error).split())
        raise ValueError(
            f"Got model={name!r}, whose {what} could not be loaded ({reason:.300}). Expected the "
            "name of a model on the Hugging Face hub, a folder written by save_pretrained, a "
            "loaded model, or a pair (model, processor). Without network, download the model "
            "first and name its folder."
        ) from error


def _pair(source: Any) -> tuple[Any, Any]:
    """A model or its name, and its processor or None."""
    if not isinstance(source, (tuple, list)):
        return source, None
    if len(source) != 2 or not isinstance(source[0], (str, os.PathLike, nn.Module)):
        kinds = ", ".join(type(part).__name__ for part in source)
        raise ValueError(f"Got model=({kinds}), expected a pair (model, processor).")
    return tuple(source)


class LoadedModel:
    """A model by name or as it is, with its configuration and its processor.

    Parameters
    ----------
    source : str, path, Module or pair
        Name or folder, or a loaded model; or a pair of this and the processor.
    extra : str
        The package's extra that installs transformers.
    load_processor : callable
        Loads the processor that belongs to a name.
    default_processor : callable
        Gets the configuration, gives the processor of a model that comes without one.

    Attributes
    ----------
    config : object
    by_name : bool
    lacks_pooler : bool
        Whether the checkpoint has no weights for the model's pooler; known once it is loaded.

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If there is no such model, the pair is none, or the checkpoint lacks weights.
    """

    def __init__(
        self,
        source: Any,
        extra: str,
        load_processor: Callable[[str], Any],
        default_processor: Callable[[Any], Any],
    ) -> None:
        transformers = require("transformers", extra, "A pretrained model")
        source, processor = _pair(source)
        self.by_name = not isinstance(source, nn.Module)
        self.lacks_pooler = False
        self._source = os.fspath(source) if self.by_name else source
        self._model: nn.Module | None = None
        if self.by_name:
            self.config = _load(
                self._source, "configuration", transformers.AutoConfig.from_pretrained, None
            )
        else:
            self.config = source.config
        self._processor = processor
        self._load_processor, self._default_processor = load_processor, default_processor

    @property
    def processor(self) -> Any:
        """What prepares clips for the model; loaded when first asked for."""
        if self._processor is None and self.by_name:
            self._processor = _load(
                self._source,
                "preprocessor",
                self._load_processor,
                default=lambda: self._default_processor(self.config),
            )
        elif self._processor is None:
            self._processor = self._default_processor(self.config)
        return self._processor

    @property
    def model(self) -> nn.Module:
        """The model without its head; loaded when first asked for, in float32 if by name."""
        if not self.by_name:
            return getattr(self._source, "base_model", self._source)
        if self._model is None:
            self._model = self._read_weights()
        return self._model

    def _read_weights(self) -> nn.Module:
        from transformers import AutoModel

        def load(name: str) -> tuple[nn.Module, dict[str, Any]]:
            return AutoModel.from_pretrained(name, output_loading_info=True)

        model, info = _load(self._source, "weights", load, default=None)
        # older releases name them as they are called in the whole model
        prefix = f"{model.base_model_prefix}."
        missing = {key.removeprefix(prefix) for key in info["missing_keys"]}
        absent = sorted(missing & dict(model.named_parameters()).keys())
        lacking = [key for key in absent if not any(part in key for part in _DISPENSABLE)]
        if lacking:
            raise ValueError(
                f"Got model={self._source!r}, whose checkpoint lacks {len(lacking)} weights of a "
                f"{type(model).__name__}, such as {lacking[0]!r}: they would be random. Name a "
                "checkpoint of the whole model."
            )
        self.lacks_pooler = any("pooler" in key for key in absent)
        return model.float()

    def device(self, wanted: str | torch.device) -> torch.device:
        """Where to run; for "auto" the user's own model stays where it lies."""
        if not self.by_name and isinstance(wanted, str) and wanted == "auto":
            return next(self.model.parameters()).device
        return resolve_device(wanted)

    def fingerprint(self) -> str:
        """Fingerprint of weights, configuration and processor, equal on every machine."""
        parts: list[str | bytes] = [type(self.model).__name__, str(self.lacks_pooler)]
        parts += [_config_settings(self.config), _settings(self._processor_settings())]
        for name, tensor in sorted(self.model.state_dict().items()):
            if tensor.is_floating_point():  # whole numbers are tables that some releases save
                values = tensor.detach().cpu().contiguous()
                parts += [f"{name} {values.dtype} {tuple(values.shape)}", digest(_bytes_of(values))]
        return digest(*parts)

    def _processor_settings(self) -> Any:
        to_dict = getattr(self.processor, "to_dict", None)
        return to_dict() if callable(to_dict) else repr(self.processor)

    def __getstate__(self) -> dict[str, Any]:
        # by name the weights are read again; whoever pickles a transformer wants no gigabyte
        return self.__dict__ | {"_model": None}


def _bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def _settings(values: Any) -> str:
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
    return _settings({key: value for key, value in values if defaults.get(key) != value})


@contextmanager
def frozen(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Run a model as it is, without dropout and gradients; leave all as it was found."""
    home, default = next(model.parameters()).device, torch.get_default_dtype()
    was_training = [(module, module.training) for module in model.modules()]
    torch.set_default_dtype(torch.float32)
    try:
        model.to(device).eval()
        with (
            torch.inference_mode(),
            torch.autocast(device.type, enabled=False),
            torch.random.fork_rng(devices=[]),  # some models roll dice for layers they then keep
        ):
            yield
    finally:
        for module, training in was_training:
            module.training = training
        model.to(home)
        torch.set_default_dtype(default)
