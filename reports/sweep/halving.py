"""Successive halving of trainings: many networks for a few epochs and seeds, the best of them for more, and so on.

Jamieson and Talwalkar 2016 (arXiv 1502.07943), with epochs and seeds as the resource. A rung's trainings are its own
and not the beginning of the next one's, because the learning rate of each comes down to nothing at its end.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from reports.sweep.designs import Design
from reports.sweep.space import Halving

if TYPE_CHECKING:
    from distill.recipe import Recipe
    from reports.sweep.subjects import Made
    from reports.sweep.trainings import Outcome, Plan

Trainer = Callable[[Sequence[Design], int, int], "Sequence[Outcome]"]
"""Designs, epochs and seeds -> what became of each, in the same order."""


class Halved(NamedTuple):
    """Who is left for the last rung, in the order of the designs, and why the others are not."""

    left: tuple[Design, ...]
    dropped: dict[Design, str]
    failed: dict[Design, str]


def halve(designs: Sequence[Design], halving: Halving, trained: Trainer) -> Halved:
    """All rungs but the last, whose trainings are those that count.

    Designs that differ in bits alone are one training, and go on together. Of those that could be trained the best
    share by mean validation accuracy goes on, rounded up; in a tie the one whose name comes first. NxN networks do not
    compete with students: they go on where a student of the same sizes does. Where all are NxN, they compete.
    """
    students = [design for design in designs if design.filters == "row"]
    running = _trainings(students or designs)
    found = Halved((), {}, {})
    for epochs, seeds in zip(halving.epochs[:-1], halving.seeds[:-1], strict=True):
        outcomes = trained(running, epochs, seeds)
        found.failed.update({each.design: each.reason for each in outcomes if each.reason})
        able = sorted((each for each in outcomes if not each.reason), key=_rank)
        best = count_kept(len(able), halving.keep)
        for each in able[best:]:
            found.dropped[each.design] = (
                f"halving: accuracy {each.accuracy:.4f} after {_counted(epochs, 'epoch')} of "
                f"{_counted(seeds, 'seed')} was not among the best {best} of {len(able)}"
            )
        running = [each.design for each in able[:best]]
    return _for_all_bits(designs, set(running), found)


def count_kept(count: int, keep: float) -> int:
    """How many of a rung go on: a share of them, rounded up, at least one; of none none."""
    return min(count, max(1, math.ceil(count * keep - 1e-9)))


def make(
    designs: Sequence[Design], base: "Recipe", folder: Path, halving: Halving, **means: Any
) -> "tuple[Made, Halved]":
    """Halve, then train and quantise who is left in the last rung; a stopped one begins again and finds what it has.

    `means` are those of `subjects.make`: workers, device, cluster, on_progress. Raises what it raises.
    """
    from reports.sweep import subjects, trainings

    def trained(some: Sequence[Design], epochs: int, seeds: int) -> "Sequence[Outcome]":
        return trainings.train(some, base, folder, epochs=epochs, seeds=seeds, **means)

    halved = halve(designs, halving, trained)
    made = subjects.make(halved.left, base, folder, epochs=halving.epochs[-1], seeds=halving.seeds[-1], **means)
    made.failed.update(halved.failed)
    return made, halved


def plan(designs: Sequence[Design], base: "Recipe", folder: Path, halving: Halving) -> "tuple[Plan, ...]":
    """What each rung would do. Who goes on is not known before: later rungs are planned as if the first ones did.

    Raises:
        BadInput: a word that nobody knows.
    """
    from reports.sweep import trainings

    plans = []
    running = list(designs)
    for number, (epochs, seeds) in enumerate(zip(halving.epochs, halving.seeds, strict=True), start=1):
        last = number == len(halving.epochs)
        rung = running if last else [each for each in running if each.filters == "row"] or running
        plans.append(trainings.plan(rung, base, folder, epochs=epochs, seeds=seeds, twins=last))
        able = [design for design in _trainings(rung) if design.name not in plans[-1].failed]
        left = set(able[: count_kept(len(able), halving.keep)])
        running = list(_for_all_bits(designs, left, Halved((), {}, {})).left)
    return tuple(plans)


def _trainings(designs: Sequence[Design]) -> list[Design]:
    """One design for each that is trained: the first of those that differ in bits."""
    first: dict[Design, Design] = {}
    for design in designs:
        first.setdefault(_without_bits(design), design)
    return list(first.values())


def _without_bits(design: Design) -> Design:
    return msgspec.structs.replace(design, bits=0)


def _sizes(design: Design) -> tuple[str, int, int, int]:
    return design.family, design.depth, design.width, design.n


def _rank(outcome: "Outcome") -> tuple[float, str]:
    return -outcome.accuracy, outcome.design.name


def _for_all_bits(designs: Sequence[Design], running: set[Design], found: Halved) -> Halved:
    """What was found of one design for all that differ from it in bits, and for the NxN networks of those left."""
    left = {_without_bits(design) for design in running}
    sizes = {_sizes(design) for design in running}
    gone = {_without_bits(design): reason for design, reason in found.dropped.items()}
    failed = {_without_bits(design): reason for design, reason in found.failed.items()}
    halved = Halved(tuple(d for d in designs if _goes_on(d, left, sizes, running)), {}, {})
    for design in designs:
        like = _without_bits(design)
        if like in failed:
            halved.failed[design] = failed[like]
        elif design not in halved.left:
            halved.dropped[design] = gone.get(like, "halving: no student of this network is left")
    return halved


def _goes_on(design: Design, left: set[Design], sizes: set[tuple[str, int, int, int]], running: set[Design]) -> bool:
    if design.filters == "full" and any(each.filters == "row" for each in running):
        return _sizes(design) in sizes
    return _without_bits(design) in left


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
