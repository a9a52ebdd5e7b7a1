"""Seeds and findings of the fuzzers: documented errors, and nothing is executed."""

import importlib.util
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz" / "fuzz.py"

pytestmark = pytest.mark.skipif(not FUZZ.exists(), reason="this distribution has no fuzz/")


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz", FUZZ)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["unpickler", "loader", "manifest", "values", "weights"])
def test_target_survives_seeds_and_findings(fuzz, name, tmp_path):
    target = fuzz.make_target(name, tmp_path)
    found = sorted((FUZZ.parent / "found" / name).glob("*"))
    for content in [*fuzz.seeds(name), *(path.read_bytes() for path in found), b"", b"\0" * 99]:
        target(content)


def test_watch_sees_what_is_run(fuzz):
    import os

    watch = fuzz.Watch()
    with pytest.raises(fuzz.Executed, match="os.system"), watch():
        os.system("true")
