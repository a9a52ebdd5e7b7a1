"""Epochs that are repeated after a fault, or that go on from a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch

from skumc._warnings import warn_caller
from skumc.training._faults import LossNotFiniteError, StepMemoryError
from skumc.training._optimization import Stepper
from skumc.training._run_state import RunState


class Checkpoints(Protocol):
    """Store of the states of a run."""

    def newest(self) -> dict[str, Any] | None:
        """Return the state to go on from."""

    def write(self, saved: dict[str, Any]) -> None:
        """Keep a state."""

    def stay_unfinished(self) -> None:
        """Leave what is kept to a later fit, as this one ends before its time."""


class Recovery:
    """Run the epochs of a phase, and keep the state of the last good one.

    Parameters
    ----------
    run : RunState
    checkpoints : Checkpoints or None
        Store of the state of each epoch; training goes on from the newest.

    Notes
    -----
    An epoch with a loss that is not finite is repeated once in a run, with half the learning rate.
    An epoch with a step for which memory does not suffice is repeated with batches cut in pieces,
    twice as many each time, with accumulated gradients.
    """

    def __init__(self, run: RunState, checkpoints: Checkpoints | None) -> None:
        self._run, self._checkpoints = run, checkpoints
        self._resumed = None if checkpoints is None else checkpoints.newest()
        self._last: dict[str, Any] = {}

    def epochs(self, n_epochs: int, stepper: Stepper, train: Callable[[Stepper], bool]) -> None:
        """Run the epochs of a phase.

        Parameters
        ----------
        n_epochs : int
            Maximum number of epochs.
        stepper : Stepper
            Optimizer of the phase.
        train : callable
            Trains an epoch with the stepper; returns whether the phase ends with it.
        """
        progress, state = self._run.progress, self._run.state
        if self._resumed is not None and self._resumed["progress"]["phase"] != state.phase:
            return  # the checkpoint is of a later phase
        self._begin(stepper)
        while progress.epoch < n_epochs and not progress.ends:
            state.epoch = progress.epoch
            repeat = None
            try:
                progress.ends = train(stepper)
            except LossNotFiniteError as error:
                repeat = self._slower(error)
            except StepMemoryError as error:
                repeat = self._in_pieces(error)
            if repeat is not None:  # the error, with all tensors of the step, is gone by now
                self._run.restore(self._last, stepper)
                repeat(stepper)
                continue
            progress.epoch += 1
            self._last = self._run.take(stepper)
            if self._checkpoints is not None:
                self._checkpoints.write(self._last)

    def stay_unfinished(self) -> None:
        """Leave the checkpoints to a later fit: this one was interrupted."""
        if self._checkpoints is not None:
            self._checkpoints.stay_unfinished()

    def _begin(self, stepper: Stepper) -> None:
        progress = self._run.progress
        if self._resumed is not None:
            self._last, self._resumed = self._resumed, None
            self._run.restore(self._last, stepper)
            return
        progress.phase, progress.epoch, progress.ends = self._run.state.phase, 0, False
        self._last = self._run.take(stepper)

    def _slower(self, error: LossNotFiniteError) -> Callable[[Stepper], None]:
        """Return the change for a loss that is not finite: half the learning rate, once."""
        remedy = (
            "Lower learning_rate or pretrain_learning_rate, or set optimization__grad_clip; check "
            "the losses that you wrote."
        )
        if self._run.progress.is_slowed:
            raise FloatingPointError(
                f"{error} The learning rate was halved before, which did not help. {remedy}"
            ) from error
        warn_caller(
            f"{error} The epoch is repeated from the state before it, with half the learning rate "
            f"for the rest of the phase. {remedy}"
        )

        def halve(stepper: Stepper) -> None:
            self._run.progress.is_slowed = True
            stepper.slow_down(0.5)

        return halve

    def _in_pieces(self, error: StepMemoryError) -> Callable[[Stepper], None]:
        """Return the change for a step that does not fit: batches in twice as many pieces."""
        settings, n_pieces = self._run.state.settings, 2 * self._run.progress.n_pieces
        size = min(settings.batch_size, len(self._run.state.data))
        if size < 2 * n_pieces:  # a contrastive loss needs two samples
            assert error.__cause__ is not None
            raise error.__cause__
        fitting = math.ceil(size / n_pieces)
        warn_caller(
            f"Memory did not suffice for a step ({error.__cause__!s:.100}). The epoch is repeated, "
            f"and training goes on, with batches cut in {n_pieces}, of at most {fitting} samples, "
            "and accumulated gradients: the same for losses that are a mean over samples; "
            "contrastive losses and centers read fewer samples at a time. Set "
            f"batch_size={fitting} and optimization__accumulate_steps={n_pieces}, or take a "
            "smaller encoder or text model."
        )

        def cut(stepper: Stepper) -> None:
            self._run.progress.n_pieces = n_pieces

        if settings.device.type == "cuda":
            torch.cuda.empty_cache()
        return cut
