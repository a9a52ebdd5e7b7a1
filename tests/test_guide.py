"""The code on the pages of the documentation runs, and the table of sections is complete."""

import ast
import doctest
import inspect
import pkgutil
import re
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", DOCS / "index.rst", *sorted((DOCS / "guide").glob("*.rst"))]
# Sections of the source with something to implement; the others are motivation and remarks.
SECTIONS = [
    *("3.1.2", "3.1.3", "3.2", "3.3.2", "3.3.4"),
    *(f"3.4.{i}" for i in range(2, 9)),
    *(f"3.5.{i}" for i in range(2, 8)),
    *(f"3.5.8.{i}" for i in range(1, 5)),
    *("3.5.9.1", "3.5.9.2"),
    *(f"3.6.{i}" for i in range(1, 6)),
    *(f"3.7.{i}" for i in range(1, 4)),
    *("3.8.1", "3.8.2", "3.9"),
    *(f"3.10.{i}" for i in range(1, 5)),
]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="this distribution has no docs/")


class Block(NamedTuple):
    """A block of code on a page and its first line there, from 1."""

    line: int
    code: str


def blocks(path):
    """Blocks of Python on a page, in order."""
    text = path.read_text(encoding="utf8")
    if path.suffix == ".md":
        pattern = r"^```python\n(?P<code>[\s\S]*?)^```$"
    else:
        pattern = r"^\.\. code-block:: python\n\n(?P<code>(?:(?: {4}.*)?\n)+)"
    return [
        Block(text.count("\n", 0, match.start("code")) + 1, textwrap.dedent(match["code"]).strip())
        for match in re.finditer(pattern, text, flags=re.MULTILINE)
    ]


def run(block, path, scope):
    """Run a block in ``scope``, as a doctest if it has prompts."""
    if not block.code.startswith(">>>"):
        exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), scope)
        return
    test = doctest.DocTestParser().get_doctest(block.code, scope, path.name, str(path), block.line)
    test.globs = scope  # not a copy: later blocks use the names
    output = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    failed = runner.run(test, out=output.append, clear_globs=False).failed
    assert not failed, "".join(output)


def identify(path):
    return str(path.relative_to(ROOT))


def pages_with_code():
    """Pages with code; those that take more than about ten seconds are marked."""
    for path in PAGES:
        if path.exists() and blocks(path):
            is_slow = path.name in ("README.md", "selection.rst")
            marks = [pytest.mark.slow] if is_slow else []
            yield pytest.param(path, marks=marks, id=identify(path))


@pytest.mark.parametrize("path", list(pages_with_code()))
def test_code_of_a_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for what an example writes
    scope = {"__name__": "__main__"}
    for block in blocks(path):
        if "sklearn.callback" in block.code and find_spec("sklearn.callback") is None:
            continue  # scikit-learn before 1.9
        run(block, path, scope)


@pytest.mark.parametrize("path", [p for p in PAGES if p.suffix == ".rst"], ids=identify)
def test_no_code_of_a_page_is_left_out(path):
    text = path.read_text(encoding="utf8")
    found = blocks(path)
    assert text.count("code-block:: python") == len(found)
    assert text.count(">>> ") == sum(block.code.count(">>> ") for block in found)
    for literal in re.findall(r"^(?!\.\. |:).*::\n\n((?:(?: +.*)?\n)+)", text, re.MULTILINE):
        with pytest.raises(SyntaxError):  # Python belongs in a code-block, which is run
            ast.parse(textwrap.dedent(literal))


def test_examples_of_own_parts_are_short():
    page = DOCS / "guide" / "extend.rst"
    assert len(blocks(page)) >= 9
    for block in blocks(page):
        assert block.code.count("\n") < 15, f"extend.rst:{block.line}"


# sections of the source


def rows():
    """(section, symbol) of the table; a section of several symbols has several entries."""
    path = DOCS / "guide" / "sections.rst"
    text = path.read_text(encoding="utf8") if path.exists() else ""
    for row in re.split(r"^   \* - ", text, flags=re.MULTILINE)[1:]:
        section = re.match(r"3(?:\.\d+)+$", row, flags=re.MULTILINE)
        for symbol in re.findall(r"`(skumc\.[\w.]+)`", row):
            yield section[0], symbol


def key(section):
    return tuple(map(int, section.split(".")))


def named_sections(docstring):
    """Sections that a docstring names, as (first, last)."""
    spans = re.findall(r"(3(?:\.\d+)+)(?: to (3(?:\.\d+)+))?", docstring)
    return [(key(first), key(last or first)) for first, last in spans]


def is_named(section, spans):
    """Whether a section, or one that it belongs to or contains, is named."""
    part = key(section)
    return any(
        first <= part <= last or part[: len(first)] == first or first[: len(part)] == part
        for first, last in spans
    )


def test_all_sections_are_in_the_table():
    assert list(dict.fromkeys(section for section, _ in rows())) == SECTIONS


@pytest.mark.parametrize("symbol", sorted({symbol for _, symbol in rows()}))
def test_symbol_exists_and_its_docstring_agrees(symbol):
    documented = pkgutil.resolve_name(symbol)
    docstring = inspect.getdoc(documented) or ""
    spans = named_sections(docstring)
    own = [section for section, name in rows() if name == symbol]
    assert not spans or any(is_named(section, spans) for section in own), (own, spans)


def parameters_of_symbols():
    """(symbol, parameter) of the table, where a symbol has parameters in parentheses."""
    path = DOCS / "guide" / "sections.rst"
    text = path.read_text(encoding="utf8") if path.exists() else ""
    for symbol, parameters in re.findall(r"`(skumc\.[\w.]+)`{1,2}\s+\(([^)]*=[^)]*)\)", text):
        for parameter in re.findall(r"(\w+)=", parameters):
            yield symbol, parameter


def test_parameters_of_the_table_exist():
    found = list(parameters_of_symbols())
    assert ("skumc.encoders.UMCEncoder", "missing") in found and len(found) > 4
    for symbol, parameter in found:
        signature = inspect.signature(pkgutil.resolve_name(symbol))
        assert parameter in signature.parameters, (symbol, parameter)
