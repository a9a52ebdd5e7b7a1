"""Steps of training: one batch, its losses, its gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from skumc._batches import to_batch
from skumc.encoders import Batch, EncoderOutput, encode_views
from skumc.losses import batch_centers
from skumc.training._callbacks import CallbackList
from skumc.training._faults import StepMemoryError, is_out_of_memory
from skumc.training._isolation import autocast
from skumc.training._losses import (
    LossTerms,
    TermMeter,
    Terms,
    backward,
    clustering_space,
    contrastive_views,
)
from skumc.training._optimization import Stepper
from skumc.training._part_returns import checked_pairs
from skumc.training._prefetch import loaded
from skumc.training._state import TrainingState

_STEPS = {"pretrain": ("pretrain",), "main": ("supervised", "rest")}  # by phase


class Plan(NamedTuple):
    """Samples of a batch, and the step of training that reads them."""

    step: str  # "pretrain", "supervised" or "rest"
    rows: np.ndarray

    def pieces(self, n_pieces: int) -> list[Plan]:
        """Cut the batch into pieces of nearly equal size, as many as have two samples each."""
        n_pieces = max(min(n_pieces, len(self.rows) // 2), 1)
        return [Plan(self.step, rows) for rows in np.array_split(self.rows, n_pieces)]


def split_batches(
    step: str, rows: np.ndarray, batch_size: int, rng: np.random.RandomState
) -> list[Plan]:
    """Shuffle ``rows`` into the fewest batches of at most ``batch_size``, of nearly equal size.

    A contrastive loss on a small remainder would have few negatives.
    """
    if len(rows) == 0:
        return []
    parts = np.array_split(rng.permutation(rows), -(-len(rows) // batch_size))
    return [Plan(step, part) for part in parts]


class TrainingSteps:
    """Take the steps of an epoch.

    Parameters
    ----------
    terms : LossTerms
    pairs : object
        Positive pairs, see :class:`~skumc.pairs.BasePairs`.
    callbacks : CallbackList
    rng : RandomState
    """

    def __init__(
        self, terms: LossTerms, pairs: Any, callbacks: CallbackList, rng: np.random.RandomState
    ) -> None:
        self.terms = terms
        self._pairs = pairs
        self._callbacks = callbacks
        self._rng = rng

    def train(
        self, plans: list[Plan], stepper: Stepper, state: TrainingState, n_pieces: int = 1
    ) -> dict[str, Any]:
        """Take one step per batch, with a gradient accumulated over ``n_pieces`` pieces.

        Returns
        -------
        dict of str to float or None
            Mean of each loss, their weighted sum per step and the learning rate; None for a loss
            without a batch.
        """
        meter = TermMeter()
        cut = [plan.pieces(n_pieces) for plan in plans]
        pieces = [piece for plan in cut for piece in plan]
        batches = loaded(lambda plan: self._load(plan, state), pieces, state.settings.device)
        try:
            stepper.epoch(
                batches,
                [len(plan.rows) for plan in pieces],
                lambda pair, scale: self._step(pair[0], pair[1], scale, state, meter),
                state.epoch,
                state.n_epochs,
                list(map(len, cut)),
            )
        except Exception as error:
            if is_out_of_memory(error):
                raise StepMemoryError from error
            raise
        finally:
            batches.close()  # a thread that loads ahead has ended
        none = {f"loss_{name}": None for name in self.terms.active(*_STEPS[state.phase])}
        return none | meter.record() | {"learning_rate": stepper.learning_rate}

    def _load(self, plan: Plan, state: TrainingState) -> tuple[Plan, Batch]:
        """Gather the frames that a step reads; empty if the step has no loss."""
        if plan.step == "supervised":
            return plan, to_batch(state.data, plan.rows)
        if not self.terms.active(plan.step):
            return plan, {}
        return plan, self._pairs.sample(plan.rows, state.phase, self._rng)

    def _step(
        self, plan: Plan, batch: Batch, scale: float, state: TrainingState, meter: TermMeter
    ) -> None:
        """Encode a batch, compute its losses and add their gradient."""
        if not batch:
            return
        with autocast(state.settings.device, state.settings.precision):
            if plan.step == "supervised":
                outputs = encode_views(state.encoder, batch, state.views)
            else:
                outputs = checked_pairs(self._pairs.encode(state.encoder, batch))
        reports = backward(
            outputs,
            lambda copies: self._losses(plan, copies, state),
            scale,
            tuple(self.terms.modules.parameters()),
            keep_gradients=self._callbacks.reads_steps,
        )
        meter.add(reports, self.terms.weights)
        self._callbacks.step_end(state, reports)

    def _losses(self, plan: Plan, outputs: list[EncoderOutput], state: TrainingState) -> Terms:
        inputs = {"views": contrastive_views(outputs)}
        if plan.step == "supervised":
            assert state.labels is not None and state.read_centers is not None
            full = clustering_space(outputs[0])
            labels = torch.from_numpy(state.labels[plan.rows].astype(np.int64))
            centers = batch_centers(full, labels, state.read_centers)
            inputs |= {"embedding": full, "labels": labels, "centers": centers}
        return self.terms.compute(plan.step, inputs)
