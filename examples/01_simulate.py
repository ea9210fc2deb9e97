"""Simulate a network on both kinds of machine.

A 3x3 network and its 1x3 twins at CIFAR's size (32x32 pixels), on a streaming pipeline of at most 64 multipliers and on
a line engine, one array of 8 x 8 that runs the layers in turn. Nothing is trained, and torch is not needed. Cycles are
exact: the RTL agrees with them. `-keep` keeps all rows; the last network drops rows as the 3x3 one's strides do.

It prints:

    network on machine                           latency  interval    line memory
    wrn-10-1 on pipeline-64               419,209 cycles   297,736   13,827 bytes
    wrn-10-1 on line-64                   291,499 cycles   291,324   11,200 bytes
    wrn-10-1-1x3-keep on pipeline-64      209,596 cycles   198,528    3,555 bytes
    wrn-10-1-1x3-keep on line-64          172,707 cycles   172,578    1,792 bytes
    wrn-10-1-1x3 on pipeline-64            60,700 cycles    49,632    2,851 bytes
    wrn-10-1-1x3 on line-64                44,307 cycles    44,178    1,792 bytes
"""

from hw.accelerator import machine
from hw.presets import preset
from sim.run import simulate

print(f"{'network on machine':36} {'latency':>15} {'interval':>9} {'line memory':>14}")
for network in ("wrn-10-1", "wrn-10-1-1x3-keep", "wrn-10-1-1x3"):
    for name in ("pipeline-64", "line-64"):
        found = simulate(preset(network), machine(name))
        print(
            f"{f'{network} on {name}':36} {found.latency_cycles:>8,} cycles {found.interval_cycles:>9,} "
            f"{found.line_memory_bytes:>8,} bytes"
        )
