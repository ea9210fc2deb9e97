"""Disk full, read-only, killed, two at once, no home, other letters, streams closed: docs/robustness.md."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from random_students import random_student

from hw import student
from hw.errors import BadInput
from hw.files import alone

ROOT = Path(__file__).parents[1]
ODD = "a b/größe 中 'q' [x]"
COMPILING = "compiling the simulator for this machine: once, under 20 s\n"


def pacemaker(*words: object, folder: Path, **given: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; `environment` adds to it, None takes away."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **given.pop("environment", {})}
    known = {name: value for name, value in environment.items() if value is not None}
    command = [sys.executable, "-m", "pacemaker", *map(str, words)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8", **given}
    return subprocess.run(command, cwd=folder, env=known, check=False, **options)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a command that ended with 2."""
    err = done.stderr.replace(COMPILING, "")
    assert done.returncode == 2, (done.returncode, err)
    assert re.fullmatch(r"pacemaker: [^\n]+\n", err), err
    return err.removeprefix("pacemaker: ").rstrip("\n")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a run's student, in a path of spaces, quotes, brackets and letters of others."""
    folder = tmp_path / ODD
    student.save(random_student(3), folder / "run" / "student")
    return folder


def mounted(place: Path, options: str, script: str) -> subprocess.CompletedProcess[str]:
    """A script with a file system of its own on `place / "disk"`, in a mount namespace that ends with it."""
    (place / "disk").mkdir()
    mount = f"mount -t tmpfs -o {options} none disk"
    command = ["unshare", "-rm", "sh", "-c", f"{mount} || exit 99; {script}"]
    if not shutil.which("unshare"):
        pytest.skip("no unshare")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, env=environment, check=False)
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("no file system can be mounted here")
    return done


COMMAND = f"{shlex.quote(sys.executable)} -m pacemaker"
WRITERS = {
    "generate": "generate run --target rtl --out disk/out",
    "export": "export run --out disk/out.onnx",
    "fifos": "fifos run --out disk/out.yaml",
    "timeline": "timeline run --out disk/out.json",
    "lines": "lines run --out disk/out.json",
    "sweep": "sweep space.yaml --out disk/out",
    "distill": "distill digits --workers 1 --out disk/out",
}
SPACE = """
name: small
networks: {given: [wrn-10-1-1x3]}
machines: [{kind: pipeline, axes: {macs: [64, 128]}}]
objectives: [latency_ms]
"""


SLOW = ("timeline", "lines", "sweep", "distill")
SOME = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in WRITERS]


def needs(writer: str) -> None:
    for package in {"export": ["onnx"], "distill": ["torch", "sklearn"], "sweep": ["bokeh", "pyarrow"]}.get(writer, []):
        pytest.importorskip(package)


@pytest.mark.parametrize("writer", SOME)
def test_a_full_disk_is_told_and_leaves_nothing_half_written(place: Path, writer: str) -> None:
    needs(writer)
    (place / "space.yaml").write_text(SPACE)
    listing = "find disk -type f | sort; exit $code"
    fill = "head -c 100k /dev/zero > disk/filler 2>/dev/null; "
    done = mounted(place, "size=64k", f"{fill} {COMMAND} {WRITERS[writer]} >/dev/null; code=$?; {listing}")
    assert "cannot be" in said(done) or "the disk is full" in said(done)
    left = [line for line in done.stdout.splitlines() if line != "disk/filler"]
    assert not [line for line in left if re.search(r"\.(yaml|onnx|html|sv|json)$", line)], left


@pytest.mark.parametrize("writer", SOME)
def test_a_read_only_disk_is_told(place: Path, writer: str) -> None:
    needs(writer)
    (place / "space.yaml").write_text(SPACE)
    done = mounted(place, "ro", f"{COMMAND} {WRITERS[writer]} >/dev/null")
    assert re.search(r"cannot be (written|made a folder)", said(done)), done.stderr
    assert "Read-only file system" in done.stderr or "readonly" in done.stderr or "unable to open" in done.stderr


@pytest.mark.slow
def test_a_generation_that_is_killed_leaves_a_whole_project_or_none(place: Path) -> None:
    whole = pacemaker("generate", "run", "--target", "rtl", "--out", "whole", folder=place)
    assert whole.returncode == 0, whole.stderr
    files = sorted(str(path.relative_to(place / "whole")) for path in (place / "whole").rglob("*"))
    rng, found = random.Random(5), []
    for number in range(6):
        words = [sys.executable, "-m", "pacemaker", "generate", "run", "--target", "rtl", "--out", f"out{number}"]
        with subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + 60
            while process.poll() is None and not list(place.glob(f".out{number}.*")) and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
        out = place / f"out{number}"
        found.append(out.exists())
        if out.exists():
            assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == files
    assert not all(found)
    again = pacemaker("generate", "run", "--target", "rtl", "--out", "out0", "--force", folder=place)
    assert again.returncode == 0, again.stderr


TWO = """
import sys
from pathlib import Path
import msgspec
from distill import run
from distill.recipe import load
from hw.errors import BadInput
recipe = load("digits")
training = msgspec.structs.replace(recipe.training, epochs=2, batch=256)
stages = tuple(stage for stage in recipe.stages if stage.name in ("teacher", "kd"))
heads = msgspec.structs.replace(recipe.student, heads=("global",))
recipe = msgspec.structs.replace(recipe, training=training, stages=stages, student=heads, seeds=1)
try:
    run.run(recipe, Path(sys.argv[1]), workers=1)
except BadInput as error:
    print(error)
"""


def test_only_one_at_a_time_trains_in_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path, "first"):
        with pytest.raises(BadInput) as error, alone(tmp_path, "another one is here"):
            pass
        assert str(error.value) == f"{tmp_path}: another one is here"
    with alone(tmp_path, "second"):
        assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_clock_that_is_set_back_changes_no_weight(tmp_path: Path) -> None:
    """Only the log's times and the order in which kept answers are dropped come from the clock."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    back = (
        "import datetime, time, distill.log\nstart = time.time()\n"
        "class Back(datetime.datetime):\n    @classmethod\n    def now(cls, tz=None):\n"
        "        return cls.fromtimestamp(start - 1e6 * (time.time() - start) % start, tz)\n"
        "distill.log.datetime = Back\n"
    )
    for name, clock in (("back", back), ("right", "")):
        command = [sys.executable, "-c", clock + TWO, str(tmp_path / name)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    weights = sorted((tmp_path / "right" / "weights").glob("*.safetensors"))
    assert weights
    for path in weights:
        assert path.read_bytes() == (tmp_path / "back" / "weights" / path.name).read_bytes()
    times = [json.loads(line)["time"] for line in (tmp_path / "back" / "log.jsonl").read_text().splitlines()]
    assert times == sorted(times, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["simulate", "wrn-10-1"], ["simulate", "wrn-10-1", "--json"], ["--help"]], ids=str)
def test_a_reader_that_goes_away_ends_the_command_without_a_trace(place: Path, words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = pacemaker(*words, folder=place, stdout=write)
    finally:
        os.close(write)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stderr.replace(COMPILING, "") in ("", "pacemaker: output: Broken pipe\n")


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(place: Path, stream: str) -> None:
    script = (
        f"{COMMAND} export run --out out.onnx {stream}" if stream != ">&-" else f"{COMMAND} fifos run --out o.yaml >&-"
    )
    pytest.importorskip("onnx")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", script], cwd=place, capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 2)
    assert (place / "out.onnx").is_file() or (place / "o.yaml").is_file()


NO_HOME = {"HOME": None, "XDG_CACHE_HOME": None, "NUMBA_CACHE_DIR": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [NO_HOME, {**NO_HOME, "HOME": "/nonexistent"}, {**NO_HOME, "HOME": "/proc"}, {"XDG_CACHE_HOME": "/dev/null/x"}],
    ids=["none", "missing", "read-only", "no cache"],
)
def test_without_a_home_to_write_to_a_machine_is_simulated(place: Path, environment: dict[str, str | None]) -> None:
    done = pacemaker("simulate", "run", "--json", folder=place, environment=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["latency_cycles"] > 0


def test_with_a_cache_of_numba_that_cannot_be_written_a_machine_is_simulated(place: Path) -> None:
    done = pacemaker("simulate", "run", "--json", folder=place, environment={"NUMBA_CACHE_DIR": "/proc/none"})
    assert done.returncode == 0, done.stderr


LOCALES = {
    "C": {"LC_ALL": "C"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii streams": {"PYTHONIOENCODING": "ascii"},
}


@pytest.mark.slow
@pytest.mark.parametrize("environment", LOCALES.values(), ids=LOCALES)
@pytest.mark.parametrize(
    "words", [["simulate", "run"], ["memory", "run"], ["simulate", "größe"], ["fifos", "run"]], ids=str
)
def test_any_locale_prints_and_writes_names_of_any_letters(
    place: Path, words: list[str], environment: dict[str, str]
) -> None:
    done = pacemaker(*words, folder=place, environment=environment, encoding="latin-1")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == (2 if "größe" in words else 0), done.stderr


@pytest.mark.slow
def test_files_are_utf_8_in_any_locale(place: Path) -> None:
    made = {}
    for name, environment in LOCALES.items():
        done = pacemaker("generate", "run", "--target", "rtl", "--out", name, folder=place, environment=environment)
        assert done.returncode == 0, done.stderr
        files = sorted((place / name).rglob("*.*"))
        made[name] = {str(path.relative_to(place / name)): path.read_bytes() for path in files if path.is_file()}
    assert made["C"] == made["ascii"] == made["latin-1"] == made["ascii streams"]


PATHS = [
    ["simulate", "run", "--machine", "machine é.yaml"],
    ["cosim", "run", "--out", "co sim", "--frames", "1"],
    ["export", "run", "--out", "ö ö.onnx"],
    ["timeline", "run", "--out", "t t.json"],
    ["lines", "run", "--out", "l l.svg"],
]


@pytest.mark.slow
@pytest.mark.parametrize("words", PATHS, ids=lambda words: words[0])
def test_paths_with_spaces_quotes_and_letters_of_others_are_taken(place: Path, words: list[str]) -> None:
    if words[0] == "cosim" and not shutil.which("iverilog"):
        pytest.skip("no iverilog")
    if words[0] in ("export", "lines"):
        pytest.importorskip("onnx")
        pytest.importorskip("matplotlib")
    (place / "machine é.yaml").write_text("{machine: budget, name: größe, macs: 80, clock_mhz: 100}", "utf-8")
    done = pacemaker(*words, folder=place)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("verilator"), reason="no verilator")
@pytest.mark.slow
def test_verilator_works_in_a_path_with_spaces(place: Path) -> None:
    done = pacemaker("cosim", "run", "--simulator", "verilator", "--out", "co sim", "--frames", "1", folder=place)
    assert done.returncode == 0, done.stderr
