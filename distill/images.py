"""Image folders: a sub-folder for every class, PNG or JPEG files of one size in it."""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.augment import Part, Pixels
from hw.errors import BadInput, need
from hw.files import read_bytes

SUFFIXES = (".png", ".jpg", ".jpeg")
LARGEST_FILE_BYTES = 1 << 27
LARGEST_PIXELS = 1 << 24
"""Of one image: 4096x4096, far above what a network here takes; a small file may announce any size."""
_UNREADABLE = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, struct.error, zlib.error)
"""What Pillow raises over damaged files."""
_GREY, _COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "P", "CMYK", "YCbCr")


@dataclass(frozen=True)
class Folder:
    """Images [count, rows, cols, channels], their labels [count], and the names of the classes in label order."""

    pixels: Pixels
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def read_split(folder: Path) -> tuple[Part, Part | None, int]:
    """The images for training, those for testing where `folder` holds `train` and `test`, and the number of classes.

    Raises:
        BadInput: as of `read_folder`, or the two parts have other classes or sizes.
    """
    found = [read_folder(part) for part in _parts(folder)]
    train, test = found[0], found[-1]
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))[0]
        raise BadInput(f"{folder}: the class {odd} is in one of train and test only; wanted are the same in both")
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        sizes = f"{_told(train.pixels.shape[1:])} in train and {_told(test.pixels.shape[1:])} in test"
        raise BadInput(f"{folder}: images are {sizes}; resize all to one size")
    apart = (test.pixels, test.labels) if len(found) > 1 else None
    return (train.pixels, train.labels), apart, len(train.classes)


def files_of(folder: Path) -> list[Path]:
    """Every file that `read_split` reads, in its order.

    Raises:
        BadInput: no such folder, no classes, or a class without images.
    """
    return [file for part in _parts(folder) for name in _classes(part) for file in _files(part / name)]


def read_folder(folder: Path) -> Folder:
    """Every PNG and JPEG file of every class, classes and files in the order of their names.

    Grey images have one channel, all others become RGB; nothing is resized. Needs Pillow.

    Raises:
        BadInput: no such folder, no classes, a class without images, a file that cannot be decoded or is not of 8 bits,
            or images of different sizes.
        MissingTool: Pillow is not installed.
    """
    files = {name: _files(folder / name) for name in _classes(folder)}
    paths = [path for found in files.values() for path in found]
    labels = np.repeat(np.arange(len(files)), [len(found) for found in files.values()])
    return Folder(_stacked(paths), labels.astype(np.int64), tuple(files))


def _parts(folder: Path) -> list[Path]:
    parts = [folder / "train", folder / "test"]
    return parts if all(part.is_dir() for part in parts) else [folder]


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; set data.folder to one with a sub-folder of images for every class")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(names) < 2:
        raise BadInput(f"{folder}: {len(names)} sub-folders; wanted are two or more, one of images for every class")
    return names


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not found:
        raise BadInput(f"{folder}: no PNG or JPEG file; wanted is one or more, or remove the folder")
    return found


def _stacked(paths: Sequence[Path]) -> Pixels:
    """All images in one array."""
    first = _decoded(paths[0])
    pixels = np.empty((len(paths), *first.shape), dtype=np.uint8)
    for i, path in enumerate(paths):
        image = _decoded(path)
        if image.shape != first.shape:
            raise BadInput(
                f"{path}: {_told(image.shape)}, but {paths[0]} is {_told(first.shape)}; resize all to one size"
            )
        pixels[i] = image
    return pixels


def _decoded(path: Path) -> Pixels:
    """One image, [rows, cols, channels]."""
    pillow = need("PIL.Image", "figures", "reading image folders")
    unreadable = (*_UNREADABLE, pillow.DecompressionBombError)
    try:
        data = io.BytesIO(
            read_bytes(path, LARGEST_FILE_BYTES)
        )  # of a file Pillow would ask for as much as it announces
        with _quiet(), pillow.open(data, formats=("PNG", "JPEG")) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise BadInput(f"{path}: {image.width}x{image.height} pixels, at most {LARGEST_PIXELS} are read")
            if image.mode not in _GREY + _COLOUR:
                raise BadInput(f"{path}: pixels of the mode {image.mode}; wanted are 8 bits a channel, grey or RGB")
            return _array(image.convert("L" if image.mode in _GREY else "RGB"))
    except BadInput:
        raise
    except unreadable as error:
        raise BadInput(f"{path}: not a whole PNG or JPEG file ({error}); make it again") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings: of sizes there is a limit here, the others are of no use to anyone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _array(image: Any) -> Pixels:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _told(shape: Sequence[int]) -> str:
    rows, cols, channels = shape
    return f"{rows}x{cols} of {channels} channel{'s' if channels > 1 else ''}"
