"""A cache saves work and changes nothing else: results, errors, waiting."""

from __future__ import annotations

import errno
import pickle
import shutil
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
import transformers
from filelock import FileLock
from numpy.testing import assert_array_equal
from sklearn.base import clone

from media import RATE, make_speech_model, make_waveforms
from skumc import UMCClusterer
from skumc.data import FrameStore, _folders, _frame_cache, _frame_store, digest, memory_folder
from skumc.datasets import _converted_frames, load_iemocap_da
from skumc.feature_extraction import (
    MultimodalFeatures,
    TransformerTextFeatures,
    WavLMFeatures,
    _wavlm,
)
from skumc.text import TextModel, _frozen_states
from text_models import pair, tokenize

WORDS = "alpha beta gamma delta eps zeta eta theta iota kappa".split()
KEPT = "Frames are not kept in the folder"


def make_texts(n=40):
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(2, 30))) + f" {i}" for i in range(n)]


def wide_pair():
    """A model wide enough that the rounding of a batch depends on its shape."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=99, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=128,
        )  # fmt: skip
        return transformers.BertModel(config).eval(), tokenize


def wide_speech_model():
    return make_speech_model("WavLM group", hidden_size=64, intermediate_size=128)


def text_features(memory=None, model=None):
    return TransformerTextFeatures(model or pair(), memory=memory)


def speech_features(memory=None, model=None):
    return WavLMFeatures(model or make_speech_model(), sampling_rate=RATE, memory=memory)


READERS = {
    "text": (text_features, make_texts()),
    "audio": (speech_features, make_waveforms()),
}
COMPUTING = {"text": (_frozen_states, "run"), "audio": (_wavlm, "encode_waveforms")}


def bits(X):
    (name,) = X.names
    return [None if frames is None else frames.tobytes() for frames in X.sequences(name)]


def fit(memory, texts=None, **settings):
    text = TextModel(pair(), layer="middle", memory=memory)
    cheap = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 0} | settings
    return UMCClusterer(2, text=text, **cheap).fit(texts or make_texts(12))


def only(folder, name):
    """The one file of this name in a memory folder."""
    (path,) = Path(folder).rglob(name)
    return path


# without the cache


def make_full(monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_frame_store, "_append", full)


def make_unwritable(folder):
    """A plain file where the folder was: it can be neither read nor written."""
    shutil.rmtree(folder)
    folder.write_text("")


def test_a_fitted_model_predicts_without_its_folder(tmp_path, monkeypatch):
    new, folder = ["alpha beta", "gamma"], tmp_path / "there" / "states"
    fitted = fit(folder)
    shipped = pickle.dumps(fitted)
    expected = fit(None).transform(new)
    assert_array_equal(fitted.transform(new), expected)
    shutil.rmtree(folder)  # deleted
    assert_array_equal(pickle.loads(shipped).transform(new), expected)
    assert only(folder, "frames.bin")
    shutil.rmtree(tmp_path / "there")
    (tmp_path / "there").write_text("")  # nothing can be written below
    service = pickle.loads(shipped)
    with pytest.warns(RuntimeWarning, match=f"{KEPT} .*there.* Pass another folder, or None"):
        assert_array_equal(service.transform(new), expected)
    service.set_params(text__memory=None)
    assert_array_equal(service.transform(new), expected)
    service.set_params(text__memory=tmp_path / "other")
    assert_array_equal(service.transform(new), expected)
    assert only(tmp_path / "other", "frames.bin")
    copy = clone(service).set_params(text__memory=tmp_path / "copy").fit(make_texts(12))
    assert_array_equal(copy.transform(new), expected)
    assert only(tmp_path / "copy", "frames.bin")


@pytest.mark.parametrize("kind", READERS)
def test_a_disk_that_fills_up_costs_a_warning(kind, tmp_path, monkeypatch):
    make, X = READERS[kind]
    features, expected = make(tmp_path).fit(X), bits(make().fit_transform(X))
    features.transform(X[:3])
    with monkeypatch.context() as patch:
        make_full(patch)
        with pytest.warns(RuntimeWarning, match=f"{KEPT} .*No space left"):
            assert bits(features.transform(X)) == expected
    assert bits(features.transform(X)) == expected


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    store, key = FrameStore(tmp_path, 2), digest("a")
    with store.locked():
        store.add({key: np.ones((3, 2))})
    before = (tmp_path / "frames.bin").read_bytes(), (tmp_path / "index.bin").read_bytes()

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with store.locked(), pytest.raises(OSError, match="No space left"):
            store.add({digest("b"): np.ones((3, 2))})
    after = (tmp_path / "frames.bin").read_bytes(), (tmp_path / "index.bin").read_bytes()
    assert after == before
    assert store.absent([key, digest("b")]) == [digest("b")]


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("name", ["index.bin", "frames.bin", "layout.json", "lock"])
def test_a_folder_in_the_place_of_a_file_costs_a_warning(kind, name, tmp_path):
    make, X = READERS[kind]
    features, expected = make(tmp_path).fit(X), bits(make().fit_transform(X))
    features.transform(X[:3])
    path = only(tmp_path, name) if list(tmp_path.rglob(name)) else None
    path = path or only(tmp_path, "index.bin").with_name(name)
    path.unlink(missing_ok=True)
    path.mkdir()
    with pytest.warns(RuntimeWarning, match=KEPT):
        assert bits(features.transform(X)) == expected


@pytest.mark.parametrize("kind", READERS)
def test_a_folder_deleted_during_the_pass_costs_no_frames(kind, tmp_path, monkeypatch):
    make, X = READERS[kind]
    monkeypatch.setattr(_frozen_states, "_BATCH_TOKENS", 100)
    module, name = COMPUTING[kind]
    features, expected = make(tmp_path / "memory").fit(X), bits(make().fit_transform(X))
    if kind == "audio":
        features.set_params(batch_seconds=0.13)
    plain, n_calls = getattr(module, name), [0]

    def deletes(*args):
        n_calls[0] += 1
        if n_calls[0] == 5:
            shutil.rmtree(tmp_path / "memory")
        return plain(*args)

    monkeypatch.setattr(module, name, deletes)
    assert bits(features.transform(X)) == expected
    assert n_calls[0] > 5


def test_memory_set_after_fit_counts_in_transformers(tmp_path):
    for kind, (make, X) in READERS.items():
        features = make(tmp_path / f"{kind}1").fit(X)
        features.set_params(memory=tmp_path / f"{kind}2").transform(X)
        assert only(tmp_path / f"{kind}2", "frames.bin")
        assert not (tmp_path / f"{kind}1").exists()
    several = MultimodalFeatures(text=text_features(tmp_path / "3")).fit([{"text": "alpha"}])
    several.set_params(text__memory=tmp_path / "4").transform([{"text": "beta"}])
    assert only(tmp_path / "4", "frames.bin")
    assert not (tmp_path / "3").exists()


# damage


def flipped(place):
    return lambda content: content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


DAMAGE = {
    "half the frames are zeros": ("frames.bin", lambda b: b[: len(b) // 2] + bytes(len(b) // 2)),
    "a byte of a frame": ("frames.bin", flipped(203)),
    "half the frames are gone": ("frames.bin", lambda b: b[: len(b) // 2 + 1]),
    "no frames": ("frames.bin", lambda b: b""),
    "a byte of a key": ("index.bin", flipped(3)),
    "a byte of a number": ("index.bin", flipped(32)),
    "a byte of a place": ("index.bin", flipped(41)),
    "a byte of a checksum": ("index.bin", flipped(49)),
    "a byte is missing": ("index.bin", lambda b: b[1:]),
    "half the index": ("index.bin", lambda b: b[: len(b) // 2 + 5]),
    "no index": ("index.bin", lambda b: b""),
    "an index of zeros": ("index.bin", lambda b: bytes(len(b))),
    "empty layout": ("layout.json", lambda b: b""),
    "half a layout": ("layout.json", lambda b: b[:9]),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_mended(kind, damage, tmp_path, monkeypatch):
    (make, X), (file, change) = READERS[kind], DAMAGE[damage]
    features = make(tmp_path).fit(X)
    expected = bits(features.transform(X))
    path = only(tmp_path, file)
    path.write_bytes(change(path.read_bytes()))
    for n_samples in (len(X) // 2, len(X)):
        assert bits(features.transform(X[:n_samples])) == expected[:n_samples]
    monkeypatch.setattr(*COMPUTING[kind], None)  # mended: nothing is computed any more
    assert bits(features.transform(X)) == expected


def make_tables(folder):
    header, keys = "key\ttext\tlabel\n", [f"k{i}" for i in range(6)]
    rows = "".join(f"{key}\ttext\t{key[-1]}\n" for key in keys)
    rng = np.random.default_rng(0)
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text(header + (rows if split == "train" else ""))
    for name in ("audio_data/wavlm_feats.pkl", "video_data/swin_feats.pkl"):
        frames = {key: rng.normal(size=(4, 8)).astype(np.float32) for key in keys}
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(pickle.dumps(frames, 4))
    return folder


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_of_a_conversion_is_found_and_mended(damage, tmp_path):
    folder, (file, change) = make_tables(tmp_path), DAMAGE[damage]
    expected = bits(load_iemocap_da(folder).data.select(["audio"]))
    (slot,) = (folder / ".skumc").glob("audio-*")
    (slot / file).write_bytes(change((slot / file).read_bytes()))
    assert bits(load_iemocap_da(folder).data.select(["audio"])) == expected


def test_frames_are_the_same_whatever_the_index_lists_beside_them(tmp_path):
    store = FrameStore(tmp_path, 2)
    keys = [digest(str(i)) for i in range(3)]
    with store.locked():
        store.add({keys[0]: np.zeros((4, 2))})
        (tmp_path / "frames.bin").write_bytes(b"")
        store.add({keys[1]: np.zeros((2, 2)), keys[2]: np.zeros((3, 2))})
    other = FrameStore(tmp_path, 2)  # what is left of the first overlaps with the others
    assert other.absent(keys) == []
    assert [len(frames) for frames in map(other.take, ([keys[0]], keys))] == [1, 3]
    assert other.take([keys[2], None, keys[0]]).lengths.tolist() == [3, 0, 4]
    assert not np.asarray(other.take(keys).values).any()


# the same bits


@pytest.mark.parametrize("kind", READERS)
def test_frames_do_not_depend_on_what_is_stored(kind, tmp_path):
    make, X = READERS[kind]
    model = {"text": wide_pair, "audio": wide_speech_model}[kind]()
    alone = bits(make(None, model).fit_transform(X))
    for part in (X[::3], X[::-1][:5], X[:1]):
        folder = tmp_path / str(len(part))
        make(folder, model).fit_transform(part)
        assert bits(make(folder, model).fit_transform(X)) == alone
    assert bits(make(None, model).fit_transform(X[::-1])) == alone[::-1]


def test_a_seeded_fit_does_not_depend_on_what_is_stored(tmp_path):
    texts = make_texts(60)

    def embedding(memory, texts):
        text = TextModel(wide_pair(), memory=memory)
        clusterer = UMCClusterer(2, text=text, pretrain_epochs=1, max_epochs=1, random_state=0)
        return clusterer.fit(texts).embedding_

    expected = embedding(None, texts)
    embedding(tmp_path, texts[::3])
    for _ in range(2):
        assert_array_equal(embedding(tmp_path, texts), expected)


# waiting


@pytest.mark.parametrize("kind", READERS)
def test_nothing_is_locked_while_frames_are_computed(kind, tmp_path, monkeypatch):
    make, X = READERS[kind]
    module, name = COMPUTING[kind]
    features, plain, tried = make(tmp_path).fit(X), getattr(module, name), []

    def watched(*args):
        folder = only(tmp_path, "layout.json").parent
        with FileLock(folder / "lock").acquire(0):
            tried.append(folder)
        return plain(*args)

    monkeypatch.setattr(module, name, watched)
    features.transform(X)
    assert tried


@pytest.mark.parametrize("kind", READERS)
def test_a_lock_that_is_not_given_back_costs_a_warning(kind, tmp_path, monkeypatch):
    make, X = READERS[kind]
    for name in ("_LOCK_SECONDS", "_TURN_SECONDS"):
        monkeypatch.setattr(_frame_cache, name, 0.01)
    monkeypatch.setattr(_frozen_states, "_BATCH_TOKENS", 100)
    features = make(tmp_path).fit(X)
    features.transform(X[:2])
    folder, expected = only(tmp_path, "layout.json").parent, bits(make().fit_transform(X))
    with FileLock(folder / "lock"), FileLock(folder / "turn"):
        with pytest.warns(RuntimeWarning, match="another process holds .*lock") as caught:
            assert bits(features.transform(X)) == expected
        assert len(caught) == 1
    assert bits(features.transform(X)) == expected


def test_frames_that_waited_for_the_lock_are_written_later(tmp_path, monkeypatch):
    monkeypatch.setattr(_frame_cache, "_LOCK_SECONDS", 0.01)
    cache, keys = _frame_cache.FrameCache(tmp_path, 2), [digest(name) for name in "abc"]
    with FileLock(tmp_path / "lock"), pytest.warns(RuntimeWarning, match="another process"):
        cache.add({keys[0]: np.ones((1, 2))})
        cache.add({keys[1]: np.full((2, 2), 2)})
    cache.add({keys[2]: np.full((3, 2), 3)})
    store = FrameStore(tmp_path, 2)
    assert store.absent(keys) == []
    for found in (cache.take([*keys, None]), store.take([*keys, None])):
        assert found.values[:, 0].tolist() == [1, 2, 2, 3, 3, 3]
        assert found.lengths.tolist() == [1, 2, 3, 0]


def test_frames_of_folder_and_call_are_taken_together(tmp_path, monkeypatch):
    keys = [digest(name) for name in "abc"]
    _frame_cache.FrameCache(tmp_path, 2).add({keys[0]: np.ones((1, 2))})
    make_full(monkeypatch)
    cache = _frame_cache.FrameCache(tmp_path, 2)
    monkeypatch.setattr(_frame_cache, "_LOCK_SECONDS", 0.0)
    cache._patience = 0.0
    with FileLock(tmp_path / "lock"):
        cache.add({keys[1]: np.full((2, 2), 2)})
    taken = cache.take([keys[1], None, keys[0], keys[1]])
    assert taken.values[:, 0].tolist() == [2, 2, 1, 2, 2]
    assert taken.lengths.tolist() == [2, 0, 1, 2]


def test_a_conversion_does_not_wait_for_one_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(_converted_frames, "_TURN_SECONDS", 0.01)
    folder = make_tables(tmp_path)
    (folder / ".skumc").mkdir()
    with FileLock(folder / ".skumc" / "lock"):
        first = bits(load_iemocap_da(folder).data.select(["video"]))
    assert bits(load_iemocap_da(folder).data.select(["video"])) == first


def test_the_folder_of_a_conversion_at_work_is_left_alone(tmp_path):
    with _converted_frames._new_folder(tmp_path) as one:
        one.mkdir()
        with _converted_frames._new_folder(tmp_path) as other:
            assert one.is_dir() and one != other
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_the_first_of_two_conversions_stays(tmp_path):
    for name in ("slot", "partial-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "frames.bin").write_text(name)
    _converted_frames._put_into_place(tmp_path / "partial-1", tmp_path / "slot")
    assert (tmp_path / "slot" / "frames.bin").read_text() == "partial-1"
    assert [path.name for path in tmp_path.iterdir()] == ["slot"]


# names of folders


@pytest.mark.parametrize("kind", ["str", "path", "joblib"])
def test_the_home_folder_and_joblib_memory_are_understood(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    memory: object = "~/states"
    if kind == "path":
        memory = Path("~/states")
    elif kind == "joblib":
        memory = joblib.Memory("~/states", verbose=0)
    assert memory_folder(memory) == tmp_path / "states"
    fit(memory)
    assert only(tmp_path / "states", "frames.bin") and not (tmp_path / "~").exists()


@pytest.mark.parametrize("memory", [None, joblib.Memory(None, verbose=0)], ids=["None", "joblib"])
def test_no_location_keeps_nothing(memory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert memory_folder(memory) is None
    fit(memory)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", READERS)
def test_versions_with_another_layout_leave_each_other_alone(kind, tmp_path, monkeypatch):
    make, X = READERS[kind]
    features = make(tmp_path).fit(X)
    expected = bits(features.transform(X))
    with monkeypatch.context() as patch:
        for module in (_folders, _frame_store):
            patch.setattr(module, "LAYOUT", 3)
        assert bits(features.transform(X)) == expected
    assert bits(features.transform(X)) == expected
    layouts = sorted(path.read_text() for path in tmp_path.rglob("layout.json"))
    assert [text[:12] for text in layouts] == ['{"layout": 2', '{"layout": 3']


def test_a_disk_that_fills_up_keeps_what_is_there_readable(tmp_path, monkeypatch):
    X = make_texts()
    features = text_features(tmp_path).fit(X)
    expected = bits(features.transform(X[:30]))
    make_full(monkeypatch)
    plain, calls = _frozen_states.run, []

    def counted(front, ids, mask, types):
        calls.append(int(ids.any(dim=1).sum()))  # the rows that fill up a pass are zero
        return plain(front, ids, mask, types)

    monkeypatch.setattr(_frozen_states, "run", counted)
    with pytest.warns(RuntimeWarning, match=KEPT):
        assert bits(features.transform(X))[:30] == expected
    assert sum(calls) == 10


def test_a_configuration_without_defaults_has_a_fingerprint(tmp_path):
    class Config(transformers.BertConfig):
        def __init__(self, needed, **settings):
            super().__init__(**settings)
            self.needed = needed

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = transformers.BertModel(transformers.BertConfig(vocab_size=99, **sizes))
    model.config.__class__ = Config
    text_features(tmp_path, (model, tokenize)).fit_transform(make_texts(3))
    assert only(tmp_path, "frames.bin")


def test_an_interrupted_pass_leaves_no_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(_frozen_states, "_BUDGET_BYTES", 10)
    plain, calls = _frozen_states.run, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return plain(*args)

    features = text_features().fit()
    monkeypatch.setattr(_frozen_states, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        features.transform(make_texts())
    assert len(calls) == 5 and not list(tmp_path.iterdir())
    found = features.transform(make_texts())
    assert list(tmp_path.iterdir())
    del found
    assert not list(tmp_path.iterdir())
