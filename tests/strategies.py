"""Hypothesis strategies that several test modules share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

LABEL_NUMBERS = st.integers(-(2**40), 2**40)


@st.composite
def labeled_embeddings(
    draw: st.DrawFn,
    *,
    min_size: int = 1,
    max_size: int = 30,
    max_clusters: int = 4,
    duplicates: bool = True,
    dtypes: tuple[type, ...] = (np.float32, np.float64),
) -> tuple[NDArray, NDArray]:
    """Draw (X, labels): shuffled samples x width, and one integer per sample.

    Clusters have ``min_size`` to ``max_size`` samples and labels that are not contiguous. With
    ``duplicates`` some examples repeat samples, in the extreme case a single one; without
    ``duplicates`` all samples are drawn from a normal distribution, so no two distances are close.
    """
    sizes = draw(st.lists(st.integers(min_size, max_size), min_size=1, max_size=max_clusters))
    names = draw(st.lists(LABEL_NUMBERS, min_size=len(sizes), max_size=len(sizes), unique=True))
    width = draw(st.integers(2, 6))
    scale = draw(st.sampled_from([1.0, 1e-3, 1e3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_samples = sum(sizes)
    X = scale * rng.normal(size=(n_samples, width))
    if duplicates and draw(st.booleans()):
        n_distinct = draw(st.integers(1, n_samples))
        X = X[rng.integers(n_distinct, size=n_samples)]
    labels = rng.permutation(np.repeat(np.array(names, dtype=np.int64), sizes))
    return X.astype(draw(st.sampled_from(dtypes))), labels


def fractions(steps: int = 100) -> st.SearchStrategy[float]:
    """Draw numbers within [0, 1] with few decimals, for which floors are easy to get wrong."""
    return st.integers(0, steps).map(lambda numerator: numerator / steps)
