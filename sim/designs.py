"""Many pipelines for one network, as arrays: thousands of exact simulations a second.

A design is a row of every array. What differs from design to design (folding, depths, RAMs) is packed for all designs
together; the kernel then runs over some side by side, in threads, outside of the interpreter's lock.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw import fit
from hw.accelerator import Engine, Fifo, Pipeline
from hw.errors import BadInput
from hw.network import Edge, Network
from sim import lanes
from sim.kernels_pipeline import Timing
from sim.packing import DEPTH_CYCLES, Cycles, Packed, pack, sink_edge

Counts = NDArray[np.int64]
LANES = 32
"""Designs side by side in one run of the kernel, by measurement (docs/performance.md)."""


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
    timing = _timing(network, designs, packed, issue, copy)

    def run(first: int) -> Cycles:
        return lanes.finishes(packed, frames, lanes.of_lanes(timing, slice(first, first + LANES)))

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(run, range(0, len(designs), LANES)))
    return np.concatenate(found, axis=1).T


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


def _timing(network: Network, designs: Designs, packed: Packed, issue: Counts, copy: Counts) -> Timing:
    """A lane for every design: that of the first, with what differs put in its place."""
    ii, d, w, r, _ = (np.repeat(cycles, len(designs), axis=1) for cycles in packed.timing)
    index = {edge: e for e, edge in enumerate(_edge_names(network))}
    ii[1:-1] = issue.T
    for i, layer in enumerate(network.layers):
        reads = [index[str(Edge(source, layer.name))] for source in layer.inputs]
        if layer.windowed:
            w[reads[0]] = copy[:, i]
            r[reads[0]] = designs.block[:, reads[0]]
        else:
            d[i + 1] = DEPTH_CYCLES[layer.kind] + designs.block[:, reads].max(axis=1)
    return Timing(ii, d, w, r, designs.depth.T)
