"""From the parameters of ``UMCClusterer`` to the parts, the settings and the encoder of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from skumc._devices import resolve_device
from skumc._parameters import PART_CHOICES, check_callbacks, check_parts
from skumc._parts import unknown_name_message
from skumc.data import MultimodalData, read_X
from skumc.encoders import EncoderWithText, FrameStatistics
from skumc.encoders._statistics import frame_counts
from skumc.losses import ROLES, WeightedLosses
from skumc.neighbors import NeighborGraph
from skumc.neighbors._graph import NoNeighborGraph
from skumc.text import TextModel, TextReader
from skumc.training import MemoryEstimate, ProgressLines
from skumc.training._settings import TrainingParts, TrainingSettings

_LEARNING_RATE = 1e-3  # of an encoder without a learning rate of its own
MAX_SEED = 2**31 - 1


def make_parts(estimator: Any) -> dict[str, Any]:
    """Copy the parts, by parameter, and check each against its contract."""
    parts = {name: estimator._make_part(name) for name in PART_CHOICES if name != "losses"}
    if isinstance(estimator.losses, dict):
        parts["losses"] = WeightedLosses.from_mapping(estimator.losses)
    else:
        parts["losses"] = estimator._make_part("losses")
    check_parts(parts)
    return parts


def seed_parts(parts: dict[str, Any], rng: np.random.RandomState) -> None:
    """Seed the parts that draw random numbers and have ``random_state=None``."""
    for name in ("selector", "encoder", "threshold", "neighbors", "pairs", "pseudo_labels"):
        part = parts[name]
        if hasattr(part, "get_params") and part.get_params().get("random_state", 0) is None:
            part.set_params(random_state=rng.randint(MAX_SEED))


def _keep_modules(part: Any, terms: dict[str, tuple[float, Any]]) -> None:
    """Put the losses that train in the place of those they were copied from."""
    if not isinstance(part, WeightedLosses):
        return  # an object of the user's, with ``terms`` only
    for role, (weight, loss) in terms.items():
        if not isinstance(loss, torch.nn.Module):
            continue
        if role in ROLES:
            setattr(part, role, loss)
        else:
            part.extra = {**(part.extra or {}), role: (weight, loss)}


def training_parts(
    estimator: Any, parts: dict[str, Any], hooks: Sequence[Any] = ()
) -> TrainingParts:
    """Gather what a training run takes; losses with parameters stay in the loss part."""
    losses = parts["losses"].terms()
    _keep_modules(parts["losses"], losses)
    callbacks = list(estimator.callbacks or ())
    check_callbacks(callbacks)
    if not any(isinstance(callback, MemoryEstimate) for callback in callbacks):
        callbacks.insert(0, MemoryEstimate())
    if estimator.verbose and not any(isinstance(c, ProgressLines) for c in callbacks):
        callbacks.append(ProgressLines(int(estimator.verbose)))
    callbacks += hooks
    own = {name: part for name, part in parts.items() if name not in ("encoder", "losses")}
    without_graph = isinstance(parts["neighbors"], NoNeighborGraph)
    return TrainingParts(
        **own,
        losses=losses,
        supervised_views=estimator.supervised_views,
        callbacks=callbacks,
        start_graph=NeighborGraph(judge_trust=False) if without_graph else None,
    )


def training_settings(
    estimator: Any, n_clusters: int, encoder: Any, anchor: str, device: torch.device
) -> TrainingSettings:
    """Gather the numbers of a training run; ``encoder`` is the specification."""
    own = getattr(encoder, "learning_rate", _LEARNING_RATE)
    rate, pretrain_rate = estimator.learning_rate, estimator.pretrain_learning_rate
    return TrainingSettings(
        n_clusters=n_clusters,
        anchor=anchor,
        pretrain_epochs=estimator.pretrain_epochs,
        max_epochs=estimator.max_epochs,
        patience=estimator.patience,
        batch_size=estimator.batch_size,
        learning_rate=own if rate is None else rate,
        pretrain_learning_rate=own if pretrain_rate is None else pretrain_rate,
        text_learning_rate=TextModel.from_argument(estimator.text).learning_rate,
        device=device,
        precision=estimator.precision,
    )


def text_reader(
    estimator: Any, n_clusters: int, data: MultimodalData, device: torch.device
) -> TextReader:
    """Load a text model for each modality of text, and choose its layer."""
    names = [name for name, width in data.widths.items() if width is None]
    text = TextModel.from_argument(estimator.text)
    return TextReader(names, text, estimator.verbose, data, n_clusters, device)


def read_text(
    estimator: Any, data: MultimodalData, device: torch.device, allow_missing_rows: bool = False
) -> MultimodalData:
    """Replace text by frames, which the estimator's present ``memory`` caches."""
    text = TextModel.from_argument(estimator.text)
    text._validate_params()
    return estimator._text.read(
        data, device, text.memory_folder, allow_missing_rows=allow_missing_rows
    )


def read_samples(
    estimator: Any, X: Any, missing_rows: str = "raise", kept_as: str = "label -1"
) -> MultimodalData:
    """Read X of a fitted clusterer, with frames in the place of text.

    Parameters
    ----------
    estimator : UMCClusterer
    X : array, DataFrame, MultimodalData, list of dicts or dict
    missing_rows : {"raise", kept_as}, default="raise"
        Samples without any modality are an error, or stay.
    kept_as : str, default="label -1"
        Name of the choice with which they stay.
    """
    check_is_fitted(estimator, "encoder_")
    choices = ("raise", kept_as)
    if missing_rows not in choices:
        raise ValueError(unknown_name_message("missing_rows", missing_rows, choices))
    allowed = {"allow_missing_rows": missing_rows != "raise"}
    data = read_X(estimator, X, estimator.modalities, reset=False, **allowed)
    return read_text(estimator, data, resolve_device(estimator.device), **allowed)


def check_samples(data: MultimodalData, n_clusters: int) -> None:
    """Raise ValueError for fewer samples, or distinct samples, than clusters."""
    if n_clusters > len(data):
        raise ValueError(
            f"Got n_clusters={n_clusters} for n_samples={len(data)}. Choose n_clusters at most "
            "n_samples."
        )
    n_distinct = data.count_distinct(n_clusters)
    if n_distinct < n_clusters:
        raise ValueError(
            f"Got n_clusters={n_clusters}, but X has only {n_distinct} distinct sample(s). "
            "Choose a smaller n_clusters."
        )


def choose_anchor(anchor: str | None, data: MultimodalData) -> str:
    """Return the name of the anchor modality."""
    if anchor is None:
        return "text" if "text" in data.names else data.names[0]
    if anchor not in data.names:
        raise ValueError(unknown_name_message("anchor", anchor, data.names))
    return anchor


def build_encoder(
    encoder: Any, reader: TextReader, data: MultimodalData, anchor: str, device: torch.device
) -> torch.nn.Module:
    """Build the encoder from its specification, after the trainable layers of text models.

    Parameters
    ----------
    encoder : Module or object with a method ``build``
    reader : TextReader
    data : MultimodalData
        With frames in the place of text.
    anchor : str
    device : torch.device
    """
    module = encoder
    if not isinstance(encoder, torch.nn.Module):
        statistics = {}
        for name in data.names:
            mean, scale = reader.mean_and_scale(data, name, device)
            counts = frame_counts(data.packed(name).lengths)
            statistics[name] = FrameStatistics(mean, scale, reader.pooling(name), *counts)
        module = encoder.build(statistics, anchor)
        if not isinstance(module, torch.nn.Module):
            raise TypeError(
                f"encoder={encoder!r} built {type(module).__name__}, expected a torch.nn.Module. "
                "Check its build()."
            )
        module.built_from_ = encoder, statistics, anchor  # type: ignore[assignment]  # to save it
    towers = reader.towers
    if isinstance(module, EncoderWithText):  # of an earlier fit, with its trained text layers
        if set(module.names) != set(towers):
            raise ValueError(
                f"encoder= has trained text layers for {sorted(module.names)}, but text= trains "
                f"those of {sorted(towers)}. Set text= to the text model of the fit that the "
                "encoder comes from, with the same n_trainable_layers."
            )
        return module
    return EncoderWithText(module, towers) if towers else module
