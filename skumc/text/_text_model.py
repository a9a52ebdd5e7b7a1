"""The specification of a text model."""

from __future__ import annotations

import os
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skumc._devices import PickledOnCPU
from skumc.data import memory_folder


class TextModel(PickledOnCPU, BaseEstimator):
    """Specify the transformer that reads text, and how much of it is fine-tuned.

    By default the model is frozen.

    Parameters
    ----------
    name : str, path, (model, tokenizer) or None, default=None
        Name of a model on the Hugging Face hub, a folder written by ``save_pretrained``, or the
        loaded objects, which are copied. BERT, RoBERTa, DistilBERT, MiniLM, MPNet, ELECTRA and
        ModernBERT work, and other encoders with the same structure. None reads no text.
    n_trainable_layers : int in [0, inf) or "all", default=0
        Number of last layers to fine-tune, together with the modules after them. 0 freezes the
        model, "all" trains the embeddings too. Frozen layers run once for each distinct text,
        which makes 0 many times faster.
    layer : int in [0, inf), "auto", "middle" or None, default="auto"
        Layer to take the hidden states from, 1 being the first and 0 the embeddings; later layers
        are dropped. "middle" is half of the layers, rounded up, and at least
        ``n_trainable_layers``. None is the last layer. "auto" chooses in ``fit``, without labels,
        from the middle layer to the last one.
    learning_rate : float in (0, inf), default=2e-5
        Peak learning rate of the trainable layers, in pretraining and in the progressive loop.
    max_length : int in [1, inf) or None, default=None
        Maximum number of tokens per text; longer texts are truncated. None is the longest input
        of the model.
    memory : str, path, joblib.Memory or None, default=None
        Folder that caches the output of the frozen layers for later fits and other processes;
        results do not depend on it. None keeps the output for one call, in memory, or in a
        temporary file beyond 2 GiB. May be changed after ``fit``.

    Notes
    -----
    The UMC methodology (sections 3.2 and 3.8) fine-tunes the last layer and reads its states:
    ``TextModel(name, n_trainable_layers=1, layer=None)``.

    Examples
    --------
    >>> from skumc.text import TextModel
    >>> TextModel("sentence-transformers/all-MiniLM-L6-v2", layer=None)
    TextModel(layer=None, name='sentence-transformers/all-MiniLM-L6-v2')
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "name": [str, os.PathLike, tuple, list, None],
        "n_trainable_layers": [Interval(Integral, 0, None, closed="left"), StrOptions({"all"})],
        "layer": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto", "middle"}), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
    }

    def __init__(
        self,
        name: Any = None,
        *,
        n_trainable_layers: int | str = 0,
        layer: int | str | None = "auto",
        learning_rate: float = 2e-5,
        max_length: int | None = None,
        memory: Any = None,
    ) -> None:
        self.name = name
        self.n_trainable_layers = n_trainable_layers
        self.layer = layer
        self.learning_rate = learning_rate
        self.max_length = max_length
        self.memory = memory

    @classmethod
    def from_argument(cls, text: Any) -> TextModel:
        """Interpret the argument ``text=``, which may be a name, a folder or a pair for short.

        Parameters
        ----------
        text : TextModel, str, path, (model, tokenizer) or None

        Returns
        -------
        TextModel
            The same object if it is one.

        Examples
        --------
        >>> TextModel.from_argument("bert-base-uncased").name
        'bert-base-uncased'
        """
        return text if isinstance(text, cls) else cls(text)

    @property
    def memory_folder(self) -> Path | None:
        """Path of ``memory``, None if nothing is cached."""
        return memory_folder(self.memory)
