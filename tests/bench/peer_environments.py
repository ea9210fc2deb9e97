"""Peers' environments under .bench/, made once and kept, and runs of peer_run.py in them; nothing here raises.

What goes wrong on the way (no network, pip or the run fails, a time-out) is an answer too: `Missing`, with the reason.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from hw.errors import PacemakerError
from hw.files import read_json

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1] / ".bench"
MARKER = "pins.txt"
INSTALL_TIMEOUT_S = 300.0
START_TIMEOUT_S = 40.0  # importing the peer, and the layer in which its budget ends
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "NUMEXPR")


class Peer(NamedTuple):
    """A tool in an environment of its own, which with `shares` also sees our packages behind its own (torch above all).

    A peer that shares runs on the very same torch as we do, and pip finds it there, with whatever else it wants.
    """

    name: str
    pins: tuple[str, ...]
    shares: bool = False


# SCALE-Sim 3.0.0 takes any numpy, but stops in numpy 2.4, where int() of an array of one element is an error.
# ZigZag 3.9.1 imports six without asking for it.
SCALE_SIM = Peer("scale-sim", ("scalesim==3.0.0", "numpy<2", "pandas<3"))
ZIGZAG = Peer("zigzag", ("zigzag-dse==3.9.1", "six"))


class Timed(msgspec.Struct, frozen=True):
    """One layer: seconds of wall clock and of CPU, and the cycles that the peer found."""

    wall_s: float
    cpu_s: float
    cycles: float


class Answer(msgspec.Struct, frozen=True):
    """Passes over the layers, each in the layers' order; the first may end early."""

    version: str
    passes: list[list[Timed]]


class Missing(NamedTuple):
    """A peer that could not be had, and why."""

    reason: str


def run(peer: Peer, write_layers: Callable[[Path], None], budget_s: float) -> Answer | Missing:
    """Times a peer on the layers that `write_layers` puts into a folder, for about `budget_s` seconds."""
    try:
        python = environment(peer)
        with tempfile.TemporaryDirectory(dir=ROOT) as name:
            folder = Path(name)
            write_layers(folder)
            command = [str(python), str(HERE / "peer_run.py"), peer.name, name, str(budget_s)]
            subprocess.run(
                command,
                cwd=name,
                env=surroundings(),
                check=True,
                capture_output=True,
                timeout=budget_s + START_TIMEOUT_S,
            )
            return read_json(folder / "answer.json", Answer)
    except subprocess.TimeoutExpired as error:
        return Missing(f"{peer.name}: {step(error.cmd)}: no end within {error.timeout:.0f} s")
    except subprocess.CalledProcessError as error:
        return Missing(f"{peer.name}: {step(error.cmd)}: {last_line(error.stderr)}")
    except (OSError, PacemakerError) as error:
        return Missing(f"{peer.name}: {error}")


def environment(peer: Peer) -> Path:
    """The Python of a peer's environment, which is made if its marker does not say the same pins.

    Raises:
        OSError: the folder cannot be written.
        subprocess.SubprocessError: venv or pip fails, or takes too long.
    """
    folder = ROOT / peer.name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = "\n".join((*peer.pins, f"python {sys.version_info.major}.{sys.version_info.minor}", ""))
    marker = folder / MARKER
    if marker.exists() and marker.read_text() == wanted and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    quick = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "15"]
    _quietly([sys.executable, "-m", "venv", str(folder)])
    if peer.shares:
        own = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
        Path(own, "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _quietly([str(python), "-m", "pip", "install", *quick, *peer.pins])
    marker.write_text(wanted)
    return python


def _quietly(command: list[str]) -> None:
    subprocess.run(command, env=surroundings(), check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)


def surroundings() -> dict[str, str]:
    """The environment variables of a peer: one thread, no window, no packages of ours."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    threads = {f"{library}_NUM_THREADS": "1" for library in THREADS}
    return {**kept, **threads, "MPLBACKEND": "Agg", "PYTHONNOUSERSITE": "1"}


def step(command: list[str]) -> str:
    """What a command does: `venv`, `pip` or `peer_run.py`."""
    return command[2] if command[1] == "-m" else Path(command[1]).name


def last_line(text: bytes | None) -> str:
    """The last line of a program's complaint, which in Python is the error itself."""
    lines = (text or b"").decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
