"""Colors, markers and axes that the displays share."""

from __future__ import annotations

from typing import Any

from sklearn.utils._optional_dependencies import check_matplotlib_support

# Okabe and Ito (2008), which remain distinct with every kind of color blindness. The order
# alternates dark and light.
COLORS = (
    *("#0072B2", "#E69F00", "#000000", "#56B4E9"),
    *("#D55E00", "#F0E442", "#009E73", "#CC79A7"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":", "-.")
HEATMAP = "cividis"  # its lightness rises evenly, so it is legible in gray


def point_style(cluster: int) -> dict[str, Any]:
    """Return the color and marker of a cluster; the first 64 differ.

    Examples
    --------
    >>> point_style(0) == {"color": "#0072B2", "marker": "o"}, point_style(8)["marker"]
    (True, 's')
    """
    return {
        "color": COLORS[cluster % len(COLORS)],
        "marker": MARKERS[(cluster + cluster // len(COLORS)) % len(MARKERS)],
    }


def _pyplot() -> Any:
    check_matplotlib_support("A display's plot")
    import matplotlib.pyplot as plt

    return plt


def single_axis(ax: Any, figsize: tuple[float, float]) -> tuple[Any, Any]:
    """Return the figure and the axes to draw on, new ones if ``ax`` is None."""
    plt = _pyplot()
    if ax is None:
        return plt.subplots(figsize=figsize, layout="constrained")
    return ax.figure, ax


def two_axes(ax: Any, figsize: tuple[float, float], *, side_by_side: bool) -> tuple[Any, Any, Any]:
    """Return a figure and two axes with a shared axis, within ``ax`` unless it is None."""
    plt = _pyplot()
    if ax is None:
        shape = (1, 2) if side_by_side else (2, 1)
        shared = {"sharex": not side_by_side, "sharey": side_by_side}
        figure, axes = plt.subplots(*shape, figsize=figsize, layout="constrained", **shared)
        return figure, axes[0], axes[1]
    ax.set_axis_off()
    if side_by_side:
        first = ax.inset_axes([0, 0, 0.56, 1])
        second = ax.inset_axes([0.62, 0, 0.38, 1], sharey=first)
    else:
        first = ax.inset_axes([0, 0.54, 1, 0.46])
        second = ax.inset_axes([0, 0, 1, 0.46], sharex=first)
        first.tick_params(labelbottom=False)
    return ax.figure, first, second


def label_size(n_labels: int) -> float:
    """Return a font size in points at which many tick labels do not overlap.

    Examples
    --------
    >>> label_size(3), label_size(40)
    (10.0, 6.0)
    """
    return float(min(10, max(5, 240 / max(n_labels, 1))))


def annotate_cells(ax: Any, values: Any, texts: Any, threshold: float, size: float) -> None:
    """Write text into the cells of a heat map, white on dark cells."""
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            color = "white" if value < threshold else "black"
            ax.text(
                column,
                row,
                texts[row][column],
                ha="center",
                va="center",
                color=color,
                fontsize=size,
            )
