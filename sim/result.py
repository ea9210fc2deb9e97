"""What a simulation of any machine answers."""

import msgspec

from hw.network import INPUT, Network


class Precision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bits of a layer's result, of a weight and of the input's channels, where no student says more.

    `input_bits` are 0 where the input is as wide as the results, also if they are given.
    """

    activation_bits: int = 8
    weight_bits: int = 8
    input_bits: int = 0

    def __post_init__(self) -> None:
        if self.input_bits == self.activation_bits:  # equal widths are equal records, with one hash and one key
            msgspec.structs.force_setattr(self, "input_bits", 0)

    def __str__(self) -> str:
        pixels = f"input of {self.input_bits} bits, " if self.input_bits else ""
        return f"{pixels}activations of {self.activation_bits} bits, weights of {self.weight_bits}"

    def bits_of(self, source: str) -> int:
        """Bits of a channel of what this layer, or the input, makes."""
        return self.input_bits or self.activation_bits if source == INPUT else self.activation_bits


class LayerResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One layer: what it did and what it keeps.

    `cycles` are those of a frame in which it works, `starved_cycles` and `blocked_cycles` those of the last simulated
    frame in which it waits for input or for room; `first_cycle` and `last_cycle` frame its work on the first one.
    """

    name: str
    kind: str
    pe: int
    simd: int
    macs: int
    cycles: int
    starved_cycles: int
    blocked_cycles: int
    first_cycle: int
    last_cycle: int
    line_buffer_bytes: int
    window_bytes: int
    fifo_bytes: int
    weight_bytes: int


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network on a machine: cycles are exact by the machine's model; bytes are counted, not estimated.

    `line_memory_bytes` is all that holds pixels on chip: buffers and FIFOs of a pipeline, the peak of an engine's line
    memory. `cycles_by_cause` and `dram_bytes` say where time and traffic go, where the machine has such causes.
    `energy_uj` of a frame by part is an estimate by the table that `energy_table` names (`sim.energy`); neither is
    there where none was asked for.
    """

    network: str
    machine: str
    clock_mhz: float
    multipliers: int
    latency_cycles: int
    interval_cycles: int
    latency_ms: float
    frames_per_second: float
    utilisation: float
    macs: int
    executed_macs: int
    parameters: int
    line_buffer_bytes: int
    window_bytes: int
    fifo_bytes: int
    weight_bytes: int
    line_memory_bytes: int
    layers: tuple[LayerResult, ...]
    cycles_by_cause: dict[str, int] = {}
    dram_bytes: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    energy_uj: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    energy_table: str | msgspec.UnsetType = msgspec.UNSET


def summarise(
    given: Network,
    executed: Network,
    machine: str,
    clock_mhz: float,
    multipliers: int,
    latency_cycles: int,
    interval_cycles: int,
    layers: list[LayerResult],
    *,
    line_memory_bytes: int,
    cycles_by_cause: dict[str, int] | None = None,
    dram_bytes: dict[str, int] | None = None,
    notes: tuple[str, ...] = (),
) -> Result:
    """The result of a run: totals of its layers, times from its cycles."""
    return Result(
        network=given.name,
        machine=machine,
        clock_mhz=clock_mhz,
        multipliers=multipliers,
        latency_cycles=latency_cycles,
        interval_cycles=interval_cycles,
        latency_ms=latency_cycles / clock_mhz / 1e3,
        frames_per_second=clock_mhz * 1e6 / interval_cycles,
        utilisation=executed.macs / (interval_cycles * multipliers) if multipliers else 0.0,
        macs=given.macs,
        executed_macs=executed.macs,
        parameters=given.parameters,
        line_buffer_bytes=sum(layer.line_buffer_bytes for layer in layers),
        window_bytes=sum(layer.window_bytes for layer in layers),
        fifo_bytes=sum(layer.fifo_bytes for layer in layers),
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        line_memory_bytes=line_memory_bytes,
        layers=tuple(layers),
        cycles_by_cause=cycles_by_cause or {},
        dram_bytes=dram_bytes or {},
        notes=notes,
    )
