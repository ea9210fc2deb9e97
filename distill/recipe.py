"""A recipe: data, network, students and the stages of training, as one frozen and checked record.

A recipe is a YAML file or the name of a preset in `distill/recipes/`. Its stages stand in the order in which they can
run: a stage learns from, or is made of, stages above it.
"""

import hashlib
import re
from importlib import resources
from pathlib import Path

import msgspec

from distill import data as data_sets
from distill import own
from distill.data import DataSpec
from distill.filters import HEADS, ROW_POLICIES, STEMS
from distill.methods import METHODS, check_positive, check_range
from distill.methods import Stage as Stage
from distill.networks import NetworkSpec
from distill.plans import Chain, written_out
from distill.precision import PRECISIONS
from hw.errors import BadInput, check_word, did_you_mean
from hw.files import read_yaml, to_json

SCHEDULES = ("onecycle", "cosine", "steps")
AUGMENTATION_SEEDS = ("own", "shared")
FIRST_FIELDS = {
    "DataSpec": "name folder rows cols train_images validation split_seed",
    "NetworkSpec": "family depth width factory",
    "StudentSpec": "n rows heads stem",
    "Training": ("epochs batch learning_rate momentum nesterov weight_decay schedule warm_up milestones shift flip"),
    "Stage": "name kind teachers members alpha temperature start",
}
"""Fields that a fingerprint always has; any other only where it is not at its default."""


class StudentSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a student is: width N of its 1xN filters, rows (skip, keep, mean), candidate heads, stem (row, full).

    With several heads, the first stage of kind `row` without teachers is trained with each of them, and the best mean
    validation accuracy over the seeds decides for all students.
    """

    n: int = 3
    rows: str = "keep"
    heads: tuple[str, ...] = ("rows", "global")
    stem: str = "row"

    def __post_init__(self) -> None:
        check_range("student: n", self.n, 1)
        check_word("student: rows", self.rows, ROW_POLICIES)
        check_word("student: stem", self.stem, STEMS)
        if not self.heads or len(set(self.heads)) != len(self.heads):
            raise BadInput(f"student: heads are {list(self.heads)}, wanted are one or more different ones")
        for head in self.heads:
            check_word("student: head", head, HEADS)


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How every stage is trained: SGD with momentum; the schedule moves the learning rate after every batch.

    Attributes:
        epochs: passes over the training images.
        batch: images a step; the last ones are spread over all steps, so none is left out.
        learning_rate: the greatest one.
        momentum: of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: on all weights.
        schedule: onecycle (up for `warm_up` of the steps, then down), cosine, or steps (by `factor` at `milestones`).
        warm_up: share of the steps with a rising learning rate, onecycle only.
        milestones: shares of the epochs, steps only.
        factor: of the learning rate at each of them.
        shift: images are moved by up to so many pixels.
        flip: half of the images are mirrored left to right.
        precision: float32; bfloat16 or float16 (CUDA only) where torch's autocast allows them.
        compile: let torch compile the network; it takes a minute or so, and wants a C++ compiler on the CPU.
        augmentation_seed: own (every stage moves and mirrors the images in its own way) or shared (all stages of a seed
            see the same images in the same epoch, so that a teacher is asked once an epoch for all its students).
    """

    epochs: int = 20
    batch: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0005
    schedule: str = "onecycle"
    warm_up: float = 0.3
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    shift: int = 0
    flip: bool = False
    precision: str = "float32"
    compile: bool = False
    augmentation_seed: str = "own"

    def __post_init__(self) -> None:
        check_word("training: schedule", self.schedule, SCHEDULES)
        check_word("training: precision", self.precision, PRECISIONS)
        check_word("training: augmentation_seed", self.augmentation_seed, AUGMENTATION_SEEDS)
        check_positive("training: factor", self.factor)
        check_range("training: epochs", self.epochs, 1)
        check_range("training: batch", self.batch, 1)
        check_range("training: shift", self.shift, 0)
        check_range("training: weight_decay", self.weight_decay, 0)
        check_range("training: momentum", self.momentum, 0, 0.9999)
        check_range("training: warm_up", self.warm_up, 0.01, 0.99)
        check_positive("training: learning_rate", self.learning_rate)
        if self.nesterov and self.momentum == 0:
            raise BadInput("training: nesterov wants a momentum above 0; set nesterov: false")

    @property
    def augments(self) -> bool:
        """Whether an image differs from epoch to epoch."""
        return self.shift > 0 or self.flip


class Quantisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fixed-point twin of a student: bits of weights and activations, and its fine-tuning."""

    bits: int = 8
    epochs: int = 5
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        check_range("quantisation: bits", self.bits, 2, 16)
        check_range("quantisation: epochs", self.epochs, 0)
        check_positive("quantisation: learning_rate", self.learning_rate)


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a run is made of; every seed runs the whole chain of stages, its own teacher included.

    `chain` is a short form of stages, one or several; at birth it is written out into `stages` and is empty then.
    """

    name: str
    data: DataSpec
    network: NetworkSpec
    stages: tuple[Stage, ...] = ()
    student: StudentSpec = StudentSpec()
    training: Training = Training()
    quantisation: Quantisation = Quantisation()
    seeds: int = 3
    chain: Chain | tuple[Chain, ...] = ()

    def __post_init__(self) -> None:
        chains = (self.chain,) if isinstance(self.chain, Chain) else self.chain
        msgspec.structs.force_setattr(self, "stages", written_out(chains, self.stages))
        msgspec.structs.force_setattr(self, "chain", ())
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise BadInput(f"recipe {self.name!r}: wanted is a name of letters, digits, dots, hyphens and underscores")
        check_range("seeds", self.seeds, 1)
        if not self.stages:
            raise BadInput("stages: none found, wanted is one or more")
        _check_order(self.stages)
        if len(self.student.heads) > 1 and self.trial is None and any(s.kind == "row" for s in self.stages):
            raise BadInput(
                "student: several heads want a stage of kind row without teachers and start, to choose by; "
                "add one or give one head"
            )

    def again(self, stage: Stage) -> bool:
        """Whether an earlier stage differs from it in its name alone, and so in its seed: a member of an ensemble."""
        earlier = self.stages[: self.stages.index(stage)]
        return any(msgspec.structs.replace(other, name=stage.name) == stage for other in earlier)

    def stage(self, name: str) -> Stage:
        """The stage of this name.

        Raises:
            BadInput: there is none; the nearest name is told.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        names = [stage.name for stage in self.stages]
        raise BadInput(
            f"recipe {self.name}: no stage {name!r}, found are {', '.join(names)}{did_you_mean(name, names)}"
        )

    @property
    def trial(self) -> Stage | None:
        """The stage that chooses among several heads: the first student without teachers."""
        if len(self.student.heads) == 1:
            return None
        alone = (stage for stage in self.stages if stage.kind == "row" and not stage.needs)
        return next(alone, None)


def load(name_or_path: str) -> Recipe:
    """The preset of this name, or the recipe in this YAML file.

    Raises:
        BadInput: neither a preset nor a file, or not of a recipe's form.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or (path.is_file() and name_or_path not in presets()):
        return read_yaml(path, Recipe)
    if name_or_path not in presets():
        raise BadInput(
            f"recipe {name_or_path!r}: neither a YAML file nor a preset; presets are {', '.join(presets())}"
            f"{did_you_mean(name_or_path, presets())}"
        )
    with resources.as_file(resources.files("distill.recipes") / f"{name_or_path}.yaml") as preset:
        return read_yaml(preset, Recipe)


def presets() -> list[str]:
    """Names of the recipes that come with the package."""
    names = (entry.name for entry in resources.files("distill.recipes").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def fingerprint(recipe: Recipe, stage_name: str, head: str | None, seed: int) -> str:
    """16 hexadecimal digits that change when anything changes that the stage's weights depend on.

    The number of seeds, the quantisation, the data's folder and stages that it does not need are left out, so that to
    add a seed or a student retrains nothing. `head` is that of the students, if the stage is one or learns from one.
    Of images, a network and losses of the user's own their files count (`distill.data.digest`, `distill.own.digest`).

    Raises:
        BadInput: images of the user's own are not there.
    """
    chain = ancestry(recipe, stage_name)
    student = msgspec.structs.replace(recipe.student, heads=(head or recipe.student.heads[0],))
    about_student = _stamp(student) if any(stage.kind == "row" for stage in chain) else student.n
    data = _stamp(recipe.data) | {"folder": data_sets.digest(recipe.data) or None}
    stages = [_stamp(stage) for stage in chain]
    factory = [recipe.network.factory] if recipe.network.factory else []
    losses = sorted({stage.method for stage in chain if stage.method not in METHODS})
    files = [own.digest(name) for name in (*factory, *losses)]
    parts = (data, _stamp(recipe.network), about_student, _stamp(recipe.training), stages, seed, *files)
    return hashlib.sha256(to_json(parts).encode()).hexdigest()[:16]


def ancestry(recipe: Recipe, stage_name: str) -> list[Stage]:
    """A stage and all that its weights depend on, in the recipe's order."""
    wanted = {stage_name}
    for stage in reversed(recipe.stages):
        if stage.name in wanted:
            wanted.update(stage.needs)
    return [stage for stage in recipe.stages if stage.name in wanted]


def _stamp(record: msgspec.Struct) -> dict[str, object]:
    """A record without the fields that came later and stand at their default: older weights stay valid."""
    fields: dict[str, object] = msgspec.to_builtins(record)
    first = FIRST_FIELDS[type(record).__name__].split()
    for field in msgspec.structs.fields(record):
        if field.name not in first and getattr(record, field.name) == field.default:
            del fields[field.name]
    return fields


def _check_order(stages: tuple[Stage, ...]) -> None:
    names = [stage.name for stage in stages]
    seen: list[str] = []
    for stage in stages:
        if stage.name in seen:
            raise BadInput(f"stage {stage.name}: the name is given twice")
        for other in stage.needs:
            if other not in names:
                raise BadInput(
                    f"stage {stage.name}: no stage {other!r}, found are {', '.join(names)}{did_you_mean(other, names)}"
                )
            if other not in seen:
                raise BadInput(f"stage {stage.name}: {other} must stand above it, since it is needed first")
        seen.append(stage.name)
