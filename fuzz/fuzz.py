"""Coverage-guided fuzzing of everything that reads files which others wrote.

``python fuzz/fuzz.py unpickler -runs=100000``; ``all`` runs one target after another. Options are
those of libFuzzer. The targets are ``unpickler``, the restricted unpickler of data sets;
``loader``, a data set's folder; and saved clusterers with any ``manifest``, with any ``values`` or
any ``weights`` and the checksums of these. Whatever is found is written to a file ``crash-*``,
which belongs into ``fuzz/found/<target>/``: the tests run it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "saved_format_1"
TARGETS = ("unpickler", "loader", "manifest", "values", "weights")
EVENTS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
          "socket.bind", "ctypes.dlopen", "pickle.find_class")  # fmt: skip
LIMITS = ["-timeout=1", "-rss_limit_mb=1024", "-max_len=16384"]


class Executed(BaseException):
    """Something was run, or a socket opened."""


class Watch:
    """Remember what a target ran; its own errors may hide an exception of a hook."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if self.on and event in EVENTS:
            self.seen.append(f"{event} {arguments!r:.200}")

    @contextlib.contextmanager
    def __call__(self):
        self.on = True
        try:
            yield
        finally:
            self.on = False
        if self.seen:
            raise Executed(self.seen)


def make_target(name: str, scratch: Path):
    """Make a function of bytes that raises only where something is wrong."""
    from skumc import UMCClusterer
    from skumc.datasets import DatasetError, load_meld_da
    from skumc.datasets._pickle_reader import read_pickle
    from skumc.persistence import SavedClustererError, _strict_json

    watch = Watch()

    def unpickler(content: bytes) -> None:
        (scratch / "features.pkl").write_bytes(content)
        with watch(), contextlib.suppress(DatasetError):
            read_pickle(scratch / "features.pkl")

    def loader(content: bytes) -> None:
        """The first two bytes say where the table ends."""
        size = int.from_bytes(content[:2], "little")
        folder = scratch / "meld"
        for place in ("train.tsv", "dev.tsv", "test.tsv", *FEATURES):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / "train.tsv").write_bytes(content[2 : 2 + size])
        for place in ("dev.tsv", "test.tsv"):
            (folder / place).write_bytes(b"1st\t2nd\t3rd\t4th\t5th\n")
        for place in FEATURES:
            (folder / place).write_bytes(content[2 + size :])
        with watch(), contextlib.suppress(DatasetError, OSError):
            load_meld_da(folder, cache_folder=scratch / "cache")
        shutil.rmtree(scratch / "cache", ignore_errors=True)

    original = _strict_json.loads((FOLDER / "skumc.json").read_bytes(), FOLDER / "skumc.json")
    (weights,) = FOLDER.glob("weights-*")
    folder = scratch / "clusterer"
    shutil.copytree(FOLDER, folder)

    def load() -> None:
        with watch(), contextlib.suppress(SavedClustererError, OSError):
            UMCClusterer.load(folder)

    def manifest(content: bytes) -> None:
        (folder / "skumc.json").write_bytes(content)
        load()

    def values(content: bytes) -> None:
        """Replace the value at a place by other JSON, or change the bytes there."""
        try:
            place, inserted = struct.unpack_from("<H", content)[0], content[2:].decode()
        except (struct.error, UnicodeDecodeError):
            return
        places = list(places_of(original))
        changed = json.loads(json.dumps(original))
        try:
            put(changed, places[place % len(places)], json.loads(inserted))
            written = _strict_json.dumps(changed)
        except (ValueError, RecursionError):
            return
        (folder / "skumc.json").write_bytes(written)
        load()

    def with_weights(content: bytes) -> None:
        (folder / weights.name).write_bytes(content)
        facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        changed = original | {"files": {weights.name: facts}}
        (folder / "skumc.json").write_bytes(_strict_json.dumps(changed))
        load()

    return {
        "unpickler": unpickler,
        "loader": loader,
        "manifest": manifest,
        "values": values,
        "weights": with_weights,
    }[name]


FEATURES = ("audio_data/wavlm_feats.pkl", "video_data/swin_feats.pkl")


def places_of(node, above=()):
    """List the places of all values of a JSON object."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places_of(value, (*above, key))


def put(node, place, value):
    """Replace the value at a place."""
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value


def seeds(name: str) -> list[bytes]:
    """Return inputs to start from."""
    import pickle

    import numpy as np

    features = {"a_0": np.ones((2, 3), np.float32), "a_1": np.zeros((1, 3), np.float32)}
    pickles = [pickle.dumps(features, protocol) for protocol in range(6)]
    if name == "unpickler":
        return pickles
    if name == "loader":
        table = b"1st\t2nd\t3rd\t4th\t5th\na\t0\thello\tjoke\na\t1\tbye\tagree\n"
        return [struct.pack("<H", len(table)) + table + content for content in pickles]
    if name == "manifest":
        return [(FOLDER / "skumc.json").read_bytes(), b"{}"]
    if name == "weights":
        return [path.read_bytes() for path in FOLDER.glob("weights-*")]
    values = ["1", '"x"', "null", "[]", "{}", "1e300", '{"$": "own", "path": "encoder"}',
              '{"$": "tuple", "items": [1]}', '{"$": "array", "tensor": "centers"}',
              '{"$": "object", "name": "UMCEncoder", "parameters": {}}']  # fmt: skip
    return [struct.pack("<H", 7 * i) + value.encode() for i, value in enumerate(values * 10)]


def main() -> None:
    """Fuzz the target that the command line names."""
    import atheris

    with atheris.instrument_imports(include=["skumc.persistence", "skumc.datasets"]):
        import skumc.datasets  # noqa: F401
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=os.environ.get("FUZZ_SCRATCH")) as scratch:
        corpus = Path(scratch) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds(name)):
            (corpus / str(number)).write_bytes(seed)
        target = make_target(name, Path(scratch))
        atheris.Setup([sys.argv[0], str(corpus), *LIMITS, *options], target)
        atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in (*TARGETS, "all"):
        sys.exit(f"Usage: fuzz.py {{all|{'|'.join(TARGETS)}}} [options of libFuzzer]")
    if sys.argv[1] == "all":  # a process each: libFuzzer ends its own
        runs = [subprocess.run([sys.executable, __file__, t, *sys.argv[2:]]) for t in TARGETS]
        sys.exit(any(run.returncode for run in runs))
    main()
