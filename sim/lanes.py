"""Machines of one network side by side in the pipeline's kernel, a lane each, and the rings that hold their stamps."""

import numpy as np

from hw.errors import BadInput
from sim import kernels_pipeline as kernel
from sim.kernels_pipeline import Ends, Rings, Timing
from sim.packing import Cycles, Packed

_NONE = np.zeros(0, np.int64)
ALWAYS_OPEN = Ends(np.zeros(1, np.int64), _NONE, np.zeros(1, np.int64), _NONE, _NONE)


def finishes(packed: Packed, frames: int, timing: Timing) -> Cycles:
    """The cycle in which each frame is through, (frames, lanes); -1 in the lanes that stop for ever."""
    rings = ring(packed, timing, frames)
    run = kernel.run_one if timing.ii.shape[1] == 1 else kernel.run_lanes
    if run(packed.tables, timing, ALWAYS_OPEN, frames, rings) == 0:
        return rings.finishes
    rings.finishes[:] = -1
    if timing.ii.shape[1] > 1:
        # The lane with the shallowest FIFOs stopped all: each for itself tells which do.
        for lane in range(timing.ii.shape[1]):
            rings.finishes[:, lane] = finishes(packed, frames, of_lanes(timing, slice(lane, lane + 1)))[:, 0]
    return rings.finishes


MOST_PIXELS = 1 << 50
MOST_STAMPS = 1 << 30
"""8 bytes each, where the stamps of a whole run are wanted."""


def of_lanes(timing: Timing, lanes: slice) -> Timing:
    """Some lanes, in memory of their own."""
    return Timing(*(np.ascontiguousarray(cycles[:, lanes]) for cycles in timing))


def ring(packed: Packed, timing: Timing, frames: int, whole: bool = False) -> Rings:
    """Room for the stamps of a run: as much as is looked back, or `whole`, with -1 for what is not reached.

    A place lasts until nobody asks for it: a node's stamps are asked for by readers, at most the depth of their FIFO
    later, and by its own window; an edge's by its writer, a depth later, and by its window, at most its capacity later.
    """
    nodes, edges = packed.tables.nodes, packed.tables.edges
    pixels = int(nodes[:, kernel.N_PIXELS].sum() + edges[:, kernel.E_PIXELS].sum())
    if pixels * frames > (MOST_STAMPS if whole else MOST_PIXELS):
        raise BadInput(f"frames: {frames} of {pixels} pixels in all layers were found, which are too many; take fewer")
    node_sizes, edge_sizes = nodes[:, kernel.N_PIXELS] * frames, edges[:, kernel.E_PIXELS] * frames
    if not whole:
        deepest = timing.depth.max(axis=1)
        looks_back = packed.looks_back.copy()
        np.maximum.at(looks_back, edges[:, kernel.E_SOURCE], deepest)
        node_sizes = np.minimum(node_sizes, looks_back + 1)
        edge_sizes = np.minimum(edge_sizes, np.maximum(deepest, edges[:, kernel.E_CAP]) + 1)
    node_sizes, edge_sizes = _powers_of_two(node_sizes), _powers_of_two(edge_sizes)
    lanes = timing.ii.shape[1]
    sizes = (node_sizes.sum(), edge_sizes.sum(), node_sizes[0], node_sizes[-1])
    commits, frees, source_starts, sink_starts = (np.empty((size, lanes), np.int64) for size in sizes)
    if whole:
        for array in (commits, frees, source_starts, sink_starts):
            array[:] = -1
    return Rings(
        node_base=np.cumsum(node_sizes) - node_sizes,
        node_mask=node_sizes - 1,
        edge_base=np.cumsum(edge_sizes) - edge_sizes,
        edge_mask=edge_sizes - 1,
        commits=commits,
        frees=frees,
        source_starts=source_starts,
        sink_starts=sink_starts,
        finishes=np.full((frames, lanes), -1, np.int64),
    )


def _powers_of_two(sizes: Cycles) -> Cycles:
    """The least powers of two that hold as much."""
    powers = 1 << np.arange(62)
    result: Cycles = powers[np.searchsorted(powers, sizes)]
    return result
