"""What is refused: each error names the argument, or modality and rows, and what to do."""

from __future__ import annotations

import re

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.cluster import DBSCAN, BisectingKMeans
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from skumc import MultimodalData, UMCClusterer
from skumc._parameters import PART_CHOICES
from skumc.curriculum import AdaptiveThreshold, DensitySelector
from skumc.encoders import UMCEncoder
from skumc.feature_extraction import PooledFeatures
from skumc.losses import SupConLoss
from skumc.pseudo_labels import PropagatedLabels
from skumc.text import TextModel
from skumc.training import MemoryEstimate, Optimization, ProgressLines, SilhouetteMonitor

NAN, INF = np.nan, np.inf


def text_and_audio(n_samples=12):
    rng = np.random.default_rng(0)
    return {
        "text": rng.normal(size=(n_samples, 5)),
        "audio": [rng.normal(size=(1 + i % 3, 3)) for i in range(n_samples)],
    }


def umc(**parameters):
    cheap = {"n_clusters": 2, "encoder": "projection", "pretrain_epochs": 0, "max_epochs": 0}
    return UMCClusterer(**cheap | {"random_state": 0} | parameters)


def assert_refuses(estimator, X, error, message, method="fit"):
    """Hold type and message of the error, and that X and y are as before."""
    y = np.arange(12) % 2
    before = joblib.hash((X, y))
    with pytest.raises(error) as caught:
        getattr(estimator, method)(X, *([y] if method == "fit" else []))
    assert re.search(message, str(caught.value)), f"{message!r} is not in {str(caught.value)!r}"
    assert joblib.hash((X, y)) == before


def cell(values):
    """A column of cells that pandas leaves alone."""
    return pd.Series(values, dtype=object)


SPARSE = {
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "coo_array": sp.coo_array,
    "dok_matrix": sp.dok_matrix,
    "dok_array": sp.dok_array,
}

BAD_X = {
    # how many
    "no samples": (
        lambda: MultimodalData(text_and_audio())[:0],
        ValueError,
        r"Found 0 sample\(s\) .* minimum of 2 is required by \w+\. Pass more samples",
    ),
    "one sample": (
        lambda: MultimodalData(text_and_audio())[:1],
        ValueError,
        r"Found 1 sample\(s\) .* minimum of 2 is required by \w+\. Pass more samples",
    ),
    "one dict": (lambda: [{"text": [1.0]}], ValueError, r"Found 1 sample\(s\)"),
    "table without rows": (
        lambda: np.zeros((0, 3)),
        ValueError,
        r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 2",
    ),
    "table of one row": (
        lambda: np.zeros((1, 3)),
        ValueError,
        r"Found array with 1 sample\(s\) \(shape=\(1, 3\)\) while a minimum of 2",
    ),
    "table without columns": (
        lambda: np.zeros((3, 0)),
        ValueError,
        r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1",
    ),
    "frame without columns": (
        lambda: pd.DataFrame(index=range(3)),
        ValueError,
        "Got X without columns, expected one per feature or one per modality",
    ),
    "unequal numbers of samples": (
        lambda: {"text": np.eye(3), "audio": np.eye(4)},
        ValueError,
        "unequal numbers of samples: 'text' has 3, 'audio' has 4. Give every modality one entry",
    ),
    # missing, NaN, infinite
    "all missing": (
        lambda: [{"text": [1.0], "audio": None}, {"text": None}, {"audio": [NAN]}, {}],
        ValueError,
        r"of \['text', 'audio'\] is missing in rows 1, 2, 3. Drop .*\.present.any\(axis=1\)\]",
    ),
    "all missing in a table": (
        lambda: np.array([[1.0, 2.0], [NAN, NAN], [3.0, 4.0]]),
        ValueError,
        r"of \['features'\] is missing in row 1. Drop .* X\[~np.isnan\(X\).all\(axis=1\)\]",
    ),
    "partly NaN": (
        lambda: {"text": np.eye(3), "audio": [[1.0, 2.0], [[NAN, 1.0], [1.0, 1.0]], [NAN, NAN]]},
        ValueError,
        "Modality 'audio' is partly NaN in row 1. .* impute .* SimpleImputer",
    ),
    "many partly NaN": (
        lambda: {"text": np.where(np.eye(8), NAN, 1.0)},
        ValueError,
        "Modality 'text' is partly NaN in rows 0, 1, 2, 3, 4 and 3 more",
    ),
    "partly NaN table": (
        lambda: np.array([[1.0, 2.0], [3.0, NAN]]),
        ValueError,
        "Modality 'features' is partly NaN in row 1. .* SimpleImputer",
    ),
    "infinite": (
        lambda: {"text": np.eye(3), "audio": [[1.0], [[2.0], [-INF]], [INF]]},
        ValueError,
        r"Modality 'audio' has infinite values \(inf\) in rows 1, 2. Replace them, or pass None",
    ),
    "infinities that cancel": (
        lambda: {"text": np.array([[0.0, 0.0], [INF, -INF]])},
        ValueError,
        r"Modality 'text' has infinite values \(inf\) in row 1",
    ),
    "infinite table": (
        lambda: np.array([[1.0, 2.0], [INF, NAN]]),
        ValueError,
        r"Modality 'features' has infinite values \(inf\) in row 1. Replace them",
    ),
    # strings, complex, dates, sparse
    "array of strings": (
        lambda: np.array([["a", "b"], ["c", "d"]]),
        ValueError,
        "X holds strings, expected numbers. Pass sentences as a list of str, one per sample",
    ),
    "list of strings": (
        lambda: ["a", "b"],
        ValueError,
        "Modality 'text' holds text, (but text=None. Set|expected numbers. Turn)",
    ),
    "objects with a string": (
        lambda: np.array([[1, "b"], [2, 3]], dtype=object),
        ValueError,
        r"X holds strings .*'b'.*Expected a 2-D table of numbers. Pass sequences by name",
    ),
    "frame of strings": (
        lambda: pd.DataFrame({"text": ["a", "b"], "audio": ["c", "d"]}),
        ValueError,
        "Modality 'text' holds text, .* TransformerTextFeatures",
    ),
    "frame with a column of strings": (
        lambda: pd.DataFrame({"n": [1.0, 2.0], "kind": ["c", "d"]}),
        ValueError,
        "Modality 'kind' holds text",
    ),
    "a cell with a string": (
        lambda: pd.DataFrame({"text": cell([[1.0], None, "b"])}),
        ValueError,
        "Modality 'text' holds numbers in some rows and text in others: 'b' in row 2. Pass sent",
    ),
    "a cell with strings": (
        lambda: [{"text": [1.0, 2.0]}, {"text": ["a", "b"]}],
        ValueError,
        "Modality 'text', row 1: got list of type <U1, expected real numbers",
    ),
    "a modality of strings": (
        lambda: {"text": np.array([["a", "b"]] * 2), "audio": np.eye(2)},
        ValueError,
        r"Modality 'text': got an array of type <U1 and shape \(2, 2\), expected real numbers",
    ),
    "a number among sentences": (
        lambda: {"text": ["a", 3.0, "c"]},
        ValueError,
        "Modality 'text' holds numbers in some rows and text in others: 3.0 in row 1",
    ),
    "token ids of two lengths": (
        lambda: {"text": {"input_ids": [[1, 2], [3, 4]], "attention_mask": [[1, 1], [1]]}},
        ValueError,
        "Modality 'text', row 1: got token ids, mask and types of shapes and types .*one length",
    ),
    "token ids that are no numbers": (
        lambda: {"text": {"input_ids": [[1.5, 2.0]] * 2}},
        ValueError,
        "Modality 'text', row 0: got token ids, .*expected whole numbers",
    ),
    "a negative token id": (
        lambda: [{"text": {"input_ids": [1, 2]}}, {"text": {"input_ids": [1, -2]}}],
        ValueError,
        "Modality 'text', row 1: got a negative token id, -2",
    ),
    "a sentence among token ids": (
        lambda: [{"text": {"input_ids": [1, 2]}}, {"text": "hello"}],
        ValueError,
        "Modality 'text' holds token ids, but row 1 holds str",
    ),
    "a mask without ids": (
        lambda: [{"text": {"attention_mask": [1, 2]}}, {"text": None}],
        ValueError,
        "Modality 'text', row 0: got dict",
    ),
    "complex table": (
        lambda: np.eye(3) * 1j,
        ValueError,
        r"Complex data not supported: X is of type complex128. Pass real numbers.*np.abs\(X\)",
    ),
    "complex modality": (
        lambda: {"text": np.eye(3) * 1j},
        ValueError,
        "Modality 'text': got an array of type complex128 .*, expected real numbers",
    ),
    "complex cell": (
        lambda: [{"text": [1.0]}, {"text": [1j]}],
        ValueError,
        "Modality 'text', row 1: got list of type complex128, expected real numbers",
    ),
    "dates": (
        lambda: {"text": np.zeros((2, 2), dtype="M8[s]")},
        ValueError,
        r"Modality 'text': got an array of type datetime64\[s\] .*, expected real numbers",
    ),
    "frame of dates": (
        lambda: {"text": pd.DataFrame({"x": [1, 2], "day": pd.to_datetime(["2020", "2021"])})},
        ValueError,
        "Modality 'text' is a table, and its column 'day' holds no numbers",
    ),
    **{
        f"{name} as X": (
            lambda make=make: make(np.eye(4)),
            TypeError,
            r"Sparse input X is not supported.* Use X.toarray\(\), or reduce it.*TruncatedSVD",
        )
        for name, make in SPARSE.items()
    },
    **{
        f"{name} as a modality": (
            lambda make=make: {"text": np.eye(4), "bag": make(np.eye(4))},
            TypeError,
            r"Modality 'bag' is sparse .*, expected a dense array. Use .toarray\(\)",
        )
        for name, make in SPARSE.items()
    },
    # shapes
    "1-D": (lambda: np.arange(4.0), ValueError, "(?s)Expected 2D array.*Reshape your data"),
    "3-D": (
        lambda: np.zeros((4, 3, 2)),
        ValueError,
        r"Got X of shape \(4, 3, 2\), expected a 2-D table. Pass sequences by name, as Multimodal",
    ),
    "None": (lambda: None, ValueError, "Expected 2D array, got scalar"),
    "list of sequences": (
        lambda: [np.ones((2, 3)), np.ones((1, 3))],
        ValueError,
        "rows of different widths .* Pass sequences by name, as MultimodalData",
    ),
    "objects of different widths": (
        lambda: np.array([np.ones(2), np.ones(3)], dtype=object),
        ValueError,
        "rows of different widths .* Pass sequences by name, as MultimodalData",
    ),
    "a modality of different widths": (
        lambda: {"text": np.array([np.ones(2), np.ones(3), np.ones((4, 2))], dtype=object)},
        ValueError,
        r"Modality 'text' has frames of different widths: 2 \(row 0\), 3 \(row 1\). Expected one",
    ),
    "a cell of different widths": (
        lambda: [{"text": [1.0]}, {"text": [[1.0], [1.0, 2.0]]}],
        ValueError,
        r"Modality 'text', row 1: the frames have different widths. Expected one matrix",
    ),
    "a cell with too many axes": (
        lambda: [{"text": [1.0]}, {"text": np.zeros((1, 2, 3))}],
        ValueError,
        r"Modality 'text', row 1: got shape \(1, 2, 3\), expected \(width,\)",
    ),
    "a 4-D modality": (
        lambda: {"text": np.ones((3, 2, 2, 2))},
        ValueError,
        r"Modality 'text': got an array of shape \(3, 2, 2, 2\), expected",
    ),
    "a modality of width 0": (
        lambda: {"text": np.ones((3, 0))},
        ValueError,
        r"Modality 'text': got an array of shape \(3, 0\), expected .* width is at least 1",
    ),
    "objects as a 2-D modality": (
        lambda: {"text": np.array([[[1.0], None], [None, [2.0]]], dtype=object)},
        ValueError,
        r"Modality 'text': got an array of type object and shape \(2, 2\), expected real numbers",
    ),
    "a number as a modality": (
        lambda: {"text": 3},
        ValueError,
        r"Modality 'text': got int, expected an array \(n_samples, width\) or a list",
    ),
    "a string as a modality": (lambda: {"text": "abc"}, ValueError, "Modality 'text': got str"),
    "a dict as a modality": (lambda: {"text": {}}, ValueError, "Modality 'text': got dict"),
    # names
    "empty dict": (lambda: {}, ValueError, "Got an empty dict .* at least one modality, for exam"),
    "empty dicts": (lambda: [{}, {}], ValueError, "Got an empty dict .* at least one modality"),
    "a name that is no string": (
        lambda: {1: np.eye(3)},
        ValueError,
        "Got modality name 1, expected a string. Rename it, for example to '1'",
    ),
    "a column name that is no string": (
        lambda: pd.DataFrame({0: cell([[1.0], [2.0]])}),
        ValueError,
        "Got modality name 0, expected a string. Rename it",
    ),
    "a repeated column name": (
        lambda: pd.concat([pd.DataFrame({"a": cell([[1.0], [2.0]])})] * 2, axis=1),
        ValueError,
        r"repeated column names: \['a', 'a'\]. Rename or drop",
    ),
    "a record that is no dict": (
        lambda: [{"text": [1.0]}, 3],
        ValueError,
        "Got int in row 1, expected a list with one dict per sample",
    ),
}


@pytest.mark.parametrize("make, error, message", BAD_X.values(), ids=BAD_X)
@pytest.mark.parametrize("make_estimator", [umc, PooledFeatures])
def test_fit_refuses_bad_X(make_estimator, make, error, message):
    assert_refuses(make_estimator(), make(), error, message)


def blocks(**columns):
    return {"modalities": columns}


BAD_MODALITIES = {
    "list of names on a table": (
        {"modalities": ["text"]},
        r"Got modalities=\['text'\] for a table, expected a dict from name to columns",
    ),
    "unknown column": (
        blocks(text=["aa", "b"]),
        r"Got modalities\['text'\]='aa', expected one of 'a', 'b', 'c'. Did you mean 'a'\?",
    ),
    "column out of range": (
        blocks(text=[0], audio=[1, 3]),
        r"Got modalities\['audio'\] with column 3, expected names or numbers in \[0, 2\]",
    ),
    "column before the first": (blocks(text=[-4]), r"modalities\['text'\] with column -4"),
    "column that is no number": (blocks(text=[1.0]), r"modalities\['text'\] with column 1.0"),
    "mask of another length": (
        blocks(text=[True, False]),
        r"modalities\['text'\] with a mask of length 2 for 3 columns, expected one entry",
    ),
    "columns that are none": (
        blocks(text=None),
        r"modalities\['text'\]=None, expected columns: names, numbers, a range or a slice",
    ),
    "no columns": (blocks(text=[]), r"modalities\['text'\] without columns, expected at least one"),
    "an empty slice": (blocks(text=slice(3, 5)), r"modalities\['text'\] without columns"),
    "no modality": ({"modalities": {}}, "Got an empty dict as modalities, expected a dict"),
    "a name that is no string": ({"modalities": {1: [0]}}, "Got modality name 1, expected a str"),
}


@pytest.mark.parametrize("parameters, message", BAD_MODALITIES.values(), ids=BAD_MODALITIES)
@pytest.mark.parametrize("make_estimator", [umc, PooledFeatures])
def test_fit_refuses_bad_modalities_of_a_table(make_estimator, parameters, message):
    table = pd.DataFrame(np.eye(4)[:, :3] + 1, columns=["a", "b", "c"])
    assert_refuses(make_estimator(**parameters), table, ValueError, message)


def test_column_names_need_a_frame():
    assert_refuses(
        umc(modalities={"text": "a"}),
        np.eye(4),
        ValueError,
        r"Got modalities\['text'\]='a', but X has no column names. Use column numbers, or pass a D",
    )


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_block_that_is_partly_nan_is_refused(kind):
    table = np.array([[NAN, NAN, 1.0, 2.0], [1.0, 2.0, 3.0, NAN], [NAN, 1.0, 1.0, 1.0]])
    modalities = {"text": kind([0, 1]), "audio": kind([2, 3])}
    message = "Modality 'text' is partly NaN in row 2"
    assert_refuses(umc(modalities=modalities), table, ValueError, message)


def test_a_row_without_the_chosen_modalities_is_refused_and_the_remedy_works():
    X = MultimodalData(text_and_audio() | {"audio": [None, [1.0], None] * 4})
    message = r"Every modality of \['audio'\] is missing in rows 0, 2, 3, 5, 6 and 3 more"
    assert_refuses(PooledFeatures(modalities=["audio"]), X, ValueError, message)
    with pytest.raises(ValueError) as caught:
        umc(modalities=["audio"]).fit(X)
    remedy = re.search(r"X\[X\.select.*?axis=1\)\]", str(caught.value)).group()
    assert len(PooledFeatures(modalities=["audio"]).fit_transform(eval(remedy))) == 4


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        (["text", "vdeo"], "Got modalities='vdeo', expected one of 'audio', 'text'"),
        (["texts"], "Got modalities='texts', .* Did you mean 'text'"),
        ([], r"Got modalities=\[\], expected one of 'audio', 'text'"),
        ([1], "Got modalities=1, expected one of 'audio', 'text'"),
        (
            {"text": [0]},
            r"Got modalities=\{'text': \[0\]\} for samples with named modalities, expected a list"
            " of names among 'text', 'audio'. A dict of columns is for 2-D tables",
        ),
    ],
)
@pytest.mark.parametrize("make_estimator", [umc, PooledFeatures])
def test_fit_refuses_bad_modalities_of_named_samples(make_estimator, modalities, message):
    X = MultimodalData(text_and_audio())
    assert_refuses(make_estimator(modalities=modalities), X, ValueError, message)


# how many clusters, and which anchor


def test_more_clusters_than_samples():
    message = "Got n_clusters=13 for n_samples=12. Choose n_clusters at most n_samples"
    assert_refuses(umc(n_clusters=13), text_and_audio(), ValueError, message)


@pytest.mark.parametrize("make", [MultimodalData, list, np.asarray], ids=["named", "list", "table"])
def test_more_clusters_than_distinct_samples(make):
    X = MultimodalData(text_and_audio())[[0, 1, 2] * 4]
    X = X if make is MultimodalData else make([s if make is list else s["text"][0] for s in X])
    message = (
        r"Got n_clusters=4, but X has only 3 distinct sample\(s\). Choose a smaller n_clusters"
    )
    assert_refuses(umc(n_clusters=4), X, ValueError, message)


def test_unknown_anchor():
    message = "Got anchor='txt', expected one of 'audio', 'text'. Did you mean 'text'?"
    assert_refuses(umc(anchor="txt"), text_and_audio(), ValueError, re.escape(message))


# after fit


@pytest.fixture(params=[umc, PooledFeatures])
def fitted(request):
    return request.param().fit(MultimodalData(text_and_audio()))


def method_of(estimator):
    return "predict" if hasattr(estimator, "predict") else "transform"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"text": np.ones((12, 4))},
            "'text' has width 4, but had width 5 in fit. Pass the same feat",
        ),
        (
            {"vdeo": np.ones((12, 4))},
            r"unknown modality 'vdeo', expected those of fit: 'text', 'audio'. .*select",
        ),
        (
            {"text": [None] * 12, "audio": [None] * 12},
            r"of \['text', 'audio'\] is missing in rows 0, 1",
        ),
        ({"text": np.full((12, 5), INF)}, r"'text' has infinite values \(inf\) in rows 0, 1, 2"),
    ],
)
@pytest.mark.parametrize("as_records", [False, True])
def test_predict_refuses_other_modalities(fitted, change, message, as_records):
    X = text_and_audio() | change
    if as_records:
        X = [dict(zip(X, row, strict=True)) for row in zip(*X.values(), strict=True)]
    assert_refuses(fitted, X, ValueError, message, method_of(fitted))


def test_predict_refuses_no_samples(fitted):
    X = MultimodalData(text_and_audio())[:0]
    assert_refuses(fitted, X, ValueError, r"Found 0 sample\(s\) .* minimum of 1", method_of(fitted))


@pytest.mark.parametrize("table", [np.ones((4, 2)), pd.DataFrame({"text": [1.0], "audio": [2.0]})])
def test_predict_refuses_a_table_after_named_modalities(fitted, table):
    message = "Got a 2-D table, expected the modalities of fit: 'text', 'audio'. Pass them by name"
    assert_refuses(fitted, table, ValueError, message, method_of(fitted))


@pytest.mark.parametrize("make_estimator", [umc, PooledFeatures])
def test_predict_refuses_what_a_table_did_not_have(make_estimator):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(6, 3)), columns=list("abc"))
    model = make_estimator(modalities={"text": ["a"], "audio": ["b", "c"]}).fit(table)
    method = method_of(model)
    for X, message in [
        (
            table[["a", "b"]],
            "(?s)feature names.*Feature names seen at fit time, yet now missing.*c",
        ),
        (table[["b", "a", "c"]], "Feature names must be in the same order"),
        (table.assign(a=INF), r"Modality 'text' has infinite values \(inf\) in rows 0, 1"),
        (table.assign(b=NAN), "Modality 'audio' is partly NaN in rows 0, 1"),
        ({"text": [[1.0, 2.0]]}, "Modality 'text' has width 2, but had width 1 in fit"),
        ([{"smell": [1.0]}], "unknown modality 'smell', expected those of fit: 'text', 'audio'"),
    ]:
        assert_refuses(model, X, ValueError, message, method)
    model = make_estimator().fit(table.to_numpy())
    message = "X has 2 features, but .* is expecting 3 features"
    assert_refuses(model, np.ones((2, 2)), ValueError, message, method)


@pytest.mark.parametrize("method", ["predict", "transform", "modality_weights", "score"])
def test_nothing_works_before_fit(method):
    with pytest.raises(NotFittedError, match="UMCClusterer instance is not fitted"):
        getattr(umc(), method)(text_and_audio())


# parameters

BAD_PARAMETERS = {
    "n_clusters": [0, -1, 2.0, "2", None],
    "modalities": ["text", 3],
    "anchor": [0, ["text"]],
    "text": [3, {"model": "bert"}],
    "supervised_views": [3, {"text"}],
    "callbacks": [3, print],
    "pretrain_epochs": [-1, 1.5, None],
    "max_epochs": [-1, 1.5, None],
    "patience": [0, -1, 1.5],
    "batch_size": [0, 1.5, None],
    "learning_rate": [0, 0.0, -1e-3, NAN, INF, "auto"],
    "pretrain_learning_rate": [0, -1e-3, NAN, INF],
    "device": [0, None],
    "precision": ["float16", torch.float32, None],
    "random_state": [-1, "seed", 1.5],
    "warm_start": ["yes", None, 2],
    "verbose": [-1, "yes", None],
}
PARTS = list(PART_CHOICES)
BAD_PART_PARAMETERS = {
    TextModel: {
        "name": [3, {"model": "bert"}],
        "n_trainable_layers": [-1, 1.5, "some", None],
        "learning_rate": [0, -1e-3, NAN, INF, None],
        "max_length": [0, 1.5, "long"],
        "layer": [-1, 1.5, "last"],
        "memory": [3, True],
    },
    PropagatedLabels: {"min_confidence": [-0.1, 1.1, "0.9", NAN]},
    Optimization: {
        "optimizer": ["adm", None, 1],
        "weight_decay": [-1e-9, NAN, INF, None],
        "warmup_proportion": [-0.01, 1.01, NAN, None],
        "schedule": ["cosinus", None, 1],
        "grad_clip": [0, -1.0, NAN, INF],
        "accumulate_steps": [0, 0.5, None],
        "weight_averaging": [-0.1, 1.0, "0.9", NAN, None],
        "min_epochs": [-1, 0.5],
        "checkpoint_dir": [3, True],
    },
    MemoryEstimate: {"max_memory": [0, -1, 1.5, "4GiB"]},
    ProgressLines: {"every": [0, 1.5]},
}
PLACES = {
    TextModel: lambda part: {"text": part},
    PropagatedLabels: lambda part: {"pseudo_labels": part},
    Optimization: lambda part: {"optimization": part},
    MemoryEstimate: lambda part: {"callbacks": [part]},
    ProgressLines: lambda part: {"callbacks": [part]},
}


def test_every_parameter_is_tried():
    constraints = UMCClusterer._parameter_constraints
    assert set(BAD_PARAMETERS) == set(constraints) - set(PARTS)
    assert set(constraints) == set(UMCClusterer().get_params(deep=False))


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_PARAMETERS.items() for value in values],
)
def test_a_parameter_outside_its_interval_is_named(name, value):
    message = rf"The '{name}' parameter of UMCClusterer must be .* Got {re.escape(repr(value))}"
    X = MultimodalData(text_and_audio())
    assert_refuses(umc(**{name: value}), X, InvalidParameterError, message)


@pytest.mark.parametrize("part", BAD_PART_PARAMETERS, ids=lambda part: part.__name__)
def test_every_parameter_of_a_part_is_tried(part):
    assert set(BAD_PART_PARAMETERS[part]) == set(part._parameter_constraints)
    assert set(BAD_PART_PARAMETERS[part]) == set(part().get_params(deep=False))


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (part, name, value)
        for part, parameters in BAD_PART_PARAMETERS.items()
        for name, values in parameters.items()
        for value in values
    ],
)
def test_a_parameter_of_a_part_outside_its_interval_is_named(part, name, value):
    message = f"The '{name}' parameter of {part.__name__} must be .* Got {re.escape(repr(value))}"
    estimator = umc(**PLACES[part](part(**{name: value})))
    assert_refuses(estimator, text_and_audio(), InvalidParameterError, message)


@pytest.mark.parametrize("name", ["standardize", "scale_blocks", "modalities"])
def test_a_parameter_of_pooled_features_outside_its_choices_is_named(name):
    message = f"The '{name}' parameter of PooledFeatures must be .* Got 'maybe'"
    estimator = PooledFeatures(**{name: "maybe"})
    assert_refuses(estimator, text_and_audio(), InvalidParameterError, message)


def test_an_unknown_device_is_named():
    message = "Got device='gpu', expected 'auto', 'cpu', 'cuda'"
    assert_refuses(umc(device="gpu"), text_and_audio(), ValueError, message)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_named():
    message = "Got device='cuda', but torch finds no CUDA device. Use device='auto' or 'cpu'"
    assert_refuses(umc(device="cuda"), text_and_audio(), ValueError, message)


class Nothing:
    """A part that can do nothing."""

    def __repr__(self):
        return "Nothing()"


@pytest.mark.parametrize(
    ("part", "lacking"),
    [
        ("encoder", "build()"),
        ("neighbors", "build(), refresh()"),
        ("pairs", "prepare(), sample(), encode()"),
        ("pseudo_labels", "label()"),
        ("losses", "terms()"),
        ("threshold", "update()"),
        ("selector", "select()"),
        ("kmeans", "fit(), get_params(), set_params()"),
        ("monitor", "__call__()"),
    ],
)
def test_a_part_without_its_method_is_refused(part, lacking):
    message = f"Got {part}=Nothing() of type Nothing, which has no method {lacking}. Pass None for "
    assert_refuses(umc(**{part: Nothing()}), text_and_audio(), TypeError, re.escape(message))


def test_another_optimization_is_refused():
    message = r"Got optimization=Nothing\(\), expected an instance of skumc.training.Optimization"
    assert_refuses(umc(optimization=Nothing()), text_and_audio(), TypeError, message)


@pytest.mark.parametrize(
    ("part", "name", "meant"),
    [
        ("encoder", "projections", "projection"),
        ("neighbors", "grph", "graph"),
        ("pairs", "view", "views"),
        ("pseudo_labels", "propagatd", "propagated"),
        ("optimization", "defawlt", "default"),
        ("losses", "ucm", "umc"),
        ("threshold", "adaptiv", "adaptive"),
        ("selector", "densty", "density"),
        ("kmeans", "minibach", "minibatch"),
        ("monitor", "silhoutte", "silhouette"),
    ],
)
def test_an_unknown_name_of_a_part_is_refused(part, name, meant):
    message = rf"Got {part}='{name}', expected one of .*'{meant}'.* Did you mean '{meant}'\?"
    assert_refuses(umc(**{part: name}), text_and_audio(), ValueError, message)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"kmeans": DBSCAN()},
            TypeError,
            r"Got kmeans=DBSCAN\(\), which lacks the parameters \['init', 'n_clusters', 'n_init'\]"
            ". Pass an estimator like KMeans",
        ),
        ({"losses": {"supcn": 1.0}}, ValueError, "'supcn', expected one of .*mean 'supcon'"),
        ({"losses": {"supcon": -1.0}}, ValueError, r"'supcon_weight' .* \[0.0, inf\). Got -1.0"),
        ({"losses": {"supcon": NAN}}, ValueError, r"'supcon_weight' .* \[0.0, inf\). Got nan"),
        ({"losses": {"supcon": Nothing()}}, TypeError, r"Got supcon=Nothing\(\) .* not callable"),
        (
            {"threshold": AdaptiveThreshold(max_threshold=2)},
            ValueError,
            "'max_threshold' parameter of AdaptiveThreshold must be .* Got 2",
        ),
        (
            {"selector": DensitySelector(criterion="tight")},
            ValueError,
            "'criterion' parameter of DensitySelector must be .* Got 'tight'",
        ),
    ],
)
def test_bad_values_inside_a_part_are_named(parameters, error, message):
    assert_refuses(umc(**parameters), text_and_audio(), error, message)


# constructors of the container


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: MultimodalData([1, 2]), "Got list as modalities, expected a dict with at least"),
        (lambda: MultimodalData({"a": np.eye(3)}, index=[1, 2]), "index of length 2 for 3 samples"),
        (lambda: MultimodalData.from_records([]), "Got no records, expected a list with one dict"),
        (lambda: MultimodalData.from_views([]), "Got an empty dict as modalities"),
        (
            lambda: MultimodalData.from_views([np.eye(2)], names=["a", "b"]),
            r"Got names=\['a', 'b'\], expected 1 different names, one per view",
        ),
        (
            lambda: MultimodalData.from_views([np.eye(2)] * 2, names=["a", "a"]),
            "expected 2 different names",
        ),
        (
            lambda: MultimodalData.from_padded({"a": np.zeros((2, 3, 1))}, [1, 2]),
            "lengths that do not name .* expected a dict with lengths for each of 'a'",
        ),
        (
            lambda: MultimodalData.from_padded(np.zeros((2, 3)), [1, 2]),
            r"Modality 'features': got an array of shape \(2, 3\) .* expected numbers \(n_samples",
        ),
        (
            lambda: MultimodalData.from_padded(np.zeros((2, 3, 1)), [1, 4], name="audio"),
            r"Modality 'audio': got lengths .* expected 2 whole numbers in \[0, 3\]",
        ),
        (
            lambda: MultimodalData.from_padded(np.zeros((2, 3, 1)), [1, -1]),
            r"expected 2 whole numbers in \[0, 3\]",
        ),
        (
            lambda: MultimodalData.from_padded(np.zeros((2, 3, 1)), [1.0, 2.0]),
            r"type float64, expected 2 whole numbers in \[0, 3\]",
        ),
        (
            lambda: MultimodalData.from_padded(np.zeros((2, 3, 1)), [1, 2, 3]),
            r"lengths of shape \(3,\) .* expected 2 whole numbers",
        ),
        (
            lambda: MultimodalData({"text": np.eye(2)}).select(["txt"]),
            "Got modality='txt', expected one of 'text'. Did you mean 'text'",
        ),
        (
            lambda: MultimodalData({"text": np.eye(2)}).select("text"),
            "Got modality names='text', expected a list of at least one of 'text'",
        ),
        (lambda: MultimodalData({"text": np.eye(2)}).select([]), r"names=\[\], expected a list"),
        (lambda: MultimodalData({"text": np.eye(2)}).packed("txt"), "Did you mean 'text'"),
        (lambda: MultimodalData({"text": np.eye(2)}).sequences("txt"), "Did you mean 'text'"),
    ],
)
def test_constructors_and_lookups_name_what_is_wrong(construct, message):
    with pytest.raises(ValueError, match=message):
        construct()


# found by a cold review


K2 = {"pretrain_epochs": 1, "max_epochs": 2, "random_state": 0, "encoder": "projection"}


@pytest.mark.parametrize(
    "X",
    [
        np.array([[0.0], [-0.0]]),
        MultimodalData({"a": [np.ones((1, 2)), np.ones((2, 2))]}),
    ],
    ids=["signed zero", "differ in length only"],
)
def test_samples_that_look_alike_are_not_distinct(X):
    with pytest.raises(ValueError, match=r"n_clusters=2, but X has only 1 distinct sample"):
        UMCClusterer(2, **K2).fit(X)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_extreme_scales_are_clustered(scale):
    X = np.random.default_rng(0).normal(size=(24, 4)) + np.repeat([0, 9], 12)[:, None]
    assert len(set(UMCClusterer(2, **K2).fit(X * scale).labels_)) == 2


def test_a_modality_that_fit_never_saw_is_left_out_in_predict():
    X = np.random.default_rng(0).normal(size=(24, 4))
    records = [{"text": x, "audio": x if i < 12 else None} for i, x in enumerate(X)]
    fitted = UMCClusterer(2, **K2).fit(records[12:])
    np.testing.assert_array_equal(
        fitted.modality_weights(records[:12]), np.tile([1.0, 0.0], (12, 1))
    )
    with pytest.raises(ValueError, match=r"Every modality of \['text', 'audio'\] is missing"):
        fitted.predict([{"audio": X[0]}])


def test_masks_of_tables_count():
    X = np.random.default_rng(0).normal(size=(24, 4))
    mask = np.zeros((24, 4), bool)
    mask[:3, 2:] = True
    masked = np.ma.masked_array(X, mask=mask)
    fitted = UMCClusterer(2, modalities={"a": [0, 1], "b": [2, 3]}, **K2).fit(masked)
    assert (fitted.modality_weights(masked)[:3, 1] == 0).all()
    with pytest.raises(ValueError, match="partly NaN"):
        UMCClusterer(2, **K2).fit(np.ma.masked_array(X, mask=np.eye(24, 4)))


def test_numbers_kept_as_objects_are_a_table():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 4)), columns=list("abcd"))
    fitted = UMCClusterer(2, **K2).fit(frame.astype({"a": object}))
    assert fitted.modality_widths_ == {"features": 4}
    np.testing.assert_array_equal(fitted.predict(frame.astype(object)), fitted.labels_)


def test_integer_column_labels_are_labels():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 4)), columns=[1, 2, 3, 4])
    by_label = UMCClusterer(2, modalities={"a": [1, 4]}, **K2).fit(frame)
    by_place = UMCClusterer(2, modalities={"a": [0, 3]}, **K2).fit(frame.to_numpy())
    np.testing.assert_array_equal(by_label.embedding_, by_place.embedding_)


def test_index_of_a_container_is_kept_in_pandas_output():
    names = pd.Index([f"call{i}" for i in range(24)])
    X = MultimodalData({"a": np.random.default_rng(0).normal(size=(24, 4))}, index=names)
    clusterer = UMCClusterer(2, **K2).set_output(transform="pandas")
    assert clusterer.fit_transform(X).index.equals(names)
    found = clusterer.transform(X[[3, 4]])
    assert list(found.index) == ["call3", "call4"]
    assert found.columns[0] == "umcclusterer0"


class Module(torch.nn.Module):
    """An encoder without parameters that gives what a test says."""

    def __init__(self, give):
        super().__init__()
        self.give = give

    def forward(self, batch):
        return self.give(torch.nn.functional.normalize(batch["features"][0].float(), dim=-1))


def _triple(h, gates=None):
    return h, torch.ones(len(h), 1) if gates is None else gates, {}


def test_an_encoder_without_parameters_is_clustered_as_it_is():
    X = np.random.default_rng(0).normal(size=(24, 4))
    fitted = UMCClusterer(2, **(K2 | {"encoder": Module(_triple)})).fit(X)
    np.testing.assert_allclose(
        fitted.embedding_, X / np.linalg.norm(X, axis=1, keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize(
    ("give", "error", "message"),
    [
        (lambda h: h, TypeError, "returned Tensor, expected an EncoderOutput.*Check encoder="),
        (lambda h: (h, None, {}), ValueError, "returned gates of shape NoneType.*Check encoder="),
        (
            lambda h: _triple(h[:2]),
            ValueError,
            r"returned embedding of shape \(2, 4\) for 4 samples",
        ),
        (lambda h: _triple(2 * h), ValueError, "lengths 2 to 2, expected unit norm"),
    ],
)
def test_encoder_that_breaks_its_contract_is_named(give, error, message):
    X = np.random.default_rng(0).normal(size=(24, 4))
    with pytest.raises(error, match=message):
        UMCClusterer(2, **(K2 | {"encoder": Module(give), "pretrain_epochs": 0})).fit(X)


def test_encoder_that_builds_no_module_is_named():
    class Spec:
        def build(self, statistics, anchor):
            return 3

    with pytest.raises(TypeError, match="built int, expected a torch.nn.Module"):
        UMCClusterer(2, encoder=Spec()).fit(np.eye(4))


def test_kmeans_that_cannot_start_from_centers_is_named():
    X = np.random.default_rng(0).normal(size=(24, 4))
    with pytest.raises(ValueError, match="kmeans=BisectingKMeans.*from given centers"):
        UMCClusterer(2, kmeans=BisectingKMeans(), **K2).fit(X)


@pytest.mark.parametrize("sample_size", [0, "x"])
def test_monitor_sample_size_is_checked(sample_size):
    with pytest.raises(ValueError, match=r"'sample_size' .* \[2, inf\). Got"):
        UMCClusterer(2, monitor=SilhouetteMonitor(sample_size), **K2).fit(np.eye(4))


def test_loss_of_another_role_is_named():
    X = np.random.default_rng(0).normal(size=(24, 4))
    with pytest.raises(TypeError, match="The loss 'infonce' failed.*called with 1 tensor"):
        UMCClusterer(2, losses={"infonce": SupConLoss()}, **K2).fit(X)


def test_nested_parameters_of_losses_given_as_a_dict():
    clusterer = UMCClusterer(losses={"supcon": 2.0}).set_params(losses__supcon__temperature=0.5)
    assert clusterer.losses.supcon_weight == 2.0 and clusterer.losses.supcon.temperature == 0.5


@pytest.mark.parametrize("encoder", ["projection", UMCEncoder(cross_attention=False)])
def test_attention_weights_need_cross_attention(encoder):
    X = {"a": np.random.default_rng(0).normal(size=(24, 4)), "b": np.ones((24, 1))}
    fitted = UMCClusterer(2, **(K2 | {"encoder": encoder, "max_epochs": 0})).fit(X)
    with pytest.raises(AttributeError, match="has no attention_weights.*cross-attention"):
        fitted.attention_weights(X)
