"""Which folding each layer takes: the least interval for which foldings of all layers fit together, exact.

By bisection over the interval. For one interval the multipliers' least sum is that of each layer's cheapest folding.
Block RAMs neither rise nor fall with the multipliers (wider weights take more of them side by side, narrow ones waste
bits of each), so that under both limits the layers' choices are added up (`sim.knapsack`).
"""

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hw.accelerator import Budget, Engine
from hw.errors import DoesNotFit
from sim import knapsack


class Option(NamedTuple):
    """One folding of a layer; block RAMs are those of its engine, 0 where nobody counts them."""

    macs: int
    cycles: int
    engine: Engine
    bram18: int = 0


class _Limits(NamedTuple):
    """What all engines together may take; None is no limit."""

    macs: int | None
    bram18: int | None


def fastest(choices: Mapping[str, Sequence[Option]], budget: Budget) -> dict[str, Option]:
    """The foldings of all layers that fit a budget together and whose slowest one is fastest.

    Of several, where block RAM is limited, those with the fewest block RAMs, which leaves the FIFOs the most; then, or
    else, those with the fewest multipliers. Each layer's choices come in rising multipliers.

    Raises:
        DoesNotFit: fewer multipliers, DSPs or block RAMs than the layers want at least.
    """
    limits = _limits(budget)
    intervals = sorted({option.cycles for found in choices.values() for option in found})
    low, high = 0, len(intervals)
    best = None
    while low < high:
        middle = (low + high) // 2
        chosen = _choose(choices, intervals[middle], limits)
        if chosen is not None:
            best, high = chosen, middle
        else:
            low = middle + 1
    if best is None:
        raise DoesNotFit(f"machine {budget.name}: {too_little(choices, budget)}")
    return best


def _limits(budget: Budget) -> _Limits:
    """Multipliers and DSPs are one count (`hw.resources.dsps`), so that of the two limits the lower one holds."""
    given = [limit for limit in (budget.macs, budget.dsp) if limit is not None]
    return _Limits(min(given, default=None), budget.bram18)


def too_little(choices: Mapping[str, Sequence[Option]], budget: Budget) -> str:
    """What was found and what is wanted at least: of one limit, or of block RAMs beside the other one."""
    limits = _limits(budget)
    macs = sum(min(option.macs for option in found) for found in choices.values())
    for limit, unit in ((budget.macs, "multipliers"), (budget.dsp, "DSPs")):
        if limit is not None and macs > limit:
            return (
                f"{limit} {unit} were found, at least {macs} are wanted, one for every conv and affine of the network"
            )
    every = [list(found) for found in choices.values()]
    alone, both = (_leanest(every, most, sys.maxsize) for most in (None, limits.macs))
    assert alone is not None
    assert both is not None
    least, beside = (sum(option.bram18 for option in chosen) for chosen in (alone, both))
    also = f" beside {limits.macs} multipliers" if beside > least else ""
    return (
        f"{limits.bram18} block RAMs of 18 kbit were found, at least {beside} are wanted{also}, "
        f"for weights and rows of the network"
    )


def _choose(choices: Mapping[str, Sequence[Option]], interval: int, limits: _Limits) -> dict[str, Option] | None:
    """Foldings that keep the interval and fit together; None if there are none."""
    fitting = [[option for option in found if option.cycles <= interval] for found in choices.values()]
    if not all(fitting):
        return None
    chosen = _cheapest(fitting, limits.macs) if limits.bram18 is None else _leanest(fitting, limits.macs, limits.bram18)
    return None if chosen is None else dict(zip(choices, chosen, strict=True))


def _cheapest(fitting: list[list[Option]], macs: int | None) -> list[Option] | None:
    chosen = [found[0] for found in fitting]
    return chosen if macs is None or sum(option.macs for option in chosen) <= macs else None


def _leanest(fitting: list[list[Option]], macs: int | None, bram18: int) -> list[Option] | None:
    fronts = [[found[index] for index in knapsack.front([(o.macs, o.bram18) for o in found])] for found in fitting]
    chosen = [front[-1] for front in fronts]
    if macs is not None and sum(option.macs for option in chosen) > macs:
        costs = [[(option.macs, option.bram18) for option in front] for front in fronts]
        places = knapsack.least(costs, macs, bram18)
        if places is None:
            return None
        chosen = [front[place] for front, place in zip(fronts, places, strict=True)]
    return chosen if sum(option.bram18 for option in chosen) <= bram18 else None
