"""A network and a `LineEngine` as the three units' lists: turns, steps, loads, stores (docs/line_engine.md).

What depends on the network alone, on line memory, or on the rest of the machine is found apart, for sweeps to share.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hw.accelerator import LineEngine, Schedule, Skips
from hw.errors import BadInput, DoesNotFit, did_you_mean
from hw.network import INPUT, Edge, Layer, Network
from sim import kernels_engine as kernel
from sim import kernels_turns, memory
from sim.kernels_engine import Array, Cost, Frame, Memory, Program
from sim.kernels_turns import Graph
from sim.result import Precision

Counts = NDArray[np.int64]
LARGEST = 1 << 40
"""Of every figure of a machine: more would leave the kernels' 64-bit integers no room to count."""
DRAIN_CYCLES = 6
"""Registers that empty at the end of a turn."""


@dataclass(frozen=True, eq=False)
class Turns:
    """A frame's turns as `kernels_turns` has them, with the rows that they load; which edges are in DRAM."""

    table: Counts
    row_loads: Counts
    in_dram: Counts
    frame: Frame

    @property
    def peak_bytes(self) -> int:
        """The most bytes that a turn holds."""
        return int(self.table[:, kernels_turns.T_BYTES].max())


@dataclass(frozen=True, eq=False)
class Scheduled:
    """A network on a machine, ready to run."""

    graph: Graph
    turns: Turns
    cost: Cost
    memory: Memory
    resident: frozenset[str]


def schedule(network: Network, engine: LineEngine, precision: Precision = Precision()) -> Scheduled:
    """Everything that is decided before a run; `network` in the form that hardware runs.

    Raises:
        BadInput: a figure of the machine is beyond what can be counted, or names a layer that is not there.
        DoesNotFit: line memory or weight memory is too small; what is wanted, what is there and the cure are told.
    """
    check_figures(engine)
    graph = graph_of(network, precision)
    turns = place(network, engine, precision)
    cost = _cost(network, engine, turns, precision)
    resident = frozenset(layer.name for layer, stays in zip(network.layers, cost.resident[1:], strict=True) if stays)
    return Scheduled(graph, turns, cost, _memory(engine, cost), resident)


def program(found: Scheduled, frames: int) -> Program:
    """The units' lists for some frames."""
    return kernel.plan(found.turns.frame, found.cost, found.memory, frames, DRAIN_CYCLES)


def check_figures(engine: LineEngine) -> None:
    """Refuse what 64 bits cannot count.

    Raises:
        BadInput: a figure is beyond that.
    """
    for key in ("pe", "simd", "lanes", "line_memory_bytes", "weight_memory_bytes", "dram_latency_cycles"):
        if getattr(engine, key) > LARGEST:
            raise BadInput(
                f"machine {engine.name}: {key} {getattr(engine, key)} was found, at most {LARGEST} is wanted"
            )
    if engine.dram_bytes_per_cycle < 1 / LARGEST:
        raise BadInput(
            f"machine {engine.name}: dram_bytes_per_cycle {engine.dram_bytes_per_cycle} was found, "
            f"at least {1 / LARGEST} is wanted"
        )


@lru_cache(maxsize=64)
def graph_of(network: Network, precision: Precision) -> Graph:
    """A network's rows, tasks and edges as the kernels' tables."""
    index = {name: n for n, name in enumerate((INPUT, *network.by_name))}
    shapes = [network.shapes[name] for name in index]
    row_bytes = [
        memory.bytes_of(shape.cols * shape.channels, precision.bits_of(name))
        for name, shape in zip(index, shapes, strict=True)
    ]
    tables = [_row_tables(network, layer) for layer in network.layers]
    tasks = [0, 0, *(table[0].size for table in tables)]
    edges = [(index[source], index[layer.name]) for layer in network.layers for source in layer.inputs]
    inputs = [0, 0, *(len(layer.inputs) for layer in network.layers)]
    return Graph(
        rows=_counts([shape.rows for shape in shapes]),
        row_bytes=_counts(row_bytes),
        sum_bytes=_counts([0, *(_sum_bytes(network, layer) for layer in network.layers)]),
        first_task=np.cumsum(_counts(tasks)),
        need=np.concatenate([table[0] for table in tables]),
        kept=np.concatenate([table[1] for table in tables]),
        emits=np.concatenate([table[2] for table in tables]),
        edges=_counts(edges),
        first_edge=np.cumsum(_counts(inputs)),
        readers=np.argsort([source for source, _ in edges], kind="stable"),
        first_reader=np.searchsorted(sorted(source for source, _ in edges), np.arange(len(index) + 1)),
    )


def _counts(values: Sequence[int | tuple[int, ...]]) -> Counts:
    return np.array(values, np.int64)


def _row_tables(network: Network, layer: Layer) -> tuple[Counts, Counts, Counts]:
    """Of every row task: input rows wanted, first row kept before it (one entry more: after the last), rows made."""
    rows, made = network.input_shape(layer).rows, network.shapes[layer.name].rows
    count = made * layer.kernel.rows if layer.accumulates else made
    tasks = np.arange(count + 1)
    if layer.kind == "upsample":
        first = tasks // layer.factor.rows
        need, emits = first + 1, np.ones(tasks.size, np.bool_)
    elif layer.accumulates:
        need, first, emits = tasks + 1, tasks, (tasks + 1) % layer.kernel.rows == 0
    else:
        first = tasks * layer.stride.rows - layer.padding.top
        need, emits = first + layer.kernel.rows, np.ones(tasks.size, np.bool_)
    kept = np.clip(first, 0, rows)
    kept[-1] = rows
    return np.minimum(need[:-1], rows), kept, emits[:-1].astype(np.int64)


def _sum_bytes(network: Network, layer: Layer) -> int:
    """Bytes of the row of sums that lasts from task to task of a mean over rows."""
    if not (layer.accumulates and layer.mixes_rows):
        return 0
    shape = network.shapes[layer.name]
    return memory.bytes_of(shape.cols * shape.channels, memory.ACCUMULATOR_BITS)


def place(network: Network, engine: LineEngine, precision: Precision) -> Turns:
    """The turns of a frame, and where rows are, for the machine's schedule, row group and line memory.

    Raises:
        DoesNotFit: a turn wants more than line memory has.
    """
    found = _placed(network, precision, engine.schedule, engine.line_memory_bytes, engine.row_group, engine.skips)
    if found.peak_bytes > engine.line_memory_bytes:
        raise DoesNotFit(_too_little(network, engine, precision, found))
    return found


@lru_cache(maxsize=256)
def _placed(
    network: Network, precision: Precision, schedule: Schedule, line_bytes: int, group: int, skips: Skips
) -> Turns:
    """As small as the skips allow; shared between machines that differ in nothing else, so only to be read."""
    found = _line_by_line if schedule == "line_by_line" else _layer_by_layer
    return found(network, graph_of(network, precision), line_bytes, group, skips)


def _too_little(network: Network, engine: LineEngine, precision: Precision, found: Turns) -> str:
    fullest = int(found.table[:, kernels_turns.T_BYTES].argmax())
    layer = network.layers[int(found.table[fullest, kernels_turns.T_LAYER]) - 1]
    words = engine.schedule.replace("_", " ")
    cure = f"give it {found.peak_bytes}"
    if engine.row_group > 1:
        cure += " or a smaller row_group"
    if engine.skips == "keep" and engine.schedule == "line_by_line":
        cure += " or skips: auto"
    if engine.schedule == "line_by_line":
        other = _placed(network, precision, "layer_by_layer", engine.line_memory_bytes, engine.row_group, engine.skips)
        cure += " or schedule: layer_by_layer" if other.peak_bytes <= engine.line_memory_bytes else ""
    return (
        f"machine {engine.name}: line memory of {engine.line_memory_bytes} bytes was found, {found.peak_bytes} are "
        f"wanted by {network.name} {words} at layer {layer.name}; {cure}"
    )


def _line_by_line(network: Network, graph: Graph, line_bytes: int, group: int, skips: str) -> Turns:
    """Skip edges go to DRAM one by one until line memory holds the rest."""
    turns = kernels_turns.line_by_line(graph, group)
    skip_edges = _skip_edges(network, graph)
    in_dram = np.zeros(len(graph.edges), np.int64)
    if skips == "spill":
        in_dram[skip_edges] = 1
    found = _occupied(graph, turns, in_dram, by_line=True)
    while skips == "auto" and found.peak_bytes > line_bytes:
        tried = [_occupied(graph, turns, _with(in_dram, [e]), by_line=True) for e in skip_edges if not in_dram[e]]
        best = min(tried, key=lambda turns: turns.peak_bytes, default=found)
        if best.peak_bytes >= found.peak_bytes:
            return _occupied(graph, turns, _with(in_dram, skip_edges), by_line=True)
        found, in_dram = best, best.in_dram
    return found


def _with(in_dram: Counts, edges: list[int]) -> Counts:
    more = in_dram.copy()
    more[edges] = 1
    return more


def _layer_by_layer(network: Network, graph: Graph, line_bytes: int, group: int, skips: str) -> Turns:
    """Maps stay on chip, first come first served, where they fit."""
    turns = kernels_turns.layer_by_layer(graph, group)
    in_dram = np.ones(len(graph.edges), np.int64)
    found = _occupied(graph, turns, in_dram, by_line=False)
    if found.peak_bytes > line_bytes:
        return found
    never = set(graph.edges[_skip_edges(network, graph), 0].tolist()) if skips == "spill" else set()
    for n in range(1, graph.rows.size - 1):
        mine = graph.edges[:, 0] == n
        if n in never or not mine.any():
            continue
        in_dram[mine] = 0
        tried = _occupied(graph, turns, in_dram, by_line=False)
        if tried.peak_bytes > line_bytes:
            in_dram[mine] = 1
        else:
            found = tried
    return found


def _skip_edges(network: Network, graph: Graph) -> list[int]:
    """Edges into an add or concat from a map that does not stand right before it."""
    joins = {n for n, layer in enumerate(network.layers, 1) if layer.kind in ("add", "concat")}
    return [e for e, (source, reader) in enumerate(graph.edges.tolist()) if reader in joins and source != reader - 1]


def _occupied(graph: Graph, turns: Counts, in_dram: Counts, *, by_line: bool) -> Turns:
    table = turns.copy()
    stored = _stored(graph, in_dram)
    row_loads = kernels_turns.occupy(graph, table, in_dram, stored)
    kind = np.full(len(graph.edges), kernel.SPILLS_IN, np.int64)
    if not by_line:
        kind[np.flatnonzero(graph.edges[:, 0] == 0)[0]] = kernel.LINES_IN
    layer, first, end, _, made, held, first_load, last_load = np.ascontiguousarray(table.T)
    edge, row = np.ascontiguousarray(row_loads.T)
    sources = graph.edges[:, 0].copy()
    by_turn = (layer, end - first, made, held, first_load, last_load)
    frame = Frame(*by_turn, edge, row, sources, kind, graph.rows, graph.row_bytes, stored)
    return Turns(table, row_loads, in_dram.copy(), frame)


def _stored(graph: Graph, in_dram: Counts) -> Counts:
    """Which maps are written to DRAM: the result, and those with an edge there."""
    stored = np.zeros(graph.rows.size, np.int64)
    stored[graph.edges[in_dram == 1, 0]] = 1
    stored[0], stored[-1] = 0, 1
    return stored


def edges_in_dram(network: Network, found: Turns) -> frozenset[str]:
    """Names of the edges whose rows are loaded from DRAM."""
    names = [str(Edge(source, layer.name)) for layer in network.layers for source in layer.inputs]
    return frozenset(name for name, there in zip(names, found.in_dram, strict=True) if there)


@lru_cache(maxsize=64)
def layers_of(network: Network) -> Counts:
    """The kernels' table of layers; row 0 is the frame."""
    rows = [(0, 0, 0, 0, 0)]
    for layer in network.layers:
        inputs, outputs = network.input_shape(layer), network.shapes[layer.name]
        shapes = network.weight_shapes(layer)
        weights = sum(math.prod(shape) for key, shape in shapes.items() if key != "bias") // outputs.channels
        bias_bytes = memory.ACCUMULATOR_BITS // 8 if "bias" in shapes else 0
        cols = outputs.cols if layer.convolves else max(inputs.cols, outputs.cols)
        rows.append((outputs.channels, cols, network.layer_terms(layer), weights, bias_bytes))
    return _counts(rows)


def _cost(network: Network, engine: LineEngine, turns: Turns, precision: Precision) -> Cost:
    """Groups, tiles and residents.

    Raises:
        BadInput: a resident layer that is not there.
        DoesNotFit: weight memory is too small.
    """
    per_layer = np.bincount(turns.table[:, kernels_turns.T_LAYER], minlength=len(network.layers) + 1)
    mode, given = residents(network, engine)
    found: Cost = kernel.price(layers_of(network), per_layer, array_of(engine, precision), mode, given)
    resident = int((found.weight_bytes * found.resident).sum())
    if resident > engine.weight_memory_bytes:
        raise DoesNotFit(
            f"machine {engine.name}: weight memory of {engine.weight_memory_bytes} bytes was found, {resident} are "
            f"wanted by the weights that stay there; give it {resident}, or resident: auto"
        )
    beyond = np.flatnonzero(found.tiles == 0)
    if beyond.size:
        n = int(beyond[0])
        channels = min(engine.pe, int(layers_of(network)[n, kernel.C_CHANNELS]))
        group = -(-found.weight_bytes[n] * channels // layers_of(network)[n, kernel.C_CHANNELS])
        raise DoesNotFit(
            f"layer {network.layers[n - 1].name}: the weights of {channels} channels are {group} bytes, weight memory "
            f"of machine {engine.name} has {engine.weight_memory_bytes - resident} left; "
            f"give it {group + resident}, or fewer pe"
        )
    return found


def residents(network: Network, engine: LineEngine) -> tuple[int, Counts]:
    """The kernels' mode and marks."""
    given = np.zeros(len(network.layers) + 1, np.int64)
    if isinstance(engine.resident, str):
        return {"none": kernel.NONE, "all": kernel.ALL, "auto": kernel.AUTO}[engine.resident], given
    names = list(network.by_name)
    for name in engine.resident:
        if name not in network.by_name:
            raise BadInput(
                f"machine {engine.name}: resident layer {name} is not in network {network.name}"
                f"{did_you_mean(name, names)}"
            )
        given[names.index(name) + 1] = 1
    return kernel.GIVEN, given


def array_of(engine: LineEngine, precision: Precision) -> Array:
    """The machine's array as the kernels want it."""
    sizes = engine.pe, engine.simd, engine.lanes
    return Array(*sizes, precision.weight_bits, engine.weight_memory_bytes, engine.prefetch)


def figures(
    network: Network, engines: Sequence[LineEngine], precision: Precision
) -> tuple[Counts, NDArray[np.float64], Counts]:
    """Machines as the rows of `kernels_engine.run_many`: figures, bytes a cycle, given residents.

    Raises:
        BadInput: a resident layer that is not there.
    """
    rows, marks = [], []
    for engine in engines:
        mode, given = residents(network, engine)
        array = (engine.pe, engine.simd, engine.lanes, precision.weight_bits)
        memories = (engine.line_memory_bytes, engine.weight_memory_bytes, engine.prefetch)
        rows.append((*array, *memories, engine.dma_channels, engine.dram_latency_cycles, engine.dram_burst_bytes, mode))
        marks.append(given)
    rates = np.array([engine.dram_bytes_per_cycle for engine in engines], np.float64)
    return _counts(rows), rates, np.array(marks)


def _memory(engine: LineEngine, cost: Cost) -> Memory:
    return Memory(
        engine.line_memory_bytes,
        engine.weight_memory_bytes,
        int((cost.weight_bytes * cost.resident).sum()),
        engine.prefetch,
        engine.dma_channels,
        float(engine.dram_bytes_per_cycle),
        engine.dram_latency_cycles,
        engine.dram_burst_bytes,
    )
