"""Shared behavior of transformers that return samples instead of a matrix."""

from __future__ import annotations

import os
from typing import Any, Self

from sklearn.base import TransformerMixin
from sklearn.utils import Tags

from skumc._doc_links import DocumentedMixin
from skumc.data import MultimodalData
from skumc.data._columns import refuse_lazy


def check_column(X: Any, what: str) -> None:
    """Refuse input that is not a column of raw cells.

    Parameters
    ----------
    X : object
    what : str
        Content of a cell, for messages.

    Raises
    ------
    ValueError
        If X is a single cell, a table, a container of samples, or empty.
    """
    refuse_lazy(X)
    if isinstance(X, (str, bytes, os.PathLike, dict, MultimodalData)) or not hasattr(X, "__len__"):
        raise ValueError(
            f"Got X of type {type(X).__name__}, expected a list, array or Series with one {what} "
            "per sample. Pass [cell] for a single one."
        )
    if hasattr(X, "columns"):
        raise ValueError(
            f"Got a DataFrame with the columns {list(X.columns)}, expected one column with one "
            f"{what} per sample. Pass X[column], or the whole table to MultimodalFeatures."
        )
    if len(X) == 0:
        raise ValueError(f"Found 0 samples in X, expected at least one {what}.")


class ContainerTransformerMixin(DocumentedMixin, TransformerMixin):
    """Mixin for transformers from raw cells to :class:`~skumc.MultimodalData`."""

    def set_output(self, *, transform: str | None = None) -> Self:
        """Accept a pipeline's ``set_output``; this transformer returns samples regardless.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Not used. Later steps of the pipeline may return tables, with the samples' index.

        Returns
        -------
        estimator
            The transformer itself.
        """
        del transform
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True  # NaN marks a missing cell
        tags.transformer_tags.preserves_dtype = []
        tags.no_validation = True
        return tags
