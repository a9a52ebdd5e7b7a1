"""Roles of losses: the step of training that calls a loss, and the inputs it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from skumc._parts import unknown_name_message

# By step of training, the inputs that a loss may read there.
STEP_INPUTS: dict[str, tuple[str, ...]] = {
    "pretrain": ("views",),
    "supervised": ("views", "embedding", "labels", "centers"),
    "rest": ("views",),
}


class Role(NamedTuple):
    """Step of training that calls a loss, and names of the inputs it is called with.

    Attributes
    ----------
    step : {"pretrain", "supervised", "rest"}
        Batches of pretraining, of taught samples, or of all other samples.
    reads : tuple of str
        Names of the inputs, in the order of the call.

    Examples
    --------
    >>> from skumc.losses import ROLES
    >>> ROLES["supcon"]
    Role(step='supervised', reads=('views', 'labels'))
    """

    step: str
    reads: tuple[str, ...]


ROLES: dict[str, Role] = {
    "infonce": Role("pretrain", ("views",)),
    "supcon": Role("supervised", ("views", "labels")),
    "contrastive": Role("rest", ("views",)),
    "compactness": Role("supervised", ("embedding", "labels", "centers")),
    "separation": Role("supervised", ("centers",)),
}


def role_of(name: str, loss: Callable[..., Any]) -> Role:
    """Return the step that calls a loss and the inputs it reads.

    Parameters
    ----------
    name : str
        Name of the role: a key of ``ROLES`` or any other name.
    loss : callable
        Its attribute ``reads`` names its inputs. It is required outside ``ROLES``; there it
        replaces the role's own inputs. Outside ``ROLES`` the attribute ``step`` names the step;
        without it the step is "supervised".

    Returns
    -------
    role : Role
        Step and inputs of the loss.

    Raises
    ------
    ValueError
        If ``reads`` is missing or not a tuple or list, or the step or an input is unknown.

    Examples
    --------
    >>> from skumc.losses import role_of
    >>> def spread(embedding):
    ...     return -embedding.var(dim=0).mean()
    >>> spread.reads = ("embedding",)
    >>> role_of("spread", spread)
    Role(step='supervised', reads=('embedding',))
    """
    builtin = ROLES.get(name)
    step = builtin.step if builtin else getattr(loss, "step", "supervised")
    if step not in STEP_INPUTS:
        raise ValueError(unknown_name_message(f"{name}.step", step, STEP_INPUTS))
    reads = getattr(loss, "reads", builtin.reads if builtin else None)
    if not isinstance(reads, tuple | list):
        raise ValueError(
            f"Got {name}.reads={reads!r}, expected a tuple of input names. Set the attribute reads "
            f"of this loss to some of {STEP_INPUTS[step]}."
        )
    for read in reads:
        if read not in STEP_INPUTS[step]:
            raise ValueError(unknown_name_message(f"{name}.reads", read, STEP_INPUTS[step]))
    return Role(step, tuple(reads))
