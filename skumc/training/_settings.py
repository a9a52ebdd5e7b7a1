"""What a training run is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TrainingSettings:
    """The numbers of a training run; see the parameters of ``UMCClusterer``.

    Examples
    --------
    >>> from dataclasses import fields
    >>> [field.name for field in fields(TrainingSettings)][:3]
    ['n_clusters', 'anchor', 'pretrain_epochs']
    """

    n_clusters: int
    anchor: str
    pretrain_epochs: int
    max_epochs: int
    min_epochs: int | None
    patience: int | None
    batch_size: int
    learning_rate: float
    pretrain_learning_rate: float
    text_learning_rate: float
    optimizer: Any
    weight_decay: float
    warmup_proportion: float
    schedule: str
    grad_clip: float | None
    accumulate_steps: int
    weight_averaging: float
    augmentation: str
    spread_confidence: float | None
    device: torch.device
    precision: str
    compile: bool
    max_memory: int | None
    verbose: int

    @property
    def first_patient_epoch(self) -> int:
        """The epoch from which a lack of improvement counts."""
        return math.ceil(0.6 * self.max_epochs) if self.min_epochs is None else self.min_epochs


@dataclass
class TrainingParts:
    """The swappable parts of a training run, as instances of its own.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from skumc.curriculum import ConstantThreshold, DensitySelector
    >>> from skumc.losses import WeightedLosses
    >>> from skumc.training import SilhouetteMonitor
    >>> parts = TrainingParts(
    ...     losses=WeightedLosses().terms(),
    ...     threshold=ConstantThreshold(),
    ...     selector=DensitySelector(),
    ...     kmeans=KMeans(),
    ...     monitor=SilhouetteMonitor(),
    ... )
    >>> parts.losses["contrastive"][0]
    0.5
    """

    losses: dict[str, tuple[float, Callable[..., Tensor]]]
    threshold: Any
    selector: Any
    kmeans: Any
    monitor: Callable[[np.ndarray, np.ndarray], float]
