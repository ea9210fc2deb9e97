"""The three units' lists of a run, by the names of rows and tiles; addresses come later (`memories`).

A unit waits by counting what has ended: a load that waits for step 3 wants 4 `steps` to have ended.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Row(NamedTuple):
    """A row of a map in line memory; with a `reader`, the copy that was loaded for that layer. Frames count from 0."""

    frame: int
    map: str
    number: int
    reader: str = ""


class Tile(NamedTuple):
    """Weights of some groups of a layer, brought by a load; `load` -1: there before the run begins."""

    layer: str
    first_group: int
    groups: int
    load: int


class Life(NamedTuple):
    """What takes `size` bytes of a memory from step `begin` to the one before `end`."""

    size: int
    begin: int
    end: int


Place = Callable[[Mapping[Row, Life]], Mapping[Row, int]]
"""Addresses in line memory, in bytes; rows that live in one step share none."""


class Task(NamedTuple):
    """A row task: the rows that it reads (None: outside of the map), and the row that it makes or ends, if it does.

    Rows are those of the window from its top, or one of each input of an add. `begins` tells that it begins sums.
    """

    rows: tuple[Row | None, ...]
    target: Row | None
    begins: bool


class Step(NamedTuple):
    """Some groups of all tasks of a turn, which it may end; `tile` holds their weights."""

    layer: str
    tasks: tuple[Task, ...]
    first_group: int
    groups: int
    tile: Tile | None
    ends: bool
    loads: int
    stores: int


class Load(NamedTuple):
    """A row or a tile from DRAM to its place."""

    what: Row | Tile
    size: int
    steps: int
    stores: int


class Store(NamedTuple):
    """A row to DRAM."""

    what: Row
    size: int
    steps: int
    loads: int


@dataclass(frozen=True)
class Lists:
    """A run of some frames: what each unit does in order, and from when to when everything has its place."""

    frames: int
    steps: tuple[Step, ...]
    loads: tuple[Load, ...]
    stores: tuple[Store, ...]
    rows: Mapping[Row, Life]
    tiles: Mapping[Tile, Life]
