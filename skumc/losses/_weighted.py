"""The losses of training, each with its role and its weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator

from skumc._parts import PartsMixin, unknown_name_message
from skumc.losses._checks import check_number
from skumc.losses._compactness import CompactnessLoss
from skumc.losses._contrastive import ContrastiveLoss, InfoNCELoss
from skumc.losses._separation import SeparationLoss
from skumc.losses._supcon import SupConLoss

Loss = Callable[..., torch.Tensor]

_SIGNATURES = {
    "infonce": "(views)",
    "supcon": "(views, labels)",
    "contrastive": "(views)",
    "compactness": "(embedding, labels, centers)",
    "separation": "(centers)",
}


def _weight_and_part(role: str, value: Any) -> tuple[Any, Any]:
    """Split what a mapping gives for a role; None stands for the default of either."""
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ValueError(
                f"Got {role}={value!r}, expected a weight, a name, a callable or a tuple "
                "(weight, part)."
            )
        return value
    return (value, None) if isinstance(value, Real) else (None, value)


class WeightedLosses(PartsMixin, BaseEstimator):
    r"""The five losses of training and their weights.

    A loss is None for the default of its role, a name, an instance, or any callable that takes
    the tensors of its role and gives a scalar. Nested parameters such as
    ``supcon__temperature`` can be set and searched, also while the loss is None.

    Parameters
    ----------
    infonce : None, {"infonce", "contrastive"} or callable, default=None
        Loss of pretraining, called with (views). Its weight is always 1, since it is the only
        one there. None is `InfoNCELoss()`.
    supcon : None, {"supcon"} or callable, default=None
        Loss of the selected samples' views, called with (views, labels). None is
        `SupConLoss()`.
    contrastive : None, {"contrastive", "infonce"} or callable, default=None
        Loss of the views of the other samples, called with (views). None is
        `ContrastiveLoss()`.
    compactness : None, {"compactness"} or callable, default=None
        Loss of the selected samples' full view, called with (embedding, labels, centers).
        None is `CompactnessLoss()`.
    separation : None, {"separation"} or callable, default=None
        Loss of the centres, called with (centers). None is `SeparationLoss()`.
    supcon_weight : float, default=1.0
        Weight of ``supcon``; 0 switches it off, as for the other weights.
    contrastive_weight : float, default=0.5
        Weight of ``contrastive``.
    compactness_weight : float, default=0.3
        Weight of ``compactness``.
    separation_weight : float, default=0.2
        Weight of ``separation``.

    Notes
    -----
    .. math::

        L = \lambda_1 L_{supcon} + \lambda_2 L_{con} + \lambda_3 L_{compact}
            + \lambda_4 L_{separate}

    where :math:`\lambda_1, ..., \lambda_4` are the four weights in the order above. UMC
    methodology, section 3.6.5; pretraining is section 3.7.1.

    Examples
    --------
    >>> from skumc.losses import SupConLoss, WeightedLosses
    >>> losses = WeightedLosses(supcon=SupConLoss(temperature=0.7), separation_weight=0)
    >>> for role, (weight, loss) in losses.terms().items():
    ...     print(role, weight, loss)
    infonce 1.0 InfoNCELoss()
    supcon 1.0 SupConLoss(temperature=0.7)
    contrastive 0.5 ContrastiveLoss()
    compactness 0.3 CompactnessLoss()
    separation 0.0 SeparationLoss()
    >>> losses.set_params(compactness__margin=0.5).compactness
    CompactnessLoss(margin=0.5)
    """

    _part_choices: ClassVar[dict[str, dict[str, Callable[[], Any]]]] = {
        "infonce": {"infonce": InfoNCELoss, "contrastive": ContrastiveLoss},
        "supcon": {"supcon": SupConLoss},
        "contrastive": {"contrastive": ContrastiveLoss, "infonce": InfoNCELoss},
        "compactness": {"compactness": CompactnessLoss},
        "separation": {"separation": SeparationLoss},
    }

    def __init__(
        self,
        *,
        infonce: str | Loss | None = None,
        supcon: str | Loss | None = None,
        contrastive: str | Loss | None = None,
        compactness: str | Loss | None = None,
        separation: str | Loss | None = None,
        supcon_weight: float = 1.0,
        contrastive_weight: float = 0.5,
        compactness_weight: float = 0.3,
        separation_weight: float = 0.2,
    ):
        self.infonce = infonce
        self.supcon = supcon
        self.contrastive = contrastive
        self.compactness = compactness
        self.separation = separation
        self.supcon_weight = supcon_weight
        self.contrastive_weight = contrastive_weight
        self.compactness_weight = compactness_weight
        self.separation_weight = separation_weight

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> WeightedLosses:
        """Build from a mapping of roles.

        Parameters
        ----------
        mapping : mapping of str to float, str, callable, None or tuple
            For each role a weight, a name, a callable, None, or a tuple (weight, part). What
            the mapping leaves out keeps its default.

        Returns
        -------
        losses : WeightedLosses
            The losses; weights and parts are checked by `terms`.

        Raises
        ------
        TypeError
            If ``mapping`` is no mapping.
        ValueError
            If a role is unknown, a tuple has not two entries, or ``infonce`` gets a weight
            other than 1.

        Examples
        --------
        >>> from skumc.losses import SupConLoss, WeightedLosses
        >>> WeightedLosses.from_mapping({"supcon": (2.0, SupConLoss(0.7)), "separation": 0.0})
        WeightedLosses(separation_weight=0.0, supcon=SupConLoss(temperature=0.7),
                       supcon_weight=2.0)
        """
        if not isinstance(mapping, Mapping):
            raise TypeError(
                f"Got losses of type {type(mapping).__name__}, expected a mapping such as "
                "{'supcon': 1.0}."
            )
        parameters = {}
        for role, value in mapping.items():
            if role not in cls._part_choices:
                raise ValueError(unknown_name_message("losses role", role, cls._part_choices))
            weight, part = _weight_and_part(role, value)
            parameters[role] = part
            if role == "infonce":
                if weight not in (None, 1):
                    raise ValueError(
                        f"Got infonce weight {weight!r}, expected none: pretraining has no other "
                        "loss to weigh it against. Change the learning rate of pretraining."
                    )
            elif weight is not None:
                parameters[f"{role}_weight"] = weight
        return cls(**parameters)

    def terms(self) -> dict[str, tuple[float, Loss]]:
        """Give weight and callable of each role.

        Returns
        -------
        terms : dict of str to tuple of (float, callable)
            For ``infonce``, ``supcon``, ``contrastive``, ``compactness`` and ``separation`` the
            weight and a fresh copy of the loss; also where the weight is 0.

        Raises
        ------
        TypeError
            If a loss is not callable or is a class.
        ValueError
            If a name is unknown or a weight negative or not finite.
        """
        return {role: (self._weight(role), self._loss(role)) for role in self._part_choices}

    def _weight(self, role: str) -> float:
        if role == "infonce":
            return 1.0
        remedy = " Pass 0 to switch this loss off."
        return check_number(f"{role}_weight", getattr(self, f"{role}_weight"), remedy=remedy)

    def _loss(self, role: str) -> Loss:
        given = getattr(self, role)
        if isinstance(given, type):
            raise TypeError(
                f"Got {role}={given.__name__}, a class, expected an instance. Pass "
                f"{given.__name__}()."
            )
        loss = self._make_part(role)
        if not callable(loss):
            names = " or ".join(map(repr, self._part_choices[role]))
            raise TypeError(
                f"Got {role}={given!r} of type {type(given).__name__}, which is not callable. "
                f"Pass None for the default, {names}, or a callable with the signature "
                f"{_SIGNATURES[role]}."
            )
        return loss
