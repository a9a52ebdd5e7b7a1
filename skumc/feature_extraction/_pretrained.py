"""Pretrained models and their processors: loading, and inference without side effects."""

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
from skumc._evaluation import evaluating
from skumc._process_state import own_random_numbers

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


def require(package: str, extra: str, purpose: str) -> Any:
    """Import an optional package.

    Parameters
    ----------
    package : str
    extra : str
        The extra of skumc that installs it.
    purpose : str
        Start of the message: the operation that needs the package.

    Raises
    ------
    ImportError
        If the package is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs the package {package}, which is not installed ({error}). Install it "
            f"with pip install skumc[{extra}]."
        ) from error


def _lacks_processor(name: str) -> bool:
    """Return whether this is the folder of a model without a processor."""
    return os.path.isdir(name) and not any(
        os.path.exists(os.path.join(name, file)) for file in _PROCESSOR_FILES
    )


def _pair(source: Any) -> tuple[Any, Any]:
    """Return a model or its name, and its processor or None."""
    if not isinstance(source, (tuple, list)):
        return source, None
    if len(source) != 2 or not isinstance(source[0], (str, os.PathLike, nn.Module)):
        kinds = ", ".join(type(part).__name__ for part in source)
        raise ValueError(
            f"Got model=({kinds}), expected a pair (model, processor) with a name, a folder or a "
            "loaded model first."
        )
    model, processor = source
    return model, processor


class LoadedModel:
    """A model given by name or loaded, with its configuration and its processor.

    Parameters
    ----------
    source : str, path, Module or pair
        Name or folder, or a loaded model; or a pair of this and the processor.
    extra : str
        The extra of skumc that installs transformers.
    load_processor : callable
        Function from a name or folder to its processor.
    default_processor : callable
        Function from a configuration to the processor of a model that has none.

    Attributes
    ----------
    config : object
        Configuration of the model.
    by_name : bool
        Whether the model is given by name or folder.
    lacks_pooler : bool
        Whether the checkpoint has no weights for the model's pooler; False until the model is
        loaded.

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If the model does not exist, the pair is invalid, or the checkpoint lacks weights.
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
        """Preprocessor of the model's input, loaded on first access."""
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
        """Model without its head; given by name, it is loaded on first access, in float32."""
        if not self.by_name:
            return getattr(self._source, "base_model", self._source)
        if self._model is None:
            self._model, self.lacks_pooler = read_weights("model", self._source)
        return self._model

    def device(self, wanted: str | torch.device) -> torch.device:
        """Return the device to run on; with "auto" a loaded model stays on its own.

        Parameters
        ----------
        wanted : str or torch.device

        Returns
        -------
        torch.device
        """
        if not self.by_name and isinstance(wanted, str) and wanted == "auto":
            return next(self.model.parameters()).device
        return resolve_device(wanted)

    def fingerprint(self) -> str:
        """Return the fingerprint of weights, configuration and processor.

        Returns
        -------
        str
            Equal on every machine.
        """
        processor = settings_text(self._processor_settings())
        return fingerprint(self.model, str(self.lacks_pooler), processor)

    def _processor_settings(self) -> Any:
        to_dict = getattr(self.processor, "to_dict", None)
        return to_dict() if callable(to_dict) else repr(self.processor)

    def __getstate__(self) -> dict[str, Any]:
        # A model given by name is loaded again, so that a pickle does not hold its weights.
        return self.__dict__ | {"_model": None}


@contextmanager
def frozen(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Run a model for inference on a device, and restore every state that this changes.

    Inside, modules are in evaluation mode, gradients and autocast are off, and the default dtype
    is float32. Modes, device, default dtype and torch's random state are restored. Threads take
    turns: a model is on one device, and torch has one random state.

    Parameters
    ----------
    model : Module
    device : torch.device
    """
    home = next(model.parameters()).device
    with own_random_numbers(device):  # layer dropout draws numbers in evaluation mode too
        try:
            model.to(device)
            with evaluating(model), torch.inference_mode():
                yield
        finally:
            model.to(home)
