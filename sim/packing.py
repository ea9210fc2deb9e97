"""A network and a pipeline as the kernel's tables: what every cycle of docs/pipeline.md depends on."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hw import fit
from hw.accelerator import Engine, Pipeline
from hw.errors import BadInput
from hw.network import INPUT, OUTPUT, Edge, Layer, Network, Padding, Shape, Size

Cycles = NDArray[np.int64]
Places = NDArray[np.int32]
DEPTH_CYCLES = {"conv": 4, "mean": 4, "affine": 3, "max": 2, "add": 2, "concat": 1}
"""Registers from an engine's issue to the FIFO's write port."""


@dataclass(frozen=True)
class Packed:
    """A network and a machine as the kernel's tables."""

    names: tuple[str, ...]
    edges: tuple[Edge, ...]
    node_table: Cycles
    edge_table: Cycles
    out_edges: Cycles
    need: Places
    free: Places


def sink_edge(network: Network) -> str:
    """The name of the edge from the last layer to the sink."""
    return str(Edge(network.output.name, OUTPUT))


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


def pack(network: Network, pipeline: Pipeline, frames: int) -> Packed:
    """The tables of a run of some frames.

    Raises:
        BadInput: the machine does not belong to the network.
    """
    if frames < 1:
        raise BadInput(f"frames: {frames} was found, at least 1 is wanted")
    fit.check(network, pipeline)
    names = (INPUT, *network.by_name, OUTPUT)
    edges = (*network.edges, Edge(network.output.name, OUTPUT))
    nodes, out_edges, need = _nodes(network, pipeline, frames, names, edges)
    rows, free = _edges(network, pipeline, frames, names, edges)
    return Packed(names, edges, nodes, rows, out_edges, need, free)


def _nodes(
    network: Network, pipeline: Pipeline, frames: int, names: tuple[str, ...], edges: tuple[Edge, ...]
) -> tuple[Cycles, Cycles, Places]:
    """The table of nodes, the edges that they write, and what their windows need."""
    rows: list[tuple[int, ...]] = []
    out_edges: list[int] = []
    need = [np.zeros(0, np.int32)]
    base = need_base = 0
    for name in names:
        row = _node_row(network, pipeline, name)
        reads = [i for i, edge in enumerate(edges) if edge.target == name]
        writes = [i for i, edge in enumerate(edges) if edge.source == name]
        outs = (len(out_edges), len(out_edges) + len(writes))
        timing = (base, row.pixels, row.ii, row.d, row.windowed, need_base)
        rows.append((*timing, reads[0] if reads else 0, len(reads), *outs))
        out_edges += writes
        base += row.pixels * frames
        if row.windowed:
            need.append(_tables_of(network, network.by_name[name])[0])
            need_base += need[-1].size
    return np.array(rows, np.int64), np.array(out_edges, np.int64), np.concatenate(need)


def _edges(
    network: Network, pipeline: Pipeline, frames: int, names: tuple[str, ...], edges: tuple[Edge, ...]
) -> tuple[Cycles, Places]:
    """The table of edges, and for how long their windows keep pixels."""
    index = {name: i for i, name in enumerate(names)}
    rows: list[tuple[int, ...]] = []
    free = [np.zeros(0, np.int32)]
    base = free_base = 0
    for edge in edges:
        pixels = network.shapes[edge.source].pixels
        timing = (pixels, fit.fifo(pipeline, edge).depth, *_edge_timing(network, pipeline, edge))
        rows.append((index[edge.source], base, *timing, free_base, index[edge.target]))
        base += pixels * frames
        reader = network.by_name.get(edge.target)
        if reader is not None and reader.windowed:
            free.append(_tables_of(network, reader)[1])
            free_base += free[-1].size
    return np.array(rows, np.int64), np.concatenate(free)


def _tables_of(network: Network, layer: Layer) -> tuple[Places, Places]:
    return window_tables(network.input_shape(layer), layer.kernel, layer.stride, layer.padding)


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
