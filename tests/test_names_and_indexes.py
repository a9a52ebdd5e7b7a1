"""Columns by name or position, and row names that stay with their samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline

from skumc import MultimodalData, UMCClusterer
from skumc.data._positions import resolve_columns
from skumc.feature_extraction import MultimodalFeatures, PooledFeatures
from skumc.metrics import clustering_accuracy, clustering_scores

VALUES = np.random.default_rng(0).normal(size=(6, 4))
NAMES = list("uvwxyz")


def umc(**parameters):
    cheap = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}
    return UMCClusterer(2, **cheap | parameters)


def positions(names, modalities):
    """Positions of the columns that a transformer reads, in order."""
    frame = pd.DataFrame(VALUES, columns=names)
    pooled = PooledFeatures(modalities=modalities, standardize=False).fit(frame)
    found = pooled.transform(frame)
    assert_array_equal(pooled.transform(VALUES), found)  # the columns of fit, also in an array
    return [int(np.flatnonzero((VALUES.T == column).all(axis=1))[0]) for column in found.T]


@pytest.mark.parametrize(
    ("names", "modalities", "expected"),
    [
        ([1, 2, 3, 4], {"a": range(0, 2), "b": range(2, 4)}, [0, 1, 2, 3]),
        ([1, 2, 3, 4], {"a": [1, 2], "b": [3, 4]}, [0, 1, 2, 3]),
        ([1, 2, 3, 4], {"a": slice(0, 2), "b": [3]}, [0, 1, 2]),
        ([3, 2, 1, 0], {"a": [0, 1], "b": [2, 3]}, [3, 2, 1, 0]),
        ([3, 2, 1, 0], {"a": slice(0, 2), "b": [True, False, False, True]}, [0, 1, 0, 3]),
        ([10, 20, 30, 40], {"a": [0, -1], "b": [1]}, [0, 3, 1]),
        ([10, 20, 30, 40], {"a": 20, "b": np.array([40, 10])}, [1, 3, 0]),
        ([-1, 0, 1, 2], {"a": [-1], "b": [1]}, [0, 2]),
        ([0.5, 1.5, 2.5, 3.5], {"a": [1.5], "b": [0]}, [1, 0]),
    ],
)
def test_numbers_are_all_names_or_all_positions(names, modalities, expected):
    assert positions(names, modalities) == expected


@pytest.mark.parametrize(
    ("names", "modalities", "message"),
    [
        (
            [1, 2, 3, 4],
            {"a": [0, 4]},
            "columns 4, which is not a position, and 0, which",
        ),
        ([1, 2, 3, 4], {"a": [0], "b": [4]}, "Expected names throughout, or positions in .0, 3."),
        ([10, 20, 30, 40], {"a": [10, 1]}, "columns 10, which is not a position, and 1, which"),
        ([1, 2, 3, 4], {"a": [9]}, r"modalities\['a'\] with column 9, expected names or numbers"),
        ([1, 2, 2, 4], {"a": [1, 2]}, "column 2, but X has 2 columns of that name"),
        ([1, 2, 3, 4], {"a": slice("x", "y")}, "expected a slice of column positions"),
    ],
)
def test_numbers_that_are_neither_are_refused(names, modalities, message):
    with pytest.raises(ValueError, match=message):
        resolve_columns(modalities, 4, names)


@given(
    st.lists(st.integers(-5, 8), min_size=4, max_size=4, unique=True),
    st.lists(st.integers(-5, 8), min_size=1, max_size=4),
)
def test_numbers_follow_the_rule(names, wanted):
    cut = len(wanted) // 2
    modalities = {"a": wanted[:cut], "b": wanted[cut:]} if cut else {"a": wanted}
    if set(wanted) <= set(names):
        expected = [names.index(column) for column in wanted]
    elif all(-4 <= column < 4 for column in wanted):
        expected = [column % 4 for column in wanted]
    else:
        with pytest.raises(ValueError, match="Got modalities"):
            resolve_columns(modalities, 4, names)
        return
    assert sum(resolve_columns(modalities, 4, names).values(), []) == expected


def test_columns_in_another_order_than_in_fit_are_refused():
    frame = pd.DataFrame(VALUES, columns=[3, 2, 1, 0])
    fitted = PooledFeatures(modalities={"a": [0, 1]}).fit(frame)
    with pytest.raises(ValueError, match=r"columns \[0, 1, 2, 3\], expected .*: \[3, 2, 1, 0\]"):
        fitted.transform(frame[[0, 1, 2, 3]])


# indexes


def shuffled(data):
    return data.iloc[[3, 0, 5, 1, 4, 2]]


TEXT = pd.DataFrame(VALUES, index=NAMES)
CELLS = pd.Series(list(VALUES[:, :2]), index=NAMES)


@pytest.mark.parametrize(
    ("text", "audio"),
    [
        (TEXT, shuffled(CELLS)),
        (TEXT.reset_index(drop=True), shuffled(CELLS.reset_index(drop=True))),
        (TEXT, CELLS.reset_index(drop=True)),
        (CELLS, shuffled(TEXT)),
        (CELLS.astype(object), TEXT.set_axis(list("uvwxyy"))),
    ],
)
def test_modalities_with_different_indexes_are_refused(text, audio):
    X = {"text": text, "other": VALUES, "audio": audio}
    match = r"'text' and 'audio' have different indexes.*audio.loc\[text.index\], or pass .to_numpy"
    for call in (MultimodalData, umc().fit, PooledFeatures().fit):
        with pytest.raises(ValueError, match=match):
            call(X)
    X["audio"] = audio.to_numpy()
    assert MultimodalData(X).index.equals(text.index)


def test_index_given_with_modalities_of_pandas():
    assert MultimodalData({"a": TEXT}, index=NAMES).index == NAMES
    assert MultimodalData({"a": TEXT.reset_index(drop=True)}, index=NAMES).index == NAMES
    with pytest.raises(ValueError, match="index= that differs from the index of modality 'a'"):
        MultimodalData({"a": TEXT}, index=NAMES[::-1])


RECORDS = [{"a": row[:2], "b": row} for row in VALUES]
FORMS = {
    "table": TEXT.set_axis(list("pqrs"), axis=1),
    "frame of cells": pd.DataFrame({"a": CELLS}),
    "container": MultimodalData.from_records(RECORDS)[:],
    "container with an index": MultimodalData.from_views([VALUES]),
    "dict of pandas objects": {"a": TEXT, "b": CELLS},
    "Series of dicts": pd.Series(RECORDS, index=NAMES),
    "records": RECORDS,
    "tuple of records": tuple(RECORDS),
}
FORMS["container with an index"].index = NAMES


@pytest.mark.parametrize("X", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("make", [umc, PooledFeatures])
def test_pandas_output_has_the_index_of_any_form_of_X(make, X):
    has_index = not (X is RECORDS or isinstance(X, tuple) or X is FORMS["container"])
    expected = NAMES if has_index else list(range(6))
    estimator = make().set_output(transform="pandas")
    assert estimator.fit_transform(X).index.tolist() == expected
    out = estimator.transform(X)
    assert out.index.tolist() == expected
    plain = estimator.set_output(transform="default").transform(X)
    assert isinstance(plain, np.ndarray)
    assert_array_equal(out.to_numpy(), plain)


def test_pipeline_of_transformers_keeps_the_index():
    frame = pd.DataFrame({"audio": CELLS, "unused": 1.0})
    pipeline = make_pipeline(MultimodalFeatures(audio="passthrough"), PooledFeatures())
    out = pipeline.set_output(transform="pandas").fit_transform(shuffled(frame))
    assert out.index.tolist() == shuffled(frame).index.tolist()


@pytest.mark.parametrize("score", [clustering_scores, clustering_accuracy])
def test_labels_with_different_indexes_are_refused(score):
    truth = pd.Series([0, 0, 1, 1, 2, 2], index=NAMES)
    found = pd.Series(list("aabbcc"), index=NAMES)
    by_position = score(truth.to_numpy(), found.to_numpy())
    with pytest.raises(ValueError, match=r"different indexes.*y_pred.loc\[y_true.index\]"):
        score(truth, shuffled(found))
    assert score(truth, found.to_numpy()) == score(truth, found) == by_position
