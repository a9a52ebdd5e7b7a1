"""The error of a folder that cannot be loaded."""

from __future__ import annotations


class SavedClustererError(ValueError):
    """A saved clusterer is damaged, incomplete or of an unknown format.

    The message names the file and the remedy.

    Examples
    --------
    >>> from skumc.persistence import SavedClustererError
    >>> issubclass(SavedClustererError, ValueError)
    True
    """
