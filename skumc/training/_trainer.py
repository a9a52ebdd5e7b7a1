"""Contrastive pretraining, then the progressive loop."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skumc._sequences import sent
from skumc.data import MultimodalData
from skumc.encoders import Batch, EncoderOutput, encode_views
from skumc.losses import batch_centers
from skumc.training._batches import embed, split_batches, to_batch
from skumc.training._checks import check_distinct, checked_mask, finite_number
from skumc.training._clustering import (
    assign_labels,
    cluster_embedding,
    clustering_objective,
    label_means,
)
from skumc.training._compilation import compiled
from skumc.training._history import History
from skumc.training._isolation import autocast, without_shape_cache
from skumc.training._loading import loaded
from skumc.training._memory import check_memory, memory_need
from skumc.training._neighbors import Neighborhood
from skumc.training._optimisation import Stepper, TermMeter, Terms, backward_terms, copy_state
from skumc.training._progress import Progress
from skumc.training._settings import TrainingParts, TrainingSettings
from skumc.training._spreading import spread_labels
from skumc.training._views import (
    modality_views,
    neighbor_batch,
    neighbor_views,
    positive_views,
)

_UNTRUSTED_SHARE = 0.1  # of a gate, next to 1
_REFRESH = 2  # main epochs that use the same neighbours
_SUPERVISED = "supervised"  # a batch for which pseudo-labels speak


@dataclass
class _Epoch:
    """What one epoch's look at all samples found."""

    record: dict[str, Any]
    labels: np.ndarray
    centers: np.ndarray
    read_centers: np.ndarray  # in the space that compactness and separation read
    selected: np.ndarray
    taught: np.ndarray  # by pseudo-labels: what is selected, and what labels surely spread to
    state: dict[str, Tensor] = field(repr=False)


def contrastive_views(outputs: list[EncoderOutput]) -> Tensor:
    """What SupCon, contrastive loss and InfoNCE read, (n_samples, n_views, width)."""
    return torch.stack([o.projections.get("contrastive", o.embedding) for o in outputs], dim=1)


class ProgressiveTrainer:
    """Train an encoder on samples without labels.

    Parameters
    ----------
    encoder : Module
        Trained in place; ends in its best state.
    parts : TrainingParts
    settings : TrainingSettings
    rng : RandomState

    Attributes
    ----------
    history : History
        One record an epoch. A main epoch's ``monitor``, ``objective`` and ``threshold`` are taken
        before it trains; the last record stands for the encoder after the last training.
    n_iter : int
        Main epochs trained.
    trusted : dict of str to bool
    agreement : float
        See :class:`~skumc.training._neighbors.Neighborhood`; NaN without neighbours.

    Notes
    -----
    Algorithms 1 and 2 of the UMC methodology (sections 3.7.2 and 3.8.2).

    Examples
    --------
    :class:`~skumc.UMCClusterer` makes one in ``fit`` and keeps its history:

    >>> import numpy as np
    >>> from skumc import UMCClusterer
    >>> X = np.random.default_rng(0).normal(size=(20, 3))
    >>> fitted = UMCClusterer(2, pretrain_epochs=1, max_epochs=2, random_state=0).fit(X)
    >>> fitted.history_[:, "phase"]
    ['pretrain', 'main', 'main', 'main']
    """

    def __init__(
        self,
        encoder: nn.Module,
        parts: TrainingParts,
        settings: TrainingSettings,
        rng: np.random.RandomState,
    ) -> None:
        self.encoder = encoder
        self.parts = parts
        self.settings = settings
        self.rng = rng
        self.history = History()
        self.n_iter = 0
        self._best: _Epoch | None = None
        self._weights = {role: weight for role, (weight, _) in parts.losses.items()}
        modules = [loss for _, loss in parts.losses.values() if isinstance(loss, nn.Module)]
        self._losses = nn.ModuleList(modules).to(settings.device)
        self._trained = nn.ModuleDict({"encoder": encoder, "losses": self._losses})
        self._progress = Progress(
            settings.verbose,
            {"pretrain": settings.pretrain_epochs, "main": settings.max_epochs},
        )

    def run(self, data: MultimodalData) -> tuple[np.ndarray, np.ndarray]:
        """Train; give the centres and the selected samples of the restored epoch.

        Returns
        -------
        centers : ndarray of shape (n_clusters, n_components)
        selected : ndarray of bool, shape (n_samples,)
        """
        self._data = data
        self.trusted, self.agreement = dict.fromkeys(data.names, True), math.nan
        self._views = modality_views(data.names, self.settings.anchor)
        if self.settings.augmentation == "neighbors":
            self._meet_neighbors()
        self._trained.train()
        self._check_memory()
        with without_shape_cache(self.encoder, self.settings.precision):
            try:
                with self._compiled():
                    self._pretrain()
                    self._progress_through_epochs()
            except KeyboardInterrupt:
                self._keep_best_after_interrupt()
        best = self._best
        self._trained.load_state_dict(best.state)
        self._trained.eval()
        best.record["restored"] = True
        return best.centers, best.selected

    def _meet_neighbors(self) -> None:
        """Find out which modalities to trust, and who is whose neighbour."""
        data, settings = self._data, self.settings
        names = sorted(data.names, key=lambda name: name != settings.anchor)
        self._neighborhood = Neighborhood(
            self.encoder, data, settings.anchor, settings.device, self.rng
        )
        self.agreement = self._neighborhood.agreement
        self.trusted = trusted = self._neighborhood.trusted
        if hasattr(self.encoder, "set_prior_shares"):
            self.encoder.set_prior_shares(
                [1.0 if trusted[name] else _UNTRUSTED_SHARE for name in data.names]
            )
        alone = [(name,) for name in names if trusted[name]]
        self._views = [data.names, *(alone if len(alone) > 1 else [])]

    def _check_memory(self) -> None:
        """Stop before the work starts where a batch cannot fit."""
        data, settings = self._data, self.settings
        if settings.pretrain_epochs + settings.max_epochs == 0:
            return
        need = memory_need(self.encoder, data, self._views, settings.device, settings.precision)
        largest = min(settings.batch_size, len(data))
        check_memory(need, largest, settings.max_memory, settings.device)

    def _compiled(self) -> AbstractContextManager[None]:
        settings = self.settings
        if not settings.compile or settings.pretrain_epochs + settings.max_epochs == 0:
            return nullcontext()
        return compiled(self.encoder, self._data, self._views, settings.device, settings.precision)

    def _keep_best_after_interrupt(self) -> None:
        if self._best is None:
            self._look(epoch=0, previous=None)
        record = self._best.record
        if not any(known is record for known in self.history):
            record["seconds"] = None  # the epoch was under way: nobody has its time
            self.history.append(record)
        warnings.warn(
            f"fit was interrupted after {self.n_iter} of {self.settings.max_epochs} main epochs; "
            "the best state so far is kept.",
            RuntimeWarning,
            stacklevel=4,  # who called fit
        )

    def _stepper(self, learning_rate: float, averaging: float = 0.0) -> Stepper:
        settings = self.settings
        return Stepper(
            self._trained,
            text_parameters=getattr(self.encoder, "text_parameters", tuple)(),
            optimizer=settings.optimizer,
            learning_rate=learning_rate,
            text_learning_rate=settings.text_learning_rate,
            weight_decay=settings.weight_decay,
            warmup_proportion=settings.warmup_proportion,
            schedule=settings.schedule,
            grad_clip=settings.grad_clip,
            accumulate_steps=settings.accumulate_steps,
            averaging=averaging,
        )

    def _close_record(self, record: dict[str, Any], started: float) -> None:
        record["seconds"] = time.perf_counter() - started
        loss = record.get("loss_total", 0.0)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss became {loss} in {record['phase']} epoch {record['epoch']}. Lower "
                "learning_rate or pretrain_learning_rate, or set grad_clip."
            )
        self.history.append(record)
        self._progress.report(record)

    def _load(self, plan: tuple[str, np.ndarray]) -> tuple[tuple[str, np.ndarray], Batch]:
        """The frames that a step of a loss, or of a supervised batch, reads."""
        role, rows = plan
        if not self._weights.get(role, 1.0):
            return plan, {}
        if role != _SUPERVISED and self.settings.augmentation == "neighbors":
            return plan, neighbor_batch(
                self._data, rows, self._neighborhood, rng=self.rng, apart=role == "infonce"
            )
        return plan, to_batch(self._data, rows, torch.device("cpu"))

    # pretraining

    def _pretrain(self) -> None:
        settings = self.settings
        stepper = self._stepper(settings.pretrain_learning_rate)
        rows = np.arange(len(self._data))
        for epoch in range(settings.pretrain_epochs):
            started, meter = time.perf_counter(), TermMeter()
            batches = split_batches(rows, settings.batch_size, self.rng)
            stepper.epoch(
                loaded(self._load, [("infonce", batch) for batch in batches], settings.device),
                [len(batch) for batch in batches],
                lambda found, scale, meter=meter: self._contrast("infonce", found[1], scale, meter),
                epoch,
                settings.pretrain_epochs,
            )
            record = {"phase": "pretrain", "epoch": epoch} | meter.record()
            record["learning_rate"] = stepper.learning_rate
            self._close_record(record, started)

    # the progressive loop

    def _progress_through_epochs(self) -> None:
        settings = self.settings
        stepper = self._stepper(settings.learning_rate, settings.weight_averaging)
        previous: _Epoch | None = None
        n_without_gain = 0
        for epoch in range(settings.max_epochs + 1):
            started = time.perf_counter()
            with stepper.average.in_place():
                seen = self._look(epoch, previous)
            n_without_gain = 0 if seen is self._best else n_without_gain + 1
            if epoch < settings.first_patient_epoch:
                n_without_gain = 0
            impatient = settings.patience is not None and n_without_gain >= settings.patience
            if epoch < settings.max_epochs and not impatient:
                seen.record |= self._train_epoch(seen, stepper, epoch)
            self._close_record(seen.record, started)
            previous = seen
            if impatient:
                break

    def _look(self, epoch: int, previous: _Epoch | None) -> _Epoch:
        """Embed and cluster all samples, choose the trustworthy ones, judge the result."""
        parts, settings = self.parts, self.settings
        found = embed(self.encoder, self._data, settings.device, settings.precision)
        embedding, n_clusters = found.embedding, settings.n_clusters
        start = None
        if previous is None:
            check_distinct(embedding, n_clusters)
        else:  # the encoder has moved since: old coordinates mean nothing in its new space
            start = label_means(embedding, previous.labels, n_clusters, previous.centers)
        labels, centers = cluster_embedding(
            parts.kmeans, embedding, n_clusters, start, int(self.rng.randint(2**31 - 1))
        )
        if settings.augmentation == "neighbors" and epoch % _REFRESH == 0:
            self._neighborhood.update(embedding)
        known = {} if previous is None else previous.record
        threshold = finite_number(
            "threshold",
            parts.threshold.update(
                epoch, max(settings.max_epochs, 1), known.get("monitor"), known.get("loss_total")
            ),
            epoch,
        )
        selected = checked_mask(parts.selector.select(embedding, labels, threshold), len(labels))
        taught, returned = selected, labels
        if settings.augmentation == "neighbors" and settings.spread_confidence is not None:
            labels, confidence = spread_labels(labels, selected, self._neighborhood.partners)
            centers = label_means(embedding, labels, n_clusters, centers)
            taught = selected | (confidence >= settings.spread_confidence)
            returned = assign_labels(embedding, centers)
        performance = finite_number("monitor", parts.monitor(embedding, returned), epoch)
        record = {"phase": "main", "epoch": epoch, "monitor": performance, "threshold": threshold}
        terms = getattr(parts.threshold, "terms_", {})
        record |= {f"threshold_{name}": value for name, value in terms.items()}
        record["selected_share"] = float(selected.mean())
        record["taught_share"] = float(taught.mean())
        record |= clustering_objective(embedding, returned, centers)
        record["restored"] = False
        best = self._best
        is_better = best is None or performance > best.record["monitor"]
        state = copy_state(self._trained) if is_better else {}
        read_centers = (
            centers
            if found.clustering is None
            else label_means(found.clustering, labels, n_clusters)
        )
        seen = _Epoch(record, labels, centers, read_centers, selected, taught, state)
        if is_better:
            self._best = seen
        return seen

    def _train_epoch(self, seen: _Epoch, stepper: Stepper, epoch: int) -> dict[str, float]:
        """Train on the samples that pseudo-labels teach, then on the rest."""
        settings, meter = self.settings, TermMeter()
        rows = np.arange(len(self._data))
        taught = split_batches(rows[seen.taught], settings.batch_size, self.rng)
        rest = split_batches(rows[~seen.taught], settings.batch_size, self.rng)
        labels = torch.from_numpy(seen.labels.astype(np.int64))
        centers = torch.from_numpy(seen.read_centers).to(settings.device, torch.float32)

        def backward(found: tuple[tuple[str, np.ndarray], Batch], scale: float) -> None:
            (role, chosen), batch = found
            if role == _SUPERVISED:
                self._supervise(batch, labels[torch.from_numpy(chosen)], centers, scale, meter)
            else:
                self._contrast(role, batch, scale, meter)

        plans = [(_SUPERVISED, batch) for batch in taught]
        plans += [("contrastive", batch) for batch in rest]
        stepper.epoch(
            loaded(self._load, plans, settings.device),
            [len(batch) for batch in taught + rest],
            backward,
            epoch,
            settings.max_epochs,
        )
        self.n_iter = epoch + 1
        nothing = {  # a branch may have no samples
            f"{what}_{role}": None
            for role, weight in self._weights.items()
            for what in ("loss", "gradient")
            if weight and role != "infonce"
        }
        return nothing | meter.record() | {"learning_rate": stepper.learning_rate}

    # losses

    def _term(self, role: str, *inputs: Tensor) -> Terms:
        """One weighted loss, or none where its weight is 0."""
        weight, loss = self.parts.losses[role]
        if not weight:
            return {}
        if not getattr(loss, "moves_tensors", False):
            device = inputs[0].device
            inputs = tuple(x if x.device == device else sent(x, device) for x in inputs)
        try:
            value = loss(*inputs)
        except TypeError as error:
            raise TypeError(
                f"The loss {role!r} failed: {error}. It is called with {len(inputs)} tensor(s), "
                f"see WeightedLosses. Check losses={{{role!r}: ...}}."
            ) from error
        if not isinstance(value, Tensor) or value.ndim:
            raise TypeError(
                f"The loss {role!r} gave {type(value).__name__}, expected a tensor with one "
                f"number. Check losses={{{role!r}: ...}}."
            )
        return {role: (weight, value)}

    def _contrast(self, role: str, batch: Batch, scale: float, meter: TermMeter) -> None:
        """Bring views of the same sample together."""
        settings = self.settings
        if not self._weights[role]:
            return
        with autocast(settings.device, settings.precision):
            if settings.augmentation == "neighbors":
                outputs = neighbor_views(self.encoder, batch)
            else:
                outputs = positive_views(self.encoder, batch, settings.augmentation, self._views)
        report = backward_terms(
            outputs,
            lambda copies: self._term(role, contrastive_views(copies)),
            scale,
            tuple(self._losses.parameters()),
        )
        meter.add(report, self._weights)

    def _supervise(
        self, batch: Batch, labels: Tensor, centers: Tensor, scale: float, meter: TermMeter
    ) -> None:
        """Bring views of the same pseudo-cluster together, to its centre, and centres apart."""
        settings = self.settings
        with autocast(settings.device, settings.precision):
            outputs = encode_views(self.encoder, batch, self._views)

        def compute(copies: list[EncoderOutput]) -> Terms:
            full = copies[0].projections.get("clustering", copies[0].embedding)
            moving = batch_centers(full, labels, centers)
            return (
                self._term("supcon", contrastive_views(copies), labels)
                | self._term("compactness", full, labels, moving)
                | self._term("separation", moving)
            )

        report = backward_terms(outputs, compute, scale, tuple(self._losses.parameters()))
        meter.add(report, self._weights)
