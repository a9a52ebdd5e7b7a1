"""The k-nearest-neighbor graph of the samples, and how far to trust each modality."""

from skumc.neighbors._graph import NeighborGraph, NoNeighborGraph

__all__ = ["NeighborGraph", "NoNeighborGraph"]
