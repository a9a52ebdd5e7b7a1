"""Token states of a frozen transformer text model."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval

from skumc._devices import resolve_device
from skumc.data import MultimodalData, Strings, TokenIds
from skumc.data._text import is_token_mapping
from skumc.feature_extraction._container_output import ContainerTransformerMixin, check_column
from skumc.text import TextBackbone
from skumc.text._loading import ArgumentNames


class TransformerTextFeatures(ContainerTransformerMixin, BaseEstimator):
    """Turn texts into the token states of a transformer encoder that stays as it is.

    For people who want text frozen; ``UMCClusterer(text_model=...)`` fine-tunes its last layers
    instead.

    Parameters
    ----------
    model : str, path or (model, tokenizer), default="sentence-transformers/all-MiniLM-L6-v2"
        Name on the Hugging Face hub, a folder, or the loaded objects. Any model without head that
        gives ``last_hidden_state``; for ``layer`` one as ``UMCClusterer(text_model=...)`` reads.
    layer : int in [0, inf) or None, default=None
        Layer whose states are given, 0 being the embeddings. None is the last.
    max_length : int in [1, inf) or None, default=None
        Longer texts are cut, in tokens. None is the longest that the model reads.
    memory : str, path, joblib.Memory or None, default=None
        Folder that keeps the states: they are memory-mapped, computed once for each distinct text
        whatever the call or process, and a killed extraction goes on where it was.
    modality : str, default="text"
        Name of the modality in the result, and of the one to read in samples with several.
    device : str or torch.device, default="auto"
        "auto" is the GPU where there is one.
    verbose : int in [0, inf), default=0
        1 writes a line with the remaining time every ten seconds, 2 one a batch.

    Attributes
    ----------
    backbone_ : TextBackbone
        The loaded model.
    width_ : int
        Values in a state.

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If the model cannot be loaded, or X is not text.

    See Also
    --------
    MultimodalFeatures : Several kinds of raw data at once.

    Notes
    -----
    A text of L tokens, those that the tokenizer adds included, becomes L states. None, NaN and a
    string of white space are missing. Padding is masked: what stands beside a text in a batch
    changes nothing beyond rounding.

    Examples
    --------
    >>> from transformers import BertConfig, BertModel
    >>> model = BertModel(BertConfig(
    ...     vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    ... ))
    >>> def tokenizer(texts, **settings):  # a real one comes with its model
    ...     return {"input_ids": [[1, *map(len, text.split()), 2] for text in texts]}
    >>> features = TransformerTextFeatures((model, tokenizer))
    >>> features.fit_transform(["good morning", None, "good"]).lengths.tolist()
    [[4], [0], [3]]
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "model": [str, os.PathLike, tuple, list],
        "layer": [Interval(Integral, 0, None, closed="left"), None],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
        "modality": [str],
        "device": "no_validation",
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: Any = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        layer: int | None = None,
        max_length: int | None = None,
        memory: Any = None,
        modality: str = "text",
        device: Any = "auto",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.layer = layer
        self.max_length = max_length
        self.memory = memory
        self.modality = modality
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any = None, y: Any = None) -> TransformerTextFeatures:
        """Load the model; X is not looked at.

        Parameters
        ----------
        X : Ignored
        y : Ignored

        Returns
        -------
        TransformerTextFeatures
            The transformer itself.
        """
        del X, y
        self._validate_params()
        resolve_device(self.device)
        memory = getattr(self.memory, "location", self.memory)
        self.backbone_ = TextBackbone(
            self.model,
            n_trainable_layers=0,
            text_layer=self.layer,
            max_length=self.max_length,
            memory=None if memory is None else os.fspath(memory),
            verbose=self.verbose,
            names=ArgumentNames("model", "layer", "max_length"),
        )
        self.width_ = self.backbone_.width
        return self

    def transform(self, X: Any) -> MultimodalData:
        """Give the states of texts.

        Parameters
        ----------
        X : list of str or None, array or Series of strings, dict of token ids, MultimodalData
            Of a container the modality ``modality`` is read.

        Returns
        -------
        MultimodalData
            With one modality of ``width_`` values a token.
        """
        if not hasattr(self, "backbone_"):
            self.fit()
        index = getattr(X, "index", None) if hasattr(X, "iloc") else None
        if isinstance(X, MultimodalData):
            data = X.select([self.modality])
        else:
            if not is_token_mapping(X):
                check_column(X, f"{self.modality} string, dict of token ids or None")
            data = MultimodalData({self.modality: X}, index=index)
        text = data.packed(self.modality)
        if not isinstance(text, (Strings, TokenIds)):
            if data.present.any():
                raise ValueError(
                    f"Modality {self.modality!r} holds numbers, expected strings or token ids. "
                    "Leave the transformer out: numbers need no text model."
                )
            text = Strings([None] * len(data))
        return data.with_frames(
            {self.modality: self.backbone_.frames(text, resolve_device(self.device))}
        )
