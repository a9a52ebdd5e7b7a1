"""The running average of the weights."""

import numpy as np
import pytest
import torch
from torch import nn

from monitors import Rising
from skumc import UMCClusterer
from skumc.training._optimisation import AveragedWeights


@pytest.mark.parametrize("decay", [0.5, 0.98])
def test_average_is_that_of_a_loop(decay):
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    bias = module.bias.clone()
    average = AveragedWeights(module, decay)
    expected = module.weight.detach().numpy().astype(float)
    rng = np.random.default_rng(0)
    for step in range(40):
        weights = rng.normal(size=(2, 3)).astype(np.float32)
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(weights))
        average.update()
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * weights
    with average.in_place():
        np.testing.assert_allclose(module.weight.detach().numpy(), expected, atol=1e-5)
        assert torch.equal(module.bias, bias)
    np.testing.assert_array_equal(module.weight.detach().numpy(), weights)


def test_weights_come_back_after_an_error():
    module = nn.Linear(2, 2)
    average = AveragedWeights(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(7.0)
    with pytest.raises(KeyboardInterrupt), average.in_place():
        assert not (module.weight == 7).any()
        raise KeyboardInterrupt
    assert (module.weight == 7).all()


def test_without_decay_nothing_is_held():
    module = nn.Linear(2, 2)
    average = AveragedWeights(module, 0.0)
    before = module.weight.clone()
    average.update()
    with average.in_place():
        assert torch.equal(module.weight, before)


def test_the_encoder_that_is_kept_has_the_average():
    rng = np.random.default_rng(0)
    X = {name: rng.normal(size=(40, 4)) for name in ("text", "audio")}

    def fit(averaging):
        settings = {"pretrain_epochs": 0, "max_epochs": 1, "batch_size": 40, "random_state": 0}
        settings |= {"spread_confidence": 0.0, "warmup_proportion": 0.0}  # one step, with all
        fitted = UMCClusterer(2, monitor=Rising(), weight_averaging=averaging, **settings).fit(X)
        assert fitted.history_[-1]["restored"]
        return torch.cat([p.detach().flatten() for p in fitted.encoder_.parameters()])

    start = UMCClusterer(2, pretrain_epochs=0, max_epochs=0, random_state=0).fit(X).encoder_
    start = torch.cat([p.detach().flatten() for p in start.parameters()])
    moved = fit(0.0)
    assert not torch.equal(moved, start)
    # d_0 = 1 / 10 of what there was
    torch.testing.assert_close(fit(0.98), 0.1 * start + 0.9 * moved)
