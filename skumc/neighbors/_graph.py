"""The neighbor graph as a part of the estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor

from skumc._parts import unknown_name_message
from skumc._sequences import Sequences
from skumc._warnings import warn_caller
from skumc.data import MultimodalData, Ragged
from skumc.neighbors._search import Block, nearest, standardized
from skumc.neighbors._trust import agreement, judge, modularity, n_compared, n_scored

_MAX_JUDGED = 2048  # samples by which modalities are judged
_MAX_REFERENCES = 4096  # samples among which neighbors are searched
_LEAST_SHARE = 1e-6  # of a modality with weight 0; a sample may have no other


def _looks(
    data: MultimodalData, blocks: Mapping[str, Block], judged: Tensor
) -> list[dict[str, Block]]:
    """Take the samples to judge by from the summaries, and means of their frames.

    The mean over all frames keeps more of what a few of them tell than means of segments do.
    """
    chosen = {
        name: Block(values[judged], cast(Tensor, present)[judged], 1.0)
        for name, (values, present, _) in blocks.items()
    }
    rows, means = judged.cpu().numpy(), dict(chosen)
    for name, block in chosen.items():
        store = cast(Ragged, data.packed(name, rows))
        is_numeric = np.issubdtype(store.values.dtype, np.floating)  # not token ids
        if is_numeric and store.lengths.max(initial=0) > 1:
            mean, scale = store.mean_and_scale()
            frames = torch.from_numpy((store.values - mean) / scale).to(judged.device)
            sequences = Sequences.from_lengths(frames, torch.from_numpy(store.lengths))
            means[name] = block._replace(
                values=standardized(sequences.mean(), cast(Tensor, block.present))
            )
    is_same = all(means[name] is block for name, block in chosen.items())
    return [chosen] if is_same else [chosen, means]


def trust_of(graph: Any) -> dict[str, float]:
    """Return the trust of a graph in each modality; 0 or 1 where it only decides."""
    trust = getattr(graph, "trust_", graph.trusted_)
    return {name: float(value) for name, value in trust.items()}


class NeighborGraph(BaseEstimator):
    r"""K-nearest-neighbor graph of the samples, and the modalities to trust.

    Parameters
    ----------
    n_partners : int in [1, inf), default=5
        Number of nearest neighbors per sample.
    refresh_every : int in [1, inf) or None, default=2
        Number of epochs of the progressive loop between searches that combine input and embedding.
        None keeps the neighbors of the input.
    judge_trust : bool, default=True
        Whether modalities are judged; False trusts all of them.
    untrusted_share : float in (0, 1], default=0.1
        Share of an untrusted modality's gate before training, relative to a trusted one's. 1
        switches this prior off.
    modality_weight : dict of str to float in [0, inf), or None, default=None
        Weights of modalities in distances, in the monitor and in the gates before training; 1 for
        those that are left out. A modality with a positive weight here is trusted without
        judgment. One of weight 0 is not, and its gates start at almost 0.

    Attributes
    ----------
    trust_ : dict of str to float
        Trust in each modality, within [0, 1]. It rises with the number of neighbors that the
        modality shares with another one, from 0 at 3 standard deviations above chance to 1 at
        4.5. The ten nearest neighbors and the nearest eighth of all samples are compared, by
        summaries and by means of frames, and the largest number counts. If no two modalities
        share neighbors, only the anchor is trusted.
    trusted_ : dict of str to bool
        Modalities with a trust of 0.5 or more.
    agreement_ : float
        Share of the neighbors of the joint input that are near in at least two modalities, within
        [0, 1]; 1 if only one modality is trusted, and nearer to 1 the less the second one is.
    partners_ : ndarray of int, shape (n_samples, n_partners)
        Nearest neighbors of each sample; fewer if there are too few samples.
    near_ : dict of str to (ndarray of int (n_samples, n_nearest), ndarray of bool (n_samples,))
        For each modality with a trust above 0 the nearest neighbors of each sample in the input of
        this modality alone, as many as a quarter of a cluster of average size, from 10 to 100; and
        the samples that have it.
    prior_shares_ : list of float
        Relative shares of the modalities' gates before training.

    Warns
    -----
    RuntimeWarning
        If the anchor is not trusted: two other modalities may share something that is not what
        the clusters should be about.

    Notes
    -----
    :meth:`modularity` scores a clustering on the neighbors in each modality's own input, which
    training does not change.

    The joint input is the standardized summary of each modality, with mean squared norms in
    proportion to trust and weights, 1 in total; in a modality that one of two samples lacks, their
    distance is the average distance between two samples. :meth:`refresh` searches in
    :math:`a D_{input} + D_h`, the squared distances of the input and of the embedding :math:`h`,
    weighted by the agreement :math:`a`: where modalities agree, their neighborhoods are reliable;
    elsewhere the embedding has to find what they have in common. Beyond 4,096 samples neighbors are
    searched among that many, drawn at random, so the cost is linear in the number of samples.
    Beyond 2,048 references modalities are judged by that many.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skumc import MultimodalData
    >>> topic = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> X = MultimodalData({"text": topic, "audio": -topic})
    >>> def summarize():
    ...     return {"text": torch.from_numpy(topic), "audio": torch.from_numpy(-topic)}
    >>> graph = NeighborGraph(n_partners=1).build(X, summarize, "text", np.random.RandomState(0))
    >>> graph.partners_.ravel().tolist(), graph.agreement_
    ([1, 0, 3, 2], 1.0)
    """

    _changes_in_training = ("partners_",)

    _parameter_constraints: dict[str, list[Any]] = {
        "n_partners": [Interval(Integral, 1, None, closed="left")],
        "refresh_every": [Interval(Integral, 1, None, closed="left"), None],
        "judge_trust": ["boolean"],
        "untrusted_share": [Interval(Real, 0, 1, closed="right")],
        "modality_weight": [dict, None],
    }

    def __init__(
        self,
        n_partners: int = 5,
        *,
        refresh_every: int | None = 2,
        judge_trust: bool = True,
        untrusted_share: float = 0.1,
        modality_weight: dict[str, float] | None = None,
    ) -> None:
        self.n_partners = n_partners
        self.refresh_every = refresh_every
        self.judge_trust = judge_trust
        self.untrusted_share = untrusted_share
        self.modality_weight = modality_weight

    def build(
        self,
        data: MultimodalData,
        summarize: Callable[[], Mapping[str, Tensor]],
        anchor: str,
        rng: np.random.RandomState,
        n_clusters: int | None = None,
    ) -> NeighborGraph:
        """Judge the modalities and find the neighbors of the input.

        Parameters
        ----------
        data : MultimodalData
            The training samples.
        summarize : callable
            Returns one vector per sample and modality: a dict of names, in the order of ``data``,
            to Tensor of shape (n_samples, width).
        anchor : str
            Modality to trust where no two share neighbors.
        rng : RandomState
            Draws the references beyond 4,096 samples, and those to judge by beyond 2,048.
        n_clusters : int or None, default=None
            Number of clusters, which sets the size of the neighborhoods of :meth:`modularity`. None
            gives them ten neighbors.

        Returns
        -------
        NeighborGraph
            The graph itself.
        """
        self._validate_params()
        names, n_samples, summaries = list(data.names), len(data), summarize()
        weights = self._checked_weights(names)
        device = summaries[names[0]].device
        references = np.arange(n_samples)
        if n_samples > _MAX_REFERENCES:
            references = np.sort(rng.choice(n_samples, _MAX_REFERENCES, replace=False))
        self._references = torch.from_numpy(references).to(device)
        blocks = {}
        for place, name in enumerate(names):
            there = torch.from_numpy(data.present[:, place]).to(device)
            blocks[name] = Block(standardized(summaries[name], there), there, 1.0)
        self.trust_, self.agreement_ = dict.fromkeys(names, 1.0), 1.0
        if len(names) > 1 and n_samples > 1 and self.judge_trust:
            self.trust_ = judge(_looks(data, blocks, self._judged(rng)), anchor)
        self.trust_ |= {name: float(weights[name] > 0) for name in self.modality_weight or {}}
        if not any(self.trust_.values()):  # the anchor has weight 0
            self.trust_ = {name: float(weights[name] > 0) for name in names}
        self.trusted_ = {name: trust >= 0.5 for name, trust in self.trust_.items()}
        self._warn_of_lost_anchor(anchor)
        chosen = [name for name in names if self.trust_[name] > 0]
        total = sum(weights[name] * self.trust_[name] for name in chosen)
        self._weights = {name: weights[name] * self.trust_[name] / total for name in chosen}
        self._input = [blocks[name]._replace(weight=self._weights[name]) for name in chosen]
        n_compare = n_compared(len(references))
        n_near = n_compare if n_clusters is None else n_scored(len(references), n_clusters)
        if len(chosen) > 1:
            partners = self._search(self._input, self.n_partners)
            near = {name: self._search([blocks[name]], n_near).int() for name in chosen}
            present = {name: cast(Tensor, blocks[name].present) for name in chosen}
            nearest_ten = [rows[:, :n_compare] for rows in near.values()]
            shared = agreement(partners, nearest_ten, list(present.values()))
            second = sorted(self.trust_.values())[-2]
            self.agreement_ = second * shared + (1.0 - second)
        else:
            both = self._search(self._input, max(self.n_partners, n_near))
            partners, near = both[:, : self.n_partners], {chosen[0]: both[:, :n_near].int()}
        self.near_ = {
            name: (rows.cpu().numpy(), data.present[:, names.index(name)])
            for name, rows in near.items()
        }
        self.partners_ = partners.cpu().numpy()
        self.prior_shares_ = [
            max(weights[name], _LEAST_SHARE)
            * (self.trust_[name] + (1.0 - self.trust_[name]) * self.untrusted_share)
            for name in names
        ]
        return self

    def refresh(self, epoch: int, embedding: np.ndarray) -> None:
        """Search in input and embedding together, in every ``refresh_every``-th epoch.

        Parameters
        ----------
        epoch : int
            Epoch of the progressive loop, from 0.
        embedding : ndarray of shape (n_samples, n_components)
        """
        if self.refresh_every is None or epoch % self.refresh_every:
            return
        values = torch.from_numpy(embedding).to(self._references.device)
        blocks = [block._replace(weight=self.agreement_ * block.weight) for block in self._input]
        partners = self._search([*blocks, Block(values, None, 1.0)], self.n_partners)
        self.partners_ = partners.cpu().numpy()

    def modularity(self, labels: np.ndarray, rows: np.ndarray | None = None) -> float:
        r"""Score a clustering on the neighbors in the input, without labels of classes.

        Parameters
        ----------
        labels : ndarray of int, shape (n_samples,)
            Cluster of each training sample.
        rows : ndarray of int, shape (n_scored,), or None, default=None
            Samples of which the neighbors are compared; None is all. The shares of the clusters
            are those of all samples.

        Returns
        -------
        float
            Weighted mean, over the trusted modalities, of the share of the nearest neighbors
            that have the sample's label, minus :math:`\sum_k p_k^2` for the shares :math:`p_k` of
            the clusters; 0 is expected of random labels, 1 is the supremum.
        """
        scores = {
            name: modularity(labels, near, there, rows)
            for name, (near, there) in self.near_.items()
        }
        return float(sum(self._weights[name] * score for name, score in scores.items()))

    def draw(self, rows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Draw one neighbor of each of the samples ``rows``."""
        places = rng.randint(self.partners_.shape[1], size=len(rows))
        return self.partners_[rows, places]

    def _search(self, blocks: Sequence[Block], n_nearest: int) -> Tensor:
        n_others = len(self._references) - 1
        if n_others < 1:
            return self._references.unsqueeze(1)
        return nearest(blocks, self._references, min(n_nearest, n_others))

    def _checked_weights(self, names: Sequence[str]) -> dict[str, float]:
        """Return the weight of each modality."""
        given = self.modality_weight or {}
        for name, weight in given.items():
            if name not in names:
                raise ValueError(unknown_name_message("modality_weight", name, names))
            is_number = isinstance(weight, Real) and not isinstance(weight, bool)
            if not is_number or not 0 <= weight < math.inf:
                raise ValueError(
                    f"Got modality_weight={given!r}, expected finite numbers from 0. Change "
                    f"the weight of {name!r}."
                )
        weights = {name: float(given.get(name, 1.0)) for name in names}
        if not any(weights.values()):
            raise ValueError(
                f"Got modality_weight={given!r}, which leaves no modality with a weight above 0. "
                "Give one of them a positive weight."
            )
        return weights

    def _warn_of_lost_anchor(self, anchor: str) -> None:
        """Warn if other modalities are trusted, but not the anchor."""
        if self.trusted_[anchor] or anchor in (self.modality_weight or {}):
            return
        others = [name for name, is_trusted in self.trusted_.items() if is_trusted]
        zeros = ", ".join(f"{name!r}: 0.0" for name in others)
        warn_caller(
            f"The anchor modality {anchor!r} is not trusted: it shares no more neighbors with any "
            f"other modality than by chance, while {' and '.join(map(repr, others))} do with each "
            f"other. Clusters will follow these. If they should follow {anchor!r}, set "
            f"neighbors__modality_weight={{{anchor!r}: 1.0, {zeros}}}, or leave these modalities "
            "out. Otherwise set anchor= to one of them."
        )

    def _judged(self, rng: np.random.RandomState) -> Tensor:
        references = self._references
        if len(references) <= _MAX_JUDGED:
            return references
        chosen = rng.choice(len(references), _MAX_JUDGED, replace=False)
        return references[torch.from_numpy(chosen).to(references.device)]


class NoNeighborGraph(BaseEstimator):
    """No neighbor graph: all modalities are trusted, gates have no prior.

    Attributes
    ----------
    trusted_ : dict of str to bool
        True for every modality.
    agreement_ : float
        NaN.
    partners_, prior_shares_ : None

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> UMCClusterer(neighbors="none", monitor="silhouette").neighbors
    'none'
    """

    partners_: np.ndarray | None = None
    prior_shares_: list[float] | None = None
    agreement_ = math.nan

    def build(
        self,
        data: MultimodalData,
        summarize: Callable[[], Mapping[str, Tensor]],
        anchor: str,
        rng: np.random.RandomState,
        n_clusters: int | None = None,
    ) -> NoNeighborGraph:
        """Trust all modalities; see :meth:`NeighborGraph.build`."""
        self.trusted_ = dict.fromkeys(data.names, True)
        return self

    def refresh(self, epoch: int, embedding: np.ndarray) -> None:
        """Do nothing."""
