"""Successive halving in the search, and its progress lines."""

import re

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import ParameterGrid, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.model_selection import (
    UnsupervisedSearchCV,
    embedding_silhouette_score,
    modality_agreement_score,
    neighborhood_modularity_score,
    select_candidate,
)
from skumc.model_selection._candidate_search import halving_rounds
from skumc.model_selection._search_progress import SearchProgress

GRID = [
    {"pretrain_epochs": [0, 4, 8], "learning_rate": [4e-3, 1e-4]},
    {"pretrain_epochs": [0], "max_epochs": [0]},
]
SCORES = {
    "modularity": neighborhood_modularity_score,
    "silhouette": embedding_silhouette_score,
    "agreement": modality_agreement_score,
}


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(
        100, 3, modalities={"text": 6, "audio": 4}, center_scale=1, random_state=0
    )[0]


def umc(**parameters):
    return UMCClusterer(3, pretrain_epochs=4, max_epochs=4, random_state=0).set_params(**parameters)


@pytest.mark.slow
@pytest.mark.parametrize("refit", [True, "agreement"])
def test_rounds_by_hand(blobs, refit):
    cv = ShuffleSplit(2, test_size=0.4, random_state=0)
    search = UnsupervisedSearchCV(umc(), GRID, cv=cv, factor=2, refit=refit).fit(blobs)
    candidates = list(ParameterGrid(GRID))
    rows = 0
    for number, (n_candidates, share) in enumerate([(7, 1 / 4), (3, 1 / 2)]):
        assert len(candidates) == n_candidates
        means = {name: [] for name in SCORES}
        for candidate in candidates:
            scores = {name: [] for name in SCORES}
            for train, test in cv.split(blobs):
                clusterer = umc(**candidate)
                for name in ("pretrain_epochs", "max_epochs"):
                    n_epochs = getattr(clusterer, name)
                    clusterer.set_params(**{name: round(n_epochs * share)})
                clusterer.fit(blobs[train])
                for name, score in SCORES.items():
                    scores[name].append(score(clusterer, blobs[test]))
            for name, values in scores.items():
                means[name].append(np.mean(values))
        sums = sum((np.array(x) - np.mean(x)) / np.std(x) for x in means.values())
        own = slice(rows, rows + n_candidates)
        rows += n_candidates
        np.testing.assert_allclose(search.cv_results_["z_score_sum"][own], sums, atol=1e-3)
        assert search.cv_results_["params"][own] == candidates
        assert search.cv_results_["iter"][own].tolist() == [number] * n_candidates
        assert search.cv_results_["epoch_share"][own].tolist() == [share] * n_candidates
        for name in SCORES:
            found = search.cv_results_[f"mean_test_{name}"][own]
            np.testing.assert_allclose(found, means[name], atol=1e-6)
        best = np.sort(np.argsort(-sums, kind="stable")[: n_candidates // 2])
        previous, candidates = candidates, [candidates[place] for place in best]
    close = sums >= sums.max() - 0.5 if refit is True else means["agreement"]
    chosen = np.argmax(close)
    assert search.best_index_ == 7 + chosen
    assert search.best_params_ == previous[chosen]
    assert not any("epoch_share" in name for name in search.cv_results_ if name != "epoch_share")
    whole = umc(**search.best_params_)
    assert search.best_estimator_.get_params().keys() == whole.get_params().keys()
    assert search.best_estimator_.max_epochs == whole.max_epochs
    np.testing.assert_array_equal(search.labels_, whole.fit(blobs).labels_)
    score = sums[chosen] if refit is True else means["agreement"][chosen]
    assert search.best_score_ == pytest.approx(score, abs=1e-3)
    ranks = search.cv_results_["rank_z_score_sum"]
    assert sorted(ranks[7:]) == [1, 2, 3] and ranks[:7].min() == 4


def test_rounds_keep_the_better_part():
    for n_candidates in range(1, 40):
        for factor in (2, 3, 4):
            rounds = halving_rounds(n_candidates, factor)
            assert rounds[0][0] == n_candidates
            for (n, share), (n_next, share_next) in zip(rounds, rounds[1:], strict=False):
                assert n_next == n // factor > 1
                assert share_next == pytest.approx(share * factor)
            assert rounds[-1][0] // factor <= 1  # one is left
            assert rounds[-1][1] == 1 / factor


def test_halving_has_one_split_by_default(blobs):
    search = UnsupervisedSearchCV(umc(), GRID[1:], factor=3, random_state=0, refit=False)
    assert search.fit(blobs).n_splits_ == 1
    assert search.cv_results_["iter"] == [0]


def test_failed_candidates_do_not_go_on(blobs):
    grid = {"batch_size": [32, -1, 64, -2]}
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search = UnsupervisedSearchCV(umc(), grid, factor=2, random_state=0, refit=False).fit(blobs)
    assert [one["batch_size"] for one in search.cv_results_["params"][4:]] == [32, 64]


def test_halving_in_a_pipeline_and_with_memory(tmp_path):
    table, _ = make_blobs(90, n_features=6, random_state=0)
    estimator = make_pipeline(StandardScaler(), umc())
    grid = {"umcclusterer__learning_rate": [1e-4, 1e-3, 4e-3]}
    results = []
    for memory in (None, tmp_path, tmp_path):
        search = UnsupervisedSearchCV(
            estimator, grid, factor=3, memory=memory, random_state=0, error_score="raise"
        ).fit(table)
        results.append(search.cv_results_["mean_test_modularity"].tolist())
        assert search.best_estimator_[-1].max_epochs == 4
    assert results[0] == results[1] == results[2]


def test_halving_needs_epochs():
    with pytest.raises(ValueError, match=r"factor=3 for KMeans.*Set factor=None"):
        UnsupervisedSearchCV(KMeans(3), {}, factor=3).fit(np.eye(40))
    with pytest.raises(ValueError, match="'factor' parameter"):
        UnsupervisedSearchCV(umc(), {}, factor=1).fit(np.eye(40))


def test_own_rule_gets_all_rounds(blobs):
    seen = {}

    def rule(results):
        seen.update(results)
        return int(np.argmax(results["iter"]))

    search = UnsupervisedSearchCV(umc(), GRID, factor=2, refit=rule, random_state=0).fit(blobs)
    assert len(seen["params"]) == 10 and search.best_index_ == 7
    assert search.best_estimator_.max_epochs == search.best_params_.get("max_epochs", 4)


# progress


@pytest.mark.parametrize("factor", [None, 3])
def test_progress_lines_count_every_fit(blobs, capfd, factor):
    get_reusable_executor().shutdown(wait=True)  # its processes write where they did before
    grid = [{"max_epochs": [0, 1, 2]}]
    for n_jobs in (1,) if factor is None else (1, 2):
        search = UnsupervisedSearchCV(
            umc(), grid, factor=factor, n_jobs=n_jobs, random_state=0, verbose=2
        ).fit(blobs)
        n_fits = 3 * search.n_splits_ + 1
        lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("search:")]
        counts = [int(re.match(r"search: (\d+) of (\d+) fits", line)[1]) for line in lines]
        assert sorted(counts) == list(range(1, n_fits + 1))
        assert all(re.search(rf"of {n_fits} fits, \d:\d\d:\d\d left", line) for line in lines[:-1])
        assert re.search(rf"{n_fits} of {n_fits} fits in \d:\d\d:\d\d$", lines[-1])
    UnsupervisedSearchCV(umc(), grid, factor=factor, random_state=0).fit(blobs)
    assert capfd.readouterr().out == ""


def test_progress_writes_a_line_every_ten_seconds(tmp_path, capsys):
    seconds = iter([0, 4, 9, 11, 19, 35, 36])
    progress = SearchProgress(1, tmp_path / "fits", lambda: next(seconds))
    progress.begin(6, work=6.0)
    for _ in range(6):
        progress.report(1.0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0].split(" in")[0] for line in lines] == [
        f"search: {n} of 6 fits" for n in (3, 5, 6)
    ]


def test_remaining_time_is_that_of_fits_that_are_not_found(tmp_path, capsys):
    seconds = iter([0, 0, 0, 60])
    progress = SearchProgress(2, tmp_path / "fits", lambda: next(seconds))
    progress.begin(5, work=5.0)
    progress.report(1.0, found=True)
    progress.report(1.0, found=True)
    progress.report(1.0)
    assert capsys.readouterr().out.splitlines() == [
        "search: 1 of 5 fits",
        "search: 2 of 5 fits",
        "search: 3 of 5 fits, 0:02:00 left",
    ]


@pytest.mark.slow
def test_rule_for_one_round_is_that_of_the_function(blobs):
    search = UnsupervisedSearchCV(umc(), GRID, random_state=0, refit=False).fit(blobs)
    assert search.best_index_ == select_candidate(search.cv_results_)
