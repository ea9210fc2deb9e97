"""Designs as trainings: what the words of a space's network axes mean, and every training done once.

A design is one chain of teacher, pacemaker and student with the data, training and quantisation of the space's recipe,
cut down to the stages that its own needs. A training is known by `distill.recipe.fingerprint`, so that designs share
teachers, students alone and pacemakers, and numbers of bits share all of it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import msgspec

from distill import checkpoint, parallel
from distill import data as data_sets
from distill.data import DataSpec
from distill.networks import FAMILIES, NetworkSpec
from distill.plans import ALONE, TEACHER, Chain, stages_of
from distill.recipe import Recipe, Stage, StudentSpec, ancestry
from hw.errors import BadInput, UnsupportedLayer, check_word
from reports import students
from reports.candidate import Curve
from reports.sweep import pool
from reports.sweep.designs import Design
from reports.sweep.rates import seconds_an_epoch
from reports.sweep.works import Elsewhere, OnProgress, Work, with_needs

UNTAUGHT, PLAIN = "none", "teacher"
"""Pacemakers of a space that are none: labels alone, and distillation from the NxN network alone."""


class Outcome(msgspec.Struct, frozen=True):
    """A design's trainings, one a seed, in floats; or why there are none."""

    design: Design
    curves: tuple[Curve, ...] = ()
    reason: str = ""

    @property
    def accuracy(self) -> float:
        """Mean validation accuracy over the seeds after the last epoch, 0 to 1."""
        return fmean(curve.validation[-1] for curve in self.curves)


class Plan(msgspec.Struct, frozen=True):
    """What a sweep of designs would do: trainings and quantisations (a stage and a seed each), and what is there.

    `seconds` is the time of all that is to do, one after another, by what the folder has timed of networks of the same
    sizes, or by some steps made now. `failed` has the reasons of designs that no network can be made of, as far as is
    known without building it.
    """

    trainings: int
    trainings_there: int
    quantisations: int
    quantisations_there: int
    seconds: float
    failed: dict[str, str]


class Wanted(NamedTuple):
    """A design as a recipe, and the name of its stage in it."""

    recipe: Recipe
    stage: str


def recipe_of(design: Design, base: Recipe, *, epochs: int | None = None, seeds: int | None = None) -> Wanted:
    """The recipe of one design, with no more stages than it needs, and the stage that is the design.

    Args:
        design: what to train.
        base: gives data, training and quantisation; its stages, heads and sizes do not matter.
        epochs: of every training; None are the base's.
        seeds: None are the base's.

    Raises:
        BadInput: a word or a number that the networks, filters or chains do not have.
    """
    check_base(base)
    stages, name = _stages(design)
    training = base.training if epochs is None else msgspec.structs.replace(base.training, epochs=epochs)
    whole = msgspec.structs.replace(
        base,
        network=NetworkSpec(
            design.family, design.depth, design.width, mean=base.network.mean, deviation=base.network.deviation
        ),
        student=StudentSpec(design.n, design.rows, (design.head,), design.stem),
        stages=stages,
        training=training,
        quantisation=msgspec.structs.replace(base.quantisation, bits=design.bits),
        seeds=base.seeds if seeds is None else seeds,
    )
    return Wanted(msgspec.structs.replace(whole, stages=tuple(ancestry(whole, name))), name)


def _stages(design: Design) -> tuple[tuple[Stage, ...], str]:
    """Stages of a design, maybe more than it needs, and the name of its own."""
    if design.filters == "full":
        return (Stage(TEACHER, "full"),), TEACHER
    if design.pacemaker == UNTAUGHT:
        return (Stage(ALONE, "row"),), ALONE
    kind, schedule = (design.pacemaker, design.schedule) if design.pacemaker != PLAIN else ("split", "teacher")
    chain = Chain(kind, schedule, students=design.students, alpha=design.alpha, temperature=design.temperature)
    stages = tuple(stages_of(chain))
    return stages, stages[-1].name


def check_base(base: Recipe) -> None:
    """Demand a recipe whose network has a family.

    Raises:
        BadInput: it has a factory.
    """
    if base.network.factory is not None:
        raise BadInput(
            f"recipe {base.name}: its network is the factory {base.network.factory}, but a sweep's networks have a "
            f"family, a depth and a width; wanted is a recipe with a family: {', '.join(FAMILIES)}"
        )


def check_words(designs: Sequence[Design]) -> None:
    """Demand that every word of the designs is one: a typing error must not fail designs one by one.

    Raises:
        BadInput: an unknown family, pacemaker or schedule, or a number that no loss takes.
    """
    for family in dict.fromkeys(design.family for design in designs):
        check_word("networks: family", family, FAMILIES)
    for design in designs:
        _stages(design)


def train(
    designs: Sequence[Design],
    base: Recipe,
    folder: Path,
    *,
    epochs: int | None = None,
    seeds: int | None = None,
    workers: int = 2,
    device: str = "cpu",
    cluster: Elsewhere | None = None,
    on_progress: OnProgress = lambda event: None,
) -> tuple[Outcome, ...]:
    """Train every design for the seeds 0, 1, ...; what `folder` has, from whatever sweep, is taken.

    Args:
        designs: what to train.
        base: data, training, quantisation and, if not told otherwise, epochs and seeds.
        folder: of trainings (`reports.sweep.pool`).
        epochs: of each training; fewer or more are other trainings, since the learning rate depends on them.
        seeds: of each design.
        workers: processes side by side on this machine.
        device: cpu, cuda, ..., auto.
        cluster: does it in place of this machine.
        on_progress: told of every epoch, every finished and every failed training.

    Raises:
        PacemakerError: a word that nobody knows, a folder that cannot be written or is in use, data or a device that
            are not there, a cluster that is gone.
        Interrupted: stopped by Ctrl-C; finished epochs are kept.
    """
    wanted, failed = wanted_of(designs, base, folder, epochs=epochs, seeds=seeds)
    works = [work for each in wanted.values() for work in works_of(each)]
    reasons = pool.do(works, folder, workers=workers, device=device, cluster=cluster, on_progress=on_progress)
    return tuple(_outcome(design, folder, wanted.get(design), failed.get(design, ""), reasons) for design in designs)


def wanted_of(
    designs: Sequence[Design], base: Recipe, folder: Path, *, epochs: int | None, seeds: int | None
) -> tuple[dict[Design, Wanted], dict[Design, str]]:
    """The recipes of designs that a network can be made of, built and traced once; and why of others none can.

    Raises:
        PacemakerError: a word that nobody knows, or data that are not there.
    """
    parallel.check_alone("a sweep")
    check_base(base)
    check_words(designs)
    data_sets.load(base.data)
    wanted, failed = dict[Design, Wanted](), dict[Design, str]()
    for design in designs:
        try:
            each = recipe_of(design, base, epochs=epochs, seeds=seeds)
            if not all(pool.is_done(folder, work) for work in works_of(each)):
                _check(each.recipe)
            wanted[design] = each
        except (BadInput, UnsupportedLayer) as error:
            failed[design] = str(error)
    return wanted, failed


def works_of(wanted: Wanted, *, twins: bool = False) -> list[Work]:
    """The trainings, or the quantisations, of a design itself, one a seed."""
    return [Work(wanted.recipe, wanted.stage, seed, twins) for seed in range(wanted.recipe.seeds)]


def plan(
    designs: Sequence[Design],
    base: Recipe,
    folder: Path,
    *,
    epochs: int | None = None,
    seeds: int | None = None,
    twins: bool = True,
) -> Plan:
    """What `subjects.make`, or without `twins` `train`, would do; nothing is trained, built or written.

    Raises:
        BadInput: a word that nobody knows.
    """
    check_base(base)
    check_words(designs)
    works, failed = list[Work](), dict[str, str]()
    for design in designs:
        try:
            works += works_of(recipe_of(design, base, epochs=epochs, seeds=seeds), twins=twins)
        except BadInput as error:
            failed[design.name] = str(error)
    found = with_needs(works)
    there = {key: pool.is_done(folder, work) for key, work in found.items()}
    counts = {(t, d): sum(w.twin == t and there[k] == d for k, w in found.items()) for t in (0, 1) for d in (0, 1)}
    seconds = _seconds([work for key, work in found.items() if not there[key]], pool.seconds_an_epoch(folder))
    return Plan(counts[0, 0], counts[0, 1], counts[1, 0], counts[1, 1], seconds, failed)


def _seconds(todo: Sequence[Work], rates: Mapping[str, float]) -> float:
    """Of all works, one after another, by what was timed, and by some steps made now of kinds that were not."""
    known = dict(rates)
    for work in todo:
        if work.kind not in known:
            known[work.kind] = seconds_an_epoch(work)
    return sum(known[work.kind] * max(1, work.epochs) for work in todo)


def _check(recipe: Recipe) -> None:
    """Build and trace the network of every kind of stage, before hours are spent on training it."""
    for kind in dict.fromkeys(stage.kind for stage in recipe.stages if stage.kind != "ensemble"):
        own = recipe.student if kind == "row" else StudentSpec(recipe.student.n, heads=(checkpoint.DEFAULT_HEAD,))
        _check_kind(recipe.data, recipe.network, own, kind)


@cache
def _check_kind(data: DataSpec, network: NetworkSpec, own: StudentSpec, kind: str) -> None:
    alone = Recipe(kind, data, network, (Stage(kind, kind),), own)
    checkpoint.check_networks(alone)
    students.check_traceable(alone)


def _outcome(design: Design, folder: Path, wanted: Wanted | None, reason: str, reasons: Mapping[str, str]) -> Outcome:
    if wanted is None:
        return Outcome(design, reason=reason)
    works = works_of(wanted)
    told = [reasons[work.key] for work in works if work.key in reasons]
    return Outcome(design, reason=told[0]) if told else Outcome(design, curves_of(folder, works))


def curves_of(folder: Path, trainings: Sequence[Work]) -> tuple[Curve, ...]:
    """Of finished trainings, by seed."""
    records = [pool.record(folder, work) for work in trainings]
    return tuple(Curve(record.seed, record.loss, record.validation) for record in records)
