"""What an earlier run has trained is taken over where it is the same, and only there."""

from pathlib import Path

import msgspec
import pytest

from distill import run
from distill.adopt import adopt
from distill.data import DataSpec
from distill.networks import NetworkSpec
from distill.recipe import Recipe, Stage, StudentSpec, Training

EARLIER = Recipe(
    "earlier",
    DataSpec("digits", train_images=60),
    NetworkSpec("plain", 5),
    (Stage("teacher", "full"), Stage("ce", "row"), Stage("kd", "row", {"teacher": 1.0})),
    StudentSpec(heads=("global",)),
    Training(epochs=1, batch=30),
    seeds=2,
)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "earlier"
    run.run(EARLIER, folder, workers=1)
    return folder


def test_the_same_stages_are_taken_and_nothing_else(earlier: Path, tmp_path: Path) -> None:
    hotter = Stage("kd", "row", {"teacher": 1.0}, temperature=9.0)
    later = msgspec.structs.replace(EARLIER, name="later", stages=(*EARLIER.stages[:2], hotter), seeds=3)
    assert adopt(later, tmp_path, [tmp_path, earlier, earlier / "nowhere"]) == [
        "teacher-0",
        "teacher-1",
        "ce-0",
        "ce-1",
    ]
    assert adopt(later, tmp_path, [earlier]) == []
    trained: list[str] = []
    run.run(later, tmp_path, workers=1, on_progress=lambda done: trained.append(f"{done.stage}-{done.seed}"))
    assert trained == ["teacher-2", "ce-2", "kd-0", "kd-1", "kd-2"]
    for name in ("teacher-0", "ce-1"):
        files = [folder / "weights" / f"{name}.safetensors" for folder in (earlier, tmp_path)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_head_still_to_be_chosen_leaves_the_students_to_train(earlier: Path, tmp_path: Path) -> None:
    two = msgspec.structs.replace(EARLIER, student=StudentSpec(heads=("global", "rows")))
    assert adopt(two, tmp_path, [earlier]) == ["teacher-0", "teacher-1"]
