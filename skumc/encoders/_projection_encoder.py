"""The default encoder: summaries of the modalities, projected and weighted by gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._sequences import sent
from skumc.encoders._batch import Batch, EncoderOutput, present_modalities
from skumc.encoders._fusion import GatedFusion
from skumc.encoders._modality_paths import ModalityPaths, path_summaries
from skumc.encoders._standardized_sums import StandardizedSums, SumsCalibration
from skumc.encoders._statistics import FrameStatistics


class ProjectionNetwork(nn.Module):
    """The module that :class:`ProjectionEncoder` builds; its stages are described there.

    Parameters
    ----------
    statistics : dict of str to FrameStatistics
        One entry per modality, in the order of the gates.
    hidden_width : int
    gate_normalization : {"sum", "softmax"}
    **settings : dict
        Of ``ModalityPaths``.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skumc.encoders import FrameStatistics
    >>> widths = {"text": 3, "audio": 2}
    >>> statistics = {n: FrameStatistics(np.zeros(w), np.ones(w)) for n, w in widths.items()}
    >>> network = ProjectionEncoder(hidden_width=8).build(statistics, "text").eval()
    >>> batch = {
    ...     "text": (torch.randn(5, 3), torch.tensor([2, 3])),
    ...     "audio": (torch.randn(4, 2), torch.tensor([4, 0])),
    ... }
    >>> network.calibrate([batch])
    >>> network.set_prior_shares([3.0, 1.0])
    >>> output = network(batch)
    >>> output.embedding.shape
    torch.Size([2, 8])
    >>> [[round(gate, 2) for gate in row] for row in output.gates.tolist()]
    [[0.75, 0.25], [1.0, 0.0]]
    """

    def __init__(
        self,
        statistics: Mapping[str, FrameStatistics],
        *,
        hidden_width: int,
        gate_normalization: str,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.names = tuple(statistics)
        self.paths = ModalityPaths(statistics, hidden_width=hidden_width, **settings)
        self.sums = StandardizedSums({n: self.paths.weights(n) for n in statistics}, hidden_width)
        self.fusion = GatedFusion(len(statistics), hidden_width, gate_normalization)

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Take statistics of all samples: of the summaries, then of the paths."""
        self.paths.calibrate(batches)
        if not self.sums.is_needed:
            return
        calibration = SumsCalibration(self.sums)
        for batch in batches:
            for name in self.names:
                frames, lengths = batch[name]
                here = lengths[lengths > 0]
                if len(here):
                    calibration.add(name, self.paths(name, frames, here))
        calibration.finish()

    def set_prior_shares(self, shares: Sequence[float]) -> None:
        """Set the proportions in which the gates start; training can shift them."""
        self.fusion.set_prior_shares(shares)

    def summaries(self, batch: Batch) -> dict[str, Tensor]:
        """Return standardized summaries, and next to them what the frame path gives."""
        return path_summaries(self.paths, self.sums, batch)

    def _modalities(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute a unit vector per sample and modality.

        Returns
        -------
        vectors : Tensor of shape (n_samples, n_modalities, width)
            Zeros for a missing modality.
        present : Tensor of bool, shape (n_samples, n_modalities)
            On the CPU.
        """
        present = present_modalities(batch, self.names)
        vectors = []
        for name in self.names:
            frames, lengths = batch[name]
            has = lengths > 0
            vector = self.sums(name, self.paths(name, frames, lengths[has]))
            if len(vector) < len(lengths):
                rows = sent(torch.nonzero(has).squeeze(1), vector.device)
                vector = vector.new_zeros(len(lengths), vector.shape[1]).index_copy(0, rows, vector)
            vectors.append(vector)
        return torch.stack(vectors, dim=1), present

    def _fuse(self, vectors: Tensor, present: Tensor) -> EncoderOutput:
        fused, gates = self.fusion(vectors, sent(present, vectors.device))
        return EncoderOutput(F.normalize(fused, dim=-1), gates, {})

    def forward(self, batch: Batch) -> EncoderOutput:
        """Encode a batch of packed frames."""
        return self._fuse(*self._modalities(batch))

    def forward_views(self, batch: Batch, views: Sequence[Sequence[str]]) -> list[EncoderOutput]:
        """Encode a batch once per view; the stages before the fusion are shared by all views."""
        vectors, present = self._modalities(batch)
        outputs = []
        for visible in views:
            shown = present & present.new_tensor([name in visible for name in self.names])
            shown = torch.where(shown.any(dim=1, keepdim=True), shown, present)
            outputs.append(self._fuse(vectors, shown))
        return outputs


class ProjectionEncoder(BaseEstimator):
    """Summary, projection, refinement and gate of each modality: the default encoder.

    Parameters
    ----------
    hidden_width : int, default=128
        Width of the embedding.
    n_segments : int, default=8
        Number of segments of a sequence with a mean each, which keep the order of frames. There
        are fewer where a summary would be wider than 512 values or the longest sequence has fewer
        frames; 1 is the mean over all frames.
    deviation : bool, default=True
        Whether a summary also has the logarithm of each channel's standard deviation over the
        frames, where nine of ten training samples have 32 frames or more, and segments leave room
        for it: it counts as one segment.
    dual_projection : bool, default=True
        Whether projected summaries are refined by :class:`~skumc.encoders.DualProjection`.
    frame_path : bool, default=True
        Whether the frames of sequences are also projected and refined one by one, and averaged
        then; only where frames are at most 256 wide. Wider ones are learned features that have
        seen their context.
    dropout : float, default=0.2
        Dropout inside dual projection.
    input_dropout : float, default=0.2
        Dropout on the summaries.
    input_noise : float, default=0.2
        Standard deviation of the noise added to the standardized summaries in training.
    gate_normalization : {"sum", "softmax"}, default="sum"
        Normalization of the gates to a sum of 1, see :class:`~skumc.encoders.GatedFusion`.
    standardize : bool, default=True
        Whether features of frames and of summaries are scaled to mean 0 and standard deviation 1
        with the training set's statistics.

    Notes
    -----
    For each modality:

    1. summary: :func:`~skumc.encoders.segment_means` of the standardized frames and
       :func:`~skumc.encoders.log_deviations`, standardized over samples;
    2. in training, noise and dropout on the summary;
    3. :class:`~skumc.encoders.ModalityProjection`, then dual projection that starts as the
       identity;
    4. a second path where sequences have raw frames: standardized frames, another
       :class:`~skumc.encoders.ModalityProjection` and dual projection of each frame, then the mean
       over frames. Both paths are standardized over the training samples, as they are before
       training, and added;
    5. unit norm.

    Then :class:`~skumc.encoders.GatedFusion` over the modalities that are present, and unit norm.
    The untrained embedding is the standardized input with the same weight for each modality, so
    that training starts from what k-means on well-scaled features gives. Sections 3.3.2, 3.4.8 and
    step 1 of 3.8.1 of the UMC methodology; summaries, noise and initialization are ours.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(encoder=ProjectionEncoder(hidden_width=64)).get_params()[
    ...     "encoder__hidden_width"]
    64
    """

    learning_rate: ClassVar[float] = 4e-3  # the default for this encoder

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_width": [Interval(Integral, 1, None, closed="left")],
        "n_segments": [Interval(Integral, 1, None, closed="left")],
        "deviation": ["boolean"],
        "dual_projection": ["boolean"],
        "frame_path": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "input_noise": [Interval(Real, 0, None, closed="left")],
        "gate_normalization": [StrOptions({"sum", "softmax"})],
        "standardize": ["boolean"],
    }

    def __init__(
        self,
        *,
        hidden_width: int = 128,
        n_segments: int = 8,
        deviation: bool = True,
        dual_projection: bool = True,
        frame_path: bool = True,
        dropout: float = 0.2,
        input_dropout: float = 0.2,
        input_noise: float = 0.2,
        gate_normalization: str = "sum",
        standardize: bool = True,
    ) -> None:
        self.hidden_width = hidden_width
        self.n_segments = n_segments
        self.deviation = deviation
        self.dual_projection = dual_projection
        self.frame_path = frame_path
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.input_noise = input_noise
        self.gate_normalization = gate_normalization
        self.standardize = standardize

    def build(self, statistics: Mapping[str, FrameStatistics], anchor: str) -> nn.Module:
        """Build the network for modalities with these statistics.

        Parameters
        ----------
        statistics : dict of str to FrameStatistics
            Mean and scale of each modality's features (their number is its width) and the length
            of its longest sequence.
        anchor : str
            Not used: all modalities are treated alike.

        Returns
        -------
        ProjectionNetwork
        """
        del anchor
        self._validate_params()
        return ProjectionNetwork(statistics, **self.get_params(deep=False))
