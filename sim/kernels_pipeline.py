"""The pipeline's recurrence in numba: one time stamp a pixel, exact (docs/pipeline.md).

Nodes are source, layers and sink, in topological order; edges are numbered by their readers. A node is visited when a
neighbour has got on, and runs until it waits for a stamp that is not there yet; since the recurrence is monotone, the
order of evaluation changes no stamp. When no visit gets on, that is the end, or a deadlock if pixels are left.

Machines that differ in cycles and depths alone run side by side, a lane each: an order that serves the shallowest FIFOs
serves deeper ones too, so that one walk does for all. Stamps live in rings, as long as anything looks back (or as long
as the run, where all are wanted): `base + (p & mask)` is the place of pixel p.

The loop over pixels calls nothing: numba counts references of every array at every call, which cost ten times the work
itself (docs/performance.md).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Stamps = NDArray[np.int64]
Table = NDArray[np.int64]

# Columns of the table of nodes: pixels of a frame, whether it has a window, first input edge and their number, first
# entry in outs and the one after its last, rows and columns of its map, its first entries in need_row and need_col.
N_PIXELS, N_WINDOW, N_INPUT, N_INPUTS, N_OUTPUT, N_OUTPUT_END, N_ROWS, N_COLS, N_NEED_ROW, N_NEED_COL = range(10)
# Columns of the table of edges: source, reader, pixels of a frame, rows and columns, window capacity, first entries in
# free_row and free_on, and in free_col.
E_SOURCE, E_READER, E_PIXELS, E_ROWS, E_COLS, E_CAP, E_FREE_ROW, E_FREE_COL = range(8)


class Tables(NamedTuple):
    """What all lanes share: the graph and the windows, rows and columns apart.

    Output (y, x) needs the pixels up to need_row[y] + need_col[x] of its frame. Pixel (y, x) and those before it are
    kept for the outputs up to free_row[y] + free_on[y] * free_col[x].
    """

    nodes: Table
    edges: Table
    outs: Table
    need_row: Table
    need_col: Table
    free_row: Table
    free_on: Table
    free_col: Table


class Timing(NamedTuple):
    """Cycles and depths: `ii` and `d` (nodes, lanes), `w`, `r` and `depth` (edges, lanes); docs/pipeline.md."""

    ii: Table
    d: Table
    w: Table
    r: Table
    depth: Table


class Ends(NamedTuple):
    """When source and sink are open: `ranks[t]` open cycles lie before t, `cycles` are those; past `ranks` it is open.

    `releases`, if not empty, are the cycles before which the source has not got each pixel.
    """

    valid_ranks: Table
    valid_cycles: Table
    ready_ranks: Table
    ready_cycles: Table
    releases: Table


class Rings(NamedTuple):
    """Stamps (places, lanes): `commits` C of nodes, `frees` F of edges, starts of both ends, finishes (frames, lanes).

    Base and mask of every node's and edge's ring; the starts lie as the ends' own commits do.
    """

    node_base: Table
    node_mask: Table
    edge_base: Table
    edge_mask: Table
    commits: Stamps
    frees: Stamps
    source_starts: Stamps
    sink_starts: Stamps
    finishes: Stamps


def _kernel(one_lane: bool) -> Any:
    """The kernel for one lane, whose loops over lanes fall away, or for any number (numba does not type it)."""

    @njit(cache=True, nogil=True)
    def run(tables: Tables, timing: Timing, ends: Ends, frames: int, rings: Rings) -> int:
        """Fill the rings; return the pixels left undone, of all nodes. Stamps that are not reached stay as they are."""
        nodes, edges, outs, need_row, need_col, free_row, free_on, free_col = tables
        ii, d, w, r, depth = timing
        node_base, node_mask, edge_base, edge_mask, commits, frees, source_starts, sink_starts, finishes = rings
        lanes = 1 if one_lane else ii.shape[1]
        count = nodes.shape[0]
        sink = count - 1
        started = np.zeros(count, np.int64)
        row = np.zeros(count, np.int64)
        col = np.zeros(count, np.int64)
        offset = np.zeros(count, np.int64)
        copied = np.zeros(edges.shape[0], np.int64)
        gone_row = np.zeros(edges.shape[0], np.int64)
        gone_col = np.zeros(edges.shape[0], np.int64)
        gone_outputs = np.zeros(edges.shape[0], np.int64)
        ended = np.zeros((edges.shape[0], lanes), np.int64)
        ready = np.zeros((count, lanes), np.int64)
        time = np.zeros(lanes, np.int64)
        shallowest = np.empty(edges.shape[0], np.int64)
        for e in range(edges.shape[0]):
            shallowest[e] = depth[e, 0]
            for lane in range(lanes):
                shallowest[e] = min(shallowest[e], depth[e, lane])
        waiting = np.ones(count, np.uint8)
        progress = True
        while progress:
            progress = False
            for n in range(count):
                if waiting[n] == 0:
                    continue
                waiting[n] = 0
                base = node_base[n]
                mask = node_mask[n]
                first_out = nodes[n, N_OUTPUT]
                end_out = nodes[n, N_OUTPUT_END]
                room = nodes[n, N_PIXELS] * frames
                for o in range(first_out, end_out):
                    room = min(room, copied[outs[o]] + shallowest[outs[o]])
                e = nodes[n, N_INPUT]
                p = first = started[n]
                copies = 0
                if nodes[n, N_WINDOW] == 1:
                    there = started[edges[e, E_SOURCE]]
                    source_base = node_base[edges[e, E_SOURCE]]
                    source_mask = node_mask[edges[e, E_SOURCE]]
                    copy_base = edge_base[e]
                    copy_mask = edge_mask[e]
                    cap = edges[e, E_CAP]
                    columns, out_columns = edges[e, E_COLS], nodes[n, N_COLS]
                    need_rows, need_cols = nodes[n, N_NEED_ROW], nodes[n, N_NEED_COL]
                    free_rows, free_cols = edges[e, E_FREE_ROW], edges[e, E_FREE_COL]
                    j = copied[e]
                    y, x, before = row[n], col[n], offset[n]
                    last_row = before + need_row[need_rows + y]
                    last = last_row + need_col[need_cols + x]
                    gy, gx, outputs_before = gone_row[e], gone_col[e], gone_outputs[e]
                    free_before = outputs_before + free_row[free_rows + gy]
                    free_here = free_on[free_rows + gy]
                    while True:
                        while j < there:
                            source = source_base + (j & source_mask)
                            copy = copy_base + (j & copy_mask)
                            if j < cap:
                                for lane in range(lanes):
                                    end = max(commits[source, lane], ended[e, lane]) + w[e, lane]
                                    ended[e, lane] = end
                                    frees[copy, lane] = end
                            else:
                                q = free_before + free_here * free_col[free_cols + gx]
                                if q >= p:
                                    break
                                output = base + (q & mask)
                                for lane in range(lanes):
                                    end = max(commits[source, lane], ended[e, lane])
                                    end = max(end, commits[output, lane] - d[n, lane]) + w[e, lane]
                                    ended[e, lane] = end
                                    frees[copy, lane] = end
                                gx += 1
                                if gx == columns:
                                    gx = 0
                                    gy += 1
                                    if gy == edges[e, E_ROWS]:
                                        gy = 0
                                        outputs_before += nodes[n, N_PIXELS]
                                    free_before = outputs_before + free_row[free_rows + gy]
                                    free_here = free_on[free_rows + gy]
                            j += 1
                        if p >= room or last >= j:
                            break
                        copy = copy_base + (last & copy_mask)
                        for lane in range(lanes):
                            time[lane] = max(ready[n, lane], frees[copy, lane] + r[e, lane])
                        for o in range(first_out, end_out):
                            out = outs[o]
                            for lane in range(lanes):
                                slot = p - depth[out, lane]
                                free = frees[edge_base[out] + (slot & edge_mask[out]), lane]
                                time[lane] = max(time[lane], free if slot >= 0 else 0)
                        here = base + (p & mask)
                        for lane in range(lanes):
                            ready[n, lane] = time[lane] + ii[n, lane]
                            commits[here, lane] = ready[n, lane] + d[n, lane]
                        p += 1
                        x += 1
                        if x == out_columns:
                            x = 0
                            y += 1
                            if y == nodes[n, N_ROWS]:
                                y = 0
                                before += edges[e, E_PIXELS]
                            last_row = before + need_row[need_rows + y]
                        last = last_row + need_col[need_cols + x]
                    row[n], col[n], offset[n] = y, x, before
                    gone_row[e], gone_col[e], gone_outputs[e] = gy, gx, outputs_before
                    copies = j - copied[e]
                    copied[e] = j
                else:
                    inputs = nodes[n, N_INPUTS]
                    there = room
                    for k in range(inputs):
                        there = min(there, started[edges[e + k, E_SOURCE]])
                    while p < there:
                        for lane in range(lanes):
                            time[lane] = ready[n, lane]
                        for k in range(inputs):
                            node = edges[e + k, E_SOURCE]
                            for lane in range(lanes):
                                time[lane] = max(time[lane], commits[node_base[node] + (p & node_mask[node]), lane])
                        for o in range(first_out, end_out):
                            out = outs[o]
                            for lane in range(lanes):
                                slot = p - depth[out, lane]
                                free = frees[edge_base[out] + (slot & edge_mask[out]), lane]
                                time[lane] = max(time[lane], free if slot >= 0 else 0)
                        here = base + (p & mask)
                        if n == 0:
                            for lane in range(lanes):
                                begin = max(time[lane], ends.releases[p]) if ends.releases.shape[0] > 0 else time[lane]
                                source_starts[here, lane], ready[n, lane] = _gated(
                                    begin, ii[n, lane], ends.valid_ranks, ends.valid_cycles
                                )
                        elif n == sink:
                            for lane in range(lanes):
                                sink_starts[p & mask, lane], ready[n, lane] = _gated(
                                    time[lane], ii[n, lane], ends.ready_ranks, ends.ready_cycles
                                )
                        else:
                            for lane in range(lanes):
                                ready[n, lane] = time[lane] + ii[n, lane]
                        for lane in range(lanes):
                            commits[here, lane] = ready[n, lane] + d[n, lane]
                        for k in range(inputs):
                            copy = edge_base[e + k] + (p & edge_mask[e + k])
                            for lane in range(lanes):
                                frees[copy, lane] = ready[n, lane]
                        p += 1
                        if n == sink and p % nodes[n, N_PIXELS] == 0:
                            for lane in range(lanes):
                                finishes[p // nodes[n, N_PIXELS] - 1, lane] = ready[n, lane]
                    for k in range(inputs):
                        copied[e + k] = p
                if p > first:
                    started[n] = p
                    for o in range(first_out, end_out):
                        waiting[edges[outs[o], E_READER]] = 1
                if p > first or copies > 0:
                    progress = True
                    for k in range(nodes[n, N_INPUTS]):
                        waiting[edges[e + k, E_SOURCE]] = 1
        left = 0
        for n in range(count):
            left += nodes[n, N_PIXELS] * frames - started[n]
        return int(left)

    return run


@njit(cache=True, nogil=True, inline="always")
def _gated(time: int, words: int, ranks: Table, cycles: Table) -> tuple[int, int]:
    """First cycle, and the one after the last, of `words` words that may pass an end from `time` on."""
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


run_one = _kernel(one_lane=True)
run_lanes = _kernel(one_lane=False)
