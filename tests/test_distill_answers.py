import os
from pathlib import Path

import numpy as np
import pytest
import torch

from distill import data as data_sets
from distill import networks, run
from distill.answers import Answers, Store
from distill.data import DataSpec
from distill.methods import Phase
from distill.networks import NetworkSpec
from distill.recipe import Recipe, Stage, StudentSpec, Training
from distill.train import deterministic, train
from hw.files import read_arrays, write_arrays


class Counting(torch.nn.Module):
    """A teacher that counts the images that it is asked about."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.inner = networks.plain(5, 1, 10, channels=1).eval()
        self.asked = 0

    def forward(self, x):
        self.asked += len(x)
        return self.inner(x)


def trained(stage, training, teachers, store=None, augmentation_seed=None, seed=5):
    """Weights of a student after a training on 60 digits."""
    data = data_sets.load(DataSpec(train_images=60))
    with deterministic(1):
        module = networks.plain(5, 1, 10, channels=1)
        asked = list(zip(stage.teachers.values(), teachers, strict=True))
        prints = [f"teacher {i}" for i in range(len(teachers))]
        train(
            stage,
            module,
            data,
            training,
            asked,
            seed,
            store=store,
            fingerprints=prints,
            augmentation_seed=augmentation_seed,
        )
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


KD = Stage("kd", "row", {"a": 1.0})
TRAINING = Training(epochs=4, batch=20, learning_rate=0.01)
MOVED = Training(epochs=4, batch=20, learning_rate=0.01, shift=1)


def test_images_that_never_change_are_asked_about_once_and_by_the_next_student_never(tmp_path):
    first, second = Counting(), Counting()
    weights = trained(KD, TRAINING, [first], Store(tmp_path))
    assert first.asked == 60
    assert equal(trained(KD, TRAINING, [second], Store(tmp_path)), weights)
    assert second.asked == 0
    assert equal(trained(KD, TRAINING, [Counting()]), weights)


def test_images_of_a_stages_own_are_asked_about_at_every_step_and_not_kept(tmp_path):
    teacher = Counting()
    trained(KD, MOVED, [teacher], Store(tmp_path))
    assert teacher.asked == 4 * 60
    assert not list(tmp_path.iterdir())


def test_shared_images_are_asked_about_once_an_epoch_for_all_students(tmp_path):
    first, second = Counting(), Counting()
    weights = trained(KD, MOVED, [first], Store(tmp_path), augmentation_seed=9)
    assert first.asked == 4 * 60
    assert len(list(tmp_path.iterdir())) == 4
    trained(Stage("other", "row", {"a": 0.5}), MOVED, [second], Store(tmp_path), augmentation_seed=9, seed=6)
    assert second.asked == 0
    assert equal(trained(KD, MOVED, [Counting()], augmentation_seed=9), weights)
    assert not equal(trained(KD, MOVED, [Counting()], augmentation_seed=10), weights)


@pytest.mark.parametrize(("augmentation_seed", "loud"), [(None, 2 * 60), (9, 2 * 60)])
def test_silent_teachers_are_not_asked(tmp_path, augmentation_seed, loud):
    halves = Stage("a", "row", phases=(Phase(0.5, {"b": 1.0}), Phase(0.5, {"c": 1.0})))
    one, two = Counting(0), Counting(1)
    trained(halves, MOVED, [one, two], augmentation_seed=augmentation_seed)
    assert (one.asked, two.asked) == (loud, loud)


def test_teachers_dropped_from_a_batch_are_not_asked_about_it():
    dropping = Stage("a", "row", {"b": 1.0, "c": 1.0}, drop=1)
    one, two = Counting(0), Counting(1)
    trained(dropping, MOVED, [one, two])
    assert one.asked + two.asked == 4 * 60
    assert min(one.asked, two.asked) > 0


def spoilt(path: Path, how: str) -> None:
    raw = path.read_bytes()
    if how == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "bit":
        path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    else:
        arrays = read_arrays(path)
        write_arrays(path, {"logits": np.zeros_like(arrays["logits"]), "digest": arrays["digest"]})


@pytest.mark.parametrize("how", ["cut", "empty", "bit", "zeros"])
def test_a_damaged_file_is_made_again(tmp_path, how):
    weights = trained(KD, TRAINING, [Counting()], Store(tmp_path))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    spoilt(path, how)
    again = Counting()
    assert equal(trained(KD, TRAINING, [again], Store(tmp_path)), weights)
    assert again.asked == 60
    assert path.read_bytes() == whole


def test_another_teacher_or_other_images_have_answers_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 30, 8, 8, 1), dtype=np.uint8)

    def asked(teacher, fingerprint, images):
        answers = Answers([teacher], lambda i, epoch: images[i], 30, "once", Store(tmp_path), [fingerprint])
        before = teacher.asked
        ((weight, logits),) = answers.speaking([0.5], np.array([3, 1]), images[[3, 1]], 0)
        assert weight == 0.5
        expected = teacher.inner(torch.from_numpy(images[[3, 1]] / 256).float().permute(0, 3, 1, 2))
        assert torch.allclose(logits, expected, atol=1e-5)
        return teacher.asked - before

    same, other = Counting(0), Counting(1)
    assert asked(same, "x", pixels[0]) == 30
    assert asked(same, "x", pixels[0]) == 0
    assert asked(same, "y", pixels[0]) == 30
    assert asked(same, "x", pixels[1]) == 30
    assert asked(other, "x", pixels[0]) == 30


def test_what_was_not_read_for_longest_goes_first(tmp_path):
    store = Store(tmp_path, 1000)
    made = []

    def ask(key):
        store.kept(key, lambda: made.append(key) or torch.full((50,), float(len(made))))

    for i, key in enumerate("abc"):  # 200 bytes of numbers each, and 200 or so around them: two fit
        ask(key)
        for path in tmp_path.iterdir():
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
        if i == 1:
            ask("a")
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"a", "c"}
    assert made == ["a", "b", "c"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
    Store(tmp_path, 100).kept("large", lambda: torch.zeros(50))
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"a", "c"}


@pytest.mark.parametrize("training", [TRAINING, MOVED])
def test_a_run_is_the_same_with_and_without_a_store_and_leaves_none(tmp_path, training):
    shared = Training(epochs=2, batch=32, shift=training.shift, augmentation_seed="shared")
    stages = (Stage("teacher", "full"), Stage("kd", "row", {"teacher": 1.0}), Stage("softer", "row", {"teacher": 0.5}))
    student, data = StudentSpec(heads=("rows",)), DataSpec(train_images=64)
    recipe = Recipe("r", data, NetworkSpec("plain", 5), stages, student, shared, seeds=1)
    run.run(recipe, tmp_path / "with", workers=1)
    run.run(recipe, tmp_path / "without", workers=1, answers_bytes=0)
    run.run(recipe, tmp_path / "elsewhere", workers=1, answers=tmp_path / "answers")
    for other in ("without", "elsewhere"):
        for path in (tmp_path / "with" / "weights").glob("*.*"):
            assert path.read_bytes() == (tmp_path / other / "weights" / path.name).read_bytes()
    assert not list(tmp_path.rglob(".answers"))
    assert len(list((tmp_path / "answers").iterdir())) == (2 if training.augments else 1)


def test_files_of_others_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "mine.safetensors").write_bytes(b"x" * 500)
    (tmp_path / "folder.answers.safetensors").mkdir()
    store = Store(tmp_path, 500)
    for key in ("a", "b"):
        store.kept(key, lambda: torch.zeros(40))
    assert (tmp_path / "mine.safetensors").is_file()
    assert (tmp_path / "b.answers.safetensors").is_file()
