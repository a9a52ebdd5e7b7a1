"""The contract of positive pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from torch import nn

from skumc._batches import to_batch
from skumc.data import MultimodalData
from skumc.encoders import Batch, EncoderOutput


class BasePairs(BaseEstimator):
    """Base of positive pairs for batches of the samples themselves.

    A subclass writes :meth:`encode`, and extends the other two where it needs more.

    Examples
    --------
    >>> from skumc.encoders import encode_views
    >>> class TwoPasses(BasePairs):
    ...     def encode(self, encoder, batch):
    ...         return encode_views(encoder, batch, [tuple(batch)] * 2)
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(pairs=TwoPasses()).get_params()["pairs"]
    TwoPasses()
    """

    def prepare(self, data: MultimodalData, anchor: str, graph: Any) -> None:
        """Get ready for the training samples, once before training.

        Parameters
        ----------
        data : MultimodalData
            The training samples.
        anchor : str
            Name of the anchor modality.
        graph : NeighborGraph or NoNeighborGraph
            Neighbors of the samples, see :class:`~skumc.neighbors.NeighborGraph`; they are
            refreshed in place during training.
        """
        self._data = data

    def sample(self, rows: np.ndarray, phase: str, rng: np.random.RandomState) -> Batch:
        """Gather the frames for one step, on the CPU; on a GPU another thread calls this.

        Parameters
        ----------
        rows : ndarray of int, shape (n_samples,)
            Samples of the step.
        phase : {"pretrain", "main"}
            Phase of training.
        rng : RandomState
            The only source of random numbers to use here.

        Returns
        -------
        dict of str to (Tensor (n_frames_total, width), Tensor (n_samples,))
        """
        return to_batch(self._data, rows)

    def encode(self, encoder: nn.Module, batch: Batch) -> list[EncoderOutput]:
        """Encode a batch as two or more views of equal length.

        The rows i of all views are positives of each other.

        Parameters
        ----------
        encoder : Module
            In training mode.
        batch : dict of str to (Tensor, Tensor)
            From :meth:`sample`, with frames on the device of the encoder.

        Returns
        -------
        list of EncoderOutput
        """
        raise NotImplementedError(f"{type(self).__name__} must define encode().")
