"""Choice among candidates by the sum of their standardized scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

_MEAN = "mean_test_"
_MARGIN = 0.5  # candidates that are nearer to the largest sum count as equal


def z_score_sums(cv_results: Mapping[str, Any]) -> np.ndarray:
    """Add the standardized mean test scores of each candidate.

    Returns
    -------
    ndarray of float64, shape (n_candidates,)
        NaN for a candidate with a score that is not finite.
    """
    total: Any = 0.0
    if not isinstance(cv_results, Mapping):
        raise TypeError(
            f"Got cv_results of type {type(cv_results).__name__}, expected a dict. Pass the "
            "cv_results_ of a search."
        )
    names = [name for name in cv_results if name.startswith(_MEAN)]
    if not names:
        raise ValueError(
            f"Got results with {sorted(cv_results)}, expected some {_MEAN}... among them. Pass the "
            "cv_results_ of a search."
        )
    try:
        means = [np.asarray(cv_results[name], dtype=float) for name in names]
    except ValueError as error:
        raise ValueError(f"Got scores that are not numbers in {names}: {error}") from error
    if len({scores.shape for scores in means}) > 1:
        shapes = {name: scores.shape for name, scores in zip(names, means, strict=True)}
        raise ValueError(f"Got scores of shapes {shapes}, expected one of each per candidate.")
    usable = np.isfinite(means).all(axis=0)
    for scores in means:
        compared = scores[usable]
        if not len(compared):
            break
        deviation = compared.std()
        # equal scores may differ by rounding
        scale = deviation if deviation > 1e-9 * np.abs(compared).max() else np.inf
        total = total + (np.where(usable, scores, np.nan) - compared.mean()) / scale
    return np.where(usable, total, np.nan)


def select_candidate(cv_results: Mapping[str, Any], margin: float = _MARGIN) -> int:
    r"""Choose the first candidate that comes close to the largest sum of standardized scores.

    Small differences between candidates are mostly chance. List candidates with the preferred ones
    first; :func:`candidate_parameters` begins with the defaults.

    Pass the function itself as ``refit=`` to a search of scikit-learn with several scores, such as
    :class:`~sklearn.model_selection.RandomizedSearchCV`.

    Parameters
    ----------
    cv_results : dict of str to array-like of shape (n_candidates,)
        Results of a search; each ``mean_test_...`` counts.
    margin : float in [0, inf), default=0.5
        Largest difference from the largest sum that counts as close.

    Returns
    -------
    index : int
        Row of the candidate. One with a score that is not finite is not chosen.

    Raises
    ------
    TypeError
        If ``cv_results`` is not a dict.
    ValueError
        If no candidate has finite scores, scores are not numbers, or ``margin`` is not valid.

    Notes
    -----
    .. math::

       \min \{i : z_i \ge \max_j z_j - \text{margin}\}, \qquad
       z_i = \sum_s \frac{x_{is} - \mu_s}{\sigma_s}

    where :math:`x_{is}` is the mean of score :math:`s` over the splits for candidate :math:`i`, and
    :math:`\mu_s` and :math:`\sigma_s` are mean and standard deviation over the candidates. A score
    that is the same for all candidates is left out.

    Examples
    --------
    >>> from skumc.model_selection import select_candidate
    >>> select_candidate({
    ...     "mean_test_modularity": [0.1, 0.5, 0.4],
    ...     "mean_test_agreement": [0.9, 0.2, 0.8],
    ... })
    2
    """
    if not isinstance(margin, Real) or isinstance(margin, bool) or not 0 <= margin < math.inf:
        raise ValueError(f"Got margin={margin!r}, expected a finite number from 0.")
    sums = z_score_sums(cv_results)
    if np.isnan(sums).all():
        raise ValueError(
            "No candidate has finite scores: fitting or scoring failed for each of them. Set "
            'error_score="raise" to see the first error.'
        )
    return int(np.flatnonzero(sums >= np.nanmax(sums) - margin)[0])
