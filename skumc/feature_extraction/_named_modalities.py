"""Parameters of a transformer with modalities of any name."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import BaseEstimator

from skumc._parts import unknown_name_message
from skumc.feature_extraction._columns_of_parts import Choice, read_choice, transformer_of

KNOWN = ("text", "audio", "video")


class NamedModalities(BaseEstimator):
    """Mixin: the parameters text, audio, video and columns, and modalities of other names.

    A subclass stores the latter in ``_others``, and the fitted copies in ``transformers_``.
    """

    _others: dict[str, Any]
    transformers_: dict[str, Any]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, all modalities included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add the parameters of the transformers, ``modality__parameter``.

        Returns
        -------
        dict
        """
        params = super().get_params(deep=False) | self._others
        parts = {name: transformer_of(value) for name, value in params.items()} if deep else {}
        for name, part in parts.items():
            if hasattr(part, "get_params") and not isinstance(part, type):
                params |= {f"{name}__{key}": value for key, value in part.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set modalities and, as ``modality__parameter``, parameters of their transformers.

        Parameters
        ----------
        **params : dict
            Names of ``get_params``.

        Returns
        -------
        estimator
            The transformer itself.
        """
        for name in [name for name in params if name in self._others]:
            self._others = self._others | {name: params.pop(name)}
        present = self.get_params(deep=False) | params
        for name in [name for name in params if "__" in name]:
            modality, _, parameter = name.partition("__")
            part = transformer_of(present.get(modality))
            if modality in present and not hasattr(part, "set_params"):
                raise ValueError(
                    f"Got {name}=, but {modality}={part!r:.50} is not a transformer. Set "
                    f"{modality}= to one first."
                )
            if modality in present:
                part.set_params(**{parameter: params.pop(name)})
        return super().set_params(**params)

    def _read_choices(self) -> dict[str, Choice]:
        """Read the parameters of the modalities in use."""
        given = {name: getattr(self, name) for name in KNOWN} | self._others
        used = {name: value for name, value in given.items() if value is not None}
        if not used:
            raise ValueError(
                "Got none of text=, audio= and video=, and no other modality, expected a "
                "transformer or columns for at least one."
            )
        columns = {} if self.columns is None else self.columns
        for name in columns:
            if name not in used:
                raise ValueError(unknown_name_message("columns with the key", name, used))
        for name in used:
            if "__" in name:
                raise ValueError(
                    f"Got the modality name {name!r}, expected one without '__', which separates "
                    f"names of parameters. Rename it to {name.replace('__', '_')!r}."
                )
        return {name: read_choice(name, value, columns.get(name)) for name, value in used.items()}

    def _pass_on_memory(self) -> None:
        """Give the fitted copies the ``memory`` that was set after ``fit``."""
        present = self.get_params(deep=False)
        for name, part in self.transformers_.items():
            given = transformer_of(present.get(name))
            if isinstance(part, str) or not hasattr(given, "get_params"):
                continue
            known = part.get_params()
            folders = {key: value for key, value in given.get_params().items() if key in known}
            folders = {k: v for k, v in folders.items() if k.split("__")[-1] == "memory"}
            if any(known[key] is not value for key, value in folders.items()):
                part.set_params(**folders)
