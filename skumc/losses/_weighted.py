"""Losses of training, each with its role and its weight."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from skumc._devices import PickledOnCPU
from skumc._parts import PartsMixin, clone_part, unknown_name_message
from skumc.losses._compactness import CompactnessLoss
from skumc.losses._contrastive import ContrastiveLoss, InfoNCELoss
from skumc.losses._roles import ROLES, role_of
from skumc.losses._separation import SeparationLoss
from skumc.losses._supcon import SupConLoss

Loss = Callable[..., torch.Tensor]

_WEIGHT = [Interval(Real, 0, None, closed="left")]


def _weight_and_part(role: str, value: Any) -> tuple[Any, Any]:
    """Split a mapping's value for a role; None stands for the default of either."""
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ValueError(
                f"Got {role}={value!r}, expected a weight, a name, a callable or a tuple "
                "(weight, part)."
            )
        return value
    return (value, None) if isinstance(value, Real) else (None, value)


def _refuse_class(role: str, given: Any) -> None:
    if isinstance(given, type):
        raise TypeError(
            f"Got {role}={given.__name__}, a class, expected an instance. Pass {given.__name__}()."
        )


def _copied(loss: Any) -> Any:
    """Copy a loss; a module keeps its weights, also where it is an estimator."""
    return copy.deepcopy(loss) if isinstance(loss, torch.nn.Module) else clone_part(loss)


class WeightedLosses(PickledOnCPU, PartsMixin):
    r"""Losses of training and their weights.

    A loss is None for the default of its role, a name, an instance, or any callable that takes
    the inputs of its role and returns a scalar. A `torch.nn.Module` keeps its weights. Nested
    parameters such as ``supcon__temperature`` can be set and searched, also while the loss is
    None.

    Parameters
    ----------
    infonce : None, {"infonce", "contrastive"} or callable, default=None
        Loss of pretraining. Its weight is always 1. None is `InfoNCELoss()`.
    supcon : None, {"supcon"} or callable, default=None
        Contrastive loss of the taught samples. None is `SupConLoss()`.
    contrastive : None, {"contrastive", "infonce"} or callable, default=None
        Contrastive loss of all other samples. None is `ContrastiveLoss()`.
    compactness : None, {"compactness"} or callable, default=None
        Loss between the taught samples and their centers. None is `CompactnessLoss()`.
    separation : None, {"separation"} or callable, default=None
        Loss between centers. None is `SeparationLoss()`.
    supcon_weight : float, default=1.0
        Weight of ``supcon``. For this and each other weight, 0 switches the loss off.
    contrastive_weight : float, default=0.5
        Weight of ``contrastive``.
    compactness_weight : float, default=0.3
        Weight of ``compactness``.
    separation_weight : float, default=0.2
        Weight of ``separation``.
    extra : dict of str to callable or tuple, default=None
        Losses in roles of their own: for each role a callable, with weight 1, or a tuple
        (weight, callable). Its attribute ``reads`` names the inputs of the callable.
        A `torch.nn.Module` is trained; after ``fit``, ``losses_.extra[role]`` is the tuple of its
        weight and the trained copy.

    See Also
    --------
    role_of : Step and inputs of a loss.

    Notes
    -----
    The step of a role says which batches the loss is called with:

    =============== ============== =====================================
    role            step           reads
    =============== ============== =====================================
    ``infonce``     "pretrain"     ``views``
    ``supcon``      "supervised"   ``views``, ``labels``
    ``contrastive`` "rest"         ``views``
    ``compactness`` "supervised"   ``embedding``, ``labels``, ``centers``
    ``separation``  "supervised"   ``centers``
    any other       its ``step``   its ``reads``
    =============== ============== =====================================

    - "pretrain": each batch of pretraining, before the first clustering.
    - "supervised": each batch of taught samples, those trained with their pseudo-label.
    - "rest": each batch of the other samples of an epoch. If all samples are taught there is none:
      the loss is not called, and ``history_`` has None for it.

    A loss outside the five roles belongs to "supervised" unless its attribute ``step`` says
    otherwise. In one of the five roles, an attribute ``reads`` of the loss replaces the inputs
    above. The inputs are

    - ``views`` (n_samples, n_views, width): positive pairs, or the supervised views in
      "supervised", from the encoder's contrastive projection if it has one. Available in every
      step; the following ones only in "supervised".
    - ``embedding`` (n_samples, width): the full view, from the encoder's clustering projection if
      it has one.
    - ``labels`` (n_samples,): pseudo-labels, rows of ``centers``.
    - ``centers`` (n_clusters, width): means of the batch, stored centers for clusters without a
      member in the batch; see `batch_centers`.

    The total of the progressive loop is

    .. math::

        L = \lambda_1 L_{supcon} + \lambda_2 L_{con} + \lambda_3 L_{compact}
            + \lambda_4 L_{separate}

    plus the weighted extra losses, where :math:`\lambda_1, ..., \lambda_4` are the four weights
    in the order above. UMC methodology, section 3.6.5; pretraining is section 3.7.1.

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

    A sixth role:

    >>> def spread(embedding):
    ...     return -embedding.var(dim=0).mean()
    >>> spread.reads = ("embedding",)
    >>> weight, loss = WeightedLosses(extra={"spread": (0.1, spread)}).terms()["spread"]
    >>> weight, loss is spread
    (0.1, True)
    """

    _part_choices: ClassVar[dict[str, dict[str, Callable[[], Any]]]] = {
        "infonce": {"infonce": InfoNCELoss, "contrastive": ContrastiveLoss},
        "supcon": {"supcon": SupConLoss},
        "contrastive": {"contrastive": ContrastiveLoss, "infonce": InfoNCELoss},
        "compactness": {"compactness": CompactnessLoss},
        "separation": {"separation": SeparationLoss},
    }
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **dict.fromkeys(ROLES, "no_validation"),  # parts, checked by terms
        **{f"{role}_weight": _WEIGHT for role in ROLES if role != "infonce"},
        "extra": [dict, None],
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
        extra: dict[str, Loss | tuple[float, Loss]] | None = None,
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
        self.extra = extra

    def __sklearn_clone__(self) -> WeightedLosses:
        """Copy the parameters; modules keep their weights."""
        parameters = self.get_params(deep=False).items()
        return type(self)(**{name: _copied(value) for name, value in parameters})

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> WeightedLosses:
        """Build from a mapping of roles.

        Parameters
        ----------
        mapping : mapping of str to float, str, callable, None or tuple
            For each role a weight, a name, a callable, None, or a tuple (weight, part). Roles
            that the mapping leaves out keep their defaults. Another key names a role of its own,
            with a callable that has the attribute ``reads`` or a tuple (weight, callable).

        Returns
        -------
        losses : WeightedLosses
            The losses; weights and parts are checked by `terms`.

        Raises
        ------
        TypeError
            If ``mapping`` is not a mapping.
        ValueError
            If a role is unknown and its loss has no ``reads``, a tuple does not have two entries,
            or ``infonce`` gets a weight other than 1.

        Examples
        --------
        >>> from skumc.losses import SupConLoss, WeightedLosses
        >>> WeightedLosses.from_mapping({"supcon": (2.0, SupConLoss(0.7)), "separation": 0.0})
        WeightedLosses(separation_weight=0.0, supcon=SupConLoss(temperature=0.7),
                       supcon_weight=2.0)
        """
        return cls().updated(mapping)

    def updated(self, mapping: Mapping[str, Any]) -> WeightedLosses:
        """Copy these losses and change the roles that a mapping names.

        Parameters
        ----------
        mapping : mapping of str to float, str, callable, None or tuple
            See :meth:`from_mapping`. A weight alone keeps the loss, a loss alone the weight.

        Returns
        -------
        losses : WeightedLosses

        Examples
        --------
        >>> from skumc.losses import SupConLoss, WeightedLosses
        >>> WeightedLosses(supcon=SupConLoss(0.7)).updated({"supcon": 2.0})
        WeightedLosses(supcon=SupConLoss(temperature=0.7), supcon_weight=2.0)
        """
        if not isinstance(mapping, Mapping):
            raise TypeError(
                f"Got losses of type {type(mapping).__name__}, expected a mapping such as "
                "{'supcon': 1.0}."
            )
        parameters: dict[str, Any] = {}
        for role, value in mapping.items():
            weight, part = _weight_and_part(role, value)
            if role not in ROLES:
                if not callable(part) or not hasattr(part, "reads"):
                    raise ValueError(
                        f"{unknown_name_message('losses role', role, ROLES)} A role of your own "
                        "takes a callable with the attribute reads, a tuple of input names."
                    )
                parameters.setdefault("extra", dict(self.extra or {}))[role] = value
                continue
            if part is not None or weight is None:
                parameters[role] = part
            if role == "infonce":
                if weight not in (None, 1):
                    raise ValueError(
                        f"Got infonce weight {weight!r}, expected none: pretraining has no other "
                        "loss to weigh it against. Change the learning rate of pretraining."
                    )
            elif weight is not None:
                parameters[f"{role}_weight"] = weight
        copied: WeightedLosses = clone_part(self)
        return copied.set_params(**parameters)

    def terms(self) -> dict[str, tuple[float, Loss]]:
        """Return weight and callable of each role.

        Returns
        -------
        terms : dict of str to tuple of (float, callable)
            Weight and a fresh copy of the loss for ``infonce``, ``supcon``, ``contrastive``,
            ``compactness``, ``separation`` and the extra roles; also where the weight is 0.

        Raises
        ------
        TypeError
            If a loss is not callable or is a class.
        ValueError
            If a name is unknown, a weight is negative or not finite, or the ``reads`` or ``step``
            of a loss is unknown.
        """
        self._validate_params()
        terms = {role: (self._weight(role), self._loss(role)) for role in ROLES}
        for role, value in (self.extra or {}).items():
            terms[role] = self._extra_term(role, value)
        for role, (_, loss) in terms.items():
            role_of(role, loss)  # raises where a loss reads an unknown input
        return terms

    def _weight(self, role: str) -> float:
        return 1.0 if role == "infonce" else float(getattr(self, f"{role}_weight"))

    def _loss(self, role: str) -> Loss:
        given = getattr(self, role)
        _refuse_class(role, given)
        loss = self._make_part(role) if given is None or isinstance(given, str) else _copied(given)
        if not callable(loss):
            names = " or ".join(map(repr, self._part_choices[role]))
            raise TypeError(
                f"Got {role}={given!r} of type {type(given).__name__}, which is not callable. "
                f"Pass None for the default, {names}, or a callable with the signature "
                f"({', '.join(ROLES[role].reads)})."
            )
        return loss

    def _extra_term(self, role: str, value: Any) -> tuple[float, Loss]:
        """Check and copy one loss outside the five roles; its weight is 1 by default."""
        if not isinstance(role, str) or role in {*ROLES, "total"}:
            raise ValueError(
                f"Got the extra role {role!r}, expected a string other than 'total' and the "
                f"built-in roles {', '.join(map(repr, ROLES))}. Choose another name."
            )
        weight, given = _weight_and_part(role, value)
        weight = 1.0 if weight is None else weight
        name = f"{role} weight"
        validate_parameter_constraints(
            {name: _WEIGHT}, {name: weight}, caller_name=type(self).__name__
        )
        _refuse_class(role, given)
        if not callable(given):
            raise TypeError(
                f"Got {role}={value!r}, expected a callable or a tuple (weight, callable)."
            )
        return float(weight), _copied(given)
