"""Positive pairs, and the views of the supervised step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_makers import make_sequences
from skumc import UMCClusterer
from skumc.encoders import EncoderOutput, masked_mean
from skumc.pairs import (
    DropoutPairs,
    FramePairs,
    NoisePairs,
    leave_one_out_views,
    supervised_views,
)
from skumc.pseudo_labels import PropagatedLabels


def test_views_of_three_modalities_are_the_printed_ones():
    assert leave_one_out_views(["text", "audio", "video"], "text") == [
        ("text", "audio", "video"),
        ("text", "video"),
        ("text", "audio"),
    ]


def test_views_of_two_and_one_modality():
    assert leave_one_out_views(["a", "b"], "b") == [("a", "b"), ("b",)]
    assert leave_one_out_views(["a"], "a") == [("a",), ("a",)]


@given(n=st.integers(2, 6), anchor=st.integers(0, 5))
def test_every_view_holds_the_anchor_and_one_view_all(n, anchor):
    names = [str(i) for i in range(n)]
    views = leave_one_out_views(names, str(anchor % n))
    assert len(views) == n and views[0] == tuple(names)
    assert all(str(anchor % n) in view for view in views)


class Identity(torch.nn.Module):
    def forward(self, batch):
        h = masked_mean(*batch["x"])
        return torch.nn.functional.normalize(h, dim=-1), torch.ones(len(h), 1), {}


@pytest.mark.parametrize("pairs", [DropoutPairs(), NoisePairs(), FramePairs()])
def test_one_copy_is_perturbed_and_samples_stay(pairs):
    batch = {"x": (torch.randn(40, 16), torch.tensor([1, 19, 20]))}
    torch.default_generator.manual_seed(0)
    first, second = pairs.encode(Identity(), batch)
    assert first.embedding.shape == second.embedding.shape == (3, 16)
    assert not torch.equal(first.embedding, second.embedding)
    # a sequence of one frame keeps it
    kept = torch.equal(first.embedding[0], second.embedding[0])
    assert kept == isinstance(pairs, FramePairs)


@pytest.mark.parametrize(
    ("pairs", "share"), [(DropoutPairs(0.3), 0.3), (FramePairs(0.3), 0.3), (NoisePairs(0.3), 0.3)]
)
def test_size_of_the_perturbation(pairs, share):
    values = torch.ones(200, 500)
    torch.default_generator.manual_seed(0)
    if isinstance(pairs, FramePairs):
        seen = []

        class Counting(Identity):
            def forward(self, batch):
                seen.append(len(batch["x"][0]))
                return super().forward(batch)

        pairs.encode(Counting(), {"x": (values[:, :2], torch.tensor([100, 100]))})
        assert seen[0] == 200 and seen[1] == pytest.approx(200 * (1 - share), abs=25)
    elif isinstance(pairs, NoisePairs):
        assert (pairs._perturb(values) - values).std().item() == pytest.approx(share, rel=0.01)
    else:
        assert (pairs._perturb(values) == 0).float().mean().item() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("pairs", "name"),
    [(DropoutPairs(0), "dropout"), (NoisePairs(-1), "scale"), (FramePairs(1.0), "hidden_share")],
)
def test_pairs_check_their_parameters(pairs, name):
    with pytest.raises(ValueError, match=f"'{name}' parameter of {type(pairs).__name__}"):
        UMCClusterer(2, pairs=pairs).fit(make_sequences()[0])


NAMES = ("text", "audio", "video")
TRUSTED = {"text": True, "audio": False, "video": True}


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (None, [NAMES, ("text",), ("video",)]),
        ("single", [NAMES, ("text",), ("video",)]),
        ("leave_one_out", [NAMES, ("text", "video"), ("text", "audio")]),
        ("full", [NAMES]),
        ([["video", "text"]], [NAMES, ("text", "video")]),
        ([list(NAMES), ["audio"]], [NAMES, ("audio",)]),
    ],
)
def test_supervised_views(views, expected):
    assert supervised_views(views, NAMES, "text", TRUSTED) == expected


def test_one_trusted_modality_has_no_view_of_its_own():
    trusted = dict.fromkeys(NAMES, False) | {"audio": True}
    assert supervised_views("single", NAMES, "text", trusted) == [NAMES]


@pytest.mark.parametrize("views", ["simple", [[]], [["speech"]], ["text"], [3]])
def test_unknown_supervised_views_are_refused(views):
    with pytest.raises(ValueError, match="Got supervised_views="):
        UMCClusterer(2, supervised_views=views).fit(make_sequences()[0])


@pytest.mark.parametrize(
    ("part", "value"),
    [("pairs", "neighbors"), ("pseudo_labels", "propagated"), ("monitor", "modularity")],
)
def test_parts_that_need_the_graph_say_so_before_training(part, value):
    def fail(embedding, labels):
        raise AssertionError("trained")

    others = {"pairs": "views", "pseudo_labels": "selected", "monitor": fail} | {part: value}

    message = f"Got neighbors='none', but {part} need the neighbor graph, .* Set {part}="
    with pytest.raises(ValueError, match=message):
        UMCClusterer(2, neighbors="none", **others).fit(make_sequences()[0])
    several = "pairs and pseudo_labels and monitor need .* Set .* and monitor='silhouette' as well"
    with pytest.raises(ValueError, match=several):
        UMCClusterer(2, neighbors="none").fit(make_sequences()[0])


def test_supervised_views_reach_the_encoder():
    seen = []

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(5, 4)

        def forward(self, batch):
            h = self.linear(masked_mean(*batch["text"]).float())
            gates = torch.ones(len(h), len(batch)) / len(batch)
            return EncoderOutput(torch.nn.functional.normalize(h, dim=-1), gates, {})

        def forward_views(self, batch, views):
            if self.training:
                seen.append(list(views))
            return [self(batch) for _ in views]

    X, _ = make_sequences()
    settings = {"pretrain_epochs": 0, "max_epochs": 1, "pseudo_labels": "selected"}
    UMCClusterer(
        2, encoder=Encoder(), supervised_views=[["audio"]], random_state=0, **settings
    ).fit(X)
    assert [X.names, ("audio",)] in seen


@pytest.mark.parametrize("returned", [3, [], ["first", "second"]])
def test_pairs_that_return_nonsense_are_refused(returned):
    class Broken(DropoutPairs):
        def encode(self, encoder, batch):
            return returned

    with pytest.raises(TypeError, match=r"The pairs gave \w+ from encode\(\), .*Check pairs="):
        UMCClusterer(2, pairs=Broken()).fit(make_sequences()[0])


@pytest.mark.parametrize(
    "part", [{"pseudo_labels": PropagatedLabels(5.0)}, {"pairs": NoisePairs(-1.0)}]
)
def test_parameters_of_parts_are_checked_before_training(part):
    class Fails:
        def on_train_begin(self, state):
            raise AssertionError("training began")

    with pytest.raises(ValueError, match="must be a float in the range"):
        UMCClusterer(2, callbacks=[Fails()], **part).fit(make_sequences()[0])
