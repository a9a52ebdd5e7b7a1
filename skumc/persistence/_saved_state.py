"""A fitted clusterer as JSON and tensors, and back."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skumc._cluster_count import NClustersEstimate
from skumc._parts import unknown_name_message
from skumc.data._table import TableLayout
from skumc.neighbors._references import References
from skumc.persistence._model_card import write_card
from skumc.persistence._saved_encoder import read_encoder, write_encoder
from skumc.persistence._saved_error import SavedClustererError
from skumc.persistence._saved_folder import CARD
from skumc.persistence._saved_text import read_text, write_text
from skumc.persistence._values import Reader, Writer
from skumc.persistence._weights import write_tensors
from skumc.training import History

_PARTS = ("losses", "threshold", "selector", "kmeans", "monitor", "pseudo_labels")
_PLAIN = ("n_iter_", "anchor_", "modality_widths_", "n_features_in_", "agreement_",
          "trusted_modalities_", "modality_trust_", "text_layers_", "n_clusters_", "temperature_",
          "counts_", "cluster_radii_", "matched_from_")  # fmt: skip
_PACKAGES = ("skumc", "torch", "scikit-learn", "numpy", "transformers", "safetensors")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


# save


def _fields(record: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass; None for None."""
    return None if record is None else dict(vars(record))


def _fitted(clusterer: Any, writer: Writer, include_embedding: bool) -> dict[str, Any]:
    """Write the fitted attributes other than parts, centers and labels."""
    layout = getattr(clusterer, "_table_layout", None)
    names = getattr(clusterer, "feature_names_in_", None)
    found = {name: getattr(clusterer, name) for name in _PLAIN} | {
        "feature_names": None if names is None else list(names),
        "unseen": sorted(clusterer._unseen_modalities),
        "layout": None if layout is None else layout._asdict(),
        "output": getattr(clusterer, "_sklearn_output_config", {}).get("transform"),
        "history_": [dict(record) for record in clusterer.history_],
        "n_clusters_curve": _fields(getattr(clusterer, "n_clusters_curve_", None)),
        "references": _fields(
            getattr(clusterer, "references_", None) if include_embedding else None
        ),
    }
    written = {}
    for name, value in found.items():
        before = set(writer.own)
        written[name] = writer.write(value, name)
        if set(writer.own) - before:
            raise ValueError(
                f"The clusterer's {name} has a value that save cannot write: it writes numbers, "
                "strings, lists, dicts and arrays. Have your callback record plain values."
            )
    return written


def write_clusterer(
    clusterer: Any, folder: Path, include_text_model: bool, include_embedding: bool
) -> dict[str, Any]:
    """Write weights, card and text model into an empty folder.

    Returns
    -------
    dict of str to object
        Content of the manifest, without format and files.
    """
    writer = Writer()
    parameters = {
        name: writer.write(value, name)
        for name, value in clusterer.get_params(deep=False).items()
        if name != "text"
    }
    content = {
        "versions": _versions(),
        "parameters": parameters,
        "text": write_text(clusterer, folder / "text", include_text_model, writer),
        "encoder": write_encoder(clusterer.encoder_, writer),
        "parts": {
            name: writer.write_fitted(getattr(clusterer, f"{name}_"), name) for name in _PARTS
        },
        "fitted": _fitted(clusterer, writer, include_embedding),
    }
    writer.add("centers", clusterer.cluster_centers_)
    writer.add("labels", clusterer.labels_)
    writer.add("selected", clusterer.high_quality_mask_)
    if include_embedding:
        if not hasattr(clusterer, "embedding_"):
            raise ValueError(
                "Got include_embedding=True, but the clusterer was loaded without its training "
                "embedding. Leave it out, or set embedding_ to transform(X) of the same samples."
            )
        writer.add("embedding", clusterer.embedding_)
    write_tensors(writer.tensors, folder / "weights.safetensors")
    content["own"] = writer.own
    write_card(clusterer, content, folder / CARD)
    return content


# load


def check_parts(own: Any, parts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Compare the user's parts with those that the folder names; return them as a dict."""
    if not isinstance(own, dict) or not all(isinstance(kind, str) for kind in own.values()):
        raise SavedClustererError("the list of own parts is wrong")
    if parts is not None and not isinstance(parts, Mapping):
        raise TypeError(f"Got parts={parts!r:.100}, expected a dict such as {{'encoder': part}}.")
    given = dict(parts or {})
    for name in given:
        if name not in own and name != "text":
            raise ValueError(unknown_name_message("parts", name, {*own, "text"}))
    missing = [name for name in own if name not in given]
    if missing:
        named = ", ".join(f"{name!r} (a {own[name]:.100})" for name in missing)
        raise ValueError(
            f"The clusterer has parts of your own, which load does not import: {named}. "
            f"Pass them: parts={{{missing[0]!r}: ...}}; None leaves one that only fit needs at its "
            "default."
        )
    return given


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise SavedClustererError(f"{what} is wrong")


def _is_dict(value: Any, *kinds: type) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(one, kinds) for key, one in value.items()
    )


def _check_fitted(fitted: dict[str, Any]) -> None:
    """Check the types of the fitted attributes, and that they fit together."""
    widths, n_features = fitted["modality_widths_"], fitted["n_features_in_"]
    _require(_is_dict(widths, int, type(None)) and bool(widths), "modality_widths_")
    _require(fitted["anchor_"] in widths, "anchor_")
    _require(isinstance(n_features, int) and n_features > 0, "n_features_in_")
    _require(isinstance(fitted["n_iter_"], int), "n_iter_")
    _require(isinstance(fitted["agreement_"], int | float), "agreement_")
    _require(_is_dict(fitted["trusted_modalities_"], bool), "trusted_modalities_")
    _require(_is_dict(fitted["text_layers_"], int), "text_layers_")
    _require(_is_dict(fitted["modality_trust_"], int, float), "modality_trust_")
    temperature, curve = fitted["temperature_"], fitted["n_clusters_curve"]
    _require(isinstance(temperature, float) and 0 < temperature < np.inf, "temperature_")
    _require(isinstance(fitted["n_clusters_"], int), "n_clusters_")
    _require(curve is None or set(curve) == _names(NClustersEstimate), "n_clusters_curve_")
    _require(set(fitted["unseen"]) <= set(widths), "the list of unseen modalities")
    _require(fitted["output"] in (None, "default", "pandas", "polars"), "the kind of output")
    names, history = fitted["feature_names"], fitted["history_"]
    is_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    _require(names is None or (is_names and len(names) == n_features), "feature_names_in_")
    _require(isinstance(history, list) and all(isinstance(r, dict) for r in history), "history_")
    layout = fitted["layout"]
    if layout is None:
        return
    _require(_is_dict(layout, list, dict, type(None)), "the layout of the table")
    names, blocks = layout["names"], layout["blocks"]
    _require(names is None or len(names) == n_features, "the list of columns")
    if blocks is not None:
        _require(_is_dict(blocks, list) and list(blocks) == list(widths), "the list of columns")
        places = [place for block in blocks.values() for place in block]
        _require(
            all(isinstance(place, int) and 0 <= place < n_features for place in places),
            "the list of columns",
        )


def _names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _is_numbers(value: Any, kinds: str, *shape: int) -> bool:
    """Whether a value is a finite array of a shape, with a dtype of one of the kinds."""
    is_array = isinstance(value, np.ndarray) and value.dtype.kind in kinds
    return is_array and value.shape == shape and bool(np.isfinite(value).all())


def _restore_clusters(clusterer: Any, fitted: dict[str, Any]) -> None:
    """Check what is known of each cluster, and of the training samples that were kept."""
    n_clusters, width = clusterer.cluster_centers_.shape
    _require(fitted["n_clusters_"] == n_clusters, "n_clusters_")
    for name, kinds in {"counts_": "iu", "cluster_radii_": "f", "matched_from_": "iu"}.items():
        _require(_is_numbers(fitted[name], kinds, n_clusters), name)
    if fitted["n_clusters_curve"] is not None:
        clusterer.n_clusters_curve_ = NClustersEstimate(**fitted["n_clusters_curve"])
    kept = fitted["references"]
    if kept is None:
        return
    _require(_is_dict(kept, dict, np.ndarray) and set(kept) == _names(References), "references_")
    n = len(kept["embedding"])
    sound = _is_numbers(kept["embedding"], "f", n, width) and kept["neighbors"].ndim == 2
    sound &= all(_is_numbers(kept[name], "f", n) for name in ("distances", "scores"))
    sound &= _is_numbers(kept["neighbors"], "iu", n, kept["neighbors"].shape[1])
    sound &= bool(((kept["neighbors"] >= 0) & (kept["neighbors"] < n)).all())
    sound &= set(kept["summaries"]) == set(kept["moments"]) <= set(fitted["modality_widths_"])
    for name, (values, present) in kept["summaries"].items() if sound else ():
        mean, scale = kept["moments"][name]
        sound &= _is_numbers(values, "f", n, mean.shape[0]) and present.shape == (n,)
        sound &= _is_numbers(mean, "f", *mean.shape) and _is_numbers(scale, "f", *mean.shape)
    _require(sound, "references_")
    references = References(kept["summaries"], kept["moments"], kept["embedding"])
    for name in ("distances", "neighbors", "scores"):
        setattr(references, name, kept[name])
    clusterer.references_ = references


def _restore_arrays(clusterer: Any, reader: Reader, tensors: Mapping[str, torch.Tensor]) -> None:
    centers, labels = reader.tensor("centers").numpy(), reader.tensor("labels").numpy()
    selected = reader.tensor("selected").numpy()
    is_finite = centers.dtype.kind == "f" and np.isfinite(centers).all()
    _require(centers.ndim == 2 and min(centers.shape) > 0 and is_finite, "cluster_centers_")
    is_labels = labels.ndim == 1 and labels.dtype.kind == "i" and len(labels) > 0
    _require(is_labels and 0 <= labels.min() and labels.max() < len(centers), "labels_")
    _require(selected.dtype == bool and selected.shape == labels.shape, "high_quality_mask_")
    clusterer.cluster_centers_, clusterer.labels_ = centers, labels
    clusterer.high_quality_mask_ = selected
    if "embedding" in tensors:
        embedding = tensors["embedding"].numpy()
        is_embedding = embedding.shape == (len(labels), centers.shape[1])
        _require(is_embedding and embedding.dtype == np.float32, "embedding_")
        clusterer.embedding_ = embedding


def _restore_fitted(clusterer: Any, fitted: dict[str, Any]) -> None:
    for name in _PLAIN:
        setattr(clusterer, name, fitted[name])
    _restore_clusters(clusterer, fitted)
    clusterer.history_ = History(fitted["history_"])
    clusterer._unseen_modalities = frozenset(fitted["unseen"])
    if fitted["feature_names"] is not None:
        clusterer.feature_names_in_ = np.asarray(fitted["feature_names"], dtype=object)
    if fitted["layout"] is not None:
        clusterer._table_layout = TableLayout(**fitted["layout"])
    if fitted["output"] is not None:
        clusterer.set_output(transform=fitted["output"])


def read_clusterer(
    kind: Any,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    text_folder: Path | None,
    parts: Mapping[str, Any],
    device: str | torch.device,
) -> Any:
    """Build a clusterer from what :func:`write_clusterer` wrote.

    Parameters
    ----------
    kind : type
        ``UMCClusterer`` or a subclass.
    manifest : dict of str to object
    tensors : dict of str to Tensor
    text_folder : Path or None
    parts : dict of str to object
        The user's own parts.
    device : str or torch.device

    Returns
    -------
    UMCClusterer

    Raises
    ------
    SavedClustererError
        If something in the manifest or among the tensors is wrong.
    """
    reader = Reader(tensors, parts)
    fitted = {name: reader.read(value) for name, value in manifest["fitted"].items()}
    _check_fitted(fitted)
    parameters = {name: reader.read(value) for name, value in manifest["parameters"].items()}
    verbose = parameters.get("verbose", 0)
    text, argument = read_text(manifest["text"], text_folder, parts, verbose)
    clusterer = kind(**parameters | {"text": argument, "device": device})
    clusterer._validate_params()
    _restore_arrays(clusterer, reader, tensors)
    _restore_fitted(clusterer, fitted)
    names = [own["name"] for own in manifest["encoder"]["statistics"]]
    _require(not names or names == list(fitted["modality_widths_"]), "the list of modalities")
    clusterer._text = text
    width = clusterer.cluster_centers_.shape[1]
    clusterer.encoder_ = read_encoder(manifest["encoder"], reader, text.towers, width)
    for name in _PARTS:
        part = reader.read(manifest["parts"][name])
        setattr(clusterer, f"{name}_", clusterer._make_part(name) if part is None else part)
    return clusterer
