import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from distill import log, run
from distill.data import DataSpec
from distill.log import Boards, Line, Log, Progress
from distill.networks import NetworkSpec
from distill.recipe import Recipe, Stage, StudentSpec, Training
from hw.errors import BadInput, MissingTool
from hw.files import read_arrays, to_json

ROOT = Path(__file__).parents[1]
STAGES = (Stage("teacher", "full"), Stage("ce", "row"), Stage("both", "ensemble", members={"teacher": 1.0, "ce": 1.0}))
TRAINING = Training(epochs=2, batch=32, learning_rate=0.05, schedule="steps", milestones=(0.5,))
TINY = Recipe("tiny", DataSpec(train_images=128), NetworkSpec("plain", 5), STAGES, StudentSpec(), TRAINING, seeds=1)
EPOCH = Progress("teacher", 3, None, 1, 2, 0.5, 0.25, 0.1, 1000.0)


def test_a_run_logs_every_epoch_of_every_training(tmp_path):
    told = []
    run.run(TINY, tmp_path, workers=1, on_progress=told.append)
    lines = log.read(tmp_path / "log.jsonl")
    assert [msgspec.structs.asdict(line) | {"time": ""} for line in lines] == [
        {**msgspec.structs.asdict(progress), "time": ""} for progress in told
    ]
    assert {(line.stage, line.head, line.epoch) for line in lines} == {
        *(("teacher", None, epoch) for epoch in (1, 2)),
        *(("ce", head, epoch) for head in ("rows", "global") for epoch in (1, 2)),
        ("both", None, 1),
    }
    records = {record.stage: record for record in run.outcome(tmp_path).records}
    for line in lines:
        raw = json.loads((tmp_path / "log.jsonl").read_text().split("\n")[lines.index(line)])
        assert raw["learning_rate"] == (None if line.stage == "both" else {1: 0.05, 2: 0.05 * 0.1}[line.epoch])
        assert line.stage == "both" or 0 < line.images_per_second < 1e7
        if line.head is None and line.stage != "both":
            assert line.loss == records[line.stage].loss[line.epoch - 1]
            assert line.validation_accuracy == records[line.stage].validation[line.epoch - 1]
    assert len({line.time for line in lines}) > 1
    assert sorted(line.time for line in lines) == [line.time for line in lines]


@pytest.mark.parametrize("torn", [b'{"time":"2026', b"{", b"\xff"])
def test_a_torn_last_line_goes_and_the_whole_ones_stay(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    Log(path).add(EPOCH)
    with path.open("ab") as file:
        file.write(torn)
    assert [line.stage for line in log.read(path)] == ["teacher"]
    Log(path).add(msgspec.structs.replace(EPOCH, epoch=2))
    assert [line.epoch for line in log.read(path)] == [1, 2]
    assert all(json.loads(line) for line in path.read_text().splitlines())
    assert log.read(path)[0] == Line(**msgspec.structs.asdict(EPOCH), time=log.read(path)[0].time)


def test_a_file_that_is_no_log_is_told(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(BadInput) as error:
        log.read(path)
    assert str(error.value).startswith(f"{path}: not a log of trainings (Object missing required field")


def test_a_log_on_a_full_disk_is_told():
    full = Log.__new__(Log)
    full.path = Path("/dev/full")
    with pytest.raises(BadInput) as error:
        full.add(EPOCH)
    assert str(error.value) == f"/dev/full: cannot be written ({os.strerror(errno.ENOSPC)})"


def test_tensorboard_reads_back_what_was_told(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = []
    run.run(TINY, tmp_path, workers=1, on_progress=told.append, tensorboard=True)
    folders = {path.name for path in (tmp_path / "tensorboard").iterdir()}
    assert folders == {"teacher-0", "ce-rows-0", "ce-global-0", "both-0"}
    events = EventAccumulator(str(tmp_path / "tensorboard" / "teacher-0"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "validation_accuracy", "learning_rate", "images_per_second"}
    wanted = [progress for progress in told if progress.stage == "teacher"]
    for what in ("loss", "validation_accuracy", "learning_rate", "images_per_second"):
        found = [(event.step, event.value) for event in events.Scalars(what)]
        assert [step for step, _ in found] == [1, 2]
        assert [value for _, value in found] == pytest.approx([getattr(progress, what) for progress in wanted])


def test_without_the_package_tensorboard_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingTool) as error:
        run.run(TINY, tmp_path / "run", workers=1, tensorboard=True)
    assert str(error.value) == (
        "a log for TensorBoard needs the package tensorboard, which is not installed: "
        "pip install 'pacemaker-codesign[tensorboard]'"
    )
    assert not (tmp_path / "run" / "weights").exists()


def test_boards_end_what_they_began(tmp_path):
    pytest.importorskip("tensorboard")
    boards = Boards(tmp_path)
    boards.add(EPOCH)
    boards.close()
    assert [path.name for path in tmp_path.iterdir()] == ["teacher-3"]


LIMITED = """
import resource, sys
from pathlib import Path
import msgspec
from distill import run
from distill.recipe import Recipe
from hw.errors import PacemakerError

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    run.run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Recipe), Path(sys.argv[2]), workers=1)
except PacemakerError as error:
    sys.stderr.write(str(error))
    sys.exit(2)
"""


def weights(folder):
    return {path.name: read_arrays(path) for path in sorted((folder / "weights").rglob("*.safetensors"))}


def test_a_file_that_cannot_be_written_whole_ends_in_a_sentence_and_harms_nothing(tmp_path):
    """The kernel refuses to let a file grow beyond some size, halfway through a write, as a full disk does."""
    run.run(TINY, tmp_path / "undisturbed", workers=1)
    folder, recipe = tmp_path / "run", tmp_path / "recipe.json"
    recipe.write_text(to_json(TINY))
    run.run(msgspec.structs.replace(TINY, stages=STAGES[:1], student=StudentSpec(heads=("rows",))), folder, workers=1)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.parent.name == "weights"}
    command = [sys.executable, "-c", LIMITED, str(recipe), str(folder), "6000"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    place = folder / "weights" / "heads" / "ce-rows-0.unfinished"
    assert done.stderr == f"{place}: cannot be written ({os.strerror(errno.EFBIG)})"
    assert len(before) == 2
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not [path for path in folder.rglob(".*") if path.is_file()]
    run.run(TINY, folder, workers=1)
    found, wanted = weights(folder), weights(tmp_path / "undisturbed")
    assert found.keys() == wanted.keys()
    for name, arrays in wanted.items():
        assert all((found[name][key] == array).all() for key, array in arrays.items())


def test_a_disk_that_is_full_when_a_trained_stage_is_written_leaves_the_older_one(tmp_path, monkeypatch):
    one = msgspec.structs.replace(TINY, stages=STAGES[:1])
    run.run(one, tmp_path, workers=1)
    before = {path: path.read_bytes() for path in (tmp_path / "weights").iterdir()}
    written = Path.write_bytes

    def full(path, content):
        if ".safetensors" in path.name:
            written(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    softer = msgspec.structs.replace(one, training=msgspec.structs.replace(TRAINING, learning_rate=0.01))
    with pytest.raises(BadInput, match=r"teacher-0.safetensors\S*: cannot be written \(No space left on device\)$"):
        run.run(softer, tmp_path, workers=1)
    left = {path: path.read_bytes() for path in (tmp_path / "weights").iterdir() if path.suffix != ".unfinished"}
    assert left == before
