"""The encoder of a saved clusterer: its specification and its weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from skumc._process_state import own_defaults, own_random_numbers
from skumc.encoders import EncoderWithText, FrameStatistics
from skumc.persistence._known_classes import is_known
from skumc.persistence._saved_error import SavedClustererError
from skumc.persistence._values import Reader, Writer, load_weights

_PATH = "encoder"
_WEIGHTS = "encoder/"
_MAPS = 32  # from a frame or a summary of it, at most this often as wide, to the width inside
_SQUARE_MAPS = 16  # of a modality or a self-attention layer, at most
_MANY = 2**28  # weights; building them on "meta" takes seconds, as torch imports much for it


def write_encoder(encoder: nn.Module, writer: Writer) -> dict[str, Any]:
    """Describe a fitted encoder, and add its weights to the tensors.

    Returns
    -------
    dict of str to object
    """
    writer.add_module(_WEIGHTS, encoder)
    inner = encoder.encoder if isinstance(encoder, EncoderWithText) else encoder
    built_from = getattr(inner, "built_from_", None)
    if built_from is None:  # a ready module
        return {"specification": writer.write(inner, _PATH), "anchor": None, "statistics": []}
    specification, statistics, anchor = built_from
    facts = []
    for place, (name, own) in enumerate(statistics.items()):
        writer.add(f"statistics/{place}/mean", np.asarray(own.mean))
        writer.add(f"statistics/{place}/scale", np.asarray(own.scale))
        counts = {"longest": int(own.longest), "typical": int(own.typical)}
        facts.append({"name": name, "pooling": own.pooling, **counts})
    return {
        "specification": writer.write(specification, _PATH),
        "anchor": anchor,
        "statistics": facts,
    }


def _statistics(facts: Mapping[str, Any], reader: Reader) -> dict[str, FrameStatistics]:
    found = {}
    for place, own in enumerate(facts["statistics"]):
        mean = reader.tensor(f"statistics/{place}/mean").numpy()
        scale = reader.tensor(f"statistics/{place}/scale").numpy()
        if mean.ndim != 1 or mean.shape != scale.shape or not np.isfinite([mean, scale]).all():
            raise SavedClustererError(f"the statistics of modality {place} are not finite vectors")
        counts = [own["longest"], own["typical"]]
        if not all(isinstance(count, int) for count in counts):
            raise SavedClustererError(f"the numbers of frames of modality {place} are not integers")
        found[own["name"]] = FrameStatistics(mean, scale, own["pooling"], *counts)
    return found


def _check_bounds(specification: Any, width: int, n_tensors: int) -> None:
    """Refuse sizes beyond those of the weights, before anything of that size is built."""
    limits = {"hidden_width": width, "n_heads": width, "n_self_attention_layers": n_tensors}
    for name, limit in limits.items():
        value = getattr(specification, name, 0)
        if not isinstance(value, int) or value > limit:
            raise SavedClustererError(
                f"the encoder has {name}={value!r:.50}, but the weights allow at most {limit}"
            )


def _is_large(statistics: Mapping[str, FrameStatistics], width: int, n_tensors: int) -> bool:
    """Whether a network of these sizes may have many weights, by a generous upper bound."""
    n_inputs = sum(len(own.mean) for own in statistics.values())
    n_square = _SQUARE_MAPS * (len(statistics) + n_tensors + 4)
    return width * (_MAPS * n_inputs + n_square * width) > _MANY


def _build(
    specification: Any, statistics: dict[str, FrameStatistics], anchor: Any, limits: tuple[int, int]
) -> nn.Module:
    """Build the network; a large one without memory, until its weights are known to fit."""
    with own_random_numbers(), own_defaults():
        if not is_known(specification):
            module = specification.build(statistics, anchor)
        else:
            _check_bounds(specification, *limits)
            with torch.device("meta") if _is_large(statistics, *limits) else nullcontext():
                module = specification.build(statistics, anchor)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"Got parts={{'encoder': {specification!r:.100}}}, which built "
            f"{type(module).__name__}, expected a torch.nn.Module. Check its build()."
        )
    module.built_from_ = specification, statistics, anchor  # type: ignore[assignment]
    return module


def read_encoder(
    facts: Mapping[str, Any], reader: Reader, towers: Mapping[str, nn.Module], width: int
) -> nn.Module:
    """Build the encoder and load its weights.

    Parameters
    ----------
    facts : dict of str to object
        Returned by :func:`write_encoder`.
    reader : Reader
    towers : dict of str to Module
        Trainable layers of text models.
    width : int
        Width of the centers, and therefore of the embedding.

    Raises
    ------
    SavedClustererError
        If the weights do not fit.
    ValueError
        If the encoder is the user's own and None was passed for it.
    """
    specification = reader.read(facts["specification"])
    weights = reader.module_weights(_WEIGHTS)
    if specification is None:
        raise ValueError(
            "Got parts={'encoder': None}, but the encoder is your own and predict needs it. Pass "
            "an instance."
        )
    if is_known(specification) and not all(bool(w.isfinite().all()) for w in weights.values()):
        raise SavedClustererError("the weights of the encoder are not all finite")
    module: nn.Module
    if isinstance(specification, nn.Module):
        module = copy.deepcopy(specification)
    else:
        statistics, limits = _statistics(facts, reader), (width, len(weights))
        module = _build(specification, statistics, facts["anchor"], limits)
    if towers and not isinstance(module, EncoderWithText):
        module = EncoderWithText(module, towers)
    load_weights(module, weights, "the encoder")
    inner = module.encoder if isinstance(module, EncoderWithText) else module
    for one in (module, inner):
        if hasattr(one, "calibrate"):
            one.is_calibrated_ = True  # type: ignore[assignment]  # a plain attribute
    return module.eval()
