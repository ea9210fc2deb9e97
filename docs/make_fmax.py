"""Makes docs/fmax.csv and its table in docs/resources.md: `python docs/make_fmax.py` (about ten minutes of a core).

Networks of one layer, with their FIFOs and behind registered pins, synthesised and routed for ECP5-85. Rows are kept by
the key of their synthesis: what has not changed is not routed again.
"""

import csv
import re
import tempfile
from pathlib import Path
from random import Random
from typing import NamedTuple

from hw import rtl
from hw.accelerator import Engine, Fifo, Pipeline, Ram
from hw.files import write_text
from hw.network import INPUT, Layer, Network, Shape, Size
from hw.synth import harness, nextpnr, yosys
from hw.synth.families import FAMILIES
from hw.synth.samples import conv, drawn_student

HERE = Path(__file__).parent
TARGET = HERE / "fmax.csv"
PAGE = HERE / "resources.md"
KEPT = HERE.parent / "runs" / "fmax"
COLUMNS = ("key", "engine", "folding", "fifos", "lut", "ff", "dsp", "bram18", "fmax_mhz", "path")
SIZE = "85k"
Row = dict[str, str]


class Design(NamedTuple):
    """One engine: its layer, its input, its folding, and the RAM of the FIFOs around it."""

    name: str
    layer: Layer
    shape: Shape
    engine: Engine
    ram: Ram = "lut"


def designs() -> list[Design]:
    """Kinds, kernels and foldings from one multiplier to 128."""
    narrow, wide = Shape(16, 32, 16), Shape(16, 32, 64)
    pool = {"kernel": Size(3, 3), "stride": Size(1, 1)}
    return [
        Design("conv 1x3, 16 channels", conv((1, 3), (1, 1), 16, padded=True), narrow, Engine(1, 1)),
        Design("conv 1x3, 16 channels", conv((1, 3), (1, 1), 16, padded=True), narrow, Engine(4, 4)),
        Design("conv 3x3, 16 channels", conv((3, 3), (1, 1), 16, padded=True), narrow, Engine(4, 4)),
        Design("conv 3x3, 16 channels", conv((3, 3), (1, 1), 16, padded=True), narrow, Engine(4, 4), "block"),
        Design("conv 1x3, 16 channels", conv((1, 3), (1, 1), 16, padded=True), narrow, Engine(2, 48)),
        Design("conv 1x3, 64 channels", conv((1, 3), (1, 1), 64, padded=True), wide, Engine(2, 32)),
        Design("conv 3x3, 64 channels", conv((3, 3), (1, 1), 64, padded=True), wide, Engine(8, 16)),
        Design("affine, 16 channels", Layer("e", "affine", (INPUT,), relu=True), narrow, Engine(4)),
        Design("max 3x3, 16 channels", Layer("e", "max", (INPUT,), **pool), narrow, Engine(2)),
        Design("mean 3x3, 16 channels", Layer("e", "mean", (INPUT,), **pool), narrow, Engine(2)),
        Design("global mean, 16 channels", Layer("e", "mean", (INPUT,), kernel=Size(16, 32), stride=Size(16, 32)),
               narrow, Engine(2)),
    ]  # fmt: skip


def routed(design: Design, kept: dict[str, Row]) -> Row:
    """Synthesise and route."""
    network = Network("engine", design.shape, (design.layer,))
    student = drawn_student(network, Random(design.name), 8, 8)
    edges = [*map(str, network.edges), f"{design.layer.name} -> output"]
    pipeline = Pipeline("engine", 100.0, {design.layer.name: design.engine}, {e: Fifo(4, design.ram) for e in edges})
    with tempfile.TemporaryDirectory() as folder:
        made = rtl.write(student, pipeline, Path(folder))
        write_text(made.folder / "harness.sv", harness.harness(made))
        sources = [*made.sources, "harness.sv"]
        found = yosys.synthesise(
            made.folder, sources, FAMILIES["ecp5"], KEPT, top=harness.NAME, netlist=True, keep=(harness.INSTANCE,)
        )
    key = Path(found.log).parent.name
    if key in kept:
        return kept[key]
    timing = nextpnr.route(Path(found.log).parent / "netlist.json", SIZE)
    folding = f"{design.engine.pe} x {design.engine.simd}"
    path = f"{timing.logic_ns:.1f} ns of logic, {timing.routing_ns:.1f} ns of wires"
    counts = [str(number) for number in found.resources.counts.values()]
    values = (key, design.name, folding, design.ram, *counts, f"{timing.fmax_mhz:.1f}", path)
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    """Route what is new, write the rows, fill the page."""
    kept = {}
    if TARGET.is_file():
        with TARGET.open(newline="") as file:
            kept = {row["key"]: row for row in csv.DictReader(file)}
    rows: list[Row] = []
    for design in designs():
        rows.append(routed(design, kept))
        print(*rows[-1].values(), flush=True)
    with TARGET.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = [
        "| engine | PE x SIMD | FIFOs | LUT | FF | DSP | block RAM | clock, MHz | longest path |",
        "|---" * 9 + "|",
    ]
    lines += [f"| {' | '.join(row[key] for key in COLUMNS[1:])} |" for row in rows]
    table = "\n".join(lines)
    text = re.sub(
        r"(<!-- fmax -->\n).*?(<!-- end of fmax -->)",
        lambda found: f"{found[1]}{table}\n{found[2]}",
        PAGE.read_text(),
        flags=re.DOTALL,
    )
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
