"""A whole sweep: networks trained or taken as given, their points screened and simulated, the page and the files.

All that is found is kept in the folder as soon as it is found (`store`, `pool`): a sweep that was stopped, however,
goes on with the same call and ends in the same rows.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from hw.accelerator import Machine
from hw.errors import BadInput, Interrupted, need
from hw.files import make_folder
from hw.network import Shape
from reports.candidate import Curve
from reports.sweep import columns, evaluate, export, figures, page, result, screening, subjects
from reports.sweep.designs import Design
from reports.sweep.evaluate import Asked
from reports.sweep.keys import machine_key
from reports.sweep.result import Provenance, Sweep
from reports.sweep.search import Found, search
from reports.sweep.space import Space
from reports.sweep.store import Store
from reports.sweep.table import BOUND, EXACT, FAILED, Subject, Table
from reports.timing import Clock, record
from sim.result import Precision

if TYPE_CHECKING:
    from distill.recipe import Recipe
    from reports.sweep.cluster import Cluster
    from reports.sweep.pool import OnProgress as OnTraining

SAMPLE = 500
"""Points that a plan is timed by."""
STORE, TRAINED, FIGURES, ROWS = "sweep.db", "trained", "figures", ("rows.parquet", "rows.csv")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Means:
    """By what a sweep is done, and who is told: none of it changes a row.

    `trained` is where trainings are kept, for other sweeps too; None is a folder of the sweep's own.
    """

    trained: Path | None = None
    workers: int = 2
    device: str = "cpu"
    cluster: "Cluster | None" = None
    on_training: "OnTraining" = lambda event: None
    on_points: screening.OnProgress = lambda progress: None
    say: Say = lambda message: None


def sweep(space: Space, folder: Path, means: Means = Means(), *, exhaustive: bool = False, command: str = "") -> Sweep:
    """Do all of a space; leaves the store, the rows as Parquet and CSV, and the page in `folder`.

    With `exhaustive` every point that fits is simulated, not only those that may be on the front.

    Raises:
        BadInput: a word or a number of the space that nobody knows, or no network that could be used at all.
        PacemakerError: what any part of a sweep may be missing.
        Interrupted: stopped by Ctrl-C; everything finished is kept.
    """
    for module, purpose in (("pyarrow", "the rows as Parquet"), ("bokeh", "the page of a sweep")):
        need(module, "sweep", purpose)
    make_folder(folder)
    machines = {machine_key(machine): machine for machine in space.all_machines}
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), Clock()
    try:
        with Store.open(folder / STORE, energy=space.energy, family=screening.family_of(space.kept)) as store:
            store.add_machines(machines)
            work = _Work(space, folder, means, store, tuple(machines.values()), exhaustive)
            with clock.step("networks"):
                work.networks()
            with clock.step("points"):
                table = work.points(list(work.subjects.values()))
            store.finish(table.rows(table["status"] == BOUND))
            base = record(command, started, clock.seconds, folder)
            told = Provenance(**msgspec.structs.asdict(base), code_hash=store.code)
            store.put_run(space, msgspec.to_builtins(told))
    except KeyboardInterrupt:
        raise Interrupted(f"{folder}: stopped; everything finished is kept, and the same command goes on") from None
    table = _with_networks(_with_networks(table, work.failed, FAILED), work.dropped, BOUND)
    found = Sweep(space, table, work.subjects, machines, work.curves, told)
    write(found, folder, means.say)
    return found


def write(found: Sweep, folder: Path, say: Say = lambda message: None) -> None:
    """The rows and the page of a sweep."""
    say("writing the rows and the page")
    export.write_parquet(found.table, folder / ROWS[0])
    export.write_csv(found.table, folder / ROWS[1])
    page.write(found, folder / page.NAME, beside=ROWS)
    figures.write(folder / FIGURES, found)


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
    recipe = _recipe(space)
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
    from reports.sweep import trainings

    wanted = trainings.recipe_of(design, recipe)
    data = data_sets.load(recipe.data)
    channels, height, width = data.shape
    stage = wanted.recipe.stage(wanted.stage)
    module = checkpoint.fresh(wanted.recipe, stage, wanted.recipe.student.heads[0], data.shape, data.classes)
    network = trace(module, Shape(height, width, channels), design.name).network
    return subjects.subject_of(design.name, network, {}, precision=Precision(design.bits, design.bits))


def _recipe(space: Space) -> "Recipe":
    """What the networks are trained by."""
    need("torch", "distill", "training the networks of a space")
    from distill import recipe as recipes

    return recipes.load(space.networks.recipe)


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


@dataclass
class _Work:
    """A sweep at work: what is known of its networks so far."""

    space: Space
    folder: Path
    means: Means
    store: Store
    machines: Sequence[Machine]
    exhaustive: bool
    subjects: dict[str, Subject] = field(default_factory=dict)
    curves: dict[str, tuple[Curve, ...]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    def networks(self) -> None:
        """Take or train all networks that the space asks for.

        Raises:
            BadInput: none could be used.
        """
        if not self.space.networks.recipe:
            given = subjects.given(self.space.networks.given)
            self._add(given.subjects, given.curves, given.failed)
        elif self.space.search.method == "exhaustive":
            self._train(self.space.designs)
        else:
            search(self.space, self.folder, self._tried)
        if not self.subjects:
            name, reason = next(iter(self.failed.items()))
            raise BadInput(
                f"space {self.space.name}: none of its networks can be used; the first one, {name}: {reason}"
            )

    def points(self, of: Sequence[Subject]) -> Table:
        """A row for every machine of some networks."""
        cluster = self.means.cluster
        return screening.evaluate_all(
            of,
            self.machines,
            self.space.objectives,
            self.space.kept,
            self.store,
            energy=self.space.energy,
            on_progress=self.means.on_points,
            apply=cluster.apply if cluster else map,
            exhaustive=self.exhaustive,
        )

    def _train(self, designs: Sequence[Design]) -> dict[Design, Subject]:
        from reports.sweep import halving

        recipe, pool = _recipe(self.space), self.means.trained or self.folder / TRAINED
        how: dict[str, Any] = {
            "workers": self.means.workers,
            "device": self.means.device,
            "cluster": self.means.cluster,
            "on_progress": self.means.on_training,
        }
        if self.space.networks.halving:
            made, halved = halving.make(designs, recipe, pool, self.space.networks.halving, **how)
            self.dropped |= {design.name: reason for design, reason in halved.dropped.items()}
        else:
            made = subjects.make(designs, recipe, pool, **how)
        failed = {design.name: reason for design, reason in made.failed.items()}
        self._add(tuple(made.subjects.values()), made.curves, failed)
        return made.subjects

    def _add(
        self, found: Sequence[Subject], curves: Mapping[str, tuple[Curve, ...]], failed: Mapping[str, str]
    ) -> None:
        self.store.add_subjects(found)
        for name, reason in failed.items():
            self.store.fail_design(name, reason)
            self.means.say(f"{name}: {reason}")
        self.subjects |= {subject.key: subject for subject in found}
        self.curves |= curves
        self.failed |= failed

    def _tried(self, designs: Sequence[Design]) -> list[Found | None]:
        """What a batch of a search reaches, each network by itself, so that none hides another's best."""
        made = self._train(designs)
        return [self._reached(made[design]) if design in made else None for design in designs]

    def _reached(self, subject: Subject) -> Found | None:
        table = self.points([subject])
        exact = table["status"] == EXACT
        allowed = exact.copy()
        for constraint in self.space.kept:
            allowed &= result.keeps(table, constraint)
        chosen = table.rows(allowed if allowed.any() else exact)
        if not len(chosen):
            return None
        least = [columns.ALL[name].better == "less" for name in self.space.objectives]
        values = [chosen[name] for name in self.space.objectives]
        best = tuple(float(np.min(v) if low else np.max(v)) for v, low in zip(values, least, strict=True))
        return Found(best, bool(allowed.any()))


def _with_networks(table: Table, reasons: Mapping[str, str], status: str) -> Table:
    """A row more for every network that is on no machine, with the reason."""
    if not reasons:
        return table
    count = len(reasons)
    words = {"network": list(reasons), "status": [status] * count, "reason": list(reasons.values())}
    more = {}
    for name, values in table.columns.items():
        none = np.full(count, np.nan) if values.dtype.kind == "f" else np.array(words.get(name, [""] * count), object)
        more[name] = np.concatenate([values, none])
    return Table(more)
