"""Methods of the benchmark: UMCClusterer, its ablations, and the usual alternatives."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sklearn
from _quality_baselines import (
    MIDDLE_LAYER_WIDTH,
    MIN_CLUSTER_SIZE,
    Average,
    Blocks,
    CentroidHDBSCAN,
    PolyclustxUMC,
    Unscaled,
    polyclustx_problem,
)
from _quality_data import MIDDLE_LAYER, N_SEGMENTS
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.pipeline import make_pipeline

import skumc
from skumc import UMCClusterer
from skumc.curriculum import AdaptiveThreshold
from skumc.encoders import ProjectionEncoder, UMCEncoder
from skumc.losses import ContrastiveLoss, InfoNCELoss, SupConLoss, WeightedLosses

PROTOCOLS = ("predict", "refit", "transductive")
N_NEIGHBORS = 10
_SETTINGS = (MIDDLE_LAYER_WIDTH, MIN_CLUSTER_SIZE, N_NEIGHBORS, N_SEGMENTS)
QUICK_EPOCHS = {"pretrain_epochs": 1, "max_epochs": 2}

# Per ablation, the parameters of UMCClusterer that differ from its defaults; add new ones here.
ABLATIONS: dict[str, dict[str, Any]] = {
    "umc encoder": {"encoder": "umc"},
    "umc encoder, no dual projection": {"encoder": UMCEncoder(dual_projection=None)},
    "umc encoder, no guided attention": {"encoder": UMCEncoder(guided_attention=False)},
    "umc encoder, no cross-attention": {"encoder": UMCEncoder(cross_attention=False)},
    "umc encoder, no self-attention": {"encoder": UMCEncoder(n_self_attention_layers=0)},
    "umc encoder, no gates": {"encoder": UMCEncoder(fusion="concatenation")},
    "umc encoder, CLS": {"encoder": UMCEncoder(anchor_summary="cls")},
    "umc encoder, zeros where hidden": {"encoder": UMCEncoder(missing="zeros")},
    "umc encoder, not standardized": {"encoder": UMCEncoder(standardize=False)},
    "no pretraining": {"pretrain_epochs": 0},
    "no progressive loop": {"max_epochs": 0},
    "untrained": {"pretrain_epochs": 0, "max_epochs": 0},
    "no performance adjustment": {"threshold": AdaptiveThreshold(performance_adjustment=False)},
    "no loss adjustment": {"threshold": AdaptiveThreshold(loss_adjustment=False)},
    "no stability adjustment": {"threshold": AdaptiveThreshold(stability_adjustment=False)},
    "constant threshold": {"threshold": "constant"},
    "linear threshold": {"threshold": "linear"},
    "no supcon": {"losses": {"supcon": 0.0}},
    "no contrastive": {"losses": {"contrastive": 0.0}},
    "no compactness": {"losses": {"compactness": 0.0}},
    "no separation": {"losses": {"separation": 0.0}},
    "random selection": {"selector": "random"},
    "no spreading": {"spread_confidence": None},
    "spread labels teach all": {"spread_confidence": 0.0},
    "no averaging of weights": {"weight_averaging": 0.0},
    "augmentation by views": {"augmentation": "views"},
    "augmentation by disjoint views": {"augmentation": "disjoint"},
    "augmentation by dropout": {"augmentation": "dropout"},
    "published temperatures": {
        "losses": WeightedLosses(
            infonce=InfoNCELoss(0.2), contrastive=ContrastiveLoss(1.0), supcon=SupConLoss(1.4)
        )
    },
    "SupCon divided by samples": {"losses": {"supcon": SupConLoss(average="samples")}},
    "one start of k-means": {"kmeans": KMeans(n_init=1)},
    "published learning rates": {"learning_rate": 3e-4, "pretrain_learning_rate": 2e-5},
    "Adam, weight decay 0.01": {"optimizer": "adam", "weight_decay": 0.01},
    "patience from the start": {"min_epochs": 0},
    "cosine schedule": {"schedule": "cosine"},
    "batches of 128": {"batch_size": 128},
    "40 epochs": {"max_epochs": 40},
    "width 256": {"encoder": ProjectionEncoder(hidden_width=256)},
    "means of frames": {"encoder": ProjectionEncoder(n_segments=1)},
    "no dual projection": {"encoder": ProjectionEncoder(dual_projection=False)},
    "last text layer": {"text_layer": None},
    "one text layer trained": {"n_trainable_layers": 1},
}
# Without a second modality these equal the umc encoder.
NEED_SEVERAL_MODALITIES = {
    "umc encoder, no dual projection",
    "umc encoder, no guided attention",
    "umc encoder, no cross-attention",
    "umc encoder, no gates",
}


NEED_TEXT = {"last text layer", "one text layer trained"}


@dataclass(frozen=True)
class Method:
    """A row of the table.

    ``build(data, seed)`` returns an estimator with ``fit_predict``. The first two protocols also
    need ``predict`` and ``transform`` (or a pipeline). It reads samples if ``views`` is
    None, otherwise a dict with the views of these names. ``code`` and ``parameters`` distinguish
    runs of other versions or with other parameters.
    """

    name: str
    build: Callable[[Any, int], Any]
    code: str
    parameters: str
    views: tuple[str, ...] | None = None
    protocols: tuple[str, ...] = PROTOCOLS

    def take(self, data, rows):
        """Input of the estimator for these samples."""
        if self.views is None:
            return data.X[rows]
        return {name: data.view(name)[rows] for name in self.views}


# Baselines


def _kmeans(n_clusters, seed):
    return KMeans(n_clusters, n_init=10, random_state=seed)


def _ward(n_clusters, seed):
    return AgglomerativeClustering(n_clusters, linkage="ward")


def _spectral(n_clusters, seed):
    return SpectralClustering(
        n_clusters,
        affinity="nearest_neighbors",
        n_neighbors=N_NEIGHBORS,
        random_state=seed,
    )


def _baseline(name, features, clusterer, views, protocols=PROTOCOLS):
    return Method(
        name,
        lambda data, seed: make_pipeline(features(), clusterer(data.n_clusters, seed)),
        f"scikit-learn {sklearn.__version__}",
        fingerprint(features(), clusterer(2, 0), views, _SETTINGS),
        tuple(views),
        protocols,
    )


def _hdbscan(n_clusters, seed):
    return CentroidHDBSCAN()


def _scaled_blocks():
    return Blocks(scale=True)


def _joined(names, suffix, several):
    """Baselines on all modalities together."""
    if several:
        yield _baseline(f"kmeans concatenation{suffix}", Blocks, _kmeans, names)
        yield _baseline(f"kmeans blocks{suffix}", _scaled_blocks, _kmeans, names)
    for name, clusterer in {"spectral": _spectral, "ward": _ward}.items():
        whole = f"{name} blocks{suffix}"
        yield _baseline(whole, _scaled_blocks, clusterer, names, ("transductive",))
    whole, protocols = f"hdbscan average{suffix}", ("predict", "transductive")
    yield _baseline(whole, Average, _hdbscan, names, protocols)
    yield Method(
        f"polyclustx umc{suffix}",
        lambda data, seed: PolyclustxUMC(data.n_clusters, seed),
        f"polyclustx {version('polyclustx')}" if polyclustx_problem() is None else "",
        fingerprint(names, _SETTINGS),
        tuple(names),
    )


def baselines(data):
    """Baselines: each view alone, views joined, and joined with the stronger features."""
    plain, stronger = tuple(data.plain_names), tuple(data.stronger_names)
    for view in dict.fromkeys(plain + stronger):
        yield _baseline(f"kmeans {view}", Blocks, _kmeans, [view])
        if not view.endswith(MIDDLE_LAYER):
            yield _baseline(f"kmeans {view} unscaled", Unscaled, _kmeans, [view])
    yield from _joined(plain, "", len(plain) > 1)
    if stronger != plain:
        yield from _joined(stronger, " stronger", len(plain) > 1)


# UMCClusterer


def _ours(name, parameters, protocols=PROTOCOLS, preset=None):
    """UMCClusterer with these parameters, and a text model for data with strings."""

    def build(data, seed):
        text = {"text_model": data.text_model} if data.holds_text else {}
        given = {**text, **parameters, "random_state": seed}
        if preset is not None:
            return UMCClusterer.from_preset(preset, data.n_clusters, **given)
        return UMCClusterer(data.n_clusters, **given)

    code = fingerprint(preset, sorted(parameters.items()))
    return Method(name, build, package_state(), code, None, protocols)


def ours(data, preset_epochs=None, quick=False):
    """The defaults, presets and ablations; names include a reduced number of epochs."""
    cut, note = ({}, "") if not quick else (QUICK_EPOCHS, " ({} + {} epochs)")
    note = note.format(*cut.values())
    yield _ours(f"umc{note}", cut)
    for preset in ("acl2024", "source"):
        fewer, said = cut, note
        if preset_epochs is not None and not quick:
            whole = UMCClusterer.from_preset(preset)
            fewer = {name: min(getattr(whole, name), preset_epochs) for name in QUICK_EPOCHS}
            said = " ({} + {} epochs)".format(*fewer.values())
        yield _ours(f"{preset}{said}", fewer, preset=preset)
    for name, parameters in ABLATIONS.items():
        has_text = None in data.X.widths.values()
        if (len(data.X.names) > 1 or name not in NEED_SEVERAL_MODALITIES) and (
            has_text or name not in NEED_TEXT
        ):
            whole = f"ablation: {name}{note}"
            yield _ours(whole, {**cut, **parameters}, ("predict", "refit"))


# What a run depends on


def fingerprint(*parts):
    """Short hash of the ``repr`` of these parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _git(folder, *arguments):
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@functools.cache
def package_state():
    """Version of skumc and the commit that last changed it, or a hash of its files."""
    folder = Path(skumc.__file__).parent
    commit = _git(folder, "log", "-1", "--format=%H", "--", ".")[:12]
    if commit and not _git(folder, "status", "--porcelain", "--", "."):
        return f"skumc {skumc.__version__} {commit}"
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py"))))
    return f"skumc {skumc.__version__} {commit}+{content.hexdigest()[:8]}"
