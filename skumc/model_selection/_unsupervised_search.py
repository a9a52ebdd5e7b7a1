"""Grid search over the settings of a clusterer, without labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.model_selection import GridSearchCV, ShuffleSplit, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from skumc._clusterer import UMCClusterer
from skumc._doc_links import DocumentedMixin
from skumc._fitted import all_or_nothing
from skumc.data import memory_folder, read_X
from skumc.model_selection._agreement import modality_agreement_score
from skumc.model_selection._candidate_search import (
    CandidateSearch,
    choose_in_last_round,
    ranks_by_round,
    sums_by_round,
)
from skumc.model_selection._candidates import candidate_parameters
from skumc.model_selection._inner import count_modalities, unfitted_clusterer
from skumc.model_selection._modularity import neighborhood_modularity_score
from skumc.model_selection._search_progress import SearchProgress
from skumc.model_selection._silhouette import embedding_silhouette_score
from skumc.model_selection._trial import Trial, score_trial

_MAX_SEED = 2**31 - 1
_TEST_SIZE = 0.25


def _n_splits(n_samples: int) -> int:
    """Return the number of default splits: more for fewer samples."""
    return 1 if n_samples >= 2000 else 2 if n_samples >= 500 else 3


def _is_fitted_name(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


class UnsupervisedSearchCV(DocumentedMixin, ClusterMixin, GridSearchCV):
    """Grid search that chooses the settings of a clusterer without labels.

    Each candidate is fitted on a part of the samples and scored on the rest by
    :func:`neighborhood_modularity_score`, for :class:`~skumc.UMCClusterer` by
    :func:`embedding_silhouette_score` and, with two or more modalities, by
    :func:`modality_agreement_score`. The first candidate that comes close to the largest sum of
    standardized scores is fitted once more, on all samples.

    Parameters
    ----------
    estimator : UMCClusterer, or another clusterer with ``predict``
        A pipeline that ends in one works too. Set its ``random_state`` for results that can be
        repeated.
    param_grid : "auto", dict or list of dict, default="auto"
        Candidates, as in :class:`~sklearn.model_selection.GridSearchCV`. "auto" is
        :func:`candidate_parameters` of X, for :class:`~skumc.UMCClusterer` only.
    cv : int, splitter, iterable or None, default=None
        Splits into training and test samples. None draws a quarter of the samples for the test:
        once from 2,000 samples on, or with ``factor``, twice from 500 on, otherwise three times.
        Splitters that need labels cannot be used.
    n_jobs : int or None, default=None
        Number of candidates and splits that are fitted at the same time; None is 1, or that of a
        :class:`joblib.parallel_config`.
    refit : bool, str or callable, default=True
        True fits the choice of :func:`select_candidate` on all samples, False fits none of them.
        "modularity", "silhouette" or "agreement" chooses by this score alone, a callable by its own
        rule, as in :class:`~sklearn.model_selection.GridSearchCV`.
    factor : int in [2, inf) or None, default=None
        Successive halving, for :class:`~skumc.UMCClusterer` only: all candidates are trained for a
        few of their epochs, the best one in ``factor`` goes on with ``factor`` times as many, and
        so on; the last one is fitted with all of them. None trains every candidate in full.
    memory : str, path, joblib.Memory or None, default=None
        Folder that keeps the scores of finished fits, so that a search that was interrupted, or one
        with more candidates, does not fit them again. It also keeps the output of frozen text
        layers. None keeps nothing after ``fit``.
    verbose : int, default=0
        1 writes the number of finished fits and the remaining time, at most every ten seconds; 2
        and more after each fit, with the messages of scikit-learn.
    error_score : "raise" or numeric, default=np.nan
        Scores of a candidate that fails; with NaN it is not chosen.
    pre_dispatch : int or str, default="2*n_jobs"
        Number of fits that are dispatched in advance.
    random_state : int, RandomState instance or None, default=None
        Seed of the default splits. It does not seed the estimator.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n_samples,)
        Cluster of each sample by ``best_estimator_``.
    best_estimator_ : estimator
        The chosen candidate, fitted on all samples; absent if ``refit=False``.
    best_params_ : dict
        Parameters of the chosen candidate.
    best_index_ : int
        Its place in ``cv_results_``.
    best_score_ : float
        Its sum of standardized scores. Its mean score if ``refit`` is a name; absent if ``refit``
        is a callable.
    cv_results_ : dict of str to ndarray
        As in :class:`~sklearn.model_selection.GridSearchCV`, with ``mean_test_modularity``,
        ``mean_test_silhouette`` and ``mean_test_agreement``, and with ``z_score_sum`` and
        ``rank_z_score_sum``. With ``factor`` one row per candidate and round, with ``iter`` and
        ``epoch_share``; sums of a round compare its candidates, and later rounds rank first.
    scorer_ : dict of str to callable
        The scores used.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds of the fit on all samples.
    multimetric_ : bool
        True.
    n_features_in_ : int
        That of ``best_estimator_``.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Those of ``best_estimator_``.

    Raises
    ------
    ValueError
        If ``param_grid="auto"`` or ``factor`` and the estimator is not a ``UMCClusterer``, no
        candidate has finite scores, or ``memory`` and a parameter cannot be pickled.

    See Also
    --------
    candidate_parameters : The candidates of "auto".
    select_candidate : The rule.

    Notes
    -----
    ``fit`` ignores y, and passes it neither to candidates nor to scores or splits. The scores
    compare settings with the same ``n_clusters``; they do not choose it. For a pipeline the steps
    before the clusterer are fitted once more, to count modalities.

    ``memory`` finds scores by the content of the training and test samples, the parameters and the
    versions of skumc, torch, scikit-learn and numpy, so that a random ``cv`` needs an int as
    ``random_state``. A text model is known by its name, or the dates of the files in its folder.
    Times of scores that were found are those of finding them. The chosen candidate is always fitted
    again on all samples.

    While ``fit`` runs, the frozen layers of a text model run once for each distinct text, on each
    machine: their output is kept in ``memory`` or in a temporary folder, unless the text model has
    a ``memory`` of its own.

    Successive halving multiplies ``pretrain_epochs`` and ``max_epochs`` of a candidate, at least
    one epoch of those that are not 0. With 12 candidates and ``factor=3``, 12 are trained for a
    ninth of their epochs and the best 4 for a third.

    Examples
    --------
    >>> from skumc import UMCClusterer
    >>> from skumc.datasets import make_multimodal_blobs
    >>> from skumc.model_selection import UnsupervisedSearchCV
    >>> X, _ = make_multimodal_blobs(120, 3, random_state=0)
    >>> clusterer = UMCClusterer(3, pretrain_epochs=2, max_epochs=1, random_state=0)
    >>> grid = [{}, {"pretrain_epochs": [0], "max_epochs": [0]}]
    >>> search = UnsupervisedSearchCV(clusterer, grid, random_state=0).fit(X)
    >>> search.n_splits_, len(search.cv_results_["z_score_sum"]), search.labels_.shape
    (3, 2, (120,))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: constraint
            for name, constraint in GridSearchCV._parameter_constraints.items()
            if name not in ("scoring", "return_train_score")
        },
        "param_grid": [StrOptions({"auto"}), dict, list],
        "factor": [Interval(Integral, 2, None, closed="left"), None],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: str | Mapping[str, Sequence[Any]] | Sequence[Mapping] = "auto",
        *,
        cv: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        factor: int | None = None,
        memory: Any = None,
        verbose: int = 0,
        error_score: Any = np.nan,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: Any = None,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=neighborhood_modularity_score,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
        )
        self.factor = factor
        self.memory = memory
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **params: Any) -> UnsupervisedSearchCV:
        """Score all candidates and fit the chosen one on all samples.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
            Samples in a form that the estimator accepts.
        y : Ignored
            Not used, present for API consistency.
        **params : dict
            Parameters of the estimator's ``fit`` and of the splitter, such as ``groups``.

        Returns
        -------
        UnsupervisedSearchCV
            The fitted search itself.
        """
        del y
        self._validate_params()
        with all_or_nothing(self):
            if isinstance(X, Mapping):  # its length is the number of modalities
                X = read_X(BaseEstimator(), X, None, reset=True)
            with TemporaryDirectory(prefix="skumc-", ignore_cleanup_errors=True) as folder:
                search, scores = self._search(X, Path(folder), params.get("groups"))
                search.fit(X, **params)
            self._keep(search, X)
            self.scorer_ = scores
        return self

    def score(self, X: Any, y: ArrayLike | None = None, **params: Any) -> float:
        """Return the mean of the scores by which the candidates were compared.

        Parameters
        ----------
        X : array, DataFrame, MultimodalData, list of dicts or dict
        y : Ignored
            Not used, present for API consistency.
        **params : dict
            Not used.

        Returns
        -------
        float
        """
        del y, params
        if not self.refit:
            raise AttributeError("Got refit=False, so that no estimator is fitted. Set refit=True.")
        check_is_fitted(self)
        scores = [score(self.best_estimator_, X) for score in self.scorer_.values()]
        return float(np.mean(scores))

    def _search(self, X: Any, folder: Path, groups: Any) -> tuple[CandidateSearch, dict[str, Any]]:
        """Build scikit-learn's search with the candidates, scores and splits for X."""
        clusterer, prepared, prefix = unfitted_clusterer(self.estimator, X)
        scores: dict[str, Any] = {"modularity": neighborhood_modularity_score}
        if clusterer is not None:
            scores["silhouette"] = embedding_silhouette_score
        if clusterer is not None and count_modalities(clusterer, prepared) > 1:
            scores["agreement"] = modality_agreement_score
        if clusterer is None and self.factor is not None:
            raise ValueError(
                f"Got factor={self.factor} for {type(self.estimator).__name__}, expected None: "
                "halving shortens the epochs of a UMCClusterer. Set factor=None."
            )
        cv = self.cv
        if cv is None:
            seed = check_random_state(self.random_state).randint(_MAX_SEED)
            n_splits = _n_splits(_num_samples(X)) if self.factor is None else 1
            cv = ShuffleSplit(n_splits, test_size=_TEST_SIZE, random_state=seed)
        cv = check_cv(cv)  # an iterable can be read only once
        refit = choose_in_last_round if self.refit is True else self.refit
        if self.factor is not None and isinstance(refit, str) and refit in scores:
            refit = partial(choose_in_last_round, name=refit)
        progress = SearchProgress(self.verbose, folder / "fits")
        memory = memory_folder(self.memory)
        if memory is not None:
            with suppress(OSError):  # a fit warns where it cannot write
                memory.mkdir(parents=True, exist_ok=True)
        search = CandidateSearch(
            Trial(self.estimator, memory, memory or folder, progress),
            self._candidates(clusterer, prepared, prefix),
            self.factor,
            progress,
            cv.get_n_splits(X, None, groups) if self.verbose else 0,
            scoring={
                name: partial(score_trial, name=name, score=score) for name, score in scores.items()
            },
            n_jobs=self.n_jobs,
            refit=refit,
            cv=cv,
            verbose=self.verbose,
            pre_dispatch=self.pre_dispatch,
            error_score=self.error_score,
        )
        return search, scores

    def _candidates(self, clusterer: UMCClusterer | None, prepared: Any, prefix: str) -> Any:
        if not isinstance(self.param_grid, str):
            return self.param_grid
        if clusterer is None:
            raise ValueError(
                f"Got param_grid='auto' for {type(self.estimator).__name__}, expected a dict or a "
                "list of dicts: the automatic candidates are parameters of UMCClusterer."
            )
        return [
            {prefix + name: values for name, values in candidate.items()}
            for candidate in candidate_parameters(prepared)
        ]

    def _keep(self, search: CandidateSearch, X: Any) -> None:
        """Take the fitted attributes of scikit-learn's search, and add those of this class."""
        for name in [name for name in vars(self) if _is_fitted_name(name)]:
            delattr(self, name)
        for name, value in vars(search).items():
            if _is_fitted_name(name):
                setattr(self, name, value)
        results = self.cv_results_
        results["z_score_sum"] = sums_by_round(results)
        results["rank_z_score_sum"] = ranks_by_round(results, results["z_score_sum"])
        if isinstance(self.refit, bool):
            self.best_index_ = choose_in_last_round(results)
            self.best_params_ = results["params"][self.best_index_]
            self.best_score_ = float(results["z_score_sum"][self.best_index_])
        elif isinstance(self.refit, str):
            self.best_score_ = results[f"mean_test_{self.refit}"][self.best_index_]
        if self.refit:
            self.best_estimator_ = best = search.best_estimator_.released()
            if hasattr(best, "feature_names_in_"):
                self.feature_names_in_ = best.feature_names_in_
            last = best[-1] if isinstance(best, Pipeline) else best
            self.labels_ = last.labels_ if hasattr(last, "labels_") else best.predict(X)
