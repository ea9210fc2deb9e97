"""Pareto fronts of many rows, what lies near them, and how much each axis matters.

A row dominates another one if it is no worse in every objective and better in one (Pareto); equal rows do not dominate
each other, so that all of them are on a front if one is. Values are (rows, objectives); `better` says of every
objective which way is better.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
from numpy.typing import NDArray

from reports.sweep import kernels_pareto as kernel
from reports.sweep.columns import Better

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indexes = NDArray[np.intp]
LEAF = 16
"""Rows that a search compares one by one, at most twice as many."""
THREADS = 2
HALVINGS = 12


def front(values: Values, better: Sequence[Better]) -> Mask:
    """Which rows nobody dominates; one with a NaN is not among them and dominates nobody."""
    known = ~np.isnan(values).any(axis=1)
    distinct, of_row = np.unique(falling(values[known], better), axis=0, return_inverse=True)
    kept = np.zeros(len(values), np.bool_)
    kept[known] = (dominators(distinct, distinct) < 0)[of_row.reshape(-1)]
    return kept


def falling(values: Values, better: Sequence[Better]) -> Values:
    """The same with less being better everywhere; 0 has one sign."""
    signs = np.array([-1.0 if way == "more" else 1.0 for way in better])
    turned: Values = np.ascontiguousarray(values * signs + 0.0, np.float64)
    return turned


def dominators(points: Values, values: Values) -> Indexes:
    """Of every point the index of one of `values` that dominates it, or -1; less is better, no NaN among `values`.

    A point with a NaN is dominated by nobody. Which one is found of several is always the same one.
    """
    found = np.full(len(points), -1, np.int64)
    if not len(values) or not len(points):
        return found
    distinct, firsts = np.unique(values + 0.0, axis=0, return_index=True)
    order = np.arange(len(distinct))
    nodes = (1 << max(len(distinct) // LEAF, 1).bit_length()) - 1
    begins, corners = np.zeros(nodes, np.int64), np.empty((nodes, distinct.shape[1]))
    kernel.split(distinct, order, begins, corners)
    ordered, points = distinct[order], np.ascontiguousarray(points)
    cuts = np.linspace(0, len(points), 8 * THREADS + 1).astype(np.int64).tolist()

    def run(i: int) -> None:
        part = slice(cuts[i], cuts[i + 1])
        kernel.search(points[part], ordered, begins, corners, found[part])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(8 * THREADS)))
    return np.where(found < 0, -1, firsts[order][found])


def neighbours(
    values: Values, better: Sequence[Better], on_front: Mask, distance: float = 0.05, most: int = 5_000
) -> Mask:
    """Rows off the front that are no more than `distance` behind some row of it in every objective.

    That is relative to their own values: at 0.05 they would come up to that row with 5 % less where less is better, and
    5 % more where more is. Where these are more than `most`, the distance is halved until they are not; of equally near
    ones that are still too many an even choice.
    """
    wanted = ~on_front & ~np.isnan(values).any(axis=1)
    of_front = falling(values[on_front], better)
    turned = falling(values, better)
    near = np.zeros(len(values), np.bool_)
    for _ in range(HALVINGS):
        rows = np.flatnonzero(wanted)
        improved = turned[rows] - distance * np.abs(turned[rows])
        near = np.zeros(len(values), np.bool_)
        # Upside down: whether a row of the front is no better than it in anything.
        near[rows[dominators(-improved, -of_front) >= 0]] = True
        if near.sum() <= most:
            return near
        # What is not near at one distance is not near at half of it either.
        wanted, distance = near, distance / 2
    return thinned(near, most)


def thinned(rows: Mask, most: int) -> Mask:
    """At most so many of them, evenly spread over their order."""
    indexes = np.flatnonzero(rows)
    if indexes.size <= most:
        return rows
    chosen = np.zeros_like(rows)
    chosen[indexes[np.linspace(0, indexes.size - 1, most).astype(np.int64)]] = True
    return chosen


class Sensitivity(msgspec.Struct, frozen=True):
    """How much an objective changes over an axis, everything else left as it is.

    `change` is the mean over `groups` of (greatest - least) / least: 1 means that it doubles from one end of the axis
    to the other. `least` and `most` are those of the groups. NaN where there is no group.
    """

    axis: str
    change: float
    least: float
    most: float
    groups: int


def sensitivity(axes: Mapping[str, NDArray[np.generic]], objective: Values) -> tuple[Sensitivity, ...]:
    """Of every axis; `axes` has a column for each, as long as `objective`, with numbers or words.

    A group is two rows or more that agree in all other axes. Rows whose objective is NaN belong to none; a group whose
    least is 0 or below has no relative change and does not count. Rows should be exact: bounds tell no change.
    """
    known = ~np.isnan(objective)
    values = objective[known]
    codes = {name: np.unique(column[known], return_inverse=True)[1].reshape(-1) for name, column in axes.items()}
    return tuple(_sensitivity(axis, codes, values) for axis in axes)


def _sensitivity(axis: str, codes: Mapping[str, NDArray[np.intp]], values: Values) -> Sensitivity:
    others = [code for name, code in codes.items() if name != axis]
    columns = np.stack(others, axis=1) if others else np.zeros((len(values), 1), np.int64)
    group = np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((codes[axis], group))
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    if not begins.size:
        return Sensitivity(axis, np.nan, np.nan, np.nan, 0)
    ends = np.append(begins[1:], order.size) - 1
    low, high = (part.reduceat(values[order], begins) for part in (np.minimum, np.maximum))
    differs = (codes[axis][order[ends]] > codes[axis][order[begins]]) & (low > 0)
    changes = (high[differs] - low[differs]) / low[differs]
    if not changes.size:
        return Sensitivity(axis, np.nan, np.nan, np.nan, 0)
    return Sensitivity(axis, float(changes.mean()), float(changes.min()), float(changes.max()), int(changes.size))
