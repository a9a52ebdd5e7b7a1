"""From raw media and sequences to what an estimator reads."""

from skumc.feature_extraction._pooled import PooledFeatures

__all__ = ["PooledFeatures"]
