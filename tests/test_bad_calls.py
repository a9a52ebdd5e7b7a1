"""Every public name with bad values: each ends in a documented error that names the argument.

The parameters of ``UMCClusterer`` and of its parts, and the forms of X, have tables of their own
in ``test_bad_input.py``.
"""

import functools
import importlib
import inspect
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from skumc import MultimodalData, UMCClusterer
from skumc.curriculum import CentroidSelector, DensitySelector, RandomSelector
from skumc.data import Ragged
from skumc.datasets import load_iemocap_da, load_meld_da, load_mintrec, make_multimodal_blobs
from skumc.feature_extraction import (
    LogMelFeatures,
    MultimodalFeatures,
    PooledFeatures,
    SwinFeatures,
    TransformerTextFeatures,
    WavLMFeatures,
)
from skumc.metrics import clustering_accuracy, clustering_scorer, clustering_scores
from skumc.model_selection import (
    AllSamples,
    UnsupervisedSearchCV,
    candidate_parameters,
    density_validity_score,
    embedding_silhouette_score,
    estimate_n_clusters,
    input_calinski_harabasz_score,
    input_silhouette_score,
    modality_agreement_score,
    neighborhood_modularity_score,
    prediction_strength_score,
    select_candidate,
)
from skumc.pairs import supervised_views
from skumc.plotting import (
    AttentionDisplay,
    ClusterSizesDisplay,
    ContingencyDisplay,
    EmbeddingDisplay,
    GatesDisplay,
    NClustersDisplay,
    TrainingDisplay,
)
from skumc.pseudo_labels import label_means
from skumc.report import cluster_report, distinctive_words

NAN, INF = math.nan, math.inf
MODULES = (
    "skumc",
    *(f"skumc.{name}" for name in (
        "curriculum", "data", "datasets", "encoders", "feature_extraction", "losses", "metrics",
        "model_selection", "neighbors", "pairs", "persistence", "plotting", "pseudo_labels",
        "report", "text", "training",
    )),
)  # fmt: skip

# Names without arguments that a user could get wrong: types of results, types to derive from,
# errors, and modules that are built by a specification, which checks their arguments.
WITHOUT_ROWS = {
    "Batch", "Encoder", "EncoderOutput", "EncoderSpecification", "EncoderWithText",
    "FrameStatistics", "GuidedStream", "OptionalEncoderMethods", "RepeatableBatches", "Sequences",
    "Callback", "GradientNorms", "History", "OutputGradient", "StepReport", "TrainingState",
    "BaseLoss", "BasePairs", "Role", "ROLES", "PseudoLabels", "TextBackbone", "TextReader",
    "TextTower", "ClusterReport", "ClusterSummary", "ColumnEffect", "ReportSample", "Word",
    "NClustersEstimate", "DatasetError", "UnsafePickleError", "SavedClustererError",
    "CausalNetwork", "ConcatenationFusion", "DualProjection", "GatedFusion", "LinearProjection",
    "ModalityProjection", "MultiHeadAttention", "ProjectionNetwork", "SelfAttention",
    "Standardization", "TextGuidedFusion", "UMCNetwork", "AttentionPooling",
    # of tensors, called by encoders and losses
    "checked_output", "encode_summaries", "encode_views", "hide_modalities", "log_deviations",
    "masked_mean", "segment_means", "batch_centers", "role_of",
}  # fmt: skip


@functools.cache
def data():
    return make_multimodal_blobs(40, 3, random_state=0)[0]


@functools.cache
def fitted():
    return UMCClusterer(3, pretrain_epochs=1, max_epochs=1, random_state=0).fit(data())


def table():
    return pd.DataFrame({"a": [1.0, 2.0, 3.0], "s": ["x", "y", "z"]})


MISSING = "is missing in rows 0, 1|No sample of X has any"


def of_samples(call):
    """Rows for a function of X."""
    given = "expected the modalities of fit: 'text', 'audio', 'video'"
    return {
        (lambda: call(None)): (ValueError, f"Got X of type NoneType.*{given}"),
        (lambda: call("abc")): (ValueError, f"Got X of type str.*{given}"),
        (lambda: call(np.ones((3, 2)))): (ValueError, f"Got a 2-D table, {given}"),
        (lambda: call(data()[:0])): (ValueError, r"Found 0 sample.*Pass more samples"),
        (lambda: call({"text": np.full((4, 16), NAN)})): (
            ValueError,
            MISSING,
        ),
        (lambda: call({"text": np.full((4, 16), INF)})): (ValueError, "'text' has infinite values"),
        (lambda: call({"text": np.ones((4, 2))})): (
            ValueError,
            "'text' has width 2, but had",
        ),
        (lambda: call({"smell": np.ones((4, 2))})): (ValueError, "unknown modality 'smell'"),
    }


def of_estimator(call, accepts_others=False):
    """Rows for a function of an estimator and X."""
    rows = {
        (lambda: call(None, data())): (TypeError, "Got NoneType.*expected a fitted"),
        (lambda: call(UMCClusterer(), data())): (NotFittedError, "UMCClusterer instance is not"),
    }
    if not accepts_others:
        rows[lambda: call(KMeans(2).fit(np.eye(4)), data())] = (TypeError, "Got KMeans, expected")
    return rows | of_samples(lambda X: call(fitted(), X))


def of_folder(call):
    bad = "Got folder={}.* expected a str or a path"
    return {
        (lambda: call(None)): (TypeError, bad.format("None")),
        (lambda: call(3)): (TypeError, bad.format("3")),
        (lambda: call(b"x")): (TypeError, bad.format("b'x'")),
    }


def search(**parameters):
    estimator = UMCClusterer(3, pretrain_epochs=0, max_epochs=0)
    given = {"estimator": estimator, "param_grid": {"batch_size": [8]}} | parameters
    return UnsupervisedSearchCV(**given).fit(data())


def method(name, *arguments, **named):
    """A call of a method of a fitted clusterer that stays as it was."""
    return lambda: getattr(fitted(), name)(*arguments, **named)


SHARE = r"expected a number in \[0, 1\]"
COUNTS = "expected whole numbers of 2 or more"
ROWS = {
    # the clusterer
    "UMCClusterer.predict": of_samples(lambda X: fitted().predict(X))
    | {
        method("predict", data(), reject=value): (ValueError, f"Got reject=.*{SHARE}")
        for value in (-0.1, 1.5, NAN, "a", True, [0.1])
    }
    | {
        method("predict", data(), missing_rows=value): (ValueError, "Got missing_rows=")
        for value in ("zeros", None, 3)
    },
    "UMCClusterer.is_outlier": of_samples(lambda X: fitted().is_outlier(X))
    | {
        method("is_outlier", data(), quantile=value): (ValueError, f"Got quantile=.*{SHARE}")
        for value in (-0.1, 1.5, NAN, "a", None, True)
    },
    "UMCClusterer.transform": of_samples(lambda X: fitted().transform(X))
    | {method("transform", data(), missing_rows=3): (ValueError, "Got missing_rows=3")},
    "UMCClusterer.modality_weights": of_samples(lambda X: fitted().modality_weights(X))
    | {method("modality_weights", data(), missing_rows=3): (ValueError, "Got missing_rows=3")},
    "UMCClusterer.attention_weights": of_samples(lambda X: fitted().attention_weights(X)),
    "UMCClusterer.predict_proba": of_samples(lambda X: fitted().predict_proba(X)),
    "UMCClusterer.score_samples": of_samples(lambda X: fitted().score_samples(X)),
    "UMCClusterer.score": of_samples(lambda X: fitted().score(X)),
    "UMCClusterer.partial_fit": of_samples(lambda X: fitted().partial_fit(X)),
    "UMCClusterer.save": of_folder(lambda folder: fitted().save(folder))
    | {
        (lambda: UMCClusterer().save("folder")): (NotFittedError, "is not fitted"),
        method("save", "x", include_text_model=True): (ValueError, "Got include_text_model=True"),
        method("save", "x", include_text_model=3): (TypeError, "Got include_text_model=3"),
        method("save", "x", include_embedding="yes"): (TypeError, "Got include_embedding='yes'"),
    },
    "UMCClusterer.load": of_folder(UMCClusterer.load)
    | {
        (lambda: UMCClusterer.load("/no/such/folder")): (FileNotFoundError, "not a folder"),
        (lambda: UMCClusterer.load(".", device="nope")): (ValueError, "Got device='nope'"),
    },
    "UMCClusterer.push_to_hub": {
        method("push_to_hub", None): (TypeError, "Got repo_id=None"),
        method("push_to_hub", ""): (TypeError, "Got repo_id=''"),
        method("push_to_hub", "a b/c"): (ValueError, "Repo id"),
    },
    "UMCClusterer.from_pretrained": {
        (lambda: UMCClusterer.from_pretrained(None)): (TypeError, "Got repo_id=None"),
        (lambda: UMCClusterer.from_pretrained(3)): (TypeError, "Got repo_id=3"),
        (lambda: UMCClusterer.from_pretrained("x/y/z")): (ValueError, "Repo id"),
    },
    "UMCClusterer.from_preset": {
        (lambda: UMCClusterer.from_preset("acl2042")): (ValueError, "Did you mean 'acl2024'"),
        (lambda: UMCClusterer.from_preset(["source"])): (ValueError, "Got name="),
        (lambda: UMCClusterer.from_preset("source", epochs=3)): (ValueError, "parameter 'epochs'"),
    },
    "UMCClusterer.set_params": {
        (lambda: UMCClusterer().set_params(nope=3)): (ValueError, "Invalid parameter 'nope'"),
        (lambda: UMCClusterer().set_params(kmeans__k=3)): (ValueError, "Invalid parameter 'k'"),
    },
    # containers
    "MultimodalData": {
        (lambda: MultimodalData(None)): (ValueError, "Got NoneType as modalities"),
        (lambda: MultimodalData({})): (ValueError, "at least one modality"),
        (lambda: MultimodalData(np.ones((3, 2)))): (ValueError, "Got ndarray as modalities"),
        (lambda: data()[99]): (IndexError, r"Got row numbers from 99 to 99"),
        (lambda: data()[1.5]): (IndexError, "expected row numbers, a boolean mask or a slice"),
        (lambda: data()[[True]]): (IndexError, "Got a mask of length 1"),
    },
    "MultimodalData.concat": {
        (lambda: MultimodalData.concat(None)): (ValueError, "Got NoneType, expected a list"),
        (lambda: MultimodalData.concat([])): (ValueError, "at least one MultimodalData"),
        (lambda: MultimodalData.concat(data())): (ValueError, "Got MultimodalData, exp"),
        (lambda: MultimodalData.concat([data(), 3])): (ValueError, "list with Multimodal"),
        (lambda: MultimodalData.concat([data(), MultimodalData({"text": np.ones((2, 1))})])): (
            ValueError, "'text' differs between the containers",
        ),
    },
    "MultimodalData.select": {
        (lambda: data().select(["nope"])): (ValueError, "Got modality='nope'"),
        (lambda: data().select("text")): (ValueError, "expected a list"),
        (lambda: data().select(3)): (ValueError, "Got modality names=3"),
    },
    "MultimodalData.sequences": {
        (lambda: data().sequences("nope")): (ValueError, "Got modality='nope'"),
    },
    "MultimodalData.packed": {
        (lambda: data().packed("nope")): (ValueError, "Got modality='nope'"),
    },
    "MultimodalData.with_absent": {
        (lambda: data().with_absent(3)): (TypeError, "Got widths=3, expected a dict"),
    },
    "MultimodalData.with_frames": {
        (lambda: data().with_frames(3)): (TypeError, "Got frames=3, expected a dict"),
    },
    "MultimodalData.from_views": {
        (lambda: MultimodalData.from_views(3)): (TypeError, "Got views=3"),
        (lambda: MultimodalData.from_views([])): (ValueError, "at least one"),
    },
    "MultimodalData.from_padded": {
        (lambda: MultimodalData.from_padded(3, 3)): (ValueError, r"got an array of shape \(\)"),
    },
    "MultimodalData.from_records": {
        (lambda: MultimodalData.from_records(3)): (TypeError, "Got records of type int"),
        (lambda: MultimodalData.from_records([])): (ValueError, "Got no records"),
    },
    "MultimodalData.from_frame": {
        (lambda: MultimodalData.from_frame(3)): (TypeError, "Got frame of type int"),
    },
    "Ragged": {
        (lambda: Ragged(np.ones((3, 2)), [1, 1])): (ValueError, "length"),
    },
    # data sets
    "make_multimodal_blobs": {
        (lambda: make_multimodal_blobs(0)): (ValueError, "Got n_samples=0"),
        (lambda: make_multimodal_blobs(3.5)): (ValueError, "Got n_samples=3.5"),
        (lambda: make_multimodal_blobs(9, 0)): (ValueError, "Got n_clusters=0"),
        (lambda: make_multimodal_blobs(9, 2, center_scale=-1)): (ValueError, "Got center_scale=-1"),
        (lambda: make_multimodal_blobs(9, 2, missing=1.5)): (ValueError, "Got missing for 'text'"),
        (lambda: make_multimodal_blobs(9, 2, lengths=0)): (ValueError, "Got lengths for 'text'=0"),
        (lambda: make_multimodal_blobs(9, 2, n_informative_frames=0)): (
            ValueError, "Got n_informative_frames for 'text'=0",
        ),
    },
    **{
        load.__name__: of_folder(load)
        | {(lambda load=load: load("/no")): (FileNotFoundError, "train.tsv is missing")}
        for load in (load_mintrec, load_meld_da, load_iemocap_da)
    },
    # features
    "LogMelFeatures": {
        (lambda: LogMelFeatures().fit_transform(None)): (ValueError, "Got X of type NoneType"),
        (lambda: LogMelFeatures().fit_transform([])): (ValueError, "Found 0 samples"),
        (lambda: LogMelFeatures().fit_transform([3])): (ValueError, "Row 0: got int"),
        (lambda: LogMelFeatures().fit_transform(["/no.wav"])): (ValueError, "could not be read"),
        (lambda: LogMelFeatures().fit_transform([np.zeros(99)])): (ValueError, "sampling_rate="),
    },
    "WavLMFeatures": {
        (lambda: WavLMFeatures(3).fit([None])): ((TypeError, ValueError), "Got .*3"),
    },
    "SwinFeatures": {
        (lambda: SwinFeatures(3).fit([None])): ((TypeError, ValueError), "Got .*3"),
    },
    "TransformerTextFeatures": {
        (lambda: TransformerTextFeatures(3).fit()): (ValueError, "3"),
    },
    "MultimodalFeatures": {
        (lambda: MultimodalFeatures().fit(table())): (ValueError, "Got none of text="),
        (lambda: MultimodalFeatures(n=3).fit(table())): (ValueError, "Got n=3"),
        (lambda: MultimodalFeatures(n=(StandardScaler(), ["b"])).fit(table())): (
            ValueError, r"Got columns\['n'\]='b'",
        ),
        (lambda: MultimodalFeatures(n=(StandardScaler(), ["a"])).fit(None)): (
            ValueError, "Got X of type NoneType",
        ),
        (lambda: MultimodalFeatures(n=(StandardScaler(), ["a"])).fit(table()[:0])): (
            ValueError, "Found 0 samples",
        ),
    },
    "PooledFeatures": {
        (lambda: PooledFeatures().transform(data())): (NotFittedError, "is not fitted"),
        (lambda: PooledFeatures().fit(None)): (ValueError, "Expected 2D array|Got"),
    },
    # metrics
    **{
        function.__name__: {
            (lambda f=function: f([1, 2], [1])): (ValueError, "2 labels in y_true and 1 in y_pred"),
            (lambda f=function: f([], [])): (ValueError, "at least one sample"),
            (lambda f=function: f([1, NAN], [0, 1])): (ValueError, "missing labels"),
            (lambda f=function: f(None, [1])): (ValueError, r"shape \(n_samples,\)"),
        }
        for function in (clustering_scores, clustering_accuracy)
    },
    "clustering_scorer": of_samples(lambda X: clustering_scorer(fitted(), X, np.zeros(4))),
    # choice without labels
    "modality_agreement_score": of_estimator(modality_agreement_score),
    "embedding_silhouette_score": of_estimator(embedding_silhouette_score),
    "neighborhood_modularity_score": of_estimator(neighborhood_modularity_score, True),
    "density_validity_score": of_estimator(density_validity_score, True),
    "input_silhouette_score": of_estimator(input_silhouette_score, True),
    "input_calinski_harabasz_score": of_estimator(input_calinski_harabasz_score, True),
    "prediction_strength_score": of_estimator(prediction_strength_score, True),
    "select_candidate": {
        (lambda: select_candidate(None)): (TypeError, "Got cv_results of type NoneType"),
        (lambda: select_candidate({})): (ValueError, "expected some mean_test_"),
        (lambda: select_candidate({"mean_test_a": ["x"]})): (ValueError, "not numbers"),
        (lambda: select_candidate({"mean_test_a": [NAN]})): (ValueError, "No candidate has finite"),
        (lambda: select_candidate({"mean_test_a": [1], "mean_test_b": [1, 2]})): (
            ValueError, "one of each per candidate",
        ),
        **{
            (lambda m=margin: select_candidate({"mean_test_a": [1, 2]}, margin=m)): (
                ValueError, "Got margin=",
            )
            for margin in (-1, NAN, INF, "x", True)
        },
    },
    "candidate_parameters": {
        (lambda: candidate_parameters(None)): (ValueError, "Expected 2D array"),
        (lambda: candidate_parameters(data()[:0])): (ValueError, "Found 0 sample"),
    },
    "estimate_n_clusters": {
        **{
            (lambda c=candidates: estimate_n_clusters(data(), c)): (ValueError, "Got candidates=")
            for candidates in (3, "auto", [], [0], [2, "x"], [2.5], [-1])
        },
        (lambda: estimate_n_clusters(None)): (ValueError, "Expected 2D array"),
        (lambda: estimate_n_clusters(data(), estimator=3)): (TypeError, "Got estimator=3"),
        (lambda: estimate_n_clusters(data(), estimator=KMeans())): (TypeError, "Got estimator=K"),
    },
    "UnsupervisedSearchCV": {
        **{
            (lambda n=name, v=value: search(**{n: v})): (InvalidParameterError, f"'{name}'")
            for name, value in {
                "param_grid": 3, "cv": 0, "factor": 1, "memory": 3, "n_jobs": "x",
                "random_state": "x", "verbose": "x", "error_score": "x",
            }.items()
        },
        (lambda: search(param_grid={"nope": [1]})): (ValueError, "Invalid parameter 'nope'"),
        (lambda: search(refit="nope")): (ValueError, "refit"),
        (lambda: UnsupervisedSearchCV(UMCClusterer()).predict(data())): (
            NotFittedError, "is not fitted",
        ),
    },
    "AllSamples": {
        (lambda: list(AllSamples().split(None))): (TypeError, "Expected sequence or array-like"),
    },
    # report and pictures
    "cluster_report": of_estimator(cluster_report, True)
    | {
        (lambda: cluster_report(fitted(), data(), raw=3)): (TypeError, "Got raw=3"),
        (lambda: cluster_report(fitted(), data(), raw=["a"])): (ValueError, "raw= with 1 rows"),
        (lambda: cluster_report(fitted(), data(), columns=3)): (ValueError, "columns= of type int"),
        (lambda: cluster_report(fitted(), data(), columns={"a": [1]})): (ValueError, "columns= w"),
        (lambda: cluster_report(fitted(), data(), labels=[1])): (ValueError, "labels"),
        (lambda: cluster_report(fitted(), data(), namer=3)): (TypeError, "Got namer=3"),
        (lambda: cluster_report(fitted(), data(), n_words=-1)): (ValueError, "Got n_words=-1"),
        (lambda: cluster_report(fitted(), data(), n_examples=0.5)): (ValueError, "Got n_examples"),
        (lambda: cluster_report(fitted(), data()).to_html(3)): (TypeError, "Got path=3"),
    },
    "distinctive_words": {
        (lambda: distinctive_words(["a"], np.array([0, 1]), 2)): (ValueError, "Got 1 texts"),
    },
    "title_from_words": {},  # joins what it gets
    "AttentionDisplay": {
        (lambda: AttentionDisplay.from_estimator(None, data())): (TypeError, "NoneType has no att"),
        (lambda: AttentionDisplay.from_estimator(UMCClusterer(), data())): (
            NotFittedError, "is not fitted",
        ),
    },
    "ClusterSizesDisplay": of_estimator(ClusterSizesDisplay.from_estimator, True),
    "EmbeddingDisplay": of_estimator(EmbeddingDisplay.from_estimator, True),
    "GatesDisplay": of_estimator(GatesDisplay.from_estimator, True),
    "ContingencyDisplay": of_estimator(
        lambda estimator, X: ContingencyDisplay.from_estimator(estimator, X, np.zeros(4)), True
    ),
    "NClustersDisplay": {
        (lambda: NClustersDisplay.from_estimator(None)): (ValueError, "without a curve"),
        (lambda: NClustersDisplay.from_estimator(fitted())): (ValueError, 'n_clusters="auto"'),
    },
    "TrainingDisplay": {
        (lambda: TrainingDisplay.from_estimator(None)): (TypeError, "without history_"),
        (lambda: TrainingDisplay.from_estimator(UMCClusterer())): (TypeError, "without history_"),
    },
    # parts that can be called by themselves
    "supervised_views": {
        (lambda: supervised_views(3, ["text"], "text", {})): (TypeError, "Got supervised_views=3"),
        (lambda: supervised_views("all", ["text"], "text", {})): (ValueError, "Got supervised_v"),
        (lambda: supervised_views([["x"]], ["text"], "text", {})): (ValueError, "none of them"),
    },
    "leave_one_out_views": {},  # takes any names
    "label_means": {
        (lambda: label_means(np.ones((2, 1)), np.array([0]), 1)): (ValueError, "2 values and 1"),
        (lambda: label_means(np.ones((1, 1)), np.array([3]), 1)): (ValueError, r"label in \["),
        (lambda: label_means(np.ones((1, 1)), np.array([-1]), 1)): (ValueError, "from -1"),
    },
    **{
        selector.__name__: {
            (lambda s=selector: s().select(np.ones((3, 2)), np.zeros(3, int), NAN)): (
                ValueError, "threshold",
            ),
            (lambda s=selector: s().select(np.ones((3, 2)), np.zeros(2, int), 0.5)): (
                ValueError, "labels",
            ),
        }
        for selector in (DensitySelector, CentroidSelector, RandomSelector)
    },
}  # fmt: skip


def public():
    """Public names, and the public methods of the classes with rows for methods."""
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            yield name, getattr(importlib.import_module(module), name)


def test_every_public_name_has_a_verdict():
    lacking = []
    for name, value in public():
        is_checked = inspect.isclass(value) and (
            hasattr(value, "_parameter_constraints")
            or (issubclass(value, BaseEstimator) and not inspect.signature(value).parameters)
        )
        if not (name in ROWS or name in WITHOUT_ROWS or is_checked or name == "UMCClusterer"):
            lacking.append(name)
    assert not lacking
    known = dict(public())
    assert set(WITHOUT_ROWS) <= set(known)
    assert {name.partition(".")[0] for name in ROWS} <= set(known)


OF_SCIKIT_LEARN = {
    "fit", "fit_predict", "fit_transform",  # forms of X: test_bad_input.py
    "get_params", "get_metadata_routing", "set_output", "set_callbacks", "get_feature_names_out",
}  # fmt: skip
WITHOUT_ARGUMENTS = {
    "MultimodalData.to_frame", "MultimodalData.count_distinct", "MultimodalData.names",
    "MultimodalData.widths", "MultimodalData.shape", "MultimodalData.lengths",
    "MultimodalData.present", "MultimodalData.index",
}  # fmt: skip


@pytest.mark.parametrize("kind", [UMCClusterer, MultimodalData])
def test_every_public_method_has_a_row(kind):
    names = {name for name in dir(kind) if not name.startswith("_")}
    names -= {name for name in names if re.fullmatch("set_.*_request", name)}
    rows = {f"{kind.__name__}.{name}" for name in names - OF_SCIKIT_LEARN}
    assert rows - WITHOUT_ARGUMENTS <= set(ROWS)


CALLS = [
    pytest.param(call, *expected, id=f"{name}-{i}")
    for name, rows in ROWS.items()
    for i, (call, expected) in enumerate(rows.items())
]


@pytest.mark.parametrize(("call", "error", "message"), CALLS)
def test_bad_call_is_refused_by_name(call, error, message):
    before = {name: id(value) for name, value in vars(fitted()).items()}
    with pytest.raises(error, match=f"(?s){message}"):
        call()
    assert {name: id(value) for name, value in vars(fitted()).items()} == before


ESTIMATORS = {
    name: value
    for name, value in public()
    if inspect.isclass(value)
    and issubclass(value, BaseEstimator)
    and getattr(value, "_parameter_constraints", None)
    and name not in ("UMCClusterer", "UnsupervisedSearchCV")
}


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        (name, parameter)
        for name, kind in ESTIMATORS.items()
        for parameter, constraints in kind._parameter_constraints.items()
        if constraints != "no_validation"
    ],
)
def test_a_value_of_no_documented_type_is_refused(name, parameter):
    kind = ESTIMATORS[name]
    required = {
        each.name: 1
        for each in inspect.signature(kind).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    }
    part = kind(**required | {parameter: torch.Generator()})
    with pytest.raises(InvalidParameterError, match=f"The '{parameter}' parameter of {name} must"):
        part._validate_params()
