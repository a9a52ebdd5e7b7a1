"""Losses of one step and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from skumc._sequences import sent
from skumc.encoders import EncoderOutput
from skumc.losses import role_of

Terms: TypeAlias = dict[str, tuple[float, Tensor]]


class OutputGradient(NamedTuple):
    """Gradient of one loss with respect to one tensor of the encoder's output.

    Attributes
    ----------
    value : Tensor of shape (n_samples, width)
        The embedding of a view, or one of its projections.
    gradient : Tensor of shape (n_samples, width)
        Of the weighted loss.
    is_unit : bool
        Whether the rows of ``value`` have unit norm.

    Examples
    --------
    >>> import torch
    >>> OutputGradient(torch.eye(2), torch.zeros(2, 2), True).is_unit
    True
    """

    value: Tensor
    gradient: Tensor
    is_unit: bool


class StepReport(NamedTuple):
    """Value and gradients of one loss in one step, for ``on_step_end``.

    Attributes
    ----------
    loss : Tensor of shape ()
        Unweighted.
    gradients : list of OutputGradient
        Empty where no callback reads them.

    Examples
    --------
    >>> import torch
    >>> float(StepReport(torch.tensor(2.0), []).loss)
    2.0
    """

    loss: Tensor
    gradients: list[OutputGradient]


class LossTerms:
    """The weighted losses by the step of training that calls them.

    Parameters
    ----------
    terms : dict of str to (float, callable)
        By role the weight and the loss, see :class:`~skumc.losses.WeightedLosses`.

    Attributes
    ----------
    weights : dict of str to float
        Weight by role.
    modules : ModuleList
        Losses with parameters.
    """

    def __init__(self, terms: Mapping[str, tuple[float, Callable[..., Tensor]]]) -> None:
        self.weights = {name: weight for name, (weight, _) in terms.items()}
        self.modules = nn.ModuleList(
            loss for _, loss in terms.values() if isinstance(loss, nn.Module)
        )
        self._losses = {name: loss for name, (_, loss) in terms.items()}
        self._roles = {name: role_of(name, loss) for name, loss in self._losses.items()}

    def active(self, *steps: str) -> list[str]:
        """Names of the losses of some steps with a weight other than 0."""
        return [n for n, role in self._roles.items() if role.step in steps and self.weights[n]]

    def compute(self, step: str, inputs: Mapping[str, Tensor]) -> Terms:
        """Weight and value of each active loss of a step."""
        return {
            name: (self.weights[name], self._value(name, [inputs[i] for i in role.reads]))
            for name, role in self._roles.items()
            if role.step == step and self.weights[name]
        }

    def _value(self, name: str, inputs: list[Tensor]) -> Tensor:
        loss = self._losses[name]
        if not getattr(loss, "moves_tensors", False):
            device = inputs[0].device
            inputs = [x if x.device == device else sent(x, device) for x in inputs]
        try:
            value = loss(*inputs)
        except TypeError as error:
            raise TypeError(
                f"The loss {name!r} failed: {error}. It is called with {len(inputs)} tensor(s), "
                f"see WeightedLosses. Check losses={{{name!r}: ...}}."
            ) from error
        if not isinstance(value, Tensor) or value.ndim:
            raise TypeError(
                f"The loss {name!r} gave {type(value).__name__}, expected a tensor with one "
                f"number. Check losses={{{name!r}: ...}}."
            )
        return value


def contrastive_views(outputs: Sequence[EncoderOutput]) -> Tensor:
    """Stack the views for contrastive losses, (n_samples, n_views, width)."""
    return torch.stack([o.projections.get("contrastive", o.embedding) for o in outputs], dim=1)


def clustering_space(output: EncoderOutput) -> Tensor:
    """Select the space that compactness and separation read, (n_samples, width)."""
    return output.projections.get("clustering", output.embedding)


def backward(
    outputs: Sequence[EncoderOutput],
    compute: Callable[[list[EncoderOutput]], Terms],
    scale: float = 1.0,
    loss_parameters: Sequence[nn.Parameter] = (),
    keep_gradients: bool = False,
) -> dict[str, StepReport]:
    """Add the gradient of a weighted sum of losses to the parameters of encoder and losses.

    The losses are computed on copies that end the graph, which gives the gradient of each of them;
    one pass back through the encoder takes their sum.

    Parameters
    ----------
    outputs : sequence of EncoderOutput
        One per view, with their graph.
    compute : callable
        Maps outputs to a dict of name to (weight, loss).
    scale : float, default=1.0
        Factor of the gradient.
    loss_parameters : sequence of Parameter, default=()
        Parameters of the losses themselves.
    keep_gradients : bool, default=False
        Whether the reports have gradients.

    Returns
    -------
    dict of str to StepReport
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
    sums = [torch.zeros_like(value) for value in leaves]
    trained = [parameter for parameter in loss_parameters if parameter.requires_grad]
    reports = {}
    for name, (weight, loss) in compute(copies).items():
        reports[name] = StepReport(loss.detach(), [])
        if not loss.requires_grad:
            continue
        found = torch.autograd.grad(
            weight * loss, [*leaves, *trained], retain_graph=True, allow_unused=True
        )
        for parameter, gradient in zip(trained, found[len(leaves) :], strict=True):
            if gradient is not None:
                _accumulate(parameter, scale * gradient)
        for i, gradient in enumerate(found[: len(leaves)]):
            if gradient is not None:
                sums[i] += gradient
                if keep_gradients:
                    reports[name].gradients.append(
                        OutputGradient(leaves[i].detach(), gradient, unit[i])
                    )
    moved = [
        (original, scale * total.to(original.dtype))
        for original, total in zip(originals, sums, strict=True)
        if original.requires_grad
    ]
    if reports and moved:
        tensors, gradients = zip(*moved, strict=True)
        torch.autograd.backward(list(tensors), list(gradients))
    return reports


def _accumulate(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


class TermMeter:
    """Mean of each loss over the steps of an epoch."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._total: Tensor | float = 0.0
        self._n_steps = 0

    def add(self, reports: Mapping[str, StepReport], weights: Mapping[str, float]) -> None:
        """Add the reports of one step; blocks on no device."""
        for name, report in reports.items():
            self._sums[name] = self._sums.get(name, 0.0) + report.loss
            self._counts[name] = self._counts.get(name, 0) + 1
            self._total = self._total + weights[name] * report.loss
        self._n_steps += 1

    def record(self) -> dict[str, float | None]:
        """Return ``loss_<name>`` for each loss, and ``loss_total``, the weighted sum per step."""
        values: dict[str, float | None] = {
            f"loss_{name}": float(total) / self._counts[name] for name, total in self._sums.items()
        }
        values["loss_total"] = float(self._total) / max(self._n_steps, 1)
        return values
