"""Loaders of published data sets from a folder, and synthetic data."""

from skumc.datasets._blobs import make_multimodal_blobs
from skumc.datasets._errors import DatasetError, UnsafePickleError
from skumc.datasets._loaders import load_iemocap_da, load_meld_da, load_mintrec

__all__ = [
    "DatasetError",
    "UnsafePickleError",
    "load_iemocap_da",
    "load_meld_da",
    "load_mintrec",
    "make_multimodal_blobs",
]
