"""What X is read as: token ids, text, numbers, labels, and rows without any modality."""

from __future__ import annotations

import datetime
import pickle
import warnings
from collections import UserDict
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from skumc import MultimodalData, UMCClusterer
from skumc.data._labels_as_text import name_labels
from skumc.data._text import Strings
from skumc.feature_extraction import PooledFeatures, TransformerTextFeatures
from skumc.text import TextBackbone
from text_models import make_model, pair, tokenize

IDS = [[2, 7, 9, 3, 0], [2, 8, 3, 0, 0], [2, 5, 6, 7, 3], [2, 4, 3, 0, 0]]
MASK = [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
SENTENCES = ["red hat", "blue sky", "good old day", "what a man"]


def umc(n_clusters=2, **parameters):
    cheap = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}
    return UMCClusterer(n_clusters, **cheap | parameters)


# token ids

EXTRA = {
    "special_tokens_mask": [[1, 0, 0, 1, 1]] * 4,
    "offset_mapping": [[(0, 0), (0, 3), (3, 6), (0, 0), (0, 0)]] * 4,
    "length": [5] * 4,
    "overflow_to_sample_mapping": [0, 1, 2, 3],
    "num_truncated_tokens": [-1] * 4,
    "position_ids": [[0, 1, 2, 3, 4]] * 4,
}


@pytest.mark.parametrize("extra", [*EXTRA, None])
@pytest.mark.parametrize("kind", [dict, UserDict])
def test_result_of_a_tokenizer_is_text_with_any_of_its_keys(extra, kind):
    X = kind({"input_ids": IDS, "attention_mask": MASK} | ({extra: EXTRA[extra]} if extra else {}))
    for data in (MultimodalData(X), MultimodalData({"text": X})):
        assert data.widths == {"text": None}
        assert data.lengths.ravel().tolist() == [4, 3, 5, 3]
    model = umc(text=pair()).fit(X)
    assert model.modality_widths_ == {"text": None}
    assert_array_equal(model.predict(X), model.labels_)
    records = [{key: values[row] for key, values in X.items()} for row in range(4)]
    for rows in (records, [kind(record) for record in records], pd.DataFrame(records)):
        assert_array_equal(umc(text=pair()).fit(rows).embedding_, model.embedding_)


def test_a_row_of_none_does_not_change_what_a_list_of_token_ids_is():
    rows = [{"input_ids": ids, "length": len(ids)} for ids in IDS]
    model = umc(text=pair()).fit(rows)
    for found in ([None, *rows], [*rows, None], [{}, *rows], [np.nan, *rows]):
        labels = model.predict(found, missing_rows="label -1")
        assert sorted(labels.tolist()) == sorted([-1, *model.labels_.tolist()])


def test_pieces_of_long_texts_are_no_samples():
    X = {"input_ids": IDS, "overflow_to_sample_mapping": [0, 0, 1, 2]}
    with pytest.raises(ValueError, match="pieces of one text .*without return_overflowing_tokens"):
        MultimodalData(X)


@pytest.mark.parametrize("axes", [1, 2])
def test_tensors_of_one_text_have_a_leading_axis_or_none(axes):
    cells = [{"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
             for ids, mask in zip(IDS, MASK, strict=True)]  # fmt: skip
    if axes == 2:
        cells = [{key: values[None] for key, values in cell.items()} for cell in cells]
    data = MultimodalData({"text": cells})
    assert data.lengths.ravel().tolist() == [4, 3, 5, 3]
    assert data[1]["text"]["input_ids"].tolist() == [2, 8, 3]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ({"input_ids": [2, 5, 3]}, "token ids of one text, expected one list of ids per sample"),
        (
            {"input_ids": IDS, "pixel_values": np.ones((4, 2))},
            "together with 'pixel_values'",
        ),
        ({"input_ids": [[2, -5, 3]]}, "'text', row 0: got a negative token id, -5. Hide padding"),
        (
            {"input_ids": [[2, 5]], "token_type_ids": [[0, -1]]},
            "'text', row 0: got a negative token type, -1",
        ),
        (
            {"input_ids": [[2, 5]], "attention_mask": [[0.0, -1e9]]},
            "mask of type float64 with other values than 0 and 1",
        ),
    ],
)
def test_token_ids_that_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        MultimodalData(X)


def test_a_text_model_without_text_is_an_error():
    numbers = np.arange(8.0).reshape(4, 2)
    for X in (numbers, {"text": numbers}, pd.DataFrame(numbers), {"a": numbers, "b": [None] * 4}):
        with pytest.raises(ValueError, match="Got a text model .*no modality of X holds text"):
            umc(text=pair()).fit(X)
    assert umc().fit(numbers).labels_.shape == (4,)


# labels as text


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["calls/1.wav", "calls/2.WAV", "my call 3.mp3"], "file paths"),
        (["/data/a", "data/b"], "file paths"),
        (["C:\\clips\\a", "C:\\clips\\b"], "file paths"),
        (["https://site.org/a", "s3://bucket/b"], "file paths"),
        (["T-1001", "T-1002", "T-1003"], "identifiers"),
        (["123e4567-e89b-12d3-a456-426614174000"] * 2, "identifiers"),
        (["12", "15.5", None, ""], "identifiers"),
        (["a.b@site.org", "c@mail.co.uk"], "identifiers"),
        (["web", "phone"] * 10, "categories"),
        (["good morning", "too dear"] * 10, None),
        (["Go to example.com", "I like node.js", "see a.wav"], None),
        (["hello", "thanks", "bye"], None),
        (["你好", "谢谢"] * 10, None),  # sentences without spaces
        ([None, ""], None),
    ],
)
def test_labels_are_told_from_sentences(cells, kind):
    assert name_labels(Strings(cells)) == kind


def test_fit_warns_of_a_column_of_labels_by_name():
    frame = pd.DataFrame(
        {
            "text": [*SENTENCES * 3],
            "audio": [f"calls/{i}.wav" for i in range(12)],
            "channel": pd.Categorical(["by web", "by phone"] * 6),
        }
    )
    for column, kind in [("audio", "file paths"), ("channel", "categories")]:
        X = frame[["text", column]]
        for form in (X, X.to_dict("list") | {column: X[column]}, MultimodalData.from_frame(X)[:]):
            with pytest.warns(UserWarning, match=f"Modality '{column}' looks like {kind}, not sen"):
                umc(text=pair()).fit(form)
    X = frame["channel"]
    for form in (X, X.array, pickle.loads(pickle.dumps(MultimodalData({"text": X})))):
        with pytest.warns(UserWarning, match="Modality 'text' looks like categories"):
            umc(text=pair()).fit(form)
    with pytest.warns(UserWarning, match="'text' looks like file paths.*MultimodalFeatures"):
        TransformerTextFeatures(pair()).fit_transform(frame["audio"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = umc(text=pair(), modalities=["text"]).fit(frame)
        model.predict(frame)


# numbers and what is none

DAYS = pd.date_range("2025-01-01", periods=4)
NO_NUMBERS = {
    "dates": DAYS.to_numpy(),
    "durations": np.arange(4).astype("m8[s]"),
    "complex": np.arange(4) * 1j,
    "Timestamp": pd.Series(DAYS),
    "date": [datetime.date(2025, 1, day) for day in (1, 2, 3, 4)],
    "timedelta64 objects": pd.Series([np.timedelta64(i, "s") for i in range(4)], dtype=object),
    "period": pd.Series(pd.period_range("2025", periods=4, freq="D")),
    "records": np.zeros(4, dtype=[("a", "f8"), ("b", "f8")]),
    "bytes": [b"a", b"b", b"c", b"d"],
    "buffer of bytes": [bytearray(b"ab")] * 4,
    "digits after numbers": [1.0, 2.0, "3", 4.0],
}


@pytest.mark.parametrize("values", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_values_that_are_no_numbers_are_refused_by_name(values):
    for make in (umc, PooledFeatures):
        with pytest.raises(ValueError, match="Modality 'a'"):
            make().fit({"a": values, "b": np.eye(4)})
        with pytest.raises(ValueError, match=r"Modality 'a'|Column 'a'"):
            make().fit(pd.DataFrame({"a": pd.Series(list(values)), "b": [1.0, 2.0, 3.0, 4.0]}))
        column = np.array([[value] for value in list(values)] + [[None]], dtype=object)[:4]
        with pytest.raises((TypeError, ValueError), match="X (holds|is of type)|Complex data"):
            make().fit(column)


@pytest.mark.parametrize("cells", [[1.0, "b", 2.0], ["b", 1.0, 2.0], [None, 1.0, "b"]])
@pytest.mark.parametrize("make", [umc, PooledFeatures])
def test_a_column_of_numbers_and_text_is_refused_in_any_order(make, cells):
    frame = pd.DataFrame({"n": [1.0, 2.0, 3.0], "k": pd.Series(cells, dtype=object)})
    with pytest.raises(ValueError, match="Modality 'k' holds numbers in some rows and text in oth"):
        make().fit(frame)


@pytest.mark.parametrize("X", [{1, 2, 3}, [{1, 2}, {3, 4}], {"a": 1}.keys(), object()])
def test_objects_that_are_not_arrays_are_refused(X):
    with pytest.raises(TypeError, match="X holds .*must be a string or a real number, not"):
        PooledFeatures().fit(X)
    with pytest.raises(ValueError, match="Modality 'a'"):
        MultimodalData({"a": X if isinstance(X, list) else [X]})


@pytest.mark.parametrize("kind", ["M8[s]", "m8[ms]", "M8[ns]"])
@pytest.mark.parametrize("make", [umc, PooledFeatures])
def test_a_table_of_times_is_refused(make, kind):
    with pytest.raises(ValueError, match=r"X is of type (datetime|timedelta)64.*expected real"):
        make().fit(np.arange(8).reshape(4, 2).astype(kind))


@pytest.mark.parametrize("make", [Decimal, Fraction, np.float16, np.int8, bool, np.bool_])
def test_every_kind_of_real_number_is_a_number(make):
    values = [make(value) for value in (0, 1, 1, 0)]
    expected = np.array([[0.0], [1.0], [1.0], [0.0]])
    pooled = PooledFeatures(standardize=False)
    for X in (
        [[value] for value in values],
        np.array([[value] for value in values], dtype=object),
        pd.DataFrame({"a": pd.Series(values, dtype=object)}),
        {"a": values},
        {"a": [[value] for value in values]},
    ):
        assert_array_equal(pooled.fit_transform(X), expected)


def test_columns_that_modalities_leaves_out_are_not_read():
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame(rng.normal(size=(8, 3)), columns=["a", "b", "c"])
    when = pd.date_range("2025-01-01", periods=8)
    blocks = {"left": ["a"], "right": ["b", "c"]}
    model = umc(modalities=blocks).fit(numbers)
    mixed = numbers.assign(when=when, id=[f"T-{i}" for i in range(8)])
    assert_array_equal(umc(modalities=blocks).fit(mixed).embedding_, model.embedding_)
    cells = {"a": list(rng.normal(size=(8, 2))), "b": list(rng.normal(size=(8, 1)))}
    expected = umc().fit(cells).embedding_
    rows = [dict(zip([*cells, "when"], row, strict=True)) for row in zip(*cells.values(), when)]  # noqa: B905
    for X in (cells | {"when": when}, pd.DataFrame(cells | {"when": when}), rows):
        assert_array_equal(umc(modalities=["a", "b"]).fit(X).embedding_, expected)
    with pytest.raises(ValueError, match="Column 'when' holds Timestamp in row 0, expected real"):
        umc(modalities={"left": ["a", "when"]}).fit(mixed)


# one dimension


def as_every_kind(values):
    """Yield the same values as list, tuple, arrays, Series and tensor."""
    yield from (values, tuple(values), np.array(values), np.array(values, dtype=object))
    yield from (pd.Series(values), pd.Series(values, dtype=object), torch.tensor(values))


def test_one_dimension_is_read_alike_or_refused_alike():
    table = np.arange(8.0).reshape(4, 2)
    fitted = PooledFeatures().fit(table), umc().fit(table)
    for X in as_every_kind([1.0, 2.0, 4.0]):
        for call in (PooledFeatures().fit, umc().fit, fitted[0].transform, fitted[1].predict):
            with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
                call(X)
        data = MultimodalData({"a": X})
        assert [cell.tolist() for cell in data.sequences("a")] == [[[1.0]], [[2.0]], [[4.0]]]
    vectors = [np.array([1.0, 2.0]), np.array([3.0, 4.0])]
    objects = np.empty(2, dtype=object)
    objects[:] = vectors
    for X in (vectors, tuple(vectors), objects, pd.Series(vectors), np.array(vectors)):
        assert_array_equal(PooledFeatures(standardize=False).fit_transform(X), vectors)
    records = [{"a": vector} for vector in vectors]
    for X in (records, tuple(records), np.array(records), pd.Series(records)):
        assert PooledFeatures().fit(X).modality_widths_ == {"a": 2}


# types of tokens


def test_negative_token_types_of_a_tokenizer_are_named():
    def negative(texts, **settings):
        encoded = tokenize(texts)
        return encoded | {"token_type_ids": [[-1] * len(ids) for ids in encoded["input_ids"]]}

    backbone = TextBackbone((make_model(), negative))
    with pytest.raises(ValueError, match="row 0: got a negative token type, -1"):
        backbone.frames(Strings(SENTENCES), torch.device("cpu"))
