"""Image folders: what is read, and what is said of folders and files that cannot be."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill import data as data_sets
from distill import images
from distill.data import DataSpec
from hw.errors import BadInput, MissingTool


def pictures(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write(folder: Path, pixels: np.ndarray, suffix: str = ".png") -> None:
    folder.mkdir(parents=True)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i:03}{suffix}")


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Ten images of 6x5 of each of two classes."""
    write(tmp_path / "cat", pictures(10, (6, 5, 3), 0))
    write(tmp_path / "ant", pictures(10, (6, 5, 3), 1))
    return tmp_path


def sentence(folder: Path) -> str:
    with pytest.raises(BadInput) as error:
        images.read_split(folder)
    return str(error.value)


def test_classes_and_files_are_in_the_order_of_their_names(animals: Path) -> None:
    (animals / "ant" / "notes.txt").write_text("not an image")
    (animals / ".cache").mkdir()
    found = images.read_folder(animals)
    assert found.classes == ("ant", "cat")
    assert found.labels.tolist() == [0] * 10 + [1] * 10
    assert np.array_equal(found.pixels, np.concatenate([pictures(10, (6, 5, 3), seed) for seed in (1, 0)]))


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, pictures(2, (4, 7)))
    assert images.read_folder(tmp_path).pixels.shape == (4, 4, 7, 1)
    assert np.array_equal(images.read_folder(tmp_path).pixels[:2, ..., 0], pictures(2, (4, 7)))


def test_jpeg_is_read_and_alpha_is_dropped(tmp_path: Path) -> None:
    write(tmp_path / "a", np.full((1, 8, 8, 3), 77, np.uint8), ".JPG")
    write(tmp_path / "b", np.full((1, 8, 8, 4), 77, np.uint8))
    pixels = images.read_folder(tmp_path).pixels
    assert pixels.shape == (2, 8, 8, 3)
    assert np.abs(pixels.astype(int) - 77).max() <= 1


def test_a_share_of_each_class_is_for_testing_where_no_part_is(animals: Path) -> None:
    data = data_sets.load(DataSpec("folder", str(animals)))
    assert [np.bincount(part.labels).tolist() for part in (data.train, data.validation, data.test)] == [
        [6, 6],
        [2, 2],
        [2, 2],
    ]
    assert (data.shape, data.classes) == ((3, 6, 5), 2)


def test_train_and_test_are_kept_apart_where_they_are(tmp_path: Path) -> None:
    for part, count in (("train", 8), ("test", 3)):
        for name in ("a", "b"):
            write(tmp_path / part / name, pictures(count, (4, 4, 3), count))
    data = data_sets.load(DataSpec("folder", str(tmp_path)))
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 4, 6)
    assert np.array_equal(data.test.pixels[:3], pictures(3, (4, 4, 3), 3))


def test_images_of_another_size_are_told_by_name(animals: Path) -> None:
    Image.fromarray(pictures(1, (5, 6, 3))[0]).save(animals / "cat" / "zz.png")
    assert sentence(animals) == (
        f"{animals / 'cat' / 'zz.png'}: 5x6 of 3 channels, but {animals / 'ant' / '000.png'} is 6x5 of 3 channels; "
        f"resize all to one size"
    )


def test_a_grey_image_among_coloured_ones_is_told(animals: Path) -> None:
    Image.fromarray(pictures(1, (6, 5))[0]).save(animals / "cat" / "zz.png")
    assert sentence(animals).startswith(f"{animals / 'cat' / 'zz.png'}: 6x5 of 1 channel, but ")


@pytest.mark.parametrize("kept", [0, 20, 60])
def test_a_file_that_is_cut_short_is_told(kept: int, animals: Path) -> None:
    path = animals / "cat" / "003.png"
    path.write_bytes(path.read_bytes()[:kept])
    assert sentence(animals).startswith(f"{path}: not a whole PNG or JPEG file (")
    assert sentence(animals).endswith("); make it again")


def test_16_bits_are_told(animals: Path) -> None:
    path = animals / "cat" / "zz.png"
    Image.fromarray(np.zeros((6, 5), np.uint16)).save(path)
    assert sentence(animals) == f"{path}: pixels of the mode I;16; wanted are 8 bits a channel, grey or RGB"


def test_folders_without_images_are_told(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert sentence(nowhere) == (
        f"{nowhere}: no such folder; set data.folder to one with a sub-folder of images for every class"
    )
    wanted = "sub-folders; wanted are two or more, one of images for every class"
    assert sentence(tmp_path) == f"{tmp_path}: 0 {wanted}"
    write(tmp_path / "a", pictures(1, (4, 4)))
    assert sentence(tmp_path) == f"{tmp_path}: 1 {wanted}"
    (tmp_path / "b").mkdir()
    assert sentence(tmp_path) == f"{tmp_path / 'b'}: no PNG or JPEG file; wanted is one or more, or remove the folder"


def test_parts_that_differ_are_told(tmp_path: Path) -> None:
    for part, names in (("train", "ab"), ("test", "ac")):
        for name in names:
            write(tmp_path / part / name, pictures(1, (4, 4)))
    assert (
        sentence(tmp_path) == f"{tmp_path}: the class b is in one of train and test only; wanted are the same in both"
    )


def test_parts_of_different_sizes_are_told(tmp_path: Path) -> None:
    for part, size in (("train", 4), ("test", 5)):
        for name in "ab":
            write(tmp_path / part / name, pictures(1, (size, 4)))
    assert sentence(tmp_path) == (
        f"{tmp_path}: images are 4x4 of 1 channel in train and 5x4 of 1 channel in test; resize all to one size"
    )


def test_a_recipe_without_a_folder_is_told() -> None:
    with pytest.raises(BadInput) as error:
        DataSpec("folder")
    assert str(error.value) == ("data: name is folder, but no folder is given; set data.folder to the images' place")


def test_without_pillow_the_cure_is_told(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "PIL" or name.startswith("PIL.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Hides("PIL"), *sys.meta_path])
    with pytest.raises(MissingTool) as error:
        images.read_folder(animals)
    assert str(error.value) == (
        "reading image folders needs the package PIL, which is not installed: pip install 'pacemaker-codesign[figures]'"
    )


class Hides:
    """A finder that says of one package that it is not there."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, *arguments: object) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=self.package)


def test_an_image_that_announces_too_much_or_is_of_another_kind_is_told(tmp_path):
    import struct
    import zlib

    from distill.images import read_folder

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 9000, 9000, 8, 0, 0, 0, 0)) + chunk(b"IEND", b"")
        )
    with pytest.raises(BadInput) as error:
        read_folder(tmp_path)
    assert str(error.value) == f"{tmp_path / 'cat' / 'a.png'}: 9000x9000 pixels, at most 16777216 are read"
    (tmp_path / "cat" / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\n")
    with pytest.raises(BadInput, match="not a whole PNG or JPEG file"):
        read_folder(tmp_path)
