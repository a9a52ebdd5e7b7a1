"""Contrastive pretraining, then the progressive loop: algorithm 1 of the UMC methodology."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from skumc._warnings import warn_caller
from skumc.data import MultimodalData
from skumc.pairs import supervised_views
from skumc.pseudo_labels import label_means
from skumc.training._best import BestEpoch
from skumc.training._callbacks import CallbackList
from skumc.training._clustering import assign_labels, cluster_embedding, clustering_objective
from skumc.training._embedding import embed, summarize
from skumc.training._history import History
from skumc.training._losses import LossTerms
from skumc.training._optimization import Stepper
from skumc.training._part_returns import (
    check_distinct,
    checked_mask,
    checked_pseudo_labels,
    finite_number,
)
from skumc.training._rehearsal import rehearse, rehearse_encoder
from skumc.training._settings import TrainingParts, TrainingSettings
from skumc.training._state import TrainingState
from skumc.training._steps import Plan, TrainingSteps, split_batches


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
        before it trains; the last record is that of the encoder after the last training.
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
        self._best = BestEpoch()
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
        try:
            rehearse(self.parts, self._steps.terms, self._state)
            self._pretrain()
            self._learn_progressively()
        except KeyboardInterrupt:
            self._finish_interrupted()
        self._best.restore(self._model)
        self._callbacks.train_end(self._state)
        return self._best.centers, self._best.selected

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
        views = supervised_views(
            parts.supervised_views, data.names, settings.anchor, graph.trusted_
        )
        self._state = TrainingState(
            self.encoder,
            data,
            settings,
            graph,
            losses=self._steps.terms.modules,
            views=views,
            history=self.history,
        )
        self._model.train()
        rehearse_encoder(self._state)
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
        for state.epoch in range(settings.max_epochs + 1):  # the last one judges the final encoder
            started = time.perf_counter()
            with stepper.average.in_place():
                record = self._cluster_and_judge(record)
                is_best = self._best.keep_if_better(self._model, record, state)
            starts_over = is_best or state.epoch < first_patient
            n_without_gain = 0 if starts_over else n_without_gain + 1
            ends = self._stopped or n_without_gain >= patience
            if state.epoch < settings.max_epochs and not ends:
                record |= self._steps.train(self._plan_epoch(), stepper, state)
                self.n_iter = state.epoch + 1
            self._close(record, started)
            if ends:
                return

    def _cluster_and_judge(self, last: dict[str, Any]) -> dict[str, Any]:
        """Embed, cluster, select and label all samples; return the record of the epoch so far.

        ``last`` is the record of the epoch before, empty in the first.
        """
        state, settings = self._state, self.settings
        found = embed(self.encoder, state.data, settings.device, settings.precision)
        state.embedding = found.embedding
        state.labels, state.centers = self._cluster(found.embedding)
        state.graph.refresh(state.epoch, found.embedding)
        threshold = self._select(found.embedding, state.labels, last)
        pseudo = self.parts.pseudo_labels.label(state)
        state.labels, state.taught, state.centers = checked_pseudo_labels(
            pseudo, state.centers, len(state.labels)
        )
        read = state.centers
        if found.clustering is not None:
            read = label_means(found.clustering, state.labels, settings.n_clusters)
        state.read_centers = torch.from_numpy(read).to(settings.device, torch.float32)
        return {"phase": "main", "epoch": state.epoch} | self._judge(threshold)

    def _cluster(self, embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run k-means++ in the first epoch, k-means from a warm start in all others.

        The start is the means of the last labels in the new embedding: the encoder has moved, so
        the coordinates of the last centers no longer apply.
        """
        state, n_clusters = self._state, self.settings.n_clusters
        start = None
        if state.labels is None:
            check_distinct(embedding, n_clusters)
        else:
            start = label_means(embedding, state.labels, n_clusters, state.centers)
        seed = int(self.rng.randint(2**31 - 1))
        return cluster_embedding(self.parts.kmeans, embedding, n_clusters, start, seed)

    def _select(self, embedding: np.ndarray, labels: np.ndarray, last: dict[str, Any]) -> float:
        """Update the threshold and select that share of each cluster (algorithm 2)."""
        state, parts = self._state, self.parts
        n_epochs = max(state.n_epochs, 1)
        value = parts.threshold.update(
            state.epoch, n_epochs, last.get("monitor"), last.get("loss_total")
        )
        threshold = finite_number("threshold", value, state.epoch)
        selected = parts.selector.select(embedding, labels, threshold)
        state.selected = checked_mask(selected, len(labels))
        return threshold

    def _judge(self, threshold: float) -> dict[str, Any]:
        """Judge the clustering that ``fit`` returns if this epoch is kept."""
        state, parts = self._state, self.parts
        embedding, centers, selected, taught = (
            cast(np.ndarray, value)
            for value in (state.embedding, state.centers, state.selected, state.taught)
        )
        returned = assign_labels(embedding, centers)
        score = finite_number("monitor", parts.monitor(embedding, returned), state.epoch)
        terms = getattr(parts.threshold, "terms_", {})
        return {
            "monitor": score,
            "threshold": threshold,
            **{f"threshold_{name}": term for name, term in terms.items()},
            "selected_share": float(selected.mean()),
            "taught_share": float(taught.mean()),
            **clustering_objective(embedding, returned, centers),
            "restored": False,
        }

    def _plan_epoch(self) -> list[Plan]:
        """Plan the supervised batches of the taught samples, then those of the rest."""
        taught, size = self._state.taught, self.settings.batch_size
        assert taught is not None
        rows = np.arange(len(taught))
        plans = split_batches("supervised", rows[taught], size, self.rng)
        return plans + split_batches("rest", rows[~taught], size, self.rng)

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

    def _finish_interrupted(self) -> None:
        """Keep the best epoch so far; after an interrupted pretraining, cluster and keep that."""
        state = self._state
        if self._best.record is None:
            state.phase, state.epoch, state.n_epochs = "main", 0, self.settings.max_epochs
            self._best.keep_if_better(self._model, self._cluster_and_judge({}), state)
        record = cast(dict[str, Any], self._best.record)
        if not any(known is record for known in self.history):
            record["seconds"] = None  # the epoch did not end
            self.history.append(record)
        warn_caller(
            f"fit was interrupted after {self.n_iter} of {self.settings.max_epochs} main epochs; "
            "the best state so far is kept."
        )
