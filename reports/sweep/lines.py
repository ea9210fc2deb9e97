"""Many line engines for one network: bounds in closed form, and exact figures of those that are asked for.

The closed forms take a frame's turns as they are (`sim.program.place`), which depend on the network and on four fields
of the machine, and tiles and residents (`sim.kernels_engine.price`), so that few are made for many machines. So they
know all that is computed and moved; who waits for whom only a simulation knows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.accelerator import LineEngine
from hw.errors import DoesNotFit, PacemakerError
from hw.network import Network
from reports.sweep import energies
from reports.sweep.line_frames import Fields, Frame, Numbers, Weights, compute_cycles, frame_of, transfers, weights_of
from sim import engine as simulator
from sim import kernels_engine as kernel
from sim import memory, program
from sim.energy import Table as Energies
from sim.result import Precision

Indexes = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Lines:
    """Figures of every engine by column, NaN where there are none; why there are none, "" where there are.

    `fails` marks those that could not be used at all; the others without figures are too small.
    """

    figures: dict[str, Numbers]
    reasons: NDArray[np.object_]
    fails: NDArray[np.bool_]


def bounds(network: Network, precision: Precision, engines: Sequence[LineEngine], table: Energies | None) -> Lines:
    """Figures that no run goes below; `network` in the form that hardware runs.

    With C the cycles of all steps of a frame, T_first the time of the loads for the first turn, T_last that of the
    stores behind the last one, L and S of all loads and stores:

    - latency: the most of T_first + C + T_last, L + T_last and S; with one DMA channel of L + S too. Steps, loads and
      stores are each done one by one, and the last stores wait for the last step.
    - interval: with two DMA channels min(K, max(S, K - S)), where K = max(C, L') + T_last and L' are the loads of a
      later frame that cannot be ahead of its first step. The first frame ends with its last step, and the second one K
      later or more; or it ends with its stores, at most S behind its steps, and the second one S later or more. With
      one channel loads of the second frame may delay the stores of the first, which leaves min(K, S).

    Everything that does not depend on time is exact, DRAM's bytes and line memory too, and so is what does not fit.
    """
    found = _blank(network, precision, engines)
    fields = Fields.of(engines)
    for members in _groups(engines, found):
        _bound_group(network, precision, engines, members, fields.take(members), found)
    return found.lines(network, precision, engines, table)


def exact(network: Network, precision: Precision, engines: Sequence[LineEngine], table: Energies | None) -> Lines:
    """Figures as `sim.run.simulate` and `sim.energy` give them; `network` in the form that hardware runs."""
    found = _blank(network, precision, engines)
    rows = np.flatnonzero(~found.refused)
    swept = simulator.sweep(network, [engines[i] for i in rows.tolist()], precision)
    found.latency[rows], found.interval[rows] = swept.latency_cycles, swept.interval_cycles
    found.line_memory[rows], found.moved[rows] = swept.line_memory_bytes, swept.dram_bytes
    for i in rows[swept.latency_cycles < 0].tolist():
        found.refuse([i], *_refusal(network, precision, engines[i]))
    return found.lines(network, precision, engines, table)


@dataclass(frozen=True, eq=False)
class _Found:
    """What is found of every engine, and why nothing is."""

    latency: Numbers
    interval: Numbers
    line_memory: Numbers
    moved: Numbers
    refused: NDArray[np.bool_]
    fails: NDArray[np.bool_]
    reasons: NDArray[np.object_]

    def refuse(self, members: Sequence[int] | Indexes, reason: str, fails: bool) -> None:
        self.refused[members], self.fails[members], self.reasons[members] = True, fails, reason

    def lines(
        self, network: Network, precision: Precision, engines: Sequence[LineEngine], table: Energies | None
    ) -> Lines:
        weights = sum(memory.weight_bytes(network, layer, precision) for layer in network.layers)
        figures = {
            "latency_cycles": self.latency,
            "interval_cycles": self.interval,
            "multipliers": np.array([engine.macs for engine in engines], np.float64),
            "line_memory_bytes": self.line_memory,
            "weight_bytes": np.full(len(engines), weights, np.float64),
            "on_chip_bytes": np.array([e.line_memory_bytes + e.weight_memory_bytes for e in engines], np.float64),
            "dram_bytes": self.moved.sum(axis=1),
        }
        if table is not None:
            figures["energy_uj"] = energies.of_engines(network, engines, self.moved, table, precision)
        for values in figures.values():
            values[self.refused] = np.nan
        return Lines(figures, self.reasons, self.fails)


def _blank(network: Network, precision: Precision, engines: Sequence[LineEngine]) -> _Found:
    """Nothing yet, but what cannot be used at all is refused."""
    count = len(engines)
    latency, interval, line_memory = np.zeros((3, count))
    refused, fails = np.zeros((2, count), np.bool_)
    moved = np.zeros((count, len(kernel.KINDS)))
    found = _Found(latency, interval, line_memory, moved, refused, fails, np.full(count, "", object))
    for i, engine in enumerate(engines):
        unknown = not isinstance(engine.resident, str) and any(e not in network.by_name for e in engine.resident)
        if unknown or not _countable(engine):
            found.refuse([i], *_refusal(network, precision, engine))
    return found


def _countable(engine: LineEngine) -> bool:
    try:
        program.check_figures(engine)
    except PacemakerError:
        return False
    return True


def _refusal(network: Network, precision: Precision, engine: LineEngine) -> tuple[str, bool]:
    """Why a machine cannot run a network, and whether that is for another reason than its size.

    The machine has no name there, so that machines that fail alike share a sentence.
    """
    alike = msgspec.structs.replace(engine, name="at hand", source="", clock_mhz=1.0)
    if _countable(engine):
        alike = msgspec.structs.replace(
            alike, simd=1, lanes=1, dram_bytes_per_cycle=1.0, dram_latency_cycles=0, dma_channels=2, dram_burst_bytes=0
        )
    return _told(network, precision, alike)


@lru_cache(maxsize=4096)
def _told(network: Network, precision: Precision, engine: LineEngine) -> tuple[str, bool]:
    try:
        program.schedule(network, engine, precision)
    except PacemakerError as error:
        return str(error), not isinstance(error, DoesNotFit)
    raise AssertionError(f"{engine} runs {network.name} one way and not the other")


def _groups(engines: Sequence[LineEngine], found: _Found) -> list[Indexes]:
    """Engines with the same turns."""
    alike = defaultdict(list)
    for i, engine in enumerate(engines):
        if not found.refused[i]:
            alike[engine.schedule, engine.row_group, engine.skips, engine.line_memory_bytes].append(i)
    return [np.array(members, np.intp) for members in alike.values()]


def _bound_group(
    network: Network,
    precision: Precision,
    engines: Sequence[LineEngine],
    members: Indexes,
    fields: Fields,
    found: _Found,
) -> None:
    """Engines with the same turns; what depends on their weights too, by those whose tiles and residents are alike."""
    one = engines[members[0]]
    try:
        frame = frame_of(program.place(network, one, precision))
    except DoesNotFit:
        # Line memory is looked at first, so that the first one's reason is that of all.
        found.refuse(members, *_refusal(network, precision, one))
        return
    rows = _Rows(
        compute_cycles(network, frame, fields) + program.DRAIN_CYCLES * frame.turns,
        *(transfers(fields, frame.row_bytes, each) for each in (frame.first, frame.loads, frame.stores, frame.last)),
    )
    alike = defaultdict(list)
    for place, i in enumerate(members.tolist()):
        engine = engines[i]
        alike[engine.pe, engine.weight_memory_bytes, engine.prefetch, engine.resident].append(place)
    for those in map(np.array, alike.values()):
        engine = engines[members[those[0]]]
        weights = weights_of(network, precision, frame, engine)
        if weights is None:
            found.refuse(members[those], *_refusal(network, precision, engine))
            continue
        of_those = _Rows(*(values[those] for values in rows))
        _bound_alike(fields.take(those), members[those], frame, of_those, weights, engine.prefetch, found)


class _Rows(NamedTuple):
    """Of every engine the cycles of all steps of a frame, and of the transfers of its rows, as in `Frame`."""

    compute: Numbers
    first: Numbers
    loads: Numbers
    stores: Numbers
    last: Numbers


def _bound_alike(
    fields: Fields, members: Indexes, frame: Frame, rows: _Rows, weights: Weights, prefetch: int, found: _Found
) -> None:
    compute, first, loads, stores, last = rows
    first = first + transfers(fields, np.array([weights.first]), np.array([int(weights.first > 0)]))
    loads = loads + transfers(fields, weights.sizes, weights.counts)
    shared = fields.dma_channels == 1
    latency = np.maximum(np.maximum(first + compute + last, loads + last), stores)
    late = transfers(fields, frame.row_bytes, frame.late(prefetch)) + transfers(fields, weights.sizes, weights.late)
    work = np.maximum(compute, late) + last
    at_stores = np.where(shared, stores, np.maximum(stores, work - stores))
    found.latency[members] = np.where(shared, np.maximum(latency, loads + stores), latency)
    found.interval[members] = np.minimum(work, at_stores)
    found.line_memory[members] = frame.peak_bytes
    found.moved[members] = frame.moved
    found.moved[members, kernel.WEIGHTS] = weights.moved
