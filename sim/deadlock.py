"""Why a pipeline stops for ever: the cycle of edges on which every node waits for the next, and what frees it."""

import msgspec
import numpy as np

from hw.errors import Deadlock
from sim import kernels_pipeline as kernel
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
    depth = int(packed.edge_table[wait.edge, kernel.E_DEPTH])
    least = least_depth(packed, frames, wait.edge)
    cure = "deeper alone frees nothing" if least is None else f"{least} free it"
    return f"edge {edge} is full ({depth} pixels; {cure})"


def least_depth(packed: Packed, frames: int, edge: int) -> int | None:
    """The least depth of one edge with which the pipeline does not stop, all others as they are; None if none does."""
    table = packed.edge_table.copy()

    def runs(depth: int) -> bool:
        table[edge, kernel.E_DEPTH] = depth
        return bool(finishes(packed, frames, table)[-1] >= 0)

    low, high = int(packed.edge_table[edge, kernel.E_DEPTH]), int(table[edge, kernel.E_PIXELS]) * frames
    if not runs(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(middle) else (middle, high)
    return high


def finishes(packed: Packed, frames: int, edge_table: Cycles) -> Cycles:
    """The cycle in which each frame is through, with another table of edges; -1 where the pipeline stops for ever."""
    found = np.full((1, frames), -1, np.int64)
    nodes, edges = packed.node_table[None], edge_table[None]
    kernel.run_many(nodes, edges, packed.out_edges, packed.need, packed.free, frames, found)
    result: Cycles = found[0]
    return result


def _cycle(packed: Packed, frames: int, started: Cycles, freed: Cycles) -> list[_Wait]:
    """Follow who waits for whom from an unfinished node until a node comes again."""
    totals = packed.node_table[:, kernel.N_PIXELS] * frames
    node = int(np.flatnonzero(started < totals)[0])
    path: list[_Wait] = []
    seen: dict[int, int] = {}
    while node not in seen:
        seen[node] = len(path)
        wait = _wait(packed, frames, started, freed, node)
        path.append(wait)
        edge = packed.edge_table[wait.edge]
        node = int(edge[kernel.E_READER] if wait.full else edge[kernel.E_SOURCE])
    return path[seen[node] :]


def _wait(packed: Packed, frames: int, started: Cycles, freed: Cycles, node: int) -> _Wait:
    """What an unfinished node waits for: a pixel first, then a slot."""
    row, p = packed.node_table[node], int(started[node])
    first = int(row[kernel.N_INPUT])
    if row[kernel.N_WINDOW]:
        frame, place = divmod(p, int(row[kernel.N_PIXELS]))
        pixels = int(packed.edge_table[first, kernel.E_PIXELS])
        needed = frame * pixels + int(packed.need[row[kernel.N_NEED] + place])
        if needed >= freed[first]:
            return _Wait(node, first, full=False)
    for edge in range(first, first + int(row[kernel.N_INPUTS])):
        if not row[kernel.N_WINDOW] and p >= started[packed.edge_table[edge, kernel.E_SOURCE]]:
            return _Wait(node, edge, full=False)
    for edge in packed.out_edges[row[kernel.N_OUTPUT] : row[kernel.N_OUTPUT_END]]:
        if p - packed.edge_table[edge, kernel.E_DEPTH] >= freed[edge]:
            return _Wait(node, int(edge), full=True)
    raise AssertionError(f"node {packed.names[node]} stopped and waits for nothing")
