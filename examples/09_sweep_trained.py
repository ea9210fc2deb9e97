"""A sweep that trains its networks: accuracy, latency and memory in one front.

Students of digits in two widths, with and without a pacemaker, and their 3x3 teachers, each trained once: four epochs,
one seed, which gives directions and no results. All of them in 8 and in 4 bits, on pipelines of 16 to 128 multipliers.
Accuracy is that of the integers on validation images.

It prints, for every network on the front, its fastest design; a line a network:

    12 networks, 96 designs
    ...%   ... ms  ... bytes  plain-5-... bit
    ...
"""

from pathlib import Path

from reports.sweep.rows import front_rows
from reports.sweep.run import sweep
from reports.sweep.space import Machines, Networks, Space
from reports.sweep.work import Means

networks = Networks(
    recipe="digits-small",
    axes={
        "family": ("plain",),
        "depth": (5,),
        "width": (1, 2),
        "head": ("rows",),
        "pacemaker": ("none", "logits"),
        "bits": (8, 4),
    },
    teachers=True,
)
pipelines = Machines("pipeline", {"macs": tuple(range(16, 129, 16))})
space = Space("students", networks, (pipelines,), ("accuracy", "latency_ms", "on_chip_bytes"))
found = sweep(space, Path("runs/students"), Means(workers=1))
print(f"{len(found.subjects)} networks, {len(found.table)} designs")
fastest = {row["network"]: row for row in reversed(front_rows(found))}
for name, row in reversed(fastest.items()):
    print(f"{row['accuracy']:6.1%} {row['latency_ms']:8.4f} ms {row['on_chip_bytes']:7,.0f} bytes  {name}")
