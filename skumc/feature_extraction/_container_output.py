"""What transformers that give samples instead of a matrix have in common."""

from __future__ import annotations

import os
from typing import Any

from sklearn.base import TransformerMixin

from skumc.data import MultimodalData


def check_column(X: Any, what: str) -> None:
    """Refuse what is no column of raw cells, with what to pass.

    Parameters
    ----------
    X : object
    what : str
        What a cell holds, for messages.

    Raises
    ------
    ValueError
        If X is a single cell, a table, samples, or empty.
    """
    if isinstance(X, (str, bytes, os.PathLike, dict, MultimodalData)) or not hasattr(X, "__len__"):
        raise ValueError(
            f"Got X of type {type(X).__name__}, expected a list, array or Series with one {what} "
            "a sample. Pass [cell] for a single one."
        )
    if hasattr(X, "columns"):
        raise ValueError(
            f"Got a DataFrame with the columns {list(X.columns)}, expected one column, one {what} "
            "a sample. Pass X[column], or the whole table to MultimodalFeatures."
        )
    if len(X) == 0:
        raise ValueError(f"Found 0 samples in X, expected at least one {what}.")


class ContainerTransformerMixin(TransformerMixin):
    """Make a transformer from raw cells to :class:`~skumc.MultimodalData` fit in pipelines."""

    def set_output(self, *, transform: str | None = None):
        """Take part in a pipeline's ``set_output``; samples stay samples.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Steps behind this one may give tables, with the index of the samples.

        Returns
        -------
        estimator
            The transformer itself.
        """
        del transform
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True  # missing cells are ours to handle
        tags.transformer_tags.preserves_dtype = []
        tags.no_validation = True
        return tags
