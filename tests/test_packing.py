"""Texts packed into one row: the same states, and no work on padding."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from skumc._sequences import Sequences
from skumc.text import TextTower, _tower
from skumc.text._packing import _attend, pack
from skumc.text._split import Split
from text_models import FAMILIES, SIZES, make_model

# Those of them whose attention transformers lets be exchanged, from version 5 on.
PACKING = {"bert", "roberta", "distilbert", "minilm", "electra"}
needs_replaceable_attention = pytest.mark.skipif(
    int(transformers.__version__.split(".")[0]) < 5, reason="attention cannot be exchanged"
)
WIDTH = SIZES["hidden_size"]


def make_tower(family, n_trainable=2, padded=False):
    split = Split(make_model(family), n_trainable, None)
    with pytest.MonkeyPatch.context() as patch:
        if padded:
            patch.setattr(_tower, "pack", lambda *_: False)
        return TextTower(split.tail, split.width, reads_ids=split.front is None)


def states_of(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sum(lengths), WIDTH, generator=generator), torch.tensor(lengths)


@needs_replaceable_attention
@pytest.mark.parametrize("family", FAMILIES)
def test_which_models_read_texts_side_by_side(family):
    assert make_tower(family).packs == (family in PACKING)


def test_a_window_of_attention_is_not_overlooked():
    """The window is wider than every text that the check looks at."""
    config = transformers.ModernBertConfig(
        **SIZES, local_attention=128, global_attn_every_n_layers=2, pad_token_id=0
    )
    split = Split(transformers.ModernBertModel(config), 2, None)
    assert not TextTower(split.tail, split.width, reads_ids=False).packs


def test_token_ids_are_padded():
    tower = make_tower("bert", "all")
    assert tower.reads_ids and not tower.packs


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lengths", [[3, 7, 1, 7, 12, 0, 2], [5], [4, 4, 4], [0, 1, 0]])
def test_states_and_gradients_equal_those_of_padded_texts(family, lengths):
    towers = make_tower(family).eval(), make_tower(family, padded=True).eval()
    frames, sizes = states_of(lengths)
    weights = torch.randn(len(frames), WIDTH, generator=torch.Generator().manual_seed(1))
    for tower in towers:
        tower(frames, sizes).mul(weights).sum().backward()
    np.testing.assert_allclose(*(tower(frames, sizes).detach() for tower in towers), atol=1e-5)
    for one, other in zip(*(tower.parameters() for tower in towers), strict=True):
        assert one.requires_grad == other.requires_grad
        if one.requires_grad:
            np.testing.assert_allclose(one.grad, other.grad, rtol=1e-4, atol=1e-4)


BERT = make_tower("bert").eval()


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=12), seed=st.integers(0, 9))
def test_a_text_is_read_alone_whatever_lies_beside_it(lengths, seed):
    frames, sizes = states_of(lengths, seed)
    with torch.no_grad():
        together = BERT(frames, sizes).split(lengths)
        for own, length, part in zip(frames.split(lengths), lengths, together, strict=True):
            alone = BERT(own, torch.tensor([length]))
            np.testing.assert_allclose(part, alone, atol=1e-5)


@needs_replaceable_attention
@pytest.mark.parametrize("family", sorted(PACKING))
def test_maps_see_tokens_only(family):
    tower = make_tower(family)
    frames, sizes = states_of([3, 9, 1, 4, 0, 12])
    seen = []
    for module in tower.modules():
        if isinstance(module, torch.nn.Linear) and module.weight.requires_grad:
            module.register_forward_hook(
                lambda module, inputs, output: seen.append(inputs[0].numel() // inputs[0].shape[-1])
            )
    tower(frames, sizes)
    assert len(seen) >= 12 and set(seen) == {int(sizes.sum())}


def test_a_model_that_cannot_stays_as_it_was(capfd):
    tail = Split(make_model("mpnet"), 2, None).tail
    before = {module: module.config for module in tail.modules() if hasattr(module, "config")}
    implementation = tail.config._attn_implementation
    assert not pack(tail, WIDTH)
    assert before and all(module.config is config for module, config in before.items())
    assert tail.config._attn_implementation == implementation
    assert capfd.readouterr() == ("", "")


def test_a_model_that_fails_on_short_texts_does_not_pack():
    class Failing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(WIDTH, WIDTH)

        def forward(self, **named):
            raise IndexError("too short")

    assert not pack(Failing(), WIDTH)


@needs_replaceable_attention
def test_the_precision_of_the_caller_is_no_hindrance():
    before = torch.get_default_dtype()
    split = Split(make_model("bert"), 1, None)
    try:
        torch.set_default_dtype(torch.float64)
        assert pack(split.tail, WIDTH)
    finally:
        torch.set_default_dtype(before)


@needs_replaceable_attention
def test_the_front_keeps_its_own_attention():
    split = Split(make_model("bert"), 1, None)
    before = split.front.config._attn_implementation
    assert pack(split.tail, WIDTH)
    assert split.front.config._attn_implementation == before
    assert split.tail.config._attn_implementation != before


@needs_replaceable_attention
def test_attention_drops_in_training():
    config = transformers.BertConfig(**SIZES, attention_probs_dropout_prob=0.5)
    config.hidden_dropout_prob = 0.0
    split = Split(transformers.BertModel(config), 1, None)
    tower = TextTower(split.tail, split.width, reads_ids=False)
    assert tower.packs
    frames, sizes = states_of([5, 8, 3])
    first, second = tower.train()(frames, sizes), tower(frames, sizes)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(tower.eval()(frames, sizes), tower(frames, sizes))


def test_it_works_unpickled_in_another_process(tmp_path):
    frames, sizes = states_of([5, 8, 3])
    (tmp_path / "tower.pkl").write_bytes(pickle.dumps((BERT, frames, sizes)))
    code = (
        "import pickle, sys; tower, frames, sizes = pickle.load(open(sys.argv[1], 'rb'));"
        "pickle.dump(tower(frames, sizes).detach(), open(sys.argv[2], 'wb'))"
    )
    paths = [str(tmp_path / name) for name in ("tower.pkl", "states.pkl")]
    subprocess.run([sys.executable, "-c", code, *paths], check=True)
    found = pickle.loads((tmp_path / "states.pkl").read_bytes())
    np.testing.assert_allclose(found, BERT(frames, sizes).detach(), atol=1e-5)


@pytest.mark.parametrize(
    "named", [{"sliding_window": 4}, {"softcap": 1.0}, {"position_bias": torch.ones(1)}]
)
def test_what_would_change_the_result_is_refused(named):
    part = torch.ones(1, 2, 3, 4)
    groups = [Sequences.from_lengths(torch.ones(3, 8), torch.tensor([1, 2]))]
    module = torch.nn.Identity()
    mixed, _ = _attend(module, part, part, part, None, packing=groups)
    assert mixed.shape == (1, 3, 2, 4)
    with pytest.raises(ValueError, match=next(iter(named))):
        _attend(module, part, part, part, None, packing=groups, **named)
    with pytest.raises(ValueError, match="without a mask"):
        _attend(module, part, part, part, torch.ones(3), packing=groups)
    module.is_causal = True
    with pytest.raises(ValueError, match="both directions"):
        _attend(module, part, part, part, None, packing=groups)
