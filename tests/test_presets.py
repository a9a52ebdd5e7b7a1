"""Parameters are merged into a preset, and a fitted encoder is taken as it is."""

import numpy as np
import pytest

from skumc import MultimodalData, UMCClusterer
from skumc.losses import InfoNCELoss, SupConLoss, WeightedLosses
from skumc.text import TextModel
from text_models import pair

SHORT = {"pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}


def changed(preset, **parameters):
    """Parameters of a preset that differ after these changes, at any depth."""
    before = UMCClusterer.from_preset(preset, 3).get_params()
    after = UMCClusterer.from_preset(preset, 3, **parameters).get_params()
    names = before.keys() | after.keys()
    plain = (int, float, str, bool, tuple, type(None))
    return {
        name
        for name in names
        if isinstance(after.get(name), plain) and before.get(name, ...) != after.get(name)
    }


@pytest.mark.parametrize("preset", ["source", "acl2024"])
def test_losses_change_only_what_they_name(preset):
    own = UMCClusterer.from_preset(preset, 3).losses
    assert changed(preset, losses={"separation": 0.7}) == {"losses__separation_weight"}
    losses = UMCClusterer.from_preset(preset, 3, losses={"supcon": SupConLoss(9.0)}).losses
    assert losses.supcon.temperature == 9.0 and losses.supcon_weight == own.supcon_weight
    assert losses.infonce.temperature == own.infonce.temperature == 0.2
    both = UMCClusterer.from_preset(preset, 3, losses={"supcon": (2.0, SupConLoss(9.0))}).losses
    assert (both.supcon_weight, both.supcon.temperature) == (2.0, 9.0)


def test_losses_that_are_whole_replace_those_of_a_preset():
    losses = WeightedLosses(infonce=InfoNCELoss(0.9))
    assert UMCClusterer.from_preset("source", 3, losses=losses).losses is losses
    assert UMCClusterer.from_preset("source", 3, losses=None).losses is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encoder__cross_attention", False),
        ("losses__supcon__temperature", 5.0),
        ("losses__separation_weight", 0.0),
        ("optimization__weight_decay", 0.5),
        ("text__layer", 1),
        ("text__n_trainable_layers", 0),
        ("kmeans__n_init", 7),
        ("max_epochs", 3),
    ],
)
def test_nested_names_change_one_parameter(name, value):
    assert changed("source", **{name: value}) == {name}
    assert UMCClusterer.from_preset("source", 3, **{name: value}).get_params()[name] == value


def test_a_text_model_by_name_keeps_layers_of_the_preset():
    text = UMCClusterer.from_preset("source", 3, text="some name").text
    assert (text.name, text.layer, text.n_trainable_layers) == ("some name", None, 1)
    text = UMCClusterer.from_preset("source", 3, text="some name", text__layer=2).text
    assert (text.name, text.layer) == ("some name", 2)


def test_updated_leaves_the_losses_as_they_are():
    losses = WeightedLosses(supcon=SupConLoss(0.7), extra={"mine": (1.0, SupConLoss())})
    after = losses.updated({"supcon": 2.0, "compactness": 0.0})
    assert (losses.supcon_weight, losses.compactness_weight) == (1.0, 0.3)
    assert (after.supcon_weight, after.compactness_weight) == (2.0, 0.0)
    assert after.supcon.temperature == 0.7 and set(after.extra) == {"mine"}
    assert losses.updated({"supcon": None}).supcon is None


# an encoder of an earlier fit


def make_samples():
    texts = [f"{('sea ship', 'gear wheel', 'tree leaf')[i % 3]} {i}" for i in range(30)]
    audio = np.random.default_rng(0).normal(np.arange(30)[:, None] % 3, 1, (30, 4))
    return MultimodalData({"text": texts, "audio": audio})


@pytest.mark.parametrize("n_layers", [0, 1, "all"])
@pytest.mark.parametrize("encoder", ["projection", "umc"])
def test_a_fitted_encoder_given_again_is_taken_as_it_is(encoder, n_layers):
    X, text = make_samples(), TextModel(pair(), n_trainable_layers=n_layers, learning_rate=1e-2)
    first = UMCClusterer(3, text=text, encoder=encoder, **SHORT).fit(X)
    none = {"pretrain_epochs": 0, "max_epochs": 0, "random_state": 1}
    again = UMCClusterer(3, text=text, encoder=first.encoder_, **none).fit(X)
    np.testing.assert_allclose(again.embedding_, first.embedding_, atol=1e-6)
    assert type(again.encoder_) is type(first.encoder_)
    assert type(getattr(again.encoder_, "encoder", None)) is type(
        getattr(first.encoder_, "encoder", None)
    )
    assert again.encoder_ is not first.encoder_


def test_a_fitted_encoder_with_other_trained_text_is_refused():
    X = make_samples()
    text = TextModel(pair(), n_trainable_layers=1)
    fitted = UMCClusterer(3, text=text, **SHORT).fit(X).encoder_
    with pytest.raises(ValueError, match=r"trained text layers for \['text'\]"):
        UMCClusterer(3, text=TextModel(pair()), encoder=fitted, **SHORT).fit(X)
