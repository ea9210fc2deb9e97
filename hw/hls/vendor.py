"""What a vendor's tool says of an hls4ml project, read by hls4ml's own parsers; and the tool itself, where it is there.

A report is a project's folder, a `*_csynth.xml` of Vitis HLS or Vivado HLS, or the `vivado_synth.rpt` of Vivado. Of a
folder the report nearest to silicon counts: implementation, Vivado's synthesis, C synthesis.
"""

import contextlib
import io
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as XML

import msgspec

from hw.errors import BadInput, MissingTool, need
from hw.files import read_bytes, write_text
from hw.resources import Resources

TOOLS = {
    "vitis-run": ("--mode", "hls", "--tcl", "build_prj.tcl"),
    "vitis_hls": ("-f", "build_prj.tcl"),
    "vivado_hls": ("-f", "build_prj.tcl"),
}
TOOLS_OF = {"Vitis": ("vitis-run", "vitis_hls"), "Vivado": ("vivado_hls",)}
"""The tools that build a backend's project; those of other backends are not run here."""
LOG = "vendor.log"
TOP = "student"
_STAGES = ("ImplementationReport", "VivadoSynthReport", "CSynthesisReport")
_UNREADABLE = (
    XML.ParseError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    StopIteration,
    TypeError,
    ValueError,
    UnboundLocalError,
)
"""What hls4ml's parser raises over reports that are not as it expects them."""


class VendorReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A design as a vendor's tool reports it; latency and interval in cycles at worst, None where it does not tell.

    `simulated` tells whether they come from cosimulation, and not from C synthesis.
    """

    resources: Resources
    latency_cycles: int | None
    interval_cycles: int | None
    clock_ns: float | None
    simulated: bool


def read(path: Path) -> VendorReport:
    """The report in a project's folder, or in a file.

    Raises:
        BadInput: there is none, it is of another design, or hls4ml's parser cannot read it.
        MissingTool: hls4ml is not installed.
    """
    if path.is_dir():
        return _report(path, path)
    data = read_bytes(path)
    with tempfile.TemporaryDirectory() as scratch:
        _lay_out(Path(scratch), path, data)
        return _report(path, Path(scratch))


def tool(backend: str | None = None) -> str:
    """The vendor's HLS tool on the PATH: one for projects of `backend`, or any.

    Raises:
        BadInput: a backend whose tool is not run here.
        MissingTool: no tool is on the PATH.
    """
    if backend is not None and backend not in TOOLS_OF:
        raise BadInput(
            f"backend {backend}: its vendor's tool is not run here, those of {' and '.join(TOOLS_OF)} are; "
            "leave out --build, and build the project as its README says"
        )
    names = tuple(TOOLS) if backend is None else TOOLS_OF[backend]
    found = next((name for name in names if shutil.which(name)), None)
    if found is None:
        one_of = "one of " if len(names) > 1 else ""
        raise MissingTool(f"synthesis of HLS needs {one_of}{', '.join(names)} on the PATH, and none was found")
    return found


def synthesise(
    folder: Path,
    *,
    backend: str | None = None,
    cosim: bool = False,
    vsynth: bool = False,
    say: Callable[[str], None] = lambda message: None,
) -> VendorReport:
    """Build the project in `folder` with the tool on the PATH, by hls4ml's own script, and read what it reports.

    `cosim` runs its C/RTL simulation too, which alone can show a FIFO that is too small; `vsynth` Vivado's synthesis.

    Raises:
        MissingTool, BadInput: as `tool`; or no project, the build fails, or its report cannot be read.
    """
    name = tool(backend)
    if not (folder / "build_prj.tcl").is_file():
        raise BadInput(
            f"{folder}: no HLS project here (build_prj.tcl is missing); "
            f"make one with: pacemaker generate RUN --out {folder}"
        )
    steps = {"reset": 1, "csim": 0, "synth": 1, "cosim": cosim, "validation": 0, "export": 0, "vsynth": vsynth}
    steps["fifo_opt"] = 0
    options = [f"{step}={int(on)}" for step, on in steps.items()]
    lines = "".join(f"    {step:10} {int(on)}\n" for step, on in steps.items())
    write_text(folder / "build_opt.tcl", f"array set opt {{\n{lines}}}\n")
    say(f"building the HLS project with {name}")
    # Vitis' script takes its switches from build_opt.tcl, Vivado's from the command line
    arguments = [*TOOLS[name], *([] if name == "vitis-run" else [" ".join(options)])]
    with (folder / LOG).open("wb") as log:
        path = str(shutil.which(name))
        code = subprocess.run([path, *arguments], cwd=folder, stdout=log, stderr=log, check=False).returncode  # noqa: S603
    if code != 0:
        raise BadInput(f"{folder}: {name} ended with code {code}; see {folder / LOG}")
    return read(folder)


def _lay_out(folder: Path, path: Path, data: bytes) -> None:
    """Put a lone report where hls4ml's parser looks for it."""
    solution = folder / f"{TOP}_prj" / "solution1"
    if path.suffix == ".xml":
        target = solution / "syn" / "report" / f"{TOP}_csynth.xml"
    elif b"Utilization" in data:
        target = folder / "vivado_synth.rpt"
    else:
        raise BadInput(
            f"{path}: no report of a vendor's tool; a csynth.xml, a vivado_synth.rpt or a project's folder is wanted"
        )
    for parent in (target.parent, solution):
        parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    write_text(folder / "project.tcl", f'set project_name "{TOP}"\nset backend "vitis"\n')
    write_text(solution.parent / "hls.app", '<project><solutions><solution name="solution1"/></solutions></project>\n')


def _report(path: Path, folder: Path) -> VendorReport:
    found = _parsed(path, folder)
    stage = next((name for name in _STAGES if found.get(name)), None)
    if stage is None:
        raise BadInput(f"{path}: no report of a vendor's tool was found; a csynth.xml or a vivado_synth.rpt is wanted")
    _check_design(path, folder)
    synthesis, simulation = found.get("CSynthesisReport", {}), found.get("CosimReport", {})
    name, version = _tool_of(folder, stage)
    counts = _counts(path, stage, found[stage])
    return VendorReport(
        resources=Resources(
            lut=counts["lut"],
            ff=counts["ff"],
            dsp=counts["dsp"],
            bram18=counts["bram18"],
            design="hls",
            source="vendor",
            tool=name,
            error=None,
            version=version,
        ),
        latency_cycles=_cycles(simulation.get("LatencyMax", synthesis.get("WorstLatency"))),
        interval_cycles=_cycles(simulation.get("IntervalMax", synthesis.get("IntervalMax"))),
        clock_ns=_clock(path, synthesis),
        simulated=bool(simulation),
    )


def _parsed(path: Path, folder: Path) -> Mapping[str, Mapping[str, Any]]:
    hls4ml = need("hls4ml.report", "hls", "reading a vendor's report")
    for file in folder.glob("*_prj/*/syn/report/*.xml"):
        if b"<!ENTITY" in read_bytes(file):
            raise BadInput(f"{path}: an XML file that defines entities was found, a plain report is wanted")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found: Mapping[str, Mapping[str, Any]] | None = hls4ml.parse_vivado_report(str(folder))
    except _UNREADABLE as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{path}: hls4ml's parser cannot read its reports ({told}); build the project again") from error
    return found or {}


def _check_design(path: Path, folder: Path) -> None:
    """Refuse reports that name another top than `TOP`; those of the functions below it lie beside them."""
    names = []
    for file in sorted(folder.glob("*_prj/*/syn/report/*_csynth.xml")):
        if file.name == f"{file.parents[3].name.removesuffix('_prj')}_csynth.xml":
            root = XML.fromstring(read_bytes(file))  # noqa: S314  # entities are refused before
            names.append(root.findtext("./UserAssignments/TopModelName"))
    rows = folder / "vivado_synth.rpt"
    if rows.is_file():
        row = re.search(r"^\| Design +: +(\S+)", rows.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        names.append(row[1] if row else None)
    for name in names:
        if name is not None and name.strip() != TOP:
            raise BadInput(f"{path}: a report of the design {name.strip()} was found, one of {TOP} is wanted")


def _counts(path: Path, stage: str, found: Mapping[str, Any]) -> dict[str, int]:
    try:
        if stage == "CSynthesisReport":
            keys = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram18": "BRAM_18K"}
            return {name: int(found[key]) for name, key in keys.items()}
        if stage == "VivadoSynthReport":
            # hls4ml names it BRAM_18K, but the row that it reads, Block RAM Tile, counts tiles of 36 kbit
            tiles = float(found["BRAM_18K"])
            counts = {"lut": found["LUT"], "ff": found["FF"], "dsp": found["DSP48E"], "bram18": 2 * tiles}
            return {name: int(number) for name, number in counts.items()}
        bram18 = 2 * found["RAMB36s"] + found["RAMB18s"]
        return {"lut": found["TotLUTs"], "ff": found["FFs"], "dsp": found["DSPs"], "bram18": bram18}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        told = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{path}: its {stage} is not whole ({told}); build the project again") from error


def _cycles(text: object) -> int | None:
    """Cycles, where the report knows them: it writes `undef` or `?` for loops without a bound."""
    return int(str(text)) if str(text).isdecimal() else None


def _clock(path: Path, synthesis: Mapping[str, Any]) -> float | None:
    try:
        return float(synthesis["TargetClockPeriod"]) if synthesis else None
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: its CSynthesisReport tells no clock period; build the project again") from error


def _tool_of(folder: Path, stage: str) -> tuple[str, str]:
    """The tool and its version, "" where the report does not tell."""
    if stage == "CSynthesisReport":
        file = min(folder.glob("*_prj/*/syn/report/*_csynth.xml"))
        root = XML.fromstring(read_bytes(file))  # noqa: S314  # entities are refused before
        name = "Vivado HLS" if root.find("./AreaEstimates/Resources/DSP48E") is not None else "Vitis HLS"
        return f"{name}, C synthesis", (root.findtext("./ReportVersion/Version") or "").strip()
    file = folder / ("vivado_synth.rpt" if stage == "VivadoSynthReport" else "util.rpt")
    version = re.search(r"Vivado v\.?(\S+)", file.read_text(encoding="utf-8", errors="replace"))
    name = "synthesis" if stage == "VivadoSynthReport" else "implementation"
    return f"Vivado, {name}", version[1] if version else ""
