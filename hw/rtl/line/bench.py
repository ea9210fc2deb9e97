"""The test bench of a written line engine: a DRAM, a line of text for whatever starts or ends, and how to read them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hw.accelerator import LineEngine
from hw.fixed import Integers
from hw.rtl.line.write import TOP, Design

Unit = Literal["step", "load", "store"]
UNITS: tuple[Unit, ...] = ("step", "load", "store")

_BENCH = """\
module bench;
    localparam int N = {bits}, BYTES = {beat}, LATENCY = {latency}, SIZE = {size};
    logic clk = 0, rst = 1;
    always #1 clk = ~clk;
    logic read_request, read_beat, write_request, write_beat, finished;
    logic [N-1:0] read_address, read_bytes, write_address, write_bytes;
    logic [BYTES*8-1:0] read_data, write_data;
    logic [7:0] dram [SIZE];
    integer cycle = 0;
    {top} dut (.*);
    initial begin
        $readmemh("dram.hex", dram);
        repeat (3) @(posedge clk);
        rst <= 0;
    end
    // A burst: LATENCY cycles, then BYTES a cycle.
    integer read_waited = 0, read_given = 0, write_waited = 0, write_taken = 0;
    assign read_beat = read_request && read_waited == LATENCY;
    assign write_beat = write_request && write_waited == LATENCY;
    always_comb
        for (int i = 0; i < BYTES; i++)
            read_data[8*i+:8] = (read_beat && read_given + i < read_bytes) ? dram[read_address + read_given + i] : 'x;
    always @(posedge clk) begin
        if (read_beat) begin
            read_given <= (read_given + BYTES >= read_bytes) ? 0 : read_given + BYTES;
            if (read_given + BYTES >= read_bytes) read_waited <= 0;
        end else if (read_request) read_waited <= read_waited + 1;
        if (write_beat) begin
            for (int i = 0; i < BYTES; i++)
                if (write_taken + i < write_bytes) dram[write_address + write_taken + i] <= write_data[8*i+:8];
            write_taken <= (write_taken + BYTES >= write_bytes) ? 0 : write_taken + BYTES;
            if (write_taken + BYTES >= write_bytes) write_waited <= 0;
        end else if (write_request) write_waited <= write_waited + 1;
    end
    always @(posedge clk) if (!rst) begin
        cycle <= cycle + 1;
        if (dut.core.step_start) $display("step starts %0d", cycle);
        if (dut.core.load_start) $display("load starts %0d", cycle);
        if (dut.core.store_start) $display("store starts %0d", cycle);
        if (dut.core.step_done) $display("step ends %0d", cycle + 1);
        if (dut.core.load_done) $display("load ends %0d", cycle + 1);
        if (dut.core.store_done) $display("store ends %0d", cycle + 1);
        if ({shared} && read_request && write_request) $display("channel shared %0d", cycle);
        if (finished || cycle > {limit}) begin
            $display("run %0s %0d", finished ? "ends" : "stops", cycle);
            $writememh("{after}", dram);
            $finish;
        end
    end
endmodule
"""
BEFORE, AFTER = "dram.hex", "dram_after.hex"
"""DRAM before and after the run."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What a run did: start and end of every entry of each unit's list, (entries, 2), and DRAM's bytes after it.

    A byte that the RTL left undefined is -1. `fault` tells in words what went wrong by itself; empty if nothing did.
    """

    times: dict[Unit, Integers]
    dram: Integers
    fault: str


def bench(design: Design, engine: LineEngine, limit_cycles: int) -> str:
    """A test bench that prints "<unit> starts <cycle>" and "<unit> ends <cycle>", and last "run ends <cycle>".

    "run stops" after `limit_cycles`; "channel shared" if both units use the only one.
    """
    return _BENCH.format(
        bits=design.bits,
        beat=design.beat_bytes,
        latency=engine.dram_latency_cycles,
        size=design.addresses.dram_bytes,
        top=TOP,
        shared=int(engine.dma_channels == 1),
        limit=limit_cycles,
        after=AFTER,
    )


def trace(printed: Iterable[str], after: str) -> Trace:
    """What a test bench printed, and what it wrote of DRAM."""
    starts: dict[Unit, list[int]] = {unit: [] for unit in UNITS}
    ends: dict[Unit, list[int]] = {unit: [] for unit in UNITS}
    faults = []
    for text in printed:
        for unit in UNITS:
            if text.startswith(f"{unit} starts "):
                starts[unit].append(int(text.split()[2]))
            elif text.startswith(f"{unit} ends "):
                ends[unit].append(int(text.split()[2]))
        if text.startswith("channel shared "):
            faults.append(f"both units use the one channel in cycle {text.split()[2]}")
        elif text.startswith("run stops "):
            faults.append(f"the RTL has not ended after {text.split()[2]} cycles")
    times = {unit: np.array([*zip(starts[unit], ends[unit], strict=False)], np.int64).reshape(-1, 2) for unit in UNITS}
    dram = [_byte(text) for text in after.split("\n") if text and not text.startswith(("/", "@"))]
    return Trace(times, np.array(dram, np.int64), faults[0] if faults else "")


def _byte(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return -1
