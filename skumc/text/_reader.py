"""All text modalities of some samples, read by text models of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from skumc.data import MultimodalData, inference_batches
from skumc.data._rows import name_rows
from skumc.text._backbone import TextBackbone
from skumc.text._structure import calm
from skumc.text._tower import TextTower


class TextReader:
    """Turn the text of samples into frames, and hold the layers that go on from there.

    Parameters
    ----------
    names : sequence of str
        The modalities that are text.
    text_model : str, path, (model, tokenizer) or None
    **settings : dict
        Of :class:`TextBackbone`.

    Raises
    ------
    ValueError
        If there is text and no text model.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig, BertModel
    >>> from skumc import MultimodalData
    >>> model = BertModel(BertConfig(
    ...     vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    ... ))
    >>> def tokenizer(texts, **settings):  # a real one comes with its model
    ...     return {"input_ids": [[1, *map(len, text.split()), 2] for text in texts]}
    >>> reader = TextReader(["text"], (model, tokenizer))
    >>> X = MultimodalData({"text": ["good morning", None], "audio": [[1.0], [2.0]]})
    >>> reader.read(X, torch.device("cpu"))
    MultimodalData(2 samples; widths text: 16, audio: 1)
    >>> list(reader.towers)
    ['text']
    """

    def __init__(self, names: list[str], text_model: Any, **settings: Any) -> None:
        if names and text_model is None:
            raise ValueError(
                f"Modality {names[0]!r} holds text, but text_model=None. Set text_model to a "
                "transformers model: a name on the Hugging Face hub, a folder, or (model, "
                "tokenizer); or turn the text into numbers first, for example with "
                "TransformerTextFeatures."
            )
        self.backbones = {name: TextBackbone(text_model, **settings) for name in names}

    @property
    def towers(self) -> dict[str, TextTower]:
        """By modality the layers that train; a modality of which none does is left out."""
        return {name: b.tower for name, b in self.backbones.items() if b.tower is not None}

    def pooling(self, name: str) -> str | None:
        """How the text model of a modality summarises a text, as its configuration says."""
        return self.backbones[name].pooling if name in self.backbones else None

    def read(self, data: MultimodalData, device: torch.device) -> MultimodalData:
        """The samples with frames in the place of text.

        Raises
        ------
        ValueError
            If the tokenizer finds no token in a sample that has nothing else.
        """
        if not self.backbones:
            return data
        read = data.with_frames(
            {name: b.frames(data.packed(name), device) for name, b in self.backbones.items()}
        )
        empty = np.flatnonzero(~read.present.any(axis=1))
        if len(empty):
            raise ValueError(
                f"The text model's tokenizer gives no token for the text in {name_rows(empty)}, "
                "and everything else is missing there. Drop such samples, or use a tokenizer that "
                "adds special tokens."
            )
        return read

    def mean_and_scale(
        self, data: MultimodalData, name: str, device: torch.device
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of the values of a modality's frames, behind its tower if any."""
        tower = self.towers.get(name)
        if tower is None and name not in self.backbones:
            return data.packed(name).mean_and_scale()
        moments = _Moments()
        data = data.select([name])
        for rows in inference_batches(data):
            packed = data.packed(name, rows)
            states = torch.from_numpy(np.array(packed.values)).to(device)
            if tower is not None:
                with calm(tower.to(device)):
                    states = tower(states, torch.from_numpy(packed.lengths))
            moments.add(states.float().cpu().numpy())
        return moments.mean_and_scale(self.backbones[name].width)


class _Moments:
    """Mean and deviation of rows that come in blocks."""

    def __init__(self) -> None:
        self._n_rows = 0
        self._mean: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0

    def add(self, rows: np.ndarray) -> None:
        if len(rows) == 0:
            return
        rows = rows.astype(np.float64)
        mean, total = rows.mean(axis=0), self._n_rows + len(rows)
        shift = mean - self._mean
        between = np.square(shift) * self._n_rows * len(rows) / total
        self._squares = self._squares + np.square(rows - mean).sum(axis=0) + between
        self._mean = self._mean + shift * len(rows) / total
        self._n_rows = total

    def mean_and_scale(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        if self._n_rows == 0:
            return np.zeros(width), np.ones(width)
        scale = np.sqrt(self._squares / self._n_rows)
        return np.asarray(self._mean), np.where(scale > 1e-6, scale, 1.0)
