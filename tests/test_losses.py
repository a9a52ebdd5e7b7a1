"""Losses against slow loops written from the formulas, and the laws they obey."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skumc import losses as losses_module
from skumc.losses import (
    ROLES,
    BaseLoss,
    CompactnessLoss,
    ContrastiveLoss,
    InfoNCELoss,
    SeparationLoss,
    SupConLoss,
    WeightedLosses,
    batch_centers,
)

TOLERANCE = {torch.float32: (2e-5, 2e-6), torch.float64: (1e-10, 1e-12)}
ALL_LOSSES = [SupConLoss, InfoNCELoss, ContrastiveLoss, CompactnessLoss, SeparationLoss]
dtypes = st.sampled_from([torch.float32, torch.float64])
temperatures = st.sampled_from([0.2, 0.7, 1.0, 1.4])
margins = st.sampled_from([0.0, 0.3, 0.8, 2.5])

# Eighths are exact in float32, and a range this small is full of zero rows and duplicates.
entries = st.integers(-6, 6).map(lambda eighths: eighths / 8)


def draw_tensor(draw, shape):
    """Draw a float64 tensor of eighths."""
    size = math.prod(shape)
    values = draw(st.lists(entries, min_size=size, max_size=size))
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


@st.composite
def labeled_views(draw, min_views=1):
    """Views of shape (n_samples, n_views, width) and labels, -1 among them."""
    n_samples, width = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    views = draw_tensor(draw, (n_samples, draw(st.integers(min_views, 3)), width))
    labels = draw(st.lists(st.integers(-1, 2), min_size=n_samples, max_size=n_samples))
    return views, torch.tensor(labels)


@st.composite
def clustered(draw):
    """Embedding, labels and centers; some clusters are empty."""
    n_samples, n_clusters, width = (draw(st.integers(1, high)) for high in (6, 5, 3))
    labels = draw(st.lists(st.integers(0, n_clusters - 1), min_size=n_samples, max_size=n_samples))
    embedding = draw_tensor(draw, (n_samples, width))
    return embedding, torch.tensor(labels), draw_tensor(draw, (n_clusters, width))


# Oracles: plain Python loops over lists of floats.


def cosine(first, second):
    """Cosine similarity; 0 for a zero vector."""
    lengths = math.sqrt(sum(a * a for a in first)) * math.sqrt(sum(b * b for b in second))
    dot = sum(a * b for a, b in zip(first, second, strict=True))
    return dot / lengths if lengths else 0.0


def supcon_sum(views, labels, temperature):
    """Sum over all anchors of the supervised contrast."""
    anchors = [
        (view, label) for sample, label in zip(views, labels, strict=True) for view in sample
    ]
    total = 0.0
    for i, (anchor, label) in enumerate(anchors):
        others = [other for j, other in enumerate(anchors) if j != i]
        denominator = sum(math.exp(cosine(anchor, a) / temperature) for a, _ in others)
        positives = [p for p, other_label in others if other_label == label]
        for positive in positives:
            probability = math.exp(cosine(anchor, positive) / temperature) / denominator
            total -= math.log(probability) / len(positives)
    return total


def squared_distance(first, second):
    """Squared Euclidean distance."""
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True))


def compactness_oracle(embedding, labels, centers, margin):
    """Mean over samples of the squared hinge."""
    terms = [
        max(0.0, squared_distance(row, centers[label]) - margin) ** 2
        for row, label in zip(embedding, labels, strict=True)
    ]
    return sum(terms) / len(terms)


def separation_oracle(centers, margin):
    """Mean over ordered pairs of the squared hinge."""
    n_clusters = len(centers)
    total = 0.0
    for k in range(n_clusters):
        for other in range(n_clusters):
            if other != k:
                distance = math.sqrt(squared_distance(centers[k], centers[other]))
                total += max(0.0, margin - distance) ** 2
    return total / (n_clusters * (n_clusters - 1)) if n_clusters > 1 else 0.0


def batch_centers_oracle(embedding, labels, centers):
    """Mean of the members, or the stored center."""
    result = []
    for k, stored in enumerate(centers):
        members = [row for row, label in zip(embedding, labels, strict=True) if label == k]
        columns = zip(*members, strict=True)
        result.append([sum(c) / len(members) for c in columns] if members else stored)
    return result


def assert_equals_oracle(loss, expected, dtype):
    """Compare value, shape and dtype."""
    rtol, atol = TOLERANCE[dtype]
    assert loss.dtype == dtype
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=rtol, abs=atol)


@settings(max_examples=60, deadline=None)
@given(labeled_views(), temperatures, dtypes)
def test_supcon_equals_loop(data, temperature, dtype):
    views, labels = data
    expected = supcon_sum(views.tolist(), labels.tolist(), temperature) / views[:, :, 0].numel()
    loss = SupConLoss(temperature=temperature)(views.to(dtype), labels)
    assert_equals_oracle(loss, expected, dtype)


@settings(max_examples=60, deadline=None)
@given(labeled_views(min_views=2), st.sampled_from([InfoNCELoss, ContrastiveLoss]), dtypes)
def test_unlabeled_losses_equal_loop(data, loss_class, dtype):
    views, _ = data
    n_samples, n_views, _ = views.shape
    loss = loss_class()
    expected = supcon_sum(views.tolist(), range(n_samples), loss.temperature)
    expected = expected / (n_samples * n_views) if n_samples > 1 else 0.0
    assert_equals_oracle(loss(views.to(dtype)), expected, dtype)


@settings(max_examples=60, deadline=None)
@given(clustered(), margins, dtypes)
def test_compactness_equals_loop(data, margin, dtype):
    embedding, labels, centers = data
    expected = compactness_oracle(embedding.tolist(), labels.tolist(), centers.tolist(), margin)
    loss = CompactnessLoss(margin=margin)(embedding.to(dtype), labels, centers.to(dtype))
    assert_equals_oracle(loss, expected, dtype)


@settings(max_examples=60, deadline=None)
@given(clustered(), margins, dtypes)
def test_separation_equals_loop(data, margin, dtype):
    centers = data[2]
    expected = separation_oracle(centers.tolist(), margin)
    assert_equals_oracle(SeparationLoss(margin=margin)(centers.to(dtype)), expected, dtype)


@settings(max_examples=60, deadline=None)
@given(clustered(), dtypes)
def test_batch_centers_equal_loop(data, dtype):
    embedding, labels, stored = data
    expected = batch_centers_oracle(embedding.tolist(), labels.tolist(), stored.tolist())
    centers = batch_centers(embedding.to(dtype), labels, stored)
    assert centers.dtype == dtype
    rtol, atol = TOLERANCE[dtype]
    np.testing.assert_allclose(centers.numpy(), np.array(expected), rtol=rtol, atol=atol)


def example_batch(loss_class, dtype=torch.float64, n_samples=5):
    """Arguments of a loss: distinct rows, away from the kinks of the hinges."""
    generator = torch.Generator().manual_seed(3)
    views = torch.randn(n_samples, 3, 4, generator=generator, dtype=dtype)
    labels = torch.arange(n_samples) % 3
    centers = torch.randn(3, 4, generator=generator, dtype=dtype) / 4
    return {
        SupConLoss: (views, labels),
        InfoNCELoss: (views,),
        ContrastiveLoss: (views,),
        CompactnessLoss: (views[:, 0], labels, centers),
        SeparationLoss: (centers[:n_samples],),
    }[loss_class]


def leading_gradient(loss, batch):
    """Value of a loss and its gradient at the first argument."""
    leading = batch[0].clone().requires_grad_()
    value = loss(leading, *batch[1:])
    value.backward()
    return value.detach(), leading.grad


@pytest.mark.parametrize("loss_class", ALL_LOSSES)
def test_gradient_equals_finite_differences(loss_class):
    leading, *rest = example_batch(loss_class)
    loss = loss_class(margin=3.0) if loss_class is SeparationLoss else loss_class()
    inputs = [leading.requires_grad_(), *rest]
    if loss_class is CompactnessLoss:
        rest[1].requires_grad_()
    assert loss(*inputs).item() > 0
    assert torch.autograd.gradcheck(loss, inputs)


def test_batch_centers_gradient_equals_finite_differences():
    embedding, labels, centers = example_batch(CompactnessLoss)
    labels = torch.zeros_like(labels)
    embedding.requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: batch_centers(rows, labels, centers), embedding)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-15, 1.0, 1e15, 1e30])
@pytest.mark.parametrize("loss_class", [SupConLoss, InfoNCELoss, ContrastiveLoss])
def test_contrast_is_finite_at_any_scale_with_zero_vectors_and_duplicates(loss_class, scale, dtype):
    views, *labels = example_batch(loss_class, dtype)
    views = views * scale
    views[0] = 0
    views[1] = views[2]
    value, gradient = leading_gradient(loss_class(temperature=0.05), (views, *labels))
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert (gradient[0] == 0).all()


@pytest.mark.parametrize("scale", [1e-17, 1e30])
def test_supcon_ignores_the_length_of_vectors(scale):
    views, labels = example_batch(SupConLoss, torch.float32)
    torch.testing.assert_close(SupConLoss()(views * scale, labels), SupConLoss()(views, labels))


def test_sharpest_temperature_gives_no_nan():
    views, labels = example_batch(SupConLoss, torch.float32)
    value, gradient = leading_gradient(SupConLoss(temperature=1e-6), (views, labels))
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_coinciding_centers_have_finite_gradient(dtype):
    centers = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.5, 2.0]], dtype=dtype)
    value, gradient = leading_gradient(SeparationLoss(), (centers,))
    assert value.item() == pytest.approx((2 * 0.8**2 + 4 * 0.3**2) / 6)
    # The third center is pushed away from the two, by 2 pairs in both orders.
    expected = [[4 * 0.3 / 6, 0], [4 * 0.3 / 6, 0], [-8 * 0.3 / 6, 0]]
    torch.testing.assert_close(gradient, torch.tensor(expected, dtype=dtype))


def test_close_centers_far_from_the_origin_keep_their_distance():
    centers = 1000 + torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    expected = separation_oracle(centers.tolist(), 0.8)
    assert SeparationLoss()(centers).item() == pytest.approx(expected, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(labeled_views(min_views=2), st.randoms(use_true_random=False))
def test_order_of_samples_never_changes_contrast(data, random):
    views, labels = data
    order = random.sample(range(len(labels)), len(labels))
    supcon, infonce = SupConLoss(), InfoNCELoss()
    torch.testing.assert_close(supcon(views[order], labels[order]), supcon(views, labels))
    torch.testing.assert_close(infonce(views[order]), infonce(views))


@settings(max_examples=30, deadline=None)
@given(clustered(), st.randoms(use_true_random=False))
def test_order_of_samples_never_changes_cluster_losses(data, random):
    embedding, labels, centers = data
    order = random.sample(range(len(labels)), len(labels))
    compactness = CompactnessLoss()
    torch.testing.assert_close(
        compactness(embedding[order], labels[order], centers),
        compactness(embedding, labels, centers),
    )
    torch.testing.assert_close(
        batch_centers(embedding[order], labels[order], centers),
        batch_centers(embedding, labels, centers),
    )
    order = random.sample(range(len(centers)), len(centers))
    torch.testing.assert_close(SeparationLoss()(centers[order]), SeparationLoss()(centers))


@settings(max_examples=30, deadline=None)
@given(labeled_views())
def test_average_over_samples_multiplies_by_number_of_views(data):
    views, labels = data
    by_anchors = SupConLoss()(views, labels)
    by_samples = SupConLoss(average="samples")(views, labels)
    torch.testing.assert_close(by_samples, by_anchors * views.shape[1])


def test_supcon_takes_one_view_without_its_axis():
    views, labels = example_batch(SupConLoss)
    assert SupConLoss()(views[:, 0], labels) == SupConLoss()(views[:, :1], labels) > 0


def test_unlabeled_contrast_is_supcon_with_each_sample_its_own_label():
    (views,) = example_batch(InfoNCELoss)
    expected = SupConLoss(temperature=0.2)(views, torch.arange(len(views)))
    assert InfoNCELoss(temperature=0.2)(views) == expected
    assert ContrastiveLoss(temperature=0.2)(views) == expected


def test_anchor_without_positive_counts_in_the_mean_with_zero():
    views = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    with_lone = SupConLoss(temperature=1.4)(views, torch.tensor([0, 0, 1]))
    expected = supcon_sum([[row] for row in views.tolist()], [0, 0, 1], 1.4) / 3
    assert with_lone.item() == pytest.approx(expected)
    assert SupConLoss()(views, torch.tensor([0, 1, 2])).item() == 0


@pytest.mark.parametrize("loss_class", ALL_LOSSES)
def test_empty_batch_gives_zero_that_keeps_the_graph(loss_class):
    leading, *rest = example_batch(loss_class, n_samples=0)
    loss, gradient = leading_gradient(loss_class(), (leading, *rest))
    assert loss.item() == 0
    assert gradient.shape == leading.shape


@pytest.mark.parametrize("n_views", [2, 3])
@pytest.mark.parametrize("loss_class", [InfoNCELoss, ContrastiveLoss])
def test_single_sample_gives_exact_zero_that_keeps_the_graph(loss_class, n_views):
    # The largest number: a zero made by multiplying a sum would overflow to NaN here.
    views = torch.full((1, n_views, 4), torch.finfo(torch.float32).max)
    value, gradient = leading_gradient(loss_class(), (views,))
    assert value.item() == 0
    assert torch.equal(gradient, torch.zeros_like(views))


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_single_view_of_single_sample_gives_zero_without_nan():
    with torch.autograd.detect_anomaly():
        value, gradient = leading_gradient(SupConLoss(), (torch.ones(1, 4), torch.tensor([3])))
    assert value.item() == 0
    assert torch.equal(gradient, torch.zeros(1, 4))


def test_single_center_gives_zero_that_keeps_the_graph():
    value, gradient = leading_gradient(SeparationLoss(), (torch.ones(1, 4),))
    assert value.item() == 0
    assert torch.equal(gradient, torch.zeros(1, 4))


# Global state, precision and inputs.


@pytest.mark.parametrize("loss_class", ALL_LOSSES)
def test_global_state_neither_matters_nor_changes(loss_class):
    batch = example_batch(loss_class, torch.float32)
    loss = loss_class()
    expected = leading_gradient(loss, batch)
    random_state, default_dtype = torch.get_rng_state(), torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        actual = leading_gradient(loss, batch)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(default_dtype)
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
    assert actual[0].dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("loss_class", ALL_LOSSES)
def test_inputs_are_left_as_they_were(loss_class):
    batch = example_batch(loss_class)
    copies = [tensor.clone() for tensor in batch]
    loss_class()(*batch)
    assert all(torch.equal(a, b) for a, b in zip(batch, copies, strict=True))


@pytest.mark.parametrize("loss_class", ALL_LOSSES)
def test_autocast_and_half_precision_compute_in_float32(loss_class):
    batch = example_batch(loss_class, torch.bfloat16)
    wide = [t.float() if t.is_floating_point() else t for t in batch]
    expected = loss_class()(*wide)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss_class()(*wide), expected)
    assert torch.equal(loss_class()(*batch), expected)
    assert leading_gradient(loss_class(), batch)[1].dtype == torch.bfloat16


def test_batch_centers_under_autocast_stay_float32():
    embedding, labels, centers = example_batch(CompactnessLoss, torch.float32)
    expected = batch_centers(embedding, labels, centers)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(batch_centers(embedding, labels, centers), expected)


def test_gradient_through_centers_is_the_same_bits_in_every_run():
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(512, 256, generator=generator)
    labels = torch.randint(0, 5, (512,), generator=generator)
    stored = torch.randn(5, 256, generator=generator)

    def gradient():
        centers = stored.clone().requires_grad_()
        leading = embedding.clone().requires_grad_()
        own = batch_centers(leading, labels, stored) + centers
        (CompactnessLoss()(leading, labels, own) + SeparationLoss(margin=50.0)(own)).backward()
        return torch.cat([centers.grad, leading.grad])

    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(8))


# Centers of the batch


def test_batch_centers_keep_stored_centers_as_constants():
    stored = torch.tensor([[1.0, 1.0], [5.0, 5.0]], requires_grad=True)
    embedding = torch.zeros(2, 2, requires_grad=True)
    centers = batch_centers(embedding, torch.tensor([0, 0]), stored)
    assert centers.tolist() == [[0.0, 0.0], [5.0, 5.0]]
    centers.sum().backward()
    assert stored.grad is None
    assert embedding.grad.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_batch_centers_of_empty_batch_are_the_stored_ones_and_keep_the_graph():
    stored, embedding = torch.ones(2, 3), torch.zeros(0, 3, requires_grad=True)
    centers = batch_centers(embedding, torch.zeros(0, dtype=torch.int64), stored)
    assert torch.equal(centers.detach(), stored)
    centers.sum().backward()
    assert embedding.grad.shape == (0, 3)


@pytest.mark.parametrize("role", ["supcon", "contrastive", "compactness", "separation"])
def test_each_loss_alone_moves_the_encoder(role):
    generator = torch.Generator().manual_seed(1)
    encoder = torch.nn.Linear(6, 4)
    X = torch.randn(8, 3, 6, generator=generator)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    stored = torch.zeros(3, 4)
    views = torch.nn.functional.normalize(encoder(X), dim=-1)
    full = views[:, 2]
    centers = batch_centers(full, labels, stored)
    inputs = {
        "supcon": (views, labels),
        "contrastive": (views,),
        "compactness": (full, labels, centers),
        "separation": (centers,),
    }[role]
    parts = WeightedLosses().set_params(separation__margin=2.0, compactness__margin=0.0)
    weight, loss = parts.terms()[role]
    (weight * loss(*inputs)).backward()
    assert encoder.weight.grad.abs().max() > 1e-6


def test_shifting_the_batch_costs_nothing_where_centers_move_along():
    embedding, labels, stored = example_batch(CompactnessLoss)
    labels = torch.zeros_like(labels)
    leading = embedding.clone().requires_grad_()
    centers = batch_centers(leading, labels, stored)
    CompactnessLoss()(leading, labels, centers).backward()
    assert leading.grad.abs().max() > 0.1
    torch.testing.assert_close(leading.grad.sum(dim=0), torch.zeros(4, dtype=torch.float64))


# Messages


views, rows, ids = torch.ones(4, 2, 8), torch.ones(4, 8), torch.zeros(4, dtype=torch.int64)
SHAPE_ERRORS = {
    "flat views": (
        lambda: InfoNCELoss()(rows),
        "Got views of shape (4, 8), expected (n_samples, n_views, width) with n_views >= 2.",
    ),
    "one view": (
        lambda: ContrastiveLoss()(views[:, :1]),
        "Got views of shape (4, 1, 8), expected (n_samples, n_views, width) with n_views >= 2.",
    ),
    "4-D views": (
        lambda: SupConLoss()(views[None], ids),
        "Got views of shape (1, 4, 2, 8), expected (n_samples, n_views, width) or "
        "(n_samples, width).",
    ),
    "no width": (
        lambda: SupConLoss()(views[:, :, :0], ids),
        "Got views of shape (4, 2, 0), expected (n_samples, n_views, width) or (n_samples, width).",
    ),
    "3-D embedding": (
        lambda: CompactnessLoss()(views, ids, rows),
        "Got embedding of shape (4, 2, 8), expected (n_samples, width).",
    ),
    "1-D centers": (
        lambda: SeparationLoss()(rows[0]),
        "Got centers of shape (8,), expected (n_clusters, width).",
    ),
    "2-D labels": (
        lambda: SupConLoss()(views, ids[:, None]),
        "Got labels of shape (4, 1), expected (n_samples,).",
    ),
    "too few labels": (
        lambda: SupConLoss()(views, ids[:3]),
        "Got labels of shape (3,), expected (4,): one label per sample of views.",
    ),
    "other width": (
        lambda: CompactnessLoss()(rows, ids, rows[:, :5]),
        "Got centers of shape (4, 5), expected (n_clusters, 8): the width of embedding.",
    ),
    "noise label": (
        lambda: CompactnessLoss()(rows, ids - 1, rows),
        "Got labels from -1 to -1, expected 0 <= label < 4, the number of rows of centers. Leave "
        "out samples without a cluster and pass one center per cluster.",
    ),
    "label past the end": (
        lambda: batch_centers(rows, ids + 2, rows[:2]),
        "Got labels from 2 to 2, expected 0 <= label < 2, the number of rows of centers. Leave "
        "out samples without a cluster and pass one center per cluster.",
    ),
}
TYPE_ERRORS = {
    "array": (
        lambda: InfoNCELoss()(views.numpy()),
        "Got views of type ndarray, expected a torch.Tensor. Convert it with "
        "torch.as_tensor(views).",
    ),
    "integer views": (
        lambda: InfoNCELoss()(views.long()),
        "Got views of dtype torch.int64, expected floating point. Convert it with views.float().",
    ),
    "float labels": (
        lambda: SupConLoss()(views, ids.float()),
        "Got labels of dtype torch.float32, expected integers. Convert them with labels.long().",
    ),
    "bool labels": (
        lambda: CompactnessLoss()(rows, ids > 0, rows),
        "Got labels of dtype torch.bool, expected integers. Convert them with labels.long().",
    ),
}
PARAMETER_ERRORS = {
    "temperature": (
        lambda: SupConLoss(temperature=0)(views, ids),
        "The 'temperature' parameter of SupConLoss must be a float in the range (0.0, inf). Got 0 "
        "instead.",
    ),
    "inherited temperature": (
        lambda: ContrastiveLoss(temperature=-1.0)(views),
        "The 'temperature' parameter of ContrastiveLoss must be a float in the range (0.0, inf). "
        "Got -1.0 instead.",
    ),
    "infinite temperature": (
        lambda: InfoNCELoss(temperature=math.inf)(views),
        "The 'temperature' parameter of InfoNCELoss must be a float in the range (0.0, inf). Got "
        "inf instead.",
    ),
    "compactness margin": (
        lambda: CompactnessLoss(margin=math.nan)(rows, ids, rows),
        "The 'margin' parameter of CompactnessLoss must be a float in the range [0.0, inf). Got "
        "nan instead.",
    ),
    "separation margin": (
        lambda: SeparationLoss(margin="0.8")(rows),
        "The 'margin' parameter of SeparationLoss must be a float in the range [0.0, inf). Got "
        "'0.8' instead.",
    ),
}


@pytest.mark.parametrize("case", SHAPE_ERRORS | PARAMETER_ERRORS)
def test_value_error_message(case):
    call, message = (SHAPE_ERRORS | PARAMETER_ERRORS)[case]
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == message


@pytest.mark.parametrize("case", TYPE_ERRORS)
def test_type_error_message(case):
    call, message = TYPE_ERRORS[case]
    with pytest.raises(TypeError) as raised:
        call()
    assert str(raised.value) == message


def test_unknown_average_is_refused():
    options = "('anchors', 'samples'|'samples', 'anchors')"
    message = rf"'average' parameter of SupConLoss .* {{{options}}}\. Got 'sample' instead"
    with pytest.raises(ValueError, match=message):
        SupConLoss(average="sample")(views, ids)


def test_hyper_parameters_are_checked_for_an_empty_batch_too():
    with pytest.raises(ValueError, match="'temperature' parameter of InfoNCELoss .* Got 0 "):
        InfoNCELoss(temperature=0)(views[:0])


def test_hyper_parameters_are_checked_at_each_call():
    loss = SeparationLoss()
    loss(rows)
    with pytest.raises(ValueError, match="'margin' parameter .* Got -1 "):
        loss.set_params(margin=-1)(rows)


def test_margin_zero_is_allowed():
    assert SeparationLoss(margin=0)(rows).item() == 0


@pytest.mark.parametrize("loss_class", ALL_LOSSES)
def test_losses_are_estimators(loss_class):
    (name,) = set(loss_class().get_params()) & {"temperature", "margin"}
    loss = clone(loss_class(**{name: 0.123}).set_params(**{name: 0.6}))
    assert getattr(pickle.loads(pickle.dumps(loss)), name) == 0.6
    batch = example_batch(loss_class)
    assert loss(*batch) != loss_class()(*batch)


def test_base_says_what_a_subclass_must_write():
    with pytest.raises(NotImplementedError, match=r"BaseLoss must define _compute\(\)\."):
        BaseLoss()._evaluate(embedding=rows)


def test_all_names_are_exported():
    assert set(losses_module.__all__) == {
        "BaseLoss",
        "ROLES",
        "Role",
        "WeightedLosses",
        "batch_centers",
        "role_of",
        *(loss_class.__name__ for loss_class in ALL_LOSSES),
    }


# Weights and parts


def own_separation(centers):
    """A custom function in a built-in role."""
    return centers.sum()


def test_default_terms_have_the_documented_weights_and_numbers():
    terms = WeightedLosses().terms()
    assert list(terms) == list(ROLES)
    assert [weight for weight, _ in terms.values()] == [1.0, 1.0, 0.5, 0.3, 0.2]
    classes = [InfoNCELoss, SupConLoss, ContrastiveLoss, CompactnessLoss, SeparationLoss]
    assert [type(loss) for _, loss in terms.values()] == classes
    hyper_parameters = [sorted(vars(loss).items())[-1] for _, loss in terms.values()]
    assert hyper_parameters == [
        ("temperature", 0.3),
        ("temperature", 0.3),
        ("temperature", 0.5),
        ("margin", 0.3),
        ("margin", 0.8),
    ]


def test_names_instances_and_callables_stand_for_parts():
    supcon = SupConLoss(temperature=0.3)
    losses = WeightedLosses(contrastive="infonce", supcon=supcon, separation=own_separation)
    terms = losses.terms()
    assert type(terms["contrastive"][1]) is InfoNCELoss
    assert terms["supcon"][1].temperature == 0.3
    assert terms["supcon"][1] is not supcon
    assert terms["separation"][1] is own_separation


@pytest.mark.parametrize("role", ROLES)
def test_every_known_name_gives_the_same_as_its_factory(role):
    for name, factory in WeightedLosses._part_choices[role].items():
        loss = WeightedLosses(**{role: name}).terms()[role][1]
        assert type(loss) is factory
    assert type(WeightedLosses(**{role: role}).terms()[role][1]) is type(
        WeightedLosses().terms()[role][1]
    )


def test_nested_parameter_reaches_a_part_left_at_its_default():
    losses = WeightedLosses().set_params(supcon__temperature=0.7, separation_weight=0.0)
    weight, supcon = losses.terms()["supcon"]
    assert (weight, supcon.temperature) == (1.0, 0.7)
    assert losses.get_params()["supcon__temperature"] == 0.7
    assert losses.terms()["separation"][0] == 0
    named = WeightedLosses(contrastive="infonce").set_params(contrastive__temperature=0.1)
    assert type(named.terms()["contrastive"][1]) is InfoNCELoss


def test_clone_copies_parts_and_weights():
    losses = WeightedLosses(
        supcon=SupConLoss(temperature=0.4), separation=own_separation, compactness_weight=3
    )
    copy = clone(losses).set_params(supcon__temperature=9.0)
    assert losses.supcon.temperature == 0.4
    assert copy.separation is own_separation
    assert copy.terms()["compactness"][0] == 3.0


def test_mapping_takes_weights_names_callables_and_pairs():
    losses = WeightedLosses.from_mapping(
        {
            "infonce": (1, InfoNCELoss(temperature=0.5)),
            "supcon": 2,
            "contrastive": "infonce",
            "compactness": (0.7, CompactnessLoss(margin=0.1)),
            "separation": own_separation,
        }
    )
    terms = losses.terms()
    assert terms["infonce"][1].temperature == 0.5
    assert terms["supcon"][0] == 2.0
    assert (terms["contrastive"][0], type(terms["contrastive"][1])) == (0.5, InfoNCELoss)
    assert (terms["compactness"][0], terms["compactness"][1].margin) == (0.7, 0.1)
    assert terms["separation"] == (0.2, own_separation)


def test_mapping_leaves_the_rest_at_its_default():
    for mapping in ({}, {"supcon": None, "separation": (None, None)}):
        losses = WeightedLosses.from_mapping(mapping)
        assert losses.get_params() == WeightedLosses().get_params()


@pytest.mark.parametrize(
    ("mapping", "error", "message"),
    [
        (
            {"supcn": 1.0},
            ValueError,
            "Got losses role='supcn', expected one of 'compactness', 'contrastive', 'infonce', "
            "'separation', 'supcon'. Did you mean 'supcon'? A role of your own takes a callable "
            "with the attribute reads, a tuple of input names.",
        ),
        (
            {"supcon": (1, "supcon", 3)},
            ValueError,
            "Got supcon=(1, 'supcon', 3), expected a weight, a name, a callable or a tuple "
            "(weight, part).",
        ),
        (
            {"infonce": 0.5},
            ValueError,
            "Got infonce weight 0.5, expected none: pretraining has no other loss to weigh it "
            "against. Change the learning rate of pretraining.",
        ),
        (
            ["supcon"],
            TypeError,
            "Got losses of type list, expected a mapping such as {'supcon': 1.0}.",
        ),
    ],
)
def test_mapping_error_message(mapping, error, message):
    with pytest.raises(error) as raised:
        WeightedLosses.from_mapping(mapping)
    assert str(raised.value) == message


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, "1", None])
@pytest.mark.parametrize("role", sorted(set(ROLES) - {"infonce"}))
def test_weights_are_finite_and_not_negative(role, value):
    with pytest.raises(ValueError) as raised:
        WeightedLosses(**{f"{role}_weight": value}).terms()
    assert str(raised.value) == (
        f"The '{role}_weight' parameter of WeightedLosses must be a float in the range [0.0, inf). "
        f"Got {value!r} instead."
    )


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"separation": 0.5},
            TypeError,
            "Got separation=0.5 of type float, which is not callable. Pass None for the default, "
            "'separation', or a callable with the signature (centers).",
        ),
        (
            {"supcon": SupConLoss},
            TypeError,
            "Got supcon=SupConLoss, a class, expected an instance. Pass SupConLoss().",
        ),
        (
            {"contrastive": "contrast"},
            ValueError,
            "Got contrastive='contrast', expected one of 'contrastive', 'infonce'. Did you mean "
            "'contrastive'?",
        ),
    ],
)
def test_part_error_message(parameters, error, message):
    with pytest.raises(error) as raised:
        WeightedLosses(**parameters).terms()
    assert str(raised.value) == message
