"""Scores without labels, compared with plain loops; candidates, the rule and the search."""

import inspect
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import DBSCAN, KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import adjusted_mutual_info_score, silhouette_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    ParameterGrid,
    RandomizedSearchCV,
    ShuffleSplit,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_makers import make_sequences
from skumc import MultimodalData, UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.encoders import FrameStatistics
from skumc.encoders._frame_path import FramePath
from skumc.feature_extraction import PooledFeatures
from skumc.model_selection import (
    UnsupervisedSearchCV,
    candidate_parameters,
    embedding_silhouette_score,
    modality_agreement_score,
    neighborhood_modularity_score,
    select_candidate,
)
from skumc.text import TextModel
from text_models import pair

SMALL = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
UNTRAINED = {"pretrain_epochs": [0], "max_epochs": [0]}
TABLE = {"text": range(0, 4), "audio": range(4, 6)}


def umc(n_clusters=3, **parameters):
    return UMCClusterer(n_clusters).set_params(**(SMALL | parameters))


class Labels(BaseEstimator):
    """Predicts given labels."""

    def __init__(self, labels=None):
        self.labels = labels

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        return self.labels


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(
        140, 3, modalities={"text": 6, "audio": 4}, center_scale=2, lengths=(1, 5), random_state=0
    )


@pytest.fixture(scope="module")
def gappy():
    return make_sequences(160, 3, missing=True)


# ---------------------------------------------------------------------------------------------
# Slow oracles
# ---------------------------------------------------------------------------------------------


def segments_by_loop(frames, n_segments):
    """Mean of each segment, a frame on a boundary in proportion."""
    length, means = len(frames), []
    for s in range(n_segments):
        begin, end = s * length / n_segments, (s + 1) * length / n_segments
        total = sum(
            max(0.0, min(end, place + 1) - max(begin, place)) * frame
            for place, frame in enumerate(frames)
        )
        means.append(total / (end - begin))
    return np.concatenate(means)


def mean_and_scale(rows):
    scale = rows.std(axis=0)
    return rows.mean(axis=0), np.where(scale > 1e-6, scale, 1.0)


def deviations_by_loop(frames):
    """Standardized logarithms of deviations; 0 for single frames."""
    known = np.array([np.log(cell.std(axis=0) + 1e-3) for cell in frames if len(cell) > 1])
    mean, scale = mean_and_scale(known)
    return np.array([
        (np.log(cell.std(axis=0) + 1e-3) - mean) / scale if len(cell) > 1 else 0 * mean
        for cell in frames
    ])  # fmt: skip


def single_frames_by_loop(frames, mean, scale):
    """Mean over frames that the untrained frame path encodes one at a time, standardized."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(0)
        offset = torch.nn.functional.normalize(torch.randn(128), dim=0)
        path = FramePath(FrameStatistics(mean, scale), 128, 0.0, offset)
        one = torch.tensor([1])
        means = [
            np.mean(
                [path(torch.from_numpy(frame[None]), one)[0].double() for frame in cell], axis=0
            )
            for cell in frames
        ]
    mean, scale = mean_and_scale(np.array(means))
    return (np.array(means) - mean) / scale


def modularity_by_loop(labels, X, gaps=None):
    """The score from its formula; X is a dict of lists of frames, None where missing.

    ``gaps`` collects by how much the eleventh neighbor is farther away than the tenth, relatively.
    """
    gaps = [] if gaps is None else gaps
    scores = []
    for cells in X.values():
        rows = [row for row, cell in enumerate(cells) if cell is not None]
        if len(rows) <= 10:
            continue
        frames = [np.asarray(cells[row], dtype=float) for row in rows]
        every = np.concatenate(frames)
        longest, n_fitting = max(map(len, frames)), 512 // every.shape[1]
        typical = sorted(map(len, frames))[len(frames) // 10]
        has_deviations = typical >= 32 and n_fitting > 1
        n_segments = max(min(8, n_fitting - has_deviations, longest), 1)
        mean, scale = mean_and_scale(every)
        has_path = n_fitting > 1 and longest > 1
        alone = single_frames_by_loop(frames, mean, scale) if has_path else None
        frames = [(cell - mean) / scale for cell in frames]
        vectors = np.array([segments_by_loop(cell, n_segments) for cell in frames])
        mean, scale = mean_and_scale(vectors)
        vectors = (vectors - mean) / scale
        if has_deviations:
            vectors = np.hstack([vectors, deviations_by_loop(frames)])
            mean, scale = mean_and_scale(vectors)  # single frames count as average
            vectors = (vectors - mean) / scale
        if has_path:
            vectors = np.hstack([vectors, alone])
        same = 0
        for i in range(len(rows)):
            distances = sorted(
                (np.linalg.norm(vectors[i] - vectors[j]), j) for j in range(len(rows)) if j != i
            )
            same += sum(labels[rows[i]] == labels[rows[j]] for _, j in distances[:10])
            if len(distances) > 10:
                gaps.append(distances[10][0] / distances[9][0] - 1)
        own = [labels[row] for row in rows]
        chance = sum((own.count(label) / len(own)) ** 2 for label in set(own))
        scores.append(same / (10 * len(rows)) - chance)
    return np.mean(scores)


def cells_of(X):
    return {name: X.sequences(name) for name in X.names}


def agreement_by_predict(clusterer, X):
    scores = []
    for place, first in enumerate(X.names):
        for second in X.names[place + 1 :]:
            both = X.select([first, second]).present.all(axis=1)
            sides = [clusterer.predict(X.select([name])[both]) for name in (first, second)]
            scores.append(adjusted_mutual_info_score(*sides))
    return np.mean(scores)


# ---------------------------------------------------------------------------------------------
# Modularity
# ---------------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.integers(1, 5), st.booleans())
def test_modularity_is_that_of_a_loop(seed, n_clusters, missing):
    X, _ = make_sequences(30, 2, missing=missing, seed=seed)
    labels = np.random.default_rng(seed).integers(n_clusters, size=30).tolist()
    gaps = []
    expected = modularity_by_loop(labels, cells_of(X), gaps)
    assume(min(gaps) > 1e-4)  # closer ones may change places by rounding
    assert neighborhood_modularity_score(Labels(labels), X) == pytest.approx(expected, abs=1e-9)


def test_modularity_of_a_table_is_that_of_a_loop():
    X, _ = make_blobs(60, n_features=5, random_state=0)
    X[:, 1] *= 1000  # only standardized features have equal weight
    X[:, 2] = 7.0
    fitted = KMeans(3, n_init=1, random_state=0).fit(X)
    expected = modularity_by_loop(fitted.predict(X).tolist(), {"features": [[row] for row in X]})
    assert neighborhood_modularity_score(fitted, X) == pytest.approx(expected, abs=1e-9)


def test_modularity_of_a_clusterer_reads_its_predictions_and_modalities(gappy):
    X, _ = gappy
    fitted = umc().fit(X[:110])
    new = X[110:]
    expected = modularity_by_loop(fitted.predict(new).tolist(), cells_of(new))
    assert neighborhood_modularity_score(fitted, new) == pytest.approx(expected, abs=1e-9)
    two = umc(modalities=["audio", "video"]).fit(X[:110].select(["audio", "video"]))
    rows = new[new.select(["audio", "video"]).present.any(axis=1)]
    expected = modularity_by_loop(
        two.predict(rows).tolist(), cells_of(rows.select(["audio", "video"]))
    )
    assert neighborhood_modularity_score(two, rows) == pytest.approx(expected, abs=1e-9)


def test_modularity_splits_a_table_into_the_modalities_of_the_clusterer():
    table, _ = make_blobs(90, n_features=6, random_state=0)
    fitted = umc(modalities=TABLE).fit(table)
    expected = modularity_by_loop(
        fitted.predict(table).tolist(),
        {name: [row[None, list(columns)] for row in table] for name, columns in TABLE.items()},
    )
    assert neighborhood_modularity_score(fitted, table) == pytest.approx(expected, abs=1e-9)


def test_modularity_leaves_out_a_modality_with_ten_samples():
    rng = np.random.default_rng(0)
    cells = {"text": list(rng.normal(size=(40, 1, 3))), "audio": list(rng.normal(size=(40, 1, 3)))}
    labels = rng.integers(3, size=40)
    cells["audio"][10:] = [None] * 30
    alone = neighborhood_modularity_score(Labels(labels), MultimodalData({"text": cells["text"]}))
    assert neighborhood_modularity_score(Labels(labels), MultimodalData(cells)) == alone
    cells["audio"][10] = rng.normal(size=(1, 3))
    assert neighborhood_modularity_score(Labels(labels), MultimodalData(cells)) != alone


def test_modularity_of_random_labels_is_near_zero_and_of_true_ones_is_not(blobs):
    X, y = blobs
    shuffled = [
        neighborhood_modularity_score(Labels(np.random.default_rng(seed).permutation(y)), X)
        for seed in range(20)
    ]
    assert abs(np.mean(shuffled)) < 0.02
    assert max(np.abs(shuffled)) < 0.1
    assert neighborhood_modularity_score(Labels(y), X) > 0.4


def test_modularity_of_one_cluster_is_zero(blobs):
    X, _ = blobs
    assert neighborhood_modularity_score(Labels(np.zeros(len(X))), X) == pytest.approx(0)


def test_modularity_of_many_samples_is_that_of_a_part(monkeypatch):
    X, y = make_blobs(400, centers=4, random_state=0)
    whole = neighborhood_modularity_score(Labels(y), X)
    monkeypatch.setattr("skumc.model_selection._modularity._MAX_SAMPLES", 200)
    part = neighborhood_modularity_score(Labels(y), X)
    assert part != whole and part == pytest.approx(whole, abs=0.1)
    assert part == neighborhood_modularity_score(Labels(y), X)


def test_modularity_reads_text_by_the_model_of_the_clusterer():
    rng = np.random.default_rng(0)
    words = [["rain", "cloud", "storm", "wind"], ["bread", "butter", "salt", "milk"]]
    X = [" ".join(rng.choice(words[row % 2], 4)) for row in range(40)]
    model = TextModel(pair(), layer=2)
    fitted = umc(2, text=model).fit(X)
    frames = fitted._text.read(MultimodalData({"text": X}), torch.device("cpu"))
    expected = modularity_by_loop(fitted.predict(X).tolist(), cells_of(frames))
    assert neighborhood_modularity_score(fitted, X) == pytest.approx(expected, abs=1e-9)


def test_scores_look_inside_pipelines_and_searches(gappy):
    X, _ = gappy
    pooled = make_pipeline(PooledFeatures(), KMeans(3, n_init=1, random_state=0)).fit(X)
    expected = modularity_by_loop(pooled.predict(X).tolist(), cells_of(X))
    assert neighborhood_modularity_score(pooled, X) == pytest.approx(expected, abs=1e-9)
    table, _ = make_blobs(90, n_features=6, random_state=0)
    piped = make_pipeline(StandardScaler(), umc(modalities=TABLE)).fit(table)
    search = UnsupervisedSearchCV(piped, {"umcclusterer__max_epochs": [1]}, random_state=0)
    search.fit(table)
    for score in (neighborhood_modularity_score, modality_agreement_score):
        inside = score(piped[-1], piped[0].transform(table))
        assert score(piped, table) == inside != 0
        assert score(search, table) == pytest.approx(inside, abs=1e-9)


# ---------------------------------------------------------------------------------------------
# Agreement
# ---------------------------------------------------------------------------------------------


def test_agreement_is_that_of_predictions_from_single_modalities(gappy):
    X, _ = gappy
    fitted = umc(max_epochs=0).fit(X[:110])
    found = modality_agreement_score(fitted, X[110:])
    assert found == pytest.approx(agreement_by_predict(fitted, X[110:]), abs=1e-12)
    assert 0.3 < found < 1


def test_agreement_needs_a_signal_that_modalities_share():
    settings = {"modalities": {"text": 6, "audio": 4}, "center_scale": 3, "random_state": 0}
    both, _ = make_multimodal_blobs(400, 3, **settings)
    one, _ = make_multimodal_blobs(400, 3, uninformative="audio", **settings)
    scores = [modality_agreement_score(umc().fit(X[:200]), X[200:]) for X in (both, one)]
    assert scores[0] > 0.8
    assert abs(scores[1]) < 0.05


def test_agreement_rises_with_a_nuisance_that_modalities_share():
    """The warning of the docstring: agreement cannot tell a shared nuisance from a topic."""
    rng = np.random.default_rng(0)
    topic, speaker = rng.integers(2, size=(2, 200))
    weak = np.stack([topic, 6 * speaker], axis=1)
    X = MultimodalData({name: weak + rng.normal(size=(200, 2)) for name in ("voice", "face")})
    fitted = umc(2).fit(X[:120])
    assert modality_agreement_score(fitted, X[120:]) > 0.8
    labels = fitted.predict(X[120:])
    assert adjusted_mutual_info_score(speaker[120:], labels) > 0.8
    assert adjusted_mutual_info_score(topic[120:], labels) < 0.1


def test_agreement_of_one_cluster_is_zero(blobs):
    X, _ = blobs
    assert modality_agreement_score(umc(1).fit(X), X) == 0


def test_agreement_leaves_out_a_modality_that_training_lacked(gappy):
    X, _ = gappy
    without = X[:110].with_absent(X.widths, ["text", "audio"])
    fitted = umc().fit(without[without.present.any(axis=1)])
    new = X[110:]
    usable = new.select(["text", "audio"])
    usable = usable[usable.present.any(axis=1)]
    expected = agreement_by_predict(fitted, usable)
    assert modality_agreement_score(fitted, new) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "score",
    [neighborhood_modularity_score, embedding_silhouette_score, modality_agreement_score],
)
def test_scores_ignore_y_and_keep_X_and_the_estimator(blobs, score):
    X, y = blobs
    fitted = umc().fit(X)
    before, data = pickle.dumps(fitted.labels_), pickle.dumps(X)
    assert score(fitted, X) == score(fitted, X, y) == score(fitted, X, y[::-1])
    assert (pickle.dumps(fitted.labels_), pickle.dumps(X)) == (before, data)


# ---------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------


def test_errors_of_scores_name_the_remedy(blobs):
    X, y = blobs
    single = umc().fit(X.select(["text"]))
    with pytest.raises(ValueError, match=r"single modality 'text'.*neighborhood_modularity_score"):
        modality_agreement_score(single, X.select(["text"]))
    with pytest.raises(TypeError, match=r"Got Labels.*neighborhood_modularity_score"):
        modality_agreement_score(Labels(y), X)
    with pytest.raises(TypeError, match="Got Labels, expected a fitted UMCClusterer"):
        embedding_silhouette_score(Labels(y), X)
    with pytest.raises(TypeError, match="Got DBSCAN, which has no predict"):
        neighborhood_modularity_score(DBSCAN(), X)
    with pytest.raises(ValueError, match=r"Got 10 samples, of which at most 10.*test_size"):
        neighborhood_modularity_score(Labels(y[:10]), X[:10])
    with pytest.raises(ValueError, match=r"'text' holds text.*TransformerTextFeatures"):
        neighborhood_modularity_score(Labels(y[:2]), ["good morning", "good night"])
    fitted = umc().fit(X)
    halves = MultimodalData(
        {"text": [np.ones(6), None], "audio": [None, np.ones(4)]},
    )
    with pytest.raises(ValueError, match="No two of the 2 samples have the same two"):
        modality_agreement_score(fitted, halves)


def test_errors_of_the_search_name_the_remedy(blobs):
    X, _ = blobs
    with pytest.raises(ValueError, match=r"param_grid='auto' for KMeans.*dict"):
        UnsupervisedSearchCV(KMeans(3)).fit(np.eye(40))
    with pytest.raises(ValueError, match="'param_grid' parameter"):
        UnsupervisedSearchCV(umc(), "all").fit(X)
    with pytest.raises(ValueError, match="'random_state' parameter"):
        UnsupervisedSearchCV(umc(), {}, random_state="a").fit(X)
    search = UnsupervisedSearchCV(umc(), {}, refit=False, random_state=0).fit(X)
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        search.predict(X)
    with pytest.raises(AttributeError, match="Set refit=True"):
        search.score(X)


# ---------------------------------------------------------------------------------------------
# The rule
# ---------------------------------------------------------------------------------------------


def sums_by_loop(columns):
    sums = [0.0] * len(columns[0])
    for scores in columns:
        mean = sum(scores) / len(scores)
        deviation = (sum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
        for place, score in enumerate(scores):
            sums[place] += (score - mean) / deviation if deviation > 1e-6 else 0.0
    return sums


def results_of(columns):
    return {f"mean_test_{place}": np.array(scores) for place, scores in enumerate(columns)}


@given(
    st.integers(2, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(-10, 10), min_size=n, max_size=n), min_size=2, max_size=3
        )
    )
)
def test_rule_takes_the_largest_sum_of_z_scores(columns):
    sums = sums_by_loop([[score / 10 for score in scores] for scores in columns])
    results = results_of([[score / 10 for score in scores] for scores in columns])
    chosen = select_candidate(results, margin=0)
    assert sums[chosen] == pytest.approx(max(sums), abs=1e-9)
    chosen = select_candidate(results)
    assert sums[chosen] >= max(sums) - 0.5 - 1e-9
    assert all(total < max(sums) - 0.5 + 1e-9 for total in sums[:chosen])


def test_rule_takes_the_first_of_equals_and_skips_failed_candidates():
    assert select_candidate(results_of([[0.1, 0.7, 0.7], [0.0, 0.5, 0.5]])) == 1
    assert select_candidate(results_of([[0.4, 0.4], [0.3, 0.3 + 1e-16]])) == 0
    assert select_candidate(results_of([[0.1, 0.9, 0.2], [0.1, np.nan, 0.2]])) == 2
    # a failed candidate has no part in means and deviations
    columns = [[0.0, 1.0, 0.6], [1.0, 0.0, 0.6]]
    expected = select_candidate(results_of(columns))
    columns = [[*columns[0], -50.0], [*columns[1], np.nan]]
    assert select_candidate(results_of(columns)) == expected
    with pytest.raises(ValueError, match=r"No candidate has finite scores.*error_score"):
        select_candidate(results_of([[np.nan, 0.1], [0.2, np.nan]]))
    with pytest.raises(ValueError, match="cv_results_ of a search"):
        select_candidate({"params": [{}]})


# ---------------------------------------------------------------------------------------------
# Candidates
# ---------------------------------------------------------------------------------------------


def test_candidates_are_a_grid_of_settings_that_differ():
    table, sequences = np.eye(6), {"audio": np.ones((6, 3, 2))}
    for X, n_expected in ((table, 7), (sequences, 9), (["good morning", "good night"], 8)):
        candidates = candidate_parameters(X)
        assert len(candidates) == n_expected
        settings = list(ParameterGrid(candidates))
        assert settings[0] == {} and len(settings) == n_expected
        assert len({repr(sorted(map(repr, one.items()))) for one in settings}) == n_expected
        for one in settings:
            umc().set_params(**one)
            default = UMCClusterer().get_params()
            assert all(default[name] != value for name, value in one.items())
    assert candidates[-1]["encoder"] == ["umc"]
    assert not candidate_parameters(sequences)[-1]["encoder"][0].frame_path
    assert candidate_parameters(table) is not candidate_parameters(table)


@pytest.mark.filterwarnings("ignore:Training did not help")
def test_every_candidate_fits(blobs):
    X, _ = blobs
    for parameters in ParameterGrid(candidate_parameters(X)):
        parameters = {**parameters}
        if parameters.get("pretrain_epochs"):
            parameters["pretrain_epochs"] = 2
        assert len(umc().set_params(**parameters).fit(X).labels_) == len(X)


# ---------------------------------------------------------------------------------------------
# The search
# ---------------------------------------------------------------------------------------------


def scores_of(search):
    names = [name for name in search.cv_results_ if name.startswith("split")]
    return np.array([search.cv_results_[name] for name in names + ["z_score_sum"]])


def test_search_scores_by_hand(gappy):
    X, _ = gappy
    grid = [{}, UNTRAINED]
    cv = KFold(2, shuffle=True, random_state=0)
    search = UnsupervisedSearchCV(umc(), grid, cv=cv).fit(X)
    expected = {"modularity": [], "silhouette": [], "agreement": []}
    for parameters in ParameterGrid(grid):
        scores = {name: [] for name in expected}
        for train, test in cv.split(X):
            fitted = umc(**parameters).fit(X[train])
            scores["modularity"].append(
                modularity_by_loop(fitted.predict(X[test]).tolist(), cells_of(X[test]))
            )
            scores["agreement"].append(agreement_by_predict(fitted, X[test]))
            labels = fitted.predict(X[test])
            scores["silhouette"].append(silhouette_score(fitted.transform(X[test]), labels))
        for name, values in scores.items():
            expected[name].append(np.mean(values))
    for name, values in expected.items():
        np.testing.assert_allclose(search.cv_results_[f"mean_test_{name}"], values, atol=1e-6)
    sums = sums_by_loop(list(expected.values()))
    np.testing.assert_allclose(search.cv_results_["z_score_sum"], sums, atol=1e-4)
    best = int(np.argmax(sums))
    assert search.best_index_ == best
    assert search.cv_results_["rank_z_score_sum"][best] == 1
    assert search.best_score_ == max(search.cv_results_["z_score_sum"])
    assert search.best_params_ == list(ParameterGrid(grid))[best]
    again = umc(**search.best_params_).fit(X)
    np.testing.assert_array_equal(search.labels_, again.labels_)
    np.testing.assert_array_equal(search.predict(X), again.predict(X))
    np.testing.assert_array_equal(search.transform(X), again.transform(X))
    np.testing.assert_array_equal(search.fit_predict(X), again.labels_)
    three = (neighborhood_modularity_score, embedding_silhouette_score, modality_agreement_score)
    mean = np.mean([score(again, X) for score in three])
    assert search.score(X) == pytest.approx(mean, abs=1e-9)


@pytest.mark.slow
def test_search_ignores_y(blobs):
    X, y = blobs
    grid = [{}, UNTRAINED, {"pretrain_epochs": [3]}]
    searches = [
        UnsupervisedSearchCV(umc(), grid, random_state=0).fit(X, labels)
        for labels in (None, y, np.random.default_rng(0).permutation(y), ["a"] * len(X))
    ]
    for search in searches[1:]:
        assert scores_of(search).tobytes() == scores_of(searches[0]).tobytes()
        assert search.best_index_ == searches[0].best_index_
        assert search.labels_.tobytes() == searches[0].labels_.tobytes()


def test_search_in_two_processes_gives_what_one_gives(blobs):
    X, _ = blobs
    grid = [{}, UNTRAINED]
    one = UnsupervisedSearchCV(umc(), grid, random_state=0).fit(X)
    two = UnsupervisedSearchCV(umc(), grid, random_state=0, n_jobs=2).fit(X)
    np.testing.assert_allclose(scores_of(two), scores_of(one), rtol=0, atol=1e-6)
    assert two.best_index_ == one.best_index_
    np.testing.assert_array_equal(two.labels_, one.labels_)


def test_search_does_without_scores_that_an_estimator_cannot_have(blobs):
    X, _ = blobs
    table, _ = make_blobs(90, n_features=6, random_state=0)
    for estimator, samples in (
        (umc(), X.select(["audio"])),
        (umc(modalities=["audio"]), X),
        (umc(), X.select(["audio"]).with_absent({"audio": 4, "text": 6})),
        (umc(), table),
        (KMeans(3, n_init=1, random_state=0), table),
    ):
        name = "n_init" if isinstance(estimator, KMeans) else "n_clusters"
        search = UnsupervisedSearchCV(estimator, {name: [2, 3]}, random_state=0).fit(samples)
        names = ["modularity", "silhouette"][: 1 if isinstance(estimator, KMeans) else 2]
        assert list(search.scorer_) == names
        sums = sums_by_loop([list(search.cv_results_[f"mean_test_{name}"]) for name in names])
        assert search.best_index_ == next(i for i, x in enumerate(sums) if x >= max(sums) - 0.5)
        assert len(search.labels_) == len(samples)
    search = UnsupervisedSearchCV(umc(modalities=TABLE), {}, random_state=0).fit(table)
    assert list(search.scorer_) == ["modularity", "silhouette", "agreement"]


def test_search_finds_the_useful_modalities(blobs):
    X, _ = blobs
    noise = np.random.default_rng(0).normal(size=(len(X), 3))
    noisy = MultimodalData({**cells_of(X), "noise": noise})
    grid = {"modalities": [["audio", "noise"], ["text", "audio"]]}
    for seed in range(2):
        search = UnsupervisedSearchCV(umc(), grid, random_state=seed).fit(noisy)
        assert search.best_params_ == {"modalities": ["text", "audio"]}


def with_two_groupings(seed, n_samples=200):
    """A topic in words and gesture, and a speaker, which is easier to find, in voice and face."""
    rng = np.random.default_rng(seed)
    topic, speaker = rng.integers(2, size=(2, n_samples))
    parts = {
        "words": 3 * topic,
        "gesture": 3 * topic,
        "voice": 6 * speaker,
        "face": 6 * speaker,
    }
    frames = {name: mean[:, None] + rng.normal(size=(n_samples, 3)) for name, mean in parts.items()}
    return MultimodalData(frames), topic, speaker


@pytest.mark.parametrize("seed", range(2))
def test_search_follows_a_shared_nuisance_unless_told_which_modalities_matter(seed):
    """The warning of modality_agreement_score, and its two remedies."""
    X, topic, speaker = with_two_groupings(seed)
    clusterer = umc(2, pretrain_epochs=4, max_epochs=2)
    useful = ["words", "gesture"]
    grid = {"modalities": [useful, ["voice", "face"]]}
    search = UnsupervisedSearchCV(clusterer, grid, random_state=0).fit(X)
    assert search.best_params_ == {"modalities": ["voice", "face"]}
    agreement = search.cv_results_["mean_test_agreement"]
    assert agreement[1] > agreement[0]
    weight = {"voice": 0.0, "face": 0.0}
    for remedy, wanted, other in (
        ({}, speaker, topic),
        ({"modalities": useful}, topic, speaker),
        ({"neighbors__modality_weight": weight}, topic, speaker),
    ):
        estimator = clone(clusterer).set_params(**remedy)
        search = UnsupervisedSearchCV(estimator, [{}, UNTRAINED], random_state=0).fit(X)
        assert adjusted_mutual_info_score(wanted, search.labels_) > 0.8
        assert adjusted_mutual_info_score(other, search.labels_) < 0.1


def test_automatic_candidates_are_those_of_the_function(blobs, monkeypatch):
    X, _ = blobs
    table, _ = make_blobs(60, n_features=6, random_state=0)
    chosen = []

    def few(X):
        chosen.append(X)
        return [{}, {"max_epochs": [0]}]

    assert UnsupervisedSearchCV(umc()).param_grid == "auto"
    monkeypatch.setattr("skumc.model_selection._unsupervised_search.candidate_parameters", few)
    search = UnsupervisedSearchCV(umc(), random_state=0).fit(X)
    assert chosen[0] is X
    assert search.cv_results_["params"] == [{}, {"max_epochs": 0}]
    piped = make_pipeline(StandardScaler(), umc())
    search = UnsupervisedSearchCV(piped, random_state=0).fit(table)
    np.testing.assert_array_equal(chosen[1], StandardScaler().fit_transform(table))
    assert search.cv_results_["params"] == [{}, {"umcclusterer__max_epochs": 0}]
    np.testing.assert_array_equal(search.labels_, search.best_estimator_[-1].labels_)


@pytest.mark.filterwarnings("ignore:Training did not help")
def test_search_over_the_automatic_candidates(blobs):
    X, _ = blobs
    cv = ShuffleSplit(1, test_size=0.25, random_state=0)
    search = UnsupervisedSearchCV(umc(), cv=cv).fit(X)
    assert len(search.cv_results_["params"]) == len(candidate_parameters(X))
    assert np.isfinite(scores_of(search)).all()


def test_default_splits_are_more_for_fewer_samples():
    for n_samples, n_splits in ((60, 3), (499, 3), (500, 2), (1999, 2), (2000, 1)):
        X, _ = make_blobs(n_samples, random_state=0)
        kmeans = KMeans(2, n_init=1, random_state=0)
        search = UnsupervisedSearchCV(kmeans, {}, random_state=0).fit(X)
        assert search.n_splits_ == n_splits
    first = UnsupervisedSearchCV(kmeans, {}, random_state=1).fit(X[:90])
    again = UnsupervisedSearchCV(kmeans, {}, random_state=1).fit(X[:90])
    other = UnsupervisedSearchCV(kmeans, {}, random_state=2).fit(X[:90])
    np.testing.assert_array_equal(scores_of(first), scores_of(again))
    assert not np.array_equal(scores_of(first), scores_of(other))


def test_default_splits_test_a_quarter_of_the_samples(blobs):
    X, _ = blobs
    sizes = []

    class Counting(KMeans):
        def fit(self, X, y=None):
            sizes.append(len(X))
            return super().fit(X)

    table, _ = make_blobs(80, random_state=0)
    UnsupervisedSearchCV(Counting(2, n_init=1, random_state=0), {}).fit(table)
    assert sizes == [60, 60, 60, 80]


def test_search_reads_every_form_of_X(blobs):
    X, _ = blobs
    expected = UnsupervisedSearchCV(umc(), [{}, UNTRAINED], random_state=0).fit(X)
    for samples in (cells_of(X), list(X), X.to_frame()):
        search = UnsupervisedSearchCV(umc(), [{}, UNTRAINED], random_state=0).fit(samples)
        np.testing.assert_array_equal(scores_of(search), scores_of(expected))
        np.testing.assert_array_equal(search.predict(samples), expected.labels_)


def test_candidate_that_fails_is_not_chosen(blobs):
    X, _ = blobs
    grid = {"batch_size": [-1, 32]}
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search = UnsupervisedSearchCV(umc(), grid, random_state=0).fit(X)
    assert search.best_params_ == {"batch_size": 32}
    assert np.isnan(search.cv_results_["z_score_sum"]).tolist() == [True, False]
    assert search.cv_results_["rank_z_score_sum"].tolist() == [2, 1]
    with pytest.raises(ValueError, match="batch_size"):
        UnsupervisedSearchCV(umc(), grid, random_state=0, error_score="raise").fit(X)


def test_fit_that_fails_keeps_the_fit_before(blobs):
    X, _ = blobs
    search = UnsupervisedSearchCV(umc(), {}, random_state=0).fit(X)
    before = dict(vars(search))
    with pytest.raises(ValueError, match="10 nearest neighbors"):
        search.set_params(error_score="raise").fit(X[:20])
    assert vars(search) == before | {"error_score": "raise"}
    # the rule fails after scikit-learn's search: fits succeed, and no score is finite
    search.set_params(error_score=np.nan, refit=False)
    before = dict(vars(search))
    with pytest.warns(UserWarning, match="Scoring failed|non-finite"):
        with pytest.raises(ValueError, match="No candidate has finite scores"):
            search.fit(X[:20])
    assert vars(search) == before


def test_settings_reach_the_search_of_scikit_learn(blobs, monkeypatch):
    X, _ = blobs
    given = {}

    def fit(self, X, y=None, **params):
        given.update(self.get_params(deep=False), **vars(self))
        return fit_unchanged(self, X, y, **params)

    fit_unchanged = GridSearchCV.fit
    monkeypatch.setattr(GridSearchCV, "fit", fit)
    cv = KFold(2, shuffle=True, random_state=0)
    settings = {"n_jobs": 1, "pre_dispatch": 1, "verbose": 0, "error_score": -1.0, "cv": cv}
    UnsupervisedSearchCV(umc(), {}, **settings).fit(X)
    assert {name: given[name] for name in settings} == settings


@pytest.mark.slow
def test_other_rules_and_no_refit(blobs):
    X, _ = blobs
    grid = [{}, UNTRAINED, {"pretrain_epochs": [3]}]
    default = UnsupervisedSearchCV(umc(), grid, random_state=0).fit(X)
    for name in ("modularity", "silhouette", "agreement"):
        search = UnsupervisedSearchCV(umc(), grid, random_state=0, refit=name).fit(X)
        means = default.cv_results_[f"mean_test_{name}"]
        assert search.best_index_ == np.argmax(means)
        assert search.best_score_ == max(means)
    last = UnsupervisedSearchCV(umc(), grid, random_state=0, refit=lambda results: 2).fit(X)
    assert last.best_index_ == 2 and last.best_estimator_.pretrain_epochs == 3
    none = default.set_params(refit=False).fit(X)
    sums = none.cv_results_["z_score_sum"]
    assert none.best_index_ == np.argmax(sums >= sums.max() - 0.5)
    assert not hasattr(none, "labels_") and not hasattr(none, "best_estimator_")


def test_parameters_are_stored_untouched_and_cloned(blobs):
    X, _ = blobs
    parameters = {
        "estimator": umc(),
        "param_grid": [{}, {"max_epochs": [0]}],
        "cv": KFold(2, shuffle=True, random_state=0),
        "n_jobs": 1,
        "refit": True,
        "factor": 2,
        "memory": None,
        "verbose": 0,
        "error_score": "raise",
        "pre_dispatch": 1,
        "random_state": np.random.RandomState(0),
    }
    assert list(inspect.signature(UnsupervisedSearchCV).parameters) == list(parameters)
    search = UnsupervisedSearchCV(**parameters)
    search.fit(X)
    for name, value in parameters.items():
        assert getattr(search, name) is value
        assert search.get_params(deep=False)[name] is value
    assert parameters["param_grid"] == [{}, {"max_epochs": [0]}]
    assert not hasattr(parameters["estimator"], "labels_")
    copy = clone(search)
    assert not hasattr(copy, "labels_") and copy.estimator is not search.estimator
    assert set(search.get_params()) > {"estimator__pretrain_epochs", "random_state"}
    copy.set_params(estimator__pretrain_epochs=0, random_state=1)
    assert (copy.estimator.pretrain_epochs, search.estimator.pretrain_epochs) == (0, 1)
    restored = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(restored.predict(X), search.labels_)


# ---------------------------------------------------------------------------------------------
# scikit-learn's own searches
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", ["pretrain_epochs", "max_epochs"])
@pytest.mark.parametrize(
    "score",
    [neighborhood_modularity_score, embedding_silhouette_score, modality_agreement_score],
)
def test_halving_search_takes_the_scores_with_epochs_as_the_resource(blobs, score, resource):
    X, _ = blobs
    search = HalvingGridSearchCV(
        umc(),
        {"learning_rate": [1e-5, 4e-3]},
        scoring=score,
        resource=resource,
        min_resources=1,
        max_resources=2,
        factor=2,
        cv=ShuffleSplit(2, test_size=0.4, random_state=0),
        error_score="raise",
        random_state=0,
    ).fit(X)
    assert search.n_resources_ == [1, 2]
    train, test = next(ShuffleSplit(2, test_size=0.4, random_state=0).split(X))
    for place, parameters in enumerate(search.cv_results_["params"]):
        expected = score(umc(**parameters).fit(X[train]), X[test])
        found = search.cv_results_["split0_test_score"][place]
        assert found == pytest.approx(expected, abs=1e-6)


def test_randomized_search_takes_both_scores_and_the_rule(blobs):
    X, _ = blobs
    search = RandomizedSearchCV(
        umc(),
        {"pretrain_epochs": [0, 1, 2, 3], "max_epochs": [0, 1]},
        n_iter=3,
        scoring={
            "modularity": neighborhood_modularity_score,
            "agreement": modality_agreement_score,
        },
        refit=select_candidate,
        cv=ShuffleSplit(1, test_size=0.4, random_state=0),
        random_state=0,
    ).fit(X)
    columns = [search.cv_results_[f"mean_test_{name}"] for name in ("modularity", "agreement")]
    sums = sums_by_loop([list(column) for column in columns])
    assert sums[search.best_index_] >= max(sums) - 0.5 - 1e-6
    assert len(search.predict(X)) == len(X)
