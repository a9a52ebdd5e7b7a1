"""Texts as sequences of token states of a pretrained text model."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skumc._devices import PickledOnCPU, resolve_device
from skumc.data import MultimodalData, Strings, TokenIds, memory_folder
from skumc.data._labels_as_text import warn_of_labels
from skumc.data._text import is_token_mapping
from skumc.feature_extraction._container_output import ContainerTransformerMixin, check_column
from skumc.text import TextBackbone, TextModel


class TransformerTextFeatures(PickledOnCPU, ContainerTransformerMixin, BaseEstimator):
    r"""Turn texts into token states of a pretrained text model, which is not trained.

    One layer is read: by default the last one, after the model's final normalization if it has
    one. ``UMCClusterer(text=...)`` with its defaults does not train the text model either,
    but reads another layer: the middle one, :math:`\lceil n / 2 \rceil` of :math:`n`. The same
    states come from ``layer="middle"``. To
    fine-tune a text model, use the clusterer with ``TextModel(n_trainable_layers=...)`` above 0.

    Parameters
    ----------
    model : str, path or (model, tokenizer), default="sentence-transformers/all-MiniLM-L6-v2"
        Name on the Hugging Face hub, a folder, or the loaded objects. Any model without head that
        returns ``last_hidden_state`` works; ``layer`` needs an encoder with one list of layers, as
        ``UMCClusterer(text=...)`` does.
    layer : int in [0, inf), "middle" or None, default=None
        Layer to read; 0 is the embeddings, "middle" half of the layers, rounded up. None is the
        last layer.
    max_length : int in [1, inf) or None, default=None
        Maximum number of tokens; the rest of a text is left out. None is the model's maximum.
    memory : str, path, joblib.Memory or None, default=None
        Folder in which to keep the states. They are memory-mapped and computed once for each
        distinct text, across calls and processes; an interrupted extraction resumes where it
        stopped. None keeps them for one call, in memory or in a temporary file beyond 2 GiB.
    modality : str, default="text"
        Name of the modality in the result, and of the one to read from a container.
    device : str or torch.device, default="auto"
        Device to compute on. "auto" is the GPU if there is one.
    verbose : int in [0, inf), default=0
        1 writes a line with the remaining time every ten seconds, 2 one line per batch.

    Attributes
    ----------
    backbone_ : TextBackbone
        The loaded model.
    width_ : int
        Number of values per state.

    Raises
    ------
    ImportError
        If transformers is not installed.
    ValueError
        If the model cannot be loaded, or X is not text.

    See Also
    --------
    MultimodalFeatures : Combine several kinds of raw data.
    skumc.UMCClusterer : Reads text itself, with ``text``.

    Notes
    -----
    A text of L tokens, the tokenizer's special tokens included, becomes L states. None, NaN and a
    string of whitespace are missing. Texts are read one at a time, so that the states of a text do
    not depend on the others, nor on what ``memory`` holds.

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

    _parameter_constraints: dict[str, list[Any] | str] = {
        "model": [str, os.PathLike, tuple, list],
        "layer": [Interval(Integral, 0, None, closed="left"), StrOptions({"middle"}), None],
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
        layer: int | str | None = None,
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
        """Load the model; X is not used.

        Parameters
        ----------
        X : Ignored
            Not used, present for API consistency.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        TransformerTextFeatures
            The fitted transformer itself.
        """
        del X, y
        self._validate_params()
        resolve_device(self.device)
        text = TextModel(self.model, layer=self.layer, max_length=self.max_length)
        self.backbone_ = TextBackbone(text, self.verbose, argument="model")
        self.width_ = self.backbone_.width
        return self

    def transform(self, X: Any) -> MultimodalData:
        """Compute the states of each text that is not stored yet.

        Parameters
        ----------
        X : list of str or None, array or Series of strings, dict of token ids, MultimodalData
            The modality ``modality`` of a container is read.

        Returns
        -------
        MultimodalData
            One modality named ``modality``, with ``width_`` values per token.
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
        warn_of_labels(data)
        text = data.packed(self.modality)
        if not isinstance(text, (Strings, TokenIds)):
            if data.present.any():
                raise ValueError(
                    f"Modality {self.modality!r} holds numbers, expected strings or token ids. "
                    "Leave this transformer out: numbers need no text model."
                )
            text = Strings([None] * len(data))
        device, memory = resolve_device(self.device), memory_folder(self.memory)
        return data.with_frames({self.modality: self.backbone_.frames(text, device, memory)})
