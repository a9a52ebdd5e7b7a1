"""Containers one after another, rows without any modality, and tables of weights."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skumc import MultimodalData, UMCClusterer
from skumc.feature_extraction import MultimodalFeatures, WavLMFeatures


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    audio = [None, None, *(rng.normal(size=(3, 2)) for _ in range(18))]
    X = MultimodalData({"text": rng.normal(size=(20, 3)), "audio": audio})
    return UMCClusterer(2, pretrain_epochs=1, max_epochs=1, random_state=0).fit(X), X


def cells(n_samples, seed):
    rng = np.random.default_rng(seed)
    frames = [rng.normal(size=(n, 2)) if n else None for n in rng.integers(0, 3, n_samples)]
    tokens = [
        {"input_ids": rng.integers(1, 9, n), "token_type_ids": np.zeros(n, int)} if n else None
        for n in rng.integers(0, 3, n_samples)
    ]
    words = [word or None for word in rng.choice(["", "good day"], n_samples)]
    return {"frames": frames, "tokens": tokens, "text": words}


def assert_equal_cells(found, expected):
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, values in expected.items():
            assert_equal_cells(found[key], values)
    elif isinstance(expected, np.ndarray):
        assert_array_equal(found, expected)
    else:
        assert found == expected


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=3),
    st.sampled_from([("frames", "text"), ("tokens",), ("text", "tokens", "frames")]),
    st.booleans(),
)
def test_concat_keeps_every_cell(parts, last_names, is_view):
    containers = [MultimodalData(cells(*part)) for part in parts]
    containers[-1] = containers[-1].select(last_names)
    if is_view:
        containers[0] = containers[0][::-1]
    joined = MultimodalData.concat(iter(containers))
    names = dict.fromkeys(name for part in containers for name in part.names)
    expected = [{name: row.get(name) for name in names} for part in containers for row in part]
    assert joined.names == tuple(names) and len(joined) == len(expected)
    for found, row in zip(joined, expected, strict=True):
        assert_equal_cells(found, row)


def test_concat_joins_indexes_and_refuses_what_does_not_fit():
    one = MultimodalData({"a": np.eye(2)}, index=pd.Index(["x", "y"], name="id"))
    two = MultimodalData({"a": np.eye(2)}, index=pd.Index(["z", "w"], name="id"))
    joined = MultimodalData.concat([one, two])
    assert joined.index.tolist() == ["x", "y", "z", "w"] and joined.index.name == "id"
    listed = MultimodalData({"a": np.eye(2)}, index=["z", "w"])
    assert list(MultimodalData.concat([one, listed]).index) == ["x", "y", "z", "w"]
    for others, message in [
        ([MultimodalData({"a": np.eye(3)})], "'a' differs .*width 2, frames of width 3.*select"),
        ([MultimodalData({"a": ["b", "c"]})], "'a' differs .*frames of width 2, sentences"),
        ([MultimodalData({"a": np.eye(2)})], "Container 1 has no index, but others have one"),
        ([np.eye(2)], "expected a list of at least one MultimodalData"),
    ]:
        with pytest.raises(ValueError, match=message):
            MultimodalData.concat([one, *others])
    with pytest.raises(ValueError, match="expected a list of at least one MultimodalData"):
        MultimodalData.concat([])


@pytest.mark.parametrize("method", ["transform", "modality_weights"])
def test_rows_without_any_modality_are_nan_where_asked(fitted, method):
    clusterer, X = fitted
    empty = MultimodalData({"text": [None], "audio": [None]})
    batch = MultimodalData.concat([X[:2], empty, X[2:4]])
    compute = getattr(clusterer, method)
    found = compute(batch, missing_rows="nan")
    rows = [0, 1, 3, 4]
    assert_array_equal(np.isnan(found).all(axis=1), [False, False, True, False, False])
    np.testing.assert_allclose(found[rows], compute(X[:4]), atol=1e-6)
    assert np.isnan(compute(empty, missing_rows="nan")).all()
    assert compute(empty, missing_rows="nan").shape == (1, found.shape[1])
    with pytest.raises(ValueError, match="is missing in row 2"):
        compute(batch)
    with pytest.raises(ValueError, match="missing_rows='label -1', expected one of 'nan', 'raise'"):
        compute(batch, missing_rows="label -1")


def test_weights_have_the_names_and_the_index_of_the_samples(fitted):
    clusterer, X = fitted
    plain = clusterer.modality_weights(X[:3])
    named = MultimodalData({name: X[:3].packed(name) for name in X.names}, index=["x", "y", "z"])
    try:
        table = clusterer.set_output(transform="pandas").modality_weights(named)
        assert list(table.columns) == ["text", "audio"] and table.index.tolist() == ["x", "y", "z"]
        assert_array_equal(table.to_numpy(), plain)
        polars = clusterer.set_output(transform="polars").modality_weights(named)
        assert polars.columns == ["text", "audio"]
        assert_array_equal(polars.to_numpy(), plain)
    finally:
        clusterer.set_output(transform="default")


def test_html_describes_every_parameter_and_fitted_attribute(fitted):
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 shows descriptions")
    from sklearn.utils._repr_html.common import get_docstring

    clusterer, _ = fitted
    page = clusterer._repr_html_()
    attributes = [n for n in vars(clusterer) if n.endswith("_") and not n.startswith("_")]
    described = {"Parameters": list(clusterer.get_params(deep=False)), "Attributes": attributes}
    for section, names in described.items():
        for name in set(names) - {"feature_names_in_"}:
            assert get_docstring(UMCClusterer, section, name), name
            assert f"anchor-name: --doc-link-{name};" in page, name
    assert "../generated/skumc.UMCClusterer.html" in page
    link = MultimodalFeatures(text="text")._get_doc_link()
    assert link == "../generated/skumc.feature_extraction.MultimodalFeatures.html"
    assert "skumc.feature_extraction.WavLMFeatures" in WavLMFeatures()._get_doc_link()


def test_without_callbacks_of_scikit_learn_fit_has_no_tasks(monkeypatch, fitted):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)  # as before scikit-learn 1.9
    spec = importlib.util.find_spec("skumc._fit_tasks")
    older = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(older)
    assert not older.HAS_CALLBACKS
    assert not hasattr(older.CallbackSupportMixin, "set_callbacks")

    def fit(self):
        return self

    assert older.with_callbacks(fit) is fit
    with older.fit_tasks(fitted[0], fitted[1], None) as tasks:
        assert tasks == []
