"""Many pipelines for one network, as arrays: thousands of exact simulations a second.

A design is a row of every array. What differs from design to design (folding, depths, RAMs) is packed for all designs
together; the kernel then runs over them in threads, outside of the interpreter's lock.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw import fit
from hw.accelerator import Engine, Fifo, Pipeline
from hw.errors import BadInput
from hw.network import Edge, Network
from sim import kernels_pipeline as kernel
from sim.packing import DEPTH_CYCLES, Cycles, Packed, pack, sink_edge

Counts = NDArray[np.int64]
CHUNK = 64
"""Designs that a thread takes at a time."""


@dataclass(frozen=True, eq=False)
class Designs:
    """Pipelines of one network: columns of `pe` and `simd` are its layers, of `depth` and `block` its edges.

    The last edge is the sink's. `block` tells which FIFOs are block RAM. Source and sink take whole pixels, window
    buffers are as usual.
    """

    pe: Counts
    simd: Counts
    depth: Counts
    block: Counts

    def __len__(self) -> int:
        return len(self.pe)


def of_pipelines(network: Network, pipelines: list[Pipeline]) -> Designs:
    """Machines as rows; each must belong to the network, with whole-pixel ports and usual buffers.

    Raises:
        BadInput: a machine that does not belong to the network, or that differs in what rows do not hold.
    """
    for machine in pipelines:
        if machine.buffers or machine.source_channels or machine.sink_channels:
            raise BadInput(f"machine {machine.name}: only whole-pixel ports and usual buffers can stand in a row")
    layers = list(network.by_name)
    edges = _edge_names(network)
    return Designs(
        np.array([[machine.engines[name].pe for name in layers] for machine in pipelines], np.int64),
        np.array([[machine.engines[name].simd for name in layers] for machine in pipelines], np.int64),
        np.array([[machine.fifos[edge].depth for edge in edges] for machine in pipelines], np.int64),
        np.array([[machine.fifos[edge].ram == "block" for edge in edges] for machine in pipelines], np.int64),
    )


def finishes(network: Network, designs: Designs, frames: int = 1, threads: int = 2) -> Cycles:
    """Of every design: the cycle in which the sink has taken each frame, (designs, frames); -1 where it stops for ever.

    `network` in the form that hardware runs.

    Raises:
        BadInput: a design that does not belong to the network; the first one is told.
    """
    issue, copy = _checked_cycles(network, designs)
    packed = pack(network, as_pipeline(network, designs, 0), frames)
    nodes, edges = _tables(network, designs, packed, issue, copy)
    result = np.full((len(designs), frames), -1, np.int64)

    def run(first: int) -> None:
        chunk = slice(first, first + CHUNK)
        kernel.run_many(nodes[chunk], edges[chunk], packed.out_edges, packed.need, packed.free, frames, result[chunk])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(0, len(designs), CHUNK)))
    return result


def as_pipeline(network: Network, designs: Designs, design: int, clock_mhz: float = 1.0) -> Pipeline:
    """A row as a machine."""
    names = _edge_names(network)
    pe, simd, depth, block = (
        array[design].tolist() for array in (designs.pe, designs.simd, designs.depth, designs.block)
    )
    engines = {name: Engine(pe[i], simd[i]) for i, name in enumerate(network.by_name)}
    fifos = {name: Fifo(depth[i], "block" if block[i] else "lut") for i, name in enumerate(names)}
    return Pipeline(f"design {design}", clock_mhz, engines, fifos)


def _edge_names(network: Network) -> list[str]:
    return [*map(str, network.edges), sink_edge(network)]


def _checked_cycles(network: Network, designs: Designs) -> tuple[Counts, Counts]:
    """Issue and copy cycles of a pixel, (designs, layers); a row that does not divide is told as by `hw.fit`."""
    good = (designs.pe > 0).all(axis=1) & (designs.simd > 0).all(axis=1) & (designs.depth > 0).all(axis=1)
    issue, copy = np.ones_like(designs.pe), np.zeros_like(designs.pe)
    for i, layer in enumerate(network.layers):
        pe, simd = np.maximum(designs.pe[:, i], 1), np.maximum(designs.simd[:, i], 1)
        inputs, outputs = network.input_shape(layer).channels, network.shapes[layer.name].channels
        good &= outputs % pe == 0
        issue[:, i] = outputs // pe
        if layer.kind == "conv":
            good &= (inputs % simd == 0) | ((simd % inputs == 0) & (layer.taps % np.maximum(simd // inputs, 1) == 0))
            issue[:, i] *= layer.taps * inputs // simd
            copy[:, i] = inputs // np.minimum(simd, inputs)
        else:
            good &= simd == 1
            for source in layer.inputs if layer.kind == "concat" else ():
                good &= network.shapes[source].channels % pe == 0
            copy[:, i] = inputs // pe if layer.windowed else 0
    if not good.all():
        fit.check(network, as_pipeline(network, designs, int(np.flatnonzero(~good)[0])))
    return issue, copy


def _tables(network: Network, designs: Designs, packed: Packed, issue: Counts, copy: Counts) -> tuple[Counts, Counts]:
    """The kernel's tables of all designs: those of the first, with what differs put in its place."""
    nodes = np.repeat(packed.node_table[None], len(designs), axis=0)
    edges = np.repeat(packed.edge_table[None], len(designs), axis=0)
    index = {edge: e for e, edge in enumerate(_edge_names(network))}
    nodes[:, 1:-1, kernel.N_II] = issue
    edges[:, :, kernel.E_DEPTH] = designs.depth
    for i, layer in enumerate(network.layers):
        reads = [index[str(Edge(source, layer.name))] for source in layer.inputs]
        if layer.windowed:
            edges[:, reads[0], kernel.E_W] = copy[:, i]
            edges[:, reads[0], kernel.E_R] = designs.block[:, reads[0]]
        else:
            nodes[:, i + 1, kernel.N_D] = DEPTH_CYCLES[layer.kind] + designs.block[:, reads].max(axis=1)
    return nodes, edges
