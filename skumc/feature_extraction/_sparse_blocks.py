"""Sparse matrices of transformers: dense where narrow, reduced where wide."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, issparse
from sklearn.decomposition import TruncatedSVD
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

MAX_DENSE_WIDTH = 256  # columns; a sparse matrix up to this width becomes dense
REDUCED_WIDTH = 128


def as_sparse(values: Any) -> Any:
    """Return a sparse matrix in CSR format; a DataFrame of sparse columns is one, others None."""
    if issparse(values):
        return csr_matrix(values)
    kinds = list(getattr(values, "dtypes", ())) if hasattr(values, "iloc") else []
    if kinds and all(type(kind).__name__ == "SparseDtype" for kind in kinds):
        return csr_matrix(values.sparse.to_coo())
    return None


def fit_reduction(values: Any) -> Pipeline | None:
    """Fit the reduction of a wide sparse matrix; None for a narrow one.

    Parameters
    ----------
    values : sparse matrix (n_samples, width)

    Notes
    -----
    The matrix is projected on its leading right singular vectors, and the projections are
    centered; the centered matrix itself, which is dense, is never formed.
    """
    if values.shape[1] <= MAX_DENSE_WIDTH:
        return None
    svd = TruncatedSVD(min(REDUCED_WIDTH, values.shape[0]), random_state=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # shares of the variance of equal rows
        return make_pipeline(svd, StandardScaler(with_std=False)).fit(values.astype(np.float64))


def to_dense(values: Any, reduction: Pipeline | None) -> np.ndarray:
    """Return a sparse matrix as a dense one, reduced if there is a reduction."""
    if reduction is None:
        return values.toarray()
    return reduction.transform(values.astype(np.float64)).astype(np.float32)
