"""Energy of a frame in bulk: what `sim.energy` gives, with the counting shared by machines that are alike.

How often a line engine's array, line memory and weight memory are used depends on `pe`, `simd` and `lanes` alone; what
one use costs on the two capacities; DRAM's bytes are each machine's own.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.accelerator import LineEngine, Pipeline
from hw.network import Network
from sim import energy, memory
from sim.energy import Action, Table
from sim.kernels_engine import KINDS
from sim.pipeline import frame_traffic
from sim.result import Precision

Numbers = NDArray[np.float64]


def of_pipeline(
    network: Network, machine: Pipeline, table: Table, precision: Precision, *, least: bool = False
) -> float:
    """Energy of a frame in uJ; `network` in the form that hardware runs.

    With `least` no depth of the FIFOs costs less: they are priced as the cheapest memory.

    Raises:
        BadInput: the table has no entry that is wide enough.
    """
    moved = frame_traffic(network, precision)
    parts: dict[str, float] = defaultdict(float)
    cheapest = min(entry.pj / entry.bits for entry in table.of("sram"))
    for action in energy.actions(network, machine, moved, precision):
        fifo = least and action.part in ("fifo_read", "fifo_write")
        pj = cheapest * action.bits if fifo else energy.action_pj(table, action)
        parts[action.part] += action.amount * pj / energy.PJ_PER_UJ
    return sum(parts.values())


class _Uses(NamedTuple):
    """Of an array: energy of its arithmetic in pJ, bits of line and weight memory without those that DRAM moves."""

    arithmetic_pj: float
    line_bits: int
    weight_bits: int


def of_engines(
    network: Network, engines: Sequence[LineEngine], dram_bytes: Numbers, table: Table, precision: Precision
) -> Numbers:
    """Energy of a frame in uJ of every engine; `network` in the form that hardware runs.

    `dram_bytes` are (engines, kinds) in the order of `sim.kernels_engine.KINDS`.

    Raises:
        BadInput: the table has no entry that is wide enough.
    """
    arrays = [(engine.pe, engine.simd, engine.lanes) for engine in engines]
    distinct = {array: _uses(network, precision, table, *array) for array in dict.fromkeys(arrays)}
    arithmetic, lines, weights = np.array([distinct[array] for array in arrays], np.float64).reshape(-1, 3).T
    by_kind = dict(zip(KINDS, dram_bytes.T, strict=True))
    loaded = by_kind["weights"]
    rows = by_kind["lines_in"] + by_kind["spills_in"] + by_kind["lines_out"] + by_kind["spills_out"]
    line_pj = _sram_pj(table, [engine.line_memory_bytes for engine in engines])
    weight_pj = _sram_pj(table, [engine.weight_memory_bytes for engine in engines])
    dram_pj = energy.action_pj(table, Action("dram", "dram", 1, 1))
    bits = memory.BYTE_BITS
    total = arithmetic + (lines + rows * bits) * line_pj + (weights + loaded * bits) * weight_pj
    found: Numbers = (total + (rows + loaded) * bits * dram_pj) / energy.PJ_PER_UJ
    return found


def _sram_pj(table: Table, sizes: Sequence[int]) -> Numbers:
    """Of a bit of memories of these bytes."""
    distinct: Mapping[int, float] = {
        size: energy.action_pj(table, Action("sram", "sram", 1, 1, size)) for size in dict.fromkeys(sizes)
    }
    return np.array([distinct[size] for size in sizes])


@lru_cache(maxsize=4096)
def _uses(network: Network, precision: Precision, table: Table, pe: int, simd: int, lanes: int) -> _Uses:
    machine = msgspec.structs.replace(_ANY, pe=pe, simd=simd, lanes=lanes)
    arithmetic, bits = 0.0, {"line_memory": 0, "weight_memory": 0}
    for action in energy.actions(network, machine, dict.fromkeys(KINDS, 0), precision):
        if action.what in ("add", "multiply") or action.part == "table_read":  # whose capacity is the network's
            arithmetic += action.amount * energy.action_pj(table, action)
        elif action.what == "sram":
            bits[action.part.rpartition("_")[0]] += action.amount * action.bits
    return _Uses(arithmetic, bits["line_memory"], bits["weight_memory"])


_ANY = LineEngine(
    name="at hand",
    pe=1,
    simd=1,
    line_memory_bytes=1,
    weight_memory_bytes=1,
    dram_bytes_per_cycle=1.0,
    dram_latency_cycles=0,
    clock_mhz=1.0,
)
