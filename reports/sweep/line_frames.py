"""What a line engine does in a frame, apart from when: turns, row tasks, loads and stores, weights that are loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hw.accelerator import LineEngine
from hw.network import Network
from sim import kernels_engine as kernel
from sim import kernels_turns as turn_of
from sim import program
from sim.result import Precision

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]
Indexes = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Frame:
    """Of one frame by layer (0: the frame): row tasks, loads and stores of rows, those of its first and last turn.

    `sequence` has the layer of every turn; `moved` are bytes of rows by kind. Every load of a row has
    its layer in `load_source`, in order; those of a turn begin at `load_begin`.
    """

    turns: int
    peak_bytes: int
    sequence: Counts
    row_bytes: Counts
    tasks: Counts
    loads: Counts
    stores: Counts
    first: Counts
    last: Counts
    moved: Counts
    load_source: Counts
    load_begin: Counts

    def late(self, turn: int) -> Counts:
        """Loads of rows from a turn on, by layer."""
        begin = self.load_begin[turn] if turn < self.turns else self.load_source.size
        return np.bincount(self.load_source[begin:], minlength=self.row_bytes.size)


def frame_of(turns: program.Turns) -> Frame:
    """What the turns of a frame do."""
    frame = turns.frame
    layers = frame.rows.size
    edge = frame.load_edge
    source = np.where(edge < 0, 0, frame.source[edge]) if edge.size else edge
    kinds = np.where(edge < 0, kernel.LINES_IN, frame.kind[edge]) if edge.size else edge
    table = turns.table
    begin, end = table[0, turn_of.T_LOADS], table[0, turn_of.T_LOADS_END]
    stores, last = np.zeros((2, layers), np.int64)
    np.add.at(stores, frame.layer, frame.made)
    stores *= frame.stored
    last[frame.layer[-1]] = frame.made[-1] * frame.stored[frame.layer[-1]]
    tasks = np.zeros(layers, np.int64)
    np.add.at(tasks, frame.layer, frame.tasks)
    moved = np.zeros(len(kernel.KINDS), np.int64)
    np.add.at(moved, kinds, frame.row_bytes[source])
    moved[kernel.LINES_OUT] += stores[-1] * frame.row_bytes[-1]
    moved[kernel.SPILLS_OUT] += (stores[:-1] * frame.row_bytes[:-1]).sum()
    loads, first = (np.bincount(rows, minlength=layers) for rows in (source, source[begin:end]))
    return Frame(
        len(table),
        turns.peak_bytes,
        frame.layer,
        frame.row_bytes,
        tasks,
        loads,
        stores,
        first,
        last,
        moved,
        source,
        table[:, turn_of.T_LOADS],
    )


class Fields(NamedTuple):
    """What engines differ in, an entry for each."""

    pe: Numbers
    simd: Numbers
    lanes: Numbers
    dma_channels: Numbers
    dram_bytes_per_cycle: Numbers
    dram_latency_cycles: Numbers
    dram_burst_bytes: Numbers

    @classmethod
    def of(cls, engines: Sequence[LineEngine]) -> Self:
        """Those of these engines."""
        return cls(*(np.array([getattr(engine, name) for engine in engines], np.float64) for name in cls._fields))

    def take(self, members: Indexes) -> Self:
        """Those of some of them."""
        return type(self)(*(values[members] for values in self))


def compute_cycles(network: Network, frame: Frame, engines: Fields) -> Numbers:
    """Cycles of all groups of a frame's row tasks."""
    total = np.zeros(engines.pe.size)
    for tasks, row in zip(frame.tasks.tolist(), program.layers_of(network).tolist(), strict=True):
        groups = np.ceil(row[kernel.C_CHANNELS] / engines.pe)
        inner = np.maximum(np.ceil(row[kernel.C_PRODUCTS] / engines.simd), 1)
        total += tasks * groups * np.ceil(row[kernel.C_COLS] / engines.lanes) * inner
    return total


def transfers(engines: Fields, sizes: Counts, counts: Counts) -> Numbers:
    """Cycles of so many transfers of each size, one after the other."""
    rate, latency, burst = engines.dram_bytes_per_cycle, engines.dram_latency_cycles, engines.dram_burst_bytes
    total = np.zeros(rate.size)
    bursts_differ = bool(burst.any())
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        if not count:
            continue
        if not bursts_differ:
            total += count * (latency + _cycles(size, rate))
            continue
        whole = np.where((burst == 0) | (size <= burst), size, burst)
        bursts = size // whole
        rest = size - bursts * whole
        cycles = bursts * (latency + _cycles(whole, rate))
        total += count * (cycles + np.where(rest > 0, latency + _cycles(rest, rate), 0))
    return total


def _cycles(size: Numbers | int, rate: Numbers) -> Numbers:
    """As `sim.kernels_engine.transfer_cycles` rounds."""
    cycles: Numbers = np.ceil(size / rate * (1.0 - kernel.ROUNDING))
    return cycles


@dataclass(frozen=True, eq=False)
class Weights:
    """Sizes of the transfers of weights, how many of each in the first frame, and in later ones behind the prefetch.

    `first` is the size of the very first one, 0 if the first step loads none.
    """

    sizes: Counts
    counts: Counts
    late: Counts
    first: int

    @property
    def moved(self) -> int:
        """Bytes of all."""
        return int((self.sizes * self.counts).sum())


def weights_of(network: Network, precision: Precision, frame: Frame, engine: LineEngine) -> Weights | None:
    """The weights that a first frame loads; None if weight memory is too small.

    A layer's single tile is loaded whenever the one loaded before was another layer's, several tiles every time.
    """
    mode, given = program.residents(network, engine)
    array = program.array_of(engine, precision)
    per_layer = np.bincount(frame.sequence, minlength=len(network.layers) + 1)
    cost = kernel.price(program.layers_of(network), per_layer, array, mode, given)
    if (cost.weight_bytes * cost.resident).sum() > engine.weight_memory_bytes or cost.tiles.min() == 0:
        return None
    loads = np.flatnonzero(cost.last_bytes[frame.sequence] > 0)
    loading = frame.sequence[loads]

    def counts(before: int, begin: int) -> Counts:
        fresh = (np.diff(loading, prepend=before) != 0) | (cost.tiles[loading] > 1)
        times = np.bincount(loading[fresh & (loads >= begin)], minlength=cost.tiles.size)
        return np.concatenate([times * (cost.tiles - 1), times])

    begin = int(frame.sequence[0])
    first = cost.tile_bytes[begin] if cost.tiles[begin] > 1 else cost.last_bytes[begin]
    sizes = np.concatenate([cost.tile_bytes, cost.last_bytes])
    held = int(loading[-1]) if loading.size else -1
    return Weights(sizes, counts(-1, 0), counts(held, engine.prefetch), int(first))
