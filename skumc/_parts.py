"""Parameters that hold parts: None, a name or an instance."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator, clone


def unknown_name_message(argument: str, name: object, known: Iterable[str]) -> str:
    """Return an error message with the unknown name, the known ones and the closest of them."""
    names = sorted(map(str, known))
    close = get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"Got {argument}={name!r}, expected one of {', '.join(map(repr, names))}.{hint}"


def as_path(argument: str, value: Any) -> Path:
    """Return a path; raise TypeError if the argument is none.

    Examples
    --------
    >>> as_path("folder", "saved").name
    'saved'
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise TypeError(
            f"Got {argument}={value!r} of type {type(value).__name__}, expected a str or a path."
        )
    return Path(value)


def clone_part(part: Any) -> Any:
    """Clone an estimator; deep-copy any other part with its state."""
    return clone(part, safe=False)


def require_methods(argument: str, part: object, methods: Iterable[str]) -> None:
    """Raise TypeError if ``part`` lacks one of ``methods`` or is a class."""
    if isinstance(part, type):
        raise TypeError(
            f"Got {argument}={part.__name__}, a class, expected an instance. Pass "
            f"{part.__name__}()."
        )
    missing = [method for method in methods if not callable(getattr(part, method, None))]
    if missing:
        raise TypeError(
            f"Got {argument}={part!r:.100} of type {type(part).__name__}, which has no method "
            f"{', '.join(f'{method}()' for method in missing)}. Pass None for the default, a known "
            f"name, or an instance with {', '.join(f'{method}()' for method in methods)}."
        )


class PartsMixin(BaseEstimator):
    """Estimator with parameters that are None (the default), a name, or an instance of a part.

    ``_part_choices`` maps each such parameter to its named factories; the first name is the
    default. If the part is None or a name, setting a nested parameter
    (``threshold__max_threshold``) first replaces it by its instance.
    """

    _part_choices: ClassVar[dict[str, dict[str, Callable[[], Any]]]] = {}

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this object and, as ``part__parameter``, of its parts."""
        nested = {key: value for key, value in params.items() if "__" in key}
        super().set_params(**{key: value for key, value in params.items() if key not in nested})
        for parameter in {key.split("__", 1)[0] for key in nested} & set(self._part_choices):
            value = getattr(self, parameter)
            if value is None or isinstance(value, str):
                setattr(self, parameter, self._make_part(parameter))
        super().set_params(**nested)
        return self

    def _make_part(self, parameter: str) -> Any:
        """Return the instance for a part parameter; an instance is copied."""
        value, choices = getattr(self, parameter), self._part_choices[parameter]
        if value is None:
            return next(iter(choices.values()))()
        if isinstance(value, str):
            if value not in choices:
                raise ValueError(unknown_name_message(parameter, value, choices))
            return choices[value]()
        return clone_part(value)
