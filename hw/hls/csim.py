"""Compiles a generated project with g++ and runs it in a child process, since C++ prints and aborts at will."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hw.errors import BadInput, MissingTool
from hw.files import make_folder
from hw.fixed import Floats
from hw.hls.manifest import Generated

COMPILER = "g++"
FOLDER = "csim"
TOP = "student"
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-w", "-Ifirmware/ap_types", '-DWEIGHTS_DIR="firmware/weights"')
LEFTOVER = "contains leftover data"


def compiler_available() -> bool:
    """Whether the C simulation can be compiled here."""
    return shutil.which(COMPILER) is not None


def compile_library(generated: Generated) -> Path:
    """The project's C simulation as a shared library, inside the project; compiled if it is older than a source.

    Raises:
        MissingTool: there is no g++.
        BadInput: it does not compile.
    """
    library = generated.folder / FOLDER / f"{TOP}.so"
    if _up_to_date(library, generated.folder):
        return library
    if not compiler_available():
        raise MissingTool("the C simulation of HLS needs g++, which was not found: apt install g++")
    make_folder(library.parent)
    sources = (f"firmware/{TOP}.cpp", f"{TOP}_bridge.cpp")
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".objects.") as objects:
        targets = [str(Path(objects) / f"{number}.o") for number in range(len(sources))]
        commands = [
            [COMPILER, *FLAGS, "-c", source, "-o", str(Path(target).resolve())]
            for source, target in zip(sources, targets, strict=True)
        ]
        _run_all(generated, commands)
        linked = Path(objects) / library.name
        paths = [str(Path(target).resolve()) for target in targets]
        _run_all(generated, [[COMPILER, "-shared", *paths, "-o", str(linked.resolve())]])
        linked.replace(library)
    return library


def simulate(generated: Generated, images: Floats, outputs: int) -> tuple[Floats, int]:
    """Run images (n, values); return the outputs (n, `outputs`) and how many streams were left with data.

    Raises:
        MissingTool, BadInput: as `compile_library`; or the simulation aborted.
    """
    library = compile_library(generated)
    log = generated.folder / FOLDER / "run.log"
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".run.") as scratch:
        source, target = (Path(scratch).resolve() / name for name in ("in.npy", "out.npy"))
        np.save(source, np.ascontiguousarray(images, np.float64))
        script = str(Path(__file__).with_name("run.py").resolve())
        arguments = [str(library.resolve()), f"{TOP}_double", str(source), str(target), str(outputs)]
        code = _run([sys.executable, "-I", script, *arguments], generated.folder, log)
        text = log.read_text(encoding="utf-8", errors="replace")
        if code != 0:
            raise BadInput(f"{generated.folder}: its C simulation aborted ({_last_line(text)}); see {log}")
        return np.load(target), text.count(LEFTOVER)


def _up_to_date(library: Path, folder: Path) -> bool:
    sources = (folder / f"{TOP}_bridge.cpp", *(folder / "firmware").rglob("*.*"))
    return library.is_file() and all(path.stat().st_mtime <= library.stat().st_mtime for path in sources)


def _run_all(generated: Generated, commands: Sequence[Sequence[str]]) -> None:
    """Run compiler commands side by side."""
    folder = generated.folder / FOLDER
    logs = [folder / f"compile{number}.log" for number in range(len(commands))]
    children = []
    for command, log in zip(commands, logs, strict=True):
        with log.open("wb") as stream:
            children.append(subprocess.Popen(command, cwd=generated.folder, stdout=stream, stderr=stream))  # noqa: S603
    codes = [child.wait() for child in children]
    for code, log in zip(codes, logs, strict=True):
        if code != 0:
            text = log.read_text(encoding="utf-8", errors="replace")
            raise BadInput(f"{generated.folder}: g++ failed: {_first_error(text)}; see {log}")


def _run(command: Sequence[str], cwd: Path, log: Path) -> int:
    with log.open("wb") as stream:
        return subprocess.run(command, cwd=cwd, stdout=stream, stderr=stream, check=False).returncode  # noqa: S603


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror:|Assertion|Killed", line)]
    return (errors or lines or ["it said nothing"])[0]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["it said nothing"])[-1]
