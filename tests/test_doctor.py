"""`pacemaker doctor`: programs that are missing, hang, crash or talk nonsense; packages; a base that does not work."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from hw import tools
from hw.hls import csim, vendor
from hw.tools import Found, Program
from reports import doctor
from reports.doctor import BASE, PACKAGES, Package
from sim import rtl_simulators

ROOT = Path(__file__).parents[1]
TOOL = Program("a tool", "tool", ("--version",), r"Tool (\d+\.\d[\w.]*)", ("do",), "much", "apt install tool")
ANSWERS = 'test "$1" = do || echo Tool 1.25'
PATIENT_S = 20.0


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one folder, that is empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("FAKES", str(tmp_path))
    return folder


def fake(path: Path, body: str, name: str = "tool") -> None:
    (path / name).write_text(f"#!/bin/sh\n{body}\n")
    (path / name).chmod(0o755)


def looked(path: Path, patience_s: float = PATIENT_S) -> Found:
    return tools.look(TOOL, path.parent, patience_s)


def test_a_program_that_works(path: Path) -> None:
    fake(path, ANSWERS)
    assert looked(path) == Found("a tool", "works", "1.25", "", "much", "apt install tool")


def test_a_program_that_is_missing(path: Path) -> None:
    assert looked(path) == Found("a tool", "missing", "", "", "much", "apt install tool")
    (path / "tool").write_text("not executable")
    assert looked(path).state == "missing"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("kill -SEGV $$", "it was ended by SIGSEGV"),
        ("echo one; echo two >&2; exit 3", "it ended with code 3: two"),
        ("echo some Error: no licence; echo bye; exit 1", "it ended with code 1: some Error: no licence"),
        ("exit 127", "it ended with code 127"),
        ("", "it told no version: nothing"),
        ("echo; echo '  Tool, the newest'", "it told no version: Tool, the newest"),
        (r"printf '\033[31mTool\a \377'", "it told no version: ?[31mTool? \N{REPLACEMENT CHARACTER}"),
        ("printf '%0300d' 0", f"it told no version: {'0' * 120}..."),
        ("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", "it prints without end"),
        ('test "$1" = do && exit 1\necho Tool 1.25', "a smallest job fails: it ended with code 1"),
        (
            f'test "$1" = do && echo "tool: error: cc1plus: not found" && exit 1\n{ANSWERS}',
            "a smallest job fails: it ended with code 1: tool: error: cc1plus: not found",
        ),
    ],
)
def test_a_program_that_does_not_work_is_no_missing_one(path: Path, body: str, problem: str) -> None:
    fake(path, body)
    found = looked(path)
    assert (found.state, found.problem) == ("faulty", problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("#!/no/such/interpreter\n", "it cannot be started (No such file or directory)"),
        ("no program at all\n", "it cannot be started (Exec format error)"),
    ],
)
def test_a_program_that_cannot_be_started(path: Path, text: str, problem: str) -> None:
    (path / "tool").write_text(text)
    (path / "tool").chmod(0o755)
    assert looked(path).problem == problem


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody has buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("stays", ["wait", "exec >/dev/null 2>&1; wait", "exit 0"])
def test_a_program_that_hangs_is_ended_with_all_that_it_started(path: Path, stays: str) -> None:
    quiet = ">/dev/null 2>&1" if stays.startswith("exec") else ""
    fake(path, f'trap "" TERM INT HUP\n/bin/sleep 300 {quiet} &\necho $! > $FAKES/child\necho Tool 1.25\n{stays}')
    begin = time.monotonic()
    found = looked(path, 1.0)
    assert time.monotonic() - begin < 60
    if stays == "exit 0":  # it answered, and left a child that holds its output
        assert (found.state, found.version) == ("works", "1.25")
    else:
        assert (found.state, found.problem) == ("faulty", "it does not answer in 1 s")
    child = int((path.parent / "child").read_text())
    end = time.monotonic() + 10
    while runs(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not runs(child)


def test_a_program_gets_no_display_no_input_and_a_plain_language(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    fake(path, 'read line && exit 1\ntest "$DISPLAY$LC_ALL" = C && test "$PWD" = "$FAKES" && echo Tool 2.5')
    assert looked(path).version == "2.5"


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("g++", "g++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022", "12.2.0"),
        ("g++", "g++ (GCC) 13.2.1 20231205 (Red Hat 13.2.1-6)", "13.2.1"),
        ("g++", "Apple clang version 15.0.0 (clang-1500.3.9.4)", "15.0.0"),
        ("make", "GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", "4.3"),
        ("Icarus Verilog", "Icarus Verilog version 11.0 (stable) ()", "11.0"),
        ("Verilator", "Verilator 5.006 2023-01-22 rev (Debian 5.006-3)", "5.006"),
        (
            "Chromium",
            "chromium: 9: [: 25276502016: unexpected operator\nChromium 156.0.8078.79 built on",
            "156.0.8078.79",
        ),
        (tools.DRIVER, "535.104.05, NVIDIA A100-SXM4-40GB\n535.104.05, NVIDIA A100-SXM4-40GB", "535.104.05"),
    ],
)
def test_versions_are_found_in_what_programs_say(name: str, text: str, version: str) -> None:
    pattern = next(program.pattern for program in tools.PROGRAMS if program.name == name)
    found = re.search(pattern, text, re.MULTILINE)
    assert found
    assert found[1] == version


@pytest.mark.parametrize(
    ("version", "wanted", "answer"),
    [
        ("2.13.0+cpu", ">=2.13", True),
        ("2.9", ">=2.13", False),
        ("3", ">=2.13", True),
        ("2026.8.0", ">=2026.8", True),
        ("1.3.0", "==1.3.0", True),
        ("1.3", "==1.3.0", True),
        ("1.3.1", "==1.3.0", False),
        ("1.4.0", "==1.3.0", False),
        ("0.11.1.0.post826", ">=0.7", True),
        ("0", "", True),
        ("odd", ">=0.1", False),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, wanted: str, answer: bool) -> None:
    assert doctor.meets(version, wanted) is answer


def test_packages_are_judged_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("ghost", "2.0"), ("solid", "2.0"), ("nameless", "")):
        (tmp_path / f"{name}-1.dist-info").mkdir()
        line = f"Version: {version}\n" if version else ""
        (tmp_path / f"{name}-1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n{line}")
    (tmp_path / "solid.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)

    def judged(name: str, wanted: str) -> tuple[str, str]:
        found = doctor.installed(Package(name, name, wanted, "some", "much"))
        assert found.get == "pip install 'pacemaker-codesign[some]'"
        return found.state, found.problem

    assert judged("solid", ">=1.9") == ("works", "")
    assert judged("solid", ">=2.1") == ("faulty", "2.0 was found, 2.1 or later is wanted")
    assert judged("solid", "==1.3.0") == ("faulty", "2.0 was found, 1.3.0 is wanted")
    assert judged("ghost", "") == ("faulty", "its module ghost is gone; install it again")
    assert judged("nobody", "") == ("missing", "")
    assert judged("nameless", "") == ("missing", "")


def test_the_packages_are_those_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = {("", need) for need in project["dependencies"]}
    asked |= {(extra, need) for extra, needs in extras.items() if extra not in ("dev", "docs") for need in needs}
    known = {(package.extra, f"{package.name}{package.wanted}") for package in (*BASE, *PACKAGES)}
    of_sweeps_and_figures = {("sweep", "jinja2>=3.1"), ("sweep", "matplotlib>=3.8")}
    brought_by_others = {("hls", "da4ml")}
    plain = {(extra, need.replace("hls4ml[da]", "hls4ml")) for extra, need in asked}
    assert plain - of_sweeps_and_figures == known - brought_by_others


def test_the_programs_are_those_that_the_rooms_look_for() -> None:
    known = {program.command for program in tools.PROGRAMS}
    assert known >= {csim.COMPILER, *vendor.TOOLS, *rtl_simulators.PROGRAMS.values()}
    assert len({program.name for program in tools.PROGRAMS}) == len(tools.PROGRAMS)


def test_the_compiler_of_torch_is_the_one_that_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "tool")
    fake(path, 'test "$1" = --version && echo "clang version 14.0.6" && exit 0\necho "error: no pyconfig.h"\nexit 1')
    found = tools.look(doctor.torch_compiler(), path.parent, PATIENT_S)
    assert found.problem == "a smallest job fails: it ended with code 1: error: no pyconfig.h"
    monkeypatch.delenv("CXX")
    assert doctor.torch_compiler().command == "g++"


@pytest.mark.parametrize(("line", "cuda"), [("Optional[str] = '12.8'", "12.8"), ("Optional[str] = None", None)])
def test_the_cuda_of_torch_is_read_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, cuda: str | None
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "torch" / "version.py").write_text(f"debug = False\ncuda: {line}\nhip: Optional[str] = '6.1'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert doctor.torch_cuda() == cuda


def command(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pacemaker", "doctor", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **environment},
    )


def test_the_command_tells_apart_what_is_missing_and_what_is_broken(path: Path) -> None:
    fake(path, "exit 1", "g++")
    fake(path, "echo Icarus Verilog version twelve", "iverilog")
    fake(path, "echo 'driver not loaded'; exit 9", "nvidia-smi")
    work = path.parent / "work"
    work.mkdir()
    done = command("--json", folder=work)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["faults"] == []
    states = {row["name"]: (row["state"], row["problem"]) for row in found["programs"]}
    assert states["g++"] == ("faulty", "it ended with code 1")
    assert states["Icarus Verilog"] == ("faulty", "it told no version: Icarus Verilog version twelve")
    assert states["Verilator"] == states["Vitis HLS"] == ("missing", "")
    assert found["gpu_driver"] is None
    assert {row["state"] for row in found["base"]} == {"works"}
    assert found["computer"]["folder"] == str(work)
    assert found["computer"]["disk_free_bytes"] > 0
    assert found["numba"]["threads"] >= 1
    assert Path(found["numba"]["cache"]).is_dir()
    assert list(work.iterdir()) == []
    told = command(folder=work)
    assert (told.returncode, told.stderr) == (0, "")
    assert "\nbase installation: it works\n" in told.stdout
    assert re.search(r"^  faulty   g\+\+ .+\n {11}it ended with code 1; apt install g\+\+$", told.stdout, re.MULTILINE)
    assert re.search(r"^  missing  Verilator .+\n {11}apt install verilator$", told.stdout, re.MULTILINE)


def test_a_base_that_does_not_work_ends_with_1_and_says_which_part(path: Path) -> None:
    (path / "numba.py").write_text("raise ImportError('numba needs another numpy')")
    done = command("--json", folder=path, PYTHONPATH=str(path))
    sentence = "the simulator: it ended with code 1: ImportError: numba needs another numpy"
    assert (done.returncode, done.stderr) == (1, f"pacemaker: {sentence}\n")
    found = json.loads(done.stdout)
    assert found["faults"] == [sentence]
    assert found["numba"] is None
    old = path / "numpy-0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.20.1\n")
    done = command(folder=path, PYTHONPATH=str(path))
    assert done.returncode == 1
    assert "\nbase installation: it does not work\n" in done.stdout
    assert "pacemaker: numpy: 1.20.1 was found, 1.26 or later is wanted\n" in done.stderr


def test_a_cache_that_cannot_be_written_is_told_with_its_cure(path: Path) -> None:
    said, cure = "cannot cache function 'f': no locator available for file 'k.py'", "name a folder that can be written"
    (path / "numba.py").write_text(f"raise RuntimeError({said!r})")
    done = command(folder=path, PYTHONPATH=str(path))
    sentence = f"the simulator: it ended with code 1: RuntimeError: {said}; {cure} in NUMBA_CACHE_DIR"
    assert (done.returncode, done.stderr) == (1, f"pacemaker: {sentence}\n")
    words = [sys.executable, "-m", "pacemaker", "simulate", "resnet-8"]
    env = {**os.environ, "PYTHONPATH": str(path)}
    other = subprocess.run(words, capture_output=True, text=True, cwd=path, env=env)
    assert (other.returncode, other.stderr) == (2, f"pacemaker: {said}; {cure} in NUMBA_CACHE_DIR\n")


def test_a_package_that_crashes_is_no_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", (Package("numpy", "numpy", "", "some", "much"),))
    monkeypatch.setattr(doctor, "JOBS", {"numpy": "import os; os.abort()"})
    monkeypatch.setattr(doctor, "PROGRAMS", ())
    monkeypatch.setattr(doctor, "_SIMULATOR", "print('nonsense')")
    found = doctor.examine(PATIENT_S)
    assert [(row.state, row.problem) for row in found.packages] == [
        ("faulty", "a smallest job fails: it was ended by SIGABRT")
    ]
    assert found.faults == ("the simulator: it told nothing of numba",)


def test_nothing_can_be_asked_without_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**_: object) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(doctor.tempfile, "TemporaryDirectory", nowhere)
    assert doctor.examine().faults == ("the simulator: no temporary folder can be written; set TMPDIR",)


def test_the_examination_imports_nothing_that_may_be_broken() -> None:
    script = (
        "import sys, reports.doctor; print(*sorted({'numpy', 'numba', 'msgspec', 'yaml', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""
