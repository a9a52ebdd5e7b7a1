"""The base of every loss: checks first, then the formula that a subclass writes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator

from skumc.losses._checks import check_number, check_tensors, full_precision, zero_with_graph


@functools.cache
def _parameters(loss_type: type) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(loss_type).parameters


class BaseLoss(BaseEstimator):
    """Base of the losses: a callable without trainable parameters.

    A subclass stores its hyper-parameters in ``__init__``, names those to check in
    ``_positive`` or ``_non_negative``, gives ``__call__`` the signature of its role, from
    where it hands everything to ``_evaluate`` by name, and writes the formula in ``_compute``.
    ``_compute`` sees checked tensors on one device, in float32 or float64, with autocast off.

    Notes
    -----
    The names of the tensors decide what is checked:

    - ``views``: (n_samples, n_views, width), or (n_samples, width) where one view is enough
    - ``embedding``: (n_samples, width)
    - ``labels``: (n_samples,), integers
    - ``centers``: (n_clusters, width)

    An empty leading tensor gives a zero that keeps the graph, so that ``backward`` always
    works and gives zero gradients. Half precision is computed, and returned, in float32.

    Examples
    --------
    >>> import torch
    >>> from skumc.losses import BaseLoss
    >>> class PullLoss(BaseLoss):
    ...     _positive = ("scale",)
    ...
    ...     def __init__(self, scale=1.0):
    ...         self.scale = scale
    ...
    ...     def __call__(self, embedding, labels, centers):
    ...         return self._evaluate(embedding=embedding, labels=labels, centers=centers)
    ...
    ...     def _compute(self, embedding, labels, centers):
    ...         return self.scale * (embedding - centers[labels]).square().mean()
    >>> PullLoss(scale=2.0)(torch.ones(3, 4), torch.tensor([0, 1, 0]), torch.zeros(2, 4))
    tensor(2.)
    """

    moves_tensors: ClassVar[bool] = True  # to where the first one is; labels may be on the CPU

    _positive: ClassVar[tuple[str, ...]] = ()
    _non_negative: ClassVar[tuple[str, ...]] = ()
    _min_views: ClassVar[int] = 1

    def _evaluate(self, **tensors: torch.Tensor) -> torch.Tensor:
        """Check hyper-parameters and tensors, then compute; the first tensor leads."""
        self._check_hyper_parameters()
        checked = check_tensors(self._min_views, **tensors)
        leading = next(iter(checked.values()))
        if leading.shape[0] == 0:
            return zero_with_graph(leading)
        with full_precision(leading.device):
            return self._compute(**checked)

    def _check_hyper_parameters(self) -> None:
        for name in (*self._positive, *self._non_negative):
            default = _parameters(type(self))[name].default
            hint = "" if default is inspect.Parameter.empty else f" The default is {default!r}."
            value, positive = getattr(self, name), name in self._positive
            check_number(name, value, positive=positive, remedy=hint)

    def _compute(self, **tensors: torch.Tensor) -> torch.Tensor:
        """Compute the formula; written by each loss with the names of its tensors."""
        raise NotImplementedError(f"{type(self).__name__} must define _compute().")
