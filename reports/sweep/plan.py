"""What a sweep would do, and how long it would take."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hw.accelerator import Machine
from hw.network import Shape
from reports.sweep import evaluate, screening, subjects
from reports.sweep.designs import Design
from reports.sweep.evaluate import Asked
from reports.sweep.space import Space
from reports.sweep.table import Subject
from reports.sweep.work import TRAINED, Means, recipe_of
from sim.result import Precision

if TYPE_CHECKING:
    from distill.recipe import Recipe

SAMPLE = 500
"""Points that a plan is timed by."""


class Plan(NamedTuple):
    """What a sweep would do.

    `networks` of a search are at most so many; `points` are networks x machines. `training_seconds` go by what the
    folder has timed, or by some steps made now, `point_seconds` by some points that were simulated now, as if none
    could be left out.
    """

    networks: int
    machines: int
    points: int
    trainings: int
    trainings_there: int
    quantisations: int
    quantisations_there: int
    training_seconds: float
    point_seconds: float
    failed: Mapping[str, str]


def plan(space: Space, folder: Path, means: Means = Means()) -> Plan:
    """Count what is to do, and time it by what was done here before; trains and writes nothing.

    Raises:
        BadInput: as `sweep`.
    """
    machines = space.all_machines
    if not space.networks.recipe:
        given = subjects.given(space.networks.given)
        count = len(given.subjects)
        seconds = _point_seconds(space, given.subjects[:1], machines, count)
        return Plan(count, len(machines), count * len(machines), 0, 0, 0, 0, 0.0, seconds, given.failed)
    recipe = recipe_of(space)
    from reports.sweep import halving, trainings

    designs = space.designs
    if space.search.method != "exhaustive":
        designs = designs[: space.search.trainings]
    pool = means.trained or folder / TRAINED
    if space.networks.halving:
        plans = halving.plan(designs, recipe, pool, space.networks.halving)
    else:
        plans = (trainings.plan(designs, recipe, pool),)
    count, failed = len(designs), {name: reason for each in plans for name, reason in each.failed.items()}
    return Plan(
        count,
        len(machines),
        count * len(machines),
        sum(each.trainings for each in plans),
        sum(each.trainings_there for each in plans),
        sum(each.quantisations for each in plans),
        sum(each.quantisations_there for each in plans),
        sum(each.seconds for each in plans) / means.workers,
        _point_seconds(space, [_untrained(designs[0], recipe)], machines, count),
        failed,
    )


def _untrained(design: Design, recipe: "Recipe") -> Subject:
    """A design's network before any training."""
    from distill import checkpoint
    from distill import data as data_sets
    from hw.trace import trace
    from reports.students import PIXEL
    from reports.sweep import trainings

    wanted = trainings.recipe_of(design, recipe)
    data = data_sets.load(recipe.data)
    channels, height, width = data.shape
    stage = wanted.recipe.stage(wanted.stage)
    module = checkpoint.fresh(wanted.recipe, stage, wanted.recipe.student.heads[0], data.shape, data.classes)
    network = trace(module, Shape(height, width, channels), design.name).network
    return subjects.subject_of(design.name, network, {}, precision=Precision(design.bits, design.bits, PIXEL.width))


def _point_seconds(space: Space, sample: Sequence[Subject], machines: Sequence[Machine], networks: int) -> float:
    """All points bounded and simulated, by some that are: more than a sweep will need."""
    if not sample:
        return 0.0
    some = machines[:: max(1, len(machines) // SAMPLE)]
    asked = Asked(space.energy, screening.family_of(space.kept))
    evaluate.exact(sample[0], some[:1], asked)  # compiles, or reads what was compiled
    begin = time.perf_counter()
    evaluate.bounds(sample[0], some, asked)
    evaluate.exact(sample[0], some, asked)
    return (time.perf_counter() - begin) * len(machines) / len(some) * networks
