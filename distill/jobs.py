"""What a recipe asks for, as jobs that need each other, and which of them a folder has done already."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import msgspec

from distill import checkpoint
from distill.recipe import Recipe, Stage, fingerprint
from distill.workers import Task
from hw.errors import BadInput


class Job(msgspec.Struct, frozen=True):
    """One training; `head` is set for a candidate head, `chooses` marks the choice among these for all seeds."""

    stage: str
    seed: int
    head: str | None = None
    chooses: bool = False

    @property
    def key(self) -> str:
        """Unique among the jobs of a run; a slash is in no stage's name."""
        if self.chooses:
            return f"{self.stage}/choice"
        return f"{self.stage}/{self.seed}" if self.head is None else f"{self.stage}/{self.head}/{self.seed}"


def tasks(recipe: Recipe, seeds: Sequence[int]) -> list[Task[Job]]:
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


def unfinished(recipe: Recipe, folder: Path, seeds: Sequence[int]) -> list[Task[Job]]:
    """Tasks whose result is not there yet, or was made by another recipe."""
    return [task for task in tasks(recipe, seeds) if not is_finished(recipe, folder, seeds, task.payload)]


def is_finished(recipe: Recipe, folder: Path, seeds: Sequence[int], job: Job) -> bool:
    """Whether a folder has what the job is to make, made by what the recipe says now."""
    stage = recipe.stage(job.stage)
    head = job.head or student_head(recipe, folder, seeds)
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


def student_head(recipe: Recipe, folder: Path, seeds: Sequence[int]) -> str | None:
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
