"""Pieces of HTML: escaped text, numbers, cells of sortable tables, media."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from typing import Any

from skumc.report._media import Medium

_MAX_CHARACTERS = 400
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def escaped(value: Any) -> str:
    r"""Escape text for HTML, in elements and attributes; control characters become U+FFFD.

    Examples
    --------
    >>> escaped("<b title='x'>\x00")
    '&lt;b title=&#x27;x&#x27;&gt;\ufffd'
    """
    return html.escape(_CONTROLS.sub("\ufffd", str(value)), quote=True)


def user_text(value: Any) -> str:
    """Escape text of the data, shortened; its direction of writing does not affect the page.

    Examples
    --------
    >>> user_text("1 < 2")
    '<bdi>1 &lt; 2</bdi>'
    """
    text = str(value)
    if len(text) > _MAX_CHARACTERS:
        text = text[: _MAX_CHARACTERS - 1] + "…"
    return f"<bdi>{escaped(text)}</bdi>"


def number(value: float, digits: int = 2) -> str:
    """Write a number for reading.

    Examples
    --------
    >>> number(1234.5), number(0.056), number(float("nan")), number(float("-inf"))
    ('1,234', '0.06', 'n/a', '-∞')
    """
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) >= 1e6 or 0 < abs(value) < 0.5 * 10**-digits:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{digits}f}"


def percent(share: float) -> str:
    r"""Write a share as a percentage.

    Examples
    --------
    >>> percent(0.256), percent(0.004), percent(float("nan"))
    ('26\xa0%', '0.4\xa0%', 'n/a')
    """
    if math.isnan(share):
        return "n/a"
    return f"{100 * share:.{int(0 < share < 0.0995)}f}\xa0%"


def bar(share: float) -> str:
    """Draw a share as a bar, without a style attribute.

    Examples
    --------
    >>> '<rect width="25.0" height="8"/>' in bar(0.25)
    True
    """
    width = 0.0 if math.isnan(share) else 100 * min(max(share, 0.0), 1.0)
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="8"/></svg>'
    )


def number_cell(value: float | None, shown: str, classes: str = "") -> str:
    """Write a cell that is sorted by ``value``; None and NaN are last.

    Examples
    --------
    >>> number_cell(0.5, "50 %")
    '<td class="n" data-v="0.5">50 %</td>'
    """
    key = "" if value is None or math.isnan(value) else repr(float(value))
    key = {"inf": "Infinity", "-inf": "-Infinity"}.get(key, key)
    return f'<td class="{f"n {classes}".strip()}" data-v="{key}">{shown}</td>'


def text_cell(shown: str, key: Any, classes: str = "") -> str:
    """Write a cell of ready HTML that is sorted by the text ``key``.

    Examples
    --------
    >>> text_cell("<b>a</b>", '"a"')
    '<td class="t" data-v="&quot;a&quot;"><b>a</b></td>'
    """
    key = escaped(str(key)[:_MAX_CHARACTERS])
    return f'<td class="{f"t {classes}".strip()}" data-v="{key}">{shown}</td>'


def sortable_table(heads: Iterable[tuple[str, str]], rows: Iterable[str]) -> str:
    """Write a table with sortable columns; a head is its text and its classes ("n": numbers).

    Examples
    --------
    >>> sortable_table([("size", "n")], [number_cell(3, "3")]).count("<tr>")
    2
    """
    head = "".join(
        f'<th class="{classes}" scope="col"><button type="button">{escaped(text)}</button></th>'
        for text, classes in heads
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def medium(found: Medium) -> str:
    """Show a file, or its name and why it is not shown.

    Examples
    --------
    >>> medium(Medium("<a>.wav", None, "", "too large"))
    '<span class="soft"><bdi>&lt;a&gt;.wav</bdi> (too large)</span>'
    """
    name = escaped(found.name)
    if found.tag is None:
        return f'<span class="soft">{user_text(found.name)} ({escaped(found.reason)})</span>'
    if found.tag == "img":
        return f'<img src="{found.uri}" alt="{name}" title="{name}" loading="lazy">'
    kind = found.tag
    return (
        f'<{kind} controls preload="none" src="{found.uri}" title="{name}" '
        f'aria-label="{name}"></{kind}>'
    )
