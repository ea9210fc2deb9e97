"""The line engine's turns in numba: which there are, what they load and what line memory holds (docs/line_engine.md).

Layers are numbered from 1 in topological order; number 0 is the frame. Edges are numbered by their readers.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Table = NDArray[np.int64]

# Columns of the table of turns: layer, first task and the one after the last, rows of the frame that arrive for it,
# rows made, bytes of line memory, first entry in the row loads and the one after the last.
T_LAYER, T_FIRST, T_END, T_ARRIVED, T_MADE, T_BYTES, T_LOADS, T_LOADS_END = range(8)


class Graph(NamedTuple):
    """A network's rows: by layer rows and bytes of a map's row, of a row of sums, tasks and where they begin in `need`.

    Task k of a layer needs rows up to `need` (one after the last), keeps those from `kept` on, and ends a row if
    `emits`; `kept` has an entry more a layer. `edges` (source, reader) in the readers' order, from `first_edge` on;
    `readers` are edges in the sources' order, from `first_reader` on.
    """

    rows: Table
    row_bytes: Table
    sum_bytes: Table
    first_task: Table
    need: Table
    kept: Table
    emits: Table
    edges: Table
    first_edge: Table
    readers: Table
    first_reader: Table


@njit(cache=True, nogil=True)
def line_by_line(graph: Graph, group: int) -> Table:
    """The turns of a frame whose rows arrive in groups, by rounds."""
    count = graph.rows.shape[0]
    made = np.zeros(count, np.int64)
    done = np.zeros(count, np.int64)
    tasks = graph.need.shape[0]
    turns = np.zeros((tasks, 8), np.int64)
    size = 0
    arrived = 0
    left = tasks
    while left > 0:
        came = min(group, graph.rows[0] - made[0])
        made[0] += came
        arrived += came
        for n in range(1, count):
            first = done[n]
            base = graph.first_task[n]
            end = min(graph.first_task[n + 1] - base, first + group)
            reach = made[graph.edges[graph.first_edge[n], 0]]
            for e in range(graph.first_edge[n], graph.first_edge[n + 1]):
                reach = min(reach, made[graph.edges[e, 0]])
            while done[n] < end and graph.need[base + done[n]] <= reach:
                made[n] += graph.emits[base + done[n]]
                done[n] += 1
            if done[n] > first:
                turns[size, T_LAYER] = n
                turns[size, T_FIRST] = first
                turns[size, T_END] = done[n]
                turns[size, T_ARRIVED] = arrived
                arrived = 0
                left -= done[n] - first
                size += 1
    return turns[:size].copy()


@njit(cache=True, nogil=True)
def layer_by_layer(graph: Graph, group: int) -> Table:
    """The turns of a frame in which each layer does all of its tasks before the next one begins."""
    count = graph.rows.shape[0]
    turns = np.zeros((graph.need.shape[0], 8), np.int64)
    size = 0
    for n in range(1, count):
        tasks = graph.first_task[n + 1] - graph.first_task[n]
        for first in range(0, tasks, group):
            turns[size, T_LAYER] = n
            turns[size, T_FIRST] = first
            turns[size, T_END] = min(first + group, tasks)
            size += 1
    return turns[:size].copy()


@njit(cache=True, nogil=True)
def occupy(graph: Graph, turns: Table, in_dram: Table, written: Table) -> Table:
    """Fill what turns load, make and hold, given which edges are in DRAM and which maps are written there.

    Return the row loads (edge, row); edge -1 for rows of the frame on chip.
    """
    rows, row_bytes, sum_bytes, first_task, need, kept, emits, edges, first_edge, readers, first_reader = graph
    count = rows.shape[0]
    made = np.zeros(count, np.int64)
    done = np.zeros(count, np.int64)
    lowest = np.zeros(count, np.int64)  # the first row of a map that a reader on chip still needs
    live = np.zeros(count, np.int64)  # bytes of a map's rows on chip
    loaded = np.zeros(edges.shape[0], np.int64)
    held = np.zeros(edges.shape[0], np.int64)  # bytes of an edge's rows that came from DRAM
    sums = np.zeros(count, np.int64)
    on_chip = from_dram = in_sums = 0
    loads = np.zeros((rows[0] + (rows[edges[:, 0]] * in_dram).sum(), 2), np.int64)
    size = 0
    for n in range(count):
        lowest[n] = rows[n]
        for i in range(first_reader[n], first_reader[n + 1]):
            if in_dram[readers[i]] == 0:
                lowest[n] = 0
    for k in range(turns.shape[0]):
        n = turns[k, T_LAYER]
        base = first_task[n]
        turns[k, T_LOADS] = size
        for row in range(made[0], made[0] + turns[k, T_ARRIVED]):
            if row >= lowest[0]:
                loads[size, 0], loads[size, 1] = -1, row
                size += 1
        turns[k, T_MADE] = 0
        for task in range(turns[k, T_FIRST], turns[k, T_END]):
            turns[k, T_MADE] += emits[base + task]
        made[0] += turns[k, T_ARRIVED]
        made[n] += turns[k, T_MADE]
        for m in (0, n):
            now = max(made[m] - lowest[m], 0) * row_bytes[m]
            on_chip += now - live[m]
            live[m] = now
        last = need[base + turns[k, T_END] - 1]
        for e in range(first_edge[n], first_edge[n + 1]):
            if in_dram[e] == 1:
                first = kept[base + n - 1 + turns[k, T_FIRST]]
                for row in range(max(loaded[e], first), last):
                    loads[size, 0], loads[size, 1] = e, row
                    size += 1
                loaded[e] = max(loaded[e], last)
                now = max(loaded[e] - first, 0) * row_bytes[edges[e, 0]]
                from_dram += now - held[e]
                held[e] = now
        own = max(sums[n], sum_bytes[n])
        buffer = turns[k, T_MADE] * row_bytes[n] * written[n]
        turns[k, T_BYTES] = on_chip + from_dram + in_sums - sums[n] + own + buffer
        turns[k, T_LOADS_END] = size
        done[n] = turns[k, T_END]
        in_sums -= sums[n]
        sums[n] = sum_bytes[n] if emits[base + done[n] - 1] == 0 else 0
        in_sums += sums[n]
        for e in range(first_edge[n], first_edge[n + 1]):
            m = edges[e, 0]
            if in_dram[e] == 1:
                now = max(loaded[e] - kept[base + n - 1 + done[n]], 0) * row_bytes[m]
                from_dram += now - held[e]
                held[e] = now
                continue
            lowest[m] = rows[m]
            for i in range(first_reader[m], first_reader[m + 1]):
                if in_dram[readers[i]] == 0:
                    reader = edges[readers[i], 1]
                    lowest[m] = min(lowest[m], kept[first_task[reader] + reader - 1 + done[reader]])
            now = max(made[m] - lowest[m], 0) * row_bytes[m]
            on_chip += now - live[m]
            live[m] = now
    return loads[:size].copy()
