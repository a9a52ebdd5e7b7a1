"""Frames one by one: what the default encoder adds to summaries."""

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from data_makers import statistics_of
from skumc import MultimodalData, UMCClusterer
from skumc._batches import to_batch
from skumc.datasets import make_multimodal_blobs
from skumc.encoders import DualProjection, FrameStatistics, ProjectionEncoder, masked_mean
from skumc.encoders._frame_path import FramePath, sampled_frames
from skumc.encoders._standardized_sums import StandardizedSums, SumsCalibration
from skumc.training._embedding import calibrate

CPU = torch.device("cpu")


def network_for(X, **parameters):
    torch.default_generator.manual_seed(0)
    network = ProjectionEncoder(hidden_width=16, **parameters).build(statistics_of(X), X.names[0])
    calibrate(network, X, CPU)
    return network.eval()


def needles(n_samples=600, n_modalities=1, longest=24, random_state=0):
    """A noisy vector, and sequences in which one frame tells the cluster."""
    names = ("audio", "video")[:n_modalities]
    return make_multimodal_blobs(
        n_samples,
        6,
        modalities={"text": 16, **dict.fromkeys(names, 24)},
        lengths={"text": 1, **dict.fromkeys(names, (longest // 2, longest))},
        n_informative_frames=dict.fromkeys(names, 1),
        noise={"text": 2.5},
        random_state=random_state,
    )


def test_mean_of_dual_projection_is_the_mean_of_its_frames():
    torch.default_generator.manual_seed(0)
    dual = DualProjection(8, dropout=0.0)
    frames, lengths = torch.randn(9, 8), torch.tensor([4, 0, 1, 4])
    found = dual.mean(frames, lengths)
    torch.testing.assert_close(found, masked_mean(dual(frames), lengths), rtol=0, atol=1e-6)
    assert found[1].abs().max() == 0


def test_frame_path_averages_frames_that_were_encoded_alone():
    torch.default_generator.manual_seed(0)
    path = FramePath(FrameStatistics(np.ones(3), np.full(3, 2.0)), 8, 0.0, torch.zeros(8))
    frames = torch.randn(5, 3)
    alone = path(frames, torch.ones(5, dtype=torch.int64))
    found = path(frames, torch.tensor([2, 3]))
    expected = torch.stack([alone[:2].mean(dim=0), alone[2:].mean(dim=0)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_frames_are_sampled_from_equal_parts_of_longer_sequences():
    torch.default_generator.manual_seed(0)
    lengths = torch.tensor([10, 3, 4, 9])
    frames = torch.cat([100 * row + torch.arange(n) for row, n in enumerate(lengths)]).unsqueeze(1)
    counts = torch.zeros(400)
    for _ in range(2000):
        found, kept = sampled_frames(frames, lengths, 4)
        assert kept.tolist() == [4, 3, 4, 4]
        rows = found.squeeze(1).split(kept.tolist())
        assert rows[1].tolist() == [100, 101, 102]
        assert rows[2].tolist() == [200, 201, 202, 203]
        for row, length in ((0, 10), (3, 9)):
            part = (rows[row] - 100 * row) * 4 / length  # the part starts within a frame at most
            assert torch.all(part.floor() <= torch.arange(4))
            assert torch.all(part + 4 / length > torch.arange(4))
        counts += torch.bincount(found.squeeze(1), minlength=400)
    # each frame of a sequence is equally likely, so that the mean over draws is that of all frames
    for row, length in ((0, 10), (3, 9)):
        share = counts[100 * row : 100 * row + length] / 2000
        torch.testing.assert_close(share, torch.full((length,), 4 / length), rtol=0.15, atol=0)


def test_frames_are_sampled_in_training_only():
    torch.default_generator.manual_seed(0)
    path = FramePath(FrameStatistics(np.zeros(3), np.ones(3)), 8, 0.0, torch.zeros(8))
    frames, lengths = torch.randn(70, 3), torch.tensor([40, 30])
    first, second = path(frames, lengths), path(frames, lengths)
    assert (first[0] - second[0]).abs().max() > 1e-3
    torch.testing.assert_close(first[1], second[1], rtol=0, atol=1e-6)  # 30 frames are all read
    path.eval()
    assert torch.equal(path(frames, lengths), path(frames, lengths))


def test_sums_standardize_each_vector_over_samples():
    rng = np.random.default_rng(0)
    first, second = rng.normal(5, 3, (50, 4)), rng.normal(-2, 0.1, (50, 4))
    sums = StandardizedSums({"other": [1.0], "audio": [1.0, 0.5]}, 4)
    calibration = SumsCalibration(sums)
    for rows in np.array_split(np.arange(50), 3):
        calibration.add("audio", [torch.from_numpy(first[rows]), torch.from_numpy(second[rows])])
    calibration.finish()
    expected = sum(
        weight * (v - v.mean(axis=0)) / v.std(axis=0) for weight, v in ((1, first), (0.5, second))
    )
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = sums("audio", [torch.from_numpy(first), torch.from_numpy(second)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    # one vector alone only gets unit norm
    alone = sums("other", [torch.from_numpy(first)])
    np.testing.assert_allclose(
        alone, first / np.linalg.norm(first, axis=1, keepdims=True), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("width", "longest", "expected"), [(256, 9, True), (257, 9, False), (4, 1, False)]
)
def test_only_sequences_of_raw_frames_have_a_frame_path(width, longest, expected):
    statistics = {"x": FrameStatistics(np.zeros(width), np.ones(width), None, longest)}
    for frame_path in (True, False):
        encoder = ProjectionEncoder(hidden_width=8, frame_path=frame_path)
        network = encoder.build(statistics, "x")
        assert bool(network.paths.frame_paths) == (expected and frame_path)


def test_vectors_do_not_depend_on_the_switch():
    X = np.random.default_rng(0).normal(size=(60, 6))
    found = [
        UMCClusterer(
            3,
            encoder=ProjectionEncoder(frame_path=frame_path),
            pretrain_epochs=1,
            max_epochs=1,
            random_state=0,
        ).fit_transform(X)
        for frame_path in (True, False)
    ]
    np.testing.assert_array_equal(*found)


def test_a_sample_alone_is_encoded_as_in_a_batch():
    X, _ = make_multimodal_blobs(40, 3, missing={"audio": 0.3}, random_state=0)
    network = network_for(X)
    assert len(network.paths.frame_paths) == 3
    with torch.no_grad():
        whole = network(to_batch(X, np.arange(40))).embedding
        for row in (0, 17, 39):
            alone = network(to_batch(X, np.array([row]))).embedding
            torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-5)


def test_terms_have_mean_zero_and_deviation_one_over_the_training_samples():
    X, _ = make_multimodal_blobs(80, 3, missing={"audio": 0.3}, random_state=0)
    network = network_for(X)
    for place, name in enumerate(X.names):
        rows = np.flatnonzero(X.present[:, place])
        with torch.no_grad():
            terms = network.paths(name, *to_batch(X, rows)[name])
        for number, term in zip(network.sums._places[name], terms, strict=True):
            standard = (term - network.sums.mean[number]) / network.sums.scale[number]
            assert standard.mean(dim=0).abs().max() < 1e-4
            torch.testing.assert_close(
                standard.std(dim=0, correction=0), torch.ones(16), rtol=0, atol=1e-3
            )


def test_frames_that_only_some_tell_are_noise_elsewhere():
    X, y = needles(300, longest=20)
    audio = [X.packed("audio")[row] for row in range(300)]
    # one frame of each sequence is far from 0, the others are standard normal
    norms = [np.sort(np.linalg.norm(frames, axis=1)) for frames in audio]
    assert np.mean([ordered[-1] for ordered in norms]) > 1.4 * np.mean(
        [ordered[-2] for ordered in norms]
    )
    all_frames, _ = make_multimodal_blobs(300, 6, n_informative_frames=99, random_state=0)
    as_ever, _ = make_multimodal_blobs(300, 6, random_state=0)
    for name in as_ever.names:  # more than there are is all of them
        assert all_frames.packed(name).values.std() == pytest.approx(
            as_ever.packed(name).values.std(), rel=0.1
        )


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, {"smell": 1}, {"audio": 0}])
def test_numbers_of_informative_frames_are_checked(bad):
    with pytest.raises(ValueError, match="n_informative_frames"):
        make_multimodal_blobs(30, 3, n_informative_frames=bad)


def score(X, y, **parameters):
    labels = UMCClusterer(6, random_state=0, **parameters).fit_predict(X)
    return normalized_mutual_info_score(y, labels)


@pytest.mark.slow
@pytest.mark.parametrize(("n_modalities", "least"), [(1, 0.85), (2, 0.95)])
def test_one_frame_of_a_sequence_is_enough(n_modalities, least):
    X, y = needles(n_modalities=n_modalities)
    with_path, without = score(X, y), score(X, y, encoder=ProjectionEncoder(frame_path=False))
    assert with_path > least and with_path > without + 0.02, (with_path, without)


@pytest.mark.slow
def test_one_frame_of_500_does_not_harm_a_noisy_vector():
    X, y = needles(300, longest=500)
    together, alone = score(X, y), score(X.select(["text"]), y)
    assert together > 0.75 and together > alone - 0.03, (together, alone)


@pytest.mark.slow
def test_frame_after_a_marked_one():
    # the order within a pair of frames says which of two is the sample's; no path reads pairs
    rng = np.random.default_rng(0)
    y = np.arange(600) % 6
    centers, mark = 2 * rng.normal(size=(6, 24)), 3 * rng.normal(size=24)
    audio = []
    for label in y:
        frames = rng.normal(size=(rng.integers(12, 25), 24))
        marked, other = 2 * rng.permutation(len(frames) // 2)[:2]
        frames[marked] += mark
        frames[marked + 1] += centers[label]
        frames[other + 1] += centers[rng.integers(6)]
        audio.append(frames)
    text = 2 * rng.normal(size=(6, 16))[y] + 2.5 * rng.normal(size=(600, 16))
    X = MultimodalData({"text": text, "audio": audio})
    together, alone = score(X, y), score(X.select(["text"]), y)
    assert together > 0.8 and together > alone, (together, alone)


@pytest.mark.slow
def test_more_samples_do_not_cost_trust():
    every, y = needles(1600)
    scores = []
    for n_samples in range(600, 1601, 100):
        clusterer = UMCClusterer(6, random_state=0)
        labels = clusterer.fit_predict(every[:n_samples])
        scores.append(100 * normalized_mutual_info_score(y[:n_samples], labels))
        assert all(clusterer.trusted_modalities_.values())
    assert min(np.diff(scores)) > -5, scores  # a modality that loses trust costs more
