"""Transformers from raw text, audio and video, and from sequences, to input for an estimator."""

from skumc.feature_extraction._log_mel import LogMelFeatures
from skumc.feature_extraction._multimodal import MultimodalFeatures
from skumc.feature_extraction._pooled import PooledFeatures
from skumc.feature_extraction._swin import SwinFeatures
from skumc.feature_extraction._transformer_text import TransformerTextFeatures
from skumc.feature_extraction._wavlm import WavLMFeatures

__all__ = [
    "LogMelFeatures",
    "MultimodalFeatures",
    "PooledFeatures",
    "SwinFeatures",
    "TransformerTextFeatures",
    "WavLMFeatures",
]
