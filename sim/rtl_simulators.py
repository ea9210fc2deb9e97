"""Icarus and Verilator: whether they are there, and a test bench run under one of them."""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hw.errors import BadInput, MissingTool, nearest
from hw.files import write_text

Simulator = Literal["icarus", "verilator"]
PROGRAMS: dict[Simulator, str] = {"icarus": "iverilog", "verilator": "verilator"}
_ICARUS = ["iverilog", "-g2012", "-s", "bench", "-o", "bench.vvp"]
_VERILATOR = ["verilator", "--binary", "--timing", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style"]
_VERILATOR += ["--top-module", "bench", "-o", "bench"]

_README = """\
# {title}

This folder is the design with its weights; `bench.sv` feeds it and prints what it does in each cycle. `pacemaker cosim`
made both and held that against the simulator and the integer reference; here it is for looking into, as with waveforms.

Icarus Verilog:

    {icarus}
    vvp -n bench.vvp

Verilator:

    {verilator}
    obj_dir/bench

{prints}
"""


def simulator_named(name: str) -> Simulator:
    """`name` as a simulator.

    Raises:
        BadInput: there is no such one.
    """
    for simulator in PROGRAMS:
        if simulator == name:
            return simulator
    raise BadInput(f"simulator {name}: no such one{nearest(name, PROGRAMS)}")


def available(simulator: Simulator) -> bool:
    """Whether the simulator is installed."""
    return shutil.which(PROGRAMS[simulator]) is not None


def check_available(simulator: Simulator) -> None:
    """Demand that the simulator is installed.

    Raises:
        MissingTool: it is not.
    """
    if not available(simulator):
        raise MissingTool(
            f"{simulator} is not installed (Debian: apt install {PROGRAMS[simulator]}); cosimulation needs it"
        )


def run_bench(folder: Path, sources: Sequence[str], simulator: Simulator) -> list[str]:
    """Compile a test bench `bench` with these sources of a folder, run it, and give the lines that it prints.

    Raises:
        BadInput: the simulator refuses the sources, or the bench ends in an error.
    """
    if simulator == "icarus":
        _tool([*_ICARUS, *sources], folder)
        return _tool(["vvp", "-n", "bench.vvp"], folder)
    with tempfile.TemporaryDirectory(prefix="verilator-") as made:  # make takes no path with a space in it
        _tool([*_VERILATOR, "-Mdir", made, *sources], folder)
        return _tool([f"{made}/bench"], folder)


def write_readme(folder: Path, sources: Sequence[str], title: str, prints: str) -> None:
    """A README that says how the bench in `folder` is run by hand, and what it `prints`."""
    icarus, verilator = (shlex.join([*command, *sources]) for command in (_ICARUS, _VERILATOR))
    write_text(folder / "README.md", _README.format(title=title, icarus=icarus, verilator=verilator, prints=prints))


def _tool(command: list[str], folder: Path) -> list[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  # no shell
    if done.returncode:
        first = next((line for line in (done.stderr or done.stdout).splitlines() if "rror" in line), "no error line")
        raise BadInput(f"{Path(command[0]).name}: {first.strip()}")
    return done.stdout.splitlines()
