"""Methods of the benchmark on untuned data: UMCClusterer and clusterers that need no labels."""

from __future__ import annotations

import importlib.util
import time
from importlib.metadata import version

import numpy as np
import sklearn
from _quality_baselines import Average, Blocks, CentroidHDBSCAN, PolyclustxUMC, polyclustx_problem
from _quality_data import MIDDLE_LAYER, SEGMENTS
from _quality_methods import (
    ENCODER_STAGES,
    N_NEIGHBORS,
    QUICK_EPOCHS,
    Method,
    fingerprint,
    package_state,
)
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import kneighbors_graph
from sklearn.pipeline import make_pipeline

from skumc import UMCClusterer

BOTH, ALL = ("all", "predict"), ("all",)
N_COMPONENTS = 30  # principal components of the Gaussian mixture
QUICK = ("umc", "kmeans")


class Mixture(ClusterMixin, BaseEstimator):
    """Gaussian mixture with diagonal covariances on principal components."""

    def __init__(self, n_clusters, random_state):
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, X, y=None):
        pca = PCA(min(N_COMPONENTS, *X.shape), random_state=0)
        mixture = GaussianMixture(
            self.n_clusters,
            covariance_type="diag",
            n_init=3,
            reg_covar=1e-4,
            random_state=self.random_state,
        )
        self.model_ = make_pipeline(pca, mixture).fit(X)
        self.labels_ = self.model_.predict(X)
        return self

    def predict(self, X):
        return self.model_.predict(X)


class Leiden(ClusterMixin, BaseEstimator):
    """Leiden communities of the k-nearest-neighbor graph; it determines their number."""

    def __init__(self, random_state):
        self.random_state = random_state

    def fit(self, X, y=None):
        import igraph
        import leidenalg

        graph = kneighbors_graph(X, min(N_NEIGHBORS, len(X) - 1)).tocoo()
        edges = igraph.Graph(len(X), list(zip(graph.row, graph.col, strict=True))).simplify()
        found = leidenalg.find_partition(
            edges, leidenalg.ModularityVertexPartition, seed=self.random_state
        )
        self.labels_ = np.array(found.membership)
        return self


class Deep(ClusterMixin, BaseEstimator):
    """DEC or IDEC of ClustPy with its own defaults, on joined features."""

    def __init__(self, kind, n_clusters, random_state):
        self.kind = kind
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, X, y=None):
        from clustpy import deep

        model = getattr(deep, self.kind)(self.n_clusters, random_state=self.random_state)
        self.model_ = model.fit(X.astype(np.float32))
        self.labels_ = self.model_.labels_
        return self

    def predict(self, X):
        return self.model_.predict(X.astype(np.float32))


def _installed(name):
    return importlib.util.find_spec(name) is not None


def _clusterers():
    """By name: the features, the clusterer, and whether it predicts."""
    k = "n_clusters"
    yield "kmeans", Blocks(scale=True), lambda d, s: KMeans(d[k], n_init=10, random_state=s), BOTH
    yield "mixture", Blocks(scale=True), lambda d, s: Mixture(d[k], s), BOTH
    yield "ward", Blocks(scale=True), lambda d, s: AgglomerativeClustering(d[k]), ALL
    yield (
        "spectral",
        Blocks(scale=True),
        lambda d, s: SpectralClustering(
            d[k], affinity="nearest_neighbors", n_neighbors=N_NEIGHBORS, random_state=s
        ),
        ALL,
    )
    yield "hdbscan", Average(), lambda d, s: CentroidHDBSCAN(), BOTH
    if _installed("leidenalg"):
        yield "leiden", Blocks(scale=True), lambda d, s: Leiden(s), ALL
    if _installed("clustpy"):
        yield "DEC", Blocks(scale=True), lambda d, s: Deep("DEC", d[k], s), BOTH
        yield "IDEC", Blocks(scale=True), lambda d, s: Deep("IDEC", d[k], s), BOTH


def _baseline(name, features, clusterer, views, protocols):
    def build(data, seed):
        features_of_run = sklearn.clone(features)
        return make_pipeline(features_of_run, clusterer({"n_clusters": data.n_clusters}, seed))

    code = f"scikit-learn {sklearn.__version__}"
    parameters = fingerprint(features, clusterer({"n_clusters": 2}, 0), views)
    return Method(name, build, code, parameters, tuple(views), protocols)


def _ours(name, parameters):
    def build(data, seed):
        text = {"text__name": data.text_model} if data.holds_text else {}
        return UMCClusterer(data.n_clusters, random_state=seed).set_params(**text, **parameters)

    return Method(name, build, package_state(), fingerprint(parameters), None, BOTH)


# Variants of UMCClusterer, run with --stages: encoders with one stage changed, another monitor.
STAGES = {
    "umc, no path of single frames": {"encoder__frame_path": False},
    "umc, no deviations of frames": {"encoder__deviation": False},
    "umc, no dual projection of summaries": {"encoder__dual_projection": False},
    "umc, a fifth held out": {"monitor__validation_fraction": 0.2},
    **ENCODER_STAGES,
}


def methods(data, quick=False, stages=False):
    """Methods to run on a data set; those of ``STAGES`` on request.

    A name that ends in "segments" has segment means of sequences in the place of means, and the
    middle layer of text in the place of the last one; where both are the same there is none.
    "oracle: ..." are candidates for the best view or layer, which needs the classes to be chosen.
    """
    cut = QUICK_EPOCHS if quick else {}
    yield _ours("umc", cut)
    yield _ours("umc untrained", {"pretrain_epochs": 0, "max_epochs": 0})
    if stages:
        for name, parameters in STAGES.items():
            yield _ours(name, {**cut, **parameters})
    plain, stronger = tuple(data.plain_names), tuple(data.stronger_names)
    for name, features, clusterer, protocols in _clusterers():
        if quick and name not in QUICK:
            continue
        yield _baseline(name, features, clusterer, plain, protocols)
        if stronger != plain:
            yield _baseline(f"{name}{SEGMENTS}", features, clusterer, stronger, protocols)
    if polyclustx_problem() is None and not quick:
        yield Method(
            "polyclustx",
            lambda data, seed: PolyclustxUMC(data.n_clusters, seed),
            f"polyclustx {version('polyclustx')}",
            fingerprint(plain),
            plain,
            BOTH,
        )
    views = dict.fromkeys(plain + stronger)
    if len(views) > 1:
        for view in views:
            scale = not view.endswith(MIDDLE_LAYER)
            name, features, clusterer, protocols = next(_clusterers())
            whole = f"oracle: kmeans of {view}"
            yield _baseline(whole, Blocks(scale=scale), clusterer, [view], protocols)


def timed(function, *arguments):
    """Seconds of a call, and its result."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result
