"""A recipe as tasks: every stage of every seed, several side by side, resumed where an earlier run stopped.

The chain of seed s is the same whether it runs alone or beside others: seeds s, s+1, ... of one run are the runs of
one seed each.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import msgspec

from distill import checkpoint, jobs, methods, precision
from distill import data as data_sets
from distill.answers import DEFAULT_BYTES, Store
from distill.checkpoint import DEFAULT_HEAD, Distillation, Record
from distill.log import Boards, Log
from distill.log import Progress as Progress
from distill.parallel import check_batches, joined
from distill.perform import Means, perform
from distill.predict import accuracy
from distill.recipe import Recipe
from distill.train import deterministic
from distill.workers import Report, execute
from hw.errors import BadInput, Interrupted
from hw.files import alone, read_json, write_json

OnProgress = Callable[[Progress], None]
TWICE = "another process trains here; wait until it is over, or name another folder"


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
    recipe: Recipe,
    folder: Path,
    seed: int = 0,
    workers: int = 2,
    on_progress: OnProgress = lambda progress: None,
    *,
    device: str = "cpu",
    tensorboard: bool = False,
    answers: Path | None = None,
    answers_bytes: int = DEFAULT_BYTES,
) -> Outcome:
    """Train every stage for the seeds `seed`, `seed` + 1, ...; what `folder` has already is kept.

    Under torchrun all processes call it alike and train each stage together, one stage after another; the first one
    writes and tells. The epochs are logged in `<folder>/log.jsonl`.

    Args:
        recipe: what to do.
        folder: where weights and records go; made if it is not there.
        seed: of the first chain.
        workers: processes side by side; 1 works in this process.
        on_progress: told after every epoch of every training.
        device: cpu, cuda, cuda:0, ..., or auto (`devices.chosen`).
        tensorboard: log the epochs in `<folder>/tensorboard` too.
        answers: where teachers' answers are kept; None is `<folder>/.answers`, which goes when all is done.
        answers_bytes: at most so many of them; 0 keeps none.

    Raises:
        BadInput: a network that cannot be built, data or weights that cannot be read, a folder that cannot be
            written or that another process trains in, a full disk, a device that is not there, an infinite loss.
        MissingTool: the package tensorboard, or a C++ compiler for `training.compile`.
        Interrupted: stopped by Ctrl-C; finished epochs are kept.
    """
    if workers < 1:
        raise BadInput(f"workers is {workers}, wanted is 1 or more")
    if answers_bytes < 0:
        raise BadInput(f"answers_bytes is {answers_bytes}, wanted is 0 or more")
    store = Store(answers or folder / ".answers", answers_bytes) if answers_bytes else None
    seeds = Distillation(recipe, seed).seeds
    ranks = joined(device)
    precision.check(recipe.training.precision, recipe.training.compile, ranks.device)
    todo = jobs.unfinished(recipe, folder, seeds)
    if todo:
        checkpoint.check_networks(recipe)
        data = data_sets.load(recipe.data)
        methods.check_losses(recipe.stages, data.classes)
        check_batches(len(data.train), recipe.training.batch, ranks)
    ranks.wait()
    do = partial(perform, recipe, folder, tuple(seeds), Means(ranks, store))
    try:
        if ranks.first:
            with alone(folder, TWICE), _reporter(folder, tensorboard, on_progress) as report:
                checkpoint.write_run(folder, recipe, seed)
                execute(todo, do, workers if ranks.alone else 1, report)
        else:
            execute(todo, do, 1, lambda event: None)
    except KeyboardInterrupt:
        raise Interrupted(f"{folder}: stopped; finished epochs are kept, and the same command goes on") from None
    if answers is None and ranks.first:
        shutil.rmtree(folder / ".answers", ignore_errors=True)
    return outcome(folder)


@contextlib.contextmanager
def _reporter(folder: Path, tensorboard: bool, on_progress: OnProgress) -> Iterator[Report]:
    """Takes what jobs tell to the log, to TensorBoard if asked for, and to the caller."""
    log = Log(folder / "log.jsonl")
    boards = Boards(folder / "tensorboard") if tensorboard else None

    def report(event: object) -> None:
        if isinstance(event, Progress):
            log.add(event)
            if boards is not None:
                boards.add(event)
            on_progress(event)

    try:
        yield report
    finally:
        if boards is not None:
            boards.close()


def outcome(folder: Path) -> Outcome:
    """The records of a finished run.

    Raises:
        BadInput: the folder is not a run, or a stage is missing.
    """
    done = checkpoint.read_run(folder)
    records = [checkpoint.record_of(folder, stage.name, seed) for stage in done.recipe.stages for seed in done.seeds]
    students = [record.head for record in records if done.recipe.stage(record.stage).kind == "row"]
    return Outcome(folder, students[0] if students else DEFAULT_HEAD, tuple(records))


def expected_epochs(recipe: Recipe) -> int:
    """How many `Progress` events a whole run gives."""
    tasks = jobs.tasks(recipe, range(recipe.seeds))
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
