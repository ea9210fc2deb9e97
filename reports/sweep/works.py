"""Works: one training or quantisation each, what it needs, what it leaves and what is told of it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from distill.log import Progress
from distill.recipe import Recipe, ancestry, fingerprint
from reports import students

if TYPE_CHECKING:
    from distill.workers import Report, Task

Files = dict[str, bytes]
"""Files of a finished work, by their names in its folder."""


class Work(msgspec.Struct, frozen=True):
    """The training of a stage for one seed or, if `twin`, its quantisation; the recipe has one head for students."""

    recipe: Recipe
    stage: str
    seed: int
    twin: bool = False

    @property
    def key(self) -> str:
        """Changes when anything changes that the result depends on; a file's name too."""
        name = students.twin_key if self.twin else fingerprint
        return name(self.recipe, self.stage, self.recipe.student.heads[0], self.seed)

    @property
    def needs(self) -> tuple["Work", ...]:
        """The trainings whose weights are read, in an order in which they can be done. Ensembles are not trained."""
        stages = [stage for stage in ancestry(self.recipe, self.stage) if stage.kind != "ensemble"]
        names = [stage.name for stage in stages if self.twin or stage.name != self.stage]
        return tuple(Work(self.recipe, name, self.seed) for name in names)

    @property
    def epochs(self) -> int:
        """That it trains."""
        return self.recipe.quantisation.epochs if self.twin else self.recipe.training.epochs

    @property
    def kind(self) -> str:
        """Works of one kind take about the same time an epoch."""
        network = self.recipe.network
        what = "quantisation" if self.twin else "training"
        return f"{what} of {network.family}-{network.depth}-{network.width} on {self.recipe.data.name}"

    @property
    def network(self) -> str:
        """The network that is trained, in short."""
        sizes, student = self.recipe.network, self.recipe.student
        name = f"{sizes.family}-{sizes.depth}-{sizes.width}"
        if self.recipe.stage(self.stage).kind == "full":
            return f"{name} {student.n}x{student.n}"
        return f"{name} 1x{student.n} {student.rows} {student.heads[0]}"

    @property
    def files(self) -> tuple[str, ...]:
        """What it makes, in a run's folder."""
        if self.twin:
            return ("twin.json", "student/student.safetensors", "student/student.json")
        return tuple(f"weights/{self.stage}-{self.seed}{suffix}" for suffix in (".safetensors", ".json"))


class Twin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one quantised network: accuracies of its integers, parameters of the float network."""

    validation: float
    test: float
    parameters: int


class Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a work took, and in how many epochs: those since it was last gone on with. `kind` is `Work.kind`."""

    seconds: float
    epochs: int
    kind: str


class Epoch(msgspec.Struct, frozen=True):
    """A training of the work `key` has done an epoch."""

    key: str
    progress: Progress


class Done(msgspec.Struct, frozen=True):
    """A work is done: `number` of `of` that were to do."""

    key: str
    stage: str
    seed: int
    bits: int | None
    network: str = ""
    number: int = 0
    of: int = 0


class Failed(msgspec.Struct, frozen=True):
    """A work cannot be done, and so nothing that needs it; the others go on."""

    key: str
    stage: str
    seed: int
    reason: str


Event = Epoch | Done | Failed
OnProgress = Callable[[Event], None]


class Elsewhere(Protocol):
    """Other machines that do works, as `reports.sweep.cluster.Cluster`."""

    def perform(self, tasks: "Sequence[Task[Work]]", folder: Path, device: str, report: "Report") -> None:
        """Do works and write what they make into `folder`; Done, Failed and Epoch are reported."""


def with_needs(works: Iterable[Work]) -> dict[str, Work]:
    """Works and all that they need, by key, each once, what is needed first."""
    found: dict[str, Work] = {}
    for work in works:
        for each in (*work.needs, work):
            found.setdefault(each.key, each)
    return found
