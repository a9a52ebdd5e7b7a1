"""Contrastive pretraining, then the progressive loop: algorithm 1 of the UMC methodology."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from skumc._warnings import warn_caller
from skumc.data import MultimodalData
from skumc.pairs import supervised_views
from skumc.pseudo_labels import label_means
from skumc.training._callbacks import CallbackList
from skumc.training._clustering import assign_labels, cluster_embedding, clustering_objective
from skumc.training._embedding import embed, summarize
from skumc.training._history import History
from skumc.training._isolation import without_shape_cache
from skumc.training._losses import LossTerms
from skumc.training._optimization import Stepper, copy_state
from skumc.training._part_returns import (
    check_distinct,
    checked_mask,
    checked_pseudo_labels,
    finite_number,
)
from skumc.training._settings import TrainingParts, TrainingSettings
from skumc.training._state import TrainingState
from skumc.training._steps import Plan, TrainingSteps, split_batches


@dataclass
class _Best:
    """The best epoch so far."""

    record: dict[str, Any]
    centers: np.ndarray
    selected: np.ndarray
    weights: dict[str, Tensor]


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
        One record per epoch. A main epoch's ``monitor``, ``objective`` and ``threshold`` are those
        before it trains; a last record describes the final encoder.
    n_iter : int
        Number of main epochs that trained.

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
        self._best: _Best | None = None
        self._callbacks = CallbackList(parts.callbacks)
        self._steps = TrainingSteps(LossTerms(parts.losses), parts.pairs, self._callbacks, rng)
        self._model = nn.ModuleDict({"encoder": encoder, "losses": self._steps.terms.modules})
        self._model.to(settings.device)
        self._stopped = False

    def run(self, data: MultimodalData) -> tuple[np.ndarray, np.ndarray]:
        """Train.

        Returns
        -------
        centers : ndarray of shape (n_clusters, n_components)
            Centers of the best epoch.
        selected : ndarray of bool, shape (n_samples,)
            Samples selected in the best epoch.
        """
        self._prepare(data)
        with without_shape_cache(self.encoder, self.settings.precision):
            try:
                self._pretrain()
                self._learn_progressively()
            except KeyboardInterrupt:
                self._finish_interrupted()
        best = self._restore_best()
        self._callbacks.train_end(self._state)
        return best.centers, best.selected

    # 1. initialization

    def _prepare(self, data: MultimodalData) -> None:
        parts, settings = self.parts, self.settings
        graph = parts.neighbors
        graph.build(
            data,
            lambda: summarize(self.encoder, data, settings.device),
            settings.anchor,
            self.rng,
        )
        set_shares = getattr(self.encoder, "set_prior_shares", None)
        if graph.prior_shares_ is not None and set_shares is not None:
            set_shares(graph.prior_shares_)
        parts.pairs.prepare(data, settings.anchor, graph)
        if hasattr(parts.pseudo_labels, "prepare"):
            parts.pseudo_labels.prepare(graph)
        views = supervised_views(
            parts.supervised_views, data.names, settings.anchor, graph.trusted_
        )
        self._state = TrainingState(
            self.encoder, data, settings, graph, views=views, history=self.history
        )
        self._model.train()
        self._callbacks.train_begin(self._state)

    # 2. pretraining

    def _pretrain(self) -> None:
        state, settings = self._state, self.settings
        state.phase, state.n_epochs = "pretrain", settings.pretrain_epochs
        stepper = self._stepper(settings.pretrain_learning_rate, averages=False)
        rows = np.arange(len(state.data))
        for state.epoch in range(settings.pretrain_epochs):
            started = time.perf_counter()
            plans = split_batches("pretrain", rows, settings.batch_size, self.rng)
            record = {"phase": "pretrain", "epoch": state.epoch}
            self._close(record | self._steps.train(plans, stepper, state), started)
            if self._stopped:
                return

    # 3. the progressive loop

    def _learn_progressively(self) -> None:
        state, settings = self._state, self.settings
        state.phase, state.n_epochs = "main", settings.max_epochs
        stepper = self._stepper(settings.learning_rate, averages=True)
        first_patient = self.parts.first_patient_epoch(settings.max_epochs)
        patience = math.inf if settings.patience is None else settings.patience
        record: dict[str, Any] = {}
        n_without_gain = 0
        for state.epoch in range(settings.max_epochs + 1):
            started = time.perf_counter()
            record = self._cluster_and_select(stepper.averaged, record)
            is_best = self._keep_if_best(stepper.averaged, record)
            starts_over = is_best or state.epoch < first_patient
            n_without_gain = 0 if starts_over else n_without_gain + 1
            ends = self._stopped or n_without_gain >= patience
            if state.epoch < settings.max_epochs and not ends:
                record |= self._steps.train(self._plan_epoch(), stepper, state)
                self.n_iter = state.epoch + 1
            self._close(record, started)
            if ends:
                return

    def _cluster_and_select(self, model: nn.Module, last: dict[str, Any]) -> dict[str, Any]:
        """Cluster, select and label all samples (algorithm 2), judge the result."""
        state, parts, epoch = self._state, self.parts, self._state.epoch
        encoder = cast(nn.ModuleDict, model)["encoder"]
        found = embed(encoder, state.data, self.settings.device, self.settings.precision)
        labels, centers = self._cluster(found.embedding)
        state.embedding, state.labels, state.centers = found.embedding, labels, centers
        state.graph.refresh(epoch, found.embedding)
        value = parts.threshold.update(
            epoch, max(state.n_epochs, 1), last.get("monitor"), last.get("loss_total")
        )
        threshold = finite_number("threshold", value, epoch)
        selected = parts.selector.select(found.embedding, labels, threshold)
        state.selected = checked_mask(selected, len(labels))
        pseudo = parts.pseudo_labels.label(state)
        labels, taught, centers = checked_pseudo_labels(pseudo, centers, len(labels))
        state.labels, state.taught, state.centers = labels, taught, centers
        state.read_centers = centers
        if found.clustering is not None:
            state.read_centers = label_means(found.clustering, labels, len(centers))
        returned = assign_labels(found.embedding, centers)  # what fit returns for this epoch
        score = finite_number("monitor", parts.monitor(found.embedding, returned), epoch)
        record = {"phase": "main", "epoch": epoch, "monitor": score, "threshold": threshold}
        terms = getattr(parts.threshold, "terms_", {})
        record |= {f"threshold_{name}": term for name, term in terms.items()}
        record["selected_share"] = float(state.selected.mean())
        record["taught_share"] = float(taught.mean())
        record |= clustering_objective(found.embedding, returned, centers)
        record["restored"] = False
        return record

    def _cluster(self, embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run K-means++ in the first epoch, k-means from a warm start in all others.

        The start is the means of the last labels in the new embedding: the encoder has moved, so
        the old coordinates no longer apply.
        """
        state, n_clusters = self._state, self.settings.n_clusters
        start = None
        if state.labels is None:
            check_distinct(embedding, n_clusters)
        else:
            start = label_means(embedding, state.labels, n_clusters, state.centers)
        seed = int(self.rng.randint(2**31 - 1))
        return cluster_embedding(self.parts.kmeans, embedding, n_clusters, start, seed)

    def _plan_epoch(self) -> list[Plan]:
        """Plan the supervised batches of the taught samples, then those of the rest."""
        taught, size = self._state.taught, self.settings.batch_size
        assert taught is not None
        rows = np.arange(len(taught))
        plans = split_batches("supervised", rows[taught], size, self.rng)
        return plans + split_batches("rest", rows[~taught], size, self.rng)

    # steps

    def _stepper(self, learning_rate: float, averages: bool) -> Stepper:
        of_text: Callable[[], Iterable[nn.Parameter]]
        of_text = getattr(self.encoder, "text_parameters", tuple)
        return Stepper(
            self._model,
            of_text(),
            self.parts.optimization,
            learning_rate,
            self.settings.text_learning_rate,
            averages,
        )

    # epochs

    def _close(self, record: dict[str, Any], started: float) -> None:
        """Check the losses of an epoch, keep its record, call the hooks."""
        record["seconds"] = time.perf_counter() - started
        loss = record.get("loss_total", 0.0)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss became {loss} in {record['phase']} epoch {record['epoch']}. Lower "
                "learning_rate or pretrain_learning_rate, or set optimization__grad_clip."
            )
        self.history.append(record)
        self._stopped = self._callbacks.epoch_end(self._state, record) or self._stopped

    def _keep_if_best(self, model: nn.Module, record: dict[str, Any]) -> bool:
        """Keep the state of an epoch that the monitor scores higher than all before."""
        if self._best is not None and record["monitor"] <= self._best.record["monitor"]:
            return False
        centers, selected = self._state.centers, self._state.selected
        assert centers is not None and selected is not None
        self._best = _Best(record, centers, selected, copy_state(model))
        return True

    def _finish_interrupted(self) -> None:
        if self._best is None:
            state = self._state
            state.phase, state.epoch, state.n_epochs = "main", 0, self.settings.max_epochs
            self._keep_if_best(self._model, self._cluster_and_select(self._model, {}))
        assert self._best is not None
        record = self._best.record
        if not any(known is record for known in self.history):
            record["seconds"] = None  # the epoch did not end
            self.history.append(record)
        warn_caller(
            f"fit was interrupted after {self.n_iter} of {self.settings.max_epochs} main epochs; "
            "the best state so far is kept."
        )

    def _restore_best(self) -> _Best:
        assert self._best is not None
        self._model.load_state_dict(self._best.weights)
        self._model.eval()
        self._best.record["restored"] = True
        return self._best
