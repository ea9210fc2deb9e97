"""The programs of others that this package can use: whether one is there, the version it tells, whether it works.

A program is asked in a folder of its own, without a terminal or a display, and is given a few seconds: a broken one may
hang, crash, print nonsense, or print for ever. Only the standard library is used, so that this works in a broken
installation.
"""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

State = Literal["works", "missing", "faulty"]
PATIENCE_S = 5.0
MOST_BYTES = 1 << 16
SMALLEST = {
    "smallest.cpp": "#include <cstdint>\n#include <vector>\nint main() { return std::vector<int>().size(); }\n",
    "smallest.sv": "module smallest;\n  initial $finish;\nendmodule\n",
}
"""What a program is given to show that it works: a version alone tells nothing of a compiler without its parts."""


class Program(NamedTuple):
    """A program on the PATH: how to ask its version, the `pattern` that finds it, and a smallest job, if it has one."""

    name: str
    command: str
    version: tuple[str, ...]
    pattern: str
    job: tuple[str, ...]
    unlocks: str
    get: str


class Found(NamedTuple):
    """What was found of a program or a package; `problem` says what is wrong with a faulty one."""

    name: str
    state: State
    version: str
    problem: str
    unlocks: str
    get: str


class Answer(NamedTuple):
    """What a program printed, on stdout and stderr, and what was wrong with it, if anything was."""

    text: str
    problem: str


NUMBER = r"(\d+\.\d[\w.]*)"
DRIVER = "NVIDIA's driver"
COMPILER = r"(?:\) |version )" + NUMBER
PROGRAMS = (
    Program(
        "g++",
        "g++",
        ("--version",),
        COMPILER,
        ("smallest.cpp", "-o", "smallest"),
        "generate and codesign: C simulation of HLS; cosim --simulator verilator",
        "apt install g++",
    ),
    Program(
        "make",
        "make",
        ("--version",),
        rf"Make {NUMBER}",
        ("--dry-run", "--file", os.devnull, "smallest.cpp"),
        "cosim --simulator verilator",
        "apt install make",
    ),
    Program(
        "Icarus Verilog",
        "iverilog",
        ("-V",),
        rf"Icarus Verilog version {NUMBER}",
        ("-g2012", "-o", "smallest.vvp", "smallest.sv"),
        "cosim; running RTL projects",
        "apt install iverilog",
    ),
    Program(
        "Verilator",
        "verilator",
        ("--version",),
        rf"Verilator {NUMBER}",
        ("--lint-only", "--timing", "smallest.sv"),
        "cosim --simulator verilator (5.0 or later)",
        "apt install verilator",
    ),
    Program(
        "Vitis HLS",
        "vitis-run",
        ("--version",),
        rf"v{NUMBER}",
        (),
        "generate --build with backend Vitis",
        "AMD Vitis; source its settings64.sh",
    ),
    Program(
        "Vitis HLS, earlier",
        "vitis_hls",
        ("-version",),
        rf"v{NUMBER}",
        (),
        "generate --build with backend Vitis",
        "an earlier AMD Vitis; source its settings64.sh",
    ),
    Program(
        "Vivado HLS",
        "vivado_hls",
        ("-version",),
        rf"v{NUMBER}",
        (),
        "generate --build --backend Vivado",
        "AMD Vivado with its HLS; source its settings64.sh",
    ),
    Program(
        "Vivado",
        "vivado",
        ("-version",),
        rf"[Vv]ivado v{NUMBER}",
        (),
        "synthesis of generated HLS and RTL projects, by hand",
        "AMD Vivado; source its settings64.sh",
    ),
    Program(
        "Intel HLS",
        "i++",
        ("--version",),
        NUMBER,
        (),
        "building projects of --backend Quartus, by hand",
        "Intel Quartus Prime with its HLS compiler",
    ),
    Program(
        "Catapult",
        "catapult",
        ("-version",),
        rf"(\d{{4}}\.\d\S*|{NUMBER[1:-1]})",
        (),
        "building projects of --backend Catapult, by hand",
        "Siemens Catapult",
    ),
    Program(
        DRIVER,
        "nvidia-smi",
        ("--query-gpu=driver_version,name", "--format=csv,noheader"),
        rf"^{NUMBER}, ",
        (),
        "codesign, distill and sweep with --device cuda",
        "the driver of an NVIDIA GPU",
    ),
    Program(
        "Chromium",
        "chromium",
        ("--version",),
        rf"Chromium {NUMBER}",
        (),
        "the tests of the pages",
        "apt install chromium",
    ),
)


def look(program: Program, folder: Path, patience_s: float = PATIENCE_S) -> Found:
    """Whether a program is there and works, asked in `folder`, which `prepare` has filled."""

    def found(state: State, version: str = "", problem: str = "") -> Found:
        return Found(program.name, state, version, problem, program.unlocks, program.get)

    path = shutil.which(program.command)
    if path is None:
        return found("missing")
    path = str(Path(path).absolute())
    text, problem = ask([path, *program.version], folder, patience_s)
    if problem:
        return found("faulty", problem=problem)
    version = re.search(program.pattern, text, re.MULTILINE)
    if version is None:
        return found("faulty", problem=f"it told no version: {_shown(text) or 'nothing'}")
    if program.job:
        problem = ask([path, *program.job], folder, patience_s).problem
    return found("faulty" if problem else "works", version[1], problem and f"a smallest job fails: {problem}")


def cure_of_numba(problem: str) -> str:
    """What helps where numba has no folder for compiled kernels (a read-only installation, no home), or no thread."""
    if "no locator available for file" in problem:
        return "name a folder that can be written in NUMBA_CACHE_DIR"
    return "set NUMBA_NUM_THREADS to 1 or more" if "Number of threads specified must be > 0" in problem else ""


def prepare(folder: Path) -> None:
    """Put into a folder what programs are given."""
    for name, text in SMALLEST.items():
        (folder / name).write_text(text, encoding="utf-8")


def ask(
    command: Sequence[str], folder: Path, patience_s: float = PATIENCE_S, extra: dict[str, str] | None = None
) -> Answer:
    """Run a command that answers at once, in `folder`, with the environment and `extra`; at the end nothing of it runs.

    What it left running in a session of its own is not found; it is not waited for either.
    """
    environment = {**os.environ, "LC_ALL": "C", **(extra or {})}
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):
        environment.pop(display, None)
    try:
        process = subprocess.Popen(  # noqa: S603  # no shell
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        return Answer("", f"it cannot be started ({error.strerror})")
    problem = f"it does not answer in {patience_s:g} s"
    data, closed = b"", False
    with process:
        try:
            data, closed = _listen(process, time.monotonic() + patience_s)
            if len(data) >= MOST_BYTES:
                problem = "it prints without end"
            elif process.poll() is not None:
                problem = _ending(process.returncode, data.decode(errors="replace"))
        finally:
            if not closed or process.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
    return Answer(data.decode(errors="replace"), problem)


def _listen(process: subprocess.Popen[bytes], end: float) -> tuple[bytes, bool]:
    """What a process prints until it ends, time does, or it is too much; and whether nobody can print any more."""
    assert process.stdout is not None
    stream, data, closed = process.stdout.fileno(), b"", False
    while len(data) < MOST_BYTES and not closed and select.select([stream], [], [], max(end - time.monotonic(), 0))[0]:
        part = os.read(stream, MOST_BYTES)
        data, closed = data + part, not part
    if closed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(end - time.monotonic(), 0))
    return data, closed


def _ending(code: int, text: str) -> str:
    """What the end of a process tells, if it was no good one."""
    if code == 0:
        return ""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    said = _shown((errors or lines[-1:] or [""])[0])
    how = f"it was ended by {_signal(-code)}" if code < 0 else f"it ended with code {code}"
    return f"{how}: {said}" if said else how


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _shown(text: str) -> str:
    """The first line of a text that may be anything, fit for a terminal."""
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    plain = "".join(letter if letter.isprintable() else "?" for letter in line)
    return plain if len(plain) <= 120 else f"{plain[:120]}..."
