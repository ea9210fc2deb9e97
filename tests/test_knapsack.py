"""`sim.knapsack` against all choices there are."""

from itertools import product
from random import Random

import pytest

from sim import knapsack


def random_fronts(rng: Random) -> list[list[knapsack.Choice]]:
    """Some lists of choices, each reduced to those that count."""
    lists = []
    for _ in range(rng.randint(1, 6)):
        pairs = [(rng.randint(0, 12), rng.randint(0, 12)) for _ in range(rng.randint(1, 9))]
        lists.append([pairs[index] for index in knapsack.front(pairs)])
    return lists


@pytest.mark.parametrize("seed", range(200))
def test_the_least_of_all_choices(seed: int) -> None:
    rng = Random(seed)
    fronts = random_fronts(rng)
    sums = [tuple(map(sum, zip(*choice, strict=True))) for choice in product(*fronts)]
    for _ in range(5):
        first, second = rng.randint(0, 40), rng.randint(0, 40)
        fitting = [(b, a) for a, b in sums if a <= first and b <= second]
        places = knapsack.least(fronts, first, second)
        if places is None:
            assert not fitting
        else:
            taken = [front[place] for front, place in zip(fronts, places, strict=True)]
            assert (sum(b for _, b in taken), sum(a for a, _ in taken)) == min(fitting)


def test_a_front_keeps_what_nothing_beats_and_of_equals_the_first() -> None:
    assert knapsack.front([(3, 3), (1, 5), (3, 3), (2, 5), (4, 1), (5, 1), (1, 6)]) == [1, 0, 4]
    assert knapsack.front([(1, 1)]) == [0]


def test_nothing_to_choose_costs_nothing() -> None:
    assert knapsack.least([], 0, 0) == []


def test_many_lists_are_added_up_in_a_moment() -> None:
    """1.5 * 10^76 choices of 80 lists: two of first cost for one of second."""
    fronts = [[(kind, 2 * (8 - kind) + number % 2) for kind in range(9)] for number in range(80)]
    places = knapsack.least(fronts, 300, 10**9)
    assert places is not None
    assert sum(places) == 300
