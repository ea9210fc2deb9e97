"""Which points of networks x machines need exact figures: bounds for all, simulations for what may be on the front.

A point is left out only if its bounds already break a constraint, or are dominated by an exact point that keeps all
constraints; its own figures, no better than its bounds, then are too. So the front of what is exact is that of all
points. Batches follow from bounds and exact figures alone: a sweep that was stopped simulates what is missing of the
same batches, and ends in the same rows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from hw import devices
from hw.accelerator import Machine
from hw.errors import BadInput
from reports.sweep import columns
from reports.sweep.constraints import Constraint
from reports.sweep.evaluate import Asked
from reports.sweep.jobs import Job, run
from reports.sweep.points import Indexes, Points, Progress
from reports.sweep.table import Kept, Subject, Table

DEFAULT_FAMILY = "xc7"
JOB = 1_024
"""Machines of a job at the most."""


Apply = Callable[[Callable[[Job], Table], Sequence[Job]], Iterable[Table]]
"""Runs a function of a module on every item and gives the results in the items' order; `map` does so here."""
OnProgress = Callable[[Progress], None]


def evaluate_all(
    subjects: Sequence[Subject],
    machines: Sequence[Machine],
    objectives: Sequence[str],
    constraints: Sequence[Constraint],
    kept: Kept,
    *,
    energy: str = "",
    on_progress: OnProgress = lambda progress: None,
    apply: Apply = map,
    exhaustive: bool = False,
) -> Table:
    """A row for every subject on every machine, subjects outermost: all columns of `columns.ALL` and `KEYS`.

    Exact are all rows that may be on the front of those that keep the constraints, or with `exhaustive` all that fit.
    The others are bounds, with the reason why they were left out. Resources are counted for the family of the parts in
    the constraints, xc7 without any. Every finished job is kept (`Kept.put`) before the next one; points that are known
    are not simulated again, if they have the energy and the resources that are asked for.

    Raises:
        BadInput: an objective that is none, parts of two families, an energy that no table was given for.
    """
    asked = Asked(energy, family_of(constraints))
    _check(objectives, constraints, asked)
    points = Points(subjects, machines, objectives, constraints, asked, exhaustive=exhaustive)
    points.bound()
    points.remember(kept)
    while True:
        points.drop()
        on_progress(points.progress())
        batch = points.batch()
        if not batch.size:
            return points.table()
        points.recall(batch)
        jobs = list(_jobs(points, points.missing(batch), asked))
        for _, rows in zip(jobs, apply(run, jobs), strict=True):
            kept.put(rows)
            points.found(rows)
            on_progress(points.progress())
        points.settle(batch)


def family_of(constraints: Iterable[Constraint]) -> str:
    """The family of FPGAs whose counts the constraints want.

    Raises:
        BadInput: two of them want different ones.
    """
    wanted = {each.text: devices.device(each.part).counts_of for each in constraints if each.part}
    if len(set(wanted.values())) > 1:
        told = ", ".join(f"{text!r} {family}" for text, family in wanted.items())
        raise BadInput(f"constraints: resources of several families were found ({told}), those of one are wanted")
    return next(iter(wanted.values()), DEFAULT_FAMILY)


def _check(objectives: Sequence[str], constraints: Sequence[Constraint], asked: Asked) -> None:
    for name in objectives:
        columns.objective(name)
    if "energy_uj" in {*objectives, *(each.column for each in constraints)} and not asked.energy:
        raise BadInput("energy_uj: no energy table was found, one such as scaled-28nm is wanted")


def _jobs(points: Points, units: Indexes, asked: Asked) -> Iterator[Job]:
    """Machines of one network, those that share their work side by side."""
    for subject, machines, keys in points.by_network(units):
        for first in range(0, len(machines), JOB):
            part = slice(first, first + JOB)
            yield Job(subject, tuple(machines[part]), tuple(keys[part]), asked)
