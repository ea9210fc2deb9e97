"""A network on a `Pipeline`: check, pack, run, unpack. The semantics are those of docs/pipeline.md."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hw import fit
from hw.accelerator import Engine, Pipeline
from hw.errors import BadInput, Deadlock
from hw.network import INPUT, OUTPUT, Edge, Layer, Network, Padding, Shape, Size
from sim import kernels_pipeline, memory
from sim.result import LayerResult, Precision, Result, summarise

DEPTH_CYCLES = {"conv": 4, "mean": 4, "affine": 3, "max": 2, "add": 2, "concat": 1}
"""Registers from an engine's issue to the FIFO's write port."""
STEADY_FRAMES = 3
Cycles = NDArray[np.int64]
Places = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Handshakes:
    """In which cycles the source has a word (`valid`) and the sink takes one (`ready`); after their ends, in all."""

    valid: Cycles
    ready: Cycles


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


@dataclass(frozen=True)
class _Packed:
    """A network and a machine as the kernel's tables."""

    names: tuple[str, ...]
    edges: tuple[Edge, ...]
    node_table: Cycles
    edge_table: Cycles
    out_edges: Cycles
    need: Places
    free: Places


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
    packed = _pack(executed, pipeline, frames)
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
        dram_bytes=_frame_traffic(executed, precision),
    )


def stamps(network: Network, pipeline: Pipeline, frames: int = 1, handshakes: Handshakes = ALWAYS) -> Stamps:
    """Every time stamp of a run, with the given pauses of source and sink.

    Raises:
        BadInput: the machine does not belong to the network.
        Deadlock: the pipeline stops for ever.
    """
    return _run(_pack(network, pipeline, frames), frames, handshakes)


def sink_edge(network: Network) -> str:
    """The name of the edge from the last layer to the sink."""
    return str(Edge(network.output.name, OUTPUT))


def multipliers(network: Network, pipeline: Pipeline) -> int:
    """Multipliers of all convs and affines."""
    engines = ((layer.kind, pipeline.engines[layer.name]) for layer in network.layers)
    return sum(e.pe * e.simd if kind == "conv" else e.pe for kind, e in engines if kind in ("conv", "affine"))


def issue_cycles(network: Network, layer: Layer, engine: Engine) -> int:
    """Cycles in which an engine issues one output pixel."""
    channels = network.shapes[layer.name].channels
    if layer.kind != "conv":
        return channels // engine.pe
    return channels // engine.pe * (layer.taps * network.input_shape(layer).channels // engine.simd)


def copy_cycles(network: Network, layer: Layer, engine: Engine) -> int:
    """Cycles in which a windowed layer copies one pixel of its input; 0 where it reads in place."""
    channels = network.input_shape(layer).channels
    if not layer.windowed:
        return 0
    return channels // (min(engine.simd, channels) if layer.kind == "conv" else engine.pe)


def _run(packed: _Packed, frames: int, handshakes: Handshakes = ALWAYS) -> Stamps:
    nodes, edges = packed.node_table, packed.edge_table
    node_sizes, edge_sizes = nodes[:, kernels_pipeline.N_PIXELS] * frames, edges[:, kernels_pipeline.E_PIXELS] * frames
    source_starts, sink_starts = (np.full(node_sizes[n], -1, np.int64) for n in (0, -1))
    commits, frees = (np.full(sizes.sum(), -1, np.int64) for sizes in (node_sizes, edge_sizes))
    left = kernels_pipeline.run(
        nodes,
        edges,
        packed.out_edges,
        packed.need,
        packed.free,
        frames,
        *_gate(handshakes.valid),
        *_gate(handshakes.ready),
        source_starts,
        sink_starts,
        commits,
        frees,
    )
    starts = _split(packed.names, node_sizes, commits)
    for name, row in zip(packed.names, nodes, strict=True):
        busy = row[kernels_pipeline.N_II] + row[kernels_pipeline.N_D]
        starts[name] = np.where(starts[name] < 0, starts[name], starts[name] - busy)
    starts |= {INPUT: source_starts, OUTPUT: sink_starts}
    by_edge = _split([str(edge) for edge in packed.edges], edge_sizes, frees)
    result = Stamps(starts, _copies(packed, starts, by_edge), by_edge)
    if left:
        raise _deadlock(packed, result)
    return result


def _gate(bits: Cycles) -> tuple[Cycles, Cycles]:
    """How many open cycles lie before each cycle, and which they are."""
    ranks = np.concatenate([[0], np.cumsum(bits != 0)]).astype(np.int64)
    return ranks, np.flatnonzero(bits).astype(np.int64)


def _copies(packed: _Packed, starts: dict[str, Cycles], frees: dict[str, Cycles]) -> dict[str, Cycles]:
    """When each pixel of an edge is read: by a copier w before it is free, in place when its reader starts."""
    copies = {}
    for edge, row in zip(packed.edges, packed.edge_table, strict=True):
        freed = frees[str(edge)]
        w = row[4]
        copies[str(edge)] = np.where(freed < 0, freed, freed - w) if w else starts[edge.target]
    return copies


def _split(names: list[str] | tuple[str, ...], sizes: Cycles, flat: Cycles) -> dict[str, Cycles]:
    return dict(zip(names, np.split(flat, np.cumsum(sizes)[:-1]), strict=True))


def _deadlock(packed: _Packed, stamps: Stamps) -> Deadlock:
    """Name the full edge whose writer waits, nearest to the output."""
    for edge, row in reversed(list(zip(packed.edges, packed.edge_table, strict=True))):
        written = int((stamps.starts[edge.source] >= 0).sum())
        read = int((stamps.frees[str(edge)] >= 0).sum())
        depth = int(row[3])
        if written - read >= depth and written < stamps.starts[edge.source].size:
            return Deadlock(
                f"edge {edge}: the pipeline stops for ever with its FIFO of {depth} pixels full "
                f"after {written} pixels; give it more than {depth}"
            )
    raise AssertionError("a pipeline stopped without a full edge")


def _pack(network: Network, pipeline: Pipeline, frames: int) -> _Packed:
    if frames < 1:
        raise BadInput(f"frames: {frames} was found, at least 1 is wanted")
    fit.check(network, pipeline)
    names = (INPUT, *network.by_name, OUTPUT)
    edges = (*network.edges, Edge(network.output.name, OUTPUT))
    index = {name: i for i, name in enumerate(names)}
    need: list[Places] = []
    free: list[Places] = []
    node_rows, edge_rows = [], []
    start_base = need_base = 0
    out_edges: list[int] = []
    for name in names:
        row = _node_row(network, pipeline, name)
        reads = [i for i, edge in enumerate(edges) if edge.target == name]
        writes = [i for i, edge in enumerate(edges) if edge.source == name]
        outs = (len(out_edges), len(out_edges) + len(writes))
        fixed = (start_base, row.pixels, row.ii, row.d, row.windowed, need_base)
        node_rows.append((*fixed, reads[0] if reads else 0, len(reads), *outs))
        out_edges += writes
        start_base += row.pixels * frames
        if row.windowed:
            layer = network.by_name[name]
            tables = window_tables(network.input_shape(layer), layer.kernel, layer.stride, layer.padding)
            need.append(tables[0])
            need_base += tables[0].size
    copy_base = free_base = 0
    for edge in edges:
        w, r, cap = _edge_timing(network, pipeline, edge)
        pixels = network.shapes[edge.source].pixels
        reader = network.by_name.get(edge.target)
        timing = (pixels, fit.fifo(pipeline, edge).depth, w, r, cap)
        edge_rows.append((index[edge.source], copy_base, *timing, free_base, index[edge.target]))
        copy_base += pixels * frames
        if reader is not None and reader.windowed:
            free.append(window_tables(network.input_shape(reader), reader.kernel, reader.stride, reader.padding)[1])
            free_base += free[-1].size
    return _Packed(
        names,
        edges,
        np.array(node_rows, np.int64),
        np.array(edge_rows, np.int64),
        np.array(out_edges, np.int64),
        np.concatenate([*need, np.zeros(1, np.int32)]),
        np.concatenate([*free, np.zeros(1, np.int32)]),
    )


@dataclass(frozen=True)
class _NodeRow:
    pixels: int
    ii: int
    d: int
    windowed: bool


def _node_row(network: Network, pipeline: Pipeline, name: str) -> _NodeRow:
    if name in (INPUT, OUTPUT):
        shape = network.shapes[INPUT if name == INPUT else network.output.name]
        width = fit.port_channels(network, pipeline, name)
        return _NodeRow(shape.pixels, shape.channels // width, 0, False)
    layer = network.by_name[name]
    engine = fit.engine(network, pipeline, layer)
    latency = 0
    if not layer.windowed:
        latency = max(fit.fifo(pipeline, Edge(source, name)).read_latency_cycles for source in layer.inputs)
    depth = DEPTH_CYCLES[layer.kind] + latency
    return _NodeRow(network.shapes[name].pixels, issue_cycles(network, layer, engine), depth, layer.windowed)


def _edge_timing(network: Network, pipeline: Pipeline, edge: Edge) -> tuple[int, int, int]:
    """Copy cycles, read latency and window capacity; the last two matter to windowed readers alone."""
    reader = network.by_name.get(edge.target)
    if reader is None or not reader.windowed:
        return 0, 0, 1
    engine = pipeline.engines[reader.name]
    latency = fit.fifo(pipeline, edge).read_latency_cycles
    return copy_cycles(network, reader, engine), latency, fit.window_pixels(network, pipeline, reader)


@lru_cache(maxsize=256)
def window_tables(shape: Shape, kernel: Size, stride: Size, padding: Padding) -> tuple[Places, Places]:
    """Of one frame: the last pixel that each output needs, and the last output that each pixel is kept for.

    A pixel is kept for an output that needs it or an earlier one. Read-only: they are shared.
    """
    top, bottom, left, right = padding
    rows = np.arange((shape.rows + top + bottom - kernel.rows) // stride.rows + 1) * stride.rows - top
    cols = np.arange((shape.cols + left + right - kernel.cols) // stride.cols + 1) * stride.cols - left
    last_row = np.minimum(rows + kernel.rows - 1, shape.rows - 1)
    last_col = np.minimum(cols + kernel.cols - 1, shape.cols - 1)
    need = (last_row[:, None] * shape.cols + last_col).ravel()
    low = np.maximum(rows, 0)[:, None] * shape.cols + np.maximum(cols, 0)
    low[:-1][rows[:-1] + stride.rows <= 0] = 0
    free = np.searchsorted(low.ravel(), np.arange(shape.pixels), side="right") - 1
    tables = need.astype(np.int32), free.astype(np.int32)
    for table in tables:
        table.setflags(write=False)
    return tables


def _layer_result(
    network: Network, pipeline: Pipeline, precision: Precision, packed: _Packed, stamps: Stamps, layer: Layer
) -> LayerResult:
    engine = pipeline.engines[layer.name]
    starts = stamps.starts[layer.name]
    ii = issue_cycles(network, layer, engine)
    ready = _inputs_ready(network, packed, stamps, layer)
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


def _inputs_ready(network: Network, packed: _Packed, stamps: Stamps, layer: Layer) -> Cycles:
    """The cycle in which each output pixel has all of its inputs."""
    rows = {str(edge): row for edge, row in zip(packed.edges, packed.edge_table, strict=True)}
    starts = stamps.starts[layer.name]
    if not layer.windowed:
        commits = []
        for source in layer.inputs:
            node = packed.node_table[packed.names.index(source)]
            commits.append(stamps.starts[source] + node[2] + node[3])
        return np.max(commits, axis=0)  # type: ignore[no-any-return]  # numpy types it so
    key = str(Edge(layer.inputs[0], layer.name))
    shape = network.input_shape(layer)
    need = window_tables(shape, layer.kernel, layer.stride, layer.padding)[0]
    frames = starts.size // need.size
    last = (np.arange(frames)[:, None] * shape.pixels + need).ravel()
    ready: Cycles = stamps.copies[key][last] + rows[key][4] + rows[key][5]
    return ready


def _fifo_bytes(network: Network, pipeline: Pipeline, precision: Precision, layer: Layer) -> int:
    """Bytes of the FIFOs in front of a layer; the last layer's result FIFO counts with it."""
    edges = [Edge(source, layer.name) for source in layer.inputs]
    if layer is network.output:
        edges.append(Edge(layer.name, OUTPUT))
    sizes = [fit.fifo(pipeline, edge).depth * network.shapes[edge.source].channels for edge in edges]
    return sum(memory.bytes_of(size, precision.activation_bits) for size in sizes)


def _frame_traffic(network: Network, precision: Precision) -> dict[str, int]:
    """Bytes of a frame in and of its result out; a pipeline moves nothing else."""
    ends = {"input": network.shapes[INPUT], "output": network.shapes[network.output.name]}
    return {k: memory.bytes_of(shape.pixels * shape.channels, precision.activation_bits) for k, shape in ends.items()}
