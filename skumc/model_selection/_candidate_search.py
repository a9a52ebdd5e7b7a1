"""Search of scikit-learn over a grid, in one round or in rounds with more and more epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.model_selection import GridSearchCV, ParameterGrid

from skumc.model_selection._search_progress import SearchProgress
from skumc.model_selection._trial import SHARE
from skumc.model_selection._z_scores import select_candidate, z_score_sums


def halving_rounds(n_candidates: int, factor: int) -> list[tuple[int, float]]:
    """List the number of candidates and the share of epochs of each round.

    Each round keeps one in ``factor`` candidates, until one is left.

    Examples
    --------
    >>> halving_rounds(12, 3)
    [(12, 0.1111111111111111), (4, 0.3333333333333333)]
    >>> [n for n, _ in halving_rounds(30, 3)], [n for n, _ in halving_rounds(1, 3)]
    ([30, 10, 3], [1])
    """
    counts = [n_candidates]
    while counts[-1] // factor > 1:
        counts.append(counts[-1] // factor)
    return [(n, float(factor) ** (place - len(counts))) for place, n in enumerate(counts)]


def last_round(results: Mapping[str, Any]) -> np.ndarray:
    """Return the rows of ``cv_results_`` that belong to the last round."""
    if "iter" not in results:
        return np.arange(len(results["params"]))
    rounds = np.asarray(results["iter"])
    return np.flatnonzero(rounds == rounds.max())


def take_rows(results: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Take some candidates of ``cv_results_``.

    Examples
    --------
    >>> take_rows({"params": [{"a": 1}, {"a": 2}], "iter": [0, 1]}, np.array([1]))["params"]
    [{'a': 2}]
    """
    return {
        name: np.ma.take(values, rows)
        if isinstance(values, np.ndarray)
        else [values[row] for row in rows]
        for name, values in results.items()
    }


def choose_in_last_round(results: Mapping[str, Any], name: str | None = None) -> int:
    """Choose by the sum of standardized scores, or by one score, within the last round.

    Parameters
    ----------
    results : dict
        ``cv_results_`` of a search.
    name : str, default=None
        Name of a score; None is the sum of all.

    Returns
    -------
    int
        Row of ``results``.
    """
    rows = last_round(results)
    if name is None:
        return int(rows[select_candidate(take_rows(results, rows))])
    return int(rows[np.argmin(np.asarray(results[f"rank_test_{name}"])[rows])])


def sums_by_round(results: Mapping[str, Any]) -> np.ndarray:
    """Add the standardized scores of each candidate; the candidates of a round are compared.

    Returns
    -------
    ndarray of float64, shape (n_rows,)
    """
    rounds = np.asarray(results.get("iter", np.zeros(len(results["params"]), dtype=int)))
    sums = np.empty(len(rounds))
    for one in np.unique(rounds):
        rows = np.flatnonzero(rounds == one)
        sums[rows] = z_score_sums(take_rows(results, rows))
    return sums


def ranks_by_round(results: Mapping[str, Any], sums: np.ndarray) -> np.ndarray:
    """Rank candidates by their sums, 1 being the best; those of later rounds come first.

    Returns
    -------
    ndarray of int32, shape (n_rows,)

    Examples
    --------
    >>> results = {"iter": [0, 0, 0, 1], "params": [{}] * 4}
    >>> ranks_by_round(results, np.array([0.5, np.nan, 0.5, -1.0])).tolist()
    [2, 4, 2, 1]
    """
    rounds = np.asarray(results.get("iter", np.zeros(len(sums), dtype=int)))
    ranks = np.empty(len(sums), dtype=np.int32)
    for one in np.unique(rounds):
        rows = np.flatnonzero(rounds == one)
        order = -np.where(np.isnan(sums[rows]), -np.inf, sums[rows])
        ranks[rows] = rankdata(order, method="min") + (rounds > one).sum()
    return ranks


def _best_of(candidates: list[Any], results: Mapping[str, Any], n_kept: int) -> list[Any]:
    """Take the best candidates of the last round, in their order."""
    sums = sums_by_round(results)[last_round(results)]
    best = np.argsort(np.where(np.isnan(sums), np.inf, -sums), kind="stable")
    return [candidates[place] for place in np.sort(best[:n_kept])]


class CandidateSearch(GridSearchCV):
    """Search of scikit-learn over candidates, as trials; ``factor`` adds successive halving.

    Parameters
    ----------
    trial : Trial
    param_grid : dict or list of dict
    factor : int or None
        One in ``factor`` candidates goes on to the next round. None is a single round.
    progress : SearchProgress
    n_splits : int
        Number of splits by which the progress is counted.
    **settings : dict
        Parameters of scikit-learn's search.
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        factor: int | None,
        progress: SearchProgress,
        n_splits: int,
        **settings: Any,
    ) -> None:
        super().__init__(estimator, param_grid, **settings)
        self.factor = factor
        self.progress = progress
        self.n_splits = n_splits

    def _run_search(self, evaluate_candidates: Callable[..., dict[str, Any]]) -> None:
        """Evaluate all candidates, round by round."""
        candidates = list(ParameterGrid(self.param_grid))
        rounds = [(len(candidates), 1.0)]
        if self.factor is not None:
            rounds = halving_rounds(len(candidates), self.factor)
        n_refits = int(bool(self.refit))
        self.progress.begin(
            self.n_splits * sum(n for n, _ in rounds) + n_refits,
            self.n_splits * sum(n * share for n, share in rounds) + n_refits,
        )
        if self.factor is None:
            evaluate_candidates(candidates)
            return
        results: dict[str, Any] = {}
        evaluated: list[dict[str, Any]] = []
        for number, (n_candidates, share) in enumerate(rounds):
            if results:
                candidates = _best_of(candidates, results, n_candidates)
            shortened = [{**candidate, SHARE: share} for candidate in candidates]
            evaluated += shortened
            more = {"iter": [number] * n_candidates, SHARE: [share] * n_candidates}
            results = evaluate_candidates(shortened, more_results=more)
        # the results have the same dicts; without the share the chosen one trains all its epochs
        for parameters in evaluated:
            del parameters[SHARE]
        del results[f"param_{SHARE}"]
