"""Docs and docstrings agree with the code."""

import importlib
import inspect
import pkgutil
import pydoc
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator

import skumc
from skumc import UMCClusterer
from skumc.encoders import UMCEncoder
from skumc.text import TextModel

ROOT = Path(__file__).parents[1]
PARTS = ("encoder", "losses", "kmeans", "threshold", "selector", "monitor", "optimization")
MODULES = [skumc] + [
    importlib.import_module(f"skumc.{module.name}")
    for module in pkgutil.iter_modules(skumc.__path__)
    if module.ispkg
]
ESTIMATORS = {
    name: value
    for module in MODULES
    for name in module.__all__
    if inspect.isclass(value := getattr(module, name)) and issubclass(value, BaseEstimator)
}


def documented_parameters(docstring):
    """Name and type line of each entry of the Parameters section."""
    section = docstring.split("Parameters\n", 1)[1].split("\n", 1)[1]
    section = re.split(r"\n\s*[A-Z][\w ]+\n\s*-{4,}\n", section)[0]
    entries = {}
    for names, kind in re.findall(r"^ {4}(\w[\w, ]*) : (.+)$", section, flags=re.MULTILINE):
        for name in names.split(", "):
            entries[name] = kind
    return entries


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"BaseLoss"}))
def test_docstring_has_the_signature_and_its_defaults(name):
    signature = inspect.signature(ESTIMATORS[name].__init__).parameters
    required = [UMCClusterer()] if "estimator" in signature else []
    known = ESTIMATORS[name](*required).get_params(deep=False)
    parameters = {key: value for key, value in signature.items() if key in known}
    docstring = ESTIMATORS[name].__doc__
    documented = documented_parameters(docstring) if parameters else {}
    assert list(documented) == list(parameters)
    for key, kind in documented.items():
        if parameters[key].default is inspect.Parameter.empty:
            continue
        default = re.search(r"default=(.+)$", kind)
        assert default, f"{name}: {key} has no documented default"
        if "..." in default[1]:
            continue
        written, given = eval(default[1], {"np": np}), parameters[key].default
        assert written == given or written is given, f"{name}: {key}"  # NaN differs from itself


def flat_parameters(clusterer):
    """Nested parameters, after replacing parts that are None by their defaults."""
    clusterer.set_params(text=TextModel.from_argument(clusterer.text))
    for part in PARTS:
        if getattr(clusterer, part) is None:
            clusterer.set_params(**{part: clusterer._make_part(part)})
    for role in ("infonce", "supcon", "contrastive", "compactness", "separation"):
        if getattr(clusterer.losses, role) is None:
            clusterer.losses.set_params(**{role: clusterer.losses._make_part(role)})
    values = clusterer.get_params()
    return {
        name: type(value).__name__ if hasattr(value, "get_params") else value
        for name, value in values.items()
    }


def test_source_preset_differs_only_where_the_guide_says():
    source = flat_parameters(UMCClusterer.from_preset("source"))
    default = flat_parameters(UMCClusterer())
    assert (default["encoder"], source["encoder"]) == ("ProjectionEncoder", "UMCEncoder")
    # another encoder or monitor is compared with its own defaults
    other = UMCClusterer(encoder=UMCEncoder(), monitor="silhouette")
    default = flat_parameters(other) | {part: default[part] for part in ("encoder", "monitor")}
    assert set(default) == set(source)
    differing = {
        name: (repr(default[name]), repr(source[name]))
        for name in default
        if default[name] != source[name]
    }
    guide = (ROOT / "docs" / "guide" / "source.rst").read_text()
    table = guide.split("differs from the defaults in these parameters only")[1]
    rows = re.findall(r"\* - ``(\w+)``\n\s+- ``(.+)``\n\s+- ``(.+)``", table)
    assert {name: (before, after) for name, before, after in rows} == differing


def api_page():
    """Paths of the objects on the API page."""
    page = (ROOT / "docs" / "api.rst").read_text()
    return re.findall(r"^   ([\w.]+)$", page, flags=re.MULTILINE)


@pytest.mark.parametrize("path", api_page())
def test_everything_on_the_api_page_has_an_example(path):
    documented = pydoc.locate(f"skumc.{path}")
    assert ">>>" in inspect.getdoc(documented), path


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_everything_public_has_an_example(module):
    public = {
        name: value
        for name in module.__all__
        if inspect.isclass(value := getattr(module, name)) or inspect.isroutine(value)
    }
    assert public
    lacking = [n for n, value in public.items() if ">>>" not in (inspect.getdoc(value) or "")]
    assert not lacking


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_estimator_is_on_the_api_page(module):
    page = (ROOT / "docs" / "api.rst").read_text()
    for name in module.__all__:
        if name in ESTIMATORS:
            assert re.search(rf"\b{name}$", page, flags=re.MULTILINE), name


def test_readme_example_runs():
    text = (ROOT / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)[1]
    code = code.replace("random_state=0", "random_state=0, pretrain_epochs=1, max_epochs=1")
    scope = {}
    exec(code, scope)
    assert len(scope["labels"]) == 150 and len(set(scope["labels"])) == 3


def test_no_placeholder_is_left():
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.rst")]:
        if "_build" not in path.parts:
            assert not re.search(r"\b(MEASURED|TABLE|TODO)\b", path.read_text()), path
