"""Runs yosys in a process of its own, which it may leave as it likes. Started by `hw.synth.yosys` with a job's file.

It reads and synthesises the sources of the folder it is started in, keeping the boundaries of the modules that the top
instantiates, and writes the cells of every such instance, and the top's own, as JSON beside them. All names on yosys'
command line are plain: it would cut a path at its spaces.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(job_file: str) -> None:
    """Do the job: sources, top, script, modules to keep apart, style of weight ROMs, names of cells and netlist."""
    yosys = importlib.import_module("pyosys.libyosys")

    job = json.loads(Path(job_file).read_text())
    design = yosys.Design()

    def run(command: str) -> None:
        yosys.run_pass(command, design)

    run(f"read_verilog -defer -sv {' '.join(job['sources'])}")
    run(f"hierarchy -check -top {job['top']}")
    for module in job["kept"]:
        run(f"setattr -mod -set keep_hierarchy 1 *{module}*")
    if job["rom_style"]:
        run(f'setattr -set rom_style "{job["rom_style"]}" */m:weight_rom')
    run(job["script"])
    statistics = Path(job["cells"]).with_suffix(".stat")
    run(f"tee -q -o {statistics} stat -json")
    if job["netlist"]:
        run(f"write_json {job['netlist']}")
    modules = json.loads(statistics.read_text())["modules"]
    Path(job["cells"]).write_text(json.dumps(_instances(yosys, design, job["top"], modules)))


def _instances(yosys: Any, design: Any, top: str, modules: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Cells by instance, paths as `a.b`, the top's own under ""; an instance holds none of its children's."""
    found: dict[str, dict[str, int]] = {}
    left = [("", f"\\{top}")]
    while left:
        path, name = left.pop()
        own = modules[name]["num_cells_by_type"]
        found[path] = {cell: number for cell, number in own.items() if cell not in modules and cell[0] != "$"}
        for key, cell in dict(design.module(yosys.IdString(name)).cells_).items():
            if cell.type.str() in modules:
                child = key.str().removeprefix("\\")
                left.append((f"{path}.{child}" if path else child, cell.type.str()))
    return found


if __name__ == "__main__":
    main(sys.argv[1])
