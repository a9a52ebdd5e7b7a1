"""Features and clusterers of the benchmark's baselines, as scikit-learn estimators."""

from __future__ import annotations

import functools
import importlib
import importlib.util

import numpy as np
from _quality_data import MIDDLE_LAYER
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler, normalize

MIDDLE_LAYER_WIDTH = 64
MIN_CLUSTER_SIZE = 10  # the usual value in topic models


class _UnitVariance(TransformerMixin, BaseEstimator):
    """Center a block and divide it by one number: the variances of its columns add up to 1."""

    def fit(self, X, y=None):
        self.mean_, self.scale_ = X.mean(axis=0), np.sqrt(X.var(axis=0).sum())
        return self

    def transform(self, X):
        return (X - self.mean_) / self.scale_


def _prepared(name, width):
    """Build the steps for one view: PCA and L2 norm of a middle layer, or standardization."""
    if name.endswith(MIDDLE_LAYER):
        pca = PCA(min(MIDDLE_LAYER_WIDTH, width), random_state=0)
        return make_pipeline(pca, Normalizer())
    return StandardScaler()


class Blocks(TransformerMixin, BaseEstimator):
    """Prepared views side by side.

    With ``scale`` each standardized block is divided by the square root of its width. A middle
    layer is centered and divided by one number to have the same total variance, which keeps the
    relative scale of its principal components.
    """

    def __init__(self, scale=False):
        self.scale = scale

    def fit(self, X, y=None):
        self.steps_ = {}
        for name, view in X.items():
            step = _prepared(name, view.shape[1])
            if self.scale and name.endswith(MIDDLE_LAYER):
                step = make_pipeline(step, _UnitVariance())
            self.steps_[name] = step.fit(view)
        return self

    def transform(self, X):
        blocks = []
        for name, step in self.steps_.items():
            block = step.transform(X[name])
            if self.scale and not name.endswith(MIDDLE_LAYER):
                block = block / np.sqrt(block.shape[1])
            blocks.append(block)
        return np.hstack(blocks)


class Unscaled(TransformerMixin, BaseEstimator):
    """Views side by side, unchanged."""

    def fit(self, X, y=None):
        self.names_ = list(X)
        return self

    def transform(self, X):
        return np.hstack([X[name] for name in self.names_])


class Average(TransformerMixin, BaseEstimator):
    """Mean of the prepared views' unit vectors, as in multimodal topic models.

    PCA first reduces views of different widths to the smallest width, since no model here maps them
    to a common space.
    """

    def fit(self, X, y=None):
        prepared = {name: _prepared(name, view.shape[1]).fit(view) for name, view in X.items()}
        blocks = {name: step.transform(X[name]) for name, step in prepared.items()}
        widths = {block.shape[1] for block in blocks.values()}
        if len(widths) > 1:
            width = min(*widths, *(len(block) for block in blocks.values()))
            for name, step in prepared.items():
                pca = PCA(width, random_state=0).fit(blocks[name])
                prepared[name] = make_pipeline(step, pca)
        self.steps_ = prepared
        return self

    def transform(self, X):
        units = [normalize(step.transform(X[name])) for name, step in self.steps_.items()]
        return np.mean(units, axis=0)


class CentroidHDBSCAN(ClusterMixin, BaseEstimator):
    """HDBSCAN that assigns noise and new samples to the nearest centroid.

    HDBSCAN determines the number of clusters. If all samples are noise, there is one cluster.
    """

    def __init__(self, min_cluster_size=MIN_CLUSTER_SIZE):
        self.min_cluster_size = min_cluster_size

    def fit(self, X, y=None):
        labels = HDBSCAN(self.min_cluster_size, copy=True).fit_predict(X)
        if labels.max() < 0:
            labels = np.zeros_like(labels)
        found = range(labels.max() + 1)
        self.centroids_ = np.array([X[labels == label].mean(axis=0) for label in found])
        self.labels_ = np.where(labels < 0, self.predict(X), labels)
        return self

    def predict(self, X):
        return pairwise_distances_argmin(X, self.centroids_)


@functools.cache
def polyclustx_problem():
    """Reason why polyclustx's UMC cannot run, or None."""
    if importlib.util.find_spec("polyclustx") is None:
        return "the package polyclustx is not installed"
    try:
        importlib.import_module("polyclustx.models.umc")
    except ImportError as error:
        return f"polyclustx cannot be imported ({error})"
    return None


class PolyclustxUMC(ClusterMixin, BaseEstimator):
    """polyclustx's UMC with its own defaults, on a dict of views."""

    def __init__(self, n_clusters, random_state):
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, X, y=None):
        from polyclustx.models.umc import UMC

        self.model_ = UMC(self.n_clusters, random_state=self.random_state).fit(list(X.values()))
        self.labels_ = self.model_.labels_
        return self

    def predict(self, X):
        return self.model_.predict(list(X.values()))

    def transform(self, X):
        return self.model_.transform(list(X.values()))
