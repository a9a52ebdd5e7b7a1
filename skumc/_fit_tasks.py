"""Callbacks of scikit-learn 1.9 or later: the epochs of a fit as its tasks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from skumc.neighbors._graph import trust_of
from skumc.training import History, TrainingState
from skumc.training._best import BestEpoch
from skumc.training._clustering import assign_labels
from skumc.training._embedding import embed

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    HAS_CALLBACKS = True
except ImportError:  # before scikit-learn 1.9: fit has no callbacks but those of ``callbacks=``
    HAS_CALLBACKS = False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in without methods."""

    def with_callbacks(method: Any) -> Any:
        """Return the method."""
        return method


class FitTasks:
    """Hook of training that announces each epoch to the callbacks of scikit-learn.

    A pretraining epoch ends after its training. An epoch of the progressive loop ends after the
    encoder that it trained was clustered and judged, so that ending fit there leaves nothing to do.

    Parameters
    ----------
    estimator : UMCClusterer
    context : CallbackContext
        Of the whole fit.
    X, y : object
        Arguments of fit; only callbacks read y.
    """

    def __init__(self, estimator: Any, context: Any, X: Any, y: Any) -> None:
        self._estimator, self._context = estimator, context
        self._arguments = {"estimator": estimator, "X": X, "y": y}
        self._task: Any = None  # that has begun and not ended
        self._name = ""

    def on_epoch_begin(self, state: TrainingState) -> None:
        """Announce the epoch, once where it is repeated."""
        name = f"{state.phase} epoch {state.epoch}"
        if self._task is not None and name == self._name:
            return
        self._name, self._task = name, self._context.subcontext(task_name=name)
        self._task.call_on_fit_task_begin(**self._arguments)

    def on_epoch_end(self, state: TrainingState, record: dict[str, Any]) -> bool:
        """Announce the end of a pretraining epoch."""
        return record["phase"] == "pretrain" and self._end()

    def on_epoch_judged(
        self, state: TrainingState, record: dict[str, Any], best: BestEpoch
    ) -> bool:
        """Announce the end of the epoch before, which trained the judged encoder."""
        attributes = partial(self._attributes, state, record, best)  # computed on demand
        return state.epoch > 0 and self._end(reconstruction_attributes=attributes)

    def _end(self, **attributes: Any) -> bool:
        """Announce the end of the task that has begun, if fit was not resumed after its begin."""
        task, self._task = self._task, None
        if task is None:
            return False
        return bool(task.call_on_fit_task_end(**self._arguments, **attributes))

    def _attributes(
        self, state: TrainingState, record: dict[str, Any], best: BestEpoch
    ) -> dict[str, Any]:
        """Return the fitted attributes as if fit had stopped here."""
        encoder = copy.deepcopy(state.encoder)
        encoder.load_state_dict(best.encoder_weights())
        encoder.eval()
        settings = state.settings
        records = [*state.history, {"seconds": None} | record]
        is_best = [known is best.record for known in state.history] + [record is best.record]
        history = History(
            known | {"restored": True} if kept else dict(known)
            for known, kept in zip(records, is_best, strict=True)
        )
        embedding = embed(encoder, state.data, settings.device, settings.precision).embedding
        return {
            "encoder_": encoder,
            "cluster_centers_": best.centers,
            "high_quality_mask_": best.selected,
            "embedding_": embedding,
            "labels_": assign_labels(embedding, best.centers),
            "history_": history,
            "n_iter_": state.epoch,
            "trusted_modalities_": state.graph.trusted_,
            "modality_trust_": trust_of(state.graph),
            "agreement_": state.graph.agreement_,
            "text_layers_": self._estimator._text.layers,
        }


@contextmanager
def fit_tasks(estimator: Any, X: Any, y: Any) -> Iterator[list[FitTasks]]:
    """Announce a fit to the callbacks of scikit-learn, and yield the hooks for its epochs."""
    if not HAS_CALLBACKS:
        yield []
        return
    n_epochs = estimator.pretrain_epochs + estimator.max_epochs
    context = estimator._init_callback_context(max_subtasks=n_epochs)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    yield [FitTasks(estimator, context, X, y)] if context._callbacks else []
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y, reconstruction_attributes={})
