import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from data_makers import make_sequences
from fitting import WITHOUT_NEIGHBORS, Rising
from skumc import UMCClusterer
from skumc._devices import resolve_device
from skumc.data import inference_batches
from skumc.encoders import EncoderOutput
from skumc.losses import WeightedLosses
from skumc.pseudo_labels import PseudoLabels
from skumc.training import Callback, GradientNorms, History, ProgressLines, SilhouetteMonitor
from skumc.training._clustering import assign_labels, cluster_embedding, clustering_objective
from skumc.training._isolation import isolated
from skumc.training._state import TrainingState
from skumc.training._steps import split_batches

CPU = torch.device("cpu")


def fit(X=None, n_clusters=2, **parameters):
    X = make_sequences()[0] if X is None else X
    defaults = {"pretrain_epochs": 1, "max_epochs": 3, "random_state": 0}
    return UMCClusterer(n_clusters).set_params(**(defaults | parameters)).fit(X)


@given(n=st.integers(0, 40), batch_size=st.integers(1, 12), seed=st.integers(0, 9))
def test_batches_hold_every_row_once_and_are_even(n, batch_size, seed):
    plans = split_batches("rest", np.arange(n), batch_size, np.random.RandomState(seed))
    sizes = [len(plan.rows) for plan in plans]
    assert sorted(row for plan in plans for row in plan.rows) == list(range(n))
    assert not sizes or (max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1)


@given(budget=st.integers(1, 60), n_samples=st.integers(1, 30))
def test_inference_batches_hold_every_row_once_within_budget(budget, n_samples):
    X, _ = make_sequences(n_samples)
    longest = X.lengths.max(axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skumc.data._inference_batches._INFERENCE_FRAMES", budget)
        batches = list(inference_batches(X))
    assert sorted(np.concatenate(batches)) == list(range(n_samples))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * longest[batch].max() <= budget


# clusters, monitor, history


def test_warm_start_keeps_the_order_of_centers():
    embedding = np.repeat(np.eye(3, 4, dtype=np.float32), 5, axis=0)
    labels, centers = cluster_embedding(KMeans(n_init=10), embedding, 3, None, 0)
    again, moved = cluster_embedding(KMeans(n_init=10), embedding, 3, centers[::-1], 1)
    np.testing.assert_array_equal(moved, centers[::-1])
    np.testing.assert_array_equal(again, 2 - labels)


def test_objective_equals_loops():
    rng = np.random.default_rng(0)
    embedding, labels = rng.normal(size=(20, 3)), rng.integers(0, 4, 20)
    centers = rng.normal(size=(4, 3))
    within = sum(((h - centers[k]) ** 2).sum() for h, k in zip(embedding, labels, strict=True))
    separation = min(
        ((centers[k] - centers[m]) ** 2).sum() for k in range(4) for m in range(4) if k != m
    )
    found = clustering_objective(embedding, labels, centers)
    assert found["within"] == pytest.approx(within)
    assert found["separation"] == pytest.approx(separation)
    assert found["objective"] == pytest.approx(within - separation)
    assert clustering_objective(embedding, labels * 0, centers[:1])["separation"] == 0


def test_monitor_looks_at_the_same_sample_each_time():
    rng = np.random.default_rng(0)
    embedding, labels = rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    monitor = SilhouetteMonitor(sample_size=50)
    assert monitor(embedding, labels) == monitor(embedding, labels)
    assert monitor(embedding, labels) != SilhouetteMonitor()(embedding, labels)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_monitor_without_a_clustering_gives_zero(labels):
    assert SilhouetteMonitor()(np.eye(3), np.array(labels)) == 0.0


def test_assigned_is_the_nearest_center():
    rng = np.random.default_rng(0)
    embedding, centers = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    distances = ((embedding[:, None] - centers) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(assign_labels(embedding, centers), distances.argmin(axis=1))


def test_history_has_columns_slices_and_survives_pickling():
    history = fit().history_
    assert history[:, "phase"] == ["start", "pretrain"] + 4 * ["main"]
    assert isinstance(history[1:], History) and len(history[1:]) == 5
    assert pickle.loads(pickle.dumps(history)) == history
    with pytest.raises(KeyError, match="No record has 'loss'; there are"):
        history[:, "loss"]


# the loop


def test_history_records_what_the_docs_promise():
    history = fit(pseudo_labels="selected", callbacks=[GradientNorms()]).history_
    record = history.phase("main")[0]
    terms = [record[f"threshold_{t}"] for t in ("base", "performance", "loss", "stability")]
    assert record["threshold"] == pytest.approx(np.clip(sum(terms), 0.05, 0.5))
    for name in ("supcon", "contrastive", "compactness", "separation"):
        assert {f"loss_{name}", f"gradient_{name}"} <= set(record)
    expected = {"monitor", "selected_share", "within", "separation", "objective", "learning_rate"}
    expected |= {"taught_share"}
    assert expected | {"seconds", "restored", "loss_total"} <= set(record)
    assert "loss_infonce" in history.phase("pretrain")[0]
    (start,) = history.phase("start")
    without = {"learning_rate"} | {name for name in expected if name.startswith("loss")}
    assert expected - without <= set(start) and "loss_total" not in start
    assert sum(history.phase("main")[:, "restored"]) == 1


class CountingMonitor:
    """Gives the values of a list, one a call."""

    def __init__(self, values):
        self.values = list(values)

    def __call__(self, embedding, labels):
        return self.values.pop(0)


def test_best_epoch_is_restored():
    X, _ = make_sequences()
    peaked = fit(X, monitor=CountingMonitor([0.1, 0.9, 0.2, 0.3]))
    assert peaked.history_.phase("main")[:, "restored"] == [False, True, False, False]
    first = fit(X, max_epochs=1, monitor=CountingMonitor([0.1, 0.9]))
    assert first.n_iter_ == 1 and peaked.n_iter_ == 3
    last = fit(X, monitor=CountingMonitor([0.1, 0.2, 0.3, 0.9]))
    assert not np.array_equal(last.embedding_, peaked.embedding_)


def test_patience_counts_from_min_epochs():
    falling = [1 - 0.01 * i for i in range(30)]
    early = fit(
        max_epochs=20, patience=3, optimization__min_epochs=0, monitor=CountingMonitor(falling)
    )
    assert early.n_iter_ == 3
    default = fit(max_epochs=20, patience=3, monitor=CountingMonitor(falling))
    assert default.n_iter_ == 12 + 2
    never = fit(max_epochs=20, patience=None, monitor=CountingMonitor(falling))
    assert never.n_iter_ == 20


class Interrupting:
    """A monitor that acts like Ctrl-C at one call."""

    def __init__(self, at):
        self.at, self.calls = at, 0

    def __call__(self, embedding, labels):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return -self.calls


class InterruptingLoss:
    def __init__(self, at):
        self.at, self.calls = at, 0

    def __call__(self, views):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return views.square().sum()


@pytest.mark.parametrize(
    "parameters",
    [
        {"monitor": Interrupting(3), "max_epochs": 5},
        {"losses": {"infonce": InterruptingLoss(2)}, "pretrain_epochs": 4},
        {"losses": {"contrastive": InterruptingLoss(1)}, "pseudo_labels": "selected"},
    ],
    ids=["loop", "pretraining", "first training epoch"],
)
def test_ctrl_c_keeps_the_best_state_and_leaves_a_fitted_estimator(parameters):
    X, _ = make_sequences()
    with pytest.warns(RuntimeWarning, match="fit was interrupted after .* best state so far"):
        fitted = fit(X, **parameters)
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)
    assert sum(bool(record.get("restored")) for record in fitted.history_) == 1


def test_diverging_training_says_what_to_turn():
    class Exploding:
        def __call__(self, views):
            return views.sum() * torch.inf

    with (
        pytest.warns(RuntimeWarning, match="The loss 'infonce' became .* half the learning rate"),
        pytest.raises(FloatingPointError, match="Lower learning_rate or pretrain_learning_rate"),
    ):
        fit(losses={"infonce": Exploding()})


def test_monitor_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="The monitor gave nan in epoch 0.*Check monitor="):
        fit(monitor=CountingMonitor([float("nan")]))


class Broken:
    """A threshold and a selector that give what they should not."""

    def update(self, epoch, n_epochs, performance, loss):
        return None

    def select(self, X, labels, threshold):
        return [True]


def test_threshold_and_selector_that_give_nonsense_are_refused():
    with pytest.raises(ValueError, match="The threshold gave None in epoch 0.*Check threshold="):
        fit(threshold=Broken())
    with pytest.raises(
        ValueError, match=r"shape \(1,\), expected bool of shape \(24,\).*selector="
    ):
        fit(selector=Broken())


def test_loss_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="The loss 'supcon' gave .* expected a tensor"):
        fit(losses={"supcon": lambda views, labels: 1.0})


def test_progress_writes_a_line_an_epoch_with_the_time_left(capsys):
    fit(verbose=1, max_epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "pretrain 1/1",
        "main 1/2",
        "main 2/2",
        "main end",
    ]
    assert all("left" in line for line in lines)
    fit(verbose=0)
    assert capsys.readouterr().out == ""


def test_remaining_time_is_the_epochs_times_their_seconds(capsys):
    state = TrainingState(None, None, None, None, phase="main", n_epochs=100)
    ProgressLines().on_epoch_end(state, {"phase": "main", "epoch": 9, "seconds": 41.0})
    assert "main 10/100" in (line := capsys.readouterr().out) and "1:01:30 left" in line


# who gets what: every call of the loop's parts is written down


class SpyEncoder(torch.nn.Module):
    """Knows each sample by its number, and remembers which views of it were asked for."""

    n_looks = 2  # at a few samples, for the memory that training takes

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(4))
        self.calls = []

    def forward(self, batch):
        return self.forward_views(batch, [tuple(batch)])[0]

    def forward_views(self, batch, views):
        frames = batch["number"][0].float()
        if self.training and self.n_looks:
            self.n_looks -= 1
        elif self.training:
            self.calls.append((frames[:, 0].long().tolist(), [tuple(view) for view in views]))
        angle = frames @ torch.full((1, 1), 0.01)
        h = torch.cat([angle.cos(), angle.sin(), angle.sin() ** 2, angle**3], dim=1) @ self.weight
        h = torch.nn.functional.normalize(h, dim=-1)
        return [EncoderOutput(h, torch.ones(len(h), 3) / 3, {}) for _ in views]


class SpyThreshold:
    def __init__(self):
        self.calls = []

    def update(self, epoch, n_epochs, performance, loss):
        self.calls.append((epoch, n_epochs, performance, loss))
        return 0.4


class SpySelector:
    def __init__(self):
        self.masks = []

    def select(self, X, labels, threshold):
        assert threshold == 0.4
        self.masks.append(np.arange(len(X)) % 3 == 0)
        return self.masks[-1]


class SpyLoss:
    def __init__(self):
        self.calls = []

    def __call__(self, *tensors):
        self.calls.append([tensor.detach().clone() for tensor in tensors])
        return tensors[0].square().sum(dim=-1).mean() + tensors[0].mean()


ROLES = ("infonce", "supcon", "contrastive", "compactness", "separation")


@pytest.fixture
def watched(no_trial):
    """A fit whose parts write down what they get."""
    n = 30
    number = np.arange(float(n))[:, None]
    X = {"first": number, "number": number, "last": number}
    weights = {"supcon": 3.0, "contrastive": 0.7, "compactness": 0.2, "separation": 0.1}
    spies = {role: SpyLoss() for role in ROLES}
    return fit(
        X,
        3,
        anchor="number",
        **WITHOUT_NEIGHBORS,
        encoder=SpyEncoder(),
        threshold=SpyThreshold(),
        selector=SpySelector(),
        losses={role: (weights.get(role), spy) for role, spy in spies.items()},
        batch_size=8,
        max_epochs=2,
        pretrain_epochs=1,
    )


def test_selected_samples_get_the_supervised_branch_and_the_rest_the_other(watched):
    calls = watched.encoder_.calls
    per_epoch = {"pretrain": 4, "selected": 2, "rest": 3}  # batches of at most 8
    pretrain = calls[:4]
    assert sorted(sum((rows for rows, _ in pretrain), [])) == list(range(30))
    main = calls[4:]
    assert len(main) == 2 * (per_epoch["selected"] + per_epoch["rest"])
    for start in (0, 5):
        selected, rest = main[start : start + 2], main[start + 2 : start + 5]
        assert sorted(sum((rows for rows, _ in selected), [])) == list(range(0, 30, 3))
        assert sorted(sum((rows for rows, _ in rest), [])) == [i for i in range(30) if i % 3]


def test_views_hold_the_anchor_and_are_those_of_the_branch(watched):
    full = ("first", "number", "last")
    others = {("number", "last"), ("first", "number")}
    for rows, views in watched.encoder_.calls:
        assert views[0] == full and set(views[1:]) <= others
        supervised = all(row % 3 == 0 for row in rows)
        assert len(views) == (3 if supervised else 2)


@pytest.mark.usefixtures("no_trial")
def test_disjoint_views_have_no_modality_in_common():
    number = np.arange(30.0)[:, None]
    X = {"first": number, "number": number, "last": number}
    settings = WITHOUT_NEIGHBORS | {"pairs": "disjoint", "max_epochs": 0, "pretrain_epochs": 40}
    spied = fit(X, 3, encoder=SpyEncoder(), **settings)
    splits = {frozenset(map(frozenset, views)) for _, views in spied.encoder_.calls}
    assert splits == {frozenset([frozenset([name]), frozenset(X) - {name}]) for name in X}


def test_threshold_gets_monitor_and_loss_of_the_epoch_before(watched):
    main = watched.history_.phase("main")
    assert watched.threshold_.calls == [
        (0, 2, None, None),
        (1, 2, main[0, "monitor"], main[0, "loss_total"]),
        (2, 2, main[1, "monitor"], main[1, "loss_total"]),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_restored_record_describes_the_clustering_that_is_returned(seed):
    X, _ = load_digits(return_X_y=True)
    fitted = UMCClusterer(10, pretrain_epochs=1, max_epochs=4, random_state=seed).fit(X[:300])
    (record,) = [record for record in fitted.history_ if record.get("restored")]
    objective = clustering_objective(fitted.embedding_, fitted.labels_, fitted.cluster_centers_)
    assert {name: record[name] for name in objective} == pytest.approx(objective, rel=1e-6)
    pixels = StandardScaler().fit_transform(X[:300])
    near = NearestNeighbors(n_neighbors=10).fit(pixels).kneighbors(return_distance=False)
    shares = np.bincount(fitted.labels_) / 300
    same = fitted.labels_[near] == fitted.labels_[:, None]
    returned = same.mean() - np.square(shares).sum()
    assert record["monitor"] == pytest.approx(returned, rel=1e-5)


class RecordingKMeans(KMeans):
    """Keeps the start and the data of every fit in a list that copies share."""

    seen = []

    def fit(self, X, y=None, sample_weight=None):
        super().fit(X)
        self.seen.append((X.copy(), self.init))
        return self


@pytest.mark.usefixtures("no_trial")
@pytest.mark.parametrize("pseudo", ["selected", "propagated"])
def test_kmeans_starts_from_the_new_means_of_the_last_labels(pseudo):
    X, _ = make_sequences()
    RecordingKMeans.seen.clear()
    labels = []

    def keep(state, record):
        if state.phase == "main":
            labels.append(state.labels.copy())

    hooks = [SimpleNamespace(on_epoch_end=keep)]
    settings = {"max_epochs": 2, "pseudo_labels": pseudo, "callbacks": hooks}
    fit(X, 3, kmeans=RecordingKMeans(n_init=1), monitor=Rising(), **settings)
    assert len(RecordingKMeans.seen) == len(labels) == 3
    assert isinstance(RecordingKMeans.seen[0][1], str)  # k-means++
    for (embedding, start), last in zip(RecordingKMeans.seen[1:], labels[:-1], strict=True):
        means = [embedding[last == label].mean(axis=0) for label in range(3)]
        np.testing.assert_allclose(start, means, atol=1e-6)


class Prototypes(torch.nn.Module):
    """A supervised loss with learned prototypes."""

    def __init__(self, n_clusters=3, width=128):
        super().__init__()
        self.prototypes = torch.nn.Parameter(torch.zeros(n_clusters, width))

    def forward(self, views, labels):
        return (views[:, 0] - self.prototypes[labels]).square().mean()


@pytest.mark.parametrize("averaging", [0.0, 0.98])
@pytest.mark.parametrize("as_parts", [dict, lambda given: WeightedLosses(supcon=given["supcon"])])
def test_loss_with_parameters_trains_and_is_kept(as_parts, averaging):
    X, _ = make_sequences()
    own = Prototypes()
    settings = dict(max_epochs=3, pseudo_labels="selected")
    settings["optimization__weight_averaging"] = averaging
    fitted = fit(X, 3, losses=as_parts({"supcon": own}), monitor=Rising(), **settings)
    assert not own.prototypes.any()  # the user's own stays as it was
    trained = fitted.losses_.supcon.prototypes.detach()
    assert (trained.norm(dim=1) > 0.01).all()
    # each prototype has moved towards the mean of its cluster and of no other
    centers = torch.from_numpy(fitted.cluster_centers_)
    assert (trained @ centers.T).argmax(dim=1).tolist() == [0, 1, 2]
    again = fit(X, 3, losses=as_parts({"supcon": own}), monitor=Rising(), **settings)
    torch.testing.assert_close(again.losses_.supcon.prototypes, trained, rtol=0, atol=0)


def test_total_is_the_weighted_sum_a_step(watched):
    record = watched.history_.phase("main")[0]
    supervised = (
        3.0 * record["loss_supcon"]
        + 0.2 * record["loss_compactness"]
        + 0.1 * record["loss_separation"]
    )
    expected = (2 * supervised + 3 * 0.7 * record["loss_contrastive"]) / 5
    assert record["loss_total"] == pytest.approx(expected, rel=1e-5)


def test_weights_scale_the_gradient_of_their_loss():
    X, _ = make_sequences()
    norms = [
        fit(
            X,
            max_epochs=1,
            pseudo_labels="selected",
            callbacks=[GradientNorms()],
            losses={role: weight for role in ROLES[1:]},
        ).history_.phase("main")
        for weight in (1.0, 2.0)
    ]
    for role in ("supcon", "contrastive"):
        once, twice = (history[0, f"gradient_{role}"] for history in norms)
        # the first step's gradient is scaled exactly; later steps see other weights
        assert 1.5 < twice / once < 2.5


@pytest.mark.usefixtures("no_trial")
def test_centers_of_absent_clusters_are_the_stored_ones():
    X, _ = make_sequences(40, 4)

    class Recording(SpyLoss):
        def __deepcopy__(self, memo):
            return self  # so that the test sees what the copy was called with

    spy = Recording()
    fitted = fit(
        X,
        4,
        max_epochs=1,
        batch_size=2,
        losses={"separation": spy},
        monitor=CountingMonitor([1, 0]),
    )
    assert fitted.history_.phase("main")[0]["restored"]
    stored = torch.from_numpy(fitted.cluster_centers_)
    for (centers,) in spy.calls:
        assert centers.shape == (4, 128)
        unchanged = torch.isclose(centers, stored).all(dim=1).sum()
        assert unchanged >= 2  # a batch of two samples has at most two clusters


# the caller's torch


def test_caller_state_is_left_as_found():
    before = torch.random.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        fit()
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])
    assert torch.is_grad_enabled()


def test_default_dtype_and_no_grad_change_nothing():
    expected = fit()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            found = fit()
        assert torch.get_default_dtype() == torch.float64
        embedding = found.transform(make_sequences()[0])
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(found.embedding_, expected.embedding_)
    np.testing.assert_array_equal(embedding, expected.embedding_)


def test_fit_inside_inference_mode_works():
    with torch.inference_mode():
        found = fit()
    np.testing.assert_array_equal(found.embedding_, fit().embedding_)


def test_isolation_gives_state_back_after_an_error():
    before = torch.random.get_rng_state()
    with pytest.raises(RuntimeError), isolated(3, CPU):
        torch.rand(3)
        raise RuntimeError
    assert torch.equal(before, torch.random.get_rng_state())


def test_unknown_device_is_named():
    for device in ("gpu", "meta"):
        with pytest.raises(ValueError, match=f"Got device='{device}', expected 'auto', 'cpu'"):
            resolve_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_absent_gpu_is_named():
    assert resolve_device("auto") == CPU
    with pytest.raises(ValueError, match="finds no CUDA device. Use device='auto' or 'cpu'"):
        resolve_device("cuda")


# hooks


class Recorder(Callback):
    """Write down every call."""

    def __init__(self, stops=None):
        self.stops, self.calls = stops, []

    def on_train_begin(self, state):
        self.calls.append(("begin", len(state.history), state.encoder.training))

    def on_step_end(self, state, reports):
        self.calls.append(("step", state.phase, *sorted(reports)))

    def on_epoch_end(self, state, record):
        assert state.history[-1] is record
        self.calls.append(("epoch", state.phase, state.epoch))
        record["marked"] = True
        return (state.phase, state.epoch) == self.stops

    def on_train_end(self, state):
        self.calls.append(("end", len(state.history), state.encoder.training))


def test_hooks_are_called_in_order_and_may_extend_the_record():
    recorder = Recorder()
    fitted = fit(max_epochs=1, callbacks=[recorder], pseudo_labels="selected", batch_size=100)
    supervised = ("compactness", "separation", "supcon")
    assert recorder.calls == [
        ("begin", 0, True),
        ("step", "pretrain", "infonce"),
        ("epoch", "pretrain", 0),
        ("step", "main", *supervised),
        ("step", "main", "contrastive"),
        ("epoch", "main", 0),
        ("epoch", "main", 1),
        ("end", 4, False),
    ]
    assert fitted.history_[1:][:, "marked"] == [True] * 3  # the untrained start is no epoch


@pytest.mark.parametrize(
    ("stops", "n_iter", "phases"),
    [
        (("pretrain", 0), 0, ["pretrain", "main"]),
        (("main", 0), 1, ["pretrain"] * 3 + ["main"] * 2),
        (("main", 2), 3, ["pretrain"] * 3 + ["main"] * 4),
    ],
)
def test_a_hook_ends_training_and_what_was_reached_is_judged(stops, n_iter, phases):
    recorder = Recorder(stops)
    fitted = fit(pretrain_epochs=3, max_epochs=6, callbacks=[recorder], monitor=Rising())
    assert fitted.n_iter_ == n_iter and fitted.history_[:, "phase"] == phases
    assert fitted.history_[-1, "restored"] and "loss_total" not in fitted.history_[-1]
    np.testing.assert_array_equal(fitted.predict(make_sequences()[0]), fitted.labels_)


def test_hooks_change_nothing():
    plain, watched = fit(), fit(callbacks=[Recorder(), GradientNorms()])
    np.testing.assert_array_equal(watched.embedding_, plain.embedding_)
    assert not any(name.startswith("gradient") for record in plain.history_ for name in record)


def test_only_true_ends_training_and_instances_may_have_hooks_of_their_own():
    epochs, gradients = [], []

    def count(state, record):
        epochs.append(state.epoch)
        return len(epochs)  # truthy, but not True

    def keep(state, reports):
        gradients.extend(gradient for report in reports.values() for gradient in report.gradients)

    hooks = SimpleNamespace(on_epoch_end=count, on_step_end=keep)
    assert fit(max_epochs=2, callbacks=[hooks]).n_iter_ == 2
    assert epochs == [0, 0, 1, 2] and gradients
    stops = SimpleNamespace(on_epoch_end=lambda state, record: np.bool_(True))
    assert fit(max_epochs=2, callbacks=[stops]).n_iter_ == 0


class Misspelt(Callback):
    def on_epoch_ends(self, state, record):
        return True


@pytest.mark.parametrize("callback", [Recorder, object(), print, Misspelt()])
def test_what_is_no_callback_is_refused(callback):
    with pytest.raises(TypeError, match=r"Got callbacks\[1\]=.* on_epoch_end"):
        fit(callbacks=[Recorder(), callback])


# roles of one's own


def test_a_sixth_role_is_called_where_it_says_with_what_it_reads():
    seen = []

    def spread(embedding, centers):
        seen.append((embedding.shape[1], len(centers)))
        return -embedding.var(dim=0).sum()

    spread.reads = ("embedding", "centers")
    fitted = fit(losses={"spread": (0.1, spread)}, callbacks=[GradientNorms()], n_clusters=3)
    main = fitted.history_.phase("main")
    assert seen and set(seen) == {(128, 3)}
    assert all(value < 0 for value in main[:, "loss_spread"][:-1])
    assert all(value > 0 for value in main[:, "gradient_spread"][:-1])
    assert "loss_spread" not in fitted.history_.phase("pretrain")[0]


class Scale(torch.nn.Module):
    """A role of its own, with a parameter."""

    reads = ("views",)
    step = "pretrain"

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, views):
        return (self.scale * views).square().sum(dim=-1).mean()


def test_a_role_of_ones_own_trains_its_parameters_and_is_kept():
    own = Scale()
    fitted = fit(losses={"scale": own})
    assert own.scale == 1 and fitted.losses_.extra["scale"] is not own
    ((weight, trained),) = [fitted.losses_.terms()["scale"]]
    assert weight == 1.0 and 0 < trained.scale < 1
    assert "loss_scale" in fitted.history_.phase("pretrain")[0]


class ReusesItsMask:
    """A selector that writes into the mask that it returned before."""

    def __init__(self):
        self.mask = np.zeros(24, dtype=bool)

    def select(self, X, labels, threshold):
        self.mask[:] = np.arange(len(X)) < 4 + 8 * self.mask[:1].sum()
        return self.mask


def test_what_is_kept_of_the_best_epoch_is_a_copy():
    falling = CountingMonitor([0.9, 0.1, 0.1, 0.1])
    fitted = fit(selector=ReusesItsMask(), monitor=falling, pseudo_labels="selected")
    (record,) = [record for record in fitted.history_ if record.get("restored")]
    assert fitted.high_quality_mask_.mean() == record["selected_share"] == pytest.approx(1 / 6)


def test_losses_given_as_an_instance_keep_their_weights():
    class Own(BaseEstimator, torch.nn.Module):
        def __init__(self):
            torch.nn.Module.__init__(self)
            self.scale = torch.nn.Parameter(torch.zeros(()))

        def forward(self, views, labels):
            return (self.scale * views).square().mean()

    own = Own()
    with torch.no_grad():
        own.scale.fill_(7.0)
    for losses in ({"supcon": own}, WeightedLosses(supcon=own), clone(WeightedLosses(supcon=own))):
        fitted = fit(losses=losses, max_epochs=0)
        assert fitted.losses_.supcon.scale == 7.0 and fitted.losses_.supcon is not own


class DrawsLabels(BaseEstimator):
    def __init__(self, random_state=None):
        self.random_state = random_state

    def label(self, state):
        taught = np.random.default_rng(self.random_state).random(len(state.labels)) < 0.5
        return PseudoLabels(state.labels, taught, state.centers)


def test_parts_that_draw_numbers_are_seeded():
    first, second = (fit(pseudo_labels=DrawsLabels()) for _ in range(2))
    assert first.pseudo_labels_.random_state is not None
    np.testing.assert_array_equal(first.embedding_, second.embedding_)


def test_losses_of_ones_own_need_terms_only():
    class Terms:
        def terms(self):
            return WeightedLosses(supcon=Prototypes()).terms()

    fitted = fit(n_clusters=3, losses=Terms(), max_epochs=1, pseudo_labels="selected")
    assert isinstance(fitted.losses_, Terms) and fitted.history_[2, "loss_supcon"] > 0
