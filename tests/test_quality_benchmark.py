"""The quality benchmark: its features, its CSV and table, and its quick variant."""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import HDBSCAN

from skumc.text import TextModel

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "quality.py"


def _import_script():
    spec = importlib.util.spec_from_file_location("quality", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path  # the script adds its own folder and examples/
    return module


quality = _import_script()
baselines = sys.modules["_quality_baselines"]
report, data_sets, methods = quality.report, quality.data_sets, quality.methods

RUN = {"data": "d", "method": "m", "protocol": "predict", "code": "c", "parameters": "p"}


def make_run(seed, scores, **changes):
    values = dict(zip(report.METRICS, scores, strict=True))
    return RUN | values | {"seed": seed, "mean": sum(scores) / 4, "seconds": 2.0} | changes


def write_csv(path, runs):
    with open(path, "w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, report.COLUMNS)
        writer.writeheader()
        writer.writerows(runs)


# the quick variant


def run(folder, *arguments):
    return quality.main(["--quick", "--out", str(folder), *arguments])


@pytest.mark.slow
def test_quick_variant_prints_all_protocols_and_writes_csv_and_plot(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(methods, "QUICK_EPOCHS", {"pretrain_epochs": 1, "max_epochs": 1})
    assert run(tmp_path) == 0
    table = capsys.readouterr().out.split("percent, mean")[1]
    assert "umc (1 + 1 epochs)" in table and "failed" not in table
    runs = report.read_runs(tmp_path / "quality.csv")
    for method, protocols in {
        "umc (1 + 1 epochs)": set(methods.PROTOCOLS),
        "kmeans blocks": set(methods.PROTOCOLS),
        "ward blocks": {"transductive"},
    }.items():
        assert {run["protocol"] for run in runs if run["method"] == method} == protocols
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")


def test_stopped_run_continues_with_what_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "quality.csv"
    arguments = ("--methods", "kmeans blocks", "ward*", "--seeds", "2")
    run(tmp_path, *arguments)
    whole = path.read_bytes()
    complete = [line + b"\r\n" for line in whole.split(b"\r\n")][:-1]
    path.write_bytes(b"".join(complete[:3]) + complete[3][:25])  # interrupted within a line
    fits = []
    build = quality.run_protocols
    monkeypatch.setattr(
        quality,
        "run_protocols",
        lambda method, data, seed, protocols: (
            fits.append((method.name, seed, tuple(protocols)))
            or build(method, data, seed, protocols)
        ),
    )
    run(tmp_path, *arguments)
    assert fits[0] == ("kmeans blocks", 0, ("transductive",))
    assert ("kmeans blocks", 1, methods.PROTOCOLS) in fits

    def key_and_mean(runs):
        return sorted((*[run[name] for name in report.KEY], run["mean"]) for run in runs)

    again = key_and_mean(report.read_runs(path))
    (tmp_path / "whole.csv").write_bytes(whole)
    assert again == key_and_mean(report.read_runs(tmp_path / "whole.csv"))
    fits.clear()
    run(tmp_path, *arguments)
    assert fits == []


def test_line_cut_within_quotes_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "some.csv"
    runs = [make_run(seed, (1.0, 2.0, 3.0, 4.0), method="a, b") for seed in range(2)]
    report.append_run(path, runs[0])
    whole = path.read_bytes()
    path.write_bytes(whole + b'd,"a, ')
    report.append_run(path, runs[1])
    assert [run["seed"] for run in report.read_runs(path)] == [0, 1]
    path.write_bytes(b"")
    assert report.read_runs(path) == []


def test_other_parameters_or_code_run_again(tmp_path):
    data = data_sets.load("digits")
    method = next(m for m in methods.baselines(data) if m.name == "ward blocks")
    path = tmp_path / "quality.csv"
    for changed in ({}, {}, {"parameters": "others"}, {"code": "skumc 9"}):
        quality.run_missing(
            methods.Method(**(vars(method) | changed)), data, 0, methods.PROTOCOLS, path
        )
    assert len(report.read_runs(path)) == 3


def test_one_fit_serves_predict_and_refit():
    data, fits = data_sets.load("digits"), []
    method = next(m for m in methods.baselines(data) if m.name == "kmeans blocks")

    def build(data, seed):
        fits.append(seed)
        return method.build(data, seed)

    counted = methods.Method(**(vars(method) | {"build": build}))
    labels = {
        p: found for p, found, _ in quality.run_protocols(counted, data, 3, methods.PROTOCOLS)
    }
    assert fits == [3, 3]
    assert all(len(found) == len(data.test) for found in labels.values())
    assert not np.array_equal(labels["predict"], labels["refit"])


def test_a_failing_method_is_reported_and_the_others_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods, "_ward", lambda n_clusters, seed: None)
    assert run(tmp_path, "--methods", "ward blocks", "kmeans blocks") == 1
    assert "failed digits: ward blocks, seed 0" in capsys.readouterr().out
    assert {run["method"] for run in report.read_runs(tmp_path / "quality.csv")} == {
        "kmeans blocks"
    }


# the table


def test_table_of_a_finished_csv(tmp_path, capsys):
    runs = [
        make_run(0, (10.0, 20.0, 30.0, 40.0)),
        make_run(1, (20.0, 20.0, 40.0, 60.0)),
        make_run(2, (30.0, 20.0, 50.0, 20.0)),
        make_run(0, (50.0, 60.0, 70.0, 80.0), method="umc"),
    ]
    write_csv(tmp_path / "some.csv", runs)
    assert quality.main(["--table", str(tmp_path / "some.csv")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("d ")]
    cells = "umc predict 50.0 ± 0.0 60.0 ± 0.0 70.0 ± 0.0 80.0 ± 0.0 65.0 ± 0.0 65.0 2.0 1"
    assert lines[0][1:] == cells.split()
    # means 25, 35, 30 of the four, so 30 ± sqrt(50 / 3)
    cells = "m predict 20.0 ± 8.2 20.0 ± 0.0 40.0 ± 8.2 40.0 ± 16.3 30.0 ± 4.1 25.0 2.0 3"
    assert lines[1][1:] == cells.split()
    assert (tmp_path / "quality.png").exists()


def test_markdown_has_the_protocols_side_by_side(tmp_path, capsys):
    runs = [
        make_run(0, (10.0,) * 4, method="umc"),
        make_run(0, (30.0,) * 4, method="umc", protocol="transductive"),
        make_run(0, (20.0,) * 4),
    ]
    write_csv(tmp_path / "some.csv", runs)
    quality.main(["--table", str(tmp_path / "some.csv"), "--markdown", "short"])
    text = (tmp_path / "quality.md").read_text(encoding="utf8")
    assert text in capsys.readouterr().out
    assert text.splitlines()[2:] == [
        "| d | m | 20.0 ± 0.0 | 20.0 |  |  |  |  |",
        "| d | **umc** | 10.0 ± 0.0 | 10.0 |  |  | 30.0 ± 0.0 | 30.0 |",
    ]


def test_ablations_are_compared_over_common_seeds_and_in_order(tmp_path, capsys):
    encoder = "ablation: umc encoder"
    runs = [
        make_run(0, (10.0,) * 4, method="umc"),
        make_run(1, (30.0,) * 4, method="umc"),
        make_run(0, (20.0,) * 4, method="umc", data="e"),
        make_run(1, (31.0,) * 4, method="ablation: better"),
        make_run(0, (23.0,) * 4, method="ablation: better", data="e"),
        make_run(0, (9.0,) * 4, method="ablation: worse"),
        make_run(1, (27.0,) * 4, method="ablation: worse"),
        make_run(0, (14.0,) * 4, method=encoder),
        make_run(0, (11.0,) * 4, method="ablation: umc encoder, less"),
        make_run(0, (99.0,) * 4, method="kmeans"),
        make_run(0, (99.0,) * 4, method="umc", protocol="refit"),
    ]
    write_csv(tmp_path / "some.csv", runs)
    quality.main(["--table", str(tmp_path / "some.csv"), "--ablations"])
    text = (tmp_path / "ablations.rst").read_text(encoding="utf8")
    assert text in capsys.readouterr().out
    rows = [
        [cell.strip() for cell in row.split(".. list")[0].split("\n     -")]
        for row in text.split("* - ")[1:]
    ]
    assert rows == [
        ["changed", "d", "e", "difference"],
        ["worse", "18.0 (2)", "", "-2.0"],
        ["**the defaults**", "20.0 (2)", "20.0 (1)", ""],
        ["better", "31.0 (1)", "23.0 (1)", "+2.0"],  # +1 with seed 1 on d, +3 on e
        ["umc encoder", "14.0 (1)", "", "+4.0"],
        ["changed", "d", "difference"],
        ["umc encoder, less", "11.0 (1)", "-3.0"],
        ["**umc encoder**", "14.0 (1)", ""],
    ]


def test_only_the_last_version_of_a_method_counts():
    runs = [make_run(seed, (10.0,) * 4) for seed in range(3)]
    runs += [make_run(0, (50.0,) * 4, code="newer")]
    (row,) = report.summarize(runs)
    assert row["seeds"] == 1 and row["mean"] == (50.0, 0.0) and row["code"] == "newer"


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("acl2024 (20 + 18 epochs)", "acl2024", True),
        ("acl2024 (20 + 18 epochs)", "acl2024 (20*", True),
        ("ablation: no supcon", "ablation: *", True),
        ("ablation: umc encoder", "umc", False),
        ("kmeans text", "kmeans", False),
    ],
)
def test_names_are_chosen_by_pattern(name, pattern, fits):
    assert quality.matches(name, [pattern]) is fits


# methods


@pytest.mark.slow
def test_every_ablation_is_accepted_by_the_clusterer():
    rng = np.random.default_rng(0)
    X = data_sets.MultimodalData({"a": rng.normal(size=(30, 3)), "b": rng.normal(size=(30, 2, 4))})
    data = data_sets.DataSet("made", X, np.arange(30) % 3, np.arange(20), np.arange(20, 30))
    rows = list(methods.ours(data, quick=True))
    assert len(rows) == 3 + len(methods.ABLATIONS) - len(methods.NEED_TEXT)
    for method in rows:
        found = dict(
            (p, labels) for p, labels, _ in quality.run_protocols(method, data, 0, ["predict"])
        )
        assert len(found["predict"]) == 10, method.name


def test_rows_of_ablations_fit_the_modalities():
    X = data_sets.MultimodalData({"text": ["good morning", "thank you", "good night"]})
    data = data_sets.DataSet("made", X, np.arange(3), np.arange(2), np.arange(2, 3))
    names = {method.name.removeprefix("ablation: ") for method in methods.ours(data)}
    assert names >= methods.NEED_TEXT
    assert not names & methods.NEED_SEVERAL_MODALITIES


def test_presets_say_how_many_epochs_they_were_cut_to():
    data = data_sets.load("digits")
    names = {method.name for method in methods.ours(data, preset_epochs=20)}
    assert {"umc", "acl2024 (20 + 18 epochs)", "source (20 + 20 epochs)"} <= names
    names = {method.name for method in methods.ours(data)}
    assert {"umc", "acl2024", "source"} <= names


def test_block_scaling_divides_each_standardized_block_by_the_root_of_its_width():
    rng = np.random.default_rng(0)
    X = {"wide": rng.normal(5, 3, (50, 16)), "narrow": rng.normal(-1, 9, (50, 4))}
    new = {"wide": rng.normal(5, 3, (7, 16)), "narrow": rng.normal(-1, 9, (7, 4))}
    blocks = baselines.Blocks(scale=True).fit(X).transform(new)
    expected = [
        (new[name] - X[name].mean(axis=0)) / X[name].std(axis=0) / root
        for name, root in {"wide": 4, "narrow": 2}.items()
    ]
    np.testing.assert_allclose(blocks, np.hstack(expected))


def test_blocks_have_equal_total_variance_also_with_a_middle_layer():
    rng = np.random.default_rng(0)
    X = {"text middle layer": rng.normal(2, 7, (90, 80)), "audio": rng.normal(0, 9, (90, 4))}
    blocks = baselines.Blocks(scale=True).fit_transform(X)
    assert blocks.shape == (90, baselines.MIDDLE_LAYER_WIDTH + 4)
    np.testing.assert_allclose(blocks[:, :-4].var(axis=0).sum(), 1)
    np.testing.assert_allclose(blocks[:, -4:].var(axis=0).sum(), 1)


def test_averaged_views_of_different_width_come_to_the_narrowest():
    rng = np.random.default_rng(0)
    X = {"wide": rng.normal(5, 3, (50, 16)), "narrow": rng.normal(-1, 9, (50, 4))}
    average = baselines.Average().fit_transform(X)
    assert average.shape == (50, 4)
    assert (np.linalg.norm(average, axis=1) <= 1 + 1e-9).all()  # a mean of two unit vectors


def test_noise_of_hdbscan_goes_to_the_nearest_centroid():
    rng = np.random.default_rng(0)
    centers = np.repeat([[0.0, 0.0], [10.0, 0.0]], 40, axis=0)
    X = np.vstack([centers + rng.normal(0, 0.3, centers.shape), [[1.0, 30.0], [9.0, -40.0]]])
    raw = HDBSCAN(baselines.MIN_CLUSTER_SIZE, copy=True).fit_predict(X)
    assert (raw[-2:] == -1).all() and raw.max() == 1
    fitted = baselines.CentroidHDBSCAN().fit(X)
    assert set(fitted.labels_) == {0, 1}
    clustered = raw >= 0
    np.testing.assert_array_equal(fitted.labels_[clustered], raw[clustered])
    assert fitted.labels_[-2] == raw[0] and fitted.labels_[-1] == raw[40]
    centroid = X[raw == raw[0]].mean(axis=0)  # without the noise
    np.testing.assert_allclose(fitted.centroids_[raw[0]], centroid)
    assert fitted.predict([[9.0, 1.0]]) == raw[40]


def test_nothing_but_noise_is_one_cluster():
    X = np.random.default_rng(0).uniform(size=(12, 2))
    fitted = baselines.CentroidHDBSCAN().fit(X)
    assert set(fitted.labels_) == {0} and set(fitted.predict(X + 1)) == {0}


@pytest.mark.parametrize("n_frames", [1, 3, 8, 12, 100])
def test_segments_are_ordered_means(n_frames):
    frames = np.random.default_rng(0).normal(size=(n_frames, 2))
    segments = data_sets.segment_means([frames]).reshape(8, 2)
    for number, segment in enumerate(segments):
        rows = [row for row in range(n_frames) if row * 8 // n_frames == number]
        start, stop = number * n_frames // 8, (number + 1) * n_frames // 8
        rows = range(start, max(stop, start + 1))
        np.testing.assert_allclose(segment, np.mean([frames[row] for row in rows], axis=0))


def test_an_image_of_eight_rows_gives_its_pixels():
    data = data_sets.load("digits")
    assert data.plain_names == ("pixels", "rows", "fourier")
    assert data.stronger_names == ("pixels", "rows segments", "fourier")
    np.testing.assert_allclose(data.view("rows segments"), data.view("pixels"))


LOADER = """
import numpy as np

def load(name):
    made = {"modalities": ["text", "audio"]}
    for part, n in {"train": 12, "test": 6}.items():
        text = [f"{name} {i % 3}" for i in range(n)]
        audio = [np.full((2 + i, 3), i % 3.0) for i in range(n)]
        made[part] = {"text": text, "audio": audio, "y": np.arange(n) % 3}
    return made
"""


def test_folder_is_read_by_its_own_loader(tmp_path):
    (tmp_path / "loader.py").write_text(LOADER, encoding="utf8")
    data = data_sets.load("uci_digits", tmp_path, "model")
    assert data.n_clusters == 3 and data.holds_text
    assert data.X.names == ("text", "audio") and len(data.X) == 18
    assert data.train.tolist() == list(range(12)) and data.test.tolist() == list(range(12, 18))
    assert data.stronger_names == ("text middle layer", "audio segments")
    np.testing.assert_allclose(data.view("audio")[12:, 0], np.arange(6) % 3)
    umc = next(methods.ours(data)).build(data, 0)
    expected = methods.UMCClusterer(3, text=TextModel("model"), random_state=0)
    assert repr(umc) == repr(expected)


@pytest.mark.slow
def test_defaults_are_ahead_of_every_kmeans_on_digits(tmp_path):
    arguments = ["--data-sets", "digits", "--methods", "umc", "kmeans*", "--protocols", "predict"]
    assert quality.main([*arguments, "--seeds", "3", "--out", str(tmp_path)]) == 0
    runs = report.read_runs(tmp_path / "quality.csv")
    ours = [run["mean"] for run in runs if run["method"] == "umc"]
    kmeans = {
        row["method"]: row["mean"][0]
        for row in report.summarize(runs)
        if row["method"].startswith("kmeans")
    }
    # three views and the segments of one, scaled and not; joined, in blocks, each also stronger
    assert len(ours) == 3 and len(kmeans) == 4 * 2 + 2 * 2
    assert min(ours) > max(kmeans.values()), (ours, kmeans)
