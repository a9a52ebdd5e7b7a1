"""Dropout on a CPU, compared with PyTorch's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skumc.encoders._dropout import Dropout


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        yield


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_share_and_expectation_are_those_of_torch(p):
    values = torch.full((500, 400), 2.0)
    found, other = Dropout(p)(values), torch.nn.Dropout(p)(values)
    deviation = (p * (1 - p) / values.numel()) ** 0.5
    for dropped in (found, other):
        assert (dropped == 0).double().mean().item() == pytest.approx(p, abs=5 * deviation)
    assert found.max().item() == pytest.approx(other.max().item(), rel=1e-3)
    assert found.mean().item() == pytest.approx(2.0, abs=10 * deviation / (1 - p))


def test_neighboring_values_are_dropped_independently():
    dropped = (Dropout(0.5)(torch.ones(200_000)) == 0).double()
    for lag in range(1, 10):  # four values share a draw
        pair = torch.stack([dropped[:-lag], dropped[lag:]])
        assert abs(torch.corrcoef(pair)[0, 1].item()) < 0.012


@given(
    shape=st.lists(st.integers(0, 5), max_size=3),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    p=st.floats(0, 1),
)
def test_values_are_dropped_or_scaled_and_so_is_the_gradient(shape, dtype, p):
    values = torch.ones(shape, dtype=dtype, requires_grad=True)
    found = Dropout(p)(values)
    assert found.shape == values.shape and found.dtype == dtype
    found.sum().backward()
    assert torch.equal(values.grad, found.detach())
    assert len(found[found != 0].unique()) <= 1
    assert torch.isfinite(found).all()
    assert torch.equal(values.detach(), torch.ones(shape, dtype=dtype))


@pytest.mark.parametrize("p", [0, 0.0, 0.3, 1.0])
def test_nothing_is_dropped_in_evaluation(p):
    values = torch.ones(4, 4)
    assert torch.equal(Dropout(p).eval()(values), values)


def test_extremes():
    assert torch.equal(Dropout(0.0)(torch.ones(4)), torch.ones(4))
    assert torch.equal(Dropout(1.0)(torch.ones(4)), torch.zeros(4))
    with pytest.raises(ValueError, match="1.5"):
        Dropout(1.5)


def test_seed_determines_the_dropped_values():
    def drop(seed):
        torch.default_generator.manual_seed(seed)
        return Dropout(0.5)(torch.ones(101)).numpy()

    np.testing.assert_array_equal(drop(1), drop(1))
    assert (drop(1) != drop(2)).any()


def test_one_byte_per_value_is_kept_for_the_backward_pass():
    kept = []

    def keep(tensor):
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    values = torch.ones(1000, 100, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        Dropout(0.3)(values)
    assert sum(kept) < 1.1 * values.numel()
