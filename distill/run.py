"""A recipe as tasks: every stage of every seed, several side by side, resumed where an earlier run stopped.

The chain of seed s is the same whether it runs alone or beside others: seeds s, s+1, ... of one run are the runs of
one seed each.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import msgspec

from distill import checkpoint
from distill import data as data_sets
from distill.checkpoint import DEFAULT_HEAD, Distillation, Record
from distill.ensemble import carry_over
from distill.recipe import Recipe, Stage, fingerprint
from distill.resume import Memory
from distill.train import accuracy, deterministic, stable_seed, train
from distill.workers import Report, Task, execute
from hw.errors import BadInput, Interrupted
from hw.files import read_json, write_json


class Progress(msgspec.Struct, frozen=True):
    """An epoch is over (`epoch` of `epochs`); an ensemble has one. `head` is set for a candidate head only."""

    stage: str
    seed: int
    head: str | None
    epoch: int
    epochs: int
    loss: float
    validation_accuracy: float


OnProgress = Callable[[Progress], None]


class Job(msgspec.Struct, frozen=True):
    """One training; `head` is set for a candidate head, `chooses` marks the choice among these for all seeds."""

    stage: str
    seed: int
    head: str | None = None
    chooses: bool = False

    @property
    def key(self) -> str:
        """Unique among the jobs of a run."""
        if self.chooses:
            return f"{self.stage} choice"
        return f"{self.stage}-{self.seed}" if self.head is None else f"{self.stage}-{self.head}-{self.seed}"


class Outcome(msgspec.Struct, frozen=True):
    """What a run made: the head of its students, and a record for every stage and seed, in the recipe's order."""

    folder: Path
    head: str
    records: tuple[Record, ...]

    @property
    def validation(self) -> dict[str, list[float]]:
        """Stage -> last validation accuracy of each seed, 0 to 1."""
        stages: dict[str, list[float]] = {}
        for record in self.records:
            stages.setdefault(record.stage, []).append(record.validation_accuracy)
        return stages


class Spread(msgspec.Struct, frozen=True):
    """Accuracy over seeds: mean, and standard deviation with n - 1 (None for one seed)."""

    mean: float
    deviation: float | None


def run(
    recipe: Recipe, folder: Path, seed: int = 0, workers: int = 2, on_progress: OnProgress = lambda progress: None
) -> Outcome:
    """Train every stage for the seeds `seed`, `seed` + 1, ...; what `folder` has already is kept.

    Args:
        recipe: what to do.
        folder: where weights and records go; made if it is not there.
        seed: of the first chain.
        workers: processes side by side; 1 works in this process.
        on_progress: told after every epoch of every training.

    Raises:
        BadInput: a network that cannot be built, data or weights that cannot be read, a folder that cannot be
            written, a loss that is not finite.
        Interrupted: stopped by Ctrl-C; finished epochs are kept.
    """
    if workers < 1:
        raise BadInput(f"workers is {workers}, wanted is 1 or more")
    seeds = Distillation(recipe, seed).seeds
    tasks = _unfinished(recipe, folder, seeds)
    if tasks:
        checkpoint.check_networks(recipe)
    checkpoint.write_run(folder, recipe, seed)

    def report(event: object) -> None:
        if isinstance(event, Progress):
            on_progress(event)

    try:
        execute(tasks, partial(perform, recipe, folder, tuple(seeds)), workers, report)
    except KeyboardInterrupt:
        raise Interrupted(f"{folder}: stopped; finished epochs are kept, and the same command goes on") from None
    return outcome(folder)


def outcome(folder: Path) -> Outcome:
    """The records of a finished run.

    Raises:
        BadInput: the folder is not a run, or a stage is missing.
    """
    done = checkpoint.read_run(folder)
    records = [checkpoint.record_of(folder, stage.name, seed) for stage in done.recipe.stages for seed in done.seeds]
    students = [record.head for record in records if done.recipe.stage(record.stage).kind == "row"]
    return Outcome(folder, students[0] if students else DEFAULT_HEAD, tuple(records))


def perform(recipe: Recipe, folder: Path, seeds: Sequence[int], job: Job, report: Report) -> None:
    """Do one job and write what it made."""
    if _is_finished(recipe, folder, seeds, job):
        return
    stage = recipe.stage(job.stage)
    head = job.head or _student_head(recipe, folder, seeds) or DEFAULT_HEAD
    if job.chooses:
        _choose(folder, stage, head, seeds)
    elif stage.kind == "ensemble":
        _judge(recipe, folder, stage, head, job, report)
    else:
        _train(recipe, folder, stage, head, job, report)


def expected_epochs(recipe: Recipe) -> int:
    """How many `Progress` events a whole run gives."""
    tasks = _tasks(recipe, range(recipe.seeds))
    kinds = [recipe.stage(task.payload.stage).kind for task in tasks if not task.payload.chooses]
    return sum(1 if kind == "ensemble" else recipe.training.epochs for kind in kinds)


def accuracies_on_test(folder: Path) -> dict[str, list[float]]:
    """Stage -> test accuracy of each seed, 0 to 1; measured once, then read from `<folder>/test.json`.

    To be called when all choices are made: nothing else in this package looks at test images.

    Raises:
        BadInput: the run is not finished, or a checkpoint cannot be read.
    """
    done = checkpoint.read_run(folder)
    records = outcome(folder).records
    made_by = {f"{record.stage}-{record.seed}": record.fingerprint for record in records}
    path = folder / "test.json"
    with contextlib.suppress(BadInput):
        kept = read_json(path, OnTest)
        if kept.fingerprints == made_by:
            return kept.accuracies
    images = data_sets.load(done.recipe.data).test
    measured: dict[str, list[float]] = {}
    with deterministic(0):
        for record in records:
            module = checkpoint.load_module(done.recipe, folder, record.stage, record.seed)
            measured.setdefault(record.stage, []).append(accuracy(module, images))
    write_json(path, OnTest(measured, made_by))
    return measured


class OnTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `test.json` holds: accuracies, and the fingerprints of the weights that they are of."""

    accuracies: dict[str, list[float]]
    fingerprints: dict[str, str]


def summary(accuracies: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    """Stage -> mean and standard deviation over seeds, of `Outcome.validation` or `accuracies_on_test`."""
    return {
        stage: Spread(fmean(values), stdev(values) if len(values) > 1 else None) for stage, values in accuracies.items()
    }


def _tasks(recipe: Recipe, seeds: Sequence[int]) -> list[Task[Job]]:
    """All jobs in an order in which they could be done one by one."""
    return [
        Task(job.key, _needs(recipe, job, seeds), job) for stage in recipe.stages for job in _jobs(recipe, stage, seeds)
    ]


def _jobs(recipe: Recipe, stage: Stage, seeds: Sequence[int]) -> list[Job]:
    if stage != recipe.trial:
        return [Job(stage.name, seed) for seed in seeds]
    candidates = [Job(stage.name, seed, head) for head in recipe.student.heads for seed in seeds]
    return [*candidates, Job(stage.name, seeds[0], chooses=True)]


def _needs(recipe: Recipe, job: Job, seeds: Sequence[int]) -> frozenset[str]:
    """Keys of the jobs before: teachers, members, start; every other student waits for the choice of the head."""
    stage, trial = recipe.stage(job.stage), recipe.trial
    if job.chooses:
        return frozenset(Job(job.stage, seed, head).key for head in recipe.student.heads for seed in seeds)
    if job.head is not None:
        return frozenset()
    needed = {Job(name, job.seed) for name in stage.needs}
    if trial is not None:
        choice = Job(trial.name, job.seed, chooses=True)
        needed = {choice if need.stage == trial.name else need for need in needed}
        needed |= {choice} if stage.kind == "row" else set()
    return frozenset(need.key for need in needed)


def _unfinished(recipe: Recipe, folder: Path, seeds: Sequence[int]) -> list[Task[Job]]:
    """Tasks whose result is not there yet, or was made by another recipe."""
    return [task for task in _tasks(recipe, seeds) if not _is_finished(recipe, folder, seeds, task.payload)]


def _is_finished(recipe: Recipe, folder: Path, seeds: Sequence[int], job: Job) -> bool:
    stage = recipe.stage(job.stage)
    head = job.head or _student_head(recipe, folder, seeds)
    if job.chooses:
        return head is not None and all(_is_made(recipe, folder, stage, head, seed) for seed in seeds)
    return _is_made(recipe, folder, stage, head, job.seed, job.head)


def _is_made(
    recipe: Recipe, folder: Path, stage: Stage, head: str | None, seed: int, candidate: str | None = None
) -> bool:
    """Whether a checkpoint is there, made by what the recipe says now; a damaged record counts as none."""
    path = checkpoint.path_of(folder, stage.name, seed, candidate)
    with contextlib.suppress(BadInput):
        found = checkpoint.record_at(path).fingerprint
        whole = stage.kind == "ensemble" or checkpoint.weights_file(path).exists()
        return whole and found == fingerprint(recipe, stage.name, head, seed)
    return False


def _student_head(recipe: Recipe, folder: Path, seeds: Sequence[int]) -> str | None:
    """The head of all students: of the candidates the one with the best mean validation accuracy, the first in a tie.

    None while not all candidates are trained.
    """
    heads, trial = recipe.student.heads, recipe.trial
    if trial is None:
        return heads[0]
    if not all(_is_made(recipe, folder, trial, head, seed, head) for head in heads for seed in seeds):
        return None

    def mean_accuracy(head: str) -> float:
        paths = (checkpoint.path_of(folder, trial.name, seed, head) for seed in seeds)
        return fmean(checkpoint.record_at(path).validation_accuracy for path in paths)

    return max(heads, key=mean_accuracy)


def _choose(folder: Path, stage: Stage, head: str, seeds: Sequence[int]) -> None:
    """Make the candidates with this head the stage's own checkpoints."""
    for seed in seeds:
        source = checkpoint.path_of(folder, stage.name, seed, head)
        checkpoint.copy(source, checkpoint.path_of(folder, stage.name, seed))


def _judge(recipe: Recipe, folder: Path, stage: Stage, head: str, job: Job, report: Report) -> None:
    """An ensemble is not trained; its record says how good it is."""
    validation = data_sets.load(recipe.data).validation
    with deterministic(0):
        reached = accuracy(checkpoint.load_module(recipe, folder, stage.name, job.seed), validation)
    made_by = fingerprint(recipe, stage.name, head, job.seed)
    record = Record(stage.name, job.seed, DEFAULT_HEAD, (), (reached,), made_by)
    checkpoint.save(checkpoint.path_of(folder, stage.name, job.seed), None, record)
    report(Progress(stage.name, job.seed, None, 1, 1, 0.0, reached))


def _train(recipe: Recipe, folder: Path, stage: Stage, head: str, job: Job, report: Report) -> None:
    data = data_sets.load(recipe.data)
    own_head = head if stage.kind == "row" else DEFAULT_HEAD
    seed = stable_seed(job.seed, stage.name)
    path = checkpoint.path_of(folder, stage.name, job.seed, job.head)
    made_by = fingerprint(recipe, stage.name, head, job.seed)
    memory = Memory(checkpoint.unfinished_file(path), made_by)

    def on_epoch(epoch: int, loss: float, validation: float) -> None:
        report(Progress(stage.name, job.seed, job.head, epoch, recipe.training.epochs, loss, validation))

    with deterministic(seed):
        module = checkpoint.fresh(recipe, stage, own_head, data.shape, data.classes)
        teachers = [
            (weight, checkpoint.load_module(recipe, folder, teacher, job.seed))
            for teacher, weight in stage.teachers.items()
        ]
        if stage.start is not None:
            carry_over(checkpoint.load_module(recipe, folder, stage.start, job.seed), module, stage.start_part)
        who = f"stage {stage.name}, seed {job.seed}"
        curves = train(stage, module, data, recipe.training, teachers, seed, on_epoch, who, memory)
    record = Record(stage.name, job.seed, own_head, curves.loss, curves.validation, made_by)
    checkpoint.save(path, module, record)
    memory.forget()
