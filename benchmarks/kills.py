"""Kill what writes to the disk with ``kill -9`` at random moments, and start it again.

``python benchmarks/kills.py --count 20`` does it for four kinds of work, or for those of
``--kinds``:

- ``fit``: a fit with checkpoints, which is resumed;
- ``save``: saving a clusterer over an earlier one again and again. After each kill there is no
  clusterer or a whole one, which is loaded;
- ``extraction``: log-mel spectrograms that are kept in a folder, ``LogMelFeatures(memory=)``;
- ``load``: the first load of a data set, which converts its pickles.

The moment is uniform over the time that the undisturbed work took, without the start of the
process. The work is started again in the same folder until it ends; its bytes have to be those of
the undisturbed work. A process that waits for a lock of a killed one would never end: each has two
minutes.
"""

import argparse
import hashlib
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from skumc import MultimodalData, UMCClusterer
from skumc.datasets import load_meld_da
from skumc.feature_extraction import LogMelFeatures

PATIENCE = 120  # seconds
N_UTTERANCES, N_CLIPS, N_SAVES = 800, 150, 20


def make_samples():
    """Two modalities, one of them with frames."""
    rng = np.random.default_rng(0)
    topic = np.repeat(np.arange(3), 20)
    return MultimodalData({
        "text": rng.normal(topic[:, None], 1, (60, 8)),
        "audio": [rng.normal(t, 1, (rng.integers(2, 6), 4)) for t in topic],
    })  # fmt: skip


def digest(*arrays):
    """Fingerprint of arrays."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in arrays))


# The work of a process: prepare, say that it begins, work, return a fingerprint.


def fit(folder, source, begin):
    """Fit with checkpoints."""
    clusterer = UMCClusterer(3, pretrain_epochs=10, max_epochs=15, random_state=0)
    clusterer.set_params(optimization__checkpoint_dir=folder / "checkpoints")
    X = make_samples()
    begin()
    fitted = clusterer.fit(X)
    monitor = np.array([record["monitor"] for record in fitted.history_.phase("main")])
    return digest(fitted.labels_, fitted.embedding_, fitted.cluster_centers_, monitor)


def save(folder, source, begin):
    """Save a clusterer over itself."""
    clusterer = UMCClusterer.load(source / "clusterer")
    begin()
    for _ in range(N_SAVES):
        clusterer.save(folder / "clusterer", include_embedding=True)
    return saved(folder)


def saved(folder):
    """Fingerprint of what a saved clusterer gives."""
    found = UMCClusterer.load(folder / "clusterer")
    return digest(found.transform(make_samples()), found.embedding_, found.labels_)


def extraction(folder, source, begin):
    """Extract features that are kept."""
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=rng.integers(8_000, 32_000)) for _ in range(N_CLIPS)]
    begin()
    features = LogMelFeatures(sampling_rate=16_000, memory=folder / "memory")
    store = features.fit_transform(clips).packed("audio")
    return digest(store.values, store.lengths)


def load(folder, source, begin):
    """Load a data set for the first time."""
    begin()
    X = load_meld_da(source / "meld", cache_folder=folder / "cache").data
    packed = [X.packed(name) for name in ("audio", "video")]
    return digest(*(part for store in packed for part in (store.values, store.lengths)))


WORK = {"fit": fit, "save": save, "extraction": extraction, "load": load}


def prepare(source):
    """Write what the work reads."""
    fitted = UMCClusterer(3, pretrain_epochs=1, max_epochs=1, random_state=0).fit(make_samples())
    fitted.save(source / "clusterer", include_embedding=True)
    rng = np.random.default_rng(1)
    meld = source / "meld"
    keys = [f"{i}_0" for i in range(N_UTTERANCES)]
    for place, name in (("audio_data", "wavlm_feats"), ("video_data", "swin_feats")):
        (meld / place).mkdir(parents=True)
        frames = {key: rng.normal(size=(12, 64)).astype(np.float32) for key in keys}
        (meld / place / f"{name}.pkl").write_bytes(pickle.dumps(frames))
    header = "1st\t2nd\t3rd\t4th\t5th\n"
    rows = [f"{i}\t0\thello {i}\tjoke\n" for i in range(N_UTTERANCES)]
    for part, lines in (("train", rows[2:]), ("dev", rows[:1]), ("test", rows[1:2])):
        (meld / f"{part}.tsv").write_text(header + "".join(lines))


# The process that kills.


class Process:
    """A process that works in a folder."""

    def __init__(self, kind, folder, source):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, __file__, "--work", kind, str(folder), str(source)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._process.stdout.readline()  # it begins

    def end(self, seconds=None):
        """Wait for the fingerprint; with a time, kill then and return None."""
        with self._process as process:
            try:
                return process.communicate(timeout=seconds or PATIENCE)[0].strip()
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                if seconds is None:
                    raise RuntimeError(
                        f"No end within {PATIENCE} s: is something locked?"
                    ) from None
                return None


def kill(kind, n_kills, seed=0):
    """Kill one kind of work at random moments.

    Returns
    -------
    dict
        Numbers of kills, of works that ended, and of those with another result than the
        undisturbed work; for "save" also the number of kills that left a clusterer that is not
        whole.
    """
    rng = np.random.default_rng(seed)
    n_killed = n_ended = n_different = n_broken = 0
    with tempfile.TemporaryDirectory() as root:
        source = Path(root) / "source"
        source.mkdir()
        prepare(source)
        process = Process(kind, Path(root) / "whole", source)
        started = time.monotonic()
        expected = process.end()
        seconds = time.monotonic() - started
        assert expected, f"{kind} failed without a kill"
        while n_killed < n_kills or n_ended < 2:
            folder = Path(root) / str(n_ended)
            process = Process(kind, folder, source)
            moment = None if n_killed >= n_kills else max(rng.uniform(0, seconds), 1e-3)
            found = process.end(moment)
            if found is None:
                n_killed += 1
                if kind == "save" and (folder / "clusterer").exists():
                    n_broken += saved(folder).hexdigest() != expected
            else:
                n_ended += 1
                n_different += found != expected
    counts = {"kills": n_killed, "ended": n_ended, "different": n_different}
    return counts | ({"broken": n_broken} if kind == "save" else {})


def main(arguments=None):
    """Kill, or do the work."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20, help="kills per kind; 20 by default")
    parser.add_argument("--kinds", nargs="+", choices=sorted(WORK), default=list(WORK))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", nargs=3, help="kind, folder, source: only do the work")
    options = parser.parse_args(arguments)
    if options.work:
        kind, folder, source = options.work
        begin = lambda: print("begin", flush=True)  # noqa: E731
        print(WORK[kind](Path(folder), Path(source), begin).hexdigest())
        return 0
    failed = 0
    for kind in options.kinds:
        counts = kill(kind, options.count, options.seed)
        print(f"{kind}: {counts}", flush=True)
        failed += counts["different"] + counts.get("broken", 0)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
