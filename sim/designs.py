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
from hw.network import Network
from sim import kernels_pipeline as kernel
from sim import lanes
from sim.kernels_pipeline import Timing
from sim.packing import DEPTH_CYCLES, Cycles, Packed, pack, sink_edge

Counts = NDArray[np.int64]
LANES = 64
"""Designs side by side in one run of the kernel, by measurement (docs/performance.md)."""
CHUNK = 8 * LANES
"""Designs that a thread checks and packs at a time."""


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

    def rows(self, chosen: slice) -> "Designs":
        """Some of them."""
        return Designs(self.pe[chosen], self.simd[chosen], self.depth[chosen], self.block[chosen])


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
    packed = pack(network, as_pipeline(network, designs, 0), frames)

    def run(first: int) -> Cycles:
        chunk = designs.rows(slice(first, first + CHUNK))
        timing = _timing(network, chunk, packed, *_checked_cycles(network, chunk))
        groups = [lanes.of_lanes(timing, slice(lane, lane + LANES)) for lane in range(0, len(chunk), LANES)]
        return np.concatenate([lanes.finishes(packed, frames, group) for group in groups], axis=1)

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(run, range(0, len(designs), CHUNK)))
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
    columns = [
        (
            network.input_shape(layer).channels,
            network.shapes[layer.name].channels,
            layer.taps,
            network.layer_terms(layer),
        )
        for layer in network.layers
    ]
    inputs, outputs, taps, terms = np.array(columns, np.int64).T
    kinds = np.array([layer.kind for layer in network.layers])
    conv, depthwise = kinds == "conv", kinds == "depthwise"
    windowed = np.array([layer.windowed for layer in network.layers])
    pe, simd = np.maximum(designs.pe, 1), np.maximum(designs.simd, 1)
    whole = np.maximum(simd // inputs, 1)
    divides = (inputs % simd == 0) | ((whole * inputs == simd) & (taps % whole == 0))
    good = (outputs % pe == 0) & np.where(conv, divides, np.where(depthwise, taps % simd == 0, simd == 1))
    good &= (designs.pe > 0) & (designs.simd > 0)
    for i, layer in enumerate(network.layers):
        for source in layer.inputs if layer.kind == "concat" else ():
            good[:, i] &= network.shapes[source].channels % pe[:, i] == 0
    fits = good.all(axis=1) & (designs.depth > 0).all(axis=1)
    if not fits.all():
        fit.check(network, as_pipeline(network, designs, int(np.flatnonzero(~fits)[0])))
    issue = outputs // pe * np.where(conv | depthwise, terms // simd, 1)
    copy = windowed * (inputs // np.where(conv, np.minimum(simd, inputs), pe))
    return issue, copy


def _timing(network: Network, designs: Designs, packed: Packed, issue: Counts, copy: Counts) -> Timing:
    """A lane for every design: that of the first, with what differs put in its place."""
    ii, d, w, r, _ = (np.repeat(cycles, len(designs), axis=1) for cycles in packed.timing)
    windowed = np.array([layer.windowed for layer in network.layers])
    first_read = packed.tables.nodes[1:-1, kernel.N_INPUT]
    block = designs.block.T.astype(np.int64)
    ii[1:-1] = issue.T
    w[first_read[windowed]] = copy.T[windowed]
    r[first_read[windowed]] = block[first_read[windowed]]
    # Edges stand in the order of their readers, so that a layer's are those up to the next layer's first.
    latency = np.maximum.reduceat(block[:-1], first_read, axis=0)
    depth_cycles = np.array([DEPTH_CYCLES[layer.kind] for layer in network.layers])
    d[1:-1] = depth_cycles[:, None] + np.where(windowed[:, None], 0, latency)
    return Timing(ii, d, w, r, designs.depth.T)
