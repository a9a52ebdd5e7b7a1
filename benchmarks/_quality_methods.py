"""Methods of the benchmark: UMCClusterer, its ablations, and the usual alternatives."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sklearn
from _printed import printed_encoder
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
from skumc.encoders import UMCEncoder
from skumc.losses import ContrastiveLoss, InfoNCELoss, SupConLoss, WeightedLosses

PROTOCOLS = ("predict", "refit", "transductive")
N_NEIGHBORS = 10
_SETTINGS = (MIDDLE_LAYER_WIDTH, MIN_CLUSTER_SIZE, N_NEIGHBORS, N_SEGMENTS)
QUICK_EPOCHS = {"pretrain_epochs": 1, "max_epochs": 2}

# The method's encoder, and the same with one stage changed.
ENCODER_STAGES = {
    "umc encoder": {"encoder": "umc"},
    "umc encoder, no dual projection": {"encoder": UMCEncoder(dual_projection=None)},
    "umc encoder, no cross-attention": {"encoder": UMCEncoder(cross_attention=False)},
    "umc encoder, guided attention too": {"encoder": UMCEncoder(guided_attention=True)},
    "umc encoder, self-attention too": {"encoder": UMCEncoder(n_self_attention_layers=2)},
    "umc encoder, interaction too": {"encoder": UMCEncoder(feature_interaction=True)},
    "umc encoder, attention pooling": {"encoder": UMCEncoder(pooling="attention")},
    "umc encoder, no gates": {"encoder": UMCEncoder(fusion="concatenation")},
    "umc encoder, no shortcuts": {"encoder": UMCEncoder(shortcuts=False)},
    "umc encoder, CLS (source: 3.4.6)": {"encoder": UMCEncoder(anchor_summary="cls")},
    "umc encoder, as printed (source: 3.4)": {"encoder": printed_encoder()},
}
# Per ablation, the parameters of UMCClusterer that differ from its defaults; add new ones here.
# "source" in a name gives the section of the source that a default departs from.
ABLATIONS: dict[str, dict[str, Any]] = {
    "pairs of modality views": {"pairs": "views"},
    "pairs of disjoint views": {"pairs": "disjoint"},
    "pairs of copies with dropout (source: 3.7.1)": {"pairs": "dropout"},
    "pairs of copies with noise (source: 3.6.2)": {"pairs": "noise"},
    "pairs of copies with hidden frames": {"pairs": "frames"},
    "all modalities trusted (source: 3.4)": {"neighbors__judge_trust": False},
    "gates without priors (source: 3.4.8)": {"neighbors__untrusted_share": 1.0},
    "supervised views leave one out (source: 3.6.1)": {"supervised_views": "leave_one_out"},
    "supervised view of all modalities only": {"supervised_views": "full"},
    "no label propagation (source: 3.5.9.2)": {"pseudo_labels": "selected"},
    "propagated labels of any confidence": {"pseudo_labels__min_confidence": 0.0},
    "neighbors of the input only": {"neighbors__refresh_every": None},
    "no neighbor graph (source: 3.5.9.2, 3.6.1, 3.7.1; five changes)": {
        "neighbors": "none",
        "monitor": "silhouette",
        "pairs": "dropout",
        "pseudo_labels": "selected",
        "supervised_views": "leave_one_out",
    },
    "monitor of the embedding: silhouette (source: 3.8.2)": {"monitor": "silhouette"},
    "untrained encoder no candidate": {"monitor__judge_start": False},
    "10 epochs of pretraining": {"pretrain_epochs": 10},
    "no pretraining": {"pretrain_epochs": 0},
    "no progressive loop": {"max_epochs": 0},
    "untrained": {"pretrain_epochs": 0, "max_epochs": 0},
    "published learning rates (source: 3.7.3)": {
        "learning_rate": 3e-4,
        "pretrain_learning_rate": 2e-5,
    },
    "published temperatures (source: 3.6.1, 3.6.2, 3.7.1)": {
        "losses": WeightedLosses(
            infonce=InfoNCELoss(0.2), contrastive=ContrastiveLoss(1.0), supcon=SupConLoss(1.4)
        )
    },
    "SupCon divided by samples (source: 3.6.1)": {
        "losses": {"supcon": SupConLoss(average="samples")}
    },
    "one start of k-means (source: 3.5.7)": {"kmeans__n_init": 1},
    "Adam (source: 3.7.3)": {"optimization__optimizer": "adam"},
    "weight decay 0.01 (source: 3.7.3)": {"optimization__weight_decay": 0.01},
    "Adam, weight decay 0.01 (source: 3.7.3; two changes)": {
        "optimization__optimizer": "adam",
        "optimization__weight_decay": 0.01,
    },
    "cosine schedule (source: 3.7.3)": {"optimization__schedule": "cosine"},
    "no averaging of weights (source: 3.7.3)": {"optimization__weight_averaging": 0.0},
    "patience from the first epoch (source: 3.7.3)": {"optimization__min_epochs": 0},
    "batches of 128 (source: 3.7.3)": {"batch_size": 128},
    "width 256 (source: 3.10.1)": {"encoder__hidden_width": 256},
    "last text layer (source: 3.2)": {"text__layer": None},
    "middle text layer": {"text__layer": "middle"},
    "frames not standardized (source: 3.8.1)": {"encoder__standardize": False},
    "means of frames": {"encoder__n_segments": 1},
    "no deviations of frames": {"encoder__deviation": False},
    "no path of single frames": {"encoder__frame_path": False},
    "no dual projection": {"encoder__dual_projection": False},
    "constant threshold": {"threshold": "constant"},
    "linear threshold": {"threshold": "linear"},
    "no performance adjustment": {"threshold__performance_adjustment": False},
    "no loss adjustment": {"threshold__loss_adjustment": False},
    "no stability adjustment": {"threshold__stability_adjustment": False},
    "random selection": {"selector": "random"},
    "no supcon": {"losses__supcon_weight": 0.0},
    "no contrastive": {"losses__contrastive_weight": 0.0},
    "no compactness": {"losses__compactness_weight": 0.0},
    "no separation": {"losses__separation_weight": 0.0},
    "40 epochs": {"max_epochs": 40},
    "one text layer trained (source: 3.2)": {"text__n_trainable_layers": 1},
    **ENCODER_STAGES,
}
# Without a second modality these equal the defaults or the umc encoder.
NEED_SEVERAL_MODALITIES = {
    "all modalities trusted (source: 3.4)",
    "gates without priors (source: 3.4.8)",
    "supervised view of all modalities only",
    "umc encoder, no dual projection",
    "umc encoder, no cross-attention",
    "umc encoder, guided attention too",
    "umc encoder, interaction too",
    "umc encoder, no gates",
}
NEED_TEXT = {
    "last text layer (source: 3.2)",
    "middle text layer",
    "one text layer trained (source: 3.2)",
}


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
        make = UMCClusterer if preset is None else partial(UMCClusterer.from_preset, preset)
        text = {"text__name": data.text_model} if data.holds_text else {}
        return make(data.n_clusters).set_params(**text, **parameters, random_state=seed)

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
