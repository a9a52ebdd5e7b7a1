"""Specification of the method's encoder, with a switch for each stage."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skumc._parts import unknown_name_message
from skumc.encoders._projection_encoder import ProjectionEncoder
from skumc.encoders._statistics import FrameStatistics
from skumc.encoders._umc_network import UMCNetwork

_KINDS = ("dual", "linear", None)


class UMCEncoder(BaseEstimator):
    """Dual projection, text-guided attention and gates, with a switch for each stage.

    A stage that is switched off has no parameters.

    Parameters
    ----------
    hidden_width : int, default=128
        Width of the embedding and of all intermediate vectors; a multiple of ``n_heads``.
    n_heads : int, default=8
        Number of heads of each attention.
    dropout : float, default=0.1
        Dropout on the two projections inside dual projection, on the output of each attention, and
        on the summaries before the fusion.
    dual_projection : {"dual", "linear", None} or dict, default="dual"
        Refinement of the frames of all modalities except the anchor:
        :class:`~skumc.encoders.DualProjection`, the plain
        :class:`~skumc.encoders.LinearProjection`, or none. A dict sets it per modality,
        ``{"audio": "dual"}``; modalities that it does not name have none.
    cross_attention : bool, default=True
        Whether the anchor's positions attend to the frames of each other modality.
    guided_attention : bool, default=False
        Whether the anchor's positions attend once more, to the result.
    n_self_attention_layers : int, default=0
        Number of layers of self-attention over the anchor's frames and all streams; 0 omits it and
        the LayerNorms that follow.
    anchor_summary : {"cls", "enhanced", "mean", "model"}, default="mean"
        The anchor's summary for the fusion: "cls" is a linear map of its first frame, "enhanced"
        pools its frames after the self-attention as ``pooling`` says, "mean" is the mean of its
        projected frames. "model" is "cls" or "mean", as the text model's pooling configuration
        says.
    pooling : {"mean", "attention"}, default="mean"
        Pooling of the frames of a stream to its summary: their mean, or
        :class:`~skumc.encoders.AttentionPooling`.
    feature_interaction : bool, default=False
        Whether the modalities' summaries attend to one another, with a residual.
    fusion : {"sum", "softmax", "concatenation"}, default="sum"
        Gates normalized by their sum or by a softmax, see :class:`~skumc.encoders.GatedFusion`;
        or :class:`~skumc.encoders.ConcatenationFusion`.
    fusion_norm : bool, default=False
        Whether the fusion is followed by LayerNorm.
    contrastive_projector : bool, default=False
        Whether SupCon, contrastive loss and InfoNCE read a two-layer map of the fused vector
        (before its unit norm) instead of the embedding.
    clustering_projector : bool, default=False
        Whether compactness and separation read another such map. K-means always reads the
        embedding.
    standardize : bool, default=True
        Whether features are scaled to mean 0 and standard deviation 1 with the training set's
        statistics.
    missing : {"absent", "zeros"}, default="absent"
        Treatment of a missing or hidden modality: it is not computed and has gate 0, or it runs
        through the network as a frame of zeros, as in the source, and has a gate like any other;
        "zeros" needs ``shortcuts=False``.

    max_positions : int or None, default=32
        Largest number of positions of a sequence in attention and pooling: a longer one has means
        of that many equal parts of its refined frames. None keeps all frames.
    shortcuts : bool, default=True
        Whether the vectors of :class:`~skumc.encoders.ProjectionEncoder` (of the summary, and of
        frames one by one) are added to each modality's summary, all standardized over the training
        samples as they are before training, and brought to unit norm. The summary is multiplied by
        learned factors that start at 0, so that training starts from the shortcuts.

    Notes
    -----
    In order, with the sections of the UMC methodology: projection to one width and LayerNorm
    (3.8.1), dual projection (3.3), cross-attention (3.4.3), text-guided attention (3.4.4),
    self-attention (3.4.5), pooling (3.4.6), feature interaction (3.4.7), gates (3.4.8), unit
    norm. If the anchor is the only modality, the stages that guide or weigh others are absent.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc import UMCClusterer
    >>> encoder = UMCEncoder(hidden_width=32, n_heads=4, n_self_attention_layers=1)
    >>> clusterer = UMCClusterer(
    ...     2, encoder=encoder, pretrain_epochs=1, max_epochs=1, random_state=0
    ... )
    >>> clusterer.fit({"text": np.eye(6), "audio": np.ones((6, 3, 2))}).embedding_.shape
    (6, 32)
    """

    learning_rate: ClassVar[float] = 4e-3  # the default for this encoder

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_width": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "dual_projection": [StrOptions({"dual", "linear"}), dict, None],
        "cross_attention": ["boolean"],
        "guided_attention": ["boolean"],
        "n_self_attention_layers": [Interval(Integral, 0, None, closed="left")],
        "anchor_summary": [StrOptions({"cls", "enhanced", "mean", "model"})],
        "pooling": [StrOptions({"mean", "attention"})],
        "feature_interaction": ["boolean"],
        "fusion": [StrOptions({"sum", "softmax", "concatenation"})],
        "fusion_norm": ["boolean"],
        "contrastive_projector": ["boolean"],
        "clustering_projector": ["boolean"],
        "standardize": ["boolean"],
        "missing": [StrOptions({"absent", "zeros"})],
        "max_positions": [Interval(Integral, 1, None, closed="left"), None],
        "shortcuts": ["boolean"],
    }

    def __init__(
        self,
        *,
        hidden_width: int = 128,
        n_heads: int = 8,
        dropout: float = 0.1,
        dual_projection: str | Mapping[str, str | None] | None = "dual",
        cross_attention: bool = True,
        guided_attention: bool = False,
        n_self_attention_layers: int = 0,
        anchor_summary: str = "mean",
        pooling: str = "mean",
        feature_interaction: bool = False,
        fusion: str = "sum",
        fusion_norm: bool = False,
        contrastive_projector: bool = False,
        clustering_projector: bool = False,
        standardize: bool = True,
        missing: str = "absent",
        max_positions: int | None = 32,
        shortcuts: bool = True,
    ) -> None:
        self.hidden_width = hidden_width
        self.n_heads = n_heads
        self.dropout = dropout
        self.dual_projection = dual_projection
        self.cross_attention = cross_attention
        self.guided_attention = guided_attention
        self.n_self_attention_layers = n_self_attention_layers
        self.anchor_summary = anchor_summary
        self.pooling = pooling
        self.feature_interaction = feature_interaction
        self.fusion = fusion
        self.fusion_norm = fusion_norm
        self.contrastive_projector = contrastive_projector
        self.clustering_projector = clustering_projector
        self.standardize = standardize
        self.missing = missing
        self.max_positions = max_positions
        self.shortcuts = shortcuts

    def build(self, statistics: Mapping[str, FrameStatistics], anchor: str) -> nn.Module:
        """Build the network for modalities with these statistics.

        Parameters
        ----------
        statistics : dict of str to FrameStatistics
            Mean and scale of each modality's features; their number is its width.
        anchor : str
            The guiding modality.

        Returns
        -------
        UMCNetwork

        Raises
        ------
        ValueError
            If a parameter is outside its interval, ``hidden_width`` is not a multiple of
            ``n_heads``, ``dual_projection`` names an unknown modality or kind,
            ``missing="zeros"`` has shortcuts, or
            ``anchor_summary="model"`` and there is no text model with a pooling configuration.
        """
        self._validate_params()
        if self.shortcuts and self.missing == "zeros":
            raise ValueError(
                "Got missing='zeros' and shortcuts=True, but a modality that is not there has no "
                "frames for shortcuts. Set shortcuts=False."
            )
        parameters = self.get_params(deep=False)
        parameters["dual_projection"] = self._dual_projections(list(statistics), anchor)
        parameters["anchor_summary"] = self._summary(statistics[anchor])
        parameters["hidden_as_zeros"] = parameters.pop("missing") == "zeros"
        parameters["paths"] = self._paths() if parameters.pop("shortcuts") else None
        if not parameters.pop("standardize"):
            statistics = {name: stats.neutral() for name, stats in statistics.items()}
        return UMCNetwork(statistics, anchor, **parameters)

    def _paths(self) -> dict[str, Any]:
        settings = ProjectionEncoder(standardize=self.standardize).get_params(deep=False)
        return {
            name: value
            for name, value in settings.items()
            if name not in ("hidden_width", "gate_normalization")
        }

    def _summary(self, anchor: FrameStatistics) -> str:
        if self.anchor_summary != "model":
            return self.anchor_summary
        if anchor.pooling is None:
            raise ValueError(
                "Got anchor_summary='model', but the anchor is not read by a text model with 'cls' "
                "or 'mean' in its configuration (1_Pooling/config.json). Use "
                "anchor_summary='cls' or 'mean'."
            )
        return anchor.pooling

    def _dual_projections(self, names: list[str], anchor: str) -> dict[str, str | None]:
        """Return the refinement of each modality except the anchor."""
        others = [name for name in names if name != anchor]
        given = self.dual_projection
        if given is None or isinstance(given, str):
            return dict.fromkeys(others, given)
        for name, kind in given.items():
            if name not in others:
                raise ValueError(unknown_name_message("dual_projection modality", name, others))
            if kind not in _KINDS:
                raise ValueError(
                    f"Got dual_projection[{name!r}]={kind!r}, expected 'dual', 'linear' or None."
                )
        return dict(given)
