"""Why a pipeline stops for ever: the cycle of edges on which every node waits for the next, and what frees it."""

import msgspec
import numpy as np

from hw.errors import Deadlock
from sim import kernels_pipeline as kernel
from sim import lanes
from sim.packing import Cycles, Packed


class _Wait(msgspec.Struct, frozen=True):
    """A node waits for another: for a pixel on edge `edge`, or, if `full`, for a slot on it."""

    node: int
    edge: int
    full: bool


def explain(packed: Packed, frames: int, started: Cycles, freed: Cycles) -> Deadlock:
    """The error for a run that stopped after `started` pixels of every node and `freed` of every edge.

    It names the edges of one cycle of waiting, the depth of each full one, and the least that frees the pipeline if
    that edge alone is made deeper.
    """
    waits = _cycle(packed, frames, started, freed)
    words = [_told(packed, frames, wait) for wait in waits]
    return Deadlock("the pipeline stops for ever: " + ", ".join(words))


def _told(packed: Packed, frames: int, wait: _Wait) -> str:
    edge = packed.edges[wait.edge]
    if not wait.full:
        return f"edge {edge} is empty"
    depth = int(packed.timing.depth[wait.edge, 0])
    least = least_depth(packed, frames, wait.edge)
    cure = "deeper alone frees nothing" if least is None else f"{least} free it"
    return f"edge {edge} is full ({depth} pixels; {cure})"


def least_depth(packed: Packed, frames: int, edge: int) -> int | None:
    """The least depth of one edge with which the pipeline does not stop, all others as they are; None if none does."""
    depths = packed.timing.depth.copy()

    def runs(depth: int) -> bool:
        depths[edge] = depth
        return bool(finishes(packed, frames, depths)[-1] >= 0)

    low, high = int(packed.timing.depth[edge, 0]), int(packed.tables.edges[edge, kernel.E_PIXELS]) * frames
    if not runs(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(middle) else (middle, high)
    return high


def finishes(packed: Packed, frames: int, depths: Cycles) -> Cycles:
    """The cycle in which each frame is through, with other depths, (edges, 1); -1 where the pipeline stops for ever."""
    return lanes.finishes(packed, frames, packed.timing._replace(depth=depths))[:, 0]


def _cycle(packed: Packed, frames: int, started: Cycles, freed: Cycles) -> list[_Wait]:
    """Follow who waits for whom from an unfinished node until a node comes again."""
    totals = packed.tables.nodes[:, kernel.N_PIXELS] * frames
    node = int(np.flatnonzero(started < totals)[0])
    path: list[_Wait] = []
    seen: dict[int, int] = {}
    while node not in seen:
        seen[node] = len(path)
        wait = _wait(packed, frames, started, freed, node)
        path.append(wait)
        edge = packed.tables.edges[wait.edge]
        node = int(edge[kernel.E_READER] if wait.full else edge[kernel.E_SOURCE])
    return path[seen[node] :]


def _wait(packed: Packed, frames: int, started: Cycles, freed: Cycles, node: int) -> _Wait:
    """What an unfinished node waits for: a pixel first, then a slot."""
    row, p = packed.tables.nodes[node], int(started[node])
    first = int(row[kernel.N_INPUT])
    if row[kernel.N_WINDOW]:
        frame, place = divmod(p, int(row[kernel.N_PIXELS]))
        pixels = int(packed.tables.edges[first, kernel.E_PIXELS])
        y, x = divmod(place, int(row[kernel.N_COLS]))
        needed = frame * pixels + int(
            packed.tables.need_row[row[kernel.N_NEED_ROW] + y] + packed.tables.need_col[row[kernel.N_NEED_COL] + x]
        )
        if needed >= freed[first]:
            return _Wait(node, first, full=False)
    for edge in range(first, first + int(row[kernel.N_INPUTS])):
        if not row[kernel.N_WINDOW] and p >= started[packed.tables.edges[edge, kernel.E_SOURCE]]:
            return _Wait(node, edge, full=False)
    for edge in packed.tables.outs[row[kernel.N_OUTPUT] : row[kernel.N_OUTPUT_END]]:
        if p - packed.timing.depth[edge, 0] >= freed[edge]:
            return _Wait(node, int(edge), full=True)
    raise AssertionError(f"node {packed.names[node]} stopped and waits for nothing")
