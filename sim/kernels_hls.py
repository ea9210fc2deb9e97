"""The recurrence of hls4ml's dataflow processes in numba: when each step of each process happens.

A process is a sequence of steps, the same in every frame, each a fixed number of cycles behind the one before it; a
step waits until every pixel that it reads is there and every stream that it writes has room. What is written or freed
in a cycle is seen in the next.

It is no case of `kernels_pipeline`: an engine there goes on copying pixels while its result waits for a slot, a process
of hls4ml stops reading, and its results under way stop with it.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Table = NDArray[np.int64]

P_STEP, P_STEP_END, P_INPUT, P_INPUT_END, P_OUTPUT, P_OUTPUT_END = range(6)


class Tables(NamedTuple):
    """Processes (columns above: ranges in the other tables), streams that they read and write, steps, bases of stamps.

    `bases` has the first stamp of every stream, and their number at its end.
    """

    processes: Table
    inputs: Table
    outputs: Table
    gaps: Table
    reads: NDArray[np.bool_]
    writes: NDArray[np.bool_]
    bases: Table


@njit(cache=True, nogil=True)
def run(tables: Tables, depths: Table, frames: int) -> tuple[Table, Table, Table, Table]:
    """The cycles in which each pixel of each stream is there, and gone; how many were written and read.

    Stream 0 is full from the start, with all frames; the last one is never full if its depth says so.
    """
    processes, inputs, outputs, gaps, reads, writes, bases = tables
    count = processes.shape[0]
    streams = bases.shape[0] - 1
    there = np.zeros(bases[streams], np.int64)
    gone = np.zeros(bases[streams], np.int64)
    written = np.zeros(streams, np.int64)
    read = np.zeros(streams, np.int64)
    written[0] = bases[1]
    step = np.zeros(count, np.int64)
    frame = np.zeros(count, np.int64)
    time = np.zeros(count, np.int64)
    for p in range(count):
        step[p] = processes[p, P_STEP]
        time[p] = -1
    progress = True
    while progress:
        progress = False
        for p in range(count):
            first_in, end_in = processes[p, P_INPUT], processes[p, P_INPUT_END]
            first_out, end_out = processes[p, P_OUTPUT], processes[p, P_OUTPUT_END]
            while frame[p] < frames:
                s = step[p]
                at = time[p] + gaps[s]
                possible = True
                if reads[s]:
                    for i in range(first_in, end_in):
                        stream = inputs[i]
                        if written[stream] <= read[stream]:
                            possible = False
                            break
                        at = max(at, there[bases[stream] + read[stream]])
                if writes[s]:
                    for o in range(first_out, end_out):
                        stream = outputs[o]
                        slot = written[stream] - depths[stream]
                        if slot >= 0:
                            if read[stream] <= slot:
                                possible = False
                                break
                            at = max(at, gone[bases[stream] + slot])
                if not possible:
                    break
                if reads[s]:
                    for i in range(first_in, end_in):
                        stream = inputs[i]
                        gone[bases[stream] + read[stream]] = at + 1
                        read[stream] += 1
                if writes[s]:
                    for o in range(first_out, end_out):
                        stream = outputs[o]
                        there[bases[stream] + written[stream]] = at + 1
                        written[stream] += 1
                progress = True
                time[p] = at
                step[p] = s + 1
                if s + 1 == processes[p, P_STEP_END]:
                    step[p] = processes[p, P_STEP]
                    frame[p] += 1
    return there, gone, written, read
