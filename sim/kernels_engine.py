"""The line engine in numba (docs/line_engine.md): what its weights cost, what waits for what, and when all of it is.

Layers are numbered from 1 in topological order; number 0 is the frame. Edges are numbered by their readers.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Table = NDArray[np.int64]

# Kinds of loads and stores, and causes of waiting.
WEIGHTS, LINES_IN, SPILLS_IN, LINES_OUT, SPILLS_OUT = range(5)
BY_COMPUTE, BY_WEIGHTS, BY_LINES_IN, BY_LINES_OUT, BY_DRAIN = range(5)
# Columns of steps: turn, cycles, whether it ends its turn. Of loads: step, bytes, kind, step that must have ended (-1:
# none), store that must have ended (-1), edge, row. Of stores: turn, bytes, kind, step that ends it, step that waits,
# row, least step that waits for it or one behind it.
S_TURN, S_CYCLES, S_ENDS, S_LINE, S_WEIGHT = range(5)
L_STEP, L_BYTES, L_KIND, L_AFTER, L_STORE, L_EDGE, L_ROW = range(7)
W_TURN, W_BYTES, W_KIND, W_AFTER, W_BEFORE, W_ROW, W_ORDER = range(7)
KINDS = ("weights", "lines_in", "spills_in", "lines_out", "spills_out")
CAUSES = ("compute", "weights", "lines_in", "lines_out", "drain")
# 21 bytes at 0.7 a cycle take 30 cycles, but 21 / 0.7 is 30.000000000000004: two roundings, each of at most 2**-53.
ROUNDING = 2.0**-50


# Columns of the table of layers: output channels, columns of a row task, products of one sum (0: no conv), weights and
# bytes of biases and shifts a channel.
C_CHANNELS, C_COLS, C_PRODUCTS, C_WEIGHTS, C_BIAS_BYTES = range(5)
NONE, ALL, AUTO, GIVEN = range(4)
# Columns of machines, and of what is found of each.
M_PE, M_SIMD, M_LANES, M_WEIGHT_BITS, M_LINE_BYTES, M_WEIGHT_BYTES, M_PREFETCH = range(7)
M_CHANNELS, M_LATENCY, M_BURST, M_RESIDENT = range(7, 11)
F_LATENCY, F_INTERVAL, F_BYTES, F_CAUSES, F_END = 0, 1, 2, 7, 12


class Frame(NamedTuple):
    """A frame's turns: layer, row tasks, rows made, bytes of line memory, first row load and the one after the last.

    Of every row load its edge (-1: the frame's on chip) and row; of every edge its source and the kind of its loads; of
    every layer rows and bytes of a row of its map, and whether its rows are stored.
    """

    layer: Table
    tasks: Table
    made: Table
    held_bytes: Table
    first_load: Table
    last_load: Table
    load_edge: Table
    load_row: Table
    source: Table
    kind: Table
    rows: Table
    row_bytes: Table
    stored: Table


class Cost(NamedTuple):
    """What a machine makes of the layers: tiles, groups a tile and in all, cycles of a group of a row task, bytes.

    `tile_bytes` of all but the last tile, `last_bytes` of that; 0 for weights that are resident or not there. 0 tiles
    where a group is larger than what is left of weight memory. `resident` marks layers, `weight_bytes` are all theirs.
    """

    tiles: Table
    tile_groups: Table
    groups: Table
    group_cycles: Table
    tile_bytes: Table
    last_bytes: Table
    weight_bytes: Table
    resident: Table


class Array(NamedTuple):
    """The array and what its weights have: pe, simd, lanes, bits of a weight, capacity in bytes, steps of prefetch."""

    pe: int
    simd: int
    lanes: int
    weight_bits: int
    weight_bytes: int
    prefetch: int


class Memory(NamedTuple):
    """Capacities in bytes, resident weights, steps of prefetch, DMA channels and DRAM's figures."""

    line_bytes: int
    weight_bytes: int
    resident_bytes: int
    prefetch: int
    channels: int
    bytes_per_cycle: float
    latency: int
    burst_bytes: int


class Program(NamedTuple):
    """The three units' lists, by the columns above."""

    steps: Table
    loads: Table
    stores: Table


class Times(NamedTuple):
    """Start, end and cause of waiting of every step, (steps, 3); start and end of every load and store, (items, 2).

    `causes` of the first frame by number, `finishes` of every frame.
    """

    steps: Table
    loads: Table
    stores: Table
    causes: Table
    finishes: Table


@njit(cache=True, nogil=True)
def price(layers: Table, turns: Table, array: Array, mode: int, given: Table) -> Cost:
    """Groups, tiles and residents of every layer; `given` marks residents where `mode` says so."""
    count = layers.shape[0]
    tiles = np.ones(count, np.int64)
    tile_groups = np.zeros(count, np.int64)
    groups = np.zeros(count, np.int64)
    cycles = np.zeros(count, np.int64)
    tile_bytes = np.zeros(count, np.int64)
    last_bytes = np.zeros(count, np.int64)
    total = np.zeros(count, np.int64)
    group_bytes = np.zeros(count, np.int64)
    for n in range(1, count):
        channels = layers[n, C_CHANNELS]
        groups[n] = (channels + array.pe - 1) // array.pe
        inner = (layers[n, C_PRODUCTS] + array.simd - 1) // array.simd if layers[n, C_PRODUCTS] > 0 else 1
        cycles[n] = (layers[n, C_COLS] + array.lanes - 1) // array.lanes * inner
        width = min(array.pe, channels)
        left = channels - array.pe * (groups[n] - 1)
        bits = layers[n, C_WEIGHTS] * array.weight_bits
        group_bytes[n] = (width * bits + 7) // 8 + width * layers[n, C_BIAS_BYTES]
        total[n] = (groups[n] - 1) * group_bytes[n] + (left * bits + 7) // 8 + left * layers[n, C_BIAS_BYTES]
        tile_groups[n] = groups[n]
    resident = _residents(total, group_bytes, turns, array.weight_bytes, mode, given)
    space = array.weight_bytes - (total * resident).sum()
    for n in range(1, count):
        if total[n] == 0 or resident[n] == 1:
            continue
        last_bytes[n] = total[n]
        if total[n] > space:
            room = space // 2 if array.prefetch > 0 and space // 2 >= group_bytes[n] else space
            tile_groups[n] = room // group_bytes[n]
            if tile_groups[n] == 0:
                tiles[n] = 0
                continue
            tiles[n] = (groups[n] + tile_groups[n] - 1) // tile_groups[n]
            tile_bytes[n] = tile_groups[n] * group_bytes[n]
            last_bytes[n] = total[n] - (tiles[n] - 1) * tile_bytes[n]
    return Cost(tiles, tile_groups, groups, cycles, tile_bytes, last_bytes, total, resident)


@njit(cache=True, nogil=True)
def _residents(total: Table, group_bytes: Table, turns: Table, capacity: int, mode: int, given: Table) -> Table:
    """Layers whose weights stay. By itself: all if all fit; else those with most turns, then with fewest bytes."""
    resident = np.zeros(total.shape[0], np.int64)
    if mode == GIVEN:
        return given * (total > 0)
    if mode == ALL or (mode == AUTO and total.sum() <= capacity):
        return (total > 0).astype(np.int64)
    if mode == AUTO:
        room = capacity - max(capacity - capacity // 2, group_bytes.max())
        by_bytes = np.argsort(total, kind="mergesort")
        for k in by_bytes[np.argsort(-turns[by_bytes], kind="mergesort")]:
            if 0 < total[k] <= room:
                resident[k] = 1
                room -= total[k]
    return resident


@njit(cache=True, nogil=True)
def plan(frame: Frame, cost: Cost, memory: Memory, frames: int, drain: int) -> Program:
    """The three lists of some frames, and what waits for what; line and weight memory must hold every turn and step."""
    count = frame.rows.shape[0]
    turns = frame.layer.shape[0]
    most_steps = 0
    most_stores = 0
    for k in range(turns):
        most_steps += cost.tiles[frame.layer[k]]
        most_stores += frame.made[k] * frame.stored[frame.layer[k]]
    steps = np.zeros((frames * most_steps, 5), np.int64)
    loads = np.zeros((frames * (most_steps + frame.load_row.shape[0]), 7), np.int64)
    stores = np.zeros((frames * most_stores, 7), np.int64)
    first_row = np.zeros(count + 1, np.int64)
    for n in range(count):
        first_row[n + 1] = first_row[n] + frame.rows[n]
    store_of = np.zeros(first_row[count], np.int64)
    s = li = wi = 0
    holder = 0  # the last layer whose weights were loaded, and the step that used them last
    held_to = 0
    for number in range(frames):
        made = np.zeros(count, np.int64)
        for k in range(turns):
            n = frame.layer[k]
            for tile in range(cost.tiles[n]):
                last = tile == cost.tiles[n] - 1
                groups = cost.groups[n] - cost.tile_groups[n] * (cost.tiles[n] - 1) if last else cost.tile_groups[n]
                size = cost.last_bytes[n] if last else cost.tile_bytes[n]
                steps[s, S_TURN] = number * turns + k
                steps[s, S_CYCLES] = frame.tasks[k] * groups * cost.group_cycles[n] + (drain if last else 0)
                steps[s, S_ENDS] = last
                steps[s, S_LINE] = frame.held_bytes[k]
                steps[s, S_WEIGHT] = memory.resident_bytes + size
                if size > 0:
                    if holder == n and cost.tiles[n] == 1:
                        for between in range(held_to + 1, s):
                            steps[between, S_WEIGHT] += size
                    else:
                        loads[li, L_STEP] = s
                        loads[li, L_BYTES] = size
                        loads[li, L_KIND] = WEIGHTS
                        loads[li, L_STORE] = -1
                        li += 1
                    holder = n
                    held_to = s
                if tile == 0:
                    for i in range(frame.first_load[k], frame.last_load[k]):
                        e, row = frame.load_edge[i], frame.load_row[i]
                        source = 0 if e < 0 else frame.source[e]
                        loads[li, L_STEP] = s
                        loads[li, L_BYTES] = frame.row_bytes[source]
                        loads[li, L_KIND] = LINES_IN if e < 0 else frame.kind[e]
                        loads[li, L_STORE] = store_of[first_row[source] + row] if source > 0 else -1
                        loads[li, L_EDGE] = e
                        loads[li, L_ROW] = row
                        li += 1
                s += 1
            if frame.stored[n] == 1:
                for row in range(frame.made[k]):
                    stores[wi, W_TURN] = number * turns + k
                    stores[wi, W_BYTES] = frame.row_bytes[n]
                    stores[wi, W_KIND] = LINES_OUT if n == count - 1 else SPILLS_OUT
                    stores[wi, W_AFTER] = s - 1
                    stores[wi, W_ROW] = made[n] + row
                    store_of[first_row[n] + made[n] + row] = wi
                    wi += 1
            made[n] += frame.made[k]
    loads = loads[:li]
    _place_loads(steps, loads, stores, memory)
    _place_stores(steps, loads, stores, memory)
    _wait_for_room(loads, stores)
    return Program(steps, loads, stores)


@njit(cache=True, nogil=True)
def _place_loads(steps: Table, loads: Table, stores: Table, memory: Memory) -> None:
    """How early each load may start: as long as its memory has room in the steps before."""
    earliest = 0
    for i in range(loads.shape[0]):
        of_weights = loads[i, L_KIND] == WEIGHTS
        column = S_WEIGHT if of_weights else S_LINE
        room = (memory.weight_bytes if of_weights else memory.line_bytes) - loads[i, L_BYTES]
        if loads[i, L_STORE] >= 0:
            earliest = max(earliest, stores[loads[i, L_STORE], W_AFTER] + 1)
        e = loads[i, L_STEP]
        lowest = max(earliest, e - memory.prefetch)
        while e > lowest and steps[e - 1, column] <= room:
            e -= 1
            steps[e, column] += loads[i, L_BYTES]
        loads[i, L_AFTER] = e - 1
        earliest = e


@njit(cache=True, nogil=True)
def _place_stores(steps: Table, loads: Table, stores: Table, memory: Memory) -> None:
    """How late each store may end: as long as line memory has room in the steps behind, and nobody wants its row."""
    wanted_by = np.full(stores.shape[0], steps.shape[0], np.int64)
    for i in range(loads.shape[0]):
        if loads[i, L_STORE] >= 0:
            wanted_by[loads[i, L_STORE]] = min(wanted_by[loads[i, L_STORE]], loads[i, L_STEP])
    for i in range(stores.shape[0]):
        f = stores[i, W_AFTER] + 1
        last = min(f + memory.prefetch, wanted_by[i])
        while f < last and steps[f, S_LINE] + stores[i, W_BYTES] <= memory.line_bytes:
            steps[f, S_LINE] += stores[i, W_BYTES]
            f += 1
        stores[i, W_BEFORE] = f


@njit(cache=True, nogil=True)
def _wait_for_room(loads: Table, stores: Table) -> None:
    """Loads to line memory wait for all stores that must end before their first step; the lists' common order."""
    least = 1 << 62
    for i in range(stores.shape[0] - 1, -1, -1):
        least = min(least, stores[i, W_BEFORE])
        stores[i, W_ORDER] = least
    w = 0
    for i in range(loads.shape[0]):
        while w < stores.shape[0] and stores[w, W_ORDER] <= loads[i, L_AFTER] + 1:
            w += 1
        if loads[i, L_KIND] != WEIGHTS:
            loads[i, L_STORE] = max(loads[i, L_STORE], w - 1)


@njit(cache=True, nogil=True)
def transfer_cycles(size: int, memory: Memory) -> int:
    """Cycles of a transfer: whole bursts and what is left, each with its latency."""
    if memory.burst_bytes == 0 or size <= memory.burst_bytes:
        return memory.latency + int(np.ceil(size / memory.bytes_per_cycle * (1.0 - ROUNDING)))
    bursts = size // memory.burst_bytes
    rest = size - bursts * memory.burst_bytes
    cycles = bursts * (memory.latency + int(np.ceil(memory.burst_bytes / memory.bytes_per_cycle * (1.0 - ROUNDING))))
    if rest > 0:
        cycles += memory.latency + int(np.ceil(rest / memory.bytes_per_cycle * (1.0 - ROUNDING)))
    return cycles


@njit(cache=True, nogil=True)
def clock(program: Program, memory: Memory, turns: int, frames: int, arrivals: Table) -> Times:
    """When everything begins and ends.

    `arrivals`, if not empty, are the cycles in which the frame's rows begin and end to arrive from a sensor, (rows of
    all frames, 2): such a row is loaded by nobody; it starts when its place is free, and ends when it is there too.
    """
    steps, loads, stores = program
    times = np.zeros((steps.shape[0], 3), np.int64)
    load_times = np.zeros((loads.shape[0], 2), np.int64)
    store_times = np.zeros((stores.shape[0], 2), np.int64)
    causes = np.zeros(5, np.int64)
    finishes = np.zeros(frames, np.int64)
    by_weights = np.zeros(steps.shape[0], np.int64)
    by_lines = np.zeros(steps.shape[0], np.int64)
    by_stores = np.zeros(steps.shape[0] + 1, np.int64)
    li = wi = 0
    loader = storer = sensor = now = 0
    rows = arrivals.shape[0] // frames
    for s in range(steps.shape[0] + 1):
        # All transfers whose step has ended, in the order of the one list: by the step that they are for, stores first.
        # With two channels the order between them changes nothing.
        while li < loads.shape[0] or wi < stores.shape[0]:
            if wi < stores.shape[0] and (li == loads.shape[0] or stores[wi, W_ORDER] <= loads[li, L_STEP]):
                if stores[wi, W_AFTER] >= s:
                    break
                start = max(storer, times[stores[wi, W_AFTER], 1])
                storer = start + transfer_cycles(stores[wi, W_BYTES], memory)
                if memory.channels == 1:
                    loader = storer
                store_times[wi, 0], store_times[wi, 1] = start, storer
                by_stores[stores[wi, W_BEFORE]] = storer
                wi += 1
            else:
                after = loads[li, L_AFTER]
                if after >= s:
                    break
                start = times[after, 1] if after >= 0 else 0
                if loads[li, L_STORE] >= 0:
                    start = max(start, store_times[loads[li, L_STORE], 1])
                if rows > 0 and loads[li, L_KIND] != WEIGHTS and loads[li, L_EDGE] < 0:
                    row = steps[loads[li, L_STEP], S_TURN] // turns * rows + loads[li, L_ROW]
                    sensor = max(start, sensor)
                    start, end = sensor, max(sensor, arrivals[row, 1])
                else:
                    start = max(start, loader)
                    end = loader = start + transfer_cycles(loads[li, L_BYTES], memory)
                    if memory.channels == 1:
                        storer = loader
                load_times[li, 0], load_times[li, 1] = start, end
                if loads[li, L_KIND] == WEIGHTS:
                    by_weights[loads[li, L_STEP]] = end
                else:
                    by_lines[loads[li, L_STEP]] = end
                li += 1
        if s == steps.shape[0]:
            break
        start = max(max(now, by_weights[s]), max(by_lines[s], by_stores[s]))
        frame = steps[s, S_TURN] // turns
        cause = BY_WEIGHTS if by_weights[s] == start else (BY_LINES_IN if by_lines[s] == start else BY_LINES_OUT)
        if frame == 0:
            causes[cause] += start - now
            causes[BY_COMPUTE] += steps[s, S_CYCLES]
        now = start + steps[s, S_CYCLES]
        times[s, 0], times[s, 1], times[s, 2] = start, now, cause
        finishes[frame] = now
    causes[BY_DRAIN] = -finishes[0]
    for i in range(stores.shape[0]):
        frame = stores[i, W_TURN] // turns
        finishes[frame] = max(finishes[frame], store_times[i, 1])
    causes[BY_DRAIN] += finishes[0]
    return Times(times, load_times, store_times, causes, finishes)


@njit(cache=True, nogil=True)
def run_many(
    frame: Frame,
    layers: Table,
    figures: Table,
    bytes_per_cycle: NDArray[np.float64],
    given: Table,
    frames: int,
    drain: int,
    found: Table,
) -> None:
    """`price`, `plan` and `clock` for every row of `figures` (columns M_*); `given` (machines, layers) marks residents.

    Fill `found` (columns F_*): latency, interval (0 for one frame), bytes by kind and causes of the first frame; -1 for
    machines whose weight memory is too small.
    """
    turns = frame.layer.shape[0]
    per_layer = np.zeros(layers.shape[0], np.int64)
    for k in range(turns):
        per_layer[frame.layer[k]] += 1
    for i in range(figures.shape[0]):
        m = figures[i]
        array = Array(m[M_PE], m[M_SIMD], m[M_LANES], m[M_WEIGHT_BITS], m[M_WEIGHT_BYTES], m[M_PREFETCH])
        cost = price(layers, per_layer, array, m[M_RESIDENT], given[i])
        resident = (cost.weight_bytes * cost.resident).sum()
        if resident > m[M_WEIGHT_BYTES] or cost.tiles.min() == 0:
            found[i] = -1
            continue
        memory = Memory(
            m[M_LINE_BYTES],
            m[M_WEIGHT_BYTES],
            resident,
            m[M_PREFETCH],
            m[M_CHANNELS],
            bytes_per_cycle[i],
            m[M_LATENCY],
            m[M_BURST],
        )
        program = plan(frame, cost, memory, frames, drain)
        times = clock(program, memory, turns, frames, np.zeros((0, 2), np.int64))
        found[i] = 0
        found[i, F_LATENCY] = times.finishes[0]
        if frames > 1:
            found[i, F_INTERVAL] = times.finishes[1] - times.finishes[0]
        loads, stores = program.loads, program.stores
        for j in range(loads.shape[0]):
            if program.steps[loads[j, L_STEP], S_TURN] < turns:
                found[i, F_BYTES + loads[j, L_KIND]] += loads[j, L_BYTES]
        for j in range(stores.shape[0]):
            if stores[j, W_TURN] < turns:
                found[i, F_BYTES + stores[j, W_KIND]] += stores[j, W_BYTES]
        for cause in range(5):
            found[i, F_CAUSES + cause] = times.causes[cause]
