"""Pretraining and the progressive loop."""

from skumc.training._batches import Embedded, calibrate, embed, embed_attention
from skumc.training._clustering import (
    SilhouetteMonitor,
    assign_labels,
    cluster_embedding,
    clustering_objective,
)
from skumc.training._history import History
from skumc.training._isolation import isolated
from skumc.training._optimisation import OPTIMIZERS, SCHEDULES, learning_rate_factor
from skumc.training._settings import TrainingParts, TrainingSettings
from skumc.training._trainer import ProgressiveTrainer
from skumc.training._views import AUGMENTATIONS, modality_views, positive_views

__all__ = [
    "AUGMENTATIONS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Embedded",
    "History",
    "ProgressiveTrainer",
    "SilhouetteMonitor",
    "TrainingParts",
    "TrainingSettings",
    "assign_labels",
    "calibrate",
    "cluster_embedding",
    "clustering_objective",
    "embed",
    "embed_attention",
    "isolated",
    "learning_rate_factor",
    "modality_views",
    "positive_views",
]
