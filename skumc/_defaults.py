"""What the estimator's parameters may be, and which parts they stand for."""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

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
from skumc.training import AUGMENTATIONS, OPTIMIZERS, SCHEDULES, SilhouetteMonitor

# By parameter the names of parts; the first one is the default.
PART_CHOICES: dict[str, dict[str, Callable[[], Any]]] = {
    "encoder": {"projection": ProjectionEncoder, "umc": UMCEncoder, "causal": CausalEncoder},
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
    "monitor": {"silhouette": SilhouetteMonitor},
}

PARAMETER_CONSTRAINTS: dict[str, Any] = {
    "n_clusters": [Interval(Integral, 1, None, closed="left")],
    "modalities": [dict, list, tuple, None],
    "anchor": [str, None],
    # parts have check_parts
    "encoder": "no_validation",
    "losses": "no_validation",
    "threshold": "no_validation",
    "selector": "no_validation",
    "kmeans": "no_validation",
    "monitor": "no_validation",
    "text_model": [str, os.PathLike, tuple, list, None],
    "n_trainable_layers": [Interval(Integral, 0, None, closed="left"), StrOptions({"all"})],
    "text_learning_rate": [Interval(Real, 0, None, closed="neither")],
    "max_text_length": [Interval(Integral, 1, None, closed="left"), None],
    "text_layer": [Interval(Integral, 0, None, closed="left"), StrOptions({"middle"}), None],
    "memory": [str, os.PathLike, HasMethods(["cache"]), None],
    "augmentation": [StrOptions(set(AUGMENTATIONS))],
    "spread_confidence": [Interval(Real, 0, 1, closed="both"), None],
    "pretrain_epochs": [Interval(Integral, 0, None, closed="left")],
    "max_epochs": [Interval(Integral, 0, None, closed="left")],
    "min_epochs": [Interval(Integral, 0, None, closed="left"), None],
    "patience": [Interval(Integral, 1, None, closed="left"), None],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
    "pretrain_learning_rate": [Interval(Real, 0, None, closed="neither"), None],
    "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
    "schedule": [StrOptions(set(SCHEDULES))],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "warmup_proportion": [Interval(Real, 0, 1, closed="both")],
    "grad_clip": [Interval(Real, 0, None, closed="neither"), None],
    "accumulate_steps": [Interval(Integral, 1, None, closed="left")],
    "weight_averaging": [Interval(Real, 0, 1, closed="left")],
    "device": [str, torch.device],
    "precision": [StrOptions({"float32", "bfloat16"})],
    "compile": ["boolean"],
    "max_memory": [Interval(Integral, 1, None, closed="left"), None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}

_METHODS = {
    "losses": ["terms"],
    "threshold": ["update"],
    "selector": ["select"],
    "kmeans": ["fit", "get_params", "set_params"],
    "monitor": ["__call__"],
    "encoder": ["build"],
}


def check_parts(**parts: Any) -> None:
    """Hold each part against its contract; raise TypeError that names the parameter."""
    for parameter, part in parts.items():
        if not isinstance(part, torch.nn.Module):
            require_methods(parameter, part, _METHODS[parameter])
    lacking = {"n_clusters", "init", "n_init"} - set(parts["kmeans"].get_params())
    if lacking:
        raise TypeError(
            f"Got kmeans={parts['kmeans']!r}, which lacks the parameters {sorted(lacking)}. Pass "
            "an estimator like KMeans that can start from given centres, or None."
        )
