"""A sweep at work: its networks found or trained, their points, and those that are on no machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hw.accelerator import Machine
from hw.errors import BadInput, need
from reports.candidate import Curve
from reports.sweep import columns, result, screening, subjects
from reports.sweep.designs import Design
from reports.sweep.search import Found, search
from reports.sweep.space import Space
from reports.sweep.store import Store
from reports.sweep.table import BOUND, EXACT, FAILED, Subject, Table

if TYPE_CHECKING:
    from distill.recipe import Recipe
    from reports.sweep.cluster import Cluster
    from reports.sweep.works import OnProgress as OnTraining

TRAINED = "trained"
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


class Gone(NamedTuple):
    """A network that is on no machine: it failed, or halving dropped it (status bound); why, and what it was to be."""

    name: str
    reason: str
    status: str
    design: Design | None = None


@dataclass
class Work:
    """A sweep at work: what is known of its networks so far."""

    space: Space
    folder: Path
    means: Means
    store: Store
    machines: Sequence[Machine]
    exhaustive: bool
    given: subjects.Given
    subjects: dict[str, Subject] = field(default_factory=dict)
    curves: dict[str, tuple[Curve, ...]] = field(default_factory=dict)
    gone: list[Gone] = field(default_factory=list)

    def networks(self) -> None:
        """Take or train all networks that the space asks for.

        Raises:
            BadInput: none could be used.
        """
        if not self.space.networks.recipe:
            failed = [Gone(name, reason, FAILED) for name, reason in self.given.failed.items()]
            self._add(self.given.subjects, self.given.curves, failed)
        elif self.space.search.method == "exhaustive":
            self._train(self.space.designs)
        else:
            search(self.space, self.folder, self._tried)
        if not self.subjects:
            name, reason, *_ = self.gone[0]
            raise BadInput(
                f"space {self.space.name}: none of its networks can be used; the first one, {name}: {reason}"
            )
        self._check_accuracies()

    def _check_accuracies(self) -> None:
        """Tell whose accuracy is asked for and not known: presets and ONNX files have none.

        Raises:
            BadInput: nobody's is.
        """
        if "accuracy" not in {*self.space.objectives, *(each.column for each in self.space.kept)}:
            return
        unknown = [str(each.columns["network"]) for each in self.subjects.values() if _has_none(each)]
        if len(unknown) == len(self.subjects):
            raise BadInput(
                f"space {self.space.name}: accuracy is asked for and known of none of its networks (presets and ONNX "
                "files have none); leave it out of objectives and constraints, or give runs or a recipe"
            )
        if unknown:
            self.means.say(f"no accuracy is known of {', '.join(unknown)}: none of them can be on the front")

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

        recipe, pool = recipe_of(self.space), self.means.trained or self.folder / TRAINED
        how: dict[str, Any] = {
            "workers": self.means.workers,
            "device": self.means.device,
            "cluster": self.means.cluster,
            "on_progress": self.means.on_training,
        }
        if self.space.networks.halving:
            made, halved = halving.make(designs, recipe, pool, self.space.networks.halving, **how)
            self.gone += [Gone(design.name, reason, BOUND, design) for design, reason in halved.dropped.items()]
        else:
            made = subjects.make(designs, recipe, pool, **how)
        failed = [Gone(design.name, reason, FAILED, design) for design, reason in made.failed.items()]
        self._add(tuple(made.subjects.values()), made.curves, failed)
        return made.subjects

    def _add(self, found: Sequence[Subject], curves: Mapping[str, tuple[Curve, ...]], failed: Sequence[Gone]) -> None:
        self.store.add_subjects(found)
        for each in failed:
            self.store.fail_design(each.name, each.reason)
            self.means.say(f"{each.name}: {each.reason}")
        self.subjects |= {subject.key: subject for subject in found}
        self.curves |= curves
        self.gone += failed

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


def recipe_of(space: Space) -> "Recipe":
    """What the networks are trained by."""
    need("torch", "distill", "training the networks of a space")
    from distill import recipe as recipes

    return recipes.load(space.networks.recipe)


def with_gone(table: Table, gone: Sequence[Gone]) -> Table:
    """A row more for every network that is on no machine, with the reason."""
    if not gone:
        return table
    told = [_row_of(each) for each in gone]
    more = {}
    for name, values in table.columns.items():
        none: float | str = np.nan if values.dtype.kind == "f" else ""
        more[name] = np.concatenate([values, np.array([row.get(name, none) for row in told], values.dtype)])
    return Table(more)


def _row_of(gone: Gone) -> dict[str, float | str]:
    """What is known of a network without a machine."""
    known: dict[str, float | str] = {
        "network": gone.name,
        "status": gone.status,
        "reason": gone.reason,
        "role": "given",
    }
    if gone.design is not None:
        axes = subjects.axes_of(gone.design)
        known |= axes | {"role": "teacher" if gone.design.filters == "full" else "student"}
    return known


def _has_none(subject: Subject) -> bool:
    """Whether no accuracy is known of a network."""
    accuracy = subject.columns["accuracy"]
    return accuracy != accuracy
