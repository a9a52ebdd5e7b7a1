"""The rooms of the house: who may import whom, and what `import skumc` brings along."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skumc

PACKAGE = Path(skumc.__file__).parent
ANY = {"numpy", "sklearn", "scipy", "joblib"}

# For each room: the rooms of skumc that it may import, and the heavy packages.
ROOMS = {
    "_parts": (set(), set()),
    "_devices": (set(), {"torch"}),
    "_console": (set(), set()),
    "_sequences": (set(), {"torch"}),
    "_moments": (set(), {"torch"}),
    "_checkpoints": ({"data"}, {"torch"}),
    "data": ({"_parts"}, set()),
    "curriculum": ({"_parts"}, set()),
    "losses": ({"_parts"}, {"torch"}),
    "encoders": ({"_moments", "_sequences", "_parts"}, {"torch"}),
    "text": ({"_checkpoints", "_moments", "_sequences", "_parts", "_console", "data"}, {"torch"}),
    "training": (
        {"_moments", "_sequences", "_parts", "_console", "data", "encoders", "losses"},
        {"torch", "threadpoolctl"},
    ),
    "_defaults": ({"_parts", "curriculum", "losses", "encoders", "training"}, {"torch"}),
    "_presets": ({"_parts", "curriculum", "encoders", "losses"}, set()),
    "_clusterer": (
        {
            "_parts",
            "_defaults",
            "_devices",
            "_presets",
            "data",
            "losses",
            "encoders",
            "text",
            "training",
        },
        {"torch"},
    ),
    "feature_extraction": (
        {"_checkpoints", "_devices", "_parts", "_console", "data", "text"},
        {"torch"},
    ),
    "metrics": ({"data"}, set()),
    "datasets": ({"_parts", "data"}, set()),
    "__init__": ({"_clusterer", "data"}, set()),
}
# The loop knows contracts only: no encoder and no loss of its own choice.
CONTRACTS = {
    "skumc.encoders": {
        "Batch",
        "EncoderOutput",
        "checked_output",
        "encode_summaries",
        "encode_views",
    },
    "skumc.losses": {"batch_centers"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path):
    """(module, names) of every import in a file; lazy ones inside functions apart."""
    tree = ast.parse(path.read_text())
    lazy = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, set(), node in lazy
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module, {alias.name for alias in node.names}, node in lazy


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_room_imports_only_what_it_may(path):
    room = room_of(path)
    assert room in ROOMS, f"{room} has no entry in ROOMS"
    rooms, heavy = ROOMS[room]
    for module, names, lazy in imported(path):
        top = module.split(".")[0]
        if top == "skumc":
            targets = {module.split(".")[1]} if "." in module else names
            assert targets <= rooms | {room}, f"{path} imports {module}"
            if room == "training" and targets & {"encoders", "losses"}:
                assert module in CONTRACTS, f"{path} imports {module}, not from the room's door"
                assert names and names <= CONTRACTS[module], f"{path} imports {names}"
        elif top not in ANY | heavy | sys.stdlib_module_names:
            assert lazy and top in {"transformers", "matplotlib", "pandas", "filelock"}, (
                f"{path}: {module}"
            )


def test_import_brings_no_heavy_package_along():
    code = (
        "import sys, torch, sklearn.cluster; before = set(sys.modules); import skumc;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'transformers', 'matplotlib', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
