"""The line engine's row tasks in numba (docs/line_engine.md).

Layers are numbered from 1 in topological order; number 0 is the input. Arrays are indexed by that number.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Table = NDArray[np.int64]
COMPUTE, WEIGHTS, LINES_IN, LINES_OUT = 0, 1, 2, 3
# 21 bytes at 0.7 a cycle take 30 cycles, but 21 / 0.7 is 30.000000000000004: two roundings, each of at most 2**-53.
ROUNDING = 2.0**-50


@njit(cache=True, nogil=True)
def _transfer(size: int, latency: int, bytes_per_cycle: float) -> int:
    return latency + int(np.ceil(size / bytes_per_cycle * (1.0 - ROUNDING)))


@njit(cache=True, nogil=True)
def line_by_line(
    inputs: Table,
    first_task: Table,
    need_rows: Table,
    kept_from: Table,
    emits: Table,
    row_bytes: Table,
    rows: Table,
    sum_bytes: Table,
    task_cycles: Table,
    weight_bytes: Table,
    weight_memory_bytes: int,
    latency: int,
    bytes_per_cycle: float,
    cycles: Table,
    traffic: Table,
    begin: Table,
    finish: Table,
) -> int:
    """Run a frame; fill `cycles` and `traffic` (layer, cause), `begin`, `finish`; return line memory's peak in bytes.

    Task k of layer n needs the first `need_rows[first_task[n] + k]` rows of its inputs; before task k (`kept_from` has
    one entry more) rows from `kept_from` on are kept. `emits` tells whether a task ends an output row.
    """
    count = rows.shape[0]
    made = np.zeros(count, np.int64)
    done = np.zeros(count, np.int64)
    sums = np.zeros(count, np.int64)
    weights_fit = weight_bytes.sum() <= weight_memory_bytes
    peak = 0
    now = 0
    for _ in range(rows[0]):
        step = _transfer(row_bytes[0], latency, bytes_per_cycle)
        cycles[0, LINES_IN] += step
        traffic[0, LINES_IN] += row_bytes[0]
        now += step
        made[0] += 1
        peak = max(peak, sums.sum() + _live(inputs, first_task, kept_from, row_bytes, made, done))
        for n in range(1, count):
            tasks = first_task[n + 1] - first_task[n]
            fresh = True
            while done[n] < tasks and _ready(inputs, n, need_rows[first_task[n] + done[n]], made):
                emit = emits[first_task[n] + done[n]]
                result = row_bytes[n] if emit and n == count - 1 else 0
                if done[n] == 0:
                    begin[n] = now
                again = fresh or weight_bytes[n] > weight_memory_bytes
                if weight_bytes[n] > 0 and (done[n] == 0 or (again and not weights_fit)):
                    step = _transfer(weight_bytes[n], latency, bytes_per_cycle)
                    cycles[n, WEIGHTS] += step
                    traffic[n, WEIGHTS] += weight_bytes[n]
                    now += step
                fresh = False
                cycles[n, COMPUTE] += task_cycles[n]
                now += task_cycles[n]
                made[n] += emit
                sums[n] = sum_bytes[n]
                live = _live(inputs, first_task, kept_from, row_bytes, made, done)
                peak = max(peak, sums.sum() + live + result)
                done[n] += 1
                if emit:
                    sums[n] = 0
                if result > 0:
                    step = _transfer(result, latency, bytes_per_cycle)
                    cycles[n, LINES_OUT] += step
                    traffic[n, LINES_OUT] += result
                    now += step
                finish[n] = now
    return peak


@njit(cache=True, nogil=True)
def _ready(inputs: Table, n: int, need: int, made: Table) -> bool:
    ready = True
    for k in range(inputs.shape[1]):
        ready = ready and (inputs[n, k] < 0 or made[inputs[n, k]] >= need)
    return ready


@njit(cache=True, nogil=True)
def _live(inputs: Table, first_task: Table, kept_from: Table, row_bytes: Table, made: Table, done: Table) -> int:
    """Bytes of every map's rows, from the first that some reader still needs to the last one made."""
    count = row_bytes.shape[0]
    lowest = made.copy()
    for n in range(1, count):
        kept = kept_from[first_task[n] + n - 1 + done[n]]
        for k in range(inputs.shape[1]):
            source = inputs[n, k]
            if source >= 0:
                lowest[source] = min(lowest[source], kept)
    total = 0
    for n in range(count):
        total += int((made[n] - lowest[n]) * row_bytes[n])
    return total


@njit(cache=True, nogil=True)
def layer_by_layer(
    inputs: Table,
    tasks: Table,
    row_bytes: Table,
    rows: Table,
    on_chip: Table,
    task_cycles: Table,
    weight_bytes: Table,
    weight_memory_bytes: int,
    latency: int,
    bytes_per_cycle: float,
    cycles: Table,
    traffic: Table,
    begin: Table,
    finish: Table,
) -> None:
    """Run a frame; fill `cycles` and `traffic` (layer, cause), `begin`, `finish`. `on_chip` tells which maps stay."""
    now = 0
    for n in range(1, rows.shape[0]):
        fetches = 0 if weight_bytes[n] == 0 else (1 if weight_bytes[n] <= weight_memory_bytes else tasks[n])
        cycles[n, WEIGHTS] += fetches * _transfer(weight_bytes[n], latency, bytes_per_cycle)
        traffic[n, WEIGHTS] += fetches * weight_bytes[n]
        for k in range(inputs.shape[1]):
            source = inputs[n, k]
            if source >= 0 and on_chip[source] == 0:
                cycles[n, LINES_IN] += rows[source] * _transfer(row_bytes[source], latency, bytes_per_cycle)
                traffic[n, LINES_IN] += rows[source] * row_bytes[source]
        cycles[n, COMPUTE] += tasks[n] * task_cycles[n]
        if on_chip[n] == 0:
            cycles[n, LINES_OUT] += rows[n] * _transfer(row_bytes[n], latency, bytes_per_cycle)
            traffic[n, LINES_OUT] += rows[n] * row_bytes[n]
        begin[n] = now
        now += cycles[n].sum()
        finish[n] = now
