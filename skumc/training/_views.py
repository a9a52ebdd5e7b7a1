"""What is looked at together as one sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skumc._sequences import frames_of, sent
from skumc.data import MultimodalData
from skumc.encoders import Batch, EncoderOutput, encode_views
from skumc.training._batches import to_batch
from skumc.training._neighbors import Neighborhood

AUGMENTATIONS = ("neighbors", "views", "disjoint", "dropout", "noise", "frames")
_DROPOUT = 0.1
_NOISE = 0.01
_HIDDEN_FRAMES = 0.15


def modality_views(names: Sequence[str], anchor: str) -> list[tuple[str, ...]]:
    """The modalities that are visible in each view of a sample.

    Parameters
    ----------
    names : sequence of str
    anchor : str

    Returns
    -------
    list of tuple of str
        The full view first.

    Notes
    -----
    The full view and one for each modality but the anchor left out; with one other modality the
    full view and the anchor alone; with none the full view twice, told apart by dropout. With
    text, audio and video these are the three views of section 3.6.1 of the UMC methodology.

    Examples
    --------
    >>> modality_views(["text", "audio", "video"], "text")
    [('text', 'audio', 'video'), ('text', 'video'), ('text', 'audio')]
    """
    names = tuple(names)
    others = [name for name in names if name != anchor]
    if not others:
        return [names, names]
    return [names] + [tuple(n for n in names if n != left_out) for left_out in others]


def _hide_frames(batch: Batch) -> Batch:
    """Drop some frames of every sequence; each keeps at least its first."""
    hidden = {}
    for name, (frames, lengths) in batch.items():
        kept = torch.rand(len(frames), device=lengths.device) >= _HIDDEN_FRAMES
        first = (torch.cumsum(lengths, 0) - lengths)[lengths > 0]
        kept[first] = True
        owner = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
        places = sent(torch.nonzero(kept).squeeze(1), frames.device)
        fewer = torch.bincount(owner[kept], minlength=len(lengths))
        hidden[name] = (frames.index_select(0, places), fewer)
    return hidden


def _perturbed(output: EncoderOutput, augmentation: str) -> EncoderOutput:
    """The output with dropout or noise on every space that a loss may read."""

    def perturb(values: Tensor) -> Tensor:
        if augmentation == "dropout":
            return F.dropout(values, _DROPOUT)
        return values + _NOISE * torch.randn_like(values)

    return EncoderOutput(
        F.normalize(perturb(output.embedding), dim=-1),
        output.gates,
        {name: perturb(values) for name, values in output.projections.items()},
    )


def show_by_sample(batch: Batch, shown: Tensor) -> Batch:
    """The batch with the modalities ``shown``, (n_samples, n_modalities) bool, in batch's order."""
    visible = {}
    for place, (name, (frames, lengths)) in enumerate(batch.items()):
        kept = lengths * shown[:, place]
        visible[name] = (frames_of(frames, lengths, kept > 0), kept)
    return visible


def draw_parts(there: np.ndarray, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Each sample's modalities in two parts, neither of them empty where it has two or more.

    Parameters
    ----------
    there : ndarray of bool, shape (n_samples, n_modalities)
        At least one a row.
    rng : RandomState

    Returns
    -------
    first, second : ndarray of bool, shape (n_samples, n_modalities)
        The same one modality in both where there is but one.

    Examples
    --------
    >>> there = np.array([[True, True], [False, True]])
    >>> first, second = draw_parts(there, np.random.RandomState(0))
    >>> (first ^ second).tolist(), (first & second).tolist()
    ([[True, True], [False, False]], [[False, False], [False, True]])
    """
    rank = _ranks(there, rng)
    is_first = (rank == 0) | ((rank > 1) & (rng.random_sample(there.shape) < 0.5))
    alone = there.sum(axis=1, keepdims=True) == 1
    return is_first & there, (~is_first | alone) & there


def draw_subset(there: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Some of each sample's modalities: one at random, each other with probability 2/3."""
    rank = _ranks(there, rng)
    return there & ((rank == 0) | (rng.random_sample(there.shape) < 2 / 3))


def _ranks(there: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """A random order of each sample's modalities, from 0; those that are not there come last."""
    keys = np.where(there, rng.random_sample(there.shape), 2.0)
    return keys.argsort(axis=1).argsort(axis=1)


def _random_split(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The modalities in two parts, neither of them empty, drawn evenly among all such."""
    while True:
        chosen = torch.rand(len(names)) < 0.5
        if 0 < int(chosen.sum()) < len(names):
            parts = zip(names, chosen.tolist(), strict=True)
            first = tuple(name for name, is_first in parts if is_first)
            return [first, tuple(name for name in names if name not in first)]


def positive_views(
    encoder: nn.Module,
    batch: Batch,
    augmentation: str,
    views: Sequence[Sequence[str]],
) -> list[EncoderOutput]:
    """Encodings of the same samples that a contrastive loss is to bring together.

    Parameters
    ----------
    encoder : Module
    batch : dict of str to (Tensor, Tensor)
    augmentation : {"disjoint", "views", "dropout", "noise", "frames"}
        Two views with no modality in common, drawn anew for each batch; the full view and one of
        the others, drawn likewise; the embedding and a copy with dropout 0.1 or with noise of
        deviation 0.01; two passes, one of them with 15 % of the frames hidden. With one modality
        the first two are two passes, told apart by dropout.
    views : sequence of sequences of str

    Returns
    -------
    list of EncoderOutput

    Notes
    -----
    Sections 3.6.2, 3.7.1 and 3.10.4 of the UMC methodology, whose views all show the anchor, so
    that they can be matched by it alone; those of "disjoint" can only be matched by what modalities
    have in common. A sample that has none of a view's modalities shows all that it has.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skumc.encoders import FrameStatistics, ProjectionEncoder
    >>> statistics = dict.fromkeys(("text", "audio"), FrameStatistics(np.zeros(3), np.ones(3)))
    >>> encoder = ProjectionEncoder().build(statistics, "text")
    >>> batch = {name: (torch.randn(4, 3), torch.ones(4, dtype=int)) for name in statistics}
    >>> views = modality_views(["text", "audio"], "text")
    >>> first, second = positive_views(encoder, batch, "disjoint", views)
    >>> torch.equal(first.gates, 1 - second.gates)
    True
    """
    if augmentation == "disjoint" and len(batch) > 1:
        return encode_views(encoder, batch, _random_split(tuple(batch)))
    if augmentation in ("views", "disjoint"):
        other = int(torch.randint(1, len(views), ()))
        return encode_views(encoder, batch, [views[0], views[other]])
    output = encode_views(encoder, batch, [tuple(batch)])[0]
    if augmentation == "frames":
        return [output, encode_views(encoder, _hide_frames(batch), [tuple(batch)])[0]]
    return [output, _perturbed(output, augmentation)]


def neighbor_batch(
    data: MultimodalData,
    rows: np.ndarray,
    neighborhood: Neighborhood,
    *,
    rng: np.random.RandomState,
    apart: bool,
) -> Batch:
    """Two views a sample, as samples of one batch: first of all, then of one neighbour of each.

    As often as modalities agree both are seen in full, otherwise in parts: in two parts of the
    sample itself that have nothing in common (``apart``), or in some modalities of each. What is
    not trusted is never shown next to what is.
    """
    partners = neighborhood.draw(rows)
    whole = rng.random_sample(len(rows)) < neighborhood.agreement
    if apart:
        partners = np.where(whole, partners, rows)
    trusted = np.array([neighborhood.trusted[name] for name in data.names])
    shown = []
    for chosen in (rows, partners):
        there = data.present[chosen] & trusted
        there |= ~there.any(axis=1, keepdims=True) & data.present[chosen]
        shown.append(there)
    if apart:
        parts = draw_parts(shown[0], rng)
    else:
        parts = [draw_subset(there, rng) for there in shown]
    visible = np.where(np.tile(whole, 2)[:, None], np.vstack(shown), np.vstack(parts))
    batch = to_batch(data, np.concatenate([rows, partners]), torch.device("cpu"))
    return show_by_sample(batch, torch.from_numpy(visible))


def neighbor_views(encoder: nn.Module, batch: Batch) -> list[EncoderOutput]:
    """Encodings of the two halves of what :func:`neighbor_batch` gives."""
    both = encode_views(encoder, batch, [tuple(batch)])[0]
    n_samples = len(both.embedding) // 2
    return [both.rows(slice(None, n_samples)), both.rows(slice(n_samples, None))]
