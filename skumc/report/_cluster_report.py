"""Report on the clusters of a fitted estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from skumc._warnings import warn_caller
from skumc.data._columns import Frame, is_data_frame, refuse_lazy
from skumc.report._cluster_summary import ClusterSummary, ReportSample
from skumc.report._clustered_samples import Clustering, Doubt, measure_doubt, read_clustering
from skumc.report._effects import Column, ColumnEffect, column_effect, effect_strength, read_column
from skumc.report._raw import RawColumns, check_same_index, read_raw
from skumc.report._report import ClusterReport
from skumc.report._words import Word, distinctive_words


def title_from_words(words: list[str], examples: list[str]) -> str:
    """Join the first three words: the default of ``namer``.

    Parameters
    ----------
    words : list of str
        Distinctive words, most distinctive first.
    examples : list of str
        Not used.

    Returns
    -------
    str
        Empty without words.

    Examples
    --------
    >>> from skumc.report import title_from_words
    >>> title_from_words(["rain", "wind", "snow", "cold"], [])
    'rain, wind, snow'
    """
    del examples
    return ", ".join(words[:3])


def _examples(
    order: np.ndarray, clustering: Clustering, doubt: Doubt, raw: RawColumns, n_examples: int
) -> list[ReportSample]:
    """Return the first samples in an order that do not look the same."""
    found: list[ReportSample] = []
    seen = set()
    for row in order:
        content = raw.content_of(row)
        if content is not None and content in seen:
            continue
        seen.add(content)
        other = int(doubt.other[row])
        found.append(
            ReportSample(
                int(row),
                clustering.name(int(row)),
                float(doubt.doubt[row]),
                None if other < 0 else other,
            )
        )
        if len(found) == n_examples:
            break
    return found


def _name(
    namer: Callable[[list[str], list[str]], str], cluster: int, words: list[str], texts: list[str]
) -> tuple[str, str | None]:
    """Return the title of a cluster, and the message of the error if the namer failed."""
    try:
        title = namer(words, texts)
        if not isinstance(title, str):
            raise TypeError(f"it returned {type(title).__name__}, expected a str")
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        warn_caller(
            f"namer= failed on cluster {cluster} ({message}). Its title is made from words; the "
            "other clusters keep theirs."
        )
        return title_from_words(words, texts), message
    return title, None


def _read_columns(columns: Any, X: Any, n_samples: int) -> tuple[list[Column], dict[str, str]]:
    """Read the table that was not clustered: its columns, and the reasons of those left out."""
    if columns is None:
        return [], {}
    refuse_lazy(columns)
    if is_data_frame(columns):
        named: Mapping[Any, Any] = Frame.read(columns).by_name()
    elif isinstance(columns, Mapping):
        named = columns
    else:
        raise ValueError(
            f"Got columns= of type {type(columns).__name__}, expected a DataFrame or a dict of "
            'columns, such as {"duration": durations, "channel": channels}.'
        )
    check_same_index("columns", columns, X)
    found, skipped = [], {}
    for name, values in named.items():
        if len(values) != n_samples:
            raise ValueError(
                f"Got columns= with {len(values)} rows in column {str(name)!r}, expected "
                f"{n_samples}, one per sample of X."
            )
        column = read_column(name, values)
        if isinstance(column, str):
            skipped[str(name)] = column
        else:
            found.append(column)
    return found, skipped


def _nearest(centers: np.ndarray) -> Iterator[tuple[int | None, float]]:
    """Yield the nearest other center of each cluster and its distance."""
    distances = euclidean_distances(centers.astype(np.float64))
    np.fill_diagonal(distances, np.inf)
    for row in distances:
        other = int(row.argmin())
        yield (other, float(row[other])) if len(row) > 1 else (None, math.nan)


def cluster_report(
    estimator: Any,
    X: Any,
    raw: Any = None,
    columns: Any = None,
    *,
    namer: Callable[[list[str], list[str]], str] = title_from_words,
    labels: Any = None,
    vectorizer: Any = None,
    n_examples: int = 3,
    n_words: int = 10,
) -> ClusterReport:
    """Describe each cluster of a fitted estimator.

    Parameters
    ----------
    estimator : object
        Fitted :class:`~skumc.UMCClusterer`, or another clusterer with ``predict`` and
        ``cluster_centers_``; or a pipeline or search with one.
    X : array, DataFrame, MultimodalData, list of dicts or dict
        Samples to describe, of ``fit`` or new ones.
    raw : DataFrame, dict of columns, list of dicts or list of str, default=None
        Source of the samples, in the order of X: sentences; paths of recordings, images
        or videos; images as uint8 arrays. None looks for them in X.
    columns : DataFrame or dict of columns, default=None
        Numbers and categories that were not clustered, one row per sample of X.
    namer : callable, default=title_from_words
        ``namer(words, examples) -> str``: title of a cluster from its distinctive words and the
        texts of its most central samples. If it fails, a warning names the cluster, and its title
        is made from words.
    labels : array-like of int, shape (n_samples,), default=None
        Labels in place of ``estimator.predict(X)``; -1 for samples without a cluster.
    vectorizer : CountVectorizer or None, default=None
        Splits texts into words, for example with stop words or with pairs of words.
    n_examples : int, default=3
        Number of central and of doubtful samples per cluster.
    n_words : int, default=10
        Number of words per cluster.

    Returns
    -------
    ClusterReport

    Raises
    ------
    TypeError
        If the estimator has no centers, or ``namer`` is not callable.
    ValueError
        If ``raw``, ``columns`` or ``labels`` do not match X, or a number is negative.

    Notes
    -----
    The doubt of a sample is its distance to its own center divided by that to the nearest other
    center, in the embedding. Among central and doubtful samples, those with the same raw content
    are listed once. The words are those of class-based TF-IDF. Differences of columns are between
    a cluster and all other samples: the standardized mean difference (Cohen's d) for numbers,
    Cramér's V for categories, each without its missing values.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.cluster import KMeans
    >>> from skumc.report import cluster_report
    >>> X = np.array([[0.0], [1.0], [2.0], [9.0], [10.0], [13.0]])
    >>> kmeans = KMeans(2, init=[[0.0], [9.0]], n_init=1).fit(X)
    >>> report = cluster_report(kmeans, X, columns={"price": [1.0, 2.0, 3.0, 7.0, np.nan, 9.0]})
    >>> first = report.clusters[0]
    >>> first.size, first.central[0].row, first.doubtful[0].row, first.nearest
    (3, 1, 2, 1)
    >>> price = first.columns[0]
    >>> price.effect, round(price.value, 2), price.n_outside
    ('standardized mean difference', -5.2, 2)
    """
    if not callable(namer):
        raise TypeError(f"Got namer={namer!r}, expected a callable namer(words, examples).")
    for name, number in (("n_examples", n_examples), ("n_words", n_words)):
        if not isinstance(number, Integral) or isinstance(number, bool) or number < 0:
            raise ValueError(f"Got {name}={number!r}, expected a whole number from 0.")
    clustering = read_clustering(estimator, X, labels)
    n_samples, n_clusters = len(clustering.labels), len(clustering.centers)
    raw_columns = read_raw(raw, X, n_samples)
    table, skipped = _read_columns(columns, X, n_samples)
    doubt = measure_doubt(clustering)
    words: list[list[Word]] = [[] for _ in range(n_clusters)]
    if raw_columns.texts:
        texts = [raw_columns.text_of(row) for row in range(n_samples)]
        words = distinctive_words(texts, clustering.labels, n_clusters, n_words, vectorizer)
    summaries = []
    for cluster, (nearest, distance) in enumerate(_nearest(clustering.centers)):
        member = clustering.labels == cluster
        rows = np.flatnonzero(member)
        by_distance = rows[np.argsort(doubt.own[rows], kind="stable")]
        by_doubt = rows[np.argsort(-doubt.doubt[rows], kind="stable")]
        central = _examples(by_distance, clustering, doubt, raw_columns, n_examples)
        shown = [text for s in central if (text := raw_columns.text_of(s.row)) is not None]
        title, error = _name(namer, cluster, [word.word for word in words[cluster]], shown)
        effects: list[ColumnEffect] = [column_effect(column, member) for column in table]
        summaries.append(
            ClusterSummary(
                cluster=cluster,
                title=title,
                size=len(rows),
                share=len(rows) / n_samples,
                mean_doubt=float(doubt.doubt[rows].mean()) if len(rows) else math.nan,
                nearest=nearest,
                nearest_distance=distance,
                central=central,
                doubtful=_examples(by_doubt, clustering, doubt, raw_columns, n_examples),
                gates={
                    name: float(gate[rows].mean()) if len(rows) else math.nan
                    for name, gate in clustering.gates.items()
                },
                words=words[cluster],
                columns=sorted(effects, key=effect_strength, reverse=True),
                naming_error=error,
            )
        )
    return ClusterReport(summaries, clustering.labels, doubt.doubt, raw_columns, skipped)
