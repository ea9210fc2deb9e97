"""What a filter of one row saves: line memory of 3x3 filters against 1x3 ones.

On a pipeline a 3x3 filter keeps two rows of its input and a residual's shortcut waits for them; a 1x3 filter keeps
three pixels. On a line engine, line by line, the least line memory is found to the byte. How accurate each network is,
is another question: see 05 and 09.

It prints:

    on pipeline-256, bytes                3x3      1x3
    line_buffer                        23,744        0
    window                              4,140    4,140
    fifo                                7,319    3,559
    skip_fifo                          13,728    2,560
    weights                           705,856  253,984

    on line-64, line by line, least line memory in bytes
    wrn-16-2                           34,496
    wrn-16-2-1x3-keep                   3,584
"""

from hw.accelerator import pipeline_machine
from hw.passes import executed
from hw.presets import preset
from sim.planner import least_line_memory, line_engine
from sim.storage import compare, storage

full, row = preset("wrn-16-2"), preset("wrn-16-2-1x3-keep")
found = compare(*(storage(network, pipeline_machine("pipeline-256")) for network in (full, row)))
print("on pipeline-256, bytes                3x3      1x3")
for part in ("line_buffer", "window", "fifo", "skip_fifo", "weights"):
    left, right = (getattr(side.total, part).bits // 8 for side in (found.left, found.right))
    print(f"{part:31} {left:9,} {right:8,}")
print("\non line-64, line by line, least line memory in bytes")
for network in (full, row):
    print(f"{network.name:31} {least_line_memory(executed(network), line_engine('line-64')):9,}")
