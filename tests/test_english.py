"""Prose in plain American English: banned phrases in documentation, docstrings and comments."""

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs" / "guide").rglob("*.rst")),
    *sorted((ROOT / "docs").glob("*.rst")),
    *sorted((ROOT / "examples").glob("*.rst")),
]
MODULES = [
    path
    for folder in ("skumc", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
TESTS = [path for path in sorted((ROOT / "tests").glob("*.py")) if path != Path(__file__)]

THINGS = (
    "sample|batch|epoch|modality|step|fit|file|call|row|frame|cell|class|cluster|process|property|"
    "second|group|view|set|seed|word|text|sentence|token|column|layer|utterance"
)
COUNTED = (
    "one|each|mean|vector|number|second|row|gate|line|value|sequence|frame|token|label|weight|"
    "array|entry|pass|draw|example|image|matrix|module|summary|string|integer|float|bool|key|"
    "column|call|MiB|megabyte|hour|minute"
)


class Rule(NamedTuple):
    """A pattern, where a space is any white space; phrases that it catches and others it spares."""

    pattern: str
    advice: str
    bad: tuple[str, ...]
    good: tuple[str, ...] = ()


PHRASES = (
    Rule(
        rf"\b({COUNTED})(s|es)? an? ({THINGS})\b(?! of\b)",
        "write 'per sample'",
        ("one vector a sample", "seconds an epoch", "array with one row a sample"),
        ("one vector per sample", "the mean of a sample", "each of the samples"),
    ),
    Rule(
        r"(?<!users\s)(?<!people\s)(?<!those\s)(?<!authors\s)\bwho(m|se)?\b",
        "data is no person: name the thing",
        ("who is near whom", "a row whose neighbor is missing", "whose\nneighbors"),
        ("users who have labels", "the whole epoch", "people who read audio"),
    ),
    Rule(
        r"\b(no|every|some|any)body\b|\b(every|some|any)one\b(?! of)",
        "data is no person: name the thing",
        ("nobody reads it", "the mean of everyone", "somebody else's lock"),
        ("every one of them", "none of the samples"),
    ),
    Rule(
        r", for (it|they|there|we|you|chance|the|nothing|its|their)\b",
        "start a sentence, or write 'because' or 'since'",
        ("betrayed, for chance varies less", "Sorted,\nfor they come in any order"),
        ("See, for example, the guide", "for the caller", "one loss, for instance"),
    ),
    Rule(
        r"([,;:(] |[a-z)][.] |^)[Ee]lse (?!if\b)[a-z]",
        "write 'otherwise', or name the cause and then the effect",
        ("the views differ, else they share it", "Else the epoch is lost"),
        (
            "x if y else z",
            "... else z",
            "    else:",
            "otherwise the epoch is lost",
            "somewhere else in the file",
        ),
    ),
    Rule(
        r"\b(behind|beside)\b",
        "these are places; write 'after', 'next to', 'besides', 'compared with'",
        ("one sample behind the other", "the time of k-means beside ours"),
        ("one sample after another", "besides the first"),
    ),
    Rule(
        r"(?<!there\s)(?<!There\s)\b(is|are) no (?!longer|more|less|better|worse)|\bnothing but\b",
        "write 'is not a', 'only'",
        ("bytes that are no UTF-8", "a sample with nothing but NaN"),
        ("if there is no such model", "it is no longer read", "a sample with only NaN"),
    ),
    Rule(
        r"\bmeanwhile\b",
        "write 'while' or 'in the meantime' with its event",
        ("keep other processes from adding meanwhile",),
        ("lock out other processes while frames are added",),
    ),
    Rule(
        r"\b(wants|likes|believes|sees|knows|thinks|hopes|betrays?)\b|\b(is|are|was|be) told\b",
        "code has no likes and beliefs",
        ("the epoch that a monitor likes best", "the loss is told the labels", "the loop sees"),
        ("samples unseen in training", "known widths", "the epoch with the best score"),
    ),
    Rule(
        r"\brooms? (of|owns?|may|imports?)\b|\b(the|its|which|each|every|no|other) rooms?\b"
        r"|\bhouse\b|\beyes\b|\bdoors?\b|\bstrangers?\b",
        "no metaphors",
        ("the rooms of the house", "imports from the room's door"),
        ("room for one more row", "torch.eye", "household"),
    ),
    Rule(
        r"\brather too (much|many|little|few)\b|\bso (many|much)\b(?! (that|as)\b)"
        r"|\bhardly any\b|\bthus\b|\banew\b|\bwhilst\b|\bamongst\b|\b(there|where)(of|in)\b",
        "use the everyday term: an upper estimate, the number of, few, so, again",
        ("rather too much than too little", "so many of its last layers", "hardly any", "run anew"),
        ("too many rows", "so many that it fails", "again"),
    ),
    Rule(
        r"\bas one would\b|\b(could|can|to) be had\b|\bby how far\b|\bof yours\b|\bwithout a word\b"
        r"|\bas they were\b|\bheld against\b|\bno .{1,12}'s business\b|\bmade-up\b",
        "literal translation: say it as in a code review",
        ("as one would write it down", "no GPU could be had", "a module of yours", "made-up data"),
        ("a straightforward implementation", "your own module", "synthetic data"),
    ),
    Rule(
        r"\d(st|nd|rd|th) power\b",
        "use a symbol: n^1.08",
        ("grows as the 1.08th power",),
        ("scales as n^1.08", "the power of 2"),
    ),
    Rule(
        r"\bstands? (in|at|on|beside|there|here)\b",
        "text 'is' in a file",
        ("the formula stands in section 3",),
        ("the number stands for a row", "standard input"),
    ),
)
SUMMARIES = (
    Rule(
        r"(^|[.] )\s*(What|Who|Whose|How|Which|Why) (?![^.]*\?)|\A\s*(Where|When|If) ",
        "start with an imperative or a noun",
        ("What the parts gave.", "Rows of X. How they are kept.", "Where frames are."),
        ("Validate the return values of parts.", "Mean of rows.\n\nWhere none is, zero."),
    ),
)
SPELLING = (
    Rule(
        r"(?i)neighbour|centre(?!d?ness)|centring|colour|behaviour|favour|flavour|honour|labour"
        r"|judgement|licence|grey|metre|catalogue|artefact|labell|modell|cancell(ed|ing)|travell"
        r"|totall(ed|ing)|programme(?!r|d)|defence|fulfil\b|analys(e|ed|ing)\b|paralys",
        "American spelling",
        ("n_neighbours", "test_centres_move", "coloured by", "labelled rows", "a grey line"),
        ("n_neighbors", "centers", "labeled rows", "analysis", "models"),
    ),
    Rule(
        r"(?i)(capital|categor|character|custom|emphas|equal|final|general|initial|local|material"
        r"|maxim|minim|neutral|normal|optim|organ|parallel|penal|random|real|recogn|regular|serial"
        r"|special|stabil|standard|summar|synchron|token|util|vector|visual|factor|quant|memor"
        r"|pseudonym|priorit|central|symmetr|binar|discret)is(e|ed|es|er|ers|ing|ation|ations)(?![a-z])",
        "American spelling",
        ("standardise", "test_summarised_rows", "normalisation", "vectorised loop", "n_optimisers"),
        ("standardize", "noise", "precise", "a premise", "realistic", "optimistic", "emphasis"),
    ),
)


def compiled(rule):
    return re.compile(rule.pattern.replace(" ", r"\s+"), flags=re.MULTILINE)


def findings(rules, pieces):
    """(line, phrase, advice) of every match in pieces of (first line, text)."""
    for rule in rules:
        expression = compiled(rule)
        for line, text in pieces:
            for match in expression.finditer(text):
                phrase = " ".join(match[0].split())
                yield line + text.count("\n", 0, match.start()), phrase, rule.advice


def docstrings(tree):
    """(line, text) of every docstring of a module."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node) is not None:
            constant = node.body[0].value
            yield constant.lineno, constant.value


def comments(source):
    """(line, text) of every comment; lines of one comment are one text."""
    pieces = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, column = token.start
        text = token.string.lstrip("#").strip()
        alone = not token.line[:column].strip()
        if alone and pieces and pieces[-1][2] == (row - 1, column):
            first, before, _ = pieces[-1]
            pieces[-1] = (first, f"{before}\n{text}", (row, column))
        else:
            pieces.append((row, text, (row, column) if alone else None))
    return [(row, text) for row, text, _ in pieces]


def strings(tree):
    """(line, text) of every string, docstrings and messages alike."""
    inside = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                part.value if isinstance(part, ast.Constant) else "..." for part in node.values
            )
            yield node.lineno, text
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.lineno, node.value


def module_findings(source, tree, texts):
    yield from findings(PHRASES, [*texts, *comments(source)])
    yield from findings(SUMMARIES, list(docstrings(tree)))
    yield from findings(SPELLING, [(1, source)])


def identify(path):
    return str(path.relative_to(ROOT))


def report(path, found):
    return [f"{identify(path)}:{line}: {phrase!r}: {advice}" for line, phrase, advice in found]


def assert_nothing(path, found):
    lines = report(path, sorted(set(found)))
    assert not lines, "\n" + "\n".join(lines)


@pytest.mark.parametrize("path", PAGES, ids=identify)
def test_page_has_no_banned_phrase(path):
    text = path.read_text(encoding="utf8")
    assert_nothing(path, findings(PHRASES + SPELLING, [(1, text)]))


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_module_has_no_banned_phrase(path):
    source = path.read_text(encoding="utf8")
    tree = ast.parse(source)
    # messages of the package count too; strings of an example may be data
    texts = strings(tree) if "skumc" in path.relative_to(ROOT).parts else docstrings(tree)
    assert_nothing(path, module_findings(source, tree, texts))


@pytest.mark.parametrize("path", TESTS, ids=identify)
def test_test_has_american_spelling(path):
    assert_nothing(path, findings(SPELLING, [(1, path.read_text(encoding="utf8"))]))


# the test itself


@pytest.mark.parametrize("rule", PHRASES + SUMMARIES + SPELLING, ids=lambda rule: rule.bad[0])
def test_rule_catches_the_bad_and_spares_the_good(rule):
    for phrase in rule.bad:
        assert compiled(rule).search(phrase), phrase
    for phrase in rule.good:
        assert not list(findings(PHRASES + SPELLING, [(1, phrase)])), phrase
        assert not compiled(rule).search(phrase), phrase


def test_every_part_of_a_module_is_searched_and_lines_are_counted():
    source = (
        '"""What it does."""\n'
        "\n"
        "def neighbours(x):\n"
        '    """Mean.\n'
        "\n"
        "    One vector\n"
        '    a sample.\n    """\n'
        "    # one row\n"
        "    # a sample\n"
        '    raise ValueError(f"Got {x}, whose " "rows")\n'
    )
    tree = ast.parse(source)
    found = module_findings(source, tree, strings(tree))
    assert sorted((line, phrase) for line, phrase, _ in found) == [
        (1, "What"),
        (3, "neighbour"),
        (6, "vector a sample"),
        (9, "row a sample"),
        (11, "whose"),
    ]


def test_all_kinds_of_files_are_walked():
    names = {identify(path) for path in PAGES + MODULES + TESTS}
    assert {"README.md", "docs/guide/data.rst", "docs/index.rst"} <= names
    assert {"skumc/_clusterer.py", "skumc/data/__init__.py", "benchmarks/speed.py"} <= names
    assert {"examples/quickstart.py", "tests/conftest.py"} <= names
