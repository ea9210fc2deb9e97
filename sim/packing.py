"""A network and a pipeline as the kernel's tables: what every cycle of docs/pipeline.md depends on."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hw import fit
from hw.accelerator import Engine, Pipeline
from hw.errors import BadInput
from hw.network import INPUT, OUTPUT, Edge, Layer, Network, Padding, Shape, Size
from sim.kernels_pipeline import Tables, Timing

Cycles = NDArray[np.int64]
DEPTH_CYCLES = {
    "conv": 6,
    "depthwise": 6,
    "mean": 6,
    "affine": 4,
    "max": 5,
    "add": 3,
    "concat": 2,
    "table": 2,
    "upsample": 3,
}
"""Registers from an engine's issue to the FIFO's write port."""


class Windows(NamedTuple):
    """Windows of one layer and one frame, as `kernels_pipeline.Tables` has them."""

    need_row: Cycles
    need_col: Cycles
    free_row: Cycles
    free_on: Cycles
    free_col: Cycles

    @property
    def need(self) -> Cycles:
        """The last pixel that each output needs."""
        result: Cycles = (self.need_row[:, None] + self.need_col).ravel()
        return result

    @property
    def first_need(self) -> int:
        """The last pixel that the first output needs."""
        return int(self.need_row[0] + self.need_col[0])

    @property
    def greatest_need(self) -> int:
        """The last pixel that any output needs."""
        return int(self.need_row.max() + self.need_col.max())


@dataclass(frozen=True)
class Packed:
    """A network and a machine as the kernel's tables, one lane of timing.

    `looks_back` tells how many of its own outputs before the next one a node's window asks for.
    """

    names: tuple[str, ...]
    edges: tuple[Edge, ...]
    tables: Tables
    timing: Timing
    looks_back: Cycles


def sink_edge(network: Network) -> str:
    """The name of the edge from the last layer to the sink."""
    return str(Edge(network.output.name, OUTPUT))


def issue_cycles(network: Network, layer: Layer, engine: Engine) -> int:
    """Cycles in which an engine issues one output pixel."""
    channels = network.shapes[layer.name].channels
    return channels // engine.pe * (network.layer_terms(layer) // engine.simd if layer.convolves else 1)


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
    windows = {layer.name: windows_of(network, layer) for layer in network.layers if layer.windowed}
    nodes, outs = _nodes(network, names, edges, windows)
    rows = _edges(network, pipeline, names, edges, windows)
    flat = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in zip(*windows.values(), strict=True))
    tables = Tables(nodes, rows, outs, *(flat if windows else [np.zeros(1, np.int64)] * 5))
    timing = Timing(*_node_timing(network, pipeline, names), *_edge_timing(network, pipeline, edges))
    looks_back = [_looks_back(network, pipeline, network.by_name.get(name)) for name in names]
    return Packed(names, edges, tables, timing, np.array(looks_back, np.int64))


def _nodes(
    network: Network, names: tuple[str, ...], edges: tuple[Edge, ...], windows: dict[str, Windows]
) -> tuple[Cycles, Cycles]:
    """The table of nodes, and the edges that they write."""
    rows: list[tuple[int, ...]] = []
    outs: list[int] = []
    need_row = need_col = 0
    for name in names:
        shape = network.shapes[network.output.name if name == OUTPUT else name]
        reads = [i for i, edge in enumerate(edges) if edge.target == name]
        writes = [i for i, edge in enumerate(edges) if edge.source == name]
        graph = (reads[0] if reads else 0, len(reads), len(outs), len(outs) + len(writes))
        rows.append((shape.pixels, name in windows, *graph, shape.rows, shape.cols, need_row, need_col))
        outs += writes
        if name in windows:
            need_row += windows[name].need_row.size
            need_col += windows[name].need_col.size
    return np.array(rows, np.int64), np.array(outs, np.int64)


def _edges(
    network: Network,
    pipeline: Pipeline,
    names: tuple[str, ...],
    edges: tuple[Edge, ...],
    windows: dict[str, Windows],
) -> Cycles:
    """The table of edges."""
    index = {name: i for i, name in enumerate(names)}
    rows: list[tuple[int, ...]] = []
    free_row = free_col = 0
    for edge in edges:
        shape = network.shapes[edge.source]
        found = windows.get(edge.target)
        cap = fit.window_pixels(network, pipeline, network.by_name[edge.target]) if found else 1
        size = (shape.pixels, shape.rows, shape.cols, cap)
        rows.append((index[edge.source], index[edge.target], *size, free_row, free_col))
        if found:
            free_row += found.free_row.size
            free_col += found.free_col.size
    return np.array(rows, np.int64)


def _looks_back(network: Network, pipeline: Pipeline, layer: Layer | None) -> int:
    """A bound: whole rows of outputs whose first pixel lies within a window buffer, and those above the next frame."""
    if layer is None or not layer.windowed:
        return 0
    rows = (fit.window_pixels(network, pipeline, layer) - 1) // network.input_shape(layer).cols + 2
    above = -(-layer.padding.top // layer.stride.rows)
    return (rows + above) * layer.factor.rows * network.shapes[layer.name].cols


def _node_timing(network: Network, pipeline: Pipeline, names: tuple[str, ...]) -> tuple[Cycles, Cycles]:
    """Issue cycles and depth of every node, (nodes, 1)."""
    rows = [_ii_and_d(network, pipeline, name) for name in names]
    ii, d = np.array(rows, np.int64).T
    return ii[:, None].copy(), d[:, None].copy()


def _ii_and_d(network: Network, pipeline: Pipeline, name: str) -> tuple[int, int]:
    if name in (INPUT, OUTPUT):
        shape = network.shapes[INPUT if name == INPUT else network.output.name]
        return shape.channels // fit.port_channels(network, pipeline, name), 0
    layer = network.by_name[name]
    latency = 0
    if not layer.windowed:
        latency = max(fit.fifo(pipeline, Edge(source, name)).read_latency_cycles for source in layer.inputs)
    return issue_cycles(network, layer, fit.engine(network, pipeline, layer)), DEPTH_CYCLES[layer.kind] + latency


def _edge_timing(network: Network, pipeline: Pipeline, edges: tuple[Edge, ...]) -> tuple[Cycles, Cycles, Cycles]:
    """Copy cycles, read latency and depth of every edge, (edges, 1); the first two matter to windowed readers alone."""
    rows = []
    for edge in edges:
        fifo = fit.fifo(pipeline, edge)
        reader = network.by_name.get(edge.target)
        if reader is None or not reader.windowed:
            rows.append((0, 0, fifo.depth))
        else:
            copy = copy_cycles(network, reader, pipeline.engines[reader.name])
            rows.append((copy, fifo.read_latency_cycles, fifo.depth))
    w, r, depth = np.array(rows, np.int64).T
    return w[:, None].copy(), r[:, None].copy(), depth[:, None].copy()


def windows_of(network: Network, layer: Layer) -> Windows:
    """The windows of a windowed layer."""
    if layer.kind == "upsample":
        return _repeated(network.input_shape(layer), layer.factor)
    return windows(network.input_shape(layer), layer.kernel, layer.stride, layer.padding)


@lru_cache(maxsize=256)
def _repeated(shape: Shape, factor: Size) -> Windows:
    """As `windows`, of pixels that are given again; a row is kept until its last time begins."""
    rows, cols = np.arange(shape.rows), np.arange(shape.cols)
    found = Windows(
        need_row=rows.repeat(factor.rows) * shape.cols,
        need_col=cols.repeat(factor.cols),
        free_row=((rows + 1) * factor.rows - 1) * shape.cols * factor.cols - 1,
        free_on=np.ones(shape.rows, np.int64),
        free_col=(cols + 1) * factor.cols,
    )
    for table in found:
        table.setflags(write=False)
    return found


@lru_cache(maxsize=256)
def windows(shape: Shape, kernel: Size, stride: Size, padding: Padding) -> Windows:
    """Which pixels of one frame the outputs need, and for which outputs they are kept, rows and columns apart.

    A pixel is kept for an output that needs it or an earlier one. Read-only: they are shared.
    """
    top, bottom, left, right = padding
    rows = np.arange((shape.rows + top + bottom - kernel.rows) // stride.rows + 1) * stride.rows - top
    cols = np.arange((shape.cols + left + right - kernel.cols) // stride.cols + 1) * stride.cols - left
    low_row = np.maximum(rows, 0)
    low_row[:-1][rows[:-1] + stride.rows <= 0] = -1
    free_row = np.searchsorted(low_row, np.arange(shape.rows))
    found = Windows(
        need_row=np.minimum(rows + kernel.rows - 1, shape.rows - 1) * shape.cols,
        need_col=np.minimum(cols + kernel.cols - 1, shape.cols - 1),
        free_row=free_row * cols.size - 1,
        free_on=np.searchsorted(low_row, np.arange(shape.rows), side="right") - free_row,
        free_col=np.searchsorted(np.maximum(cols, 0), np.arange(shape.cols), side="right"),
    )
    for table in found:
        table.setflags(write=False)
    return found
