"""Folders that no `save` wrote: each is refused by an error that names file and remedy."""

import hashlib
import json
import os
import pickle
import re
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from data_makers import make_sequences
from saved_clusterers import (
    SENTENCES,
    fit,
    make_text_model,
    manifest_of,
    replace_weights,
    rewrite,
)
from skumc import UMCClusterer
from skumc.persistence import SavedClustererError
from skumc.persistence._values import Reader, Writer
from skumc.text import TextModel

MANIFEST = "skumc.json"
REMEDIES = r"[Cc]opy|save|Pass|pass|Delete|[Uu]pdate"


@pytest.fixture(scope="module")
def fitted():
    return fit(make_sequences(24, 2)[0], encoder="umc", encoder__n_heads=2)


@pytest.fixture
def folder(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    return tmp_path / "a"


@pytest.fixture(scope="module")
def with_text(tmp_path_factory):
    name = make_text_model(tmp_path_factory.mktemp("tiny"))
    return fit(SENTENCES, text=TextModel(name, n_trainable_layers=1))


@pytest.fixture
def text_folder(with_text, tmp_path):
    with_text.save(tmp_path / "a", include_text_model=True)
    return tmp_path / "a"


def weights_of(folder):
    (path,) = Path(folder).glob("weights-*.safetensors")
    return path


def text_of(folder):
    (path,) = Path(folder).glob("text-*")
    return path


def tensors_of(folder):
    from safetensors.torch import load_file

    return {name: value.clone() for name, value in load_file(weights_of(folder)).items()}


def refused(folder, match, names=MANIFEST, seconds=2.0, megabytes=100):
    """The folder is refused by a documented error, fast, in little memory."""
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises((SavedClustererError, OSError), match=match) as caught:
            UMCClusterer.load(folder)
        took, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert names in message, message
    assert str(folder) in message, message
    assert re.search(REMEDIES, message), message
    assert len(message) < 1500
    assert took < seconds
    assert peak < megabytes * 1024**2


def test_unchanged_folder_loads(folder, text_folder=None):
    UMCClusterer.load(folder)


# what is there


def test_no_folder_a_file_and_a_foreign_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*save wrote"):
        UMCClusterer.load(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="file.*save wrote"):
        UMCClusterer.load(tmp_path / "file")
    refused(tmp_path, "no skumc.json.*interrupted")


def test_missing_truncated_and_changed_files(folder):
    path = weights_of(folder)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    refused(folder, "bytes, expected", path.name)
    path.write_bytes(content[:-1] + b"?")
    refused(folder, "checksum", path.name)
    path.unlink()
    refused(folder, "missing", path.name)


def test_every_truncation_of_the_manifest_is_refused(folder):
    content = (folder / MANIFEST).read_bytes()
    for size in [0, 1, 2, *range(3, len(content), len(content) // 23), len(content) - 2]:
        (folder / MANIFEST).write_bytes(content[:size])
        refused(folder, "JSON|checksum")


def test_changed_manifest_is_refused(folder):
    content = (folder / MANIFEST).read_text()
    assert '"n_clusters": 2,' in content
    (folder / MANIFEST).write_text(content.replace('"n_clusters": 2,', '"n_clusters": 3,', 1))
    refused(folder, "checksum")


@pytest.mark.parametrize("content", [
    b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"a": 1, "a": 2}', b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}',
    b'{"a": ' + b"9" * 10_000 + b"}", b'{"a": ' + b"9" * 21 + b"}", b"\xff\xfe{}", b"null", b"[]",
    b'"text"', b"{}", b'{"checksum": 1}', b'{"a": "\\ud800"}', b"{} {}", b"{'a': 1}",
], ids=range(18))  # fmt: skip
def test_hostile_json_is_refused(folder, content):
    (folder / MANIFEST).write_bytes(content)
    refused(folder, "JSON|nested|checksum|describe")


def test_huge_json_is_not_read(folder):
    with open(folder / MANIFEST, "wb") as file:
        file.truncate(20 * 1024**3)  # a sparse file
    refused(folder, "bytes, expected at most", megabytes=1)


@pytest.mark.parametrize(("node", "what"), [
    (b"[],", "lists"), (b'{"a":[]},', "lists"), (b"1,", "values"), (b'"",', "values"),
])  # fmt: skip
def test_json_of_many_values_is_not_parsed(folder, node, what):
    (folder / MANIFEST).write_bytes(b'{"a": [' + node * (15 * 1024**2 // len(node)) + b"0]}")
    refused(folder, f"more than .* {what}", megabytes=20)


def test_what_cannot_be_read_is_not_written(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("skumc.persistence._strict_json._MAX_CONTAINERS", 5)
    with pytest.raises(ValueError, match="Shorten history_"):
        fitted.save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


# files


@pytest.mark.parametrize("name", [
    "../outside", "/etc/passwd", "weights-000000000000.safetensors/../../x", "a.py", "",
    "text-000000000000/../../../x", "text-000000000000/.hidden", "C:\\x", "text-000000000000/a/b",
    "weights-000000000000.safetensors\n", "weights-00000000000g.safetensors", ".", "skumc.json",
])  # fmt: skip
def test_paths_that_climb_out_are_refused(folder, name):
    (folder.parent / "outside").write_bytes(b"secret")

    def change(content):
        content["files"][name] = {"bytes": 6, "sha256": "0" * 64}

    rewrite(folder, change)
    refused(folder, "not the name of a file")


@pytest.mark.parametrize("files", [
    None, [], {}, 1, {"x" * 12: 1}, {"weights-000000000000.safetensors": {}},
    {"weights-000000000000.safetensors": {"bytes": 1}},
    {f"weights-{i:012x}.safetensors": {"bytes": 1, "sha256": ""} for i in range(2000)},
])  # fmt: skip
def test_wrong_lists_of_files_are_refused(folder, files):
    rewrite(folder, lambda content: content.update(files=files))
    refused(folder, "list")


def test_symbolic_links_are_refused(folder, text_folder):
    path = weights_of(folder)
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")
    refused(folder, "symbolic link", path.name)


def test_symbolic_links_to_a_manifest_and_a_folder_are_refused(text_folder):
    text = text_of(text_folder)
    text.rename(text_folder.parent / "elsewhere")
    text.symlink_to(text_folder.parent / "elsewhere")
    refused(text_folder, "symbolic link", text.name)
    (text_folder / MANIFEST).rename(text_folder.parent / "m")
    (text_folder / MANIFEST).symlink_to(text_folder.parent / "m")
    refused(text_folder, "symbolic link")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_folders_in_the_place_of_files_are_refused(folder):
    path = weights_of(folder)
    path.unlink()
    os.mkfifo(path)
    refused(folder, "not a regular file", path.name)
    path.unlink()
    path.mkdir()
    refused(folder, "not a regular file", path.name)
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    refused(folder, "not a regular file")


# weights


class Attack:
    def __reduce__(self):
        return os.system, ("touch " + str(self.path),)


def test_pickles_renamed_to_safetensors_are_refused(folder, tmp_path):
    import io

    attack = Attack()
    attack.path = tmp_path / "executed"
    archive = io.BytesIO()
    torch.save({"encoder/x": attack}, archive)
    for content in (pickle.dumps(attack), archive.getvalue()):
        replace_weights(folder, content)
        refused(folder, "not a safetensors file", "weights-")
    assert not (tmp_path / "executed").exists()


def header(entries, data=b"", size=None):
    written = json.dumps(entries).encode() if not isinstance(entries, bytes) else entries
    return struct.pack("<Q", len(written) if size is None else size) + written + data


@pytest.mark.parametrize("content", [
    b"", b"\0" * 7, header({}, size=2**63), header({}, size=2**40), header(b"[" * 50_000),
    header(b"\xff" * 20),
    header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, b"1234"),
    header({"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 4]}}, b"1234"),
    header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**60]}}, b"1234"),
    header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"),
    header({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    header({"a": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}),
    header({"a": {"dtype": "F32", "shape": [1] * 5000, "data_offsets": [0, 4]}}, b"1234"),
], ids=range(14))  # fmt: skip
def test_hostile_safetensors_are_refused(folder, content):
    replace_weights(folder, content)
    refused(folder, "safetensors|missing|array|weights", names="")


def test_weights_that_do_not_fit_are_refused(folder):
    tensors = tensors_of(folder)
    name = next(n for n in tensors if n.startswith("encoder/") and tensors[n].ndim == 2)
    changes = {
        "shape": tensors | {name: tensors[name][:1].clone()},
        "float64": tensors | {name: tensors[name].double()},
        "it has no": tensors | {"encoder/more": torch.ones(2)},
        "they have no": {n: t for n, t in tensors.items() if n != name},
        "finite": tensors | {name: tensors[name] * np.nan},
        "array 'centers' is missing": {n: t for n, t in tensors.items() if n != "centers"},
        "cluster_centers_": tensors | {"centers": tensors["centers"] * np.inf},
        "labels_ ": tensors | {"labels": tensors["labels"] + 1},
        "labels_": tensors | {"labels": tensors["labels"].float()},
        "high_quality": tensors | {"selected": tensors["selected"][1:].clone()},
        "embedding_": tensors | {"embedding": torch.ones(3, 3)},
        "statistics": tensors | {"statistics/0/mean": torch.ones(4)},
        "statistics ": tensors | {"statistics/0/scale": torch.full((5,), np.nan)},
    }
    for match, changed in changes.items():
        replace_weights(folder, save(changed))
        refused(folder, match.strip())


# values of the manifest

HUGE = 10**18


@pytest.mark.parametrize(("path", "value"), [
    (("encoder", "specification", "parameters", "hidden_width"), HUGE),
    (("encoder", "specification", "parameters", "hidden_width"), 16),
    (("encoder", "specification", "parameters", "n_self_attention_layers"), HUGE),
    (("encoder", "specification", "parameters", "n_heads"), -1),
    (("encoder", "specification", "parameters", "hidden_width"), "8"),
    (("encoder", "specification", "parameters", "hidden_width"), [8]),
    (("encoder", "specification", "name"), "os.system"),
    (("encoder", "specification", "name"), ["UMCEncoder"]),
    (("encoder", "specification", "name"), "KMeans"),
    (("encoder", "specification", "parameters", "command"), "true"),
    (("encoder", "specification"), None), (("encoder", "specification"), []),
    (("encoder", "specification"), {"$": "own", "path": "x"}),
    (("encoder", "specification"), {"$": "own", "path": ["x"]}),
    (("encoder", "specification"), {"$": "eval", "code": "1"}),
    (("encoder", "specification"), {"$": ["object"]}),
    (("encoder", "statistics"), []), (("encoder", "statistics"), [{}]), (("encoder",), None),
    (("encoder", "statistics", 0, "longest"), "x"), (("encoder", "statistics", 0, "name"), "other"),
    (("encoder", "statistics", 0, "name"), []), (("encoder", "anchor"), "other"),
    (("parameters", "n_clusters"), -1), (("parameters", "n_clusters"), "2"),
    (("parameters", "os"), 1), (("parameters",), []), (("parameters", "precision"), "float8"),
    (("parameters", "verbose"), {}), (("own",), {"encoder": 1}), (("own",), None),
    (("parts",), {}), (("parts", "kmeans"), {"$": "array", "tensor": "no"}),
    (("parts", "threshold", "attributes"), {"update": 1}),
    (("parts", "threshold", "attributes"), {"__class__": 1}),
    (("parts", "threshold", "attributes"), {"__dict__": {}}),
    (("parts", "losses", "parameters", "supcon"),
     {"$": "object", "name": "UMCClusterer", "parameters": {}}),
    (("fitted",), {}), (("fitted", "anchor_"), "other"), (("fitted", "anchor_"), []),
    (("fitted", "modality_widths_"), {}), (("fitted", "modality_widths_"), {"text": "5"}),
    (("fitted", "n_features_in_"), 0), (("fitted", "feature_names"), ["a"]),
    (("fitted", "feature_names"), [1, 2, 3]), (("fitted", "unseen"), ["x"]),
    (("fitted", "unseen"), [[]]), (("fitted", "history_"), [1]), (("fitted", "agreement_"), "1"),
    (("fitted", "layout"), {"names": 1, "blocks": {"text": [HUGE]}}),
    (("fitted", "layout"), {"names": None, "blocks": {"text": [0], "audio": [-1], "video": [1]}}),
    (("fitted", "output"), "os"), (("fitted", "n_iter_"), None),
    (("fitted", "history_"), {"$": "RandomState", "tensor": "centers", "numbers": [0, 0, 0]}),
    (("text",), None), (("text", "modalities"), {"text": {}}), (("text", "parameters"), {"os": 1}),
    (("text", "name"), 5), (("text", "modalities"), {"text": {"layer": HUGE, "max_length": 1}}),
])  # fmt: skip
def test_wrong_values_are_refused(folder, path, value):
    def change(content):
        node = content
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    rewrite(folder, change)
    refused(folder, ".")


def test_wide_centers_do_not_make_load_build_a_wide_network(folder):
    width = 200_000  # 160 GB for each square matrix of this width
    centers = torch.ones(2, width)
    replace_weights(folder, save(tensors_of(folder) | {"centers": centers}))

    def change(content):
        content["encoder"]["specification"]["parameters"]["hidden_width"] = width

    rewrite(folder, change)
    refused(folder, "weights are not those of the encoder", seconds=60, megabytes=500)


def test_deep_values_are_refused(folder):
    def change(content):
        deep = 1
        for _ in range(100):
            deep = {"$": "tuple", "items": [deep]}
        content["parameters"]["modalities"] = deep

    rewrite(folder, change)
    refused(folder, "nested")


def test_unknown_parameter_of_a_newer_version_is_named(folder):
    def change(content):
        content["parts"]["kmeans"]["parameters"]["n_threads"] = 3

    rewrite(folder, change)
    refused(folder, "KMeans has no parameter 'n_threads' in the installed version")


def paths_of(node, above=()):
    yield above
    pairs = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in pairs:
        yield from paths_of(value, (*above, key))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["object", "own", "tuple", "array", "UMCEncoder", "encoder", "centers"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["$", "name", "path", "tensor", "items", "parameters"]), inner, max_size=3
    ),
    max_leaves=6,
)  # fmt: skip


@given(data=st.data())
def test_any_change_of_one_value_loads_or_is_refused(tmp_path_factory, fitted, data):
    folder = tmp_path_factory.mktemp("changed") / "a"
    fitted.save(folder)
    places = [p for p in paths_of(manifest_of(folder)) if p and p != ("checksum",)]
    place, value = data.draw(st.sampled_from(places)), data.draw(VALUES)

    def change(content):
        node = content
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = value

    rewrite(folder, change)
    try:
        UMCClusterer.load(folder)
    except (SavedClustererError, OSError):
        pass


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False)
    | st.text(max_size=8) | st.builds(slice, st.integers(0, 9), st.integers(0, 9))
    | st.builds(range, st.integers(0, 9)),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_come_back_equal(value):
    writer = Writer()
    written = json.loads(json.dumps(writer.write(value, "x"), allow_nan=False))
    assert Reader(writer.tensors, {}).read(written) == value
    assert not writer.own


# text


@pytest.mark.parametrize(
    "name", ["model.py", "pytorch_model.bin", "adapter_config.json", "x.jinja"]
)
def test_unlisted_and_unknown_files_beside_a_text_model_are_refused(text_folder, name):
    path = text_of(text_folder) / name
    path.write_bytes(b"{}")
    refused(text_folder, "not listed", name)

    def change(content):
        facts = {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
        content["files"][f"{path.parent.name}/{name}"] = facts

    rewrite(text_folder, change)
    refused(text_folder, "not a file of a tokenizer", name)


@pytest.mark.parametrize(("file", "entries", "match"), [
    ("config.json", {"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
    ("config.json", {"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization"),
    ("config.json", {"_attn_implementation": "kernels-community/evil"}, "attn_implementation"),
    ("config.json", {"nested": [{"auto_map": 1}]}, "auto_map"),
    ("config.json", {"num_hidden_layers": 10**12}, "num_hidden_layers"),
    ("config.json", {"hidden_size": 10**6, "vocab_size": 10**9}, "larger than its weights"),
    ("config.json", {"model_type": "os"}, "cannot be loaded"),
    ("config.json", {"model_type": None}, "cannot be loaded"),
    ("config.json", {"vocab_size": 3}, "cannot be loaded"),
    ("config.json", {"num_attention_heads": "x"}, "cannot be loaded"),
    ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.T", None]}}, "auto_map"),
    ("tokenizer.json", {"model": {"type": "WordLevel", "vocab": {}}}, "cannot be loaded|token ids"),
    ("tokenizer.json", {"version": "9"}, "cannot be loaded"),
])  # fmt: skip
def test_hostile_text_models_are_refused(text_folder, file, entries, match):
    path = text_of(text_folder) / file
    content = json.dumps(json.loads(path.read_text()) | entries).encode()
    path.write_bytes(content)

    def change(manifest):
        facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest["files"][f"{path.parent.name}/{file}"] = facts

    rewrite(text_folder, change)
    refused(text_folder, match, "", seconds=5)


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    folder = Path(make_text_model(tmp_path / "model"))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="trust_remote_code|could not be loaded"):
        fit(SENTENCES, text=str(folder))
    assert not (tmp_path / "executed").exists()
