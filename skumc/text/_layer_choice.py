"""Choice of a text model's layer without labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from skumc.data import Strings, TokenIds
from skumc.neighbors._search import Block, nearest, standardized
from skumc.neighbors._trust import modularity, n_compared
from skumc.text._frozen_states import FrozenStates
from skumc.text._split import find_layers, hidden_width

_MAX_TEXTS = 1500
_FEWEST = 10  # texts by which a layer is chosen
_N_STARTS = 3  # of k-means


def candidate_layers(n_layers: int, n_trainable_layers: int | str) -> list[int]:
    """List the numbers of the layers to choose from: the upper half, the middle one included.

    Examples
    --------
    >>> candidate_layers(6, 0), candidate_layers(6, 5), candidate_layers(1, "all")
    ([3, 4, 5, 6], [5, 6], [1])
    """
    first = (n_layers + 1) // 2
    if n_trainable_layers != "all":
        first = max(first, int(n_trainable_layers))
    return list(range(min(max(first, 1), n_layers), n_layers + 1))


def distinct_rows(samples: Strings | TokenIds) -> np.ndarray:
    """Draw the rows of at most 1,500 distinct texts, in order; the same ones in every call."""
    first: dict[str | bytes, int] = {}
    for row in np.flatnonzero(samples.lengths).tolist():
        key = samples.tokens[row].tobytes() if isinstance(samples, TokenIds) else samples[row]
        first.setdefault(cast("str | bytes", key), row)
    rows = np.fromiter(first.values(), dtype=np.int64, count=len(first))
    if len(rows) > _MAX_TEXTS:
        rows = np.sort(np.random.RandomState(0).choice(rows, _MAX_TEXTS, replace=False))
    return rows


@contextmanager
def _side_by_side(model: nn.Module, numbers: Sequence[int]) -> Iterator[None]:
    """Have a model return the states of several layers side by side.

    The last layer's are those after the model's final normalization.
    """
    layers = find_layers(model)[1]
    found: dict[int, Tensor] = {}

    def keep(number: int, module: nn.Module, inputs: Any, output: Any) -> None:
        found[number] = output if isinstance(output, Tensor) else output[0]

    def joined(module: nn.Module, inputs: Any, output: Any) -> SimpleNamespace:
        states = [found.get(number, output.last_hidden_state) for number in numbers]
        return SimpleNamespace(last_hidden_state=torch.cat(states, dim=-1))

    inner = [number for number in numbers if number < len(layers)]
    hooks = [layers[n - 1].register_forward_hook(partial(keep, n)) for n in inner]
    hooks.append(model.register_forward_hook(joined))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def choose_layer(
    model: nn.Module,
    tokens: TokenIds,
    numbers: Sequence[int],
    n_clusters: int,
    longest: int,
    device: torch.device,
    memory: Path | None = None,
) -> int:
    r"""Choose the layer with the clustering that the neighborhoods of all layers confirm best.

    Parameters
    ----------
    model : Module
        A transformers encoder without a head.
    tokens : TokenIds
        Distinct texts; those without a token are ignored.
    numbers : sequence of int
        Layers to choose from, 1 being the first.
    n_clusters : int
    longest : int
        Maximum number of tokens that the model reads.
    device : torch.device
    memory : Path, default=None
        Folder that caches the means of the layers.

    Returns
    -------
    int
        The last of ``numbers`` where there are fewer than two texts per cluster, or ten in all.

    Notes
    -----
    For each layer, k-means clusters the standardized means of the texts' states. The score of a
    layer is the modularity of its clustering on its own graph of ten nearest neighbors, plus the
    mean of the modularity on the other layers' graphs. No labels are read.
    """
    tokens = tokens.take(np.flatnonzero(tokens.lengths))
    numbers, n_texts = list(numbers), len(tokens)
    if len(numbers) == 1 or n_texts < max(2 * n_clusters, _FEWEST):
        return numbers[-1]
    width = hidden_width(model) * len(numbers)
    states = FrozenStates(model, width, longest, means_of=f"layers {numbers}")
    with _side_by_side(model, numbers):
        means = states(tokens, device, memory)
    values = np.array(means.values)  # writable, unlike those of a folder
    table = torch.from_numpy(values.reshape(n_texts, len(numbers), -1))
    everywhere = torch.ones(n_texts, dtype=torch.bool)
    blocks = [Block(standardized(layer, everywhere), None, 1.0) for layer in table.unbind(1)]
    near = [
        nearest([block], torch.arange(n_texts), n_compared(n_texts)).numpy() for block in blocks
    ]
    scores = []
    for place, block in enumerate(blocks):
        kmeans = KMeans(n_clusters, n_init=_N_STARTS, random_state=0)
        labels = kmeans.fit_predict(block.values.numpy())
        found = [modularity(labels, graph, everywhere.numpy()) for graph in near]
        scores.append(found[place] + np.mean(np.delete(found, place)))
    return numbers[int(np.argmax(scores))]
