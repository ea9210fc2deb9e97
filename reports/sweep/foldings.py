"""The engines of thousands of budgets for one network: as `sim.folding.pipeline` chooses them, with the work shared.

A layer's choices depend on the network alone, and what is least for an interval on nothing but the interval; only the
bisection is each budget's own.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from hw.accelerator import Budget
from hw.network import Network
from sim import choice, folding, knapsack
from sim.choice import Option
from sim.result import Precision

NETWORKS = 32
"""Networks whose choices are remembered."""


class Menu:
    """A network's choices for budgets with, or without, a limit of block RAMs; what it finds it remembers."""

    def __init__(self, network: Network, precision: Precision, *, blocks: bool) -> None:
        limit = Budget("any", macs=1, bram18=0 if blocks else None)
        self.choices = {layer.name: folding.choices_of(network, layer, limit, precision) for layer in network.layers}
        cycles = [option.cycles for found in self.choices.values() for option in found]
        self.intervals = np.unique(cycles).tolist()
        self._blocks = blocks
        self._fronts: dict[int, list[list[Option]]] = {}

    def fastest(self, budget: Budget) -> list[Option] | str:
        """As `sim.choice.fastest`, or the sentence of its `DoesNotFit`."""
        macs = min((limit for limit in (budget.macs, budget.dsp) if limit is not None), default=None)
        low, high = 0, len(self.intervals)
        best: list[Option] | None = None
        while low < high:
            middle = (low + high) // 2
            chosen = self._chosen(middle, macs, budget.bram18)
            if chosen is not None:
                best, high = chosen, middle
            else:
                low = middle + 1
        return best if best is not None else self._refusal(budget)

    def _chosen(self, interval: int, macs: int | None, bram18: int | None) -> list[Option] | None:
        if interval not in self._fronts:
            self._fronts[interval] = self._made(self.intervals[interval])
        fronts = self._fronts[interval]
        if not all(fronts):
            return None
        # The first of each front has the fewest multipliers, the last the fewest block RAMs.
        if macs is not None and sum(front[0].macs for front in fronts) > macs:
            return None
        if bram18 is None:
            return [front[0] for front in fronts]
        leanest = [front[-1] for front in fronts]
        if sum(option.bram18 for option in leanest) > bram18:
            return None
        if macs is None or sum(option.macs for option in leanest) <= macs:
            return leanest
        costs = [[(option.macs, option.bram18) for option in front] for front in fronts]
        places = knapsack.least(costs, macs, bram18)
        return None if places is None else [front[i] for front, i in zip(fronts, places, strict=True)]

    def _made(self, most: int) -> list[list[Option]]:
        fitting = [[option for option in found if option.cycles <= most] for found in self.choices.values()]
        if self._blocks:
            return [[each[i] for i in knapsack.front([(o.macs, o.bram18) for o in each])] for each in fitting]
        return [each[:1] for each in fitting]

    def _refusal(self, budget: Budget) -> str:
        return f"machine {budget.name}: {choice.too_little(self.choices, budget)}"


@lru_cache(maxsize=NETWORKS)
def _menu(network: Network, precision: Precision, blocks: bool) -> Menu:
    return Menu(network, precision, blocks=blocks)


def chosen(network: Network, precision: Precision, budgets: Sequence[Budget]) -> list[list[Option] | str]:
    """Of every budget the foldings of all layers, in their order, or why it is too small for them.

    `network` in the form that hardware runs.
    """
    return [_menu(network, precision, each.bram18 is not None).fastest(each) for each in budgets]
