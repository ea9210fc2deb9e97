"""CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky 2009): records of fixed size, nothing to unpickle.

A record of CIFAR-10 is a label and 3,072 pixels, one of CIFAR-100 a coarse label, a fine label and 3,072 pixels; a byte
each, the pixels as [channels, rows, cols]. Sizes, names and checksums: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import bz2
import contextlib
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from distill.augment import Part
from distill.fetch import checked, fetched, is_address
from hw.errors import BadInput
from hw.files import read_bytes

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
LARGEST_ARCHIVE_BYTES = 1 << 28
"""Unpacked; both data sets take 184 MB."""


@dataclass(frozen=True)
class Form:
    """How one of the two data sets lies on disk; the last byte before the pixels is the label that counts."""

    classes: int
    labels: int
    folder: str
    train: tuple[str, ...]
    test: str
    address: str
    checksum: str

    @property
    def record(self) -> int:
        """Bytes of an image with its labels."""
        return self.labels + PIXELS


FORMS = {
    "cifar-10": Form(
        10,
        1,
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "md5:c32a1d4ab5d03f1284b67883e8d87530",
    ),
    "cifar-100": Form(
        100,
        2,
        "cifar-100-binary",
        ("train.bin",),
        "test.bin",
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "md5:03b5dce01913d631647c71ecec9e9cb8",
    ),
}


def read(name: str, place: str | None, checksum: str | None) -> tuple[Part, Part]:
    """The images for training and those for testing.

    Args:
        name: cifar-10 or cifar-100.
        place: a folder with the .bin files (or with the archive's folder in it), an archive (.tar.gz), or the web
            address of one; None is the authors' own address, and is fetched once.
        checksum: of the archive; None takes the authors' at their address, and trusts an archive on disk.

    Raises:
        BadInput: a place that is not there or cannot be fetched, another checksum, a file that is missing, cut short
            or of another form, a label out of range.
    """
    form = FORMS[name]
    found = _located(form, place, checksum)
    files = _in_folder(found, form) if found.is_dir() else _in_archive(found, form)
    parts = [records(source, raw, form) for source, raw in files.items()]
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True))
    return (pixels, labels), parts[-1]


def records(source: str, raw: bytes, form: Form) -> Part:
    """Images and labels of one file.

    Raises:
        BadInput: not a whole number of records, none at all, or a label out of range.
    """
    count, rest = divmod(len(raw), form.record)
    if rest or not count:
        raise BadInput(
            f"{source}: {len(raw)} bytes, wanted is a multiple of {form.record} (a record of {form.folder}); "
            f"fetch it again"
        )
    table = np.frombuffer(raw, np.uint8).reshape(count, form.record)
    labels = table[:, form.labels - 1].astype(np.int64)
    if labels.max() >= form.classes:
        wrong = int(np.argmax(labels >= form.classes))
        raise BadInput(
            f"{source}: the label {labels[wrong]} of record {wrong + 1} is out of range; "
            f"wanted is 0 to {form.classes - 1}; fetch it again"
        )
    planes = table[:, form.labels :].reshape(count, *SHAPE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _located(form: Form, place: str | None, checksum: str | None) -> Path:
    """The folder or the archive, fetched and held against its checksum."""
    if place is None or place == form.address:
        return fetched(form.address, checksum or form.checksum)
    if is_address(place):
        if checksum is None:
            raise BadInput(f"data: {place} wants a checksum; set data.checksum to md5: or sha256: and its digits")
        return fetched(place, checksum)
    path = Path(place)
    if not path.exists():
        raise BadInput(
            f"{path}: no such folder or archive; set data.folder to the place of {form.folder}, or leave it out to "
            f"fetch {form.address}"
        )
    if checksum is not None and path.is_dir():
        raise BadInput(f"{path}: a checksum is of an archive, and this is a folder; remove data.checksum")
    return path if checksum is None else checked(path, checksum)


def _in_folder(folder: Path, form: Form) -> Mapping[str, bytes]:
    inner = folder / form.folder
    paths = [(inner if inner.is_dir() else folder) / name for name in (*form.train, form.test)]
    return {str(path): read_bytes(path) for path in paths}


class _Bounded:
    """A file of which only so much may be read: a small archive may unpack to any size."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._left = file, most

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.ReadError(f"it unpacks to more than {LARGEST_ARCHIVE_BYTES} bytes")
        return data


@contextlib.contextmanager
def _unpacked(packed: BinaryIO) -> Iterator[Any]:
    """The bytes of an archive as they are unpacked, by what it begins with."""
    start = packed.read(6)
    packed.seek(0)
    unpackers: dict[bytes, Callable[[BinaryIO], Any]] = {
        b"\x1f\x8b": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zXZ\0": lzma.open,
    }
    unpack = next((unpacker for magic, unpacker in unpackers.items() if start.startswith(magic)), None)
    if unpack is None:
        yield _Bounded(packed, LARGEST_ARCHIVE_BYTES)
    else:
        with unpack(packed) as file:
            yield _Bounded(file, LARGEST_ARCHIVE_BYTES)


def _in_archive(archive: Path, form: Form) -> Mapping[str, bytes]:
    """The files by name, read in one pass and not unpacked, wherever in the archive they lie."""
    found: dict[str, bytes] = {}
    wanted = (*form.train, form.test)
    try:
        with archive.open("rb") as packed, _unpacked(packed) as file, tarfile.open(fileobj=file, mode="r|") as members:
            for member in members:
                name = member.name.rpartition("/")[2]
                content = members.extractfile(member) if name in wanted and member.isfile() else None
                if content is not None:
                    found[name] = content.read()
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise BadInput(f"{archive}: not a whole tar archive ({error}); fetch it again") from error
    for name in wanted:
        if name not in found:
            raise BadInput(f"{archive}: no member {name}; wanted is the archive of {form.folder}, from {form.address}")
    return {f"{archive}: {name}": found[name] for name in wanted}
