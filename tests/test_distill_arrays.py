"""Images as numpy arrays: what is read, and what is said of files that cannot be."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from distill import arrays, run
from distill import data as data_sets
from distill.data import DataSpec
from distill.networks import NetworkSpec
from distill.recipe import Recipe, Stage, StudentSpec, Training
from hw.errors import BadInput


def pictures(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def parts(**changes: object) -> dict[str, object]:
    """Twelve and six images of 4x5x2, three classes."""
    given = {
        "x_train": pictures(12, 4, 5, 2),
        "y_train": np.arange(12) % 3,
        "x_test": pictures(6, 4, 5, 2),
        "y_test": np.arange(6) % 3,
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


def written(folder: Path, **changes: object) -> Path:
    file = folder / "mine.npz"
    np.savez_compressed(file, **parts(**changes))
    return file


def test_both_parts_are_read_with_any_integers_as_labels(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8)[:, None] % 3  # a column, as Keras' CIFAR has it
    file = written(tmp_path, y_train=labels, x_train=np.asfortranarray(pictures(12, 4, 5, 2)))
    train, test, classes = arrays.read(file)
    assert classes == 3
    assert np.array_equal(train[0], pictures(12, 4, 5, 2))
    assert train[1].tolist() == [0, 1, 2] * 4
    assert test is not None
    assert np.array_equal(test[0], pictures(6, 4, 5, 2))
    assert (train[1].dtype, train[0].flags.c_contiguous) == (np.int64, True)


def test_grey_images_need_no_axis_of_channels_and_a_part_for_testing_is_put_apart(tmp_path: Path) -> None:
    file = written(tmp_path, x_train=pictures(12, 4, 5), x_test=None, y_test=None)
    data = data_sets.load(DataSpec("arrays", str(file), validation=0.34))
    assert data.shape == (1, 4, 5)
    assert [np.bincount(part.labels).tolist() for part in (data.train, data.validation, data.test)] == [
        [2, 2, 2],
        [1, 1, 1],
        [1, 1, 1],
    ]


def test_one_row_of_many_channels_is_an_image(tmp_path: Path) -> None:
    file = written(tmp_path, x_train=pictures(12, 1, 64, 6), x_test=pictures(6, 1, 64, 6))
    assert data_sets.load(DataSpec("arrays", str(file))).shape == (6, 1, 64)


def test_a_student_is_distilled_on_them(tmp_path: Path) -> None:
    bright = np.repeat(np.arange(40) % 2, 64).reshape(40, 8, 8).astype(np.uint8) * 200 + pictures(40, 8, 8) // 5
    file = written(tmp_path, x_train=bright, y_train=np.arange(40) % 2, x_test=None, y_test=None)
    recipe = Recipe(
        "mine",
        DataSpec("arrays", str(file)),
        NetworkSpec("plain", 5),
        (Stage("teacher", "full"), Stage("kd", "row", {"teacher": 1.0})),
        student=StudentSpec(heads=("global",)),
        training=Training(epochs=20, batch=8, learning_rate=0.05),
        seeds=1,
    )
    found = run.run(recipe, tmp_path / "run", workers=1).validation
    assert found["kd"][0] == 1.0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"x_train": None}, "no array x_train; wanted are x_train and y_train, maybe x_test and y_test too"),
        ({"y_test": None}, "no array y_test; wanted are x_train and y_train, maybe x_test and y_test too"),
        (
            {"x_train": np.zeros((12, 4, 5, 2), np.float32)},
            "x_train is float32 [12, 4, 5, 2]; wanted is uint8 [count, rows, cols, channels], 0 to 255",
        ),
        (
            {"x_test": np.zeros((6, 40), np.uint8)},
            "x_test is uint8 [6, 40]; wanted is uint8 [count, rows, cols, channels], 0 to 255",
        ),
        (
            {"x_train": np.zeros((0, 4, 5, 2), np.uint8)},
            "x_train is uint8 [0, 4, 5, 2]; wanted is one image or more, and no empty ones",
        ),
        (
            {"x_train": np.zeros((12, 3, 8, 8), np.uint8)},
            "x_train is uint8 [12, 3, 8, 8]; channels come last, as after x_train.transpose(0, 2, 3, 1)",
        ),
        ({"y_train": np.arange(11) % 3}, "y_train is int64 [11]; wanted are whole numbers [12], one an image"),
        (
            {"y_train": np.eye(3)[np.arange(12) % 3]},
            "y_train is float64 [12, 3]; wanted are whole numbers [12], one an image",
        ),
        ({"y_train": np.arange(12) % 3 - 1}, "y_train holds -1 to 1; wanted are the classes' numbers from 0"),
        ({"y_train": np.arange(12) % 3 + 1}, "no image of y_train is of the class 0; wanted are all from 0 to 3"),
        ({"y_train": np.arange(12) % 2 * 2}, "no image of y_train is of the class 1; wanted are all from 0 to 2"),
        ({"y_train": np.zeros(12, int)}, "y_train holds one class only; wanted are two or more"),
        ({"y_test": np.arange(6) % 4}, "the label 3 of y_test is not in y_train; there labels end at 2"),
        (
            {"x_test": pictures(6, 4, 4, 2)},
            "images are [4, 5, 2] in x_train and [4, 4, 2] in x_test; resize all to one size",
        ),
        (
            {"y_train": np.array([0, None] * 6)},
            "y_train holds objects, which would have to be unpickled; wanted are numbers",
        ),
    ],
)
def test_what_the_arrays_are_not_is_told(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    file = written(tmp_path, **changes)
    with pytest.raises(BadInput) as error:
        arrays.read(file)
    assert str(error.value) == f"{file}: {sentence}"


def npy(shape: str, data: bytes) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + data


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (npy("(12, 4, 5)", bytes(239)), "x_train is cut short, or longer than its head says; make it again"),
        (npy("(12, 4, 5)", bytes(241)), "x_train is cut short, or longer than its head says; make it again"),
        (npy("(10**12,)", b""), None),
        (
            npy("(1000000000000, 4, 5)", bytes(9)),
            "x_train is announced with 20000000000000 bytes, at most 1073741824 are read",
        ),
        (npy("(-1, 4, 5)", bytes(9)), "x_train is announced with -20 bytes, at most 1073741824 are read"),
        (b"not numpy", None),
    ],
)
def test_a_damaged_member_is_told(tmp_path: Path, member: bytes, sentence: str | None) -> None:
    file = tmp_path / "mine.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x_train.npy", member)
    with pytest.raises(BadInput) as error:
        arrays.read(file)
    if sentence is None:
        assert str(error.value).startswith(f"{file}: not a whole .npz file (")
    else:
        assert str(error.value) == f"{file}: {sentence}"


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LARGEST_ARRAY_BYTES", 1000)
    file = tmp_path / "mine.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", npy("(1000000,)", bytes(1_000_000)))
    with pytest.raises(BadInput) as error:
        arrays.read(file)
    assert str(error.value) == f"{file}: x_train is announced with 1000000 bytes, at most 1000 are read"


def test_files_that_are_no_npz_are_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    for place in (file, tmp_path, Path("/dev/zero"), Path("no\0file")):
        for ask in (arrays.read, lambda place: data_sets.digest(DataSpec("arrays", str(place)))):
            with pytest.raises(BadInput) as error:
                ask(place)
            told = str(place).replace("\0", "\\x00")
            assert str(error.value) == f"{told}: no such file; set data.folder to an .npz file with x_train and y_train"
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    file.write_bytes(buffer.getvalue())
    with pytest.raises(BadInput) as error:
        arrays.read(file)
    assert str(error.value) == (
        f"{file}: not a whole .npz file (File is not a zip file); numpy.savez_compressed makes one"
    )
    with pytest.raises(BadInput) as error:
        DataSpec("arrays")
    assert str(error.value) == "data: name is arrays, but no folder is given; set data.folder to the images' place"
