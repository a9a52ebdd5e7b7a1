"""Published methods as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.cluster import KMeans

from skumc._parts import unknown_name_message
from skumc.curriculum import DensitySelector, LinearThreshold
from skumc.encoders import CausalEncoder, UMCEncoder
from skumc.losses import ContrastiveLoss, InfoNCELoss, SupConLoss, WeightedLosses
from skumc.text import TextModel
from skumc.training import Optimization

_PUBLISHED_TEMPERATURES = {"infonce": 0.2, "contrastive": 1.0, "supcon": 1.4}
_WITHOUT_NEIGHBORS = {
    "neighbors": "none",
    "pseudo_labels": "selected",
    "supervised_views": "leave_one_out",
    "monitor": "silhouette",
}


def _published_losses(average: str = "anchors", **weights: Any) -> WeightedLosses:
    """Build the losses with the temperatures of the published code."""
    return WeightedLosses(
        infonce=InfoNCELoss(_PUBLISHED_TEMPERATURES["infonce"]),
        contrastive=ContrastiveLoss(_PUBLISHED_TEMPERATURES["contrastive"]),
        supcon=SupConLoss(_PUBLISHED_TEMPERATURES["supcon"], average=average),
        **weights,
    )


def _source() -> dict[str, Any]:
    """Return the methodology as printed, where the defaults differ."""
    return {
        "encoder": UMCEncoder(
            hidden_width=256,
            guided_attention=True,
            n_self_attention_layers=2,
            anchor_summary="cls",
            missing="zeros",
            standardize=False,
            max_positions=None,
            shortcuts=False,
        ),
        "losses": _published_losses("samples"),
        "kmeans": KMeans(n_init=1),
        **_WITHOUT_NEIGHBORS,
        "pairs": "dropout",
        "text": TextModel(layer=None, n_trainable_layers=1),
        "optimization": Optimization(
            "adam", weight_decay=0.01, schedule="cosine", weight_averaging=0.0, min_epochs=0
        ),
        "pretrain_epochs": 100,
        "max_epochs": 100,
        "batch_size": 128,
        "learning_rate": 3e-4,
        "pretrain_learning_rate": 2e-5,
    }


def _acl2024() -> dict[str, Any]:
    """Return the network, the schedule and the losses of the ACL 2024 paper."""
    return {
        "encoder": CausalEncoder(),
        "losses": _published_losses(
            contrastive_weight=1.0, compactness_weight=0.0, separation_weight=0.0
        ),
        "threshold": LinearThreshold(start=0.1, step=0.05),
        "selector": DensitySelector(candidates=tuple(i / 100 for i in range(10, 32, 2))),
        **_WITHOUT_NEIGHBORS,
        "pairs": "views",
        "text": TextModel(layer=None, n_trainable_layers=1),
        "optimization": Optimization(
            "adamw", weight_decay=0.01, schedule="linear", weight_averaging=0.0
        ),
        "pretrain_epochs": 100,
        "max_epochs": 18,
        "patience": None,
        "batch_size": 128,
        "learning_rate": 3e-4,
        "pretrain_learning_rate": 2e-5,
    }


_PRESETS = {"source": _source, "acl2024": _acl2024}


def preset_parameters(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a preset, with new instances of its parts, and changes of them.

    Parameters
    ----------
    name : {"source", "acl2024"}
    changes : dict of str to object
        Parameters that take precedence. A dict of losses changes the roles that it names;
        ``text`` as a name, a folder or a pair changes the name only.

    Returns
    -------
    dict of str to object

    Raises
    ------
    ValueError
        If there is no such preset.
    """
    if not isinstance(name, str) or name not in _PRESETS:
        raise ValueError(unknown_name_message("name", name, _PRESETS))
    parameters, changes = _PRESETS[name](), dict(changes)
    if isinstance(changes.get("losses"), Mapping):
        changes["losses"] = parameters["losses"].updated(changes["losses"])
    if not isinstance(changes.get("text"), TextModel | None):
        changes["text__name"] = changes.pop("text")
    return {name: value for name, value in parameters.items() if name not in changes} | changes
