"""Small data sets that several tests share."""

import numpy as np

from skumc import MultimodalData
from skumc.encoders import FrameStatistics
from skumc.encoders._statistics import frame_counts


def make_sequences(n_samples=24, n_clusters=2, missing=False, seed=0):
    """Make samples with text, audio and video of different lengths, in well separated clusters."""
    rng = np.random.default_rng(seed)
    topic = np.arange(n_samples) % n_clusters
    widths = {"text": 5, "audio": 3, "video": 4}
    cells = {
        name: [
            rng.normal(2.0 * t - n_clusters + 1, 1, (rng.integers(1, 7), width)).astype("float32")
            for t in topic
        ]
        for name, width in widths.items()
    }
    if missing:
        for i, name in enumerate(widths):
            for row in range(i, n_samples, 4):
                cells[name][row] = None
    return MultimodalData(cells), topic


def pad(X, n_extra=0, fill=0.0):
    """Pad samples with ``fill``; returns the arguments of from_padded."""
    arrays, lengths = {}, {}
    for name in X.names:
        store = X.packed(name)
        lengths[name] = store.lengths
        shape = (len(X), store.lengths.max() + n_extra, store.width)
        arrays[name] = np.full(shape, fill, dtype=np.float32)
        for row in range(len(X)):
            arrays[name][row, : store.lengths[row]] = store[row]
    return arrays, lengths


def statistics_of(X):
    """What an encoder is built from, as the estimator takes it from the samples."""
    return {
        name: FrameStatistics(
            *X.packed(name).mean_and_scale(), None, *frame_counts(X.packed(name).lengths)
        )
        for name in X.names
    }
