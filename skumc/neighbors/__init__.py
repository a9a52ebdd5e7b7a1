"""The k-nearest-neighbor graph of the samples, and which modalities to trust."""

from skumc.neighbors._graph import NeighborGraph, NoNeighborGraph

__all__ = ["NeighborGraph", "NoNeighborGraph"]
