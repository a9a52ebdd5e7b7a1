"""Parameters of the estimator: their ranges, the named parts, and the parts' contracts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.utils._param_validation import Interval, StrOptions

from skumc._parts import require_methods
from skumc.curriculum import (
    AdaptiveThreshold,
    CentroidSelector,
    ConstantThreshold,
    DensitySelector,
    LinearThreshold,
    RandomSelector,
)
from skumc.encoders import CausalEncoder, ProjectionEncoder, UMCEncoder
from skumc.losses import WeightedLosses
from skumc.neighbors import NeighborGraph, NoNeighborGraph
from skumc.pairs import (
    DisjointPairs,
    DropoutPairs,
    FramePairs,
    ModalityPairs,
    NeighborPairs,
    NoisePairs,
)
from skumc.pseudo_labels import PropagatedLabels, SelectedLabels
from skumc.text import TextModel
from skumc.training import ModularityMonitor, Optimization, SilhouetteMonitor
from skumc.training._callbacks import HOOKS, Callback, defines

# By parameter the names of parts; the first one is the default.
PART_CHOICES: dict[str, dict[str, Callable[[], Any]]] = {
    "encoder": {"projection": ProjectionEncoder, "umc": UMCEncoder, "causal": CausalEncoder},
    "neighbors": {"graph": NeighborGraph, "none": NoNeighborGraph},
    "pairs": {
        "neighbors": NeighborPairs,
        "views": ModalityPairs,
        "disjoint": DisjointPairs,
        "dropout": DropoutPairs,
        "noise": NoisePairs,
        "frames": FramePairs,
    },
    "pseudo_labels": {"propagated": PropagatedLabels, "selected": SelectedLabels},
    "losses": {"umc": WeightedLosses},
    "threshold": {
        "adaptive": AdaptiveThreshold,
        "linear": LinearThreshold,
        "constant": ConstantThreshold,
    },
    "selector": {
        "density": DensitySelector,
        "centroid": CentroidSelector,
        "random": RandomSelector,
    },
    "kmeans": {"kmeans": lambda: KMeans(n_init=10), "minibatch": MiniBatchKMeans},
    "monitor": {"modularity": ModularityMonitor, "silhouette": SilhouetteMonitor},
    "optimization": {"default": Optimization},
}

PARAMETER_CONSTRAINTS: dict[str, Any] = {
    "n_clusters": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "modalities": [dict, list, tuple, None],
    "anchor": [str, None],
    "text": [str, os.PathLike, tuple, list, TextModel, None],
    **dict.fromkeys(PART_CHOICES, "no_validation"),  # see check_parts
    "supervised_views": [str, list, tuple, None],
    "callbacks": [list, tuple, None],
    "pretrain_epochs": [Interval(Integral, 0, None, closed="left")],
    "max_epochs": [Interval(Integral, 0, None, closed="left")],
    "patience": [Interval(Integral, 1, None, closed="left"), None],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
    "pretrain_learning_rate": [Interval(Real, 0, None, closed="neither"), None],
    "device": [str, torch.device],
    "precision": [StrOptions({"float32", "bfloat16"})],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
}

_METHODS = {
    "encoder": ["build"],
    "neighbors": ["build", "refresh"],
    "pairs": ["prepare", "sample", "encode"],
    "pseudo_labels": ["label"],
    "losses": ["terms"],
    "threshold": ["update"],
    "selector": ["select"],
    "kmeans": ["fit", "get_params", "set_params"],
    "monitor": ["__call__"],
    "optimization": [],
}


def check_parts(parts: dict[str, Any]) -> None:
    """Check each part against its contract; errors name the parameter."""
    for parameter, part in parts.items():
        if not isinstance(part, torch.nn.Module):
            require_methods(parameter, part, _METHODS[parameter])
    lacking = {"n_clusters", "init", "n_init"} - set(parts["kmeans"].get_params())
    if lacking:
        raise TypeError(
            f"Got kmeans={parts['kmeans']!r}, which lacks the parameters {sorted(lacking)}. Pass "
            "an estimator like KMeans that can start from given centers, or None."
        )
    if not isinstance(parts["optimization"], Optimization):
        raise TypeError(
            f"Got optimization={parts['optimization']!r}, expected an instance of "
            "skumc.training.Optimization, or None for the default."
        )
    for part in parts.values():
        if isinstance(part, BaseEstimator) and hasattr(part, "_parameter_constraints"):
            part._validate_params()
    _check_neighbors(parts)


def _check_neighbors(parts: dict[str, Any]) -> None:
    """Raise ValueError for parts that need neighbors where there is no graph."""
    if getattr(parts["neighbors"], "partners_", ...) is not None:
        if isinstance(parts["monitor"], ModularityMonitor):
            require_methods("neighbors", parts["neighbors"], ["modularity"])
        return
    others = {"pairs": "views", "pseudo_labels": "selected", "monitor": "silhouette"}
    needy = [name for name in others if getattr(parts[name], "needs_neighbors", False)]
    if needy:
        remedy = " and ".join(f"{name}={others[name]!r}" for name in needy)
        raise ValueError(
            f"Got neighbors='none', but {' and '.join(needy)} need the neighbor graph, as they do "
            f"by default. Set {remedy} as well, or leave neighbors at None."
        )


def check_callbacks(callbacks: list[Any]) -> None:
    """Raise TypeError for a callback that has none of the hooks."""
    for place, callback in enumerate(callbacks):
        if isinstance(callback, type) or not any(defines(callback, hook) for hook in HOOKS):
            raise TypeError(
                f"Got callbacks[{place}]={callback!r}, expected an instance that defines some of "
                f"the methods {', '.join(HOOKS)}; skumc.training.Callback is a base for them."
            )
        for hook in HOOKS:
            if defines(callback, hook):
                _check_signature(f"callbacks[{place}].{hook}", callback, hook)


def _check_signature(argument: str, callback: Any, hook: str) -> None:
    """Raise TypeError for a hook that cannot be called with its arguments."""
    names = [name for name in inspect.signature(getattr(Callback, hook)).parameters][1:]
    try:
        own = inspect.signature(getattr(callback, hook))
    except (TypeError, ValueError):
        return  # written in another language
    try:
        own.bind(*names)
    except TypeError as error:
        raise TypeError(
            f"Got {argument}{own}, expected {hook}({', '.join(names)}): {error}. Give the hook "
            "these parameters."
        ) from error
