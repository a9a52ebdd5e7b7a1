"""The card of a saved clusterer: README.md for people and for the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_SCORES = {
    "monitor": "monitor of the epoch that was kept",
    "within": "sum of squared distances to the centers",
    "separation": "smallest squared distance between two centers",
}
_HEAD = """---
library_name: skumc
tags: [clustering, multimodal, unsupervised]
---
"""


def _inline(name: str) -> str:
    """Write a name as code, on one line, without ending a table cell or the code."""
    return f"`{' '.join(str(name).split()).replace('`', ' ').replace('|', ' '):.100}`"


def _modalities(clusterer: Any) -> list[str]:
    lines = ["| modality | frame width | trusted |", "|---|---|---|"]
    for name, width in clusterer.modality_widths_.items():
        what = "text" if width is None else str(width)
        anchor = " (anchor)" if name == clusterer.anchor_ else ""
        trusted = "yes" if clusterer.trusted_modalities_.get(name, True) else "no"
        lines.append(f"| {_inline(name)}{anchor} | {what} | {trusted} |")
    return lines


def _scores(clusterer: Any) -> list[str]:
    kept = [record for record in clusterer.history_ if record.get("restored")]
    found = {
        text: kept[0][name]
        for name, text in _SCORES.items()
        if kept and kept[0].get(name) is not None
    }
    found["agreement of the modalities' neighborhoods"] = clusterer.agreement_
    return [f"- {text}: {float(value):.4g}" for text, value in found.items()]


def _how_to_load(content: Mapping[str, Any]) -> list[str]:
    parts = ", ".join(f"{name!r}: ..." for name in content["own"])
    argument = f", parts={{{parts}}}" if parts else ""
    lines = [
        "```python",
        "from skumc import UMCClusterer",
        "",
        f"clusterer = UMCClusterer.load(folder{argument})",
        "labels = clusterer.predict(X)",
        "```",
    ]
    if parts:
        named = ", ".join(f"{_inline(name)} ({_inline(k)})" for name, k in content["own"].items())
        lines += ["", f"Parts of its author's own, which are not in the folder: {named}."]
    text = content["text"]
    if text["modalities"] and not text["has_model"]:
        named = _inline(text["name"]) if text["name"] else "passed by you"
        lines += ["", f"The text model is not in the folder: {named}."]
    return lines


def write_card(clusterer: Any, content: Mapping[str, Any], path: Path) -> None:
    """Write the card of a fitted clusterer.

    Parameters
    ----------
    clusterer : UMCClusterer
    content : dict of str to object
        The manifest.
    path : Path
    """
    sizes = np.bincount(clusterer.labels_, minlength=len(clusterer.cluster_centers_))
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    lines = [
        "# Clusterer of multimodal samples",
        "",
        f"Fitted with `skumc.UMCClusterer` on {len(clusterer.labels_)} samples without labels:",
        "",
        *_modalities(clusterer),
        "",
        f"Sizes of its {len(sizes)} clusters: {', '.join(map(str, sizes))}.",
        "",
        "Scores without labels:",
        "",
        *_scores(clusterer),
        "",
        "## Load",
        "",
        *_how_to_load(content),
        "",
        f"Written with {versions}.",
    ]
    path.write_text(_HEAD + "\n" + "\n".join(lines) + "\n", encoding="utf8")
