"""The distribution as a user gets it: what wheel and sdist hold, and that it works, typed, outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pacemaker", "hw", "sim", "distill", "reports")
NO_SOURCE = (".*", "build", "dist", "runs", "__pycache__", "*.egg-info")
"""What a checkout may hold that is not the project's: environments, caches, trainings, earlier builds."""
HOOK = "import sys\nfrom setuptools import build_meta\nprint('made', getattr(build_meta, sys.argv[1])(sys.argv[2]))"
UNCOMPILED = {"NUMBA_DISABLE_JIT": "1"}
"""Kernels as plain Python: a new installation has none in a cache, and compiling them takes longer."""
SAMPLE = '''
"""What a user's own code may look like."""

from hw import accelerator, presets
from hw.accelerator import LineEngine
from hw.errors import PacemakerError
from hw.fixed import Format
from hw.network import Network
from reports.sweep.table import Table
from sim.result import Precision, Result
from sim.run import simulate


def slowest(result: Result) -> str:
    return max(result.layers, key=lambda layer: layer.cycles).name


def told(network: Network, machine: str, precision: Precision) -> str:
    try:
        result = simulate(network, accelerator.machine(machine), precision)
    except PacemakerError as error:
        return str(error)
    cycles: int = result.latency_cycles
    return f"{slowest(result)} {cycles}"


def rows(table: Table) -> int:
    return len(table["status"])


def widths(formats: dict[str, Format]) -> list[int]:
    return [each.width for each in formats.values()]


def sizes(engine: LineEngine) -> tuple[int, int]:
    return engine.pe, engine.simd


if __name__ == "__main__":
    print(told(presets.preset("wrn-10-1-1x3"), "pipeline-64", Precision(8, 8, 8)))
'''
WRONG = """
from hw import presets
from sim.run import simulate

latency: str = simulate(presets.preset("wrn-10-1"), "pipeline-64").latency_cycles
"""


def run(*words: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command that sees nothing of this process's paths."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MYPY", "NUMBA"))}
    return subprocess.run(words, cwd=folder, env=kept | variables, capture_output=True, text=True)


def built(hook: str, source: Path, out: Path) -> Path:
    """What setuptools makes of a source folder, asked as any installer asks, without network."""
    out.mkdir(exist_ok=True)
    done = run(sys.executable, "-c", HOOK, hook, out, folder=source)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return out / done.stdout.split()[-1]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files_of(folder: Path, *packages: str) -> dict[str, bytes]:
    paths = [path for package in packages for path in (folder / package).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files without what working on it leaves behind."""
    folder = tmp_path_factory.mktemp("packaging") / "source"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NO_SOURCE))
    return folder


@pytest.fixture(scope="module")
def sdist(source: Path) -> Path:
    """Made before any wheel: a folder `build` would find its way into it."""
    return built("build_sdist", source, source.parent / "sdist")


@pytest.fixture(scope="module")
def wheel(source: Path, sdist: Path) -> Path:
    """The wheel that the sdist makes."""
    folder = source.parent / "unpacked"
    folder.mkdir()
    made = run("tar", "-xf", sdist, "-C", folder, folder=source)  # tarfile has filters from Python 3.11.4 on only
    assert made.returncode == 0, made.stderr
    (unpacked,) = folder.iterdir()
    return built("build_wheel", unpacked, source.parent / "wheel")


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    """A virtual environment with the wheel as pip installs it, over the packages that are installed here."""
    folder = wheel.parents[1] / "environment"
    made = run(sys.executable, "-m", "venv", "--without-pip", folder, folder=wheel.parent)
    assert made.returncode == 0, made.stderr
    words = ("--python", folder, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", wheel)
    done = run(sys.executable, "-m", "pip", *words, folder=wheel.parent)
    assert done.returncode == 0, done.stderr
    packages = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
    Path(packages, "underneath.pth").write_text(sysconfig.get_path("purelib"))
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder that has nothing of the project near it."""
    return tmp_path


def test_the_wheel_holds_the_packages_wholly_and_nothing_else(source: Path, wheel: Path) -> None:
    found = {name: data for name, data in contents(wheel).items() if ".dist-info/" not in name}
    assert found == files_of(source, *PACKAGES)
    kinds = {Path(name).suffix for name in found}
    assert kinds >= {".py", ".yaml", ".json", ".html", ".css", ".js", ".sv", ".typed"}
    assert {f"{package}/py.typed" for package in PACKAGES} <= found.keys()


def test_the_checkout_makes_the_same_wheel_as_the_sdist(source: Path, wheel: Path) -> None:
    copy = source.parent / "copy"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*NO_SOURCE))
    assert contents(built("build_wheel", copy, source.parent / "direct")) == contents(wheel)


def test_the_sdist_holds_what_tests_and_site_need(source: Path, sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= files_of(source, "tests", "docs", "examples", *PACKAGES).keys()
    assert names >= {"README.md", "LICENSE", "CHANGELOG.md", "Makefile", "mkdocs.yml", "pyproject.toml"}


def test_the_metadata_say_what_pyproject_does(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (name,) = (name for name in contents(wheel) if name.endswith(".dist-info/METADATA"))
    lines = contents(wheel)[name].decode().splitlines()
    assert {"Name: pacemaker-codesign", "License-Expression: Apache-2.0", "Requires-Python: >=3.11"} <= set(lines)
    wanted = {line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")}
    assert set(project["dependencies"]) == {line for line in wanted if "; extra ==" not in line}


def test_the_command_works_in_an_empty_folder(environment: Path, empty: Path) -> None:
    words = ("simulate", "wrn-10-1-1x3", "--energy", "horowitz-45nm", "--json")
    done = run(environment / "bin" / "pacemaker", *words, folder=empty, **UNCOMPILED)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["network"] == "wrn-10-1-1x3"
    assert list(empty.iterdir()) == []
    script = "import hw, reports; print(hw.__file__, reports.__file__)"
    where = run(environment / "bin" / "python", "-c", script, folder=empty).stdout.split()
    assert all(Path(name).is_relative_to(environment) for name in where)


def test_a_users_code_is_typed_strictly_against_the_wheel(environment: Path, empty: Path) -> None:
    (empty / "sample.py").write_text(SAMPLE)
    (empty / "wrong.py").write_text(WRONG)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", environment / "bin" / "python")
    good = run(*mypy, "sample.py", folder=empty)
    assert (good.returncode, good.stdout) == (0, "Success: no issues found in 1 source file\n")
    bad = run(*mypy, "wrong.py", folder=empty)
    assert bad.stdout.count("error:") == 2
    assert 'Argument 2 to "simulate" has incompatible type "str"' in bad.stdout
    assert '(expression has type "int", variable has type "str")' in bad.stdout
    told = run(environment / "bin" / "python", "sample.py", folder=empty, **UNCOMPILED)
    assert told.returncode == 0, told.stderr
    assert told.stdout.split()[-1].isdigit()
