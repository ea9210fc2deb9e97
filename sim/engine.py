"""A network on a `LineEngine`: schedule, run, unpack. The semantics are those of docs/line_engine.md."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.accelerator import LineEngine
from hw.errors import DoesNotFit
from hw.network import Layer, Network
from sim import kernels_engine as kernel
from sim import kernels_turns, memory, program
from sim.kernels_engine import Program, Times
from sim.program import DRAIN_CYCLES, Scheduled, schedule
from sim.result import LayerResult, Precision, Result, summarise

Counts = NDArray[np.int64]
FRAMES = 3
FROM_DRAM: Counts = np.zeros((0, 2), np.int64)
CHUNK = 64
"""Machines that a thread takes at a time."""


@dataclass(frozen=True, eq=False)
class Run:
    """A schedule, the units' lists, and when each of their entries begins and ends."""

    scheduled: Scheduled
    program: Program
    times: Times

    @property
    def turns(self) -> int:
        """Turns of a frame."""
        return len(self.scheduled.turns.table)


def run(
    network: Network,
    engine: LineEngine,
    precision: Precision = Precision(),
    frames: int = FRAMES,
    arrivals: Counts = FROM_DRAM,
) -> Run:
    """Everything that happens in some frames; `network` in the form that hardware runs.

    `arrivals` are those of a sensor's rows, (rows of all frames, 2), as `kernels_engine.clock` wants them.

    Raises:
        BadInput: a figure of the machine is beyond what can be counted, or names a layer that is not there.
        DoesNotFit: line memory or weight memory is too small.
    """
    found = schedule(network, engine, precision)
    lists = program.program(found, frames)
    return Run(found, lists, kernel.clock(lists, found.memory, len(found.turns.table), frames, arrivals))


def simulate(given: Network, executed: Network, engine: LineEngine, precision: Precision = Precision()) -> Result:
    """Run `executed`, the form of `given` that hardware runs, for three frames in the engine's schedule.

    Raises:
        BadInput, DoesNotFit: as `run`.
    """
    made = run(executed, engine, precision)
    finishes = made.times.finishes
    resident = int((made.scheduled.cost.weight_bytes * made.scheduled.cost.resident).sum())
    stay = f"{resident} bytes of weights stay in weight memory and are loaded once, before the first frame"
    return summarise(
        given,
        executed,
        engine.name,
        engine.clock_mhz,
        engine.macs,
        int(finishes[0]),
        int(finishes[1] - finishes[0]),
        _layer_results(executed, engine, precision, made),
        line_memory_bytes=made.scheduled.turns.peak_bytes,
        cycles_by_cause=dict(zip(kernel.CAUSES, made.times.causes.tolist(), strict=True)),
        dram_bytes=_dram_bytes(made),
        notes=(stay,) if resident else (),
    )


def _dram_bytes(made: Run) -> dict[str, int]:
    """Bytes of the first frame by kind."""
    steps, loads, stores = made.program
    loaded = loads[steps[loads[:, kernel.L_STEP], kernel.S_TURN] < made.turns]
    stored = stores[stores[:, kernel.W_TURN] < made.turns]
    kinds = np.concatenate([loaded[:, kernel.L_KIND], stored[:, kernel.W_KIND]])
    sizes = np.concatenate([loaded[:, kernel.L_BYTES], stored[:, kernel.W_BYTES]])
    return {name: int(sizes[kinds == kind].sum()) for kind, name in enumerate(kernel.KINDS)}


def _layer_results(network: Network, engine: LineEngine, precision: Precision, made: Run) -> list[LayerResult]:
    """Of the first frame; waiting for DRAM counts as starved when it fetches, as blocked when it writes."""
    first = made.program.steps[:, kernel.S_TURN] < made.turns
    steps, times = made.program.steps[first], made.times.steps[first]
    layers = made.scheduled.turns.table[steps[:, kernel.S_TURN], kernels_turns.T_LAYER]
    waits = times[:, 0] - np.concatenate([[0], times[:-1, 1]])
    written = times[:, 2] == kernel.CAUSES.index("lines_out")
    results = []
    for n, layer in enumerate(network.layers, 1):
        mine = layers == n
        busy = int(steps[mine, kernel.S_CYCLES].sum())
        starved, blocked = (int(waits[mine & chosen].sum()) for chosen in (~written, written))
        span = int(times[mine, 0].min()), int(times[mine, 1].max())
        results.append(_layer_result(network, engine, precision, layer, (busy, starved, blocked), span))
    return results


def _layer_result(
    network: Network,
    engine: LineEngine,
    precision: Precision,
    layer: Layer,
    cycles: tuple[int, int, int],
    span: tuple[int, int],
) -> LayerResult:
    return LayerResult(
        name=layer.name,
        kind=layer.kind,
        pe=engine.pe,
        simd=engine.simd,
        macs=network.layer_macs(layer),
        cycles=cycles[0],
        starved_cycles=cycles[1],
        blocked_cycles=cycles[2],
        first_cycle=span[0],
        last_cycle=span[1],
        line_buffer_bytes=memory.line_buffer_bytes(network, layer, precision),
        window_bytes=0,
        fifo_bytes=0,
        weight_bytes=memory.weight_bytes(network, layer, precision),
    )


class Screened(msgspec.Struct, frozen=True):
    """Of many machines: cycles and bytes of the first frame, each an array; -1 where a machine is too small.

    `dram_bytes` and `causes` are (machines, kinds) in the order of `kernels_engine.KINDS` and `CAUSES`.
    """

    latency_cycles: Counts
    interval_cycles: Counts
    line_memory_bytes: Counts
    dram_bytes: Counts
    causes: Counts


def sweep(
    network: Network,
    engines: Sequence[LineEngine],
    precision: Precision = Precision(),
    frames: int = FRAMES,
    threads: int = 2,
) -> Screened:
    """Every machine, exactly as `simulate` runs it; `network` in the form that hardware runs.

    Machines with the same schedule, row group, skips and line memory share their turns. `interval_cycles` are 0 for one
    frame.

    Raises:
        BadInput: a figure of a machine is beyond what can be counted, or names a layer that is not there.
    """
    layers = program.layers_of(network)
    alike = defaultdict(list)
    for i, engine in enumerate(engines):
        program.check_figures(engine)
        alike[engine.schedule, engine.row_group, engine.skips, engine.line_memory_bytes].append(i)
    found = np.full((len(engines), kernel.F_END), -1, np.int64)
    peaks = np.full(len(engines), -1, np.int64)

    def task(members: list[int]) -> None:
        try:
            turns = program.place(network, engines[members[0]], precision)
        except DoesNotFit:
            return
        peaks[members] = turns.peak_bytes
        figures, rates, given = program.figures(network, [engines[i] for i in members], precision)
        part = np.empty((len(members), kernel.F_END), np.int64)
        kernel.run_many(turns.frame, layers, figures, rates, given, frames, DRAIN_CYCLES, part)
        found[members] = part

    chunks = [group[i : i + CHUNK] for group in alike.values() for i in range(0, len(group), CHUNK)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, chunks))
    peaks[found[:, kernel.F_LATENCY] < 0] = -1
    return Screened(
        found[:, kernel.F_LATENCY],
        found[:, kernel.F_INTERVAL],
        peaks,
        found[:, kernel.F_BYTES : kernel.F_CAUSES],
        found[:, kernel.F_CAUSES :],
    )
