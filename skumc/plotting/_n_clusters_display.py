"""Curve of a score over numbers of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from skumc.plotting._style import COLORS, single_axis


class NClustersDisplay:
    """Curve of a score over candidate numbers of clusters, with the number chosen.

    Make it with :meth:`from_estimator` or :meth:`from_arrays`.

    Parameters
    ----------
    candidates : ndarray of int, shape (n_candidates,)
        Numbers of clusters.
    scores : ndarray of shape (n_candidates,)
    chosen : int, default=None
        The number chosen.
    interval : tuple of int (lowest, highest), default=None
        Numbers that are about as good.
    score_name : str, default="score"

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The curve.

    Examples
    --------
    >>> from skumc.plotting import NClustersDisplay
    >>> scores = [0.5, 0.9, 0.6]
    >>> display = NClustersDisplay.from_arrays([2, 3, 4], scores, chosen=3, interval=(3, 4))
    >>> display.line_.get_xdata().tolist()
    [2, 3, 4]
    """

    def __init__(
        self,
        candidates: np.ndarray,
        scores: np.ndarray,
        chosen: int | None = None,
        interval: tuple[int, int] | None = None,
        score_name: str = "score",
    ) -> None:
        self.candidates = candidates
        self.scores = scores
        self.chosen = chosen
        self.interval = interval
        self.score_name = score_name

    @classmethod
    def from_arrays(
        cls,
        candidates: Any,
        scores: Any,
        *,
        chosen: int | None = None,
        interval: tuple[int, int] | None = None,
        score_name: str = "score",
        ax: Any = None,
    ) -> NClustersDisplay:
        """Draw a curve.

        Parameters
        ----------
        candidates : array-like of int, shape (n_candidates,)
            Numbers of clusters, in any order.
        scores : array-like of shape (n_candidates,)
            NaN leaves a gap.
        chosen : int, default=None
        interval : tuple of int (lowest, highest), default=None
        score_name : str, default="score"
        ax : matplotlib Axes, default=None

        Returns
        -------
        NClustersDisplay
        """
        numbers, values = np.asarray(candidates), np.asarray(scores, dtype=np.float64)
        if numbers.ndim != 1 or numbers.shape != values.shape or numbers.dtype.kind not in "iu":
            raise ValueError(
                f"Got candidates of shape {numbers.shape} and type {numbers.dtype}, and scores of "
                f"shape {values.shape}. Pass whole numbers and one score for each."
            )
        if interval is not None and not interval[0] <= interval[1]:
            raise ValueError(f"Got interval={interval}, expected (lowest, highest).")
        order = np.argsort(numbers, kind="stable")
        return cls(numbers[order], values[order], chosen, interval, score_name).plot(ax=ax)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> NClustersDisplay:
        """Draw the curve by which a number of clusters was chosen.

        Parameters
        ----------
        estimator : UMCClusterer or NClustersEstimate
            Fitted with ``n_clusters="auto"``, or the result of
            :func:`~skumc.model_selection.estimate_n_clusters`.
        ax : matplotlib Axes, default=None

        Returns
        -------
        NClustersDisplay
        """
        found = getattr(estimator, "n_clusters_curve_", estimator)
        if not hasattr(found, "stability"):
            raise ValueError(
                f"Got {type(estimator).__name__} without a curve, expected a clusterer that was "
                'fitted with n_clusters="auto", or the result of estimate_n_clusters.'
            )
        return cls.from_arrays(
            found.candidates,
            found.stability,
            chosen=found.n_clusters,
            interval=found.interval,
            score_name="stability",
            ax=ax,
        )

    def plot(self, ax: Any = None) -> NClustersDisplay:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.

        Returns
        -------
        NClustersDisplay
        """
        self.figure_, self.ax_ = single_axis(ax, (6, 3.5))
        from matplotlib.ticker import MaxNLocator

        (self.line_,) = self.ax_.plot(
            self.candidates, self.scores, "o-", color=COLORS[0], markersize=4
        )
        if self.interval is not None:
            low, high = self.interval
            label = f"interval {low} to {high}"
            self.ax_.axvspan(low - 0.3, high + 0.3, color="0.85", zorder=0, label=label)
        if self.chosen is not None:
            style = {"color": COLORS[4], "linestyle": "--"}
            self.ax_.axvline(self.chosen, label=f"chosen: {self.chosen}", **style)
        if self.interval is not None or self.chosen is not None:
            self.ax_.legend()
        self.ax_.set(xlabel="number of clusters", ylabel=self.score_name)
        self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True))
        return self
