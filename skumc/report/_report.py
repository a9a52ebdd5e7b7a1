"""The report: facts about each cluster as attributes, DataFrames and an HTML page."""

from __future__ import annotations

from typing import Any

import numpy as np

from skumc._parts import as_path, unknown_name_message
from skumc.report._cluster_summary import ClusterSummary
from skumc.report._media import MediaReader
from skumc.report._page import as_iframe, build_page
from skumc.report._raw import RawColumns
from skumc.report._tables import TABLES, table_rows

_MAX_FILE_BYTES, _MAX_TOTAL_BYTES, _MAX_NOTEBOOK_BYTES = 2**20, 2**24, 2**22


class ClusterReport:
    """Facts about each cluster, as attributes, as DataFrames and as an HTML page.

    :func:`cluster_report` makes it. In a notebook it displays itself as the page.

    Parameters
    ----------
    clusters : list of ClusterSummary
    labels : ndarray of int, shape (n_samples,)
    doubt : ndarray of shape (n_samples,)
    raw : RawColumns
    skipped_columns : dict of str to str

    Attributes
    ----------
    clusters : list of ClusterSummary
        One per cluster, in the order of labels; empty clusters included.
    labels : ndarray of int, shape (n_samples,)
        Cluster of each sample, -1 for none.
    doubt : ndarray of shape (n_samples,)
        Doubt of each sample, see :class:`~skumc.report.ReportSample`; NaN without a cluster.
    n_samples : int
        Number of all samples.
    n_unassigned : int
        Number of samples without a cluster.
    skipped_columns : dict of str to str
        Columns that are neither numbers nor categories, and why.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.cluster import KMeans
    >>> from skumc.report import cluster_report
    >>> X = np.array([[0.0], [1.0], [9.0], [10.0]])
    >>> kmeans = KMeans(2, init=[[0.0], [9.0]], n_init=1).fit(X)
    >>> report = cluster_report(kmeans, X, raw=["rain", "rain again", "soup", "more soup"])
    >>> [cluster.title for cluster in report.clusters], report.n_unassigned
    (['rain', 'soup'], 0)
    """

    def __init__(
        self,
        clusters: list[ClusterSummary],
        labels: np.ndarray,
        doubt: np.ndarray,
        raw: RawColumns,
        skipped_columns: dict[str, str],
    ) -> None:
        self.clusters = clusters
        self.labels = labels
        self.doubt = doubt
        self.n_samples = len(labels)
        self.n_unassigned = int((labels < 0).sum())
        self.skipped_columns = skipped_columns
        self._raw = raw

    def __repr__(self) -> str:
        return f"ClusterReport({len(self.clusters)} clusters, {self.n_samples} samples)"

    def to_frame(self, table: str = "clusters") -> Any:
        """Convert to a pandas DataFrame.

        Parameters
        ----------
        table : {"clusters", "samples", "words", "columns"}, default="clusters"
            "clusters" has one row per cluster; the others one row per cluster and central or
            doubtful sample, word, or column of the table that was not clustered.

        Returns
        -------
        DataFrame
        """
        if table not in TABLES:
            raise ValueError(unknown_name_message("table", table, TABLES))
        import pandas as pd

        columns, rows = table_rows(self.clusters, table)
        frame = pd.DataFrame(rows, columns=columns)
        return frame.set_index("cluster") if table == "clusters" else frame

    def to_html(
        self,
        path: Any = None,
        *,
        title: str = "Cluster report",
        max_file_bytes: int = _MAX_FILE_BYTES,
        max_total_bytes: int = _MAX_TOTAL_BYTES,
    ) -> str | None:
        """Convert to one HTML page that needs no other file and no network.

        Texts of the data are escaped. Sound, images and videos are read now and are part of the
        page; their type is that of their content.

        Parameters
        ----------
        path : str or path, default=None
            File to write. None returns the page.
        title : str, default="Cluster report"
            Title of the page.
        max_file_bytes : int, default=1048576
            Larger files are named, not shown.
        max_total_bytes : int, default=16777216
            Sum of the files that are shown.

        Returns
        -------
        str or None
            The page if ``path`` is None.
        """
        reader = MediaReader(max_file_bytes, max_total_bytes)
        page = build_page(self, title, self._raw, reader)
        if path is None:
            return page
        as_path("path", path).write_text(page, encoding="utf8")
        return None

    def _repr_html_(self) -> str:
        return as_iframe(self.to_html(max_total_bytes=_MAX_NOTEBOOK_BYTES) or "")
