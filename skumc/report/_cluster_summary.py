"""Facts about one cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from skumc.report._effects import ColumnEffect
from skumc.report._words import Word


class ReportSample(NamedTuple):
    """A sample that a report shows.

    Attributes
    ----------
    row : int
        Position in X.
    label : object
        Its index label; the position where X has no index.
    doubt : float
        Distance to the own center divided by that to the nearest other center.
    other : int or None
        Cluster of the nearest other center; None if there is only one.

    Examples
    --------
    >>> ReportSample(3, "utterance 4", 0.97, 2).other
    2
    """

    row: int
    label: Any
    doubt: float
    other: int | None


@dataclass(frozen=True)
class ClusterSummary:
    """Facts about one cluster.

    Attributes
    ----------
    cluster : int
        Its label.
    title : str
        Title given by the namer.
    size : int
        Number of samples.
    share : float
        Share of all samples.
    mean_doubt : float
        Mean doubt of its samples, see :class:`ReportSample`; NaN if it is empty.
    nearest : int or None
        Cluster with the nearest center; None if there is only one.
    nearest_distance : float
        Distance of the two centers in the embedding; NaN if there is only one.
    central : list of ReportSample
        Nearest to the center, nearest first.
    doubtful : list of ReportSample
        Largest doubt, largest first.
    gates : dict of str to float
        Mean share of each modality in the embedding; empty without gates.
    words : list of Word
        Most distinctive first; empty without text.
    columns : list of ColumnEffect
        Columns of the table, strongest difference first.
    naming_error : str or None
        Message of the error that the namer raised.

    Examples
    --------
    >>> ClusterSummary(0, "rain, wind", 12, 0.4, 0.3, 1, 0.9).words
    []
    """

    cluster: int
    title: str
    size: int
    share: float
    mean_doubt: float
    nearest: int | None
    nearest_distance: float
    central: list[ReportSample] = field(default_factory=list)
    doubtful: list[ReportSample] = field(default_factory=list)
    gates: dict[str, float] = field(default_factory=dict)
    words: list[Word] = field(default_factory=list)
    columns: list[ColumnEffect] = field(default_factory=list)
    naming_error: str | None = None
