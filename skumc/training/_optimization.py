"""Optimizer, learning-rate schedule and averaging of weights."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from numbers import Integral, Real
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
_FLOOR = 0.01  # share of the learning rate at the end of the cosine schedule


def learning_rate_factor(
    progress: float, warmup_proportion: float, schedule: str = "cosine"
) -> float:
    r"""Share of the full learning rate after ``progress`` in (0, 1] of a phase.

    Parameters
    ----------
    progress : float
        Steps done, the current one included, divided by the steps of the phase.
    warmup_proportion : float
        Share of the phase in which the rate rises, within [0, 1].
    schedule : {"cosine", "linear", "constant"}, default="cosine"

    Returns
    -------
    float

    Notes
    -----
    With progress :math:`p` and warm-up :math:`w`, :math:`p / w` where :math:`p < w`. After it,
    with :math:`q = (p - w) / (1 - w)`, the cosine schedule is

    .. math:: f + (1 - f) (1 + \cos(\pi q)) / 2

    with the floor :math:`f = 0.01` (UMC methodology, section 3.7.3), the linear one
    :math:`1 - q`, the constant one 1.

    Examples
    --------
    >>> learning_rate_factor(0.05, 0.1), learning_rate_factor(1.0, 0.1)
    (0.5, 0.01)
    """
    if progress < warmup_proportion:
        return progress / warmup_proportion
    if schedule == "constant" or warmup_proportion >= 1:
        return 1.0
    share = min((progress - warmup_proportion) / (1 - warmup_proportion), 1.0)
    if schedule == "linear":
        return 1 - share
    return _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * share)) / 2


class Optimization(BaseEstimator):
    r"""Optimizer, learning-rate schedule, averaging of weights, and checkpoints.

    Parameters
    ----------
    optimizer : {"adam", "adamw", "sgd"} or callable, default="adamw"
        Optimizer; a callable is called as ``optimizer(parameters, lr=..., weight_decay=...)``.
    weight_decay : float in [0, inf), default=1e-4
        Weight decay of the optimizer.
    warmup_proportion : float in [0, 1], default=0.1
        Share of a phase in which the learning rate rises linearly.
    schedule : {"cosine", "linear", "constant"}, default="constant"
        Learning rate after the warm-up: a cosine down to 1 %, a line down to 0, or constant.
    grad_clip : float in (0, inf) or None, default=None
        Bound on the absolute value of each gradient; None does not clip.
    accumulate_steps : int in [1, inf), default=1
        Number of batches per optimizer step. The result equals that of the larger batch for losses
        that are a mean over samples; contrastive losses and centers read one batch at a time.
    weight_averaging : float in [0, 1), default=0.98
        Decay :math:`d` of the running average of the weights in the progressive loop. The
        encoder with the average is clustered, judged and kept. 0 takes the weights as they are.
    min_epochs : int in [0, inf) or None, default=None
        First epoch of the progressive loop in which a lack of improvement counts towards
        ``patience``. None is 60 % of ``max_epochs``.
    checkpoint_dir : str, path or None, default=None
        Folder to which each epoch is written, so that a ``fit`` that was killed goes on from the
        last epoch when it is called again; see the guide. It belongs to one fit at a time.

    Notes
    -----
    After step :math:`t` (from 0) the average is :math:`\bar w \leftarrow d_t \bar w + (1 - d_t) w`
    with :math:`d_t = \min(d, (1 + t) / (10 + t))`, so that the first weights lose their influence
    fast.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> clusterer = UMCClusterer(optimization=Optimization(schedule="cosine"))
    >>> clusterer.set_params(optimization__weight_decay=0.01).optimization
    Optimization(schedule='cosine', weight_decay=0.01)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "optimizer": [StrOptions(set(_OPTIMIZERS)), callable],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "warmup_proportion": [Interval(Real, 0, 1, closed="both")],
        "schedule": [StrOptions({"cosine", "linear", "constant"})],
        "grad_clip": [Interval(Real, 0, None, closed="neither"), None],
        "accumulate_steps": [Interval(Integral, 1, None, closed="left")],
        "weight_averaging": [Interval(Real, 0, 1, closed="left")],
        "min_epochs": [Interval(Integral, 0, None, closed="left"), None],
        "checkpoint_dir": [str, os.PathLike, None],
    }

    def __init__(
        self,
        optimizer: Any = "adamw",
        *,
        weight_decay: float = 1e-4,
        warmup_proportion: float = 0.1,
        schedule: str = "constant",
        grad_clip: float | None = None,
        accumulate_steps: int = 1,
        weight_averaging: float = 0.98,
        min_epochs: int | None = None,
        checkpoint_dir: str | os.PathLike | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.warmup_proportion = warmup_proportion
        self.schedule = schedule
        self.grad_clip = grad_clip
        self.accumulate_steps = accumulate_steps
        self.weight_averaging = weight_averaging
        self.min_epochs = min_epochs
        self.checkpoint_dir = checkpoint_dir

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Make the optimizer of one phase.

        Parameters
        ----------
        groups : list of dict
            Parameter groups as torch's optimizers take them, each with ``params`` and ``lr``.

        Returns
        -------
        Optimizer
        """
        make = self.optimizer
        if not callable(make):
            make = partial(_OPTIMIZERS[make], fused=True)  # a step in one pass
        plain = groups[0]["params"] if len(groups) == 1 else groups
        return make(plain, lr=groups[0]["lr"], weight_decay=self.weight_decay)


class AveragedWeights:
    """Running average of the weights that train; see :class:`Optimization` for its formula.

    The weights of the model itself are swapped, so that its buffers and any other state of its
    modules stay the live ones, frozen weights are not copied, and nothing waits for a device.
    ``torch.optim.swa_utils.AveragedModel`` copies the whole model, and waits at each step.

    Parameters
    ----------
    model : Module
    decay : float
        Share of the average that a step keeps in the long run; 0 keeps no average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        trained: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self._weights = trained if decay else []
        self._averages = [p.detach().clone() for p in self._weights]
        self._n_steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step."""
        decay = min(self._decay, (1 + self._n_steps) / (10 + self._n_steps))
        self._n_steps += 1
        if self._averages:
            torch._foreach_lerp_(self._averages, self._weights, 1 - decay)

    def state(self) -> dict[str, Any]:
        """Return the averages and the number of steps."""
        return {"averages": self._averages, "n_steps": self._n_steps}

    @torch.no_grad()
    def load_state(self, saved: dict[str, Any]) -> None:
        """Take over what :meth:`state` returned."""
        self._n_steps = saved["n_steps"]
        for place, values in zip(self._averages, saved["averages"], strict=True):
            place.copy_(values)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages in the place of the weights within the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for place, weights in enumerate(self._weights):
            weights.data, self._averages[place] = self._averages[place], weights.data


class Stepper:
    """Optimizer and schedule of one phase.

    Parameters
    ----------
    model : Module
        Everything that trains: the encoder, and losses with parameters.
    text_parameters : iterable of Parameter
        Parameters of text models, which train with ``text_learning_rate``.
    optimization : Optimization
    learning_rate, text_learning_rate : float
        Largest learning rates.
    averages : bool
        Whether the weights are averaged.

    Attributes
    ----------
    average : AveragedWeights
        The average of the weights.
    learning_rate : float
        Learning rate of the last step.
    """

    def __init__(
        self,
        model: nn.Module,
        text_parameters: Iterable[nn.Parameter],
        optimization: Optimization,
        learning_rate: float,
        text_learning_rate: float,
        averages: bool,
    ) -> None:
        self._settings = optimization
        self.average = AveragedWeights(model, optimization.weight_averaging if averages else 0.0)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        is_text = set(text_parameters)
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self._parameters if p not in is_text], "lr": learning_rate},
            {"params": [p for p in self._parameters if p in is_text], "lr": text_learning_rate},
        ]
        groups = [group for group in groups if group["params"]]
        self._full_rates = [group["lr"] for group in groups]
        self._optimizer = optimization.make(groups) if groups else None
        self.learning_rate = 0.0

    def state(self) -> dict[str, Any]:
        """Return the state of optimizer, averages and learning rates."""
        return {
            "optimizer": None if self._optimizer is None else self._optimizer.state_dict(),
            "average": self.average.state(),
            "full_rates": self._full_rates,
            "learning_rate": self.learning_rate,
        }

    def load_state(self, saved: dict[str, Any]) -> None:
        """Take over what :meth:`state` returned, the objects themselves."""
        if self._optimizer is not None:
            self._optimizer.load_state_dict(saved["optimizer"])
        self.average.load_state(saved["average"])
        self._full_rates, self.learning_rate = saved["full_rates"], saved["learning_rate"]

    def slow_down(self, factor: float) -> None:
        """Multiply the largest learning rates."""
        self._full_rates = [factor * rate for rate in self._full_rates]

    def epoch(
        self,
        batches: Iterable[Any],
        sizes: Sequence[int],
        backward: Callable[[Any, float], None],
        epoch: int,
        n_epochs: int,
        n_pieces: Sequence[int] | None = None,
    ) -> None:
        """Train one epoch.

        Parameters
        ----------
        batches : iterable
            Passed one by one to ``backward``, each taken when its turn comes.
        sizes : sequence of int
            Number of samples of each batch.
        backward : callable
            ``backward(batch, scale)`` adds the batch's gradient, times ``scale``.
        epoch, n_epochs : int
            Position in the schedule.
        n_pieces : sequence of int or None, default=None
            Numbers of consecutive batches that are pieces of a whole one; None is 1 for each.
        """
        batches = iter(batches)
        pieces = [1] * len(sizes) if n_pieces is None else n_pieces
        ends = list(accumulate(pieces, initial=0))[:: self._settings.accumulate_steps]
        starts = [start for start in ends if start < len(sizes)]
        for step, start in enumerate(starts):
            taken = sizes[start : (*starts, len(sizes))[step + 1]]
            n_samples = sum(taken)
            for parameter in self._parameters:
                parameter.grad = None
            for size in taken:
                backward(next(batches), size / n_samples)
            self._step((epoch + (step + 1) / len(starts)) / n_epochs)

    def _step(self, progress: float) -> None:
        """Take a step; ``progress`` is the share of the phase that is done with it.

        Epochs have different numbers of steps, as the number of taught samples varies, so the
        learning rate depends on that share and not on a count of steps, as torch's schedulers do.
        """
        if self._optimizer is None:
            return
        settings = self._settings
        factor = learning_rate_factor(progress, settings.warmup_proportion, settings.schedule)
        self.learning_rate = factor * self._full_rates[0]
        for group, rate in zip(self._optimizer.param_groups, self._full_rates, strict=True):
            group["lr"] = factor * rate
        if settings.grad_clip is not None:
            moved = [p for p in self._parameters if p.grad is not None]
            if moved:  # no loss has reached a weight otherwise
                nn.utils.clip_grad_value_(moved, settings.grad_clip)
        self._optimizer.step()
        self.average.update()
