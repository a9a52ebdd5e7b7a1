"""Promises of the guide: repeated fits, and one model on other machines."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import KFold

from data_makers import make_sequences
from skumc import UMCClusterer
from skumc.datasets import make_multimodal_blobs

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "guide" / "reproducibility.rst"
ENCODERS = ["projection", "umc", "causal"]


def make(encoder="projection", seed=0, **parameters):
    settings = {"pretrain_epochs": 2, "max_epochs": 3} | parameters
    return UMCClusterer(3, encoder=encoder, random_state=seed, **settings)


@pytest.fixture(scope="module")
def fitted():
    X, _ = make_sequences(48, 3, missing=True)
    return X, {encoder: make(encoder).fit(X) for encoder in ENCODERS}


def check_same(embedding, labels, model, X):
    """Equal within 1e-5, with the same labels except where two centers are as near."""
    np.testing.assert_allclose(embedding, model.embedding_, rtol=0, atol=1e-5)
    distances = np.linalg.norm(model.embedding_[:, None] - model.cluster_centers_, axis=2)
    first, second = np.sort(distances, axis=1)[:, :2].T
    is_clear = second - first > 1e-4
    assert is_clear.mean() > 0.9
    np.testing.assert_array_equal(labels[is_clear], model.labels_[is_clear])


# fits


def test_the_order_of_folds_changes_no_fit():
    X, _ = make_sequences(30, 3)
    folds = list(KFold(3).split(np.arange(len(X))))
    clusterer = make(pretrain_epochs=1, max_epochs=1)

    def run(order):
        found = {}
        for place in order:
            train, test = folds[place]
            one = clone(clusterer).fit(X[train])
            found[place] = (one.embedding_.tobytes(), one.predict(X[test]).tobytes())
        return found

    assert run([0, 1, 2]) == run([2, 0, 1])


# one fitted model


@pytest.mark.parametrize("encoder", ENCODERS)
@given(size=st.integers(1, 48), seed=st.integers(0, 9))
def test_batches_of_any_size_and_order_embed_alike(fitted, encoder, size, seed):
    X, models = fitted
    model, order = models[encoder], np.random.default_rng(seed).permutation(len(X))
    parts = [order[i : i + size] for i in range(0, len(X), size)][:6]
    for rows in parts:
        np.testing.assert_allclose(
            model.transform(X[rows]), model.embedding_[rows], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("encoder", ENCODERS)
def test_any_number_of_threads_embeds_alike(fitted, encoder):
    X, models = fitted
    own = torch.get_num_threads()
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            model = models[encoder]
            check_same(model.transform(X), model.predict(X), model, X)
    finally:
        torch.set_num_threads(own)


OTHER_KERNELS = {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Haswell"}
ELSEWHERE = """
import pickle, sys
from skumc import UMCClusterer
with open(sys.argv[1], "rb") as file:
    X, models, blobs, settings = pickle.load(file)
found = {name: (model.transform(X), model.predict(X)) for name, model in models.items()}
labels = [UMCClusterer(3, random_state=seed, **settings).fit(blobs).labels_ for seed in range(4)]
with open(sys.argv[2], "wb") as file:
    pickle.dump((found, labels), file)
"""


@pytest.mark.slow
def test_other_kernels_embed_alike_and_fit_as_another_seed_would(fitted, tmp_path):
    X, models = fitted
    blobs, y = make_multimodal_blobs(90, 3, random_state=0)
    settings = {"pretrain_epochs": 2, "max_epochs": 3}
    (tmp_path / "in").write_bytes(pickle.dumps((X, models, blobs, settings)))
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "in"), str(tmp_path / "out")]
    subprocess.run(command, check=True, env={**os.environ, **OTHER_KERNELS, "OMP_NUM_THREADS": "1"})
    found, elsewhere = pickle.loads((tmp_path / "out").read_bytes())
    for encoder, (embedding, labels) in found.items():
        check_same(embedding, labels, models[encoder], X)
    here = [make(seed=seed, **settings).fit(blobs).labels_ for seed in range(4)]
    scores, others = (
        np.array([adjusted_rand_score(y, labels) for labels in fits]) for fits in (here, elsewhere)
    )
    # the means of four seeds differ by no more than three standard errors, or two samples
    noise = np.sqrt((scores.var(ddof=1) + others.var(ddof=1)) / 4)
    assert abs(scores.mean() - others.mean()) <= max(3 * noise, 2 * 2 / 90)


@pytest.mark.skipif(not PAGE.exists(), reason="this distribution has no docs/")
@pytest.mark.parametrize("page", ["reproducibility.rst", "compared.rst"])
def test_each_test_that_the_guide_names_exists(page):
    text = (PAGE.parent / page).read_text(encoding="utf8")
    named = re.findall(r"``(test_\w+)\.py::(test_\w+)``", text)
    assert len(named) > 10
    for file, test in named:
        text = (TESTS / f"{file}.py").read_text(encoding="utf8")
        assert re.search(rf"^def {test}\(", text, flags=re.MULTILINE), (file, test)
