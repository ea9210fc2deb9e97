"""One job of a run: a training, the judging of an ensemble, or the choice of the head; what it made is written."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from distill import checkpoint
from distill import data as data_sets
from distill.answers import Store
from distill.checkpoint import DEFAULT_HEAD, Record
from distill.ensemble import carry_over
from distill.jobs import Job, is_finished, student_head
from distill.log import Progress
from distill.parallel import ALONE, Ranks
from distill.predict import accuracy
from distill.recipe import Recipe, Stage, Training, fingerprint
from distill.resume import Memory
from distill.train import deterministic, learning_rates, stable_seed, steps_an_epoch, train
from distill.workers import Report


class Means(msgspec.Struct, frozen=True):
    """With what a run trains: the device and the processes of `ranks`, and where teachers' answers are kept."""

    ranks: Ranks = ALONE
    store: Store | None = None


def perform(recipe: Recipe, folder: Path, seeds: Sequence[int], means: Means, job: Job, report: Report) -> None:
    """Do one job and write what it made; of processes that train together the first one writes."""
    if not is_finished(recipe, folder, seeds, job):
        stage = recipe.stage(job.stage)
        head = job.head or student_head(recipe, folder, seeds) or DEFAULT_HEAD
        if not job.chooses and stage.kind != "ensemble":
            _train(recipe, folder, stage, head, means, job, report)
        elif means.ranks.first and job.chooses:
            _choose(folder, stage, head, seeds)
        elif means.ranks.first:
            _judge(recipe, folder, stage, head, means, job, report)
    means.ranks.wait()


def _choose(folder: Path, stage: Stage, head: str, seeds: Sequence[int]) -> None:
    """Make the candidates with this head the stage's own checkpoints."""
    for seed in seeds:
        source = checkpoint.path_of(folder, stage.name, seed, head)
        checkpoint.copy(source, checkpoint.path_of(folder, stage.name, seed))


def _judge(recipe: Recipe, folder: Path, stage: Stage, head: str, means: Means, job: Job, report: Report) -> None:
    """An ensemble is not trained; its record says how good it is."""
    validation = data_sets.load(recipe.data).validation
    with deterministic(0):
        module = checkpoint.load_module(recipe, folder, stage.name, job.seed)
        reached = accuracy(module.to(means.ranks.device), validation)
    made_by = fingerprint(recipe, stage.name, head, job.seed)
    record = Record(stage.name, job.seed, DEFAULT_HEAD, (), (reached,), made_by)
    checkpoint.save(checkpoint.path_of(folder, stage.name, job.seed), None, record)
    report(Progress(stage.name, job.seed, None, 1, 1, 0.0, reached))


def _train(recipe: Recipe, folder: Path, stage: Stage, head: str, means: Means, job: Job, report: Report) -> None:
    data = data_sets.load(recipe.data)
    own_head = head if stage.kind == "row" else DEFAULT_HEAD
    seed = stable_seed(job.seed, stage.name)
    path = checkpoint.path_of(folder, stage.name, job.seed, job.head)
    made_by = fingerprint(recipe, stage.name, head, job.seed)
    memory = Memory(checkpoint.unfinished_file(path), made_by)
    with deterministic(seed):
        module = checkpoint.fresh(recipe, stage, own_head, data.shape, data.classes)
        teachers = [
            (weight, checkpoint.load_module(recipe, folder, teacher, job.seed))
            for teacher, weight in stage.teachers.items()
        ]
        if stage.start is not None:
            carry_over(checkpoint.load_module(recipe, folder, stage.start, job.seed), module, stage.start_part)
        curves = train(
            stage,
            module,
            data,
            recipe.training,
            teachers,
            seed,
            _Teller(job, recipe.training, len(data.train), report).tell,
            f"stage {stage.name}, seed {job.seed}",
            memory,
            ranks=means.ranks,
            augmentation_seed=_augmentation_seed(recipe.training, job.seed),
            store=means.store,
            fingerprints=[fingerprint(recipe, teacher, head, job.seed) for teacher in stage.teachers],
        )
    if means.ranks.first:
        record = Record(stage.name, job.seed, own_head, curves.loss, curves.validation, made_by)
        checkpoint.save(path, module, record)
        memory.forget()


def _augmentation_seed(training: Training, seed: int) -> int | None:
    """Of all stages of a chain's seed, if they are to see the same images."""
    return stable_seed(seed, "augmentation") if training.augmentation_seed == "shared" else None


class _Teller:
    """Makes a `Progress` of every epoch of a training."""

    def __init__(self, job: Job, training: Training, images: int, report: Report) -> None:
        self.job = job
        self.training = training
        self.images = images
        self.report = report
        self.steps = steps_an_epoch(training, images)
        self.rates = learning_rates(training, self.steps)
        self.since = time.monotonic()

    def tell(self, epoch: int, loss: float, validation: float) -> None:
        """An epoch, counted from 1, is over."""
        now = time.monotonic()
        job, speed = self.job, self.images / max(now - self.since, 1e-9)
        self.since = now
        rate = self.rates[epoch * self.steps - 1]
        self.report(Progress(job.stage, job.seed, job.head, epoch, self.training.epochs, loss, validation, rate, speed))
