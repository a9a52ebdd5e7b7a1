"""Base of every loss: parameter and tensor checks around the formula of a subclass."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import validate_parameter_constraints

from skumc.losses._tensors import check_tensors, full_precision, zero_with_graph


class BaseLoss(BaseEstimator):
    """Base class of the losses.

    A subclass stores its hyper-parameters in ``__init__``, constrains them in
    ``_parameter_constraints`` (scikit-learn's form), gives ``__call__`` the signature of its
    role, from where it passes all tensors to ``_evaluate`` by name, and writes the formula in
    ``_compute``. ``_compute`` receives checked tensors on one device, in float32 or float64, with
    autocast off. For trainable parameters, inherit from `torch.nn.Module` too, after BaseLoss. For
    a role outside the five built-in ones, set ``reads``, see `WeightedLosses`.

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
    >>> from numbers import Real
    >>> import torch
    >>> from sklearn.utils._param_validation import Interval
    >>> from skumc.losses import BaseLoss
    >>> class PullLoss(BaseLoss):
    ...     _parameter_constraints = {"scale": [Interval(Real, 0, None, closed="neither")]}
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

    moves_tensors: ClassVar[bool] = True  # to the device of the first; labels may be on the CPU

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}
    _min_views: ClassVar[int] = 1

    def __sklearn_clone__(self) -> BaseLoss:
        """Copy a module with its weights; a new instance would draw others."""
        if isinstance(self, torch.nn.Module):
            return copy.deepcopy(self)
        return super().__sklearn_clone__()

    def _evaluate(self, **tensors: torch.Tensor) -> torch.Tensor:
        """Check hyper-parameters and tensors, then compute; the first tensor leads."""
        # Not _validate_params: get_params inspects signatures, too slow for every step.
        names = self._parameter_constraints
        values = {name: getattr(self, name) for name in names}
        validate_parameter_constraints(names, values, caller_name=type(self).__name__)
        checked = check_tensors(self._min_views, **tensors)
        leading = next(iter(checked.values()))
        if leading.shape[0] == 0:
            return zero_with_graph(leading)
        with full_precision(leading.device):
            return self._compute(**checked)

    def _compute(self, *args: Any, **tensors: Any) -> torch.Tensor:
        """Compute the formula; each loss defines it with the names of its tensors."""
        raise NotImplementedError(f"{type(self).__name__} must define _compute().")
