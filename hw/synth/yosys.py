"""Synthesis by yosys (pyosys) in a child process: log kept, time limited, answers kept by a hash of the question."""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from hw.errors import BadInput, MissingTool
from hw.files import make_folder, read_json, replacing, write_json, write_text
from hw.resources import Resources
from hw.synth import worker
from hw.synth.families import Counts, Family

OLDEST = (0, 60)
"""Versions before it were not tried on this RTL."""
TIMEOUT_S = 3600
ENGINES = (
    "pm_conv",
    "pm_depthwise",
    "pm_affine",
    "pm_join",
    "pm_mean",
    "pm_pool",
    "pm_table",
    "pm_upsample",
    "pm_fifo",
    "pm_source",
    "pm_sink",
    "student",
)
"""Modules that stay apart, so that every layer and every FIFO has its own numbers."""
CELLS, NETLIST = "cells.json", "netlist.json"


class Synthesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What yosys made of a design: the numbers of every instance (the top's own under ""), and where the log is.

    With `flat` there is one number for all, under "". In its file the log is a name beside it.
    """

    key: str
    family: str
    version: str
    flat: bool
    parts: dict[str, Counts]
    seconds: float
    log: str

    @property
    def whole(self) -> Counts:
        """All parts together."""
        return sum(self.parts.values(), Counts())

    @property
    def resources(self) -> Resources:
        """The whole as one row."""
        tool = f"yosys, {self.family}{', flat' if self.flat else ''}"
        numbers = msgspec.structs.asdict(self.whole)
        return Resources(
            **numbers,
            design="rtl",
            source="synthesis",
            tool=tool,
            error=None,
            version=self.version,
            family=self.family,
        )


def version() -> str:
    """The version of pyosys.

    Raises:
        MissingTool: it is not installed, or one before 0.60.
    """
    try:
        found = importlib.metadata.version("pyosys")
    except importlib.metadata.PackageNotFoundError:
        raise MissingTool(
            "pyosys is not installed (pip install 'pacemaker-codesign[synth]'); synthesis needs it"
        ) from None
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if numbers < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise MissingTool(
            f"pyosys {found} was found, {wanted} or later is wanted (pip install 'pacemaker-codesign[synth]')"
        )
    return found


def synthesise(
    folder: Path,
    sources: Sequence[str],
    family: Family,
    out: Path,
    *,
    top: str = "student",
    flat: bool = False,
    netlist: bool = False,
    keep: Sequence[str] = (),
    rom_style: str = "",
    timeout_s: float = TIMEOUT_S,
) -> Synthesis:
    """Synthesise the sources of a folder into `out`/<family>-<key>, or give what lies there from before.

    The key is a hash of all that the counts depend on: the sources and memories of the folder, what is asked of yosys,
    its version, the family's table of cells, and the worker's own text. What lies there broken, or written by an older
    version of this package, is made again. With a harness as top, only what lies in its instance `keep` is counted, and
    named as if that were the top. `rom_style` ("block") is laid upon weight memories; yosys chooses by cost if it is
    empty.

    Raises:
        BadInput: the synthesis fails or takes longer than `timeout_s`: the first error, its module and the log.
        MissingTool: as `version`.
    """
    found = version()
    job = {
        "sources": list(sources),
        "top": top,
        "script": family.script.format(top=top),
        "kept": ["student"] if flat else list(ENGINES),
        "rom_style": rom_style,
    }
    decides = [json.dumps(job), found, str(flat), repr(family), *keep, Path(worker.__file__).read_text()]
    key = content_key(folder, decides)
    target = out / f"{family.name}-{key[:16]}"
    result, log = target / "synthesis.json", target / "yosys.log"
    kept = _kept(result, key)
    if kept is not None and (not netlist or (target / NETLIST).is_file()):
        return msgspec.structs.replace(kept, log=str(log))
    make_folder(target)
    job |= {"cells": CELLS, "netlist": NETLIST if netlist else ""}
    write_text(target / "job.json", json.dumps(job))
    begin = time.perf_counter()
    _run(target, folder, log, family, timeout_s)
    by_instance: Mapping[str, dict[str, int]] = json.loads((target / CELLS).read_text())
    parts = {name: family.counts(cells) for name, cells in sorted(_below(by_instance, keep).items())}
    made = Synthesis(key, family.name, found, flat, parts, round(time.perf_counter() - begin, 1), log.name)
    write_json(result, made)
    return msgspec.structs.replace(made, log=str(log))


def _kept(result: Path, key: str) -> Synthesis | None:
    """What was made before, or None where nothing usable lies there."""
    try:
        made = read_json(result, Synthesis)
    except BadInput:
        return None
    return made if made.key == key else None


def _below(by_instance: Mapping[str, dict[str, int]], keep: Sequence[str]) -> dict[str, dict[str, int]]:
    """The instances inside of those to keep, named from there; all where none of them is there."""
    found = {}
    for name, cells in by_instance.items():
        first, _, rest = name.partition(".")
        if first in keep:
            found[rest] = cells
    return found or dict(by_instance)


def content_key(folder: Path, told: Sequence[str]) -> str:
    """A hash of the sources and memories of a folder, by name and content, and of what else decides the result."""
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update("\0".join(told).encode())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    """Sources and memories of a folder, without those of a simulation."""
    of_simulation = ("bench.sv", "input.hex", "valid.hex", "ready.hex")
    return [
        path for path in sorted(folder.iterdir()) if path.suffix in (".sv", ".hex") and path.name not in of_simulation
    ]


def _run(target: Path, folder: Path, log: Path, family: Family, timeout_s: float) -> None:
    """Do the job of `target` on copies in a folder of its own; cells and netlist move to `target` when it is done."""
    with tempfile.TemporaryDirectory() as temporary:
        for path in _files(folder):
            shutil.copyfile(path, Path(temporary) / path.name)
        _child(target / "job.json", Path(temporary), log, family, timeout_s)
        for name in (CELLS, NETLIST):
            if (Path(temporary) / name).is_file():
                with replacing(target / name) as whole:
                    shutil.copyfile(Path(temporary) / name, whole)


def _child(job: Path, folder: Path, log: Path, family: Family, timeout_s: float) -> None:
    command = [sys.executable, "-I", worker.__file__, str(job.resolve())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w") as stream:
        try:
            done = subprocess.run(  # noqa: S603  # no shell
                command,
                cwd=folder,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            raise BadInput(
                f"synthesis for {family.name}: not done in {timeout_s:g} s; fold the design further; its log is {log}"
            ) from None
    if done.returncode:
        raise BadInput(_failure(log, family))


def _failure(log: Path, family: Family) -> str:
    """The first error of a log, and the module that yosys was at."""
    module = "student"
    for line in log.read_text(errors="replace").splitlines():
        at = re.search(r"module [`'\\]*([\w$\\=']+?)'", line) or re.search(r"^(\w+)\.sv:\d+: ERROR", line)
        if at:
            module = at[1].rsplit("\\", 1)[-1]
        if "ERROR" in line or line.startswith("Traceback"):
            return f"synthesis for {family.name}: {line.strip()} (module {module}); its log is {log}"
    return f"synthesis for {family.name}: yosys ended without a word (module {module}); its log is {log}"
