"""Runs the line engine's RTL under Icarus or Verilator, and holds it against `sim.engine` and `hw.reference`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from hw import reference
from hw.accelerator import LineEngine
from hw.files import write_text
from hw.fixed import Integers
from hw.network import INPUT, Edge, Layer, Network
from hw.rtl import line
from hw.rtl.line import Design, Life, Lists, Load, Place, Row, Step, Store, Task, Tile, first_fit, memories
from hw.rtl.line.bench import AFTER, BEFORE, Trace, bench, trace
from hw.rtl.line.logits import byte_logits
from hw.student import Student
from sim import engine as machine
from sim import kernels_engine as kernel
from sim import kernels_turns as turn_of
from sim.cosim import student_of
from sim.engine import Run
from sim.program import Counts
from sim.result import Precision
from sim.rtl_simulators import Simulator, check_available, run_bench, write_readme

_PRINTS = f"""\
It prints in which cycle the load unit, the array (`step`) and the store unit start and end each entry of their lists,
in order, and when the run ends. `{BEFORE}` is what DRAM holds before; `{AFTER}`, with the results' rows, is
written at the end.
"""
PRECISION = Precision(8, 8)
"""A byte a number, whatever fewer bits its format has."""


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The RTL held against simulation and reference.

    `first_difference` names the first entry of a list whose start or end differs, with both; empty if none does.
    `numbers` are those of all rows that go to DRAM. `line_bytes` and `weight_bytes` are what the addresses take.
    `note` says what was changed of a student whose logits are wider than a byte.
    """

    simulator: str
    frames: int
    entries: int
    wrong_entries: int
    cycles: int
    first_difference: str
    numbers: int
    wrong_numbers: int
    line_bytes: int
    weight_bytes: int
    note: str = ""

    @property
    def exact(self) -> bool:
        """Whether every cycle and every bit agree."""
        return not self.first_difference and self.wrong_numbers == 0

    def __str__(self) -> str:
        times = self.first_difference or f"all {self.entries:,} steps, loads and stores equal"
        data = f"{self.wrong_numbers:,} numbers wrong" if self.wrong_numbers else f"all {self.numbers:,} numbers equal"
        told = f"{self.simulator}, {self.frames} frames: {self.cycles:,} cycles in the simulation; {times}; {data}"
        return f"{told}; {self.note}" if self.note else told


def check_run(
    folder: Path, engine: LineEngine, frames: int, *, simulator: Simulator = "icarus", out: Path | None = None
) -> Verdict:
    """`check` the student of a run on the first of its test images, row strides lifted; keep the design in `out`.

    Its logits get 8 bits (`hw.rtl.line.logits`).

    Raises:
        BadInput: no student, more frames than test images, a design in `out` already, or as `check`.
        DoesNotFit, UnsupportedLayer, MissingTool: as `check`.
    """
    given = student_of(folder, frames, out)
    made = byte_logits(given)
    verdict = check(made, engine, made.images[:frames], simulator=simulator, folder=out)
    if made is given:
        return verdict
    classes = [each.outputs[:frames].reshape(frames, -1).argmax(1) for each in (made, given)]
    kept = int((classes[0] == classes[1]).sum())
    note = f"logits in {made.formats[made.network.output.name].out} have the same class on {kept} of {frames}"
    return msgspec.structs.replace(verdict, note=note)


def check(
    student: Student,
    engine: LineEngine,
    images: Integers,
    *,
    simulator: Simulator = "icarus",
    place: Place = first_fit,
    folder: Path | None = None,
) -> Verdict:
    """Run `images` (n, rows, cols, channels), a frame each, in RTL, simulation and reference, and compare.

    `student` has the form that hardware runs (`hw.student.lifted`); `place` gives rows their addresses in line memory.

    Raises:
        BadInput, UnsupportedLayer: the RTL does not do this, or the simulator refuses the design.
        DoesNotFit: as `sim.engine.run`, or `place` leaves out a row.
        MissingTool: the simulator is not installed.
    """
    check_available(simulator)
    line.check(student, engine)
    made = machine.run(student.network, engine, PRECISION, len(images))
    with tempfile.TemporaryDirectory() as temporary:
        design = line.write(student, engine, lists(student.network, engine, made), folder or Path(temporary), place)
        write_text(design.folder / BEFORE, memories.dram(student, engine, design.addresses, images))
        limit = 2 * int(made.times.finishes.max()) + 1000
        write_text(design.folder / "bench.sv", bench(design, engine, limit))
        sources = [*design.sources, "bench.sv"]
        write_readme(design.folder, sources, f"{student.network.name} on {engine.name}", _PRINTS)
        found = trace(run_bench(design.folder, sources, simulator), (design.folder / AFTER).read_text())
    return _verdict(student, images, made, design, found, simulator)


def _verdict(
    student: Student, images: Integers, made: Run, design: Design, found: Trace, simulator: Simulator
) -> Verdict:
    expected = {"step": made.times.steps[:, :2], "load": made.times.loads, "store": made.times.stores}
    differences: list[tuple[int, str]] = []
    wrong = 0
    for unit, seen in found.times.items():
        own, text, cycle = _difference(unit, expected[unit], seen)
        wrong += own
        differences += [(cycle, text)] * bool(text)
    results = reference.layer_outputs(student, images)
    numbers = bad = 0
    for row, address in design.addresses.dram_rows.items():
        if row.map != INPUT:
            true = results[row.map][row.frame, row.number].ravel()
            numbers += true.size
            bad += int((found.dram[address : address + true.size] != (true & 255)).sum())
    return Verdict(
        simulator=simulator,
        frames=len(images),
        entries=sum(len(times) for times in expected.values()),
        wrong_entries=wrong,
        cycles=int(made.times.finishes.max()),
        first_difference=found.fault or min(differences, default=(0, ""))[1],
        numbers=numbers,
        wrong_numbers=bad,
        line_bytes=design.addresses.line_bytes,
        weight_bytes=design.addresses.weight_bytes,
    )


def _difference(unit: str, expected: Counts, seen: Integers) -> tuple[int, str, int]:
    """How many entries differ, the first of them in words, and when it should start."""
    count = min(len(seen), len(expected))
    off = np.flatnonzero((seen[:count] != expected[:count]).any(axis=1))
    wrong = off.size + abs(len(expected) - len(seen))
    if not wrong:
        return 0, "", 0
    i = int(off[0]) if off.size else count
    there, wanted = (tuple(times[i].tolist()) if i < len(times) else "never" for times in (seen, expected))
    text = f"{unit} {i} starts and ends in cycles {there} in RTL, {wanted} in the simulation"
    return wrong, text, int(expected[min(i, len(expected) - 1), 0])


def lists(network: Network, engine: LineEngine, made: Run) -> Lists:
    """The lists of a run by the names of rows and tiles, and how long each of them lives."""
    naming = _Naming(network, made)
    tiles = list(_tiles(naming))
    steps = tuple(_steps(naming, tiles))
    loads = tuple(_loads(naming, tiles, shared=engine.dma_channels == 1))
    stores = tuple(_stores(naming, shared=engine.dma_channels == 1))
    before = made.program.stores[:, kernel.W_BEFORE].tolist()
    frames = int(made.program.steps[-1, kernel.S_TURN]) // made.turns + 1
    sizes = {name: shape.cols * shape.channels for name, shape in network.shapes.items()}
    rows: dict[Row, Life] = {}
    there: dict[Tile, Life] = {}
    for load, s in zip(loads, made.program.loads[:, kernel.L_STEP].tolist(), strict=True):
        life = Life(load.size, load.steps, s + 1)
        if isinstance(load.what, Tile):
            there[load.what] = life
        else:
            rows[load.what] = life
    first = 0
    for s, step in enumerate(steps):
        used = {row for task in step.tasks for row in task.rows if row}
        for row in {task.target for task in step.tasks if task.target}:
            rows.setdefault(row, Life(sizes[row.map], first, first))
            used.add(row)
        rows |= {row: rows[row]._replace(end=max(rows[row].end, s + 1)) for row in used}
        if step.tile:
            begun = there.get(step.tile, Life(int(naming.cost.weight_bytes[naming.layers[s]]), 0, len(steps)))
            there[step.tile] = begun._replace(end=max(begun.end, s + 1))
        first = s + 1 if step.ends else first
    for store, end in zip(stores, before, strict=True):
        rows[store.what] = rows[store.what]._replace(end=max(rows[store.what].end, end))
    return Lists(frames, steps, loads, stores, rows, there)


class _Naming:
    """A run's numbers with the names of layers, rows and tiles."""

    def __init__(self, network: Network, made: Run) -> None:
        self.network, self.made = network, made
        self.names = (INPUT, *network.by_name)
        self.edges = [Edge(source, layer.name) for layer in network.layers for source in layer.inputs]
        self.in_dram = made.scheduled.turns.in_dram.astype(bool).tolist()
        self.cost = made.scheduled.cost
        self.frames, self.turns = np.divmod(made.program.steps[:, kernel.S_TURN], made.turns)
        self.layers: list[int] = made.scheduled.turns.table[self.turns, turn_of.T_LAYER].tolist()

        ends = made.program.steps[:, kernel.S_ENDS]
        since = np.maximum.accumulate(np.where(np.roll(ends, 1), np.arange(len(ends)), 0))
        self.tile_numbers = (np.arange(len(ends)) - since).tolist()

    def groups(self, s: int) -> tuple[int, int]:
        """The first group of a step, and how many it has."""
        n = self.layers[s]
        most = int(self.cost.tile_groups[n])
        first = self.tile_numbers[s] * most
        return first, min(most, int(self.cost.groups[n]) - first)

    def layer(self, s: int) -> Layer:
        """The layer of a step."""
        return self.network.layers[self.layers[s] - 1]

    def read(self, frame: int, edge: int, number: int) -> Row:
        """The copy of a row that an edge's reader reads."""
        source, target = self.edges[edge]
        return Row(frame, source, number, target if self.in_dram[edge] else "")


def _tiles(naming: _Naming) -> Iterator[Tile | None]:
    """The tile that each step uses."""
    loads, cost = naming.made.program.loads, naming.cost
    brought = {s: i for i, (s, kind) in enumerate(loads[:, [kernel.L_STEP, kernel.L_KIND]].tolist()) if not kind}
    assert kernel.WEIGHTS == 0
    last: Tile | None = None
    for s, n in enumerate(naming.layers):
        if cost.weight_bytes[n] == 0:
            yield None
        elif cost.resident[n]:
            yield Tile(naming.names[n], 0, int(cost.groups[n]), -1)
        else:
            last = Tile(naming.names[n], *naming.groups(s), brought[s]) if s in brought else last
            yield last


def _steps(naming: _Naming, tiles: list[Tile | None]) -> Iterator[Step]:
    steps, loads, stores = naming.made.program
    # What ends last of that which a step waits for has the greatest number.
    by_loads, by_stores = np.zeros(len(steps), np.int64), np.zeros(len(steps) + 1, np.int64)
    by_loads[loads[:, kernel.L_STEP]] = np.arange(len(loads)) + 1
    by_stores[stores[:, kernel.W_BEFORE]] = np.arange(len(stores)) + 1
    for s, ends in enumerate(steps[:, kernel.S_ENDS].tolist()):
        name, tasks = naming.names[naming.layers[s]], tuple(_tasks(naming, s))
        yield Step(name, tasks, *naming.groups(s), tiles[s], bool(ends), int(by_loads[s]), int(by_stores[s]))


def _tasks(naming: _Naming, s: int) -> Iterator[Task]:
    """The row tasks of a step's turn."""
    layer, frame = naming.layer(s), int(naming.frames[s])
    graph, table = naming.made.scheduled.graph, naming.made.scheduled.turns.table
    n = naming.layers[s]
    edges = range(int(graph.first_edge[n]), int(graph.first_edge[n + 1]))
    rows = naming.network.input_shape(layer).rows
    height = layer.kernel.rows
    for task in range(*table[naming.turns[s], [turn_of.T_FIRST, turn_of.T_END]].tolist()):
        if len(edges) > 1:
            yield Task(tuple(naming.read(frame, e, task) for e in edges), Row(frame, layer.name, task), True)
        elif layer.accumulates:
            made, over = divmod(task, height)
            target = Row(frame, layer.name, made) if over == height - 1 else None
            yield Task((naming.read(frame, edges[0], task),), target, over == 0)
        else:
            first = task * layer.stride.rows // layer.factor.rows - layer.padding.top
            window = range(first, first + height)
            read = tuple(naming.read(frame, edges[0], row) if 0 <= row < rows else None for row in window)
            yield Task(read, Row(frame, layer.name, task), True)


def _loads(naming: _Naming, tiles: list[Tile | None], *, shared: bool) -> Iterator[Load]:
    order = naming.made.program.stores[:, kernel.W_ORDER]
    for load in naming.made.program.loads.tolist():
        s, stores = load[kernel.L_STEP], load[kernel.L_STORE] + 1
        if shared:  # in the one list stores for its step or an earlier one stand before it
            stores = max(stores, int(np.searchsorted(order, s, "right")))
        if load[kernel.L_KIND] == kernel.WEIGHTS:
            what: Row | Tile | None = tiles[s]
            assert what is not None
        elif load[kernel.L_EDGE] < 0:
            what = Row(int(naming.frames[s]), INPUT, load[kernel.L_ROW])
        else:
            what = naming.read(int(naming.frames[s]), load[kernel.L_EDGE], load[kernel.L_ROW])
        yield Load(what, load[kernel.L_BYTES], load[kernel.L_AFTER] + 1, stores)


def _stores(naming: _Naming, *, shared: bool) -> Iterator[Store]:
    for_steps = naming.made.program.loads[:, kernel.L_STEP]
    for store in naming.made.program.stores.tolist():
        s = store[kernel.W_AFTER]
        loads = int(np.searchsorted(for_steps, store[kernel.W_ORDER])) if shared else 0
        what = Row(int(naming.frames[s]), naming.names[naming.layers[s]], store[kernel.W_ROW])
        yield Store(what, store[kernel.W_BYTES], s + 1, loads)
