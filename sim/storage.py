"""What every layer of a network keeps on a pipeline, in bits and in block RAMs, and how long it waits for a window.

Bits are exact and those of `sim.simulate`; block RAMs and LUTs are the estimates of `hw.resources`, which counts
windows as registers. A layer's *wait* is what its window wants before the first output: so many pixels of its input,
and so many cycles from the start of the first pixel's copy.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest

import msgspec

from hw import fit, resources
from hw.accelerator import Budget, Pipeline
from hw.network import INPUT, OUTPUT, Edge, Layer, Network
from hw.passes import executed
from sim import memory
from sim.folding import settled
from sim.packing import windows_of
from sim.pipeline import Stamps, stamps
from sim.result import Precision


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bits that are kept, and the block RAMs of 18 kbit or LUTs that hold them; neither where registers do."""

    bits: int = 0
    bram18: int = 0
    lut: int = 0


class LayerStorage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One layer, or a sum of some.

    `fifo` are the FIFOs in front of it, and behind the last layer; `skip_fifo` those on a residual's shortcut: edges
    into an add over which fewer layers lead than over its other one. `wait_pixels` are read before the first output,
    `wait_cycles` pass from the first of them; a layer that reads its pixels in place waits for one and no cycle.
    """

    name: str
    kind: str
    line_buffer: Memory
    window: Memory
    fifo: Memory
    skip_fifo: Memory
    weights: Memory
    wait_pixels: int
    wait_cycles: int

    @property
    def bits(self) -> int:
        """All that it keeps."""
        return sum(part.bits for part in self.parts)

    @property
    def bram18(self) -> int:
        """Block RAMs of all that it keeps."""
        return sum(part.bram18 for part in self.parts)

    @property
    def lut(self) -> int:
        """LUTs that serve as memory."""
        return sum(part.lut for part in self.parts)

    @property
    def parts(self) -> tuple[Memory, ...]:
        """What it keeps."""
        return self.line_buffer, self.window, self.fifo, self.skip_fifo, self.weights


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network on a pipeline; `total` sums all layers, `convs` the convs alone, depthwise ones too."""

    network: str
    machine: str
    clock_mhz: float
    precision: Precision
    layers: tuple[LayerStorage, ...]
    total: LayerStorage
    convs: LayerStorage


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two networks; a row is a layer of each, "" where one has none.

    `ratios` are the left one's totals over the right one's, those of convs alone under "convs_" and the measure; None
    where the right one has nothing.
    """

    left: Storage
    right: Storage
    rows: tuple[tuple[str, str], ...]
    ratios: dict[str, float | None]


MEASURES: dict[str, Callable[[LayerStorage], int]] = {
    "line_buffer_bits": lambda layer: layer.line_buffer.bits,
    "window_bits": lambda layer: layer.window.bits,
    "fifo_bits": lambda layer: layer.fifo.bits,
    "skip_fifo_bits": lambda layer: layer.skip_fifo.bits,
    "weight_bits": lambda layer: layer.weights.bits,
    "bits": lambda layer: layer.bits,
    "bram18": lambda layer: layer.bram18,
    "lut": lambda layer: layer.lut,
    "wait_pixels": lambda layer: layer.wait_pixels,
    "wait_cycles": lambda layer: layer.wait_cycles,
}
"""What two networks are compared in."""


def storage(network: Network, machine: Pipeline | Budget, precision: Precision = Precision()) -> Storage:
    """What a network keeps on a machine, in the form that hardware runs.

    Raises:
        BadInput: the machine does not belong to the network.
        DoesNotFit: the budget is too small for it.
        Deadlock: the pipeline stops for ever.
    """
    form = executed(network)
    made = settled(form, machine, precision)
    times = stamps(form, made)
    skips = set(skip_edges(form))
    layers = tuple(_layer(form, made, precision, times, layer, skips) for layer in form.layers)
    return Storage(
        network=network.name,
        machine=made.name,
        clock_mhz=made.clock_mhz,
        precision=precision,
        layers=layers,
        total=_sum("all", layers),
        convs=_sum("convs", (layer for layer in layers if layer.kind in ("conv", "depthwise"))),
    )


def compare(left: Storage, right: Storage) -> Comparison:
    """Two networks side by side: layers of the same names, or else convs by their position."""
    names = {layer.name for layer in left.layers}
    if names == {layer.name for layer in right.layers}:
        rows = tuple((layer.name, layer.name) for layer in left.layers)
    else:
        rows = tuple(_by_position(left, right))
    ratios = {}
    for key, measure in MEASURES.items():
        ratios[key] = ratio(measure(left.total), measure(right.total))
        ratios[f"convs_{key}"] = ratio(measure(left.convs), measure(right.convs))
    return Comparison(left, right, rows, ratios)


def ratio(left: int, right: int) -> float | None:
    """One figure over the other; None over nothing."""
    return left / right if right else None


def skip_edges(network: Network) -> list[Edge]:
    """Edges into an add over which fewer layers lead from the input than over its other one."""
    deep = {INPUT: 0}
    for layer in network.layers:
        deep[layer.name] = 1 + max(deep[source] for source in layer.inputs)
    return [
        Edge(source, layer.name)
        for layer in network.layers
        for source in layer.inputs
        if layer.kind == "add" and deep[source] + 1 < deep[layer.name]
    ]


def _by_position(left: Storage, right: Storage) -> Iterator[tuple[str, str]]:
    """The first convs in a row, the second ones, ...; what lies between them in rows before, by name."""
    for (mine, conv), (others, other_conv) in zip_longest(_up_to_convs(left), _up_to_convs(right), fillvalue=([], "")):
        yield from ((name, name if name in others else "") for name in mine)
        yield from (("", name) for name in others if name not in mine)
        if conv or other_conv:
            yield conv, other_conv


def _up_to_convs(storage: Storage) -> list[tuple[list[str], str]]:
    """Each conv behind the layers that come before it; what follows the last one behind none."""
    found: list[tuple[list[str], str]] = []
    between: list[str] = []
    for layer in storage.layers:
        if layer.kind in ("conv", "depthwise"):
            found.append((between, layer.name))
            between = []
        else:
            between.append(layer.name)
    return [*found, (between, "")]


def _layer(
    network: Network, pipeline: Pipeline, precision: Precision, times: Stamps, layer: Layer, skips: set[Edge]
) -> LayerStorage:
    edges = [Edge(source, layer.name) for source in layer.inputs]
    behind = [Edge(layer.name, OUTPUT)] if layer is network.output else []
    line_buffer, window, weights = _engine(network, pipeline, precision, layer)
    return LayerStorage(
        name=layer.name,
        kind=layer.kind,
        line_buffer=line_buffer,
        window=window,
        fifo=_fifos(network, pipeline, precision, [edge for edge in edges if edge not in skips] + behind),
        skip_fifo=_fifos(network, pipeline, precision, [edge for edge in edges if edge in skips]),
        weights=weights,
        wait_pixels=_wait_pixels(network, layer),
        wait_cycles=int(times.starts[layer.name][0] - max(times.copies[str(edge)][0] for edge in edges)),
    )


def _engine(network: Network, pipeline: Pipeline, precision: Precision, layer: Layer) -> tuple[Memory, Memory, Memory]:
    """Line buffer, window and weights; rows that a window holds whole are its own, not a line buffer's."""
    bits = precision.bits_of(layer.inputs[0]), precision.weight_bits, precision.bits_of(layer.name)
    capacity = fit.window_pixels(network, pipeline, layer) if layer.windowed else 0
    rows, weights = resources.engine_memories(network, layer, pipeline.engines[layer.name], *bits)
    line_bits = memory.line_buffer_bits(network, layer, precision)
    window_bits = memory.window_bits(network, layer, capacity, precision)
    nothing = resources.Memory(0, 0)
    line, window = (rows, nothing) if line_bits else (nothing, rows)
    return (
        Memory(line_bits, line.bram18, line.lut),
        Memory(window_bits, window.bram18, window.lut),
        Memory(memory.weight_bits(network, layer, precision), weights.bram18, weights.lut),
    )


def _fifos(network: Network, pipeline: Pipeline, precision: Precision, edges: Iterable[Edge]) -> Memory:
    found = []
    for edge in edges:
        fifo = fit.fifo(pipeline, edge)
        taken = resources.fifo_memory(network, str(edge), fifo, precision.bits_of(edge.source))
        bits = fifo.depth * network.shapes[edge.source].channels * precision.bits_of(edge.source)
        found.append(Memory(bits, taken.bram18, taken.lut))
    return _sum_of(found)


def _wait_pixels(network: Network, layer: Layer) -> int:
    """Pixels up to the last one of the first window; one where there is none."""
    if not layer.windowed:
        return 1
    first = windows_of(network, layer).first_need
    return max(0, first + 1)


def _sum(name: str, layers: Iterable[LayerStorage]) -> LayerStorage:
    every = list(layers)
    return LayerStorage(
        name=name,
        kind="",
        line_buffer=_sum_of(layer.line_buffer for layer in every),
        window=_sum_of(layer.window for layer in every),
        fifo=_sum_of(layer.fifo for layer in every),
        skip_fifo=_sum_of(layer.skip_fifo for layer in every),
        weights=_sum_of(layer.weights for layer in every),
        wait_pixels=sum(layer.wait_pixels for layer in every),
        wait_cycles=sum(layer.wait_cycles for layer in every),
    )


def _sum_of(parts: Iterable[Memory]) -> Memory:
    every = list(parts)
    return Memory(sum(p.bits for p in every), sum(p.bram18 for p in every), sum(p.lut for p in every))
