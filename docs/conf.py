"""Sphinx configuration; ``tox -e docs`` builds with warnings as errors."""

import pydoc
import sys
import warnings

import skumc

project = "skumc"
copyright = "2026, the skumc developers"
version = release = skumc.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",  # formulas without a network
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery/**/*.ipynb", "gallery/**/*.py", "gallery/*.md5"]
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's Parameters say it in words
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
default_role = "code"
nitpicky = True  # a role that leads nowhere is a warning
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|numpy|sklearn|pandas|joblib|transformers)\..*"),
    (r"py:obj", "n_features_in_"),  # an inherited property of a search
]
suppress_warnings = ["ref.term"]  # inherited docstrings refer to the glossary of scikit-learn

html_theme = "pydata_sphinx_theme"
html_title = "skumc"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": [],
}
html_show_sourcelink = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "ignore_pattern": r"quickstart",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "plot_gallery": True,
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_",),  # tables, but not what matplotlib's calls return
}

warnings.filterwarnings("error", module="skumc")


def skip_fields(app, what, name, member, skip, options):
    """Leave out members of other packages, and fields of named tuples.

    The fields have no docstrings; Attributes has them. Methods from mixins of our own stay.
    """
    owner = getattr(member, "__module__", None) or "skumc"
    is_field = (getattr(member, "__doc__", None) or "").startswith("Alias for field number")
    return skip or is_field or not owner.startswith("skumc")


def resolve_other_path(app, env, node, contnode):
    """Link a class by any path from which it can be imported, or its bare name in its own file."""
    domain, target = env.get_domain("py"), node.get("reftarget", "")
    found = pydoc.locate(target) if "." in target else None
    if found is None and node.get("py:class"):
        owner = pydoc.locate(f"{node['py:module']}.{node['py:class']}")
        found = getattr(sys.modules.get(getattr(owner, "__module__", None)), target, None)
    if not hasattr(found, "__qualname__"):
        return None
    path = f"{found.__module__}.{found.__qualname__}"
    for name in domain.objects:
        if pydoc.locate(name) is found or name == path:
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, "obj", name, node, contnode
            )
    return None


def setup(app):
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", resolve_other_path)
