"""A network on a `LineEngine`: check, pack, run, unpack. The semantics are those of docs/line_engine.md."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.accelerator import LineEngine
from hw.errors import BadInput, DoesNotFit
from hw.network import INPUT, Layer, Network
from sim import kernels_engine, memory
from sim.result import LayerResult, Precision, Result, summarise

Counts = NDArray[np.int64]
LARGEST = 1 << 40
"""Of every figure of a machine: more would leave the kernels' 64-bit integers no room to count."""
CAUSES = ("compute", "weights", "lines_in", "lines_out")


@dataclass(frozen=True)
class _Packed:
    """A network as the kernels' arrays, indexed by layer; 0 is the input."""

    inputs: Counts
    tasks: Counts
    rows: Counts
    row_bytes: Counts
    sum_bytes: Counts
    task_cycles: Counts
    weight_bytes: Counts


def simulate(given: Network, executed: Network, engine: LineEngine, precision: Precision = Precision()) -> Result:
    """Run `executed`, the form of `given` that hardware runs, for one frame in the engine's schedule.

    Raises:
        BadInput: a figure of the machine is beyond what can be counted.
        DoesNotFit: the line memory is too small; the layer, the bytes wanted and the bytes there are told.
    """
    _check_figures(engine)
    packed = _pack(executed, engine, precision)
    count = packed.rows.size
    cycles = np.zeros((count, len(CAUSES)), np.int64)
    traffic = np.zeros((count, len(CAUSES)), np.int64)
    begin, finish = np.zeros((2, count), np.int64)
    run = _line_by_line if engine.schedule == "line_by_line" else _layer_by_layer
    peak = run(executed, engine, packed, cycles, traffic, begin, finish)
    total = int(cycles.sum())
    layers = [
        _layer_result(executed, engine, precision, layer, cycles[n], int(begin[n]), int(finish[n]))
        for n, layer in enumerate(executed.layers, 1)
    ]
    return summarise(
        given,
        executed,
        engine.name,
        engine.clock_mhz,
        engine.macs,
        total,
        total,
        layers,
        line_memory_bytes=peak,
        cycles_by_cause={cause: int(cycles[:, i].sum()) for i, cause in enumerate(CAUSES)},
        dram_bytes={cause: int(traffic[:, i].sum()) for i, cause in enumerate(CAUSES) if cause != "compute"},
        notes=("transfers and array take turns",),
    )


def _check_figures(engine: LineEngine) -> None:
    for key in ("pe", "simd", "line_memory_bytes", "weight_memory_bytes", "dram_latency_cycles"):
        if getattr(engine, key) > LARGEST:
            raise BadInput(
                f"machine {engine.name}: {key} {getattr(engine, key)} was found, at most {LARGEST} is wanted"
            )
    if engine.dram_bytes_per_cycle < 1 / LARGEST:
        raise BadInput(
            f"machine {engine.name}: dram_bytes_per_cycle {engine.dram_bytes_per_cycle} was found, "
            f"at least {1 / LARGEST} is wanted"
        )


def _pack(network: Network, engine: LineEngine, precision: Precision) -> _Packed:
    index = {name: n for n, name in enumerate((INPUT, *network.by_name))}
    width = max(len(layer.inputs) for layer in network.layers)
    inputs = np.full((len(index), width), -1, np.int64)
    for n, layer in enumerate(network.layers, 1):
        inputs[n, : len(layer.inputs)] = [index[name] for name in layer.inputs]
    shapes = [network.shapes[name] for name in index]
    row_bytes = [memory.bytes_of(shape.cols * shape.channels, precision.activation_bits) for shape in shapes]
    return _Packed(
        inputs,
        _counts([0] + [_tasks(network, layer) for layer in network.layers]),
        _counts([shape.rows for shape in shapes]),
        _counts(row_bytes),
        _counts([0] + [_sum_bytes(network, layer) for layer in network.layers]),
        _counts([0] + [_task_cycles(network, engine, layer) for layer in network.layers]),
        _counts([0] + [memory.weight_bytes(network, layer, precision) for layer in network.layers]),
    )


def _counts(values: list[int]) -> Counts:
    return np.array(values, np.int64)


def _tasks(network: Network, layer: Layer) -> int:
    """Row tasks of a layer: its output rows, or the input rows that its sums take in."""
    rows = network.shapes[layer.name].rows
    return rows * layer.kernel.rows if layer.accumulates else rows


def _task_cycles(network: Network, engine: LineEngine, layer: Layer) -> int:
    inputs, outputs = network.input_shape(layer), network.shapes[layer.name]
    groups = -(-outputs.channels // engine.pe)
    if layer.kind == "conv":
        return outputs.cols * groups * -(-layer.taps * inputs.channels // engine.simd)
    return max(inputs.cols, outputs.cols) * groups


def _sum_bytes(network: Network, layer: Layer) -> int:
    """Bytes of the row of sums that lasts from task to task of a mean over rows."""
    if not (layer.accumulates and layer.mixes_rows):
        return 0
    shape = network.shapes[layer.name]
    return memory.bytes_of(shape.cols * shape.channels, memory.ACCUMULATOR_BITS)


def _working_bytes(network: Network, packed: _Packed, n: int, layer: Layer) -> int:
    """Bytes of the rows that a layer works on: of each input, of its output, and of its sums."""
    sources = packed.inputs[n][packed.inputs[n] >= 0]
    height = 1 if layer.accumulates else min(layer.kernel.rows, network.input_shape(layer).rows)
    return int(height * packed.row_bytes[sources].sum() + packed.row_bytes[n] + packed.sum_bytes[n])


def _line_by_line(
    network: Network,
    engine: LineEngine,
    packed: _Packed,
    cycles: Counts,
    traffic: Counts,
    begin: Counts,
    finish: Counts,
) -> int:
    tables = [_row_tables(network, layer) for layer in network.layers]
    need, kept, emits = (np.concatenate([table[i] for table in tables]) for i in range(3))
    first_task = np.concatenate([[0, 0], np.cumsum(packed.tasks[1:])]).astype(np.int64)
    peak = kernels_engine.line_by_line(
        packed.inputs,
        first_task,
        need,
        kept,
        emits,
        packed.row_bytes,
        packed.rows,
        packed.sum_bytes,
        packed.task_cycles,
        packed.weight_bytes,
        engine.weight_memory_bytes,
        engine.dram_latency_cycles,
        engine.dram_bytes_per_cycle,
        cycles,
        traffic,
        begin,
        finish,
    )
    if peak > engine.line_memory_bytes:
        wanted = [_working_bytes(network, packed, n, layer) for n, layer in enumerate(network.layers, 1)]
        widest = network.layers[int(np.argmax(wanted))]
        raise DoesNotFit(
            f"machine {engine.name}: line memory of {engine.line_memory_bytes} bytes was found, {peak} are wanted by "
            f"{network.name} line by line; layer {widest.name} keeps most"
        )
    return int(peak)


def _row_tables(network: Network, layer: Layer) -> tuple[Counts, Counts, Counts]:
    """Of every row task: input rows wanted, first row kept before it (one entry more: after the last), rows made."""
    rows, tasks = network.input_shape(layer).rows, np.arange(_tasks(network, layer) + 1)
    if layer.accumulates:
        need, first, emits = tasks + 1, tasks, (tasks + 1) % layer.kernel.rows == 0
    else:
        first = tasks * layer.stride.rows - layer.padding.top
        need, emits = first + layer.kernel.rows, np.ones(tasks.size, np.bool_)
    kept = np.clip(first, 0, rows)
    kept[-1] = rows
    return np.minimum(need[:-1], rows), kept, emits[:-1].astype(np.int64)


def _layer_by_layer(
    network: Network,
    engine: LineEngine,
    packed: _Packed,
    cycles: Counts,
    traffic: Counts,
    begin: Counts,
    finish: Counts,
) -> int:
    on_chip, peak = _residents(network, engine, packed)
    kernels_engine.layer_by_layer(
        packed.inputs,
        packed.tasks,
        packed.row_bytes,
        packed.rows,
        on_chip,
        packed.task_cycles,
        packed.weight_bytes,
        engine.weight_memory_bytes,
        engine.dram_latency_cycles,
        engine.dram_bytes_per_cycle,
        cycles,
        traffic,
        begin,
        finish,
    )
    return peak


def _residents(network: Network, engine: LineEngine, packed: _Packed) -> tuple[Counts, int]:
    """Which maps stay on chip, first come first served, and the most line memory in use."""
    used = np.zeros(packed.rows.size, np.int64)
    for n, layer in enumerate(network.layers, 1):
        used[n] = _working_bytes(network, packed, n, layer)
        if used[n] > engine.line_memory_bytes:
            raise DoesNotFit(
                f"layer {layer.name}: {used[n]} bytes of rows are wanted at once, line memory of machine {engine.name} "
                f"has {engine.line_memory_bytes}; give it {used[n]}"
            )
    on_chip = np.zeros(packed.rows.size, np.int64)
    for n in range(1, packed.rows.size - 1):
        readers = np.flatnonzero((packed.inputs == n).any(axis=1))
        life = slice(n, int(readers.max()) + 1)
        size = packed.rows[n] * packed.row_bytes[n]
        if (used[life] + size).max() <= engine.line_memory_bytes:
            used[life] += size
            on_chip[n] = 1
    return on_chip, int(used.max())


def _layer_result(
    network: Network, engine: LineEngine, precision: Precision, layer: Layer, cycles: Counts, begin: int, finish: int
) -> LayerResult:
    """Waiting for DRAM counts as starved when it fetches, as blocked when it writes."""
    return LayerResult(
        name=layer.name,
        kind=layer.kind,
        pe=engine.pe,
        simd=engine.simd,
        macs=network.layer_macs(layer),
        cycles=int(cycles[0]),
        starved_cycles=int(cycles[1] + cycles[2]),
        blocked_cycles=int(cycles[3]),
        first_cycle=begin,
        last_cycle=finish,
        line_buffer_bytes=memory.line_buffer_bytes(network, layer, precision),
        window_bytes=0,
        fifo_bytes=0,
        weight_bytes=memory.weight_bytes(network, layer, precision),
    )
