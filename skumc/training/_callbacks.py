"""Hooks that are called while training runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor

from skumc._console import as_clock, write_line
from skumc.training._best import BestEpoch
from skumc.training._losses import StepReport
from skumc.training._state import TrainingState


class Callback:
    """Base of hooks: every method does nothing, override those you need.

    The base is for convenience: any object with some of these methods is a callback.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> class StopEarly(Callback):
    ...     def on_epoch_end(self, state, record):
    ...         return state.phase == "main" and record["selected_share"] > 0.1
    >>> UMCClusterer(callbacks=[StopEarly()]).callbacks  # doctest: +ELLIPSIS
    [<...StopEarly object at ...>]
    """

    def on_train_begin(self, state: TrainingState) -> None:
        """Start: the encoder is built, neighbors are found, training has not started."""

    def on_epoch_begin(self, state: TrainingState) -> None:
        """Start of an epoch's training; the last main epoch, which only judges, has none."""

    def on_step_end(self, state: TrainingState, reports: Mapping[str, StepReport]) -> None:
        """End of a step's backward pass; ``reports`` holds its losses by role."""

    def on_epoch_judged(
        self, state: TrainingState, record: dict[str, Any], best: BestEpoch
    ) -> bool | None:
        """End of the clustering and judgment at the start of a main epoch.

        ``record`` has its monitor and threshold; ``best`` has the ``record``, ``centers``,
        ``labels`` and ``selected`` samples of the best epoch so far.

        Returns
        -------
        bool or None
            True ends training at once, as ``max_epochs`` would.
        """
        return None

    def on_epoch_end(self, state: TrainingState, record: dict[str, Any]) -> bool | None:
        """End of an epoch; ``record`` is its entry in ``history_`` and may be extended.

        Returns
        -------
        bool or None
            True ends training: the current state is still clustered and judged.
        """
        return None

    def on_train_end(self, state: TrainingState) -> None:
        """End: the encoder has its best weights; all else in ``state`` is of the last epoch."""


HOOKS = [name for name in vars(Callback) if name.startswith("on_")]


def defines(callback: Any, hook: str) -> bool:
    """Tell whether a callback has a hook of its own, other than the base's."""
    method = getattr(callback, hook, None)
    return callable(method) and getattr(method, "__func__", None) is not getattr(Callback, hook)


def _any_true(results: list[Any]) -> bool:
    """Whether a hook returned True, not only a value that counts as true."""
    return any(isinstance(result, bool | np.bool_) and bool(result) for result in results)


class CallbackList:
    """Call the hooks of several callbacks in order.

    Parameters
    ----------
    callbacks : sequence of object
        Each with some of the methods of :class:`Callback`.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self._callbacks = callbacks
        self.reads_steps = any(defines(callback, "on_step_end") for callback in callbacks)

    def train_begin(self, state: TrainingState) -> None:
        """Call every ``on_train_begin``."""
        self._call("on_train_begin", state)

    def epoch_begin(self, state: TrainingState) -> None:
        """Call every ``on_epoch_begin``."""
        self._call("on_epoch_begin", state)

    def step_end(self, state: TrainingState, reports: Mapping[str, StepReport]) -> None:
        """Call every ``on_step_end``."""
        self._call("on_step_end", state, reports)

    def epoch_end(self, state: TrainingState, record: dict[str, Any]) -> bool:
        """Call every ``on_epoch_end``; return whether one of them returns True."""
        return _any_true(self._call("on_epoch_end", state, record))

    def epoch_judged(self, state: TrainingState, record: dict[str, Any], best: BestEpoch) -> bool:
        """Call every ``on_epoch_judged``; return whether one of them returns True."""
        return _any_true(self._call("on_epoch_judged", state, record, best))

    def train_end(self, state: TrainingState) -> None:
        """Call every ``on_train_end``."""
        self._call("on_train_end", state)

    def _call(self, method: str, *arguments: Any) -> list[Any]:
        return [
            getattr(callback, method)(*arguments)
            for callback in self._callbacks
            if defines(callback, method)
        ]


class ProgressLines(BaseEstimator):
    """Print one line per epoch, with the remaining time of the phase.

    Parameters
    ----------
    every : int, default=1
        Print every ``every``-th epoch, and the last of each phase.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(verbose=5).verbose  # the same as callbacks=[ProgressLines(5)]
    5
    """

    _shown = {"loss_total": "loss", "monitor": "monitor", "threshold": "threshold"}

    _parameter_constraints: dict[str, list[Any]] = {
        "every": [Interval(Integral, 1, None, closed="left")]
    }

    def __init__(self, every: int = 1) -> None:
        self.every = every

    def on_train_begin(self, state: TrainingState) -> None:
        """Check the parameter."""
        self._validate_params()

    def on_epoch_end(self, state: TrainingState, record: dict[str, Any]) -> None:
        """Print the line of an epoch."""
        epoch, n_epochs = record["epoch"] + 1, state.n_epochs
        if epoch % self.every and epoch < n_epochs:
            return
        step = f"{epoch}/{n_epochs}" if epoch <= n_epochs else "end"
        values = "  ".join(
            f"{label} {record[key]:.4f}" for key, label in self._shown.items() if key in record
        )
        left = as_clock(record["seconds"] * max(n_epochs - epoch, 0))
        write_line(f"{record['phase']} {step}  {values}  {left} left in this phase")


class GradientNorms(BaseEstimator):
    """Record the largest gradient norm of each loss in an epoch, as ``gradient_<role>``.

    Notes
    -----
    The norm is that of the weighted loss's gradient with respect to the encoder's outputs; for a
    unit-norm embedding only the part that normalization does not cancel counts.

    Examples
    --------
    >>> import numpy as np
    >>> from skumc import UMCClusterer
    >>> X = np.random.default_rng(0).normal(size=(20, 3))
    >>> fitted = UMCClusterer(
    ...     2, callbacks=[GradientNorms()], pretrain_epochs=1, max_epochs=0, random_state=0
    ... ).fit(X)
    >>> fitted.history_.phase("pretrain")[0, "gradient_infonce"] > 0
    True
    """

    def on_train_begin(self, state: TrainingState) -> None:
        """Forget an earlier run."""
        self._norms: dict[str, Tensor] = {}

    def on_step_end(self, state: TrainingState, reports: Mapping[str, StepReport]) -> None:
        """Measure the gradients of a step."""
        for name, report in reports.items():
            squared = report.loss.new_zeros(())
            for value, gradient, is_unit in report.gradients:
                if is_unit:
                    gradient = gradient - (gradient * value).sum(dim=-1, keepdim=True) * value
                squared = squared + gradient.square().sum()
            norm = squared.sqrt()
            self._norms[name] = torch.maximum(self._norms.get(name, norm), norm)

    def on_epoch_end(self, state: TrainingState, record: dict[str, Any]) -> None:
        """Add the norms to the record."""
        record |= {f"gradient_{name}": float(norm) for name, norm in self._norms.items()}
        self._norms = {}
