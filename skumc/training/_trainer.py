"""Contrastive pretraining, then the progressive loop: algorithm 1 of the UMC methodology."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
from torch import nn

from skumc._warnings import warn_caller
from skumc.data import MultimodalData
from skumc.pairs import supervised_views
from skumc.training._best import BestEpoch
from skumc.training._callbacks import CallbackList
from skumc.training._embedding import summarize
from skumc.training._epoch_clustering import EpochClustering
from skumc.training._faults import check_finite
from skumc.training._gate_check import mean_shares, sampled_shares, warn_of_collapsed_gates
from skumc.training._held_out import HeldOut
from skumc.training._history import History
from skumc.training._losses import LossTerms
from skumc.training._optimization import Stepper
from skumc.training._recovery import Checkpoints, Recovery
from skumc.training._rehearsal import rehearse, rehearse_encoder
from skumc.training._run_state import Progress, RunState
from skumc.training._settings import TrainingParts, TrainingSettings
from skumc.training._start_check import StartCheck, warn_of_no_gain
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
    checkpoints : Checkpoints or None, default=None
        Store of the state of each epoch, from which a run goes on.
    start : (ndarray (n_samples,), ndarray (n_clusters, n_components)) or None, default=None
        For an encoder that was trained before, labels of the samples and centers by that fit. If
        the number of clusters is the same, the first clustering starts from them, and they are kept
        unless the monitor of an epoch is higher by twice the largest standard error of a share of
        the samples. The encoder's gates stay.

    Attributes
    ----------
    history : History
        One record per epoch, after one of phase "start" for the untrained encoder if the monitor
        compares it with trained ones. A main epoch's ``monitor``, ``objective`` and ``threshold``
        are those before it trains; the last record is that of the encoder after the last training.
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
    ['start', 'pretrain', 'main', 'main', 'main']
    """

    def __init__(
        self,
        encoder: nn.Module,
        parts: TrainingParts,
        settings: TrainingSettings,
        rng: np.random.RandomState,
        checkpoints: Checkpoints | None = None,
        start: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.encoder = encoder
        self.parts = parts
        self.settings = settings
        self.rng = rng
        self.start = start
        self.history = History()
        self.progress = Progress()
        self._clustering = EpochClustering(encoder, parts, rng)
        self._best = BestEpoch(getattr(parts.monitor, "tolerance", 0.0))
        self._callbacks = CallbackList(parts.callbacks)
        self._steps = TrainingSteps(LossTerms(parts.losses), parts.pairs, self._callbacks, rng)
        self._model = nn.ModuleDict({"encoder": encoder, "losses": self._steps.terms.modules})
        self._model.to(settings.device)
        self._checkpoints = checkpoints
        self._start_check: StartCheck | None = None

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
            self._judge_start()
            self._pretrain()
            self._learn_progressively()
            if self.start is None:
                warn_of_no_gain(self._best, self.history, self._state.n_judged)
            self._check_result()
        except KeyboardInterrupt:
            self._recovery.stay_unfinished()
            self._finish_interrupted()
        self._best.restore(self._model)
        self._callbacks.train_end(self._state)
        return self._best.centers, self._best.selected

    def pretrain(self, data: MultimodalData) -> None:
        """Pretrain the encoder without clustering; :meth:`run` starts over."""
        self._prepare(data)
        self._pretrain()

    # 1. initialization

    def _prepare(self, data: MultimodalData) -> None:
        parts, settings = self.parts, self.settings
        graph = parts.neighbors
        graph.build(
            data,
            lambda: summarize(self.encoder, data, settings.device),
            settings.anchor,
            self.rng,
            n_clusters=settings.n_clusters,
        )
        fraction = getattr(parts.monitor, "validation_fraction", 0.0)
        held_out = HeldOut(fraction, len(data), settings.n_clusters, self.rng)
        if len(held_out):
            graph.partners_ = held_out.replace_in(graph.partners_)
        set_shares = getattr(self.encoder, "set_prior_shares", None)
        is_new = self.start is None
        if graph.prior_shares_ is not None and set_shares is not None and is_new:
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
            held_out=held_out,
            losses=self._steps.terms.modules,
            views=views,
            history=self.history,
        )
        run = RunState(self._model, parts, self._state, self._best, self.progress, self.rng)
        self._recovery = Recovery(run, self._checkpoints)
        self._model.train()
        rehearse_encoder(self._state)
        self._callbacks.train_begin(self._state)

    def _judge_start(self) -> None:
        """Make the untrained encoder a candidate; without pretraining epoch 0 is this encoder."""
        state, settings = self._state, self.settings
        self._start_shares = sampled_shares(self.encoder, state.data, settings)
        if self.parts.start_graph is not None and settings.pretrain_epochs + settings.max_epochs:
            self._start_check = StartCheck(self.encoder, self.parts.start_graph, state)
        if self.start is None and not (settings.pretrain_epochs and self._clustering.judges_start):
            return
        started = time.perf_counter()
        state.phase, state.n_epochs = "start", settings.max_epochs
        if self.start is None:
            record = self._clustering.run_start(state)
        elif len(self.start[1]) == settings.n_clusters:
            record = self._clustering.run_earlier(state, self.start[1])
        else:
            record = None
        if record is None:
            return
        self._best.keep_if_better(self._model, record, state)
        if self.start is not None:
            self._best.least = record["monitor"] + 1 / math.sqrt(state.n_judged)
        record["seconds"] = time.perf_counter() - started
        self.history.append(record)
        state.forget_clustering()

    # 2. pretraining

    def _pretrain(self) -> None:
        state, settings = self._state, self.settings
        state.phase, state.n_epochs = "pretrain", settings.pretrain_epochs
        stepper = self._stepper(settings.pretrain_learning_rate, averages=False)
        self._recovery.epochs(settings.pretrain_epochs, stepper, self._pretrain_epoch)

    def _pretrain_epoch(self, stepper: Stepper) -> bool:
        started, state = time.perf_counter(), self._state
        self._callbacks.epoch_begin(state)
        rows = np.flatnonzero(state.held_out.is_trained)
        plans = split_batches("pretrain", rows, self.settings.batch_size, self.rng)
        record = {"phase": "pretrain", "epoch": state.epoch}
        self._close(record | self._train(plans, stepper), started)
        return self.progress.is_stopped

    # 3. the progressive loop

    def _learn_progressively(self) -> None:
        state, settings = self._state, self.settings
        state.phase, state.n_epochs = "main", settings.max_epochs
        stepper = self._stepper(settings.learning_rate, averages=True)
        if self.start is not None and len(self.start[1]) == settings.n_clusters:
            state.labels, state.centers = self.start
        n_epochs = settings.max_epochs + 1  # the last one judges the final encoder
        self._recovery.epochs(n_epochs, stepper, self._main_epoch)

    def _main_epoch(self, stepper: Stepper) -> bool:
        started, state, settings = time.perf_counter(), self._state, self.settings
        progress, before = self.progress, self.history.phase("main")
        with stepper.average.in_place():
            record = self._clustering.run(state, before[-1] if before else {})
            is_best = self._best.keep_if_better(self._model, record, state)
        progress.is_stopped |= self._callbacks.epoch_judged(state, record, self._best)
        starts_over = is_best or state.epoch < self.parts.first_patient_epoch(settings.max_epochs)
        progress.n_without_gain = 0 if starts_over else progress.n_without_gain + 1
        patience = math.inf if settings.patience is None else settings.patience
        ends = progress.is_stopped or progress.n_without_gain >= patience
        if state.epoch < settings.max_epochs and not ends:
            self._callbacks.epoch_begin(state)
            record |= self._train(self._plan_epoch(), stepper)
            progress.n_iter = state.epoch + 1
        self._close(record, started)
        return ends

    def _train(self, plans: list[Plan], stepper: Stepper) -> dict[str, Any]:
        return self._steps.train(plans, stepper, self._state, self.progress.n_pieces)

    def _plan_epoch(self) -> list[Plan]:
        """Plan the supervised batches of the taught samples, then those of the rest."""
        taught, size = self._state.taught, self.settings.batch_size
        assert taught is not None
        rows = np.flatnonzero(self._state.held_out.is_trained)
        taught = taught[rows]
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
        check_finite(record, self._model)
        self.history.append(record)
        self.progress.is_stopped |= self._callbacks.epoch_end(self._state, record)

    def _check_result(self) -> None:
        """Warn of a fall below the start, and of collapsed gates."""
        data = self._state.data
        if self._start_check is not None:
            self._start_check.warn_if_below(self._best.labels)
        end = mean_shares(self._best.gates, data.present)
        warn_of_collapsed_gates(self._start_shares, end, data.names)

    def _finish_interrupted(self) -> None:
        """Keep the best epoch so far; after an interrupted pretraining, cluster and keep that."""
        state = self._state
        record = self._best.record
        if record is None or (record["phase"] == "start" and self.start is None):
            state.forget_clustering()
            state.phase, state.epoch, state.n_epochs = "main", 0, self.settings.max_epochs
            self._best.keep_if_better(self._model, self._clustering.run(state, {}), state)
        record = cast(dict[str, Any], self._best.record)
        if not any(known is record for known in self.history):
            record["seconds"] = None  # the epoch did not end
            self.history.append(record)
        warn_caller(
            f"fit was interrupted after {self.progress.n_iter} of {self.settings.max_epochs} main "
            "epochs; the best state so far is kept."
        )
