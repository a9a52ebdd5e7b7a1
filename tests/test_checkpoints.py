"""A fit that was killed goes on from its last epoch and ends as the undisturbed one."""

import functools
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from data_makers import make_sequences
from skumc import MultimodalData, UMCClusterer
from skumc._resuming import fit_content
from skumc.model_selection._trial import Trial
from skumc.text import TextModel
from skumc.training import Callback, Optimization
from skumc.training._plain_values import NotPlainError, is_plain, pack, unpack
from text_models import pair

CPU = torch.device("cpu")


class Prototypes(torch.nn.Module):
    """A supervised loss with weights of its own."""

    def __init__(self):
        super().__init__()
        self.prototypes = torch.nn.Parameter(torch.zeros(2, 128))

    def forward(self, views, labels):
        return (views[:, 0] - self.prototypes[labels]).square().mean()


class Drifting:
    """A loss without weights whose value depends on the number of its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, views):
        self.calls += 1
        return (views[:, 0] - views[:, 1]).square().mean() * self.calls


class Drawing:
    """A selector with a generator of its own, which it draws from in each epoch."""

    def __init__(self):
        self.rng = np.random.default_rng(3)
        self.seen = {"shares": []}

    def select(self, X, labels, threshold):
        self.seen["shares"].append(threshold)
        return self.rng.random(len(X)) < 0.5


class Falling:
    """A monitor with its maximum at the first epoch."""

    def __init__(self):
        self.calls = 0

    def __call__(self, embedding, labels):
        self.calls += 1
        return -self.calls


class OwnState:
    """A monitor with a state that is no plain value, and the methods to save it."""

    def __init__(self):
        self._state = SimpleNamespace(calls=0)

    def __call__(self, embedding, labels):
        self._state.calls += 1
        return -abs(self._state.calls - 3)

    def state_dict(self):
        return {"calls": self._state.calls}

    def load_state_dict(self, state):
        self._state.calls = state["calls"]


def make_texts():
    words = ["sea ship", "gear wheel"]
    texts = [f"{words[i % 2]} {'tree leaf moon'.split()[i % 3]} {i}" for i in range(24)]
    return MultimodalData({"text": texts, "audio": make_sequences()[0].sequences("audio")})


def trained_text():
    return {"text": TextModel(pair(), n_trainable_layers=1)}


KINDS = {
    "default": dict,
    "preset source": lambda: {
        **UMCClusterer.from_preset("source").get_params(deep=False),
        "text": None,
        "pretrain_epochs": 2,
        "max_epochs": 3,
    },
    "umc": lambda: {"encoder": "umc", "pairs": "frames", "selector": "random"},
    "bfloat16": lambda: {"precision": "bfloat16", "batch_size": 7},
    "trained text": trained_text,
    "own parts": lambda: {
        "losses": {"supcon": Prototypes(), "contrastive": Drifting()},
        "selector": Drawing(),
        "monitor": OwnState(),
        "pseudo_labels": "selected",
    },
    "optimizer": lambda: {
        "optimization": Optimization("sgd", schedule="cosine", accumulate_steps=2, grad_clip=1.0),
        "batch_size": 5,
        "neighbors__refresh_every": 1,
    },
    "patience": lambda: {
        "monitor": Falling(),
        "patience": 3,
        "optimization__min_epochs": 0,
        "max_epochs": 9,
    },
}


def make(kind="default", folder=None, **more):
    settings = {"pretrain_epochs": 2, "max_epochs": 3, "kmeans__n_init": 1}
    settings |= KINDS[kind]() | more
    clusterer = UMCClusterer(2).set_params(**settings | {"n_clusters": 2, "random_state": 0})
    return clusterer.set_params(optimization__checkpoint_dir=folder)


def samples(kind):
    if kind == "trained text":
        return make_texts()
    return make_sequences()[0].select(["text", "audio"])


def result(fitted):
    history = [{k: v for k, v in record.items() if k != "seconds"} for record in fitted.history_]
    arrays = (fitted.labels_, fitted.embedding_, fitted.cluster_centers_)
    return [array.tobytes() for array in arrays] + [history, fitted.n_iter_]


class Killed(BaseException):
    pass


class Dies(Callback):
    """Ends the fit like a kill, at the end of the n-th epoch: no handler sees it."""

    def __init__(self, at):
        self.left = at

    def on_epoch_end(self, state, record):
        self.left -= 1
        if not self.left:
            raise Killed


def kill(at, X, folder, kind="default", **more):
    with pytest.raises(Killed):
        make(kind, folder, callbacks=[Dies(at)], **more).fit(X)


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".safetensors")


@functools.cache
def undisturbed(kind="default"):
    return result(make(kind).fit(samples(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_fit_ends_as_the_undisturbed_one(kind, tmp_path):
    X, expected = samples(kind), undisturbed(kind)
    n_epochs = sum(record["phase"] != "start" for record in expected[3])
    in_pretraining = kind in ("default", "umc", "trained text", "own parts")
    for at in [2] * in_pretraining + [n_epochs if kind == "default" else 5]:
        seen = Counts()
        kill(at, X, tmp_path / str(at), kind)
        resumed = make(kind, tmp_path / str(at), callbacks=[seen]).fit(X)
        assert result(resumed) == expected
        assert seen.epochs == n_epochs - at + 1  # the killed epoch, and those after it


class Counts(Callback):
    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, state, record):
        self.epochs += 1


def test_a_fit_may_be_killed_many_times(tmp_path):
    X = samples("default")
    for _ in range(4):  # each gets one epoch further
        kill(2, X, tmp_path)
    assert result(make(folder=tmp_path).fit(X)) == undisturbed()


def test_checkpoints_change_no_result(tmp_path):
    X = samples("default")
    assert result(make(folder=tmp_path).fit(X)) == undisturbed()


def test_the_last_two_and_the_best_are_kept(tmp_path):
    seen = []

    class Looks(Callback):
        def on_epoch_end(self, state, record):
            seen.append(files(tmp_path))

    X = samples("default")
    monitor = Peak()
    fitted = make(
        folder=tmp_path, monitor=monitor, callbacks=[Looks()], pretrain_epochs=1, max_epochs=5
    ).fit(X)
    (best,) = [n for n, record in enumerate(fitted.history_) if record.get("restored")]
    assert best == 2  # the second main epoch, after one of pretraining
    names = [f"epoch-{n:05}.safetensors" for n in range(1, 8)]
    assert seen[:4] == [[], names[:1], names[:2], names[1:3]]
    assert seen[4] == names[2:4] and seen[6] == [names[2], *names[4:6]]
    assert files(tmp_path) == [names[2], *names[5:7]]


class Peak:
    """A monitor with its maximum at the second epoch."""

    def __init__(self):
        self.calls = 0

    def __call__(self, embedding, labels):
        self.calls += 1
        return 1.0 if self.calls == 2 else 1 / (2 + self.calls)


# a fit with other content


OTHERS = {
    "n_clusters": lambda c: c.set_params(n_clusters=3),
    "learning_rate": lambda c: c.set_params(learning_rate=1e-3),
    "threshold__max_threshold": lambda c: c.set_params(threshold__max_threshold=0.4),
    "random_state": lambda c: c.set_params(random_state=1),
    "encoder": lambda c: c.set_params(encoder="causal"),
}


def test_other_parameters_are_refused_by_name(tmp_path):
    X = samples("default")
    kill(3, X, tmp_path, threshold__max_threshold=0.5)
    before = {path: (tmp_path / path).read_bytes() for path in files(tmp_path)}
    for name, change in OTHERS.items():
        other = make(folder=tmp_path, threshold__max_threshold=0.5)
        with pytest.raises(ValueError, match=rf"differs in: {name}\. Fit with the same") as info:
            change(other).fit(X)
        assert "checkpoint_dir=" in str(info.value) and "delete this one" in str(info.value)
    assert before == {path: (tmp_path / path).read_bytes() for path in files(tmp_path)}


def test_other_samples_and_versions_are_refused_by_name(tmp_path, monkeypatch):
    X = samples("default")
    kill(3, X, tmp_path)
    with pytest.raises(ValueError, match=r"differs in: X\."):
        make(folder=tmp_path).fit(X[::-1])
    with pytest.raises(ValueError, match=r"differs in: X\."):
        make(folder=tmp_path).fit(make_sequences(seed=1)[0].select(X.names))
    monkeypatch.setattr("skumc._resuming.version", lambda package: f"{package} of the future")
    with pytest.raises(ValueError, match=r"differs in: .*version of scikit-learn, version of sc"):
        make(folder=tmp_path).fit(X)
    monkeypatch.undo()
    assert result(make(folder=tmp_path).fit(X)) == undisturbed()


def test_equal_content_resumes_whatever_its_form(tmp_path):
    X = np.random.default_rng(0).normal(size=(24, 4))
    kill(3, X, tmp_path, verbose=0)
    seen = Counts()
    table = np.asfortranarray(X)
    resumed = make(folder=tmp_path, callbacks=[seen]).fit(table)
    assert seen.epochs == 4 and result(resumed) == result(make().fit(X))


def test_all_that_changes_a_result_is_in_the_content():
    X = samples("default")
    content = fit_content(make(folder="here"), X, CPU)
    parameters = set(make().get_params())
    without = {"callbacks", "verbose", "optimization", "optimization__checkpoint_dir"}
    assert parameters - without <= set(content)
    assert content == fit_content(make(folder="there", verbose=3), X, CPU)


def test_another_number_of_threads_costs_a_warning(tmp_path, monkeypatch):
    X = samples("default")
    kill(3, X, tmp_path)
    n_threads = torch.get_num_threads()
    monkeypatch.setattr("torch.get_num_threads", lambda: n_threads + 1)
    expected = f"written with threads {n_threads} and now {n_threads + 1}: .* up to rounding"
    with pytest.warns(RuntimeWarning, match=expected):
        make(folder=tmp_path).fit(X)


def test_without_a_seed_there_is_nothing_to_resume(tmp_path):
    X = samples("default")
    for seed in (None, np.random.RandomState(0)):
        clusterer = make(folder=tmp_path)
        with pytest.raises(ValueError, match="checkpoint_dir=.*expected an int as random_state"):
            clusterer.set_params(random_state=seed).fit(X)


def test_a_parameter_without_content_is_refused(tmp_path):
    clusterer = make(folder=tmp_path, monitor=lambda embedding, labels: 0.0)
    with pytest.raises(ValueError, match="checkpoint_dir= compares .* cannot be pickled"):
        clusterer.fit(samples("default"))


def test_scores_of_a_search_do_not_depend_on_the_folder():
    X = samples("default")

    def content(folder):
        trial = Trial(make(folder=folder))
        trial._fit_arguments = X, {}
        return trial._content()

    assert content(None) == content("here") == content("there")


# the end of a fit


def test_after_a_finished_fit_the_next_one_starts_anew(tmp_path):
    X = samples("default")
    make(folder=tmp_path).fit(X)
    assert (tmp_path / "finished").exists()
    seen = Counts()
    other = make(folder=tmp_path, max_epochs=2, callbacks=[seen]).fit(X[:20])
    assert seen.epochs == 5
    assert result(other) == result(make(max_epochs=2).fit(X[:20]))
    kill(2, X, tmp_path)  # what is left of the last fit is of no use to this one
    assert not (tmp_path / "finished").exists() and len(files(tmp_path)) == 1
    assert result(make(folder=tmp_path).fit(X)) == undisturbed()


def test_an_interrupted_fit_can_go_on(tmp_path):
    X = samples("default")

    class Interrupts(Callback):
        def on_epoch_end(self, state, record):
            if record["phase"] == "main" and record["epoch"] == 1:
                raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="fit was interrupted"):
        fitted = make(folder=tmp_path, callbacks=[Interrupts()]).fit(X)
    assert fitted.predict(X).tobytes() == fitted.labels_.tobytes()
    seen = Counts()
    resumed = make(folder=tmp_path, callbacks=[seen]).fit(X)
    assert seen.epochs == 3 and result(resumed) == undisturbed()


def test_a_callback_that_ends_training_ends_the_resumed_fit_too(tmp_path):
    X = samples("default")

    class Stops(Callback):
        def on_epoch_end(self, state, record):
            return record["phase"] == "pretrain"

    expected = result(make(callbacks=[Stops()]).fit(X))
    with pytest.raises(Killed):
        make(folder=tmp_path, callbacks=[Stops(), Dies(2)]).fit(X)
    assert result(make(folder=tmp_path, callbacks=[Stops()]).fit(X)) == expected


# files that are damaged, or hostile


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def opened(path):
    open(path, "w").close()


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return opened, (self.path,)


def with_state(state):
    texts = {"format": "1", "content": "{}", "machine": "{}", "state": state, "digest": "0"}
    return lambda content: save({"0": torch.zeros(2)}, texts)


DAMAGES = {
    "truncated": truncated,
    "one bit": flipped,
    "empty": lambda content: b"",
    "text": lambda content: b"no checkpoint",
    "length beyond the file": lambda content: b"\xff" * 8 + content[8:],
    "another digest": with_state("{}"),
    "deep": with_state("[" * 100_000),
    "without metadata": lambda content: save({"0": torch.zeros(2)}),
}


@pytest.fixture(scope="module")
def killed_late(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    kill(6, samples("default"), folder)
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damage, tmp_path, killed_late):
    X = samples("default")
    shutil.copytree(killed_late, tmp_path, dirs_exist_ok=True)
    newest = tmp_path / files(tmp_path)[-1]
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    seen = Counts()
    with pytest.warns(RuntimeWarning, match="checkpoint .* is damaged .* the one before is used"):
        resumed = make(folder=tmp_path, callbacks=[seen]).fit(X)
    assert seen.epochs == 2  # one more than after the newest
    assert result(resumed) == undisturbed()


def test_pickles_are_not_read(tmp_path):
    X = samples("default")
    kill(4, X, tmp_path)
    trap = tmp_path / "trap"
    for name in files(tmp_path):
        (tmp_path / name).write_bytes(pickle.dumps(Payload(str(trap))))
    with pytest.warns(RuntimeWarning, match="is damaged"):
        fitted = make(folder=tmp_path).fit(X)
    assert not trap.exists() and result(fitted) == undisturbed()


def test_what_a_kill_has_left_is_removed_and_other_files_stay(tmp_path):
    X = samples("default")
    kill(3, X, tmp_path)
    (tmp_path / "epoch-00009.safetensors.part").write_bytes(b"half")
    for name in ("notes.txt", "notes.part", "writable", "epoch-1.txt"):
        (tmp_path / name).write_text("mine")
    make(folder=tmp_path).fit(X)
    assert [path.name for path in tmp_path.glob("*.part")] == ["notes.part"]
    for name in ("notes.txt", "notes.part", "writable", "epoch-1.txt"):
        assert (tmp_path / name).read_text() == "mine"


# folders that cannot be written to


def test_a_folder_without_permission_is_refused_before_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    seen = Counts()
    with pytest.raises(OSError, match="Cannot write checkpoints to .*checkpoint_dir"):
        make(folder=tmp_path / "file", callbacks=[seen]).fit(samples("default"))
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(OSError, match="Cannot write checkpoints to .*checkpoint_dir"):
            make(folder=tmp_path / "locked", callbacks=[seen]).fit(samples("default"))
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="Cannot write checkpoints to .*No space.*checkpoint_dir"):
        make(folder=tmp_path / "new", callbacks=[seen]).fit(samples("default"))
    assert seen.epochs == 0


def full(*arguments):
    raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_later_costs_warnings_only(tmp_path, monkeypatch):
    X = samples("default")

    class Fills(Callback):
        def on_epoch_end(self, state, record):
            if record["phase"] == "main":
                fills = record["epoch"] in (0, 1)
                monkeypatch.setattr("os.fsync", full if fills else lambda *arguments: None)

    with pytest.warns(RuntimeWarning, match="Cannot write a checkpoint to .*No space") as caught:
        fitted = make(folder=tmp_path, callbacks=[Fills()]).fit(X)
    assert len(caught) == 2 and not list(tmp_path.glob("*.part"))
    assert result(fitted) == undisturbed()


def test_a_part_whose_state_cannot_be_written_costs_a_warning(tmp_path):
    class Rich(Callback):
        def on_epoch_end(self, state, record):
            record["path"] = Path("here")

    with pytest.warns(RuntimeWarning, match=r"Cannot write a checkpoint .*\(a PosixPath\)"):
        make(folder=tmp_path, callbacks=[Rich()]).fit(samples("default"))


def test_two_fits_do_not_share_a_folder(tmp_path):
    X = samples("default")
    inside, leave = threading.Event(), threading.Event()

    class Waits(Callback):
        def on_train_begin(self, state):
            inside.set()
            leave.wait(60)

    first = make(folder=tmp_path, callbacks=[Waits()])
    thread = threading.Thread(target=first.fit, args=(X,))
    thread.start()
    try:
        assert inside.wait(60)
        with pytest.raises(OSError, match="Another fit writes .* a folder of its own"):
            make(folder=tmp_path).fit(X)
    finally:
        leave.set()
        thread.join()
    assert result(first) == undisturbed()


# values


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([np.float32(0.1), np.int64(-7), np.arange(6.0).reshape(2, 3)[:, ::2]])
    | st.sampled_from([torch.arange(5)[1:4], torch.tensor(0.1, dtype=torch.bfloat16)])
    | st.sampled_from([np.zeros((0, 3), dtype=">i4"), np.array([True])]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        return all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        keys = zip(one, other, strict=True)
        return all(same(a, b) for a, b in keys) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    if isinstance(one, np.ndarray | np.generic):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        return one.tobytes() == other.tobytes()
    return one == other or (one != one and other != other)


@given(value=plain)
def test_values_come_back_as_they_were(value):
    assert is_plain(value)
    structure, tensors = pack(value)
    pointers = [tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()]
    assert len(set(pointers)) == len(pointers)
    assert same(unpack(json.loads(json.dumps(structure)), tensors), value)


@pytest.mark.parametrize(
    "make_generator",
    [
        np.random.default_rng,
        np.random.RandomState,
        lambda s: np.random.Generator(np.random.SFC64(s)),
    ],
)
def test_generators_go_on_where_they_were(make_generator):
    generator = make_generator(5)
    generator.normal(size=3)
    structure, tensors = pack(generator)
    again = unpack(json.loads(json.dumps(structure)), tensors)
    assert again.normal(size=9).tolist() == generator.normal(size=9).tolist()


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, b"bytes", Path("a"), np.array(["a"]), np.array([None]), [Counts()]]
)
def test_other_values_are_refused(value):
    assert not is_plain(value)
    with pytest.raises(NotPlainError):
        pack(value)


@pytest.mark.parametrize(
    "structure",
    [
        {"array": 0, "dtype": "O", "shape": [1]},
        {"array": 9, "dtype": "<f4", "shape": [1]},
        {"RandomState": {"dict": [["bit_generator", "os"]]}},
        {"Generator": {"dict": [["bit_generator", "__class__"]]}},
        {"system": "true"},
        {"tensor": 0},
    ],
)
def test_structures_that_are_none_are_refused(structure):
    with pytest.raises((ValueError, KeyError, IndexError, TypeError, AttributeError)):
        unpack(structure, [torch.zeros(8, dtype=torch.uint8)])


# kill -9


SCRIPT = """
import sys, pathlib
sys.path.insert(0, sys.argv[2])
from test_checkpoints import make, samples, result
import hashlib
fitted = make(folder=pathlib.Path(sys.argv[1]), pretrain_epochs=8, max_epochs=12).fit(
    samples("default")
)
print(hashlib.sha256(repr(result(fitted)).encode()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_at_random_moments(tmp_path):
    command = [sys.executable, "-c", SCRIPT]
    here = str(Path(__file__).parent)
    expected = subprocess.run(
        [*command, str(tmp_path / "whole"), here], capture_output=True, text=True, check=True
    ).stdout
    folder, rng, n_kills, moved = tmp_path / "killed", random.Random(0), 0, set()
    while n_kills < 4:
        before, deadline = files(folder) if folder.exists() else [], time.monotonic() + 120
        run = [*command, str(folder), here]
        with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None and time.monotonic() < deadline:
                if folder.exists() and files(folder) != before:  # it has begun to train
                    time.sleep(rng.uniform(0, 0.15))
                    process.send_signal(signal.SIGKILL)
                    process.wait()
            n_kills += 1
            moved.add(tuple(files(folder)))
            if process.returncode == 0:
                assert process.stdout.read() == expected
                break
    last = subprocess.run([*command, str(folder), here], capture_output=True, text=True, check=True)
    assert last.stdout == expected and len(moved) > 1
