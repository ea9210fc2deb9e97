"""Images and labels of one's own as numpy arrays in an .npz file, by the names of Keras' mnist.npz."""

import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.augment import Part
from hw.errors import BadInput

LARGEST_ARRAY_BYTES = 1 << 30
"""Of one array, unpacked: 349,000 images of CIFAR's size."""


def read(file: Path) -> tuple[Part, Part | None, int]:
    """The images for training, those for testing where the file has some, and the number of classes.

    `x_train` and maybe `x_test` are uint8 [count, rows, cols] or [count, rows, cols, channels], `y_train` and `y_test`
    whole numbers [count] from 0. Objects (pickles) in the file are not read.

    Raises:
        BadInput: no such file, not a whole .npz file, an array that is missing, too large or of another form, labels
            below 0, classes that are in one part only.
    """
    found = _read(file)
    train = _part(file, found, "train")
    classes = int(train[1].max()) + 1
    _check_classes(file, train[1], classes)
    if "x_test" not in found and "y_test" not in found:
        return train, None, classes
    test = _part(file, found, "test")
    if train[0].shape[1:] != test[0].shape[1:]:
        raise BadInput(
            f"{file}: images are {list(train[0].shape[1:])} in x_train and {list(test[0].shape[1:])} in x_test; "
            f"resize all to one size"
        )
    if test[1].max() >= classes:
        raise BadInput(
            f"{file}: the label {test[1].max()} of y_test is not in y_train; there labels end at {classes - 1}"
        )
    return train, test, classes


def checked(file: Path) -> Path:
    """A file, and not a device or a pipe that could be read for ever.

    Raises:
        BadInput: there is none.
    """
    if not file.is_file():
        raise BadInput(f"{file}: no such file; set data.folder to an .npz file with x_train and y_train")
    return file


def _read(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the four names that are there."""
    wanted = [f"{half}_{part}" for part in ("train", "test") for half in "xy"]
    try:
        with zipfile.ZipFile(checked(file)) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, of files by Python 2
            there = set(archive.namelist())
            return {name: _array(file, name, archive) for name in wanted if f"{name}.npy" in there}
    except BadInput:
        raise
    except Exception as error:  # zipfile's, zlib's and numpy's over damaged files
        raise BadInput(f"{file}: not a whole .npz file ({error}); numpy.savez_compressed makes one") from error


def _array(file: Path, name: str, archive: zipfile.ZipFile) -> NDArray[Any]:
    """One array; what its head announces takes no memory before it is there."""
    with archive.open(f"{name}.npy") as packed:
        version = np.lib.format.read_magic(packed)
        head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = head(packed)
        if dtype.hasobject:
            raise BadInput(f"{file}: {name} holds objects, which would have to be unpickled; wanted are numbers")
        size = math.prod(shape) * dtype.itemsize
        if not 0 <= size <= LARGEST_ARRAY_BYTES:
            raise BadInput(f"{file}: {name} is announced with {size} bytes, at most {LARGEST_ARRAY_BYTES} are read")
        raw = packed.read(size + 1)
    if len(raw) != size:
        raise BadInput(f"{file}: {name} is cut short, or longer than its head says; make it again")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if by_columns else "C")


def _part(file: Path, found: dict[str, NDArray[Any]], part: str) -> Part:
    x, y = f"x_{part}", f"y_{part}"
    for name in (x, y):
        if name not in found:
            raise BadInput(f"{file}: no array {name}; wanted are x_train and y_train, maybe x_test and y_test too")
    pixels, labels = found[x], found[y]
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise BadInput(f"{file}: {x} is {_told(pixels)}; wanted is uint8 [count, rows, cols, channels], 0 to 255")
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    if 0 in pixels.shape:
        raise BadInput(f"{file}: {x} is {_told(pixels)}; wanted is one image or more, and no empty ones")
    if pixels.shape[1] == 3 and pixels.shape[2] == pixels.shape[3]:
        raise BadInput(f"{file}: {x} is {_told(pixels)}; channels come last, as after {x}.transpose(0, 2, 3, 1)")
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.dtype.kind not in "iu" or labels.shape != (len(pixels),):
        raise BadInput(f"{file}: {y} is {_told(labels)}; wanted are whole numbers [{len(pixels)}], one an image")
    if labels.min() < 0 or labels.max() >= 1 << 31:
        raise BadInput(f"{file}: {y} holds {labels.min()} to {labels.max()}; wanted are the classes' numbers from 0")
    return np.ascontiguousarray(pixels), labels.astype(np.int64)


def _check_classes(file: Path, labels: NDArray[np.int64], classes: int) -> None:
    """Every class is there, or labels are other things than numbers of classes."""
    there = np.unique(labels)
    if classes < 2:
        raise BadInput(f"{file}: y_train holds one class only; wanted are two or more")
    if len(there) < classes:
        missing = int(np.flatnonzero(np.append(there, classes) != np.arange(len(there) + 1))[0])
        raise BadInput(f"{file}: no image of y_train is of the class {missing}; wanted are all from 0 to {classes - 1}")


def _told(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"
