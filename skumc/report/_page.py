"""The report as one HTML page."""

from __future__ import annotations

import base64
import hashlib
import math
from typing import TYPE_CHECKING

from skumc.report._assets import SCRIPT, STYLE
from skumc.report._cluster_summary import ClusterSummary, ReportSample
from skumc.report._effects import CRAMERS_V, ColumnEffect, effect_strength
from skumc.report._markup import (
    bar,
    escaped,
    medium,
    number,
    number_cell,
    percent,
    sortable_table,
    text_cell,
    user_text,
)
from skumc.report._media import MediaReader
from skumc.report._raw import RawColumns

if TYPE_CHECKING:
    from skumc.report._report import ClusterReport

_NEGLIGIBLE = 0.1  # as a correlation; d = 0.2
_EFFECT_HEADS = [
    ("column", ""),
    ("effect", "n"),
    ("inside", "n"),
    ("outside", "n"),
    ("n", "n"),
    ("missing", "n"),
]


def _policy() -> str:
    """Return the content security policy: own style and script by hash, data URIs, no network."""

    def digest(content: str) -> str:
        return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    return (
        f"default-src 'none'; style-src 'sha256-{digest(STYLE)}'; "
        f"script-src 'sha256-{digest(SCRIPT)}'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _link(cluster: int | None, titles: dict[int, str]) -> str:
    if cluster is None:
        return "none"
    link, title = f'<a href="#c{cluster}">{cluster}</a>', titles[cluster]
    return f"{link} {user_text(title)}" if title else link


def _heading(cluster: int, titles: dict[int, str]) -> str:
    return titles[cluster] or f"Cluster {cluster}"


def _differences(summary: ClusterSummary) -> str:
    """Name the two strongest differences of columns that are not negligible."""
    return ", ".join(
        effect.column
        + (f" {effect.value:+.1f} d" if effect.level is None else f" = {effect.level}")
        for effect in summary.columns[:2]
        if effect_strength(effect) >= _NEGLIGIBLE
    )


def _overview(clusters: list[ClusterSummary], titles: dict[int, str]) -> str:
    heads = [("", "n"), ("cluster", ""), ("samples", "n"), ("share", "n")]
    heads += [("doubt", "n"), ("nearest", "wide")]
    facts = {
        "words": [", ".join(word.word for word in c.words) for c in clusters],
        "differences": [_differences(c) for c in clusters],
    }
    facts = {name: texts for name, texts in facts.items() if any(texts)}
    heads += [(name, "wide") for name in facts]
    largest = max((c.share for c in clusters), default=0.0) or 1.0
    rows = []
    for position, c in enumerate(clusters):
        heading = _heading(c.cluster, titles)
        rows.append(
            number_cell(c.cluster, str(c.cluster))
            + text_cell(f'<a href="#c{c.cluster}">{user_text(heading)}</a>', heading)
            + number_cell(c.size, f"{c.size:,}")
            + number_cell(c.share, percent(c.share) + bar(c.share / largest))
            + number_cell(c.mean_doubt, number(c.mean_doubt))
            + text_cell(_link(c.nearest, titles), "" if c.nearest is None else c.nearest, "wide")
            + "".join(
                text_cell(user_text(texts[position]), texts[position], "wide")
                for texts in facts.values()
            )
        )
    return sortable_table(heads, rows)


def _sample(
    sample: ReportSample, raw: RawColumns, reader: MediaReader, titles: dict[int, str]
) -> str:
    row = sample.row
    parts = [
        f'<p class="says" dir="auto">{user_text(cells[row])}</p>'
        for cells in raw.texts.values()
        if cells[row] is not None
    ]
    parts += [
        medium(reader.read(cells[row])) for cells in raw.media.values() if cells[row] is not None
    ]
    label = f"row {row}"
    if sample.label != row:
        label += f", {user_text(sample.label)}"
    doubt = f"doubt {number(sample.doubt)}"
    if sample.other is not None:
        doubt += f", next {_link(sample.other, titles)}"
    return f'<li>{"".join(parts)}<p class="soft">{label} · {doubt}</p></li>'


def _effect_row(effect: ColumnEffect) -> str:
    name = user_text(effect.column)
    if effect.level is not None:
        name += f" = {user_text(effect.level)}"
    size = f"{effect.value:.2f}" if math.isfinite(effect.value) else number(effect.value)
    size = f"V = {size}" if effect.effect == CRAMERS_V else f"d = {size}"
    inside, outside = (
        percent(value) if effect.effect == CRAMERS_V else number(value)
        for value in (effect.inside, effect.outside)
    )
    return (
        text_cell(name, effect.column)
        + number_cell(abs(effect.value), size)
        + number_cell(effect.inside, inside)
        + number_cell(effect.outside, outside)
        + number_cell(effect.n_inside, f"{effect.n_inside:,}")
        + number_cell(effect.n_missing, f"{effect.n_missing:,}")
    )


def _card(c: ClusterSummary, raw: RawColumns, reader: MediaReader, titles: dict[int, str]) -> str:
    number_of = f"{c.cluster} · " if titles[c.cluster] else ""
    parts = [f"<h2>{number_of}{user_text(_heading(c.cluster, titles))}</h2>"]
    parts.append(f'<p class="soft">{c.size:,} samples, {percent(c.share)}')
    if c.nearest is not None:
        parts.append(f"; nearest {_link(c.nearest, titles)}")
    parts.append(f"; mean doubt {number(c.mean_doubt)}</p>" if c.size else "; empty</p>")
    if c.naming_error is not None:
        parts.append(f'<p class="warn">The namer failed: {user_text(c.naming_error)}</p>')
    if c.words:
        words = "".join(
            f'<span class="word">{user_text(word.word)} <span class="soft">'
            f"{percent(word.inside)}, outside {percent(word.outside)}</span></span>"
            for word in c.words
        )
        parts.append(f"<h3>Distinctive words</h3><p>{words}</p>")
    for title, samples in (("Most central", c.central), ("Most doubtful", c.doubtful)):
        if samples:
            items = "".join(_sample(sample, raw, reader, titles) for sample in samples)
            parts.append(f"<h3>{title}</h3><ul>{items}</ul>")
    if len(c.gates) > 1 and c.size:
        gates = "".join(
            f'<div class="gate"><span>{user_text(name)}</span>{bar(share)}'
            f"<span>{percent(share)}</span></div>"
            for name, share in c.gates.items()
        )
        parts.append(f"<h3>Mean gate of each modality</h3>{gates}")
    if c.columns and c.size:
        rows = [_effect_row(effect) for effect in c.columns]
        parts.append(
            f"<h3>Columns that were not clustered</h3>{sortable_table(_EFFECT_HEADS, rows)}"
        )
    return f'<section id="c{c.cluster}">{"".join(parts)}</section>'


def _notes(report: ClusterReport) -> str:
    notes = [
        "Doubt is the distance to the own center divided by that to the nearest other center: 0 at "
        "the center, 1 on the border."
    ]
    if any(c.words for c in report.clusters):
        notes.append("Percentages after words: samples with the word inside and outside.")
    if any(c.columns for c in report.clusters):
        notes.append(
            "Effects compare the cluster with all other samples: d is the standardized mean "
            "difference of numbers (inside and outside: means), V is Cramér's V of categories "
            "(inside and outside: shares of the most over-represented category). Missing values "
            "are left out; n counts known values inside."
        )
    for name, reason in report.skipped_columns.items():
        notes.append(f"Column {name!r} is left out: {reason}.")
    return "".join(f'<p class="soft">{escaped(note)}</p>' for note in notes)


def build_page(report: ClusterReport, title: str, raw: RawColumns, reader: MediaReader) -> str:
    """Write the page; see ``ClusterReport.to_html``.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc.report import ClusterReport
    >>> raw = RawColumns({}, {})
    >>> report = ClusterReport([], np.zeros(0, int), np.zeros(0), raw, {})
    >>> page = build_page(report, "<title>", raw, MediaReader(0, 0))
    >>> "<h1>&lt;title&gt;</h1>" in page
    True
    """
    titles = {c.cluster: c.title.strip() for c in report.clusters}
    summary = f"{len(report.clusters)} clusters of {report.n_samples:,} samples"
    if report.n_unassigned:
        summary += f"; {report.n_unassigned:,} samples without a cluster"
    cards = "".join(_card(c, raw, reader, titles) for c in report.clusters)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escaped(title)}</h1><p>{summary}</p></header><main>"
        f'{_overview(report.clusters, titles)}{_notes(report)}<div class="cards">{cards}</div>'
        f"</main><script>{SCRIPT}</script></body></html>"
    )


def as_iframe(page: str) -> str:
    """Enclose a page in a frame of its own, so that neither it nor a notebook changes the other.

    Examples
    --------
    >>> as_iframe('<p class="a">')[:61]
    '<iframe sandbox="allow-scripts" srcdoc="&lt;p class=&quot;a&q'
    """
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{escaped(page)}" title="Cluster report" '
        'width="100%" height="600" style="border: 0"></iframe>'
    )
