"""Energy of a frame, an estimate: how often a machine does what, times a table of energies that names its sources.

Counted are arithmetic, reads and writes of memories, and DRAM; not clock trees, control, registers inside the array,
leakage, or the scaling of a mean. Padding is counted as work. A memory's bit costs what the table says of its capacity,
interpolated linearly over the logarithm of the capacity, and clamped to the smallest and the largest one given: small
FIFOs and windows cost as much as the smallest. A write costs what a read does.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from hw import fit
from hw.accelerator import LineEngine, Pipeline
from hw.errors import BadInput, did_you_mean
from hw.files import read_yaml
from hw.network import OUTPUT, Edge, Layer, Network
from sim import memory
from sim.result import Precision, Result

What = Literal["add", "multiply", "sram", "dram"]
PJ_PER_UJ = 1e6


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action's energy: of operands of `bits`, or of a word of `bits` that is read or written.

    `capacity_bytes` is that of an sram. `low_pj` and `high_pj` are a range, where the source gives one.
    """

    action: What
    bits: int
    pj: float
    precision: str
    node: str
    source: str
    capacity_bytes: int = 0
    low_pj: float | None = None
    high_pj: float | None = None

    def __post_init__(self) -> None:
        if self.bits < 1:
            raise BadInput(f"{self.action}: bits {self.bits} was found, at least 1 is wanted")
        if not 0 <= self.low <= self.pj <= self.high < math.inf:
            raise BadInput(
                f"{self.action}: {self.low:g}, {self.pj:g} and {self.high:g} pJ were found, "
                "low, value and high from 0 on, none below the one before, are wanted"
            )
        if (self.action == "sram") != (self.capacity_bytes > 0):
            raise BadInput(
                f"{self.action}: capacity_bytes {self.capacity_bytes} was found; an sram wants one, nothing else does"
            )

    @property
    def low(self) -> float:
        """The least of its range in pJ."""
        return self.pj if self.low_pj is None else self.low_pj

    @property
    def high(self) -> float:
        """The most of its range in pJ."""
        return self.pj if self.high_pj is None else self.high_pj


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Energies by action: adds and multiplies by width, memories by capacity, one DRAM."""

    name: str
    source: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        for what in ("add", "multiply", "sram", "dram"):
            keys = [entry.capacity_bytes or entry.bits for entry in self.of(what)]
            if not keys or len(set(keys)) < len(keys) or (what == "dram" and len(keys) > 1):
                wanted = "one entry is" if what == "dram" else "entries that all differ are"
                raise BadInput(f"energy table {self.name}: {len(keys)} entries of {what} were found, {wanted} wanted")

    def of(self, what: What) -> list[Entry]:
        """Entries of an action, narrowest or smallest first."""
        return sorted((e for e in self.entries if e.action == what), key=lambda e: (e.capacity_bytes, e.bits))


class Action(NamedTuple):
    """An amount of operations on operands of `bits`, or of words of `bits` that a memory or DRAM moves."""

    part: str
    what: What
    amount: int
    bits: int
    capacity_bytes: int = 0


def load(name_or_path: str) -> Table:
    """The table of this name that comes with the package, or the one in this YAML file.

    Raises:
        BadInput: neither, or not of a table's form.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        return read_yaml(Path(name_or_path), Table)
    folder = resources.files("hw") / "energy_tables"
    names = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())
    if name_or_path not in names:
        known = did_you_mean(name_or_path, names)
        raise BadInput(f"energy table {name_or_path}: no such one or YAML file; there are {', '.join(names)}{known}")
    with resources.as_file(folder / f"{name_or_path}.yaml") as path:
        return read_yaml(path, Table)


def priced(
    result: Result, network: Network, machine: Pipeline | LineEngine, table: Table, precision: Precision = Precision()
) -> Result:
    """`result` with the energy of a frame in uJ by part; `network` in the form that hardware runs.

    Raises:
        BadInput: the table has no entry that is wide enough.
    """
    parts: dict[str, float] = defaultdict(float)
    for action in actions(network, machine, result.dram_bytes, precision):
        parts[action.part] += action.amount * action_pj(table, action) / PJ_PER_UJ
    estimate = f"estimate, {table.name}"
    return msgspec.structs.replace(result, energy_uj=dict(parts), energy_table=estimate)


def told(result: Result, table: Table) -> str:
    """A priced result's energy in a line or two."""
    parts = result.energy_uj or {}
    moved = sum(result.dram_bytes.values()) * memory.BYTE_BITS / PJ_PER_UJ
    dram = table.of("dram")[0]
    total = sum(parts.values())
    low, high = (total + moved * (pj - dram.pj) / dram.bits for pj in (dram.low, dram.high))
    return (
        f"energy of a frame ({result.energy_table}): {total:,.4g} uJ, {low:,.4g} to {high:,.4g} with DRAM's range\n"
        f"energy in uJ ({result.energy_table}): " + ", ".join(f"{part} {uj:,.3g}" for part, uj in parts.items())
    )


def action_pj(table: Table, action: Action) -> float:
    """Of one operation, or of `bits` moved."""
    if action.what in ("add", "multiply"):
        return _operation_pj(table, action)
    entries = table.of(action.what)
    per_bit = [entry.pj / entry.bits for entry in entries]
    if action.what == "dram":
        return per_bit[0] * action.bits
    capacities = np.log([entry.capacity_bytes for entry in entries])
    return float(np.interp(math.log(max(action.capacity_bytes, 1)), capacities, per_bit)) * action.bits


def _operation_pj(table: Table, action: Action) -> float:
    """That of the narrowest entry that is wide enough."""
    for entry in table.of(action.what):
        if entry.bits >= action.bits:
            return entry.pj
    raise BadInput(f"energy table {table.name}: {action.what} of {action.bits} bits has no entry that is as wide")


def actions(
    network: Network, machine: Pipeline | LineEngine, dram_bytes: dict[str, int], precision: Precision = Precision()
) -> Iterator[Action]:
    """What a machine does in a frame; DRAM's bytes by kind are those of its result."""
    if isinstance(machine, LineEngine):
        yield from _arithmetic(network, precision, lambda layer: machine.simd)
        yield from _lines(network, machine, dram_bytes, precision)
        yield from _weights(network, machine, dram_bytes["weights"], precision)
    else:
        yield from _arithmetic(network, precision, lambda layer: machine.engines[layer.name].simd)
        for edge in (*network.edges, Edge(network.output.name, OUTPUT)):
            yield from _fifo(network, machine, edge, precision)
        for layer in network.layers:
            yield from _engine(network, machine, layer, precision)
        yield from _tables(network, precision)
    for kind, size in dram_bytes.items():
        yield Action(f"dram_{kind}", "dram", size, memory.BYTE_BITS)


def _arithmetic(network: Network, precision: Precision, simd: Callable[[Layer], int]) -> Iterator[Action]:
    """Operations: products of weights, adds within a cycle and of maps, accumulations over cycles and of biases."""
    for layer in network.layers:
        values, taken = _values(network, layer.name), _values(network, layer.inputs[0])
        products = values if layer.kind == "affine" else network.layer_macs(layer)
        sums = {"affine": values, "mean": values * layer.taps}
        if layer.accumulates:
            sums["mean"] = taken
        if layer.convolves:
            sums[layer.kind] = values * -(-network.layer_terms(layer) // simd(layer))
        adds = (
            {layer.kind: products - sums[layer.kind]}
            if layer.convolves
            else {"add": values, "max": values * (layer.taps - 1)}
        )
        read_bits = max(map(precision.bits_of, layer.inputs))
        width = memory.ACCUMULATOR_BITS if layer.convolves else read_bits
        yield Action("multiply", "multiply", products, max(read_bits, precision.weight_bits))
        yield Action("add", "add", adds.get(layer.kind, 0), width)
        biases = values if layer.convolves and layer.bias else 0
        yield Action("accumulate", "add", sums.get(layer.kind, 0) + biases, memory.ACCUMULATOR_BITS)


def _values(network: Network, name: str) -> int:
    """Of a map."""
    return math.prod(network.shapes[name])


def _read_values(network: Network, layer: Layer, source: str, groups: int) -> int:
    """Values read of an input: a conv's windows again for each group of output channels, a depthwise conv's once.

    An upsample reads a value each time that it gives it, other layers each value once.
    """
    if layer.kind == "upsample":
        return _values(network, layer.name)
    if not layer.convolves:
        return _values(network, source)
    again = groups if layer.kind == "conv" else 1
    return network.shapes[layer.name].pixels * again * layer.taps * network.input_shape(layer).channels


def _lines(network: Network, engine: LineEngine, dram: dict[str, int], precision: Precision) -> Iterator[Action]:
    """Line memory: read by the array and by stores, written by the array and by loads; rows of sums both ways."""
    size = engine.line_memory_bytes
    for layer in network.layers:
        shape = network.shapes[layer.name]
        groups = -(-shape.channels // engine.pe)
        between = (layer.kernel.rows - 1) * shape.rows if layer.accumulates else 0
        sums = between * shape.cols * shape.channels
        read = Counter[int]()
        for source in layer.inputs:
            read[precision.bits_of(source)] += _read_values(network, layer, source, groups)
        for bits, values in read.items():
            yield Action("line_memory_read", "sram", values, bits, size)
        yield Action("line_memory_write", "sram", _values(network, layer.name), precision.bits_of(layer.name), size)
        for part in ("line_memory_read", "line_memory_write"):
            yield Action(part, "sram", sums, memory.ACCUMULATOR_BITS, size)
    yield Action("line_memory_read", "sram", dram["lines_out"] + dram["spills_out"], memory.BYTE_BITS, size)
    yield Action("line_memory_write", "sram", dram["lines_in"] + dram["spills_in"], memory.BYTE_BITS, size)


def _weights(network: Network, engine: LineEngine, loaded_bytes: int, precision: Precision) -> Iterator[Action]:
    """Weight memory: pe x simd weights a cycle for all lanes, pe biases or shifts once for each block of pixels."""
    size = engine.weight_memory_bytes
    yield from _tables(network, precision)
    for layer in network.layers:
        shapes, shape = network.weight_shapes(layer), network.shapes[layer.name]
        if shapes:
            blocks = shape.rows * -(-shape.cols // engine.lanes) * -(-shape.channels // engine.pe)
            inner = -(-network.layer_terms(layer) // engine.simd) * engine.simd
            weights = blocks * engine.pe * (inner if layer.convolves else 1)
            yield Action("weight_memory_read", "sram", weights, precision.weight_bits, size)
            biases = blocks * engine.pe if "bias" in shapes else 0
            yield Action("weight_memory_read", "sram", biases, memory.ACCUMULATOR_BITS, size)
    yield Action("weight_memory_write", "sram", loaded_bytes, memory.BYTE_BITS, size)


def _tables(network: Network, precision: Precision) -> Iterator[Action]:
    """Every value that is looked up is a word read of a ROM."""
    for layer in network.layers:
        if layer.kind == "table":
            size, bits = memory.weight_bytes(network, layer, precision), precision.bits_of(layer.name)
            yield Action("table_read", "sram", _values(network, layer.name), bits, size)


def _fifo(network: Network, pipeline: Pipeline, edge: Edge, precision: Precision) -> Iterator[Action]:
    """Every value goes in and out once."""
    pixel, bits = network.shapes[edge.source].channels, precision.bits_of(edge.source)
    size = memory.bytes_of(fit.fifo(pipeline, edge).depth * pixel, bits)
    for part in ("fifo_write", "fifo_read"):
        yield Action(part, "sram", _values(network, edge.source), bits, size)


def _engine(network: Network, pipeline: Pipeline, layer: Layer, precision: Precision) -> Iterator[Action]:
    """A pipeline's layer: its line buffer and window as one memory, or its sums; its weights."""
    values, taken = _values(network, layer.name), _values(network, layer.inputs[0])
    if layer.windowed:
        pixels = fit.window_pixels(network, pipeline, layer)
        size = memory.line_buffer_bytes(network, layer, precision)
        size += memory.window_bytes(network, layer, pixels, precision)
        groups = network.shapes[layer.name].channels // pipeline.engines[layer.name].pe
        bits = memory.ACCUMULATOR_BITS if layer.accumulates else precision.bits_of(layer.inputs[0])
        yield Action("window_write", "sram", taken, bits, size)
        yield Action("window_read", "sram", _read_values(network, layer, layer.inputs[0], groups), bits, size)
    shapes = network.weight_shapes(layer)
    if shapes:
        size = memory.weight_bytes(network, layer, precision)
        weights = values if layer.kind == "affine" else network.layer_macs(layer)
        yield Action("weight_memory_read", "sram", weights, precision.weight_bits, size)
        yield Action("weight_memory_read", "sram", values if "bias" in shapes else 0, memory.ACCUMULATOR_BITS, size)
