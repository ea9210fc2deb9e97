"""What an HLS project's folder says of itself: `manifest.json`."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from hw.errors import BadInput
from hw.files import read_json, write_json

VERSION = 1
MANIFEST = "manifest.json"


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A C simulation held against the integer reference.

    `largest_difference` is in steps of the output's grid; `leftover_data` counts the streams, over all images, that
    were not read to their end.
    """

    images: int
    equal_images: int
    wrong_outputs: int
    largest_difference: float
    leftover_data: int

    @property
    def exact(self) -> bool:
        """Whether every output is equal and no stream holds a rest: a rest means that a pixel count is wrong."""
        return self.equal_images == self.images > 0 and self.leftover_data == 0

    def __str__(self) -> str:
        leftover = f", {self.leftover_data} streams with leftover data" if self.leftover_data else ""
        if self.exact:
            return f"C simulation equals the integer reference on all {self.images} images"
        return (
            f"C simulation equals the integer reference on {self.equal_images} of {self.images} images; "
            f"{self.wrong_outputs} outputs wrong, by {self.largest_difference:g} steps at most{leftover}"
        )


class LayerRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A layer as it was written; `inserted` ones are not in the network but stand for a part of the next layer."""

    name: str
    identifier: str
    hls_class: str
    inserted: bool
    strategy: str
    reuse_factor: int
    types: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that tells one project from another.

    `student` is where the student comes from, `streams` the depth of each FIFO in pixels.
    """

    version: int
    network: str
    student: dict[str, str]
    input_shape: tuple[int, int, int]
    row_step: int
    backend: str
    io_type: str
    part: str
    clock_ns: float
    versions: dict[str, str]
    layers: tuple[LayerRecord, ...]
    streams: dict[str, int]
    compared: Comparison | None = None


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
    manifest = read_json(folder / MANIFEST, Manifest)
    if manifest.version != VERSION:
        raise BadInput(f"{folder}: version {manifest.version} was found, {VERSION} is wanted; generate it again")
    return Generated(folder, manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, atomically."""
    write_json(folder / MANIFEST, manifest)
