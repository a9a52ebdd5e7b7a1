"""Curves of a training."""

from __future__ import annotations

from typing import Any

from skumc.plotting._style import COLORS, LINES, two_axes

_SHARES = {
    "threshold": "threshold",
    "threshold_base": "its base curve",
    "selected_share": "share selected",
    "monitor": "monitor",
}


def _curve(records: list[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Return the epochs and values of a record's key; epochs without it are left out."""
    known = [record for record in records if record.get(key) is not None]
    return [record["epoch"] for record in known], [record[key] for record in known]


class TrainingDisplay:
    """Losses of a training, and the threshold of the curriculum with its base curve.

    Make it with :meth:`from_estimator` or :meth:`from_arrays`.

    Parameters
    ----------
    history : list of dict
        Records of the epochs, as in ``history_`` of :class:`~skumc.UMCClusterer`.

    Attributes
    ----------
    ax_ : list of two matplotlib Axes
        Threshold, share selected and monitor of the progressive loop; losses of both phases, with
        epochs of pretraining before 0.
    figure_ : matplotlib Figure
    curves : dict of str to (epochs, values)
        The curves by name.
    restored : int or None
        Epoch that was kept.

    Examples
    --------
    >>> from skumc.plotting import TrainingDisplay
    >>> history = [
    ...     {"phase": "pretrain", "epoch": 0, "loss_total": 2.0},
    ...     {"phase": "main", "epoch": 0, "threshold": 0.05, "monitor": 0.4, "loss_total": 1.5},
    ...     {"phase": "main", "epoch": 1, "threshold": 0.20, "monitor": 0.5, "restored": True},
    ... ]
    >>> display = TrainingDisplay.from_arrays(history)
    >>> display.curves["threshold"], display.curves["loss of pretraining"]
    (([0, 1], [0.05, 0.2]), ([-1], [2.0]))
    """

    def __init__(self, history: list[dict[str, Any]]) -> None:
        self.history = history
        phases: dict[str, list[dict[str, Any]]] = {"pretrain": [], "main": []}
        for record in history:
            phases.setdefault(record["phase"], []).append(record)
        main, pretrain = phases["main"], phases["pretrain"]
        self.curves = {label: _curve(main, key) for key, label in _SHARES.items()}
        epochs, values = _curve(pretrain, "loss_total")
        self.curves["loss of pretraining"] = [e - len(pretrain) for e in epochs], values
        names = dict.fromkeys(key for record in main for key in record if key.startswith("loss_"))
        for key in names:
            self.curves[f"loss {key.removeprefix('loss_')}"] = _curve(main, key)
        self.restored = next((r["epoch"] for r in main if r.get("restored")), None)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> TrainingDisplay:
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : UMCClusterer, or a pipeline or search with one
        ax : matplotlib Axes, default=None
            Axes that are divided in two. None makes a new figure.

        Returns
        -------
        TrainingDisplay
        """
        while hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        estimator = estimator[-1] if hasattr(estimator, "steps") else estimator
        if not hasattr(estimator, "history_"):
            raise TypeError(
                f"Got {type(estimator).__name__} without history_, expected a fitted UMCClusterer."
            )
        return cls(list(estimator.history_)).plot(ax=ax)

    @classmethod
    def from_arrays(cls, history: list[dict[str, Any]], *, ax: Any = None) -> TrainingDisplay:
        """Draw records of epochs.

        Parameters
        ----------
        history : list of dict
        ax : matplotlib Axes, default=None

        Returns
        -------
        TrainingDisplay
        """
        return cls(list(history)).plot(ax=ax)

    def plot(self, ax: Any = None) -> TrainingDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes that are divided in two. None makes a new figure.

        Returns
        -------
        TrainingDisplay
        """
        self.figure_, upper, lower = two_axes(ax, (7, 6), side_by_side=False)
        self.ax_ = [upper, lower]
        shares = set(_SHARES.values())
        for axis, is_share in ((upper, True), (lower, False)):
            curves = {n: c for n, c in self.curves.items() if (n in shares) is is_share and c[0]}
            for number, (name, (epochs, values)) in enumerate(curves.items()):
                axis.plot(
                    epochs,
                    values,
                    label=name,
                    color=COLORS[(0, 4, 2, 6, 7, 1, 3, 5)[number % 8]],
                    linestyle=LINES[number % len(LINES)],
                    marker="osD^vPX*"[number % 8],
                    markersize=4,
                    markevery=max(1, len(epochs) // 10),
                )
            if self.restored is not None:
                label = "epoch kept" if is_share else None
                axis.axvline(self.restored, color="0.5", linewidth=1, label=label)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=8)
        from matplotlib.ticker import MaxNLocator

        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        upper.set_ylabel("share, monitor")
        lower.set(xlabel="epoch, pretraining before 0", ylabel="loss")
        return self
