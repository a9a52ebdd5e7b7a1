"""The report: its facts against loops and formulas, hostile text, and the page in a browser."""

import html
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN, KMeans
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_makers import make_sequences
from skumc import MultimodalData, UMCClusterer
from skumc.report import ClusterReport, cluster_report, distinctive_words, title_from_words
from skumc.report._clustered_samples import measure_doubt, read_clustering
from skumc.report._effects import (
    OTHER_LEVEL,
    column_effect,
    cramers_v,
    read_column,
    standardized_mean_difference,
)
from skumc.report._markup import escaped
from skumc.report._media import MediaReader, media_type, png
from skumc.report._raw import read_raw

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=\"alert('2')\">&amp;\x00\ud800"


def make_kmeans(n_samples=60, n_clusters=3, seed=0):
    """Blobs on a line, and k-means that starts at their centers."""
    rng = np.random.default_rng(seed)
    centers = 10.0 * np.arange(n_clusters)[:, None] * np.ones(2)
    X = centers[np.arange(n_samples) % n_clusters] + rng.normal(0, 2, (n_samples, 2))
    return KMeans(n_clusters, init=centers, n_init=1).fit(X), X


@pytest.fixture(scope="module")
def fitted():
    X, _ = make_sequences(24, 2)
    clusterer = UMCClusterer(2, pretrain_epochs=1, max_epochs=1, random_state=0).fit(X)
    return clusterer, X


class Page(HTMLParser):
    """Tags with their attributes, and the text outside style and script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self._inside = [], "", None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += data


# facts


def test_sizes_doubt_and_examples_are_those_of_a_loop():
    kmeans, X = make_kmeans()
    report = cluster_report(kmeans, X, n_examples=4)
    centers, labels = kmeans.cluster_centers_, kmeans.predict(X)
    doubts = []
    for row, label in zip(X, labels, strict=True):
        distances = [math.dist(row, center) for center in centers]
        others = [d for k, d in enumerate(distances) if k != label]
        doubts.append(distances[label] / min(others))
    assert np.allclose(report.doubt, doubts)
    for k, summary in enumerate(report.clusters):
        rows = [i for i in range(60) if labels[i] == k]
        assert summary.size == len(rows) and summary.share == len(rows) / 60
        assert math.isclose(summary.mean_doubt, sum(doubts[i] for i in rows) / len(rows))
        nearest = sorted(rows, key=lambda i: math.dist(X[i], centers[k]))
        assert [sample.row for sample in summary.central] == nearest[:4]
        most = sorted(rows, key=lambda i: -doubts[i])
        assert [sample.row for sample in summary.doubtful] == most[:4]
        gaps = {j: math.dist(centers[k], centers[j]) for j in range(3) if j != k}
        assert summary.nearest == min(gaps, key=gaps.get)
        assert math.isclose(summary.nearest_distance, min(gaps.values()))
        for sample in summary.doubtful:
            to_other = {j: math.dist(X[sample.row], centers[j]) for j in range(3) if j != k}
            assert sample.other == min(to_other, key=to_other.get)


def test_gates_are_means_of_modality_weights(fitted):
    clusterer, X = fitted
    report = cluster_report(clusterer, X)
    weights, labels = clusterer.modality_weights(X), clusterer.predict(X)
    assert np.array_equal(report.labels, labels)
    for summary in report.clusters:
        expected = weights[labels == summary.cluster].mean(axis=0)
        assert list(summary.gates) == ["text", "audio", "video"]
        assert np.allclose(list(summary.gates.values()), expected)
    assert "Mean gate" in report.to_html()


def test_samples_without_any_modality_have_no_cluster(fitted):
    clusterer, X = fitted
    cells = {name: [*X.sequences(name)[:6], None] for name in X.names}
    report = cluster_report(clusterer, MultimodalData(cells))
    assert report.labels[-1] == -1 and np.isnan(report.doubt[-1]) and report.n_unassigned == 1
    assert sum(summary.size for summary in report.clusters) == 6
    nothing = MultimodalData({name: [None, None] for name in X.names})
    with pytest.raises(ValueError, match="No sample of X has any modality"):
        cluster_report(clusterer, nothing)


def test_own_labels_leave_out_samples_and_may_leave_clusters_empty():
    kmeans, X = make_kmeans()
    labels = kmeans.predict(X)
    labels[labels == 1] = -1
    labels[np.flatnonzero(labels == 2)[1:]] = 0
    report = cluster_report(kmeans, X, labels=labels, columns={"x": X[:, 0]})
    first, empty, single = report.clusters
    assert (first.size, empty.size, single.size) == ((labels == 0).sum(), 0, 1)
    assert report.n_unassigned == (labels == -1).sum()
    assert np.isnan(empty.mean_doubt) and not empty.central and math.isnan(empty.columns[0].value)
    assert [sample.row for sample in single.central] == list(np.flatnonzero(labels == 2))
    page = report.to_html()
    assert "; empty" in page and "without a cluster" in page
    assert report.to_frame().loc[1, "size"] == 0


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0], "expected 60 whole numbers"),
        ([0.5] * 60, "expected 60 whole numbers"),
        ([3] * 60, "clusters 0 to 2"),
        ([-2] * 60, "clusters 0 to 2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        cluster_report(*make_kmeans(), labels=labels)


def test_a_single_cluster_has_no_doubt_and_no_neighbor():
    X = np.arange(6.0)[:, None]
    report = cluster_report(KMeans(1, n_init=1).fit(X), X, columns={"x": X[:, 0]})
    (summary,) = report.clusters
    assert summary.nearest is None and math.isnan(summary.nearest_distance)
    assert report.doubt.tolist() == [0.0] * 6 and summary.central[0].other is None
    assert math.isnan(summary.columns[0].value)  # there is nothing outside
    assert "nearest none" not in report.to_html()


def test_equal_centers_are_full_doubt():
    X = np.zeros((4, 1))
    kmeans = KMeans(2, init=[[0.0], [1.0]], n_init=1)
    kmeans.fit([[0.0], [1.0]])
    kmeans.cluster_centers_ = np.zeros((2, 1))
    found = read_clustering(kmeans, X, labels=[0, 0, 1, 1])
    assert measure_doubt(found).doubt.tolist() == [1.0] * 4


def test_pipeline_and_index_are_read():
    kmeans, X = make_kmeans()
    frame = pd.DataFrame(X, columns=["a", "b"], index=[f"name {i}" for i in range(60)])
    pipeline = make_pipeline(StandardScaler(), KMeans(3, n_init=1, random_state=0)).fit(frame)
    report = cluster_report(pipeline, frame)
    for summary in report.clusters:
        assert all(s.label == f"name {s.row}" for s in summary.central + summary.doubtful)
    assert np.array_equal(report.labels, pipeline.predict(frame))
    with pytest.raises(TypeError, match="cluster_centers_"):
        cluster_report(DBSCAN().fit(X), X)


def test_arguments_are_not_changed():
    kmeans, X = make_kmeans()
    labels, number = kmeans.predict(X).astype(np.int64), X[:, 0].copy()
    kind = np.array(["a", "b"] * 30, dtype=object)
    arrays = [X, labels, number, kind]
    for array in arrays:
        array.setflags(write=False)
    before = [array.copy() for array in arrays]
    text = [f"word{i % 3}" for i in range(60)]
    report = cluster_report(kmeans, X, text, {"number": number, "kind": kind}, labels=labels)
    report.to_html()
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


def test_samples_that_look_the_same_are_shown_once():
    kmeans, X = make_kmeans()
    report = cluster_report(kmeans, X, raw=["same"] * 60)
    assert all(len(summary.central) == 1 for summary in report.clusters)


# words


@given(st.integers(0, 2**31))
def test_words_are_those_of_the_formula(seed):
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(["aa", "bb", "cc", "dd", "ee"], 3)) for _ in range(30)]
    texts[4] = None
    labels = rng.integers(-1, 3, 30)
    found = distinctive_words(texts, labels, 4)
    of = {c: [t for t, k in zip(texts, labels, strict=True) if k == c and t] for c in range(4)}
    tokens = {c: " ".join(of[c]) for c in range(4)}
    counts = {c: {w: tokens[c].split().count(w) for w in set(tokens[c].split())} for c in range(4)}
    total = {}
    for cluster in counts.values():
        for word, count in cluster.items():
            total[word] = total.get(word, 0) + count
    mean_length = sum(total.values()) / 4

    def share(word, rows):
        return sum(word in texts[i].split() for i in rows) / max(len(rows), 1)

    for c in range(4):
        inside = [i for i in range(30) if labels[i] == c and texts[i]]
        outside = [i for i in range(30) if labels[i] != c and texts[i]]
        expected = {}
        for word, count in counts[c].items():
            both = share(word, inside), share(word, outside)
            if both[0] >= 2 * both[1] and round(both[0] * len(inside)) >= min(2, len(inside)):
                length = sum(counts[c].values())
                score = count / length * math.log(1 + mean_length / total[word])
                expected[word] = (score, *both)
        assert {w.word: pytest.approx((w.score, w.inside, w.outside)) for w in found[c]} == expected
        scores = [word.score for word in found[c]]
        assert scores == sorted(scores, reverse=True)


def test_a_word_of_one_sample_is_listed_in_a_cluster_of_one_only():
    texts = ["rain once", "rain", "soup", "song alone"]
    words = distinctive_words(texts, np.array([0, 0, 1, 2]), 3)
    assert [sorted(word.word for word in cluster) for cluster in words] == [
        ["rain"],
        ["soup"],
        ["alone", "song"],
    ]


def test_words_may_be_split_by_another_vectorizer():
    vectorizer = CountVectorizer(stop_words=["rain"], ngram_range=(2, 2))
    kmeans, X = make_kmeans(6, 2)
    texts = ["rain cold wind", "hot soup bread"] * 3
    report = cluster_report(kmeans, X, texts, vectorizer=vectorizer)
    words = {word.word for summary in report.clusters for word in summary.words}
    assert words == {"cold wind", "hot soup", "soup bread"}
    assert not hasattr(vectorizer, "vocabulary_")  # a copy was fitted


@pytest.mark.parametrize("texts", [["", "  "] * 3, [None] * 6, ["!", "?"] * 3])
def test_texts_without_words_have_none(texts):
    kmeans, X = make_kmeans(6, 2)
    report = cluster_report(kmeans, X, texts)
    assert all(not summary.words and summary.title == "" for summary in report.clusters)
    assert "Cluster 1" in report.to_html()


def test_texts_are_found_in_x_itself(fitted):
    texts = ["rain", "soup"] * 3
    for X in (
        MultimodalData({"text": texts, "n": np.arange(6.0)}),
        pd.DataFrame({"text": texts, "n": np.arange(6.0)}),
        pl.DataFrame({"text": texts, "n": np.arange(6.0)}),
        [{"text": text, "n": [0.5]} for text in texts],
        {"text": texts, "n": np.arange(6.0)},
        texts,
        np.array(texts),
        pd.Series(texts, name="text"),
    ):
        assert read_raw(None, X, 6).texts == {"text": texts}
    assert read_raw(None, np.zeros((6, 2)), 6) == ({}, {})
    assert read_raw(None, fitted[1], len(fitted[1])) == ({}, {})


def test_raw_that_does_not_fit_is_refused():
    kmeans, X = make_kmeans()
    with pytest.raises(ValueError, match="59 rows in column 'text', expected 60"):
        cluster_report(kmeans, X, ["a"] * 59)
    frame = pd.DataFrame(X)
    kmeans.fit(frame)
    shuffled = pd.DataFrame({"text": ["a"] * 60}, index=range(59, -1, -1))
    with pytest.raises(ValueError, match=r"raw\.loc\[X\.index\]"):
        cluster_report(kmeans, frame, shuffled)
    with pytest.raises(ValueError, match=r"columns\.loc\[X\.index\]"):
        cluster_report(kmeans, frame, columns=shuffled)


# titles


def test_a_namer_gets_words_and_texts_and_its_errors_name_the_cluster():
    kmeans, X = make_kmeans(60, 3)
    texts = [f"{['rain', 'soup', 'song'][i % 3]} number{i}" for i in range(60)]
    calls = []

    def namer(words, examples):
        calls.append((words, examples))
        if words[0] == "soup":
            raise RuntimeError("no answer")
        return 7 if words[0] == "song" else words[0].upper()

    with pytest.warns(RuntimeWarning, match="failed on cluster") as caught:
        report = cluster_report(kmeans, X, texts, namer=namer)
    assert ["cluster 1" in str(w.message) or "cluster 2" in str(w.message) for w in caught]
    assert len(caught) == 2 and {w.filename for w in caught} == {__file__}
    first, second, third = report.clusters
    assert (first.title, second.title, third.title) == ("RAIN", "soup", "song")
    assert first.naming_error is None and second.naming_error == "RuntimeError: no answer"
    assert "returned int, expected a str" in third.naming_error
    assert calls[0][0] == ["rain"] and all(text in texts[::3] for text in calls[0][1])
    assert "The namer failed: <bdi>RuntimeError: no answer" in report.to_html()
    assert title_from_words(["a", "b", "c", "d"], []) == "a, b, c"


# columns


@given(st.integers(0, 2**31))
def test_effects_are_those_of_the_formulas(seed):
    rng = np.random.default_rng(seed)
    member = rng.random(40) < 0.4
    member[:3], member[3:6] = True, False
    numbers = rng.normal(member, 1, 40)
    numbers[7] = np.nan
    kinds = rng.choice(["a", "b", "c"], 40).astype(object)
    kinds[8] = None
    effect = column_effect(read_column("x", numbers), member)
    inside = [x for x, m in zip(numbers, member, strict=True) if m and x == x]
    outside = [x for x, m in zip(numbers, member, strict=True) if not m and x == x]
    means = [sum(side) / len(side) for side in (inside, outside)]
    squares = sum((x - means[0]) ** 2 for x in inside) + sum((x - means[1]) ** 2 for x in outside)
    expected = (means[0] - means[1]) / math.sqrt(squares / (len(inside) + len(outside) - 2))
    assert effect.value == pytest.approx(expected)
    assert (effect.inside, effect.outside) == pytest.approx(tuple(means))
    assert (effect.n_inside, effect.n_outside) == (len(inside), len(outside))
    assert effect.n_missing == int(member[7]) and effect.effect == "standardized mean difference"

    effect = column_effect(read_column("k", kinds), member)
    cells = [(m, k) for m, k in zip(member, kinds, strict=True) if k is not None]
    n, chi2 = len(cells), 0.0
    for side in (True, False):
        for kind in {k for _, k in cells}:
            seen = sum(cell == (side, kind) for cell in cells)
            fitting = sum(m == side for m, _ in cells) * sum(k == kind for _, k in cells) / n
            chi2 += (seen - fitting) ** 2 / fitting
    assert effect.value == pytest.approx(math.sqrt(chi2 / n)) and effect.effect == "Cramér's V"
    share = [
        sum(m == side and k == effect.level for m, k in cells) / sum(m == side for m, _ in cells)
        for side in (True, False)
    ]
    assert (effect.inside, effect.outside) == pytest.approx(tuple(share))
    assert effect.n_missing == int(member[8])


def test_effects_without_variation_or_values():
    one, none = np.ones(3), np.zeros(0)
    assert standardized_mean_difference(one, one) == 0.0
    assert standardized_mean_difference(one, 2 * one) == -math.inf
    assert math.isnan(standardized_mean_difference(none, one))
    assert math.isnan(standardized_mean_difference(one[:1], one[:1]))
    assert cramers_v(np.array([[3, 0], [4, 0]])) == 0.0
    assert math.isnan(cramers_v(np.array([[3, 1], [0, 0]])))
    empty = column_effect(read_column("k", [None, None]), np.array([True, False]))
    assert math.isnan(empty.value) and empty.n_missing == 1


def test_kinds_of_columns():
    assert read_column("n", [1, 2.5, None]).levels is None
    assert read_column("b", np.array([True, False])).levels == ["False", "True"]
    nullable = read_column("b", pd.Series([True, None, False], dtype="boolean"))
    assert nullable.levels == ["False", "True"] and nullable.values.tolist() == [1, -1, 0]
    category = read_column("c", pd.Series([3, 1, 3]).astype("category"))
    assert category.levels == ["1", "3"] and category.values.tolist() == [1, 0, 1]
    assert read_column("c", pl.Series(["x", None, "y"])).values.tolist() == [0, -1, 1]
    infinite = read_column("n", np.array([1.0, np.inf])).values
    assert infinite[0] == 1 and np.isnan(infinite[1])
    assert read_column("d", pd.Series(pd.to_datetime(["2020-01-01"]))) == "cells of type Timestamp"
    many = read_column("id", ["often"] * 3 + [f"{i}" for i in range(100)])
    assert len(many.levels) == 30 and many.levels[-1] == OTHER_LEVEL and "often" in many.levels
    assert (many.values == 29).sum() == 103 - 3 - 28


def test_columns_are_ordered_by_strength_and_odd_ones_are_named():
    kmeans, X = make_kmeans()
    labels = kmeans.predict(X)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "noise": rng.normal(size=60),
            "kind": np.array(["a", "b", "c"])[labels],
            "weak": labels + rng.normal(0, 2, 60),
            "when": pd.date_range("2020", periods=60),
        }
    )
    report = cluster_report(kmeans, X, columns=table)
    names = [effect.column for effect in report.clusters[2].columns]
    assert names == ["kind", "weak", "noise"]
    assert report.skipped_columns == {"when": "cells of type Timestamp"}
    assert "&#x27;when&#x27; is left out" in report.to_html()
    with pytest.raises(ValueError, match="columns= of type list"):
        cluster_report(kmeans, X, columns=[1] * 60)
    with pytest.raises(ValueError, match="2 rows in column 'a'"):
        cluster_report(kmeans, X, columns={"a": [1, 2]})


# tables


def test_frames_hold_the_attributes():
    kmeans, X = make_kmeans()
    texts = [f"{['rain', 'soup', 'song'][i % 3]} number{i % 5}" for i in range(60)]
    report = cluster_report(kmeans, X, texts, {"x": X[:, 0]})
    frame = report.to_frame()
    assert frame.index.tolist() == [0, 1, 2] and frame["size"].sum() == 60
    assert frame.loc[1, "central"] == [sample.label for sample in report.clusters[1].central]
    assert len(report.to_frame("samples")) == 18
    assert set(report.to_frame("samples")["kind"]) == {"central", "doubtful"}
    assert report.to_frame("words").iloc[0]["word"] == "rain"
    assert report.to_frame("columns")["effect"].unique().tolist() == [
        "standardized mean difference"
    ]
    with pytest.raises(ValueError, match="'clusters'"):
        report.to_frame("cluster")


# media


def test_types_are_those_of_the_content_not_of_the_name(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    (tmp_path / "a.wav").write_bytes(png(pixels))
    (tmp_path / "b.png").write_bytes(b"<svg onload=alert(1)>")
    reader = MediaReader(1000, 100000)
    assert reader.read(tmp_path / "a.wav").uri.startswith("data:image/png;base64,")
    shown = reader.read(str(tmp_path / "b.png"))
    assert shown.tag is None and "not a known type" in shown.reason
    assert reader.read(tmp_path / "c.png").reason == "there is no such file"
    assert reader.read(tmp_path).reason == "not a file"
    starts = {
        b"RIFF....WAVE": "audio/wav",
        b"RIFF....AVI ": None,
        b"\xff\xfb\x90": "audio/mpeg",
        b"\xff\xd8\xff\xe0": "image/jpeg",
        b"....ftypM4A ": "audio/mp4",
        b"....ftypisom": "video/mp4",
        b"": None,
    }
    assert {start: media_type(start) for start in starts} == starts


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3), (3, 5, 4)])
def test_images_come_back_from_png(tmp_path, shape):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png(pixels))
    with image.open(tmp_path / "a.png") as read:
        assert np.array_equal(np.asarray(read), pixels)


def test_files_beyond_the_limits_are_named_only(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).write_bytes(b"RIFF....WAVE" + bytes(88))
    (tmp_path / "large.wav").write_bytes(b"RIFF....WAVE" + bytes(500))
    kmeans, X = make_kmeans(4, 2)
    raw = {"sound": [tmp_path / n for n in ("a.wav", "b.wav", "c.wav", "large.wav")]}
    report = cluster_report(kmeans, X, raw)
    page = report.to_html(max_file_bytes=200, max_total_bytes=250)
    assert page.count("data:audio/wav") == 2 and "too large: 512 bytes" in page
    assert "has reached its limit" in page
    assert str(tmp_path) not in report.to_html()  # names of folders are private


# the page


def hostile_report():
    kmeans, X = make_kmeans(12, 2)
    raw = {
        HOSTILE: [f"{HOSTILE} {i}" for i in range(12)],
        "file": [f'/nowhere/{i}"><script>alert(3)<\\script>.png' for i in range(12)],
    }
    columns = {HOSTILE: [f"<b>{i % 2}</b>{HOSTILE}" for i in range(12)]}
    index = [f"<i>{HOSTILE[:-1]}{i}" for i in range(12)]  # pandas takes no lone surrogate
    frame = pd.DataFrame(X, index=index)
    kmeans.fit(frame)
    return cluster_report(kmeans, frame, raw, columns, namer=lambda *_: f"{HOSTILE}title")


def test_hostile_text_is_text(tmp_path):
    report = hostile_report()
    report.to_html(tmp_path / "page.html", title=HOSTILE)
    text = (tmp_path / "page.html").read_text(encoding="utf8")
    page = Page(text)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 1 and "img" not in tags and "b" not in tags
    allowed = {"class", "id", "href", "lang", "content", "http-equiv", "name", "charset", "scope"}
    allowed |= {"data-v", "type", "dir", "viewBox", "preserveAspectRatio", "aria-hidden"}
    allowed |= {"width", "height", "viewbox", "preserveaspectratio"}
    assert {name for _, attributes in page.tags for name in attributes} <= allowed
    assert "alert(1)" in page.text and "onerror" in page.text
    assert "alert" not in " ".join(text.split("<script>")[1:])


def test_pages_in_notebooks_are_frames_of_their_own():
    report = hostile_report()
    frame = Page(report._repr_html_())
    ((tag, attributes),) = frame.tags
    assert tag == "iframe" and attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == report.to_html()


def test_pages_load_nothing_and_hold_clusters_only():
    kmeans, X = make_kmeans(3000, 3)
    texts = [f"utterance{i}" for i in range(3000)]
    page = cluster_report(kmeans, X, texts).to_html()
    assert len(set(re.findall(r"utterance\d+", page))) <= 3 * 6
    assert not re.search(r"https?://|@import|url\(|<link|src=", page)
    for _, attributes in Page(page).tags:
        assert attributes.get("href", "#").startswith("#")
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page


@given(st.text())
def test_escaped_text_is_read_back_and_encodes(text):
    back = html.unescape(escaped(text))
    assert [b for b in back if b != "\ufffd"] == [
        a for a, b in zip(text, back, strict=True) if b != "\ufffd"
    ]
    assert not set("<>\"'") & set(escaped(f"{text}<>\"'"))
    escaped(text + "\ud800").encode("utf8")


def open_in_browser(path, profile):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", f"--user-data-dir={profile}", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *flags, "--enable-logging=stderr", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_page_of_20000_rows_opens_fast_and_sorts(tmp_path):
    kmeans, X = make_kmeans(20000, 40)
    rng = np.random.default_rng(0)
    columns = {"price": rng.lognormal(size=20000), "kind": rng.choice(["a", "b"], 20000)}
    raw = [f"{HOSTILE} word{i % 40}" for i in range(20000)]
    report = cluster_report(kmeans, X, raw, columns)
    report.to_html(tmp_path / "page.html")
    shown, console = open_in_browser(tmp_path / "page.html", tmp_path / "profile")
    assert console == []  # neither a script error nor a refusal by the content security policy
    assert '<html lang="en" class="js">' in shown  # the policy lets the script run

    # without the policy a script of the test may click and measure
    probe = """<script>addEventListener("load", () => setTimeout(() => {
        const time = performance.timing;
        const heads = [...document.querySelector("table").querySelectorAll("button")];
        const rows = () => [...document.querySelector("tbody").rows];
        const column = () => rows().map((row) => row.cells[2].dataset.v);
        heads.find((head) => head.textContent === "samples").click();
        const falling = column().join(" ");
        heads.find((head) => head.textContent === "samples").click();
        document.body.textContent = `#${time.loadEventEnd - time.navigationStart}#${falling}#`
          + `${column().join(" ")}#`;
    }));</script></body>"""
    page = (tmp_path / "page.html").read_text(encoding="utf8")
    page = re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</body>", probe)
    (tmp_path / "probe.html").write_text(page, encoding="utf8")
    shown, console = open_in_browser(tmp_path / "probe.html", tmp_path / "profile")
    milliseconds, falling, rising = re.search(r"#(\d+)#([\d. ]+)#([\d. ]+)#", shown).groups()
    sizes = sorted(summary.size for summary in report.clusters)
    assert [float(size) for size in rising.split()] == sizes
    assert [float(size) for size in falling.split()] == sizes[::-1]
    assert 0 < int(milliseconds) < 2000 and console == []


def test_report_says_what_it_is():
    report = cluster_report(*make_kmeans())
    assert repr(report) == "ClusterReport(3 clusters, 60 samples)"
    assert isinstance(report, ClusterReport)
