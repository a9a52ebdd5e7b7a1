"""Dependencies of each folder, names of files, and packages that `import skumc` loads."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import skumc

PACKAGE = Path(skumc.__file__).parent
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
ANY = {"numpy", "sklearn", "scipy", "joblib", "filelock"}
LAZY = {"transformers", "huggingface_hub", "safetensors", "matplotlib", "pandas"}

# Helpers that any folder with the same heavy imports may use.
HELPERS = {
    "_batches": ({"_sequences", "data"}, {"torch"}),
    "_checkpoints": ({"_process_state", "data"}, {"torch"}),
    "_console": (set(), set()),
    "_content": (set(), {"torch"}),
    "_devices": (set(), {"torch"}),
    "_evaluation": ({"_process_state"}, {"torch"}),
    "_doc_links": (set(), set()),
    "_fitted": (set(), set()),
    "_gelu": (set(), {"torch"}),
    "_moments": (set(), {"torch"}),
    "_parts": (set(), set()),
    "_process_state": (set(), {"torch"}),
    "_sequences": (set(), {"torch"}),
    "_warnings": (set(), set()),
}
# For each folder or file: the folders of skumc that it may import, and the heavy packages.
PARTS = {
    "data": (set(), set()),
    "curriculum": (set(), set()),
    "losses": (set(), {"torch"}),
    "encoders": (set(), {"torch"}),
    "text": ({"data", "neighbors"}, {"torch"}),
    "neighbors": ({"data"}, {"torch"}),
    "pairs": ({"data", "encoders"}, {"torch"}),
    "pseudo_labels": (set(), set()),
    "training": (
        {"data", "encoders", "losses", "pairs", "pseudo_labels"},
        {"torch", "threadpoolctl"},
    ),
    "feature_extraction": ({"data", "text"}, {"torch"}),
    "datasets": ({"data"}, set()),
    "metrics": ({"data"}, set()),
}
CHOSEN = set(PARTS) - {"feature_extraction", "datasets", "metrics"}
PARTS["persistence"] = (CHOSEN | {"_cluster_count"}, {"torch"})
ESTIMATOR = {
    "_parameters": (CHOSEN, {"torch"}),
    "_presets": (CHOSEN, {"torch"}),
    "_assembly": ({"_parameters"} | CHOSEN, {"torch"}),
    "_cluster_count": (set(), set()),
    "_counting": ({"_assembly", "_cluster_count", "data", "training"}, {"torch"}),
    "_prediction": ({"_assembly", "_doubt", "data", "training"}, {"torch"}),
    "_resuming": ({"data", "text", "training"}, {"torch"}),
    "_fit_tasks": ({"neighbors", "training"}, {"torch"}),
    "_doubt": ({"_assembly", "data", "neighbors", "training"}, {"torch"}),
    "_returning": ({"_assembly", "_doubt", "data", "neighbors", "training"}, {"torch"}),
    "_clusterer": (
        {
            "_assembly",
            "_counting",
            "_doubt",
            "_fit_tasks",
            "_parameters",
            "_prediction",
            "_presets",
            "_resuming",
            "_returning",
            "persistence",
        }
        | CHOSEN,
        {"torch"},
    ),
    "__init__": ({"_clusterer", "data"}, {"torch"}),
    "model_selection": (
        {
            "_assembly",
            "_cluster_count",
            "_clusterer",
            "data",
            "encoders",
            "neighbors",
            "text",
            "training",
        },
        {"torch"},
    ),
    "report": ({"_assembly", "_clusterer", "data", "model_selection", "training"}, {"torch"}),
    "plotting": ({"data", "metrics", "report", "model_selection"}, {"torch"}),
}
ALLOWED = {
    **HELPERS,
    **{name: (own | set(HELPERS), heavy) for name, (own, heavy) in (PARTS | ESTIMATOR).items()},
}
# Training and pairs use contracts only and choose no part themselves.
CONTRACTS = {
    "skumc.encoders": {
        "Batch",
        "EncoderOutput",
        "RepeatableBatches",
        "checked_output",
        "encode_summaries",
        "encode_views",
    },
    "skumc.losses": {"batch_centers", "role_of"},
    "skumc.pairs": {"supervised_views"},
    "skumc.pseudo_labels": {"PseudoLabels", "label_means"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path):
    """(module, names, whether inside a function) of every import in a file."""
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


def owner(path):
    """Folder, or file without its suffix, directly below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_table_has_every_folder_and_no_other():
    assert set(ALLOWED) == {owner(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_what_its_folder_may(path):
    part = owner(path)
    allowed, heavy = ALLOWED[part]
    for module, names, lazy in imported(path):
        top = module.split(".")[0]
        if top == "skumc":
            targets = {module.split(".")[1]} if "." in module else names
            targets -= {part}
            assert targets <= allowed, f"{path} imports {module}"
            for target in targets:
                # a folder without torch does not get it through another one
                assert ALLOWED[target][1] <= heavy | {"threadpoolctl"}, f"{path} imports {module}"
                contract = f"skumc.{target}"
                if part in ("training", "pairs") and contract in CONTRACTS:
                    assert module == contract, f"{path} imports {module}, not from {contract}"
                    assert names and names <= CONTRACTS[contract], f"{path} imports {names}"
        elif top not in ANY | heavy | sys.stdlib_module_names:
            assert lazy and top in LAZY, f"{path}: {module}"


def test_every_private_file_has_a_name_of_its_own():
    names = Counter(path.name for path in MODULES)
    shared = {name for name, count in names.items() if count > 1}
    # each folder has one __init__.py, and at most one file with the base class of its parts
    assert shared <= {"__init__.py", "_base.py"}


def test_contributing_names_every_folder():
    text = CONTRIBUTING.read_text(encoding="utf8")
    for name in set(ALLOWED) - {"__init__"}:
        file = f"{name}/" if (PACKAGE / name).is_dir() else f"{name}.py"
        assert f"`{file}`" in text or f"`skumc/{file}`" in text, file


def test_import_brings_no_heavy_package_along():
    code = (
        "import sys, torch, sklearn.cluster; before = set(sys.modules); import skumc;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'transformers', 'matplotlib', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
