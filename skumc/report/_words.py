"""Words that distinguish clusters, by class-based TF-IDF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

_LIFT = 2.0  # smallest ratio of a word's shares of samples inside and outside


class Word(NamedTuple):
    """A word and its frequency in a cluster.

    Attributes
    ----------
    word : str
    score : float
        Class-based TF-IDF, larger is more distinctive.
    inside : float
        Share of the samples with text in the cluster that contain the word.
    outside : float
        Share of the samples with text outside the cluster that contain it.

    Examples
    --------
    >>> Word("rain", 0.4, 0.5, 0.01).word
    'rain'
    """

    word: str
    score: float
    inside: float
    outside: float


def _count(texts: Sequence[str | None], vectorizer: Any) -> tuple[Any, np.ndarray] | None:
    """Count words per sample; None if there is not a single word."""
    vectorizer = CountVectorizer() if vectorizer is None else clone(vectorizer)
    try:
        counts = vectorizer.fit_transform(["" if text is None else text for text in texts])
    except ValueError as error:
        if "empty vocabulary" in str(error):
            return None
        raise
    return csr_array(counts), np.asarray(vectorizer.get_feature_names_out(), dtype=object)


def distinctive_words(
    texts: Sequence[str | None],
    labels: np.ndarray,
    n_clusters: int,
    n_words: int = 10,
    vectorizer: Any = None,
) -> list[list[Word]]:
    r"""List the most distinctive words of each cluster.

    Parameters
    ----------
    texts : sequence of str or None
        One text per sample; None is missing.
    labels : ndarray of int, shape (n_samples,)
        -1 for samples without a cluster, which count as outside.
    n_clusters : int
    n_words : int, default=10
        Maximum number of words per cluster.
    vectorizer : CountVectorizer or None, default=None
        Splits texts into words and counts them. A copy is fitted; None is
        ``CountVectorizer()``.

    Returns
    -------
    list of list of Word
        By cluster, most distinctive first.

    Raises
    ------
    ValueError
        If there is not one label below ``n_clusters`` per text.

    Notes
    -----
    The score of a word :math:`t` in a cluster :math:`c` is

    .. math:: w_{t,c} = \frac{f_{t,c}}{\sum_s f_{s,c}} \, \log\left(1 + \frac{A}{f_t}\right)

    where :math:`f_{t,c}` is the number of occurrences in the cluster, :math:`f_t` in all clusters,
    and :math:`A` the mean number of words per cluster [1]_. Common words of a language can score
    high by their frequency alone, so a word is listed only if its share of samples inside is at
    least twice that outside, and if two samples have it (one in a cluster of one).

    References
    ----------
    .. [1] M. Grootendorst (2022). BERTopic: neural topic modeling with a class-based TF-IDF
       procedure. arXiv:2203.05794.

    Examples
    --------
    >>> import numpy as np
    >>> texts = ["the rain", "rain and wind", "the soup", "soup and bread"]
    >>> words = distinctive_words(texts, np.array([0, 0, 1, 1]), 2)
    >>> [[word.word for word in cluster] for cluster in words]
    [['rain'], ['soup']]
    """
    labels = np.asarray(labels)
    if labels.shape != (len(texts),) or labels.max(initial=-1) >= n_clusters:
        raise ValueError(
            f"Got {len(texts)} texts and labels of shape {labels.shape}, up to "
            f"{labels.max(initial=-1)}, expected one label below n_clusters={n_clusters} per text."
        )
    counted = _count(texts, vectorizer)
    if counted is None:
        return [[] for _ in range(n_clusters)]
    counts, vocabulary = counted
    assigned = np.flatnonzero(labels >= 0)
    ones = np.ones(len(assigned))
    members = csr_array((ones, (labels[assigned], assigned)), (n_clusters, len(labels)))
    frequencies = members @ counts  # clusters x words
    total = np.asarray(frequencies.sum(axis=0)).ravel()
    weighting = TfidfTransformer(norm=None).fit(frequencies)
    weighting.idf_ = np.log1p(frequencies.sum() / n_clusters / np.maximum(total, 1))
    n_tokens = np.maximum(np.asarray(frequencies.sum(axis=1)).ravel(), 1)
    scores = csr_array(weighting.transform(frequencies))

    has_word = csr_array((np.ones(counts.nnz), counts.indices, counts.indptr), counts.shape)
    with_word = members @ has_word  # samples with the word, clusters x words
    with_text = np.array([text is not None for text in texts], dtype=float)
    n_inside, n_all = members @ with_text, with_text.sum()
    all_with_word = np.asarray(has_word.sum(axis=0)).ravel()
    found = []
    for cluster in range(n_clusters):
        row = scores[[cluster]].toarray().ravel() / n_tokens[cluster]
        inside = with_word[[cluster]].toarray().ravel()
        outside = (all_with_word - inside) / max(n_all - n_inside[cluster], 1)
        share = inside / max(n_inside[cluster], 1)
        is_listed = (share >= _LIFT * outside) & (inside >= min(2, n_inside[cluster]))
        order = np.argsort(-row, kind="stable")
        order = order[(is_listed & (row > 0))[order]][:n_words]
        found.append(
            [
                Word(str(vocabulary[i]), float(row[i]), float(share[i]), float(outside[i]))
                for i in order
            ]
        )
    return found
