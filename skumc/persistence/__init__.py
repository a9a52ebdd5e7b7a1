"""A fitted clusterer as a folder: weights as safetensors, everything else as JSON, no pickle."""

from skumc.persistence._saved_error import SavedClustererError

__all__ = ["SavedClustererError"]
