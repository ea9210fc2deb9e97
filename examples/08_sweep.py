"""A co-design sweep in Python: which architecture on which machine, and its Pareto front.

Architectures at CIFAR's size with 3x3 and with 1x3 filters on pipelines. Nothing is trained, so nothing is said of
accuracies. The folder has a page (`sweep.html`), all rows and figures; what is there is not simulated again.

It prints:

    wrn-10-1-1x3-keep on pipeline macs=256 clock_mhz=200: 0.288 ms, 3,587 bytes
    wrn-10-1-1x3-keep on pipeline macs=128 clock_mhz=200: 0.541 ms, 3,555 bytes
    wrn-10-1-1x3-keep on pipeline macs=64 clock_mhz=200: 1.048 ms, 3,555 bytes
    wrn-10-1-1x3-keep on pipeline macs=32 clock_mhz=200: 2.060 ms, 3,555 bytes
    wrn-10-1 on pipeline macs=32 clock_mhz=200: 4.157 ms, 13,827 bytes
    resnet-20-1x3-keep on pipeline macs=32 clock_mhz=200: 8.461 ms, 6,915 bytes
"""

from pathlib import Path

from reports.sweep.rows import front_rows
from reports.sweep.run import sweep
from reports.sweep.space import Machines, Networks, Space

networks = Networks(given=("wrn-10-1", "wrn-10-1-1x3-keep", "resnet-20-1x3-keep"))
pipelines = Machines("pipeline", {"macs": (32, 64, 128, 256), "clock_mhz": (100, 200)})
space = Space("first", networks, (pipelines,), objectives=("latency_ms", "line_memory_bytes", "multipliers"))
for row in front_rows(sweep(space, Path("runs/first-sweep"))):
    print(f"{row['network']} on {row['machine']}: {row['latency_ms']:.3f} ms, {row['line_memory_bytes']:,.0f} bytes")
