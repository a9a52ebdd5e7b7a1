"""One candidate of a search on one split: its fit, its scores, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import get_routing_for_object

from skumc._clusterer import UMCClusterer
from skumc._content import content_hash, folder_content
from skumc.model_selection._score_store import ScoreStore
from skumc.model_selection._search_progress import SearchProgress
from skumc.text import TextModel

SHARE = "epoch_share"
_EPOCHS = ("pretrain_epochs", "max_epochs")


def inner_clusterer(estimator: Any) -> UMCClusterer | None:
    """Return the ``UMCClusterer`` that is an estimator or the last step of a pipeline."""
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return last if isinstance(last, UMCClusterer) else None


def shorten(n_epochs: int, share: float) -> int:
    """Return a share of a number of epochs, at least one where there are any.

    Examples
    --------
    >>> [shorten(n_epochs, 1 / 9) for n_epochs in (0, 2, 12, 40)]
    [0, 1, 1, 4]
    """
    return max(round(share * n_epochs), 1) if n_epochs else 0


class Trial(BaseEstimator):
    """Estimator of a search that fits and scores only what is not known from before.

    Parameters are set on ``estimator``, except for the share of epochs.

    Parameters
    ----------
    estimator : object
        A clusterer, or a pipeline that ends in one.
    memory : path or None
        Folder with the scores of finished fits. None keeps no scores.
    text_memory : path or None
        Folder for the output of frozen text layers, where the estimator names none.
    progress : SearchProgress or None
    epoch_share : float, default=1.0
        Share of the epochs that are trained.

    Attributes
    ----------
    estimator_ : object
        The fitted estimator; absent until a score is needed that is not known.
    """

    def __init__(
        self,
        estimator: Any,
        memory: Path | None = None,
        text_memory: Path | None = None,
        progress: SearchProgress | None = None,
        epoch_share: float = 1.0,
    ) -> None:
        self.estimator = estimator
        self.memory = memory
        self.text_memory = text_memory
        self.progress = progress
        self.epoch_share = epoch_share

    def set_params(self, **params: Any) -> Trial:
        """Set the share of epochs, and all other parameters on the estimator."""
        self.epoch_share = params.pop(SHARE, self.epoch_share)
        self.estimator.set_params(**params)
        return self

    def get_metadata_routing(self) -> Any:
        """Return the metadata that the estimator requests."""
        return get_routing_for_object(self.estimator)

    def __sklearn_tags__(self) -> Tags:
        return get_tags(self.estimator)

    def fit(self, X: Any, y: Any = None, **params: Any) -> Trial:
        """Fit the estimator, unless a fit of equal content has left scores.

        Parameters
        ----------
        X : object
        y : Ignored
        **params : dict
            Parameters of the estimator's ``fit``.
        """
        del y
        self._fit_arguments: Any = X, params
        self._store = None
        if self.memory is not None:
            self._store = ScoreStore(self.memory, self._content())
        known = self._store is not None and self._store.has_scores()
        try:
            if not known:
                self.fitted()
        finally:
            if self.progress is not None:
                self.progress.report(self.epoch_share, found=known)
        return self

    def fitted(self) -> Any:
        """Return the fitted estimator, and fit it if that has been put off."""
        if not hasattr(self, "estimator_"):
            X, params = self._fit_arguments
            estimator = self._shortened()
            self._set_text_memory(estimator)
            self.estimator_ = estimator.fit(X, **params)
        return self.estimator_

    def released(self) -> Any:
        """Return the fitted estimator with the text model that was given."""
        estimator = self.fitted()
        clusterer = inner_clusterer(estimator)
        if clusterer is not None and self._given_text is not None:
            if isinstance(self._given_text, TextModel):
                self._given_text.memory = None
            clusterer.text = self._given_text
        return estimator

    def score_by(self, name: str, score: Callable[..., float], X: Any) -> float:
        """Compute a score, or find it in ``memory``.

        Parameters
        ----------
        name : str
        score : callable
            Called as ``score(estimator, X)``.
        X : object
            Test samples.
        """
        if self._store is None:
            return score(self.fitted(), X)
        key = content_hash(X)
        found = self._store.get(key, name)
        if found is None:
            found = float(score(self.fitted(), X))
            self._store.put(key, name, found)
        return found

    def _shortened(self) -> Any:
        estimator = clone(self.estimator)
        clusterer = inner_clusterer(estimator)
        if clusterer is not None and self.epoch_share != 1:
            epochs = {name: shorten(getattr(clusterer, name), self.epoch_share) for name in _EPOCHS}
            clusterer.set_params(**epochs)
        return estimator

    def _set_text_memory(self, estimator: Any) -> None:
        """Let fits share the output of frozen layers, unless the folder is on another machine."""
        self._given_text: Any = None
        clusterer, folder = inner_clusterer(estimator), self.text_memory
        if clusterer is None or folder is None or not folder.is_dir():
            return
        text = TextModel.from_argument(clusterer.text)
        if text.name is not None and text.memory is None:
            self._given_text = clusterer.text
            clusterer.set_params(text__memory=folder)

    def _content(self) -> str:
        """Hash all that the fit depends on."""
        estimator = self._shortened()
        clusterer, text = inner_clusterer(estimator), None
        if clusterer is not None:
            clusterer.set_params(verbose=0)
            text = TextModel.from_argument(clusterer.text)
            if text.memory is not None:
                clusterer.set_params(text__memory=None)
            if getattr(clusterer.optimization, "checkpoint_dir", None) is not None:
                clusterer.set_params(optimization__checkpoint_dir=None)
        files = folder_content(None if text is None else text.name)
        return content_hash(estimator, files, *self._fit_arguments)


def score_trial(
    trial: Trial, X: Any, y: Any = None, *, name: str, score: Callable[..., float]
) -> float:
    """Score a trial, with the signature of scikit-learn's scorers."""
    del y
    return trial.score_by(name, score, X)
