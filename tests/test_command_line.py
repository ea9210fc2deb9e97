"""The command line as a user meets it: what comes out, what goes wrong in one sentence, and what is left behind."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hls_students import conv, student_of

import distill
import pacemaker
from hw import student
from hw.hls import vendor
from hw.network import INPUT, Layer, Network, Shape, Size
from sim import cosim, rtl_simulators

RECIPES = ", ".join(sorted(path.stem for path in (Path(distill.__file__).parent / "recipes").glob("*.yaml")))
COMMANDS = (
    "codesign",
    "distill",
    "evaluate",
    "simulate",
    "memory",
    "lines",
    "generate",
    "synth",
    "export",
    "fifos",
    "timeline",
    "sensor",
    "cosim",
    "report",
    "sweep",
    "doctor",
)
HEAVY = ("torch", "hls4ml", "matplotlib", "sklearn", "jinja2")
TOTALS = {
    "latency_cycles",
    "interval_cycles",
    "latency_ms",
    "macs",
    "executed_macs",
    "parameters",
    "line_buffer_bytes",
    "fifo_bytes",
    "weight_bytes",
    "layers",
}
OF_A_LAYER = {"name", "cycles", "starved_cycles", "blocked_cycles", "line_buffer_bytes", "window_bytes", "fifo_bytes"}
COMPILING = "compiling the simulator for this machine: once, under 20 s\n"
LINE_ENGINE = """
machine: line_engine
name: "[/odd] :name:"
pe: 4
simd: 4
line_memory_bytes: 100000
weight_memory_bytes: 4096
dram_bytes_per_cycle: 4
dram_latency_cycles: 20
clock_mhz: 100
schedule: layer_by_layer
"""
PIPELINE = """
machine: pipeline
name: by hand
clock_mhz: 150
engines: {a: {pe: 2, simd: 3}}
fifos: {"input -> a": {depth: 2}, "a -> output": {depth: 4, ram: block}}
"""
BUDGET = "{machine: budget, name: eighty, macs: 80, clock_mhz: 100}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a run's student, machines and recipes that are right and wrong."""
    network = Network("tiny", Shape(4, 4, 1), (conv("a", INPUT, 2, (1, 3)),))
    student.save(student_of(network, seed=1, images=3), tmp_path / "run" / "student")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no folder")
    recipe = Path(pacemaker.__file__).parents[1] / "distill" / "recipes" / "digits.yaml"
    texts = {
        "line.yaml": LINE_ENGINE,
        "pipeline.yaml": PIPELINE,
        "budget.yaml": BUDGET,
        "wrong-key.yaml": LINE_ENGINE.replace("simd:", "simds:"),
        "wrong-type.yaml": LINE_ENGINE.replace("pe: 4", "pe: four"),
        "wrong-value.yaml": LINE_ENGINE.replace("pe: 4", "pe: 0"),
        "wrong-kind.yaml": LINE_ENGINE.replace("line_engine", "systolic"),
        "huge.yaml": LINE_ENGINE.replace("latency_cycles: 20", f"latency_cycles: {10**30}"),
        "huge-fifo.yaml": PIPELINE.replace("depth: 2", f"depth: {10**30}"),
        "no-yaml.yaml": "pe: [",
        "odd-engine.yaml": PIPELINE.replace("engines: {", "engines: {b: {pe: 1}, "),
        "odd-fifo.yaml": PIPELINE.replace("fifos: {", 'fifos: {"a -> b": {depth: 1}, '),
        "broken.onnx": "no model",
        "escape.yaml": recipe.read_text().replace("name: digits", "name: ../escape", 1),
        "recipe-key.yaml": recipe.read_text().replace("seeds: 3", "sedes: 3"),
        "recipe-type.yaml": recipe.read_text().replace("seeds: 3", "seeds: three"),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outside(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "pacemaker", *words], capture_output=True, text=True, cwd=folder)


def inside(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """A command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["pacemaker", *words])
    with pytest.raises(SystemExit) as ended:
        pacemaker.main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def test_simulate_prints_json_with_all_that_was_promised() -> None:
    done = outside("simulate", "wrn-10-1-1x3", "--machine", "pipeline-256", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr in ("", COMPILING)
    found = json.loads(done.stdout)
    assert found.keys() >= TOTALS
    assert found["network"] == "wrn-10-1-1x3"
    assert len(found["layers"]) > 10
    for layer in found["layers"]:
        assert layer.keys() >= OF_A_LAYER
    for key in ("line_buffer_bytes", "fifo_bytes", "weight_bytes"):
        assert found[key] == sum(layer[key] for layer in found["layers"])
    assert found["line_buffer_bytes"] == 0
    assert found["multipliers"] <= 256
    assert found["latency_ms"] == pytest.approx(found["latency_cycles"] / found["clock_mhz"] / 1000)


def test_compiling_is_told_of_kernels_that_no_cache_has(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(
        "from numba import njit\n\n@njit(cache=True)\ndef one(x):\n    return x + 1\n\nNUMBER = 3\n"
    )
    script = "import kernels\nfrom sim import run\nrun.KERNELS = (kernels,)\nbefore = run.compiling()\nkernels.one(1)\n"
    words = [sys.executable, "-c", script + "print(before, run.compiling())"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    told = [
        subprocess.run(words, cwd=tmp_path, env=environment | more, capture_output=True, text=True)
        for more in ({}, {}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert [each.stdout for each in told] == ["False True\n", "False False\n", "False False\n"], told[0].stderr


def test_simulate_loads_nothing_that_it_does_not_need(place: Path) -> None:
    script = (
        "import sys, pacemaker\n"
        "try:\n    pacemaker.main()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        f"print('loaded:', *sorted(set({HEAVY}) & sys.modules.keys()))"
    )
    for words in (["simulate", "run", "--json"], ["simulate", "wrn-10-1", "--machine", "line.yaml"]):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, cwd=place)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].strip() == "loaded:"


@pytest.mark.parametrize(
    ("network", "machine"),
    [
        ("wrn-16-2-1x3", "pipeline-64"),
        ("wrn-16-2", "pipeline-1024"),
        ("resnet-20", "line-64"),
        ("wrn-16-2-1x3-keep", "line-128/layer_by_layer"),
        ("wrn-16-2-1x3", "line.yaml"),
        ("wrn-16-2-1x3", "budget.yaml"),
        ("run", "pipeline.yaml"),
        ("run", "line.yaml"),
        ("run/student", "pipeline-6"),
    ],
)
def test_simulate_on_presets_and_files(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], network: str, machine: str
) -> None:
    assert inside(["simulate", network, "--machine", machine, "--json"], monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() >= TOTALS
    assert found["latency_cycles"] >= found["interval_cycles"] > 0
    names = {"line.yaml": "[/odd] :name:", "budget.yaml": "eighty", "pipeline.yaml": "by hand"}
    assert found["machine"] == names.get(machine, machine)
    assert found["network"] == ("tiny" if network.startswith("run") else network)


def test_a_machine_of_a_file_is_the_one_that_was_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inside(["simulate", "run", "--machine", "pipeline.yaml", "--json"], monkeypatch)
    found = json.loads(capsys.readouterr().out)
    # Depths of 2 pixels of 1 channel and 4 of 2 channels; 6 multipliers; 16 outputs a frame, one a cycle.
    layer = found["layers"][0]
    assert (found["fifo_bytes"], found["multipliers"], found["clock_mhz"], layer["cycles"]) == (10, 6, 150.0, 16)


def test_simulate_prints_names_as_they_are(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = Network("[b]tiny[/b]", Shape(4, 4, 1), (Layer("[/a]", "conv", (INPUT,), 2, Size(1, 3)),))
    student.save(student_of(network, seed=1, images=3), place / "odd" / "student")
    assert inside(["simulate", "odd", "--machine", "line.yaml"], monkeypatch) == 0
    out = capsys.readouterr().out
    assert out.startswith("[b]tiny[/b] on [/odd] :name: at 100 MHz\n")
    assert re.search(r"^ *\[/a\] +conv +4 x 4 ", out, re.MULTILINE)


SIMULATE = ["simulate", "wrn-10-1", "--machine"]
BAD = [
    (["simulate", "wrn-10"], "network wrn-10: no such preset or run; "),
    (["simulate", "wrn-40-4-1y3"], "network wrn-40-4-1y3: no such preset or run; did you mean wrn-40-4-1x3?"),
    (["simulate", "empty"], "network empty: no such preset or run; "),
    (["simulate", "file"], "network file: no such preset or run; "),
    ([*SIMULATE, "pipeline"], "machine pipeline: no such preset or file; did you mean pipeline-64?"),
    ([*SIMULATE, "missing.yaml"], "missing.yaml: no such file"),
    ([*SIMULATE, "empty"], "empty: cannot be read (Is a directory)"),
    ([*SIMULATE, "wrong-key.yaml"], "wrong-key.yaml: Object contains unknown field `simds`; did you mean simd?"),
    ([*SIMULATE, "wrong-type.yaml"], "wrong-type.yaml: Expected `int`, got `str` - at `$.pe`"),
    ([*SIMULATE, "wrong-value.yaml"], "wrong-value.yaml: machine [/odd] :name:: pe 0 was found, more than 0 is wanted"),
    (
        [*SIMULATE, "wrong-kind.yaml"],
        "wrong-kind.yaml: Invalid value 'systolic' - at `$.machine`; wanted is pipeline or budget or line_engine",
    ),
    (
        [*SIMULATE, "huge.yaml"],
        f"machine [/odd] :name:: dram_latency_cycles {10**30} was found, at most {2**40} is wanted",
    ),
    (
        ["simulate", "run", "--machine", "huge-fifo.yaml"],
        f"edge input -> a: {10**30} pixels were found, at most {2**40} are wanted",
    ),
    ([*SIMULATE, "no-yaml.yaml"], "no-yaml.yaml: "),
    ([*SIMULATE, "pipeline.yaml"], "layer "),
    (
        [*SIMULATE, "pipeline-1"],
        "machine pipeline-1: 1 multipliers were found, at least 14 are wanted, "
        "one for every conv and affine of the network",
    ),
    (
        ["simulate", "resnet-20", "--machine", "artix-7-35t"],
        "machine artix-7-35t: 100 block RAMs of 18 kbit were found, at least ",
    ),
    (
        ["simulate", "run", "--machine", "pipeline.yaml", "--dsp", "3"],
        "machine pipeline.yaml: it has its own engines, dsp 3 can only limit a budget such as zynq-7020",
    ),
    (["simulate", "run", "--macs", "0"], "machine macs 0: macs 0 was found, more than 0 is wanted"),
    (["memory", "wrn-10"], "network wrn-10: no such preset or run; "),
    (
        ["memory", "run", "resnet-8", "--machine", "line-64"],
        "machine line-64: a line engine was found, a pipeline or a budget is wanted",
    ),
    (["memory", "run", "resnet-8", "--machine", "pipeline.yaml"], "layer "),
    (
        ["simulate", "run", "--energy", "horowitz"],
        "energy table horowitz: no such one or YAML file; there are horowitz-45nm, scaled-28nm; "
        "did you mean horowitz-45nm?",
    ),
    (["simulate", "run", "--energy", "missing.yaml"], "missing.yaml: no such file"),
    (
        ["simulate", "run", "--energy", "line.yaml"],
        "line.yaml: Object contains unknown field `machine`; known are entries, name, source",
    ),
    (["simulate", "wrn-10-99999999"], "network wrn-10-99999999: no such preset or run; did you mean wrn-10-1?"),
    (
        ["simulate", "run", "--machine", "pipeline-0"],
        "machine pipeline-0: a pipeline-N has 1 to 999999 multipliers; a YAML file may say more",
    ),
    (
        ["sensor", "run", "--pixel-mhz", "1", "--h-blank", "99999999999999999999"],
        "source: 3 frames of it last longer than can be counted; shorter blanks are wanted",
    ),
    (
        ["timeline", "run", "--out", "t.json", "--frames", "99999999999999999999"],
        "frames: 99999999999999999999 of ",
    ),
    (["timeline", "run", "--out", "t.json", "--frames", "100000000"], "frames: 100000000 of "),
    (["lines", "wrn-10"], "network wrn-10: no such preset or run; "),
    (
        ["lines", "run", "--machine", "pipeline-64"],
        "machine pipeline-64: a pipeline or a budget was found, a line engine is wanted",
    ),
    (["lines", "run", "--out", "t.gif"], "t.gif: a figure ends in .svg, .png, .pdf; .gif was found"),
    (
        ["lines", "wrn-40-4"],
        "machine line-64: line memory of 32768 bytes was found, 101376 are wanted by wrn-40-4 line by line ",
    ),
    (
        ["generate", "empty", "--out", "made"],
        "empty: no student here (student/student.json is missing); make one with: pacemaker distill RECIPE",
    ),
    (
        ["generate", "missing", "--out", "made"],
        "missing: no student here (student/student.json is missing); make one with: pacemaker distill RECIPE",
    ),
    (
        ["generate", "run", "--out", "empty"],
        "empty: it exists already; name another folder, or replace it with --force",
    ),
    (["generate", "run", "--out", "made", "--backend", "Quartz"], "backend Quartz: not generated here; "),
    (
        ["generate", "run", "--out", "made", "--strategy", "latency"],
        "strategy latency: wanted is one of auto, Latency, ",
    ),
    (
        ["generate", "run", "--out", "made", "--fifo-margin", "0.5"],
        "FIFO margin: 0.5 was found, a number of at least 1 is wanted",
    ),
    (["generate", "run", "--out", "made", "--vendor-report", "missing"], "missing: no such file"),
    (["generate", "run", "--out", "made", "--machine", "line-64"], "machine line-64: a line engine has no foldings; "),
    (["generate", "run", "--out", "made", "--target", "vhdl"], "target vhdl: wanted is hls or rtl"),
    (["generate", "run", "--out", "empty", "--target", "rtl"], "empty: "),
    (
        ["generate", "run", "--out", "made", "--target", "rtl", "--machine", "line-64"],
        "machine line-64: the RTL project ",
    ),
    *(
        (
            ["generate", "run", "--out", "made", "--target", "rtl", *words],
            f"{words[0]}: it is of HLS projects only; leave it out, or take --target hls",
        )
        for words in (
            ["--backend", "Vivado", "--build"],
            ["--io", "io_parallel"],
            ["--strategy", "Resource"],
            ["--fifo-margin", "0"],
            ["--clock-ns", "4"],
            ["--part", "xc7z020clg400-1"],
            ["--vendor-report", "missing"],
            ["--build"],
        )
    ),
    *(
        (
            ["generate", "run", "--out", "made", "--target", target, f"--{limit}", "0"],
            f"machine {limit} 0: {limit} 0 was found, more than 0 is wanted",
        )
        for target in ("hls", "rtl")
        for limit in ("macs", "dsp")
    ),
    (
        ["generate", "run", "--out", "made", "--clock-ns", "nan"],
        "clock-ns: nan was found, a period above 0 and below infinity is wanted",
    ),
    (["generate", "run", "--out", "made", "--part", "a;b"], "part: 'a;b' was found, a name such as "),
    (
        ["generate", "run", "--out", "made", "--backend", "Quartus", "--io", "io_parallel", "--build"],
        "backend Quartus: its vendor's tool is not run here, those of Vitis and Vivado are; "
        "leave out --build, and build the project as its README says",
    ),
    (["synth", "run", "--part", "zynq-7021"], "part zynq-7021: "),
    (["synth", "run", "--machine", "line-64"], "machine line-64: synthesis is of a pipeline; take one, or a budget"),
    (["synth", "run", "--family", "xc7", "--part", "ecp5-85"], "family xc7: part ecp5-85 is counted as ecp5; "),
    (["synth", "run", "--family", "xc7", "--fmax"], "family xc7: a clock can be routed for ecp5 only; "),
    (
        ["evaluate", "empty"],
        "empty: no run here (recipe.json is missing); make one with: pacemaker distill RECIPE --out empty",
    ),
    (
        ["report", "empty"],
        "empty: no run here (recipe.json is missing); make one with: pacemaker distill RECIPE --out empty",
    ),
    (["report", "run", "--machine", "line-65"], "machine line-65: no such preset or file; did you mean line-64?"),
    (["distill", "numbers"], f"recipe 'numbers': neither a YAML file nor a preset; presets are {RECIPES}"),
    (["distill", "missing.yaml"], "missing.yaml: no such file"),
    (["distill", "recipe-key.yaml"], "recipe-key.yaml: Object contains unknown field `sedes`; did you mean seeds?"),
    (["distill", "recipe-type.yaml"], "recipe-type.yaml: Expected `int`, got `str` - at `$.seeds`"),
    (["distill", "digits", "--out", "file/run"], "file/run: cannot be made a folder (Not a directory)"),
    (["distill", "digits", "--out", "file"], "file: cannot be made a folder (File exists)"),
    (
        ["cosim", "empty"],
        "empty: no student here (student/student.json is missing); make one with: pacemaker distill RECIPE",
    ),
    (
        ["fifos", "run", "--machine", "line-64"],
        "machine line-64: a line engine was found, a pipeline or a budget is wanted",
    ),
    (["fifos", "run", "--out", "file/machine.yaml"], "file: cannot be made a folder (File exists)"),
    (["timeline", "run", "--out", "t.gif"], "t.gif: a figure ends in .svg, .png, .pdf; .gif was found"),
    (
        ["timeline", "run", "--out", "t.json", "--machine", "line-64"],
        "machine line-64: a line engine was found, a pipeline or a budget is wanted",
    ),
    (["timeline", "run", "--out", "file/t.json"], "file: cannot be made a folder (File exists)"),
    (
        ["simulate", "run", "--machine", "odd-engine.yaml"],
        "machine by hand: engine b is of no layer; known are a",
    ),
    (
        ["simulate", "run", "--machine", "odd-fifo.yaml"],
        "machine by hand: FIFO a -> b is of no edge; did you mean a -> output?",
    ),
    (["simulate", "no.onnx"], "no.onnx: no such file"),
    (["simulate", "broken.onnx"], "broken.onnx: not a valid ONNX model (DecodeError: Error parsing message "),
    (
        ["distill", "escape.yaml"],
        "escape.yaml: recipe '../escape': wanted is a name of letters, digits, dots, hyphens and underscores",
    ),
    (["cosim", "run", "--simulator", "icarux"], "simulator icarux: no such one; did you mean icarus?"),
    (["cosim", "run", "--frames", "4"], "frames: 4 was found, 1 to 3 are wanted, the student's test images"),
    (["cosim", "run", "--frames", "0"], "frames: 0 was found, 1 to 3 are wanted, the student's test images"),
    (["sensor", "run", "--pixel-mhz", "0"], "source: pixel_mhz 0.0 was found, more than 0 is wanted"),
    (
        ["sensor", "run", "--pixel-mhz", "1", "--h-blank", "-1"],
        "source: h_blank -1 and v_blank 0 were found, at least 0 is wanted",
    ),
    (
        ["sensor", "run", "--pixel-mhz", "1000"],
        "machine pipeline-256: clock_mhz 200 was found; the sensor's 1000 is wanted at least, "
        "since a pixel a cycle is all that the input takes",
    ),
    (["codesign", "numbers"], f"recipe 'numbers': neither a YAML file nor a preset; presets are {RECIPES}"),
    (["codesign", "recipe-key.yaml"], "recipe-key.yaml: Object contains unknown field `sedes`; did you mean seeds?"),
    (["codesign", "digits", "--out", "file/run"], "file/run: cannot be made a folder (Not a directory)"),
    (["codesign", "digits", "--machine", "line-65", "--out", "made"], "machine line-65: no such preset or file; "),
]
NEEDS_TORCH = {"codesign", "distill", "evaluate", "report"}


def test_cosim_prints_both_clocks_and_the_verdict_on_the_data(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not rtl_simulators.available("icarus") and "CI" not in os.environ:
        pytest.skip("icarus is not installed")
    assert inside(["cosim", "run", "--frames", "2", "--out", "kept"], monkeypatch) == 0
    pattern = (
        r"icarus, 2 frames: latency (\d+) cycles in RTL, \1 in the recurrence; all \d+ start cycles equal; "
        r"all 64 outputs equal\n"
    )
    assert re.fullmatch(pattern, capsys.readouterr().out)
    assert (place / "kept" / "rtl" / "student.sv").is_file()


@pytest.mark.parametrize(
    ("machine", "simulator", "last"),
    [
        ("pipeline-256", "icarus", r"E \d+"),
        ("line-64", "icarus", r"run ends \d+"),
        pytest.param("pipeline-256", "verilator", r"E \d+", marks=pytest.mark.slow),
        pytest.param("line-64", "verilator", r"run ends \d+", marks=pytest.mark.slow),
    ],
)
def test_what_cosim_keeps_runs_by_its_readmes_commands(
    place: Path, monkeypatch: pytest.MonkeyPatch, machine: str, simulator: str, last: str
) -> None:
    if not rtl_simulators.available(simulator) and "CI" not in os.environ:
        pytest.skip(f"{simulator} is not installed")
    kept = f"kept-{machine}-{simulator}"
    assert inside(["cosim", "run", "--machine", machine, "--frames", "1", "--out", kept], monkeypatch) == 0
    text = (place / kept / "rtl" / "README.md").read_text()
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    assert [command.split()[0] for command in commands] == ["iverilog", "vvp", "verilator", "obj_dir/bench"]
    both = commands[:2] if simulator == "icarus" else commands[2:]
    done = subprocess.run(
        ["bash", "-ec", "\n".join(both)], cwd=place / kept / "rtl", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert any(re.fullmatch(last, line) for line in done.stdout.splitlines())


def test_cosim_without_its_simulator_says_how_to_get_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rtl_simulators, "available", lambda simulator: False)
    assert inside(["cosim", "run"], monkeypatch) == 2
    sentence = "pacemaker: icarus is not installed (Debian: apt install iverilog); cosimulation needs it\n"
    assert capsys.readouterr().err == sentence


def test_cosim_ends_with_1_where_data_differ(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = cosim.Verdict("icarus", 1, 9, 20, 20, 0, "", 8, 3, deadlock=False)
    monkeypatch.setattr(cosim, "check", lambda *given, **named: verdict)
    assert inside(["cosim", "run", "--frames", "1"], monkeypatch) == 1
    assert capsys.readouterr().out.endswith("all 9 start cycles equal; 3 outputs wrong\n")


def test_sized_fifos_are_a_machine_that_keeps_the_interval(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inside(["fifos", "run", "--json", "--out", "sized.yaml"], monkeypatch) == 0
    sizing = json.loads(capsys.readouterr().out)
    assert inside(["simulate", "run", "--machine", "sized.yaml", "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["interval_cycles"] == sizing["interval_cycles"]


def test_memory_of_one_network_and_of_two(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inside(["memory", "run", "--machine", "pipeline.yaml", "--json"], monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    # A window of 1x3 and a spare pixel of one channel, 6 weights and 2 biases; FIFOs of 2 and 4 pixels.
    bits = {key: found["total"][key]["bits"] for key in ("line_buffer", "window", "fifo", "skip_fifo")}
    assert bits == {"line_buffer": 0, "window": 32, "fifo": 16 + 64, "skip_fifo": 0}
    assert (found["layers"][0]["wait_pixels"], found["machine"]) == (2, "by hand")
    assert inside(["memory", "resnet-8", "resnet-8-1x3", "--json"], monkeypatch) == 0
    both = json.loads(capsys.readouterr().out)
    assert both["rows"][0] == ["stem", "stem"]
    assert both["ratios"]["convs_wait_pixels"] > 10


def test_memory_prints_whole_tables_whatever_the_terminal(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert inside(["memory", "resnet-8", "resnet-8-1x3"], monkeypatch) == 0
    out = capsys.readouterr().out
    assert "\u2026" not in out
    # Two rows of 32 pixels of 3 channels of 8 bits; a row and two pixels against two pixels.
    assert re.search(r"^ stem +1,536 +0 +96 +96 ", out, re.MULTILINE)
    assert re.search(r"^ stem +34 +2 ", out, re.MULTILINE)
    assert "line buffers in A alone" in out
    assert inside(["memory", "run"], monkeypatch) == 0
    assert capsys.readouterr().out.startswith("tiny on pipeline-256, 200 MHz")


def test_lines_of_a_run_by_hand(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = LINE_ENGINE.replace("layer_by_layer", "line_by_line").replace("100000", "13")
    (place / "small.yaml").write_text(small)
    words = ["lines", "run", "--machine", "small.yaml"]
    assert inside([*words, "--json", "--out", "plan.json"], monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    # A row of 4 pixels of a channel makes one of 2 channels.
    assert (found["peak_bytes"], found["least_line_memory_bytes"], found["least_extent_bytes"]) == (12, 12, 12)
    assert (found["fullest_layer"], found["spilled"]) == ("a", [])
    plan = json.loads((place / "plan.json").read_text())
    assert plan["extent_bytes"] == found["extent_bytes"]
    assert len(plan["buffers"]) == len(plan["addresses"]) == 2 * (4 + 4)
    pytest.importorskip("matplotlib")
    assert inside([*words, "--out", "figure.svg"], monkeypatch) == 0
    told = capsys.readouterr().out
    assert told.startswith("tiny on [/odd] :name:, line by line\nline memory of 13 bytes: turns hold 12 at most")
    assert (place / "figure.svg").read_text().startswith("<?xml")


def test_energies_say_that_they_are_estimates(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for on in ("line.yaml", "pipeline.yaml"):
        outs = []
        for words in ([], ["--energy", "scaled-28nm"]):
            assert inside(["simulate", "run", "--machine", on, *words], monkeypatch) == 0
            outs.append(capsys.readouterr().out)
        assert outs[1].startswith(outs[0])
        added = outs[1].removeprefix(outs[0]).splitlines()
        assert len(added) == 2
        assert all(line.startswith("energy ") and "(estimate, scaled-28nm): " in line for line in added)
        assert inside(["simulate", "run", "--machine", on, "--energy", "scaled-28nm", "--json"], monkeypatch) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["energy_table"] == "estimate, scaled-28nm"
        assert min(found["energy_uj"].values()) >= 0


def test_limits_make_a_budget_of_their_own_or_tighten_one(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for words in (["--dsp", "60", "--bram18", "70"], ["--machine", "zynq-7020", "--macs", "40"]):
        assert inside(["simulate", "resnet-20-1x3", *words, "--json"], monkeypatch) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["multipliers"] <= 60
        names.append(found["machine"])
    assert names == ["dsp 60, bram18 70", "zynq-7020, macs 40"]


def test_sensor_says_whether_a_run_keeps_up(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inside(["sensor", "run", "--pixel-mhz", "1", "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["keeps_up"] is True


def test_an_rtl_project_in_one_line_and_as_json(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "run", "--target", "rtl", "--bram18", "0"]
    assert inside([*words, "--out", "made", "--json"], monkeypatch) == 0
    made = json.loads(capsys.readouterr().out)
    sources = sorted(path.name for path in (place / "made" / "rtl").glob("*.sv"))
    assert sorted(made.pop("sources")) == sources
    assert made == {"folder": "made", "machine": "bram18 0", "layers": 1, "images": 3}
    assert inside([*words, "--out", "other"], monkeypatch) == 0
    told = f"other: 1 layers on bram18 0, {len(sources)} sources, 3 test images; README.md says how to run it\n"
    assert capsys.readouterr().out == told


def test_build_without_its_tool_is_told_before_anything_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vendor, "TOOLS_OF", {"Vitis": ("no-such-tool",)})
    assert inside(["generate", "run", "--out", "made", "--build"], monkeypatch) == 2
    told = "pacemaker: synthesis of HLS needs no-such-tool on the PATH, and none was found\n"
    assert capsys.readouterr().err.endswith(told)
    assert not (place / "made").exists()


def whole_or_beginning(sentence: str) -> str:
    """A sentence stands for itself; one that breaks off, for all that begin so."""
    return re.escape(sentence) + (".+" if sentence.endswith(" ") else "")


@pytest.mark.parametrize(("words", "sentence"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_what_the_user_can_mend_is_told_in_one_line(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    if words[0] in NEEDS_TORCH:
        pytest.importorskip("torch")
    if words[-1].endswith(".onnx"):
        pytest.importorskip("onnx")
    before = everything_in(place)
    assert inside(words, monkeypatch) == 2
    told = capsys.readouterr()
    err = told.err.removeprefix(COMPILING)
    assert re.fullmatch(f"pacemaker: {whole_or_beginning(sentence)}\n", err), err
    assert told.out == ""
    assert everything_in(place) == before


@pytest.mark.parametrize(
    "words", [["simulate", "wrn-11-1"], ["generate", "run", "--out", "empty"], ["distill", "digits", "--out", "file/x"]]
)
def test_a_process_ends_with_2_and_one_line(place: Path, words: list[str]) -> None:
    before = everything_in(place)
    done = outside(*words, folder=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"pacemaker: .+\n", done.stderr), done.stderr
    assert everything_in(place) == before


@pytest.mark.parametrize("damage", ["truncated", "no arrays", "broken arrays", "another version"])
def test_a_damaged_student_is_told_in_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    record, arrays = place / "run" / "student" / "student.json", place / "run" / "student" / "student.safetensors"
    if damage == "truncated":
        record.write_bytes(record.read_bytes()[:-40])
    elif damage == "no arrays":
        arrays.unlink()
    elif damage == "broken arrays":
        arrays.write_bytes(arrays.read_bytes()[:-9])
    else:
        record.write_text(re.sub(r'"version": *\d+', '"version": 999', record.read_text()))
    assert inside(["simulate", "run"], monkeypatch) == 2
    told = capsys.readouterr()
    file = "student.safetensors" if "arrays" in damage else "student.json"
    assert re.fullmatch(rf"pacemaker: run/student/{file}: .+\n", told.err), told.err
    assert told.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inside([command, "--help"], monkeypatch) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"Usage: pacemaker {command} ")
    assert told.err == ""


def test_the_front_page_names_every_command_and_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inside(["--help"], monkeypatch) == 0
    listed = capsys.readouterr().out.split("Commands:\n")[1]
    assert tuple(re.findall(r"^  (\w+)", listed, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("words", [["nothing"], ["simulate"], ["simulate", "wrn-10-1", "--speed"], ["generate", "run"]])
def test_words_that_are_no_command_end_with_2(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inside(words, monkeypatch) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.search(r"^Error: .+\.\n\Z|^Error: .+\n\Z", told.err, re.MULTILINE), told.err
    assert "Traceback" not in told.err


def test_the_version_is_told() -> None:
    assert outside("--version").stdout == f"pacemaker {version('pacemaker-codesign')}\n"


def test_a_letter_asks_for_help() -> None:
    assert outside("simulate", "-h").stdout == outside("simulate", "--help").stdout


@pytest.mark.parametrize("columns", ["", "0", "1", "60", "300"])
def test_no_width_takes_a_figure_from_a_table(place: Path, columns: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pacemaker", "simulate", "run"],
        capture_output=True,
        text=True,
        cwd=place,
        env={**{key: value for key, value in os.environ.items() if key != "COLUMNS"}, "COLUMNS": columns},
    )
    heading, row = done.stdout.splitlines()[-2:]
    assert heading.split()[:3] == ["layer", "kind", "PE"]
    assert "…" not in done.stdout
    assert len(row.split()) == len("a conv 1 x 1 1 2 3 4 5 6".split())  # noqa: SIM905


def test_threads_that_numba_refuses_are_told(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pacemaker", "simulate", "run"],
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "NUMBA_NUM_THREADS": "0"},
    )
    sentence = "pacemaker: Number of threads specified must be > 0; set NUMBA_NUM_THREADS to 1 or more\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
