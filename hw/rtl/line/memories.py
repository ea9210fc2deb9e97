"""Where everything lies: rows in line memory, tiles in weight memory, both and the frames in DRAM."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hw.accelerator import LineEngine
from hw.errors import DoesNotFit
from hw.fixed import Integers
from hw.network import INPUT
from hw.rtl.line import layers
from hw.rtl.line.lists import Life, Lists, Place, Row, Tile
from hw.student import Student

Key = TypeVar("Key")


@dataclass(frozen=True)
class Addresses:
    """Byte addresses. In DRAM a row lies once, however often it is loaded (no `reader`), a tile too (`load` -1)."""

    rows: Mapping[Row, int]
    tiles: Mapping[Tile, int]
    dram_rows: Mapping[Row, int]
    dram_tiles: Mapping[Tile, int]
    line_bytes: int
    weight_bytes: int
    dram_bytes: int


def addresses(student: Student, lists: Lists, place: Place) -> Addresses:
    """A place for every row by `place`, for every tile by `first_fit`; DRAM is as large as need be.

    Raises:
        DoesNotFit: `place` leaves out a row.
    """
    rows, tiles = place(lists.rows), first_fit(lists.tiles)
    for row in lists.rows:
        if row not in rows:
            raise DoesNotFit(f"{row}: the address map has no place for it; every row wants one")
    sizes: dict[Row | Tile, int] = {}
    shape = student.network.shapes[INPUT]
    for frame in range(lists.frames):
        sizes |= {Row(frame, INPUT, row): shape.cols * shape.channels for row in range(shape.rows)}
    sizes |= {store.what: store.size for store in lists.stores}
    sizes |= {load.what._replace(load=-1): load.size for load in lists.loads if isinstance(load.what, Tile)}
    ends = np.cumsum([0, *sizes.values()]).tolist()
    dram = dict(zip(sizes, ends, strict=False))
    return Addresses(
        rows,
        tiles,
        {key: address for key, address in dram.items() if isinstance(key, Row)},
        {key: address for key, address in dram.items() if isinstance(key, Tile)},
        max((rows[row] + life.size for row, life in lists.rows.items()), default=0),
        max((tiles[tile] + life.size for tile, life in lists.tiles.items()), default=0),
        ends[-1],
    )


def first_fit(lives: Mapping[Key, Life]) -> dict[Key, int]:
    """The lowest address that is free all the time, first come first served in the order in which lives begin."""
    placed: list[tuple[Life, int]] = []
    found: dict[Key, int] = {}
    for key, life in sorted(lives.items(), key=lambda item: item[1].begin):
        placed = [(other, address) for other, address in placed if other.end > life.begin]
        found[key] = _lowest(life.size, ((address, other.size) for other, address in placed))
        placed.append((life, found[key]))
    return found


def _lowest(size: int, taken: Iterable[tuple[int, int]]) -> int:
    address = 0
    for start, length in sorted(taken):
        if start >= address + size:
            break
        address = max(address, start + length)
    return address


def weight_memory(student: Student, engine: LineEngine, found: Addresses) -> str:
    """Weight memory before the run, with the tiles that no load brings, for `$readmemh`."""
    there = {address: _bytes(student, engine, tile) for tile, address in found.tiles.items() if tile.load < 0}
    return _lines(there, max(1, found.weight_bytes))


def dram(student: Student, engine: LineEngine, found: Addresses, images: Integers) -> str:
    """DRAM before the run: frames of `images` (n, rows, cols, channels) as they are read, and tiles."""
    pieces = {address: _bytes(student, engine, tile) for tile, address in found.dram_tiles.items()}
    for frame, image in enumerate(images[:, :: student.network.row_step]):
        for number, row in enumerate(image):
            pieces[found.dram_rows[Row(frame, INPUT, number)]] = row.astype(np.uint8).tobytes()
    return _lines(pieces, found.dram_bytes)


def _bytes(student: Student, engine: LineEngine, tile: Tile) -> bytes:
    return layers.weights(student, engine, student.network.by_name[tile.layer], tile.first_group, tile.groups)


def _lines(pieces: Mapping[int, bytes], size: int) -> str:
    """A byte a line; undefined where no piece lies."""
    lines = ["xx"] * size
    for address, piece in pieces.items():
        lines[address : address + len(piece)] = [f"{byte:02x}" for byte in piece]
    return "\n".join(lines) + "\n"
