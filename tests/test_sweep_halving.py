"""Successive halving: the best go on, and a stopped one ends as an undisturbed one does."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest

from distill.data import DataSpec
from distill.networks import NetworkSpec
from distill.recipe import Quantisation, Recipe, Stage, Training
from reports.candidate import Curve
from reports.sweep import halving, pool
from reports.sweep.designs import Design
from reports.sweep.halving import Trainer
from reports.sweep.space import Halving
from reports.sweep.trainings import Outcome

ROOT = Path(__file__).parents[1]
BASE = Recipe(
    "base",
    DataSpec("digits", train_images=120),
    NetworkSpec("plain", 5),
    (Stage("ce", "row"),),
    training=Training(batch=30),
    quantisation=Quantisation(epochs=1),
)
RUNGS = Halving((1, 2), (1, 2))
STUDENT = Design(family="plain", depth=5, bits=4)
SMALL = (
    msgspec.structs.replace(STUDENT, pacemaker="none", rows="keep").plain,
    msgspec.structs.replace(STUDENT, pacemaker="none", rows="skip").plain,
    msgspec.structs.replace(STUDENT, pacemaker="teacher", rows="keep").plain,
    msgspec.structs.replace(STUDENT, pacemaker="teacher", rows="skip").plain,
    msgspec.structs.replace(STUDENT, filters="full").plain,
)


def fake(accuracies: Mapping[Design, float], asked: list[tuple[list[Design], int, int]]) -> Trainer:
    """A trainer whose networks reach what is said; one with NaN cannot be trained."""

    def trained(designs: Sequence[Design], epochs: int, seeds: int) -> list[Outcome]:
        asked.append((list(designs), epochs, seeds))
        return [
            Outcome(each, reason="not this one")
            if math.isnan(accuracies[each])
            else Outcome(each, tuple(Curve(seed, (0.0,), (accuracies[each],)) for seed in range(seeds)))
            for each in designs
        ]

    return trained


def test_the_best_go_on_rung_by_rung() -> None:
    designs = [Design(n=n) for n in range(1, 8)]
    accuracies = dict(zip(designs, [0.2, 0.7, math.nan, 0.5, 0.6, 0.4, 0.3], strict=True))
    asked: list[tuple[list[Design], int, int]] = []
    found = halving.halve(designs, Halving((1, 2, 9), (1, 2, 3), keep=0.5), fake(accuracies, asked))
    assert asked == [
        (designs, 1, 1),
        ([designs[1], designs[4], designs[3]], 2, 2),
    ]
    assert found.left == (designs[1], designs[4])
    assert found.failed == {designs[2]: "not this one"}
    assert found.dropped == {
        designs[0]: "halving: accuracy 0.2000 after 1 epoch of 1 seed was not among the best 3 of 6",
        designs[3]: "halving: accuracy 0.5000 after 2 epochs of 2 seeds was not among the best 2 of 3",
        designs[5]: "halving: accuracy 0.4000 after 1 epoch of 1 seed was not among the best 3 of 6",
        designs[6]: "halving: accuracy 0.3000 after 1 epoch of 1 seed was not among the best 3 of 6",
    }


def test_one_rung_is_no_halving() -> None:
    designs = [Design(n=1), Design(n=3)]
    assert halving.halve(designs, Halving((4,), (2,)), fake({}, [])) == (tuple(designs), {}, {})


@pytest.mark.parametrize(
    ("count", "keep", "kept"), [(1, 0.01, 1), (30, 0.1, 3), (3, 0.5, 2), (10, 0.7, 7), (0, 0.5, 0), (100, 0.29, 29)]
)
def test_a_share_is_rounded_up(count: int, keep: float, kept: int) -> None:
    assert halving.count_kept(count, keep) == kept


def test_names_decide_a_tie_whatever_the_order() -> None:
    designs = [Design(width=width, n=n) for width in (1, 2, 10) for n in (1, 3)]
    best = sorted(designs, key=lambda each: each.name)[:3]
    for seed in range(20):
        shuffled = Random(seed).sample(designs, len(designs))
        found = halving.halve(shuffled, Halving((1, 2), (1, 1)), fake(dict.fromkeys(designs, 0.5), []))
        assert set(found.left) == set(best)
        assert list(found.left) == [each for each in shuffled if each in best]


def test_bits_are_one_training_and_teachers_go_with_their_students() -> None:
    students = [Design(width=width, bits=bits) for width in (1, 2) for bits in (8, 4)]
    teachers = [msgspec.structs.replace(each, filters="full").plain for each in students]
    accuracies = {students[0]: 0.3, students[2]: 0.9}
    asked: list[tuple[list[Design], int, int]] = []
    found = halving.halve([*students, *teachers], RUNGS, fake(accuracies, asked))
    assert asked == [([students[0], students[2]], 1, 1)]
    assert found.left == (*students[2:], *teachers[2:])
    lost = "halving: accuracy 0.3000 after 1 epoch of 1 seed was not among the best 1 of 2"
    alone = "halving: no student of this network is left"
    assert found.dropped == {students[0]: lost, students[1]: lost, teachers[0]: alone, teachers[1]: alone}


def test_networks_without_students_compete() -> None:
    designs = [Design(width=width, filters="full").plain for width in (1, 2)]
    found = halving.halve(designs, RUNGS, fake({designs[0]: 0.1, designs[1]: 0.2}, []))
    assert found.left == (designs[1],)


def test_where_all_fail_nobody_is_left() -> None:
    designs = [Design(n=1), Design(n=3), Design(filters="full").plain]
    found = halving.halve(designs, RUNGS, fake(dict.fromkeys(designs, math.nan), []))
    assert found.left == ()
    assert found.failed == dict.fromkeys(designs[:2], "not this one")
    assert found.dropped == {designs[2]: "halving: no student of this network is left"}


@pytest.mark.parametrize("seed", range(5))
def test_whoever_is_left_was_never_beaten_by_one_that_is_not(seed: int) -> None:
    random = Random(seed)
    designs = [Design(n=n, width=width) for n in range(1, 10) for width in (1, 2)]
    accuracies = {each: random.choice([0.1, 0.2, 0.3]) for each in designs}
    keep = random.uniform(0.2, 0.8)
    found = halving.halve(designs, Halving((1, 1, 1), (1, 1, 1), keep), fake(accuracies, []))
    left = {each.name for each in found.left}
    order = sorted(designs, key=lambda each: (-accuracies[each], each.name))
    assert left == {each.name for each in order[: len(left)]}
    assert len(left) == math.ceil(math.ceil(len(designs) * keep) * keep)
    assert len(left) + len(found.dropped) == len(designs)


def rows(made_and_halved: object) -> list[str]:
    made, halved = made_and_halved  # type: ignore[misc]
    return [
        *(repr((each.name, subject.key, subject.columns)) for each, subject in made.subjects.items()),
        *(repr((each.name, reason)) for each, reason in halved.dropped.items()),
    ]


def main(folder: str, workers: int) -> None:
    """A halving as a process of its own, to be killed."""
    for row in rows(halving.make(SMALL, BASE, Path(folder), RUNGS, workers=workers, on_progress=_tell)):
        print(row)


def _tell(event: pool.Event) -> None:
    print("event", type(event).__name__, flush=True)


def start(folder: Path, workers: int) -> "subprocess.Popen[str]":
    program = f"import test_sweep_halving as t\nif __name__ == '__main__': t.main({str(folder)!r}, {workers})"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_rows(tmp_path: Path) -> None:
    undisturbed = rows(halving.make(SMALL, BASE, tmp_path / "once", RUNGS, workers=1))
    assert len(undisturbed) == 5
    random = Random(0)
    for workers in (2, 1, 2):
        process = start(tmp_path / "killed", workers)
        assert process.stdout is not None
        for _ in range(random.randint(1, 4)):
            assert process.stdout.readline().startswith("event")
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.communicate()
    process = start(tmp_path / "killed", 2)
    told = process.communicate()[0].splitlines()
    assert [line for line in told if not line.startswith("event")] == undisturbed
    paths = [
        sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        for folder in (tmp_path / "once", tmp_path / "killed")
    ]
    assert paths[0] == paths[1]


def test_trainings_are_halved_and_told_before(tmp_path: Path) -> None:
    before = halving.plan(SMALL, BASE, tmp_path, RUNGS)
    # Teacher, and two students alone and two taught; then 2 of these with 2 seeds, quantised, and their teacher.
    assert [(each.trainings, each.quantisations) for each in before] == [(5, 0), (6, 6)]
    events: list[pool.Event] = []
    made, halved = halving.make(SMALL, BASE, tmp_path, RUNGS, workers=1, on_progress=events.append)
    first = [each for each in events if isinstance(each, pool.Done)][:5]
    assert [each.stage for each in first] == ["ce", "ce", "teacher", "kd", "kd"]
    assert len(made.subjects) == 3
    assert list(made.subjects) == list(halved.left)
    assert SMALL[-1] in made.subjects
    assert len(halved.dropped) == 2
    assert all(len(made.curves[each.key]) == 2 for each in made.subjects.values())
    assert all(len(curve.loss) == 2 for curves in made.curves.values() for curve in curves)
    again = halving.make(SMALL, BASE, tmp_path, RUNGS, workers=1)
    assert rows(again) == rows((made, halved))
    assert halving.plan(SMALL, BASE, tmp_path, RUNGS)[0].trainings == 0
