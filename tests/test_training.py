import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from data_makers import make_sequences
from skumc import UMCClusterer
from skumc._devices import resolve_device
from skumc.data import inference_batches
from skumc.encoders import EncoderOutput, masked_mean
from skumc.training import (
    History,
    SilhouetteMonitor,
    assign_labels,
    cluster_embedding,
    clustering_objective,
    isolated,
    learning_rate_factor,
    modality_views,
)
from skumc.training._batches import split_batches
from skumc.training._optimisation import Stepper, backward_terms
from skumc.training._progress import Progress
from skumc.training._views import positive_views

CPU = torch.device("cpu")


def fit(X=None, n_clusters=2, **parameters):
    X = make_sequences()[0] if X is None else X
    defaults = {"pretrain_epochs": 1, "max_epochs": 3, "random_state": 0}
    return UMCClusterer(n_clusters, **(defaults | parameters)).fit(X)


# views


def test_views_of_three_modalities_are_the_printed_ones():
    assert modality_views(["text", "audio", "video"], "text") == [
        ("text", "audio", "video"),
        ("text", "video"),
        ("text", "audio"),
    ]


def test_views_of_two_and_one_modality():
    assert modality_views(["a", "b"], "b") == [("a", "b"), ("b",)]
    assert modality_views(["a"], "a") == [("a",), ("a",)]


@given(n=st.integers(2, 6), anchor=st.integers(0, 5))
def test_every_view_holds_the_anchor_and_one_view_all(n, anchor):
    names = [str(i) for i in range(n)]
    views = modality_views(names, str(anchor % n))
    assert len(views) == n and views[0] == tuple(names)
    assert all(str(anchor % n) in view for view in views)


class Identity(torch.nn.Module):
    def forward(self, batch):
        h = masked_mean(*batch["x"])
        return torch.nn.functional.normalize(h, dim=-1), torch.ones(len(h), 1), {}


@pytest.mark.parametrize("augmentation", ["dropout", "noise", "frames"])
def test_augmentation_changes_one_copy_and_keeps_samples(augmentation):
    batch = {"x": (torch.randn(40, 16), torch.tensor([1, 19, 20]))}
    torch.default_generator.manual_seed(0)
    first, second = positive_views(Identity(), batch, augmentation, [("x",), ("x",)])
    assert first.embedding.shape == second.embedding.shape == (3, 16)
    assert not torch.equal(first.embedding, second.embedding)
    # a sequence of one frame keeps it
    assert augmentation != "frames" or torch.equal(first.embedding[0], second.embedding[0])


# gradients


def outputs_of(parameter):
    embedding = torch.nn.functional.normalize(parameter, dim=-1)
    return [EncoderOutput(embedding, embedding.new_ones(len(embedding), 1), {})]


def test_backward_terms_gives_the_gradient_of_the_weighted_sum():
    parameter = torch.randn(5, 3, requires_grad=True)
    weights = torch.randn(5, 3)
    terms = {"a": (2.0, lambda h: (h * weights).sum()), "b": (0.5, lambda h: h[:, 0].exp().sum())}
    report = backward_terms(
        outputs_of(parameter),
        lambda copies: {k: (w, f(copies[0].embedding)) for k, (w, f) in terms.items()},
        scale=0.25,
    )
    found = parameter.grad.clone()
    h = outputs_of(parameter)[0].embedding
    total = 0.25 * sum(w * f(h) for w, f in terms.values())
    (expected,) = torch.autograd.grad(total, parameter)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(report["b"][0], terms["b"][1](h).detach())


def test_gradient_that_unit_norm_cancels_counts_as_none():
    parameter = torch.randn(5, 3, requires_grad=True)
    report = backward_terms(
        outputs_of(parameter), lambda copies: {"norm": (1.0, copies[0].embedding.square().sum())}
    )
    assert report["norm"][1] < 1e-5 and parameter.grad.norm() < 1e-5


def test_loss_without_gradient_is_reported_and_moves_nothing():
    parameter = torch.randn(5, 3, requires_grad=True)
    report = backward_terms(
        outputs_of(parameter), lambda copies: {"constant": (1.0, torch.tensor(3.0))}
    )
    assert report["constant"] == (3.0, 0.0) and not parameter.grad.any()


# schedule and steps


def test_learning_rate_rises_falls_and_ends_at_its_floor():
    rates = [learning_rate_factor(p, 0.1) for p in np.linspace(0.001, 1, 500)]
    peak = int(np.argmax(rates))
    assert abs(np.linspace(0.001, 1, 500)[peak] - 0.1) < 0.01 and max(rates) <= 1
    assert np.all(np.diff(rates[:peak]) > 0) and np.all(np.diff(rates[peak:]) < 0)
    assert rates[-1] == pytest.approx(0.01)
    assert learning_rate_factor(0.55, 0.1) == pytest.approx(0.505)
    assert learning_rate_factor(0.5, 0.0) == pytest.approx(0.505)
    assert learning_rate_factor(0.25, 1.0) == 0.25
    assert learning_rate_factor(0.55, 0.1, "linear") == pytest.approx(0.5)
    assert learning_rate_factor(1.0, 0.1, "constant") == 1.0


def stepper(module, **parameters):
    defaults = {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "text_learning_rate": 0.1,
        "weight_decay": 0.0,
        "warmup_proportion": 0.0,
        "schedule": "cosine",
        "grad_clip": None,
        "accumulate_steps": 1,
    }
    return Stepper(module, **(defaults | parameters))


def train_mean_loss(batches, **parameters):
    module = torch.nn.Linear(3, 1, bias=False)
    torch.nn.init.ones_(module.weight)

    def backward(batch, scale):
        (scale * module(batch).square().mean()).backward()

    stepper(module, **parameters).epoch(batches, [len(b) for b in batches], backward, 0, 1)
    return module.weight.detach()


def test_accumulation_equals_the_larger_batch_for_additive_losses():
    rows = torch.randn(10, 3)
    whole = train_mean_loss([rows])
    parts = train_mean_loss([rows[:3], rows[3:]], accumulate_steps=2)
    torch.testing.assert_close(whole, parts)
    assert not torch.allclose(whole, train_mean_loss([rows[:3], rows[3:]]))


def test_clipping_bounds_each_value():
    rows = 100 * torch.ones(4, 3)
    rate = 0.1 * learning_rate_factor(1.0, 0.0)
    torch.testing.assert_close(
        train_mean_loss([rows], grad_clip=0.5), torch.ones(1, 3) - 0.5 * rate
    )


@given(n=st.integers(0, 40), batch_size=st.integers(1, 12), seed=st.integers(0, 9))
def test_batches_hold_every_row_once_and_are_even(n, batch_size, seed):
    batches = split_batches(np.arange(n), batch_size, np.random.RandomState(seed))
    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches, dtype=int) if batches else []) == list(range(n))
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


def test_warm_start_keeps_the_order_of_centres():
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


def test_assigned_is_the_nearest_centre():
    rng = np.random.default_rng(0)
    embedding, centers = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    distances = ((embedding[:, None] - centers) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(assign_labels(embedding, centers), distances.argmin(axis=1))


def test_history_has_columns_slices_and_survives_pickling():
    history = fit().history_
    assert history[:, "phase"] == ["pretrain"] + 4 * ["main"]
    assert isinstance(history[1:], History) and len(history[1:]) == 4
    assert pickle.loads(pickle.dumps(history)) == history
    with pytest.raises(KeyError, match="No record has 'loss'; there are"):
        history[:, "loss"]


# the loop


def test_history_records_what_the_docs_promise():
    history = fit(spread_confidence=None).history_
    record = history.phase("main")[0]
    terms = [record[f"threshold_{t}"] for t in ("base", "performance", "loss", "stability")]
    assert record["threshold"] == pytest.approx(np.clip(sum(terms), 0.05, 0.5))
    for name in ("supcon", "contrastive", "compactness", "separation"):
        assert {f"loss_{name}", f"gradient_{name}"} <= set(record)
    expected = {"monitor", "selected_share", "within", "separation", "objective", "learning_rate"}
    expected |= {"taught_share"}
    assert expected | {"seconds", "restored", "loss_total"} <= set(record)
    assert "loss_infonce" in history[0]
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
    early = fit(max_epochs=20, patience=3, min_epochs=0, monitor=CountingMonitor(falling))
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
        {"losses": {"contrastive": InterruptingLoss(1)}, "spread_confidence": None},
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

    with pytest.raises(FloatingPointError, match="Lower learning_rate or pretrain_learning_rate"):
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
    progress = Progress(1, {"main": 100})
    progress.report({"phase": "main", "epoch": 9, "seconds": 41.0})
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


@pytest.fixture(scope="module")
def watched():
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
        augmentation="views",
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


def test_disjoint_views_have_no_modality_in_common():
    number = np.arange(30.0)[:, None]
    X = {"first": number, "number": number, "last": number}
    spied = fit(
        X, 3, encoder=SpyEncoder(), augmentation="disjoint", max_epochs=0, pretrain_epochs=40
    )
    splits = {frozenset(map(frozenset, views)) for _, views in spied.encoder_.calls}
    assert splits == {frozenset([frozenset([name]), frozenset(X) - {name}]) for name in X}


def test_threshold_hears_the_monitor_and_the_last_epochs_loss(watched):
    main = watched.history_.phase("main")
    assert watched.threshold_.calls == [
        (0, 2, main[0, "monitor"], None),
        (1, 2, main[1, "monitor"], main[0, "loss_total"]),
        (2, 2, main[2, "monitor"], main[1, "loss_total"]),
    ]


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
            spread_confidence=None,
            losses={role: weight for role in ROLES[1:]},
        ).history_.phase("main")
        for weight in (1.0, 2.0)
    ]
    for role in ("supcon", "contrastive"):
        once, twice = (history[0, f"gradient_{role}"] for history in norms)
        # the first step's gradient is scaled exactly; later steps see other weights
        assert 1.5 < twice / once < 2.5


def test_centres_of_absent_clusters_are_the_stored_ones():
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
