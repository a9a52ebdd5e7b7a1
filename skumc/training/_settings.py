"""Numbers and parts of a training run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skumc.training._optimization import Optimization


@dataclass(frozen=True)
class TrainingSettings:
    """Numbers of a training run; see the parameters of ``UMCClusterer``.

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
    patience: int | None
    batch_size: int
    learning_rate: float
    pretrain_learning_rate: float
    text_learning_rate: float
    device: torch.device
    precision: str


@dataclass
class TrainingParts:
    """The swappable parts of a training run, as instances that the run owns.

    Attributes
    ----------
    losses : dict of str to (float, callable)
        By role the weight and the loss, see :class:`~skumc.losses.WeightedLosses`.
    threshold, selector, kmeans, monitor, pairs, neighbors, pseudo_labels : object
        See the parameters of ``UMCClusterer``.
    optimization : Optimization
    supervised_views : str, sequence of sequences of str or None
        See :func:`~skumc.pairs.supervised_views`.
    callbacks : sequence of object
        In the order of their calls.
    start_graph : object or None
        Neighbor graph by which the end is compared with the start where ``neighbors`` has none.

    Examples
    --------
    >>> from dataclasses import fields
    >>> [field.name for field in fields(TrainingParts)][:3]
    ['losses', 'threshold', 'selector']
    """

    losses: dict[str, tuple[float, Callable[..., Tensor]]]
    threshold: Any
    selector: Any
    kmeans: Any
    monitor: Callable[[np.ndarray, np.ndarray], float]
    pairs: Any
    neighbors: Any
    pseudo_labels: Any
    optimization: Optimization
    supervised_views: str | Sequence[Sequence[str]] | None = None
    callbacks: Sequence[Any] = ()
    start_graph: Any = None

    def first_patient_epoch(self, max_epochs: int) -> int:
        """First epoch in which a lack of improvement counts."""
        given = self.optimization.min_epochs
        return math.ceil(0.6 * max_epochs) if given is None else given
