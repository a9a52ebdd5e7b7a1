"""The state of a training run, as callbacks and pseudo-labels get it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from skumc.data import MultimodalData
from skumc.training._held_out import HeldOut
from skumc.training._history import History
from skumc.training._settings import TrainingSettings


@dataclass
class TrainingState:
    """The state of a training run, updated in place.

    Attributes
    ----------
    encoder : Module
        The encoder in training.
    data : MultimodalData
        The training samples.
    settings : TrainingSettings
        Numbers of the run: ``n_clusters``, ``anchor``, ``batch_size``, ``device``, ...
    graph : NeighborGraph or NoNeighborGraph
        Neighbors of the samples.
    held_out : HeldOut
        Samples that no loss is computed on.
    losses : ModuleList
        Losses with parameters, which train with the encoder.
    views : list of tuple of str
        Modalities that are visible in each view of the supervised step.
    history : History
        Records of the epochs so far.
    phase : {"start", "pretrain", "main"}
        Phase of training; "start" is the untrained encoder.
    epoch : int
        Epoch of the phase, from 0.
    n_epochs : int
        Planned number of epochs of the phase.
    embedding : ndarray of float32, shape (n_samples, n_components), or None
        Embedding of the samples at the start of the epoch; None in pretraining, as are the
        following.
    gates : ndarray of float32, shape (n_samples, n_modalities), or None
        Share of each modality.
    labels : ndarray of int, shape (n_samples,), or None
        Labels of k-means, then pseudo-labels.
    centers : ndarray of shape (n_clusters, n_components), or None
        Centers of k-means, then those returned with the pseudo-labels.
    selected : ndarray of bool, shape (n_samples,), or None
        Samples that the selector chose.
    taught : ndarray of bool, shape (n_samples,), or None
        Samples of the supervised step.
    read_centers : Tensor of shape (n_clusters, width), or None
        Centers in the space that compactness and separation read, on the device.

    Examples
    --------
    >>> from dataclasses import fields
    >>> [field.name for field in fields(TrainingState)][-7:]
    ['embedding', 'gates', 'labels', 'centers', 'selected', 'taught', 'read_centers']
    """

    encoder: nn.Module
    data: MultimodalData
    settings: TrainingSettings
    graph: Any
    held_out: HeldOut = field(default_factory=HeldOut)
    losses: nn.ModuleList = field(default_factory=nn.ModuleList)
    views: list[tuple[str, ...]] = field(default_factory=list)
    history: History = field(default_factory=History)
    phase: str = "pretrain"
    epoch: int = 0
    n_epochs: int = 0
    embedding: np.ndarray | None = None
    gates: np.ndarray | None = None
    labels: np.ndarray | None = None
    centers: np.ndarray | None = None
    selected: np.ndarray | None = None
    taught: np.ndarray | None = None
    read_centers: Tensor | None = None

    @property
    def n_judged(self) -> int:
        """Number of samples by which the monitor compares epochs."""
        return len(self.held_out) or len(self.data)

    def forget_clustering(self) -> None:
        """Forget what the clustering gave, so that the next one starts again."""
        self.embedding = self.gates = self.labels = self.centers = None
        self.selected = self.taught = self.read_centers = None
