"""Rows that cannot be embedded: without any modality, or with values beyond float32."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from skumc import MultimodalData, UMCClusterer
from skumc.encoders import EncoderOutput, masked_mean
from skumc.feature_extraction import MultimodalFeatures
from text_models import make_model, tokenize

SENTENCES = ["red hat", "blue sky", "good old day", "what a man"]


def umc(n_clusters=2, **parameters):
    cheap = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}
    return UMCClusterer(n_clusters, **cheap | parameters)


# rows without any modality


def test_none_is_a_row_without_any_modality():
    X = [{"a": [1.0]}, None, {"a": [3.0]}]
    assert MultimodalData.from_records(X).lengths.ravel().tolist() == [1, 0, 1]
    assert MultimodalFeatures(text="passthrough").fit_transform(
        [None, {"text": "a b"}]
    ).lengths.ravel().tolist() == [0, 1]
    for rows in (X, [[1.0, 2.0], None, [3.0, 4.0]]):
        with pytest.raises(ValueError, match="Every modality of .* is missing in row 1"):
            umc().fit(rows)


def test_a_column_of_none_does_not_change_what_a_frame_is():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(8, 3)), columns=["a", "b", "c"])
    model = umc(modalities={"left": ["a"], "right": ["b", "c"]}).fit(table)
    lacking = table.assign(a=pd.Series([None] * 8, dtype=object))
    assert_array_equal(model.transform(lacking), model.transform(table.assign(a=np.nan)))
    cells = pd.DataFrame({"a": list(rng.normal(size=(8, 2))), "b": rng.normal(size=8)})
    model = umc().fit(cells)
    expected = model.transform(MultimodalData({"b": cells["b"]}))
    for lacking in (cells[["b"]], cells.assign(a=np.nan), cells.assign(a=None)):
        assert_array_equal(model.transform(lacking), expected)


NOTHING = "label -1"


def test_rows_without_any_modality_get_the_label_minus_one():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(12, 3))
    model = umc(3).fit(table)
    batch = np.insert(table, [0, 5, 12], np.nan, axis=0)
    empty = np.isnan(batch).all(axis=1)
    labels = model.predict(batch, missing_rows=NOTHING)
    assert labels.dtype == np.int32
    assert_array_equal(labels[~empty], model.labels_)
    assert labels[empty].tolist() == [-1] * 3
    assert_array_equal(model.predict(table, missing_rows=NOTHING), model.labels_)
    assert model.predict(batch[empty], missing_rows=NOTHING).tolist() == [-1] * 3
    rows = [None if none else row.tolist() for none, row in zip(empty, batch, strict=True)]
    assert_array_equal(model.predict(rows, missing_rows=NOTHING), labels)
    for call in (model.predict, model.transform, model.score):
        with pytest.raises(ValueError, match="is missing in rows 0, 6, 14"):
            call(batch)
    with pytest.raises(ValueError, match="partly NaN in row 0"):
        model.predict([[np.nan, 1.0, 2.0]], missing_rows=NOTHING)
    with pytest.raises(ValueError, match="Got missing_rows='drop', expected one of 'label -1'"):
        model.predict(table, missing_rows="drop")


def test_empty_texts_get_the_label_minus_one():
    def without_special_tokens(texts, **settings):
        return {"input_ids": [row[1:-1] for row in tokenize(texts)["input_ids"]]}

    model = umc(text=(make_model(), without_special_tokens)).fit(SENTENCES)
    first, second = model.labels_[:2]
    for X, expected in [
        (["red hat", None, "", "blue sky"], [first, -1, -1, second]),
        ([np.nan, "red hat"], [-1, first]),
        ([np.nan], [-1]),
        ([None, None], [-1, -1]),
        (pd.Series([None, "red hat"]), [-1, first]),
        (pd.DataFrame({"text": [np.nan, np.nan]}), [-1, -1]),
        ([{"text": "red hat"}, {}, None], [first, -1, -1]),
        ({"input_ids": [[], [5]], "attention_mask": [[], [0]]}, [-1, -1]),
    ]:
        assert model.predict(X, missing_rows=NOTHING).tolist() == expected


# values beyond float32


@pytest.mark.parametrize("encoder", ["projection", "umc", "causal"])
@pytest.mark.parametrize("giant", [1e30, 1e39, 1e300])
def test_giant_values_are_named_after_fit(encoder, giant):
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=(12, 3)), "b": [rng.normal(size=(2, 2)) for _ in range(12)]}
    model = umc(encoder=encoder).fit(X)
    X["b"][7] = X["b"][7] * giant
    for call in (model.predict, model.transform, model.score, model.modality_weights):
        with pytest.raises(ValueError, match=r"Modality 'b' has values of up to .* in row 7, bey"):
            call(X)


def test_giant_values_are_named_in_fit():
    class Unscaled(torch.nn.Module):
        def forward(self, batch):
            h = masked_mean(*batch["a"]).float()
            h = torch.nn.functional.normalize(h, dim=1)
            return EncoderOutput(h, torch.ones(len(h), 1), {})

    X = np.ones((6, 2)) + np.eye(6)[:, :2]
    X[4] = 1e39
    with pytest.raises(ValueError, match=r"Modality 'a' has values of up to 1e\+39 in row 4"):
        umc(encoder=Unscaled()).fit({"a": X})
