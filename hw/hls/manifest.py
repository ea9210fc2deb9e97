"""What an HLS project's folder says of itself: `manifest.json`."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hw.errors import BadInput
from hw.files import read_json, to_json, write_json
from hw.fixed import Format
from hw.student import Student

VERSION = 2
MANIFEST = "manifest.json"


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A C simulation held against the integer reference.

    `largest_difference` is in steps of the output's grid; `leftover_data` counts the streams, over all images, that
    were not read to their end. `layers` were compared one by one on some of the images; `wrong_layers` differed, the
    first one first.
    """

    images: int
    equal_images: int
    wrong_outputs: int
    largest_difference: float
    leftover_data: int
    layers: int = 0
    wrong_layers: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every number is equal and no stream holds a rest: a rest means that a pixel count is wrong."""
        return self.equal_images == self.images > 0 and self.leftover_data == 0 and not self.wrong_layers

    def __str__(self) -> str:
        leftover = f", {self.leftover_data} streams with leftover data" if self.leftover_data else ""
        if self.exact:
            return f"C simulation equals the integer reference on all {self.images} images"
        first = f", {self.wrong_layers[0]} is the first wrong layer" if self.wrong_layers else ""
        return (
            f"C simulation equals the integer reference on {self.equal_images} of {self.images} images; "
            f"{self.wrong_outputs} outputs wrong, by {self.largest_difference:g} steps at most{first}{leftover}"
        )


class LayerRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A layer as it was written; `inserted` ones are not in the network but stand for a part of the next layer."""

    name: str
    identifier: str
    hls_class: str
    inserted: bool
    strategy: str
    reuse_factor: int
    out: Format
    types: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that tells one project from another.

    `student` is where the student comes from and `student_sha256` the hash of its layers, formats and integers;
    `streams` is the depth of each FIFO in pixels, `files` the hash of every file as it was written. Formats of integers
    stand in the layers: `width` bits, `integer` of them before the point.
    """

    version: int
    network: str
    student: dict[str, str]
    student_sha256: str
    input_shape: tuple[int, int, int]
    row_step: int
    backend: str
    io_type: str
    strategy: str
    part: str
    clock_ns: float
    versions: dict[str, str]
    layers: tuple[LayerRecord, ...]
    streams: dict[str, int]
    files: dict[str, str]
    compared: Comparison | None = None


class _Versioned(msgspec.Struct, frozen=True):
    version: int


@dataclass(frozen=True)
class Generated:
    """An HLS project on disk."""

    folder: Path
    manifest: Manifest


def open_generated(folder: Path) -> Generated:
    """The project in `folder`.

    Raises:
        BadInput: there is none, or it is of another version.
    """
    version = read_json(folder / MANIFEST, _Versioned).version
    if version != VERSION:
        raise BadInput(f"{folder}: version {version} was found, {VERSION} is wanted; generate it again")
    manifest = read_json(folder / MANIFEST, Manifest)
    return Generated(folder, manifest)


def is_ours(folder: Path) -> bool:
    """Whether a folder holds the manifest of an HLS project, of whatever version: a file of that name is not enough."""
    try:
        keys = set(read_json(folder / MANIFEST, dict))
    except BadInput:
        return False
    named = "network" in keys and ("student_sha256" in keys or {"version", "backend"} <= keys)
    return named and not keys.isdisjoint({"files", "layers"})


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, atomically."""
    write_json(folder / MANIFEST, manifest)


def student_hash(student: Student) -> str:
    """SHA-256 of a student's layers, formats and integers; test vectors and provenance do not count."""
    digest = hashlib.sha256(to_json((student.network, dict(student.formats))).encode())
    for name in sorted(student.integers):
        digest.update(name.encode() + b"\0" + student.integers[name].astype("<i8").tobytes())
    return digest.hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
