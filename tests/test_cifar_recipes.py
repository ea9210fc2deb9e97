"""The recipes that want a GPU: what they say, what they cost, and that they start, stop and go on, on a few images."""

import re
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cifar_files import encoded, images, write_archive, write_folder
from PIL import Image

import pacemaker
from distill import checkpoint, filters, networks, run
from distill import recipe as recipes
from distill.networks import NetworkSpec
from distill.recipe import Recipe, Training
from distill.train import learning_rates
from hw.files import read_arrays, to_json, write_yaml
from hw.network import Network, Shape
from hw.presets import preset
from hw.trace import trace

NAMES = ("cifar-100-wrn-40-4", "cifar-100-wrn-40-4-crd")
KILLED_AFTER = """
import os, signal, sys
from pathlib import Path
import msgspec
from distill import checkpoint, run
from distill.recipe import Recipe

save = checkpoint.save

def save_and_die(path, module, record):
    save(path, module, record)
    if record.stage == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.save = save_and_die
recipe = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Recipe)
run.run(recipe, Path(sys.argv[2]), workers=1)
"""


def small(name: str, place: Path) -> Recipe:
    """The recipe on the images of `place`: one epoch, one seed, WRN-10-1."""
    recipe = recipes.load(name)
    return msgspec.structs.replace(
        recipe,
        data=msgspec.structs.replace(recipe.data, folder=str(place), validation=0.25),
        network=msgspec.structs.replace(recipe.network, depth=10, width=1),
        training=msgspec.structs.replace(recipe.training, epochs=1, batch=32),
        quantisation=msgspec.structs.replace(recipe.quantisation, epochs=0),
        seeds=1,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive of CIFAR-100's form: 4 images of each of 20 classes to train on, 10 to test on."""
    folder = tmp_path_factory.mktemp("files")
    pixels, labels = images(80, 0), [i % 20 for i in range(80)]
    (folder / "train.bin").write_bytes(encoded("cifar-100", pixels, labels))
    (folder / "test.bin").write_bytes(encoded("cifar-100", images(10, 1), list(range(10))))
    return write_archive("cifar-100", folder, tmp_path_factory.mktemp("archive") / "small.tar.gz")


@pytest.mark.parametrize("name", NAMES)
def test_the_network_is_wrn_40_4_on_cifar_100(name: str) -> None:
    recipe = recipes.load(name)
    assert (recipe.name, recipe.data.name, recipe.data.folder) == (name, "cifar-100", None)
    assert (recipe.network.family, recipe.network.depth, recipe.network.width) == ("wrn", 40, 4)
    assert (recipe.training.shift, recipe.training.flip, recipe.training.nesterov) == (4, True, False)
    assert {stage.temperature for stage in recipe.stages} == {4.0}
    assert {stage.alpha for stage in recipe.stages if stage.teachers} == {0.9}


def rates_of(name: str) -> list[float]:
    """The learning rate of every epoch."""
    return learning_rates(recipes.load(name).training, 1)


def test_the_schedule_of_crd_falls_at_150_180_and_210() -> None:
    wanted = [0.05] * 150 + [0.005] * 30 + [0.0005] * 30 + [0.00005] * 30
    assert rates_of("cifar-100-wrn-40-4-crd") == pytest.approx(wanted)
    training = recipes.load("cifar-100-wrn-40-4-crd").training
    assert (training.batch, training.weight_decay, training.momentum) == (64, 5e-4, 0.9)


def test_the_schedule_of_the_claim_falls_at_60_120_and_160() -> None:
    rates = rates_of("cifar-100-wrn-40-4")
    falls = [epoch for epoch in range(1, 200) if rates[epoch] < 0.99 * rates[epoch - 1]]
    assert (len(rates), rates[0], falls) == (200, 0.1, [60, 120, 160])
    training = recipes.load("cifar-100-wrn-40-4").training
    if "factor" in Training.__struct_fields__:
        assert rates[60] == pytest.approx(0.02)
    assert (training.batch, training.weight_decay, training.momentum) == (128, 5e-4, 0.9)


def network_of(kind: str) -> Network:
    module = networks.wrn(40, 4, 100)
    if kind != "full":
        module = filters.convert(module, filters.plan_of(module, kind))
    return trace(module, Shape(32, 32, 3), kind).network


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_in_the_comment_is_that_of_the_networks(name: str) -> None:
    text = (resources.files("distill.recipes") / f"{name}.yaml").read_text()
    full, split, row = (network_of(kind) for kind in ("full", "split", "row"))
    assert row.macs == preset("wrn-40-4-1x3").macs
    for network in (full, split, row):
        assert f"{network.parameters:,}" in text
        assert f"{network.macs:,}" in text
    taught = {"teacher": 0, "split": full.macs, "ce": 0, "ce-2": 0, "ce-3": 0, "kd": full.macs}
    taught |= {"joint": full.macs + split.macs, "logits-student": full.macs + 3 * row.macs}
    own = {"teacher": full.macs, "split": split.macs}
    images_seen = recipes.load(name).training.epochs * 49_000
    hours = {stage: (3 * own.get(stage, row.macs) + taught[stage]) * images_seen / 1e13 / 3600 for stage in taught}
    told = re.search(r"eight trainings take (\S+) GPU hours, the\n#   teacher (\S+) of them; three seeds (\S+)\.", text)
    assert told is not None
    total = sum(hours.values())
    assert told.groups() == (f"{total:.1f}", f"{hours['teacher']:.1f}", f"{3 * total:.1f}")


def test_the_whole_network_takes_the_images(place: Path) -> None:
    recipe = small(NAMES[0], place)
    checkpoint.check_networks(msgspec.structs.replace(recipe, network=recipes.load(NAMES[0]).network))


@pytest.mark.parametrize(("name", "stage"), [(NAMES[0], "split"), (NAMES[1], "joint")])
def test_a_dry_run_that_is_killed_between_stages_goes_on_to_the_same_bits(
    name: str, stage: str, place: Path, tmp_path: Path
) -> None:
    recipe, folder = small(name, place), tmp_path / "killed"
    (tmp_path / "recipe.json").write_text(to_json(recipe))
    command = [sys.executable, "-c", KILLED_AFTER, str(tmp_path / "recipe.json"), str(folder), stage]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    told: list[str] = []
    run.run(recipe, folder, workers=1, on_progress=lambda progress: told.append(progress.stage))
    names = [stage.name for stage in recipe.stages]
    assert told == names[names.index(stage) + 1 :]
    outcome = run.run(recipe, tmp_path / "whole", workers=1)
    assert [record.stage for record in outcome.records] == names
    for path in (tmp_path / "whole" / "weights").glob("*.safetensors"):
        wanted, found = read_arrays(path), read_arrays(folder / "weights" / path.name)
        assert wanted.keys() == found.keys()
        assert all(np.array_equal(wanted[key], found[key]) for key in wanted), path.name


def test_a_vgg_is_distilled_as_any_other_network(place: Path, tmp_path: Path) -> None:
    recipe = small(NAMES[0], place)
    stages = tuple(stage for stage in recipe.stages if stage.name in ("teacher", "kd"))
    recipe = msgspec.structs.replace(recipe, network=NetworkSpec("vgg", 8), stages=stages)
    outcome = run.run(recipe, tmp_path, workers=1)
    assert [record.stage for record in outcome.records] == ["teacher", "kd"]


def inside(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """A command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["pacemaker", *words])
    with pytest.raises(SystemExit) as ended:
        pacemaker.main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def cut(folder: Path) -> str:
    path = folder / "train.bin"
    path.write_bytes(path.read_bytes()[:-1])
    return f"{path}: 61479 bytes, wanted is a multiple of 3074"


def odd_label(folder: Path) -> str:
    (folder / "test.bin").write_bytes(encoded("cifar-100", images(1, 0), [255]))
    return f"{folder / 'test.bin'}: the label 255 of record 1 is out of range"


def no_file(folder: Path) -> str:
    (folder / "train.bin").unlink()
    return f"{folder / 'train.bin'}: no such file"


@pytest.mark.parametrize("spoil", [cut, odd_label, no_file])
def test_wrong_files_end_in_one_sentence_and_exit_code_2(
    spoil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder("cifar-100", tmp_path / "files")
    wanted = spoil(folder)
    assert_refused(small(NAMES[0], folder), wanted, tmp_path, monkeypatch, capsys)


def wrong_checksum(place: Path) -> dict[str, object]:
    return {"folder": str(place), "checksum": "md5:" + 32 * "0"}


def missing_folder(place: Path) -> dict[str, object]:
    return {"folder": f"{place}-nowhere"}


def missing_member(place: Path) -> dict[str, object]:
    return {"name": "cifar-10", "folder": str(place)}


def images_of_two_sizes(place: Path) -> dict[str, object]:
    folder = place.parent / "images"
    for name, size in (("a", 4), ("b", 5)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((size, 4), np.uint8)).save(folder / name / "0.png")
    return {"name": "folder", "folder": str(folder)}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (wrong_checksum, "small.tar.gz: its checksum is md5:"),
        (missing_folder, "small.tar.gz-nowhere: no such folder or archive"),
        (missing_member, "small.tar.gz: no member data_batch_1.bin"),
        (images_of_two_sizes, "0.png: 5x4 of 1 channel, but "),
    ],
)
def test_a_wrong_place_ends_in_one_sentence_and_exit_code_2(
    change,
    wanted: str,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = small(NAMES[0], place)
    recipe = msgspec.structs.replace(recipe, data=msgspec.structs.replace(recipe.data, **change(place)))
    assert_refused(recipe, wanted, tmp_path, monkeypatch, capsys)


def assert_refused(
    recipe: Recipe, wanted: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yaml(folder / "r.yaml", recipe)
    assert inside(["distill", str(folder / "r.yaml"), "--out", str(folder / "run")], monkeypatch) == 2
    told = "".join(capsys.readouterr().err.splitlines())
    assert "Traceback" not in told
    assert wanted in told
    assert not list(folder.glob("run/weights/*"))
