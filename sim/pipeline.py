"""A network on a `Pipeline`: check, pack, run, unpack. The semantics are those of docs/pipeline.md."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from hw import fit
from hw.accelerator import Pipeline
from hw.errors import BadInput
from hw.network import INPUT, OUTPUT, Edge, Layer, Network
from sim import deadlock, lanes, memory
from sim import kernels_pipeline as kernel
from sim.kernels_pipeline import Ends
from sim.packing import Cycles, Packed, issue_cycles, pack, sink_edge, windows_of
from sim.result import LayerResult, Precision, Result, summarise

STEADY_FRAMES = 3


@dataclass(frozen=True, eq=False)
class Handshakes:
    """In which cycles the source has a word (`valid`) and the sink takes one (`ready`); after their ends, in all.

    `releases`, if not empty, has a cycle for every pixel of the run before which the source has not got it.
    """

    valid: Cycles
    ready: Cycles
    releases: Cycles = field(default_factory=lambda: np.zeros(0, np.int64))


ALWAYS = Handshakes(np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Stamps:
    """Time stamps in cycles: when each node starts its pixels, when each edge's pixels are read and freed.

    Keys of `starts` are `input`, the layers and `output` (the sink);
    those of `copies` and `frees` edges as "source -> target".
    """

    starts: dict[str, Cycles]
    copies: dict[str, Cycles]
    frees: dict[str, Cycles]


def simulate(
    given: Network,
    executed: Network,
    pipeline: Pipeline,
    precision: Precision = Precision(),
    frames: int = STEADY_FRAMES,
) -> Result:
    """Run `executed`, the form of `given` that hardware runs, for some frames (2 or more).

    Raises:
        BadInput: the machine does not belong to the network.
        Deadlock: it stops for ever.
    """
    if frames < 2:
        raise BadInput(f"frames: {frames} was found, at least 2 are wanted for an interval")
    packed = pack(executed, pipeline, frames)
    stamps = _run(packed, frames)
    finishes = stamps.frees[sink_edge(executed)].reshape(frames, -1)[:, -1]
    layers = [_layer_result(executed, pipeline, precision, packed, stamps, layer) for layer in executed.layers]
    return summarise(
        given,
        executed,
        pipeline.name,
        pipeline.clock_mhz,
        multipliers(executed, pipeline),
        int(finishes[0]),
        int(finishes[-1] - finishes[-2]),
        layers,
        line_memory_bytes=sum(x.line_buffer_bytes + x.window_bytes + x.fifo_bytes for x in layers),
        dram_bytes=frame_traffic(executed, precision),
    )


def stamps(network: Network, pipeline: Pipeline, frames: int = 1, handshakes: Handshakes = ALWAYS) -> Stamps:
    """Every time stamp of a run, with the given pauses of source and sink.

    Raises:
        BadInput: the machine does not belong to the network.
        Deadlock: the pipeline stops for ever.
    """
    return _run(pack(network, pipeline, frames), frames, handshakes)


def multipliers(network: Network, pipeline: Pipeline) -> int:
    """Multipliers of all layers with weights."""
    engines = (pipeline.engines[layer.name] for layer in network.layers if layer.weighted)
    return sum(engine.pe * engine.simd for engine in engines)


def _run(packed: Packed, frames: int, handshakes: Handshakes = ALWAYS) -> Stamps:
    rings = lanes.ring(packed, packed.timing, frames, whole=True)
    ends = Ends(*gate(handshakes.valid), *gate(handshakes.ready), handshakes.releases)
    left = kernel.run_one(packed.tables, packed.timing, ends, frames, rings)
    node_sizes = packed.tables.nodes[:, kernel.N_PIXELS] * frames
    edge_sizes = packed.tables.edges[:, kernel.E_PIXELS] * frames
    starts = _split(packed.names, rings.node_base, node_sizes, rings.commits)
    for name, ii, d in zip(packed.names, packed.timing.ii, packed.timing.d, strict=True):
        starts[name] = np.where(starts[name] < 0, starts[name], starts[name] - ii - d)
    starts[INPUT] = rings.source_starts[: node_sizes[0], 0]
    starts[OUTPUT] = rings.sink_starts[: node_sizes[-1], 0]
    by_edge = _split([str(edge) for edge in packed.edges], rings.edge_base, edge_sizes, rings.frees)
    if left:
        started = np.array([(starts[name] >= 0).sum() for name in packed.names])
        freed = np.array([(by_edge[str(edge)] >= 0).sum() for edge in packed.edges])
        raise deadlock.explain(packed, frames, started, freed)
    return Stamps(starts, _copies(packed, starts, by_edge), by_edge)


def gate(bits: Cycles) -> tuple[Cycles, Cycles]:
    """How many open cycles lie before each cycle, and which they are."""
    ranks = np.concatenate([[0], np.cumsum(bits != 0)]).astype(np.int64)
    return ranks, np.flatnonzero(bits).astype(np.int64)


def _copies(packed: Packed, starts: dict[str, Cycles], frees: dict[str, Cycles]) -> dict[str, Cycles]:
    """When each pixel of an edge is read: by a copier w before it is free, in place when its reader starts."""
    copies = {}
    for edge, w in zip(packed.edges, packed.timing.w[:, 0], strict=True):
        freed = frees[str(edge)]
        copies[str(edge)] = np.where(freed < 0, freed, freed - w) if w else starts[edge.target]
    return copies


def _split(names: Iterable[str], bases: Cycles, sizes: Cycles, stamps: Cycles) -> dict[str, Cycles]:
    """The one lane's stamps by name."""
    return {name: stamps[base : base + size, 0] for name, base, size in zip(names, bases, sizes, strict=True)}


def _layer_result(
    network: Network, pipeline: Pipeline, precision: Precision, packed: Packed, stamps: Stamps, layer: Layer
) -> LayerResult:
    engine = pipeline.engines[layer.name]
    starts = stamps.starts[layer.name]
    ii = issue_cycles(network, layer, engine)
    ready = inputs_ready(network, packed, stamps, layer)
    begin = np.concatenate([starts[:1], starts[:-1] + ii])
    starved = np.maximum(ready - begin, 0)
    blocked = starts - begin - starved
    pixels = network.shapes[layer.name].pixels
    capacity = fit.window_pixels(network, pipeline, layer) if layer.windowed else 0
    return LayerResult(
        name=layer.name,
        kind=layer.kind,
        pe=engine.pe,
        simd=engine.simd,
        macs=network.layer_macs(layer),
        cycles=ii * pixels,
        starved_cycles=int(starved[-pixels:].sum()),
        blocked_cycles=int(blocked[-pixels:].sum()),
        first_cycle=int(starts[0]),
        last_cycle=int(starts[pixels - 1]) + ii,
        line_buffer_bytes=memory.line_buffer_bytes(network, layer, precision),
        window_bytes=memory.window_bytes(network, layer, capacity, precision),
        fifo_bytes=_fifo_bytes(network, pipeline, precision, layer),
        weight_bytes=memory.weight_bytes(network, layer, precision),
    )


def inputs_ready(network: Network, packed: Packed, stamps: Stamps, layer: Layer) -> Cycles:
    """The cycle in which each output pixel has all of its inputs."""
    timing = packed.timing
    if not layer.windowed:
        commits = []
        for source in layer.inputs:
            node = packed.names.index(source)
            commits.append(stamps.starts[source] + timing.ii[node] + timing.d[node])
        return np.max(commits, axis=0)  # type: ignore[no-any-return]  # numpy types it so
    edge = Edge(layer.inputs[0], layer.name)
    shape = network.input_shape(layer)
    need = windows_of(network, layer).need
    frames = stamps.starts[layer.name].size // need.size
    last = (np.arange(frames)[:, None] * shape.pixels + need).ravel()
    index = packed.edges.index(edge)
    ready: Cycles = stamps.copies[str(edge)][last] + timing.w[index] + timing.r[index]
    return ready


def _fifo_bytes(network: Network, pipeline: Pipeline, precision: Precision, layer: Layer) -> int:
    """Bytes of the FIFOs in front of a layer; the last layer's result FIFO counts with it."""
    edges = [Edge(source, layer.name) for source in layer.inputs]
    if layer is network.output:
        edges.append(Edge(layer.name, OUTPUT))
    values = [fit.fifo(pipeline, edge).depth * network.shapes[edge.source].channels for edge in edges]
    return sum(memory.bytes_of(n, precision.bits_of(edge.source)) for n, edge in zip(values, edges, strict=True))


def frame_traffic(network: Network, precision: Precision) -> dict[str, int]:
    """Bytes of a frame in and of its result out; a pipeline moves nothing else."""
    ends = {"input": INPUT, "output": network.output.name}
    return {k: memory.bytes_of(math.prod(network.shapes[v]), precision.bits_of(v)) for k, v in ends.items()}
