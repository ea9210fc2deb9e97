"""Writes a `Student` on a `LineEngine` as SystemVerilog: the modules of this folder, a top level, lists and memories.

The design follows docs/line_engine.md cycle by cycle and `hw.reference` bit by bit; docs/line_engine_rtl.md tells its
limits.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import accumulate
from pathlib import Path

from hw.accelerator import LineEngine
from hw.files import make_folder, write_text
from hw.rtl.line import layers, memories
from hw.rtl.line.layers import Port, Word
from hw.rtl.line.lists import Lists, Load, Place, Store, Task, Tile
from hw.rtl.line.memories import Addresses
from hw.student import Student

TOP = "line_engine"
_PACKAGE = "pl_fields.sv"
LEAST_BITS = 12
"""Of a number: a signed result and the bits of every shift."""


@dataclass(frozen=True)
class Design:
    """A written design: its folder, its sources in order, bits of an address or count, bytes of a beat, addresses."""

    folder: Path
    sources: tuple[str, ...]
    bits: int
    beat_bytes: int
    addresses: Addresses


def write(
    student: Student, engine: LineEngine, lists: Lists, folder: Path, place: Place = memories.first_fit
) -> Design:
    """Write `rtl/*.sv` and `rtl/*.hex` below `folder`; `place` gives rows their addresses in line memory.

    Raises:
        BadInput, UnsupportedLayer: as `layers.check`.
        DoesNotFit: `place` leaves out a row.
    """
    layers.check(student, engine)
    network = student.network
    found = memories.addresses(student, lists, place)
    sizes = [layers.sum_words(network, engine, layer) for layer in network.layers]
    firsts = accumulate([0, *sizes])
    words = [layers.word(student, engine, layer, first) for layer, first in zip(network.layers, firsts, strict=False)]
    parameters = _parameters(student, engine, lists, found, words)
    rows, bits = parameters["ROWS"], parameters["N"]
    texts = {
        f"{TOP}.sv": _top(network.name, parameters),
        "layers.hex": "".join(_layer_line(word, parameters) for word in words),
        "steps.hex": _lines(_steps(student, engine, lists, found), bits),
        "tasks.hex": _lines((_task(task, rows, found) for task in _tasks(lists)), bits),
        "loads.hex": _lines((_load(load, found) for load in lists.loads), bits),
        "stores.hex": _lines((_store(store, found) for store in lists.stores), bits),
        "weights.hex": memories.weight_memory(student, engine, found),
        "tables.hex": "".join(f"{byte:02x}\n" for name in layers.tables(student) for byte in _table(student, name)),
    }
    target = folder / "rtl"
    make_folder(target)
    sources = _copied(target)
    for name, text in texts.items():
        write_text(target / name, text or "0\n")  # `$readmemh` wants a line
    return Design(target, (*sources, f"{TOP}.sv"), bits, parameters["DMA_BYTES"], found)


def _parameters(
    student: Student, engine: LineEngine, lists: Lists, found: Addresses, words: list[Word]
) -> dict[str, int]:
    network = student.network
    sums = sum(layers.sum_words(network, engine, layer) for layer in network.layers)
    return {
        "N": _bits(engine, lists, found, words),
        "STEPS": len(lists.steps),
        "TASKS": len(list(_tasks(lists))),
        "LAYERS": len(words),
        "LOADS": len(lists.loads),
        "STORES": len(lists.stores),
        "ROWS": max(layers.task_rows(layer) for layer in network.layers),
        "PORTS": max(len(word.ports) for word in words),
        "PE": engine.pe,
        "SIMD": engine.simd,
        "LINE_BYTES": found.line_bytes,
        "WEIGHT_BYTES": max(1, found.weight_bytes),
        "SUM_WORDS": max(1, sums),
        "WORK_BITS": max(layers.SUM_BITS, *(word.work_bits for word in words)),
        "TABLES": len(layers.tables(student)),
        "DMA_BYTES": int(engine.dram_bytes_per_cycle),
        "BURST": engine.dram_burst_bytes,
    }


def _table(student: Student, name: str) -> list[int]:
    return layers.table_bytes(student, student.network.by_name[name])


def _bits(engine: LineEngine, lists: Lists, found: Addresses, words: list[Word]) -> int:
    """Bits of a signed number that holds every address, count and field, and what is made of them."""
    fields = [abs(number) for word in words for number in word.numbers.values()]
    memory = found.dram_bytes, found.line_bytes, found.weight_bytes
    counts = len(lists.steps), len(lists.loads), len(list(_tasks(lists)))
    # Pixels may be issued beyond the last that comes out, and a chunk beyond the last byte.
    reach = max(word.numbers["COLS"] * port.step + port.row_bytes + port.limit for word in words for port in word.ports)
    beyond = 5 * engine.pe * engine.simd + engine.dram_burst_bytes
    return max(LEAST_BITS, (max(*fields, *memory, *counts, reach) + beyond).bit_length() + 2)


def _tasks(lists: Lists) -> Iterator[Task]:
    """Row tasks turn by turn; the steps of a turn share them."""
    for step in lists.steps:
        if step.ends:
            yield from step.tasks


def _steps(student: Student, engine: LineEngine, lists: Lists, found: Addresses) -> Iterator[tuple[int, ...]]:
    number = {layer.name: i for i, layer in enumerate(student.network.layers)}
    first = 0
    for step in lists.steps:
        channel, weights = step.first_group * engine.pe, _weights(step.first_group, step.tile, student, engine, found)
        waits = step.loads, step.stores
        yield number[step.layer], first, len(step.tasks), channel, step.groups, weights, step.ends, *waits
        first += len(step.tasks) * step.ends


def _weights(first_group: int, tile: Tile | None, student: Student, engine: LineEngine, found: Addresses) -> int:
    """The address of a step's first group."""
    if tile is None:
        return 0
    layer = student.network.by_name[tile.layer]
    before = layers.weights(student, engine, layer, tile.first_group, first_group - tile.first_group)
    return found.tiles[tile] + len(before)


def _task(task: Task, rows: int, found: Addresses) -> Iterator[int]:
    read = [*task.rows, *[None] * (rows - len(task.rows))]
    yield from (0 if row is None else found.rows[row] for row in read)
    yield from (row is not None for row in read)
    yield from (0 if task.target is None else found.rows[task.target], task.begins, task.target is not None)


def _load(load: Load, found: Addresses) -> tuple[int, ...]:
    if isinstance(load.what, Tile):
        dram, place = found.dram_tiles[load.what._replace(load=-1)], found.tiles[load.what]
    else:
        dram, place = found.dram_rows[load.what._replace(reader="")], found.rows[load.what]
    return dram, place, load.size, load.steps, load.stores, isinstance(load.what, Tile)


def _store(store: Store, found: Addresses) -> tuple[int, ...]:
    return found.dram_rows[store.what], found.rows[store.what], store.size, store.steps, store.loads, 0


def _copied(target: Path) -> list[str]:
    """The modules of this folder, the package of fields first."""
    names = []
    for source in resources.files("hw.rtl.line").iterdir():
        if source.name.endswith(".sv"):
            with resources.as_file(source) as path:
                shutil.copyfile(path, target / source.name)
            names.append(source.name)
    return sorted(names, key=lambda name: (name != _PACKAGE, name))


def _layer_line(word: Word, parameters: Mapping[str, int]) -> str:
    bits, work_bits = parameters["N"], parameters["WORK_BITS"]
    absent = [Port(parameters["ROWS"], 0, 0, 0, 0, 0, 0)] * (parameters["PORTS"] - len(word.ports))  # no such row
    columns = [number for column in zip(*word.ports, *absent, strict=True) for number in column]
    numbers = [(number, bits) for number in (*word.numbers.values(), *columns)]
    return _line([*numbers, (word.addend, work_bits), (word.multiplier, work_bits)])


def _lines(entries: Iterable[Iterable[int]], bits: int) -> str:
    """A line an entry, its numbers of `bits` bits each, the first in the lowest."""
    return "".join(_line([(int(number), bits) for number in numbers]) for numbers in entries)


def _line(numbers: list[tuple[int, int]]) -> str:
    total = 0
    for number, bits in reversed(numbers):
        total = total << bits | number & ((1 << bits) - 1)
    return f"{total:x}\n"


def _top(network: str, parameters: Mapping[str, int]) -> str:
    width, beat = parameters["N"], 8 * parameters["DMA_BYTES"]
    given = ", ".join(f".{key}({value})" for key, value in parameters.items())
    return f"""\
// {network}: the lists are in *.hex.
module {TOP} (
    input  logic clk,
    input  logic rst,
    output logic read_request,
    output logic [{width - 1}:0] read_address,
    output logic [{width - 1}:0] read_bytes,
    input  logic read_beat,
    input  logic [{beat - 1}:0] read_data,
    output logic write_request,
    output logic [{width - 1}:0] write_address,
    output logic [{width - 1}:0] write_bytes,
    input  logic write_beat,
    output logic [{beat - 1}:0] write_data,
    output logic finished
);
    pl_core #({given}) core (.*);
endmodule
"""
