"""The text model of a saved clusterer: named and fingerprinted, or in the folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skumc._checkpoints import _quietly, read_weights
from skumc.persistence._saved_error import SavedClustererError
from skumc.persistence._strict_json import DAMAGED, read_foreign
from skumc.persistence._values import Reader, Writer
from skumc.persistence._weights import shapes
from skumc.text import TextModel, TextReader
from skumc.text._loaded_model import load_text_model
from skumc.text._split import Split

_PATH = "text"  # of the model among the parts
_PROBES = ["", "Good morning!", "naïve CAFÉ 10,000 x-rays\tÄß 你好 🙂", "word " * 40]
_TOKENIZER_FILES = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model",
    "tokenizer.model", "chat_template.jinja", "bpe.codes",
}  # fmt: skip
_MODEL_FILES = re.compile(r"config\.json|model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
# entries of transformers' files that import code, download some, or need other packages
_REFUSED = re.compile(r"auto_map|quantization_config|custom_pipelines|.*kernel.*|adapter.*")
_ATTENTION = ("eager", "sdpa", None)
_MAX_CONFIG_BYTES = 4 * 1024**2


# fingerprints


def weights_hash(model: nn.Module) -> str:
    """Hash the weights of a model, whatever the device and the release of transformers."""
    found = hashlib.sha256(type(model).__name__.encode())
    for name, value in sorted(model.state_dict().items()):
        if value.is_floating_point():  # integers are tables that only some releases save
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            found.update(content.numpy().data)
    return found.hexdigest()


def _tokenizer_hash(tokenizer: Any) -> str | None:
    """Hash the token ids of some texts; None for a tokenizer that refuses them."""
    try:
        encoded = tokenizer(list(_PROBES), truncation=True, max_length=64)
        ids = [[int(number) for number in row] for row in encoded["input_ids"]]
    except Exception:  # a tokenizer of the user's own may do anything
        return None
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()


# save


def write_text(clusterer: Any, folder: Path, include_model: bool, writer: Writer) -> dict[str, Any]:
    """Describe the text model of a clusterer; write tokenizer and, on request, the model.

    Parameters
    ----------
    clusterer : UMCClusterer
        Fitted.
    folder : Path
        Is created if there is something to write.
    include_model : bool
    writer : Writer
        Learns of a pair (model, tokenizer), which is the user's own part.

    Returns
    -------
    dict of str to object
    """
    spec = TextModel.from_argument(clusterer.text)
    parameters = spec.get_params(deep=False)
    parameters.pop("memory")  # a folder of this machine
    name, backbones = parameters.pop("name"), clusterer._text.backbones
    found: dict[str, Any] = {
        "is_model": isinstance(clusterer.text, TextModel),
        "parameters": writer.write(parameters, _PATH),
        "name": None,
        "modalities": {},
        "has_tokenizer": False,
        "has_model": bool(include_model and backbones),
    }
    if include_model and not backbones:
        raise ValueError(
            "Got include_text_model=True, but the clusterer was fitted without text. Leave it out."
        )
    for modality, backbone in backbones.items():
        front = None if backbone._frozen is None else backbone._frozen._front
        found["modalities"][modality] = {
            "layer": backbone.layer,
            "max_length": backbone.max_length,
            "frozen_layers": None if front is None else weights_hash(front),
            "token_ids": _tokenizer_hash(backbone._tokenizer),
        }
    if isinstance(name, tuple | list) and not found["has_model"]:
        writer.write(name[0], _PATH)
    elif name is not None and not isinstance(name, tuple | list):
        found["name"] = str(name)
    if backbones:
        tokenizer = next(iter(backbones.values()))._tokenizer
        if hasattr(tokenizer, "backend_tokenizer"):
            tokenizer.save_pretrained(str(folder))
            found["has_tokenizer"] = True
        elif include_model:
            raise ValueError(
                f"Got include_text_model=True, but the tokenizer, a {type(tokenizer).__name__}, "
                "has no file tokenizer.json. Leave it out, and pass the model again in "
                "UMCClusterer.load(folder, parts={'text': (model, tokenizer)})."
            )
    if include_model:
        _write_model(spec, folder, found["modalities"])
    return found


def _write_model(spec: TextModel, folder: Path, modalities: Mapping[str, Any]) -> None:
    """Write the model as it was before the fit."""
    model = spec.name[0] if isinstance(spec.name, tuple | list) else None
    if model is None:
        model = load_text_model(spec.name).model
    for facts in modalities.values():
        front = Split(model, spec.n_trainable_layers, facts["layer"]).front
        if facts["frozen_layers"] not in (None, front and weights_hash(front)):
            raise ValueError(
                "The text model is not the one of fit any more. Set text= to that one, or save "
                "without include_text_model."
            )
    with _quietly():
        model.save_pretrained(str(folder), safe_serialization=True)  # type: ignore[operator]


# load


def _check_files(folder: Path) -> None:
    """Refuse files, and entries of configurations, that no saved model needs."""
    for path in folder.iterdir():
        if path.name not in _TOKENIZER_FILES and not _MODEL_FILES.fullmatch(path.name):
            raise SavedClustererError(
                f"{path} is not a file of a tokenizer or a text model that load reads. Pass the "
                "model instead: parts={'text': name}."
            )
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).exists():
            _check_entries(read_foreign(folder / name, _MAX_CONFIG_BYTES), folder / name)


def _check_entries(node: Any, path: Path) -> None:
    for key, value in node.items() if isinstance(node, dict) else ():
        is_attention = key.endswith("attn_implementation") and value not in _ATTENTION
        if _REFUSED.fullmatch(key) or is_attention:
            raise SavedClustererError(
                f"{path} has the entry {key!r:.50}, with which transformers may run code that is "
                "not its own. Load the model yourself, and pass it: parts={'text': (model, "
                "tokenizer)}."
            )
        _check_entries(value, path)
    for value in node if isinstance(node, list) else ():
        _check_entries(value, path)


def _check_size(folder: Path) -> None:
    """Refuse a configuration that describes a larger model than the files hold."""
    import transformers

    files = sorted(folder.glob("model*.safetensors"))
    found = [shape for path in files for shape in shapes(path).values()]
    config = transformers.AutoConfig.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False
    )
    for key, value in config.to_dict().items():
        if "layer" in key and isinstance(value, int) and value > len(found):
            raise SavedClustererError(
                f"{folder / 'config.json'} has {key}={value}, more than the weights have. {DAMAGED}"
            )
    n_saved = sum(torch.Size(shape).numel() for shape in found)
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config, trust_remote_code=False)
    if sum(value.numel() for value in model.parameters()) > 2 * n_saved:
        raise SavedClustererError(
            f"{folder / 'config.json'} describes a model that is larger than its weights. {DAMAGED}"
        )


def _read_pair(name: Any, folder: Path | None, facts: Mapping[str, Any]) -> tuple[Any, Any]:
    """Load model and tokenizer; ``name`` is the user's, None if there is none."""
    import transformers

    if isinstance(name, tuple | list):
        return name[0], name[1]
    tokenizer: Any = None
    if folder is not None:
        _check_files(folder)
        if facts["has_tokenizer"]:
            with _quietly():
                tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(
                    str(folder), local_files_only=True, trust_remote_code=False
                )
    if name is None and facts["has_model"] and folder is not None:
        with _quietly():
            _check_size(folder)
        return read_weights("text", str(folder), only_safetensors=True)[0], tokenizer
    source = facts["name"] if name is None else name
    if tokenizer is None:
        loaded = load_text_model(source)
        return loaded.model, loaded.tokenizer
    return read_weights("text", str(source), only_safetensors=name is None)[0], tokenizer


def read_text(
    facts: Mapping[str, Any], folder: Path | None, parts: Mapping[str, Any], verbose: int
) -> tuple[TextReader, Any]:
    """Load the text model of a clusterer.

    Parameters
    ----------
    facts : dict of str to object
        Returned by :func:`write_text`.
    folder : Path or None
        Where it wrote.
    parts : dict of str to object
        May have the text model.
    verbose : int

    Returns
    -------
    reader : TextReader
    argument : object
        The parameter ``text``.

    Raises
    ------
    SavedClustererError
        If the model cannot be loaded, or is not the one of fit.
    """
    given = parts.get(_PATH)
    name = given.name if isinstance(given, TextModel) else given
    parameters = Reader({}, {}).read(facts["parameters"])
    TextModel(**parameters)._validate_params()
    argument: Any = given
    if given is None:
        is_unnamed = facts["has_model"] and facts["name"] is None
        argument = str(folder) if is_unnamed else facts["name"]
    if facts["is_model"] and not isinstance(argument, TextModel):
        argument = TextModel(argument, **parameters)
    modalities = facts["modalities"]
    if not modalities:
        return TextReader([], None), argument
    layers = {modality: own["layer"] for modality, own in modalities.items()}
    lengths = {own["max_length"] for own in modalities.values()}
    try:
        parameters["max_length"] = lengths.pop()
        pair = _read_pair(name, folder, facts)
        spec = TextModel(pair, **parameters)
        reader = TextReader(list(modalities), spec, verbose, layers=layers)
    except (SavedClustererError, OSError):
        raise
    except BaseException as error:  # a panic of a tokenizer is not an Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        raise SavedClustererError(
            f"The text model {name or facts['name'] or folder!s} cannot be loaded: {error!s:.300} "
            "Pass the one of fit: parts={'text': name, folder or (model, tokenizer)}."
        ) from error
    _check_same(reader, modalities)
    return reader, argument


def _check_same(reader: TextReader, modalities: Mapping[str, Any]) -> None:
    """Refuse another model or tokenizer than that of fit."""
    for modality, backbone in reader.backbones.items():
        facts = modalities[modality]
        front = None if backbone._frozen is None else backbone._frozen._front
        found = {
            "frozen_layers": None if front is None else weights_hash(front),
            "token_ids": _tokenizer_hash(backbone._tokenizer),
        }
        for what, value in found.items():
            if facts[what] != value:
                raise SavedClustererError(
                    f"The text model {backbone._name!r} has other {what.replace('_', ' ')} than "
                    "the one of fit. Pass that one: parts={'text': name, folder or (model, "
                    "tokenizer)}."
                )
