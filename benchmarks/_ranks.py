"""Mean ranks of methods over data sets, with the critical difference of Nemenyi's test."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata, studentized_range

TIE = 1.0  # points within which two scores count as a tie


def mean_ranks(scores):
    """Mean rank of each method, 1 being the best.

    Parameters
    ----------
    scores : ndarray of shape (n_sets, n_methods)
        NaN, for a method that cannot run on a set, gets the last rank.

    Returns
    -------
    ndarray of shape (n_methods,)
    """
    filled = np.where(np.isnan(scores), -np.inf, scores)
    return rankdata(-filled, axis=1).mean(axis=0)


def critical_difference(n_methods, n_sets, level=0.05):
    """Smallest difference between two mean ranks that is significant.

    Nemenyi's test as in Demsar, Statistical comparisons of classifiers over multiple data sets
    (2006), section 3.2.2.
    """
    quantile = studentized_range.ppf(1 - level, n_methods, np.inf) / np.sqrt(2)
    return quantile * np.sqrt(n_methods * (n_methods + 1) / (6 * n_sets))


def compare(ours, best_other):
    """Wins, ties and losses (within ``TIE`` points), and the largest loss in points."""
    difference = np.asarray(ours) - np.asarray(best_other)
    return {
        "wins": int((difference > TIE).sum()),
        "ties": int((np.abs(difference) <= TIE).sum()),
        "losses": int((difference < -TIE).sum()),
        "largest loss": float(max(-difference.min(), 0.0)),
    }


def _groups(ranks, difference):
    """Intervals of sorted ranks within the critical difference, the contained ones left out."""
    found = []
    for start, low in enumerate(ranks):
        stop = int(np.searchsorted(ranks, low + difference, side="right")) - 1
        if stop > start and (not found or stop > found[-1][1]):
            found.append((start, stop))
    return found


def plot(names, ranks, difference, path):
    """Draw mean ranks on an axis; bars join methods that do not differ significantly."""
    import matplotlib.pyplot as plt

    order = np.argsort(ranks)
    names, ranks = [names[place] for place in order], np.asarray(ranks)[order]
    groups = _groups(ranks, difference)
    half = (len(names) + 1) // 2
    height = 1.2 + 0.28 * half + 0.12 * len(groups)
    figure, axis = plt.subplots(figsize=(9, height), layout="constrained")
    top = 0.3 + 0.12 * len(groups)
    low, high = 1, len(names)
    for place, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        left = place < half
        row = place if left else len(names) - 1 - place
        level = -top - 0.28 * (row + 1)
        edge = low - 0.3 if left else high + 0.3
        axis.plot([rank, rank, edge], [0, level, level], color="0.35", linewidth=0.8)
        weight = "bold" if name == "umc" else "normal"
        label = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        side = "right" if left else "left"
        axis.text(edge, level, f" {label} ", ha=side, va="center", fontsize=8, fontweight=weight)
    for row, (start, stop) in enumerate(groups):
        level = -0.2 - 0.12 * row
        axis.plot([ranks[start], ranks[stop]], [level, level], color="black", linewidth=3)
    axis.plot([low, low + difference], [0.45, 0.45], color="black", linewidth=1.5)
    axis.text(low, 0.55, f"critical difference {difference:.2f}", fontsize=8)
    axis.plot([low, high], [0, 0], color="black", linewidth=1)
    for tick in range(low, high + 1):
        axis.plot([tick, tick], [0, 0.08], color="black", linewidth=1)
        axis.text(tick, 0.14, str(tick), ha="center", fontsize=8)
    margin = 0.35 * (high - low)
    axis.set(xlim=(low - margin, high + margin), ylim=(-top - 0.28 * (half + 1), 0.8))
    axis.axis("off")
    figure.savefig(path, dpi=130)
    plt.close(figure)
