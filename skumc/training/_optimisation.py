"""Gradients, steps and learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from skumc.encoders import EncoderOutput

Terms: TypeAlias = dict[str, tuple[float, Tensor]]

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


SCHEDULES = ("cosine", "linear", "constant")
_FLOOR = 0.01


def learning_rate_factor(
    progress: float, warmup_proportion: float, schedule: str = "cosine"
) -> float:
    r"""Share of the full learning rate after ``progress`` in (0, 1] of a phase.

    Parameters
    ----------
    progress : float
        Steps done, this one included, over those of the phase.
    warmup_proportion : float
        Within [0, 1].
    schedule : {"cosine", "linear", "constant"}, default="cosine"

    Returns
    -------
    float

    Notes
    -----
    With progress :math:`p` and warm-up :math:`w`, :math:`p / w` where :math:`p < w`. Behind it,
    for :math:`q = (p - w) / (1 - w)`, the cosine schedule is

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


def _tangential(gradient: Tensor, embedding: Tensor) -> Tensor:
    """The part of a gradient that can move a unit-norm embedding."""
    return gradient - (gradient * embedding).sum(dim=-1, keepdim=True) * embedding


def backward_terms(
    outputs: Sequence[EncoderOutput],
    compute: Callable[[list[EncoderOutput]], Terms],
    scale: float = 1.0,
    loss_parameters: Sequence[nn.Parameter] = (),
) -> dict[str, tuple[Tensor, Tensor]]:
    """Add the gradient of a weighted sum of losses to the parameters of encoder and losses.

    The losses are computed on copies that end the graph, so that each one's gradient is known,
    and the encoder is walked back through once with their sum.

    Parameters
    ----------
    outputs : sequence of EncoderOutput
        One a view, with their graph.
    compute : callable
        Gives name -> (weight, loss) from outputs.
    scale : float, default=1.0
        Multiplies the gradient.
    loss_parameters : sequence of Parameter, default=()
        Parameters of the losses themselves.

    Returns
    -------
    dict of str to (Tensor, Tensor)
        For each loss its value, unweighted, and the norm of its weighted gradient on the outputs,
        of the embedding the part that unit norm does not cancel.
    """
    originals: list[Tensor] = []
    leaves: list[Tensor] = []
    unit: list[bool] = []

    def leaf(tensor: Tensor, is_unit: bool) -> Tensor:
        originals.append(tensor)
        unit.append(is_unit)
        leaves.append(tensor.detach().float().requires_grad_())
        return leaves[-1]

    copies = [
        EncoderOutput(
            leaf(output.embedding, True),
            output.gates,
            {name: leaf(value, False) for name, value in output.projections.items()},
        )
        for output in outputs
    ]
    gradients = [torch.zeros_like(value) for value in leaves]
    trained = [parameter for parameter in loss_parameters if parameter.requires_grad]
    report = {}
    for name, (weight, loss) in compute(copies).items():
        squared = loss.new_zeros(())
        if loss.requires_grad:
            found = torch.autograd.grad(
                weight * loss, [*leaves, *trained], retain_graph=True, allow_unused=True
            )
            for parameter, gradient in zip(trained, found[len(leaves) :], strict=True):
                if gradient is not None:
                    gradient = scale * gradient
                    parameter.grad = (
                        gradient if parameter.grad is None else parameter.grad + gradient
                    )
            for i, gradient in enumerate(found[: len(leaves)]):
                if gradient is not None:
                    gradients[i] += gradient
                    moving = _tangential(gradient, leaves[i].detach()) if unit[i] else gradient
                    squared = squared + moving.square().sum()
        report[name] = (loss.detach(), squared.sqrt())
    moved = [
        (original, scale * gradient.to(original.dtype))
        for original, gradient in zip(originals, gradients, strict=True)
        if original.requires_grad
    ]
    if report and moved:
        torch.autograd.backward(*map(list, zip(*moved, strict=True)))
    return report


class TermMeter:
    """Mean of each loss over its steps, and the largest norm of its gradient."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._norms: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._total: Tensor | float = 0.0
        self._n_steps = 0

    def add(self, report: dict[str, tuple[Tensor, Tensor]], weights: dict[str, float]) -> None:
        """Take in what one step reports; nothing waits for the device."""
        for name, (value, norm) in report.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._norms[name] = torch.maximum(self._norms.get(name, norm), norm)
            self._counts[name] = self._counts.get(name, 0) + 1
            self._total = self._total + weights[name] * value
        self._n_steps += 1

    def record(self) -> dict[str, float]:
        """``loss_<name>``, ``gradient_<name>`` and ``loss_total``, the weighted sum a step."""
        values = {
            f"loss_{name}": float(total) / self._counts[name] for name, total in self._sums.items()
        }
        values |= {f"gradient_{name}": float(norm) for name, norm in self._norms.items()}
        values["loss_total"] = float(self._total) / max(self._n_steps, 1)
        return values


def _groups(
    encoder: nn.Module,
    text_parameters: Iterable[nn.Parameter],
    learning_rate: float,
    text_learning_rate: float,
) -> list[dict[str, Any]]:
    """Parameters by learning rate, those of text models last; empty groups are left out."""
    text = {p for p in text_parameters if p.requires_grad}
    others = [p for p in encoder.parameters() if p.requires_grad and p not in text]
    groups = [
        {"params": others, "lr": learning_rate},
        {"params": [p for p in encoder.parameters() if p in text], "lr": text_learning_rate},
    ]
    return [group for group in groups if group["params"]]


class Stepper:
    """One phase's optimizer and schedule.

    Parameters
    ----------
    encoder : Module
        Everything that trains, losses with parameters included.
    text_parameters : iterable of Parameter, default=()
        Those that train with ``text_learning_rate``.
    optimizer : {"adam", "adamw", "sgd"} or callable
        A callable gets ``(parameters, lr=..., weight_decay=...)``.
    learning_rate : float
    text_learning_rate : float
        Of ``text_parameters``.
    weight_decay : float
    warmup_proportion : float
    schedule : {"cosine", "linear", "constant"}
    grad_clip : float or None
        Bound on each value of the gradient; None does not clip.
    accumulate_steps : int
        Batches whose gradients make one step.
    averaging : float
        See :class:`AveragedWeights`, which ``average`` is.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        text_parameters: Iterable[nn.Parameter] = (),
        optimizer: Any,
        learning_rate: float,
        text_learning_rate: float,
        weight_decay: float,
        warmup_proportion: float,
        schedule: str,
        grad_clip: float | None,
        accumulate_steps: int,
        averaging: float = 0.0,
    ) -> None:
        self.average = AveragedWeights(encoder, averaging)
        self._parameters = [p for p in encoder.parameters() if p.requires_grad]
        groups = _groups(encoder, text_parameters, learning_rate, text_learning_rate)
        self._full_rates = [group["lr"] for group in groups]
        self._optimizer = None
        if groups:
            plain = groups[0]["params"] if len(groups) == 1 else groups
            make = optimizer
            if not callable(optimizer):
                make = partial(OPTIMIZERS[optimizer], fused=True)  # a step in one pass
            self._optimizer = make(plain, lr=self._full_rates[0], weight_decay=weight_decay)
        self._warmup = warmup_proportion
        self._schedule = schedule
        self._grad_clip = grad_clip
        self._accumulate = accumulate_steps
        self.learning_rate = 0.0

    def epoch(
        self,
        batches: Iterable[Any],
        sizes: Sequence[int],
        backward: Callable[[Any, float], None],
        epoch: int,
        n_epochs: int,
    ) -> None:
        """Train one epoch.

        Parameters
        ----------
        batches : iterable
            Passed one by one to ``backward``, each taken when its turn comes.
        sizes : sequence of int
            Samples in each batch.
        backward : callable
            ``backward(batch, scale)`` adds the batch's gradient, times ``scale``.
        epoch, n_epochs : int
            Where the schedule stands.
        """
        batches = iter(batches)
        starts = range(0, len(sizes), self._accumulate)
        for group, start in enumerate(starts):
            taken = sizes[start : start + self._accumulate]
            n_samples = sum(taken)
            self._zero_grad()
            for size in taken:
                backward(next(batches), size / n_samples)
            self._step((epoch + (group + 1) / len(starts)) / n_epochs)

    def _zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _step(self, progress: float) -> None:
        if self._optimizer is None:
            return
        factor = learning_rate_factor(progress, self._warmup, self._schedule)
        self.learning_rate = factor * self._full_rates[0]
        if self._grad_clip is not None:
            nn.utils.clip_grad_value_(self._parameters, self._grad_clip)
        for group, rate in zip(self._optimizer.param_groups, self._full_rates, strict=True):
            group["lr"] = factor * rate
        self._optimizer.step()
        self.average.update()


class AveragedWeights:
    r"""Running average of the weights that train.

    Parameters
    ----------
    encoder : Module
    decay : float
        Share of the average that a step keeps, in the long run; 0 keeps none.

    Notes
    -----
    After step :math:`t` (from 0) the average is :math:`\bar w \leftarrow d_t \bar w + (1 - d_t) w`
    with :math:`d_t = \min(d, (1 + t) / (10 + t))`, so that the first weights are soon forgotten.
    """

    def __init__(self, encoder: nn.Module, decay: float) -> None:
        self._decay = decay
        self._weights = [p for p in encoder.parameters() if p.requires_grad] if decay else []
        self._averages = [p.detach().clone() for p in self._weights]
        self._n_steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        decay = min(self._decay, (1 + self._n_steps) / (10 + self._n_steps))
        self._n_steps += 1
        if self._averages:
            torch._foreach_lerp_(self._averages, self._weights, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the encoder have the averages within the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for place, weights in enumerate(self._weights):
            weights.data, self._averages[place] = self._averages[place], weights.data


def copy_state(encoder: nn.Module) -> dict[str, Tensor]:
    """A copy of the encoder's parameters and buffers."""
    return {name: value.detach().clone() for name, value in encoder.state_dict().items()}
