"""Shortcuts of the method's encoder, and attention over fewer positions."""

import numpy as np
import pytest
import torch

from data_makers import statistics_of
from skumc import UMCClusterer
from skumc._batches import to_batch
from skumc._sequences import Sequences
from skumc.datasets import make_multimodal_blobs
from skumc.encoders import UMCEncoder, encode_summaries, hide_modalities
from skumc.training._embedding import calibrate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def X():
    shares = {"audio": 0.3, "text": 0.2}
    return make_multimodal_blobs(60, 3, lengths=(1, 12), missing=shares, random_state=0)[0]


def network_for(X, **parameters):
    torch.default_generator.manual_seed(0)
    network = UMCEncoder(hidden_width=8, n_heads=2, **parameters).build(statistics_of(X), "text")
    calibrate(network, X, CPU)
    with torch.no_grad():
        network.fusion.weight.normal_()
    return network.eval()


def close(first, second):
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


def test_views_are_what_hiding_modalities_gives(X):
    network, batch = network_for(X), to_batch(X, np.arange(60))
    views = [X.names, ("text",), ("audio", "video"), ("text", "video")]
    with torch.no_grad():
        for view, found in zip(views, network.forward_views(batch, views), strict=True):
            expected = network(hide_modalities(batch, view))
            close(found.embedding, expected.embedding)
            close(found.gates, expected.gates)


def test_a_sample_alone_is_encoded_as_in_a_batch(X):
    network = network_for(X, max_positions=4)
    with torch.no_grad():
        whole = network(to_batch(X, np.arange(60))).embedding
        for row in range(0, 60, 7):
            close(network(to_batch(X, np.array([row]))).embedding[0], whole[row])


def test_each_term_is_standardized_over_the_samples_that_have_the_modality(X):
    network = network_for(X)
    with torch.no_grad():
        shared = network._share(to_batch(X, np.arange(60)), [network.names])
        terms = network._terms(shared, shared.streams)
    for place, name in enumerate(X.names):
        assert len(terms[name]) == 3  # summary, frames one by one, attention
        for number, term in zip(network.sums._places[name], terms[name], strict=True):
            has = torch.from_numpy(X.present[:, place])
            standard = (term[has] - network.sums.mean[number]) / network.sums.scale[number]
            assert standard.mean(dim=0).abs().max() < 1e-4
            varies = standard.std(dim=0, correction=0)
            torch.testing.assert_close(varies, torch.ones(8), rtol=0, atol=1e-3)


def test_without_shortcuts_nothing_is_added(X):
    network = network_for(X, shortcuts=False, max_positions=None)
    assert network.paths is None and not hasattr(network, "sums")
    summaries = encode_summaries(network, to_batch(X, np.arange(60)))
    assert {name: values.shape[1] for name, values in summaries.items()} == dict(X.widths)
    network.set_prior_shares([1.0, 0.1, 1.0])
    assert network.fusion.log_prior.abs().max() == 0


def test_gates_start_at_their_prior(X):
    network = network_for(X)
    with torch.no_grad():
        network.fusion.weight.zero_()
        network.set_prior_shares([1.0, 0.1, 1.0])
        gates = network(to_batch(X, np.flatnonzero(X.present.all(axis=1)))).gates
    close(gates, torch.tensor([1.0, 0.1, 1.0]).expand(len(gates), 3) / 2.1)


def test_longer_sequences_are_averaged_to_as_many_positions_as_asked_for():
    rng = np.random.default_rng(0)
    lengths = torch.tensor([7, 0, 3, 12])
    values = torch.from_numpy(rng.normal(size=(22, 2)))
    found = Sequences.from_lengths(values, lengths).shortened(5)
    assert found.lengths.tolist() == [5, 0, 3, 5] and found.n_positions == 5
    parts, start = [], 0
    for length in lengths.tolist():
        frames = values[start : start + length]
        n_parts = min(length, 5)
        part_of = [position * n_parts // length for position in range(length)]
        for part in range(n_parts):
            parts.append(frames[[p == part for p in part_of]].mean(dim=0))
        start += length
    torch.testing.assert_close(found.values, torch.stack(parts))
    same = Sequences.from_lengths(values, lengths)
    assert same.shortened(12) is same


def test_positions_bound_the_attention_weights():
    X, _ = make_multimodal_blobs(40, 2, lengths=(20, 30), random_state=0)
    encoder = UMCEncoder(hidden_width=8, n_heads=2, max_positions=6)
    fitted = UMCClusterer(2, encoder=encoder, pretrain_epochs=1, max_epochs=1, random_state=0)
    weights = fitted.fit(X).attention_weights(X)
    for rows in weights["audio"]:
        assert rows.shape == (2, 6, 6)
        np.testing.assert_allclose(rows.sum(axis=-1), 1, atol=1e-5)


def test_zeros_for_missing_modalities_need_shortcuts_off(X):
    with pytest.raises(ValueError, match="shortcuts=False"):
        network_for(X, missing="zeros")
    network_for(X, missing="zeros", shortcuts=False)


@pytest.mark.slow
def test_attention_is_highest_at_the_frame_that_tells():
    hits = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        kind = np.arange(600) % 6
        centers, topics = 2 * rng.normal(size=(6, 24)), 2 * rng.normal(size=(6, 16))
        audio, places = [], []
        for k in kind:
            frames = rng.normal(size=(rng.integers(12, 25), 24))
            places.append(rng.integers(len(frames)))
            frames[places[-1]] += centers[k] + rng.normal(size=24)
            audio.append(frames)
        text = topics[kind] + 2.5 * rng.normal(size=(600, 16))
        fitted = UMCClusterer(6, encoder="umc", random_state=0)
        weights = fitted.fit({"text": text, "audio": audio}).attention_weights(
            {"text": text, "audio": audio}
        )["audio"]
        highest = [cell.mean(axis=(0, 1)).argmax() for cell in weights]
        hits.append(np.mean(np.equal(highest, places)))
    assert np.mean(hits) >= 0.9, hits
