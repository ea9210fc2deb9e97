"""Line memory row by row: how long each row has its place there, an address map for all, the least that is enough.

Lifetimes are those of docs/line_engine.md, in steps. A row that is kept on chip and also stored has one place, which it
keeps until both are done; the page counts such a row twice, so that a map may take less than what it says.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.accelerator import LineEngine, machine
from hw.errors import BadInput, DoesNotFit
from hw.network import INPUT, Network
from sim import engine as simulator
from sim import kernels_engine as kernel
from sim import kernels_turns as turn_of
from sim import program
from sim.engine import Run
from sim.program import LARGEST, Scheduled
from sim.result import Precision

Counts = NDArray[np.int64]
Kind = Literal["row", "loaded", "sums"]
FRAMES = 2
ON_CHIP = -1
"""Instead of an edge in DRAM."""
PLACINGS = 30_000
MOST_TRIALS = 30
"""About how many buffers are placed again, half a second's, and how often an ordering is tried again, to end lower."""


class Buffer(msgspec.Struct, frozen=True):
    """A row's place in line memory, in steps counted from the run's first one.

    It has its place from step `begin` to the one before `end`; turns hold it from `wanted` to the one before `left`,
    before and after that it only waits for a transfer. `map` is its map or the mean whose sums it has, `reader` the
    layer that it was loaded for.
    """

    map: str
    kind: Kind
    reader: str
    frame: int
    row: int
    bytes: int
    begin: int
    wanted: int
    left: int
    end: int


class Plan(msgspec.Struct, frozen=True):
    """An address in bytes for every buffer of some frames.

    `extent_bytes` is the end of the highest one, `most_live_bytes` the most that live in one step: no map takes less.
    `step_ends` are cycles, one for every step.
    """

    network: str
    machine: str
    capacity_bytes: int
    ordering: str
    extent_bytes: int
    most_live_bytes: int
    buffers: tuple[Buffer, ...]
    addresses: tuple[int, ...]
    step_ends: tuple[int, ...]


class _Held(NamedTuple):
    """A buffer of one frame: layer or frame (0), edge or `ON_CHIP`, row, bytes, first and last turn that hold it."""

    kind: Kind
    layer: int
    edge: int
    row: int
    bytes: int
    first: int
    last: int


def line_engine(name: str) -> LineEngine:
    """The line engine of this name or file.

    Raises:
        BadInput: no such machine, or another kind of machine.
    """
    found = machine(name)
    if not isinstance(found, LineEngine):
        raise BadInput(f"machine {name}: a pipeline or a budget was found, a line engine is wanted")
    return found


def plan(network: Network, engine: LineEngine, precision: Precision = Precision(), frames: int = FRAMES) -> Plan:
    """Lifetimes and addresses of a run of one frame or two; `network` in the form that hardware runs.

    Raises:
        BadInput, DoesNotFit: as `sim.engine.run`.
    """
    made = simulator.run(network, engine, precision, frames)
    buffers = lifetimes(network, made)
    most = int(live_bytes(buffers).max())
    ordering, addresses, extent = _best(buffers, most)
    return Plan(
        network=network.name,
        machine=engine.name,
        capacity_bytes=engine.line_memory_bytes,
        ordering=ordering,
        extent_bytes=extent,
        most_live_bytes=most,
        buffers=buffers,
        addresses=addresses,
        step_ends=tuple(made.times.steps[:, 1].tolist()),
    )


def lifetimes(network: Network, made: Run) -> tuple[Buffer, ...]:
    """Every buffer of a run, frame by frame."""
    names = (INPUT, *network.by_name)
    graph, table, lists = made.scheduled.graph, made.scheduled.turns.table, made.program
    held = sorted(_held(made.scheduled), key=lambda one: one.layer)
    steps = lists.steps[:, kernel.S_TURN]
    places, ends = _load_places(made), _store_ends(made)
    found = []
    for frame in range(int(steps[-1]) // len(table) + 1):
        turns = np.arange(len(table)) + frame * len(table)
        starts = np.searchsorted(steps, turns).tolist()
        stops = np.searchsorted(steps, turns, side="right").tolist()
        for kind, layer, edge, row, size, first, last in held:
            wanted, left = starts[first], stops[last]
            # Sums are neither loaded nor stored, and a row is stored once however many edges load it again.
            begin = wanted if kind == "sums" else places.get((frame, layer, edge, row), wanted)
            end = ends.get((frame, layer, row), left) if kind == "row" else left
            of_map = f"sums of {names[layer]}" if kind == "sums" else names[layer]
            reader = "" if edge == ON_CHIP else names[graph.edges[edge, 1]]
            found.append(Buffer(of_map, kind, reader, frame, row, size, begin, wanted, left, max(end, left)))
    return tuple(found)


def _load_places(made: Run) -> dict[tuple[int, int, int, int], int]:
    """By frame, layer, edge and row: the step from which a load has its place."""
    steps, loads, _ = made.program
    edges = made.scheduled.graph.edges
    found = {}
    for load in loads[loads[:, kernel.L_KIND] != kernel.WEIGHTS]:
        edge, frame = int(load[kernel.L_EDGE]), int(steps[load[kernel.L_STEP], kernel.S_TURN]) // made.turns
        layer = 0 if edge == ON_CHIP else int(edges[edge, 0])
        found[frame, layer, edge, int(load[kernel.L_ROW])] = int(load[kernel.L_AFTER]) + 1
    return found


def _store_ends(made: Run) -> dict[tuple[int, int, int], int]:
    """By frame, layer and row: the step before which a store has ended."""
    layers = made.scheduled.turns.table[:, turn_of.T_LAYER]
    stores = made.program.stores
    frames, turns = np.divmod(stores[:, kernel.W_TURN], made.turns)
    keys = zip(frames.tolist(), layers[turns].tolist(), stores[:, kernel.W_ROW].tolist(), strict=True)
    return dict(zip(keys, stores[:, kernel.W_BEFORE].tolist(), strict=True))


def _held(found: Scheduled) -> Iterator[_Held]:
    """The buffers of one frame by the turns that hold them."""
    graph, turns = found.graph, found.turns
    released = [_released(found, edge) for edge in range(len(graph.edges))]
    stored = {*graph.edges[turns.in_dram == 1, 0].tolist(), graph.rows.size - 1} - {0}
    for layer in range(graph.rows.size):
        near = [released[e] for e in np.flatnonzero((graph.edges[:, 0] == layer) & (turns.in_dram == 0))]
        yield from _rows(found, layer, near, stored=layer in stored)
        yield from _sums(found, layer)
    for turn, (first, last) in enumerate(turns.table[:, [turn_of.T_LOADS, turn_of.T_LOADS_END]].tolist()):
        for edge, row in turns.row_loads[first:last].tolist():
            if edge != ON_CHIP:
                source = int(graph.edges[edge, 0])
                yield _Held("loaded", source, edge, row, int(graph.row_bytes[source]), turn, int(released[edge][row]))


def _rows(found: Scheduled, layer: int, near: list[Counts], *, stored: bool) -> Iterator[_Held]:
    """Rows of a map: from the turn that makes them, or of the frame has them loaded, to the last that needs them.

    `near` are the turns that release them, of each edge on chip.
    """
    table, size = found.turns.table, int(found.graph.row_bytes[layer])
    made = table[:, turn_of.T_MADE] * (table[:, turn_of.T_LAYER] == layer) if layer else table[:, turn_of.T_ARRIVED]
    born = np.repeat(np.arange(len(table)), made)
    last = np.max([released[: born.size] for released in near], axis=0) if near else np.full(born.size, -1)
    for row, (first, until) in enumerate(zip(born.tolist(), last.tolist(), strict=True)):
        if stored or until >= first:
            yield _Held("row", layer, ON_CHIP, row, size, first, max(first, until))


def _released(found: Scheduled, edge: int) -> Counts:
    """Of every row of an edge's source: the turn of the reader after which it needs the row no more."""
    graph, table = found.graph, found.turns.table
    source, reader = graph.edges[edge].tolist()
    mine = np.flatnonzero(table[:, turn_of.T_LAYER] == reader)
    kept = graph.kept[graph.first_task[reader] + reader - 1 + table[mine, turn_of.T_END]]
    released: Counts = mine[np.searchsorted(kept, np.arange(graph.rows[source]), side="right")]
    return released


def _sums(found: Scheduled, layer: int) -> Iterator[_Held]:
    """A mean's rows of sums; those that follow each other in one turn share a place."""
    graph, table = found.graph, found.turns.table
    if not graph.sum_bytes[layer]:
        return
    first, row, made = -1, 0, 0
    for turn in np.flatnonzero(table[:, turn_of.T_LAYER] == layer).tolist():
        if first < 0:
            first, row = turn, made
        made += int(table[turn, turn_of.T_MADE])
        if graph.emits[graph.first_task[layer] + table[turn, turn_of.T_END] - 1]:
            yield _Held("sums", layer, ON_CHIP, row, int(graph.sum_bytes[layer]), first, turn)
            first = -1


def live_bytes(buffers: tuple[Buffer, ...]) -> Counts:
    """Bytes that live in every step."""
    change = np.zeros(max(buffer.end for buffer in buffers) + 1, np.int64)
    np.add.at(change, [buffer.begin for buffer in buffers], [buffer.bytes for buffer in buffers])
    np.subtract.at(change, [buffer.end for buffer in buffers], [buffer.bytes for buffer in buffers])
    live: Counts = np.cumsum(change)[:-1]
    return live


def _best(buffers: tuple[Buffer, ...], bound: int) -> tuple[str, tuple[int, ...], int]:
    """The ordering whose first fit ends lowest, its addresses, where it ends; none is tried after one at `bound`.

    Each ordering is tried some times more, the buffers at the top put first: those for which it was too late.
    """
    begin, end, size = np.array([(buffer.begin, buffer.end, buffer.bytes) for buffer in buffers], np.int64).T
    orderings = {
        "largest first": np.lexsort((begin, -size)),
        "first come": np.lexsort((-size, begin)),
        "last to leave first": np.lexsort((-size, -end)),
        "longest first": np.lexsort((begin, -size, begin - end)),
        "bytes x steps": np.lexsort((begin, (begin - end) * size)),
    }
    best, addresses, extent = "", begin, int(size.sum()) + 1
    for name, order in orderings.items():
        for _ in range(1 + min(max(1, PLACINGS // (len(orderings) * size.size)), MOST_TRIALS)):
            low = _first_fit(begin, end, size, order)
            top = int((low + size).max())
            if top < extent:
                best, addresses, extent = name, low, top
            if extent == bound:
                return best, tuple(addresses.tolist()), extent
            late = (low + size)[order] == top
            order = np.concatenate([order[late], order[~late]])
    return best, tuple(addresses.tolist()), extent


def _first_fit(begin: Counts, end: Counts, size: Counts, order: Counts) -> Counts:
    """In some order, each buffer at the lowest address that is free for all of its life."""
    begin, end, size = begin[order], end[order], size[order]
    low = np.zeros(order.size, np.int64)
    for i in range(order.size):
        meets = np.flatnonzero((begin[:i] < end[i]) & (end[:i] > begin[i]))
        meets = meets[np.argsort(low[meets])]
        free = np.concatenate([[0], np.maximum.accumulate(low[meets] + size[meets])])
        gaps = low[meets] - free[:-1] >= size[i]
        low[i] = free[gaps.argmax() if gaps.any() else -1]
    addresses = np.empty_like(low)
    addresses[order] = low
    return addresses


def check(made: Plan) -> None:
    """Hold every buffer against every other: none that live in one step share a byte, none lies beyond the extent.

    Raises:
        ValueError: the plan is wrong.
    """
    low = np.array(made.addresses)
    begin, end, high = np.array([(b.begin, b.end, b.bytes) for b in made.buffers]).T
    high = high + low
    if low.min() < 0 or high.max() != made.extent_bytes or (begin >= end).any():
        raise ValueError(f"{made.network}: a buffer outside of the {made.extent_bytes} bytes, or without a step")
    for i, buffer in enumerate(made.buffers):
        together = (begin[:i] < end[i]) & (begin[i] < end[:i]) & (low[:i] < high[i]) & (low[i] < high[:i])
        if together.any():
            raise ValueError(f"{made.network}: {buffer} shares bytes with {made.buffers[int(together.argmax())]}")


def least_line_memory(network: Network, engine: LineEngine, precision: Precision = Precision()) -> int:
    """The least `line_memory_bytes` with which the engine's schedule fits: less by one byte does not.

    Whether it fits never ends with more memory: line by line it does if one of the stages on the way to all skips in
    DRAM fits, and which stages there are does not depend on the memory; layer by layer if it does with all in DRAM.
    """
    too_little, enough = 0, program.place(network, with_memory(engine, LARGEST), precision).peak_bytes
    while enough - too_little > 1:
        middle = (too_little + enough) // 2
        try:
            enough = program.place(network, with_memory(engine, middle), precision).peak_bytes
        except DoesNotFit:
            too_little = middle
    return enough


def with_memory(engine: LineEngine, size: int) -> LineEngine:
    """The engine with so many bytes of line memory."""
    return msgspec.structs.replace(engine, line_memory_bytes=size)
