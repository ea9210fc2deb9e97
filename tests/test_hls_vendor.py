"""Reports of vendors' tools in their formats, whole and broken, and a build by a tool that is only a script."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from hw.errors import BadInput, MissingTool
from hw.hls import vendor
from hw.resources import Resources

pytest.importorskip("hls4ml")


def csynth(version="2023.2", dsp="DSP", worst="433", **counts):
    """As Vitis HLS writes it; Vivado HLS names its DSPs DSP48E."""
    used = {"BRAM_18K": 12, dsp: 3, "FF": 4567, "LUT": 8901, "URAM": 0} | counts
    tags = "".join(f"<{tag}>{count}</{tag}>\n" for tag, count in used.items())
    there = "".join(f"<{tag}>100000</{tag}>\n" for tag in used)
    return f"""<?xml version="1.0" encoding="UTF-8" ?>
<profile>
<section name="General Information" level="0"></section>
<ReportVersion><Version>{version}</Version></ReportVersion>
<UserAssignments>
<unit>ns</unit>
<ProductFamily>virtexuplus</ProductFamily>
<Part>xcvu13p-flga2577-2-e</Part>
<TopModelName>student</TopModelName>
<TargetClockPeriod>5.00</TargetClockPeriod>
<ClockUncertainty>1.35</ClockUncertainty>
</UserAssignments>
<PerformanceEstimates>
<PipelineType>dataflow</PipelineType>
<SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>3.603</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency>
<unit>clock cycles</unit>
<Best-caseLatency>400</Best-caseLatency>
<Average-caseLatency>420</Average-caseLatency>
<Worst-caseLatency>{worst}</Worst-caseLatency>
<Interval-min>260</Interval-min>
<Interval-max>272</Interval-max>
</SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates>
<Resources>
{tags}</Resources>
<AvailableResources>
{there}</AvailableResources>
</AreaEstimates>
</profile>
"""


def vivado_synth(luts="CLB LUTs*", registers="CLB Registers", tiles="6.5"):
    """As Vivado's report_utilization writes it."""
    return f"""Copyright 1986-2020 Xilinx, Inc. All Rights Reserved.
-----------------------------------------------------------------
| Tool Version : Vivado v.2020.1 (lin64) Build 2902540
| Command      : report_utilization -file vivado_synth.rpt
| Design       : student
-----------------------------------------------------------------

Utilization Design Information

Table of Contents
-----------------
1. CLB Logic
2. BLOCKRAM
3. ARITHMETIC

1. CLB Logic
------------

+----------------------------+------+-------+-----------+-------+
|          Site Type         | Used | Fixed | Available | Util% |
+----------------------------+------+-------+-----------+-------+
| {luts:26} | 7001 |     0 |   1728000 |  0.41 |
| {registers:26} | 5002 |     0 |   3456000 |  0.14 |
+----------------------------+------+-------+-----------+-------+

2. BLOCKRAM
-----------

+-------------------+------+-------+-----------+-------+
|     Site Type     | Used | Fixed | Available | Util% |
+-------------------+------+-------+-----------+-------+
| Block RAM Tile    |  {tiles} |     0 |      2688 |  0.24 |
| URAM              |    0 |     0 |      1280 |  0.00 |
+-------------------+------+-------+-----------+-------+

3. ARITHMETIC
-------------

+-----------+------+-------+-----------+-------+
| Site Type | Used | Fixed | Available | Util% |
+-----------+------+-------+-----------+-------+
| DSPs      |    4 |     0 |     12288 |  0.03 |
+-----------+------+-------+-----------+-------+
"""


COSIM = """
Report time       : Sun Nov 22 20:00:00 UTC 2026.
+----------+----------+-----------------------------------------------+-----------------------------------------------+
|          |          |                    Latency(Clock Cycles)      |              Interval(Clock Cycles)           |
+   RTL    +  Status  +-----------------------------------------------+-----------------------------------------------+
|          |          |      min      |      avg      |      max      |      min      |      avg      |      max      |
+----------+----------+-----------------------------------------------+-----------------------------------------------+
|      VHDL|        NA|             NA|             NA|             NA|             NA|             NA|             NA|
|   Verilog|      Pass|            441|            443|            445|            271|            275|            279|
+----------+----------+-----------------------------------------------+-----------------------------------------------+
"""
UTILISATION = """| Tool Version : Vivado v.2022.2 (lin64) Build 3671981
| Instance | Module | Total LUTs | Logic LUTs | LUTRAMs | SRLs | FFs | RAMB36 | RAMB18 | URAM | DSP Blocks |
| student | (top) | 6100(0.35%) | 6000(0.35%) | 40(0.01%) | 60(0.01%) | 4900(0.14%) | 5(0.19%) | 3(0.06%) \
| 0(0.00%) | 2(0.02%) |
"""


def project(folder: Path, *, name="student", application="hls.app", **reports) -> Path:
    """A project's folder with some reports."""
    solution = folder / f"{name}_prj" / "solution1"
    places = {
        "csynth": solution / "syn" / "report" / f"{name}_csynth.xml",
        "synth": folder / "vivado_synth.rpt",
        "cosim": solution / "sim" / "report" / f"{name}_cosim.rpt",
        "utilisation": folder / "util.rpt",
    }
    solution.mkdir(parents=True)
    (folder / "build_prj.tcl").write_text("exit\n")
    (folder / "project.tcl").write_text(f'set project_name "{name}"\nset backend "vitis"\n')
    listed = '<solutions><solution name="solution1" status="active"/></solutions>'
    text = f'<project xmlns="com.autoesl.autopilot.project" name="{name}_prj">{listed}</project>\n'
    (solution.parent / application).write_text(text)
    for key, report in reports.items():
        places[key].parent.mkdir(parents=True, exist_ok=True)
        places[key].write_text(report)
    return folder


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_c_synthesis_of_vitis_and_vivado_hls(tmp_path):
    found = vendor.read(project(tmp_path / "a", csynth=csynth()))
    assert found.resources == Resources(8901, 4567, 3, 12, "hls", "vendor", "Vitis HLS, C synthesis", None, "2023.2")
    assert (found.latency_cycles, found.interval_cycles, found.clock_ns) == (433, 272, 5.0)
    assert not found.simulated
    older = project(tmp_path / "b", application="vivado_hls.app", csynth=csynth("2019.2", "DSP48E"))
    found = vendor.read(older)
    assert found.resources == Resources(8901, 4567, 3, 12, "hls", "vendor", "Vivado HLS, C synthesis", None, "2019.2")


def test_a_lone_report_says_the_same_as_one_in_its_project(tmp_path):
    assert vendor.read(file(tmp_path, "csynth.xml", csynth())) == vendor.read(project(tmp_path / "a", csynth=csynth()))
    lone = vendor.read(file(tmp_path, "vivado_synth.rpt", vivado_synth()))
    assert lone == vendor.read(project(tmp_path / "b", synth=vivado_synth()))
    assert lone.latency_cycles is None
    assert lone.clock_ns is None


@pytest.mark.parametrize("rows", [("CLB LUTs*", "CLB Registers"), ("Slice LUTs", "Slice Registers")])
def test_vivados_tiles_are_two_block_rams(tmp_path, rows):
    found = vendor.read(file(tmp_path, "s.rpt", vivado_synth(*rows))).resources
    assert found == Resources(7001, 5002, 4, 13, "hls", "vendor", "Vivado, synthesis", None, "2020.1")


def test_the_report_nearest_to_silicon_counts_and_cosimulation_tells_cycles(tmp_path):
    reports = {"csynth": csynth(), "synth": vivado_synth(), "cosim": COSIM, "utilisation": UTILISATION}
    found = vendor.read(project(tmp_path / "a", **reports))
    made = Resources(6100, 4900, 2, 13, "hls", "vendor", "Vivado, implementation", None, "2022.2")
    assert found.resources == made
    assert (found.latency_cycles, found.interval_cycles, found.clock_ns, found.simulated) == (445, 279, 5.0, True)
    del reports["utilisation"]
    found = vendor.read(project(tmp_path / "b", **reports))
    assert found.resources.tool == "Vivado, synthesis"
    assert found.simulated


def test_cycles_that_are_not_known_stay_unknown(tmp_path):
    for text in ("undef", "?"):
        assert vendor.read(file(tmp_path, "a.xml", csynth(worst=text))).latency_cycles is None


BROKEN = {
    "empty": (
        "",
        "hls4ml's parser cannot read its reports (no element found: line 1, column 0); build the project again",
    ),
    "half": (csynth()[:700], "hls4ml's parser cannot read its reports ("),
    "other": ("<html></html>", "hls4ml's parser cannot read its reports ("),
    "words": (csynth(LUT="many"), "its CSynthesisReport is not whole (invalid literal for int() with base 10: 'many')"),
    "no LUTs": (csynth().replace("LUT>", "LIT>"), "its CSynthesisReport is not whole (LUT is missing); build the"),
    "below 0": (csynth(FF=-3), "resources by Vitis HLS, C synthesis: ff -3 was found, at least 0 is wanted"),
    "entity": ('<!DOCTYPE a [<!ENTITY b "c">]>' + csynth(), "an XML file that defines entities was found, a plain"),
}


@pytest.mark.parametrize("key", BROKEN)
def test_a_broken_report_is_told_in_a_sentence(tmp_path, key):
    text, told = BROKEN[key]
    path = file(tmp_path, "broken.xml", text)
    with pytest.raises(BadInput) as error:
        vendor.read(path)
    message = str(error.value)
    assert told in message
    assert message.startswith(f"{path}: ") or key == "below 0"
    assert "\n" not in message


@pytest.mark.parametrize("key", ["csynth", "synth", "alone"])
def test_a_report_of_another_design_is_refused(tmp_path, key):
    reports = {
        "csynth": csynth().replace(">student<", ">myproject<"),
        "synth": vivado_synth().replace(": student", ": myproject"),
    }
    if key == "alone":
        path = file(tmp_path, "csynth.xml", reports["csynth"])
    else:
        path = project(tmp_path / "hls", **({"csynth": csynth()} | {key: reports[key]}))
    with pytest.raises(BadInput) as error:
        vendor.read(path)
    assert str(error.value) == f"{path}: a report of the design myproject was found, one of student is wanted"


def test_reports_of_the_functions_below_the_top_are_no_other_design(tmp_path):
    made = project(tmp_path / "hls", csynth=csynth())
    inner = csynth().replace(">student<", ">conv_2d_cl<")
    file(made / "student_prj" / "solution1" / "syn" / "report", "conv_2d_cl_csynth.xml", inner)
    assert vendor.read(made).resources.lut == 8901


def test_what_is_no_report_is_told(tmp_path):
    path = file(tmp_path, "letter.txt", "dear reader")
    told = "no report of a vendor's tool; a csynth.xml, a vivado_synth.rpt or a project's folder is wanted"
    with pytest.raises(BadInput) as error:
        vendor.read(path)
    assert str(error.value) == f"{path}: {told}"
    with pytest.raises(BadInput, match=r"missing\.xml: no such file"):
        vendor.read(tmp_path / "missing.xml")
    for folder in (project(tmp_path / "bare"), tmp_path):
        with pytest.raises(BadInput) as error:
            vendor.read(folder)
        told = "no report of a vendor's tool was found; a csynth.xml or a vivado_synth.rpt is wanted"
        assert str(error.value) == f"{folder}: {told}"
    gone = project(tmp_path / "gone")
    shutil.rmtree(gone / "student_prj")
    with pytest.raises(BadInput, match="no report of a vendor's tool was found"):
        vendor.read(gone)
    (file(project(tmp_path / "short"), "project.tcl", 'set project_name "student"\n'))
    with pytest.raises(BadInput, match="hls4ml's parser cannot read its reports"):
        vendor.read(tmp_path / "short")


def test_a_utilisation_table_without_its_top_is_told(tmp_path):
    table = vivado_synth().replace("| Block RAM Tile", "| Block")
    with pytest.raises(BadInput) as error:
        vendor.read(file(tmp_path, "s.rpt", table))
    assert "its VivadoSynthReport is not whole (BRAM_18K is missing)" in str(error.value)


def fake_tool(folder: Path, name: str, monkeypatch, code=0) -> None:
    """A script of the tool's name that notes how it was called and leaves a report."""
    folder.mkdir()
    report = "student_prj/solution1/syn/report/student_csynth.xml"
    script = folder / name
    script.write_text(f"""#!{sys.executable}
import sys
from pathlib import Path
Path("called.txt").write_text("|".join(sys.argv[1:]))
print("ERROR: no licence" if {code} else "done")
if not {code}:
    Path("{report}").parent.mkdir(parents=True, exist_ok=True)
    Path("{report}").write_text({csynth()!r})
sys.exit({code})
""")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("vitis-run", "--mode|hls|--tcl|build_prj.tcl"),
        (
            "vivado_hls",
            "-f|build_prj.tcl|reset=1 csim=0 synth=1 cosim=1 validation=0 export=0 vsynth=0 fifo_opt=0",
        ),
    ],
)
def test_a_tool_on_the_path_builds_the_project(tmp_path, monkeypatch, name, call):
    made = project(tmp_path / "hls")
    fake_tool(tmp_path / "bin", name, monkeypatch)
    said = []
    found = vendor.synthesise(made, cosim=True, say=said.append)
    assert found.resources.tool == "Vitis HLS, C synthesis"
    assert (made / "called.txt").read_text() == call
    assert "cosim      1\n" in (made / "build_opt.tcl").read_text()
    assert "csim       0\n" in (made / "build_opt.tcl").read_text()
    assert said == [f"building the HLS project with {name}"]


def test_a_failed_build_and_a_missing_tool_or_project_are_told(tmp_path, monkeypatch):
    made = project(tmp_path / "hls")
    fake_tool(tmp_path / "bin", "vitis_hls", monkeypatch, code=3)
    with pytest.raises(BadInput) as error:
        vendor.synthesise(made)
    assert str(error.value) == f"{made}: vitis_hls ended with code 3; see {made / 'vendor.log'}"
    assert "no licence" in (made / "vendor.log").read_text()
    with pytest.raises(BadInput) as error:
        vendor.synthesise(tmp_path)
    told = "no HLS project here (build_prj.tcl is missing); make one with: pacemaker generate RUN --out"
    assert str(error.value) == f"{tmp_path}: {told} {tmp_path}"
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(MissingTool) as error:
        vendor.synthesise(made)
    names = "vitis-run, vitis_hls, vivado_hls"
    assert str(error.value) == f"synthesis of HLS needs one of {names} on the PATH, and none was found"


def test_each_backend_is_built_by_its_own_tools(tmp_path, monkeypatch):
    fake_tool(tmp_path / "bin", "vivado_hls", monkeypatch)
    assert vendor.tool() == vendor.tool("Vivado") == "vivado_hls"
    with pytest.raises(MissingTool) as missing:
        vendor.tool("Vitis")
    told = "needs one of vitis-run, vitis_hls on the PATH, and none was found"
    assert str(missing.value) == f"synthesis of HLS {told}"
    with pytest.raises(BadInput) as error:
        vendor.tool("Quartus")
    assert str(error.value) == (
        "backend Quartus: its vendor's tool is not run here, those of Vitis and Vivado are; "
        "leave out --build, and build the project as its README says"
    )
