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
from skumc.training._embedding import embed, summarize
from skumc.training._epoch_clustering import EpochClustering
from skumc.training._gate_check import mean_shares, warn_of_collapsed_gates
from skumc.training._history import History
from skumc.training._losses import LossTerms
from skumc.training._optimization import Stepper
from skumc.training._rehearsal import rehearse, rehearse_encoder
from skumc.training._settings import TrainingParts, TrainingSettings
from skumc.training._start_check import StartCheck
from skumc.training._state import TrainingState
from skumc.training._steps import Plan, TrainingSteps, split_batches

_MAX_GATES = 1000  # samples by which the gates before training are averaged, at most twice as many


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
    ) -> None:
        self.encoder = encoder
        self.parts = parts
        self.settings = settings
        self.rng = rng
        self.history = History()
        self.n_iter = 0
        self._clustering = EpochClustering(encoder, parts, rng)
        self._best = BestEpoch(getattr(parts.monitor, "tolerance", 0.0))
        self._callbacks = CallbackList(parts.callbacks)
        self._steps = TrainingSteps(LossTerms(parts.losses), parts.pairs, self._callbacks, rng)
        self._model = nn.ModuleDict({"encoder": encoder, "losses": self._steps.terms.modules})
        self._model.to(settings.device)
        self._stopped = False
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
            self._warn_of_no_gain()
            self._check_result()
        except KeyboardInterrupt:
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

    def _judge_start(self) -> None:
        """Make the untrained encoder a candidate; without pretraining epoch 0 is this encoder."""
        state, settings = self._state, self.settings
        self._start_shares = self._mean_shares()
        if self.parts.start_graph is not None and settings.pretrain_epochs + settings.max_epochs:
            self._start_check = StartCheck(self.encoder, self.parts.start_graph, state)
        if not (settings.pretrain_epochs and self._clustering.judges_start):
            return
        started = time.perf_counter()
        state.phase, state.n_epochs = "start", settings.max_epochs
        record = self._clustering.run_start(state)
        if record is None:
            return
        self._best.keep_if_better(self._model, record, state)
        record["seconds"] = time.perf_counter() - started
        self.history.append(record)
        state.forget_clustering()

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
                record = self._clustering.run(state, record)
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

    def _warn_of_no_gain(self) -> None:
        """Warn if the untrained encoder is clearly the best candidate.

        Clearly is by twice the largest standard error of a share of the samples.
        """
        scores = [record["monitor"] for record in self.history.phase("main")]
        gap = self._best.highest - max(scores)
        is_kept = cast(dict[str, Any], self._best.record)["phase"] == "start"
        if not is_kept or gap < 1 / math.sqrt(len(self._state.data)):
            return
        warn_caller(
            f"Training did not help: the monitor is {self._best.highest:.3f} for the untrained "
            f"encoder and at most {max(scores):.3f} after training, so the untrained encoder is "
            "kept. Try a smaller learning_rate and pretrain_learning_rate, another encoder, or "
            "more samples; set monitor__judge_start=False to keep a trained encoder.",
            RuntimeWarning,
        )

    def _mean_shares(self) -> np.ndarray:
        """Average the gates of at most 2,000 samples, at equal distances."""
        data, settings = self._state.data, self.settings
        if len(data.names) == 1:
            return np.ones(1)
        some = data[:: max(len(data) // _MAX_GATES, 1)]
        found = embed(self.encoder, some, settings.device, settings.precision)
        return mean_shares(found.gates, some.present)

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
        if self._best.record is None or self._best.record["phase"] == "start":
            state.forget_clustering()
            state.phase, state.epoch, state.n_epochs = "main", 0, self.settings.max_epochs
            self._best.keep_if_better(self._model, self._clustering.run(state, {}), state)
        record = cast(dict[str, Any], self._best.record)
        if not any(known is record for known in self.history):
            record["seconds"] = None  # the epoch did not end
            self.history.append(record)
        warn_caller(
            f"fit was interrupted after {self.n_iter} of {self.settings.max_epochs} main epochs; "
            "the best state so far is kept."
        )
