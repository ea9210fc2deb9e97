"""Machines and budgets as frozen records, in YAML or by a preset's name.

A `Pipeline` is a streaming architecture: an engine a layer, FIFOs between them, all weights on chip. A `LineEngine` is
one array that runs the layers in turn. A `Budget` is no machine yet: `sim.folding` turns it and a network into a
pipeline.
"""

import math
import re
from pathlib import Path
from typing import Literal

import msgspec

from hw.errors import BadInput, nearest
from hw.files import exists, read_yaml

Schedule = Literal["layer_by_layer", "line_by_line"]
Ram = Literal["lut", "block"]
Resident = Literal["none", "all", "auto"]
Skips = Literal["auto", "keep", "spill"]
BUDGET_CLOCK_MHZ = 200.0
"""Clock of a budget that names none: assumed."""
DEFAULT_BUDGET = "pipeline-256"


def _positive(owner: str, **values: float) -> None:
    for key, value in values.items():
        if not 0 < value < math.inf:
            raise BadInput(f"{owner}: {key} {value} was found, more than 0 is wanted")


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Folding of one engine: `pe` output channels and `simd` inputs a cycle.

    For a conv `pe` divides its outputs and `simd` its inputs, or is a multiple of them that divides inputs x taps with
    the inputs left whole. Every other kind works on `pe` channels a cycle (they divide every input of a concat), and
    its `simd` is 1.
    """

    pe: int
    simd: int = 1


class Fifo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stream between two layers: `depth` pixels in look-up-table or block RAM."""

    depth: int
    ram: Ram = "lut"

    @property
    def read_latency_cycles(self) -> int:
        """Block RAM answers a cycle later; a look-up table at once."""
        return 1 if self.ram == "block" else 0


class Pipeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="machine", tag="pipeline"):
    """An engine a layer. Keys of `engines` are layers, of `fifos` and `buffers` edges as "source -> target".

    `buffers` are window capacities in pixels, where they differ from the least that serves plus one. The source
    delivers `source_channels` a cycle, the sink takes `sink_channels` a cycle; 0 means a whole pixel.
    """

    name: str
    clock_mhz: float
    engines: dict[str, Engine]
    fifos: dict[str, Fifo]
    buffers: dict[str, int] = {}
    source_channels: int = 0
    sink_channels: int = 0

    def __post_init__(self) -> None:
        _positive(f"machine {self.name}", clock_mhz=self.clock_mhz)


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sensor that cannot be stalled: a pixel every 1 / `pixel_mhz` us, row by row.

    After each row come `h_blank` pixel clocks without a pixel, after each frame `v_blank` rows of them.
    """

    pixel_mhz: float
    h_blank: int = 0
    v_blank: int = 0

    def __post_init__(self) -> None:
        _positive("source", pixel_mhz=self.pixel_mhz)
        if self.h_blank < 0 or self.v_blank < 0:
            raise BadInput(
                f"source: h_blank {self.h_blank} and v_blank {self.v_blank} were found, at least 0 is wanted"
            )


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="machine", tag="budget"):
    """What a pipeline may take; `sim.folding` makes its slowest engine as fast as that allows.

    At most `macs` multipliers, `dsp` DSPs and `bram18` block RAMs of 18 kbit, each over all engines, block RAMs over
    FIFOs too; None is no limit. `source` says where the figures come from.
    """

    name: str
    macs: int | None = None
    clock_mhz: float = BUDGET_CLOCK_MHZ
    dsp: int | None = None
    bram18: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        limits = {"macs": self.macs, "dsp": self.dsp}
        known = {key: limit for key, limit in limits.items() if limit is not None}
        _positive(f"machine {self.name}", **known, clock_mhz=self.clock_mhz)
        if self.bram18 is not None and self.bram18 < 0:
            raise BadInput(f"machine {self.name}: bram18 {self.bram18} was found, at least 0 is wanted")
        if not known and self.bram18 is None:
            raise BadInput(f"machine {self.name}: no limit was found, at least one of macs, dsp and bram18 is wanted")


class LineEngine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="machine", tag="line_engine"):
    """One array of `pe` x `simd` multipliers for `lanes` pixels, line memory, weight memory, DMA to DRAM.

    What every field means in cycles and bytes: docs/line_engine.md. `source` says where the figures come from.
    """

    name: str
    pe: int
    simd: int
    line_memory_bytes: int
    weight_memory_bytes: int
    dram_bytes_per_cycle: float
    dram_latency_cycles: int
    clock_mhz: float
    schedule: Schedule = "line_by_line"
    source: str = ""
    lanes: int = 1
    row_group: int = 1
    prefetch: int = 16
    resident: Resident | tuple[str, ...] = "auto"
    skips: Skips = "auto"
    dma_channels: Literal[1, 2] = 2
    dram_burst_bytes: int = 0

    def __post_init__(self) -> None:
        _positive(
            f"machine {self.name}",
            pe=self.pe,
            simd=self.simd,
            lanes=self.lanes,
            row_group=self.row_group,
            line_memory_bytes=self.line_memory_bytes,
            dram_bytes_per_cycle=self.dram_bytes_per_cycle,
            clock_mhz=self.clock_mhz,
        )
        for key in ("dram_latency_cycles", "weight_memory_bytes", "prefetch", "dram_burst_bytes"):
            if getattr(self, key) < 0:
                raise BadInput(f"machine {self.name}: {key} {getattr(self, key)} was found, at least 0 is wanted")

    @property
    def macs(self) -> int:
        """Multipliers of the array."""
        return self.pe * self.simd * self.lanes


Machine = Pipeline | Budget | LineEngine

_LINE_ENGINES = {
    engine.name: engine
    for engine in (
        LineEngine(
            name="line-64",
            pe=8,
            simd=8,
            line_memory_bytes=32 * 1024,
            weight_memory_bytes=32 * 1024,
            dram_bytes_per_cycle=4.0,
            dram_latency_cycles=40,
            clock_mhz=200.0,
            source="assumed: 64 MACs as in a camera's signal processor, beside a 32-bit DRAM port; no product",
        ),
        LineEngine(
            name="line-128",
            pe=16,
            simd=8,
            line_memory_bytes=64 * 1024,
            weight_memory_bytes=48 * 1024,
            dram_bytes_per_cycle=1.0,
            dram_latency_cycles=64,
            clock_mhz=500.0,
            dram_burst_bytes=128,
            source="as Arm's Ethos-U55 of 128 MACs in Vela's system configuration High_End_Embedded: 500 MHz, off-chip "
            "memory of a byte a cycle, 64 cycles of latency, bursts of 128 bytes; on-chip memories assumed",
        ),
        LineEngine(
            name="line-216",
            pe=8,
            simd=9,
            lanes=3,
            line_memory_bytes=256 * 1024,
            weight_memory_bytes=256 * 1024,
            dram_bytes_per_cycle=8.0,
            dram_latency_cycles=30,
            clock_mhz=100.0,
            dram_burst_bytes=128,
            source="216 of the 220 DSP slices and 512 of the 630 kB block RAM of an XC7Z020 (DS190), one 64-bit AXI3 "
            "port with bursts of 16 words (UG585); clock and latency assumed",
        ),
    )
}
_DEVICES = {
    device.name: device
    for device in (
        Budget(
            name="zynq-7020",
            clock_mhz=100.0,
            dsp=220,
            bram18=280,
            source="XC7Z020: 220 DSP slices, 140 block RAMs of 36 kbit (DS190); clock assumed",
        ),
        Budget(
            name="artix-7-35t",
            clock_mhz=100.0,
            dsp=90,
            bram18=100,
            source="XC7A35T: 90 DSP slices, 50 block RAMs of 36 kbit (DS180); clock assumed",
        ),
    )
}
_BUDGET = re.compile(r"pipeline-([1-9]\d{0,5})")


def machine(name: str) -> Machine:
    """A preset, or a machine of a YAML file.

    Raises:
        BadInput: neither a preset's name nor a readable machine file.
    """
    budget = _BUDGET.fullmatch(name)
    if budget:
        return Budget(name, int(budget[1]))
    if name in _DEVICES:
        return _DEVICES[name]
    base, _, schedule = name.partition("/")
    if base in _LINE_ENGINES and schedule in ("", "layer_by_layer", "line_by_line"):
        engine = _LINE_ENGINES[base]
        return msgspec.structs.replace(engine, name=name, schedule=schedule) if schedule else engine
    if name.endswith((".yaml", ".yml", ".json")) or exists(Path(name)):
        found: Machine = read_yaml(Path(name), Machine)  # type: ignore[arg-type]  # a union is no class to mypy
        if not found.name.isprintable() or not found.name.strip():
            raise BadInput(f"{name}: the name {found.name!r} was found; one that can be printed is wanted")
        return found
    if name.startswith("pipeline-") and name.removeprefix("pipeline-").isdecimal():
        raise BadInput(f"machine {name}: a pipeline-N has 1 to 999999 multipliers; a YAML file may say more")
    raise BadInput(f"machine {name}: no such preset or file{nearest(name, machine_presets())}")


def pipeline_machine(name: str) -> Pipeline | Budget:
    """As `machine`, for what only a pipeline can do.

    Raises:
        BadInput: no such machine, or another kind of machine.
    """
    found = machine(name)
    if isinstance(found, LineEngine):
        raise BadInput(f"machine {name}: a line engine was found, a pipeline or a budget is wanted")
    return found


def bounded(name: str | None, macs: int | None = None, dsp: int | None = None, bram18: int | None = None) -> Machine:
    """A machine by name, its limits replaced by those given; limits alone are a budget, nothing at all the default one.

    Raises:
        BadInput: no such machine, or limits for one that is no budget.
    """
    given = {key: limit for key, limit in (("macs", macs), ("dsp", dsp), ("bram18", bram18)) if limit is not None}
    if not given:
        return machine(name or DEFAULT_BUDGET)
    told = ", ".join(f"{key} {limit}" for key, limit in given.items())
    if name is None:
        return Budget(told, macs, dsp=dsp, bram18=bram18)
    found = machine(name)
    if not isinstance(found, Budget):
        raise BadInput(f"machine {name}: it has its own engines, {told} can only limit a budget such as zynq-7020")
    return msgspec.structs.replace(found, name=f"{found.name}, {told}", **given)


def machine_presets() -> list[str]:
    """Names that `machine` knows; `pipeline-256` stands for any number of MACs."""
    schedules = [f"{name}/layer_by_layer" for name in _LINE_ENGINES]
    return ["pipeline-64", "pipeline-256", "pipeline-1024", *_DEVICES, *_LINE_ENGINES, *schedules]
