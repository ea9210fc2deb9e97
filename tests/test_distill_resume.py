"""A run that is killed at any step and started again ends in the weights of an undisturbed one, bit for bit."""

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from torch import nn
from torch.amp import GradScaler
from torch.optim import SGD

from distill import log, run
from distill.recipe import Recipe, load
from distill.resume import Curves, Memory
from hw.errors import BadInput
from hw.files import read_arrays, to_json, write_arrays

KILLED_AT = """
import os, signal, sys
from pathlib import Path
import msgspec
from distill import run, train
from distill.recipe import Recipe

augment, left = train.augment, [int(sys.argv[3])]

def counted(*arguments):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return augment(*arguments)

train.augment = counted
recipe = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Recipe)
run.run(recipe, Path(sys.argv[2]), workers=1)
"""


def tiny(precision: str = "float32") -> Recipe:
    """Two stages of three epochs of few steps, with everything that a training could forget."""
    recipe = load("digits")
    training = msgspec.structs.replace(recipe.training, epochs=3, batch=256, shift=1, precision=precision)
    stages = [stage for stage in recipe.stages if stage.name in ("teacher", "kd")]
    student = msgspec.structs.replace(recipe.student, heads=("global",))
    return msgspec.structs.replace(recipe, training=training, stages=tuple(stages), student=student, seeds=1)


def weights(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    return {path.name: read_arrays(path) for path in sorted((folder / "weights").glob("*.safetensors"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run.run(tiny(), folder, workers=1)
    return folder


@pytest.mark.parametrize("steps", [[2], [6, 5], pytest.param([14, 1, 3], marks=pytest.mark.slow)], ids=str)
def test_killed_and_started_again_the_weights_are_the_same_bits(
    steps: list[int], undisturbed: Path, tmp_path: Path
) -> None:
    killed_and_started_again(tiny(), steps, undisturbed, tmp_path)
    assert [line.epoch for line in log.read(tmp_path / "run" / "log.jsonl")][-3:] == [1, 2, 3]


@pytest.mark.slow
def test_so_they_are_in_bfloat16(undisturbed: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    run.run(tiny("bfloat16"), half, workers=1)
    killed_and_started_again(tiny("bfloat16"), [14], half, tmp_path)
    assert (
        weights(half)["kd-0.safetensors"]["stem.weight"] != weights(undisturbed)["kd-0.safetensors"]["stem.weight"]
    ).any()


def killed_and_started_again(wanted_of: Recipe, steps: list[int], undisturbed: Path, tmp_path: Path) -> None:
    recipe, folder = tmp_path / "recipe.json", tmp_path / "run"
    recipe.write_text(to_json(wanted_of))
    for step in steps:
        command = [sys.executable, "-c", KILLED_AT, str(recipe), str(folder), str(step)]
        assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    told: list[tuple[str, int]] = []
    run.run(wanted_of, folder, workers=1, on_progress=lambda progress: told.append((progress.stage, progress.epoch)))
    assert len(told) < 6 or steps == [2]
    found, wanted = weights(folder), weights(undisturbed)
    assert found.keys() == wanted.keys()
    for name, arrays in wanted.items():
        assert all((found[name][key] == array).all() for key, array in arrays.items()), name
    assert not list((folder / "weights").glob("*.unfinished"))
    for path in (undisturbed / "weights").glob("*.json"):
        assert (folder / "weights" / path.name).read_text() == path.read_text()


def test_a_state_of_another_recipe_or_a_damaged_one_is_not_gone_on_from(undisturbed: Path, tmp_path: Path) -> None:
    for content in (b"", b"\xff" * 100):
        folder = tmp_path / str(len(content))
        (folder / "weights").mkdir(parents=True)
        (folder / "weights" / "teacher-0.unfinished").write_bytes(content)
        run.run(tiny(), folder, workers=1)
        for name, arrays in weights(undisturbed).items():
            assert all((weights(folder)[name][key] == array).all() for key, array in arrays.items())


def test_the_state_of_another_network_is_told(tmp_path: Path) -> None:
    """A factory is known by its name alone: its code may have changed since the training was stopped."""
    memory = Memory(tmp_path / "kd-0.unfinished", "0123456789abcdef")

    def kept(channels: int) -> tuple[nn.Module, SGD, GradScaler]:
        module = nn.Conv2d(1, channels, 3)
        return module, SGD(module.parameters(), lr=0.1), GradScaler(enabled=False)

    memory.save(*kept(4), Curves((1.0,), (0.5,)))
    assert memory.restore(*kept(4)) == Curves((1.0,), (0.5,))
    with pytest.raises(BadInput) as caught:
        memory.restore(*kept(5))
    assert str(caught.value) == (
        f"{memory.path}: the state of another network was found, as when a factory's code has changed since; remove it "
        "to begin again"
    )


def test_a_state_with_something_missing_is_told(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "kd-0.unfinished", "0123456789abcdef")
    module = nn.Conv2d(1, 4, 3)
    given = (module, SGD(module.parameters(), lr=0.1), GradScaler(enabled=False))
    memory.save(*given, Curves((1.0,), (0.5,)))
    arrays = read_arrays(memory.path)
    write_arrays(memory.path, {name: array for name, array in arrays.items() if name != "generator"})
    with pytest.raises(BadInput) as caught:
        memory.restore(*given)
    assert str(caught.value) == (
        f"{memory.path}: the state is not whole ('generator'); remove it to begin this training again"
    )
