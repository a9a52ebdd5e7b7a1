import pytest
from sklearn.base import BaseEstimator

from skumc._parts import PartsMixin, clone_part, require_methods, unknown_name_message


class Part(BaseEstimator):
    def __init__(self, size=1):
        self.size = size


class Holder(PartsMixin, BaseEstimator):
    _part_choices = {"part": {"small": Part, "large": lambda: Part(size=9)}}

    def __init__(self, part=None, other=0):
        self.part = part
        self.other = other


@pytest.mark.parametrize(("given", "size"), [(None, 1), ("large", 9), (Part(5), 5)])
def test_nested_parameter_replaces_none_and_names_by_instances(given, size):
    holder = Holder(part=given)
    assert holder._make_part("part").size == size
    holder.set_params(part__size=3, other=2)
    assert (holder.part.size, holder.other) == (3, 2)


def test_name_and_nested_parameter_set_together():
    holder = Holder().set_params(part__size=4, part="large")
    assert holder.part.size == 4


def test_made_part_is_a_copy():
    part = Part(5)
    assert Holder(part=part)._make_part("part") is not part


def test_unknown_name_suggests_the_closest_one():
    with pytest.raises(
        ValueError,
        match=r"Got part='smalls', expected one of 'large', 'small'\. Did you mean 'small'\?",
    ):
        Holder(part="smalls")._make_part("part")
    assert "Did you mean" not in unknown_name_message("part", "qqq", ["small"])


def test_require_methods_names_argument_method_and_remedy():
    require_methods("part", Part(), ["get_params"])
    with pytest.raises(TypeError, match=r"Got part=Part\(\).*no method update\(\).*Pass None"):
        require_methods("part", Part(), ["update", "get_params"])


def test_require_methods_refuses_classes():
    with pytest.raises(TypeError, match=r"Got part=Part, a class.*Pass Part\(\)\."):
        require_methods("part", Part, ["get_params"])


def test_clone_part_copies_plain_objects_with_their_state():
    original = {"weights": [1, 2]}
    copied = clone_part(original)
    assert copied == original and copied["weights"] is not original["weights"]
