"""Read all text modalities, each with a text model of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from skumc._evaluation import evaluating
from skumc._moments import Moments
from skumc.data import MultimodalData, Ragged, Strings, TokenIds, inference_batches
from skumc.data._rows import name_rows
from skumc.text._backbone import TextBackbone
from skumc.text._layer_choice import candidate_layers, choose_layer, distinct_rows
from skumc.text._split import find_layers
from skumc.text._text_model import TextModel
from skumc.text._tower import TextTower


class TextReader:
    """Turn text into frames, and hold the layers that train on them.

    Parameters
    ----------
    names : sequence of str
        Names of the text modalities.
    text : TextModel, str, path, (model, tokenizer) or None
        Specification of the model, of which each text modality has a copy; see
        :class:`TextBackbone`.
    verbose : int, default=0
        See :class:`TextBackbone`.
    samples : MultimodalData, default=None
        Samples by which the layer is chosen for ``layer="auto"``.
    n_clusters : int, default=1
        Number of clusters by which it is chosen.
    device : torch.device, default=None
        Device for that; None is the CPU.
    layers : dict of str to int, default=None
        Layer of each modality that ``layer="auto"`` chose in an earlier fit.

    Raises
    ------
    ValueError
        If there is text and no text model, or a text model and no text.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig, BertModel
    >>> from skumc import MultimodalData
    >>> from skumc.text import TextModel
    >>> model = BertModel(BertConfig(
    ...     vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    ... ))
    >>> def tokenizer(texts, **settings):  # a real one comes with its model
    ...     return {"input_ids": [[1, *map(len, text.split()), 2] for text in texts]}
    >>> reader = TextReader(["text"], TextModel((model, tokenizer), n_trainable_layers=1))
    >>> X = MultimodalData({"text": ["good morning", None], "audio": [[1.0], [2.0]]})
    >>> reader.read(X, torch.device("cpu"))
    MultimodalData(2 samples; widths text: 16, audio: 1)
    >>> list(reader.towers)
    ['text']
    """

    def __init__(
        self,
        names: Sequence[str],
        text: Any,
        verbose: int = 0,
        samples: MultimodalData | None = None,
        n_clusters: int = 1,
        device: torch.device | None = None,
        layers: Mapping[str, int] | None = None,
    ) -> None:
        text = TextModel.from_argument(text)
        text._validate_params()
        if text.name is not None and not names:
            raise ValueError(
                "Got a text model (text=), but no modality of X holds text. Pass sentences (a "
                "list, or a column of a pandas or polars DataFrame) or a tokenizer's result, "
                '{"input_ids": ids, "attention_mask": mask}; or set text=None.'
            )
        if names and text.name is None:
            raise ValueError(
                f"Modality {names[0]!r} holds text, but text=None. Set text to a transformers "
                "model: a name on the Hugging Face hub, a folder, (model, tokenizer) or a "
                "TextModel with one of these as its name; or turn the text into numbers first, "
                "for example with TransformerTextFeatures."
            )

        def choose(name: str, backbone: TextBackbone, model: Any) -> int:
            if layers is not None:
                return layers[name]
            assert samples is not None
            texts = cast("Strings | TokenIds", samples.packed(name))
            return choose_layer(
                model,
                backbone.known_tokens(texts.take(distinct_rows(texts))),
                candidate_layers(len(find_layers(model)[1]), text.n_trainable_layers),
                n_clusters,
                backbone.max_length,
                device or torch.device("cpu"),
                text.memory_folder,
            )

        chooses = samples is not None or layers is not None
        self.backbones = {
            name: TextBackbone(
                text, verbose, choose_layer=partial(choose, name) if chooses else None
            )
            for name in names
        }

    @property
    def towers(self) -> dict[str, TextTower]:
        """Trainable layers by modality; modalities with a frozen model are left out."""
        return {name: b.tower for name, b in self.backbones.items() if b.tower is not None}

    @property
    def layers(self) -> dict[str, int]:
        """Layer that is read, by modality."""
        return {name: backbone.layer for name, backbone in self.backbones.items()}

    def pooling(self, name: str) -> str | None:
        """Look up the pooling that the configuration of a modality's text model names."""
        return self.backbones[name].pooling if name in self.backbones else None

    def read(
        self,
        data: MultimodalData,
        device: torch.device,
        memory: Path | None = None,
        *,
        allow_missing_rows: bool = False,
    ) -> MultimodalData:
        """Replace text by frames.

        Parameters
        ----------
        data : MultimodalData
        device : torch.device
        memory : Path, default=None
            Folder that caches the output of the frozen layers.
        allow_missing_rows : bool, default=False
            Whether samples may be left without any modality.

        Returns
        -------
        MultimodalData

        Raises
        ------
        ValueError
            If the tokenizer finds no token in a sample that has no other modality.
        """
        if not self.backbones:
            return data
        read = data.with_frames(
            {
                name: backbone.frames(cast("Strings | TokenIds", data.packed(name)), device, memory)
                for name, backbone in self.backbones.items()
            }
        )
        empty = np.flatnonzero(~read.present.any(axis=1))
        if len(empty) and not allow_missing_rows:
            raise ValueError(
                f"The text model's tokenizer finds no token in {name_rows(empty)}, and every other "
                "modality is missing there. Drop such samples, or use a tokenizer that adds "
                "special tokens."
            )
        return read

    def mean_and_scale(
        self, data: MultimodalData, name: str, device: torch.device
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute mean and deviation of a modality's frames, after its tower if it has one."""
        tower = self.towers.get(name)
        if tower is None and name not in self.backbones:
            return cast(Ragged, data.packed(name)).mean_and_scale()
        moments = Moments(self.backbones[name].width)
        data = data.select([name])
        for rows in inference_batches(data):
            packed = cast(Ragged, data.packed(name, rows))
            states = torch.from_numpy(np.array(packed.values)).to(device)
            if tower is not None:
                with evaluating(tower.to(device)):
                    states = tower(states, torch.from_numpy(packed.lengths))
            moments.add(states.float().cpu())
        mean, scale = moments.mean_and_scale()
        return mean.numpy(), scale.numpy()
