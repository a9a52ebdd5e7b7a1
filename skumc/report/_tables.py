"""Rows of the tables of a report."""

from __future__ import annotations

from typing import Any

from skumc.report._cluster_summary import ClusterSummary, ReportSample
from skumc.report._effects import ColumnEffect
from skumc.report._words import Word

TABLES = ("clusters", "samples", "words", "columns")


def _cluster_row(summary: ClusterSummary) -> dict[str, Any]:
    return {
        "cluster": summary.cluster,
        "title": summary.title,
        "size": summary.size,
        "share": summary.share,
        "mean_doubt": summary.mean_doubt,
        "nearest": summary.nearest,
        "nearest_distance": summary.nearest_distance,
        "central": [sample.label for sample in summary.central],
        "doubtful": [sample.label for sample in summary.doubtful],
        "words": [word.word for word in summary.words],
        **{f"gate_{name}": share for name, share in summary.gates.items()},
    }


def table_rows(clusters: list[ClusterSummary], table: str) -> tuple[list[str], list[Any]]:
    """List the names of the columns and the rows of a table of :data:`TABLES`.

    Examples
    --------
    >>> summary = ClusterSummary(0, "rain", 3, 1.0, 0.0, None, float("nan"))
    >>> columns, rows = table_rows([summary], "clusters")
    >>> columns[:3], rows[0][:3]
    (['cluster', 'title', 'size'], [0, 'rain', 3])
    """
    if table == "clusters":
        records = [_cluster_row(summary) for summary in clusters]
        columns = list(records[0]) if records else []
        return columns, [[record[name] for name in columns] for record in records]
    if table == "samples":
        columns = ["cluster", "kind", *ReportSample._fields]
        rows = [
            [summary.cluster, kind, *sample]
            for summary in clusters
            for kind in ("central", "doubtful")
            for sample in getattr(summary, kind)
        ]
        return columns, rows
    fields = Word._fields if table == "words" else ColumnEffect._fields
    rows = [[summary.cluster, *row] for summary in clusters for row in getattr(summary, table)]
    return ["cluster", *fields], rows
