"""Compiles a generated project with g++ and runs it in a child process, since C++ prints and aborts at will."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hw.errors import BadInput, MissingTool
from hw.files import make_folder
from hw.fixed import Floats
from hw.hls import cache, testbench
from hw.hls.backends import BACKENDS
from hw.hls.manifest import Generated

COMPILER = "g++"
FOLDER = "csim"
TOP = "student"
FLAGS = ("-O1", "-fPIC", "-w", '-DWEIGHTS_DIR="firmware/weights"')
LEFTOVER = "contains leftover data"
NO_COMPILER = "the C simulation of HLS needs g++, which was not found: apt install g++"


def compiler_available() -> bool:
    """Whether the C simulation can be compiled here."""
    return shutil.which(COMPILER) is not None


def compile_library(generated: Generated) -> Path:
    """The project's C simulation as a shared library, inside the project; compiled if it is older than a source.

    What was compiled before from the same text, by the same compiler, comes from the user's cache.

    Raises:
        MissingTool: there is no g++.
        BadInput: it does not compile.
    """
    library = generated.folder / FOLDER / f"{TOP}.so"
    if _up_to_date(library, generated.folder):
        return library
    if not compiler_available():
        raise MissingTool(NO_COMPILER)
    make_folder(library.parent)
    sources = (f"firmware/{TOP}.cpp", f"{TOP}_bridge.cpp")
    key = _content(generated, sources)
    if cache.fetch(key, library):
        return library
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".objects.") as objects:
        linked = Path(objects) / library.name
        _build(generated, sources, linked, Path(objects), ["-shared"])
        cache.keep(key, linked)
        linked.replace(library)
    return library


def run_test_bench(generated: Generated) -> bool:
    """Compile hls4ml's test bench with g++ and run it; whether its results are those expected, text for text.

    The network in it is that of the compiled library.

    Raises:
        MissingTool: there is no g++.
        BadInput: it does not compile, or aborts.
    """
    library = compile_library(generated)
    if not compiler_available():
        raise MissingTool(NO_COMPILER)
    backend = BACKENDS[generated.manifest.backend]
    log = generated.folder / FOLDER / "testbench.log"
    make_folder(log.parent)
    with tempfile.TemporaryDirectory(dir=log.parent, prefix=".objects.") as objects:
        program = Path(objects) / "testbench"
        _build(generated, (f"{TOP}_test.cpp",), program, Path(objects), [str(library.resolve())])
        code = _run([str(program.resolve()), *testbench.arguments(backend)], generated.folder, log)
    if code != 0:
        said = _last_line(log.read_text(encoding="utf-8", errors="replace"))
        raise BadInput(f"{generated.folder}: its test bench aborted ({said}); see {log}")
    found = (generated.folder / testbench.results(backend)).read_text(encoding="utf-8")
    return found == (generated.folder / testbench.EXPECTED).read_text(encoding="utf-8")


def simulate(generated: Generated, images: Floats, outputs: int) -> tuple[Floats, int]:
    """Run images (n, values); return the outputs (n, `outputs`) and how many streams were left with data.

    Raises:
        MissingTool, BadInput: as `compile_library`; or the simulation aborted.
    """
    results, _, leftover = _simulate(generated, images, outputs, {})
    return results, leftover


def trace(generated: Generated, images: Floats, sizes: Mapping[str, int]) -> dict[str, Floats]:
    """Run images (n, values); return what layers, by identifier, gave: (n, `sizes` of the layer).

    Raises:
        MissingTool, BadInput: as `simulate`.
    """
    _, layers, _ = _simulate(generated, images, max(sizes.values()), sizes)
    return layers


def _simulate(
    generated: Generated, images: Floats, outputs: int, sizes: Mapping[str, int]
) -> tuple[Floats, dict[str, Floats], int]:
    library = compile_library(generated)
    log = generated.folder / FOLDER / "run.log"
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".run.") as scratch:
        names = ("in.npy", "out.npy", "sizes.json", "layers.npz")
        source, target, wanted, traces = (Path(scratch).resolve() / name for name in names)
        np.save(source, np.ascontiguousarray(images, np.float64))
        script = str(Path(__file__).with_name("run.py").resolve())
        command = [str(library.resolve()), f"{TOP}_double", str(source), str(target), str(outputs)]
        if sizes:
            wanted.write_text(json.dumps(dict(sizes)), encoding="utf-8")
            command += [str(wanted), str(traces)]
        code = _run([sys.executable, "-I", script, *command], generated.folder, log)
        text = log.read_text(encoding="utf-8", errors="replace")
        if code != 0:
            raise BadInput(f"{generated.folder}: its C simulation aborted ({_last_line(text)}); see {log}")
        layers = dict(np.load(traces)) if sizes else {}
        return np.load(target), layers, text.count(LEFTOVER)


def _up_to_date(library: Path, folder: Path) -> bool:
    sources = (folder / f"{TOP}_bridge.cpp", *(folder / "firmware").rglob("*.*"))
    return library.is_file() and all(path.stat().st_mtime <= library.stat().st_mtime for path in sources)


def _compile(generated: Generated) -> list[str]:
    backend = BACKENDS[generated.manifest.backend]
    return [COMPILER, f"-std={backend.standard}", *FLAGS, *(f"-I{path}" for path in backend.includes)]


def _build(generated: Generated, sources: Sequence[str], target: Path, objects: Path, link: Sequence[str]) -> None:
    made = [str((objects / f"{number}.o").resolve()) for number in range(len(sources))]
    compile_ = _compile(generated)
    _run_all(generated, [[*compile_, "-c", source, "-o", one] for source, one in zip(sources, made, strict=True)])
    _run_all(generated, [[COMPILER, *made, *link, "-o", str(target.resolve())]])


def _content(generated: Generated, sources: Sequence[str]) -> str:
    """A hash of the compiler, its flags and all the text that it sees, headers of the system among it."""
    compile_ = _compile(generated)
    commands = [[COMPILER, "-v"], *([*compile_, "-E", "-P", source] for source in sources)]
    digest = hashlib.sha256("\0".join(compile_).encode())
    for command in commands:
        done = subprocess.run(command, cwd=generated.folder, capture_output=True, check=False)  # noqa: S603
        digest.update(done.stdout + (done.stderr if command[1] == "-v" else b""))
    return digest.hexdigest()


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
            where = _layer(generated, text)
            raise BadInput(f"{generated.folder}: g++ failed{where}: {_first_error(text)}; see {log}")


def _layer(generated: Generated, text: str) -> str:
    """Where the first error is: the layer whose call or whose configuration the log names, as ` in layer x`."""
    names = {layer.identifier: layer.name for layer in generated.manifest.layers}
    start = max(text.find("error:"), 0)
    start = text.rfind("\n\n", 0, start) + 1
    for file, number in re.findall(rf"firmware/({TOP}\.cpp|parameters\.h):(\d+)", text[start:]):
        lines = (generated.folder / "firmware" / file).read_text(encoding="utf-8").splitlines()[: int(number)]
        for line in reversed(lines if file == "parameters.h" else lines[-1:]):
            comment = re.search(r"//\s*(\w+)\s*$", line)
            if comment and comment[1] in names:
                return f" in layer {names[comment[1]]}"
    return ""


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
