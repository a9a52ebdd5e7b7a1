"""Discover groups in multimodal data, the scikit-learn way."""

from skumc._clusterer import UMCClusterer
from skumc.data import MultimodalData

__version__ = "0.1.0.dev0"

__all__ = ["MultimodalData", "UMCClusterer"]
