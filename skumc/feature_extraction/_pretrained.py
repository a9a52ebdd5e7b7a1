"""Pretrained models with their processors: found, and run as they are."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from skumc._checkpoints import fingerprint, load_part, read_weights, settings_text
from skumc._devices import resolve_device

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


def require(package: str, extra: str, purpose: str) -> Any:
    """Import an optional package, or say how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs the package {package}, which is not installed ({error}). Install it "
            f"with pip install skumc[{extra}]."
        ) from error


def _lacks_processor(name: str) -> bool:
    """Whether this is a folder in which a model lies without its processor."""
    return os.path.isdir(name) and not any(
        os.path.exists(os.path.join(name, file)) for file in _PROCESSOR_FILES
    )


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
            self.config = load_part(
                "model", self._source, "configuration", transformers.AutoConfig.from_pretrained
            )
        else:
            self.config = source.config
        self._processor = processor
        self._load_processor, self._default_processor = load_processor, default_processor

    @property
    def processor(self) -> Any:
        """What prepares clips for the model; loaded when first asked for."""
        if self._processor is None:
            self._processor = self._find_processor()
        return self._processor

    def _find_processor(self) -> Any:
        if self.by_name:
            try:
                return load_part("model", self._source, "preprocessor", self._load_processor)
            except ValueError:
                if not _lacks_processor(self._source):
                    raise
        return self._default_processor(self.config)

    @property
    def model(self) -> nn.Module:
        """The model without its head; loaded when first asked for, in float32 if by name."""
        if not self.by_name:
            return getattr(self._source, "base_model", self._source)
        if self._model is None:
            self._model, self.lacks_pooler = read_weights("model", self._source)
        return self._model

    def device(self, wanted: str | torch.device) -> torch.device:
        """Where to run; for "auto" the user's own model stays where it lies."""
        if not self.by_name and isinstance(wanted, str) and wanted == "auto":
            return next(self.model.parameters()).device
        return resolve_device(wanted)

    def fingerprint(self) -> str:
        """Fingerprint of weights, configuration and processor, equal on every machine."""
        processor = settings_text(self._processor_settings())
        return fingerprint(self.model, str(self.lacks_pooler), processor)

    def _processor_settings(self) -> Any:
        to_dict = getattr(self.processor, "to_dict", None)
        return to_dict() if callable(to_dict) else repr(self.processor)

    def __getstate__(self) -> dict[str, Any]:
        # by name the weights are read again; whoever pickles a transformer wants no gigabyte
        return self.__dict__ | {"_model": None}


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
