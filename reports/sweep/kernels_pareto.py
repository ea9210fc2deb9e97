"""Who is dominated, in numba: a k-d tree with the least corner of every node, and a search in it for every point.

Only nodes whose corner is nowhere above a point can hold somebody who dominates it; a search looks at no others. Less
is better in every objective here.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Values = NDArray[np.float64]
Indexes = NDArray[np.int64]


@njit(cache=True, nogil=True)
def split(values: Values, order: Indexes, begins: Indexes, corners: Values) -> None:
    """Fill `order` so that every node of a complete tree is a piece of it, with its least corner.

    Node k has the children 2 k + 1 and 2 k + 2 and begins at `begins[k]`; it is halved along its widest objective.
    `begins` has an entry for every node and `corners` a row; both have 2 ** levels - 1 of them. Ends are the places
    where the next node of the same level begins, or the end of all.
    """
    count, objectives = values.shape
    nodes = begins.shape[0]
    ends = np.empty(nodes, np.int64)
    begins[0], ends[0] = 0, count
    for node in range(nodes):
        begin, end = begins[node], ends[node]
        widest, width = 0, -1.0
        for k in range(objectives):
            least = most = values[order[begin], k]
            for i in range(begin + 1, end):
                value = values[order[i], k]
                least, most = min(least, value), max(most, value)
            corners[node, k] = least
            # Infinite ends have no width that could be compared; any objective that differs will do.
            span = most - least if most < np.inf and least > -np.inf else (0.0 if most == least else np.inf)
            if span > width:
                widest, width = k, span
        left = 2 * node + 1
        if left < nodes:
            part = order[begin:end].copy()
            ranks = np.argsort(values[part, widest], kind="mergesort")
            order[begin:end] = part[ranks]
            middle = begin + (end - begin) // 2
            begins[left], ends[left] = begin, middle
            begins[left + 1], ends[left + 1] = middle, end


@njit(cache=True, nogil=True)
def search(points: Values, values: Values, begins: Indexes, corners: Values, found: Indexes) -> None:
    """Of every point one of `values` that dominates it, by index, or -1; `values` in the tree's order."""
    nodes, objectives = corners.shape
    first_leaf = nodes // 2
    stack = np.empty(64, np.int64)
    for i in range(points.shape[0]):
        found[i] = -1
        stack[0] = 0
        size = 1
        while size > 0:
            size -= 1
            node = stack[size]
            beyond = False
            for k in range(objectives):
                if corners[node, k] > points[i, k]:
                    beyond = True
                    break
            if beyond:
                continue
            if node < first_leaf:
                stack[size], stack[size + 1] = 2 * node + 2, 2 * node + 1
                size += 2
                continue
            end = begins[node + 1] if node + 1 < nodes else values.shape[0]
            for j in range(begins[node], end):
                worse, better = False, False
                for k in range(objectives):
                    if values[j, k] > points[i, k]:
                        worse = True
                        break
                    better |= values[j, k] < points[i, k]
                if better and not worse:
                    found[i] = j
                    break
            if found[i] >= 0:
                break
