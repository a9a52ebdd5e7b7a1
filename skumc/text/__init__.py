"""Transformer text models: frozen layers that run once, and a tower that trains in the loop."""

from skumc.text._backbone import TextBackbone
from skumc.text._reader import TextReader
from skumc.text._text_model import TextModel
from skumc.text._tower import TextTower

__all__ = ["TextBackbone", "TextModel", "TextReader", "TextTower"]
