"""Padding that a mask, lengths, NaN or a tokenizer's id marks is never read."""

from __future__ import annotations

from collections import UserDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skumc import MultimodalData, UMCClusterer
from skumc.feature_extraction import PooledFeatures, TransformerTextFeatures
from skumc.feature_extraction._speech_models import _prepared
from text_models import make_model, tokenize

RNG = np.random.default_rng(0)
SEQUENCES = [RNG.normal(size=(n, 2)) for n in (3, 0, 1, 5)]
TEXTS = ["red hat", "what a good old day", "sky"]


def pad(side, fill, sequences=SEQUENCES):
    """Pad sequences on one side; returns the array and the mask."""
    longest = max(map(len, sequences))
    array = np.full((len(sequences), longest, 2), fill)
    mask = np.zeros((len(sequences), longest), dtype=np.int64)
    for row, frames in enumerate(sequences):
        if len(frames):
            place = slice(None, len(frames)) if side == "right" else slice(-len(frames), None)
            array[row, place], mask[row, place] = frames, 1
    return array, mask


def holds(data, sequences=SEQUENCES):
    """Hold that the only modality has these sequences."""
    for found, frames in zip(data.sequences(data.names[0]), sequences, strict=True):
        assert_array_equal(np.zeros((0, 2)) if found is None else found, frames)


SIDES = pytest.mark.parametrize("side", ["left", "right"])


@SIDES
@pytest.mark.parametrize("kind", [bool, int, float])
def test_from_padded_takes_a_mask(side, kind):
    array, mask = pad(side, 1e30)
    holds(MultimodalData.from_padded(array, mask.astype(kind)))
    both = MultimodalData.from_padded(
        {"a": array, "b": array}, {"a": mask, "b": torch.tensor(mask)}
    )
    holds(both.select(["a"]))
    holds(both.select(["b"]))


@SIDES
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, np.ndarray.tolist, list])
@pytest.mark.parametrize("make", [dict, UserDict])
def test_frames_beside_their_mask_are_one_modality(side, kind, make):
    array, mask = pad(side, 7.0)
    extracted = make({"input_features": kind(array), "attention_mask": kind(mask)})
    whole = MultimodalData(extracted)
    assert whole.names == ("input_features",)
    holds(whole)
    holds(MultimodalData({"audio": extracted}))
    rows = [make({"input_features": array[i], "attention_mask": mask[i]}) for i in range(4)]
    holds(MultimodalData.from_records(rows))
    holds(MultimodalData({"audio": rows}))
    batches = [{key: np.asarray(values)[None] for key, values in row.items()} for row in rows]
    holds(MultimodalData({"audio": batches}))
    pooled = PooledFeatures(standardize=False)
    kept = {"input_features": array[[0, 2, 3]], "attention_mask": mask[[0, 2, 3]]}
    means = [SEQUENCES[row].mean(axis=0) for row in (0, 2, 3)]
    np.testing.assert_allclose(pooled.fit_transform(kept), means)
    assert pooled.modality_widths_ == {"input_features": 2}


def test_lengths_and_waveforms_in_a_dict():
    array, mask = pad("right", 7.0)
    holds(MultimodalData({"audio": {"values": array, "lengths": mask.sum(axis=1)}}))
    waves = MultimodalData({"audio": {"input_values": array[:, :, 0], "attention_mask": mask}})
    assert waves.widths == {"audio": 1}
    assert waves.lengths.ravel().tolist() == [3, 0, 1, 5]


@SIDES
def test_frames_of_nan_at_the_ends_are_padding(side):
    array, _ = pad(side, np.nan)
    masked = np.ma.masked_invalid(pad(side, np.nan)[0])
    for values in (array, list(array), masked, array.astype("f4").astype(float)):
        found = MultimodalData({"a": values})
        assert found.lengths.ravel().tolist() == [3, 0, 1, 5]
    holds(MultimodalData({"a": array}))


@given(st.lists(st.lists(st.booleans(), max_size=6), min_size=1, max_size=5))
def test_only_gaps_of_nan_are_refused(filled):
    cells = [np.where(np.array(row, bool)[:, None], 1.0, np.nan) * np.ones(2) for row in filled]
    texts = ["".join("x" if frame else " " for frame in row) for row in filled]
    gaps = [row for row, text in enumerate(texts) if " " in text.strip()]
    if gaps:
        with pytest.raises(ValueError, match=f"'a' is partly NaN in rows? {gaps[0]}"):
            MultimodalData({"a": cells})
    else:
        found = MultimodalData({"a": cells}).lengths.ravel().tolist()
        assert found == [len(text.strip()) for text in texts]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            {"a": {"input_features": np.ones((2, 4, 5)), "attention_mask": np.ones((2, 5))}},
            r"mask of shape \(2, 5\) for an array of shape \(2, 4, 5\), .*Swap axes 1 and 2",
        ),
        (
            {"a": [{"values": np.ones((3, 2)), "attention_mask": [1, 1]}]},
            r"'a', row 0: got a mask of shape \(2,\) for frames of shape \(3, 2\)",
        ),
        (
            {"a": {"values": np.ones((2, 3, 1)), "attention_mask": np.full((2, 3), -1e9)}},
            "other values than 0 and 1",
        ),
        (
            {"a": {"values": np.ones((2, 3, 1)), "attention_mask": np.ones((3, 3))}},
            "frames and mask of different sizes",
        ),
        (  # 1 may stand for frames or for padding
            {"input_values": np.ones((2, 3)), "padding_mask": np.ones((2, 3))},
            r'keys \[.*\'padding_mask\'\], expected .*"attention_mask": mask',
        ),
        (
            {"a": np.ones((2, 3)), "b": np.ones((2, 3)), "attention_mask": np.ones((2, 3))},
            r"keys \['a', 'b', 'attention_mask'\], expected frames and their mask",
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        MultimodalData(X)


# text


class Padding:
    """A tokenizer that pads by itself."""

    def __init__(self, side, with_mask, pad_token_id=0):
        self.side, self.with_mask, self.pad_token_id = side, with_mask, pad_token_id

    def __call__(self, texts, truncation=True, max_length=None):
        rows = tokenize(texts, max_length=max_length)["input_ids"]
        longest = max(map(len, rows)) + 2
        gaps = [longest - len(row) for row in rows]
        left = self.side == "left"
        ids = [[0] * gap * left + row + [0] * gap * (not left)
               for row, gap in zip(rows, gaps, strict=True)]  # fmt: skip
        mask = [[int(token > 0) for token in row] for row in ids]
        types = [[0 if token else -1 for token in row] for row in ids]
        encoded = {"input_ids": np.array(ids)}
        if self.with_mask:
            encoded |= {"attention_mask": torch.tensor(mask), "token_type_ids": types}
        return encoded


@SIDES
@pytest.mark.parametrize("with_mask", [True, False])
def test_a_tokenizer_that_pads_gives_the_states_without_padding(side, with_mask):
    model = make_model()
    expected = TransformerTextFeatures((model, tokenize)).fit_transform(TEXTS)
    padded = Padding(side, with_mask)
    for X in (TEXTS, padded(TEXTS)):
        found = TransformerTextFeatures((model, padded)).fit_transform(X)
        assert_array_equal(found.lengths, expected.lengths)
        for one, other in zip(found.sequences("text"), expected.sequences("text"), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    settings = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0}
    plain = UMCClusterer(2, text=(model, tokenize), **settings).fit(TEXTS)
    found = UMCClusterer(2, text=(model, padded), **settings).fit(TEXTS)
    np.testing.assert_allclose(found.embedding_, plain.embedding_, atol=1e-5)


def test_an_end_token_that_is_also_the_padding_token_stays():
    padded = Padding("right", with_mask=False)
    padded.eos_token_id = 0
    found = TransformerTextFeatures((make_model(), padded)).fit_transform(TEXTS)
    assert set(found.lengths.ravel().tolist()) == {9}


def test_what_a_mask_hides_may_have_any_value():
    hidden = MultimodalData(
        {
            "input_ids": [[-100, 5, 6], [7, 8, 9]],
            "token_type_ids": [[-1, 0, 1], [0, 0, 0]],
            "attention_mask": [[0, 1, 1], [1, 1, 1]],
        }
    )
    assert hidden[0]["text"]["input_ids"].tolist() == [5, 6]
    assert hidden[0]["text"]["token_type_ids"].tolist() == [0, 1]


def test_a_feature_extractor_that_pads_gives_the_waveform_without_padding():
    class Extractor:
        sampling_rate = 16_000

        def __call__(self, wave, sampling_rate):
            values = np.concatenate([np.full(3, 9.0), wave, np.full(5, 9.0)])
            mask = np.concatenate([np.zeros(3), np.ones(len(wave)), np.zeros(5)])
            return {"input_values": [values], "attention_mask": [mask]}

    waves = [np.arange(4.0), np.arange(6.0)]
    found = [_prepared(Extractor(), wave, min_samples=5).tolist() for wave in waves]
    assert found == [[0, 1, 2, 3, 0], [0, 1, 2, 3, 4, 5]]
