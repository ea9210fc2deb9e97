"""The pipeline's recurrence in numba: one time stamp a pixel, exact (docs/pipeline.md).

Nodes are source, layers and sink, in topological order; edges are numbered too. Each node is run until it waits for a
stamp that is not there yet, then the next one; since the recurrence is max-plus, the order of evaluation changes no
stamp. If no node advances in a round with pixels left, that is a deadlock.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Stamps = NDArray[np.int64]
Table = NDArray[np.int64]


@njit(cache=True, nogil=True)
def run(
    nodes: Table,
    edges: Table,
    node_inputs: Table,
    node_outputs: Table,
    need: Table,
    free: Table,
    frames: int,
    starts: Stamps,
    copies: Stamps,
    frees: Stamps,
) -> int:
    """Fill `starts` (S of every node), `copies` and `frees` (R and F of every edge); return the stamps left undone.

    A row of `nodes` is (offset in starts, pixels a frame, ii, d, windowed, offset in need); of `edges` (source, offset
    in copies and frees, pixels a frame, depth, w, r, cap, offset in free). `need[p]` is the last pixel of the window of
    output p; `free[j]` is the last output, of the same frame, that pixel j or an earlier one is kept for, or -1.
    `node_inputs` and `node_outputs` list edges, ended by -1.
    """
    node_count = nodes.shape[0]
    edge_count = edges.shape[0]
    started = np.zeros(node_count, np.int64)
    copied = np.zeros(edge_count, np.int64)
    progress = 1
    while progress > 0:
        progress = 0
        for n in range(node_count):
            total = nodes[n, 1] * frames
            while True:
                if nodes[n, 4] == 1:
                    progress += _copy(
                        nodes, edges, node_inputs[n, 0], n, frames, free, started, copied, starts, copies, frees
                    )
                if started[n] == total:
                    break
                if not _start(nodes, edges, node_inputs, node_outputs, n, need, started, copied, starts, copies, frees):
                    break
                progress += 1
    left = 0
    for n in range(node_count):
        left += nodes[n, 1] * frames - started[n]
    return left


@njit(cache=True, nogil=True, inline="always")
def _copy(
    nodes: Table,
    edges: Table,
    e: int,
    n: int,
    frames: int,
    free: Table,
    started: Table,
    copied: Table,
    starts: Stamps,
    copies: Stamps,
    frees: Stamps,
) -> int:
    """Copy pixels of windowed edge `e` into the window of node `n` as far as stamps are known; return how many."""
    source, base, pixels, _, w, _, cap, free_base = edges[e]
    source_start, _, source_ii, source_d, _, _ = nodes[source]
    start_base, outputs, ii, _, _, _ = nodes[n]
    j = first = copied[e]
    end = min(pixels * frames, started[source])
    while j < end:
        time = starts[source_start + j] + source_ii + source_d
        if j > 0:
            time = max(time, frees[base + j - 1])
        gone = j - cap
        if gone >= 0:
            frame = gone // pixels
            q = frame * outputs + free[free_base + gone - frame * pixels]
            if q >= started[n]:
                break
            if q >= 0:
                time = max(time, starts[start_base + q] + ii)
        copies[base + j] = time
        frees[base + j] = time + w
        j += 1
    copied[e] = j
    return int(j - first)


@njit(cache=True, nogil=True, inline="always")
def _start(
    nodes: Table,
    edges: Table,
    node_inputs: Table,
    node_outputs: Table,
    n: int,
    need: Table,
    started: Table,
    copied: Table,
    starts: Stamps,
    copies: Stamps,
    frees: Stamps,
) -> bool:
    """Start the next pixel of node `n`, if all stamps that it waits for are known."""
    p = started[n]
    start_base, outputs, ii, _, windowed, need_base = nodes[n]
    time = np.int64(0)
    if p > 0:
        time = starts[start_base + p - 1] + ii
    for k in range(node_inputs.shape[1]):
        e = node_inputs[n, k]
        if e < 0:
            break
        source, base, pixels, _, w, r, _, _ = edges[e]
        if windowed == 1:
            frame = p // outputs
            last = frame * pixels + need[need_base + p - frame * outputs]
            if last >= copied[e]:
                return False
            time = max(time, copies[base + last] + w + r)
        else:
            if p >= started[source]:
                return False
            source_start, _, source_ii, source_d, _, _ = nodes[source]
            time = max(time, starts[source_start + p] + source_ii + source_d)
    for k in range(node_outputs.shape[1]):
        e = node_outputs[n, k]
        if e < 0:
            break
        slot = p - edges[e, 3]
        if slot >= 0:
            if slot >= copied[e]:
                return False
            time = max(time, frees[edges[e, 1] + slot])
    starts[start_base + p] = time
    started[n] = p + 1
    if windowed == 0:
        for k in range(node_inputs.shape[1]):
            e = node_inputs[n, k]
            if e < 0:
                break
            copies[edges[e, 1] + p] = time
            frees[edges[e, 1] + p] = time + ii
            copied[e] = p + 1
    return True
