"""Trained stages of earlier runs taken over: the same fingerprint is the same weights, so nothing is trained twice."""

from collections.abc import Iterable
from pathlib import Path

from distill import checkpoint
from distill.recipe import Recipe, Stage, fingerprint
from hw.errors import BadInput


def adopt(recipe: Recipe, folder: Path, earlier: Iterable[Path], seed: int = 0) -> list[str]:
    """Copy into `folder` what `run` would train for this recipe and a run among `earlier` has trained already.

    A recipe that chooses among several heads takes over only what does not depend on that choice.

    Returns:
        Stage and seed of each copied checkpoint, "teacher-0".
    """
    others = [other for other in earlier if (other / "weights").is_dir() and other.resolve() != folder.resolve()]
    taken = []
    for stage in recipe.stages:
        head = _head(recipe, stage)
        if stage.kind == "ensemble" or head is None:
            continue
        for number in range(seed, seed + recipe.seeds):
            wanted = fingerprint(recipe, stage.name, head, number)
            if not _has(folder, stage, number, wanted) and _take(others, folder, stage, number, wanted):
                taken.append(f"{stage.name}-{number}")
    return taken


def _head(recipe: Recipe, stage: Stage) -> str | None:
    """The head of the students that the stage depends on; None while it is still to be chosen."""
    if len(recipe.student.heads) == 1:
        return recipe.student.heads[0]
    depends = _depends_on_students(recipe, stage)
    return None if depends else checkpoint.DEFAULT_HEAD


def _depends_on_students(recipe: Recipe, stage: Stage) -> bool:
    return stage.kind == "row" or any(_depends_on_students(recipe, recipe.stage(name)) for name in stage.needs)


def _take(others: Iterable[Path], folder: Path, stage: Stage, seed: int, wanted: str) -> bool:
    for other in others:
        if _has(other, stage, seed, wanted):
            source = checkpoint.path_of(other, stage.name, seed)
            checkpoint.copy(source, checkpoint.path_of(folder, stage.name, seed))
            return True
    return False


def _has(folder: Path, stage: Stage, seed: int, wanted: str) -> bool:
    try:
        return checkpoint.record_of(folder, stage.name, seed).fingerprint == wanted
    except BadInput:
        return False
