"""The pipeline's recurrence in numba: one time stamp a pixel, exact (docs/pipeline.md).

Nodes are source, layers and sink, in topological order; edges are numbered too. Each node runs until it waits for a
stamp that is not there yet, then the next one; since the recurrence is max-plus, the order of evaluation changes no
stamp. A round in which no node advances is the end, or a deadlock if pixels are left.
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
    valid_ranks: Table,
    valid_cycles: Table,
    ready_ranks: Table,
    ready_cycles: Table,
    starts: Stamps,
    commits: Stamps,
    frees: Stamps,
) -> int:
    """Fill `starts` and `commits` (S and C of every node) and `frees` (F of every edge); return the pixels left undone.

    A row of `nodes` is (offset in starts and commits, pixels a frame, ii, d, windowed, offset in need); of `edges`
    (source, offset in frees, pixels a frame, depth, w, r, cap, offset in free). `need[p]` is the last pixel of the
    window of output p; `free[j]` is the last output, of the same frame, that pixel j or an earlier one is kept for.
    `node_inputs` and `node_outputs` list edges, ended by -1. Ranks and cycles are those of `_gated`, of the source and
    of the sink. Stamps that are not reached stay as they are.
    """
    sink = nodes.shape[0] - 1
    started = np.zeros(nodes.shape[0], np.int64)
    copied = np.zeros(edges.shape[0], np.int64)
    progress = 1
    while progress > 0:
        progress = _feed(
            nodes, edges, node_outputs, frames, valid_ranks, valid_cycles, started, copied, starts, commits, frees
        )
        for n in range(1, sink):
            if nodes[n, 4] == 1:
                progress += _look(
                    n,
                    nodes,
                    edges,
                    node_inputs,
                    node_outputs,
                    need,
                    free,
                    frames,
                    started,
                    copied,
                    starts,
                    commits,
                    frees,
                )
            else:
                progress += _join(
                    n, nodes, edges, node_inputs, node_outputs, frames, started, copied, starts, commits, frees
                )
        progress += _drain(
            nodes, edges, node_inputs, frames, ready_ranks, ready_cycles, started, copied, starts, commits, frees
        )
    left = 0
    for n in range(nodes.shape[0]):
        left += nodes[n, 1] * frames - started[n]
    return int(left)


@njit(cache=True, nogil=True, inline="always")
def _gated(time: int, words: int, ranks: Table, cycles: Table) -> tuple[int, int]:
    """First cycle, and the one after the last, of `words` words that may pass from `time` on.

    `cycles` are those in which the gate is open, `ranks[t]` how many of them lie before t; past the end of `ranks` the
    gate is always open.
    """
    horizon = ranks.shape[0] - 1
    first = time
    if time < horizon:
        rank = ranks[time]
        first = cycles[rank] if rank < cycles.shape[0] else horizon
    if first >= horizon:
        return first, first + words
    last = ranks[first] + words - 1
    if last < cycles.shape[0]:
        return first, cycles[last] + 1
    return first, horizon + last - cycles.shape[0] + 1


@njit(cache=True, nogil=True, inline="always")
def _room(p: int, n: int, edges: Table, node_outputs: Table, copied: Table, frees: Stamps) -> int:
    """The cycle from which output p of node n has a slot on every edge; -1 if that is not known yet."""
    time = 0
    for k in range(node_outputs.shape[1]):
        e = node_outputs[n, k]
        if e < 0:
            break
        slot = p - edges[e, 3]
        if slot >= copied[e]:
            return -1
        if slot >= 0:
            time = max(time, frees[edges[e, 1] + slot])
    return time


@njit(cache=True, nogil=True)
def _feed(
    nodes: Table,
    edges: Table,
    node_outputs: Table,
    frames: int,
    ranks: Table,
    cycles: Table,
    started: Table,
    copied: Table,
    starts: Stamps,
    commits: Stamps,
    frees: Stamps,
) -> int:
    """Run the source (node 0) as far as stamps are known; return its new pixels."""
    _, pixels, words, _, _, _ = nodes[0]
    p = first = started[0]
    while p < pixels * frames:
        time = _room(p, 0, edges, node_outputs, copied, frees)
        if time < 0:
            break
        if p > 0:
            time = max(time, commits[p - 1])
        starts[p], commits[p] = _gated(time, words, ranks, cycles)
        p += 1
    started[0] = p
    return int(p - first)


@njit(cache=True, nogil=True)
def _drain(
    nodes: Table,
    edges: Table,
    node_inputs: Table,
    frames: int,
    ranks: Table,
    cycles: Table,
    started: Table,
    copied: Table,
    starts: Stamps,
    commits: Stamps,
    frees: Stamps,
) -> int:
    """Run the sink (the last node) as far as stamps are known; return its new pixels."""
    n = nodes.shape[0] - 1
    base, pixels, words, _, _, _ = nodes[n]
    e = node_inputs[n, 0]
    source = edges[e, 0]
    p = first = started[n]
    while p < min(pixels * frames, started[source]):
        time = commits[nodes[source, 0] + p]
        if p > 0:
            time = max(time, commits[base + p - 1])
        starts[base + p], commits[base + p] = _gated(time, words, ranks, cycles)
        frees[edges[e, 1] + p] = commits[base + p]
        p += 1
    started[n] = p
    copied[e] = p
    return int(p - first)


@njit(cache=True, nogil=True)
def _join(
    n: int,
    nodes: Table,
    edges: Table,
    node_inputs: Table,
    node_outputs: Table,
    frames: int,
    started: Table,
    copied: Table,
    starts: Stamps,
    commits: Stamps,
    frees: Stamps,
) -> int:
    """Run a node that reads its FIFOs in place as far as stamps are known; return its new pixels."""
    base, pixels, ii, d, _, _ = nodes[n]
    end = pixels * frames
    for k in range(node_inputs.shape[1]):
        if node_inputs[n, k] < 0:
            break
        end = min(end, started[edges[node_inputs[n, k], 0]])
    p = first = started[n]
    while p < end:
        time = _room(p, n, edges, node_outputs, copied, frees)
        if time < 0:
            break
        if p > 0:
            time = max(time, commits[base + p - 1] - d)
        for k in range(node_inputs.shape[1]):
            e = node_inputs[n, k]
            if e < 0:
                break
            time = max(time, commits[nodes[edges[e, 0], 0] + p])
        starts[base + p] = time
        commits[base + p] = time + ii + d
        for k in range(node_inputs.shape[1]):
            e = node_inputs[n, k]
            if e < 0:
                break
            frees[edges[e, 1] + p] = time + ii
        p += 1
    started[n] = p
    for k in range(node_inputs.shape[1]):
        if node_inputs[n, k] < 0:
            break
        copied[node_inputs[n, k]] = p
    return int(p - first)


@njit(cache=True, nogil=True)
def _look(
    n: int,
    nodes: Table,
    edges: Table,
    node_inputs: Table,
    node_outputs: Table,
    need: Table,
    free: Table,
    frames: int,
    started: Table,
    copied: Table,
    starts: Stamps,
    commits: Stamps,
    frees: Stamps,
) -> int:
    """Run a node with a window, and its copier, as far as stamps are known; return new pixels and copies."""
    base, outputs, ii, d, _, need_base = nodes[n]
    e = node_inputs[n, 0]
    source, copy_base, pixels, _, w, r, cap, free_base = edges[e]
    source_base = nodes[source, 0]
    there = started[source]
    total = outputs * frames
    p = first = started[n]
    j = first_copy = copied[e]
    frame, place = p // outputs, p % outputs
    gone_frame, gone = (j - cap) // pixels, (j - cap) % pixels
    while True:
        while j < there:
            time = commits[source_base + j]
            if j > 0:
                time = max(time, frees[copy_base + j - 1])
            if j >= cap:
                q = gone_frame * outputs + free[free_base + gone]
                if q >= p:
                    break
                time = max(time, commits[base + q] - d)
            frees[copy_base + j] = time + w
            j += 1
            gone += 1
            if gone == pixels:
                gone = 0
                gone_frame += 1
        copied[e] = j
        if p == total:
            break
        last = frame * pixels + need[need_base + place]
        if last >= j:
            break
        time = _room(p, n, edges, node_outputs, copied, frees)
        if time < 0:
            break
        time = max(time, frees[copy_base + last] + r)
        if p > 0:
            time = max(time, commits[base + p - 1] - d)
        starts[base + p] = time
        commits[base + p] = time + ii + d
        p += 1
        place += 1
        if place == outputs:
            place = 0
            frame += 1
    started[n] = p
    return int(p - first + j - first_copy)
