"""A machine of your own in YAML, and what to change about it.

A line engine: an array of 8 x 8 multipliers, 4 kB of line memory, 16 kB of weight memory, DRAM of 4 bytes a cycle. A
3x3 network does not fit into it line by line; the sentence says where, and what would do. A 1x3 one fits, and where its
cycles go says what to change next.

It prints:

    machine my-soc: line memory of 4096 bytes was found, 34496 are wanted by wrn-16-2 line by line at
    layer g1.b0.add; give it 34496 or schedule: layer_by_layer
    16 kB of weights: 10.98 ms; cycles: compute 1,324,694, weights 871,084, lines_in 64, drain 65
    64 kB of weights: 10.67 ms; cycles: compute 1,324,694, weights 810,076, lines_in 64, drain 65
    256 kB of weights: 6.62 ms; cycles: compute 1,324,694, lines_in 64, drain 65
"""

import textwrap
from pathlib import Path

import msgspec

from hw.accelerator import machine
from hw.errors import DoesNotFit
from hw.presets import preset
from sim.run import simulate

Path("my-soc.yaml").write_text(
    """\
machine: line_engine
name: my-soc
pe: 8
simd: 8
line_memory_bytes: 4096
weight_memory_bytes: 16384
dram_bytes_per_cycle: 4.0
dram_latency_cycles: 40
clock_mhz: 200.0
schedule: line_by_line
""",
    encoding="utf-8",
)
soc = machine("my-soc.yaml")
try:
    simulate(preset("wrn-16-2"), soc)
except DoesNotFit as error:
    print(textwrap.fill(str(error), 100))
for kilobytes in (16, 64, 256):
    changed = msgspec.structs.replace(soc, weight_memory_bytes=kilobytes * 1024)
    found = simulate(preset("wrn-16-2-1x3-keep"), changed)
    causes = ", ".join(f"{cause} {cycles:,}" for cause, cycles in found.cycles_by_cause.items() if cycles)
    print(f"{kilobytes} kB of weights: {found.latency_ms:.2f} ms; cycles: {causes}")
