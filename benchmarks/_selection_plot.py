"""Picture of the benchmark of selection: choices by data set, gains by rule."""

from __future__ import annotations

import numpy as np
from _selection_candidates import DEFAULT
from _selection_report import ORACLE, SUM


def _by_set(axis, by_set, results):
    """One line per data set: all candidates, the default, and the choice of the sum."""
    for height, (data, table) in enumerate(by_set.items()):
        truth = table.truth.mean(axis=0)
        compared = truth[table.compared]
        axis.plot([np.nanmin(compared), np.nanmax(compared)], [height] * 2, color="0.8", zorder=1)
        label = "candidates" if height == 0 else None
        axis.plot(compared, [height] * len(compared), "|", color="0.5", label=label, zorder=2)
        shown = {
            DEFAULT: {"marker": "o", "facecolor": "none", "s": 55, "zorder": 3},
            SUM: {"marker": "o", "facecolor": "C0", "s": 22, "zorder": 4},
        }
        for rule, style in shown.items():
            label = rule if height == 0 else None
            axis.scatter(results[data][rule], height, edgecolor="C0", label=label, **style)
    axis.set_yticks(range(len(by_set)), by_set)
    axis.set_ylim(len(by_set) - 0.5, -0.5)
    axis.set_xlabel("mean of NMI, ARI, ACC, FMI (%)", fontsize=9)
    axis.set_title("candidates and choices by data set", fontsize=10)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.06), ncols=3, frameon=False, fontsize=8)


def _by_rule(axis, summary):
    """Mean gain of each rule as a bar, its gain in the worst case as a mark."""
    rules = [row["rule"] for row in summary]
    heights = np.arange(len(summary))
    colors = [
        "C0" if rule == SUM else "0.85" if rule.startswith((ORACLE, "best fixed")) else "0.6"
        for rule in rules
    ]
    axis.barh(heights, [row["gain"] for row in summary], color=colors, height=0.6, label="mean")
    axis.plot([row["worst"] for row in summary], heights, "x", color="C3", label="worst data set")
    order = ("mean", "worst data set")
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(heights, [rule.split(":")[0] for rule in rules])
    for tick, rule in zip(axis.get_yticklabels(), rules, strict=True):
        tick.set_fontweight("bold" if rule == SUM else "normal")
    axis.set_ylim(len(summary) - 0.5, -0.5)
    axis.set_xlabel("points above the default", fontsize=9)
    axis.set_title("gain by rule", fontsize=10)
    axis.legend(
        [handles[name] for name in order],
        order,
        loc="lower left",
        bbox_to_anchor=(0, 1.06),
        ncols=2,
        frameon=False,
        fontsize=8,
    )


def plot(by_set, results, summary, path):
    """Draw both panels."""
    import matplotlib.pyplot as plt

    height = 1.6 + 0.26 * max(len(by_set), len(summary))
    figure, axes = plt.subplots(1, 2, figsize=(11, height), layout="constrained")
    _by_set(axes[0], by_set, results)
    _by_rule(axes[1], summary)
    for axis in axes:
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", color="0.92")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
