"""Differences of a table's columns between a cluster and all other samples."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.stats.contingency import association

from skumc.data._columns import is_categorical, is_column, plain_column
from skumc.data._missing import is_missing_value
from skumc.data._numbers import is_number

SMD = "standardized mean difference"
CRAMERS_V = "Cramér's V"
_MAX_LEVELS = 30  # of a categorical column; rarer ones are one level
OTHER_LEVEL = "(other)"


class ColumnEffect(NamedTuple):
    """Difference of one column between a cluster and all other samples.

    Attributes
    ----------
    column : str
    effect : str
        Name of the effect size: ``"standardized mean difference"`` for numbers,
        ``"Cramér's V"`` for categories.
    value : float
        Effect size; NaN if too few values are known.
    level : str or None
        Category that is most over-represented in the cluster; None for numbers.
    inside, outside : float
        Mean of the numbers, or share of ``level``, in the cluster and outside.
    n_inside, n_outside : int
        Number of known values.
    n_missing : int
        Number of missing values in the cluster.

    Examples
    --------
    >>> effect = ColumnEffect("age", SMD, 0.8, None, 41.0, 30.5, 9, 20, 1)
    >>> effect.inside - effect.outside
    10.5
    """

    column: str
    effect: str
    value: float
    level: str | None
    inside: float
    outside: float
    n_inside: int
    n_outside: int
    n_missing: int


class Column(NamedTuple):
    """A column of a table, as numbers (``levels`` is None) or as codes of categories.

    Attributes
    ----------
    name : str
    values : ndarray of shape (n_samples,)
        Numbers with NaN where missing, or codes with -1 where missing.
    levels : list of str or None
    """

    name: str
    values: np.ndarray
    levels: list[str] | None


def read_column(name: Any, column: Any) -> Column | str:
    """Read one column as numbers or categories; return the reason if it is neither.

    Examples
    --------
    >>> read_column("channel", ["mail", None, "phone"]).levels
    ['mail', 'phone']
    >>> read_column("tags", [["a"], ["b"]])
    'cells of type list'
    """
    cells = plain_column(column) if is_column(column) else column
    array = cells if isinstance(cells, np.ndarray) else None
    if array is not None and "bool" in str(getattr(column, "dtype", "")).lower():
        cells = [None if np.isnan(value) else bool(value) for value in array.astype(float)]
    elif array is not None and array.ndim == 1 and array.dtype.kind in "iuf":
        if not is_categorical(column):
            values = array.astype(np.float64)
            return Column(str(name), np.where(np.isfinite(values), values, np.nan), None)
    cells = [cell.item() if isinstance(cell, np.generic) else cell for cell in cells]
    known = [cell for cell in cells if not is_missing_value(cell)]
    if known and not is_categorical(column) and all(map(is_number, known)):
        if not all(isinstance(cell, bool) for cell in known):
            numbers = [math.nan if is_missing_value(cell) else float(cell) for cell in cells]
            return read_column(name, np.array(numbers))
    for cell in known:
        if not isinstance(cell, str | bool | int | float):
            return f"cells of type {type(cell).__name__}"
    return _categories(str(name), [None if is_missing_value(c) else str(c) for c in cells])


def _categories(name: str, cells: list[str | None]) -> Column:
    """Encode categories, rare ones beyond the limit as one."""
    levels, counts = np.unique([c for c in cells if c is not None], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    kept = sorted(str(level) for level in levels[order[: _MAX_LEVELS - 1]])
    if len(levels) <= _MAX_LEVELS:
        kept = [str(level) for level in levels]
    codes = {level: code for code, level in enumerate(kept)}
    if len(levels) > len(kept):
        kept.append(OTHER_LEVEL)
    values = np.array([-1 if c is None else codes.get(c, len(kept) - 1) for c in cells], np.int64)
    return Column(name, values, kept)


def standardized_mean_difference(inside: np.ndarray, outside: np.ndarray) -> float:
    r"""Compute Cohen's d of two samples of numbers.

    .. math:: d = \frac{\bar x_1 - \bar x_2}{s}, \quad
       s^2 = \frac{(n_1 - 1) s_1^2 + (n_2 - 1) s_2^2}{n_1 + n_2 - 2}

    with means :math:`\bar x`, variances :math:`s_j^2` and sizes :math:`n_j`. It is NaN if a side is
    empty or :math:`n_1 + n_2 < 3`, and infinite between two different constants.

    Examples
    --------
    >>> import numpy as np
    >>> standardized_mean_difference(np.array([2.0, 4.0]), np.array([0.0, 2.0]))
    1.414...
    """
    n_inside, n_outside = len(inside), len(outside)
    if min(n_inside, n_outside) == 0 or n_inside + n_outside < 3:
        return math.nan
    difference = float(inside.mean() - outside.mean())
    squares = np.square(inside - inside.mean()).sum() + np.square(outside - outside.mean()).sum()
    scale = math.sqrt(squares / (n_inside + n_outside - 2))
    if scale > 0:
        return difference / scale
    return math.copysign(math.inf, difference) if difference else 0.0


def cramers_v(table: np.ndarray) -> float:
    r"""Compute Cramér's V, from 0 to 1, of a contingency table of counts.

    .. math:: V = \sqrt{\frac{\chi^2 / n}{\min(r, c) - 1}}

    for :math:`n` counts in :math:`r` rows and :math:`c` columns, empty ones left out; 0 if only one
    row or column is left, NaN if a row is empty.

    Examples
    --------
    >>> import numpy as np
    >>> cramers_v(np.array([[8, 0], [0, 8]]))
    1.0
    """
    if (table.sum(axis=1) == 0).any():
        return math.nan
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0
    return float(association(table, method="cramer"))


def column_effect(column: Column, member: np.ndarray) -> ColumnEffect:
    """Compare a column inside a cluster with all other samples.

    Parameters
    ----------
    column : Column
    member : ndarray of bool, shape (n_samples,)
        Samples of the cluster.

    Examples
    --------
    >>> import numpy as np
    >>> column = read_column("channel", ["mail", "mail", "phone", None])
    >>> effect = column_effect(column, np.array([True, True, False, False]))
    >>> effect.level, effect.inside, effect.outside, effect.value
    ('mail', 1.0, 0.0, 1.0)
    """
    values, levels = column.values, column.levels
    known = ~np.isnan(values) if levels is None else values >= 0
    inside, outside = values[member & known], values[~member & known]
    counts = len(inside), len(outside), int((member & ~known).sum())
    if levels is None:
        means = [float(side.mean()) if len(side) else math.nan for side in (inside, outside)]
        difference = standardized_mean_difference(inside, outside)
        return ColumnEffect(column.name, SMD, difference, None, means[0], means[1], *counts)
    if not levels:
        return ColumnEffect(column.name, CRAMERS_V, math.nan, None, math.nan, math.nan, *counts)
    table = np.stack([np.bincount(side, minlength=len(levels)) for side in (inside, outside)])
    sizes = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, sizes, out=np.full(table.shape, np.nan), where=sizes > 0)
    level = int(np.argmax(np.nan_to_num(shares[0]) - np.nan_to_num(shares[1])))
    first, second = float(shares[0, level]), float(shares[1, level])
    value = cramers_v(table)
    return ColumnEffect(column.name, CRAMERS_V, value, levels[level], first, second, *counts)


def effect_strength(effect: ColumnEffect) -> float:
    r"""Return a size by which effects of both kinds are ordered, in [0, 1].

    A standardized mean difference :math:`d` is turned into the correlation
    :math:`|d| / \sqrt{d^2 + 4}`, which is on the scale of Cramér's V.

    Examples
    --------
    >>> effect_strength(ColumnEffect("age", SMD, -2.0, None, 0, 0, 9, 9, 0))
    0.707...
    """
    if math.isnan(effect.value):
        return 0.0
    if effect.effect == CRAMERS_V or math.isinf(effect.value):
        return min(abs(effect.value), 1.0)
    return abs(effect.value) / math.hypot(effect.value, 2.0)
