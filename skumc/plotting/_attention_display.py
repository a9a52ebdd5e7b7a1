"""Attention of the anchor of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skumc._parts import unknown_name_message
from skumc.model_selection._inner import fitted_clusterer
from skumc.plotting._checks import matrix
from skumc.plotting._style import HEATMAP, label_size, single_axis

_MAX_LABELS = 40


class AttentionDisplay:
    """Heat map of the attention of one sample: frames or words of the anchor by frames.

    Make it with :meth:`from_estimator` or :meth:`from_arrays`. Weights of attention show where it
    looks; they do not explain a cluster.

    Parameters
    ----------
    weights : ndarray of shape (n_anchor_frames, n_frames)
        Rows sum to 1.
    anchor_name, name : str
        Names of the anchor and of the other modality.
    words : sequence of str, default=None
        Labels of the anchor's frames; None numbers them.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    im_ : matplotlib AxesImage

    Examples
    --------
    >>> from skumc.plotting import AttentionDisplay
    >>> weights = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]
    >>> display = AttentionDisplay.from_arrays(weights, ["drum", "rolls"])
    >>> display.weights.shape, [label.get_text() for label in display.ax_.get_yticklabels()]
    ((2, 3), ['drum', 'rolls'])
    """

    def __init__(
        self,
        weights: np.ndarray,
        anchor_name: str = "anchor",
        name: str = "other",
        words: Sequence[str] | None = None,
    ) -> None:
        self.weights = weights
        self.anchor_name = anchor_name
        self.name = name
        self.words = words

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        sample: int = 0,
        modality: str | None = None,
        words: Sequence[str] | None = None,
        ax: Any = None,
    ) -> AttentionDisplay:
        """Draw the attention of one sample, mean over heads.

        Parameters
        ----------
        estimator : UMCClusterer, or a pipeline or search with one
            Its encoder has cross-attention, such as ``encoder="umc"``.
        X : array, DataFrame, MultimodalData, list of dicts or dict
        sample : int, default=0
            Row of X.
        modality : str, default=None
            None is the first besides the anchor.
        words : sequence of str, default=None
            Labels of the anchor's frames, such as the tokens of a text.
        ax : matplotlib Axes, default=None

        Returns
        -------
        AttentionDisplay
        """
        clusterer, X = fitted_clusterer(estimator, X)
        if not hasattr(clusterer, "attention_weights"):
            raise TypeError(f"{type(clusterer).__name__} has no attention, expected UMCClusterer.")
        weights = clusterer.attention_weights(X)
        modality = next(iter(weights)) if modality is None else modality
        if modality not in weights:
            raise ValueError(unknown_name_message("modality", modality, weights))
        if not -len(weights[modality]) <= sample < len(weights[modality]):
            raise ValueError(f"Got sample={sample}, but X has {len(weights[modality])} samples.")
        found = weights[modality][sample]
        if found is None:
            raise ValueError(f"Modality {modality!r} is missing in sample {sample}. Pass another.")
        names = {"anchor_name": clusterer.anchor_, "name": modality}
        return cls.from_arrays(found.mean(axis=0), words, **names, ax=ax)

    @classmethod
    def from_arrays(
        cls,
        weights: Any,
        words: Sequence[str] | None = None,
        *,
        anchor_name: str = "anchor",
        name: str = "other",
        ax: Any = None,
    ) -> AttentionDisplay:
        """Draw weights of attention.

        Parameters
        ----------
        weights : array-like of shape (n_anchor_frames, n_frames)
        words : sequence of str, default=None
        anchor_name, name : str
        ax : matplotlib Axes, default=None

        Returns
        -------
        AttentionDisplay
        """
        weights = matrix("weights", weights)
        if words is not None and len(words) != len(weights):
            raise ValueError(
                f"Got {len(words)} words for {len(weights)} frames of the anchor. Pass one label "
                "per frame, with those of special tokens."
            )
        return cls(weights, anchor_name, name, words).plot(ax=ax)

    def plot(self, ax: Any = None) -> AttentionDisplay:
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.

        Returns
        -------
        AttentionDisplay
        """
        n_rows = len(self.weights)
        self.figure_, self.ax_ = single_axis(ax, (7, 1.2 + max(1.5, 0.2 * min(n_rows, 40))))
        self.im_ = self.ax_.imshow(self.weights, aspect="auto", cmap=HEATMAP, vmin=0)
        self.ax_.set(xlabel=f"frame of {self.name}", ylabel=f"frame of {self.anchor_name}")
        if self.words is not None:
            step = -(-n_rows // _MAX_LABELS)
            shown = [str(word).replace("$", r"\$") for word in self.words[::step]]
            size = label_size(len(shown))
            self.ax_.set_yticks(range(0, n_rows, step), shown, fontsize=size)
            self.ax_.set_ylabel(self.anchor_name)
        self.figure_.colorbar(self.im_, ax=self.ax_, label="attention, mean over heads")
        return self
