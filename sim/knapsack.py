"""One choice of each of several lists, so that a first cost stays within a limit and a second one is least: exact.

A choice is a pair of costs (first, second). Lists are added up one by one. Of the sums so far those are kept that no
other one beats in both costs and that can still end within the limits; both are safe, since what is added later does
not depend on what was chosen before.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Choice = tuple[int, int]
Costs = NDArray[np.int64]


def front(choices: Sequence[Choice]) -> list[int]:
    """Indexes of the choices that no other one equals or beats in both costs: first rising, second falling.

    Of equal ones the one that comes first.
    """
    kept: list[int] = []
    for index in sorted(range(len(choices)), key=choices.__getitem__):
        if not kept or choices[index][1] < choices[kept[-1]][1]:
            kept.append(index)
    return kept


def least(fronts: Sequence[Sequence[Choice]], first_most: int, second_most: int) -> list[int] | None:
    """An index into each front: the least sum of second costs, of those the least of first, within both limits.

    None if there is no such sum. Fronts rise in the first cost and fall in the second.
    """
    tables = [np.array(choices, np.int64).reshape(-1, 2).T for choices in fronts]
    first_left, second_left = (_left([int(table[row].min()) for table in tables]) for row in (0, 1))
    first, second = np.zeros(1, np.int64), np.zeros(1, np.int64)
    taken: list[tuple[Costs, Costs]] = []
    for number, table in enumerate(tables, 1):
        firsts, seconds = (_sums(sums, costs) for sums, costs in ((first, table[0]), (second, table[1])))
        fitting = (firsts + first_left[number] <= first_most) & (seconds + second_left[number] <= second_most)
        kept = _front(firsts, seconds, np.flatnonzero(fitting))
        if not kept.size:
            return None
        first, second = firsts[kept], seconds[kept]
        taken.append((kept // table.shape[1], kept % table.shape[1]))
    return _path(taken)


def _left(costs: list[int]) -> list[int]:
    """What the lists from each one on cost at least; 0 behind the last."""
    return [sum(costs[number:]) for number in range(len(costs) + 1)]


def _sums(sums: Costs, costs: Costs) -> Costs:
    every: Costs = (sums[:, None] + costs).ravel()
    return every


def _front(firsts: Costs, seconds: Costs, among: Costs) -> Costs:
    ordered = among[np.lexsort((seconds[among], firsts[among]))]
    falling = seconds[ordered]
    better = falling[1:] < np.minimum.accumulate(falling)[:-1]
    front: Costs = ordered[np.concatenate([np.ones(min(1, ordered.size), bool), better])]
    return front


def _path(taken: list[tuple[Costs, Costs]]) -> list[int]:
    """Back from the last sum, which has the least second cost, through what each one came from."""
    at, chosen = -1, []
    for before, choice in reversed(taken):
        chosen.append(int(choice[at]))
        at = int(before[at])
    return chosen[::-1]
