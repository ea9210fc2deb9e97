"""`--json` of every command: one JSON value on stdout and nothing else, whatever libraries and children print."""

import json
import re
import shutil
from pathlib import Path

import pytest
from hls_students import conv, student_of
from test_command_line import COMMANDS, inside

from hw import student
from hw.network import INPUT, Network, Shape
from reports import doctor

TINY = """
name: tiny
data: {name: digits}
network: {family: plain, depth: 5, width: 1}
student: {n: 3, rows: keep, heads: [rows, global], stem: row}
training: {epochs: 1, batch: 64, learning_rate: 0.1, weight_decay: 0.0005, schedule: onecycle, shift: 0}
seeds: 2
stages:
  - {name: teacher, kind: full}
  - {name: ce, kind: row}
  - {name: kd, kind: row, teachers: {teacher: 1.0}, temperature: 2.0}
quantisation: {bits: 8, epochs: 1, learning_rate: 0.01}
"""
SPACE = """
name: small
networks: {given: [resnet-8-1x3]}
machines: [{kind: pipeline, axes: {macs: [64, 128]}}]
objectives: [latency_ms, multipliers]
"""
WITHOUT_TRAINING = {
    "simulate": ["wrn-10-1-1x3"],
    "memory": ["run", "resnet-8-1x3"],
    "lines": ["run", "--out", "lines.json"],
    "generate": ["run", "--out", "made"],
    "synth": ["run"],
    "export": ["run"],
    "fifos": ["run", "--out", "sized.yaml"],
    "timeline": ["run", "--out", "trace.json"],
    "sensor": ["run", "--pixel-mhz", "1"],
    "cosim": ["run", "--frames", "1"],
    "sweep": ["space.yaml"],
    "doctor": [],
}
WITH_TRAINING = ("codesign", "distill", "evaluate", "report")
PACKAGES = {"generate": "hls4ml", "synth": "pyosys", "export": "onnx", "sweep": "bokeh"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a run's student, a recipe and a space."""
    network = Network("tiny", Shape(4, 4, 1), (conv("a", INPUT, 2, (1, 3)),))
    student.save(student_of(network, seed=1, images=3), tmp_path / "run" / "student")
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> dict[str, object]:
    """What a command with --json prints, child processes and libraries in C included."""
    code = inside([*words, "--json"], monkeypatch)
    told = capfd.readouterr()
    assert code == 0, told.err
    assert told.out.endswith("}\n"), told.out[-300:]
    found = json.loads(told.out)
    assert isinstance(found, dict)
    return found


def test_every_command_is_tried() -> None:
    assert {*WITHOUT_TRAINING, *WITH_TRAINING} == set(COMMANDS)


@pytest.mark.parametrize("command", WITHOUT_TRAINING)
def test_only_json_is_on_stdout(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    if command in PACKAGES:
        pytest.importorskip(PACKAGES[command])
    if command == "cosim" and shutil.which("iverilog") is None:
        pytest.skip("Icarus is not installed")
    assert answer([command, *WITHOUT_TRAINING[command]], monkeypatch, capfd)


def test_other_words_of_these_commands_keep_stdout_clean_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "$defs" in answer(["sweep", "--schema"], monkeypatch, capfd)
    assert answer(["sweep", "space.yaml", "--dry-run"], monkeypatch, capfd)["points"] == 2
    assert answer(["generate", "run", "--out", "rtl", "--target", "rtl"], monkeypatch, capfd)["layers"] == 1
    assert answer(["simulate", "run", "--energy", "scaled-28nm"], monkeypatch, capfd)["energy_uj"]
    assert answer(["memory", "run"], monkeypatch, capfd)


def test_a_timeline_tells_its_file_and_what_the_layers_do(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found = answer(["timeline", "run", "--out", "trace.json", "--frames", "2"], monkeypatch, capfd)
    assert (found["network"], found["file"], found["frames"]) == ("tiny", "trace.json", 2)
    events = json.loads((place / "trace.json").read_text())["traceEvents"]
    cycles = {"working": 0, "starved": 0, "blocked": 0}
    for event in (event for event in events if event["ph"] == "X"):
        cycles[event["name"]] += event["args"]["end_cycle"] - event["args"]["begin_cycle"]
    assert found["layers"] == {"a": cycles}
    assert cycles["working"] >= 2 * 16


def test_commands_that_train_print_only_json(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for package in ("torch", "sklearn", "hls4ml", "jinja2", "matplotlib"):
        pytest.importorskip(package)
    run = ["--out", "trained", "--workers", "1"]
    assert "accuracies" in answer(["distill", "tiny.yaml", *run], monkeypatch, capfd)
    assert "accuracies" in answer(["evaluate", "trained"], monkeypatch, capfd)
    assert "candidates" in answer(["codesign", "tiny.yaml", *run, "--machine", "pipeline-64"], monkeypatch, capfd)
    assert "candidates" in answer(["report", "trained", "--machine", "line-64"], monkeypatch, capfd)


def test_a_check_that_fails_still_prints_its_answer_and_ends_with_1(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = doctor.examine()._replace(faults=("numba: it is not installed",))
    monkeypatch.setattr(doctor, "examine", lambda: broken)
    assert inside(["doctor", "--json"], monkeypatch) == 1
    told = capfd.readouterr()
    assert json.loads(told.out)["faults"] == ["numba: it is not installed"]
    assert told.err == "pacemaker: numba: it is not installed\n"


def test_ctrl_c_is_told_in_a_line_and_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", stopped)
    assert inside(["doctor", "--json"], monkeypatch) == 130
    assert capfd.readouterr() == ("", "pacemaker: stopped\n")


def test_the_page_on_the_command_line_names_every_command_in_its_order() -> None:
    text = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text()
    assert tuple(re.findall(r"^\| `(\w+)[^`]*` \|", text, re.MULTILINE)) == COMMANDS
