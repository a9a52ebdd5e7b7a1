"""Displays of clusterings in the manner of scikit-learn; they need matplotlib."""

from skumc.plotting._attention_display import AttentionDisplay
from skumc.plotting._cluster_sizes_display import ClusterSizesDisplay
from skumc.plotting._contingency_display import ContingencyDisplay
from skumc.plotting._embedding_display import EmbeddingDisplay
from skumc.plotting._gates_display import GatesDisplay
from skumc.plotting._n_clusters_display import NClustersDisplay
from skumc.plotting._training_display import TrainingDisplay

__all__ = [
    "AttentionDisplay",
    "ClusterSizesDisplay",
    "ContingencyDisplay",
    "EmbeddingDisplay",
    "GatesDisplay",
    "NClustersDisplay",
    "TrainingDisplay",
]
