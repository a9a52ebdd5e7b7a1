"""Clusters in words, examples and differences of a table, as attributes, DataFrames and HTML."""

from skumc.report._cluster_report import cluster_report, title_from_words
from skumc.report._cluster_summary import ClusterSummary, ReportSample
from skumc.report._effects import ColumnEffect
from skumc.report._report import ClusterReport
from skumc.report._words import Word, distinctive_words

__all__ = [
    "ClusterReport",
    "ClusterSummary",
    "ColumnEffect",
    "ReportSample",
    "Word",
    "cluster_report",
    "distinctive_words",
    "title_from_words",
]
