"""FIFO depths of an hls4ml project: the least with which its processes are through as early as with unbounded FIFOs.

The processes and their timing are `hw.hls.templates`'s, a model; the run of the model is exact. A deeper FIFO never
puts a step off, so that one pass over the streams finds depths of which no single one can be lowered.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.errors import Deadlock
from hw.hls.fifos import PASSING_DEPTH, checked_edges
from hw.hls.templates import Dataflow
from sim import kernels_hls as kernel

STEADY_FRAMES = 3
Cycles = NDArray[np.int64]


class Sizing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Depths in pixels by edge "a -> b" that put nothing off, and what the design then takes by its model."""

    latency_cycles: int
    interval_cycles: int
    depths: dict[str, int]


class _Run(NamedTuple):
    """Stamps of a run: the cycle in which each frame is through, -1 if it never is; of each stream, pixels and ends."""

    finishes: Cycles
    there: list[Cycles]
    gone: list[Cycles]


def size(dataflow: Dataflow) -> Sizing:
    """The least depths that keep the finish of every frame; streams that only hand on have `PASSING_DEPTH`."""
    tables = _tables(dataflow, STEADY_FRAMES)
    free = _run(dataflow, tables, _depths(dataflow, {}))
    sized = [index for index, stream in enumerate(dataflow.streams) if stream.sized]
    depths = _depths(dataflow, {dataflow.streams[i].edge: _most_held(free, i) for i in sized})
    for index in sorted(sized, key=lambda i: -int(depths[i])):
        low, high = 0, int(depths[index])
        while high - low > 1:
            depths[index] = (low + high) // 2
            enough = np.array_equal(_run(dataflow, tables, depths).finishes, free.finishes)
            low, high = (low, int(depths[index])) if enough else (int(depths[index]), high)
        depths[index] = high
    found = {dataflow.streams[i].edge: int(depths[i]) for i in sized}
    return Sizing(int(free.finishes[0]), int(free.finishes[-1] - free.finishes[-2]), found)


def finishes(dataflow: Dataflow, depths: Mapping[str, int], frames: int = STEADY_FRAMES) -> Cycles:
    """The cycle in which the last pixel of each frame leaves; edges that are not named have no limit.

    Raises:
        BadInput: an edge that has no FIFO here.
        Deadlock: the design stops for ever.
    """
    named = checked_edges(dataflow.network, [stream.edge for stream in dataflow.streams if stream.sized], depths)
    held = _depths(dataflow, named)
    run = _run(dataflow, _tables(dataflow, frames), held)
    if run.finishes[-1] < 0:
        full = [
            f"{stream.edge} ({held[i]} pixels)"
            for i, stream in enumerate(dataflow.streams)
            if stream.sized and run.there[i].size - run.gone[i].size == held[i]
        ]
        raise Deadlock(f"network {dataflow.network}: its HLS design stops for ever; full are {', '.join(full)}")
    return run.finishes


def _depths(dataflow: Dataflow, depths: Mapping[str, int]) -> Cycles:
    """A depth for every stream; edges that are not named and ports have no limit."""
    unbounded = 1 << 40
    chosen = [
        unbounded if stream.port else depths.get(stream.edge, unbounded) if stream.edge else PASSING_DEPTH
        for stream in dataflow.streams
    ]
    return np.array(chosen, np.int64)


def _most_held(run: _Run, stream: int) -> int:
    """The least depth with which no write of this run would have waited."""
    there = run.there[stream]
    freed = np.searchsorted(run.gone[stream], there - 1, side="right")
    return int((np.arange(there.size) - freed).max()) + 1


def _run(dataflow: Dataflow, tables: kernel.Tables, depths: Cycles) -> _Run:
    output = dataflow.streams[-1].pixels
    frames = int(tables.bases[-1] - tables.bases[-2]) // output
    there, gone, written, read = kernel.run(tables, depths, frames)
    by_stream = [
        (there[base : base + n], gone[base : base + m])
        for base, n, m in zip(tables.bases[:-1], written, read, strict=True)
    ]
    ends = np.full(frames, -1, np.int64)
    done = by_stream[-1][0][output - 1 :: output]
    ends[: done.size] = done
    return _Run(ends, [pair[0] for pair in by_stream], [pair[1] for pair in by_stream])


def _tables(dataflow: Dataflow, frames: int) -> kernel.Tables:
    processes = dataflow.processes
    steps = _ranges([process.schedule.gaps.size for process in processes])
    inputs = _ranges([len(process.inputs) for process in processes])
    outputs = _ranges([len(process.outputs) for process in processes])
    sizes = np.array([stream.pixels * frames for stream in dataflow.streams], np.int64)
    return kernel.Tables(
        processes=np.concatenate([steps, inputs, outputs], axis=1),
        inputs=np.array([i for process in processes for i in process.inputs], np.int64),
        outputs=np.array([o for process in processes for o in process.outputs], np.int64),
        gaps=np.concatenate([process.schedule.gaps for process in processes]),
        reads=np.concatenate([process.schedule.reads for process in processes]),
        writes=np.concatenate([process.schedule.writes for process in processes]),
        bases=np.concatenate([[0], np.cumsum(sizes)]),
    )


def _ranges(sizes: Sequence[int]) -> Cycles:
    """First entry and the one after the last of parts laid behind each other, (parts, 2)."""
    ends = np.cumsum(np.array(sizes, np.int64))
    return np.stack([ends - sizes, ends], axis=1)
